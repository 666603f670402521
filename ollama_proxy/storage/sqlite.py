"""Calls and totals in one SQLite file, in WAL mode.

One connection does every write and every checkpoint; reads go by a second one, opened read-only,
which can do neither: SQLite before 3.51.3 may corrupt its WAL when two connections checkpoint and
commit at once. Each has its lock, so every method may be called from any thread, and a read never
waits for a write. Not here: when to write (`writer.py`), and what a total is (`stats.py`).
"""

from __future__ import annotations

import contextlib
import math
import sqlite3
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from pathlib import Path

import msgspec

from ollama_proxy.charts import Asked
from ollama_proxy.exchange import Call, Reason, State
from ollama_proxy.ids import iso
from ollama_proxy.insights.occurring import occurrences
from ollama_proxy.records import Filter, Finding, Flip, Holdings, Mark, Noted, Occurrence
from ollama_proxy.replay import Capture
from ollama_proxy.series import Gauges, Tallies, Tally
from ollama_proxy.stats import Statistics
from ollama_proxy.storage import findings, flips, folder, marks, recounting, series, totals
from ollama_proxy.storage.base import (
    COLUMNS,
    MAX_LIMIT,
    MIGRATIONS,
    Found,
    Migrations,
    from_row,
)
from ollama_proxy.storage.database import (
    atomic,
    check_readable,
    connect,
    damaged,
    explained,
    migrate,
    pragma,
    prepare,
)
from ollama_proxy.storage.errors import StoreError
from ollama_proxy.storage.inserting import StoredBefore, insert
from ollama_proxy.storage.search import oldest, search

BUSY_SECONDS = 2.0
# One step of pruning: some 10 ms, so that the rows which wait to be written hardly wait longer.
PRUNE_ROWS = 1000
PRUNE_PAGES = 2000
# To free what 1000 large captures took was a step of 6 s.
PRUNE_BYTES = 8 << 20
# To find out how many to forget, more are not counted: a million took longer than a whole step.
MANY_ROWS = 20 * PRUNE_ROWS
SECONDS_A_DAY = 86400.0

_SELECT = f"SELECT {', '.join(COLUMNS)} FROM calls"
# Not by a bound value: for that the index of running calls is not used.
_RUNNING = f"{_SELECT} WHERE state = 'running'"
_OLDEST = "SELECT id FROM calls WHERE state != 'running' ORDER BY id LIMIT ?"
_SIZES = (
    "SELECT length(capture) FROM calls LEFT JOIN captures USING (id) WHERE state != 'running'"
    " ORDER BY calls.id LIMIT ?"
)
_HOLDINGS = (
    "SELECT count(*), count(prompt), count(response), (SELECT count(*) FROM captures),"
    " min(started_at) FROM calls"
)
_COUNT = "SELECT count(*) FROM (SELECT id FROM calls LIMIT ?)"


