"""The database read beside a running proxy, or without one: found as it is, and left so."""

from __future__ import annotations

import contextlib
import shutil
import sqlite3
from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_proxy.records import Filter
from ollama_proxy.storage.base import MIGRATIONS
from ollama_proxy.storage.errors import StoreError
from ollama_proxy.storage.sqlite import SqliteStore
from tests.storage.calls import make_call


@contextlib.contextmanager
def reading(path: Path) -> Iterator[SqliteStore]:
    store = SqliteStore(path)
    store.open_to_read()
    try:
        yield store
    finally:
        store.close()


def refusal(path: Path) -> str:
    with pytest.raises(StoreError) as caught:
        SqliteStore(path).open_to_read()
    line = str(caught.value)
    assert str(path) in line
    assert "\n" not in line
    return line


def test_beside_a_proxy_all_that_is_stored_so_far_is_read(store: SqliteStore, path: Path) -> None:
    first, second = make_call(), make_call()
    store.write([first])
    with reading(path) as beside:
        assert beside.search(Filter()).calls == [first]
        store.write([second])
        assert beside.search(Filter()).calls == [second, first]
    store.write([make_call()])


def test_without_a_proxy_the_database_stays_as_it_is(store: SqliteStore, path: Path) -> None:
    call = make_call()
    store.write([call])
    store.close()
    before = path.read_bytes()
    with reading(path) as alone:
        assert alone.search(Filter()).calls == [call]
    assert path.read_bytes() == before
    store.open()
    assert store.call(call.id) == call


def test_what_a_crash_left_in_the_log_is_read_too(
    store: SqliteStore, path: Path, tmp_path: Path
) -> None:
    call = make_call(state="running")
    store.write([call])
    left = tmp_path / "left"
    left.mkdir()
    for file in path.parent.iterdir():
        if not file.name.endswith("-shm"):
            shutil.copy(file, left)
    with reading(left / path.name) as alone:
        assert alone.search(Filter()).calls == [call]


def test_it_cannot_write(store: SqliteStore, path: Path) -> None:
    with reading(path) as beside, pytest.raises(StoreError, match="is not open"):
        beside.write([make_call()])


def test_a_reader_holds_back_no_checkpoint(store: SqliteStore, path: Path) -> None:
    store.write([make_call(prompt="x" * 5_000_000) for _ in range(3)])
    with reading(path) as beside:
        assert len(beside.search(Filter()).calls) == 2
        with store._write() as writer:
            row = writer.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    assert row == (0, 0, 0)


def test_a_folder_without_a_database_is_named_and_left_empty(tmp_path: Path) -> None:
    assert "no call was recorded there" in refusal(tmp_path / "calls.db")
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("version", "remedy"),
    [
        (max(MIGRATIONS) - 1, "start the proxy of this version once"),
        (max(MIGRATIONS) + 1, "install a newer ollama-proxy"),
    ],
)
def test_a_database_of_another_version_is_refused(
    store: SqliteStore, path: Path, version: int, remedy: str
) -> None:
    store.close()
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute(f"PRAGMA user_version = {version}")
    assert remedy in refusal(path)


def test_an_empty_file_and_another_programs_are_refused(path: Path) -> None:
    path.parent.mkdir()
    path.touch()
    assert "has database version 0" in refusal(path)
    with contextlib.closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE notes (line TEXT)")
    assert "of another program" in refusal(path)
