"""Which observer looks at which route: the table. Observers are sans-IO: bytes in, facts out.

A route that is not listed is watched for the error text of a refusal only; it passes all the same.
"""

from __future__ import annotations

from collections.abc import Callable

from ollama_proxy.exchange import Observation
from ollama_proxy.observers.anthropic import MessagesObserver
from ollama_proxy.observers.base import REQUEST_LIMIT, Observer
from ollama_proxy.observers.errors import Dialect, dialect_of, error_body
from ollama_proxy.observers.generic import (
    ManagingObserver,
    ModelObserver,
    ProgressObserver,
    TransferObserver,
)
from ollama_proxy.observers.ollama import ChatObserver, EmbedObserver, GenerateObserver
from ollama_proxy.observers.openai import (
    ChatCompletionObserver,
    CompletionObserver,
    EmbeddingsObserver,
    TranscriptionObserver,
)
from ollama_proxy.observers.privacy import Mode, Privacy
from ollama_proxy.observers.responses import ResponsesObserver

__all__ = [
    "REQUEST_LIMIT",
    "ROUTES",
    "Dialect",
    "Mode",
    "Observer",
    "Observing",
    "Privacy",
    "dialect_of",
    "error_body",
    "kind_for",
    "observer_for",
]

Observing = Callable[[str, str], type[Observer]]
"""Chooses the kind of observer for a method and a path, which is without the query."""

ROUTES: dict[tuple[str, str], type[Observer]] = {
    ("POST", "/api/generate"): GenerateObserver,
    ("POST", "/api/chat"): ChatObserver,
    ("POST", "/api/embed"): EmbedObserver,
    ("POST", "/api/embeddings"): EmbedObserver,
    ("POST", "/api/pull"): TransferObserver,
    ("POST", "/api/push"): TransferObserver,
    ("POST", "/api/create"): ProgressObserver,
    ("POST", "/api/show"): ManagingObserver,
    ("POST", "/api/copy"): ManagingObserver,
    ("DELETE", "/api/delete"): ManagingObserver,
    ("POST", "/v1/chat/completions"): ChatCompletionObserver,
    ("POST", "/v1/completions"): CompletionObserver,
    ("POST", "/v1/embeddings"): EmbeddingsObserver,
    ("POST", "/v1/responses"): ResponsesObserver,
    ("POST", "/v1/audio/transcriptions"): TranscriptionObserver,
    ("POST", "/v1/messages"): MessagesObserver,
    ("POST", "/v1/"): ModelObserver,
}
"""A path that ends in a slash stands for every path below it."""


def kind_for(method: str, path: str) -> type[Observer]:
    """The kind of observer that looks at such calls. `path` is without the query."""
    kind = ROUTES.get((method, path))
    if kind is None:
        below = path[: path.find("/", 1) + 1]
        kind = ROUTES.get((method, below), Observer)
    return kind


def observer_for(method: str, path: str, observation: Observation, privacy: Privacy) -> Observer:
    """The observer of one call, which fills `observation`."""
    return kind_for(method, path)(observation, privacy)
