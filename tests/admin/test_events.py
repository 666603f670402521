"""The event stream: what comes when, what a slow reader gets, and that nothing stays behind."""

from __future__ import annotations

import asyncio
import json
import tracemalloc
from typing import Any

import pytest

from ollama_proxy.admin import events as events_module
from ollama_proxy.derived import KEYS
from ollama_proxy.exchange import State
from tests.admin.support import PATIENCE, EventReader, World, got, listening, served, until
from tests.admin.test_api import STATUS
from tests.storage.calls import NOON, make_call

SOON = 0.001


async def test_a_stream_begins_with_a_snapshot() -> None:
    world = World()
    stored = make_call(at=NOON, prompt="p", response="r", options={"a": 1})
    world.stored.rows = [stored, make_call(state="running")]
    ended, running = world.ended(model="m", prompt="p"), world.begin(prompt="p", options={"a": 1})
    async with served(world) as client, listening(client) as events:
        snapshot = await events.next()
    assert snapshot.kind == "snapshot"
    assert snapshot.id > 0
    assert list(snapshot.data) == ["status", "active", "recent"]
    assert list(snapshot.data["status"]) == STATUS
    assert [call["id"] for call in snapshot.data["active"]] == [running.id]
    assert [call["id"] for call in snapshot.data["recent"]] == [ended, stored.id]
    for call in snapshot.data["active"] + snapshot.data["recent"]:
        assert list(call)[: len(KEYS)] == list(KEYS)
        assert (call["prompt"], call["response"], call["options"]) == (None, None, None)


async def test_a_snapshot_has_the_last_twenty_calls() -> None:
    world = World()
    made = [world.ended() for _ in range(25)]
    async with served(world) as client, listening(client) as events:
        snapshot = await events.next()
    assert [call["id"] for call in snapshot.data["recent"]] == made[:4:-1]
    assert world.stored.asked == []


async def test_a_snapshot_needs_no_store() -> None:
    world = World()
    world.stored.broken = True
    ended = world.ended()
    async with served(world) as client, listening(client) as events:
        snapshot = await events.next()
    assert [call["id"] for call in snapshot.data["recent"]] == [ended]


async def test_the_headers_of_a_stream() -> None:
    async with served(World()) as client, client.get("/api/events") as response:
        assert response.headers["Content-Type"] == "text/event-stream; charset=utf-8"
        assert response.headers["Cache-Control"] == "no-store"
        assert "Content-Encoding" not in response.headers


async def test_a_calls_life_in_events() -> None:
    world = World(progress_interval=SOON)
    async with served(world) as client, listening(client) as events:
        assert (await events.next()).kind == "snapshot"
        exchange = world.begin()
        started = await events.next()
        assert (started.kind, started.data["id"]) == ("started", exchange.id)
        assert started.data["state"] == "running"
        exchange.observation.model, exchange.observation.output_chunks = "late", 5
        exchange.response_bytes = 90
        progress = await events.next()
        while progress.data[0]["model"] is None:
            progress = await events.next()
        assert progress.kind == "progress"
        (told,) = progress.data
        assert told.pop("duration") > 0
        assert told.pop("phase_seconds") >= 0
        assert told == {
            "id": exchange.id,
            "model": "late",
            "output_chunks": 5,
            "response_bytes": 90,
            "time_to_first_token": None,
            "phase": "waiting",
            "phase_estimated": True,
            "queue_position": None,
        }
        world.end(exchange, State.CANCELLED)
        finished = await events.until("finished")
        assert (finished.data["id"], finished.data["state"]) == (exchange.id, "cancelled")
        assert started.id < progress.id < finished.id


async def test_the_status_comes_again_and_again() -> None:
    world = World(status_interval=SOON)
    async with served(world) as client, listening(client) as events:
        for _ in range(20):
            status = await events.next()
            while status.kind in ("snapshot", "numbers"):
                status = await events.next()
            assert (status.kind, list(status.data)) == ("status", STATUS)


async def test_numbers_come_where_they_changed() -> None:
    async def heard(events: EventReader) -> list[Any]:
        """The numbers among the next events."""
        six = [await events.next() for _ in range(6)]
        return [event.data for event in six if event.kind == "numbers"]

    world = World(status_interval=SOON)
    async with served(world) as client, listening(client) as events:
        (first,) = await heard(events)
        assert (first["all"]["requests"], first["models"]) == (0, [])
        assert await heard(events) == []
        world.ended(model="m")
        (told,) = await heard(events)
        assert told["all"] == (await got(client, "/api/stats"))["all"]
        assert told["models"] == await got(client, "/api/models")
        # Who comes later may have seen none of it.
        async with listening(client) as late:
            assert await heard(late) == [told]


async def test_two_listeners_hear_the_same() -> None:
    world = World(progress_interval=SOON)
    async with served(world) as client, listening(client) as one, listening(client) as two:
        await one.next()
        await two.next()
        ended = world.ended()
        for events in (one, two):
            finished = await events.next()
            assert (finished.kind, finished.data["id"]) == ("finished", ended)


