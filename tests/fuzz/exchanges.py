"""Target `exchange`: both sides of the real proxy, in memory, between a client and an upstream that send anything.

An input is what the client sends, then what the upstream answers, request by request, behind lines that say how:

    <<< answers                 it answers a request that it has read whole, and stays
    <<< answers and closes      the stream ends behind the answer
    <<< answers early           at the request's head
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from typing import Final, NamedTuple

from sidecar.errors import BAD_RESPONSE, CONNECTION_LOST, INTERNAL, REASONS, Side
from sidecar.settings import Http
from tests.flow.scene import OK, Far, Scene
from tests.flow.virtual import travel
from tests.fuzz import peer
from tests.fuzz.finding import bounded, demand, dice
from tests.http1.support import slices

SEPARATOR: Final = re.compile(rb"\n<<< (answers|answers and closes|answers early)\n")
# Whether a refusal for this reason is the last thing that its connection sees.
_CLOSING: Final = {reason.token: reason.close for reason in REASONS}
# Random; or told only where the request has come in whole by then; or more where a kept connection was found closed.
_BY_CHANCE: Final = frozenset(
    {b"x-request-id", b"x-request-timeout-ms", b"x-envoy-expected-rq-timeout-ms", b"x-envoy-attempt-count"}
)
# What an upstream that closes or says nonsense comes to depends on when that is seen.
_UPSTREAMS: Final = frozenset(reason.token for reason in REASONS if reason.side is Side.UPSTREAM)
_MOST: Final = 12  # requests that are answered


class Script(NamedTuple):
    """An input, taken apart."""

    asked: bytes
    answers: list[tuple[str, bytes]]

    @property
    def early(self) -> bool:
        """Whether an answer may overtake its request: then what else happens depends on when."""
        return any(how == "answers early" for how, _ in self.answers)


def script(data: bytes) -> Script:
    """Take it apart."""
    asked, *rest = SEPARATOR.split(data)
    return Script(asked, [(how.decode(), answer) for how, answer in zip(rest[::2], rest[1::2], strict=True)])


class Answered(NamedTuple):
    """One request that reached the upstream, and what that said to it (None: nothing yet)."""

    request: peer.Message
    told: peer.Message | None
    reading: peer.Reading  # of what it said
    tunnelled: bytes | None  # what came through the tunnel that it opened


class Seen(NamedTuple):
    """What both ends saw."""

    upstream: list[Answered]
    client: list[peer.Message]
    client_error: str


class _Upstream:
    """The other end of the proxy's connections: answers by the script, what a strict reader reads."""

    def __init__(self, scene: Scene, answers: list[tuple[str, bytes]]) -> None:
        self._scene = scene
        self._left = list(answers)
        self._said: dict[Far, list[tuple[bytes, bool]]] = {}

    def answer(self) -> bool:
        """Answer what has come; whether there was anything."""
        acted = False
        for far in self._scene.far_upstreams:
            said = self._said.setdefault(far, [])
            read = peer.requests(far.got).messages
            how = self._left[0][0] if self._left else "answers"
            ready = sum(message.complete or how == "answers early" for message in read)
            if far.lost or far.wire.is_closing() or len(said) >= min(ready, _MOST):
                continue
            answer = self._left.pop(0)[1] if self._left else OK
            said.append((answer, how == "answers and closes"))
            far.send(answer)
            if how == "answers and closes":
                far.wire.close()
            acted = True
        return acted

    @property
    def answered(self) -> list[Answered]:
        """All that came, in its order: one connection after the other, as each request waits for the one before."""
        return [each for far, said in self._said.items() for each in _answered(far.got, said)]


def _answered(got: bytes, said: list[tuple[bytes, bool]]) -> Iterator[Answered]:
    """What came on one connection, each with what was said to it."""
    while got:
        reading = peer.requests(got, most=1)
        demand(not reading.error, "h11 refuses what the upstream gets", reading.error, got)
        got = reading.rest
        for request in reading.messages:
            answer, closes = said.pop(0) if said else (b"", False)
            told = peer.answers(answer, [request.first.decode()], ended=closes)
            message = told.messages[0] if told.messages else None
            tunnel = message is not None and message.first == b"101" and bool(request.all(b"upgrade"))
            yield Answered(request, message, told, got if tunnel else None)
            if tunnel:
                return


async def _play(given: Script, piece: Callable[[], int], seen: list[Seen]) -> None:
    async with Scene(piece=piece, http=Http(max_header_bytes=1024, max_headers=20, max_body=500)) as scene:
        client = scene.client()
        client.send(given.asked)
        upstream = _Upstream(scene, given.answers)
        await scene.quiet()
        while upstream.answer():
            await scene.quiet()
        answered = upstream.answered
        methods = [message.first.decode() for message in peer.requests(given.asked).messages]
        told = peer.answers(client.got, [*methods, "GET"], ended=client.ended and not client.reset)
        seen.append(Seen(answered, told.messages, told.error))
        ended = [_CLOSING.get(exchange.reason, False) for exchange in scene.book.exchanges]
        demand(not any(ended[:-1]), "something is read behind what was refused", scene.book.exchanges)
        demand(not scene.book.faults and INTERNAL.token not in scene.book.reasons, "a fault", given)


