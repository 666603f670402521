"""What pages that many people keep open cost the proxy: `python -m benchmarks.open_pages`.

Ordinary traffic (four long streams, two short calls a second) passes all the time. Beside it
nothing is open, then event streams alone (as with the page of all calls), then what the overview
and a page of calls with a filter ask for besides; all of that again in each round, since others use
the machine, too. Not here: what an open page costs its browser (`page.py`), calls at full speed
(`growth.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import random
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from statistics import median
from typing import NamedTuple

import aiohttp

from benchmarks.measure import cpu_us

STREAMS, CALLS_A_SECOND = 4, 2.0
NO_LIMIT = aiohttp.ClientTimeout(total=None)


class Asks(NamedTuple):
    """What a page asks for by itself while calls come and go (`app.js`, `requests.js`), and in
    seconds how often, and how old an answer may be."""

    path: str
    seconds: float
    age: int = 0


ASKED = {
    "overview": Asks("api/insights?since=1d&limit=50", 60.0),
    # By a text: of most other filters (`fits.js`) a page asks for nothing, and costs its stream.
    "filtered": Asks("api/requests?text=Tell&limit=50", 4.0, 1),
}
EVERY = ("none", "streams", *ASKED)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


@contextlib.asynccontextmanager
async def program(*arguments: str) -> AsyncIterator[int]:
    """One of ours as a process; its pid."""
    process = await asyncio.create_subprocess_exec(
        sys.executable, "-m", *arguments, stdout=asyncio.subprocess.DEVNULL
    )
    try:
        yield process.pid
    finally:
        process.terminate()
        await process.wait()


async def answers(url: str) -> None:
    async with aiohttp.ClientSession() as session:
        for _ in range(200):
            with contextlib.suppress(aiohttp.ClientError):
                async with session.get(url) as answer:
                    if answer.status == 200:
                        return
            await asyncio.sleep(0.05)
    raise SystemExit(f"open_pages: nothing answers at {url}")


async def chat(session: aiohttp.ClientSession, url: str, model: str, tokens: int) -> None:
    asked = {"model": model, "messages": [{"role": "user", "content": "Tell me."}]}
    options = {"options": {"num_predict": tokens}}
    async with session.post(f"{url}/api/chat", json=asked | options) as answer:
        async for _ in answer.content.iter_any():
            pass


async def traffic(url: str) -> None:
    """Four that stream without an end, and two a second that are short."""
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=NO_LIMIT, connector=connector) as session:

        async def streaming() -> None:
            while True:
                await chat(session, url, "qwen3:8b", 4000)

        async with asyncio.TaskGroup() as group:
            for _ in range(STREAMS):
                group.create_task(streaming())
            while True:
                group.create_task(chat(session, url, "llama3.2:latest", 20))
                await asyncio.sleep(1 / CALLS_A_SECOND)


async def read(port: int, counts: list[int]) -> None:
    """One event stream, looked at no closer than a socket's bytes; `counts` gets their number."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        writer.write(f"GET /api/events HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n".encode())
        while data := await reader.read(1 << 16):
            counts[0] += len(data)
    finally:
        writer.close()


async def page(session: aiohttp.ClientSession, url: str, counts: list[int], asks: Asks) -> None:
    """A page with its stream, which asks again and again from a moment of its own on."""
    headers = {"Cache-Control": f"max-age={asks.age}"} if asks.age else {}

    async def asking() -> None:
        await asyncio.sleep(random.random() * asks.seconds)
        while True:
            async with session.get(f"{url}/{asks.path}", headers=headers) as answer:
                counts[0] += len(await answer.read())
            await asyncio.sleep(asks.seconds)

    async def listening() -> None:
        async with session.get(f"{url}/api/events") as stream:
            async for data in stream.content.iter_any():
                counts[0] += len(data)

    async with asyncio.TaskGroup() as group:
        group.create_task(asking())
        group.create_task(listening())


@contextlib.asynccontextmanager
async def opened(what: str, number: int, port: int) -> AsyncIterator[list[int]]:
    """So many of one of `EVERY`; the bytes that they have got so far."""
    counts = [0]
    connector = aiohttp.TCPConnector(limit=0)
    async with aiohttp.ClientSession(timeout=NO_LIMIT, connector=connector) as session:
        url = f"http://127.0.0.1:{port}"
        tasks = []
        for _ in range(0 if what == "none" else number):
            asks = ASKED.get(what)
            one = read(port, counts) if asks is None else page(session, url, counts, asks)
            tasks.append(asyncio.create_task(one))
            await asyncio.sleep(0.005)
        try:
            yield counts
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)


async def measured(options: argparse.Namespace, pid: int, port: int) -> None:
    found: dict[str, list[tuple[float, float]]] = {what: [] for what in options.what}
    for number in range(options.rounds):
        for what in options.what:
            async with opened(what, options.pages, port) as counts:
                await asyncio.sleep(5)  # all are open, and have what they get at first
                sent, before, begun = counts[0], cpu_us([pid]), time.monotonic()
                await asyncio.sleep(options.seconds)
                used, passed = cpu_us([pid]) - before, time.monotonic() - begun
                sent = counts[0] - sent
            found[what].append((used / passed / 1e4, sent / passed / options.pages))
            print(f"{number + 1} {what:8} {found[what][-1][0]:6.2f} %", flush=True)
    none = [share for share, _ in found["none"]]
    for what, values in found.items():
        share = median(share for share, _ in values)
        more = median(one - base for (one, _), base in zip(values, none, strict=True))
        rate = median(sent for _, sent in values) / 1e3
        print(f"{what:8} median {share:.2f} % of a core, {more:+.2f} %; {rate:.2f} kB/s a page")


async def main(options: argparse.Namespace) -> None:
    ollama, port, admin = free_port(), free_port(), free_port()
    with tempfile.TemporaryDirectory() as folder:
        simulated = ("--listen", f"127.0.0.1:{ollama}", "--parallel", "8", "--load", "0.1")
        listens = ("--listen", f"127.0.0.1:{port}", "--admin-listen", f"127.0.0.1:{admin}")
        where = ("--upstream", f"http://127.0.0.1:{ollama}", "--data-dir", folder)
        async with (
            program("ollama_proxy.simulator", *simulated),
            program("ollama_proxy", "serve", *listens, *where) as pid,
        ):
            await answers(f"http://127.0.0.1:{ollama}/api/version")
            await answers(f"http://127.0.0.1:{admin}/healthz")
            load = asyncio.create_task(traffic(f"http://127.0.0.1:{port}"))
            await asyncio.sleep(3)
            await measured(options, pid, admin)
            load.cancel()
            await asyncio.gather(load, return_exceptions=True)


def parsed() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.open_pages", description=__doc__)
    parser.add_argument("--pages", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=15)
    parser.add_argument("--what", nargs="+", choices=EVERY, default=list(EVERY))
    return parser.parse_args()


if __name__ == "__main__":
    asyncio.run(main(parsed()))
