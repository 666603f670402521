"""One page of stored calls, found by what a `Filter` says: the SQL, and how long it may take.

All that a filter or an order asks for but the text is in one index: a scan of it takes 20 to 60 ms
for 200,000 calls, whatever is asked, but seconds from a cold disk. Calls are looked through from
the newest on, in portions; where that takes long the page ends there, and says so: in another order
than the newest first it is then one of the calls so far. Not here: who reads (`sqlite.py`), what a
filter means (`filters.py`, a test compares the two).
"""

from __future__ import annotations

import contextlib
import heapq
import re
import sqlite3
from collections.abc import Callable, Generator, Iterator
from typing import Any

from ollama_proxy.exchange import Call
from ollama_proxy.filters import kinds_of, place_of, spellings, spelt
from ollama_proxy.ids import first_id
from ollama_proxy.records import SORTS, Filter
from ollama_proxy.storage.base import COLUMNS, Found, from_row, page
from ollama_proxy.storage.errors import TooLong

INDEX = "calls_to_search"
SEARCH_SECONDS = 0.06
"""How long a page may look through texts."""
INDEX_SECONDS = 0.5
"""How long it may look through the index."""
PORTION, LARGEST_PORTION, LARGEST_OF_INDEX = 64, 512, 65536
"""Rows looked at before the clock is, at first and later: they may be 2 MB each, or on a cold disk
that takes a hundred times as long for them as the cache did for the last ones."""

STEPS = 10_000
"""Of SQLite's machine, between two looks at the clock."""

_SELECT = f"SELECT {', '.join(COLUMNS)} FROM calls INDEXED BY {INDEX}"
_FIRST = f"SELECT id FROM calls INDEXED BY {INDEX}"
_PLACE = "SELECT id FROM calls {} ORDER BY id DESC LIMIT 1 OFFSET ?"
_TEXTS = ("prompt", "response", "error")
# Bound to the call, not `IN` all those of the kind: of 60,000 that took as long for each portion.
_FOUND = (
    "EXISTS (SELECT 1 FROM occurrences JOIN findings ON findings.id = finding"
    " WHERE call = calls.id AND kind IN ({}))"
)

SHORT = 60.0
# When a call began only its row tells: read of those that are long, or began shortly before.
_RAN_ON = (
    "(id >= ? OR state = 'running' OR (id >= ? OR duration > ?)"
    " AND (julianday(started_at) - 2440587.5) * 86400 + duration > ?)"
)

Term = tuple[str, tuple[Any, ...]]
"""A condition and the values bound to its marks."""


def search(
    connection: sqlite3.Connection, wanted: Filter, limit: int, clock: Callable[[], float]
) -> Found:
    """The first of the calls that `wanted` describes, a `page` of at most `limit`."""
    scan = _Scan(connection, wanted, limit, clock)
    # Closed: a statement broken off in the middle would hold back every checkpoint.
    with contextlib.closing(scan.newest() if wanted.sort is None else scan.ranked()) as calls:
        found = page(calls, limit)
    return Found(found, scan.stopped_at)


def oldest(
    connection: sqlite3.Connection, wanted: Filter, clock: Callable[[], float]
) -> str | None:
    """The id of the oldest call that `wanted` describes. Raises TooLong."""
    ends = [end for end in (wanted.before, wanted.until) if end is not None]
    where, values = _joined(_range(wanted.since, min(ends, default=None)) + terms(wanted))
    until = clock() + INDEX_SECONDS
    connection.set_progress_handler(lambda: clock() > until, STEPS)
    try:
        found = connection.execute(f"{_FIRST} {where} ORDER BY id LIMIT 1", values).fetchone()
    except sqlite3.OperationalError as error:
        if clock() > until:
            raise TooLong from error
        raise
    finally:
        connection.set_progress_handler(None, 0)
    return None if found is None else str(found[0])


