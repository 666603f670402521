"""Alerts from outside: the whole proxy, an Ollama that comes and goes, a receiver of messages."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from tests.alerts.receivers import hooks, of, settings, until
from tests.harness import Connection, Proxy, ScriptedUpstream, head_bytes, running_proxy


class Ollama:
    """An Ollama that a test changes: `down` breaks off, `answers` are by path."""

    def __init__(self) -> None:
        self.down = False
        self.answers: dict[str, Any] = {
            "/api/version": {"version": "0.33.0"},
            "/api/tags": {"models": []},
            "/api/ps": {"models": []},
        }

    async def __call__(self, connection: Connection) -> None:
        while True:
            path = (await connection.read_message())[0].split()[1].decode()
            if self.down:
                return
            found = self.answers.get(path)
            if found is None:
                await connection.send(b"HTTP/1.1 500 Oh\r\nContent-Length: 0\r\n\r\n")
                continue
            body = json.dumps(found).encode()
            length = [("Content-Length", str(len(body))), ("Content-Type", "application/json")]
            await connection.send(head_bytes("HTTP/1.1 200 OK", length) + body)


async def begin(proxy: Proxy, path: str = "/api/chat", agent: str = "a") -> Connection:
    client = await proxy.client()
    body = json.dumps({"model": "m", "stream": False, "messages": []}).encode()
    lines = [("Host", "localhost"), ("User-Agent", agent), ("Content-Length", str(len(body)))]
    await client.send(head_bytes(f"POST {path} HTTP/1.1", lines) + body)
    return client


async def call(proxy: Proxy, **how: str) -> None:
    client = await begin(proxy, **how)
    await client.read_message()
    await client.close()


async def test_ollama_down_is_told_and_so_is_its_end(tmp_path: Path) -> None:
    ollama = Ollama()
    rules = {"ollama_down": {"for": 0}}
    async with ScriptedUpstream(ollama) as upstream, hooks() as phone:
        told = settings(rules, {"phone": {"kind": "webhook", "url": phone.url}})
        async with running_proxy(upstream.url, tmp_path, **told) as proxy:
            await until(lambda: proxy.app.health.up)
            ollama.down = True
            first = (await phone.until(1))[0]
            (rule,) = [one for one in (await proxy.get("alerts"))["rules"] if one["on"]]
            assert (rule["name"], rule["state"], rule["since"]) == (
                "ollama_down",
                "firing",
                first["at"],
            )
            ollama.down = False
            last = (await phone.until(2))[1]
            flips = await proxy.get("alerts/history")
    assert of([first, last], "rule", "old", "new") == [
        ("ollama_down", "ok", "firing"),
        ("ollama_down", "firing", "ok"),
    ]
    assert first["text"].startswith("Ollama does not answer: ")
    assert (last["title"], last["text"]) == ("Over: ollama_down", "Ollama answers again.")
    assert of(flips, "id", "new") == [(last["id"], "ok"), (first["id"], "firing")]


async def test_a_restart_tells_nothing_twice_and_knows_what_is_over(tmp_path: Path) -> None:
    ollama = Ollama()
    ollama.down = True
    async with ScriptedUpstream(ollama) as upstream, hooks() as phone:
        told = settings({"ollama_down": {"for": 0}}, {"p": {"kind": "webhook", "url": phone.url}})
        async with running_proxy(upstream.url, tmp_path, **told):
            await phone.until(1)
        async with running_proxy(upstream.url, tmp_path, **told) as proxy:
            await until(lambda: proxy.app.health.up is False)
            rule = (await proxy.get("alerts"))["rules"][0]
            assert (rule["state"], rule["subjects"][0]["told"]) == ("firing", True)
            ollama.down = False
            assert of(await phone.until(2), "new") == [("firing",), ("ok",)]
        assert len(phone.bodies) == 2


@pytest.mark.parametrize("rules", [{}, {"ollama_down": {"on": False}}])
async def test_what_fired_is_over_at_a_start_without_its_rule(
    tmp_path: Path, rules: dict[str, Any]
) -> None:
    ollama = Ollama()
    ollama.down = True
    async with ScriptedUpstream(ollama) as upstream, hooks() as phone:
        notifiers = {"p": {"kind": "webhook", "url": phone.url}}
        told = settings({"ollama_down": {"for": 0}}, notifiers)
        async with running_proxy(upstream.url, tmp_path, **told):
            await phone.until(1)
        for _ in range(2):
            async with running_proxy(upstream.url, tmp_path, **settings(rules, notifiers)) as proxy:
                await phone.until(2)
        async with running_proxy(upstream.url, tmp_path, **settings(rules, notifiers)) as proxy:
            flips = await proxy.get("alerts/history")
    assert of(phone.told, "new", "detail")[1:] == [("ok", "the rule was taken away")]
    assert of(flips, "new") == [("ok",), ("firing",)]


async def test_failed_calls_of_one_client(tmp_path: Path) -> None:
    rules = {"mine": {"when": "failed_calls", "above": 2, "client": "back*"}}
    async with ScriptedUpstream(Ollama()) as upstream, hooks() as phone:
        told = settings(rules, {"p": {"kind": "webhook", "url": phone.url}})
        async with running_proxy(upstream.url, tmp_path, **told) as proxy:
            for _ in range(5):
                await call(proxy, agent="other")
            for _ in range(3):
                await call(proxy, agent="backtest.py")
            (message,) = await phone.until(1)
    assert of([message], "rule", "kind", "value", "limit") == [("mine", "failed_calls", 3.0, 2.0)]
    assert message["text"] == "Calls that failed within 5 min: 3; the limit is 2."


async def test_a_model_on_the_cpu_and_one_that_is_missing(tmp_path: Path) -> None:
    ollama = Ollama()
    loaded = {"name": "big:latest", "model": "big:latest", "size": 1000, "size_vram": 250}
    ollama.answers["/api/ps"] = {"models": [loaded]}
    rules = {"model_on_cpu": {}, "gone": {"when": "model_unavailable", "model": "qwen", "for": 0}}
    async with ScriptedUpstream(ollama) as upstream, hooks() as phone:
        told = settings(rules, {"p": {"kind": "webhook", "url": phone.url}})
        async with running_proxy(upstream.url, tmp_path, **told):
            first = await phone.until(2)
            ollama.answers["/api/tags"] = {"models": [{"name": "qwen:latest"}]}
            ollama.answers["/api/ps"] = {"models": []}
            everything = await phone.until(4)
    assert sorted(of(first, "rule", "subject", "value")) == [
        ("gone", "qwen", 1.0),
        ("model_on_cpu", "big:latest", 75.0),
    ]
    assert sorted(of(everything[2:], "rule", "new")) == [("gone", "ok"), ("model_on_cpu", "ok")]


async def test_a_call_that_is_silent_and_one_that_runs_long(tmp_path: Path) -> None:
    ollama = Ollama()

    async def script(connection: Connection) -> None:
        head = await connection.read_head()
        connection.unread_head(head)
        if b"/api/chat" not in head:
            await ollama(connection)
            return
        await connection.read_message()
        await connection.send(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n")
        await connection.send(b"Content-Type: application/x-ndjson\r\n\r\n")
        await connection.closed()

    rules = {
        "call_silent": {"above": 0.2, "client": "a"},
        "call_running": {"above": 0.2, "each": "model"},
    }
    async with ScriptedUpstream(script) as upstream, hooks() as phone:
        told = settings(rules, {"p": {"kind": "webhook", "url": phone.url}})
        async with running_proxy(upstream.url, tmp_path, **told) as proxy:
            client = await begin(proxy)
            found = await phone.until(2)
            await client.close()
            await phone.until(4)
    assert sorted(of(found, "rule", "subject", "detail")) == [
        ("call_running", "m", "a · m"),
        ("call_silent", "", "a · m"),
    ]


async def test_a_notifier_that_hangs_or_fails_delays_nothing_and_is_seen(tmp_path: Path) -> None:
    async with ScriptedUpstream(Ollama()) as upstream, hooks(0, 0, 0) as hung, hooks() as phone:
        gone = {"kind": "webhook", "url": "http://127.0.0.1:9/"}
        notifiers = {
            "hung": {"kind": "webhook", "url": hung.url},
            "gone": gone,
            "phone": {"kind": "webhook", "url": phone.url},
        }
        told = settings({"failed_calls": {"above": 0}}, notifiers)
        async with running_proxy(upstream.url, tmp_path, **told) as proxy:
            await call(proxy)
            assert of(await phone.until(1), "rule") == [("failed_calls",)]
            await until(lambda: hung.bodies)
            await call(proxy)  # passes while one hangs
            how = {one["name"]: one for one in (await proxy.get("alerts"))["notifiers"]}
    assert (how["phone"]["sent"], how["hung"]["waiting"], how["gone"]["waiting"]) == (1, 1, 1)
    assert how["gone"]["last_error"] == "its address does not answer: Connection refused"


async def test_the_disk_of_the_database(tmp_path: Path) -> None:
    rules = {"disk_full": {"above": 0}}  # no disk is as empty as that
    async with ScriptedUpstream(Ollama()) as upstream, hooks() as phone:
        told = settings(rules, {"p": {"kind": "webhook", "url": phone.url}})
        async with running_proxy(upstream.url, tmp_path, **told):
            (message,) = await phone.until(1)
    usage = shutil.disk_usage(tmp_path)
    percent = usage.used / (usage.used + usage.free) * 100
    assert abs(message["value"] - percent) < 5
    assert "The disk with the database is " in message["text"]


async def test_a_silence_outlasts_a_restart(tmp_path: Path) -> None:
    ollama = Ollama()
    async with ScriptedUpstream(ollama) as upstream, hooks() as phone:
        rules = {"ollama_down": {"for": 0}, "model_on_cpu": {}}
        told = settings(rules, {"p": {"kind": "webhook", "url": phone.url}})
        async with running_proxy(upstream.url, tmp_path, **told) as proxy:
            client = await proxy.client()
            path = "/admin/api/alerts/ollama_down/silence?seconds=600"
            lines = [("Host", "localhost"), ("Content-Length", "0")]
            await client.send(head_bytes(f"POST {path} HTTP/1.1", lines))
            assert (await client.read_head()).startswith(b"HTTP/1.1 200")
            await client.close()
        ollama.down = True
        async with running_proxy(upstream.url, tmp_path, **told) as proxy:
            await until(lambda: proxy.app.health.up is False)
            rules_told = (await proxy.get("alerts"))["rules"]
            while rules_told[0]["state"] != "firing":
                rules_told = (await proxy.get("alerts"))["rules"]
    assert rules_told[0]["silenced_until"] is not None
    assert rules_told[0]["subjects"][0]["told"] is False
    assert phone.bodies == []