async def test_who_leaves_is_forgotten_at_the_next_status() -> None:
    """L7. Nothing but a write tells: behind the proxy's port the handler is not cancelled."""
    world = World(status_interval=SOON)
    async with served(world) as client:
        async with listening(client) as one, listening(client) as two:
            await one.next()
            await two.next()
            assert world.live.bus.subscribers == 2
        await until(lambda: world.live.bus.subscribers == 0)
        await until(lambda: world.api.events._ticker._timer is None)


async def test_a_slow_reader_loses_events_and_gets_a_fresh_snapshot() -> None:
    """L5: a reader that reads nothing costs a bounded queue, and the calls do not wait for it."""
    world = World(queue=20, progress_interval=SOON)
    async with served(world) as client:
        port = client.server.port
        reader, writer = await asyncio.open_connection("127.0.0.1", port, limit=1 << 24)
        writer.write(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"event: snapshot")
        subscription = next(iter(world.live.bus._subscriptions))
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        made = 0
        async with asyncio.timeout(PATIENCE):
            while not subscription.lost:
                world.ended(model="m" * 1000)
                made += 1
                await asyncio.sleep(0)
        last = world.ended(model="last")
        reader._transport.resume_reading()  # type: ignore[attr-defined]
        snapshot = None
        async with asyncio.timeout(PATIENCE):
            # One may have been on its way, into the socket's buffers, before the last call ended.
            while snapshot is None or snapshot["recent"][0]["id"] != last:
                await reader.readuntil(b"event: snapshot\ndata: ")
                snapshot = json.loads(await reader.readuntil(b"\n"))
        assert snapshot["status"]["completed_requests"] == made + 1
        assert not subscription.lost
        world.ended(model="after")
        async with asyncio.timeout(PATIENCE):
            await reader.readuntil(b"event: finished")
        writer.close()


async def test_a_reader_that_is_stuck_is_let_go(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(events_module, "STUCK_SECONDS", 0.05)
    world = World(progress_interval=SOON, status_interval=SOON)
    async with served(world) as client:
        reader, writer = await asyncio.open_connection("127.0.0.1", client.server.port)
        writer.write(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        await reader.readuntil(b"event: snapshot")
        reader._transport.pause_reading()  # type: ignore[attr-defined]
        async with asyncio.timeout(PATIENCE):
            while world.live.bus.subscribers:
                world.ended(model="m" * 100_000)
                await asyncio.sleep(0.001)
        writer.close()


async def test_readers_that_never_read_hold_little_of_what_is_told() -> None:
    """L5, L8: twenty, where a megabyte is told again and again."""
    world = World()
    bus, writing = world.live.bus, world.api.events._writing
    async with served(world) as client:
        readers = []
        tracemalloc.start()
        try:
            for _ in range(20):
                _, writer = await asyncio.open_connection("127.0.0.1", client.server.port, limit=1)
                writer.write(b"GET /api/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
                readers.append(writer)
            await until(lambda: bus.subscribers == 20)
            async with asyncio.timeout(PATIENCE):
                while len(writing) < 20:  # what the system holds for them is full
                    bus.publish("numbers", "m" * 1_000_000)
                    await asyncio.sleep(0.001)
            held, _ = tracemalloc.get_traced_memory()
        finally:
            tracemalloc.stop()
        assert bus.subscribers == 20
        for writer in readers:
            writer.transport.abort()
    assert held < 20 * 150_000 + 2 * bus.queue_bytes


async def test_one_listener_too_many_is_told_so() -> None:
    world = World(limit=1)
    async with served(world) as client, listening(client) as events:
        await events.next()
        answer = await got(client, "/api/events", 503)
        assert answer == {"error": "too many event streams are open"}


async def test_closing_ends_the_streams_at_once() -> None:
    world = World()
    async with served(world) as client, client.get("/api/events") as response:
        await response.content.readuntil(b"event: snapshot")
        world.api.events.close()
        async with asyncio.timeout(PATIENCE):
            assert (await response.read()).endswith(b"\n\n")
        assert world.live.bus.subscribers == 0
        await got(client, "/api/events", 503)


async def test_a_stream_whose_snapshot_fails_breaks_off(caplog: pytest.LogCaptureFixture) -> None:
    """Before its head: a JSON 500. After it: broken off, never a clean end."""
    world = World(queue=1, progress_interval=SOON)
    async with served(world) as client, client.get("/api/events") as response:
        await response.content.readuntil(b"\n\n")
        world.storage.size_bytes = property()  # type: ignore[assignment]
        await got(client, "/api/events", 500)
        world.ended()
        with pytest.raises(Exception, match="not completed"):
            await response.read()
    assert "an event stream was broken off: TypeError" in caplog.text
    assert world.live.bus.subscribers == 0
