"""Makes the times in the totals and in the series anew, once, for a store of an earlier version.

That one counted how long calls took whatever became of them: refused in 3 ms, or given up. Which of
its counts are of completed calls cannot be told from them, so all are forgotten, and counted anew
from the calls that are kept. Of calls that were deleted before, how long they took is not known any
more; how many there were, and their tokens, stay counted. Not here: what a total and a tally are
(`stats.py`, `series.py`), and calls that no series has counted yet (`series.catch_up`).
"""

from __future__ import annotations

import logging
import sqlite3
from collections.abc import Iterator
from pathlib import Path

from ollama_proxy.exchange import Call
from ollama_proxy.series import Tallies, Tally
from ollama_proxy.stats import answers_well
from ollama_proxy.storage import series, totals

PORTION = 10_000
"""Calls between two writes of the series: a few MB."""

log = logging.getLogger(__name__)

_FACTS = (
    *("id", "state", "path", "model", "client", "started_at"),
    *("duration", "time_to_first_token", "tokens_per_second"),
)
_COMPLETED = f"SELECT {', '.join(_FACTS)} FROM calls WHERE id > ? AND state = 'completed'"


def recount(connection: sqlite3.Connection, path: Path, now: float) -> None:
    """Where that is due, within the caller's transaction; some 5 s for 200,000 calls. Raises
    StoreError, msgspec.MsgspecError."""
    if not connection.execute("DELETE FROM recounts WHERE what = 'times'").rowcount:
        return
    kept = totals.load(connection, path)
    for summary in (kept.all, *kept.models.values(), *kept.clients.values()):
        summary.forget_times()
    _forget_times(connection)
    counted_from, count = series.counted_from(connection), 0
    for portion in _portions(connection):
        tallies = Tallies()
        for call in filter(answers_well, portion):
            count += 1
            kept.measure(call)
            if call.id >= counted_from:
                tallies.measure(call)
        series.add(connection, tallies, now)
    if kept.all.requests:
        totals.save(connection, kept, kept.models, kept.clients)
        log.info("how long calls take was counted anew, once, from %d that completed", count)


def _forget_times(connection: sqlite3.Connection) -> None:
    """Of all minutes and hours; that calls ran a model stays known."""
    stored = connection.execute("SELECT tally, step, at, model FROM series").fetchall()
    rows = []
    for data, *place in stored:
        tally = Tally.from_bytes(data)
        tally.ran = max(tally.ran, sum(tally.times[0].values()))
        tally.times = Tally().times
        rows.append((tally.to_bytes(), *place))
    sql = "UPDATE series SET tally = ? WHERE step = ? AND at = ? AND model = ?"
    connection.executemany(sql, rows)


def _portions(connection: sqlite3.Connection) -> Iterator[list[Call]]:
    last = ""
    while True:
        sql = f"{_COMPLETED} ORDER BY id LIMIT {PORTION}"
        rows = connection.execute(sql, (last,)).fetchall()
        if not rows:
            return
        last = rows[-1][0]
        yield [Call(method="", **dict(zip(_FACTS, row, strict=True))) for row in rows]
