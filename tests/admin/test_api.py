"""Each answer has exactly its keys, says what is so, and does without the store when it must."""

from __future__ import annotations

import time
from typing import Any

import msgspec
import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from ollama_proxy.admin import history
from ollama_proxy.admin.answers import json_errors
from ollama_proxy.admin.security import ELSEWHERE
from ollama_proxy.bus import encode
from ollama_proxy.derived import KEYS
from ollama_proxy.exchange import Call, State
from ollama_proxy.ids import first_id, iso, new_id
from ollama_proxy.phases import Loaded
from ollama_proxy.records import Mark, ModelInfo, UpstreamHealth
from ollama_proxy.stats import OTHER, Summary
from ollama_proxy.storage.base import PAGE_CHARACTERS
from tests.admin.support import NOW, World, got, served
from tests.storage.calls import NOON, make_call

CALL = [
    "id",
    "method",
    "path",
    "model",
    "state",
    "reason",
    "status_code",
    "started_at",
    "duration",
    "time_to_first_token",
    "queue",
    "load",
    "prefill",
    "decode",
    "input_tokens",
    "output_tokens",
    "tokens_per_second",
    "streamed",
    "done_reason",
    "error",
    "prompt",
    "response",
    "client",
    "request_bytes",
    "response_bytes",
    "output_chunks",
    "options",
    "not_understood",
    "connect",
    "time_to_first_byte",
    "time_to_first_answer",
    "longest_gap",
    "p95_gap",
    "thinking_characters",
    "tool_calls",
    "tool_names",
    "images",
    "image_bytes",
    "caller",
    "resources",
    "time_per_output_token",
    "prefill_cached",
    "insights",
    "pace",
    "headers",
    "in_force",
    "prefill_tokens_per_second",
    "rest",
    "output_tokens_estimated",
    "found",
]
PHASE = ["phase", "phase_seconds", "phase_estimated", "queue_position"]
SPREAD = ["count", "mean", "p50", "p90", "p95", "p99", "max"]
SUMMARY = [
    "requests",
    "completed",
    "failed",
    "timeout",
    "cancelled",
    "interrupted",
    "success_rate",
    "input_tokens",
    "output_tokens",
    "total_tokens",
    "duration",
    "time_to_first_token",
    "tokens_per_second",
    "queue_seconds",
    "load_seconds",
    "prefill_seconds",
    "decode_seconds",
    "cold_starts",
    "first_used",
    "last_used",
]
STATUS = [
    "status",
    "uptime",
    "active_requests",
    "waiting",
    "total_requests",
    "completed_requests",
    "failed_requests",
    "timeout_requests",
    "cancelled_requests",
    "interrupted_requests",
    "success_rate",
    "avg_response_time",
    "total_tokens",
    "input_tokens",
    "output_tokens",
    "models_available",
    "upstream",
    "upstream_up",
    "upstream_version",
    "upstream_error",
    "upstream_latency",
    "upstream_since",
    "version",
    "listen",
    "started_at",
    "first_call_at",
    "last_call_at",
    "records_dropped",
    "sink_errors",
    "storage_error",
    "storage_error_since",
    "database_bytes",
]
MODEL = [
    "name",
    "size",
    "family",
    "parameter_size",
    "quantization",
    "digest",
    "weights",
    "changed_at",
    "capabilities",
    "trained_context",
    "available",
    "loaded",
    "size_loaded",
    "size_vram",
    "context_length",
    "expires_at",
    "active",
    "stats",
]


def ids(calls: list[dict[str, Any]]) -> list[str]:
    return [call["id"] for call in calls]


def storage_error(world: World) -> tuple[Any, Any]:
    status = world.api.status()
    return status["storage_error"], status["storage_error_since"]


# -- status ---------------------------------------------------------------------------------


