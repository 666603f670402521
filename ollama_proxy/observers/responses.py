"""/v1/responses: answers in items, a stream of named events.

It tells no finish reason but its status, and always `cached_tokens: 0`, which says nothing and is
not read. Not here: what Ollama does not know either, such as stored conversations.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ollama_proxy.observers.events import EventObserver
from ollama_proxy.observers.reading import decode, name, text

ENDS = ("response.completed", "response.incomplete", "response.failed")
STATES = ("completed", "incomplete", "failed")


class Event(msgspec.Struct):
    """What is read of an event."""

    type: Any = None
    delta: Any = None
    item: Any = None
    response: Any = None
    error: Any = None
    message: Any = None


SAYS = "response.output_text.delta"


class PlainEvent(msgspec.Struct):
    """An event that says or thinks something."""

    type: Literal["response.output_text.delta", "response.reasoning_summary_text.delta"]
    delta: str


_PLAIN = msgspec.json.Decoder(PlainEvent)
_EVENT = msgspec.json.Decoder(Event)
_RESPONSE = msgspec.json.Decoder(dict[str, Any])


class ResponsesObserver(EventObserver):
    """/v1/responses. A piece is an event whose name ends in `delta`."""

    marks = (b"event: response.output_item.added", b"event: response.reasoning", b"event: error")
    thinking_mark = b'"type":"response.reasoning_summary_text.delta"'

    def _count(self, block: bytes) -> int:
        return block.count(b".delta\ndata:")

    def _event(self, data: bytes) -> bool:
        event = decode(_EVENT, data)
        if event is None:
            self._not_understood(data)
            return False
        kind = text(event.type) or ""
        if kind.endswith(".delta"):
            if kind.startswith("response.reasoning"):
                self._think(event.delta)
            elif kind == SAYS:
                self._say(event.delta)
            return True
        if kind == "response.output_item.added":
            self._call_of(event.item)
        elif kind == "error" or event.error:
            self._break(event.error or {"message": event.message})
        elif isinstance(event.response, dict):
            self._response(event.response, kind in ENDS)
        return False

    def _spoken(self, documents: list[bytes]) -> list[tuple[str, str]]:
        events = map(_PLAIN.decode, documents)
        return [(e.delta, "") if e.type == SAYS else ("", e.delta) for e in events]

    def _object(self, body: bytes) -> None:
        response = decode(_RESPONSE, body)
        if response is None:
            self._not_understood(body)
            return
        self._response(response, response.get("status") in STATES)
        output = response.get("output")
        for item in output if isinstance(output, list) else []:
            self._call_of(item)
            self._texts_of(item)
        if self.answer_seen and self.observation.output_tokens is None:
            self._ended = False  # Ollama gave up on it (31 equal tokens): it says completed, and 0

    def _response(self, response: dict[str, Any], ended: bool) -> None:
        self._know_model(response.get("model"))
        if response.get("error"):
            self._break(response["error"])
        if ended:
            details = response.get("incomplete_details")
            why = details.get("reason") if isinstance(details, dict) else None
            self._stop(name(why) or response.get("status"))
            self._use(response.get("usage"), "input_tokens", "output_tokens")
            self._ended = True

    def _call_of(self, item: object) -> None:
        """Count an item that calls a tool: `function_call`, or a built-in such as a web search."""
        kind = text(item.get("type")) if isinstance(item, dict) else None
        if isinstance(item, dict) and kind is not None and kind.endswith("_call"):
            self._call_tool(item.get("name") or kind.removesuffix("_call"))

    def _texts_of(self, item: object) -> None:
        """The text of a message, or the thinking that is told in a summary."""
        if isinstance(item, dict):
            take = self._think if item.get("type") == "reasoning" else self._say
            parts = item.get("summary") if item.get("type") == "reasoning" else item.get("content")
            for part in parts if isinstance(parts, list) else []:
                if isinstance(part, dict):
                    take(part.get("text"))