class SqliteStore:
    """A `Store` in the file `path`, which a single process may have open."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.time,
        timer: Callable[[], float] = time.monotonic,
        migrations: Migrations = MIGRATIONS,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        self.path = path.absolute()
        self._clock = clock
        self._timer = timer
        self._migrations = migrations
        self._busy_seconds = busy_seconds
        self._claimed: int | None = None
        self._files: folder.Identities = {}
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._writing = threading.Lock()
        self._reading = threading.Lock()
        self._counted_from = ""  # see `series.counted_from`

    @property
    def is_open(self) -> bool:
        """Whether this process holds it, to write."""
        return self._claimed is not None

    def open(self, running: Collection[str] = ()) -> None:
        self._claimed = folder.claim(self.path)
        try:
            with explained(self.path):
                self._writer = connect(self.path, "rw", self._busy_seconds)
                prepare(self._writer, self.path)
                migrate(self._writer, self.path, self._migrations)
                with atomic(self._writer):
                    recounting.recount(self._writer, self.path, self._clock())
                self._counted_from = series.counted_from(self._writer)
                self._recover(running)
                self._reader = connect(self.path, "ro", self._busy_seconds)
            self._files = folder.identities(self.path)
        except BaseException:
            self.close()
            raise

    def open_to_read(self) -> None:
        """Beside a proxy that may have it open: it is not locked, nor anything in it changed."""
        try:
            self.path.stat()
        except (FileNotFoundError, NotADirectoryError):
            why = "does not exist: no call was recorded there so far"
            raise StoreError(f"{self.path} {why}") from None
        except OSError as error:
            raise folder.unreadable(self.path, error) from error
        try:
            with explained(self.path):
                self._reader = connect(self.path, "ro", self._busy_seconds)
                check_readable(self._reader, self.path, self._migrations)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """A write that hangs, on a dead disk, is not waited for: the process's end closes then."""
        if self._writing.acquire(timeout=self._busy_seconds):
            try:
                with self._reading:
                    self._close()
            finally:
                self._writing.release()

    def write(
        self,
        calls: Sequence[Call],
        captures: Sequence[Capture] = (),
        noted: Sequence[Noted] = (),
    ) -> None:
        """Looks after the commit whether the files are still there: then it was not in vain."""
        try:
            self._store(calls, captures, noted)
        except StoredBefore:
            self._store(calls, captures, noted, singly=True)
        folder.check(self.path, self._files)

    def statistics(self) -> Statistics:
        with self._read() as connection:
            return totals.load(connection, self.path)

    def search(self, wanted: Filter) -> Found:
        with self._read() as connection:
            return search(connection, wanted, min(wanted.limit, MAX_LIMIT), self._timer)

    def oldest(self, wanted: Filter) -> str | None:
        with self._read() as connection:
            return oldest(connection, wanted, self._timer)

    def call(self, id: str) -> Call | None:
        with self._read() as connection:
            row = connection.execute(f"{_SELECT} WHERE id = ?", (id,)).fetchone()
        return None if row is None else from_row(row)

    def capture(self, id: str) -> Capture | None:
        with self._read() as connection:
            row = connection.execute("SELECT capture FROM captures WHERE id = ?", (id,)).fetchone()
        try:
            return None if row is None else Capture.from_bytes(row[0])
        except (msgspec.MsgspecError, TypeError) as error:
            raise damaged(self.path, f"captures: {error}") from error

    def interrupt(self) -> None:
        """What is being read raises StoreError; without a lock, for that one is held."""
        reader = self._reader
        if reader is not None:
            reader.interrupt()

    def holdings(self) -> Holdings:
        with self._read() as connection:
            row = connection.execute(_HOLDINGS).fetchone()
        return Holdings(**dict(zip(Holdings.__struct_fields__, row, strict=True)))

    def mark(self, marked: Sequence[Mark]) -> None:
        with self._transaction() as connection:
            marks.write(connection, marked)

    def known(self) -> dict[tuple[str, str], str]:
        with self._read() as connection:
            return marks.known(connection)

    def marks(self, wanted: Filter) -> list[Mark]:
        with self._read() as connection:
            return marks.search(connection, wanted)

    def flip(self, flipped: Sequence[Flip]) -> None:
        with self._transaction() as connection:
            flips.write(connection, flipped)

    def flips(self, wanted: Filter) -> list[Flip]:
        with self._read() as connection:
            return flips.search(connection, wanted)

    def standing(self) -> tuple[list[Flip], dict[str, float]]:
        with self._read() as connection:
            return flips.latest(connection), flips.silences(connection)

    def silence(self, rule: str, until: float) -> None:
        with self._transaction() as connection:
            flips.silence(connection, rule, until)

    def findings(self, wanted: Filter) -> list[Finding]:
        with self._read() as connection:
            return findings.search(connection, wanted, self._clock())

    def finding(self, id: str) -> Finding | None:
        with self._read() as connection:
            return findings.one(connection, id, self._clock())

    def waits(self, call: str) -> list[Occurrence]:
        with self._read() as connection:
            return findings.waits(connection, call)

    def gauge(self, gauges: Sequence[tuple[int, Gauges]]) -> None:
        with self._transaction() as connection:
            series.add_gauges(connection, gauges, self._clock())

    def series(self, asked: Asked) -> dict[int, Tally]:
        with self._read() as connection:
            return series.read(connection, asked)

    def prune(
        self, max_age_days: float | None, max_bytes: int | None, max_rows: int | None = None
    ) -> bool:
        """`max_bytes` is held against the pages in use; pages set free go back to the disk.

        Calls that are yet to be counted are counted before any is forgotten.
        """
        if self._counted_from:
            self._catch_up()
            return True
        removed = 0
        if max_age_days is not None:
            cutoff = iso(self._clock() - max_age_days * SECONDS_A_DAY)
            removed = self._forget(PRUNE_ROWS, "AND started_at < ?", cutoff)
            with self._transaction() as connection:
                marks.forget(connection, cutoff)
                flips.forget(connection, cutoff)
        if not removed and max_rows is not None:
            removed = self._forget(self._rows_above(max_rows))
        if not removed and max_bytes is not None:
            removed = self._forget(self._rows_beyond(max_bytes))
        with self._transaction() as connection:
            findings.forget(connection)
            if max_age_days is not None:
                series.forget(connection, max_age_days, self._clock())
            folded = series.fold(connection, self._clock())
        return folded or self._shrink() or removed > 0

    def size_bytes(self) -> int:
        return sum(file.stat().st_size for file in folder.files(self.path))

    @contextlib.contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        with self._reading, explained(self.path):
            yield _opened(self._reader, self.path)

    @contextlib.contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._writing, explained(self.path):
            yield _opened(self._writer, self.path)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._write() as connection, atomic(connection):
            yield connection

    def _close(self) -> None:
        """The writer last: its close does the final checkpoint."""
        for connection in (self._reader, self._writer):
            if connection is not None:
                connection.close()
        self._reader = self._writer = None
        if self._claimed is not None:
            folder.release(self._claimed)
            self._claimed = None

    def _store(
        self,
        calls: Sequence[Call],
        captures: Sequence[Capture] = (),
        noted: Sequence[Noted] = (),
        *,
        singly: bool = False,
    ) -> None:
        """Raises StoredBefore, having done nothing."""
        batch, tallies = Statistics(), Tallies()
        with self._transaction() as connection:
            for call in insert(connection, calls, singly=singly):
                batch.add(call)
                if call.state != State.RUNNING and call.id >= self._counted_from:
                    tallies.add(call)
                if found := list(occurrences(call)):
                    findings.note(connection, Noted(call.id, call.model, call.client, found))
            connection.executemany(
                "INSERT OR IGNORE INTO captures VALUES (?, ?)",
                ((capture.id, capture.to_bytes()) for capture in captures),
            )
            for one in noted:
                findings.note(connection, one)
            totals.add(connection, self.path, batch)
            series.add(connection, tallies, self._clock())

    def _recover(self, running: Collection[str]) -> None:
        """What a crash left running: its end is not known, so neither is its duration. `running`
        was not."""
        with self._write() as connection:
            found = connection.execute(_RUNNING).fetchall()
        left = map(from_row, found)
        ended = {"state": State.INTERRUPTED.value, "reason": Reason.CRASH.value, "duration": None}
        self._store(
            [msgspec.structs.replace(call, **ended) for call in left if call.id not in running]
        )

    def _forget(self, rows: int, condition: str = "", *values: str) -> int:
        sql = f"DELETE FROM calls WHERE id IN ({_OLDEST}) {condition}"
        with self._transaction() as connection:
            return connection.execute(sql, (_few(connection, rows), *values)).rowcount

    def _catch_up(self) -> None:
        """Count some calls that were stored before there was a series."""
        with self._transaction() as connection:
            reached = series.catch_up(connection, self._counted_from, self._clock())
        self._counted_from = reached

    def _shrink(self) -> bool:
        """Give free pages back to the disk. True while that goes on."""
        with self._write() as connection:
            before = pragma(connection, "freelist_count")
            # A page is freed at each step of the statement, and `execute` takes only the first.
            connection.executescript(f"PRAGMA incremental_vacuum({PRUNE_PAGES})")
            return 0 < pragma(connection, "freelist_count") < before

    def _rows_above(self, max_rows: int) -> int:
        """How many rows to forget now."""
        with self._write() as connection:
            rows = int(connection.execute("SELECT count(*) FROM calls").fetchone()[0])
        return max(0, min(PRUNE_ROWS, rows - max_rows))

    def _rows_beyond(self, max_bytes: int) -> int:
        """How many rows to forget now: as if all took the same room, so rather too few.

        But of many a whole step's, at most a twentieth of them too much.
        """
        with self._write() as connection:
            pages = pragma(connection, "page_count") - pragma(connection, "freelist_count")
            used = pages * pragma(connection, "page_size")
            if used <= max_bytes:
                return 0
            rows = int(connection.execute(_COUNT, (MANY_ROWS,)).fetchone()[0])
            if rows == MANY_ROWS:
                return PRUNE_ROWS
            return min(PRUNE_ROWS, math.ceil(rows * (used - max_bytes) / used))


def _few(connection: sqlite3.Connection, rows: int) -> int:
    """So many of the oldest rows that their captures are no more than a step frees."""
    held = 0
    for row, (size,) in enumerate(connection.execute(_SIZES, (rows,)), 1):
        held += size or 0
        if held > PRUNE_BYTES:
            return row
    return rows


def _opened(connection: sqlite3.Connection | None, path: Path) -> sqlite3.Connection:
    if connection is None:
        raise StoreError(f"{path} is not open: open the store first")
    return connection
