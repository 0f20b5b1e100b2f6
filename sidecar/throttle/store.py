"""Redis, as far as a request can wait for it: an answer within `redis.timeout`, or none at all.

    connected ── no answer in time, or an error ──▶ away ── a connection is up and answers in time ──▶ connected

While it is away nobody waits: those who ask are told so at once, and a task of our own tries to come back, after a
pause that grows. Connections are made there and never for a request, as TLS and a password take longer than it may.
What is asked in one turn of the loop goes out in one piece: a round trip costs more than all else that a request does.
Knows the script and no exchange. redis-py is imported when the first connection is made.
"""

from __future__ import annotations

import asyncio
from functools import partial
from random import random
from typing import TYPE_CHECKING, Any, Final, NamedTuple, Protocol

from sidecar.settings import Redis as RedisSettings
from sidecar.throttle.script import SCRIPT, SHA, Answer, answer

if TYPE_CHECKING:
    from redis.asyncio import Redis

# Round trips at a time, each on a connection of its own; what comes meanwhile gathers for the next.
_LANES: Final = 4
_LARGEST_BATCH: Final = 256

# Seconds: for a connection; between attempts, at first and at most; in which a connection proves itself.
_CONNECT_TIMEOUT: Final = 1.0
_FIRST_PAUSE: Final = 0.1
_LONGEST_PAUSE: Final = 2.0
_STEADY: Final = 10.0


class Events(Protocol):
    """Who is told, once each, that Redis has gone and that it is back."""

    def redis_lost(self, why: str) -> None:
        """From here limits hold for each replica alone."""

    def redis_back(self, away: float) -> None:
        """From here they are shared again, after so many seconds."""


class _Question(NamedTuple):
    answer: asyncio.Future[Answer | None]
    key: bytes
    arguments: tuple[str, ...]


