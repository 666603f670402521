"""S7: keys, and prompts past the privacy mode, are neither in the database nor in any answer."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.harness import Connection, between, head_bytes

CANARY = "sk-canary-5f1e"
SECRET_END = "the-end-of-the-prompt-77"


def everything_in(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())


@pytest.mark.parametrize(
    ("target", "path"),
    [
        ("/x?key=" + CANARY, "/x"),
        ("/x#key=" + CANARY, "/x"),
        ("/x;key=" + CANARY, "/x"),
        ("/x%3Fkey=" + CANARY, "/x"),
        ("http://user:" + CANARY + "@localhost/api/tags", "/api/tags"),
    ],
)
async def test_no_key_in_a_target_is_kept(target: str, path: str, tmp_path: Path) -> None:
    async def script(upstream: Connection) -> None:
        assert CANARY.encode() in await upstream.read_head()
        await upstream.send(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        await client.send(head_bytes(f"GET {target} HTTP/1.1", [("Host", "localhost")]))
        await client.read_message()
        (call,) = await proxy.calls(1)
    assert call["path"] == path
    assert CANARY.encode() not in everything_in(tmp_path)


KEY = "sk-canary-5f1e-0123456789abcdef"


@pytest.mark.parametrize(
    ("method", "path", "body"),
    [
        ("GET", f"/api/{KEY}", ""),
        ("POST", "/api/chat", json.dumps({"model": KEY, "messages": []})),
        ("POST", "/api/show", json.dumps({"model": KEY})),
        ("POST", "/v1/chat/completions", json.dumps({"model": KEY, "messages": []})),
        ("POST", "/v1/messages", json.dumps({"model": KEY, "messages": []})),
        ("POST", "/api/embed", json.dumps({"model": KEY, "input": "a"})),
    ],
)
async def test_a_key_in_the_place_of_a_name_is_not_kept(
    method: str, path: str, body: str, tmp_path: Path
) -> None:
    answer = b'{"error": "model \'%b\' not found"}' % KEY.encode()

    async def script(upstream: Connection) -> None:
        head, sent = await upstream.read_message()
        assert KEY.encode() in head + sent
        await upstream.send(
            b"HTTP/1.1 404 Not Found\r\nContent-Type: application/json\r\n"
            b"Content-Length: %d\r\n\r\n%b" % (len(answer), answer)
        )

    async with between(script, tmp_path) as proxy:
        client = await proxy.client()
        head = [("Host", "localhost"), ("Content-Length", str(len(body)))]
        await client.send(head_bytes(f"{method} {path} HTTP/1.1", head) + body.encode())
        await client.read_message()
        (call,) = await proxy.calls(1)
        told = json.dumps([call, await proxy.get("models"), await proxy.get("stats")])
    assert "[redacted]" in (call["path"] if method == "GET" else call["model"])
    assert KEY not in told
    assert KEY.encode() not in everything_in(tmp_path)


@pytest.mark.parametrize("mode", ["none", "truncate", "hash", "full"])
async def test_no_key_and_no_text_past_the_mode_is_kept(mode: str, tmp_path: Path) -> None:
    prompt = "beginning " + "x" * 400 + SECRET_END
    body = json.dumps({"model": "m", "prompt": prompt, "stream": False}).encode()
    answer = json.dumps(
        {"model": "m", "response": prompt, "done": True, "eval_count": 1, "prompt_eval_count": 1}
    ).encode()

    async def script(upstream: Connection) -> None:
        while True:
            await upstream.read_message()
            await upstream.send(
                b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\n"
                b"Set-Cookie: s=" + CANARY.encode() + b"\r\n"
                b"Content-Length: %d\r\n\r\n" % len(answer) + answer
            )

    headers = [
        ("Host", "localhost"),
        ("Authorization", f"Bearer {CANARY}"),
        ("Cookie", f"a={CANARY}"),
        ("x-api-key", CANARY),
        ("Content-Length", str(len(body))),
    ]
    async with between(script, tmp_path, privacy_mode=mode) as proxy:
        client = await proxy.client()
        await client.send(head_bytes(f"POST /api/generate?key={CANARY} HTTP/1.1", headers) + body)
        await client.read_message()
        (call,) = await proxy.calls(1)
        told = json.dumps([await proxy.get(path) for path in ("requests", "stats", "models")])
    kept = {
        "none": None,
        "truncate": prompt[:200],
        "full": prompt,
    }
    if mode in kept:
        assert (call["prompt"], call["response"]) == (kept[mode], kept[mode])
    else:
        assert call["prompt"].startswith("sha256:")
    stored = everything_in(tmp_path)
    assert CANARY not in told
    assert CANARY.encode() not in stored
    assert (SECRET_END in told) is (mode == "full")
    assert (SECRET_END.encode() in stored) is (mode == "full")


@pytest.mark.parametrize("mode", ["none", "hash"])
@pytest.mark.parametrize("path", ["/api/generate", "/api/chat", "/v1/chat/completions"])
async def test_no_error_tells_the_prompt_where_no_text_is_kept(
    path: str, mode: str, tmp_path: Path
) -> None:
    """An upstream may quote what it refuses, whole or in part, in a 400 or within a stream."""
    messages = [{"role": "user", "content": SECRET_END}]
    body = json.dumps({"model": "m", "prompt": SECRET_END, "messages": messages}).encode()
    error = json.dumps({"error": f"invalid prompt: {SECRET_END}"}).encode() + b"\n"
    missing = json.dumps({"error": "model 'm' not found"}).encode()
    answers = [("400 Bad Request", error), ("200 OK", error), ("404 Not Found", missing)]

    async def script(upstream: Connection) -> None:
        for status, answer in answers:
            await upstream.read_message()
            await upstream.send(
                f"HTTP/1.1 {status}\r\nContent-Type: application/json\r\n".encode()
                + b"Content-Length: %d\r\n\r\n" % len(answer)
                + answer
            )

    headers = [("Host", "localhost"), ("Content-Length", str(len(body)))]
    async with between(script, tmp_path, privacy_mode=mode) as proxy:
        client = await proxy.client()
        for _ in answers:
            await client.send(head_bytes(f"POST {path} HTTP/1.1", headers) + body)
            await client.read_message()
        calls = await proxy.calls(len(answers))
        told = json.dumps([await proxy.get(path) for path in ("requests", "stats", "models")])
    assert SECRET_END not in told
    assert SECRET_END.encode() not in everything_in(tmp_path)
    assert [call["error"] for call in calls if call["status_code"] == 404] == [
        "model 'm' not found"
    ]
    assert all(call["error"] for call in calls if call["status_code"] == 400)
