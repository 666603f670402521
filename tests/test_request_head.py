"""A request's head is read as llhttp reads it, or refused; and sent on with nothing but its own."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ollama_proxy.headers import CUT
from ollama_proxy.request_head import Heads, RequestError, RequestHead, broken_beginning
from ollama_proxy.target import Target

HERE = Target(path=b"", authority=b"localhost:11434", pass_host=True, check_host=False)
ELSEWHERE = Target(path=b"/pre", authority=b"gpu:1", pass_host=False, check_host=False)
HOST = b"Host: localhost\r\n"


def read(raw: bytes, target: Target = HERE) -> RequestHead:
    return RequestHead(raw, target, CUT)


def test_what_needs_no_edit_is_sent_on_as_it_came() -> None:
    raw = (
        b"GET /a%2F//b?c=d HTTP/1.1\r\nhost:  localhost \r\nX-A:\tb\t\r\nX-A: \xe9\r\nX-E:\r\n\r\n"
    )
    head = read(raw)
    assert head.upstream == raw
    assert (head.method, head.target, head.path) == ("GET", b"/a%2F//b?c=d", "/a%2F//b")
    assert (head.header(b"host"), head.header(b"x-a"), head.has(b"x-e")) == ("localhost", "b", True)
    assert head.raw_headers == [
        (b"host", b"localhost"),
        (b"X-A", b"b"),
        (b"X-A", b"\xe9"),
        (b"X-E", b""),
    ]


@pytest.mark.parametrize(
    ("asked", "sent"),
    [
        (b"GET /x HTTP/1.1", b"GET /pre/x HTTP/1.1"),
        (b"GET /app/bot/x HTTP/1.0", b"GET /pre/x HTTP/1.0"),
        (b"OPTIONS * HTTP/1.1", b"OPTIONS * HTTP/1.1"),
        (b"GET http://a/x HTTP/1.1", b"GET http://a/x HTTP/1.1"),
    ],
)
def test_the_upstreams_path_and_authority_take_their_places(asked: bytes, sent: bytes) -> None:
    head = read(asked + b"\r\nA: b\r\n" + HOST + b"C: d\r\n\r\n", ELSEWHERE)
    assert head.upstream == sent + b"\r\nA: b\r\nHost: gpu:1\r\nC: d\r\n\r\n"


@pytest.mark.parametrize(
    ("lines", "status"),
    [
        (b"GET / HTTP/2.0", 505),
        (b"GET / HTTP/1.2", 505),
        (b"GET / HTTP/1.1 ", 400),
        (b"GET  / HTTP/1.1", 400),
        (b"GET /a b HTTP/1.1", 400),
        (b"GET / http/1.1", 400),
        (b"GET /\x7f HTTP/1.1", 400),
        (b"G(T / HTTP/1.1", 400),
        (b"GET / HTTP/1.1\r\nX: a\x7fb", 400),
        (b"GET / HTTP/1.1\r\nX: a\nb", 400),
        (b"GET / HTTP/1.1\r\nX : a", 400),
        (b"GET / HTTP/1.1\r\n X: a", 400),
        (b"GET / HTTP/1.1\r\nX", 400),
        (b"GET / HTTP/1.1\r\nHost: a\r\nHost: a", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1\r\nContent-Length: 1", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: 1_0", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: \xb2", 400),
        (b"POST / HTTP/1.1\r\nContent-Length: " + b"9" * 19, 400),
        (b"POST / HTTP/1.1\r\nContent-Length:", 400),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding:", 501),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: gzip", 501),
        (b"POST / HTTP/1.0\r\nTransfer-Encoding: chunked", 501),
        (b"POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nContent-Length: 1", 400),
        (b"GET / HTTP/1.1" + b"\r\nA: b" * 1001, 431),
    ],
)
def test_what_is_not_one_clear_request_is_refused(lines: bytes, status: int) -> None:
    with pytest.raises(RequestError) as refused:
        read(lines + b"\r\n\r\n")
    assert refused.value.status == status


@pytest.mark.parametrize(
    ("beginning", "why"),
    [
        (b"\x16\x03\x01\x02\x00\x01", "https"),
        (b" GET", "https"),
        (b"GET / HTTP/1.1\nHost: a\n", "without CR"),
        (b"GET", None),
        (b"GET / HTTP/1.1\r\nHost: a\r", None),
    ],
)
def test_what_can_never_become_a_head_is_told_at_once(beginning: bytes, why: str | None) -> None:
    told = broken_beginning(beginning, 0)
    assert told is None if why is None else told is not None and why in told
    for size in range(1, len(beginning)):
        earlier = broken_beginning(beginning[:size], 0)
        assert earlier is None or broken_beginning(beginning, size) or told


def test_a_head_that_comes_again_is_read_once() -> None:
    heads = Heads(HERE, CUT)
    usual = b"GET / HTTP/1.1\r\n\r\n"
    assert heads.read(usual) is heads.read(bytes(bytearray(usual)))


@pytest.mark.parametrize(
    "head",
    [
        b"GET /" + b"x" * 2000 + b" HTTP/1.1\r\n\r\n",
        b"GET /?key=secret HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\nAuthorization: Bearer secret\r\n\r\n",
        b"GET / HTTP/1.1\r\ncookie: secret\r\n\r\n",
        b"GET / HTTP/1.1\r\nX-API-Key: secret\r\n\r\n",
    ],
)
def test_a_long_head_or_one_with_a_secret_is_not_kept(head: bytes) -> None:
    heads = Heads(HERE, CUT)
    assert heads.read(head) is not heads.read(head)


def test_no_more_than_some_heads_are_kept() -> None:
    heads = Heads(HERE, CUT)
    for number in range(1000):
        heads.read(b"GET /%d HTTP/1.1\r\n\r\n" % number)
    assert len(heads._kept) <= 64


# -- beside llhttp --------------------------------------------------------------------------

# What aiohttp refuses twice in a head though RFC 9110 leaves it to the recipient; Go takes it.
SINGLE = {
    *(b"content-location", b"content-range", b"content-type", b"etag", b"max-forwards"),
    *(b"server", b"user-agent"),
}
METHODS = (b"GET", b"POST", b"HEAD", b"DELETE", b"OPTIONS")
LINES = st.sampled_from(
    [
        HOST,
        b"Content-Length: 3\r\n",
        b"content-length:0\r\n",
        b"Transfer-Encoding: chunked\r\n",
        b"Transfer-Encoding: gzip, chunked\r\n",
        b"Connection: close\r\n",
        b"Connection: keep-alive, X-A\r\n",
        b"X-A: b\r\n",
        b"X-A:\tb \t\r\n",
        b"Accept: */*\r\n",
        b" folded\r\n",
        b"No-Colon\r\n",
        b"Space : a\r\n",
        b"Upgrade: h2c\r\n",
    ]
)
ODD = st.sampled_from([bytes([value]) for value in b"\r\n\t :;,/?#%\0\x0b\x7f\x80\xe9aZ0-_"])


@st.composite
def heads(draw: st.DrawFn) -> bytes:
    """Requests in good form, then changed in up to three places."""
    method = draw(st.sampled_from(METHODS))
    target = draw(st.sampled_from([b"/", b"/api/chat", b"/a?b=c", b"//a/../b"]))
    version = draw(st.sampled_from([b"1.1", b"1.0"]))
    lines = draw(st.permutations([HOST, *draw(st.lists(LINES, max_size=4))]))
    raw = b"%b %b HTTP/%b\r\n" % (method, target, version) + b"".join(lines)
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(raw)))
        raw = raw[:at] + draw(ODD) + raw[at + draw(st.integers(0, 1)) :]
    return raw + b"\r\n"


@settings(max_examples=2000, deadline=None)
@given(raw=heads())
@example(raw=b"GET / HTTP/1.1\r\n" + HOST + b"Content-Length: 3\r\nX-A: b\r\n\r\n")
@example(raw=b"POST / HTTP/1.1\r\n" + HOST + b"Transfer-Encoding: chunked\r\n\r\n")
def test_what_is_read_llhttp_reads_the_same(raw: bytes) -> None:
    end = raw.find(b"\r\n\r\n") + 4
    if broken_beginning(raw[:end], 0) is not None:
        return
    try:
        head = read(raw[:end])
    except RequestError:
        return
    names = [name.lower() for name, _ in head.raw_headers]
    if (
        head.method.encode() not in METHODS
        or not (head.target.isascii() and head.target.startswith(b"/"))
        or b"host" not in names
        or any(names.count(name) > 1 for name in SINGLE)
    ):
        return  # passes here as in Go: aiohttp is stricter, to no other effect
    loop = asyncio.new_event_loop()
    try:
        parser = HttpRequestParser(BaseProtocol(loop), loop, 2**16, auto_decompress=False)
        messages, _, rest = parser.feed_data(raw[:end])
    except HttpProcessingError as error:
        raise AssertionError(f"llhttp refuses {raw[:end]!r}: {error}") from None
    finally:
        loop.close()
    ((message, _),) = messages
    assert (message.method, message.path.encode("utf-8", "surrogateescape")) == (
        head.method,
        head.target,
    )
    assert [(n, v.strip(b" \t")) for n, v in message.raw_headers] == list(head.raw_headers)
    assert message.chunked is head.chunked
    assert rest == b""
