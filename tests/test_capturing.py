"""What passes of a call becomes a fixture, from outside: all of it, or nothing where it may not."""

from __future__ import annotations

import asyncio
import gzip
import json
import shutil
import sys
from pathlib import Path
from typing import Any

import pytest

from ollama_proxy.observers.capturing import ROOM
from ollama_proxy.storage.folder import DATABASE
from ollama_proxy.storage.sqlite import SqliteStore
from tests.harness import (
    PATIENCE,
    Connection,
    Proxy,
    Script,
    between,
    chunk,
    head_bytes,
    recorded_request,
    recorded_response,
    recording,
)

CANARY = "sk-canary-5f1e"
NDJSON = ("Content-Type", "application/x-ndjson")
JSON = ("Content-Type", "application/json")
CHUNKED = ("Transfer-Encoding", "chunked")
END = b"0\r\n\r\n"
LIMIT = 256 * 1024
UNSEARCHED = {f"privacy_redact_{kind}": "false" for kind in ("keys", "mails", "cards")}


def chat(content: str = "Hi", **more: Any) -> bytes:
    return json.dumps(
        {"model": "m", "messages": [{"role": "user", "content": content}]} | more
    ).encode()


def line(content: str = "", done: bool = False) -> bytes:
    message = {"role": "assistant", "content": content}
    return json.dumps({"model": "m", "message": message, "done": done}).encode() + b"\n"


def request(body: bytes, path: str = "/api/chat", *more: tuple[str, str]) -> bytes:
    headers = [("Host", "localhost"), JSON, *more, ("Content-Length", str(len(body)))]
    return head_bytes(f"POST {path} HTTP/1.1", headers) + body


def answering(*pieces: bytes, framing: tuple[str, str] = CHUNKED) -> Script:
    """An upstream that sends these pieces of a body, each by itself, and closes."""

    async def script(upstream: Connection) -> None:
        await upstream.read_message()
        await upstream.send(head_bytes("HTTP/1.1 200 OK", [NDJSON, framing]))
        for piece in pieces:
            await upstream.send(chunk(piece) if framing == CHUNKED and piece != END else piece)
            await asyncio.sleep(0)

    return script


async def replay(proxy: Proxy, form: str) -> tuple[int, str]:
    """The status and text of the newest call's replay."""
    id = (await proxy.calls(1))[0]["id"]
    client = await proxy.client()
    target = f"/admin/api/requests/{id}/replay?as={form}"
    await client.send(head_bytes(f"GET {target} HTTP/1.1", [("Host", f"127.0.0.1:{proxy.port}")]))
    head, body = await client.read_message()
    await client.close()
    return int(head[9:12]), body.decode()


async def captured(
    script: Script, sent: bytes, folder: Path, form: str = "recording", **settings: str
) -> tuple[int, Any]:
    """Make one call and ask for its replay; a recording comes decoded."""
    async with between(script, folder, **{"privacy_mode": "full"} | settings) as proxy:
        client = await proxy.client()
        await client.send(sent)
        await client.closed() if b"\r\nConnection: close" in sent else await client.read_message()
        status, text = await replay(proxy, form)
    return status, text if form != "recording" and status == 200 else json.loads(text)


def stored(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.iterdir() if path.is_file())


async def test_a_call_is_captured_as_it_passed(tmp_path: Path) -> None:
    recorded = recording("chat_stream")
    parts = recorded["response"]["chunks"]

    async def script(upstream: Connection) -> None:
        await upstream.read_message()
        await upstream.send(recorded_response(recorded))

    status, got = await captured(script, recorded_request(recorded), tmp_path)
    assert status == 200
    assert got["request"] == recorded["request"]
    times = [at for at, _ in got["response"]["chunks"]]
    assert times == sorted(times) and times[0] >= 0
    assert [text for _, text in got["response"].pop("chunks")] == [text for _, text in parts]
    recorded["response"].pop("chunks")
    assert got["response"] == recorded["response"]


