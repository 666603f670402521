"""What is written is read back, counted once, and still there after the file was closed."""

from __future__ import annotations

import contextlib
import sqlite3
import stat
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from msgspec.structs import replace

from ollama_proxy.exchange import Call
from ollama_proxy.records import Filter
from ollama_proxy.stats import Statistics
from ollama_proxy.storage.base import COLUMNS, MAX_LIMIT, MIGRATIONS, PAGE_CHARACTERS
from ollama_proxy.storage.database import APPLICATION_ID
from ollama_proxy.storage.errors import StoreError
from ollama_proxy.storage.inserting import BRIEF, TOGETHER_CHARACTERS, WHOLE
from ollama_proxy.storage.sqlite import SqliteStore
from tests.storage.calls import make_call

TOGETHER = WHOLE.together


def reopened(store: SqliteStore) -> SqliteStore:
    store.close()
    store.open()
    return store


def ids(store: SqliteStore, wanted: Filter) -> list[str]:
    return [call.id for call in store.search(wanted).calls]


def test_a_call_is_read_back_as_it_was_written(store: SqliteStore) -> None:
    call = make_call(streamed=False, options={"temperature": 0.5}, prompt="'; DROP TABLE calls;--")
    store.write([call])
    assert store.call(call.id) == call
    assert store.call("no such id") is None


def test_a_finished_row_takes_the_place_of_the_running_one(store: SqliteStore) -> None:
    call = make_call(output_tokens=5)
    store.write([replace(call, state="running", output_tokens=None)])
    assert store.statistics().all.requests == 0
    store.write([call])
    assert store.search(Filter()).calls == [call]
    assert store.statistics().all.output_tokens == 5


def test_a_finished_row_stays_as_it_is_and_counts_once(store: SqliteStore) -> None:
    call = make_call()
    store.write([call, call, replace(call, state="running")])
    store.write([replace(call, state="failed")])
    store.write([replace(call, state="running")])
    assert store.search(Filter()).calls == [call]
    assert (store.statistics().all.requests, store.statistics().all.completed) == (1, 1)


def test_in_a_long_batch_only_those_not_stored_before_are_stored_and_counted(
    store: SqliteStore,
) -> None:
    calls = [make_call() for _ in range(3 * TOGETHER + 1)]
    known, running = calls[5::7], calls[6::7]
    store.write([*known, *(replace(call, state="running") for call in running)])
    store.write([replace(call, state="failed") for call in calls])
    expected = [call if call in known else replace(call, state="failed") for call in calls]
    assert store.search(Filter(limit=1000)).calls == expected[::-1]
    totals = store.statistics().all
    assert (totals.completed, totals.failed) == (len(known), len(calls) - len(known))


@pytest.mark.parametrize(
    ("characters", "expected"), [(100, 10), (TOGETHER_CHARACTERS + 1, 10 * TOGETHER)]
)
def test_a_batch_is_stored_by_few_statements_but_for_long_texts(
    store: SqliteStore, characters: int, expected: int
) -> None:
    """After each the thread has to get Python's lock back, from a loop that may be busy."""
    told: list[str] = []
    with store._write() as connection:
        connection.set_trace_callback(lambda sql: told.append(sql[:11]))
    text = "x" * characters
    calls = [
        make_call(response=None if number % TOGETHER else text, queue=0.1)
        for number in range(10 * TOGETHER)
    ]
    store.write([*calls, make_call(), make_call(prompt=text)])
    assert told.count("INSERT INTO") == expected + 2
    assert store.statistics().all.requests == 10 * TOGETHER + 2


def test_calls_that_ran_no_model_are_stored_whole_too(store: SqliteStore) -> None:
    """By statements of their own, which name fewer columns: all others are then empty."""
    calls = [brief_call() for _ in range(2 * BRIEF.together + 1)]
    running = replace(calls[0], state="running", prompt="a", caller={"name": "b"})
    told: list[str] = []
    store.write([running])
    with store._write() as connection:
        connection.set_trace_callback(lambda sql: told.append(sql[:11]))
    store.write([*calls[:-1], make_call(), calls[-1]])
    assert told.count("INSERT INTO") == 4  # two of many, one left over, and the other
    stored = {call.id: call for call in store.search(Filter(limit=1000)).calls}
    assert [stored[call.id] for call in calls] == calls
    assert store.statistics().all.requests == len(calls) + 1


def brief_call() -> Call:
    id = make_call().id
    return Call(id=id, method="GET", path="/è", state="completed", started_at="2026", duration=0.1)


