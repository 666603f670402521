"""Ollama's own routes that run a model: /api/generate, /api/chat, /api/embed, /api/embeddings.

Sans-IO. Every count and duration is Ollama's own; what it did not say stays None. Not here: the
wait in Ollama's queue and speeds, which follow from these facts (`exchange.Observation`).
"""

from __future__ import annotations

from typing import Any

import msgspec

from ollama_proxy.exchange import Observation
from ollama_proxy.observers.base import Observer
from ollama_proxy.observers.errors import message_of
from ollama_proxy.observers.options import asked, asked_of_model
from ollama_proxy.observers.privacy import Privacy
from ollama_proxy.observers.reading import count, decode, name, seconds, text, usual
from ollama_proxy.observers.requests import (
    REQUEST,
    Request,
    Turn,
    bounded,
    first_text,
    keep_images,
    keep_prompt,
    keep_turns,
    native_images,
    native_turns,
    sketch_of,
)
from ollama_proxy.observers.text import TextObserver

_HEAD_LIMIT = 64 * 1024
_TAIL_LIMIT = 2048


class Answer(msgspec.Struct):
    """What is read of a line of an answer, or of an answer that is one object."""

    model: Any = None
    response: Any = None
    thinking: Any = None
    message: Any = None
    tool_calls: Any = None
    done: Any = None
    done_reason: Any = None
    error: Any = None
    total_duration: Any = None
    load_duration: Any = None
    prompt_eval_count: Any = None
    prompt_eval_duration: Any = None
    eval_count: Any = None
    eval_duration: Any = None
    debug: Any = msgspec.field(default=None, name="_debug_info")


class PlainMessage(msgspec.Struct):
    """A message that says and thinks, and does nothing else."""

    content: str = ""
    thinking: str = ""
    tool_calls: None = None


class PlainLine(msgspec.Struct):
    """A line that does nothing else."""

    message: PlainMessage | None = None
    response: str = ""
    thinking: str = ""
    tool_calls: None = None
    done: bool = False
    error: None = None
    debug: None = msgspec.field(default=None, name="_debug_info")


class UsualLine(PlainLine):
    """The last line, too, as Ollama sends it. What it may have many of, a context, is not read."""

    model: str | None = None
    done_reason: str | None = None
    total_duration: int | None = None
    load_duration: int | None = None
    prompt_eval_count: int | None = None
    prompt_eval_duration: int | None = None
    eval_count: int | None = None
    eval_duration: int | None = None


_USUAL = msgspec.json.Decoder(UsualLine)
_ANSWER = msgspec.json.Decoder(Answer)
_PLAIN = msgspec.json.Decoder(PlainLine)
_NO_MESSAGE = PlainMessage()
_CONTEXT = b'"context":['


def keep_facts(answer: Answer, observation: Observation) -> None:
    """Copy the counts and durations; a field that is absent or not understood is left as it was."""
    facts = {
        "done_reason": name(answer.done_reason),
        "input_tokens": count(answer.prompt_eval_count),
        "output_tokens": count(answer.eval_count),
        "total": seconds(answer.total_duration),
        "load": seconds(answer.load_duration),
        "prefill": seconds(answer.prompt_eval_duration),
        "decode": seconds(answer.eval_duration),
    }
    for key, value in facts.items():
        if value is not None:
            setattr(observation, key, value)


def listed(line: bytes) -> int | None:
    """How many tokens the `context` of an answer of /api/generate has; None if it has none.

    Within a JSON text the quotes would be escaped.
    """
    begin = line.find(_CONTEXT)
    end = line.find(b"]", begin)
    if begin < 0 or end < 0:
        return None
    return line.count(b",", begin, end) + 1 if end > begin + len(_CONTEXT) else 0


