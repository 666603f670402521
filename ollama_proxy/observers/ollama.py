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
from ollama_proxy.observers.lines import LineObserver
from ollama_proxy.observers.options import asked
from ollama_proxy.observers.privacy import Held, Mode, Privacy
from ollama_proxy.observers.reading import CutText, Form, count, decode, flag, name, seconds, text

NDJSON = "application/x-ndjson"
_HEAD_LIMIT = 64 * 1024
_TAIL_LIMIT = 2048


class Request(msgspec.Struct):
    """What is read of a request; images and everything else are skipped. Types are checked later,
    one by one, so that a wrong one does not hide the others."""

    model: Any = None
    stream: Any = msgspec.UNSET
    options: Any = None
    keep_alive: Any = None
    think: Any = None
    format: Any = None
    prompt: Any = None
    messages: Any = None
    input: Any = None


class Answer(msgspec.Struct):
    """What is read of a line of an answer, or of an answer that is one object."""

    model: Any = None
    response: Any = None
    thinking: Any = None
    message: Any = None
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


PATIENCE = 1000
"""Lines without any text after which a stream's beginning is no longer waited for."""

_REQUEST = Form(Request)
_ANSWER = msgspec.json.Decoder(Answer)


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


class AnswerObserver(LineObserver):
    """An answer in text, streamed or in one object. Not used itself: see `GenerateObserver`.

    `output_chunks` counts a stream's lines of answer: not the one with `done`, not errors. It is
    exact but for broken lines past the point where text is still read.
    """

    waits_for_text = True
    thinking_mark = b'"thinking":"'
    # Within a JSON string a quote is escaped, so these can only be a key, or a text that is
    # exactly `error`. Other spacing than Go's and Python's is understood in the last line only.
    marks = (b'"done":true', b'"done": true', b'"error"')

    def __init__(self, observation: Observation, privacy: Privacy) -> None:
        super().__init__(observation, privacy)
        self._held = Held(privacy.wanted)
        self._ended = False

    def _prompt(self, request: Request, whole: bool) -> None:
        """Hook: keep the prompt."""
        raise NotImplementedError

    def _request(self, body: bytes, whole: bool) -> None:
        request, sure = self._read_request(_REQUEST, body, whole)
        keep_request(request, self.observation, self.privacy)
        streamed = flag(request.stream)
        if request.stream is msgspec.UNSET and sure:
            streamed = True
        if streamed is not None:
            self.observation.streamed = streamed
        self._prompt(request, sure)

    def _begin(self) -> None:
        if self.status != 200:
            return
        if self.observation.streamed is None:
            self.observation.streamed = self.content_type == NDJSON
        if self.content_type == NDJSON:
            self.observation.output_chunks = 0

    def _answer(self, data: bytes) -> None:
        super()._answer(data)
        self._count()

    def _count(self) -> None:
        if self.observation.output_chunks is not None:
            self.observation.output_chunks = self.pieces

    def _wants_lines(self) -> bool:
        if not self.text_seen:
            return self.read_lines < PATIENCE
        return not self._held.full

    def _line(self, line: bytes) -> bool:
        answer = decode(_ANSWER, line)
        if answer is None:
            self.observation.not_understood += 1
            return False
        if answer.error:
            self.observation.error_in_stream = True
            self._fail(message_of(answer.error))
            return False
        if self.observation.model is None:
            self.observation.model = name(answer.model)
        self._text(answer)
        if answer.done is True:
            keep_facts(answer, self.observation)
        # `_debug_render_only` answers are whole, though they say `done: false`.
        last = answer.done is True or answer.debug is not None
        self._ended = self._ended or last
        return not last

    def _text(self, answer: Answer) -> None:
        """Collect the answer's text. Thinking and tool calls count as seen, but are not kept."""
        message = answer.message if isinstance(answer.message, dict) else {}
        thinking = text(answer.thinking) or text(message.get("thinking"))
        said = text(answer.response)
        if said is None:
            said = text(message.get("content"))
        if said is not None:
            self._held.add(said)
        self.answer_seen = self.answer_seen or bool(said or message.get("tool_calls"))
        self.text_seen = self.text_seen or self.answer_seen or bool(thinking)

    def _end(self, complete: bool, deaf: bool) -> None:
        super()._end(complete, deaf)
        self._count()
        self.observation.response = self.privacy.keep(self._held.text(), not self._held.full)
        unsure = deaf or self.lines.skipped > 0
        ended = self._ended or self.observation.error_in_stream
        self.observation.incomplete = self.status == 200 and not ended and not unsure


