"""A call's id, and times as text: what both tell of each other. Pure.

An id is a ULID (github.com/ulid/spec): 26 characters that sort by time. Not here: what has an id.
"""

from __future__ import annotations

import random
import re
from datetime import UTC, datetime
from functools import lru_cache


def iso(seconds: float) -> str:
    """Seconds since 1970 as ISO 8601 in UTC with milliseconds; as text these sort by time."""
    second, microseconds = divmod(round(seconds * 1_000_000), 1_000_000)
    return f"{_to_the_second(second)}.{microseconds // 1000:03d}Z"


def epoch(text: str) -> float:
    """Seconds since 1970 of an ISO 8601 text (Ollama writes nanoseconds: cut to microseconds).

    Raises ValueError or OverflowError for what is none.
    """
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", text)).timestamp()


@lru_cache(maxsize=16)
def _to_the_second(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()[:-6]


ID_ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"
_PAIRS = [first + second for first in ID_ALPHABET for second in ID_ALPHABET]
_last_milliseconds = 0
_second, _time = -1, ""
_count = 0


def new_id(now: float) -> str:
    """A ULID (github.com/ulid/spec): 26 characters that sort by time, rising within the process.

    Of its 80 random bits 60 are the process's, the last 20 count. A clock that goes back does not
    make ids go back: the last millisecond is kept and counted on.
    """
    global _last_milliseconds, _second, _time, _count
    milliseconds = int(now * 1000)
    _count += 1
    if milliseconds > _last_milliseconds or _count >> 20:
        _last_milliseconds = max(milliseconds, _last_milliseconds + 1)
        _count = 0
        if _last_milliseconds >> 10 != _second:
            _second = _last_milliseconds >> 10
            _time = _characters(_second, 8)
    last = _PAIRS[_last_milliseconds & 1023]
    return f"{_time}{last}{_PROCESS}{_PAIRS[_count >> 10]}{_PAIRS[_count & 1023]}"


def first_id(moment: float) -> str:
    """The least id that a call can have that began then, in seconds since 1970."""
    return _characters(int(moment * 1000), 10) + ID_ALPHABET[0] * 16


def moment_of(id: str) -> float:
    """When the call of this id began, in seconds since 1970: its first ten characters tell."""
    milliseconds = 0
    for character in id[:10]:
        milliseconds = milliseconds * 32 + ID_ALPHABET.index(character)
    return milliseconds / 1000


def _characters(value: int, count: int) -> str:
    """The last `count` digits of a number to the base 32, two at a time; `count` is even."""
    return "".join([_PAIRS[value >> shift & 1023] for shift in range(5 * count - 10, -1, -10)])


_PROCESS = _characters(random.getrandbits(60), 12)
