"""A soak: a proxy that is restarted again and again under load, and whether anybody noticed.

    python -m benchmarks.restarts MINUTES EVERY_SECONDS

Streams, short calls over new and over kept connections, and uploads go through a proxy of its own
(in a folder of its own, at a free port) to an upstream in this process, which answers at once and
tells how often each call arrived. Each answer is compared byte for byte; at the end, so is what the
database has of each call. Exits with 1 if anything was refused, broken, lost or doubled.

Not here: speed (`rounds.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import itertools
import json
import sqlite3
import sys
import tempfile
import time
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.processes import environment, free_port

PIECES, PIECE_SECONDS = 60, 0.1
UPLOAD_PIECES, UPLOAD_PIECE = 32, b"u" * 65_536
PAUSE = 0.1
LOADS = {"stream": 6, "new connection": 4, "kept connection": 4, "upload": 2}
"""How many of each kind go on at a time."""
PATIENCE = 60.0
SHOWN = 5

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]


@dataclass
class Tally:
    """What was seen: by kind the calls that went well, the calls' ids, the faults by their kind."""

    well: Counter[str] = field(default_factory=Counter)
    answered: set[str] = field(default_factory=set)
    arrived: Counter[str] = field(default_factory=Counter)
    faults: Counter[str] = field(default_factory=Counter)
    examples: list[str] = field(default_factory=list)
    longest: float = 0.0
    restarts: list[float] = field(default_factory=list)

    def fault(self, kind: str, what: str) -> None:
        self.faults[kind] += 1
        if len(self.examples) < SHOWN:
            self.examples.append(f"{kind}: {what}")


def compare(tally: Tally, rows: Iterable[tuple[str, str]]) -> None:
    """Notes as faults what upstream and the database (ids and states) tell otherwise than those who
    called."""
    stored: dict[str, list[str]] = {}
    for id, state in rows:
        stored.setdefault(id, []).append(state)
    for id in sorted(tally.answered):
        if tally.arrived[id] != 1:
            tally.fault("forwarded twice", f"{id} arrived {tally.arrived[id]} times")
        states = stored.get(id, [])
        if not states:
            tally.fault("lost", f"{id} is not in the database")
        elif len(states) > 1:
            tally.fault("doubled", f"{id} is in the database {len(states)} times")
        elif states != ["completed"]:
            tally.fault("recorded wrongly", f"{id} was answered, and is recorded as {states[0]}")


# -- upstream -------------------------------------------------------------------------------------


