"""The command as a user meets it: what it prints, where, and with which exit code."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import sqlite3
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from ollama_proxy import __version__
from tests.harness import PATIENCE, Connection, ScriptedUpstream, head_bytes
from tests.processes import run, serving, start


async def fake_ollama(upstream: Connection) -> None:
    """Enough of Ollama for the proxy's own looks."""
    answers = {"/api/version": {"version": "9.9.9"}, "/api/tags": {"models": []}}
    while True:
        path = (await upstream.read_head()).split(b" ")[1].decode()
        body = json.dumps(answers.get(path, {"models": []})).encode()
        await upstream.send(
            head_bytes("HTTP/1.1 200 OK", [("Content-Length", str(len(body)))]) + body
        )


async def test_version() -> None:
    assert await run("--version") == (0, f"ollama-proxy {__version__}\n", "")


async def test_without_a_command_it_shows_the_commands() -> None:
    code, out, _ = await run()
    assert code == 2
    assert "serve" in out and "demo" in out


@pytest.mark.parametrize(
    ("arguments", "environ", "expected"),
    [
        (["--listen", "nowhere"], {}, ["listen", '"nowhere"', "flag --listen", "host:port"]),
        (
            [],
            {"OLLAMA_PROXY_UPSTREAM": "ftp://x"},
            ["upstream", "ftp://x", "OLLAMA_PROXY_UPSTREAM"],
        ),
        (["--config", "/does/not/exist.toml"], {}, ["/does/not/exist.toml"]),
        (["--admin-listen", "0.0.0.0:8080"], {}, ["admin_listen", "token"]),
    ],
)
async def test_a_wrong_setting_is_one_line_that_says_what_would_be_right(
    arguments: list[str], environ: dict[str, str], expected: list[str]
) -> None:
    code, out, err = await run("serve", *arguments, **environ)
    assert (code, out, err.count("\n")) == (2, "", 1), err
    for part in expected:
        assert part in err


async def test_a_wrong_setting_in_the_file_names_the_file(tmp_path: Path) -> None:
    file = tmp_path / "proxy.toml"
    file.write_text('[timeouts]\nidle = "soon"\n')
    code, _, err = await run("serve", "--config", str(file))
    assert code == 2
    assert f'timeouts.idle = "soon" (file {file}): expected a number of seconds' in err


async def test_at_start_it_prints_what_one_needs_to_know(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(fake_ollama) as upstream,
        serving(tmp_path, upstream.url) as program,
    ):
        lines = program.welcome
        assert upstream.url in lines
        assert await program.stop() == 0
    assert f"http://127.0.0.1:{program.port}" in lines
    assert "Ollama 9.9.9 answers" in lines
    assert f"http://127.0.0.1:{program.port}/admin/" in lines
    assert f"export OLLAMA_HOST=http://127.0.0.1:{program.port}" in lines


async def test_a_port_in_use_is_named_with_the_remedy(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        for flag in ("--listen", "--admin-listen"):
            code, out, err = await run(
                *("serve", flag, f"127.0.0.1:{port}", "--data-dir", str(tmp_path)),
                **({"OLLAMA_PROXY_LISTEN": "127.0.0.1:0"} if flag != "--listen" else {}),
            )
            assert (code, out) == (1, "")
            assert f"port {port} " in err and f"another with {flag}" in err


async def test_two_proxies_do_not_share_a_data_folder(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(fake_ollama) as upstream,
        serving(tmp_path, upstream.url),
    ):
        code, _, err = await run(
            *("serve", "--listen", "127.0.0.1:0", "--admin-listen", "off"),
            *("--data-dir", str(tmp_path)),
        )
    assert code == 1
    assert str(tmp_path) in err and err.count("\n") == 1


async def test_ollama_down_is_said_and_its_return_is_noticed(tmp_path: Path) -> None:
    with socket.socket() as later:
        later.bind(("127.0.0.1", 0))
        port = later.getsockname()[1]
    config = tmp_path / "proxy.toml"
    config.write_text("models_interval = 0.1\n")
    async with serving(
        tmp_path / "data", f"http://127.0.0.1:{port}", "--config", str(config)
    ) as program:
        assert "no answer" in program.welcome and "502" in program.welcome
        assert (await program.get("status"))["status"] == "down"
        server = await asyncio.start_server(
            lambda reader, writer: fake_ollama(Connection(reader, writer)), "127.0.0.1", port
        )
        async with asyncio.timeout(PATIENCE):
            while (await program.get("status"))["upstream_version"] != "9.9.9":
                await asyncio.sleep(0.05)
        server.close()


@pytest.mark.parametrize("command", ["config show", "serve --help", "--help", "help"])
async def test_a_reader_that_leaves_is_no_error(command: str) -> None:
    """The exit code is that of a program which SIGPIPE ended."""
    read, write = os.pipe()
    os.close(read)
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ollama_proxy", *command.split()),
        stdout=write,
        stderr=asyncio.subprocess.PIPE,
    )
    os.close(write)
    _, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    assert (process.returncode, err) == (141, b"")


