"""Ollama's own words: NDJSON of /api/generate and /api/chat.

Not here: reading the requests; that is `calls.py`.
"""

from __future__ import annotations

from typing import Any, ClassVar

from .. import wire
from ..calls import Body, Call, from_chat, from_generate
from ..script import Piece, ToolCall
from .base import Answer, Dialect, logprobs_of, omit_empty


class _Native(Dialect):
    stream_headers: ClassVar[dict[str, str]] = {"Content-Type": wire.NDJSON}
    whole_type = wire.JSON_UTF8
    empty_body = "missing request body"

    @staticmethod
    def error(status: int, message: str) -> bytes:
        return wire.encode({"error": message})

    def broken(self, message: str) -> list[bytes]:
        return [wire.encode({"error": message}) + b"\n"]

    def _stamp(self) -> dict[str, Any]:
        return {"model": self.call.model, "created_at": wire.timestamp()}


class Generate(_Native):
    """The key order is that of Go's api.GenerateResponse."""

    @staticmethod
    def read(body: Body) -> Call:
        return from_generate(body)

    def piece(self, piece: Piece) -> list[bytes]:
        said = {"response": piece.content} | omit_empty(thinking=piece.thinking)
        extra = omit_empty(
            tool_calls=_tool_calls([piece.tool_call] if piece.tool_call else []),
            logprobs=logprobs_of(self.call, piece),
        )
        return [wire.encode(self._stamp() | said | {"done": False} | extra) + b"\n"]

    def end(self, answer: Answer) -> list[bytes]:
        bare = Answer(reason=answer.reason, metrics=answer.metrics, context=answer.context)
        return [self.whole(bare) + b"\n"]

    def whole(self, answer: Answer) -> bytes:
        said = {"response": answer.content} | omit_empty(thinking=answer.thinking)
        done = {"done": bool(answer.reason)} | omit_empty(done_reason=answer.reason)
        extra = omit_empty(tool_calls=_tool_calls(answer.tool_calls), logprobs=answer.logprobs)
        context = {} if self.call.raw else omit_empty(context=answer.context)
        fields = answer.metrics.fields()
        return wire.encode(self._stamp() | said | done | context | fields | extra)

    def rendered(self, prompt: str) -> bytes:
        info = {"_debug_info": {"rendered_template": prompt}}
        return wire.encode(self._stamp() | {"response": "", "done": False} | info)


class Chat(_Native):
    """The key order is that of Go's api.ChatResponse."""

    @staticmethod
    def read(body: Body) -> Call:
        return from_chat(body)

    def piece(self, piece: Piece) -> list[bytes]:
        calls = [piece.tool_call] if piece.tool_call else []
        message = _message(piece.content, piece.thinking, calls)
        extra = omit_empty(logprobs=logprobs_of(self.call, piece))
        line = self._stamp() | {"message": message, "done": False} | extra
        return [wire.encode(line) + b"\n"]

    def end(self, answer: Answer) -> list[bytes]:
        return [self.whole(Answer(reason=answer.reason, metrics=answer.metrics)) + b"\n"]

    def whole(self, answer: Answer) -> bytes:
        message = _message(answer.content, answer.thinking, answer.tool_calls)
        done = {"done": bool(answer.reason)} | omit_empty(done_reason=answer.reason)
        extra = omit_empty(logprobs=answer.logprobs) | answer.metrics.fields()
        return wire.encode(self._stamp() | {"message": message} | done | extra)

    def rendered(self, prompt: str) -> bytes:
        line = self._stamp() | {"message": {"role": "", "content": ""}, "done": False}
        return wire.encode(line | {"_debug_info": {"rendered_template": prompt}})


def _message(content: str, thinking: str, calls: list[ToolCall]) -> dict[str, Any]:
    said = {"role": "assistant", "content": content}
    return said | omit_empty(thinking=thinking, tool_calls=_tool_calls(calls))


def _tool_calls(calls: list[ToolCall]) -> list[dict[str, Any]]:
    return [
        {"id": c.id, "function": {"index": i, "name": c.name, "arguments": c.arguments}}
        for i, c in enumerate(calls)
    ]
