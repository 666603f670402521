"""`start`, `stop`, `restart`, `status` and `logs` as a user meets them, with real processes."""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from ollama_proxy.running import FILE, Run, tell
from ollama_proxy.settings import SETTINGS
from tests.harness import PATIENCE, Connection, ScriptedUpstream, head_bytes
from tests.processes import run, serving, start

NOWHERE = "http://127.0.0.1:9"


class Here:
    """A data folder, a free port, and the commands for them."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]

    async def run(self, command: str, *arguments: str, **environ: str) -> tuple[int, str, str]:
        return await run(command, *arguments, "--data-dir", str(self.folder), **environ)

    async def start(self, *arguments: str) -> tuple[int, str, str]:
        own = [str(self.port), "--upstream", NOWHERE, "--admin-listen", "off"]
        return await self.run("start", *own, *arguments)

    async def status(self) -> dict[str, Any]:
        _, out, _ = await self.run("status", "--json")
        found: dict[str, Any] = json.loads(out)
        return found


@pytest.fixture
async def here(tmp_path: Path) -> AsyncIterator[Here]:
    place = Here(tmp_path / "data")
    yield place
    await place.run("stop", "--now")


async def test_it_starts_says_where_it_is_and_stops(here: Here) -> None:
    code, out, err = await here.start()
    assert (code, err) == (0, "")
    assert f"export OLLAMA_HOST=http://127.0.0.1:{here.port}" in out
    pid = (await here.status())["pid"]
    assert f"process {pid}" in out and str(here.folder / "ollama-proxy.log") in out

    code, out, _ = await here.start()
    assert code == 0 and f"it runs already: process {pid}" in out

    code, out, _ = await here.run("status")
    assert code == 4  # it runs, and Ollama does not answer
    assert f"http://127.0.0.1:{here.port}" in out and "does not answer: Connection refused" in out

    code, out, _ = await here.run("logs", "-n", "1")
    assert code == 0 and "is down: Connection refused" in out and out.count("\n") == 1

    assert await here.run("stop") == (0, f"stopped: process {pid}\n", "")
    code, out, _ = await here.run("status")
    assert code == 3 and out.startswith("stopped")
    assert await here.status() == {"running": False, "pid": None}
    code, out, _ = await here.run("stop")
    assert code == 0 and out.startswith("it does not run")
    flags = [str(here.port), "--upstream", NOWHERE, "--admin-listen", "off"]
    code, out, _ = await here.run("restart", *flags)
    assert code == 0 and out.endswith("None ran here before: it has the flags given now.\n")


async def test_what_keeps_it_from_starting_is_said(here: Here) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", here.port))
        taken.listen()
        code, out, err = await here.start()
    assert (code, out) == (1, "")
    assert f"port {here.port} on 127.0.0.1 is in use" in err and err.count("\n") == 1


async def test_one_that_was_killed_is_not_taken_for_running(here: Here) -> None:
    """Nor is another process that has its number by now: here, this one."""
    await here.start()
    os.kill((await here.status())["pid"], signal.SIGKILL)
    async with asyncio.timeout(PATIENCE):
        while (await here.status())["running"]:
            await asyncio.sleep(0.02)
    told = Run(pid=os.getpid(), url="u", admin="a", version="1", started_at="now")
    tell(here.folder, told)
    (here.folder / "calls.sqlite3.lock").write_text(f"{os.getpid()}\n")
    assert (await here.status())["running"] is False
    assert (await here.run("stop"))[1].startswith("it does not run")
    assert (await here.start())[0] == 0


async def test_a_restart_keeps_the_flags_and_a_wrong_setting_keeps_the_old_one(here: Here) -> None:
    await here.start("--models-interval", "3")
    pid = (await here.status())["pid"]
    code, _, err = await here.run("restart", OLLAMA_PROXY_TIMEOUTS_IDLE="soon")
    assert code == 2 and "timeouts.idle" in err
    assert (await here.status())["pid"] == pid

    code, out, _ = await here.run("restart")
    assert code == 0 and f"http://127.0.0.1:{here.port}" in out
    told = json.loads((here.folder / FILE).read_text())
    assert told["pid"] != pid and told["flags"]["models_interval"] == "3"


@contextlib.asynccontextmanager
async def silent_ollama() -> AsyncIterator[tuple[ScriptedUpstream, asyncio.Event]]:
    """Ollama, but a chat is never answered; and whether one was asked for."""
    asked = asyncio.Event()

    async def silent(upstream: Connection) -> None:
        while b"/api/chat" not in await upstream.read_head():
            await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
        asked.set()
        await upstream.closed()

    async with ScriptedUpstream(silent) as upstream:
        yield upstream, asked


async def chatting(here: Here, asked: asyncio.Event) -> Connection:
    client = Connection(*await asyncio.open_connection("127.0.0.1", here.port))
    headers = [("Host", f"127.0.0.1:{here.port}"), ("Content-Length", "2")]
    await client.send(head_bytes("POST /api/chat HTTP/1.1", headers) + b"{}")
    async with asyncio.timeout(PATIENCE):
        await asked.wait()
    return client


@pytest.mark.parametrize("drain", ["30", "7"])
async def test_a_running_call_may_end_first(here: Here, drain: str) -> None:
    """For as long as the one that runs was told. `stop` says that it waits for it, `stop --now`
    does not."""
    async with silent_ollama() as (upstream, asked):
        await here.start("--upstream", upstream.url, "--timeouts-drain", drain)
        client = await chatting(here, asked)
        stopping = await start(["stop", "--data-dir", str(here.folder)], {})
        assert stopping.stdout is not None
        async with asyncio.timeout(PATIENCE):
            said = await stopping.stdout.readline()
            assert said == f"1 call runs: waiting for {drain} s at the most\n".encode()
            assert (await here.run("stop", "--now"))[0] == 0
            await stopping.communicate()
        await client.close()


async def test_one_in_a_terminal_is_seen_too_and_has_no_log_of_its_own(tmp_path: Path) -> None:
    async with serving(tmp_path, NOWHERE) as program:
        found = Here(tmp_path)
        assert (await found.status())["pid"] == program.process.pid
        code, _, err = await found.run("logs")
        assert code == 1 and "logs to its terminal" in err and "log.file" in err


async def test_a_log_may_be_of_json_and_is_private(here: Here) -> None:
    log = here.folder / "other.log"
    await here.start("--log-format", "json", "--log-file", str(log))
    _, out, _ = await here.run("logs")
    event = json.loads(out.splitlines()[0])
    assert (event["level"], event["logger"]) == ("warning", "ollama_proxy.sensors.models")
    assert log.stat().st_mode & 0o777 == 0o600


async def written(log: Path) -> None:
    while True:
        with log.open("a") as out:
            out.write("one\n")
        await asyncio.sleep(0.05)


async def test_logs_go_on_with_what_comes(here: Here) -> None:
    await here.start()
    following = await start(["logs", "-f", "-n", "0", "--data-dir", str(here.folder)], {})
    assert following.stdout is not None
    log = here.folder / "ollama-proxy.log"
    try:
        async with asyncio.timeout(PATIENCE):
            writing = asyncio.create_task(written(log))  # it may not have opened the file yet
            while await following.stdout.readline() != b"one\n":
                pass
            writing.cancel()
            text = b""
            log.rename(log.with_suffix(".log.1"))
            log.write_text("two\n")
            while b"two\n" not in text:
                text += await following.stdout.readline()
    finally:
        following.terminate()
        await following.wait()


async def test_settings_are_shown_and_checked(tmp_path: Path) -> None:
    code, out, _ = await run("config", "show", "--json", OLLAMA_PROXY_LISTEN="127.0.0.1:1")
    found = {one["name"]: (one["value"], one["source"]) for one in json.loads(out)}
    assert code == 0
    assert found["listen"] == ("127.0.0.1:1", "environment OLLAMA_PROXY_LISTEN")
    code, out, _ = await run("config", "show", OLLAMA_PROXY_ADMIN_TOKEN="x" * 20)
    assert code == 0 and "x" * 20 not in out
    assert (await run("config", "check", OLLAMA_PROXY_LISTN="1"))[:2] == (
        0,
        "warning: environment OLLAMA_PROXY_LISTN is no setting: did you mean OLLAMA_PROXY_LISTEN?\n"
        f"right: 0 of {len(SETTINGS)} settings changed from their defaults\n",
    )
    assert (await run("config", "check", "--listen", "x"))[0] == 2


async def test_help_tells_of_one_command() -> None:
    code, out, _ = await run("help", "logs")
    assert code == 0 and "--follow" in out
    code, _, err = await run("help", "nothing")
    assert code == 2 and "no command nothing" in err


@pytest.mark.parametrize("told", ["", "99999999999999999999", "1", "0", "-1", "another"])
async def test_no_process_is_ended_that_does_not_hold_the_folder(tmp_path: Path, told: str) -> None:
    """Whatever the lock's file says: it may be a number that counts in a container."""
    bystander = await asyncio.create_subprocess_exec("sleep", "60")
    lock = tmp_path / "calls.sqlite3.lock"
    lock.write_text(str(bystander.pid) if told == "another" else told)
    try:
        with lock.open() as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            for command in (
                *(
                    "stop",
                    "restart",
                    "start",
                    "status",
                    "serve --listen 127.0.0.1:0 --admin-listen off",
                ),
                *("top", "alerts", "cleanup", "config reload"),
            ):
                code, out, err = await run(*command.split(), "--data-dir", str(tmp_path))
                assert (code, out, err.count("\n")) == (1, "", 1)
                assert "cannot be told by which process" in err
        assert bystander.returncode is None
    finally:
        bystander.kill()
        await bystander.wait()


