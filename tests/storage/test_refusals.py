"""What cannot be opened is refused with one line that names the file and what to do, and kept."""

from __future__ import annotations

import os
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_proxy.storage.base import MIGRATIONS
from ollama_proxy.storage.errors import StoreError
from ollama_proxy.storage.sqlite import SqliteStore
from tests.storage.calls import make_call

NOBODY = 65534


def refusal(path: Path, named: Path | None = None) -> str:
    """The line with which opening is refused, that names the file, or `named`; twice the same, so
    nothing was half done."""
    lines = set()
    for _ in range(2):
        with pytest.raises(StoreError) as caught:
            SqliteStore(path, busy_seconds=0).open()
        lines.add(str(caught.value))
    (line,) = lines
    assert str(named or path) in line
    assert "\n" not in line
    return line


def sql(path: Path, *statements: str) -> None:
    connection = sqlite3.connect(path)
    for statement in statements:
        connection.execute(statement)
    connection.commit()
    connection.close()


def open_and_close(path: Path) -> None:
    store = SqliteStore(path)
    store.open()
    store.close()


@pytest.fixture
def stored(path: Path) -> Path:
    """A database with 200 calls, closed."""
    store = SqliteStore(path)
    store.open()
    store.write([make_call(prompt="x" * 200) for _ in range(200)])
    store.close()
    return path


def open_files() -> int:
    return len(os.listdir("/dev/fd"))


@pytest.fixture
def shut() -> Iterator[Path]:
    """A folder that this user may not write; root, who may write everywhere, is nobody so long."""
    with tempfile.TemporaryDirectory() as made:
        Path(made).chmod(0o555)
        is_root = os.geteuid() == 0
        if is_root:
            os.seteuid(NOBODY)
        yield Path(made)
        if is_root:
            os.seteuid(0)
        Path(made).chmod(0o700)


def test_a_newer_database_names_both_versions(stored: Path) -> None:
    known = max(MIGRATIONS)
    sql(stored, f"PRAGMA user_version = {known + 1}")
    before = open_files()
    line = refusal(stored)
    assert open_files() == before
    assert f"has database version {known + 1}, this program knows up to {known}" in line
    assert "install a newer ollama-proxy" in line


def test_a_file_that_is_no_database_is_kept(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("my notes, " * 1000)
    assert "not a database: move it away" in refusal(path)
    assert path.read_text() == "my notes, " * 1000


def test_a_damaged_database_is_kept(stored: Path) -> None:
    whole = stored.read_bytes()
    stored.write_bytes(whole[:100] + b"\xff" * 8000 + whole[8100:])
    damaged = stored.read_bytes()
    assert "move it away" in refusal(stored)
    assert stored.read_bytes() == damaged


def test_damaged_totals_are_told_when_they_are_needed(stored: Path) -> None:
    sql(stored, "UPDATE totals SET summary = x'ff00'")
    store = SqliteStore(stored)
    store.open()
    with pytest.raises(StoreError, match="is damaged"):
        store.statistics()
    with pytest.raises(StoreError, match="is damaged"):
        store.write([make_call()])
    store.close()


def test_another_programs_database_is_left_as_it_is(path: Path) -> None:
    path.parent.mkdir()
    sql(path, "CREATE TABLE notes (line TEXT)")
    before = path.read_bytes()
    assert "of another program" in refusal(path)
    assert path.read_bytes() == before


def test_a_folder_that_cannot_be_written(shut: Path) -> None:
    assert "Permission denied: give the user" in refusal(shut / "calls.db")
    assert "Permission denied: give the user" in refusal(shut / "data" / "calls.db")


def test_a_file_where_the_folder_should_be(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    folder = tmp_path / "data"
    assert "choose another with --data-dir" in refusal(folder / "calls.db", named=folder)


def test_a_database_that_another_program_has_locked(stored: Path) -> None:
    other = sqlite3.connect(stored, isolation_level=None)
    other.execute("BEGIN EXCLUSIVE")
    assert "is locked by another program" in refusal(stored)
    other.close()
    open_and_close(stored)


def test_a_second_store_on_the_same_file_is_told_who_has_it(store: SqliteStore) -> None:
    before = open_files()
    line = refusal(store.path)
    assert open_files() == before
    assert f"in use by another ollama-proxy (process {os.getpid()})" in line
    store.close()
    store.open()


def test_the_lock_ends_with_the_process_that_had_it(path: Path) -> None:
    code = (
        "import os, sys; from pathlib import Path;"
        "from ollama_proxy.storage.sqlite import SqliteStore;"
        "SqliteStore(Path(sys.argv[1])).open(); print('open', flush=True); sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code, str(path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"open\n"
        assert f"process {other.pid}" in refusal(path)
        other.kill()
    open_and_close(path)
