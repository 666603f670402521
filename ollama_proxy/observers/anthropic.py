"""/v1/messages: answers in blocks of content, a stream of named events.

The tokens in `message_start` are Ollama's guess; `message_delta` has the counts. Not here: requests
to /v1/messages/count_tokens, which run no model.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ollama_proxy.observers.events import EventObserver
from ollama_proxy.observers.reading import decode, text


class Event(msgspec.Struct):
    """What is read of an event, or of an answer that is one object."""

    type: Any = None
    message: Any = None
    content_block: Any = None
    delta: Any = None
    usage: Any = None
    error: Any = None
    model: Any = None
    content: Any = None
    stop_reason: Any = None


class PlainDelta(msgspec.Struct):
    """A delta that says or thinks something."""

    text: str = ""
    thinking: str = ""


class PlainEvent(msgspec.Struct):
    type: Literal["content_block_delta"]
    delta: PlainDelta
    error: None = None


_PLAIN = msgspec.json.Decoder(PlainEvent)
_EVENT = msgspec.json.Decoder(Event)


class MessagesObserver(EventObserver):
    """/v1/messages. A piece is a `content_block_delta`."""

    marks = (b"event: content_block_start", b'"thinking_delta"', b"event: error")
    thinking_mark = b'"type":"thinking_delta"'

    def _count(self, block: bytes) -> int:
        return block.count(b"event: content_block_delta\n")

    def _event(self, data: bytes) -> bool:
        event = self._understood(data)
        if event is None:
            return False
        kind, delta = text(event.type), event.delta if isinstance(event.delta, dict) else {}
        if kind == "content_block_delta":
            self._say(delta.get("text"))
            self._think(delta.get("thinking"))
        elif kind == "content_block_start":
            self._block(event.content_block)
        elif kind == "message_start" and isinstance(event.message, dict):
            self._know_model(event.message.get("model"))
        elif kind == "message_delta":
            self._stop(delta.get("stop_reason"))
            self._use(event.usage, "input_tokens", "output_tokens")
        elif kind == "message_stop":
            self._ended = True
        return kind == "content_block_delta"

    def _spoken(self, documents: list[bytes]) -> list[tuple[str, str]]:
        deltas = [_PLAIN.decode(document).delta for document in documents]
        return [(delta.text, delta.thinking) for delta in deltas]

    def _object(self, body: bytes) -> None:
        answer = self._understood(body)
        if answer is not None:
            self._know_model(answer.model)
            for block in answer.content if isinstance(answer.content, list) else []:
                self._block(block)
            self._use(answer.usage, "input_tokens", "output_tokens")
            self._ended = self._stop(answer.stop_reason)

    def _understood(self, data: bytes) -> Event | None:
        event = decode(_EVENT, data)
        if event is None:
            self._not_understood(data)
        elif event.error:
            self._break(event.error)
            return None
        return event

    def _block(self, block: object) -> None:
        """A block, whole or as it begins: text, thinking, or a tool that the model calls."""
        if isinstance(block, dict):
            self._say(block.get("text"))
            self._think(block.get("thinking"))
            if (text(block.get("type")) or "").endswith("tool_use"):
                self._call_tool(block.get("name"))