class Store:
    """One Redis for all limits. `start` before the first question; `close` at the end."""

    def __init__(self, settings: RedisSettings, events: Events) -> None:
        self.settings = settings
        self.away = True  # until it is there
        self.outages = 0
        self._events = events
        self._loop = asyncio.get_running_loop()
        self._client: Redis | None = None
        self._questions: list[_Question] = []
        self._flush_is_due = False
        self._trips: set[asyncio.Task[None]] = set()
        self._recovery: asyncio.Task[None] | None = None
        self._generation = 0  # of the connection: what fails of an earlier one is no news
        self._changed = self._loop.time()  # when it went or came back
        self._pause = _FIRST_PAUSE
        self._closed = False

    async def start(self) -> None:
        """Connect. Where that fails it is tried again and again, and this returns after a second at the latest."""
        self._client = _client(self.settings)
        why = await self._connect()
        if why:
            self._lose(why, self._generation)
        else:
            self._find()

    async def close(self) -> None:
        """Let go of every connection; whoever still asks is told that Redis is away."""
        self._closed = self.away = True
        tasks = [*self._trips, *([self._recovery] if self._recovery else [])]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        self._give_up_questions()
        if self._client is not None:
            await self._client.aclose()

    def ask(self, key: bytes, arguments: tuple[str, ...]) -> asyncio.Future[Answer | None]:
        """Run the script on a bucket; answered with None, about within the time-out, where Redis does not answer.

        Who no longer wants the answer cancels the future; what has not gone out by then never does.
        """
        question = _Question(self._loop.create_future(), key, arguments)
        self._questions.append(question)
        if not self._flush_is_due:
            self._flush_is_due = True
            self._loop.call_soon(self._flush)
        return question.answer

    # ── round trips

    def _flush(self) -> None:
        self._flush_is_due = False
        if self.away:
            self._give_up_questions()
            return
        while self._questions and len(self._trips) < _LANES:
            batch, self._questions = self._questions[:_LARGEST_BATCH], self._questions[_LARGEST_BATCH:]
            batch = [question for question in batch if not question.answer.done()]
            if batch:
                trip = self._loop.create_task(self._travel(batch, self._generation))
                self._trips.add(trip)
                trip.add_done_callback(partial(self._returned, batch))

    def _returned(self, batch: list[_Question], trip: asyncio.Task[None]) -> None:
        # Not at the trip's own end, which one that was cancelled before it began never comes to.
        for question in batch:
            _tell(question, None)
        self._trips.discard(trip)
        if self._questions:
            self._flush()

    def _give_up_questions(self) -> None:
        questions, self._questions = self._questions, []
        for question in questions:
            _tell(question, None)

    async def _travel(self, batch: list[_Question], generation: int) -> None:
        try:
            # From here, not from the question: how late our own loop is must not be laid on Redis.
            async with asyncio.timeout(self.settings.timeout):
                replies = await self._run(batch)
        except TimeoutError:
            self._lose(f"no answer within {self.settings.timeout * 1e3:g} ms", generation)
        except Exception as error:  # whatever it is, requests go on
            self._lose(_reason(error), generation)
        else:
            for question, reply in zip(batch, replies, strict=True):
                if isinstance(reply, Exception):
                    self._lose(_reason(reply), generation)
                else:
                    _tell(question, answer(reply))

    async def _run(self, batch: list[_Question]) -> list[Any]:
        from redis.exceptions import NoScriptError

        replies = await self._pipeline(batch, "EVALSHA", SHA)
        if not any(isinstance(reply, NoScriptError) for reply in replies):
            return replies
        # A Redis that was restarted or flushed does not know it: then the script itself goes out, and is kept there.
        missing = [place for place, reply in enumerate(replies) if isinstance(reply, NoScriptError)]
        again = await self._pipeline([batch[place] for place in missing], "EVAL", SCRIPT)
        for place, reply in zip(missing, again, strict=True):
            replies[place] = reply
        return replies

    async def _pipeline(self, batch: list[_Question], command: str, script: str) -> list[Any]:
        assert self._client is not None
        async with self._client.pipeline(transaction=False) as pipeline:
            for question in batch:
                pipeline.execute_command(command, script, 1, question.key, *question.arguments)
            return await pipeline.execute(raise_on_error=False)

    # ── going and coming back

    def _lose(self, why: str, generation: int) -> None:
        if generation != self._generation or self._closed or self._recovery is not None:
            return
        now = self._loop.time()
        if now - self._changed > _STEADY:
            self._pause = _FIRST_PAUSE
        self.away = True
        self.outages += 1
        self._changed = now
        self._generation += 1
        self._give_up_questions()
        self._recovery = self._loop.create_task(self._recover())
        self._events.redis_lost(why)

    async def _recover(self) -> None:
        while True:
            await asyncio.sleep(self._pause * (0.5 + random() / 2))  # noqa: S311 - replicas must not come at once
            self._pause = min(2 * self._pause, _LONGEST_PAUSE)
            if not await self._connect():
                break
        self._recovery = None
        away = self._loop.time() - self._changed
        self._find()
        self._events.redis_back(away)

    def _find(self) -> None:
        self.away = False
        self._changed = self._loop.time()

    async def _connect(self) -> str:
        """Have a new connection for each lane, and an answer in the time that requests have; returns why not, or ""."""
        assert self._client is not None
        pool: Any = self._client.connection_pool
        connections: list[Any] = []
        try:
            async with asyncio.timeout(_CONNECT_TIMEOUT):
                await pool.disconnect(inuse_connections=False)
                try:
                    while len(connections) < _LANES:
                        connections.append(await pool.get_connection())
                finally:
                    for connection in connections:
                        await pool.release(connection)
            async with asyncio.timeout(self.settings.timeout):
                await self._client.ping()
        except Exception as error:
            return _reason(error)
        return ""

    def __repr__(self) -> str:
        return f"<Store {'away' if self.away else 'connected'}, {len(self._questions)} asking>"


def _tell(question: _Question, found: Answer | None) -> None:
    if not question.answer.done():
        question.answer.set_result(found)


def _client(settings: RedisSettings) -> Redis:
    from redis.asyncio import Redis
    from redis.asyncio.retry import Retry
    from redis.backoff import NoBackoff

    return Redis.from_url(
        settings.url,
        protocol=2,
        # The time-outs are ours, for a whole round trip. An attempt more would be one too late.
        socket_timeout=None,
        socket_connect_timeout=None,
        retry=Retry(NoBackoff(), 0),
        # A trip that was cut may still hold its connection when those of the next generation are made.
        max_connections=2 * _LANES,
    )


def _reason(error: Exception) -> str:
    """What went wrong, for the log; redis-py's messages name the place and never the password."""
    return "no answer in time" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
