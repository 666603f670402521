"""/v1/chat/completions and /v1/completions, /v1/embeddings, /v1/audio/transcriptions.

As Ollama speaks OpenAI's dialect. These answers tell no durations; a stream tells tokens only to a
client that asked for `include_usage`. Not here: /v1/responses.
"""

from __future__ import annotations

from typing import Any

import msgspec

from ollama_proxy.exchange import Observation
from ollama_proxy.observers.events import EventObserver
from ollama_proxy.observers.ollama import EmbedObserver
from ollama_proxy.observers.options import asked_v1
from ollama_proxy.observers.privacy import Privacy
from ollama_proxy.observers.reading import NAME_LIMIT, count, decode, name, text, usual
from ollama_proxy.observers.requests import Request, Turn, first_text, keep_prompt
from ollama_proxy.observers.text import CALLS_LIMIT

DONE = b"[DONE]"
CHOICES_LIMIT = 128
"""Choices of one chunk that are read, as many as can be asked for; Ollama sends one."""


class Answer(msgspec.Struct):
    """What is read of an answer, or of a chunk of one."""

    model: Any = None
    choices: Any = None
    usage: Any = None
    error: Any = None
    text: Any = None
    debug: Any = msgspec.field(default=None, name="_debug_info")


class PlainDelta(msgspec.Struct, frozen=True):
    """A delta that says and thinks, and does nothing else."""

    content: str | None = None
    reasoning: str | None = None
    reasoning_content: str | None = None
    tool_calls: None = None


class PlainChoice(msgspec.Struct):
    delta: PlainDelta = PlainDelta()
    text: str = ""
    finish_reason: None = None


class PlainChunk(msgspec.Struct):
    choices: tuple[PlainChoice]
    error: None = None


class UsualMessage(PlainDelta, frozen=True, omit_defaults=True):
    """A message that calls no tool. Its probabilities, which may be long, are not read."""


class UsualChoice(msgspec.Struct):
    message: UsualMessage
    finish_reason: str | None = None


class Used(msgspec.Struct):
    prompt_tokens: int
    completion_tokens: int


class UsualAnswer(msgspec.Struct, omit_defaults=True):
    """An answer that is one object, with what Ollama sends and no more."""

    choices: tuple[UsualChoice]
    model: str | None = None
    usage: Used | None = None
    error: None = None


_PLAIN = msgspec.json.Decoder(PlainChunk)
_USUAL = msgspec.json.Decoder(UsualAnswer)
_ANSWER = msgspec.json.Decoder(Answer)


class ChatCompletionObserver(EventObserver):
    """/v1/chat/completions; a stream ends with `[DONE]`, before it come usage and finish."""

    # Where text is exactly one of these words, the piece is only read in vain.
    marks: tuple[bytes, ...] = (b'"error"', b'"tool_calls"', b'"reasoning')
    thinking_mark = b'"reasoning":"'

    def __init__(self, observation: Observation, privacy: Privacy) -> None:
        super().__init__(observation, privacy)
        self._open: dict[tuple[int | None, int | None], str | None] = {}

    def _count(self, block: bytes) -> int:
        return block.count(b"\ndata:") + block.startswith(b"data:")

    def _event(self, data: bytes) -> bool:
        if data.strip() == DONE:
            self._ended = True
            return False
        answer = self._understood(data)
        if answer is None:
            return False
        self._use(answer.usage, "prompt_tokens", "completion_tokens")
        return True in [self._choice(choice) for choice in choices_of(answer)]

    def _spoken(self, documents: list[bytes]) -> list[tuple[str, str]]:
        choices = [_PLAIN.decode(document).choices[0] for document in documents]
        return [
            (c.delta.content or c.text, c.delta.reasoning or c.delta.reasoning_content or "")
            for c in choices
        ]

    def _object(self, body: bytes) -> None:
        answer = self._understood(body)
        if answer is not None:
            self._use(answer.usage, "prompt_tokens", "completion_tokens")
            for choice in choices_of(answer):
                self._choice(choice)
            # `_debug_render_only` answers are whole, though nothing finished.
            done = self.observation.done_reason is not None or answer.debug is not None
            self._ended = done

    def _understood(self, data: bytes) -> Answer | None:
        answer = decode(_ANSWER, data) or usual(data, _USUAL, Answer)
        if answer is None or len(listed(answer.choices)) > CHOICES_LIMIT:
            self._not_understood(data)
            return None
        if answer.error:
            self._break(answer.error)
            return None
        self._know_model(answer.model)
        return answer

    def _choice(self, choice: dict[str, Any]) -> bool:
        """Read one choice. Whether it is more than the news that the answer is finished."""
        said = choice.get("delta", choice.get("message"))
        said = said if isinstance(said, dict) else {}
        content = text(said.get("content")) or text(choice.get("text"))
        thought = text(said.get("reasoning")) or text(said.get("reasoning_content"))
        calls = [call for call in listed(said.get("tool_calls")) if isinstance(call, dict)]
        self._say(content)
        self._think(thought)
        for call in calls:
            function = call.get("function")
            called = function.get("name") if isinstance(function, dict) else None
            if "message" in choice or self._is_new(call, count(choice.get("index"))):
                self._call_tool(called)
            else:
                self._name_tool(called)
        finished = self._stop(choice.get("finish_reason"))
        return not finished or bool(content or thought or calls)

    def _is_new(self, call: dict[str, Any], choice: int | None) -> bool:
        """Whether this is not one more part of a tool call, of which the first was counted.

        New is what comes first at its index, or has another id than what was there: Ollama sends
        each call whole, and may give several the same index.
        """
        place, id = (choice, count(call.get("index"))), name(call.get("id"))
        if place not in self._open and len(self._open) == CALLS_LIMIT:
            self._uncounted = True
            return False
        new = place not in self._open or id not in (None, self._open[place])
        if new:
            self._open[place] = id
        return new


