"""Whether a captured call holds an image, or anything that is to be redacted. Pure.

A secret may be written with JSON's escapes, or be spread over the tokens of a stream. So what is
searched is the bytes as they are, each JSON text as it reads, and the texts that stand at the same
place of an answer's lines or events, joined. Not here: how that is searched (`searching.py`);
taking a match out: a captured call is kept byte for byte or not at all.
"""

from __future__ import annotations

import contextlib
import json
import re
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import Any

from ollama_proxy.observers.events import data_of
from ollama_proxy.observers.searching import holds
from ollama_proxy.observers.secrets import Finder
from ollama_proxy.recording import Headers
from ollama_proxy.replay import Capture

_IMAGES = frozenset({"image", "images"})
_IMAGE_TYPES = frozenset({"image", "image_url", "input_image"})
_BLANK = re.compile(r"\s*")


class _Object(list[tuple[str, Any]]):
    """A JSON object with all its keys: of one that comes twice a dict would hide the first."""


_DECODER = json.JSONDecoder(object_pairs_hook=_Object)


def is_clear(
    capture: Capture,
    finders: Sequence[Finder],
    timer: Callable[[], float] = time.thread_time,
) -> bool:
    """Whether all of it can be read, and nothing is found in it. Never raises."""
    if not finders:
        return True
    try:
        return not holds(set(_texts(capture)), finders, timer)
    except Exception:  # noqa: BLE001 - guard: what cannot be looked through is not kept
        return False


def may_show_image(capture: Capture) -> bool:
    """Whether its request has an image by the words of any dialect, or that cannot be told.

    In any case of letters, as Go reads JSON; so an image may have been sent that was not counted.
    """
    body = capture.body or b""
    try:
        documents = list(_documents(_plain(body, capture.headers)[0]))
    except (ValueError, RecursionError):
        return b"image" in body.lower() or not _is_plain(capture.headers)
    return any(_is_image(key.lower(), value) for key, value in _fields(documents))


def _is_image(key: str, value: Any) -> bool:
    if isinstance(value, str) and (
        (key == "type" and value.lower() in _IMAGE_TYPES) or value[:11].lower() == "data:image/"
    ):
        return True
    # A tool may have a parameter of such a name: that is an object.
    listed = isinstance(value, str | list) and not isinstance(value, _Object)
    return key in _IMAGES and listed and bool(value)


def _fields(values: list[Any]) -> Iterator[tuple[str, Any]]:
    """All keys with their values, wherever they stand; what is in a list has none."""
    waiting = list(values)
    while waiting:
        value = waiting.pop()
        if isinstance(value, _Object):
            yield from value
            waiting += [one for _, one in value]
        elif isinstance(value, list):
            yield from (("", one) for one in value)
            waiting += value


def _texts(capture: Capture) -> Iterator[str]:
    """Raises ValueError, RecursionError or another error where something cannot be read."""
    headers = [*capture.headers, *capture.response_headers]
    yield from (capture.target, capture.reason, *(value for _, value in headers))
    if capture.body is None:
        raise ValueError("the request was not seen whole")
    body, _ = _plain(capture.body, capture.headers)
    documents = list(_documents(body))
    if any(map(_goes_on, documents)):
        raise ValueError("what was said before is in it as numbers")
    yield body
    yield from _joined(documents)
    if capture.status is not None and not capture.cut:
        if not capture.complete:
            raise ValueError("more might have made a match of what there is")
        yield from _answer(capture)


def _answer(capture: Capture) -> Iterator[str]:
    answer = b"".join(data for _, data in capture.pieces)
    text, kind = _plain(answer, capture.response_headers)
    yield text
    if kind == "text/event-stream":
        yield from _joined(_events(answer))
    elif kind != "text/plain":
        yield from _joined(_documents(text))


def _goes_on(document: Any) -> bool:
    """Whether a request carries on an earlier one by its tokens, as /api/generate takes them."""
    return isinstance(document, _Object) and any(
        key.lower() == "context" and isinstance(value, list) and value for key, value in document
    )


def _plain(body: bytes, headers: Headers) -> tuple[str, str]:
    """A body as text, and its media type."""
    if not _is_plain(headers):
        raise ValueError("compressed")
    return body.decode(), _header(headers, "content-type").partition(";")[0].strip()


def _is_plain(headers: Headers) -> bool:
    return _header(headers, "content-encoding") in ("", "identity")


def _header(headers: Headers, name: str) -> str:
    return {name.lower(): value.lower() for name, value in headers}.get(name, "")


def _documents(text: str) -> Iterator[Any]:
    """One JSON document, or lines of them."""
    at = _end_of_blank(text, 0)
    while at < len(text):
        document, end = _DECODER.raw_decode(text, at)
        yield document
        at = _end_of_blank(text, end)


def _end_of_blank(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return found.end() if found else at


def _events(body: bytes) -> Iterator[Any]:
    lines = body.replace(b"\r\n", b"\n").replace(b"\r", b"\n")
    for event in lines.split(b"\n\n"):
        data = data_of(event)
        if data is not None and data.strip() != b"[DONE]":
            yield from _documents(data.decode())


def _joined(documents: Iterable[Any]) -> Iterator[str]:
    """The texts of all documents, joined by their place in them; and the keys."""
    places: dict[tuple[int, Any], int] = {}
    texts: dict[int, list[str]] = {}
    keys: set[str] = set()
    for document in documents:
        waiting: list[tuple[int, Any]] = [(-1, document)]
        while waiting:
            place, value = waiting.pop()
            if isinstance(value, str):
                texts.setdefault(place, []).append(value)
            elif isinstance(value, list):
                inner = value if isinstance(value, _Object) else enumerate(value)
                for key, one in reversed(list(inner)):
                    if isinstance(one, str | list):
                        waiting.append((places.setdefault((place, key), len(places)), one))
                    if isinstance(key, str):
                        keys.add(key)
    yield from keys
    for parts in texts.values():
        yield from _with_inner("".join(parts))


def _with_inner(text: str) -> Iterator[str]:
    """A text, and those in it where it is JSON itself, as a tool call's arguments are."""
    yield text
    if text.lstrip()[:1] in ("{", "["):
        with contextlib.suppress(ValueError):
            yield from _joined(list(_documents(text)))