async def test_headers_that_nobody_knows_and_queries_are_not_kept(tmp_path: Path) -> None:
    async def script(upstream: Connection) -> None:
        await upstream.read_message()
        headers = [JSON, ("Set-Cookie", CANARY), ("X-Session", CANARY), ("Content-Length", "2")]
        await upstream.send(head_bytes(f"HTTP/1.1 200 {CANARY}\x01", headers) + b"{}")

    secret = [(name, CANARY) for name in ("Authorization", "Cookie", "x-api-key", "X-My-Token")]
    long = ("Accept", "x" * 600)
    sent = request(chat(), f"/api/chat?key={CANARY}", *secret, long)
    status, got = await captured(script, sent, tmp_path)
    assert status == 200
    assert got["request"]["target"] == "/api/chat"
    assert [name for name, _ in got["request"]["headers"]] == [
        "Host",
        "Content-Type",
        "Content-Length",
    ]
    assert CANARY.encode() not in stored(tmp_path)


@pytest.mark.parametrize("mode", ["none", "truncate", "hash"])
async def test_only_the_mode_full_captures(mode: str, tmp_path: Path) -> None:
    script = answering(line("a"), line(done=True), END)
    status, told = await captured(script, request(chat()), tmp_path, privacy_mode=mode)
    assert (status, "only the privacy mode full" in told["error"]) == (404, True)


async def test_a_call_that_runs_no_model_is_not_captured(tmp_path: Path) -> None:
    sent = request(b'{"model": "m"}', "/api/show")
    status, _ = await captured(answering(b"{}", END), sent, tmp_path)
    assert status == 404


@pytest.mark.parametrize(
    "body",
    [
        chat()[:-1] + b', "images": ["aGk="]}',
        json.dumps({"model": "m", "messages": [{"role": "user", "images": ["aGk="]}]}).encode(),
        b'{"model": "m", "messages": [{"role": "user", "images": ["aGk=',
        chat()[:-1] + b', "IMAGES": ["aGk="]}',  # Go does not care about case
        chat()[:-1] + rb', "\u0069mages": ["aGk="]}',
        chat()[:-1] + b', "images": "aGk="}',
        json.dumps({"messages": [{"content": [{"Type": "image_url", "u": "aGk="}]}]}).encode(),
    ],
)
async def test_no_image_is_captured(body: bytes, tmp_path: Path) -> None:
    script = answering(line(done=True), END)
    status, _ = await captured(script, request(body), tmp_path, **UNSEARCHED)
    assert status == 404
    assert b"aGk=" not in stored(tmp_path)


async def test_a_compressed_request_might_hold_an_image(tmp_path: Path) -> None:
    sent = request(gzip.compress(chat()), "/api/chat", ("Content-Encoding", "gzip"))
    script = answering(line(done=True), END)
    status, _ = await captured(script, sent, tmp_path, **UNSEARCHED)
    assert status == 404


# -- redaction ------------------------------------------------------------------------------

SECRET = "geheim-4711"
SPREAD = [line(part) for part in ("say ge", "he", "im-47", "11!")]
IN_TIME = [line("ok"), line(done=True), END]


@pytest.mark.parametrize(
    ("body", "answer"),
    [
        (chat(SECRET), IN_TIME),
        (chat(f"x{SECRET}x").replace(b"geheim", rb"g\u0065heim"), IN_TIME),
        (chat(), [*SPREAD, line(done=True), END]),
        (chat(), [line(SECRET).replace(b"-", rb"\u002d"), line(done=True), END]),
        (chat(), [line("a"), b"no json " + b"\n", line(done=True), END]),
        (chat()[:-1], IN_TIME),
        (chat("x" * LIMIT), IN_TIME),
    ],
)
async def test_a_call_in_which_a_pattern_matches_is_not_captured(
    body: bytes, answer: list[bytes], tmp_path: Path
) -> None:
    redact = json.dumps(["geheim-[0-9]+"])
    status, _ = await captured(answering(*answer), request(body), tmp_path, privacy_redact=redact)
    assert status == 404
    kept = stored(tmp_path)
    assert b"eheim" not in kept and b"im-47" not in kept