async def test_status_at_the_start() -> None:
    world = World()
    async with served(world) as client:
        world.clock.now += 12.5
        assert await got(client, "/api/status") == dict.fromkeys(STATUS) | {
            "status": "idle",
            "uptime": 12.5,
            **dict.fromkeys(
                [
                    key
                    for key in STATUS
                    if key.endswith(("_requests", "tokens", "_dropped", "_errors"))
                ],
                0,
            ),
            "avg_response_time": 0.0,
            "upstream": "http://127.0.0.1:11434",
            "version": "1.2.3",
            "listen": "127.0.0.1:11435",
            "started_at": iso(1_790_000_000.0),
            "database_bytes": 4096,
        }


async def test_status_keys_and_counts() -> None:
    world = World()
    for state in (State.COMPLETED, State.COMPLETED, State.FAILED, State.TIMEOUT, State.CANCELLED):
        world.ended(state, model="m", input_tokens=10, output_tokens=3)
    world.begin()
    world.health = UpstreamHealth(
        up=True, version="0.33", latency=0.002, since="then", models=[ModelInfo(name="m:latest")]
    )
    world.storage.dropped, world.storage.error, world.storage.error_since = 2, "full", "then"
    world.live.sink_errors = 3
    async with served(world) as client:
        status = await got(client, "/api/status")
    assert list(status) == STATUS
    counts = {key: status[key] for key in STATUS if key.endswith(("_requests", "tokens"))}
    assert list(counts.values()) == [1, 6, 2, 1, 1, 1, 0, 65, 50, 15]
    assert status["success_rate"] == 50.0
    assert status["avg_response_time"] > 0
    assert status["models_available"] == 1
    told = [status[key] for key in STATUS if key.startswith("upstream_")]
    assert told == [True, "0.33", None, 0.002, "then"]
    assert (status["records_dropped"], status["storage_error"]) == (2, "full")
    assert status["sink_errors"] == 3
    assert status["storage_error_since"] == "then"


async def test_the_latest_calls_time_survives_a_restart() -> None:
    world = World()
    stored = make_call()
    world.statistics.add(stored)
    assert world.api.status()["last_call_at"] == stored.started_at
    exchange = world.begin()
    assert world.api.status()["last_call_at"] == iso(exchange.started_at)


@pytest.mark.parametrize(
    ("health", "known"),
    [
        (UpstreamHealth(), None),
        (UpstreamHealth(up=False, error="refused"), None),
        (UpstreamHealth(up=True, error="/api/tags is answered with 500"), None),
        (UpstreamHealth(up=True), 0),
        (UpstreamHealth(up=False, models=[ModelInfo(name="m")]), 1),
    ],
)
async def test_the_number_of_models_is_null_while_unknown(
    health: UpstreamHealth, known: int | None
) -> None:
    world = World()
    world.health = health
    assert world.api.status()["models_available"] == known


async def test_idle_is_a_minute_without_calls() -> None:
    world = World()
    exchange = world.begin()
    world.clock.now += 1000
    assert world.api.status()["status"] == "working"
    world.end(exchange)
    world.clock.now += 59
    assert world.api.status()["status"] == "working"
    world.clock.now += 1
    assert world.api.status()["status"] == "idle"


async def test_failing_is_three_failed_calls_and_a_fifth_of_all() -> None:
    world = World()
    for _ in range(2):
        world.ended(State.FAILED)
    assert world.api.status()["status"] == "working"
    world.ended(State.FAILED)
    assert world.api.status()["status"] == "failing"
    for _ in range(12):
        world.ended()
    assert world.api.status()["status"] == "working"
    world.ended(State.TIMEOUT)
    assert world.api.status()["status"] == "failing"
    world.clock.now += 310
    assert world.api.status()["status"] == "idle"


async def test_down_is_said_before_all_else() -> None:
    world = World()
    for _ in range(3):
        world.ended(State.FAILED)
    world.begin()
    world.health = UpstreamHealth(up=False)
    assert world.api.status()["status"] == "down"


async def test_a_proxy_that_is_being_stopped_says_so_before_all_else() -> None:
    world = World()
    world.begin()
    world.health = UpstreamHealth(up=False)
    world.stopping = True
    status = world.api.status()
    assert (status["status"], status["active_requests"]) == ("stopping", 1)


