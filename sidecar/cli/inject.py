"""`sidecar inject`: manifests in, manifests with the sidecar out. Knows the command line, not how it is done."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Final

from sidecar.cli.commands import COMMANDS
from sidecar.cli.parsing import Parser
from sidecar.inject.options import OPT_OUT, OPTIONS, PREFIX, checked

EXIT_FAILED: Final = 1

_EPILOG: Final = f"""\
Each of these can also be said by an annotation of a workload or of its pod template: --app-drain 5s is
{PREFIX}app-drain: 5s, and an annotation wins over a flag. {OPT_OUT}: "false" leaves a workload alone.

  sidecar inject -f app.yaml | kubectl apply -f -
  kubectl get deploy app -o yaml | sidecar inject -f - --uninject | kubectl apply -f -"""


def inject(argv: list[str]) -> int:
    """Print the manifests with the sidecar in every pod, or without it; nothing if anything is wrong with them."""
    parser = _parser()
    given = parser.parse(argv)
    file, undo = given.pop("file", ""), "uninject" in given
    given.pop("uninject", None)
    if not file:
        parser.error("which manifests? Give -f FILE, or -f - for those on stdin")
    for name, value in given.items():
        try:
            checked(name, value)
        except ValueError as error:
            parser.error(f"{OPTIONS[name].flag} {value} {error}")
    try:
        from sidecar.inject import stream
    except ModuleNotFoundError as error:
        if (error.name or "").partition(".")[0] != "ruamel":
            raise
        return _failed("needs ruamel.yaml to read manifests: pip install 'sidecar[inject]'")
    try:
        text = _read(file)
    except (OSError, UnicodeDecodeError) as error:
        return _failed(f"{file}: {error.strerror if isinstance(error, OSError) else 'is not UTF-8'}")
    result = stream.uninject(text) if undo else stream.inject(text, given)
    for said in [*result.notes, *result.problems]:
        print(f"sidecar inject: {said}", file=sys.stderr)
    if result.problems:
        return EXIT_FAILED
    sys.stdout.buffer.write(result.text.encode())
    return 0


def _parser() -> Parser:
    usage = "sidecar inject -f FILE|- [--uninject] [flags]"
    parser = Parser("sidecar inject", f"sidecar inject: {COMMANDS['inject'].purpose}.", usage, _EPILOG)
    parser.add_argument("-f", "--filename", dest="file", metavar="FILE", help="Manifests, YAML or JSON; - is stdin.")
    parser.add_argument("--uninject", action="store_true", help="Take out what was injected.")
    for option in OPTIONS.values():
        default = f" Default {option.default}." if option.default else ""
        described = f"{option.meaning}{default}".replace("%", "%%")
        parser.add_argument(option.flag, dest=option.name, metavar=option.metavar, help=described)
    return parser


def _read(file: str) -> str:
    """The text as it is: nothing becomes of its line ends."""
    raw = sys.stdin.buffer.read() if file == "-" else Path(file).read_bytes()
    return raw.decode("utf-8")


def _failed(why: str) -> int:
    print(f"sidecar inject: {why}", file=sys.stderr)
    return EXIT_FAILED
