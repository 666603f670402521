"""How Ollama's Go server writes: JSON escapes, timestamps, header order, chunked or not.

Not here: what is written. Recorded answers of a real server (tests/wire) are the reference.
"""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import msgspec
from aiohttp import HttpVersion11, hdrs, web

JSON_UTF8 = "application/json; charset=utf-8"  # gin's own
JSON = "application/json"
NDJSON = "application/x-ndjson"
TEXT = "text/plain"
SSE = "text/event-stream"
# net/http holds back this much of a body: when the handler ends within it, its length is known.
_GO_BUFFER = 2048
_ESCAPED = re.compile(rb"[<>&]|\xe2\x80[\xa8\xa9]")
_ESCAPES = {
    b"<": rb"\u003c",
    b">": rb"\u003e",
    b"&": rb"\u0026",
    b"\xe2\x80\xa8": rb"\u2028",
    b"\xe2\x80\xa9": rb"\u2029",
}
_plain = msgspec.json.Encoder()
_sorted = msgspec.json.Encoder(order="sorted")


def encode(value: Any) -> bytes:
    """Compact JSON, keys as given, with the escapes of Go's encoder."""
    return _escape(_plain.encode(value))


def encode_map(value: Any) -> bytes:
    """The same for what is a map in Go: keys in alphabetical order."""
    return _escape(_sorted.encode(value))


def _escape(raw: bytes) -> bytes:
    return _ESCAPED.sub(lambda match: _ESCAPES[match[0]], raw)


def timestamp(ns: int | None = None) -> str:
    """RFC 3339 with nanoseconds, their last zeros dropped; now by default."""
    whole, fraction = divmod(time.time_ns() if ns is None else ns, 1_000_000_000)
    return f"{_to_the_second(whole)}.{fraction:09d}".rstrip("0").rstrip(".") + "Z"


@lru_cache(maxsize=64)
def _to_the_second(whole: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole))


def number(value: float) -> int | float:
    """Go writes 1.0 as 1."""
    return int(value) if value == int(value) else value


def reply(body: bytes, status: int = 200, content_type: str = JSON_UTF8) -> web.Response:
    return web.Response(body=body, status=status, headers={hdrs.CONTENT_TYPE: content_type})


def error(status: int, message: str) -> web.Response:
    return reply(encode({"error": message}), status)


def nothing(status: int, headers: Mapping[str, str] | None = None) -> web.Response:
    return web.Response(status=status, headers=headers)


def text(status: int, message: str, headers: Mapping[str, str] | None = None) -> web.Response:
    headers = dict(headers or {}) | {hdrs.CONTENT_TYPE: TEXT}
    return web.Response(body=message.encode(), status=status, headers=headers)


def frame(request: web.BaseRequest, response: web.StreamResponse) -> web.StreamResponse:
    """Give a long body Go's framing, and a HEAD the length that its GET would have."""
    if response.prepared or not isinstance(response, web.Response):
        return response
    length = len(response.body) if isinstance(response.body, bytes) else 0
    if request.method == "HEAD" and length:
        response.headers[hdrs.CONTENT_LENGTH] = str(length)
    elif length > _GO_BUFFER:
        chunk(request, response)
    return response


def chunk(request: web.BaseRequest, response: web.Response) -> web.Response:
    if request.version >= HttpVersion11:
        response.enable_chunked_encoding()
    return response


async def order_headers(request: web.BaseRequest, response: web.StreamResponse) -> None:
    """As net/http: the handler's own in alphabetical order, then Date, length, connection.

    Run by aiohttp before it sends headers; drops those that only aiohttp would send.
    """
    headers = response.headers
    headers.popall(hdrs.SERVER, None)
    late = (hdrs.DATE, hdrs.CONTENT_LENGTH, hdrs.TRANSFER_ENCODING)
    items = sorted(((k, v) for k, v in headers.items() if k not in late), key=_name)
    items += [(k, headers[k]) for k in late if k in headers]
    if ("Connection", "close") in items:  # set by the server, not by a handler
        items.remove(("Connection", "close"))
        items.insert(len(items) - (hdrs.TRANSFER_ENCODING in headers), ("Connection", "close"))
    headers.clear()
    headers.extend(items)


def _name(item: tuple[str, str]) -> str:
    return str(item[0])
