"""What a page costs its browser: `python -m benchmarks.page heap|paint`. Needs Chromium.

`heap`: the overview stays open while many calls pass; what JavaScript holds then, and how many
nodes the document has. `paint`: how soon the pages show something, over a database that is there
already (a copy of it: a start may change it). Not here: what open pages cost the proxy
(`open_pages.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import shutil
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from statistics import median

import aiohttp
from playwright.async_api import Browser, CDPSession, async_playwright

from benchmarks.measure import cpu_us
from benchmarks.open_pages import NO_LIMIT, answers, free_port, program

MODELS = ("llama3.2:latest", "qwen3:8b")
AT_ONCE = 6
SEVERAL = 5
VIEWS = ("", "requests", "requests?state=failed", "charts?since=30d")
PAINT = """() => {
  const [page] = performance.getEntriesByType("navigation");
  const paint = performance.getEntriesByName("first-contentful-paint")[0];
  return [page.responseStart - page.requestStart, paint ? paint.startTime : 0];
}"""


@contextlib.asynccontextmanager
async def chromium() -> AsyncIterator[Browser]:
    path = shutil.which("chromium")
    if path is None:
        raise SystemExit("page: no Chromium is installed (apt-get install chromium)")
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=path, args=["--no-sandbox"])
        yield browser
        await browser.close()


@contextlib.asynccontextmanager
async def proxy(folder: Path) -> AsyncIterator[tuple[int, str, str]]:
    """A simulated Ollama behind a proxy: its pid, the addresses for calls and for pages."""
    ollama, port, admin = free_port(), free_port(), free_port()
    simulated = ("--listen", f"127.0.0.1:{ollama}", "--load", "0", "--pace", "100000")
    listens = ("--listen", f"127.0.0.1:{port}", "--admin-listen", f"127.0.0.1:{admin}")
    where = ("--upstream", f"http://127.0.0.1:{ollama}", "--data-dir", str(folder))
    async with (
        program("ollama_proxy.simulator", *simulated, "--parallel", str(AT_ONCE)),
        program("ollama_proxy", "serve", *listens, *where) as pid,
    ):
        url = f"http://127.0.0.1:{admin}"
        await answers(f"http://127.0.0.1:{ollama}/api/version")
        await answers(f"{url}/healthz")
        yield pid, f"http://127.0.0.1:{port}", url


async def calls(url: str, number: int) -> None:
    """So many short streams, some at once."""
    left = iter(range(number))

    async def some(session: aiohttp.ClientSession) -> None:
        for count in left:
            named = {"model": MODELS[count % len(MODELS)], "prompt": f"Call {count}"}
            body = {**named, "options": {"num_predict": 3}}
            async with session.post(f"{url}/api/generate", json=body) as answer:
                await answer.read()

    async with aiohttp.ClientSession(timeout=NO_LIMIT) as session, asyncio.TaskGroup() as group:
        for _ in range(AT_ONCE):
            group.create_task(some(session))


async def held(devtools: CDPSession) -> tuple[float, int, int]:
    """MB of JavaScript's heap once what is unused is gone, nodes of the document, listeners."""
    await devtools.send("HeapProfiler.collectGarbage")
    heap = await devtools.send("Runtime.getHeapUsage")
    counted = await devtools.send("Memory.getDOMCounters")
    return heap["usedSize"] / 1e6, counted["nodes"], counted["jsEventListeners"]


async def heap(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        async with proxy(Path(folder)) as (_, url, admin), chromium() as browser:
            await calls(url, 500)
            page = await browser.new_page(viewport={"width": 1440, "height": 900})
            await page.goto(f"{admin}/")
            devtools = await page.context.new_cdp_session(page)
            begun = time.monotonic()
            for step in range(options.steps + 1):
                if step:
                    await calls(url, options.calls // options.steps)
                await asyncio.sleep(12)  # ended calls leave their lanes
                megabytes, nodes, listeners = await held(devtools)
                passed = step * options.calls // options.steps
                print(
                    f"{passed:7,} calls, {time.monotonic() - begun:4.0f} s: {megabytes:5.2f} MB, "
                    f"{nodes:,} nodes, {listeners:,} listeners",
                    flush=True,
                )


async def paint(options: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        data = Path(folder) / "data"
        shutil.copytree(options.data, data, ignore=shutil.ignore_patterns("*.lock"))
        async with proxy(data) as (pid, _, admin), chromium() as browser:
            await asyncio.sleep(options.settle)
            taken: dict[str, list[list[float]]] = {view: [] for view in VIEWS}
            for _ in range(options.rounds):
                for view in VIEWS:
                    used = await asked(pid, f"{admin}/{view}")
                    taken[view].append([used, *await looked(browser, f"{admin}/{view}")])
            print("median                    server CPU   first byte   shown   at most, ms")
            for view, values in taken.items():
                used, first, shown = (median(times) for times in zip(*values, strict=True))
                most = max(time for *_, time in values)
                print(f"/{view:24} {used:9.1f} {first:12.0f} {shown:7.0f} {most:9.0f}")


async def asked(pid: int, url: str) -> float:
    """Milliseconds of the proxy's CPU for one page, of several."""
    before = cpu_us([pid])
    async with aiohttp.ClientSession() as session:
        for _ in range(SEVERAL):
            async with session.get(url) as answer:
                await answer.read()
    return (cpu_us([pid]) - before) / 1000 / SEVERAL


async def looked(browser: Browser, url: str) -> list[float]:
    """Milliseconds to the first byte of the page, and to its first paint, with an empty cache."""
    context = await browser.new_context(viewport={"width": 1440, "height": 900})
    page = await context.new_page()
    await page.goto(url, wait_until="load")
    while not (seen := await page.evaluate(PAINT))[1]:
        await asyncio.sleep(0.05)
    await context.close()
    return list(map(float, seen))


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m benchmarks.page", description=__doc__)
    commands = parser.add_subparsers(required=True)
    heaps = commands.add_parser("heap")
    heaps.add_argument("--calls", type=int, default=50_000)
    heaps.add_argument("--steps", type=int, default=5)
    heaps.set_defaults(run=heap)
    paints = commands.add_parser("paint")
    paints.add_argument("data", type=Path, help="a data folder; it is copied")
    paints.add_argument("--rounds", type=int, default=9)
    paints.add_argument("--settle", type=float, default=5.0, help="seconds after the start")
    paints.set_defaults(run=paint)
    options = parser.parse_args()
    asyncio.run(options.run(options))


if __name__ == "__main__":
    main()
