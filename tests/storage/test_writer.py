"""`put` never waits, nothing is lost without being counted, a sick disk is told and outlived."""

from __future__ import annotations

import contextlib
import resource
import subprocess
import threading
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

import pytest
from msgspec.structs import replace

from ollama_proxy.exchange import Call
from ollama_proxy.records import Filter, Noted, Occurrence
from ollama_proxy.replay import Capture
from ollama_proxy.storage.errors import StoreError
from ollama_proxy.storage.sqlite import SqliteStore
from ollama_proxy.storage.writer import PRUNE_CALLS, PRUNE_SECONDS, Writer
from tests.storage.calls import make_call

SOON = 10.0


class ScriptedStore(SqliteStore):
    """A real store that can be held up, or told to fail, and remembers what it was asked."""

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self.free = threading.Event()
        self.free.set()
        self.busy = threading.Event()
        self.failure: Exception | None = None
        self.batches: list[Sequence[Call]] = []
        self.prunes: list[tuple[float | None, int | None, int | None]] = []
        self.left_to_prune = 0

    def write(
        self,
        calls: Sequence[Call],
        captures: Sequence[Capture] = (),
        noted: Sequence[Noted] = (),
    ) -> None:
        self.busy.set()
        assert self.free.wait(SOON), "whoever should set this waits for it"
        if self.failure is not None:
            raise self.failure
        super().write(calls, captures, noted)
        self.batches.append(list(calls))

    def prune(
        self, max_age_days: float | None, max_bytes: int | None, max_rows: int | None = None
    ) -> bool:
        self.prunes.append((max_age_days, max_bytes, max_rows))
        self.left_to_prune -= 1
        return self.left_to_prune > 0


class Clock:
    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def store(path: Path) -> Iterator[ScriptedStore]:
    store = ScriptedStore(path)
    store.open()
    yield store
    store.free.set()
    store.close()


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def make_writer(store: ScriptedStore, clock: Clock) -> Iterator[Callable[..., Writer]]:
    """Started writers whose batches wait for `flush` (interval 600 s); stopped at the end."""
    made: list[Writer] = []

    def make(**settings: float) -> Writer:
        writer = Writer(store, **{"interval": 600, "clock": clock, "now": clock, **settings})  # type: ignore[arg-type]
        made.append(writer)
        writer.start()
        return writer

    yield make
    store.free.set()
    for writer in made:
        writer.stop(SOON)


def test_what_was_put_is_stored(make_writer: Callable[..., Writer], store: ScriptedStore) -> None:
    writer, calls = make_writer(), [make_call() for _ in range(3)]
    for call in calls:
        writer.put(call)
    assert writer.pending == 3
    assert writer.flush(SOON)
    assert store.search(Filter()).calls == calls[::-1]
    assert (writer.pending, writer.dropped, writer.error) == (0, 0, None)


def test_what_is_noted_later_of_a_call_is_stored_too_also_where_the_store_failed_first(
    make_writer: Callable[..., Writer], store: ScriptedStore
) -> None:
    writer, call = make_writer(), make_call()
    writer.put(call)
    writer.note(Noted(call.id, call.model, "a.py", [Occurrence(kind="waited", seconds=2.0)]))
    store.failure = StoreError("the disk is full")
    assert not writer.flush(SOON)
    store.failure = None
    assert writer.flush(SOON)
    assert [(one.kind, one.calls) for one in store.findings(Filter())] == [("waited", [call.id])]


def test_a_batch_is_written_when_the_interval_is_over(
    make_writer: Callable[..., Writer], store: ScriptedStore
) -> None:
    writer = make_writer(interval=0.01)
    store.busy.clear()
    writer.put(make_call())
    assert store.busy.wait(SOON)


def test_a_full_batch_does_not_wait_for_the_interval(
    make_writer: Callable[..., Writer], store: ScriptedStore
) -> None:
    writer = make_writer()
    for _ in range(1000):
        writer.put(make_call())
    assert store.busy.wait(SOON)


def test_running_then_finished_is_one_row(
    make_writer: Callable[..., Writer], store: ScriptedStore
) -> None:
    writer, call = make_writer(), make_call()
    for put in (replace(call, state="running"), call, replace(call, state="running")):
        writer.put(put)
    assert writer.flush(SOON)
    assert store.batches == [[call]]


def test_put_does_not_wait_for_a_store_that_hangs(
    make_writer: Callable[..., Writer], store: ScriptedStore
) -> None:
    writer, first, second = make_writer(interval=0), make_call(), make_call()
    store.free.clear()
    writer.put(replace(first, state="running"))
    assert store.busy.wait(SOON)
    writer.put(first)
    writer.put(second)
    assert writer.pending >= 2
    assert not writer.flush(0)
    store.free.set()
    assert writer.flush(SOON)
    assert store.search(Filter()).calls == [second, first]
    assert writer.dropped == 0


