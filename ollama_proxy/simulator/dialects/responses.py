"""/v1/responses: its requests and its words.

As in Ollama `cached_tokens` is always 0. Not here: conversations kept by the server, web search.
"""

from __future__ import annotations

import random
import time
from typing import Any

from .. import wire
from ..calls import Body, Call, Message
from ..script import Piece, ToolCall
from .base import EVENT_HEADERS, Answer, Dialect, Metrics, arguments_json
from .openai import effort, error_object


def responses_call(body: Body) -> Call:
    instructions = body.text("instructions")
    first = [Message("system", instructions)] if instructions else []
    limit = body.number("max_output_tokens")
    return Call(
        model=body.text("model"),
        messages=first + _input(body),
        stream=body.flag("stream"),
        options={} if limit is None else {"num_predict": limit},
        tools=[{"type": "function", "function": tool} for tool in body.rows("tools")],
        think=effort(body.table("reasoning").get("effort")),
        format=_format(body).get("schema"),
    )


def _input(body: Body) -> list[Message]:
    given = body.values.get("input")
    if isinstance(given, str):
        return [Message("user", given)]
    return [_item(row) for row in body.rows("input")]


def _item(row: dict[str, Any]) -> Message:
    content = row.get("content") or row.get("output") or row.get("arguments") or ""
    if isinstance(content, list):
        content = "".join(str(p.get("text") or "") for p in content if isinstance(p, dict))
    role = "tool" if row.get("type") == "function_call_output" else row.get("role")
    return Message(str(role or "assistant"), str(content))


def _format(body: Body) -> dict[str, Any]:
    wanted = body.table("text").get("format")
    return wanted if isinstance(wanted, dict) else {"type": "text"}