@contextlib.asynccontextmanager
async def upstream(tally: Tally) -> AsyncIterator[int]:
    """Its port."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError, asyncio.IncompleteReadError):
            while True:
                await answer(tally, reader, writer)
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0, backlog=1024)
    try:
        yield server.sockets[0].getsockname()[1]
    finally:
        server.close()


async def answer(tally: Tally, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    head, body = await message(reader)
    if b"/api/blobs/" in head:
        id = head.split(b"sha256-")[1].split()[0].decode()
        tally.arrived[id] += 1
        writer.write(whole(f"{id} {len(body)}".encode()))
    elif b"/api/generate" in head:
        asked = json.loads(body)
        tally.arrived[asked["prompt"]] += 1
        if asked["stream"]:
            writer.write(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n")
            for piece in pieces(asked["prompt"]):
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece))
                await asyncio.sleep(PIECE_SECONDS)
            writer.write(b"0\r\n\r\n")
        else:
            writer.write(whole(short_answer(asked["prompt"])))
    else:
        writer.write(whole(b"{}"))
    await writer.drain()


def whole(body: bytes) -> bytes:
    return b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n%b" % (len(body), body)


def pieces(id: str) -> Iterable[bytes]:
    for number in range(PIECES):
        yield (
            json.dumps({"model": "m", "response": f"{id} {number}", "done": False}).encode() + b"\n"
        )
    yield json.dumps({"model": "m", "done": True, "eval_count": PIECES}).encode() + b"\n"


def short_answer(id: str) -> bytes:
    return json.dumps({"model": "m", "response": id, "done": True}).encode()


async def message(reader: asyncio.StreamReader) -> tuple[bytes, bytes]:
    """A head and its body, without the framing."""
    head = await reader.readuntil(b"\r\n\r\n")
    low = head.lower()
    if b"\r\ncontent-length:" in low:
        return head, await reader.readexactly(int(low.split(b"content-length:")[1].split()[0]))
    body = b""
    while b"\r\ntransfer-encoding: chunked" in low:
        size = int(await reader.readuntil(b"\r\n"), 16)
        piece = await reader.readexactly(size + 2)
        if not size:
            break
        body += piece[:-2]
    return head, body


# -- those who call -------------------------------------------------------------------------------


@dataclass
class Load:
    """Calls until `over` is set."""

    tally: Tally
    port: int
    over: asyncio.Event = field(default_factory=asyncio.Event)
    _ids: Iterable[int] = field(default_factory=itertools.count)

    def id(self, kind: str) -> str:
        return f"{kind.replace(' ', '-')}-{next(iter(self._ids))}"

    async def again_and_again(self, kind: str) -> None:
        connection: Stream | None = None
        calls: dict[str, Callable[[Stream, str], Coroutine[Any, Any, tuple[bytes, bytes]]]] = {
            "stream": self.stream,
            "upload": self.upload,
        }
        while not self.over.is_set():
            id = self.id(kind)
            began = time.monotonic()
            try:
                async with asyncio.timeout(PATIENCE):
                    connection = connection or await asyncio.open_connection("127.0.0.1", self.port)
                    got, expected = await calls.get(kind, self.short)(connection, id)
            except (OSError, asyncio.IncompleteReadError, TimeoutError, ValueError) as error:
                refused = isinstance(error, ConnectionRefusedError)
                self.tally.fault("refused" if refused else "broken", f"{id}: {error!r}")
                connection = None
                await asyncio.sleep(PAUSE)
                continue
            if got != expected:
                self.tally.fault("another answer", f"{id}: {got[:60]!r}")
            self.tally.answered.add(id)
            self.tally.well[kind] += 1
            if "connection" in kind:
                self.tally.longest = max(self.tally.longest, time.monotonic() - began)
            if kind != "kept connection":
                connection[1].close()
                connection = None
            await asyncio.sleep(PAUSE)

    async def short(self, connection: Stream, id: str) -> tuple[bytes, bytes]:
        asked = json.dumps({"model": "m", "prompt": id, "stream": False}).encode()
        await self.send(connection, "/api/generate", asked)
        return (await message(connection[0]))[1], short_answer(id)

    async def stream(self, connection: Stream, id: str) -> tuple[bytes, bytes]:
        asked = json.dumps({"model": "m", "prompt": id, "stream": True}).encode()
        await self.send(connection, "/api/generate", asked)
        return (await message(connection[0]))[1], b"".join(pieces(id))

    async def upload(self, connection: Stream, id: str) -> tuple[bytes, bytes]:
        size = UPLOAD_PIECES * len(UPLOAD_PIECE)
        await self.send(connection, f"/api/blobs/sha256-{id}", b"", size)
        for _ in range(UPLOAD_PIECES):
            connection[1].write(UPLOAD_PIECE)
            await connection[1].drain()
            await asyncio.sleep(PIECE_SECONDS)
        return (await message(connection[0]))[1], f"{id} {size}".encode()

    async def send(self, to: Stream, path: str, body: bytes, size: int | None = None) -> None:
        length = len(body) if size is None else size
        head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\r\n"
        to[1].write(head.encode() + body)
        await to[1].drain()


# -- the proxy ------------------------------------------------------------------------------------


async def command(*words: str) -> tuple[int, str]:
    """Runs `ollama-proxy`: the exit code, and what it says."""
    process = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ollama_proxy", *words),
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        env=environment({"PYTHONPATH": str(Path(__file__).parent.parent)}),
    )
    out, _ = await process.communicate()
    return process.returncode or 0, out.decode()


def stored(database: Path) -> list[tuple[str, str]]:
    """Of each call its id, which its prompt or its path tells, and its state."""
    with contextlib.closing(sqlite3.connect(f"file:{database}?mode=ro", uri=True)) as connection:
        rows = connection.execute("SELECT prompt, path, state FROM calls").fetchall()
    return [(prompt or path.partition("sha256-")[2], state) for prompt, path, state in rows]


async def soak(folder: Path, minutes: float, every: float) -> Tally:
    tally = Tally()
    data = ("--data-dir", str(folder))
    async with upstream(tally) as upstream_port:
        port = free_port()
        own = ("--upstream", f"http://127.0.0.1:{upstream_port}", "--admin-listen", "off")
        code, said = await command("start", str(port), *data, *own)
        if code:
            raise SystemExit(f"the proxy did not start: {said}")
        load = Load(tally, port)
        loads = [
            asyncio.create_task(load.again_and_again(kind))
            for kind, count in LOADS.items()
            for _ in range(count)
        ]
        end = time.monotonic() + minutes * 60
        while (left := end - time.monotonic()) > 0:
            await asyncio.sleep(min(every, left))
            began = time.monotonic()
            code, said = await command("restart", *data)
            tally.restarts.append(time.monotonic() - began)
            if code:
                tally.fault("restart failed", " ".join(said.split()))
            print(told(tally), flush=True)
        load.over.set()
        await asyncio.gather(*loads)
        await command("stop", *data)
        await gone(data)
    compare(tally, stored(folder / "calls.sqlite3"))
    return tally


async def gone(data: tuple[str, str]) -> None:
    while (await command("status", *data))[0] != 3:
        await asyncio.sleep(PAUSE)


def told(tally: Tally) -> str:
    """In a line."""
    well = ", ".join(f"{count} by {kind}" for kind, count in tally.well.items())
    slowest = max(tally.restarts, default=0.0)
    faults = ", ".join(f"{count} {kind}" for kind, count in tally.faults.items()) or "no fault"
    return (
        f"{len(tally.restarts)} restarts (slowest {slowest:.1f} s); answered {well}; the slowest "
        f"short call took {tally.longest:.2f} s; {faults}"
    )


def main() -> int:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks.restarts",
        description="Restart a proxy under load, and count what is refused, broken, lost, doubled.",
    )
    parser.add_argument("minutes", type=float)
    parser.add_argument("every_seconds", type=float)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory(prefix="ollama-proxy-soak-") as folder:
        tally = asyncio.run(soak(Path(folder), options.minutes, options.every_seconds))
    print("\nat the end, compared with the database:\n" + told(tally))
    print("\n".join(tally.examples))
    return 1 if tally.faults else 0


if __name__ == "__main__":
    sys.exit(main())
