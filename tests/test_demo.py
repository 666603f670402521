"""The demo as somebody without an Ollama meets it: it calls, it shows, it leaves nothing behind."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import pytest

from tests.harness import PATIENCE
from tests.processes import Program, start


def programs_calling(port: int) -> list[str]:
    """Processes of this machine whose OLLAMA_HOST is that port (proc(5), environ)."""
    mark, found = f"OLLAMA_HOST=http://127.0.0.1:{port}\0".encode(), []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (process / "environ").read_bytes():
                found.append((process / "cmdline").read_text())
        except OSError:
            continue  # ended meanwhile, or not ours to see
    return found


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGHUP], ids=["ctrl-c", "closed"])
async def test_the_demo_calls_and_leaves_nothing_behind(number: signal.Signals) -> None:
    process = await start(["demo", "--listen", "127.0.0.1:0", "--admin-listen", "off"], {})
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        welcome = await process.stdout.readuntil(b"export OLLAMA_HOST=")
        welcome += await process.stdout.readline()
    program = Program(process, welcome.decode())
    async with asyncio.timeout(3 * PATIENCE):
        while (await program.get("status"))["completed_requests"] < 2:
            await asyncio.sleep(0.05)
    clients = {call["client"] for call in await program.get("requests")}
    callers = await asyncio.to_thread(programs_calling, program.port)
    process.send_signal(number)
    assert await asyncio.wait_for(process.wait(), PATIENCE) == 0
    assert b"made up" in welcome
    assert clients & {"signals.py", "backtest.py", "nightly_embed.py", "assistant.py"}
    assert len(callers) == 4
    assert await asyncio.to_thread(programs_calling, program.port) == []
