"""What every observer is: four calls in, facts in an `Observation` out, and one guard.

Sans-IO and never in the way: whatever an observer raises ends its own looking and nothing else.
Not here: lines (`lines.py`), what a route's fields mean (`ollama.py`, `generic.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import msgspec

from ollama_proxy.exchange import Observation
from ollama_proxy.observers.causes import cause_of
from ollama_proxy.observers.errors import error_text
from ollama_proxy.observers.inflate import Inflate, Plain, Refused, opener
from ollama_proxy.observers.privacy import Privacy
from ollama_proxy.observers.reading import Form

T = TypeVar("T", bound=msgspec.Struct)

REQUEST_LIMIT = 256 * 1024
ERROR_BODY_LIMIT = 64 * 1024


class Observer:
    """Looks at one call. In itself it sees only the error text of an answer of status >= 400.

    Subclasses override the hooks `_request`, `_answer`, `_end`, which run inside the guard; the
    answer's bytes come to them inflated, and only for status < 400.
    """

    reads_all = False
    """Whether a call that goes well is of any interest. If not, only a refusal is looked at."""

    waits_for_text = False
    """Whether `text_seen` may become True: then the time of the first piece matters."""

    thinking_mark = b""
    """Bytes in every piece of a stream that only thinks: such a piece need not be read at once."""

    carries_prompt = True
    """Whether the request may hold text that an error could quote. Unknown routes: who knows."""

    def __init__(self, observation: Observation, privacy: Privacy) -> None:
        self.observation = observation
        self.privacy = privacy
        self.widest = privacy.of_answers  # `privacy` may become less strict up to this
        self.text_seen = False  # thinking, answer or tool call: the model has begun to write
        self.answer_seen = False  # answer or tool call
        self.deaf = False
        self.status = 0
        self.content_type = ""
        self._body: Plain | Inflate = Plain()
        self._error_body = bytearray()
        self._closed = False

    def request(self, body: bytes, whole: bool) -> None:
        """The request's body, once; its first `REQUEST_LIMIT` bytes if there are more."""
        whole = whole and len(body) <= REQUEST_LIMIT
        if whole and self.reads_all:
            self.observation.request_mark = hash(body)
        self._guarded(self._request, body[:REQUEST_LIMIT], whole)

    def response(self, status: int, content_type: str, content_encoding: str) -> None:
        """The answer's head. The two texts are its header values, empty where there is none."""
        self._guarded(self._head, status, content_type, content_encoding)

    def feed(self, data: bytes) -> None:
        """A piece of the answer's body, of any size, transfer framing removed."""
        self._guarded(self._feed, data)

    def close(self, complete: bool) -> None:
        """The end. `complete` False: the answer was broken off. Later calls do nothing."""
        if self._closed:
            return
        # What was understood before an observer went deaf still counts.
        deaf, self.deaf = self.deaf, False
        self._guarded(self._close, complete, deaf)
        self.deaf = self.deaf or deaf
        self._closed = True
        self._forget()

    def said(self) -> str | None:
        """What may be told of an answer while it comes, if anything."""
        return None

    def _guarded(self, step: Callable[..., None], *arguments: Any) -> None:
        if self.deaf or self._closed:
            return
        try:
            step(*arguments)
        except Refused:
            self._go_deaf()
        except Exception:  # noqa: BLE001  one of the four guards
            self.observation.not_understood += 1
            self._go_deaf()

    def _go_deaf(self) -> None:
        self.deaf = True
        self._forget()

    def _head(self, status: int, content_type: str, content_encoding: str) -> None:
        self.status = status
        self.content_type = content_type.partition(";")[0].strip().lower()
        self._begin()
        self._body = opener(content_encoding)

    def _feed(self, data: bytes) -> None:
        for piece in self._body.pieces(data):
            if self.status < 400:
                self._answer(piece)
            else:
                self._error_body += piece[: ERROR_BODY_LIMIT - len(self._error_body)]

    def _close(self, complete: bool, deaf: bool) -> None:
        if self.status >= 400:
            message = error_text(bytes(self._error_body), self.content_type)
            self._fail(message)
        else:
            self._end(complete, deaf)

    def _fail(self, message: str | None) -> None:
        # The first error counts: what follows it in a stream follows from it.
        if message is not None and self.observation.error is None:
            message = message[:ERROR_BODY_LIMIT]
            self.observation.cause = cause_of(message)
            if self.carries_prompt:
                message = self.privacy.unquoted(message, self.observation.model)
            self.observation.error = self.privacy.error(message)

    def _read_request(self, form: Form[T], body: bytes, whole: bool) -> tuple[T, bool]:
        """A request's fields, and whether it was read as a whole; a broken one is counted."""
        fields, sure = form.read(body, whole)
        self.observation.not_understood += whole and bool(body) and not sure
        return fields, sure

    def _request(self, body: bytes, whole: bool) -> None:
        """Hook: the request's body."""

    def _begin(self) -> None:
        """Hook: status and content type are known."""

    def _answer(self, data: bytes) -> None:
        """Hook: at most `inflate.PIECE` bytes of an answer of status < 400."""

    def _end(self, complete: bool, deaf: bool) -> None:
        """Hook: the end of an answer of status < 400, or of a call that got no answer.

        `deaf` True: not all of the answer was looked at, so that nothing follows from its lack.
        """

    def _forget(self) -> None:
        """Hook: give back what is held of the answer; no more of it will come."""
