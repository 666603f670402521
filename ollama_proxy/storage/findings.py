"""What was found of calls, as tables: findings, and which call is an occurrence of which.

A finding has the id of its first call. Of a call that is forgotten the occurrence is, too; a
finding without any is not told any more. Not here: transactions and locks (`sqlite.py`), what
counts as an occurrence (`insights/occurring.py`).
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from typing import Any

from ollama_proxy.exchange import UNREACHED, model_key, ran_model
from ollama_proxy.ids import first_id, iso, moment_of
from ollama_proxy.insights.conflicts import RELOAD, summed_up
from ollama_proxy.records import (
    CHANGING,
    WRONG,
    Changed,
    Filter,
    Finding,
    Noted,
    Occurrence,
    gravity,
)

QUIET_SECONDS = 6 * 3600.0
"""A finding without a new call for so long is over."""
MOST_VALUES = 1000
"""Ways in which options differ that are looked at of each."""
OF_ALL = ("outage",)
"""Kinds that are not of one model and client: an outage is one, whoever met it."""
OF_REACHED = ("model_missing", "left", "waited", "runner_busy")
"""Kinds that befall calls without an answer, too: told of all that reached Ollama; the others of
those that it began to answer."""
EVIDENCE = 20
"""Calls that are named of each."""

_SUBJECT = "kind = ? AND model IS ? AND client IS ? AND other IS ? AND detail IS ?"
_OPEN = f"SELECT id, last FROM findings WHERE {_SUBJECT} ORDER BY last DESC LIMIT 1"
# Summed before they are joined: of 50,000 occurrences that takes a fifth to a third less time.
_SUMS = """
    SELECT f.id, f.kind, f.model, f.client, f.other, f.detail, o.latest, f.last,
        o.count, o.tokens, o.seconds, o.needed, o.estimated
    FROM (
        SELECT finding, max(call) AS latest, count(*) AS count,
            -- sum() fails beyond 64 bits, total() does not
            CASE WHEN count(tokens) THEN CAST(total(tokens) AS INTEGER) END AS tokens,
            sum(seconds) AS seconds, max(needed) AS needed,
            max(estimated) AS estimated
        FROM occurrences WHERE call >= ? AND call < ? GROUP BY finding
    ) o JOIN findings f ON f.id = o.finding WHERE true
