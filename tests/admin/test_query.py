"""How Ollama compares model names, and what an id is."""

from __future__ import annotations

import pytest

from ollama_proxy.admin.query import is_id, same_model, spellings
from ollama_proxy.exchange import model_key, new_id


@pytest.mark.parametrize(
    "name",
    ["llama3", "LLAMA3", "llama3:latest", "library/llama3", "registry.ollama.ai/library/llama3"],
)
def test_all_spellings_of_a_model_are_one(name: str) -> None:
    assert model_key(name) == "llama3:latest"
    assert same_model(name, "llama3")


@pytest.mark.parametrize("name", ["llama3:8b", "me/llama3", "localhost:5000/llama3", "", None])
def test_other_models_stay_others(name: str | None) -> None:
    assert not same_model(name, "llama3")


def test_a_port_is_not_a_tag() -> None:
    assert model_key("host:5000/me/m") == "host:5000/me/m:latest"


def test_a_store_is_asked_for_each_spelling_once() -> None:
    assert spellings(None) == [None]
    assert spellings("llama3") == ["llama3", "llama3:latest"]
    assert spellings("m:8B") == ["m:8B", "m:8b"]


def test_ids_are_recognised() -> None:
    assert is_id(new_id(0.0))
    for text in ("", "x" * 26, "0" * 25, "0" * 27, "I" * 26):
        assert not is_id(text)