async def test_a_start_at_another_port_than_the_one_that_runs_is_refused(here: Here) -> None:
    await here.start()
    code, out, err = await here.run("start", "1024")
    assert code == 1 and "it runs already" in out and "restart 1024" in err


async def test_a_service_of_systemd_is_not_taken_over(here: Here) -> None:
    """Of systemd only what it tells a process is there: the number of the one that it started."""
    here.folder.mkdir()
    serve = f"serve --listen 127.0.0.1:{here.port} --admin-listen off --upstream {NOWHERE}"
    shell = f'SYSTEMD_EXEC_PID=$$ exec "$0" -m ollama_proxy {serve} --data-dir "$1"'
    process = await asyncio.create_subprocess_exec(
        *("sh", "-c", shell, sys.executable, str(here.folder)),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
    )
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        await process.stdout.readuntil(b"export OLLAMA_HOST=")
    code, out, err = await here.run("restart")
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "systemctl --user restart ollama-proxy" in err
    assert (await here.status())["pid"] == process.pid
    assert (await here.run("stop"))[0] == 0
    await process.communicate()


async def test_a_restart_follows_the_config_and_keeps_the_host(here: Here, tmp_path: Path) -> None:
    config = tmp_path / "c.toml"
    config.write_text("")
    own = ["--config", str(config), "--listen", f"0.0.0.0:{here.port}", "--admin-listen", "off"]
    assert (await here.run("start", *own, "--upstream", NOWHERE))[0] == 0
    file = here.folder / FILE
    told = json.loads(file.read_text())
    assert "log.file" not in told["flags"]
    told["flags"]["of.another\x1b"] = "1"
    file.write_text(json.dumps(told))
    config.write_text('log.file = "other.log"')
    process = await start(["restart", str(here.port), "--data-dir", str(here.folder)], {}, tmp_path)
    out, err = await process.communicate()
    assert process.returncode == 0, err
    assert err == b"left out: of.another\\x1b, which this version does not know\n"
    told = json.loads(file.read_text())
    assert told["flags"]["listen"] == f"0.0.0.0:{here.port}"
    assert (
        told["log"] == str(tmp_path / "other.log") and str(tmp_path / "other.log") in out.decode()
    )