def test_totals_are_those_of_the_calls_and_survive_reopening(store: SqliteStore) -> None:
    calls = [make_call(model=model, duration=1.5) for model in ("a", "b", "a")]
    calls += [make_call(model=None, path="/api/tags"), make_call(state="failed", model="c")]
    expected = Statistics()
    for call in calls:
        expected.add(call)
    store.write(calls[:2])
    reopened(store).write(calls[2:])
    assert reopened(store).statistics() == expected


def test_a_batch_is_stored_whole_or_not_at_all(store: SqliteStore) -> None:
    unwritable = make_call(method=None)
    with pytest.raises(sqlite3.IntegrityError):
        store.write([make_call(), unwritable])
    assert store.search(Filter()).calls == []
    assert store.statistics().all.requests == 0
    store.write([make_call()])
    assert store.statistics().all.requests == 1


def test_newest_first_a_page_at_a_time(store: SqliteStore) -> None:
    calls = [make_call() for _ in range(7)]
    store.write(calls[3:] + calls[:3])
    newest = [call.id for call in reversed(calls)]
    assert ids(store, Filter(limit=3)) == newest[:3]
    assert ids(store, Filter(limit=3, before=newest[2])) == newest[3:6]
    assert ids(store, Filter(limit=3, before=newest[5])) == newest[6:]


