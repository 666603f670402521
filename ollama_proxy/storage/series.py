"""Calls and gauges by minute and hour, as a table: the SQL on a connection.

Each call is in one row of its model and in one of all calls, whether that is a minute's or an
hour's: hours are made of minutes that are old, in the transaction that deletes those. Not here:
transactions and locks (`sqlite.py`), what a tally is and how two merge (`ollama_proxy/series.py`).
"""

from __future__ import annotations

import sqlite3
import time
from collections.abc import Iterable, Mapping

from ollama_proxy.charts import Asked
from ollama_proxy.exchange import Call
from ollama_proxy.series import (
    ALL,
    DAY,
    HOUR,
    HOURS_DAYS,
    MAX_MODELS,
    MINUTE,
    Gauges,
    Tallies,
    Tally,
    kept_by_minute_from,
)
from ollama_proxy.stats import key_for
from ollama_proxy.storage.inserting import BREATH

PORTION = 250
"""Calls of an older database that are counted in one step: some ms of Python."""
ROWS_A_BREATH = 100
"""Rows that are merged before the event loop may have its turn: some ms of Python."""

_FACTS = (
    *("id", "state", "path", "model", "started_at", "duration", "time_to_first_token"),
    *("tokens_per_second", "input_tokens", "output_tokens"),
)
_UNCOUNTED = (
    f"SELECT {', '.join(_FACTS)} FROM calls WHERE id < ? AND state != 'running'"
    " ORDER BY id DESC LIMIT ?"
)
_SPAN = "step = ? AND at >= ? AND at < ?"
_WANTED = (
    f"SELECT at, model, tally FROM series WHERE step IN ({MINUTE}, {HOUR})"
    " AND at >= ? AND at < ? AND model IN (?, ?)"
)


def add(connection: sqlite3.Connection, tallies: Tallies, now: float) -> None:
    """Count calls that have ended. Once each: that is up to the caller."""
    for minute, by_model in tallies.minutes():
        _add(connection, minute, by_model, now)


def add_gauges(
    connection: sqlite3.Connection, gauges: Iterable[tuple[int, Gauges]], now: float
) -> None:
    """Keep what was sampled, by minute."""
    for minute, one in gauges:
        _add(connection, minute, {ALL: Tally(gauges=one)}, now)


def read(connection: sqlite3.Connection, asked: Asked) -> dict[int, Tally]:
    """The tallies by the moment at which each step begins; steps of which nothing is known are not
    there. Raises msgspec.MsgspecError."""
    found: dict[int, Tally] = {}
    wanted = asked.model or ALL
    # All at once: a statement that is stepped through meanwhile would hold back a checkpoint.
    rows = connection.execute(_WANTED, (asked.since, asked.until, wanted, ALL)).fetchall()
    for number, (at, model, data) in enumerate(rows, 1):
        if number % ROWS_A_BREATH == 0:
            time.sleep(BREATH)
        tally = Tally.from_bytes(data)
        if model != wanted:
            tally = Tally(gauges=tally.gauges)
        step = at // asked.step * asked.step
        if found.setdefault(step, tally) is not tally:
            found[step].merge(tally)
    return found


def counted_from(connection: sqlite3.Connection) -> str:
    """Calls below this id were stored before there was a series, and are yet to be counted."""
    return str(connection.execute("SELECT id FROM series_from").fetchone()[0])


def catch_up(connection: sqlite3.Connection, before: str, now: float) -> str:
    """Count a portion of those below this id, the newest first. Returns the new such id."""
    rows = connection.execute(_UNCOUNTED, (before, PORTION)).fetchall()
    time.sleep(BREATH)
    tallies = Tallies()
    for row in rows:
        tallies.add(Call(method="", **dict(zip(_FACTS, row, strict=True))))
    add(connection, tallies, now)
    reached = rows[-1][0] if len(rows) == PORTION else ""
    connection.execute("UPDATE series_from SET id = ?", (reached,))
    return str(reached)


def fold(connection: sqlite3.Connection, now: float) -> bool:
    """Make one hour of the oldest minutes, if they are old enough. Whether they were."""
    sql = "SELECT min(at) FROM series WHERE step = ?"
    (oldest,) = connection.execute(sql, (MINUTE,)).fetchone()
    if oldest is None or oldest >= kept_by_minute_from(now):
        return False
    hour = oldest // HOUR * HOUR
    span = (MINUTE, hour, hour + HOUR)
    found: dict[str, Tally] = {}
    for name, data in connection.execute(f"SELECT model, tally FROM series WHERE {_SPAN}", span):
        found.setdefault(name, Tally()).merge(Tally.from_bytes(data))
    _merge(connection, HOUR, hour, found)
    connection.execute(f"DELETE FROM series WHERE {_SPAN}", span)
    return True


def forget(connection: sqlite3.Connection, max_age_days: float, now: float) -> None:
    """Hours older than that, but none within `HOURS_DAYS`."""
    cutoff = now - max(HOURS_DAYS, max_age_days) * DAY
    connection.execute(f"DELETE FROM series WHERE {_SPAN}", (HOUR, 0, int(cutoff)))


def _add(
    connection: sqlite3.Connection, minute: int, by_model: Mapping[str, Tally], now: float
) -> None:
    """To the minute's rows, or to those of its hour where it is old."""
    if minute >= kept_by_minute_from(now):
        _merge(connection, MINUTE, minute, by_model)
    else:
        _merge(connection, HOUR, minute // HOUR * HOUR, by_model)


def _merge(
    connection: sqlite3.Connection, step: int, at: int, by_model: Mapping[str, Tally]
) -> None:
    sql = "SELECT model, tally FROM series WHERE step = ? AND at = ?"
    stored: dict[str, bytes] = dict(connection.execute(sql, (step, at)).fetchall())
    names = stored.keys() - {ALL}
    changed: dict[str, Tally] = {}
    for name, tally in by_model.items():
        key = name
        if name != ALL:
            key = key_for(name, names, tally.completed, MAX_MODELS)
            names.add(key)
        if key not in changed:
            changed[key] = Tally.from_bytes(stored[key]) if key in stored else Tally()
        changed[key].merge(tally)
    connection.executemany(
        "INSERT OR REPLACE INTO series VALUES (?, ?, ?, ?)",
        [(step, at, key, tally.to_bytes()) for key, tally in changed.items()],
    )
