"""`ollama-proxy test`: what works gets a tick, what does not its cause and its remedy."""

from __future__ import annotations

import json
import socket
import stat
from pathlib import Path
from typing import Any

import pytest

from ollama_proxy.demo import simulated_ollama
from ollama_proxy.selfcheck.check import (
    OK,
    WARNING,
    WRONG,
    Check,
    clients_side,
    disk,
    permissions,
    size,
    told,
)
from ollama_proxy.settings import Address, Upstream
from tests.harness import Connection, ScriptedUpstream
from tests.processes import run, serving

NOWHERE = "http://127.0.0.1:9"
PROXY, OLLAMA = Address("127.0.0.1", 11435), Upstream("http", "127.0.0.1", 11434)
PRIVATE, OPEN = stat.S_IFDIR | 0o700, stat.S_IFDIR | 0o755


async def checked(folder: Path, *more: str, **environ: str) -> tuple[int, dict[str, Any]]:
    """The exit code, and each check by its name."""
    flags = ("--json", "--data-dir", str(folder), "--listen", "127.0.0.1:0")
    code, out, err = await run("test", *flags, "--admin-listen", "off", *more, **environ)
    assert err == ""
    answer = json.loads(out)
    assert answer["ok"] == (code == 0)
    return code, {one["name"]: one for one in answer["checks"]}


async def test_one_that_works_gets_ticks_and_its_call_is_recorded(tmp_path: Path) -> None:
    async with simulated_ollama() as upstream, serving(tmp_path, upstream) as program:
        host = f"http://127.0.0.1:{program.port}/app/me"
        call = ("--call", "llama3.2")
        code, found = await checked(tmp_path, *call, "--upstream", upstream, OLLAMA_HOST=host)
        (recorded,) = await program.get("requests?client=ollama-proxy-test")
        refused = await checked(tmp_path, "--call", "nothing", "--upstream", upstream)
    assert code == 0
    assert {one["state"] for one in found.values()} == {OK}, found
    assert str(program.process.pid) in found["proxy"]["says"]
    assert recorded["id"] in found["call"]["says"] and recorded["output_tokens"] == 1
    assert refused[0] == 1 and "'nothing' not found" in refused[1]["call"]["says"]


async def test_without_a_proxy_and_without_ollama_each_is_said(tmp_path: Path) -> None:
    code, found = await checked(tmp_path / "new", "--upstream", NOWHERE, "--call", "m")
    assert code == 1
    assert found["Ollama"]["state"] == WRONG and "Connection refused" in found["Ollama"]["says"]
    assert "--upstream" in found["Ollama"]["remedy"]
    assert found["proxy"]["state"] == WARNING and "start" in found["proxy"]["remedy"]
    assert found["call"]["state"] == WRONG
    assert found["folder"]["state"] == OK and not (tmp_path / "new").exists()


async def test_what_speaks_no_http_is_not_taken_for_ollama(tmp_path: Path) -> None:
    async def other(client: Connection) -> None:
        await client.send(b"SSH-2.0-OpenSSH_9.6\r\n")

    async with ScriptedUpstream(other) as upstream:
        code, found = await checked(tmp_path, "--upstream", upstream.url)
    assert code == 1 and "is not Ollama" in found["Ollama"]["says"]


def damaged_and_open(folder: Path) -> Path:
    database = folder / "calls.sqlite3"
    database.write_bytes(b"no database" * 100)
    database.chmod(0o644)
    folder.chmod(0o755)
    return database


async def test_a_port_in_use_a_damaged_store_and_an_open_file(tmp_path: Path) -> None:
    database = damaged_and_open(tmp_path)
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = str(taken.getsockname()[1])
        code, found = await checked(tmp_path, "--listen", f"127.0.0.1:{port}")
    assert code == 1
    assert found["ports"]["state"] == WRONG and f"port {port} " in found["ports"]["says"]
    assert "is damaged or not a database" in found["store"]["says"]
    assert found["permissions"]["remedy"] == f"chmod 600 {database}"


async def test_wrong_settings_are_a_line_like_the_others() -> None:
    code, out, err = await run("test", OLLAMA_PROXY_TIMEOUTS_IDLE="soon")
    assert (code, err, out.count("\n")) == (1, "", 1)
    assert out.startswith("✗ settings  timeouts.idle")


@pytest.mark.parametrize(
    ("said", "state", "part"),
    [
        (None, WARNING, "is not set: programs of this shell go past the proxy"),
        ("localhost:11435", OK, "through the proxy"),
        ("http://127.0.0.1:11435/app/bot", OK, "through the proxy"),
        ("0.0.0.0", WARNING, "past the proxy"),
        ("gpu-box:11434", WARNING, "neither"),
        ("ftp://x", WRONG, "no address"),
    ],
)
def test_where_the_programs_of_this_shell_go(said: str | None, state: str, part: str) -> None:
    found = clients_side(said, PROXY, OLLAMA)
    assert found.state == state and part in found.says
    assert state == OK or found.remedy == "export OLLAMA_HOST=http://127.0.0.1:11435"


def test_a_disk_and_a_database_are_judged_by_retention() -> None:
    place, gigabyte = Path("/data"), 10**9
    assert disk(place, 50 * gigabyte, 0, gigabyte).state == OK
    assert disk(place, gigabyte // 2, 0, gigabyte).state == WARNING
    assert disk(place, gigabyte // 2, gigabyte * 3 // 4, gigabyte).state == OK
    assert disk(place, gigabyte // 2, 0, 0).state == OK
    assert disk(place, 10**6, gigabyte, gigabyte).state == WRONG
    assert size(1, gigabyte, gigabyte).state == OK
    assert size(1, 2 * gigabyte, gigabyte).state == WARNING
    assert size(1, 2 * gigabyte, 0).state == OK


def test_an_open_file_in_a_private_folder_is_none_that_others_reach() -> None:
    place, file = Path("/data"), Path("/data/calls.sqlite3")
    assert permissions(place, PRIVATE, [(file, 0o100600)]).state == OK
    assert permissions(place, PRIVATE, [(file, 0o100644)]).state == WARNING
    assert permissions(place, OPEN, [(file, 0o100600)]).state == WARNING
    assert permissions(place, OPEN, [(file, 0o100640)]).state == WRONG


def test_a_terminal_without_the_marks_gets_words() -> None:
    checks = [Check("a", WRONG, "it is", "do"), Check("b", OK, "well")]
    assert told(checks, "utf-8") == "✗ a  it is\n     do\n✓ b  well"
    assert told(checks, "ascii").splitlines()[0] == "WRONG   a  it is"
