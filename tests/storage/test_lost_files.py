"""Files deleted, moved or replaced under a running store: told, kept in memory, nothing lost."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from ollama_proxy.records import Filter
from ollama_proxy.storage.errors import StoreError
from ollama_proxy.storage.sqlite import SqliteStore
from ollama_proxy.storage.writer import Writer
from tests.storage.calls import make_call

SOON = 10.0


def delete_folder(path: Path) -> None:
    shutil.rmtree(path.parent)


def delete_database(path: Path) -> None:
    path.unlink()


def delete_log(path: Path) -> None:
    path.with_name(path.name + "-wal").unlink()


def replace_folder(path: Path) -> None:
    shutil.rmtree(path.parent)
    path.parent.write_text("")


def replace_database(path: Path) -> None:
    copy = path.with_name("copy")
    shutil.copy(path, copy)
    copy.replace(path)


@pytest.mark.parametrize(
    ("harm", "cause"),
    [
        (delete_folder, "is gone"),
        (delete_database, "is gone"),
        (delete_log, "-wal is gone"),
        (replace_folder, "is gone"),
        (replace_database, "was replaced"),
    ],
)
def test_writing_to_files_that_are_lost_is_an_error(
    store: SqliteStore, path: Path, harm: Callable[[Path], None], cause: str
) -> None:
    store.write([make_call()])
    harm(path)
    with pytest.raises(StoreError, match=cause) as caught:
        store.write([make_call()])
    line = str(caught.value)
    assert str(path) in line
    assert "restart the proxy" in line
    assert "\n" not in line


def test_what_is_put_meanwhile_is_stored_once_the_files_are_back(
    store: SqliteStore, path: Path, tmp_path: Path
) -> None:
    writer = Writer(store, interval=600, capacity=2)
    writer.start()
    calls = [make_call() for _ in range(4)]
    writer.put(calls[0])
    assert writer.flush(SOON)
    path.parent.rename(tmp_path / "away")
    for call in calls[1:]:
        writer.put(call)
    assert not writer.flush(SOON)
    assert writer.error is not None
    assert "is gone" in writer.error
    assert (writer.pending, writer.dropped) == (2, 1)
    (tmp_path / "away").rename(path.parent)
    assert writer.flush(SOON)
    assert writer.pending == 0
    assert writer.stop(SOON)
    assert store.search(Filter()).calls == calls[2::-1]
    assert store.statistics().all.requests == 3


def test_after_a_restart_a_new_database_is_begun(store: SqliteStore, path: Path) -> None:
    delete_folder(path)
    with pytest.raises(StoreError):
        store.write([make_call()])
    store.close()
    store.open()
    call = make_call()
    store.write([call])
    assert store.search(Filter()).calls == [call]
