"""What of a call was for nobody: who left, what was sent again, answers that are none."""

from __future__ import annotations

from typing import Any

import pytest

from ollama_proxy.insights.waste import REMEMBERED, Waste, Wastes
from tests.storage.calls import make_call

LEFT: dict[str, Any] = {"state": "cancelled", "reason": "client_disconnected"}


def told(
    wastes: Wastes | None = None,
    *,
    mark: int | None = None,
    served: float | None = None,
    client: str = "a.py",
    **fields: Any,
) -> Waste | None:
    return (wastes or Wastes()).ended(make_call(client=client, **fields), "m", mark, served)


def test_who_leaves_wastes_what_was_done_so_far() -> None:
    assert told(**LEFT, served=3.0, output_chunks=40) == Waste("left", 40, 3.0)
    # While it waited nothing was done for it.
    assert told(**LEFT, served=None) is None
    assert told(state="cancelled", reason="operator", served=3.0) is None


def test_the_same_request_again_is_known_by_its_mark() -> None:
    wastes = Wastes()
    spans: dict[str, Any] = {"input_tokens": 9, "prefill": 1.0, "decode": 2.0, "output_tokens": 50}
    assert told(wastes, mark=7, **spans) is None
    assert told(wastes, mark=8, **spans) is None
    assert told(wastes, mark=7, **spans) == Waste("repeated", 50, 3.0)
    assert told(wastes, mark=7, client="b.py", **spans) is None
    assert told(wastes, mark=None, **spans) is None


def test_of_a_repeated_request_that_looped_all_was_for_nothing() -> None:
    wastes = Wastes()
    spans: dict[str, Any] = {"input_tokens": 9, "prefill": 1.0, "decode": 2.0, "output_tokens": 50}
    assert wastes.ended(make_call(**spans), "m", 7, None) is None
    assert wastes.ended(make_call(**spans), "m", 7, None, 0.5) == Waste("repeated", 50, 3.0)


def test_a_request_whose_answer_was_none_to_keep_may_be_sent_again() -> None:
    wastes = Wastes()
    spans: dict[str, Any] = {"input_tokens": 9, "prefill": 1.0, "decode": 2.0, "output_tokens": 50}
    empty: dict[str, Any] = {"response": "", "done_reason": "length", "thinking_characters": 9}
    told = [
        wastes.ended(make_call(**spans), "m", 7, None, 0.5),
        wastes.ended(make_call(**spans | empty), "m", 7, None),
        wastes.ended(make_call(**spans), "m", 7, None),
        wastes.ended(make_call(**spans), "m", 7, None),
    ]
    kinds = [one and one.kind for one in told]
    assert kinds == ["looped", "thought_only", None, "repeated"]


def test_a_request_that_got_no_answer_may_be_sent_again() -> None:
    wastes = Wastes()
    for _ in range(2):
        assert told(wastes, mark=7, state="failed", reason="http_status") is None
    assert told(wastes, mark=7) is None


@pytest.mark.parametrize("path", ["/api/embed", "/api/embeddings", "/v1/embeddings"])
def test_an_embedding_that_was_made_before(path: str) -> None:
    wastes = Wastes()
    assert told(wastes, mark=7, path=path, duration=0.5) is None
    assert told(wastes, mark=7, path=path, duration=0.5) == Waste("embedded_again", None, 0.5)


@pytest.mark.parametrize(
    ("fields", "wasted"),
    [
        ({"response": ""}, True),
        ({"streamed": True, "time_to_first_answer": None, "response": None}, True),
        ({"streamed": True, "time_to_first_answer": 2.0, "response": None}, False),
        ({"response": "yes"}, False),
        ({"response": "", "done_reason": "stop"}, False),
        ({"response": "", "thinking_characters": 0}, False),
    ],
)
def test_an_answer_that_is_thinking_alone(fields: dict[str, Any], wasted: bool) -> None:
    known: dict[str, Any] = {
        "done_reason": "length",
        "thinking_characters": 900,
        "output_tokens": 300,
    }
    found = told(**known | fields)
    assert found == (Waste("thought_only", 300, None) if wasted else None)


def test_an_answer_without_an_end() -> None:
    broken: dict[str, Any] = {"state": "failed", "reason": "incomplete", "served": 1.5}
    assert told(**broken, output_chunks=30) == Waste("unfinished", 30, 1.5)
    # So many tokens may have been the same one, at which Ollama breaks off.
    assert told(**broken, output_chunks=31) == Waste("unfinished", 31, 1.5, detail="repeats")


def test_it_remembers_no_more_than_it_may() -> None:
    wastes = Wastes()
    for mark in range(REMEMBERED + 1):
        told(wastes, mark=mark, input_tokens=9)
    assert told(wastes, mark=0, input_tokens=9) is None
    assert told(wastes, mark=REMEMBERED, input_tokens=9) is not None


def test_what_keeps_a_model_loaded_is_not_repeated() -> None:
    wastes = Wastes()
    assert [told(wastes, mark=7) for _ in range(3)] == [None] * 3