class Responses(Dialect):
    """Events are maps in Go: their keys are in alphabetical order."""

    stream_headers = EVENT_HEADERS

    def __init__(self, call: Call, body: Body) -> None:
        super().__init__(call, body)
        self.id = f"resp_{random.randrange(999_999)}"
        self.item_id = f"msg_{random.randrange(999_999)}"
        self.sequence = 0
        self.index = 0
        self.text = self.thought = self.reasoning_id = ""
        self.finished: list[dict[str, Any]] = []
        self.called = False

    @staticmethod
    def read(body: Body) -> Call:
        return responses_call(body)

    @staticmethod
    def error(status: int, message: str) -> bytes:
        return error_object(status, message)

    def piece(self, piece: Piece) -> list[bytes]:
        events = self._start()
        if piece.thinking:
            events += self._think(piece.thinking)
        if piece.tool_call:
            events += self._end_thought() + self._call_tool(piece.tool_call)
        elif piece.content:
            events += self._end_thought() + self._say(piece.content)
        return events

    def end(self, answer: Answer) -> list[bytes]:
        events = self._start() + self._end_thought() + self._end_text()
        return [*events, self._event("response.completed", response=self._response(answer))]

    def broken(self, message: str) -> list[bytes]:
        """Ollama finds nothing to say in its own error line: the stream just ends."""
        return self._start()

    def whole(self, answer: Answer) -> bytes:
        """Not streamed it is a Go struct: the keys keep their own order."""
        output: list[dict[str, Any]] = []
        if answer.thinking:
            output.append(_reasoning(f"rs_{self.id}", answer.thinking))
        calls = enumerate(answer.tool_calls)
        output += [_function(f"fc_{self.id}_{i}", call) for i, call in calls]
        if not answer.tool_calls:
            output.append(_message(self.item_id, answer.content))
        return wire.encode(self._object("completed", output, answer.metrics)) + b"\n"

    def _event(self, kind: str, **fields: Any) -> bytes:
        data = wire.encode_map(fields | {"type": kind, "sequence_number": self.sequence})
        self.sequence += 1
        return b"event: " + kind.encode() + b"\ndata: " + data + b"\n\n"

    def _start(self) -> list[bytes]:
        if self.sequence:
            return []
        kinds = ("response.created", "response.in_progress")
        return [self._event(k, response=self._object("in_progress", [], None)) for k in kinds]

    def _think(self, text: str) -> list[bytes]:
        events = []
        if not self.reasoning_id:
            self.reasoning_id = f"rs_{random.randrange(999_999)}"
            item = {"id": self.reasoning_id, "type": "reasoning", "summary": []}
            events = [self._item_event("added", item)]
        self.thought += text
        where = {"item_id": self.reasoning_id, "output_index": self.index, "summary_index": 0}
        return [*events, self._event("response.reasoning_summary_text.delta", delta=text, **where)]

    def _end_thought(self) -> list[bytes]:
        if not self.reasoning_id:
            return []
        item = _reasoning(self.reasoning_id, self.thought)
        where = {"item_id": self.reasoning_id, "output_index": self.index, "summary_index": 0}
        done = self._event("response.reasoning_summary_text.done", text=self.thought, **where)
        self.reasoning_id = ""
        return [done, self._finish(item)]

    def _call_tool(self, call: ToolCall) -> list[bytes]:
        self.called = True
        item = _function(f"fc_{random.randrange(999_999)}_0", call)
        where = {"item_id": item["id"], "output_index": self.index}
        kind = "response.function_call_arguments"
        return [
            self._item_event("added", item | {"status": "in_progress", "arguments": ""}),
            self._event(f"{kind}.delta", delta=item["arguments"], **where),
            self._event(f"{kind}.done", arguments=item["arguments"], **where),
            self._finish(item),
        ]

    def _say(self, text: str) -> list[bytes]:
        events = []
        if not self.text:
            empty = _message(self.item_id, "") | {"content": [], "status": "in_progress"}
            part = self._part_event("added", "")
            events = [self._item_event("added", empty), part]
        self.text += text
        delta = {"delta": text, "logprobs": []}
        return [*events, self._event("response.output_text.delta", **self._where(), **delta)]

    def _end_text(self) -> list[bytes]:
        if not self.text:
            return []
        said = {"text": self.text, "logprobs": []}
        done = self._event("response.output_text.done", **self._where(), **said)
        part = self._part_event("done", self.text)
        return [done, part, self._finish(_message(self.item_id, self.text))]

    def _where(self) -> dict[str, Any]:
        return {"item_id": self.item_id, "output_index": self.index, "content_index": 0}

    def _part_event(self, kind: str, text: str) -> bytes:
        return self._event(f"response.content_part.{kind}", **self._where(), part=_part(text))

    def _item_event(self, kind: str, item: dict[str, Any]) -> bytes:
        return self._event(f"response.output_item.{kind}", output_index=self.index, item=item)

    def _finish(self, item: dict[str, Any]) -> bytes:
        self.finished.append(item)
        event = self._item_event("done", item)
        self.index += 1
        return event

    def _response(self, answer: Answer) -> dict[str, Any]:
        return self._object("completed", self.finished, answer.metrics)

    def _object(
        self, status: str, output: list[dict[str, Any]], metrics: Metrics | None
    ) -> dict[str, Any]:
        now, values = int(time.time()), self.body.values
        return {
            "id": self.id,
            "object": "response",
            "created_at": now,
            "completed_at": now if metrics else None,
            "status": status,
            "incomplete_details": None,
            "model": self.call.model,
            "previous_response_id": None,
            "instructions": self.body.text("instructions") or None,
            "output": output,
            "error": None,
            "tools": self.body.rows("tools"),
            "tool_choice": "auto",
            "truncation": self.body.text("truncation") or "disabled",
            "parallel_tool_calls": True,
            "text": {"format": _format(self.body)},
            "top_p": self._float("top_p"),
            "presence_penalty": 0,
            "frequency_penalty": 0,
            "top_logprobs": 0,
            "temperature": self._float("temperature"),
            "reasoning": _effort(self.body.table("reasoning")),
            "usage": _usage(metrics) if metrics else None,
            "max_output_tokens": values.get("max_output_tokens"),
            "max_tool_calls": None,
            "store": False,
            "background": self.body.flag("background"),
            "service_tier": "default",
            "metadata": {},
            "safety_identifier": None,
            "prompt_cache_key": None,
        }

    def _float(self, key: str) -> int | float:
        value = self.body.values.get(key)
        return wire.number(value) if isinstance(value, int | float) else 1


def _effort(reasoning: dict[str, Any]) -> dict[str, Any] | None:
    if not reasoning.get("effort") and not reasoning.get("summary"):
        return None
    return {"effort": reasoning.get("effort"), "summary": reasoning.get("summary")}


def _usage(metrics: Metrics) -> dict[str, Any]:
    return {
        "input_tokens": metrics.prompt_tokens,
        "output_tokens": metrics.eval_tokens,
        "total_tokens": metrics.prompt_tokens + metrics.eval_tokens,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens_details": {"reasoning_tokens": 0},
    }


def _part(text: str) -> dict[str, Any]:
    return {"type": "output_text", "text": text, "annotations": [], "logprobs": []}


def _message(item_id: str, text: str) -> dict[str, Any]:
    head = {"id": item_id, "type": "message", "status": "completed", "role": "assistant"}
    return head | {"content": [_part(text)]}


def _reasoning(item_id: str, text: str) -> dict[str, Any]:
    summary = [{"type": "summary_text", "text": text}]
    head = {"id": item_id, "type": "reasoning"}
    return head | {"summary": summary, "encrypted_content": text}


def _function(item_id: str, call: ToolCall) -> dict[str, Any]:
    return {
        "id": item_id,
        "type": "function_call",
        "status": "completed",
        "call_id": call.id,
        "name": call.name,
        "arguments": arguments_json(call),
    }
