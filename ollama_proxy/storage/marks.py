"""What changed in Ollama, and what of it was last known, as tables: the SQL on a connection.

Not here: transactions and locks (`sqlite.py`), what a change is (`ollama_proxy/marks.py`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import msgspec

from ollama_proxy.records import Filter, Mark

MOST = 1000
"""Changes that are kept, the newest."""

_FIELDS = ", ".join(Mark.__struct_fields__)
_INSERT = f"INSERT INTO marks ({_FIELDS}) VALUES (?, ?, ?, ?, ?, ?) ON CONFLICT (id) DO NOTHING"


def write(connection: sqlite3.Connection, marks: Iterable[Mark]) -> None:
    """Keep changes, and of all, first sights too, what is known now. Twice is as once."""
    for mark in marks:
        known = (mark.kind, mark.subject, mark.new)
        connection.execute("INSERT OR REPLACE INTO known VALUES (?, ?, ?)", known)
        if mark.old is not None:
            values = msgspec.structs.astuple(mark)
            connection.execute(_INSERT, values)
    kept = "SELECT id FROM marks ORDER BY id DESC LIMIT ?"
    connection.execute(f"DELETE FROM marks WHERE id NOT IN ({kept})", (MOST,))


def known(connection: sqlite3.Connection) -> dict[tuple[str, str], str]:
    """What was last known, by kind and subject."""
    rows = connection.execute("SELECT kind, subject, value FROM known")
    return {(kind, subject): value for kind, subject, value in rows}


def search(connection: sqlite3.Connection, wanted: Filter) -> list[Mark]:
    """The newest changes first; of the filter `limit`, `since`, `until` and `before` count."""
    sql = f"SELECT {_FIELDS} FROM marks WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT ?"
    ends = [end for end in (wanted.until, wanted.before) if end is not None]
    rows = connection.execute(sql, (wanted.since or "", min(ends, default="~"), wanted.limit))
    return [Mark(**dict(zip(Mark.__struct_fields__, row, strict=True))) for row in rows]


def forget(connection: sqlite3.Connection, before: str) -> None:
    """Changes before this time (ISO). What is known stays: the next look compares with it."""
    connection.execute("DELETE FROM marks WHERE at < ?", (before,))