async def test_another_call_is_captured_where_there_are_patterns(tmp_path: Path) -> None:
    redact = json.dumps(["geheim-[0-9]+"])
    script = answering(*IN_TIME)
    status, _ = await captured(script, request(chat()), tmp_path, privacy_redact=redact)
    assert status == 200


# -- bounds and breaks ----------------------------------------------------------------------


async def test_a_request_that_is_too_long_is_not_kept(tmp_path: Path) -> None:
    sent = request(chat("x" * LIMIT))
    status, told = await captured(answering(*IN_TIME), sent, tmp_path)
    assert (status, "at most 256 KiB" in told["error"]) == (404, True)
    status, told = await captured(answering(*IN_TIME), sent, tmp_path / "other", **UNSEARCHED)
    assert (status, "the request is longer" in told["error"]) == (409, True)


@pytest.mark.parametrize("pieces", [[b"x" * (1 << 20), b"x"], [b"x"] * 10_001])
async def test_of_an_answer_that_is_too_long_only_the_request_is_kept(
    pieces: list[bytes], tmp_path: Path
) -> None:
    async with between(answering(*pieces, END), tmp_path, privacy_mode="full") as proxy:
        client = await proxy.client()
        await client.send(request(chat()))
        _, body = await client.read_message()
        assert (await replay(proxy, "recording"))[0] == 409
        status, curl = await replay(proxy, "curl")
    assert body.count(b"x") == sum(map(len, pieces))
    assert (status, '"content": "Hi"' in curl) == (200, True)


async def test_an_answer_that_breaks_off_is_recorded_as_broken_off(tmp_path: Path) -> None:
    settings = UNSEARCHED | {"privacy_mode": "full"}
    async with between(answering(line("a")), tmp_path, **settings) as proxy:
        client = await proxy.client()
        await client.send(request(chat()))
        await client.closed()
        status, text = await replay(proxy, "recording")
    response = json.loads(text)["response"]
    assert (status, response["complete"]) == (200, False)
    assert [text for _, text in response["chunks"]] == [line("a").decode()]


async def test_of_an_answer_that_might_have_become_a_match_only_the_request_is_kept(
    tmp_path: Path,
) -> None:
    async with between(answering(line("sk-abcdefgh")), tmp_path, privacy_mode="full") as proxy:
        client = await proxy.client()
        await client.send(request(chat()))
        await client.closed()
        status, told = await replay(proxy, "recording")
        assert (status, "broke off" in told) == (409, True)
        status, curl = await replay(proxy, "curl")
        id = (await proxy.calls(1))[0]["id"]
    assert (status, '"content": "Hi"' in curl) == (200, True)
    store = SqliteStore(tmp_path / DATABASE)
    store.open()
    kept = store.capture(id)
    store.close()
    assert kept is not None and kept.pieces == []


async def test_an_answer_that_ends_by_closing(tmp_path: Path) -> None:
    script = answering(line("a"), line(done=True), framing=("X-Framing", "none"))
    async with between(script, tmp_path, privacy_mode="full") as proxy:
        client = await proxy.client()
        await client.send(request(chat()))
        await client.read_to_end()
        _, text = await replay(proxy, "recording")
    response = json.loads(text)["response"]
    assert (response["framing"], response["complete"]) == ("close", True)
    assert response["headers"] == [list(NDJSON)]


async def test_without_an_answer_the_call_can_be_made_again_all_the_same(tmp_path: Path) -> None:
    async def script(upstream: Connection) -> None:
        await upstream.read_message()

    status, curl = await captured(script, request(chat()), tmp_path, "curl")
    assert (status, '"content": "Hi"' in curl) == (200, True)


