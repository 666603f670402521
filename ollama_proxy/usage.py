"""`inject_usage`: asks for a stream's usage where the client did not, and takes it out again.

The only place where traffic is edited; bytes in, bytes out. What Ollama adds to a stream where
`include_usage` is set (middleware/openai.go, v0.33.0-rc2): before `[DONE]` one chunk without
choices that has the figures; on /v1/completions also zeros at the end of each chunk before it. All
other bytes are the same. Not here: which calls are edited (`asking.py`), what usage says
(`observers/`).
"""

from __future__ import annotations

import json
import re
from typing import Any, NoReturn

import msgspec

from ollama_proxy.framing import chunk_size

BODY_LIMIT = 256 * 1024
"""Bytes of a request that are waited for; a longer one is passed on as it comes."""
EVENT_LIMIT = 4096
"""Bytes after which an event that has shown no choices yet is not taken for the one to remove."""
CHUNK_LIMIT = 16 * 1024
"""Bytes of an HTTP chunk that is waited for, as its size must be told before its bytes. Ollama
sends a chunk at once; of a longer one each part that comes is passed on as a chunk by itself."""


# -- the request ----------------------------------------------------------------------------


def asking(body: bytes) -> bytes | None:
    """The body with `include_usage` put in, nothing else changed; None where it stays as it is.

    That is unless all is clear: no more than BODY_LIMIT of JSON that says `"stream": true` once,
    and of `stream_options` an object without it, or nothing. Go takes names in any case
    (encoding/json), so another case is not clear.
    """
    if len(body) > BODY_LIMIT or b'"stream"' not in body:
        return None
    try:
        text = body.decode()
        members = _members(text)
    except (ValueError, RecursionError):
        return None
    known = [one for one in members if one[0].casefold() in ("stream", "stream_options")]
    found = {name: (at, value) for name, at, value in known}
    if len(found) < len(known) or not found.keys() <= {"stream", "stream_options"}:
        return None
    if found.get("stream", (0, None))[1] is not True:
        return None
    if "stream_options" not in found:
        at, member = text.index("{"), '"stream_options":{"include_usage":true},'
    else:
        at, options = found["stream_options"]
        if not isinstance(options, dict) or "include_usage" in map(str.casefold, options):
            return None
        member = '"include_usage":true' + ("," if options else "")
    return (text[: at + 1] + member + text[at + 1 :]).encode()


def _no_json(constant: str) -> NoReturn:
    raise ValueError(constant)


# Numbers stay text: Python refuses to read very long ones.
_DECODER = json.JSONDecoder(parse_int=str, parse_float=str, parse_constant=_no_json)
_BLANK = re.compile(r"[ \t\r\n]*")


def _members(text: str) -> list[tuple[str, int, Any]]:
    """An object's members in their order: name, where the value begins, value.

    Raises ValueError where `text` is anything else, or an empty object.
    """
    members = []
    end = _behind("{", text, 0)
    while True:
        name, end = _DECODER.raw_decode(text, _behind('"', text, end) - 1)
        at = _blank(text, _behind(":", text, end))
        value, end = _DECODER.raw_decode(text, at)
        members.append((name, at, value))
        end = _blank(text, end)
        if text.startswith("}", end):
            break
        end = _behind(",", text, end)
    if _blank(text, end + 1) != len(text):
        raise ValueError(text[end : end + 1])
    return members


def _behind(mark: str, text: str, at: int) -> int:
    at = _blank(text, at)
    if not text.startswith(mark, at):
        raise ValueError(mark)
    return at + 1


def _blank(text: str, at: int) -> int:
    found = _BLANK.match(text, at)
    return at if found is None else found.end()


# -- the answer -----------------------------------------------------------------------------

_MEMBER = b',"usage":'
_END = b"}\n\n"
_ADDED = (
    _MEMBER + b'{"prompt_tokens":0,"completion_tokens":0,"total_tokens":0}' + _END,
    _MEMBER + b"null" + _END,
)
"""How the end of an event may look that has choices, and only with `include_usage` a usage."""
_BEGINNING = b"data: {"
_CHOICE = b'"choices":[{'


class _Extra(msgspec.Struct):
    """The chunk that is there only because it was asked for."""

    choices: tuple[()]
    usage: dict[str, Any]


_EXTRA = msgspec.json.Decoder(_Extra)


