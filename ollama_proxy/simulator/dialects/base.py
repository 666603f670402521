"""What a dialect is, and the finished answer it is given.

Not here: any wire format.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, field
from typing import Any, ClassVar

from .. import wire
from ..calls import Body, Call
from ..script import Piece, ToolCall
from ..text import generator


@dataclass(slots=True)
class Metrics:
    """Ollama's final figures, durations in nanoseconds. What total leaves over was the queue."""

    total: int
    load: int
    prompt_tokens: int
    prefill: int
    eval_tokens: int
    decode: int

    def fields(self) -> dict[str, int]:
        """Under Ollama's names; zeros are omitted there."""
        named = {
            "total_duration": self.total,
            "load_duration": self.load,
            "prompt_eval_count": self.prompt_tokens,
            "prompt_eval_duration": self.prefill,
            "eval_count": self.eval_tokens,
            "eval_duration": self.decode,
        }
        return {k: v for k, v in named.items() if v}


EVENT_HEADERS = {
    "Cache-Control": "no-cache",
    "Connection": "keep-alive",
    "Content-Type": wire.SSE,
}
NO_METRICS = Metrics(0, 0, 0, 0, 0, 0)


@dataclass
class Answer:
    """All that was said. `reason` is empty when the runner never came to an end."""

    content: str = ""
    thinking: str = ""
    tool_calls: list[ToolCall] = field(default_factory=list)
    logprobs: list[dict[str, Any]] = field(default_factory=list)
    reason: str = ""
    metrics: Metrics = field(default_factory=lambda: NO_METRICS)
    context: list[int] = field(default_factory=list)


class Dialect(ABC):
    """One answer in one API's words. A list of bytes is a list of HTTP chunks."""

    stream_headers: ClassVar[dict[str, str]]
    whole_type: ClassVar[str] = wire.JSON
    empty_body: ClassVar[str] = "EOF"

    def __init__(self, call: Call, body: Body) -> None:
        self.call = call
        self.body = body

    @staticmethod
    @abstractmethod
    def read(body: Body) -> Call:
        """Raise `Refused` for what this API does not take."""

    @staticmethod
    @abstractmethod
    def error(status: int, message: str) -> bytes:
        """The body of an answer other than 200."""

    @abstractmethod
    def piece(self, piece: Piece) -> list[bytes]: ...

    @abstractmethod
    def end(self, answer: Answer) -> list[bytes]:
        """After the last piece of an answer that ended well."""

    @abstractmethod
    def broken(self, message: str) -> list[bytes]:
        """What a stream with status 200 says of a failure."""

    @abstractmethod
    def whole(self, answer: Answer) -> bytes:
        """The body when it is not streamed."""

    def rendered(self, prompt: str) -> bytes:
        """The answer to `_debug_render_only`."""
        return self.whole(Answer())


def logprobs_of(call: Call, piece: Piece) -> list[dict[str, Any]]:
    """Made-up probabilities, if asked for."""
    if not call.logprobs:
        return []
    token = piece.content or piece.thinking
    rng = generator("logprob", token)
    likely = _logprob(token, -rng.random())
    others = [_logprob(f" {i}", -2.0 - i - rng.random()) for i in range(call.top_logprobs - 1)]
    if not call.top_logprobs:
        return [likely]
    return [likely | {"top_logprobs": [likely, *others]}]


def _logprob(token: str, value: float) -> dict[str, Any]:
    return {"token": token, "logprob": value, "bytes": list(token.encode())}


def omit_empty(**values: Any) -> dict[str, Any]:
    """Go's omitempty."""
    return {k: v for k, v in values.items() if v}


def arguments_json(call: ToolCall) -> str:
    return wire.encode(call.arguments).decode()
