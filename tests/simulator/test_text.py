"""What is made up is decided by the seed and fits what was asked for."""

from __future__ import annotations

import json
import math
from itertools import islice
from typing import Any

import pytest

from ollama_proxy.simulator import text
from ollama_proxy.simulator.calls import Call, Message
from ollama_proxy.simulator.faults import NONE
from ollama_proxy.simulator.script import Script, until_stop, write

ASKED = [Message("user", "Tell me.")]


def said(script: Script) -> str:
    return "".join(piece.content for piece in script)


def script_of(thinks: bool = False, fixed: int | None = None, **fields: Any) -> Script:
    call = Call(**({"model": "m", "messages": ASKED} | fields))
    return write(call, seed=7, thinks=thinks, fixed=fixed, fault=NONE)


def test_the_same_seed_says_the_same() -> None:
    assert said(script_of()) == said(script_of())
    assert said(script_of()) != said(script_of(options={"seed": 2}))
    assert said(script_of()).startswith("This answer is simulated.")


def test_prose_does_not_stick_to_one_token() -> None:
    tokens = list(islice(text.prose(text.generator(1)), 20_000))
    assert all(len(set(tokens[i : i + 31])) > 5 for i in range(0, 19_000, 31))


def test_num_predict_limits_and_says_length() -> None:
    script = script_of(options={"num_predict": 5}, fixed=100)
    assert len(list(script)) == 5
    assert (script.reason, script.evaluated) == ("length", 5)


def test_a_natural_end_costs_one_token_more() -> None:
    script = script_of(fixed=10)
    assert len(list(script)) == 10
    assert (script.reason, script.evaluated) == ("stop", 11)


def test_thinking_may_use_up_the_whole_budget() -> None:
    script = script_of(thinks=True, options={"num_predict": 6})
    assert all(piece.thinking and not piece.content for piece in script)
    assert script.reason == "length"


@pytest.mark.parametrize(
    ("tokens", "stops", "expected"),
    [
        (["a", "b", "c"], ["b"], "a"),
        (["a", "EN", "D", "z"], ["END"], "a"),
        (["a", "EN", "X", "z"], ["END"], "aENXz"),
        (["aENDb"], ["END", "x"], "a"),
        (["a", "EN"], ["END"], "aEN"),
        (["a", "b"], [], "ab"),
    ],
)
def test_stop_sequences(tokens: list[str], stops: list[str], expected: str) -> None:
    assert "".join(until_stop(tokens, stops)) == expected


def test_a_stop_in_the_options_ends_the_answer() -> None:
    assert said(script_of(options={"stop": " is"})) == "This answer"


@pytest.mark.parametrize(
    "schema",
    [
        {"type": "object", "properties": {"trend": {"type": "string", "enum": ["up", "down"]}}},
        {"type": "array", "items": {"type": "integer"}},
        {"properties": {"a": {"type": ["number", "null"]}, "b": {"type": "boolean"}}},
    ],
)
def test_formats_are_kept(schema: dict[str, Any]) -> None:
    value = json.loads(said(script_of(format=schema)))
    assert isinstance(value, list) == (schema.get("type") == "array")
    assert set(value) == set(schema["properties"]) if "properties" in schema else value[0] > 0


def test_a_tool_is_called_with_fitting_arguments() -> None:
    parameters = {"type": "object", "properties": {"symbol": {"enum": ["BTC"]}}}
    tool = {"type": "function", "function": {"name": "price", "parameters": parameters}}
    (piece,) = script_of(tools=[tool])
    assert piece.tool_call is not None
    assert (piece.tool_call.name, piece.tool_call.arguments) == ("price", {"symbol": "BTC"})
    assert piece.tokens > 3
    answered = [*ASKED, Message("tool", "1 USD")]
    assert said(script_of(tools=[tool], messages=answered))


@pytest.mark.parametrize(
    ("words", "tokens"),
    [("", 0), ("a b", 2), ("hi!", 2), ("日本", 2), ("42", 2), ("internationalisation", 2)],
)
def test_tokens_are_about_words(words: str, tokens: int) -> None:
    assert text.count_tokens(words) == tokens


def test_very_long_texts_are_counted_in_proportion() -> None:
    assert text.count_tokens("word " * 200_000) == pytest.approx(200_000, rel=0.01)


def test_vectors_have_length_one_and_like_shared_words() -> None:
    one, near, far = (
        text.vector(t, 64, 7)
        for t in ("the red river harbour", "the red river window", "some other thing entirely")
    )
    assert math.hypot(*one) == pytest.approx(1, abs=1e-6)
    assert sum(map(float.__mul__, one, near)) > sum(map(float.__mul__, one, far))
