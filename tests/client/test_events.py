"""The event stream of both clients, through a break of the connection."""

from __future__ import annotations

import asyncio
import re
from collections.abc import Callable
from contextlib import aclosing
from pathlib import Path

import pytest

from ollama_proxy.client import (
    AsyncMonitorClient,
    Event,
    MonitorClient,
    MonitorDown,
    MonitorUnauthorized,
    NotAMonitor,
)
from tests.client.support import TOKEN, Kind, both, monitored, script, told
from tests.harness import Connection, ScriptedUpstream


async def heard(
    kind: Kind, url: str, enough: Callable[[Event], bool], token: str | None = None
) -> list[Event]:
    """The events up to one that is enough."""
    events: list[Event] = []
    if kind is MonitorClient:

        def listen() -> None:
            for event in MonitorClient(url, token).events():
                events.append(event)
                if enough(event):
                    return

        await asyncio.to_thread(listen)
        return events
    async with AsyncMonitorClient(url, token) as monitor, aclosing(monitor.events()) as stream:
        async for event in stream:
            events.append(event)
            if enough(event):
                return events
    raise AssertionError("it ended")


@both
async def test_a_call_from_its_beginning_to_its_end(kind: Kind, tmp_path: Path) -> None:
    async with monitored(tmp_path, OLLAMA_PROXY_ADMIN_TOKEN=TOKEN) as proxy:
        began = asyncio.Event()
        loop = asyncio.get_running_loop()

        def enough(event: Event) -> bool:
            loop.call_soon_threadsafe(began.set)
            return event.kind == "finished"

        listening = asyncio.create_task(heard(kind, proxy.url, enough, TOKEN))
        await began.wait()
        await proxy.chat()
        events = await listening
        assert events[0].kind == "snapshot" and events[0].data.active == []
        finished = events[-1]
        assert finished.kind == "finished" and finished.data.state == "completed"


@both
async def test_a_stream_that_breaks_is_taken_up_again(kind: Kind, tmp_path: Path) -> None:
    """Also where nobody answers for a while; by the id that was heard last."""
    heads: list[bytes] = []

    async with monitored(tmp_path) as proxy:

        async def breaking(connection: Connection) -> None:
            heads.append(await connection.read_head())
            if len(heads) == 2:
                return
            reader, writer = await asyncio.open_connection("127.0.0.1", proxy.app.port, limit=2**24)
            writer.write(b"GET /admin/api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
            ends = 0
            async for line in reader:
                await connection.send(line)
                ends += line == b"\n"
                if ends == 2 and len(heads) == 1:
                    break
            writer.close()

        async with ScriptedUpstream(breaking) as other:
            snapshots: list[Event] = []

            def enough(event: Event) -> bool:
                snapshots.extend([event] if event.kind == "snapshot" else [])
                return len(snapshots) == 2

            events = await heard(kind, f"{other.url}/admin", enough)
    assert events[0].kind == events[-1].kind == "snapshot"
    ids = [re.search(rb"(?i)last-event-id: *(\d+)", head) for head in heads]
    assert ids[0] is None and ids[1] is not None and ids[2] is not None
    assert ids[1][1] == ids[2][1]


@both
async def test_one_that_never_begins_is_told(kind: Kind, tmp_path: Path) -> None:
    async with monitored(tmp_path, OLLAMA_PROXY_ADMIN_TOKEN=TOKEN) as proxy:
        with pytest.raises(MonitorUnauthorized):
            await heard(kind, proxy.url, lambda event: True, "wrong" * 5)
    with pytest.raises(MonitorDown):
        await heard(kind, f"{proxy.url}/x", lambda event: True)


@both
@pytest.mark.parametrize("data", [b"{}", b'"\xff', b"[" * 100_000, b"1}, {"])
async def test_what_is_no_event_is_told(kind: Kind, data: bytes) -> None:
    body = b"event: something new\ndata: 1\n\nevent: status\r\ndata:" + data + b"\r\n\r\n"
    async with ScriptedUpstream(lambda connection: told(connection, body)) as other:
        with pytest.raises(NotAMonitor):
            await heard(kind, f"{other.url}/admin", lambda event: True)


@both
async def test_an_event_without_an_end_takes_no_more_than_its_bytes(kind: Kind) -> None:
    """In lines of two characters, each of which would be an object of its own."""

    async def endless(connection: Connection) -> None:
        await connection.read_head()
        await connection.send(b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\n\r\n")
        while True:
            await connection.send(b"data:xy\n" * 2**16)

    text = (
        "import asyncio, resource, sys; import ollama_proxy.client as client\n"
        "async def main():\n"
        "  async for event in client.AsyncMonitorClient(sys.argv[2]).events(): pass\n"
        "peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "import ollama_proxy.client.aio; before = peak()\n"
        "try:\n"
        "  if sys.argv[1] == 'MonitorClient': list(client.MonitorClient(sys.argv[2]).events())\n"
        "  else: asyncio.run(main())\n"
        "except client.NotAMonitor as error: print((peak() - before) // 1024, error)"
    )
    async with ScriptedUpstream(endless) as other:
        code, out, err = await script(text, kind.__name__, f"{other.url}/admin")
    mib, _, why = out.partition(" ")
    assert code == 0 and "an event has no end" in why, err
    assert int(mib) < 100