async def test_who_waits_long_is_told_with_whom_it_waits_for() -> None:
    world = World()
    world.loaded = Loaded.seen(["m"], time.monotonic())
    for client in ("nightly.py", "signals.py", "signals.py"):
        world.begin(client=client, model="m").started -= 130.0
    waiting = world.api.status()["waiting"]
    assert 120.0 < waiting.pop("seconds") < 200.0
    assert waiting == {"calls": 2, "behind": "nightly.py"}
    assert world.api.status()["status"] == "working"


async def test_healthz_is_well_whatever_the_upstream() -> None:
    world = World()
    async with served(world) as client:
        assert await got(client, "/healthz") == {"status": "ok", "upstream_up": None}
        world.health = UpstreamHealth(up=False)
        assert await got(client, "/healthz?from=docker") == {"status": "ok", "upstream_up": False}


# -- models and statistics ------------------------------------------------------------------


async def test_models_are_those_of_ollama_then_those_only_named() -> None:
    world = World()
    world.health = UpstreamHealth(
        up=True,
        models=[
            ModelInfo(name="zebra:latest", size=7, loaded=True, size_vram=5, expires_at="soon"),
            ModelInfo(name="idle:1b"),
        ],
    )
    world.ended(model="zebra")
    world.ended(model="Zebra:latest")
    world.ended(model="gone")
    world.begin(model="library/zebra")
    world.begin(model="wrong")
    world.begin(model=None)
    world.statistics.models[OTHER] = Summary(completed=1)
    async with served(world) as client:
        models = await got(client, "/api/models")
    assert all(list(model) == MODEL for model in models)
    assert [(m["name"], m["available"], m["active"]) for m in models] == [
        ("zebra:latest", True, 1),
        ("idle:1b", True, 0),
        ("gone", False, 0),
        ("wrong", False, 1),
    ]
    zebra, idle, gone, wrong = models
    assert (zebra["size"], zebra["loaded"], zebra["size_vram"]) == (7, True, 5)
    assert zebra["expires_at"] == "soon"
    assert list(zebra["stats"]) == SUMMARY
    assert zebra["stats"]["requests"] == 2
    assert gone["stats"]["completed"] == 1
    assert idle["stats"] is wrong["stats"] is None


async def test_a_model_tells_when_its_digest_last_changed() -> None:
    world = World()
    world.health = UpstreamHealth(up=True, models=[ModelInfo(name="a"), ModelInfo(name="b")])
    world.changed = {"a": iso(NOW)}
    async with served(world) as client:
        rows = await got(client, "/api/models")
    assert [row["changed_at"] for row in rows] == [iso(NOW), None]


async def test_marks_are_what_changed_in_ollama() -> None:
    world = World()
    mark = Mark(id="1", at=iso(NOW), kind="digest", subject="a", old="x", new="y")
    world.stored.changes = [mark, mark]
    async with served(world) as client:
        assert await got(client, "/api/marks?limit=1&since=1h") == [msgspec.structs.asdict(mark)]
        assert world.stored.asked[-1].since == first_id(NOW - 3600)
        assert "limit" in (await got(client, "/api/marks?limit=0", 400))["error"]
        assert "since, limit" in (await got(client, "/api/marks?model=a", 400))["error"]
        world.stored.broken = True
        await got(client, "/api/marks", 503)


async def test_stats_keys() -> None:
    world = World()
    world.ended(model="m", output_tokens=3)
    world.ended(model="m:latest", output_tokens=4)
    world.ended(model="n")
    world.begin()
    async with served(world) as client:
        world.clock.now += 3
        stats = await got(client, "/api/stats")
    assert list(stats) == ["uptime", "started_at", "active_requests", "all", "models", "clients"]
    assert (stats["uptime"], stats["started_at"]) == (3, iso(1_790_000_000.0))
    assert stats["active_requests"] == 1
    assert list(stats["models"]) == ["m:latest", "n"]
    assert stats["models"]["m:latest"]["output_tokens"] == 7
    assert world.statistics.models["m"].output_tokens == 3
    for summary in (stats["all"], stats["models"]["n"]):
        assert list(summary) == SUMMARY
        assert list(summary["duration"]) == list(summary["tokens_per_second"]) == SPREAD
    assert stats["all"]["requests"] == 3


