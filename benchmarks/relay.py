"""What the relay costs beside a plain aiohttp proxy, in one run: CPU a chunk, CPU a call.

Both proxies run as processes of their own in front of the built-in simulator, in turns; the figures
are medians of the rounds, and only their ratio means anything elsewhere. Recording is on. Not here:
delays of single chunks, and other proxies.

    python benchmarks/relay.py [--rounds 5] [--streams 200] [--seconds 5]
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

HERE = Path(__file__).parent
TICKS = os.sysconf("SC_CLK_TCK")
STREAM_PACE = 50
"""Chunks a second of one stream."""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def cpu_seconds(pid: int) -> float:
    """User and system time of a process, from /proc/PID/stat (proc(5), fields 14 and 15)."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / TICKS


@contextmanager
def program(*arguments: str, port: int) -> Iterator[int]:
    """Run a Python program until the block ends; gives its process id once its port answers."""
    process = subprocess.Popen(
        [sys.executable, *arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    try:
        for _ in range(200):
            try:
                socket.create_connection(("127.0.0.1", port), 0.1).close()
                break
            except OSError:
                time.sleep(0.05)
        yield process.pid
    finally:
        process.terminate()
        process.wait()


def request(path: str, body: dict[str, object] | None) -> bytes:
    data = b"" if body is None else json.dumps(body).encode()
    method = "GET" if body is None else "POST"
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(data)}\r\n\r\n"
    return head.encode() + data


async def stream(port: int, tokens: int) -> int:
    """One streamed call; returns how many lines came."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    asked = {"model": "bench", "prompt": "x", "options": {"num_predict": tokens}}
    writer.write(request("/api/generate", asked))
    received = await reader.readuntil(b"\r\n0\r\n\r\n")
    writer.close()
    return received.count(b"\n{")


async def gets(port: int, seconds: float) -> int:
    """GETs on 32 kept connections; returns how many were answered."""
    until = time.monotonic() + seconds

    async def caller() -> int:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        count = 0
        while time.monotonic() < until:
            writer.write(request("/api/version", None))
            head = await reader.readuntil(b"\r\n\r\n")
            length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
            await reader.readexactly(int(length))
            count += 1
        writer.close()
        return count

    return sum(await asyncio.gather(*(caller() for _ in range(32))))


async def measure(port: int, pid: int, streams: int, seconds: float) -> dict[str, float]:
    """Microseconds of the proxy's CPU by chunk and by GET."""
    before = cpu_seconds(pid)
    tokens = int(seconds * STREAM_PACE)
    chunks = sum(await asyncio.gather(*(stream(port, tokens) for _ in range(streams))))
    middle = cpu_seconds(pid)
    answered = await gets(port, seconds / 2)
    after = cpu_seconds(pid)
    return {
        "chunk": (middle - before) / chunks * 1e6,
        "get": (after - middle) / answered * 1e6,
        "chunks": chunks,
        "gets": answered,
    }


def rounds(count: int, streams: int, seconds: float) -> dict[str, list[dict[str, float]]]:
    upstream = free_port()
    simulator = ["-m", "ollama_proxy.simulator", "--listen", f"127.0.0.1:{upstream}"]
    simulator += ["--pace", str(STREAM_PACE), "--parallel", str(streams), "--load", "0"]
    simulator += ["--answer", str(int(seconds * STREAM_PACE)), "--models", "bench"]
    found: dict[str, list[dict[str, float]]] = {"plain aiohttp": [], "ollama_proxy": []}
    with program(*simulator, port=upstream), tempfile.TemporaryDirectory() as folder:
        for number in range(count):
            for name in found if number % 2 else reversed(found):
                port = free_port()
                url = f"http://127.0.0.1:{upstream}"
                arguments = {
                    "plain aiohttp": [str(HERE / "plain_proxy.py"), str(port), url],
                    "ollama_proxy": [
                        *("-m", "ollama_proxy", "serve", "--admin-listen", "off"),
                        *("--listen", f"127.0.0.1:{port}", "--upstream", url),
                        *("--data-dir", folder),
                    ],
                }[name]
                with program(*arguments, port=port) as pid:
                    found[name].append(asyncio.run(measure(port, pid, streams, seconds)))
                print(number + 1, name, found[name][-1], flush=True)
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--streams", type=int, default=200)
    parser.add_argument("--seconds", type=float, default=5)
    options = parser.parse_args()
    found = rounds(options.rounds, options.streams, options.seconds)
    for kind in ("chunk", "get"):
        medians = {
            name: statistics.median(one[kind] for one in results) for name, results in found.items()
        }
        pairs = zip(found["ollama_proxy"], found["plain aiohttp"], strict=True)
        ratio = statistics.median(ours[kind] / plain[kind] for ours, plain in pairs)
        print(f"CPU a {kind}, µs: {medians}; ours ÷ plain {ratio:.2f}")


if __name__ == "__main__":
    main()
