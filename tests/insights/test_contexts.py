"""The context that a call ran with: what it asked for, or what a look saw and nothing disturbed."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_proxy.insights.contexts import Contexts, asked_context
from ollama_proxy.records import ModelInfo

MODEL = "llama3.2:latest"


def loaded(context: int, trained: int | None = None) -> list[ModelInfo]:
    info = ModelInfo(
        name="llama3.2:latest", loaded=True, context_length=context, trained_context=trained
    )
    return [info, ModelInfo(name="other:1b")]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (None, None),
        ({}, None),
        ({"num_ctx": 8192}, 8192),
        ({"num_ctx": 4096.0}, 4096),
        ({"num_ctx": 0}, 4),
        ({"num_ctx": "8192"}, None),
        ({"num_ctx": True}, None),
        ({"num_ctx": float("inf")}, None),
        ({"num_ctx": 10**400}, 2**31),
        ({"num_ctx": 1e300}, 2**31),
        ({"num_ctx": None}, None),
    ],
)
def test_what_a_request_asks_for(options: dict[str, Any] | None, expected: int | None) -> None:
    assert asked_context(options) == expected


def test_what_was_asked_for_up_to_what_the_model_was_made_for() -> None:
    contexts = Contexts()
    assert contexts.of(MODEL, 16_384) == 16_384
    contexts.looked(loaded(8192, trained=8192), 1.0, [])
    assert contexts.of(MODEL, 16_384) == 8192


def test_where_nothing_was_asked_for_a_look_after_the_call_tells() -> None:
    contexts = Contexts()
    contexts.looked(loaded(4096), 1.0, [])
    assert contexts.of(MODEL, None) is None  # loaded by whom?
    contexts.served(MODEL, None, 2.0)
    contexts.looked(loaded(4096), 1.5, [])
    assert contexts.of(MODEL, None) is None  # it began before
    contexts.looked(loaded(4096), 2.5, [(MODEL, None)])
    assert contexts.of(MODEL, None) == 4096


def test_a_look_beside_a_call_that_asks_for_another_tells_nothing() -> None:
    contexts = Contexts()
    contexts.served(MODEL, None, 1.0)
    contexts.looked(loaded(2048), 2.0, [(MODEL, 2048)])
    assert contexts.of(MODEL, None) is None
    contexts.served(MODEL, 2048, 3.0)
    contexts.looked(loaded(2048), 4.0, [])
    assert contexts.of(MODEL, None) is None


def test_what_somebody_else_loaded_is_no_context_of_calls_here() -> None:
    contexts = Contexts()
    contexts.served(MODEL, None, 1.0)
    contexts.looked(loaded(4096), 2.0, [])
    contexts.looked(loaded(16_384), 3.0, [(MODEL, None)])
    assert contexts.outside(MODEL) is None  # that call may have it loaded anew just now
    contexts.looked(loaded(16_384), 4.0, [])
    assert (contexts.outside(MODEL), contexts.of(MODEL, None)) == (16_384, 4096)
    contexts.served(MODEL, None, 5.0, loaded=True)
    assert contexts.outside(MODEL) is None
    contexts.looked(loaded(16_384), 6.0, [])
    assert (contexts.outside(MODEL), contexts.of(MODEL, None)) == (16_384, 4096)
    contexts.looked([], 7.0, [])  # it went, or is being loaded
    assert contexts.outside(MODEL) is None
    contexts.looked(loaded(16_384), 8.0, [])
    assert contexts.outside(MODEL) == 16_384


def test_another_context_that_calls_which_name_none_run_with_is_their_own_by_now() -> None:
    contexts = Contexts()
    for moment, context in ((1.0, 4096), (3.0, 8192), (5.0, 8192)):  # Ollama was set up anew
        contexts.served(MODEL, None, moment)
        contexts.looked(loaded(context), moment + 1, [])
    assert (contexts.outside(MODEL), contexts.of(MODEL, None)) == (8192, 8192)
    contexts.served(MODEL, None, 7.0)
    contexts.looked(loaded(8192), 8.0, [])
    assert contexts.outside(MODEL) is None


def test_a_call_that_was_broken_off_may_have_loaded_the_model_or_not() -> None:
    contexts = Contexts()
    contexts.looked(loaded(4096, trained=8192), 0.0, [])
    contexts.served(MODEL, 8192, 1.0, answered=False)
    contexts.looked(loaded(4096, trained=8192), 2.0, [])
    assert contexts.outside(MODEL) is None
    contexts.served(MODEL, 8192, 3.0)
    contexts.looked(loaded(4096, trained=8192), 4.0, [])
    assert contexts.outside(MODEL) == 4096


def test_another_name_of_what_runs_is_no_other_program() -> None:
    contexts = Contexts()
    contexts.served("variant:latest", 8192, 1.0, runner=MODEL)
    contexts.served(MODEL, None, 2.0, runner=MODEL, answered=False)
    contexts.looked(loaded(8192), 3.0, [])
    assert contexts.outside(MODEL) is None