class CompletionObserver(ChatCompletionObserver):
    """/v1/completions: text only, Ollama leaves out what the model thought."""

    tells_all = False

    marks = (b'"error"',)
    thinking_mark = b""

    def _prompt(self, request: Request, whole: bool) -> None:
        keep_prompt(first_text(request.prompt), self.observation, self.privacy)

    def _turns(self, request: Request) -> list[Turn]:
        return [("user", text(first_text(request.prompt)))]


class EmbeddingsObserver(EmbedObserver):
    """/v1/embeddings: what its answer uses stands behind the numbers, as in /api/embed."""

    def _options(self, request: Request, whole: bool) -> dict[str, Any] | None:
        return asked_v1(request, whole, self.privacy)

    def _facts(self, body: bytes) -> tuple[bool, object]:
        answer = decode(_ANSWER, body)
        if answer is None:
            return False, None
        used = answer.usage if isinstance(answer.usage, dict) else {}
        self.observation.input_tokens = count(used.get("prompt_tokens")) or None
        return True, answer.error


class TranscriptionObserver(ChatCompletionObserver):
    """/v1/audio/transcriptions: the model's name out of a form, and the text of the answer.

    Nothing is streamed, whatever the answer's Content-Type: its text comes as JSON or as it is.
    """

    stream_type = "none"
    waits_for_text = False
    tells_all = False

    def _request(self, body: bytes, whole: bool) -> None:
        self.observation.streamed = False
        self.observation.model = form_field(body, b"model")

    def _object(self, body: bytes) -> None:
        answer = self._understood(body) if body.startswith(b"{") else None
        if answer is not None:
            self._say(answer.text)
            self._ended = isinstance(answer.text, str)
        elif not body.startswith(b"{"):
            self._say(body.decode("utf-8", "replace"))
            self._ended = True


def choices_of(answer: Answer) -> list[dict[str, Any]]:
    return [choice for choice in listed(answer.choices) if isinstance(choice, dict)]


def listed(value: object) -> list[Any]:
    return value if isinstance(value, list) else []


def form_field(body: bytes, field: bytes) -> str | None:
    """A short field of a multipart form (RFC 7578), as far as the form was seen."""
    at = body.find(b'name="%b"' % field)
    head = body[body.rfind(b"\n", 0, at) + 1 : at].lower()
    start = body.find(b"\r\n\r\n", at)
    end = body.find(b"\r\n", start + 4)
    if at < 0 or start < 0 or end < 0 or not head.startswith(b"content-disposition:"):
        return None
    return name(body[start + 4 : end][:NAME_LIMIT].decode("utf-8", "replace"))
