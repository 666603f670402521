"""T12: nothing is ever edited unless `inject_usage` is on; then a stream's usage is asked for where
the client did not, and taken out again, so that the client gets the same bytes as before."""

from __future__ import annotations

import asyncio
import gzip
import json
from pathlib import Path
from typing import Any

import pytest

from ollama_proxy.simulator import Simulator, SimulatorOptions
from tests.harness import (
    PATIENCE,
    Connection,
    Proxy,
    between,
    chunk,
    recorded_request,
    recorded_response,
    recording,
    running_proxy,
)

ON = {"inject_usage": "true"}
HOST = b"Host: 127.0.0.1:11434\r\n"
MEMBER = b'"stream_options":{"include_usage":true},'
CHAT = b"/v1/chat/completions"
BODY = b'{"model":"m","messages":[],"stream":true}'
ASKED = b"{" + MEMBER + BODY[1:]
STREAM = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
SAID = b'data: {"choices":[{"index":0,"delta":{"content":"w"},"finish_reason":null}]}\n\n'
STOP = b'data: {"choices":[{"index":0,"delta":{},"finish_reason":"stop"}]}\n\n'
USAGE = b'data: {"choices":[],"usage":{"prompt_tokens":7,"completion_tokens":1}}\n\n'
DONE = b"data: [DONE]\n\n"
LAST = b"0\r\n\r\n"
WITH = STREAM + chunk(SAID) + chunk(STOP + USAGE + DONE) + LAST
WITHOUT = STREAM + chunk(SAID) + chunk(STOP + DONE) + LAST


def post(body: bytes, path: bytes = CHAT, headers: bytes = b"") -> bytes:
    head = b"POST %b HTTP/1.1\r\n" % path + HOST + headers
    return head + b"Content-Length: %d\r\nX-Last: 1\r\n\r\n" % len(body) + body


class Upstream:
    """Answers each request alike and keeps what came."""

    def __init__(self, answer: bytes, size: int = 1 << 20) -> None:
        self._answer, self._size = answer, size
        self.came: list[bytes] = []

    async def __call__(self, upstream: Connection) -> None:
        while True:
            head, body = await upstream.read_message()
            self.came.append(head + body)
            await upstream.send_in_pieces(self._answer, self._size)


async def got(proxy: Proxy, sent: bytes, size: int) -> bytes:
    client = await proxy.client()
    await client.send(sent)
    answer = await client.read(size)
    await client.close()
    return answer


# -- off ------------------------------------------------------------------------------------


async def test_nothing_is_edited_unless_it_is_asked_for(tmp_path: Path) -> None:
    upstream = Upstream(WITH)
    async with between(upstream, tmp_path) as proxy:
        assert await got(proxy, post(BODY), len(WITH)) == WITH
        (call,) = await proxy.calls(1)
    assert upstream.came == [post(BODY)]
    assert call["output_tokens"] == 1


# -- on -------------------------------------------------------------------------------------


def asked_for(exchange: dict[str, Any]) -> bytes:
    """A recorded request with the member that the proxy puts in."""
    body: str = exchange["request"]["body"]
    headers = [
        [name, str(len(body) + len(MEMBER)) if name == "Content-Length" else value]
        for name, value in exchange["request"]["headers"]
    ]
    request = exchange["request"] | {"body": "{" + MEMBER.decode() + body[1:], "headers": headers}
    return recorded_request(exchange | {"request": request})


@pytest.mark.parametrize("size", [1, 7, 1 << 20], ids=["1", "7", "whole"])
async def test_a_chat_is_the_recording_of_one_that_did_not_ask(size: int, tmp_path: Path) -> None:
    plain, usage = recording("v1_chat_stream_no_usage"), recording("v1_chat_stream_usage")
    expected = recorded_response(plain)
    upstream = Upstream(same_call(usage, "chatcmpl-923", "chatcmpl-63"), size)
    async with between(upstream, tmp_path, **ON) as proxy:
        assert await got(proxy, recorded_request(plain), len(expected)) == expected
        (call,) = await proxy.calls(1)
    assert upstream.came == [asked_for(plain)]
    assert (call["state"], call["done_reason"]) == ("completed", "stop")
    assert (call["input_tokens"], call["output_tokens"]) == (11, 3)
    assert call["request_bytes"] == len(plain["request"]["body"])
    assert call["streamed"] is True


def same_call(exchange: dict[str, Any], id: str, other: str) -> bytes:
    """A recorded answer under another id."""
    chunks = [[at, text.replace(id, other)] for at, text in exchange["response"]["chunks"]]
    return recorded_response(exchange | {"response": exchange["response"] | {"chunks": chunks}})


