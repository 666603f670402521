"""`ollama-proxy cleanup`: what is not needed goes, what is used stays, and both are told."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Any

import pytest

from ollama_proxy.running import Run, tell
from ollama_proxy.storage import tidying
from ollama_proxy.storage.sqlite import SqliteStore
from tests.processes import run, serving
from tests.storage.calls import make_call

NOWHERE = "http://127.0.0.1:9"
DAY = 86400.0
COUNT = 300


def filled(folder: Path) -> Path:
    """A database of calls, half of them forty days old."""
    database = folder / "calls.sqlite3"
    store = SqliteStore(database)
    store.open()
    now = time.time()
    moments = [now - (40 * DAY if number % 2 else 0.0) - number for number in range(COUNT)]
    store.write([make_call(at=moment, prompt="p" * 2000) for moment in moments])
    store.close()
    return database


def outlived(folder: Path) -> None:
    """What a proxy left that was killed an hour ago, and its logs."""
    tell(folder, Run(pid=1, url="u", admin="a", version="1", started_at="then"))
    (folder / "start.out").write_text("started\n")
    for name in ("running.json", "start.out"):
        os.utime(folder / name, (time.time() - 3600, time.time() - 3600))
    logs(folder)


def logs(folder: Path) -> None:
    for name in ("ollama-proxy.log", "ollama-proxy.log.1", "ollama-proxy.log.3"):
        (folder / name).write_text("a line\n")


def total(folder: Path) -> int:
    return sum(file.stat().st_size for file in folder.iterdir() if file.is_file())


async def cleaned(folder: Path, *flags: str) -> tuple[int, dict[str, Any]]:
    code, out, _ = await run("cleanup", "--json", "--data-dir", str(folder), *flags)
    answer: dict[str, Any] = json.loads(out)
    return code, answer


def names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir()}


def calls_in(database: Path) -> int:
    store = SqliteStore(database)
    store.open_to_read()
    try:
        return store.holdings().calls
    finally:
        store.close()


async def test_what_nobody_needs_goes_and_is_told_in_bytes(tmp_path: Path) -> None:
    database = filled(tmp_path)
    outlived(tmp_path)
    pruned = filled(tmp_path / "other")
    tidying.prune(pruned, (30.0, None, None))
    before = total(tmp_path)
    code, done = await cleaned(tmp_path)
    assert code == 0
    assert names(tmp_path) == {"calls.sqlite3", "calls.sqlite3.lock", "ollama-proxy.log", "other"}
    assert before - total(tmp_path) == pytest.approx(done["freed_bytes"], abs=20)  # the lock's
    assert done["deleted_calls"] == COUNT // 2 == calls_in(database)
    assert database.stat().st_size < pruned.stat().st_size  # it has no gaps any more
    code, out, err = await run("cleanup", "--data-dir", str(tmp_path))
    assert (code, err) == (0, "") and out.startswith("deleted 0 calls beyond retention")


async def test_a_dry_run_tells_the_same_and_does_nothing(tmp_path: Path) -> None:
    database = filled(tmp_path)
    outlived(tmp_path)
    there, content = names(tmp_path), database.read_bytes()
    code, told = await cleaned(tmp_path, "--dry-run")
    assert code == 0 and told["deleted_calls"] == COUNT // 2 and told["estimated"]
    assert len(told["removed"]) == 4
    assert there <= names(tmp_path) <= there | {"calls.sqlite3-shm", "calls.sqlite3-wal"}
    assert database.read_bytes() == content
    assert (await cleaned(tmp_path, "--dry-run", "--retention-rows", "10"))[1][
        "deleted_calls"
    ] == COUNT - 10
    small = ("--dry-run", "--retention-megabytes", "1", "--retention-days", "0")
    assert 0 < (await cleaned(tmp_path, *small))[1]["deleted_calls"] < COUNT


async def test_beside_a_running_proxy_only_old_logs_go(tmp_path: Path) -> None:
    filled(tmp_path)
    flags = ("--retention-days", "0")
    async with serving(tmp_path, NOWHERE, *flags) as program:
        logs(tmp_path)
        code, done = await cleaned(tmp_path)
        assert code == 0
        assert done["running"] == program.process.pid and done["deleted_calls"] is None
        assert {"running.json", "ollama-proxy.log"} <= names(tmp_path)
        assert not {"ollama-proxy.log.1", "ollama-proxy.log.3"} & names(tmp_path)
        code, out, _ = await run("cleanup", "--data-dir", str(tmp_path))
        assert code == 0 and "prunes it by itself" in out
        assert len(await program.get("requests?limit=1000")) == COUNT
    assert calls_in(tmp_path / "calls.sqlite3") == COUNT


async def test_a_start_on_its_way_keeps_its_file(tmp_path: Path) -> None:
    (tmp_path / "start.out").write_text("")
    code, done = await cleaned(tmp_path)
    assert code == 0 and done["removed"] == [] and "start.out" in names(tmp_path)


async def test_a_damaged_database_is_said_in_one_line(tmp_path: Path) -> None:
    (tmp_path / "calls.sqlite3").write_bytes(b"no database" * 100)
    for flags in ((), ("--dry-run",)):
        code, _, err = await run("cleanup", "--data-dir", str(tmp_path), *flags)
        assert code == 1 and "is damaged or not a database" in err and err.count("\n") == 1


@pytest.mark.skipif(os.geteuid() == 0, reason="root may remove whatever it likes")
async def test_what_cannot_be_removed_is_said(tmp_path: Path) -> None:
    logs(tmp_path)
    os.chmod(tmp_path, 0o500)
    code, _, err = await run("cleanup", "--data-dir", str(tmp_path))
    os.chmod(tmp_path, 0o700)
    assert code == 1 and "cannot be removed: Permission denied" in err
