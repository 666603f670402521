"""/v1/chat/completions and /v1/completions: their requests and their words.

As in Ollama `num_ctx`, `keep_alive` and `truncate` mean nothing here, and usage is streamed only
when asked for. Not here: /v1/responses.
"""

from __future__ import annotations

import time
from typing import Any, ClassVar

from .. import wire
from ..calls import Body, Call, Message, Refused, thinking
from ..script import Piece, ToolCall
from ..text import generator
from .base import (
    NO_METRICS,
    Answer,
    Dialect,
    Metrics,
    arguments_json,
    logprobs_of,
    omit_empty,
)

_TYPES = {400: "invalid_request_error", 404: "not_found_error"}
_DONE = b"data: [DONE]\n\n"
_OPTIONS = {"max_tokens": "num_predict", "seed": "seed", "stop": "stop"}


def error_object(status: int, message: str) -> bytes:
    kind = _TYPES.get(status, "api_error")
    fields = {"message": message, "type": kind, "param": None, "code": None}
    return wire.encode({"error": fields}) + b"\n"


def event(value: Any) -> bytes:
    return b"data: " + wire.encode(value) + b"\n\n"


def chat_call(body: Body) -> Call:
    rows = body.rows("messages")
    if not rows:
        raise Refused(400, "[] is too short - 'messages'")
    reasoning = body.table("reasoning").get("effort") or body.values.get("reasoning_effort")
    call = _call(body, [m for row in rows for m in messages_of(row)])
    call.tools = body.rows("tools")
    call.think = effort(reasoning)
    call.format = response_format(body.table("response_format"))
    call.logprobs = body.flag("logprobs")
    call.top_logprobs = body.number("top_logprobs") or 0
    return call


def completion_call(body: Body) -> Call:
    prompt = body.text("prompt")
    call = _call(body, [Message("user", prompt)])
    call.chat, call.load_only = False, not prompt
    return call


def _call(body: Body, messages: list[Message]) -> Call:
    picked = body.picked(*_OPTIONS)
    return Call(
        model=body.text("model"),
        messages=messages,
        stream=body.flag("stream"),
        options={_OPTIONS[key]: value for key, value in picked.items()},
        render_only=body.flag("_debug_render_only"),
    )


def messages_of(row: dict[str, Any]) -> list[Message]:
    """A message with parts becomes one message a part, as Ollama does it."""
    role, content = str(row.get("role") or "user"), row.get("content")
    if isinstance(content, str):
        return [Message(role, content)]
    if isinstance(content, list):
        return [_part(role, part) for part in content]
    if row.get("tool_calls") is None:
        raise Refused(400, "invalid message content type: <nil>")
    return [Message(role, wire.encode(row["tool_calls"]).decode())]


def _part(role: str, part: Any) -> Message:
    if not isinstance(part, dict):
        raise Refused(400, "invalid message format")
    text = part.get("text")
    return Message(role, text) if isinstance(text, str) else Message(role, "", 1)


def effort(value: Any) -> bool | None:
    if value in (None, ""):
        return None
    return False if value == "none" else thinking(value)


def response_format(wanted: dict[str, Any]) -> Any:
    if wanted.get("type") == "json_object":
        return "json"
    schema = wanted.get("json_schema")
    return schema.get("schema") if isinstance(schema, dict) else None


def usage(metrics: Metrics) -> dict[str, int]:
    prompt, answer = metrics.prompt_tokens, metrics.eval_tokens
    return {
        "prompt_tokens": prompt,
        "completion_tokens": answer,
        "total_tokens": prompt + answer,
    }


def tool_calls(calls: list[ToolCall]) -> list[dict[str, Any]]:
    return [
        {
            "id": call.id,
            "index": index,
            "type": "function",
            "function": {"name": call.name, "arguments": arguments_json(call)},
        }
        for index, call in enumerate(calls)
    ]


class _OpenAI(Dialect):
    stream_headers: ClassVar[dict[str, str]] = {"Content-Type": wire.SSE}
    prefix = "chatcmpl"

    def __init__(self, call: Call, body: Body) -> None:
        super().__init__(call, body)
        self.id = f"{self.prefix}-{generator(time.time_ns()).randrange(999)}"
        self.created = int(time.time())
        self.wants_usage = bool(body.table("stream_options").get("include_usage"))

    @staticmethod
    def error(status: int, message: str) -> bytes:
        return error_object(status, message)

    def rendered(self, prompt: str) -> bytes:
        said = wire.encode({"_debug_info": {"rendered_template": prompt}})
        return self.whole(Answer()).removesuffix(b"}\n") + b"," + said[1:] + b"\n"

    def _head(self, kind: str) -> dict[str, Any]:
        return {"id": self.id, "object": kind, "created": self.created}