@pytest.mark.parametrize(("quarters", "expected"), [(1, 4), (3, 2), (5, 1)])
def test_a_page_of_long_texts_is_shorter_but_never_empty(
    store: SqliteStore, quarters: int, expected: int
) -> None:
    half = "x" * (quarters * PAGE_CHARACTERS // 8)
    calls = [make_call(prompt=half, response=half) for _ in range(5)]
    store.write(calls)
    newest = [call.id for call in reversed(calls)]
    assert ids(store, Filter(limit=1000)) == newest[:expected]
    assert ids(store, Filter(limit=1, before=newest[expected - 1])) == [newest[expected]]


def test_a_page_cut_short_holds_back_no_checkpoint(store: SqliteStore, path: Path) -> None:
    store.write([make_call(prompt="x" * PAGE_CHARACTERS) for _ in range(2)])
    assert len(store.search(Filter()).calls) == 1
    store.write([make_call()])
    with contextlib.closing(sqlite3.connect(path)) as connection:
        row = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert row == (0, 0, 0)


def test_a_damaged_text_is_not_quoted(store: SqliteStore, path: Path) -> None:
    store.write([make_call()])
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE calls SET prompt = CAST(x'ff' || 'hunter2' AS TEXT)")
        connection.commit()
    with pytest.raises(StoreError, match="is damaged") as caught:
        store.search(Filter())
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("limit", [-1, 0, 10**9])
def test_an_odd_limit_is_bounded(store: SqliteStore, limit: int) -> None:
    store.write([make_call() for _ in range(MAX_LIMIT + 1)])
    assert len(store.search(Filter(limit=limit)).calls) == (MAX_LIMIT if limit > 0 else 0)


def test_what_a_crash_left_running_is_interrupted_and_counted_once(store: SqliteStore) -> None:
    done, lost = make_call(), make_call(state="running", duration=0.01)
    store.write([done, lost])
    for _ in range(2):
        reopened(store)
        found = store.call(lost.id)
        assert found == replace(lost, state="interrupted", reason="crash", duration=None)
        assert store.statistics().all.interrupted == 1
        assert store.statistics().all.requests == 2
    assert store.call(done.id) == done


def test_folder_and_files_are_private(store: SqliteStore, path: Path) -> None:
    store.write([make_call()])
    modes = {file.name: stat.S_IMODE(file.stat().st_mode) for file in path.parent.iterdir()}
    assert {"calls.db", "calls.db-wal", "calls.db-shm"} <= set(modes)
    assert set(modes.values()) == {0o600}
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


def test_a_file_that_others_could_read_is_made_private(store: SqliteStore, path: Path) -> None:
    path.chmod(0o644)
    reopened(store)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_the_reading_connection_cannot_write_or_checkpoint(store: SqliteStore, path: Path) -> None:
    store.write([make_call()])
    with store._read() as reader, pytest.raises(sqlite3.OperationalError, match="readonly"):
        reader.execute("DELETE FROM calls")
    files = [path, path.with_name("calls.db-wal")]
    before = [file.read_bytes() for file in files]
    with contextlib.suppress(StoreError), store._read() as reader:
        reader.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert [file.read_bytes() for file in files] == before
    with store._write() as writer:
        writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    assert [file.read_bytes() for file in files] != before


def test_reads_and_writes_from_many_threads(store: SqliteStore) -> None:
    def work(_: int) -> None:
        store.write([make_call()])
        store.search(Filter())
        store.statistics()

    with ThreadPoolExecutor(4) as threads:
        list(threads.map(work, range(80)))
    assert store.statistics().all.requests == len(store.search(Filter(limit=1000)).calls) == 80


def test_a_read_does_not_wait_for_a_write(store: SqliteStore) -> None:
    call = make_call()
    store.write([call])
    with store._transaction():
        assert store.search(Filter()).calls == [call]


def test_size_is_that_of_the_files(store: SqliteStore, path: Path) -> None:
    before = store.size_bytes()
    store.write([make_call(prompt="x" * 100_000)])
    assert store.size_bytes() >= before + 100_000
    assert store.size_bytes() == sum(
        file.stat().st_size for file in path.parent.iterdir() if file.suffix != ".lock"
    )


def test_a_closed_store_says_so(store: SqliteStore) -> None:
    store.close()
    store.close()
    with pytest.raises(StoreError, match="is not open"):
        store.search(Filter())
    with pytest.raises(StoreError, match="is not open"):
        store.write([])


def test_close_does_not_wait_for_a_write_that_hangs(path: Path) -> None:
    store = SqliteStore(path, busy_seconds=0)
    store.open()
    with store._writing:
        store.close()
    assert store.search(Filter()).calls == []
    store.close()


def test_migrations_run_in_order_and_once(path: Path) -> None:
    now = max(MIGRATIONS)
    steps = {
        **MIGRATIONS,
        now + 1: ["CREATE TABLE notes (line TEXT)", "INSERT INTO notes VALUES ('two')"],
        now + 2: ["INSERT INTO notes VALUES ('three')"],
    }
    call = make_call()
    for known in (now, now + 1, now + 2, now + 2):
        store = SqliteStore(path, migrations={step: steps[step] for step in range(1, known + 1)})
        store.open()
        store.write([call])
        store.close()
    with sqlite3.connect(path) as connection:
        assert connection.execute("SELECT line FROM notes").fetchall() == [("two",), ("three",)]
        assert connection.execute("SELECT id FROM calls").fetchall() == [(call.id,)]
        assert connection.execute("PRAGMA user_version").fetchone() == (now + 2,)
    connection.close()


def test_a_step_that_fails_changes_nothing(path: Path) -> None:
    store = SqliteStore(path)
    reopened(store).close()
    broken = {
        **MIGRATIONS,
        max(MIGRATIONS) + 1: ["CREATE TABLE notes (line TEXT)", "no SQL at all"],
    }
    with pytest.raises(StoreError):
        SqliteStore(path, migrations=broken).open()
    with sqlite3.connect(path) as connection:
        assert (
            connection.execute("SELECT name FROM sqlite_master WHERE name = 'notes'").fetchall()
            == []
        )
    connection.close()
    reopened(store).close()


@pytest.mark.parametrize("version", range(1, max(MIGRATIONS)))
def test_a_file_of_an_older_version_keeps_its_calls(path: Path, version: int) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with sqlite3.connect(path) as connection:
        for step in range(1, version + 1):
            for sql in MIGRATIONS[step]:
                connection.execute(sql)
        connection.execute(
            "INSERT INTO calls (id, method, path, state, started_at, request_bytes, response_bytes,"
            " not_understood) VALUES ('01OLD', 'GET', '/', 'completed', '2026', 1, 2, 0)"
        )
        connection.execute(f"PRAGMA user_version = {version}")
        connection.execute(f"PRAGMA application_id = {APPLICATION_ID}")
    connection.close()
    store = SqliteStore(path)
    store.open()
    new = make_call(prefill_cached=False, time_per_output_token=0.02, longest_gap=1.5, queue=1.0)
    told = {"request": [["Host", "a"], ["Cookie", None]], "response": None}
    pace = {"seconds": 0.05, "pieces": [1, 0, 3], "longest_at": 0.05, "longest_after": 1}
    new = replace(new, headers=told, pace=pace, in_force={"num_gpu": None})
    store.write([new])
    again = store.call(new.id)
    assert again == new and again.prefill_cached is False  # no 0: that is JSON's 0
    old = store.call("01OLD")
    by_wait = store.search(Filter(sort="queue")).calls
    store.close()
    assert by_wait == [new, old]
    assert old is not None
    assert (old.path, old.response_bytes, old.caller, old.longest_gap) == ("/", 2, None, None)
    assert (old.pace, old.headers, old.in_force) == (None, None, None)
    assert (old.prefill_cached, old.time_per_output_token) == (None, None)


def test_after_all_migrations_the_columns_are_the_fields_of_a_call(
    store: SqliteStore, path: Path
) -> None:
    with sqlite3.connect(path) as connection:
        rows = connection.execute("PRAGMA table_info(calls)").fetchall()
    connection.close()
    assert {row[1] for row in rows} == set(COLUMNS)
