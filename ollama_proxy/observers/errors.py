"""Error answers: reading the text out of any server's, and writing the proxy's own.

Pure. Which dialect a client speaks is told by the path alone, as Ollama does.
"""

from __future__ import annotations

from typing import Any, Literal

import msgspec

from ollama_proxy.observers.reading import decode

Dialect = Literal["ollama", "openai", "anthropic"]

_PLAIN_LIMIT = 200
_ANY: msgspec.json.Decoder[Any] = msgspec.json.Decoder()

# Ollama's own names, as its openai and anthropic packages give them.
_OPENAI_TYPES = {400: "invalid_request_error", 404: "not_found_error"}
_ANTHROPIC_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    503: "overloaded_error",
    529: "overloaded_error",
}


def dialect_of(path: str) -> Dialect:
    """Which API's shapes a client of this path expects."""
    if path == "/v1/messages" or path.startswith("/v1/messages/"):
        return "anthropic"
    return "openai" if path == "/v1" or path.startswith("/v1/") else "ollama"


def error_body(dialect: Dialect, message: str, status: int) -> bytes:
    """The proxy's own error answer as JSON, in the shape that the dialect's clients read."""
    body: dict[str, Any] = {"error": message}
    if dialect == "openai":
        kind = _OPENAI_TYPES.get(status, "api_error")
        body = {"error": {"message": message, "type": kind, "param": None, "code": None}}
    elif dialect == "anthropic":
        kind = _ANTHROPIC_TYPES.get(status, "api_error")
        body = {"type": "error", "error": {"type": kind, "message": message}}
    return msgspec.json.encode(body)


def error_text(body: bytes, content_type: str) -> str | None:
    """The message of an error answer: JSON of any dialect, or the beginning of plain text."""
    message = message_of(decode(_ANY, body))
    if message is None and content_type == "text/plain":
        message = body.decode("utf-8", "replace")[:_PLAIN_LIMIT].strip()
    return message or None


def message_of(value: object, depth: int = 6) -> str | None:
    """The message inside an error value; a text that is itself a JSON error is opened too."""
    if depth == 0:
        return None
    if isinstance(value, dict):
        inner = value["error"] if "error" in value else value.get("message")
        return message_of(inner, depth - 1)
    if not isinstance(value, str):
        return None
    if value.startswith("{"):
        return message_of(decode(_ANY, value.encode("utf-8", "replace")), depth - 1) or value
    return value
