"""Calls as rows, several to a statement, and of those that ran no model only the columns they fill.

Of a row of all columns the binding of its values takes most of the time, a NULL as much as a text
(measured: 12 to 20 us a row of 47 values, 5 of 17). Not here: transactions, totals (`sqlite.py`).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterator, Sequence
from operator import attrgetter
from typing import Any

from ollama_proxy.exchange import Call, text_size
from ollama_proxy.storage.base import BEYOND_64_BITS, COLUMNS, storable

# Rows stored by one statement. SQLite works without Python's lock, but takes it again after each
# statement: where the event loop is busy all the time that takes long, and by single rows two of
# three calls were lost (11,000 a second, on two cores).
TOGETHER = 58
MOST_VALUES = 999
"""Bound in one statement: all that an SQLite before 3.32 takes."""
# Python keeps a statement, and with it the values of its last use: those may not be many.
TOGETHER_CHARACTERS = 1 << 20
# Seconds between two such statements: where the loop shares a core with the thread that writes,
# the kernel lets it wait up to 5 ms for one that works on and on.
BREATH = 0.0005

_BRIEF_COLUMNS = (
    *("id", "method", "path", "model", "state", "reason", "status_code", "started_at", "duration"),
    *("error", "client", "request_bytes", "response_bytes", "not_understood", "connect"),
    *("time_to_first_byte", "caller"),
)
_OVER_RUNNING = (
    f" ON CONFLICT (id) DO UPDATE SET {', '.join(f'{c} = excluded.{c}' for c in COLUMNS)}"
    " WHERE calls.state = 'running'"
)


class StoredBefore(Exception):
    """Of the rows of a statement some are stored as finished already."""


class Shape:
    """Rows of some columns, and the statements that store one of them, or `together`."""

    def __init__(self, columns: Sequence[str]) -> None:
        self.together = min(TOGETHER, MOST_VALUES // len(columns))
        self._values = attrgetter(*columns)
        insert = f"INSERT INTO calls ({', '.join(columns)}) VALUES "
        row = f"({', '.join('?' * len(columns))})"
        self._one = insert + row + _OVER_RUNNING
        self._some = insert + ", ".join([row] * self.together) + _OVER_RUNNING

    def insert(self, connection: sqlite3.Connection, calls: Sequence[Call]) -> int:
        """How many of them were not stored as finished before, and now are as they are here.

        They are one, or `together`.
        """
        # What most values are is passed on here: to ask `storable` of each took twice the time.
        values: list[Any] = [
            value
            if value is None
            or type(value) is float
            or (type(value) is str and value.isascii())
            or (type(value) is int and -BEYOND_64_BITS <= value < BEYOND_64_BITS)
            else storable(value)
            for call in calls
            for value in self._values(call)
        ]
        return connection.execute(self._one if len(calls) == 1 else self._some, values).rowcount


WHOLE = Shape(COLUMNS)
BRIEF = Shape(_BRIEF_COLUMNS)
_rest = attrgetter(*(column for column in COLUMNS if column not in _BRIEF_COLUMNS))
_EMPTY = (None,) * (len(COLUMNS) - len(_BRIEF_COLUMNS))


def insert(
    connection: sqlite3.Connection, calls: Sequence[Call], *, singly: bool = False
) -> Iterator[Call]:
    """Store calls; those that were not stored as finished before. Raises StoredBefore, not having
    stored all, where some were: SQLite tells only how many. `singly` tells which."""
    brief: list[Call] = []
    whole: list[Call] = []
    for call in calls:
        (brief if _rest(call) == _EMPTY else whole).append(call)
    for shape, some in ((BRIEF, brief), (WHOLE, whole)):
        for start in range(0, len(some), shape.together):
            group = some[start : start + shape.together]
            if singly or not _fit_together(group, shape.together):
                yield from (call for call in group if shape.insert(connection, [call]))
            elif shape.insert(connection, group) < shape.together:
                raise StoredBefore
            else:
                yield from group
            time.sleep(BREATH)


def _fit_together(calls: Sequence[Call], together: int) -> bool:
    return len(calls) == together and sum(map(text_size, calls)) <= TOGETHER_CHARACTERS