def test_beyond_the_bound_finished_calls_win_and_losses_are_counted(
    make_writer: Callable[..., Writer], store: ScriptedStore
) -> None:
    writer = make_writer(capacity=4)
    running = [make_call(state="running") for _ in range(5)]
    finished = [make_call() for _ in range(5)]
    for call in running:
        writer.put(call)
    assert (writer.pending, writer.dropped) == (4, 0)
    for call in finished:
        writer.put(call)
    assert (writer.pending, writer.dropped) == (4, 1)
    assert writer.flush(SOON)
    assert store.search(Filter()).calls == finished[3::-1]


def test_the_log_says_once_that_calls_are_dropped_and_once_how_many_it_were(
    make_writer: Callable[..., Writer], store: ScriptedStore, caplog: pytest.LogCaptureFixture
) -> None:
    writer = make_writer(capacity=2)
    for lost in (1, 1500):
        caplog.clear()
        store.failure = StoreError("the disk is full")
        for _ in range(2 + lost):
            writer.put(make_call())
        for _ in range(3):
            assert not writer.flush(SOON)
        store.failure = None
        for _ in range(3):
            assert writer.flush(SOON)
        told = [line for line in caplog.messages if "dropped" in line]
        since = "dropped since 1970-01-01T00:16:40.000Z"
        assert told == [
            "calls are dropped: more wait to be stored than there is room for",
            f"{lost:,} {'call was' if lost == 1 else 'calls were'} {since}",
        ]


def test_at_the_bound_a_finished_call_still_takes_its_running_rows_place(
    make_writer: Callable[..., Writer], store: ScriptedStore
) -> None:
    writer = make_writer(capacity=2)
    first, second = make_call(), make_call()
    for call in (first, second):
        writer.put(replace(call, state="running"))
    for call in (first, second):
        writer.put(call)
    assert (writer.pending, writer.dropped) == (2, 0)
    assert writer.flush(SOON)
    assert store.search(Filter()).calls == [second, first]


def test_texts_that_wait_are_bounded_too(
    make_writer: Callable[..., Writer], store: ScriptedStore
) -> None:
    writer, half = make_writer(characters=4000), "x" * 1000
    store.failure = StoreError("locked")
    long = [make_call(prompt=half, response=half) for _ in range(4)]
    short = make_call()
    for call in [*long, long[0], short]:
        writer.put(call)
    assert not writer.flush(SOON)
    assert (writer.pending, writer.dropped) == (3, 2)
    store.failure = None
    assert writer.flush(SOON)
    assert store.search(Filter()).calls == [short, *long[1::-1]]
    for call in long[2:]:
        writer.put(call)
    assert (writer.pending, writer.dropped) == (2, 2)


def test_at_the_bound_of_texts_a_finished_call_takes_the_place_of_running_rows(
    make_writer: Callable[..., Writer], store: ScriptedStore
) -> None:
    writer, text = make_writer(characters=3000), "x" * 1000
    running = [make_call(state="running", prompt=text) for _ in range(4)]
    for call in [*running, running[0]]:
        writer.put(call)
    assert (writer.pending, writer.dropped) == (3, 0)
    finished = replace(running[0], state="completed", response=2 * text)
    writer.put(finished)
    assert (writer.pending, writer.dropped) == (1, 0)
    assert writer.flush(SOON)
    assert store.search(Filter()).calls == [finished]
    writer.put(make_call(prompt=3 * text))
    assert writer.flush(SOON)
    assert writer.dropped == 0


def test_an_error_is_told_with_its_time_until_it_is_over(
    make_writer: Callable[..., Writer], store: ScriptedStore, clock: Clock
) -> None:
    writer, call = make_writer(), make_call()
    store.failure = StoreError("the disk is full: free some space")
    writer.put(call)
    assert not writer.flush(SOON)
    clock.now += 5
    assert not writer.flush(SOON)
    told = writer.error, writer.error_since
    assert told == ("the disk is full: free some space", "1970-01-01T00:16:40.000Z")
    assert writer.pending == 1
    store.failure = None
    assert writer.flush(SOON)
    told = writer.error, writer.error_since
    assert told == (None, None)
    assert store.search(Filter()).calls == [call]


def test_it_tries_again_by_itself(make_writer: Callable[..., Writer], store: ScriptedStore) -> None:
    writer = make_writer(interval=0)
    store.failure = StoreError("locked")
    writer.put(make_call())
    for _ in range(2):
        store.busy.clear()
        assert store.busy.wait(SOON)


def test_a_row_that_cannot_be_stored_does_not_hold_back_the_others(
    make_writer: Callable[..., Writer], store: ScriptedStore
) -> None:
    writer, good, bad = make_writer(), [make_call(), make_call()], make_call(method=None)
    for call in (good[0], bad, good[1]):
        writer.put(call)
    assert writer.flush(SOON)
    assert store.search(Filter()).calls == good[::-1]
    assert (writer.dropped, writer.pending) == (1, 0)


