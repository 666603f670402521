"""The calls that ended, and those that run, as lists: what memory knows, then what the store does.

A call is told from where it is known best: the running ones and the recent ring first, then the
store, without which the lists still are. Not here: how a list is asked for (`query.py`), JSON.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Protocol, TypeVar

import msgspec

from ollama_proxy.admin.query import is_id
from ollama_proxy.charts import Asked
from ollama_proxy.exchange import Call, State
from ollama_proxy.filters import matches, place
from ollama_proxy.ids import ID_ALPHABET, iso
from ollama_proxy.live import Live
from ollama_proxy.logs import where
from ollama_proxy.records import Filter, Finding, Flip, Mark, Occurrence
from ollama_proxy.replay import Capture
from ollama_proxy.storage.base import MAX_LIMIT, Found, page
from ollama_proxy.storage.errors import StoreError, TooLong

log = logging.getLogger(__name__)

T = TypeVar("T")

READ_SECONDS = 5.0


class Reader(Protocol):
    """Reads the store, off the event loop."""

    async def search(self, wanted: Filter) -> Found: ...

    async def oldest(self, wanted: Filter) -> str | None: ...

    async def call(self, id: str) -> Call | None: ...

    async def capture(self, id: str) -> Capture | None: ...

    async def marks(self, wanted: Filter) -> list[Mark]: ...

    async def flips(self, wanted: Filter) -> list[Flip]: ...

    async def findings(self, wanted: Filter) -> list[Finding]: ...

    async def finding(self, id: str) -> Finding | None: ...

    async def waits(self, call: str) -> list[Occurrence]: ...

    async def series(self, asked: Asked) -> dict[str, Any]: ...

    def interrupt(self) -> None:
        """Give up what is being read."""


class Unreadable(Exception):
    """The store does not answer now."""


class History:
    """`hidden` are kinds of findings that are told only where they are asked for.

    `error` and `error_since` say why the store cannot be read and since when, until it can."""

    def __init__(
        self,
        live: Live,
        reader: Reader,
        now: Callable[[], float],
        hidden: tuple[str, ...] = (),
    ) -> None:
        self.hidden = hidden
        self.error: str | None = None
        self.error_since: str | None = None
        self._live, self._reader, self._now = live, reader, now

    async def search(self, wanted: Filter) -> Found:
        """One page of running, just ended and stored calls, newest first or as it is sorted.

        It may be shorter than its limit although more follow: see `storage.base.page` and `Found`.
        While the store does not answer, it is of what memory knows, and incomplete; where memory
        knows of nothing it raises Unreadable.
        """
        try:
            return await self.search_all(wanted)
        except Unreadable:
            found = self._with_live(Found([]), wanted)
            if not found.calls:
                raise
            return msgspec.structs.replace(found, incomplete=True)

    async def search_all(self, wanted: Filter) -> Found:
        """The same, but raises Unreadable."""
        # Only what runs here is running, and that is known without the store.
        if wanted.state == State.RUNNING:
            return self._with_live(Found([]), wanted)
        return self._with_live(await self._read(self._reader.search(wanted)), wanted)

    async def newer(self, id: str, wanted: Filter) -> str | None:
        """The id of the first call after this one that the filter describes. Raises Unreadable, and
        TooLong where which is next is not known."""
        since = max(wanted.since or "", id + ID_ALPHABET[0])  # this one is below, the next above
        wanted = msgspec.structs.replace(wanted, since=since)
        live = [*self._live.recent_calls(), *self._live.active()]
        ids = [call.id for call in live if matches(call, wanted)]
        if wanted.state != State.RUNNING:
            stored = await self._read(self._reader.oldest(wanted))
            if stored is not None:
                ids.append(stored)
        return min(ids, default=None)

    async def recent(self, limit: int) -> list[Call]:
        """Calls that ended, newest first."""
        return self.recent_of(limit, await self.stored_recent(limit))

    def recent_of(self, limit: int, stored: list[Call]) -> list[Call]:
        ended = {call.id: call for call in stored if call.state != State.RUNNING}
        ended.update((call.id, call) for call in self._live.recent_calls())
        return [ended[id] for id in sorted(ended, reverse=True)[:limit]]

    async def stored_recent(self, limit: int) -> list[Call]:
        """Nothing, where the ring has enough: a page that opens then does not touch the store.

        But while reading fails each page tries again, so that what it says of it stays true.
        """
        if self.error is None and len(self._live.recent_calls(limit)) >= limit:
            return []
        wanted = Filter(limit=min(MAX_LIMIT, limit + self._live.running))
        try:
            return (await self._read(self._reader.search(wanted))).calls
        except Unreadable:
            return []

    async def call(self, id: str) -> Call | None:
        """One call, running or ended. Raises Unreadable."""
        known = self._live.call(id)
        if known is not None or not is_id(id):
            return known
        return await self._read(self._reader.call(id))

    async def capture(self, id: str) -> Capture | None:
        """Raises Unreadable."""
        self._live.settle()
        return await self._read(self._reader.capture(id)) if is_id(id) else None

    async def marks(self, wanted: Filter) -> list[Mark]:
        """What changed in Ollama, newest first. Raises Unreadable."""
        return await self._read(self._reader.marks(wanted))

    async def flips(self, wanted: Filter) -> list[Flip]:
        """Alerts' flips, newest first. Raises Unreadable."""
        return await self._read(self._reader.flips(wanted))

    async def findings(self, wanted: Filter) -> list[Finding]:
        """What was found of stored calls, what cost most first. Raises Unreadable."""
        if wanted.kind is None:
            wanted = msgspec.structs.replace(wanted, hidden=self.hidden)
        return await self._read(self._reader.findings(wanted))

    async def finding(self, id: str) -> Finding | None:
        """Raises Unreadable."""
        return await self._read(self._reader.finding(id))

    async def waits(self, call: str) -> list[Occurrence]:
        """For whom a call waited. Raises Unreadable."""
        return await self._read(self._reader.waits(call))

    async def series(self, asked: Asked) -> dict[str, Any]:
        """The columns of a chart. Raises Unreadable."""
        return await self._read(self._reader.series(asked))

    def _with_live(self, stored: Found, wanted: Filter) -> Found:
        if wanted.finding is not None or wanted.insight is not None:
            # Which calls a finding names only the store knows; how they are, memory knows better.
            calls = [self._live.call(call.id) or call for call in stored.calls]
            return msgspec.structs.replace(stored, calls=calls)
        oldest = self._live.oldest()
        if wanted.before is not None and (oldest is None or wanted.before <= oldest):
            return stored
        live = {call.id: call for call in [*self._live.recent_calls(), *self._live.active()]}
        found = {call.id: call for call in stored.calls if call.id not in live}
        # What is in memory below that place is on the next page, or was not looked at either.
        end = stored.scanned_to or ""
        found.update((id, call) for id, call in live.items() if id >= end and matches(call, wanted))
        in_order = sorted(found.values(), key=lambda call: place(call, wanted.sort), reverse=True)
        calls = page(in_order, wanted.limit)
        whole = wanted.sort is None and len(calls) < len(found)
        return Found(calls, None if whole else stored.scanned_to)

    async def _read(self, reading: Awaitable[T]) -> T:
        try:
            async with asyncio.timeout(READ_SECONDS):
                found = await reading
        except TooLong:
            raise
        except Exception as error:
            if isinstance(error, TimeoutError):
                self._reader.interrupt()  # else whoever reads next waits for it
            self._note_failure(error)
            raise Unreadable from error
        if self.error is not None:
            log.warning("the store can be read again")
        self.error = self.error_since = None
        return found

    def _note_failure(self, error: Exception) -> None:
        """For the status, and the first of a row for the log. Only a StoreError's text is told."""
        told = str(error) if isinstance(error, StoreError) else None
        if self.error is None:
            log.warning("the store could not be read: %s", told or where(error))
            self.error_since = iso(self._now())
        self.error = told or f"the store cannot be read ({type(error).__name__}): see the log"