async def test_settings_are_shown_as_the_one_that_runs_has_them(here: Here) -> None:
    await here.start("--models-interval", "3")
    pid = (await here.status())["pid"]
    code, out, err = await here.run("config", "show")
    assert code == 0 and f"127.0.0.1:{here.port}" in out
    assert f"process {pid} runs here" in err
    code, out, err = await here.run("privacy", "--json")
    assert code == 0 and f"process {pid} runs here" in err


async def test_two_starts_at_once_say_each_its_own(here: Here) -> None:
    said = await asyncio.gather(here.start(), here.start())
    (won, lost) = sorted(said)
    if lost[0] == 0:  # it came late enough to see the other
        won, lost = sorted(said, key=lambda one: "runs already" in one[1])
        assert "runs already" in lost[1]
    else:
        assert lost[1] == "" and lost[2].count("\n") == 1
    assert "export OLLAMA_HOST=" in won[1]
    assert not list(here.folder.glob("start*"))


async def test_what_is_no_log_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "ollama-proxy.log")
    code, out, err = await run("logs", "--data-dir", str(tmp_path))
    assert (code, out, err.count("\n")) == (1, "", 1) and "no regular file" in err
    code, _, err = await run("logs", "-n", "9" * 20, "--data-dir", str(tmp_path))
    assert code == 2 and "1000000" in err


async def test_a_terminal_is_given_no_escapes_of_a_log(tmp_path: Path) -> None:
    (tmp_path / "ollama-proxy.log").write_text("one\x1b[31m\n")
    ours, its = os.openpty()
    command = [sys.executable, "-m", "ollama_proxy", "logs", "--data-dir", str(tmp_path)]
    process = await asyncio.create_subprocess_exec(*command, stdout=its)
    assert await process.wait() == 0
    assert os.read(ours, 100) == b"one\\x1b[31m\r\n"
    os.close(ours)
    os.close(its)


async def test_a_port_is_said_in_plain_digits(here: Here) -> None:
    code, _, err = await here.run("start", "٣")
    assert code == 2 and "expected a number from 1 to 65535" in err


async def test_one_whose_word_cannot_be_written_serves_and_logs_why(here: Here) -> None:
    (here.folder / FILE).mkdir(parents=True)
    code, out, _ = await here.start()
    assert code == 0 and "export OLLAMA_HOST=" in out
    assert "running.json: Is a directory" in (here.folder / "ollama-proxy.log").read_text()


@pytest.mark.parametrize("answer", [b"SSH-2.0-x\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n{}"])
async def test_another_program_at_the_port_is_said_in_a_line(here: Here, answer: bytes) -> None:
    async def stranger(connection: Connection) -> None:
        await connection.read_head()
        await connection.send(answer)

    await here.start()
    file = here.folder / FILE
    async with ScriptedUpstream(stranger) as other:
        for admin in (other.url, "http://a b", "nothing"):
            told = json.loads(file.read_text()) | {"admin": admin, "url": "http://\x1b[31m"}
            file.write_text(json.dumps(told))
            code, out, err = await here.run("status")
            assert (code, out, err.count("\n")) == (1, "", 1)
            assert "\x1b" not in err