async def test_clients_are_told_with_what_runs_for_them() -> None:
    world = World()
    world.ended(client="a.py", output_tokens=3)
    world.ended(State.FAILED, client="a.py")
    world.begin(client="b.py")
    async with served(world) as client:
        first, second = await got(client, "/api/clients")
    assert list(first) == ["name", "active", *SUMMARY]
    assert [first[key] for key in ("name", "active", "requests", "failed", "output_tokens")] == [
        *("a.py", 0, 2, 1, 3),
    ]
    assert (second["name"], second["active"], second["requests"]) == ("b.py", 1, 0)


# -- calls ----------------------------------------------------------------------------------


async def test_active_calls_are_whole_and_oldest_first() -> None:
    world = World()
    first, second = world.begin(prompt="hello", options={"num_ctx": 8}), world.begin()
    async with served(world) as client:
        calls = await got(client, "/api/active")
    assert ids(calls) == [first.id, second.id]
    assert list(KEYS) == CALL
    assert list(calls[0]) == [*CALL, *PHASE]
    assert (calls[0]["phase"], calls[0]["phase_estimated"]) == ("waiting", True)
    assert (calls[0]["prompt"], calls[0]["options"]) == ("hello", {"num_ctx": 8})


async def test_requests_are_running_recent_and_stored_ones_newest_first() -> None:
    world = World()
    old = make_call(at=NOON)
    just_ended = world.ended()
    running = world.begin()
    # The store may be ahead (a row of each) or behind (an ended call still running there).
    world.stored.rows = [
        old,
        make_call(id=just_ended, state="running"),
        make_call(id=running.id, state="running", duration=None),
    ]
    async with served(world) as client:
        calls = await got(client, "/api/requests")
        assert ids(calls) == sorted([running.id, just_ended, old.id], reverse=True)
        assert {call["id"]: call["state"] for call in calls} == {
            running.id: "running",
            just_ended: "completed",
            old.id: "completed",
        }
        assert all(list(call) == CALL for call in calls)
        world.end(running)
        assert (await got(client, "/api/requests"))[ids(calls).index(running.id)][
            "state"
        ] == "completed"


async def test_requests_by_limit_and_page() -> None:
    world = World()
    world.stored.rows = [make_call(at=NOON + number) for number in range(5)]
    made = [row.id for row in world.stored.rows] + [world.begin().id, world.ended()]
    newest_first = sorted(made, reverse=True)
    async with served(world) as client:
        page = await got(client, "/api/requests?limit=3")
        assert ids(page) == newest_first[:3]
        rest = await got(client, f"/api/requests?limit=1000&before={page[-1]['id']}")
        assert ids(rest) == newest_first[3:]
        assert ids(await got(client, f"/api/requests?before={page[0]['id']}")) == newest_first[1:]
        assert await got(client, f"/api/requests?before={newest_first[-1]}") == []


async def test_requests_are_fifty_by_default() -> None:
    world = World()
    world.stored.rows = [make_call() for _ in range(60)]
    async with served(world) as client:
        assert len(await got(client, "/api/requests")) == 50