class GenerateObserver(AnswerObserver):
    """/api/generate."""

    def _prompt(self, request: Request, whole: bool) -> None:
        keep_prompt(request.prompt, self.observation, self.privacy)


class ChatObserver(AnswerObserver):
    """/api/chat. The prompt is the last user message, or the conversation in `full` and `hash`."""

    def _prompt(self, request: Request, whole: bool) -> None:
        listed = request.messages if isinstance(request.messages, list) else []
        messages = [message for message in listed if isinstance(message, dict)]
        if self.privacy.mode is Mode.TRUNCATE:
            keep_prompt(last_user_text(messages), self.observation, self.privacy)
        elif messages:
            self.observation.prompt = self.privacy.keep(conversation(messages), whole)


class EmbedObserver(Observer):
    """/api/embed and /api/embeddings: megabytes of numbers, of which only the ends are read."""

    reads_all = True

    def __init__(self, observation: Observation, privacy: Privacy) -> None:
        super().__init__(observation, privacy)
        self._start = bytearray()
        self._tail = b""
        self._size = 0

    def _request(self, body: bytes, whole: bool) -> None:
        request, _ = self._read_request(_REQUEST, body, whole)
        keep_request(request, self.observation, self.privacy)
        self.observation.streamed = False
        first = request.input[0] if isinstance(request.input, list) and request.input else None
        prompts = (request.prompt, request.input, first)
        prompt = next((prompt for prompt in prompts if isinstance(prompt, str)), None)
        keep_prompt(prompt, self.observation, self.privacy)

    def _answer(self, data: bytes) -> None:
        self._size += len(data)
        self._start += data[: _HEAD_LIMIT - len(self._start)]
        self._tail = (self._tail + data)[-_TAIL_LIMIT:]

    def _end(self, complete: bool, deaf: bool) -> None:
        body = bytes(self._start) if self._size <= _HEAD_LIMIT else after_numbers(self._tail)
        answer = decode(_ANSWER, body)
        if answer is None:
            self.observation.not_understood += bool(self._size)
        elif answer.error:
            self.observation.error_in_stream = True
            self._fail(message_of(answer.error))
        else:
            keep_facts(answer, self.observation)


def after_numbers(tail: bytes) -> bytes:
    """The fields that follow the embeddings, as an object: Ollama writes its counts last."""
    return b"{" + tail.rpartition(b"]")[2].lstrip(b" \t\r\n,")


def keep_request(request: Request, observation: Observation, privacy: Privacy) -> None:
    """Model and options, which all these routes have."""
    observation.model = name(request.model) or observation.model
    observation.options = asked(
        request.options, request.keep_alive, request.think, request.format, privacy
    )


def keep_prompt(prompt: object, observation: Observation, privacy: Privacy) -> None:
    observation.prompt = privacy.keep(text(prompt), not isinstance(prompt, CutText))


def last_user_text(messages: list[dict[str, Any]]) -> object:
    """The newest message of the user's, as far as the messages were seen."""
    asked_by_user = (m.get("content") for m in reversed(messages) if m.get("role") == "user")
    return next(asked_by_user, None)


def conversation(messages: list[dict[str, Any]]) -> str:
    """All messages as lines `role: content`; without images and calls of tools."""
    return "\n".join(
        f"{text(message.get('role')) or '?'}: {text(message.get('content')) or ''}"
        for message in messages
    )
