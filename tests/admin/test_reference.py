"""The description of the REST answers is what is: its routes, parameters, statuses and fields are
those of the running program, in front of a simulated Ollama that is called in many ways."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate
from openapi_spec_validator.validation.exceptions import OpenAPIValidationError
from yarl import URL

from ollama_proxy.admin.openapi import meanings, meanings_alerts, meanings_besides
from ollama_proxy.admin.openapi.document import document, read
from ollama_proxy.admin.site import VIEWS
from ollama_proxy.app import App
from ollama_proxy.config import load
from ollama_proxy.insights.differences import differences
from ollama_proxy.insights.judging import Judging
from ollama_proxy.records import Flip, Mark, Noted, Occurrence
from ollama_proxy.shares import Resources
from ollama_proxy.simulator import Simulator, SimulatorOptions
from tests.admin.support import EventReader, until
from tests.insights.test_judging import LONG, judged
from tests.storage.calls import make_call

FAST = SimulatorOptions(
    models=("m", "other"), tokens_per_second=0, prefill_tokens_per_second=0, load_seconds=0
)
TOLD = document("/")
SCHEMAS = TOLD["components"]["schemas"]
OPERATIONS = {
    (method.upper(), path): operation
    for path, methods in TOLD["paths"].items()
    for method, operation in methods.items()
}
JSON = "application/json"
CHAT = {"model": "m", "messages": [{"role": "user", "content": "hello"}]}
TOOLS = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
CALLS: list[tuple[str, dict[str, Any], dict[str, str]]] = [
    *[("/api/chat", CHAT, {"User-Agent": "chatty"})] * 6,
    ("/api/chat", CHAT | {"stream": False, "tools": TOOLS}, {"X-Deadline-Seconds": "60"}),
    ("/api/generate", {"model": "m", "prompt": "x", "options": {"num_ctx": 512}}, {}),
    ("/api/embed", {"model": "m", "input": "x"}, {}),
    ("/v1/chat/completions", CHAT | {"stream": True}, {}),
    ("/v1/messages", CHAT | {"max_tokens": 9}, {}),
    ("/api/chat", CHAT | {"model": "missing"}, {}),
    ("/api/show", {"model": "m"}, {}),
]


@dataclass
class Running:
    """The program, and a client; `mounts` are the admin's own port and its path on the clients'."""

    app: App
    client: aiohttp.ClientSession
    mounts: tuple[URL, URL]

    async def got(self, path: str, method: str = "GET") -> tuple[int, str, bytes]:
        """Status, content type and body of the admin's answer."""
        url = URL(str(self.mounts[0]) + path)
        async with self.client.request(method, url) as answer:
            return answer.status, answer.content_type, await answer.read()

    async def json(self, path: str) -> Any:
        return json.loads((await self.got(path))[2])

    async def call(self, path: str, body: Any, headers: dict[str, str]) -> None:
        url = self.mounts[1].with_path(path)
        async with self.client.post(url, json=body, headers=headers) as answer:
            await answer.read()


@asynccontextmanager
async def running(folder: Path) -> AsyncIterator[Running]:
    simulator = Simulator(FAST)
    upstream = await simulator.start()
    flags = {"listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0", "upstream": upstream}
    environ = {"OLLAMA_PROXY_PRIVACY_MODE": "full"}
    app = App(load(flags=flags | {"data_dir": str(folder)}, environ=environ))
    await app.start()
    own = URL(f"http://{app.admin_address}")
    try:
        async with aiohttp.ClientSession() as client:
            yield Running(app, client, (own, URL(f"http://127.0.0.1:{app.port}/admin")))
    finally:
        await app.stop()
        await simulator.stop()


@asynccontextmanager
async def used(folder: Path) -> AsyncIterator[Running]:
    """The same, after many calls, all of them stored, and with a change and a finding."""
    async with running(folder) as seen:
        for call in CALLS:
            await seen.call(*call)
        async with asyncio.timeout(10):
            while True:
                calls = await seen.json("/api/requests")
                if sum(one["state"] != "running" for one in calls) == len(CALLS):
                    break
                await asyncio.sleep(0.01)
        await until(lambda: seen.app.health.up)
        store = seen.app.core.store
        store.mark([Mark(id="0" * 26, at=calls[0]["started_at"], kind="version",
                         subject="ollama", old="0.1", new="0.2")])  # fmt: skip
        store.flip([Flip(id="0" * 26, at=calls[0]["started_at"], rule="bypass", kind="bypass",
                         subject="curl", old="ok", new="firing", value=1.0)])  # fmt: skip
        await until(lambda: store.call(calls[0]["id"]) is not None)
        found = Occurrence(kind="waited", other="x", seconds=2.0)
        store.write([], noted=[Noted(calls[0]["id"], "m", calls[0]["client"], [found])])
        yield seen


