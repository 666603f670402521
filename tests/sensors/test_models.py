"""The look at the upstream: what it learns, what it withstands, and when it looks again."""

from __future__ import annotations

import asyncio
import gzip
import json
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from ollama_proxy.ids import iso
from ollama_proxy.records import PROBE_HEADER, ModelInfo, UpstreamHealth
from ollama_proxy.sensors import models as models_module
from ollama_proxy.sensors.models import PUT_OFF, ModelSensor, pause_down
from ollama_proxy.sensors.weights import AT_ONCE

PATIENCE = 5.0
NEVER = 3600.0
VERSION, TAGS, PS = "/api/version", "/api/tags", "/api/ps"
SMOL = {
    "name": "smollm2:latest",
    "model": "smollm2:latest",
    "size": 98362905,
    "digest": "1980a91f",
    "details": {
        "family": "llama",
        "parameter_size": "134.52M",
        "quantization_level": "Q4_1",
        "context_length": 8192,
    },
    "capabilities": ["completion", "tools", 7, "a\x1bb"],
}
LOADED = {
    **SMOL,
    "size": 200,
    "size_vram": 100,
    "context_length": 4096,
    "expires_at": "2026-11-23T19:00:00Z",
}


class Ollama:
    """A scripted upstream: `answers` by path, each a JSON value, bytes, or a ready response."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {
            VERSION: {"version": "0.33.0"},
            TAGS: {"models": [SMOL]},
            PS: {"models": []},
        }
        self.status = 200
        self.requests: list[web.BaseRequest] = []
        self.now = 0
        self.most_at_once = 0

    async def __call__(self, request: web.BaseRequest) -> web.StreamResponse:
        self.requests.append(request)
        self.now += 1
        self.most_at_once = max(self.most_at_once, self.now)
        try:
            answer = self.answers[request.path]
            if callable(answer):
                made: web.StreamResponse = await answer(request)
                return made
            body = answer if isinstance(answer, bytes) else json.dumps(answer).encode()
            return web.Response(status=self.status, body=body)
        finally:
            self.now -= 1

    @property
    def looks(self) -> int:
        return sum(request.path == VERSION for request in self.requests)


@asynccontextmanager
async def watched(**options: Any) -> AsyncIterator[tuple[Ollama, ModelSensor]]:
    """A scripted upstream on a real socket, and a sensor that looks when told to."""
    ollama = Ollama()
    server = web.Server(ollama)
    made: dict[str, Any] = {"instance": "me", "interval": NEVER, "interval_down": NEVER}
    async with listening_at(server) as address:
        sensor = ModelSensor(address, **made | options)
        try:
            yield ollama, sensor
        finally:
            await sensor.stop()


@asynccontextmanager
async def listening_at(server: web.Server) -> AsyncIterator[str]:
    listening = await asyncio.get_running_loop().create_server(server, "127.0.0.1", 0)
    try:
        yield f"http://127.0.0.1:{listening.sockets[0].getsockname()[1]}"
    finally:
        listening.close()
        await server.shutdown(0.1)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


async def until(condition: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.001)


# -- what is learnt -------------------------------------------------------------------------


async def test_what_ollama_tells() -> None:
    async with watched(now=lambda: 1_790_000_000.0) as (ollama, sensor):
        assert sensor.health == UpstreamHealth()
        ollama.answers[PS] = {"models": [LOADED]}
        health = await sensor.look()
    assert health is sensor.health
    assert (health.up, health.version, health.error, health.loop) == (True, "0.33.0", None, False)
    assert health.latency is not None
    assert 0 < health.latency < PATIENCE
    assert health.since == iso(1_790_000_000.0)
    assert health.models == [
        ModelInfo(
            name="smollm2:latest",
            size=98362905,
            family="llama",
            parameter_size="134.52M",
            quantization="Q4_1",
            digest="1980a91f",
            capabilities=["completion", "tools"],
            trained_context=8192,
            loaded=True,
            size_loaded=200,
            size_vram=100,
            context_length=4096,
            expires_at="2026-11-23T19:00:00Z",
        )
    ]


async def test_a_loaded_model_that_is_no_longer_on_disk_is_listed() -> None:
    async with watched() as (ollama, sensor):
        ollama.answers[TAGS] = {"models": None}
        ollama.answers[PS] = {"models": [LOADED]}
        (model,) = (await sensor.look()).models
        assert (model.name, model.loaded, model.size, model.size_loaded) == (
            "smollm2:latest",
            True,
            None,
            200,
        )
        ollama.answers[PS] = {"models": []}
        assert (await sensor.look()).models == []


async def test_the_probe_is_marked_and_asks_for_plain_answers() -> None:
    async with watched(instance="abc") as (ollama, sensor):
        await sensor.look()
        assert [request.path for request in ollama.requests] == [VERSION, TAGS, PS]
        for request in ollama.requests:
            assert request.headers[PROBE_HEADER] == "abc"
            assert request.headers["Accept-Encoding"] == "identity"
            assert "Cookie" not in request.headers


async def test_a_path_in_the_upstreams_url_is_kept() -> None:
    async with watched() as (ollama, sensor):
        sensor._upstream += "/base"
        ollama.answers["/base" + VERSION] = {"version": "1"}
        ollama.answers["/base" + TAGS] = ollama.answers["/base" + PS] = {"models": []}
        assert (await sensor.look()).version == "1"


# -- down and up ----------------------------------------------------------------------------


async def test_down_then_up_is_noticed_once_each(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    port, times = free_port(), iter([1.0, 2.0, 3.0])
    sensor = ModelSensor(
        f"http://127.0.0.1:{port}",
        instance="me",
        now=lambda: next(times),
    )
    down = await sensor.look()
    assert (down.up, down.since, down.latency) == (False, iso(1.0), None)
    assert down.error == "Connection refused"
    assert (await sensor.look()).since == iso(1.0)
    ollama = Ollama()
    listening = await asyncio.get_running_loop().create_server(
        web.Server(ollama), "127.0.0.1", port
    )
    up = await sensor.look()
    assert (up.up, up.since, up.error) == (True, iso(2.0), None)
    assert (await sensor.look()).since == iso(2.0)
    listening.close()
    gone = await sensor.look()
    assert (gone.up, gone.since, gone.version) == (False, iso(3.0), "0.33.0")
    ours = [record for record in caplog.records if record.name == models_module.__name__]
    assert [(record.levelname, record.getMessage()) for record in ours] == [
        ("WARNING", f"Ollama at 127.0.0.1:{port} is down: Connection refused"),
        ("INFO", f"Ollama at 127.0.0.1:{port} is up, version 0.33.0"),
        ("WARNING", f"Ollama at 127.0.0.1:{port} is down: Connection refused"),
    ]
    await sensor.stop()


async def test_models_are_remembered_while_down_but_not_as_loaded() -> None:
    async with watched() as (ollama, sensor):
        ollama.answers[PS] = {"models": [LOADED]}
        await sensor.look()
        ollama.status = 503
        health = await sensor.look()
    assert (health.up, health.error) == (False, "/api/version is answered with 503")
    (model,) = health.models
    assert (model.name, model.size, model.loaded) == ("smollm2:latest", 98362905, False)
    assert (model.size_vram, model.expires_at) == (None, None)


async def test_a_508_is_a_loop() -> None:
    async with watched() as (ollama, sensor):
        ollama.status = 508
        health = await sensor.look()
        assert (health.up, health.loop) == (False, True)
        assert health.error == "the upstream leads back to this proxy"
        ollama.status = 500
        assert not (await sensor.look()).loop
        ollama.status = 200
        assert (await sensor.look()).up


# -- hostile and odd answers ----------------------------------------------------------------


@pytest.mark.parametrize(
    "entry",
    [
        None,
        5,
        [],
        {},
        {"name": 5},
        {"name": ""},
        {"name": "x" * 601},
        {"name": "a\nb"},
        {"name": "a\u202eb"},
    ],
)
async def test_a_model_without_a_proper_name_is_left_out(entry: Any) -> None:
    async with watched() as (ollama, sensor):
        ollama.answers[TAGS] = {"models": [entry, SMOL]}
        ollama.answers[PS] = {"models": [entry]}
        health = await sensor.look()
    assert [model.name for model in health.models] == ["smollm2:latest"]
    assert health.error is None


@pytest.mark.parametrize("odd", ["text", "", -1, 2**63, 1.5, True, None, [], {}])
async def test_fields_of_the_wrong_kind_are_unknown(odd: Any) -> None:
    async with watched() as (ollama, sensor):
        ollama.answers[TAGS] = {"models": [{"name": "m", "size": odd, "details": odd}]}
        ollama.answers[PS] = {
            "models": [
                {
                    "name": "m",
                    "size": odd,
                    "size_vram": odd,
                    "context_length": odd,
                    "expires_at": odd if odd != "text" else 5,
                }
            ]
        }
        health = await sensor.look()
    assert health.models == [ModelInfo(name="m", loaded=True)]


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        (b"<html>", "the answer to /api/version is not JSON"),
        (b'{"version": "\xff"}', "the answer to /api/version is not JSON"),
        (b'{"version":' * 100_000, "the answer to /api/version is not JSON"),
        (b"[]", "it does not tell a version"),
        (b'{"version": 5}', "it does not tell a version"),
        (b'{"version": "%b"}' % (b"x" * 2000), "it does not tell a version"),
    ],
)
async def test_an_odd_version_is_up_and_said_to_be_odd(answer: bytes, error: str) -> None:
    async with watched() as (ollama, sensor):
        ollama.answers[VERSION] = answer
        health = await sensor.look()
    assert (health.up, health.version, health.error) == (True, None, error)
    assert len(health.models) == 1


@pytest.mark.parametrize("status", [302, 404])
async def test_another_server_is_up_but_not_followed(status: int) -> None:
    async with watched() as (ollama, sensor):

        async def elsewhere(request: web.BaseRequest) -> web.Response:
            return web.Response(status=status, headers={"Location": TAGS})

        ollama.answers[VERSION] = elsewhere
        health = await sensor.look()
        assert [request.path for request in ollama.requests] == [VERSION, TAGS, PS]
    assert (health.up, health.error) == (True, f"/api/version is answered with {status}")


async def squeezed(request: web.BaseRequest) -> web.Response:
    """Compressed, though nobody asked for it: it might unfold to gigabytes."""
    body = gzip.compress(b'{"models": []}')
    return web.Response(body=body, headers={"Content-Encoding": "gzip"})


@pytest.mark.parametrize(
    ("path", "answer", "error"),
    [
        (TAGS, b"no", "the answer to /api/tags is not JSON"),
        (PS, {"models": "many"}, "the answer to /api/ps lists no models"),
        (TAGS, b"[" + b" " * 5000, "the answer to /api/tags is too large"),
        (TAGS, squeezed, "the answer to /api/tags is not JSON"),
    ],
)
async def test_the_models_known_stay_when_the_list_is_odd(
    path: str, answer: Any, error: str
) -> None:
    async with watched(max_bytes=4000) as (ollama, sensor):
        known = (await sensor.look()).models
        ollama.answers[path] = answer
        health = await sensor.look()
    assert (health.up, health.error) == (True, error)
    assert health.models == known


async def test_a_list_without_end_is_cut() -> None:
    async with watched() as (ollama, sensor):
        ollama.answers[TAGS] = {"models": [{"name": f"m{number}"} for number in range(6000)]}
        assert len((await sensor.look()).models) == models_module.MAX_MODELS


async def test_an_answer_that_never_ends_is_not_kept() -> None:
    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" " * 65536)

    async with watched(max_bytes=1 << 20) as (ollama, sensor):
        ollama.answers[VERSION] = endless
        health = await sensor.look()
    assert health.error == "the answer to /api/version is too large"


async def test_silence_is_down_after_the_time_limit() -> None:
    async def silent(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.Event().wait()
        raise AssertionError

    async with watched(timeout=0.05) as (ollama, sensor):
        ollama.answers[VERSION] = silent
        health = await sensor.look()
    assert (health.up, health.error) == (False, "no answer in time")


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 ", b"SSH-2.0-OpenSSH\r\n", b"HTTP/1.1 200 OK\r\nX: " + b"y" * 99999]
)
async def test_what_is_no_http_is_down(answer: bytes) -> None:
    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(answer)
        writer.close()

    server = await asyncio.start_server(talk, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    sensor = ModelSensor(f"http://127.0.0.1:{port}", instance="me")
    health = await sensor.look()
    assert health.up is False
    assert health.error
    assert "\n" not in health.error
    assert len(health.error) <= 200
    await sensor.stop()
    server.close()


async def test_an_unknown_host_is_down() -> None:
    sensor = ModelSensor("http://nowhere.invalid", instance="me")
    health = await sensor.look()
    assert (health.up, health.error) == (False, "the host is not known")
    await sensor.stop()


@pytest.mark.parametrize("upstream", ["http://127.0.0.1:99999", "nonsense", "http://[::1"])
async def test_an_impossible_address_is_down(upstream: str) -> None:
    sensor = ModelSensor(upstream, instance="me")
    assert (await sensor.look()).up is False
    await sensor.stop()


async def test_an_error_of_its_own_is_told_as_down(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models_module, "_merged", None)
    async with watched() as (_, sensor):
        health = await sensor.look()
    assert (health.up, health.error) == (False, "looking failed: TypeError")


async def test_proxies_of_the_environment_are_ignored(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{free_port()}")
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{free_port()}")
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    async with watched() as (_, sensor):
        assert (await sensor.look()).up


# -- when it looks --------------------------------------------------------------------------


async def test_it_looks_from_start_to_stop() -> None:
    async with watched(interval=0.001) as (ollama, sensor):
        sensor.start()
        sensor.start()
        await until(lambda: ollama.looks >= 3)
        await sensor.stop()
        await sensor.stop()
        looks = ollama.looks
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert ollama.looks == looks
        assert ollama.most_at_once == 1
        assert not [task for task in asyncio.all_tasks() if task.get_name() == "model-sensor"]


async def test_it_looks_sooner_while_down() -> None:
    async with watched(interval=NEVER, interval_down=0.001) as (ollama, sensor):
        ollama.status = 503
        sensor.start()
        await until(lambda: ollama.looks >= 3)
        ollama.status = 200
        await until(lambda: sensor.health.up is True)
        looks = ollama.looks
        for _ in range(20):
            await asyncio.sleep(0.001)
        assert ollama.looks == looks


def test_pauses_while_down_double_up_to_the_usual_one() -> None:
    assert [pause_down(failed, 2.0, 10.0) for failed in range(5)] == [2.0, 4.0, 8.0, 10.0, 10.0]
    assert pause_down(10**9, 2.0, 10.0) == 10.0


async def test_a_look_is_put_off_while_ollama_is_busy_but_not_for_ever() -> None:
    order: list[str] = []

    def busy() -> bool:
        order.append("busy")
        return True

    def looked(*_: UpstreamHealth) -> None:
        order.append("look")

    async with watched(interval=0.001, busy=busy, on_look=looked) as (_, sensor):
        sensor.start()
        await until(lambda: order.count("look") >= 3)
    waited = "".join("L" if one == "look" else "b" for one in order)
    assert waited.startswith(f"L{'b' * PUT_OFF}L{'b' * PUT_OFF}L")


async def test_a_look_that_is_put_off_is_taken_when_poked() -> None:
    asked: list[int] = []

    def busy() -> bool:
        asked.append(ollama.looks)
        sensor.poke()
        return True

    async with watched(interval=0.001, busy=busy) as (ollama, sensor):
        sensor.start()
        await until(lambda: ollama.looks >= 4)
    assert asked[:3] == [1, 2, 3]


async def test_an_ollama_that_is_down_is_not_waited_for_as_busy() -> None:
    async with watched(interval=NEVER, interval_down=0.001, busy=lambda: True) as (ollama, sensor):
        ollama.status = 503
        sensor.start()
        await until(lambda: ollama.looks >= 3)


async def test_poked_it_looks_soon_but_not_for_each_poke(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(models_module, "SHORTEST_PAUSE", 0.02)
    async with watched() as (ollama, sensor):
        sensor.start()
        await until(lambda: sensor.health.up is True)
        pokes = 0
        while ollama.looks < 3:
            sensor.poke()
            pokes += 1
            await asyncio.sleep(0)
        assert pokes > 10


async def test_two_looks_at_once_are_one_after_the_other() -> None:
    async def slow(request: web.BaseRequest) -> web.Response:
        for _ in range(100):
            await asyncio.sleep(0)
        return web.Response(body=b'{"version": "1"}')

    async with watched() as (ollama, sensor):
        ollama.answers[VERSION] = slow
        await asyncio.gather(*(sensor.look() for _ in range(5)))
        assert ollama.most_at_once == 1
        assert ollama.looks == 5


async def test_a_stop_in_the_middle_of_a_look_is_clean() -> None:
    reached = asyncio.Event()

    async def silent(request: web.BaseRequest) -> web.StreamResponse:
        reached.set()
        await asyncio.Event().wait()
        raise AssertionError

    async with watched() as (ollama, sensor):
        ollama.answers[VERSION] = silent
        sensor.start()
        async with asyncio.timeout(PATIENCE):
            await reached.wait()
            session, before = sensor._session, asyncio.all_tasks()
            await sensor.stop()
        assert [task.done() for task in before if task.get_name() == "model-sensor"] == [True]
        assert session is not None
        assert session.closed
    assert sensor.health == UpstreamHealth()


async def test_no_connection_is_left_open() -> None:
    """L7."""
    async with watched() as (ollama, sensor):
        for _ in range(5):
            await sensor.look()
        transports = [request.transport for request in ollama.requests]
        await until(lambda: all(t is None or t.is_closing() for t in transports))


async def test_https_where_http_is_spoken_is_told_as_that() -> None:
    async with listening_at(web.Server(Ollama())) as address:
        sensor = ModelSensor(address.replace("http://", "https://"), instance="me")
        health = await sensor.look()
        await sensor.stop()
    assert health.error == "it does not speak TLS as expected; is it http rather than https?"


async def test_one_that_says_nothing_is_told_as_that() -> None:
    async def close_at_once(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.close()

    async with await asyncio.start_server(close_at_once, "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        sensor = ModelSensor(f"http://127.0.0.1:{port}", instance="me")
        health = await sensor.look()
        await sensor.stop()
    assert health.error == "it closed the connection without an answer"


SIZES = {"base": 5_000_000, "variant": 5_000_033, "far": 9_000_000}
FILES = {"base": "1" * 64, "variant": "1" * 64, "far": "2" * 64}


def shares(ollama: Ollama, shown: Callable[[str], Any]) -> None:
    """Its models are those of `SIZES`; what `/api/show` says of them."""
    ollama.answers[TAGS] = {
        "models": [
            {**SMOL, "name": f"{name}:latest", "digest": name, "size": size}
            for name, size in SIZES.items()
        ]
    }
    ollama.answers[PS] = {"models": [{**LOADED, "name": "base:latest", "digest": "base"}]}

    async def show(request: web.BaseRequest) -> web.StreamResponse:
        asked = json.loads(await request.read())
        return web.json_response(shown(asked["model"].partition(":")[0]))

    ollama.answers["/api/show"] = show


async def learnt(sensor: ModelSensor) -> UpstreamHealth:
    """A look after it was asked which models share their file; that takes none of the first."""
    await sensor.look()
    await sensor.learn()
    return await sensor.look()


async def test_models_of_one_file_are_in_memory_together() -> None:
    def shown(name: str) -> Any:
        return {"modelfile": f"# FROM x\nFROM /models/blobs/sha256-{FILES[name]}\nPARAMETER a 1\n"}

    async with watched() as (ollama, sensor):
        shares(ollama, shown)
        health = await learnt(sensor)
        assert {one.name: one.runner for one in health.models} == {
            "base:latest": "1" * 64,
            "variant:latest": "1" * 64,
            "far:latest": "far",  # none is as large: it was not asked for
        }
        assert sensor.loaded.holds("variant:latest") and not sensor.loaded.holds("far:latest")
        await learnt(sensor)
        shows = [one for one in ollama.requests if one.path == "/api/show"]
        assert len(shows) == 2  # once for each
        assert all(PROBE_HEADER in one.headers for one in shows)


@pytest.mark.parametrize("told", [{}, [], {"modelfile": 7}, {"modelfile": "FROM llama3.2"}])
async def test_a_model_whose_file_is_not_told_counts_for_itself(told: Any) -> None:
    async with watched() as (ollama, sensor):
        shares(ollama, lambda name: told)
        health = await learnt(sensor)
        assert [one.runner for one in health.models] == ["base", "variant", "far"]
        await learnt(sensor)
        assert [request.path for request in ollama.requests].count("/api/show") == 2


async def test_few_are_asked_for_at_once() -> None:
    """Ollama reads a file's head for each."""
    async with watched() as (ollama, sensor):
        shares(ollama, lambda name: {})
        ollama.answers[TAGS] = {
            "models": [
                {**SMOL, "name": f"m{number}", "digest": str(number), "size": 100 + number}
                for number in range(2 * AT_ONCE)
            ]
        }
        for looks in (1, 2, 3):
            await learnt(sensor)
            asked = [request.path for request in ollama.requests].count("/api/show")
            assert asked == min(looks, 2) * AT_ONCE


@pytest.mark.parametrize(("status", "asked"), [(404, 2), (500, 2)])
async def test_only_an_error_of_ollamas_own_is_asked_again(status: int, asked: int) -> None:
    """Two models to ask for; a 500 ends it, and is asked anew the next time."""
    async with watched() as (ollama, sensor):

        async def refused(request: web.BaseRequest) -> web.StreamResponse:
            return web.Response(status=status, body=b"{}")

        shares(ollama, lambda name: {})
        ollama.answers["/api/show"] = refused
        await learnt(sensor)
        await learnt(sensor)
        assert [request.path for request in ollama.requests].count("/api/show") == asked