"""
_CALLS = "SELECT call FROM occurrences WHERE finding = ? AND call >= ? AND call < ?"
_TOKENS = (
    "SELECT tokens FROM occurrences"
    " WHERE finding = ? AND call >= ? AND call < ? AND tokens IS NOT NULL"
)
# Before there was such a column the finding's detail had them.
_VALUES = (
    "SELECT coalesce(option_values, ?) AS told, count(*) FROM occurrences"
    " WHERE finding = ? AND call >= ? AND call < ?"
    " GROUP BY told ORDER BY count(*) DESC, told LIMIT ?"
)
# Calls that reached Ollama, and those of them that it began to answer.
_TAKEN = (
    "SELECT model, client, path,"
    f" sum(reason IS NULL OR reason NOT IN {tuple(map(str, UNREACHED))}),"
    " sum(state = 'completed' OR time_to_first_token IS NOT NULL)"
    " FROM calls INDEXED BY calls_to_search"
)
_SENT = f"{_TAKEN} WHERE id >= ? AND id < ? GROUP BY model, client, path"
_OF = f"{_TAKEN} WHERE model IS ? AND client IS ? GROUP BY model, client, path"
_WAITS = (
    "SELECT f.kind, f.other, f.detail, o.seconds FROM occurrences o"
    " JOIN findings f ON f.id = o.finding"
    " WHERE o.call = ? AND f.kind IN ('waited', 'runner_busy') ORDER BY o.seconds DESC"
)
_LAST_ID = "~"

_Taken = Mapping[tuple[Any, Any], tuple[int, int]]
"""By model and client: calls that reached Ollama, and that it began to answer."""


def note(connection: sqlite3.Connection, noted: Noted) -> None:
    """Keep what a call is an occurrence of; twice is as once."""
    id = noted.call
    for number, one in enumerate(noted.occurrences):
        about = (None, None) if one.kind in OF_ALL else (noted.model, noted.client)
        subject = (one.kind, *about, one.other, one.detail)
        row = connection.execute(_OPEN, subject).fetchone()
        if row is None or _over(row[1], id):
            finding = f"{id}.{number}"
            while connection.execute("SELECT 1 FROM findings WHERE id = ?", (finding,)).fetchone():
                finding += "+"  # what was found out later
            connection.execute(
                "INSERT INTO findings VALUES (?, ?, ?, ?, ?, ?, ?)", (finding, *subject, id)
            )
        else:
            finding = row[0]
            later = max(row[1], id)
            connection.execute("UPDATE findings SET last = ? WHERE id = ?", (later, finding))
        connection.execute(
            "INSERT OR IGNORE INTO occurrences VALUES (?, ?, ?, ?, ?, ?, ?)",
            (id, finding, one.tokens, one.seconds, one.needed, one.estimated, one.values),
        )


def search(connection: sqlite3.Connection, wanted: Filter, now: float) -> list[Finding]:
    """Those first that left calls without an answer, then those that make it wrong; then what cost
    most seconds, then tokens, then what happened most often."""
    since, until = wanted.since or "", wanted.until or _LAST_ID
    sql, values = _SUMS, [since, until]
    for column, value in (("client", wanted.client), ("kind", wanted.kind)):
        if value is not None:
            sql += f" AND f.{column} = ?"
            values.append(value)
    if wanted.hidden:
        sql += f" AND f.kind NOT IN ({', '.join('?' * len(wanted.hidden))})"
        values += wanted.hidden
    rows = connection.execute(sql, values).fetchall()
    if wanted.model is not None:
        key = model_key(wanted.model)
        rows = [row for row in rows if row[2] is not None and model_key(row[2]) == key]
    # The id last, so that the order is the same at the next page.
    rows.sort(
        key=lambda row: (gravity(row[1]), row[10] or 0.0, row[9] or 0, row[8], row[0]),
        reverse=True,
    )
    if wanted.after is not None:
        ids = [row[0] for row in rows]
        rows = rows[ids.index(wanted.after) + 1 :] if wanted.after in ids else []
    rows = rows[: wanted.limit]
    sent: _Taken = {}
    if rows:
        sent = _taken(connection, _SENT, (since, until))
    return [_told(connection, row, since, until, now, sent) for row in rows]


def one(connection: sqlite3.Connection, id: str, now: float) -> Finding | None:
    row = connection.execute(f"{_SUMS} AND f.id = ?", ("", _LAST_ID, id)).fetchone()
    return None if row is None else _told(connection, row, "", _LAST_ID, now, {})


def waits(connection: sqlite3.Connection, call: str) -> list[Occurrence]:
    """For whom a call waited, the longest first: those of its occurrences that tell."""
    rows = connection.execute(_WAITS, (call,)).fetchall()
    return [
        Occurrence(kind=kind, other=other, detail=detail, seconds=seconds)
        for kind, other, detail, seconds in rows
    ]


def forget(connection: sqlite3.Connection) -> None:
    """Findings of which no call is left."""
    connection.execute("DELETE FROM occurrences WHERE call < (SELECT min(id) FROM calls)")
    kept = "SELECT 1 FROM occurrences WHERE finding = findings.id"
    connection.execute(f"DELETE FROM findings WHERE NOT EXISTS ({kept})")


def _over(last: str, id: str) -> bool:
    """Whether a call came so late after the last one; both by their ids, which tell the time."""
    return id > last and moment_of(id) - moment_of(last) > QUIET_SECONDS


def _taken(connection: sqlite3.Connection, sql: str, values: tuple[Any, ...]) -> _Taken:
    found: dict[tuple[Any, Any], tuple[int, int]] = {}
    for model, client, path, reached, answered in connection.execute(sql, values):
        if ran_model(path):  # others only name a model
            before = found.get((model, client), (0, 0))
            found[model, client] = before[0] + reached, before[1] + answered
    return found


def _told(
    connection: sqlite3.Connection,
    row: tuple[Any, ...],
    since: str,
    until: str,
    now: float,
    sent: _Taken,
) -> Finding:
    """`sent`: how many calls of each client to a model Ollama took within the span; empty: of all
    that there are it is looked up."""
    id, kind, model, client, other, detail, latest, last, *sums = row
    count, tokens, seconds, needed, estimated = sums
    calls = connection.execute(
        f"{_CALLS} ORDER BY call DESC LIMIT {EVIDENCE}", (id, since, until)
    ).fetchall()
    each: list[int] = []
    if kind in WRONG and tokens is not None:
        each = sorted(lost for (lost,) in connection.execute(_TOKENS, (id, since, until)))
    options: list[Changed] = []
    about = (detail or "").removeprefix(f"{RELOAD} ")
    if kind in CHANGING or about != (detail or ""):
        values = (about, id, since, until, MOST_VALUES)
        options = summed_up(connection.execute(_VALUES, values))
    taken = sent or _taken(connection, _OF, (model, client))
    reached, answered = taken.get((model, client), (0, 0))
    of = reached if kind in OF_REACHED else answered
    return Finding(
        id=id,
        kind=kind,
        model=model,
        client=client,
        other=other,
        detail=detail,
        opened_at=iso(moment_of(id)),
        last_at=iso(moment_of(latest)),
        over=first_id(now - QUIET_SECONDS) > last,
        count=count,
        of=count if kind in OF_ALL else max(of, count),
        tokens=tokens,
        tokens_p50=each[(len(each) - 1) // 2] if each else None,
        tokens_max=each[-1] if each else None,
        seconds=seconds,
        needed=needed,
        estimated=bool(estimated),
        calls=[call for (call,) in calls],
        options=options,
    )