@pytest.mark.parametrize("query", ["", "&model=llama3"])
async def test_a_page_ends_where_its_texts_are_too_long_and_the_next_goes_on(query: str) -> None:
    world = World()
    text = "x" * (PAGE_CHARACTERS // 4)
    # Of the second spelling there is little text: its page from the store reaches further back.
    for number in range(20):
        name, response = ("llama3", text) if number % 3 else ("llama3:latest", "short")
        world.stored.rows.append(make_call(at=NOON + number, model=name, response=response))
    made = [row.id for row in world.stored.rows]
    made += [world.ended(model="llama3", response=text) for _ in range(3)]
    found: list[str] = []
    async with served(world) as client:
        before = ""
        while page := await got(client, f"/api/requests?limit=1000{query}{before}"):
            assert sum(len(call["response"]) for call in page[:-1]) < PAGE_CHARACTERS
            found += ids(page)
            before = f"&before={found[-1]}"
    assert found == made[::-1]


async def test_requests_by_state() -> None:
    world = World()
    failed, _ = world.ended(State.FAILED), world.ended()
    running = world.begin()
    stored = make_call(state="failed")
    # What the store still calls running has ended.
    world.stored.rows = [stored, make_call(id=failed, state="running")]
    async with served(world) as client:
        assert ids(await got(client, "/api/requests?state=running")) == [running.id]
        assert world.stored.asked == []
        found = ids(await got(client, "/api/requests?state=failed"))
        assert found == sorted([failed, stored.id], reverse=True)


async def test_requests_by_model_in_any_spelling() -> None:
    world = World()
    recent = [world.ended(model="llama3"), world.ended(model="Llama3:latest")]
    world.ended(model="llama3:8b")
    world.stored.rows = [
        make_call(model="llama3"),
        make_call(model="llama3:latest"),
        make_call(model="llama3:70b"),
    ]
    expected = sorted([*recent, *(call.id for call in world.stored.rows[:2])], reverse=True)
    async with served(world) as client:
        for name in ("llama3", "llama3:latest", "registry.ollama.ai/library/llama3"):
            assert ids(await got(client, f"/api/requests?model={name}")) == expected


async def test_one_call_running_recent_or_stored() -> None:
    world = World()
    running, recent, stored = world.begin(), world.ended(model="r"), make_call(prompt="p")
    world.stored.rows = [stored, make_call(id=recent, state="running")]
    async with served(world) as client:
        assert (await got(client, f"/api/requests/{running.id}"))["state"] == "running"
        assert (await got(client, f"/api/requests/{recent}"))["model"] == "r"
        call = await got(client, f"/api/requests/{stored.id}")
        assert list(call) == [*CALL, "expected", "waited_for"]
        assert call["prompt"] == "p"


async def test_an_unknown_call_is_404() -> None:
    async with served(World()) as client:
        answer = await got(client, f"/api/requests/{new_id(NOON)}", 404)
        assert answer == {"error": "no such call: it never was, or was deleted since"}


@pytest.mark.parametrize("id", ["nope", "%00", "..%2F..%2Fetc%2Fpasswd", "x" * 5000])
async def test_what_cannot_be_an_id_is_404_without_asking_the_store(id: str) -> None:
    world = World()
    world.stored.broken = True
    async with served(world) as client:
        assert list(await got(client, f"/api/requests/{id}", 404)) == ["error"]


# -- without the store (L4) -----------------------------------------------------------------


async def test_a_broken_store_leaves_the_recent_calls(caplog: pytest.LogCaptureFixture) -> None:
    world = World()
    world.stored.broken = True
    recent, running = world.ended(), world.begin()
    async with served(world) as client:
        assert ids(await got(client, "/api/requests")) == [running.id, recent]
        assert ids(await got(client, "/api/requests")) == [running.id, recent]
        assert (await got(client, f"/api/requests/{recent}"))["id"] == recent
        assert [call.id for call in await world.api.recent(5)] == [recent]
        error = await got(client, f"/api/requests/{new_id(NOON)}", 503)
        assert error == {"error": "the store cannot be read now"}
    assert len(caplog.records) == 1
    assert "OSError" in caplog.text
    assert "hunter2" not in caplog.text


async def test_what_memory_alone_knew_is_marked_so() -> None:
    """A script could else take it for all there is."""
    world = World()
    recent = world.ended()
    async with served(world) as client:
        for broken in (False, True):
            world.stored.broken = broken
            async with client.get("/api/requests") as answer:
                assert ids(await answer.json()) == [recent]
                assert ("X-Ollama-Proxy-Incomplete" in answer.headers) is broken
        error = await got(client, "/api/requests?client=nobody", 503)
    assert error == {"error": "the store cannot be read now"}


async def test_why_the_store_cannot_be_read_is_told_until_it_can(
    caplog: pytest.LogCaptureFixture,
) -> None:
    world = World()
    recent = world.ended()
    world.stored.refusal = "calls.db is damaged: move it away"
    async with served(world) as client:
        await got(client, f"/api/requests/{new_id(NOON)}", 503)
        for _ in range(2):
            assert ids(await got(client, "/api/requests")) == [recent]
            assert storage_error(world) == (world.stored.refusal, iso(1_790_000_000.0))
        world.storage.error, world.storage.error_since = "the disk is full", "then"
        assert storage_error(world) == ("the disk is full", "then")
        world.storage.error = world.storage.error_since = None
        assert caplog.messages == [f"the store could not be read: {world.stored.refusal}"]
        world.stored.refusal = None
        # The ring has enough for this, but a page looks whether the store is well again.
        assert [call.id for call in await world.api.recent(1)] == [recent]
        assert storage_error(world) == (None, None)
    assert caplog.messages[1:] == ["the store can be read again"]


async def test_of_another_error_the_status_tells_its_kind_only() -> None:
    world = World()
    world.stored.broken = True
    async with served(world) as client:
        await got(client, "/api/requests", 503)  # nobody can know whether there are any
    assert storage_error(world)[0] == "the store cannot be read (OSError): see the log"


async def test_a_store_that_hangs_is_not_waited_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(history, "READ_SECONDS", 0.01)
    world = World()
    world.stored.hung = True
    recent = world.ended()
    async with served(world) as client:
        assert ids(await got(client, "/api/requests")) == [recent]
        await got(client, f"/api/requests/{new_id(NOON)}", 503)
    assert "TimeoutError" in storage_error(world)[0]
    assert world.stored.interrupted == 2


async def test_recent_calls_for_a_page_have_ended() -> None:
    world = World()
    stored = make_call(at=NOON)
    world.stored.rows = [stored, make_call(state="running")]
    recent, _ = world.ended(), world.begin()
    assert [call.id for call in await world.api.recent(5)] == sorted(
        [recent, stored.id], reverse=True
    )
    world.stored.asked.clear()
    assert [call.id for call in await world.api.recent(1)] == [recent]
    assert world.stored.asked == []


async def test_running_rows_of_the_store_take_no_ended_calls_place() -> None:
    world = World()
    world.stored.rows = [make_call() for _ in range(2)]
    ended = [row.id for row in world.stored.rows]
    running = [world.begin().id for _ in range(2)]
    world.stored.rows += [make_call(id=id, state="running") for id in running]
    assert [call.id for call in await world.api.recent(2)] == ended[::-1]


# -- wrong questions ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("limit=abc", "limit=abc: must be a whole number from 1 to 1000"),
        ("limit=0", "limit=0: must be a whole number from 1 to 1000"),
        ("limit=1001", "limit=1001: must be a whole number from 1 to 1000"),
        ("limit=-1", "limit=-1: must be a whole number from 1 to 1000"),
        ("limit=", "limit=: must be a whole number from 1 to 1000"),
        ("limit=%D9%A3", "limit=\u0663: must be a whole number from 1 to 1000"),
        ("limit=1e2", "limit=1e2: must be a whole number from 1 to 1000"),
        ("limit=5&limit=6", "limit: given more than once"),
        ("before=x", "before=x: must be the id of a call, 26 characters"),
        ("model=", "model=: must be the name of a model"),
        (
            "state=done",
            "state=done: must be one of "
            "running, completed, failed, timeout, cancelled, interrupted",
        ),
        (
            "colour=red",
            "colour: no such parameter here; it takes limit, before, client, model, state, route, "
            "reason, since, until, slower_than, ended_after, finding, insight, text, sort, after",
        ),
    ],
)
async def test_a_wrong_parameter_is_named(query: str, error: str) -> None:
    async with served(World()) as client:
        assert await got(client, f"/api/requests?{query}", 400) == {"error": error}


