"""Which observer looks at which route, and the proxy's own error answers by dialect (L2)."""

from __future__ import annotations

import json
from typing import get_args

import pytest

from ollama_proxy.exchange import MODEL_PATHS, Observation
from ollama_proxy.observers import (
    ROUTES,
    Dialect,
    Observer,
    Privacy,
    dialect_of,
    error_body,
    observer_for,
)
from ollama_proxy.observers.errors import error_text
from ollama_proxy.observers.generic import ModelObserver
from tests.observers.spoken import ALL
from tests.observers.watching import recording


@pytest.mark.parametrize(("method", "path"), [route for route in ROUTES if route[1] != "/v1/"])
def test_table(method: str, path: str) -> None:
    assert type(observer_for(method, path, Observation(), Privacy())) is ROUTES[method, path]


@pytest.mark.parametrize(
    "path", ["/v1/next/years/route", "/v1/messages/count_tokens", "/v1/responses/compact"]
)
def test_everything_below_v1(path: str) -> None:
    assert type(observer_for("POST", path, Observation(), Privacy())) is ModelObserver
    assert type(observer_for("GET", path, Observation(), Privacy())) is Observer


def test_whatever_runs_a_model_is_read() -> None:
    read = {path for _, path in ROUTES}
    assert read.issuperset(MODEL_PATHS)
    for path in ALL:
        assert observer_for("POST", path, Observation(), Privacy()).waits_for_text


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/api/chat"),
        ("POST", "/api/chat/"),
        ("POST", "/api/next"),
        ("HEAD", "/"),
        ("OPTIONS", "*"),
        ("POST", ""),
        ("POST", "/v10/x"),
        ("POST", "//v1/x"),
    ],
)
def test_anything_else_is_watched_for_errors_only(method: str, path: str) -> None:
    observer = observer_for(method, path, Observation(), Privacy())
    assert type(observer) is Observer
    assert not observer.waits_for_text


@pytest.mark.parametrize(
    ("path", "dialect"),
    [
        ("/api/chat", "ollama"),
        ("/", "ollama"),
        ("/v1/chat/completions", "openai"),
        ("/v1", "openai"),
        ("/v1x", "ollama"),
        ("/v1/messages", "anthropic"),
        ("/v1/messages/count_tokens", "anthropic"),
        ("/v1/messagesx", "openai"),
    ],
)
def test_dialect(path: str, dialect: Dialect) -> None:
    assert dialect_of(path) == dialect


@pytest.mark.parametrize(
    ("dialect", "name"),
    [
        ("ollama", "chat_model_missing"),
        ("openai", "v1_chat_model_missing"),
        ("anthropic", "v1_messages_model_missing"),
    ],
)
def test_own_error_has_the_shape_of_ollamas(dialect: Dialect, name: str) -> None:
    theirs = json.loads(recording(name).answer)
    theirs.pop("request_id", None)
    assert json.loads(error_body(dialect, "model 'nope' not found", 404)) == theirs


@pytest.mark.parametrize("dialect", get_args(Dialect))
@pytest.mark.parametrize("status", [400, 403, 502, 503, 504])
def test_own_error_is_read_back(dialect: Dialect, status: int) -> None:
    message = 'upstream "x"\n<b>\u2028 failed'
    assert error_text(error_body(dialect, message, status), "application/json") == message