class ChatCompletion(_OpenAI):
    """The key order is that of Go's openai.ChatCompletion and ChatCompletionChunk."""

    @staticmethod
    def read(body: Body) -> Call:
        return chat_call(body)

    def __init__(self, call: Call, body: Body) -> None:
        super().__init__(call, body)
        self.started = self.called = False

    def piece(self, piece: Piece) -> list[bytes]:
        role = {} if self.started else {"role": "assistant"}
        calls = tool_calls([piece.tool_call] if piece.tool_call else [])
        self.started, self.called = True, self.called or bool(calls)
        said = omit_empty(reasoning=piece.thinking, tool_calls=calls)
        delta = role | {"content": piece.content} | said
        logprobs = logprobs_of(self.call, piece)
        extra = {"logprobs": {"content": logprobs}} if logprobs else {}
        return [event(self._chunk([{"index": 0, "delta": delta, "finish_reason": None} | extra]))]

    def end(self, answer: Answer) -> list[bytes]:
        """The finish, the usage and the mark leave Go's buffer together, as one HTTP chunk."""
        first = [] if self.started else self.piece(Piece())
        reason = _reason(answer.reason, self.called)
        data = event(self._chunk([{"index": 0, "delta": {}, "finish_reason": reason}]))
        if self.wants_usage:
            data += event(self._chunk([]) | {"usage": usage(answer.metrics)})
        return [b"".join([*first, data, _DONE])]

    def broken(self, message: str) -> list[bytes]:
        """Ollama reads its own error line as an empty chunk: no message, and no mark follows."""
        choice = {"index": 0, "delta": {"content": ""}, "finish_reason": None}
        return [event(self._chunk([choice]) | {"model": ""})]

    def whole(self, answer: Answer) -> bytes:
        calls = tool_calls(answer.tool_calls)
        extra = omit_empty(reasoning=answer.thinking, tool_calls=calls)
        message = {"role": "assistant", "content": answer.content} | extra
        reason = _reason(answer.reason, bool(calls)) or None
        choice: dict[str, Any] = {"index": 0, "message": message, "finish_reason": reason}
        if answer.logprobs:
            choice["logprobs"] = {"content": answer.logprobs}
        head = self._head("chat.completion") | self._model()
        return wire.encode(head | {"choices": [choice], "usage": usage(answer.metrics)}) + b"\n"

    def _chunk(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        return self._head("chat.completion.chunk") | self._model() | {"choices": choices}

    def _model(self) -> dict[str, str]:
        return {"model": self.call.model, "system_fingerprint": "fp_ollama"}


class Completion(_OpenAI):
    """The key order is that of Go's openai.Completion and CompletionChunk, which differ."""

    prefix = "cmpl"

    @staticmethod
    def read(body: Body) -> Call:
        return completion_call(body)

    def piece(self, piece: Piece) -> list[bytes]:
        return [event(self._chunk(piece.content, None))]

    def end(self, answer: Answer) -> list[bytes]:
        chunk = self._chunk("", answer.reason or None)
        data = event(chunk)
        if self.wants_usage:
            data += event(chunk | {"choices": [], "usage": usage(answer.metrics)})
        return [data + _DONE]

    def broken(self, message: str) -> list[bytes]:
        return [event(self._chunk("", None) | {"model": ""})]

    def whole(self, answer: Answer) -> bytes:
        choice = {"text": answer.content, "index": 0, "finish_reason": answer.reason or None}
        named = {"model": self.call.model, "system_fingerprint": "fp_ollama"}
        said = {"choices": [choice], "usage": usage(answer.metrics)}
        return wire.encode(self._head("text_completion") | named | said) + b"\n"

    def _chunk(self, text: str, reason: str | None) -> dict[str, Any]:
        choice = {"text": text, "index": 0, "finish_reason": reason}
        named = {"model": self.call.model, "system_fingerprint": "fp_ollama"}
        chunk = self._head("text_completion") | {"choices": [choice]} | named
        # With include_usage every chunk says zeros and the last one the figures.
        return chunk | ({"usage": usage(NO_METRICS)} if self.wants_usage else {})


def _reason(reason: str, called: bool) -> str:
    return "tool_calls" if reason == "stop" and called else reason