async def test_the_default_admin_port_in_use_is_a_warning(tmp_path: Path) -> None:
    """Taken by this test, or by whatever else runs on this machine: it is in use either way."""
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # connections of before
        for _ in range(50):  # who has it may be another test, and end in the midst of this one
            try:
                taken.bind(("127.0.0.1", 8080))
                taken.listen()
                break
            except OSError:
                await asyncio.sleep(0.1)
        await serve_beside_a_taken_port(tmp_path)


async def serve_beside_a_taken_port(folder: Path) -> None:
    process = await start(
        ["serve", "--listen", "127.0.0.1:0", "--data-dir", str(folder)],
        {"OLLAMA_PROXY_UPSTREAM": "http://127.0.0.1:9"},
    )
    assert process.stdout is not None
    assert process.stderr is not None
    try:
        async with asyncio.timeout(PATIENCE):
            welcome = await process.stdout.readuntil(b"export OLLAMA_HOST=")
            warning = await process.stderr.readline()
    finally:
        process.kill()
        await process.communicate()
    assert b"WARNING port 8080 on 127.0.0.1 is in use" in warning
    assert b":8080" not in welcome
    assert b"/admin/" in welcome


async def test_a_database_of_a_newer_version_is_refused(tmp_path: Path) -> None:
    async with serving(tmp_path, "http://127.0.0.1:9") as program:
        assert await program.stop() == 0
    with sqlite3.connect(tmp_path / "calls.sqlite3") as database:
        database.execute("PRAGMA user_version = 99")
    code, out, err = await run(
        *("serve", "--listen", "127.0.0.1:0", "--admin-listen", "off"),
        *("--data-dir", str(tmp_path)),
    )
    assert (code, out, err.count("\n")) == (1, "", 1)
    assert "calls.sqlite3" in err
    assert "99" in err


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["strat"], "there is no command strat, did you mean start: see ollama-proxy --help"),
        (["start", "--prot"], "No such option '--prot': see ollama-proxy start --help"),
        (["help", "config", "chek"], "there is no command chek: see ollama-proxy config --help"),
        (["completion"], "see ollama-proxy completion --help"),
    ],
)
async def test_a_wrong_word_is_one_line(words: list[str], said: str) -> None:
    code, out, err = await run(*words)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert said in err


async def test_help_tells_of_a_commands_part() -> None:
    code, out, _ = await run("help", "config", "reload")
    assert code == 0 and "needs a restart" not in out and "read its config file again" in out


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="a disk that is full")
async def test_an_output_that_cannot_be_written_is_said(tmp_path: Path) -> None:
    for words in (["help"], ["config", "show"], ["privacy"], ["status"]):
        command = [sys.executable, "-m", "ollama_proxy", *words]
        folder = [] if words == ["help"] else ["--data-dir", str(tmp_path)]
        full = os.open("/dev/full", os.O_WRONLY)
        process = await asyncio.create_subprocess_exec(
            *command, *folder, stdout=full, stderr=asyncio.subprocess.PIPE
        )
        os.close(full)
        _, err = await process.communicate()
        assert (process.returncode, err.count(b"\n")) == (1, 1)
        assert b"cannot write the output: No space left on device: free some space" in err


async def test_a_data_folder_that_is_none_is_said(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for command in ("serve --listen 127.0.0.1:0 --admin-listen off", "start", "restart"):
        code, out, err = await run(*command.split(), "--data-dir", str(tmp_path / "file"))
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert "is no folder: choose another with --data-dir" in err


@pytest.fixture
def closed(tmp_path: Path) -> Iterator[Path]:
    """A folder that this user may not look into."""
    tmp_path.chmod(0)
    yield tmp_path
    tmp_path.chmod(0o700)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may look into every folder")
async def test_a_folder_of_another_user_is_said(closed: Path) -> None:
    for command in ("status", "stop", "start", "export", "alerts", "config reload"):
        code, out, err = await run(*command.split(), "--data-dir", str(closed))
        assert (code, out, err.count("\n")) == (1, "", 1)
        assert "cannot look into" in err and "ask as the user who runs the proxy" in err