@pytest.mark.parametrize("limit", ["0000000000000000000000000005", "9" * 5000])
async def test_a_long_number_is_refused_and_not_repeated(limit: str) -> None:
    async with served(World()) as client:
        answer = await got(client, f"/api/requests?limit={limit}", 400)
        assert len(answer["error"]) < 200


@pytest.mark.parametrize("path", ["status", "models", "stats", "active", "requests/x", "events"])
async def test_what_takes_no_parameters_says_so(path: str) -> None:
    async with served(World()) as client:
        answer = await got(client, f"/api/{path}?_=1", 400)
        assert answer == {"error": "_: no such parameter here; it takes none"}


@pytest.mark.parametrize("prefix", ["", "/admin"])
async def test_an_unknown_path_is_404(prefix: str) -> None:
    async with served(World(), prefix=prefix) as client:
        answer = await got(client, f"{prefix}/api/nothing", 404)
        told = f"Not Found: GET {prefix}/api/nothing; calls to Ollama go to the proxy's own port"
        assert answer == {"error": told}


async def test_the_answers_are_the_same_below_a_path() -> None:
    world = World()
    async with served(world, prefix="/admin") as client:
        assert list(await got(client, "/admin/api/status")) == STATUS
        assert await got(client, "/admin/api/active") == []


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "OPTIONS"])
async def test_another_method_is_405(method: str) -> None:
    async with served(World()) as client, client.request(method, "/api/requests") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET, HEAD"
        assert list(await response.json()) == ["error"]