async def test_half_an_upload_is_no_request(tmp_path: Path) -> None:
    async def script(upstream: Connection) -> None:
        await upstream.read_head()
        await upstream.send(head_bytes("HTTP/1.1 413 Large", [("Content-Length", "0")]))

    async with between(script, tmp_path, **UNSEARCHED, privacy_mode="full") as proxy:
        client = await proxy.client()
        await client.send(request(chat())[:-5])
        await client.read_message()
        status, _ = await replay(proxy, "curl")
    assert status == 409


async def test_there_is_room_again_however_a_call_ended(tmp_path: Path) -> None:
    async def script(upstream: Connection) -> None:
        _, body = await upstream.read_message()
        if b"silent" in body:
            await upstream.closed()
        await upstream.send(head_bytes("HTTP/1.1 200 OK", [NDJSON, CHUNKED]) + chunk(line("a")))
        if b"stuck" in body:
            await upstream.closed()
        elif b"break" not in body:
            await upstream.send(chunk(line(done=True)) + END)

    image = chat()[:-1] + b', "images": ["aGk="]}'
    async with between(script, tmp_path, privacy_mode="full") as proxy:
        for body in (chat("whole"), image, chat("x" * LIMIT)):
            client = await proxy.client()
            await client.send(request(body))
            await client.read_message()
        client = await proxy.client()
        await client.send(request(chat("break")))
        await client.closed()
        for body, sent in ((chat("stuck"), None), (chat("silent"), None), (chat("half"), -5)):
            client = await proxy.client()
            await client.send(request(body)[:sent])
            if b"stuck" in body:
                await client.read_until(line("a"))
            async with asyncio.timeout(PATIENCE):
                while len(await proxy.get("active")) != 1:
                    await asyncio.sleep(0)
            client.reset()
            await proxy.calls(1, "cancelled")
        assert len(await proxy.calls(7)) == 7
        assert proxy.app.core.captures.reserve(ROOM)


async def test_a_capture_is_found_after_a_restart(tmp_path: Path) -> None:
    async with between(answering(*IN_TIME), tmp_path, privacy_mode="full") as proxy:
        client = await proxy.client()
        await client.send(request(chat()))
        await client.read_message()
        _, before = await replay(proxy, "recording")
    async with between(answering(), tmp_path) as proxy:
        assert await replay(proxy, "recording") == (200, before)


# -- the forms really run -------------------------------------------------------------------


@pytest.mark.parametrize("form", ["python", "curl"])
async def test_what_is_told_makes_the_call_again(form: str, tmp_path: Path) -> None:
    """The program runs as it is told, against the proxy; Ollama gets the same body again."""
    if form == "curl" and not shutil.which("curl"):
        pytest.skip("no curl here")
    bodies: list[bytes] = []

    async def script(upstream: Connection) -> None:
        while True:
            bodies.append((await upstream.read_message())[1])
            await upstream.send(head_bytes("HTTP/1.1 200 OK", [NDJSON, CHUNKED]))
            await upstream.send(chunk(line("è")) + chunk(line(done=True)) + END)

    body = chat('it\'s "quoted" $HOME `id` \\ è\n\x7f' + "x" * 200)
    command = [sys.executable, "-c"] if form == "python" else ["sh", "-c"]
    async with between(script, tmp_path, privacy_mode="full") as proxy:
        client = await proxy.client()
        await client.send(request(body))
        await client.read_message()
        status, program = await replay(proxy, form)
        assert status == 200
        process = await asyncio.create_subprocess_exec(
            *command, program, stdout=asyncio.subprocess.PIPE
        )
        out, _ = await process.communicate()
        calls = await proxy.calls(2)
    assert (process.returncode, out) == (0, line("è") + line(done=True))
    assert bodies == [body, body]
    assert [call["state"] for call in calls] == ["completed", "completed"]
