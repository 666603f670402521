"""What an observer makes of a request for the findings: the prompt's sketch, in each dialect."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ollama_proxy.exchange import Observation
from ollama_proxy.observers import observer_for
from ollama_proxy.observers.ollama import listed
from ollama_proxy.observers.privacy import Privacy
from ollama_proxy.sketch import Sketch, sketch

USER = {"role": "user", "content": "hello"}
TALK = [{"role": "system", "content": "be kind"}, USER]


def sketched(path: str, whole: bool = True, mode: str = "none", **request: Any) -> Sketch:
    seen = Observation()
    body = json.dumps({"model": "m", **request}).encode()
    observer_for("POST", path, seen, Privacy.build(mode)).request(body, whole)
    assert seen.sketch is not None
    return seen.sketch


@pytest.mark.parametrize(
    ("path", "request_", "turns"),
    [
        ("/api/generate", {"prompt": "hello"}, [("user", "hello")]),
        (
            "/api/generate",
            {"prompt": "hello", "system": "be kind"},
            [("system", "be kind"), ("user", "hello")],
        ),
        ("/api/chat", {"messages": TALK}, [("system", "be kind"), ("user", "hello")]),
        ("/v1/chat/completions", {"messages": TALK}, [("system", "be kind"), ("user", "hello")]),
        ("/v1/completions", {"prompt": "hello"}, [("user", "hello")]),
        ("/v1/responses", {"input": "hello"}, [("user", "hello")]),
        (
            "/v1/messages",
            {"system": "be kind", "messages": [USER]},
            [("system", "be kind"), ("user", "hello")],
        ),
    ],
)
@pytest.mark.parametrize("mode", ["none", "full"])
def test_the_same_conversation_has_the_same_sketch_in_every_dialect(
    path: str, request_: dict[str, Any], turns: list[tuple[str, str]], mode: str
) -> None:
    assert sketched(path, mode=mode, **request_) == sketch(turns, True)


@pytest.mark.parametrize(
    "more",
    [
        {"messages": [{**USER, "images": ["aGVsbG8="]}]},
        {"messages": TALK, "tools": [{"type": "function"}]},
        {"messages": [USER, {"role": "assistant", "tool_calls": [{"function": {}}]}]},
    ],
    ids=["image", "tools", "tool call"],
)
def test_what_takes_tokens_that_nobody_can_count_is_said(more: dict[str, Any]) -> None:
    assert not sketched("/api/chat", **more).plain


@pytest.mark.parametrize(
    "more",
    [{"raw": True}, {"template": "{{ .Prompt }}"}, {"suffix": "end"}, {"context": [1, 2, 3]}],
    ids=lambda more: next(iter(more)),
)
def test_a_generate_of_its_own_kind_is_not_plain(more: dict[str, Any]) -> None:
    assert not sketched("/api/generate", prompt="hello", **more).plain


def test_a_request_of_which_only_the_beginning_was_seen_is_not_plain() -> None:
    assert not sketched("/api/chat", whole=False, messages=TALK).plain


def test_a_client_may_ask_for_an_error_in_place_of_a_cut() -> None:
    assert not sketched("/api/chat", messages=TALK, truncate=False).may_cut
    assert sketched("/api/chat", messages=TALK, truncate=True).may_cut


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"done":true,"context":[1,22,333],"total_duration":1}', 3),
        (b'{"done":true,"context":[7]}', 1),
        (b'{"done":true,"context":[]}', 0),
        (b'{"done":true}', None),
        (b'{"response":"\\"context\\":[1,2]","done":true}', None),
    ],
)
def test_the_tokens_that_an_answer_lists_are_counted(line: bytes, expected: int | None) -> None:
    assert listed(line) == expected
