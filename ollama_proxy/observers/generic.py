"""Routes of which little is read: those that manage models, and what else is below /v1.

Not here: the routes that run a model.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ollama_proxy.exchange import Observation
from ollama_proxy.observers.base import Observer
from ollama_proxy.observers.errors import message_of
from ollama_proxy.observers.lines import LineObserver
from ollama_proxy.observers.reading import Form, decode, flag, name


class Request(msgspec.Struct):
    """The model under each of its names: `name` is the older one, `source` the one of a copy."""

    model: Any = None
    name: Any = None
    source: Any = None
    stream: Any = msgspec.UNSET


class Failure(msgspec.Struct):
    """A line of progress that tells of an error."""

    error: Any = None


_REQUEST = Form(Request)
_FAILURE = msgspec.json.Decoder(Failure)


def keep_request(request: Request, sure: bool, observation: Observation, default: bool) -> None:
    """Model, and whether a stream was asked for; `default` is what an absent `stream` means."""
    observation.model = name(request.model) or name(request.name) or name(request.source)
    observation.streamed = flag(request.stream)
    if request.stream is msgspec.UNSET and sure:
        observation.streamed = default


class ModelObserver(Observer):
    """Which model, and the error text of a refusal: /v1/messages/count_tokens, and the like."""

    reads_all = True

    def _request(self, body: bytes, whole: bool) -> None:
        request, sure = self._read_request(_REQUEST, body, whole)
        keep_request(request, sure, self.observation, default=False)


class ManagingObserver(ModelObserver):
    """/api/show, copy, delete: the same, and no prompt."""

    carries_prompt = False


class ProgressObserver(LineObserver):
    """/api/create: lines of progress, one of which may be an error after a 200."""

    marks = (b'"error"',)

    def _request(self, body: bytes, whole: bool) -> None:
        request, sure = self._read_request(_REQUEST, body, whole)
        keep_request(request, sure, self.observation, default=True)

    def _line(self, line: bytes) -> bool:
        failure = decode(_FAILURE, line)
        if failure is None:
            self._not_understood(line)
        elif failure.error:
            self.observation.error_in_stream = True
            self._fail(message_of(failure.error))
        return True


class TransferObserver(ProgressObserver):
    """/api/pull, push: the same, and no prompt; a create may bring system text and messages."""

    carries_prompt = False