class Events:
    """The text of a stream less what `include_usage` added to it, in pieces of any size.

    No event is held back once it is whole, and none but the one to remove longer than until its
    choices begin; of the others only what may be the beginning of an added end.
    """

    __slots__ = ("_held", "_inside", "_line_ended", "_strange")

    def __init__(self) -> None:
        self._held = b""
        self._inside = False  # the beginning of the event that goes on has been passed on
        self._line_ended = False  # and the last of it was a line's end
        self._strange = False

    def feed(self, data: bytes) -> bytes:
        if self._strange:
            return data
        if (at := data.find(b"\r")) >= 0:
            # Neither Ollama's lines nor JSON have this byte: where events end is not known here.
            before = self.feed(data[:at]) + self.end()
            self._strange = True
            return before + data[at:]
        if not self._held and data.endswith(b"\n\n") and b'"usage"' not in data:
            self._inside = False
            return data
        data = self._held + data
        if self._line_ended and data.startswith(b"\n"):
            self._inside = False
        passed: list[bytes] = []
        at = 0 if self._inside else _skip(data, 0, passed)
        while (end := data.find(b"\n\n", at)) >= 0:
            passed.append(self._edited(data[at : end + 2]))
            self._inside = False
            at = _skip(data, end + 2, passed)
        rest = data[at:]
        size = _settled(rest) if self._inside or _stays(rest) else 0
        self._inside |= size > 0
        self._line_ended = self._inside and data.endswith(b"\n") and size == len(rest)
        self._held = rest[size:]
        passed.append(rest[:size])
        return b"".join(passed)

    def end(self) -> bytes:
        """What was held back, as no more will come."""
        held, self._held = self._held, b""
        return held

    def _edited(self, event: bytes) -> bytes:
        """An event, or the last part of one, as it is passed on."""
        at = event.rfind(_MEMBER)
        if at < 0:
            return event
        if not self._inside and _is_extra(event):
            return b""
        return event[:at] + _END if event[at:] in _ADDED else event


def _skip(data: bytes, at: int, passed: list[bytes]) -> int:
    """Pass on empty lines between two events; returns where the next one begins."""
    start = at
    while data[at : at + 1] == b"\n":
        at += 1
    passed.append(data[start:at])
    return at


def _is_extra(event: bytes) -> bool:
    if _stays(event):
        return False
    try:
        _EXTRA.decode(event[len(_BEGINNING) - 1 :])
    except (msgspec.DecodeError, RecursionError):
        return False
    return True


def _stays(beginning: bytes) -> bool:
    """Whether an event that begins so is not one that is removed."""
    return (
        beginning[: len(_BEGINNING)] != _BEGINNING[: len(beginning)]
        or _CHOICE in beginning
        or len(beginning) > EVENT_LIMIT
    )


def _settled(part: bytes) -> int:
    """How many bytes of an event's part can go, as no end that was added begins in them."""
    at = part.rfind(_MEMBER)
    if at >= 0 and any(added.startswith(part[at:]) for added in _ADDED):
        return at
    for size in range(len(_MEMBER) - 1, 0, -1):
        if part.endswith(_MEMBER[:size]):
            return len(part) - size
    return len(part)


class Chunks:
    """A chunked body, known to be well framed, with its `Events` edited.

    A chunk of which nothing is taken out is passed on as it came, unless it is longer than
    CHUNK_LIMIT or an event begins in it whose choices do not. What is left of another is a
    shorter chunk, or none.
    """

    __slots__ = ("_events", "_last", "_needed", "_waiting")

    def __init__(self) -> None:
        self._events = Events()
        self._waiting = bytearray()  # a chunk that is not whole, its size line included
        self._needed = 0
        self._last = False

    def feed(self, data: bytes) -> bytes:
        if self._last:
            return data
        self._waiting += data
        if len(self._waiting) < self._needed:
            return b""
        raw = bytes(self._waiting)
        self._waiting.clear()
        self._needed = 0
        passed: list[bytes] = []
        self._waiting += self._cut(raw, passed)
        return b"".join(passed)

    def _cut(self, raw: bytes, passed: list[bytes]) -> bytes:
        """Pass on the chunks of `raw`; returns what is left of it."""
        at = 0
        while (line := raw.find(b"\r\n", at)) >= 0:
            size = chunk_size(raw[at:line])
            start, stop = line + 2, line + 2 + size
            if not size:
                self._last = True
                passed += chunk(self._events.end()), raw[at:]
                return b""
            if stop + 2 <= len(raw):
                passed.append(self._edited(raw[at : stop + 2], raw[start:stop]))
                at = stop + 2
            elif size <= CHUNK_LIMIT or stop <= len(raw):
                self._needed = stop + 2 - at
                break
            else:
                passed.append(chunk(self._events.feed(raw[start:])))
                return b"%x\r\n" % (stop - len(raw))
        return raw[at:]

    def _edited(self, raw: bytes, payload: bytes) -> bytes:
        edited = self._events.feed(payload)
        return raw if edited == payload else chunk(edited)

    def end(self) -> bytes:
        """What was held back, as the answer breaks off."""
        raw = bytes(self._waiting)
        self._waiting.clear()
        line = raw.find(b"\r\n")
        part = raw[line + 2 :][: chunk_size(raw[:line])] if line >= 0 else b""
        edited = self._events.feed(part) + self._events.end()
        return raw if edited == part else chunk(edited)


def chunk(data: bytes) -> bytes:
    """`data` as one HTTP chunk; nothing of nothing, as an empty chunk would end the body."""
    return b"%x\r\n%b\r\n" % (len(data), data) if data else b""
