"""What is told of an answer while it still comes, from outside: by the mode, and no secret."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest

from ollama_proxy.observers.text import TOLD
from tests.harness import Connection, between, chunk, head_bytes

WORDS = "word " * 200
KEY = "sk-canary-5f1e-0123456789abcdef"


async def told(folder: Path, *pieces: str, **settings: str) -> str | None:
    """What the call says of its answer when these pieces have come, and more are to come."""
    asked = asyncio.Event()

    async def script(upstream: Connection) -> None:
        await upstream.read_message()
        lines = [("Content-Type", "application/x-ndjson"), ("Transfer-Encoding", "chunked")]
        await upstream.send(head_bytes("HTTP/1.1 200 OK", lines))
        for piece in pieces:
            line = {"model": "m", "response": piece, "done": False}
            await upstream.send(chunk(json.dumps(line).encode() + b"\n"))
        await asked.wait()

    body = json.dumps({"model": "m", "prompt": "Hi"}).encode()
    async with between(script, folder, **settings) as proxy:
        client = await proxy.client()
        head = [("Host", "localhost"), ("Content-Length", str(len(body)))]
        await client.send(head_bytes("POST /api/generate HTTP/1.1", head) + body)
        await client.read_head()
        passed = b""
        while json.dumps(pieces[-1]).encode() not in passed:
            passed += await client.reader.read(65536)
        (running,) = await proxy.get("active")
        call = await proxy.get(f"requests/{running['id']}")
        asked.set()
        await client.close()
    assert call["state"] == "running"
    response: str | None = call["response"]
    return response


@pytest.mark.parametrize(
    ("mode", "text"),
    [("none", None), ("hash", None), ("truncate", WORDS[:200]), ("full", WORDS[:-256])],
)
async def test_as_much_as_the_mode_keeps(mode: str, text: str | None, tmp_path: Path) -> None:
    assert await told(tmp_path, WORDS[:500], WORDS[500:], privacy_mode=mode) == text


async def test_a_key_of_which_half_has_come_is_not_told(tmp_path: Path) -> None:
    said = await told(tmp_path, WORDS, KEY[:12], "\u00e8", privacy_mode="full")
    assert said is not None
    assert WORDS.startswith(said)
    said = await told(tmp_path / "whole", WORDS, KEY, WORDS, privacy_mode="full")
    assert said is not None
    assert "[redacted]" in said
    assert "canary" not in said


async def test_without_a_redaction_all_that_has_come(tmp_path: Path) -> None:
    off = {f"privacy_redact_{kind}": "false" for kind in ("keys", "mails", "cards")}
    assert await told(tmp_path, "so ", "far", privacy_mode="full", **off) == "so far"


async def test_of_a_long_answer_its_beginning(tmp_path: Path) -> None:
    """To look through a megabyte each second would hold up all other calls."""
    pieces = ["".join(f"{n} " for n in range(start, start + 2000)) for start in (0, 2000, 4000)]
    said = await told(tmp_path, *pieces, privacy_mode="full")
    assert said is not None and "".join(pieces).startswith(said)
    assert TOLD - 1000 < len(said) <= TOLD
