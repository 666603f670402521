"""What a request asks for, read from its JSON: one `Call` whatever the dialect. Pure.

Here are the native bodies of /api/generate and /api/chat; the other dialects build a `Call` in
their own files. Not here: whether the model exists or what it answers.
"""

from __future__ import annotations

import json
import math
import re
from dataclasses import dataclass, field
from typing import Any, NamedTuple

import msgspec

_DURATION = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(ns|us|µs|ms|s|m|h)")
_SECONDS = {"ns": 1e-9, "us": 1e-6, "µs": 1e-6, "ms": 1e-3, "s": 1.0, "m": 60.0, "h": 3600.0}


class Refused(Exception):
    """An answer other than 200. `late`: a stream had been opened, as its headers then tell."""

    def __init__(self, status: int, message: str, late: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.late = late


class Message(NamedTuple):
    """One turn, as far as it costs tokens."""

    role: str
    content: str
    images: int = 0


@dataclass(kw_only=True)
class Call:
    """One wish to generate. `think` None: not said. `keep_alive` in seconds, None: not said."""

    model: str
    messages: list[Message]
    chat: bool = True
    stream: bool = True
    options: dict[str, Any] = field(default_factory=dict)
    tools: list[dict[str, Any]] = field(default_factory=list)
    think: bool | None = None
    relax_thinking: bool = False
    format: Any = None
    keep_alive: float | None = None
    truncate: bool = True
    shift: bool = True
    raw: bool = False
    logprobs: bool = False
    top_logprobs: int = 0
    render_only: bool = False
    load_only: bool = False

    @property
    def unload(self) -> bool:
        return self.load_only and self.keep_alive == 0


class Body:
    """A JSON object read leniently: null and a missing key are the zero value, as in Go."""

    def __init__(self, values: dict[str, Any]) -> None:
        self.values = values

    def text(self, *keys: str) -> str:
        """The first of these keys that holds a string that is not empty."""
        found = (self.values.get(key) for key in keys)
        return next((value for value in found if isinstance(value, str) and value), "")

    def flag(self, key: str, default: bool = False) -> bool:
        value = self.values.get(key)
        return value if isinstance(value, bool) else default

    def number(self, key: str) -> int | None:
        value = self.values.get(key)
        return int(value) if isinstance(value, int | float) and value == value else None

    def table(self, key: str) -> dict[str, Any]:
        value = self.values.get(key)
        return value if isinstance(value, dict) else {}

    def rows(self, key: str) -> list[dict[str, Any]]:
        return [row for row in self.items(key) if isinstance(row, dict)]

    def items(self, key: str) -> list[Any]:
        value = self.values.get(key)
        return value if isinstance(value, list) else []

    def picked(self, *keys: str) -> dict[str, Any]:
        """Those of these keys that are there and not null."""
        return {k: self.values[k] for k in keys if self.values.get(k) is not None}


def parse(raw: bytes, empty: str = "missing request body") -> Body:
    """Raise `Refused` 400 in the words of Go's decoder."""
    if not raw.strip():
        raise Refused(400, empty)
    try:
        values = msgspec.json.decode(raw)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise Refused(400, _json_error(raw, error)) from None
    if not isinstance(values, dict):
        raise Refused(400, "json: cannot unmarshal value into Go value of type map")
    return Body(values)


def _json_error(raw: bytes, error: Exception) -> str:
    if "truncated" in str(error):
        return "unexpected EOF"
    try:
        json.loads(raw)
    except json.JSONDecodeError as where:
        character = where.doc[where.pos : where.pos + 1]
        return f"invalid character '{character}' looking for beginning of value"
    except (ValueError, RecursionError):
        pass
    return "invalid character in string literal"


def seconds(value: object) -> float | None:
    """`keep_alive`: seconds or a Go duration, negative for ever. Refuse other words."""
    if value is None:
        return None
    if isinstance(value, int | float):
        return math.inf if value < 0 else float(value)
    text = str(value).strip()
    if text.lstrip("+-") == "0":
        return 0.0
    parts = _DURATION.findall(text)
    if not parts or "".join(n + unit for n, unit in parts) != text.lstrip("+-"):
        raise Refused(400, f'time: invalid duration "{text}"')
    return math.inf if text.startswith("-") else sum(float(n) * _SECONDS[u] for n, u in parts)


def thinking(value: object) -> bool | None:
    if value is None or isinstance(value, bool):
        return value
    if value in ("high", "medium", "low", "max"):
        return True
    raise Refused(400, f"invalid think value: {json.dumps(value)}")


def from_generate(body: Body) -> Call:
    prompt, system = body.text("prompt"), body.text("system")
    images = len(body.items("images"))
    messages = [Message("system", system)] if system else []
    messages.append(Message("user", prompt, images))
    call = _native(body, messages)
    call.chat, call.load_only = False, not prompt
    return call


def from_chat(body: Body) -> Call:
    messages = [_message(row) for row in body.rows("messages")]
    call = _native(body, messages)
    call.load_only = not messages
    return call


def _message(row: dict[str, Any]) -> Message:
    content = row.get("content")
    called = json.dumps(row["tool_calls"]) if row.get("tool_calls") else ""
    text = (content if isinstance(content, str) else "") + called
    return Message(str(row.get("role") or "user"), text, len(Body(row).items("images")))


def _native(body: Body, messages: list[Message]) -> Call:
    top = body.number("top_logprobs") or 0
    if not 0 <= top <= 20:
        raise Refused(400, "top_logprobs must be between 0 and 20")
    return Call(
        model=body.text("model"),
        messages=messages,
        stream=body.flag("stream", True),
        options=body.table("options"),
        tools=body.rows("tools"),
        think=thinking(body.values.get("think")),
        format=body.values.get("format") or None,
        keep_alive=seconds(body.values.get("keep_alive")),
        truncate=body.flag("truncate", True),
        shift=body.flag("shift", True),
        raw=body.flag("raw"),
        logprobs=body.flag("logprobs"),
        top_logprobs=top,
        render_only=body.flag("_debug_render_only"),
    )