class AnswerObserver(TextObserver):
    """An answer in lines. Not used itself: see `GenerateObserver`."""

    stream_type = "application/x-ndjson"
    streams_unasked = True
    thinking_mark = b'"thinking":"'
    # Within a JSON string a quote is escaped, so these can only be a key, or a text that is
    # exactly this word: then the line is only read in vain.
    marks = (b'"error"', b'"tool_calls"', b'"thinking"')

    def _prompt(self, request: Request, whole: bool) -> None:
        """Hook: keep the prompt."""
        raise NotImplementedError

    def _turns(self, request: Request) -> list[Turn]:
        """Hook: all that the prompt is made of."""
        raise NotImplementedError

    def _request(self, body: bytes, whole: bool) -> None:
        request, sure = self._read_request(REQUEST, body, whole)
        sure = bounded(request) and sure
        keep_request(request, self.observation, self.privacy)
        self._keep_streamed(request.stream, absent=sure and request.stream is msgspec.UNSET)
        keep_images(native_images(request), sure, self.observation)
        self._prompt(request, sure)
        seen = self.observation
        seen.sketch = sketch_of(request, self._turns(request), sure, seen.images)

    def _line(self, line: bytes) -> bool:
        answer = decode(_ANSWER, line) or usual(line, _USUAL, Answer)
        if answer is None:
            self._not_understood(line)
            return False
        if answer.error:
            self._break(answer.error)
            return False
        self._know_model(answer.model)
        self._text(answer)
        if answer.done is True:
            keep_facts(answer, self.observation)
            self.observation.listed_tokens = listed(line)
        # `_debug_render_only` answers are whole, though they say `done: false`.
        last = answer.done is True or answer.debug is not None
        self._ended = self._ended or last
        return not last

    def _spoken(self, documents: list[bytes]) -> list[tuple[str, str]]:
        lines = list(map(_PLAIN.decode, documents))
        if True in [line.done for line in lines]:
            raise ValueError
        both = [(line, line.message or _NO_MESSAGE) for line in lines]
        return [(a.response or b.content, a.thinking or b.thinking) for a, b in both]

    def _text(self, answer: Answer) -> None:
        """Collect the answer's text; of thinking and tool calls only how much there was."""
        message = answer.message if isinstance(answer.message, dict) else {}
        self._say(text(answer.response))
        self._say(None if answer.response else message.get("content"))
        self._think(text(answer.thinking) or message.get("thinking"))
        calls = answer.tool_calls or message.get("tool_calls")
        for call in calls if isinstance(calls, list) else []:
            if isinstance(call, dict):
                function = call.get("function")
                self._call_tool(function.get("name") if isinstance(function, dict) else None)


class GenerateObserver(AnswerObserver):
    """/api/generate."""

    def _prompt(self, request: Request, whole: bool) -> None:
        keep_prompt(request.prompt, self.observation, self.privacy)

    def _turns(self, request: Request) -> list[Turn]:
        system = text(request.system)
        first: list[Turn] = [("system", system)] if system else []
        return [*first, ("user", text(request.prompt))]


class ChatObserver(AnswerObserver):
    """/api/chat. The prompt is the last user message, or the conversation in `full` and `hash`."""

    def _prompt(self, request: Request, whole: bool) -> None:
        keep_turns(native_turns(request), whole, self.observation, self.privacy)

    def _turns(self, request: Request) -> list[Turn]:
        return native_turns(request)


class EmbedObserver(Observer):
    """/api/embed and /api/embeddings: megabytes of numbers, of which only the ends are read."""

    reads_all = True

    def __init__(self, observation: Observation, privacy: Privacy) -> None:
        super().__init__(observation, privacy)
        self._start = bytearray()
        self._tail = b""
        self._size = 0

    def _options(self, request: Request, whole: bool) -> dict[str, Any] | None:
        """Hook: what was asked for."""
        return native_options(request, self.privacy)

    def _facts(self, body: bytes) -> tuple[bool, object]:
        """Hook: keep an answer's facts. Whether it was understood, and the error it tells."""
        answer = decode(_ANSWER, body)
        if answer is None:
            return False, None
        keep_facts(answer, self.observation)
        return True, answer.error

    def _request(self, body: bytes, whole: bool) -> None:
        request, sure = self._read_request(REQUEST, body, whole)
        self.observation.model = name(request.model) or self.observation.model
        self.observation.options = self._options(request, sure)
        self.observation.asked = asked_of_model(request)
        self.observation.streamed = False
        keep_prompt(first_text(request.prompt, request.input), self.observation, self.privacy)

    def _answer(self, data: bytes) -> None:
        self._size += len(data)
        self._start += data[: _HEAD_LIMIT - len(self._start)]
        self._tail = (self._tail + data)[-_TAIL_LIMIT:]

    def _end(self, complete: bool, deaf: bool) -> None:
        body = bytes(self._start) if self._size <= _HEAD_LIMIT else after_numbers(self._tail)
        understood, error = self._facts(body)
        if not understood:
            self.observation.not_understood += bool(self._size)
        elif error:
            self.observation.error_in_stream = True
            self._fail(message_of(error))


def after_numbers(tail: bytes) -> bytes:
    """The fields that follow the embeddings, as an object: Ollama writes its counts last."""
    return b"{" + tail.rpartition(b"]")[2].lstrip(b" \t\r\n,")


def keep_request(request: Request, observation: Observation, privacy: Privacy) -> None:
    """Model and options, which all these routes have."""
    observation.model = name(request.model) or observation.model
    observation.options = native_options(request, privacy)
    observation.asked = asked_of_model(request)


def native_options(request: Request, privacy: Privacy) -> dict[str, Any] | None:
    return asked(request.options, request.keep_alive, request.think, request.format, privacy)
