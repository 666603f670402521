"""The totals when they are counted again, while calls are written: each call once."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from ollama_proxy.config import load
from ollama_proxy.core import Core
from tests.storage.calls import make_call

FLAGS = {"upstream": "http://127.0.0.1:9", "models_interval": "60"}
CALLS = 150


async def test_what_is_written_meanwhile_is_counted_once(tmp_path: Path) -> None:
    config = load({**FLAGS, "data_dir": str(tmp_path)}, {"OLLAMA_PROXY_CLIENTS_PROCESSES": "false"})
    counted = []
    async with AsyncExitStack() as started:
        core = Core(config, started)
        core.start([], lambda: [])
        for _ in range(CALLS):
            core.writer.put(make_call())
            writing = asyncio.create_task(asyncio.to_thread(core.writer.flush, 10.0))
            await core.recount()
            counted.append(core.statistics.all.requests)
            await writing
    assert counted == list(range(1, CALLS + 1))


async def test_what_is_held_is_written_later(tmp_path: Path) -> None:
    config = load({**FLAGS, "data_dir": str(tmp_path)}, {"OLLAMA_PROXY_CLIENTS_PROCESSES": "false"})
    async with AsyncExitStack() as started:
        core = Core(config, started)
        core.start([], lambda: [])
        core.writer.hold()
        core.writer.put(one := make_call())
        assert not await asyncio.to_thread(core.writer.flush, 0.2)
        assert core.store.call(one.id) is None and core.writer.unwritten == [one]
        core.writer.release()
        assert await asyncio.to_thread(core.writer.flush, 10.0)
        assert core.store.call(one.id) is not None
