"""Which headers a call's record has, from outside: all names, few values, or none at all."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from ollama_proxy.observers.heads import LONGEST_NAME, MOST
from tests.guarantees.test_s7_secrets import everything_in
from tests.harness import Connection, between, head_bytes

KEY = "sk-canary-5f1e-0123456789abcdef"
ANSWER = json.dumps({"model": "m", "response": "Hi", "done": True, "eval_count": 1}).encode()
ASKED = [
    ("Host", "localhost"),
    ("User-Agent", "tool/1.0"),
    ("CONTENT-TYPE", "application/json"),
    ("Authorization", f"Bearer {KEY}"),
    ("x-api-key", KEY),
    ("X-Note", "mine"),
    ("Accept", f"text/html; token={KEY}"),
    (f"X-{KEY}", "1"),
    ("Accept-Language", "<it>"),
]


async def kept(folder: Path, more: list[tuple[str, str]] = ASKED, **settings: str) -> Any:
    async def script(upstream: Connection) -> None:
        await upstream.read_message()
        lines = [("Content-Type", "application/json"), ("Set-Cookie", f"s={KEY}")]
        lines += [("Date", "Sat, 28 Nov 2026 12:00:00 GMT"), ("Content-Length", str(len(ANSWER)))]
        await upstream.send(head_bytes("HTTP/1.1 200 OK", lines) + ANSWER)

    body = json.dumps({"model": "m", "prompt": "Hi", "stream": False}).encode()
    async with between(script, folder, **settings) as proxy:
        client = await proxy.client()
        head = [*more, ("Content-Length", str(len(body)))]
        await client.send(head_bytes("POST /api/generate HTTP/1.1", head) + body)
        await client.read_message()
        (listed,) = await proxy.calls(1)
        call = await proxy.get(f"requests/{listed['id']}")
    assert KEY.encode() not in json.dumps(call).encode() + everything_in(folder)
    return call["headers"]


async def test_each_name_is_told_and_the_values_that_hold_no_key(tmp_path: Path) -> None:
    headers = await kept(tmp_path)
    assert headers["request"] == [
        ["Host", "localhost"],
        ["User-Agent", "tool/1.0"],
        ["CONTENT-TYPE", "application/json"],
        ["Authorization", None],
        ["x-api-key", None],
        ["X-Note", None],
        ["Accept", None],
        ["[redacted]", None],
        ["Accept-Language", None],
        ["Content-Length", "47"],
    ]
    assert headers["response"] == [
        ["Content-Type", "application/json"],
        ["Set-Cookie", None],
        ["Date", "Sat, 28 Nov 2026 12:00:00 GMT"],
        ["Content-Length", str(len(ANSWER))],
    ]


async def test_many_and_long_ones_are_cut(tmp_path: Path) -> None:
    more = [("Host", "localhost"), ("User-Agent", "a" * 9000), ("X-" + "n" * 9000, "1")]
    headers = await kept(tmp_path, more + [(f"X-{n}", "1") for n in range(200)])
    assert len(headers["request"]) == MOST
    assert headers["request"][1:3] == [
        ["User-Agent", None],
        ["X-" + "n" * (LONGEST_NAME - 2), None],
    ]


async def test_what_a_pattern_of_the_user_finds_is_taken_out(tmp_path: Path) -> None:
    headers = await kept(tmp_path, privacy_redact='["tool/[0-9]", "(?i)x-n.te"]')
    assert ["User-Agent", None] in headers["request"]
    assert headers["request"][5] == ["[redacted]", None]


@pytest.mark.parametrize("mode", ["none", "hash"])
async def test_a_mode_that_keeps_no_text_keeps_no_header(mode: str, tmp_path: Path) -> None:
    assert await kept(tmp_path, privacy_mode=mode) is None


async def test_of_calls_that_run_no_model_those_of_a_refusal_are_kept(tmp_path: Path) -> None:
    async def script(upstream: Connection) -> None:
        for status in ("200 OK", "404 Not Found"):
            await upstream.read_message()
            await upstream.send(head_bytes(f"HTTP/1.1 {status}", [("Content-Length", "0")]))

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        for _ in range(2):
            await client.send(head_bytes("GET /api/tags HTTP/1.1", [("Host", "localhost")]))
            await client.read_message()
        refused, passed = await proxy.calls(2)
    assert passed["headers"] is None
    assert refused["headers"] == {
        "request": [["Host", "localhost"]],
        "response": [["Content-Length", "0"]],
    }


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("User-Agent", " " * 195 + "mario.rossi@example.com"),
        ("User-Agent", " " * 197 + "4111111111111111"),
        ("Date", "AKIAIOSFODNN7EXAMPLE"),
        ("Age", "4111111111111111"),
        ("Host", "admin:hunter2@localhost"),
    ],
)
async def test_no_part_of_a_secret_is_kept_wherever_it_stands(
    name: str, value: str, tmp_path: Path
) -> None:
    others = [("Host", "localhost")] if name != "Host" else []
    headers = await kept(tmp_path, [*others, (name, value)])
    assert [name, None] in headers["request"]


async def test_a_long_name_is_looked_through_before_it_is_cut(tmp_path: Path) -> None:
    headers = await kept(tmp_path, [("Host", "localhost"), ("x" * 46 + KEY, "1")])
    assert ["[redacted]", None] in headers["request"]
