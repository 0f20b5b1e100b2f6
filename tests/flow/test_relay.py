"""A response's body on its way to the client: who was waited for."""

from __future__ import annotations

import pytest

from sidecar.errors import CONNECTION_LOST, SidecarError
from sidecar.exchange import Exchange, FixedBody, Request
from sidecar.headers import Headers
from sidecar.relay import Relay
from tests.flow.test_exchange import Timer
from tests.http1.support import Clock, Taken


class Source:
    """A valve that remembers its turns."""

    def __init__(self) -> None:
        self.turns: list[str] = []

    def pause(self) -> None:
        self.turns.append("pause")

    def resume(self) -> None:
        self.turns.append("resume")

    def cancel(self) -> None:
        self.turns.append("cancel")


class Scene:
    """A relay between a source and a sink."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.exchange = Exchange(Request("GET", b"/", Headers()), b"id", "", clock.now, Timer())
        self.taken = Taken()
        self.moves: list[float] = []
        self.source = Source()
        self.relay = Relay(self.exchange, self.taken, self.moves.append)

    def after(self, seconds: float) -> Relay:
        """Let time pass; gives the relay."""
        self.clock.now += seconds
        return self.relay


@pytest.fixture
def scene(monkeypatch: pytest.MonkeyPatch) -> Scene:
    clock = Clock()
    clock.rule(monkeypatch, "sidecar.relay")
    scene = Scene(clock)
    scene.relay.source = scene.source
    return scene


def test_the_body_passes_as_it_is(scene: Scene) -> None:
    """Pieces, raw form, trailers; the sink's valve is the relay."""
    scene.relay.start(FixedBody(b"hello"))
    assert (scene.taken.content, scene.taken.ends) == (b"hello", [b""])
    assert scene.taken.source is scene.relay

    other = Scene(scene.clock)
    other.relay.data(b"a", b"1\r\na\r\n")
    other.relay.end(b"X: 1\r\n")
    assert other.taken.pieces == [(b"a", b"1\r\na\r\n")]
    assert other.taken.ends == [b"X: 1\r\n"]


def test_time_between_pieces_is_the_upstreams(scene: Scene) -> None:
    """Unless the client holds it up."""
    scene.after(2.0).data(b"a", None)
    scene.after(1.0).pause()
    scene.after(5.0).resume()
    scene.after(0.5).data(b"b", None)
    scene.after(0.25).end(b"")

    assert (scene.exchange.upstream_wait, scene.exchange.client_wait) == (3.75, 5.0)


def test_a_pause_reaches_the_upstream(scene: Scene) -> None:
    """And so does everything else that the client's side wishes."""
    scene.relay.pause()
    scene.relay.resume()
    scene.relay.cancel()

    assert scene.source.turns == ["pause", "resume", "cancel"]


def test_a_cancelled_wait_is_accounted_for(scene: Scene) -> None:
    """To whom it was for."""
    scene.relay.pause()
    scene.after(3.0).cancel()

    assert (scene.exchange.upstream_wait, scene.exchange.client_wait) == (0.0, 3.0)


def test_a_cut_is_passed_on(scene: Scene) -> None:
    """With its reason."""
    error = SidecarError(CONNECTION_LOST, "lost")
    scene.after(1.0).abort(error)

    assert scene.taken.error is error
    assert scene.exchange.upstream_wait == 1.0


def test_whoever_watches_is_told_of_movement(scene: Scene) -> None:
    """Bytes that come, and a client that reads on."""
    scene.after(1.0).data(b"a", None)
    scene.after(1.0).pause()
    scene.after(1.0).resume()

    assert scene.moves == [1001.0, 1003.0]
