"""What becomes of the documents' recipes where something beside them is not as they expect it.

Each with real processes. Not here: the recipes' words (`test_docs.py`, `test_readme.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import re
import signal
import sqlite3
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from ollama_proxy.running import FILE
from tests.harness import PATIENCE, Connection, ScriptedUpstream
from tests.processes import run
from tests.test_background import NOWHERE, Here

TOKEN = {"OLLAMA_PROXY_ADMIN_TOKEN": "a-token-of-one-shell-alone"}
OPEN = "0.0.0.0:8083"
ASKS = "asks for its token: set admin.token"
LOCK = "calls.sqlite3.lock"


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Here]:
    place = Here(tmp_path / "data")
    yield place
    await place.run("stop", "--now")


async def started_with_a_token(here: Here) -> int:
    """Where its pages are. For other machines, as its flags tell; in truth for this one."""
    own = [str(here.port), "--upstream", NOWHERE, "--admin-listen", "127.0.0.1:0"]
    assert (await here.run("start", *own, **TOKEN))[0] == 0
    told = json.loads((here.folder / FILE).read_text())
    told["flags"]["admin_listen"] = OPEN
    (here.folder / FILE).write_text(json.dumps(told))
    return int(told["admin"].rpartition(":")[2])


async def test_a_shell_without_the_token_asks_and_ends_a_proxy_that_has_one(here: Here) -> None:
    await started_with_a_token(here)
    for command in ("status", "top", "privacy", "alerts"):
        code, out, err = await here.run(command)
        assert (code in (1, 2), out) == (True, "") and ASKS in err and "admin_listen" not in err
    assert (await here.run("logs", "-n", "1"))[0] == 0
    code, out, _ = await here.run("config", "show")
    assert code == 0 and "admin.token" in out
    code, out, _ = await here.run("test")
    assert code == 1 and "✓ settings" in out and ASKS in out
    assert (await here.run("status", **TOKEN))[0] == 4
    code, out, err = await here.run("restart")
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert "set admin.token" in err and "goes on as it was" in err
    assert (await here.run("stop"))[0] == 0


@pytest.mark.parametrize(
    "command", ["status", "stop", "logs", "top", "alerts", "export", "cleanup", "config reload"]
)
async def test_settings_that_a_command_does_not_use_are_nothing_to_it(
    here: Here, command: str
) -> None:
    await here.start()
    wrong = {"OLLAMA_PROXY_ADMIN_LISTEN": OPEN, "OLLAMA_PROXY_TIMEOUTS_IDLE": "soon"}
    _, _, err = await here.run(*command.split(), **wrong)
    assert "admin_listen" not in err and "timeouts.idle" not in err


async def test_a_stop_waits_as_long_as_the_one_that_runs_though_its_file_is_gone(
    here: Here, tmp_path: Path
) -> None:
    file = tmp_path / "x.toml"
    file.write_text("[timeouts]\ndrain = 0\n")
    await here.start("--config", str(file))
    file.unlink()
    code, out, err = await here.run("stop")
    assert (code, err) == (0, "") and out.startswith("stopped")


@pytest.mark.parametrize("path", ["", "/admin", "/other"])
async def test_top_says_that_a_token_is_asked_for_at_the_pages_port_too(
    here: Here, path: str
) -> None:
    port = await started_with_a_token(here)
    code, out, err = await run("top", "--url", f"http://127.0.0.1:{port}{path}")
    assert (code, out, err.count("\n")) == (1, "", 1) and ASKS in err


@pytest.mark.parametrize("code", [120, 255])
async def test_a_start_that_failed_ends_with_1_however_the_process_did(
    here: Here, tmp_path: Path, code: int
) -> None:
    """Python ends with 120 where its last words cannot be written."""
    (tmp_path / "sitecustomize.py").write_text(
        f"import os, sys\nif 'serve' in sys.orig_argv: os._exit({code})\n"
    )
    path = f"{tmp_path}:{os.environ.get('PYTHONPATH', '')}"
    found, out, err = await here.run("start", str(here.port), PYTHONPATH=path)
    assert (found, out, err.count("\n")) == (1, "", 1) and "it ended at once" in err


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is full")
async def test_words_that_cannot_be_written_leave_the_exit_code_as_it_is(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "ollama_proxy", "serve", "--listen", "nowhere"]
    full = os.open("/dev/full", os.O_WRONLY)
    process = await asyncio.create_subprocess_exec(*command, stdout=full, stderr=full)
    os.close(full)
    assert await asyncio.wait_for(process.wait(), PATIENCE) == 2


async def other(upstream: Connection) -> None:
    """A web server that is not Ollama."""
    while True:
        await upstream.read_message()
        await upstream.send(b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n")


async def test_what_is_not_ollama_is_not_said_to_be_well(here: Here) -> None:
    async with ScriptedUpstream(other) as upstream:
        await here.start("--upstream", upstream.url)
        code, out, _ = await here.run("status")
        assert code == 4
        assert "answers, but not as Ollama: /api/version is answered with 404" in out
        assert (await here.run("logs"))[1].count("is not Ollama: /api/version") == 1


async def test_a_start_beside_one_that_runs_says_what_it_did_not_apply(
    here: Here, tmp_path: Path
) -> None:
    file, folder = tmp_path / "x y.toml", str(here.folder)
    file.write_text("")
    await here.start()
    code, out, err = await here.start("--config", str(file), "--models-interval", "3")
    assert code == 1 and "it runs already" in out and err.count("\n") == 1
    flags = f"--config '{file}' --models-interval 3"
    other = f"--models-interval 3 --config '{file}'"
    assert f"{flags} was not applied" in err or f"{other} was not applied" in err
    (again,) = re.findall(r"ollama-proxy (restart .*) applies it", err)
    assert f"--data-dir {folder}" in again

    assert (await here.run("restart", "--config", str(file), "--models-interval", "3"))[0] == 0
    code, out, err = await here.start("--config", str(file), "--models-interval", "3")
    assert (code, err) == (0, "") and "ollama-proxy config reload reads it again" in out
    code, out, err = await here.start("--models-interval", "3")
    assert (code, err, out.count("\n")) == (0, "", 1)


def older_than_it_is(database: Path) -> None:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA user_version = 1")


def newer_than_it_can_be(database: Path) -> None:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA user_version = 99")


def foreign(database: Path) -> None:
    with contextlib.closing(sqlite3.connect(database)) as connection:
        connection.execute("PRAGMA application_id = 7")


def damaged(database: Path) -> None:
    database.write_bytes(b"no database" * 1000)


@pytest.mark.parametrize("fault", [older_than_it_is, newer_than_it_can_be, foreign, damaged])
async def test_a_database_that_cannot_be_used_is_moved_away_by_the_line_that_is_said(
    tmp_path: Path, fault: object
) -> None:
    here = Here(tmp_path / "my data")
    await here.start()
    await here.run("stop")
    assert callable(fault)
    fault(here.folder / "calls.sqlite3")
    code, out, err = await here.start()
    assert (code, out, err.count("\n")) == (1, "", 1)
    (line,) = re.findall(r"\(ollama-proxy stop, then (mkdir .+? && mv [^)]+)\)", err)
    moved = await asyncio.create_subprocess_shell(line)
    assert await moved.wait() == 0
    assert (here.folder / "old" / "calls.sqlite3").exists()
    assert (await here.start())[0] == 0
    assert (await here.run("stop"))[0] == 0


async def test_a_lock_file_that_is_gone_is_said_and_nothing_is_ended(
    here: Here, tmp_path: Path
) -> None:
    await here.start()
    pid = (await here.status())["pid"]
    (here.folder / LOCK).rename(tmp_path / "lock")
    serve = "serve --listen 127.0.0.1:0 --admin-listen off"
    for command in ("status", "stop", "start", "restart", "top", "cleanup", serve):
        code, out, err = await here.run(*command.split())
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert f"process {pid} answers at http://127.0.0.1:{here.port}" in err
        assert f"its {LOCK} is gone" in err and f"kill {pid}" in err
    assert not (here.folder / LOCK).exists()
    (tmp_path / "lock").rename(here.folder / LOCK)
    assert (await here.status())["pid"] == pid

    (here.folder / LOCK).unlink()
    os.kill(pid, signal.SIGKILL)
    async with asyncio.timeout(PATIENCE):
        while (await here.run("status"))[0] != 3:
            pass
    assert (await here.start())[0] == 0


async def test_settings_are_shown_as_they_are_in_force(here: Here, tmp_path: Path) -> None:
    file = tmp_path / "x.toml"
    file.write_text('admin_path = "/one"\n')
    await here.start("--config", str(file))
    file.write_text('admin_path = "/two"\n[privacy]\nmode = "none"\n')

    async def shown(*more: str) -> dict[str, str]:
        _, out, err = await here.run("config", "show", "--json", *more)
        assert "runs here" in err
        return {one["name"]: one["value"] for one in json.loads(out)}

    before = await shown()
    assert (before["admin_path"], before["privacy.mode"]) == ("/one", "truncate")
    await here.run("config", "reload")
    for same in ((), ("--config", str(file))):
        after = await shown(*same)
        assert (after["admin_path"], after["privacy.mode"]) == ("/one", "none")
    assert (await shown("--models-interval", "3"))["admin_path"] == "/two"


async def test_a_demo_without_a_temporary_folder_is_one_line() -> None:
    """No file may have a byte here: `tempfile` tries each folder, and finds none."""
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", f"ulimit -f 0; exec {sys.executable} -B -m ollama_proxy demo"),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
    )
    out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert (process.returncode, out, err.count(b"\n")) == (1, b"", 1)
    assert b"cannot make a temporary folder" in err and b"TMPDIR" in err
