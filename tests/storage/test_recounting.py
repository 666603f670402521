"""A store of a version that counted how long calls took whatever became of them is counted anew."""

from __future__ import annotations

import sqlite3
from pathlib import Path

import pytest

from ollama_proxy.charts import Asked
from ollama_proxy.exchange import Call
from ollama_proxy.series import HOUR, MINUTE, Tally
from ollama_proxy.stats import Statistics, Summary
from ollama_proxy.storage.base import MIGRATIONS
from ollama_proxy.storage.sqlite import SqliteStore
from tests.storage.calls import NOON, make_call
from tests.storage.test_series import WITHOUT_SERIES, older_database

BEFORE = int(NOON) // HOUR * HOUR
RECOUNTS = 9
"""The first version of the database whose times are those of completed calls."""


def opened(path: Path) -> SqliteStore:
    store = SqliteStore(path, clock=lambda: NOON)
    store.open()
    return store


def minutes(store: SqliteStore, model: str | None = None) -> list[Tally]:
    asked = Asked(since=BEFORE - HOUR, until=BEFORE + HOUR, step=MINUTE, now=NOON, model=model)
    return list(store.series(asked).values())


def as_it_was(path: Path, refused: list[Call]) -> None:
    """What that version had counted besides: the times of these."""
    totals, tally = Statistics(), Tally()
    for call in refused:
        totals.all.measure(call)
        tally.measure(call)
    with sqlite3.connect(path) as connection:
        for kind, name, data in connection.execute("SELECT * FROM totals").fetchall():
            summary = Summary.from_bytes(data)
            summary.duration.merge(totals.all.duration)
            values = (summary.to_bytes(), kind, name)
            connection.execute("UPDATE totals SET summary = ? WHERE kind = ? AND name = ?", values)
        for at, name, data in connection.execute("SELECT at, model, tally FROM series").fetchall():
            old = Tally.from_bytes(data)
            old.merge(tally)
            old.ran = 0  # not kept by then
            old_form = (old.to_bytes(), at, name)
            connection.execute("UPDATE series SET tally = ? WHERE at = ? AND model = ?", old_form)
        for sql in MIGRATIONS[RECOUNTS][1:2]:
            connection.execute(sql)
    connection.close()


def test_times_of_an_older_store_are_made_anew_of_the_completed_calls_that_are_kept(
    path: Path,
) -> None:
    good = [make_call(at=BEFORE + n, duration=4.0, time_to_first_token=1.0) for n in range(3)]
    gone = make_call(at=BEFORE - 90, duration=9.0)
    refused = [
        make_call(at=BEFORE + 10 + n, duration=0.003, state="failed", client="a.py")
        for n in range(40)
    ]
    store = opened(path)
    store.write([gone, *good, *refused])
    store.close()
    as_it_was(path, refused)
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM calls WHERE id = ?", (gone.id,))
    connection.close()
    for _ in range(2):  # once, and no more
        store = opened(path)
        totals = store.statistics()
        for summary, requests, times in (
            (totals.all, 44, 3),
            (totals.models["llama3:8b"], 44, 3),
            (totals.clients["a.py"], 40, 0),
        ):
            assert (summary.requests, summary.duration.count) == (requests, times)
        assert totals.all.duration.view()["p50"] == pytest.approx(4.0)
        assert totals.all.time_to_first_token.count == 3
        for model in (None, "llama3:8b"):
            first, second = minutes(store, model)
            # How long the call took that was deleted is not known any more; that it was, is.
            assert (sum(first.counts), first.histogram(0).count, first.ran) == (1, 0, 41)
            assert (sum(second.counts), second.histogram(0).count) == (43, 3)
            assert second.histogram(0).percentiles(0.5) == [pytest.approx(4.0, rel=0.031)]
        store.close()


def test_a_store_that_was_counted_so_is_left_as_it_is(path: Path) -> None:
    store = opened(path)
    store.write([make_call(at=BEFORE, duration=4.0)])
    store.close()
    with sqlite3.connect(path) as connection:
        connection.execute("DELETE FROM calls")
    connection.close()
    store = opened(path)
    assert store.statistics().all.duration.count == 1
    assert [tally.histogram(0).count for tally in minutes(store)] == [1]
    store.close()


def test_calls_that_no_series_has_counted_yet_are_counted_once(path: Path) -> None:
    calls = [make_call(at=BEFORE + n, duration=4.0) for n in range(3)]
    older_database(path, WITHOUT_SERIES, calls)
    store = opened(path)
    while store.prune(None, None):
        pass
    assert [tally.histogram(0).count for tally in minutes(store)] == [3]
    store.close()