@pytest.mark.parametrize("size", [1, 7, 1 << 20], ids=["1", "7", "whole"])
async def test_a_completion_loses_the_zeros_too(size: int, tmp_path: Path) -> None:
    """Asked for usage, Ollama ends each chunk of a completion with zeros."""
    exchange = recording("v1_completions_stream")
    zeros = ',"usage":{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}'
    chunks = [[at, text.replace(zeros, "")] for at, text in exchange["response"]["chunks"]]
    *_, (_, last) = chunks
    stop, extra, done, _ = last.split("\n\n")
    assert '"choices":[]' in extra
    chunks[-1][1] = f"{stop}\n\n{done}\n\n"
    expected = recorded_response(exchange | {"response": exchange["response"] | {"chunks": chunks}})
    upstream = Upstream(recorded_response(exchange), size)
    body = b'{"model":"m","prompt":"x","stream":true}'
    async with between(upstream, tmp_path, **ON) as proxy:
        sent = post(body, b"/v1/completions")
        assert await got(proxy, sent, len(expected)) == expected
        (call,) = await proxy.calls(1)
    assert upstream.came == [post(b"{" + MEMBER + body[1:], b"/v1/completions")]
    assert (call["input_tokens"], call["output_tokens"]) == (11, 12)


@pytest.mark.parametrize("size", [1, 7, 1 << 20], ids=["1", "7", "whole"])
async def test_a_request_may_come_in_pieces_and_more_behind_it(size: int, tmp_path: Path) -> None:
    """Calls behind it, edited or not, are as ever; so are a chunked upload and other options."""
    upstream = Upstream(WITH)
    options = BODY[:-1] + b',"stream_options":{"x":1}}'
    asked = BODY[:-1] + b',"stream_options":{"include_usage":true,"x":1}}'
    pieces = b"POST %b?a=b HTTP/1.1\r\n" % CHAT + HOST + b"transfer-encoding: chunked\r\n\r\n"
    requests = [
        (post(BODY), post(ASKED), WITHOUT),
        (post(BODY, b"/app/bot" + CHAT), post(ASKED), WITHOUT),
        (post(BODY, b"/other"), post(BODY, b"/other"), WITH),
        (post(options), post(asked), WITHOUT),
        (pieces + chunk(BODY[:9]) + chunk(BODY[9:]) + LAST, pieces + chunk(ASKED) + LAST, WITHOUT),
        (post(BODY), post(ASKED), WITHOUT),
    ]
    async with between(upstream, tmp_path, **ON) as proxy:
        client = await proxy.client()
        await client.send_in_pieces(b"".join(sent for sent, _, _ in requests), size)
        for _, _, answer in requests:
            assert await client.read(len(answer)) == answer
        await client.close()
        calls = await proxy.calls(len(requests))
    assert upstream.came == [came for _, came, _ in requests]
    assert len(calls) == len(requests)
    assert {call["state"] for call in calls} == {"completed"}


@pytest.mark.parametrize(
    "sent",
    [
        post(b'{"stream":true,"stream_options":{"include_usage":true}}'),
        post(b'{"stream":true,"stream_options":{"include_usage":false}}'),
        post(b'{"stream":true,"stream_options":null}'),
        post(b'{"stream":true,"stream_options":[]}'),
        post(b'{"stream":true,"stream":true}'),
        post(b'{"stream":true,"Stream":false}'),
        post(b'{"stream":false}'),
        post(b'{"messages":[]}'),
        post(b'{"stream":true'),
        post(b'{"stream":true,"a":"\xff"}'),
        post(b'{"stream":true,"a":"%b"}' % (b"x" * 256 * 1024)),
        post(gzip.compress(BODY, mtime=0), headers=b"Content-Encoding: gzip\r\n"),
        post(BODY, headers=b"Content-Encoding: identity\r\n"),
        post(BODY, b"/api/chat"),
        post(BODY, b"/v1/messages"),
        post(BODY, CHAT + b"/"),
        post(BODY, b"/V1/chat/completions"),
        post(BODY, b"http://localhost" + CHAT),
        b"PUT" + post(BODY)[4:],
        post(b""),
        post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        + chunk(BODY)
        + b"0\r\nTrailer: 1\r\n\r\n",
        post(b"").replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        + chunk(b'{"stream":true,"a":"')
        + chunk(b"x" * 300_000)
        + chunk(b'"}')
        + LAST,
    ],
    ids=lambda sent: repr(sent[:60] + sent[-20:]),
)
async def test_what_is_not_clear_is_passed_on_untouched(sent: bytes, tmp_path: Path) -> None:
    """And so is its answer, whatever it looks like."""
    arrived = asyncio.get_running_loop().create_future()

    async def script(upstream: Connection) -> None:
        head = await upstream.read_head()
        arrived.set_result(head + await upstream.read(len(sent) - len(head)))
        await upstream.send(WITH)

    async with between(script, tmp_path, **ON) as proxy:
        assert await got(proxy, sent, len(WITH)) == WITH
    assert arrived.result() == sent


