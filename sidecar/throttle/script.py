"""The bucket that all replicas share, as a Lua script: Redis runs it as one step, by its own clock.

GCRA: a bucket is one number, the time at which it will have refilled, in microseconds. A request moves it on by the
time that one token takes. Clocks of replicas do not matter, and a key that has refilled expires.
"""

from __future__ import annotations

from hashlib import sha1
from typing import Final, NamedTuple

from sidecar.throttle.limit import Limit

_MICROSECONDS: Final = 1e6

# KEYS: the bucket. ARGV: the time of one token, of all tokens, that this request can wait, that any may wait; in µs.
# Returns whether it is admitted, in how many µs there is a token for it, and how many are left then.
# A time too far ahead is of a larger limit or of a clock that was put back: it is no more than an empty bucket.
SCRIPT: Final = """
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local interval, period, patience, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local full_at = math.max(now, tonumber(redis.call('GET', KEYS[1]) or now))
local function keep()
  redis.call('SET', KEYS[1], string.format('%.3f', full_at), 'PX', math.ceil((full_at - now) / 1000))
end
if full_at > now + period + most then
  full_at = now + period + most
  keep()
end
local delay = math.max(0, full_at + interval - period - now)
if delay > patience then
  return {0, math.ceil(delay), 0}
end
full_at = full_at + interval
keep()
return {1, math.ceil(delay), math.max(0, math.floor((now + period - full_at) / interval + 0.001))}
"""

SHA: Final = sha1(SCRIPT.encode("ascii"), usedforsecurity=False).hexdigest()  # Redis' name for it


class Answer(NamedTuple):
    """What Redis decided. `delay` is in seconds: until its turn, or too long."""

    admitted: bool
    delay: float
    remaining: int


def arguments(limit: Limit, patience: float, most: float) -> tuple[str, ...]:
    """The script's arguments. `patience` is how long this request can wait, `most` how long any may, in seconds."""
    times = limit.interval, limit.period, patience, most
    return tuple(f"{seconds * _MICROSECONDS:.3f}" for seconds in times)


def answer(reply: list[int]) -> Answer:
    """What the script returned."""
    admitted, delay, remaining = reply
    return Answer(admitted == 1, delay / _MICROSECONDS, remaining)
