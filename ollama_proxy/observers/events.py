"""The /v1 dialects' common way: a JSON request, and an answer in events or in one object.

Server-sent events (HTML standard, section 9.2), sans-IO: each event is a line of `lines.py`, with
an empty line as its separator. An event's name is not needed: where a dialect has names, the data
tells the same. Not here: what the data means.
"""

from __future__ import annotations

import re

import msgspec

from ollama_proxy.exchange import Observation
from ollama_proxy.observers.lines import LINE_LIMIT
from ollama_proxy.observers.options import asked_v1
from ollama_proxy.observers.privacy import Privacy
from ollama_proxy.observers.reading import name
from ollama_proxy.observers.requests import (
    REQUEST,
    Request,
    Turn,
    bounded,
    images,
    keep_images,
    keep_turns,
    sketch_of,
    turns,
)
from ollama_proxy.observers.text import TextObserver

FIELDS_LIMIT = 1000
"""Lines of one event; Ollama sends two."""
_LEAD = re.compile(rb"(?:event: [\w.]+\n)?data: ")


class EventObserver(TextObserver):
    """A /v1 call. Not used itself: a dialect derives, and reads `_event` and `_object`."""

    stream_type = "text/event-stream"
    separator = b"\n\n"
    tail = 3

    def __init__(self, observation: Observation, privacy: Privacy) -> None:
        super().__init__(observation, privacy)
        self._whole = bytearray()

    def _event(self, data: bytes) -> bool:
        """Hook: read an event's data. Whether it is one of the `pieces`."""
        raise NotImplementedError

    def _object(self, body: bytes) -> None:
        """Hook: read an answer that is not streamed."""
        raise NotImplementedError

    def _prompt(self, request: Request, whole: bool) -> None:
        keep_turns(turns(request), whole, self.observation, self.privacy)

    def _turns(self, request: Request) -> list[Turn]:
        """Hook: all that the prompt is made of."""
        return turns(request)

    def _request(self, body: bytes, whole: bool) -> None:
        request, sure = self._read_request(REQUEST, body, whole)
        sure = bounded(request) and sure
        self.observation.model = name(request.model) or self.observation.model
        self.observation.options = asked_v1(request, sure, self.privacy)
        self._keep_streamed(request.stream, absent=sure and request.stream is msgspec.UNSET)
        keep_images(images(request), sure, self.observation)
        self._prompt(request, sure)
        seen = self.observation
        seen.sketch = sketch_of(request, self._turns(request), sure, seen.images)

    def _answer(self, data: bytes) -> None:
        if self.content_type == self.stream_type:
            # JSON escapes what ends a line, so these bytes only ever do that.
            super()._answer(data.replace(b"\r", b"") if b"\r" in data else data)
        elif not self.lines.skipped:
            self._collect(data)

    def _collect(self, data: bytes) -> None:
        """Keep a piece of an answer that is one object, if it is not too long to look at."""
        size = len(self._whole) + len(data)
        if size <= LINE_LIMIT and self._holding.resize(size):
            self._whole += data
        else:
            self.lines.skipped = 1
            self._whole.clear()
            self._holding.resize(0)
            self._not_understood(data)

    def _documents(self, block: bytes) -> list[bytes]:
        lead = block[: block.find(b"{")]
        if not _LEAD.fullmatch(lead):
            raise ValueError
        return block[len(lead) :].removesuffix(b"\n\n").split(b"\n\n" + lead)

    def _is_blank(self, line: bytes) -> bool:
        comment = line.startswith(b":") and b"\ndata:" not in line
        return comment or super()._is_blank(line)

    def _line(self, line: bytes) -> bool:
        data = data_of(line)
        return data is not None and self._event(data)

    def _end(self, complete: bool, deaf: bool) -> None:
        if self._whole and not deaf:
            self._object(bytes(self._whole))
        super()._end(complete, deaf)

    def _forget(self) -> None:
        super()._forget()
        self._whole.clear()


def data_of(event: bytes) -> bytes | None:
    """An event's data; None for one that has none, such as a comment; no JSON for one too long."""
    if event.startswith(b"data: ") and b"\n" not in event:
        return event[6:]
    lines = event.split(b"\n", FIELDS_LIMIT)
    if len(lines) > FIELDS_LIMIT:
        return b""
    fields = (line.partition(b":") for line in lines)
    values = [value.removeprefix(b" ") for field, _, value in fields if field == b"data"]
    return b"\n".join(values) if values else None
