"""The oldest calls go first, in short steps; totals and running calls stay."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_proxy.exchange import Call
from ollama_proxy.records import Filter
from ollama_proxy.storage.sqlite import MANY_ROWS, PRUNE_ROWS, SqliteStore
from tests.storage.calls import NOON, make_call

DAY = 86400.0
NOW = NOON + 100 * DAY


@pytest.fixture
def store(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path, clock=lambda: NOW)
    store.open()
    yield store
    store.close()


def aged(days: float, **fields: object) -> Call:
    """A call of so many days ago. Its id is made up, as ids of one process only rise."""
    at = NOW - days * DAY
    return make_call(at=at, id=f"{int(at * 1000):020d}", **fields)


def prune_all(store: SqliteStore, max_age_days: float | None, max_bytes: int | None) -> int:
    steps = 0
    while store.prune(max_age_days, max_bytes):
        steps += 1
    return steps


def test_calls_past_the_age_go_and_totals_stay(store: SqliteStore) -> None:
    old, young = aged(8), aged(6)
    store.write([young, old])
    prune_all(store, 7, None)
    assert store.search(Filter()).calls == [young]
    assert store.statistics().all.requests == 2
    store.close()
    store.open()
    assert store.statistics().models["llama3:8b"].requests == 2


def test_without_limits_nothing_goes(store: SqliteStore) -> None:
    store.write([aged(1000)])
    assert prune_all(store, None, None) == 0
    assert prune_all(store, 1001, 10**9) == 0
    assert len(store.search(Filter()).calls) == 1


def test_a_step_is_bounded_and_steps_go_on_until_done(store: SqliteStore) -> None:
    store.write([aged(10 + number / 10_000) for number in range(PRUNE_ROWS * 2 + 1)])
    store.write([aged(1)])
    assert store.prune(7, None)
    assert store.statistics().all.requests == 2 * PRUNE_ROWS + 2
    assert len(store.search(Filter(limit=1000)).calls) == 1000
    assert 2 <= prune_all(store, 7, None) <= 6
    assert len(store.search(Filter()).calls) == 1


def test_a_step_by_size_is_bounded_too(store: SqliteStore) -> None:
    store.write([aged(1 + number / 10_000) for number in range(PRUNE_ROWS + 10)])
    assert store.prune(None, 1)
    assert len(store.search(Filter()).calls) == 10


def test_of_many_rows_a_whole_step_goes_until_it_is_enough(store: SqliteStore, path: Path) -> None:
    calls = [aged(2 - number / 100_000) for number in range(MANY_ROWS)]
    store.write(calls)
    store.close()
    store.open()
    limit = path.stat().st_size - 20_000
    assert store.prune(None, limit)
    assert store.call(calls[PRUNE_ROWS - 1].id) is None
    assert store.call(calls[PRUNE_ROWS].id) == calls[PRUNE_ROWS]
    prune_all(store, None, limit)
    assert store.call(calls[PRUNE_ROWS].id) == calls[PRUNE_ROWS]


def test_beyond_the_size_the_oldest_go_and_the_file_shrinks(store: SqliteStore, path: Path) -> None:
    calls = [aged(30 - number / 100, prompt="x" * 2000) for number in range(2000)]
    store.write(calls)
    prune_all(store, None, 2_000_000)
    kept = store.search(Filter(limit=1000)).calls
    assert 400 < len(kept) < 500
    assert kept == calls[: -len(kept) - 1 : -1]
    assert store.statistics().all.requests == 2000
    store.close()
    assert path.stat().st_size <= 2_000_000


def test_of_more_rows_than_the_limit_the_oldest_go(store: SqliteStore) -> None:
    calls = [aged(5 - number / 1000) for number in range(PRUNE_ROWS + 30)]
    store.write(calls)
    assert store.prune(None, None, 20)
    assert store.search(Filter(limit=1000)).calls == calls[: PRUNE_ROWS - 1 : -1]
    while store.prune(None, None, 20):
        pass
    assert store.search(Filter(limit=1000)).calls == calls[:-21:-1]
    assert store.statistics().all.requests == PRUNE_ROWS + 30


def test_as_many_rows_as_the_limit_stay(store: SqliteStore) -> None:
    store.write([aged(5 - number / 1000) for number in range(20)])
    assert not store.prune(None, None, 20)
    assert len(store.search(Filter()).calls) == 20


def test_of_three_limits_the_strictest_holds(store: SqliteStore) -> None:
    store.write([aged(number) for number in range(20)])
    for limits in ((9.5, 10**9, 15), (30, 10**9, 8), (3.5, 10**9, 8)):
        while store.prune(*limits):
            pass
        expected = min(limits[2], int(limits[0]) + 1, 20)
        assert len(store.search(Filter()).calls) == expected


def test_a_running_call_is_kept_whatever_its_age(store: SqliteStore) -> None:
    running = aged(50, state="running")
    store.write([running, aged(50.1)])
    prune_all(store, 7, 1)
    assert store.search(Filter()).calls == [running]


def test_what_is_forgotten_is_not_left_in_the_file(store: SqliteStore, path: Path) -> None:
    store.write([aged(8, prompt="a secret of the user")])
    prune_all(store, 7, None)
    store.close()
    assert b"a secret" not in path.read_bytes()
