"""`ollama-proxy top` in a real terminal (a pty), in a pipe, and against a proxy with a token."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import struct
import subprocess
import sys
import termios
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.harness import PATIENCE, Connection, ScriptedUpstream, chunk, head_bytes
from tests.processes import Program, run, serving

NOWHERE = "http://127.0.0.1:9"
TOKEN = "correct-horse_battery~staple!"
PIECE = b'{"model":"llama3.2","created_at":"2026-01-01T00:00:00Z","response":"a","done":false}\n'
SET_SCREEN, LEFT_SCREEN = b"\x1b[?1049h", b"\x1b[?1049l"


class Screen:
    """A terminal of so many lines and columns with `top` in it."""

    def __init__(self, lines: int, columns: int, *arguments: str, **environ: str) -> None:
        self.master, slave = pty.openpty()
        self.resize(lines, columns)
        self.before = termios.tcgetattr(slave)
        self.raw = b""
        inherited = {k: v for k, v in os.environ.items() if not k.startswith("OLLAMA_")}
        for name in ("COLUMNS", "LINES", "NO_COLOR"):
            inherited.pop(name, None)
        self.process = subprocess.Popen(
            [sys.executable, "-m", "ollama_proxy", "top", *arguments],
            stdin=slave,
            stdout=slave,
            stderr=slave,
            env={**inherited, "TERM": "xterm-256color", **environ},
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        self.slave = slave
        os.set_blocking(self.master, False)

    def resize(self, lines: int, columns: int) -> None:
        self.height = lines
        fcntl.ioctl(self.master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def press(self, keys: str) -> None:
        os.write(self.master, keys.encode())

    @property
    def lines(self) -> list[str]:
        """What the last drawing that is whole holds, one after the other."""
        for drawing in reversed(self.raw.split(b"\x1b[H")):
            text = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", drawing.decode("utf-8", "replace"))
            if len(lines := text.split("\r\n")) >= self.height:
                return lines
        return [""]

    async def until(self, seen: Callable[[list[str]], object]) -> list[str]:
        async with asyncio.timeout(PATIENCE):
            while not seen(self.lines):
                self._read()
                await asyncio.sleep(0.01)
        return self.lines

    async def ended(self) -> int:
        async with asyncio.timeout(PATIENCE):
            while self.process.poll() is None:
                self._read()
                await asyncio.sleep(0.01)
        self._read()
        return self.process.returncode

    def _read(self) -> None:
        try:
            while data := os.read(self.master, 65536):
                self.raw += data
        except (BlockingIOError, OSError):
            return

    def close(self) -> None:
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        os.close(self.master)
        os.close(self.slave)


@asynccontextmanager
async def screen(
    lines: int, columns: int, *arguments: str, **environ: str
) -> AsyncIterator[Screen]:
    found = Screen(lines, columns, *arguments, **environ)
    try:
        yield found
    finally:
        found.close()


async def talking(upstream: Connection) -> None:
    """Ollama, whose answers never end by themselves."""
    while True:
        head, _ = await upstream.read_message()
        if b"/api/generate" not in head:
            await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            continue
        await upstream.send(
            b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\n"
            b"Transfer-Encoding: chunked\r\n\r\n"
        )
        while True:
            await upstream.send(chunk(PIECE))
            await asyncio.sleep(0.02)


async def call(program: Program, name: str) -> Connection:
    client = await program.client()
    body = b'{"model":"llama3.2","prompt":"hi"}'
    lines = [("Host", "localhost"), ("Content-Length", str(len(body)))]
    await client.send(head_bytes(f"POST /app/{name}/api/generate HTTP/1.1", lines) + body)
    await client.read_head()
    return client


def row(lines: list[str], name: str) -> str:
    return next((line for line in lines if f" {name} " in line), "")


async def test_it_shows_what_runs_ends_what_is_chosen_and_leaves_no_trace(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(talking) as upstream,
        serving(tmp_path, upstream.url) as program,
        screen(24, 80, "--data-dir", str(tmp_path)) as terminal,
    ):
        await terminal.until(lambda lines: "0 running" in " ".join(lines))
        first, second = await call(program, "first"), await call(program, "second")
        lines = await terminal.until(
            lambda lines: re.search(r"answering .*\d+\.\d$", row(lines, "second").rstrip())
        )
        assert len(lines) == 24 and max(map(len, lines)) <= 80
        assert "llama3.2" in row(lines, "first") and "q quit" in lines[-1]

        terminal.press("/sec\r")
        await terminal.until(lambda lines: "(sec)" in lines[-1] and not row(lines, "first"))
        terminal.press("\x1b[Bx")
        await terminal.until(lambda lines: "end the call to llama3.2 of second? y/n" in lines[-1])
        terminal.press("n")
        await terminal.until(lambda lines: "not ended" in lines[-1])
        terminal.press("xy")
        await terminal.until(lambda lines: lines[-1].startswith("ended"))
        await second.closed()
        terminal.press("\x1b")
        await terminal.until(lambda lines: row(lines, "first") and "running" in " ".join(lines))

        terminal.resize(40, 120)
        await terminal.until(lambda lines: len(lines) == 40 and len(lines[-1]) == 120)
        terminal.press("q")
        assert await terminal.ended() == 0
        assert SET_SCREEN in terminal.raw and terminal.raw.count(LEFT_SCREEN) == 1
        assert terminal.raw.endswith(LEFT_SCREEN) and b"\x1b[?25h" in terminal.raw
        assert termios.tcgetattr(terminal.slave) == terminal.before
        await first.close()


@pytest.mark.parametrize("end", ["\x03", "terminate"])
async def test_whatever_ends_it_the_terminal_is_as_before(tmp_path: Path, end: str) -> None:
    async with (
        serving(tmp_path, NOWHERE),
        screen(24, 80, "--data-dir", str(tmp_path)) as terminal,
    ):
        await terminal.until(lambda lines: "q quit" in lines[-1])
        assert termios.tcgetattr(terminal.slave) != terminal.before
        if end == "terminate":
            terminal.process.terminate()
        else:
            terminal.press(end)
        assert await terminal.ended() == 0
        assert terminal.raw.endswith(LEFT_SCREEN)
        assert termios.tcgetattr(terminal.slave) == terminal.before


async def test_a_proxy_that_is_gone_is_said_and_its_return_is_seen(tmp_path: Path) -> None:
    async with serving(tmp_path, NOWHERE) as program:
        url = f"127.0.0.1:{program.port}"
        async with screen(24, 80, "--url", url) as terminal:
            await terminal.until(lambda lines: "0 running" in " ".join(lines))
            await program.stop()
            await terminal.until(lambda lines: "NOT OF NOW" in " ".join(lines))
            again = ("--listen", url)
            async with serving(tmp_path, NOWHERE, *again):
                await terminal.until(lambda lines: "0 running" in " ".join(lines))


async def test_in_a_pipe_it_is_printed_once(tmp_path: Path) -> None:
    async with (
        ScriptedUpstream(talking) as upstream,
        serving(tmp_path, upstream.url) as program,
    ):
        client = await call(program, "me")
        await client.read(len(PIECE))
        code, out, err = await run("top", "--data-dir", str(tmp_path))
        assert (code, err) == (0, "") and "\x1b" not in out
        assert "1 running" in out and "llama3.2" in row(out.splitlines(), "me")
        await client.close()


async def test_another_proxy_with_a_token(tmp_path: Path) -> None:
    token: dict[str, Any] = {"OLLAMA_PROXY_ADMIN_TOKEN": TOKEN}
    async with serving(tmp_path, NOWHERE, **token) as program:
        for url in (f"http://localhost:{program.port}", f"localhost:{program.port}/admin/"):
            code, out, _ = await run("top", "--once", "--url", url, **token)
            assert code == 0 and "0 running" in out
        code, _, err = await run("top", "--url", url)
        assert code == 1 and "asks for its token" in err and err.count("\n") == 1
        async with screen(24, 80, "--url", url, **token) as terminal:
            await terminal.until(lambda lines: "0 running" in " ".join(lines))
            terminal.press("q")
            assert await terminal.ended() == 0


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["--url", "127.0.0.1:9"], 1, "127.0.0.1:9 does not answer as a proxy: Connection refused"),
        (["--url", "ftp://x"], 2, "expected http://HOST:PORT"),
        ([], 3, "ollama-proxy start runs one"),
    ],
)
async def test_where_there_is_no_proxy(
    tmp_path: Path, arguments: list[str], code: int, said: str
) -> None:
    found, out, err = await run("top", "--data-dir", str(tmp_path), *arguments)
    assert (found, out) == (code, "") and said in err


async def test_other_commands_need_not_wait_for_its_libraries(tmp_path: Path) -> None:
    for arguments in (["--version"], ["status", "--data-dir", str(tmp_path)]):
        process = await asyncio.create_subprocess_exec(
            *(sys.executable, "-X", "importtime", "-m", "ollama_proxy", *arguments),
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.PIPE,
        )
        _, said = await process.communicate()
        modules = {line.rpartition("|")[2].strip() for line in said.decode().splitlines()}
        assert "ollama_proxy.cli" in modules and not modules & {"rich", "aiohttp"}
