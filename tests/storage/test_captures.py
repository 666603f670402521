"""What passed of a call is stored with it, found by its id, and forgotten with it."""

from __future__ import annotations

import contextlib
import sqlite3
from pathlib import Path

import pytest
from msgspec.structs import replace

from ollama_proxy.exchange import Call
from ollama_proxy.observers.capturing import Draft
from ollama_proxy.replay import Capture
from ollama_proxy.storage.errors import StoreError
from ollama_proxy.storage.sqlite import SqliteStore
from ollama_proxy.storage.writer import LOOK_SECONDS, Writer
from tests.storage.calls import make_call

SOON = 10.0


def capture_of(call: Call, body: bytes = b'{"model": "m"}') -> Capture:
    return Capture(
        id=call.id,
        method=call.method,
        target=call.path,
        headers=[("Content-Type", "application/json")],
        body=body,
        status=200,
        reason="OK",
        pieces=[(0.25, b"\xff"), (0.5, b"")],
        complete=True,
    )


def test_a_capture_comes_back_as_it_was(store: SqliteStore) -> None:
    call, other = make_call(), make_call()
    store.write([call, other], [capture_of(call)])
    assert store.capture(call.id) == capture_of(call)
    assert store.capture(other.id) is None


def test_it_is_stored_once_whatever_is_written_again(store: SqliteStore) -> None:
    call = make_call()
    for _ in range(2):
        store.write([call], [capture_of(call)])
    store.write([call], [capture_of(call, b"other")])
    assert store.capture(call.id) == capture_of(call)


def test_it_is_forgotten_with_its_call(store: SqliteStore, path: Path) -> None:
    calls = [make_call() for _ in range(3)]
    store.write(calls, [capture_of(call, b"a secret prompt") for call in calls])
    while store.prune(None, None, 1):
        pass
    assert [store.capture(call.id) is None for call in calls] == [True, True, False]
    while store.prune(None, None, 0):
        pass
    store.close()
    assert b"a secret prompt" not in path.read_bytes()


def test_many_large_ones_are_forgotten_in_more_steps_than_one(store: SqliteStore) -> None:
    calls = [make_call() for _ in range(30)]
    store.write(calls, [capture_of(call, bytes(1 << 20)) for call in calls])
    left = [len(calls)]
    while store.prune(None, None, 0):
        left.append(sum(store.call(call.id) is not None for call in calls))
        assert left[-2] - left[-1] < 10
    assert left[-1] == 0


def test_it_counts_for_the_size_that_is_kept(store: SqliteStore) -> None:
    calls = [make_call() for _ in range(20)]
    store.write(calls, [capture_of(call, bytes(1 << 20)) for call in calls])
    while store.prune(None, 8 << 20):
        pass
    left = [call for call in calls if store.call(call.id)]
    assert left == calls[len(calls) - len(left) :] and 4 <= len(left) <= 8


def test_a_damaged_one_is_told(store: SqliteStore, path: Path) -> None:
    call = make_call()
    store.write([call], [capture_of(call)])
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("UPDATE captures SET capture = x'ff'")
        connection.commit()
    with pytest.raises(StoreError, match="is damaged"):
        store.capture(call.id)


# -- by way of the writer -------------------------------------------------------------------


def test_the_writer_stores_it_with_its_call(store: SqliteStore) -> None:
    writer = Writer(store)
    writer.start()
    call = make_call()
    writer.put(replace(call, state="running"))
    writer.put(call, Draft(capture_of(call), ()))
    assert writer.flush(SOON)
    assert store.capture(call.id) == capture_of(call)
    assert writer.stop(SOON)


def test_where_there_is_no_room_it_is_the_capture_that_is_left_out(store: SqliteStore) -> None:
    writer = Writer(store, characters=3000)
    calls = [make_call(prompt="x" * 1000) for _ in range(3)]
    for call in calls:
        writer.put(call, Draft(capture_of(call, b"y" * 1000), ()))
    writer.start()
    assert writer.flush(SOON)
    assert writer.dropped == 0
    assert [store.call(call.id) for call in calls] == calls
    assert all(store.capture(call.id) is None for call in calls)
    assert writer.stop(SOON)


def test_what_is_stored_takes_no_room_any_more(store: SqliteStore) -> None:
    writer = Writer(store, characters=3000)
    writer.start()
    for _ in range(5):
        call = make_call()
        writer.put(call, Draft(capture_of(call, b"y" * 2000), ()))
        assert writer.flush(SOON)
        assert store.capture(call.id) is not None
    assert writer.stop(SOON)


class Slow:
    """One that takes a second of the clock to be looked through."""

    def __init__(self, call: Call, clock: list[float]) -> None:
        self.size, self._call, self._clock = 1, call, clock

    @property
    def capture(self) -> Capture:
        self._clock[0] += 1.0
        return capture_of(self._call)


def test_calls_do_not_wait_for_captures_that_take_long(store: SqliteStore) -> None:
    clock = [0.0]
    writer = Writer(store, clock=lambda: clock[0])
    calls = [make_call() for _ in range(100)]
    for call in calls:
        writer.put(call, Slow(call, clock))
    writer.start()
    assert writer.flush(SOON)
    assert writer.stop(SOON)
    assert [store.call(call.id) for call in calls] == calls
    assert [store.capture(call.id) is not None for call in calls].count(True) == LOOK_SECONDS
