"""One SQLite file: opened, known as ours, brought up to date, its errors told in one line.

Not here: what is in it (`sqlite.py`, `search.py`), its folder (`folder.py`).
"""

from __future__ import annotations

import contextlib
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import msgspec

from ollama_proxy.storage import folder
from ollama_proxy.storage.base import Migrations
from ollama_proxy.storage.errors import StoreError

# "OlPx": by this a file is known as ours, and one of another program is left alone.
APPLICATION_ID = 0x4F6C5078

_DAMAGED = "is damaged or not a database"
_CHANGED = "has not this program's tables: it is damaged, or another program changed it"
_CAUSES: dict[int, str] = {
    sqlite3.SQLITE_FULL: "cannot grow, the disk is full: free some space",
    sqlite3.SQLITE_IOERR: "cannot be read or written: check the disk and its free space",
    sqlite3.SQLITE_READONLY: "is read-only: give the user who runs the proxy write access",
    sqlite3.SQLITE_CANTOPEN: "cannot be opened: give the user who runs the proxy access to it",
    sqlite3.SQLITE_PERM: "cannot be opened: give the user who runs the proxy access to it",
    sqlite3.SQLITE_BUSY: "is locked by another program: close what has it open",
    sqlite3.SQLITE_LOCKED: "is locked by another program: close what has it open",
}
_FAULTS: dict[int, str] = {
    sqlite3.SQLITE_CORRUPT: _DAMAGED,
    sqlite3.SQLITE_NOTADB: _DAMAGED,
    sqlite3.SQLITE_ERROR: _CHANGED,  # our SQL does not fit what is there
}
"""What is wrong with the file itself."""


def damaged(path: Path, detail: object, what: str = _DAMAGED) -> StoreError:
    """A file that cannot be used as it is: what to do, and what was found."""
    return StoreError(
        f"{path} {what}: {folder.away(path)}; `sqlite3 FILE .recover` can rescue what it held "
        f"({detail})"
    )


def connect(path: Path, mode: str, busy_seconds: float) -> sqlite3.Connection:
    """`mode`: rw, or ro, by which nothing can be written and no checkpoint be made."""
    return sqlite3.connect(
        f"{path.as_uri()}?mode={mode}",
        uri=True,
        timeout=busy_seconds,
        isolation_level=None,
        check_same_thread=False,
    )


@contextlib.contextmanager
def explained(path: Path) -> Iterator[None]:
    """SQLite's errors about the file as StoreError, and what was packed by us and cannot be read;
    those about a row's values stay as they are."""
    try:
        yield
    except (sqlite3.DataError, sqlite3.IntegrityError, sqlite3.ProgrammingError):
        raise
    except msgspec.MsgspecError as error:
        raise damaged(path, error) from error
    except sqlite3.DatabaseError as error:
        if not hasattr(error, "sqlite_errorcode"):
            # Python's own, of a text that is not UTF-8: it quotes that text.
            raise damaged(path, "a text in it is not UTF-8") from None
        code = error.sqlite_errorcode & 0xFF
        if code in _FAULTS:
            raise damaged(path, error, _FAULTS[code]) from error
        cause = _CAUSES.get(code, "cannot be used: see what SQLite says")
        raise StoreError(f"{path} {cause} ({error})") from error


@contextlib.contextmanager
def atomic(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        # After a full disk SQLite has rolled back already, and would refuse a second time.
        with contextlib.suppress(sqlite3.Error):
            connection.execute("ROLLBACK")
        raise


def pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


def prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Refuse another program's file before anything in it is changed; then the file's own settings.

    auto_vacuum comes first: it only takes in a file without a page, and WAL writes one.
    """
    if not _has_tables(connection, path):
        connection.execute("PRAGMA auto_vacuum = INCREMENTAL")
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = NORMAL")
    connection.execute("PRAGMA journal_size_limit = 16777216")
    # What retention forgets is overwritten, not only unlinked: prompts are in there.
    connection.execute("PRAGMA secure_delete = ON")


def migrate(connection: sqlite3.Connection, path: Path, migrations: Migrations) -> None:
    version, known = _version(connection, path, migrations)
    for step in range(version + 1, known + 1):
        with atomic(connection):
            for sql in migrations[step]:
                connection.execute(sql)
            connection.execute(f"PRAGMA user_version = {step}")
            connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")


def check_readable(connection: sqlite3.Connection, path: Path, migrations: Migrations) -> None:
    """Raises StoreError unless this is a database of ours, and of this program's version."""
    found = _has_tables(connection, path)
    version, known = _version(connection, path, migrations)
    if not found or version < known:
        raise StoreError(
            f"{path} has database version {version}, this program reads {known}: "
            "start the proxy of this version once, which brings it up to date"
        )


def _has_tables(connection: sqlite3.Connection, path: Path) -> bool:
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and pragma(connection, "application_id") != APPLICATION_ID:
        raise StoreError(
            f"{path} is a database of another program: choose another folder with --data-dir, or "
            f"{folder.away(path)}"
        )
    return bool(tables)


def _version(connection: sqlite3.Connection, path: Path, migrations: Migrations) -> tuple[int, int]:
    """The file's, and the one that the program knows."""
    version, known = pragma(connection, "user_version"), max(migrations)
    if version > known:
        raise StoreError(
            f"{path} has database version {version}, this program knows up to {known}: "
            f"install a newer ollama-proxy, or {folder.away(path)}"
        )
    return version, known
