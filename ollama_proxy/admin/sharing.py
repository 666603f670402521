"""One answer for all who ask the same within a moment, and are content with one so old.

That they say by `Cache-Control: max-age=N` (RFC 9111 section 5.2.1.1); whoever does not gets an
answer of its own. Not here: what is asked, how it is answered.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

from aiohttp import web

T = TypeVar("T")

LONGEST = 1.0
"""Seconds that an answer is kept."""
_MAX_AGE = re.compile(r"\s*max-age=([0-9]{1,9})\s*", re.IGNORECASE)


def age_of(request: web.Request) -> float:
    """How old an answer may be, in seconds; more than `LONGEST` is not offered."""
    found = _MAX_AGE.fullmatch(request.headers.get("Cache-Control", ""))
    return min(LONGEST, float(found[1])) if found else 0.0


class Shared(Generic[T]):
    """Answers of the last moment by their questions, those that are yet being made included."""

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._made: dict[Hashable, tuple[float, asyncio.Future[T]]] = {}

    async def get(self, question: Hashable, age: float, make: Callable[[], Awaitable[T]]) -> T:
        """Raises what `make` does; what fails is not kept, and no asker's leaving ends it."""
        begun, answer = self._made.get(question, (0.0, None))
        if answer is None or self._clock() - begun >= age:
            answer = asyncio.ensure_future(make())
            kept = self._made[question] = self._clock(), answer
            answer.add_done_callback(lambda _: self._forget(question, kept))
        return await asyncio.shield(answer)

    def _forget(self, question: Hashable, kept: tuple[float, asyncio.Future[T]]) -> None:
        """At once if it failed, later if not; unless there is a newer one by then."""
        begun, answer = kept
        left = LONGEST - (self._clock() - begun)
        if left > 0 and not answer.cancelled() and answer.exception() is None:
            asyncio.get_running_loop().call_later(left, self._forget, question, (begun, answer))
        elif self._made.get(question) == kept:
            del self._made[question]