async def test_a_client_that_waits_for_100_is_not_kept_waiting(tmp_path: Path) -> None:
    async def script(upstream: Connection) -> None:
        await upstream.read_head()
        await upstream.send(b"HTTP/1.1 100 Continue\r\n\r\n")
        assert await upstream.read(len(BODY)) == BODY
        await upstream.send(WITH)

    async with between(script, tmp_path, **ON) as proxy:
        client = await proxy.client()
        await client.send(post(BODY, headers=b"Expect: 100-continue\r\n")[: -len(BODY)])
        assert (await client.read_head()).startswith(b"HTTP/1.1 100 ")
        await client.send(BODY)
        assert await client.read(len(WITH)) == WITH


@pytest.mark.parametrize(
    "answer",
    [
        WITH.replace(b"200 OK", b"201 OK"),
        WITH.replace(b"text/event-stream", b"application/json"),
        WITH.replace(b"\r\n\r\n", b"\r\nContent-Encoding: gzip\r\n\r\n", 1),
        b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nContent-Length: %d\r\n\r\n%b"
        % (len(USAGE + DONE), USAGE + DONE),
        b"HTTP/1.1 400 Bad Request\r\nContent-Length: 14\r\n\r\n" + b'{"error":"no"}',
        STREAM + chunk(SAID) + chunk(b'data: {"error":{"message":"died","usage":{}}}\n\n') + LAST,
        STREAM + chunk(SAID) + chunk(b'{"error":"died"}\n') + LAST,
        STREAM + chunk(SAID) + LAST,
        STREAM + chunk(SAID) + chunk(SAID[:20]) + LAST,
        STREAM + b"%X;a=b\r\n%b\r\n00\r\nTrailer: 1\r\n\r\n" % (len(SAID), SAID),
        STREAM + chunk(SAID.replace(b"\n", b"\r\n") + USAGE) + LAST,
        STREAM + LAST,
    ],
    ids=lambda answer: repr(answer[9:20] + answer[-40:]),
)
@pytest.mark.parametrize("size", [1, 1 << 20], ids=["1", "whole"])
async def test_answers_without_it_are_the_same_bytes(
    answer: bytes, size: int, tmp_path: Path
) -> None:
    upstream = Upstream(answer, size)
    async with between(upstream, tmp_path, **ON) as proxy:
        client = await proxy.client()
        for _ in range(2):  # twice: the connection must be in step after the first
            await client.send(post(BODY))
            assert await client.read(len(answer)) == answer
        await client.close()
    assert upstream.came == [post(ASKED)] * 2


@pytest.mark.parametrize("cut", [0, 1, 5, 30, len(chunk(SAID)) - 1, len(chunk(SAID))])
async def test_a_break_is_the_same_break(cut: int, tmp_path: Path) -> None:
    """All that had come is passed on, and no end is made up."""
    broken = STREAM + chunk(SAID) + chunk(SAID)[:cut]

    async def script(upstream: Connection) -> None:
        await upstream.read_message()
        await upstream.send(broken)

    async with between(script, tmp_path, **ON) as proxy:
        client = await proxy.client()
        await client.send(post(BODY))
        assert await client.read_to_end() == broken
        (call,) = await proxy.calls(1)
    assert (call["state"], call["reason"]) == ("failed", "upstream_aborted")
    assert (call["output_tokens"], call["output_tokens_estimated"]) == (None, call["output_chunks"])


async def test_each_event_arrives_before_the_next_is_made(tmp_path: Path) -> None:
    seen: asyncio.Queue[int] = asyncio.Queue()

    async def script(upstream: Connection) -> None:
        await upstream.read_message()
        await upstream.send(STREAM)
        for _ in range(20):
            await upstream.send(chunk(SAID))
            await asyncio.wait_for(seen.get(), PATIENCE)
        await upstream.send(chunk(STOP + USAGE + DONE) + LAST)

    async with between(script, tmp_path, **ON) as proxy:
        client = await proxy.client()
        await client.send(post(BODY))
        assert await client.read(len(STREAM)) == STREAM
        for number in range(20):
            assert await client.read(len(chunk(SAID))) == chunk(SAID)
            seen.put_nowait(number)
        rest = chunk(STOP + DONE) + LAST
        assert await client.read(len(rest)) == rest


