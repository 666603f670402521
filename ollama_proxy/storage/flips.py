"""Flips of alerts, and silenced rules, as tables: the SQL on a connection.

Not here: transactions and locks (`sqlite.py`), what a flip is (`alerts/flips.py`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable

import msgspec

from ollama_proxy.records import Filter, Flip

MOST = 10_000
"""Flips that are kept, the newest, and each subject's last one."""

_NAMES = Flip.__struct_fields__
_FIELDS = ", ".join(f'"{name}"' for name in _NAMES)
_PLACES = ", ".join("?" * len(_NAMES))
_INSERT = f"INSERT OR IGNORE INTO flips ({_FIELDS}) VALUES ({_PLACES})"
_LATEST = "SELECT max(id) FROM flips GROUP BY rule, subject"


def write(connection: sqlite3.Connection, flips: Iterable[Flip]) -> None:
    """Twice is as once."""
    connection.executemany(_INSERT, map(msgspec.structs.astuple, flips))
    kept = f"SELECT id FROM flips ORDER BY id DESC LIMIT {MOST}"
    connection.execute(f"DELETE FROM flips WHERE id NOT IN ({kept}) AND id NOT IN ({_LATEST})")


def search(connection: sqlite3.Connection, wanted: Filter) -> list[Flip]:
    """The newest first; of the filter `limit`, `since`, `until` and `before` count."""
    sql = f"SELECT {_FIELDS} FROM flips WHERE id >= ? AND id < ? ORDER BY id DESC LIMIT ?"
    ends = [end for end in (wanted.until, wanted.before) if end is not None]
    rows = connection.execute(sql, (wanted.since or "", min(ends, default="~"), wanted.limit))
    return list(map(_flip, rows))


def latest(connection: sqlite3.Connection) -> list[Flip]:
    """The last flip of each rule's subject."""
    return list(
        map(_flip, connection.execute(f"SELECT {_FIELDS} FROM flips WHERE id IN ({_LATEST})"))
    )


def silence(connection: sqlite3.Connection, rule: str, until: float) -> None:
    """Until this moment, in seconds since 1970; 0 ends it."""
    connection.execute("DELETE FROM silences WHERE rule = ?", (rule,))
    if until:
        connection.execute("INSERT INTO silences VALUES (?, ?)", (rule, until))


def silences(connection: sqlite3.Connection) -> dict[str, float]:
    return dict(connection.execute("SELECT rule, until FROM silences"))


def forget(connection: sqlite3.Connection, before: str) -> None:
    """Flips before this time (ISO), but each subject's last one."""
    connection.execute(f"DELETE FROM flips WHERE at < ? AND id NOT IN ({_LATEST})", (before,))


def _flip(row: tuple[object, ...]) -> Flip:
    return msgspec.convert(dict(zip(_NAMES, row, strict=True)), Flip)