def test_a_call_that_cannot_be_stored_is_dropped_once_whatever_rows_it_had(
    make_writer: Callable[..., Writer],
) -> None:
    writer, bad = make_writer(), make_call(method=None)
    for dropped, state in enumerate(["running", "running", "completed"]):
        writer.put(replace(bad, state=state))
        assert writer.flush(SOON)
        assert (writer.dropped, writer.pending) == (dropped == 2, 0)


def test_stop_writes_what_is_queued(
    make_writer: Callable[..., Writer], store: ScriptedStore
) -> None:
    writer, call = make_writer(), make_call()
    writer.put(call)
    assert writer.stop(SOON)
    assert store.search(Filter()).calls == [call]
    writer.put(make_call())
    assert (writer.dropped, writer.pending) == (1, 0)


def test_stop_does_not_prune(
    make_writer: Callable[..., Writer], store: ScriptedStore, clock: Clock
) -> None:
    writer = make_writer()
    assert writer.flush(SOON)
    clock.now += PRUNE_SECONDS
    assert writer.stop(SOON)
    assert len(store.prunes) == 1


def test_stop_tells_when_not_all_was_written(
    make_writer: Callable[..., Writer], store: ScriptedStore
) -> None:
    writer = make_writer()
    store.failure = StoreError("the disk is full")
    writer.put(make_call())
    assert not writer.stop(SOON)
    assert writer.pending == 1


def test_stop_does_not_wait_longer_than_it_is_told(
    make_writer: Callable[..., Writer], store: ScriptedStore
) -> None:
    writer = make_writer(interval=0)
    store.free.clear()
    writer.put(make_call())
    assert store.busy.wait(SOON)
    assert not writer.stop(0)


def test_it_prunes_at_the_start_step_by_step_and_then_hourly(
    make_writer: Callable[..., Writer], store: ScriptedStore, clock: Clock
) -> None:
    store.left_to_prune = 3
    writer = make_writer(max_age_days=30, max_bytes=1_000_000, max_rows=5000)
    while len(store.prunes) < 3:
        assert writer.flush(SOON)
    for later, expected in [(PRUNE_SECONDS - 1, 3), (2, 4), (0, 4)]:
        clock.now += later
        assert writer.flush(SOON)
        assert len(store.prunes) == expected
    assert set(store.prunes) == {(30, 1_000_000, 5000)}


def test_a_flood_of_calls_is_pruned_before_the_hour_is_over(
    make_writer: Callable[..., Writer], store: ScriptedStore
) -> None:
    writer = make_writer()
    assert writer.flush(SOON)
    for expected in (1, 2):
        for _ in range(PRUNE_CALLS):
            writer.put(make_call())
        assert len(store.prunes) == expected
        assert writer.flush(SOON)
    assert len(store.prunes) == 3


class Disk(NamedTuple):
    folder: Path
    fill: Callable[[], None]
    free: Callable[[], None]


@pytest.fixture
def limited(tmp_path: Path) -> Iterator[Disk]:
    """No file may grow past 64 KiB: RLIMIT_FSIZE, which needs no privilege."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)

    def limit(size: int) -> None:
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))

    yield Disk(tmp_path, lambda: limit(65536), lambda: limit(soft))
    limit(soft)


@pytest.fixture
def tiny(tmp_path: Path) -> Iterator[Disk]:
    """A file system of 2 MB with something big on it."""
    mount = ["mount", "-t", "tmpfs", "-o", "size=2m", "tmpfs", str(tmp_path)]
    if subprocess.run(mount, capture_output=True, check=False).returncode:
        pytest.skip("mounting takes root")
    ballast = tmp_path / "ballast"

    def fill() -> None:
        with ballast.open("wb", buffering=0) as file, contextlib.suppress(OSError):
            while True:
                file.write(bytes(4096))

    yield Disk(tmp_path, fill, ballast.unlink)
    subprocess.run(["umount", "-l", str(tmp_path)], check=True)


@pytest.mark.parametrize("kind", ["limited", "tiny"])
def test_a_full_disk_loses_nothing(kind: str, request: pytest.FixtureRequest) -> None:
    disk: Disk = request.getfixturevalue(kind)
    store = SqliteStore(disk.folder / "data" / "calls.db")
    store.open()
    writer = Writer(store)
    writer.start()
    calls = [make_call(prompt="x" * 1000) for _ in range(200)]
    disk.fill()
    for call in calls:
        writer.put(call)
    assert not writer.flush(SOON)
    assert writer.error is not None
    assert "disk" in writer.error
    assert writer.pending == len(calls)
    assert store.search(Filter()).calls == []
    disk.free()
    assert writer.flush(SOON)
    assert writer.stop(SOON)
    assert store.search(Filter(limit=1000)).calls == calls[::-1]
    assert store.statistics().all.requests == len(calls)
    store.close()