def _seen(given: Script, piece: Callable[[], int]) -> Seen:
    seen: list[Seen] = []
    travel(lambda: _play(given, piece, seen))
    return seen[0]


def exchange(data: bytes) -> None:
    """See the module."""
    with bounded():
        given, random = script(data), dice(data)
        asked = peer.requests(given.asked)
        at_once = _seen(given, lambda: 1 << 20)
        with slices(random.choice((1, 2, 5, 128))):
            in_pieces = _seen(given, lambda: random.choice((1, 2, 5, random.randint(1, 60), random.randint(1, 4096))))
        for seen in (at_once, in_pieces):
            _look_at_upstream(given, asked, seen.upstream)
            _look_at_client(asked, seen)
        if not given.early:
            demand(_settled(at_once) == _settled(in_pieces), "pieces matter", _settled(at_once), _settled(in_pieces))


def _behind_a_proxy(said: peer.Message) -> bytes:
    """What its target is for an origin server (RFC 9112, sections 3.2.2 and 3.2.4)."""
    scheme, mark, rest = said.target.partition(b"://")
    if not mark or scheme.lower() not in (b"http", b"https"):
        return said.target
    path = rest[re.match(rb"[^/?]*", rest).end() :]  # type: ignore[union-attr]  # it matches anything
    if not path:
        return b"*" if said.first == b"OPTIONS" else b"/"
    return path if path.startswith(b"/") else b"/" + path


def _look_at_upstream(given: Script, asked: peer.Reading, answered: list[Answered]) -> None:
    """What reached it is what h11 read of the client's bytes, in order, and nothing behind what h11 refused."""
    messages = asked.messages
    if len(answered) > len(messages):
        demand(asked.excused, "a request that h11 does not read", asked.error, answered[len(messages)].request)
    for number, (came, said) in enumerate(zip(answered, messages, strict=False)):
        request = came.request
        if came.tunnelled is not None:
            behind = peer.requests(given.asked, most=number + 1).rest
            demand(behind.startswith(came.tunnelled), "other bytes in the tunnel", came.tunnelled, behind)
            demand(number + 1 == len(answered), "a request behind a tunnel", answered)
        demand(request.first == said.first, "another request reached the upstream", request, said)
        demand(request.target == _behind_a_proxy(said), "another target", request, said)
        fields = peer.onward(said)
        demand(request.fields[: len(fields)] == fields, "other fields", request.fields, fields)
        excused = asked.excused and not said.complete
        if request.complete:
            demand(said.complete or excused, "looks whole to the upstream, and is not", request, said)
            demand(not said.complete or request.body == said.body, "another body", request, said)
            demand(not said.complete or request.trailers == peer.passing_trailers(said.trailers), "trailers", request)
        else:
            demand(said.body.startswith(request.body) or excused, "another beginning of a body", request, said)


def _look_at_client(asked: peer.Reading, seen: Seen) -> None:
    """Each of its answers is our own, or the whole of what the upstream said, or visibly cut."""
    demand(not seen.client_error, "h11 refuses what the client gets", seen.client_error)
    demand(len(seen.client) <= len(asked.messages) + 1, "more answers than requests", seen.client)
    theirs = iter(seen.upstream)
    for told in seen.client:
        if told.all(b"x-sidecar-reason"):
            if _is_upstreams_fault(told):
                next(theirs, None)
            continue
        came = next(theirs, None)
        demand(came is not None, "an answer that the upstream did not give", told)
        assert came is not None
        said = came.told
        demand(said is not None, "an answer that h11 refuses", came.reading.error, told)
        assert said is not None
        demand(told.first == said.first, "another status", told, said)
        if came.reading.excused:
            continue
        if told.first == b"101":
            return
        if told.complete:
            demand(said.complete, "looks whole to the client, and is not", told, said)
            demand(told.body == said.body, "another body is told", told, said)
        else:
            demand(said.body.startswith(told.body), "another beginning is told", told, said)
        if came.reading.rest:
            return  # bytes behind an answer that come only once the next request is out cannot be told from its answer


def _is_upstreams_fault(told: peer.Message) -> bool:
    """Whether we say that the answer of an upstream, which had the request, was none."""
    return told.all(b"x-sidecar-reason") in ([BAD_RESPONSE.token.encode()], [CONNECTION_LOST.token.encode()])


def _settled(seen: Seen) -> object:
    """What must not depend on the pieces: what was whole, up to the first answer that was not, or to a tunnel."""
    answers: list[object] = []
    requests: list[object] = []
    for number, told in enumerate(seen.client):
        reason = told.all(b"x-sidecar-reason")
        if not told.complete or told.first == b"101" or (reason and reason[0].decode() in _UPSTREAMS):
            break
        if reason and _CLOSING[reason[0].decode()]:
            answers.append("refused")  # which of several reasons is seen first does depend on them
            break
        answers.append((told.first, reason, told.body if not reason else b"", told.trailers))
        if number < len(seen.upstream) and seen.upstream[number].request.complete:
            request = seen.upstream[number].request
            fields = [pair for pair in request.fields if pair[0] not in _BY_CHANCE]
            requests.append((request.first, request.target, fields, request.body, request.trailers))
            if seen.upstream[number].reading.rest:
                break  # as in `_look_at_client`
    return answers, requests
