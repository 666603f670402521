"""The program as a user starts it: a process, its output, its signals. Not here: tests."""

from __future__ import annotations

import asyncio
import json
import os
import re
import signal
import sys
import urllib.request
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from tests.harness import PATIENCE, Connection

PROGRAM = (sys.executable, "-m", "ollama_proxy")


class Program:
    """A running `ollama-proxy serve`."""

    def __init__(self, process: asyncio.subprocess.Process, welcome: str) -> None:
        self.process = process
        self.welcome = welcome
        match = re.search(r"export OLLAMA_HOST=http://127\.0\.0\.1:(\d+)", welcome)
        assert match, welcome
        self.port = int(match[1])

    async def get(self, path: str) -> Any:
        return await asyncio.to_thread(self._get, f"http://127.0.0.1:{self.port}/admin/api/{path}")

    @staticmethod
    def _get(url: str) -> Any:
        with urllib.request.urlopen(url, timeout=PATIENCE) as answer:
            return json.load(answer)

    async def client(self) -> Connection:
        return Connection(*await asyncio.open_connection("127.0.0.1", self.port))

    async def kill(self) -> None:
        self.process.kill()
        await self.process.wait()

    async def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return await asyncio.wait_for(self.process.wait(), PATIENCE)


async def run(*arguments: str, **environ: str) -> tuple[int, str, str]:
    """Run `ollama-proxy` to its end: (exit code, standard output, standard error)."""
    process = await start(arguments, environ)
    try:
        out, err = await asyncio.wait_for(process.communicate(), PATIENCE)
    finally:
        if process.returncode is None:
            process.kill()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def start(
    arguments: Sequence[str],
    environ: Mapping[str, str],
    cwd: Path | None = None,
    program: Sequence[str] = PROGRAM,
) -> asyncio.subprocess.Process:
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("OLLAMA_")}
    return await asyncio.create_subprocess_exec(
        *program,
        *arguments,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.PIPE,
        env={**inherited, **environ},
        cwd=cwd,
    )


@asynccontextmanager
async def serving(
    data_dir: Path,
    upstream: str,
    *flags: str,
    cwd: Path | None = None,
    program: Sequence[str] = PROGRAM,
    **environ: str,
) -> AsyncIterator[Program]:
    """The proxy on a port of its own; killed at the end if it still runs."""
    own = ["--listen", "127.0.0.1:0", "--admin-listen", "off"]
    own += ["--data-dir", str(data_dir), "--upstream", upstream]
    process = await start(["serve", *own, *flags], environ, cwd, program)
    assert process.stdout is not None and process.stderr is not None
    try:
        try:
            async with asyncio.timeout(PATIENCE):
                welcome = await process.stdout.readuntil(b"export OLLAMA_HOST=")
                welcome += await process.stdout.readline()
        except asyncio.IncompleteReadError:
            raise AssertionError((await process.stderr.read()).decode()) from None
        yield Program(process, welcome.decode())
    finally:
        if process.returncode is None:
            process.kill()
        await process.communicate()
