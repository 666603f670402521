"""Each call that ended is in the series once: across batches, restarts, kills, retention, ages."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from pathlib import Path

import pytest
from msgspec.structs import replace

from ollama_proxy.charts import Asked
from ollama_proxy.exchange import Call
from ollama_proxy.ids import first_id, iso
from ollama_proxy.records import Filter
from ollama_proxy.series import DAY, HOUR, MAX_MODELS, MINUTE, Gauges, Levels, Tally
from ollama_proxy.stats import MAX_NAME, OTHER
from ollama_proxy.storage.base import MIGRATIONS
from ollama_proxy.storage.database import APPLICATION_ID
from ollama_proxy.storage.errors import StoreError
from ollama_proxy.storage.inserting import WHOLE
from ollama_proxy.storage.series import PORTION
from ollama_proxy.storage.sqlite import SqliteStore
from tests.storage.calls import make_call

NOON = 1_790_000_000 // DAY * DAY + 12 * HOUR
WITHOUT_SERIES = 4
"""The last version of the database that had none."""


class Clock:
    def __init__(self) -> None:
        self.now = float(NOON)

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def store(path: Path, clock: Clock) -> Iterable[SqliteStore]:
    store = SqliteStore(path, clock=clock)
    store.open()
    yield store
    store.close()


def ended(at: float, number: int = 0, **fields: object) -> Call:
    """A call that ended then, after two seconds; of one process ids only rise, these tell when."""
    known: dict[str, object] = {"id": f"{first_id(at)[:10]}{number:016d}", "duration": 2.0}
    return make_call(at=at - 2, **known | fields)


def told(
    store: SqliteStore, model: str | None = None, step: int = MINUTE, days: int = 400
) -> dict[int, Tally]:
    asked = Asked(
        since=NOON - days * DAY, until=NOON + days * DAY, step=step, now=NOON, model=model
    )
    return store.series(asked)


def counts(store: SqliteStore, model: str | None = None, step: int = MINUTE) -> dict[int, int]:
    """Calls by seconds from noon."""
    found = told(store, model, step)
    return {at - NOON: sum(tally.counts) for at, tally in sorted(found.items())}


def prune_all(store: SqliteStore, days: float | None = None, rows: int | None = None) -> None:
    while store.prune(days, None, rows):
        pass


def steps(path: Path) -> dict[int, int]:
    with sqlite3.connect(path) as connection:
        found = dict(connection.execute("SELECT step, count(*) FROM series GROUP BY step"))
    connection.close()
    return found


def test_by_minute_over_all_and_by_model(store: SqliteStore) -> None:
    store.write([ended(NOON + 1), ended(NOON + 2, model="b"), ended(NOON + 61, state="failed")])
    store.write([ended(NOON + 3), ended(NOON + 125, path="/api/tags", model=None)])
    assert counts(store) == {0: 3, 60: 1, 120: 1}
    assert counts(store, "llama3:8b") == {0: 2, 60: 1, 120: 0}
    assert counts(store, "b:latest") == {0: 1, 60: 0, 120: 0}
    assert counts(store, step=HOUR) == {0: 5}
    assert told(store)[NOON + 60].counts == [0, 1, 0, 0, 0]


def test_a_running_call_counts_when_it_ends_and_once(store: SqliteStore) -> None:
    call = ended(NOON + 70)
    store.write([replace(call, state="running", duration=0.5)])
    assert counts(store) == {}
    store.write([call, call])
    store.write([call, replace(call, state="running")])
    assert counts(store) == {60: 1}


def test_a_long_batch_with_some_stored_before_counts_each_once(store: SqliteStore) -> None:
    calls = [ended(NOON + 1, number) for number in range(2 * WHOLE.together)]
    store.write(calls[::3])
    store.write(calls)
    assert counts(store) == {0: len(calls)}


def test_a_batch_that_fails_counts_nothing(store: SqliteStore) -> None:
    with pytest.raises(sqlite3.IntegrityError):
        store.write([ended(NOON), ended(NOON, 1, method=None)])
    assert counts(store) == {}


def test_odd_names_and_times_hold_nothing_back(store: SqliteStore) -> None:
    odd = [
        ended(NOON + 1, 2, started_at="2026"),
        ended(NOON + 1, 3, model="x" * (MAX_NAME + 1)),
        ended(NOON + 1, 4, model=""),
        ended(NOON + 1, 5, model="a\0b"),
    ]
    store.write(odd)
    assert counts(store) == {0: 3}
    assert counts(store, OTHER) == {0: 1}


def test_what_a_crash_left_running_is_in_the_minute_in_which_it_began(
    store: SqliteStore, clock: Clock
) -> None:
    store.write([ended(NOON + 1), ended(NOON + 62, state="running", duration=0.1)])
    clock.now += HOUR
    for _ in range(2):
        store.close()
        store.open()
        assert counts(store) == {0: 1, 60: 1}
    assert told(store)[NOON + 60].counts == [0, 0, 0, 0, 1]


def test_retention_takes_calls_and_leaves_the_series(store: SqliteStore, clock: Clock) -> None:
    store.write([ended(NOON + number, number) for number in range(40)])
    clock.now += HOUR
    prune_all(store, rows=3)
    assert len(store.search(Filter()).calls) == 3
    clock.now += 10 * DAY
    prune_all(store, days=7)
    assert store.search(Filter()).calls == []
    assert counts(store, step=HOUR) == {0: 40}


def test_old_minutes_become_hours_and_late_calls_find_theirs(
    store: SqliteStore, clock: Clock, path: Path
) -> None:
    store.write([ended(NOON + 60 * number, number) for number in range(90)])
    before = told(store, step=HOUR)
    clock.now = NOON + 2 * DAY + HOUR + 1
    prune_all(store)
    assert steps(path) == {MINUTE: 2 * 30, HOUR: 2}
    assert told(store, step=HOUR) == before
    store.write([ended(NOON + 61, 100), ended(NOON + HOUR + 60, 101)])
    assert counts(store, step=HOUR) == {0: 61, HOUR: 31}
    assert counts(store, "llama3:8b", step=HOUR) == {0: 61, HOUR: 31}
    assert steps(path) == {MINUTE: 2 * 30, HOUR: 2}
    clock.now += 5 * DAY
    prune_all(store)
    assert steps(path) == {HOUR: 4}
    assert counts(store, step=HOUR) == {0: 61, HOUR: 31}


@pytest.mark.parametrize(
    ("days", "age", "kept"),
    [(7, 89, True), (7, 91, False), (200, 199, True), (200, 201, False), (None, 300, True)],
)
def test_hours_are_kept_for_ninety_days_or_as_long_as_calls(
    store: SqliteStore, clock: Clock, days: int | None, age: int, kept: bool
) -> None:
    store.write([ended(NOON)])
    clock.now = NOON + age * DAY + HOUR
    prune_all(store, days)
    assert (counts(store, step=HOUR) == {0: 1}) is kept


def test_many_models_in_a_minute_share_one_row(store: SqliteStore, path: Path) -> None:
    store.write([ended(NOON + 1, 1, model="real")])
    for start in range(0, 200, 50):
        made_up = range(start, start + 50)
        store.write([ended(NOON + 2, n, model=f"m{n}", state="failed") for n in made_up])
    store.write([ended(NOON + 3, 900, model="real"), ended(NOON + 3, 901, model="also real")])
    assert counts(store) == {0: 203}
    assert counts(store, "real:latest") == {0: 2}
    assert counts(store, "also real:latest") == {0: 1}
    assert counts(store, OTHER)[0] >= 200 - MAX_MODELS
    assert steps(path)[MINUTE] <= MAX_MODELS + 2


def test_models_are_bounded_in_an_hour_too(store: SqliteStore, clock: Clock, path: Path) -> None:
    store.write([ended(NOON + 60 * n, n, model=f"m{n}") for n in range(55)])
    clock.now += 3 * DAY
    prune_all(store)
    assert steps(path)[HOUR] <= MAX_MODELS + 2
    assert counts(store, step=HOUR) == {0: 55}
    assert counts(store, OTHER, step=HOUR)[0] >= 55 - MAX_MODELS


def test_gauges_are_kept_beside_the_calls_of_their_minute(store: SqliteStore, clock: Clock) -> None:
    gauges = Gauges()
    gauges.hold(Levels(running=4, queued=2, host_memory_bytes=10**12), 30)
    store.gauge([(NOON, gauges), (NOON + 60, gauges)])
    store.write([ended(NOON + 1)])
    store.gauge([(NOON, gauges)])
    found = told(store, "llama3:8b")
    assert [sum(tally.counts) for tally in found.values()] == [1, 0]
    assert [tally.gauges and tally.gauges.known[0] / 1000 for tally in found.values()] == [60, 30]
    clock.now += 3 * DAY
    prune_all(store)
    (hour,) = told(store, step=HOUR).values()
    assert hour.gauges is not None
    assert (hour.gauges.known[0] / 1000, hour.gauges.mean(3), hour.gauges.most) == (
        90,
        1e12,
        [4, 2],
    )


@pytest.mark.parametrize("version", range(1, WITHOUT_SERIES + 1))
def test_calls_of_an_older_database_are_counted_in_portions_newest_first(
    path: Path, clock: Clock, version: int
) -> None:
    """Those that a crash left running, too; once, also where the proxy stops in between."""
    old = [ended(NOON - 600 + number / 4, number) for number in range(2 * PORTION + 10)]
    left_running = replace(old[-1], state="running")
    older_database(path, version, [*old[:-1], left_running])
    store = SqliteStore(path, clock=clock)
    store.open()
    new = ended(NOON + 1)
    store.write([new])
    assert counts(store) == {0: 1}
    assert store.prune(None, None)
    assert sum(counts(store).values()) == PORTION + 1
    assert min(counts(store)) > -600
    for _ in range(2):
        store.close()
        store.open()
        store.write([new, *old[::5]])
        prune_all(store)
    assert sum(counts(store).values()) == len(old) + 1
    assert sum(tally.counts[4] for tally in told(store).values()) == 1
    assert told(store)[NOON - 600].tokens[2:] == [7 * 240, 240]
    store.close()


def older_database(path: Path, version: int, calls: list[Call]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path) as connection:
        for step in range(1, version + 1):
            for sql in MIGRATIONS[step]:
                connection.execute(sql)
        connection.executemany(
            "INSERT INTO calls (id, method, path, model, state, started_at, duration,"
            " output_tokens, request_bytes, response_bytes, not_understood)"
            " VALUES (?, 'POST', '/api/chat', 'm', ?, ?, ?, 7, 1, 2, 0)",
            [(call.id, call.state, call.started_at, call.duration) for call in calls],
        )
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.close()


def test_calls_that_retention_deletes_at_once_are_counted_before(path: Path, clock: Clock) -> None:
    old = [ended(NOON - 9 * DAY, number) for number in range(PORTION + 10)]
    older_database(path, WITHOUT_SERIES, old)
    store = SqliteStore(path, clock=clock)
    store.open()
    prune_all(store, days=7)
    assert store.search(Filter()).calls == []
    assert counts(store, step=HOUR) == {-9 * DAY: PORTION + 10}
    store.close()


def test_a_call_before_the_end_of_the_old_ones_is_counted_once_after_the_clock_was_set_back(
    path: Path, clock: Clock
) -> None:
    older_database(path, WITHOUT_SERIES, [ended(NOON, number) for number in range(3)])
    store = SqliteStore(path, clock=clock)
    store.open()
    store.write([ended(NOON - HOUR)])
    prune_all(store)
    store.write([ended(NOON - HOUR + 60)])
    assert counts(store) == {-HOUR: 1, -HOUR + 60: 1, 0: 3}
    store.close()


def test_damage_is_told_and_is_no_fault_of_a_call(store: SqliteStore, path: Path) -> None:
    store.write([ended(NOON)])
    with sqlite3.connect(path) as connection:
        connection.execute("UPDATE series SET tally = x'81'")
    connection.close()
    with pytest.raises(StoreError, match="is damaged"):
        told(store)
    call = ended(NOON, 1)
    with pytest.raises(StoreError, match="is damaged"):
        store.write([call])
    assert store.call(call.id) is None  # a call is stored and counted, or neither
    assert store.statistics().all.requests == 1


def test_the_time_of_a_made_up_call(store: SqliteStore) -> None:
    assert ended(NOON).started_at == iso(NOON - 2)