def strict(schema: Any) -> Any:
    """The schema, but that what it does not name may not be there."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {"additionalProperties": False} if "properties" in schema else {}
    return {name: strict(one) for name, one in schema.items()} | closed


def holds(value: Any, schema: Any) -> None:
    whole = {**strict(schema), "components": {"schemas": strict(SCHEMAS)}}
    errors = list(Draft202012Validator(whole).iter_errors(value))
    assert not errors, [(list(one.absolute_path), one.message) for one in errors]


def answer_of(method: str, path: str, content: str = JSON) -> Any:
    return OPERATIONS[method, path]["responses"]["200"]["content"][content]["schema"]


def test_it_is_openapi_3_1() -> None:
    validate(TOLD)
    with pytest.raises(OpenAPIValidationError):
        validate(TOLD | {"info": {}})


def test_every_field_and_parameter_has_its_sentence() -> None:
    for name, schema in SCHEMAS.items():
        for field, told in schema.get("properties", {}).items():
            assert told.get("description", "").endswith("."), (name, field)
    for operation in OPERATIONS.values():
        for parameter in operation["parameters"]:
            assert parameter["description"].endswith(".")


def test_no_sentence_is_of_a_field_that_is_none() -> None:
    bases = {"Phase": "RunningCall", "Estimate": "Expected"}
    told = meanings.CALLS | meanings_besides.BESIDES | meanings_alerts.ALERTS
    for name, text in told.items():
        fields = SCHEMAS[bases.get(name, name)]["properties"]
        assert read(text).keys() <= fields.keys(), name


async def test_each_route_is_described_and_each_that_is_described_is_there(tmp_path: Path) -> None:
    async with running(tmp_path) as seen:
        there = {
            (route.method, route.resource.canonical.removeprefix(seen.app.config.admin_path))
            for route in seen.app.doors.admin.router.routes()
            if route.resource is not None and route.method != "HEAD"
        }
    pages = {("GET", "/"), ("GET", "/favicon.svg"), ("GET", "/static/{version}/{file}")}
    views = {("GET", f"/{view}") for view in VIEWS if view}
    assert there - pages - views == OPERATIONS.keys()


async def test_each_parameter_is_described_and_each_that_is_described_is_taken(
    tmp_path: Path,
) -> None:
    """Who asks with one that is not known is told those that are."""
    async with running(tmp_path) as seen:
        for (method, path), operation in OPERATIONS.items():
            status, _, body = await seen.got(
                path.replace("{id}", "x").replace("{name}", "x") + "?nonsense=1", method
            )
            if path == "/healthz":
                assert status == 200
                continue
            assert status == 400, path
            takes = json.loads(body)["error"].partition("; it takes ")[2]
            said = [one["name"] for one in operation["parameters"] if one["in"] == "query"]
            assert takes == (", ".join(said) or "none"), path


async def test_each_answer_is_as_described(tmp_path: Path) -> None:
    """With no field that is not named, and none missing."""
    async with used(tmp_path) as seen:
        ids = {one["path"]: one["id"] for one in await seen.json("/api/requests")}
        finding = (await seen.json("/api/insights"))[0]["id"]
        asked = {
            "/api/differences": "?model=m&since=1h",
            "/api/estimate": "?model=m",
            "/api/requests/{id}/replay": "?as=recording",
        }
        left = set()
        for (method, path), operation in OPERATIONS.items():
            id = finding if "insights" in path else ids["/api/chat"]
            contents = operation["responses"]["200"]["content"]
            if path == "/api/events":
                continue  # never ends: see below
            where = path.replace("{id}", id).replace("{name}", "bypass") + asked.get(path, "")
            status, content, body = await seen.got(where, method)
            if status != 200:
                left.add((path, status))
                holds(json.loads(body), SCHEMAS["Error"])
                assert str(status) in operation["responses"], (path, status)
                continue
            assert content in contents, path
            if content == JSON:
                value = json.loads(body)
                assert value or path == "/api/active", path
                holds(value, answer_of(method, path))
        assert left == {("/api/requests/{id}/cancel", 409)}  # none of these runs any more


async def test_downloads_hold_what_a_call_has(tmp_path: Path) -> None:
    async with used(tmp_path) as seen:
        lines = (await seen.got("/api/requests.jsonl"))[2].splitlines()
        assert len(lines) == len(CALLS)
        for line in lines:
            holds(json.loads(line), SCHEMAS["Call"])
        head = (await seen.got("/api/requests.csv"))[2].decode().splitlines()[0]
        assert head.split(",") == list(SCHEMAS["Call"]["properties"])


async def test_a_call_that_runs_and_its_events_are_as_described(tmp_path: Path) -> None:
    events = OPERATIONS["GET", "/api/events"]["x-events"]
    heard: set[str] = set()
    async with running(tmp_path) as seen, seen.client.get(f"{seen.mounts[0]}/api/events") as stream:
        reader = EventReader(stream)
        slow = {"X-Simulate": "stall-after=3"}
        calling = asyncio.create_task(seen.call("/api/chat", CHAT, slow))
        while heard < events.keys() - {"finished"}:
            event = await reader.next()
            holds(event.data, events[event.kind]["data"])
            heard.add(event.kind)
        active = await seen.json("/api/active")
        assert [one["phase"] for one in active] == ["answering"]
        holds(active, answer_of("GET", "/api/active"))
        holds(await seen.json(f"/api/requests/{active[0]['id']}"), SCHEMAS["OneCall"])
        calling.cancel()
        finished = await reader.until("finished")
        holds(finished.data, events["finished"]["data"])


@pytest.mark.parametrize("path", ["/api/nowhere", "/api/requests/0", "/api/insights/0"])
async def test_what_is_not_there_is_said_in_the_form_of_an_error(path: str, tmp_path: Path) -> None:
    async with running(tmp_path) as seen:
        status, _, body = await seen.got(path)
        assert status == 404
        holds(json.loads(body), SCHEMAS["Error"])


def test_each_kind_of_insight_is_as_described() -> None:
    """Those that simulated calls do not show, made of calls that a model took for longer."""
    judging = Judging()
    took: dict[str, Any] = {"duration": 2.0, "queue": 0.0, "prefill": 0.5, "decode": 1.5}
    told = [judged(judging, **took)[1] for _ in range(10)]
    told.append(judged(judging, **took | {"duration": 9.0, "decode": 8.5})[1])
    for options in ({"num_ctx": 256}, {"num_ctx": 512}):
        asked: dict[str, Any] = {"prompt": "hi", "input_tokens": 30, "output_tokens": 4000}
        told.append(judged(judging, options=options, load=1.0, ended=20.0, **asked)[1])
    for minute in range(2):
        told.append(judged(judging, prompt=f"It is 14:0{minute}. " + LONG)[1])
    for number in range(28):
        tokens = 200 + 40 * number
        text = f"{number} " * tokens
        told.append(
            judged(judging, model="n", prompt=text, input_tokens=tokens, prefill=0.002 * tokens)[1]
        )
    judged(judging, ended=40.0, duration=10.0, prefill=1.0, decode=9.0)
    told.append(judged(judging, ended=43.0, duration=9.0, load=7.0, prefill=1.0, decode=1.0)[1])
    told.append(judged(judging, ended=50.0, state="failed", reason="upstream_unreachable")[1])
    for one in told:
        holds(one, SCHEMAS["Insights"])
    found = {kind for one in told for kind in one}
    besides = {"waste", "deadline"}  # of a request, which simulated calls do make
    assert found | besides == SCHEMAS["Insights"]["properties"].keys()


def test_a_compared_span_and_a_cost_are_as_described() -> None:
    calls = [make_call(input_tokens=10, options={"seed": 1}, duration=9.0) for _ in range(20)]
    usual = [make_call(input_tokens=10) for _ in range(20)]
    found = msgspec.to_builtins(differences(calls, usual))
    assert found["differences"] and found["traits"]
    text: dict[str, list[str]] = {"en": [], "it": []}
    holds({"model": "m", **found, "changes": [], "text": text}, SCHEMAS["Different"])
    known = dict.fromkeys(Resources.__struct_fields__, 1)
    cost = Resources(**known | {"gpu_seconds": None, "estimated": False})  # type: ignore[arg-type]
    holds(msgspec.structs.asdict(cost), SCHEMAS["Resources"])


async def test_both_mounts_describe_themselves(tmp_path: Path) -> None:
    async with running(tmp_path) as seen:
        for mount, server in zip(seen.mounts, ("/", "/admin"), strict=True):
            async with seen.client.get(f"{mount}/api/openapi.json") as answer:
                told = await answer.json()
                tag = answer.headers["ETag"]
            assert told == document(server)
            assert told["servers"] == [{"url": server}]
            kept = {"If-None-Match": tag}
            async with seen.client.get(f"{mount}/api/openapi.json", headers=kept) as answer:
                assert answer.status == 304


async def test_the_page_tells_each_route_parameter_and_field(tmp_path: Path) -> None:
    async with running(tmp_path) as seen:
        for mount in seen.mounts:
            async with seen.client.get(f"{mount}/") as answer:
                link = re.search(r'<a href="(api/)">', await answer.text())
            assert link is not None
            where = f"{mount}/{link[1]}"
            italian = {"Cookie": "ollama_proxy_language=it; ollama_proxy_theme=dark"}
            async with seen.client.get(where, headers=italian) as answer:
                assert answer.status == 200
                html = await answer.text()
            assert '<html lang="it" data-theme="dark">' in html
            assert "<script" not in html
            assert "Parametri" in html
            for (_, path), operation in OPERATIONS.items():
                example = (
                    operation["x-example"]
                    .replace("{id}", "$ID")
                    .replace("{name}", "$NAME")
                    .replace("&", "&amp;")
                )
                assert f"{mount}{example}&#34;" in html or f'{mount}{example}"' in html, path
                assert f'id="{operation["operationId"]}"' in html
                for parameter in operation["parameters"]:
                    assert f"<code>{parameter['name']}</code>" in html
            for name, schema in SCHEMAS.items():
                assert f'id="{name}"' in html
                for field in schema.get("properties", {}):
                    assert f"<code>{field}</code>" in html
            for target in re.findall(r'href="#([^"]+)"', html):
                assert f'id="{target}"' in html
            for file in re.findall(r'href="\.\./(static/[^"]+)"', html):
                async with seen.client.get(f"{mount}/{file}") as answer:
                    assert answer.status == 200


async def test_a_call_is_made_again_in_each_form_that_is_described(tmp_path: Path) -> None:
    path = "/api/requests/{id}/replay"
    answers = OPERATIONS["GET", path]["responses"]["200"]["content"]
    forms = OPERATIONS["GET", path]["parameters"][1]["schema"]["enum"]
    async with used(tmp_path) as seen:
        ids = {one["path"]: one["id"] for one in await seen.json("/api/requests")}
        for form in forms:
            where = f"{path.replace('{id}', ids['/api/chat'])}?as={form}"
            status, content, body = await seen.got(where)
            assert status == 200, body
            if form in ("curl", "python"):
                assert content == "text/plain" and content in answers
            else:
                holds(json.loads(body), answer_of("GET", path))


async def test_no_page_of_another_origin_is_let_in(tmp_path: Path) -> None:
    """CORS stays closed: no preflight is agreed to, and no answer names an origin."""
    elsewhere = {
        "Origin": "http://evil.example",
        "Access-Control-Request-Method": "POST",
        "Access-Control-Request-Headers": "content-type",
        "Access-Control-Request-Private-Network": "true",
    }
    async with running(tmp_path) as seen:
        for mount in seen.mounts:
            own = {"Origin": f"http://127.0.0.1:{mount.port}"}
            for method, path in OPERATIONS:
                url = f"{mount}{path.replace('{id}', 'x').replace('{name}', 'x')}"
                asked = [("OPTIONS", elsewhere, 403), (method, elsewhere, 403), (method, own, 0)]
                for how, headers, status in asked:
                    async with seen.client.request(how, url, headers=headers) as answer:
                        named = [one.lower() for one in answer.headers]
                        assert not [one for one in named if one.startswith("access-control")]
                        assert answer.status == status or not status, url