@pytest.mark.parametrize("when", ["upload", "midway"])
async def test_the_upstream_is_closed_when_the_client_leaves(when: str, tmp_path: Path) -> None:
    ready, closed = asyncio.Event(), asyncio.Event()

    async def script(upstream: Connection) -> None:
        await upstream.read_message()
        await upstream.send(STREAM + chunk(SAID) * 3 + chunk(SAID)[:9])
        ready.set()
        await upstream.closed()
        closed.set()

    async with between(script, tmp_path, **ON) as proxy:
        client = await proxy.client()
        if when == "midway":
            await client.send(post(BODY))
            await asyncio.wait_for(ready.wait(), PATIENCE)
            await client.read(len(STREAM + chunk(SAID) * 3))
            await client.close()
            await asyncio.wait_for(closed.wait(), PATIENCE)
        else:
            await client.send(post(BODY)[:-4])
            async with asyncio.timeout(PATIENCE):
                while not await proxy.get("active"):
                    await asyncio.sleep(0.005)
            await client.close()
        (call,) = await proxy.calls(1)
        assert proxy.app.running == 0
    assert (call["state"], call["reason"]) == ("cancelled", "client_disconnected")
    assert call["request_bytes"] == len(BODY) - (4 if when == "upload" else 0)
    assert call["output_chunks"] == (None if when == "upload" else 3)
    assert ("upload" if when == "upload" else "on its way") in call["error"]


async def test_an_upload_that_stops_is_answered_504(tmp_path: Path) -> None:
    """Though nothing was sent on yet, the limit between its pieces holds."""
    async with between(Upstream(WITH), tmp_path, timeouts_upload="0.2", **ON) as proxy:
        client = await proxy.client()
        await client.send(post(BODY)[:-4])
        assert (await client.read_head()).startswith(b"HTTP/1.1 504 ")
        (call,) = await proxy.calls(1)
    assert (call["state"], call["reason"]) == ("timeout", "upload_timeout")


async def test_a_client_that_does_not_read_stops_the_upstream(tmp_path: Path) -> None:
    stuck = asyncio.Event()
    sent = 0

    async def script(upstream: Connection) -> None:
        nonlocal sent
        await upstream.read_message()
        await upstream.send(STREAM)
        upstream.writer.transport.set_write_buffer_limits(0)
        block = chunk(SAID) * 10_000
        while True:
            upstream.writer.write(block)
            sent += len(block)
            try:
                async with asyncio.timeout(0.5):
                    await upstream.writer.drain()
            except TimeoutError:
                stuck.set()
                await upstream.closed()
                return

    async with between(script, tmp_path, **ON) as proxy:
        client = await proxy.client()
        await client.send(post(BODY))
        await client.read_head()
        await asyncio.wait_for(stuck.wait(), PATIENCE)
        assert sent < 64 << 20
        client.reset()


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions"])
async def test_in_front_of_the_simulator(path: str, tmp_path: Path) -> None:
    """The same call without the proxy's edits, with them, and one that asks for itself."""
    options = SimulatorOptions(
        models=("m",), tokens_per_second=0, prefill_tokens_per_second=0, load_seconds=0
    )
    simulator = Simulator(options)
    url = await simulator.start()
    body: dict[str, Any] = {"model": "m", "stream": True, "seed": 1, "max_tokens": 20}
    body |= {"prompt": "x"} if path == "/v1/completions" else {"messages": [USER]}
    asks = body | {"stream_options": {"include_usage": True}}
    try:
        async with running_proxy(url, tmp_path, **ON) as proxy:
            edited, asked = await said(proxy, path, body), await said(proxy, path, asks)
            calls = await proxy.calls(2)
        async with running_proxy(url, tmp_path) as proxy:
            plain = await said(proxy, path, body)
    finally:
        await simulator.stop()
    assert edited == plain
    assert len(asked) == len(plain) + 1
    assert "usage" not in str(edited)
    assert calls[0]["output_tokens"] == calls[1]["output_tokens"] == 20


USER = {"role": "user", "content": "x"}


async def said(proxy: Proxy, path: str, body: dict[str, Any]) -> list[Any]:
    """A stream's chunks, less what differs from call to call."""
    client = await proxy.client()
    await client.send(post(json.dumps(body).encode(), path.encode()))
    _, wire = await client.read_message()
    await client.close()
    found = []
    for line in wire.splitlines():
        if line.startswith(b"data: {"):
            found.append({**json.loads(line[6:]), "id": None, "created": None})
    return found


async def test_a_captured_call_is_the_clients_own(tmp_path: Path) -> None:
    """Made again, its request brings no usage, so there is none in its answer."""
    settings = {"privacy_mode": "full"} | {
        f"privacy_redact_{kind}": "false" for kind in ("keys", "mails", "cards")
    }
    body = BODY.replace(b"[]", b'[{"role":"user","content":"x"}]')
    async with between(Upstream(WITH), tmp_path, **settings, **ON) as proxy:
        assert await got(proxy, post(body), len(WITHOUT)) == WITHOUT
        (call,) = await proxy.calls(1)
        kept = await proxy.get(f"requests/{call['id']}/replay?as=recording")
    assert kept["request"]["body"] == body.decode()
    assert "".join(text for _, text in kept["response"]["chunks"]).encode() == SAID + STOP + DONE
    assert call["output_tokens"] == 1