class _Scan:
    """A walk from the newest call on. `stopped_at`: the last one looked at, if time ran out."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        wanted: Filter,
        limit: int,
        clock: Callable[[], float],
    ) -> None:
        self.stopped_at: str | None = None
        self._connection = connection
        self._clock = clock
        self._limit = limit
        self._since = wanted.since
        ends = [end for end in (wanted.before, wanted.until) if end is not None]
        self._before = min(ends, default=None)
        self._terms = terms(wanted)
        self._key = sort_key(wanted.sort)
        self._in_portions = bool(self._terms) or wanted.sort is not None
        self._seconds, self._largest = INDEX_SECONDS, LARGEST_OF_INDEX
        if wanted.text is not None:
            self._seconds, self._largest = SEARCH_SECONDS, LARGEST_PORTION

    def newest(self) -> Generator[Call]:
        for last, before in self._portions():
            yield from self._between(last, before)

    def ranked(self) -> Generator[Call]:
        """Sorted are places only: to sort rows would be to hold all the texts that match."""
        first: list[tuple[float, str]] = []
        for last, before in self._portions():
            first = heapq.nlargest(self._limit, first + self._first_between(last, before))
        for _, id in first:
            row = self._connection.execute(f"{_SELECT} WHERE id = ?", (id,)).fetchone()
            if row is not None:  # it was deleted meanwhile
                yield from_row(row)

    def _portions(self) -> Iterator[tuple[str | None, str | None]]:
        """From which id to before which, as long as there is time."""
        began, looked, portion, before = self._clock(), 0, PORTION, self._before
        while True:
            last = self._place(before, portion) if self._in_portions else None
            yield last, before
            if last is None:
                return
            before, looked = last, looked + portion
            spent = max(self._clock() - began, 1e-6)
            if spent >= self._seconds:
                self.stopped_at = last
                return
            left = int(looked / spent * (self._seconds - spent))
            portion = max(PORTION, min(left, 4 * looked, self._largest))

    def _place(self, before: str | None, rows: int) -> str | None:
        """The id of so many rows on from `before`; None if there are no more than that."""
        where, values = _joined(_range(self._since, before))
        sql = _PLACE.format(where)
        found = self._connection.execute(sql, [*values, rows - 1]).fetchone()
        return None if found is None else str(found[0])

    def _between(self, last: str | None, before: str | None) -> Iterator[Call]:
        where, values = _joined(_range(last or self._since, before) + self._terms)
        sql = f"{_SELECT} {where} ORDER BY id DESC LIMIT ?"
        rows = self._connection.execute(sql, [*values, self._limit])
        with contextlib.closing(rows):
            yield from map(from_row, rows)

    def _first_between(self, last: str | None, before: str | None) -> list[tuple[float, str]]:
        where, values = _joined(_range(last or self._since, before) + self._terms)
        sql = (
            f"SELECT {self._key}, id FROM calls INDEXED BY {INDEX} {where}"
            f" ORDER BY {self._key} DESC, id DESC LIMIT ?"
        )
        return self._connection.execute(sql, [*values, self._limit]).fetchall()


def sort_key(sort: str | None) -> str:
    """As `filters.place` has it. The column is from a list, never from what was asked."""
    return next((f"coalesce({column}, -1)" for column in SORTS if column == sort), "0")


def terms(wanted: Filter) -> list[Term]:
    """What the filter asks for, but for the ids; the text last, as only it needs the rows."""
    equal = {
        "client": wanted.client,
        "state": wanted.state,
        "path": wanted.route,
        "reason": wanted.reason,
    }
    found: list[Term] = [(f"{name} = ?", (is_,)) for name, is_ in equal.items() if is_ is not None]
    if wanted.model is not None:
        names = spellings(wanted.model)
        marks = ", ".join("?" * len(names))
        found.append((f"model COLLATE NOCASE IN ({marks})", names))
    if wanted.finding is not None:
        named = "id IN (SELECT call FROM occurrences WHERE finding = ?)"
        found.append((named, (wanted.finding,)))
    if wanted.insight is not None:
        kinds = kinds_of(wanted.insight)
        found.append((_FOUND.format(", ".join("?" * len(kinds))), tuple(kinds)))
    if wanted.sort is not None and wanted.after is not None:
        found.append((f"({sort_key(wanted.sort)}, id) < (?, ?)", place_of(wanted.after)))
    if wanted.slower_than is not None:
        found.append(("duration > ?", (wanted.slower_than,)))
    if wanted.ended_after is not None:
        moment = wanted.ended_after
        ids = (first_id(moment), first_id(max(0.0, moment - SHORT)))
        found.append((_RAN_ON, (*ids, SHORT, moment)))
    if wanted.text is not None:
        patterns = [f"%{_literally(one)}%" for one in spelt(wanted.text)]
        alike = [f"{name} LIKE ? ESCAPE '\\'" for name in _TEXTS for _ in patterns]
        found.append((f"({' OR '.join(alike)})", tuple(patterns * len(_TEXTS))))
    return found


def _literally(text: str) -> str:
    """As a part of a LIKE pattern that stands for itself."""
    return re.sub(r"[\\%_]", r"\\\g<0>", text)


def _range(since: str | None, before: str | None) -> list[Term]:
    ends = {"id >= ?": since, "id < ?": before}
    return [(text, (end,)) for text, end in ends.items() if end is not None]


def _joined(given: list[Term]) -> tuple[str, list[Any]]:
    where = f"WHERE {' AND '.join(text for text, _ in given)}" if given else ""
    return where, [value for _, values in given for value in values]
