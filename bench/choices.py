"""Names on the command line: some out of a fixed set, and the peers among them that are installed."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Collection, Sequence

from bench.children import BenchError
from bench.peers import PEERS, USUAL, Peer


def some_of(known: Collection[str]) -> Callable[[str], tuple[str, ...]]:
    """An argparse type: comma-separated names out of *known*."""

    def convert(text: str) -> tuple[str, ...]:
        names = tuple(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
        if not names or not set(names) <= set(known):
            raise argparse.ArgumentTypeError(f"choose from {', '.join(known)}")
        return names

    return convert


def add_peers_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--peers``."""
    parser.add_argument(
        "--peers",
        type=some_of(PEERS),
        default=USUAL,
        metavar="NAME,...",
        help=f"of {', '.join(PEERS)} (default: all but direct)",
    )


def present(names: Sequence[str]) -> list[Peer]:
    """The peers that are here; the others are named on standard error."""
    peers = []
    for name in names:
        peer = PEERS[name]
        if peer.find() is None:
            print(f"{name} is not here and is left out: {peer.remedy}", file=sys.stderr)
            continue
        peers.append(peer)
    if not peers:
        raise BenchError("none of the peers is here")
    return peers
