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
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import msgspec

from ollama_proxy.exchange import Call, Reason, State, iso, text_size
from ollama_proxy.records import Filter
from ollama_proxy.stats import Statistics, Summary
from ollama_proxy.storage import folder
from ollama_proxy.storage.base import (
    COLUMNS,
    MAX_LIMIT,
    MIGRATIONS,
    Migrations,
    StoreError,
    from_row,
    page,
    to_row,
)

BUSY_SECONDS = 2.0
# One step of pruning: some 10 ms, so that the rows which wait to be written hardly wait longer.
PRUNE_ROWS = 1000
PRUNE_PAGES = 2000
# To find out how many to forget, more are not counted: a million took longer than a whole step.
MANY_ROWS = 20 * PRUNE_ROWS
# Rows stored by one statement. SQLite works without Python's lock, but takes it again after each
# statement: where the event loop is busy all the time that takes long, and by single rows two of
# three calls were lost (11,000 a second, on two cores). Below 999 values: all that an SQLite
# before 3.32 takes.
TOGETHER = min(32, 999 // len(COLUMNS))
# Python keeps a statement, and with it the values of its last use: those may not be many.
TOGETHER_CHARACTERS = 1 << 20
# Seconds between two such statements: where the loop shares a core with the thread that writes,
# the kernel lets it wait up to 5 ms for one that works on and on.
BREATH = 0.0005
# "OlPx": by this a file is known as ours, and one of another program is left alone.
APPLICATION_ID = 0x4F6C5078
SECONDS_A_DAY = 86400.0

_SELECT = f"SELECT {', '.join(COLUMNS)} FROM calls"
_ROW = f"({', '.join('?' * len(COLUMNS))})"
_INSERT = f"INSERT INTO calls ({', '.join(COLUMNS)}) VALUES "
_OVER_RUNNING = (
    f" ON CONFLICT (id) DO UPDATE SET {', '.join(f'{c} = excluded.{c}' for c in COLUMNS)}"
    " WHERE calls.state = 'running'"
)
_ONE = _INSERT + _ROW + _OVER_RUNNING
_SOME = _INSERT + ", ".join([_ROW] * TOGETHER) + _OVER_RUNNING
_OLDEST = "SELECT id FROM calls WHERE state != 'running' ORDER BY id LIMIT ?"
_COUNT = "SELECT count(*) FROM (SELECT id FROM calls LIMIT ?)"

_BROKEN = (
    "is damaged or not a database: move it away to begin a new one"
    " (`sqlite3 FILE .recover` can rescue what it held)"
)
_CAUSES: dict[int, str] = {
    sqlite3.SQLITE_FULL: "cannot grow, the disk is full: free some space",
    sqlite3.SQLITE_IOERR: "cannot be read or written: check the disk and its free space",
    sqlite3.SQLITE_READONLY: "is read-only: give the user who runs the proxy write access",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: give the user who runs the proxy access to it",
    sqlite3.SQLITE_PERM: "cannot be opened: give the user who runs the proxy access to it",
    sqlite3.SQLITE_BUSY: "is locked by another program: close what has it open",
    sqlite3.SQLITE_LOCKED: "is locked by another program: close what has it open",
    sqlite3.SQLITE_CORRUPT: _BROKEN,
    sqlite3.SQLITE_NOTADB: _BROKEN,
}


class SqliteStore:
    """A `Store` in the file `path`, which a single process may have open."""

    def __init__(
        self,
        path: Path,
        *,
        clock: Callable[[], float] = time.time,
        migrations: Migrations = MIGRATIONS,
        busy_seconds: float = BUSY_SECONDS,
    ) -> None:
        self.path = path.absolute()
        self._clock = clock
        self._migrations = migrations
        self._busy_seconds = busy_seconds
        self._claimed: int | None = None
        self._files: folder.Identities = {}
        self._writer: sqlite3.Connection | None = None
        self._reader: sqlite3.Connection | None = None
        self._writing = threading.Lock()
        self._reading = threading.Lock()

    def open(self) -> None:
        self._claimed = folder.claim(self.path)
        try:
            with _explained(self.path):
                self._writer = self._connect("rw")
                _prepare(self._writer, self.path)
                _migrate(self._writer, self.path, self._migrations)
                self._recover()
                self._reader = self._connect("ro")
            self._files = folder.identities(self.path)
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

    def write(self, calls: Sequence[Call]) -> None:
        """Looks after the commit whether the files are still there: then it was not in vain."""
        try:
            self._store(calls)
        except _StoredBefore:
            self._store(calls, singly=True)
        folder.check(self.path, self._files)

    def statistics(self) -> Statistics:
        with self._read() as connection:
            return _load_totals(connection, self.path)

    def calls(self, wanted: Filter) -> list[Call]:
        conditions = {"id < ?": wanted.before, "model = ?": wanted.model, "state = ?": wanted.state}
        given = {text: value for text, value in conditions.items() if value is not None}
        where = f" WHERE {' AND '.join(given)}" if given else ""
        limit = max(0, min(wanted.limit, MAX_LIMIT))
        sql = f"{_SELECT}{where} ORDER BY id DESC LIMIT ?"
        # Closed: a statement broken off in the middle would hold back every checkpoint.
        with (
            self._read() as connection,
            contextlib.closing(connection.execute(sql, [*given.values(), limit])) as rows,
        ):
            return page(map(from_row, rows), limit)

    def call(self, id: str) -> Call | None:
        with self._read() as connection:
            row = connection.execute(f"{_SELECT} WHERE id = ?", (id,)).fetchone()
        return None if row is None else from_row(row)

    def prune(self, max_age_days: float | None, max_bytes: int | None) -> bool:
        """`max_bytes` is held against the pages in use; pages set free go back to the disk."""
        removed = 0
        if max_age_days is not None:
            cutoff = iso(self._clock() - max_age_days * SECONDS_A_DAY)
            removed = self._forget(PRUNE_ROWS, "AND started_at < ?", cutoff)
        if not removed and max_bytes is not None:
            removed = self._forget(self._rows_beyond(max_bytes))
        return self._shrink() or removed > 0

    def size_bytes(self) -> int:
        return sum(file.stat().st_size for file in folder.files(self.path))

    def _connect(self, mode: str) -> sqlite3.Connection:
        return sqlite3.connect(
            f"{self.path.as_uri()}?mode={mode}",
            uri=True,
            timeout=self._busy_seconds,
            isolation_level=None,
            check_same_thread=False,
        )

    @contextlib.contextmanager
    def _read(self) -> Iterator[sqlite3.Connection]:
        with self._reading, _explained(self.path):
            yield _opened(self._reader, self.path)

    @contextlib.contextmanager
    def _write(self) -> Iterator[sqlite3.Connection]:
        with self._writing, _explained(self.path):
            yield _opened(self._writer, self.path)

    @contextlib.contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        with self._write() as connection, _atomic(connection):
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

    def _store(self, calls: Sequence[Call], *, singly: bool = False) -> None:
        """Raises _StoredBefore, having done nothing, where some are: SQLite tells only how many."""
        batch = Statistics()
        with self._transaction() as connection:
            for start in range(0, len(calls), TOGETHER):
                if start:
                    time.sleep(BREATH)
                some = calls[start : start + TOGETHER]
                if singly or not _fit_together(some):
                    some = [call for call in some if _insert(connection, [call])]
                elif _insert(connection, some) < TOGETHER:
                    raise _StoredBefore
                for call in some:
                    batch.add(call)
            _add_totals(connection, self.path, batch)

    def _recover(self) -> None:
        """What a crash left running: its end is not known, so neither is its duration."""
        with self._write() as connection:
            found = connection.execute(f"{_SELECT} WHERE state = ?", (State.RUNNING,)).fetchall()
        ended = {"state": State.INTERRUPTED.value, "reason": Reason.CRASH.value, "duration": None}
        self._store([msgspec.structs.replace(from_row(row), **ended) for row in found])

    def _forget(self, rows: int, condition: str = "", *values: str) -> int:
        sql = f"DELETE FROM calls WHERE id IN ({_OLDEST}) {condition}"
        with self._transaction() as connection:
            return connection.execute(sql, (rows, *values)).rowcount

    def _shrink(self) -> bool:
        """Give free pages back to the disk. True while that goes on."""
        with self._write() as connection:
            before = _pragma(connection, "freelist_count")
            # A page is freed at each step of the statement, and `execute` takes only the first.
            connection.executescript(f"PRAGMA incremental_vacuum({PRUNE_PAGES})")
            return 0 < _pragma(connection, "freelist_count") < before

    def _rows_beyond(self, max_bytes: int) -> int:
        """How many rows to forget now: as if all took the same room, so rather too few.

        But of many a whole step's, at most a twentieth of them too much.
        """
        with self._write() as connection:
            pages = _pragma(connection, "page_count") - _pragma(connection, "freelist_count")
            used = pages * _pragma(connection, "page_size")
            if used <= max_bytes:
                return 0
            rows = int(connection.execute(_COUNT, (MANY_ROWS,)).fetchone()[0])
            if rows == MANY_ROWS:
                return PRUNE_ROWS
            return min(PRUNE_ROWS, math.ceil(rows * (used - max_bytes) / used))


class _StoredBefore(Exception):
    """Of the rows of a statement some are stored as finished already."""


def _fit_together(calls: Sequence[Call]) -> bool:
    return len(calls) == TOGETHER and sum(map(text_size, calls)) <= TOGETHER_CHARACTERS


def _insert(connection: sqlite3.Connection, calls: Sequence[Call]) -> int:
    """How many of them were not stored as finished before, and now are as they are here."""
    values = [value for call in calls for value in to_row(call)]
    return connection.execute(_ONE if len(calls) == 1 else _SOME, values).rowcount


@contextlib.contextmanager
def _explained(path: Path) -> Iterator[None]:
    """SQLite's errors about the file as StoreError; those about a row's values stay as they are."""
    try:
        yield
    except (sqlite3.DataError, sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise
    except sqlite3.DatabaseError as error:
        if not hasattr(error, "sqlite_errorcode"):
            # Python's own, of a text that is not UTF-8: it quotes that text.
            raise StoreError(f"{path} {_BROKEN} (a text in it is not UTF-8)") from None
        code = error.sqlite_errorcode & 0xFF
        cause = _CAUSES.get(code, "cannot be used: see what SQLite says")
        raise StoreError(f"{path} {cause} ({error})") from error


@contextlib.contextmanager
def _atomic(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # After a full disk SQLite has rolled back already, and would refuse a second time.
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def _opened(connection: sqlite3.Connection | None, path: Path) -> sqlite3.Connection:
    if connection is None:
        raise StoreError(f"{path} is not open: open the store first")
    return connection


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse another program's file before anything in it is changed; then the file's own settings.

    auto_vacuum comes first: it only takes in a file without a page, and WAL writes one.
    """
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and _pragma(connection, "application_id") != APPLICATION_ID:
        raise StoreError(
            f"{path} is a database of another program: choose another file or data folder"
        )
    if not tables:
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA journal_size_limit = 16777216")
    # What retention forgets is overwritten, not only unlinked: prompts are in there.
    connection.execute("PRAGMA secure_delete = ON")


def _migrate(connection: sqlite3.Connection, path: Path, migrations: Migrations) -> None:
    version, known = _pragma(connection, "user_version"), max(migrations)
    if version > known:
        raise StoreError(
            f"{path} has database version {version}, this program knows up to {known}: "
            "install a newer ollama-proxy, or move the file away to begin a new one"
        )
    for step in range(version + 1, known + 1):
        with _atomic(connection):
            for sql in migrations[step]:
                connection.execute(sql)
            connection.execute(f"PRAGMA user_version = {step}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def _load_totals(connection: sqlite3.Connection, path: Path) -> Statistics:
    totals = Statistics()
    try:
        for kind, name, data in connection.execute("SELECT kind, name, summary FROM totals"):
            summary = Summary.from_bytes(data)
            if kind == "all":
                totals.all = summary
            elif kind == "model":
                totals.models[name] = summary
            else:
                totals.clients[name] = summary
    except (msgspec.MsgspecError, TypeError) as error:
        raise StoreError(f"{path} {_BROKEN} (totals: {error})") from error
    return totals


def _add_totals(connection: sqlite3.Connection, path: Path, batch: Statistics) -> None:
    """Loads all of them: a few in practice; at the limit, 500 of each kind, some 20 ms a batch."""
    if not batch.all.requests:
        return
    totals = _load_totals(connection, path)
    models, clients = totals.merge(batch)
    rows = [("all", "", totals.all.to_bytes())]
    rows += [("model", name, totals.models[name].to_bytes()) for name in sorted(models)]
    rows += [("client", name, totals.clients[name].to_bytes()) for name in sorted(clients)]
    connection.executemany("INSERT OR REPLACE INTO totals VALUES (?, ?, ?)", rows)
