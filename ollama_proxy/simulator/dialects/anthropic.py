"""/v1/messages: its requests and its words.

Input tokens are only guessed in `message_start`; `message_delta` has the true ones. Not here: web
search, which Ollama does in its cloud.
"""

from __future__ import annotations

import secrets
from typing import Any

from .. import wire
from ..calls import Body, Call, Message, Refused
from ..script import Piece, ToolCall
from .base import EVENT_HEADERS, Answer, Dialect, Metrics, arguments_json, omit_empty

_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    503: "overloaded_error",
}
_OPTIONS = {"max_tokens": "num_predict", "stop_sequences": "stop"}
_STOPS = {"stop": "end_turn", "length": "max_tokens", "": ""}


def messages_call(body: Body) -> Call:
    if not body.text("model"):
        raise Refused(400, "model is required")
    if (body.number("max_tokens") or 0) <= 0:
        raise Refused(400, "max_tokens is required and must be positive")
    rows = body.rows("messages")
    if not rows:
        raise Refused(400, "messages is required")
    system = _text(body.values.get("system"))
    first = [Message("system", system)] if system else []
    return Call(
        model=body.text("model"),
        messages=first + [Message(str(r.get("role")), _text(r.get("content"))) for r in rows],
        stream=body.flag("stream"),
        options={_OPTIONS[k]: v for k, v in body.picked(*_OPTIONS).items()},
        tools=[_tool(row) for row in body.rows("tools")],
        think={"enabled": True, "disabled": False}.get(body.table("thinking").get("type") or ""),
        relax_thinking=True,
    )


def _tool(row: dict[str, Any]) -> dict[str, Any]:
    function = {"name": row.get("name"), "parameters": row.get("input_schema")}
    return {"type": "function", "function": function}


def _text(content: Any) -> str:
    """All that a content, or its blocks, says in words."""
    if isinstance(content, str):
        return content
    blocks = content if isinstance(content, list) else []
    return "".join(_block(block) for block in blocks if isinstance(block, dict))


def _block(block: dict[str, Any]) -> str:
    if block.get("type") == "tool_use":
        return wire.encode(block.get("input") or {}).decode()
    return _text(block.get("text") or block.get("thinking") or block.get("content"))


def estimate(call: Call) -> int:
    """Ollama's guess before it knows: a token for four bytes."""
    said = sum(len(m.role) + len(m.content.encode()) for m in call.messages)
    return (said + sum(len(wire.encode(tool)) for tool in call.tools)) // 4 or 1


class Messages(Dialect):
    """The events of Go's anthropic.StreamConverter, each in its own HTTP chunk."""

    stream_headers = EVENT_HEADERS

    def __init__(self, call: Call, body: Body) -> None:
        super().__init__(call, body)
        self.id = "msg_" + secrets.token_hex(12)
        self.started = False
        self.index = 0
        self.open = ""  # the kind of the open content block
        self.called = False

    @staticmethod
    def read(body: Body) -> Call:
        return messages_call(body)

    @staticmethod
    def error(status: int, message: str) -> bytes:
        fields = {"type": _TYPES.get(status, "api_error"), "message": message}
        request_id = "req_" + secrets.token_hex(12)
        return wire.encode({"type": "error", "error": fields, "request_id": request_id}) + b"\n"

    def piece(self, piece: Piece) -> list[bytes]:
        events = self._start()
        if piece.thinking:
            events += self._delta("thinking", "thinking_delta", piece.thinking)
        if piece.content:
            events += self._delta("text", "text_delta", piece.content)
        if piece.tool_call:
            events += self._tool_use(piece.tool_call)
        return events

    def end(self, answer: Answer) -> list[bytes]:
        events = self._start() + self._close()
        delta = omit_empty(stop_reason=_stop_reason(answer.reason, self.called))
        last = {"delta": delta, "usage": _usage(answer.metrics)}
        return [*events, _event("message_delta", **last), _event("message_stop")]

    def broken(self, message: str) -> list[bytes]:
        """Ollama finds nothing to say in its own error line: the stream just ends."""
        return [] if self.started else self._start()

    def whole(self, answer: Answer) -> bytes:
        content: list[dict[str, Any]] = []
        if answer.thinking:
            content.append({"type": "thinking", "thinking": answer.thinking})
        if answer.content:
            content.append({"type": "text", "text": answer.content})
        content += [_tool_block(call, call.arguments) for call in answer.tool_calls]
        said = {"content": content or None}
        reason = omit_empty(stop_reason=_stop_reason(answer.reason, bool(answer.tool_calls)))
        return wire.encode(self._head() | said | reason | {"usage": _usage(answer.metrics)}) + b"\n"

    def _head(self) -> dict[str, Any]:
        model = self.call.model
        return {"id": self.id, "type": "message", "role": "assistant", "model": model}

    def _start(self) -> list[bytes]:
        if self.started:
            return []
        self.started = True
        guess = {"input_tokens": estimate(self.call), "output_tokens": 0}
        return [_event("message_start", message=self._head() | {"content": [], "usage": guess})]

    def _delta(self, block: str, kind: str, text: str) -> list[bytes]:
        events = []
        if self.open != block:
            empty = {"type": block, block: ""}
            events = [*self._close(), self._block_event("start", content_block=empty)]
            self.open = block
        return [*events, self._block_event("delta", delta={"type": kind, block: text})]

    def _tool_use(self, call: ToolCall) -> list[bytes]:
        self.called = True
        events = [*self._close(), self._block_event("start", content_block=_tool_block(call, {}))]
        delta = {"type": "input_json_delta", "partial_json": arguments_json(call)}
        events += [self._block_event("delta", delta=delta), self._block_event("stop")]
        self.index += 1
        return events

    def _close(self) -> list[bytes]:
        if not self.open:
            return []
        event = self._block_event("stop")
        self.open = ""
        self.index += 1
        return [event]

    def _block_event(self, kind: str, **fields: Any) -> bytes:
        return _event(f"content_block_{kind}", index=self.index, **fields)


def _event(kind: str, **fields: Any) -> bytes:
    data = wire.encode({"type": kind} | fields)
    return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"


def _tool_block(call: ToolCall, arguments: dict[str, Any]) -> dict[str, Any]:
    return {"type": "tool_use", "id": call.id, "name": call.name, "input": arguments}


def _usage(metrics: Metrics) -> dict[str, int]:
    return {"input_tokens": metrics.prompt_tokens, "output_tokens": metrics.eval_tokens}


def _stop_reason(reason: str, called: bool) -> str:
    return "tool_use" if called else _STOPS.get(reason, "stop_sequence")