async def test_the_errors_of_the_router_are_json_with_their_headers() -> None:
    async def here(request: web.Request) -> web.Response:
        return web.Response()

    app = web.Application(middlewares=[json_errors])
    app.router.add_get("/here", here)
    async with TestClient(TestServer(app)) as client, client.post("/here") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET,HEAD"
        assert await response.json() == {"error": f"Method Not Allowed: POST /here; {ELSEWHERE}"}


async def test_redirects_are_left_alone() -> None:
    async def moved(request: web.Request) -> web.Response:
        raise web.HTTPFound("/there")

    app = web.Application(middlewares=[json_errors])
    app.router.add_get("/here", moved)
    async with (
        TestClient(TestServer(app)) as client,
        client.get("/here", allow_redirects=False) as response,
    ):
        assert (response.status, response.headers["Location"]) == (302, "/there")


async def test_head_has_the_headers_only() -> None:
    world = World()
    async with served(world) as client:
        for path in ("/api/status", "/api/events", "/healthz"):
            async with client.head(path) as response:
                assert response.status == 200
                assert await response.read() == b""
        assert world.live.bus.subscribers == 0


async def test_a_handler_that_fails_is_one_json_500(caplog: pytest.LogCaptureFixture) -> None:
    world = World()

    def broken() -> UpstreamHealth:
        raise RuntimeError("the prompt was: secret")

    world.api._health = broken
    async with served(world) as client:
        answer = await got(client, "/api/status", 500)
        assert answer == {"error": "the proxy's admin failed here: its log says where"}
        assert await got(client, "/api/active") == []
    assert [record.levelname for record in caplog.records] == ["ERROR"]
    assert "'/api/status' failed: RuntimeError in" in caplog.text
    assert "secret" not in caplog.text


async def test_hostile_text_is_data_in_the_answer() -> None:
    hostile = '<script>\u2028\u202e\x1b"\\{{7*7}}\ud800'
    world = World()
    world.begin(model=hostile, error=hostile)
    async with served(world) as client:
        (call,) = await got(client, "/api/active")
        assert call["model"] == call["error"] == hostile.replace("\ud800", "?")
        assert len(await got(client, "/api/models")) == 1


def test_a_stored_call_comes_back_as_it_was() -> None:
    call = make_call(options={"stop": ["a"]}, error="x")
    assert msgspec.json.decode(encode(call), type=Call) == call
