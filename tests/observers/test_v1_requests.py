"""What is read of a /v1 request, and the images of any request; none of them is ever kept."""

from __future__ import annotations

import base64
import json
from typing import Any

import msgspec
import pytest

from ollama_proxy.exchange import Observation
from ollama_proxy.observers import REQUEST_LIMIT, Privacy
from ollama_proxy.observers.options import OPTIONS_LIMIT
from tests.observers.spoken import EVENTS
from tests.observers.watching import Call

FULL = Privacy.build("full")
CHAT = "/v1/chat/completions"
COMPLETION = "/v1/completions"
RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"


def asked(path: str, body: object, **more: Any) -> Observation:
    """What is known of a request to which nobody answered yet."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Call(path=path, body=data, status=0, content_type="", **more).facts()


def text(said: str, kind: str = "text") -> dict[str, Any]:
    return {"type": kind, "text": said}


def user(content: object) -> dict[str, Any]:
    return {"role": "user", "content": content}


ASSISTANT = {"role": "assistant", "content": "One."}
TOOL = {"type": "tool_result", "tool_use_id": "t", "content": [text("4")]}
OUTPUT = {"type": "function_call_output", "call_id": "c", "output": "4"}
CALLED = {"type": "function_call", "call_id": "c", "name": "f", "arguments": "{}"}
CONVERSATIONS = [
    (CHAT, {"messages": [user("Two?")]}, "Two?", "user: Two?"),
    (CHAT, {"messages": [user([text("Two"), text("words?")])]}, "Two\nwords?", None),
    (
        CHAT,
        {"messages": [{"role": "system", "content": "s"}, user("One?"), ASSISTANT, user("Two?")]},
        "Two?",
        "system: s\nuser: One?\nassistant: One.\nuser: Two?",
    ),
    (
        CHAT,
        {"messages": [user("Two?"), {"role": "tool", "content": "4", "tool_call_id": "c"}]},
        "Two?",
        "user: Two?\ntool: 4",
    ),
    (
        MESSAGES,
        {"system": "s", "messages": [user("Two?"), ASSISTANT, user([TOOL])]},
        "Two?",
        "system: s\nuser: Two?\nassistant: One.\ntool: 4",
    ),
    (
        MESSAGES,
        {"system": [text("s"), text("t")], "messages": [user([TOOL, text("Two?")])]},
        "Two?",
        "system: s\nt\ntool: 4\nuser: Two?",
    ),
    (RESPONSES, {"input": "Two?", "instructions": "s"}, "Two?", "system: s\nuser: Two?"),
    (
        RESPONSES,
        {"input": [user([text("Two?", "input_text")]), CALLED, OUTPUT]},
        "Two?",
        "user: Two?\nassistant: \ntool: 4",
    ),
    (COMPLETION, {"prompt": "Two?"}, "Two?", "Two?"),
    (COMPLETION, {"prompt": ["Two?", "Three?"]}, "Two?", "Two?"),
    ("/v1/embeddings", {"input": ["Two?", "Three?"]}, "Two?", "Two?"),
    (CHAT, {"messages": []}, None, None),
    (COMPLETION, {"prompt": [1, 2]}, None, None),
    (COMPLETION, {"prompt": ""}, "", ""),
]


class TestPrompts:
    @pytest.mark.parametrize(("path", "body", "newest", "whole"), CONVERSATIONS)
    def test_newest_text_of_the_user_or_all_of_it(
        self, path: str, body: dict[str, Any], newest: str | None, whole: str | None
    ) -> None:
        assert asked(path, body).prompt == newest
        assert asked(path, body, privacy=Privacy.build("none")).prompt is None
        if whole is not None:
            assert asked(path, body, privacy=FULL).prompt == whole

    @pytest.mark.parametrize("path", [CHAT, MESSAGES, RESPONSES])
    def test_hash_differs_when_an_earlier_turn_does(self, path: str) -> None:
        hashed = Privacy.build("hash")
        bodies = [{"messages": m, "input": m} for m in ([user("a")], [user("b"), user("a")])]
        one, two = (asked(path, body, privacy=hashed).prompt for body in bodies)
        assert one != two
        assert one is not None and one.startswith("sha256:")
        cut = json.dumps({"model": "m", **bodies[0]}).encode()[:-3]
        assert asked(path, cut, whole=False, privacy=hashed).prompt is None

    @pytest.mark.parametrize("value", [None, 5, "x", {}, [5], [[]], [{}], [{"role": 5}]])
    @pytest.mark.parametrize("path", EVENTS)
    def test_wrong_types(self, path: str, value: object) -> None:
        keys = ("messages", "input", "prompt", "system", "instructions", "text", "reasoning")
        body = {"model": "m", **dict.fromkeys(keys, value), "temperature": 0.5}
        for privacy in (Privacy(), FULL):
            seen = asked(path, body, privacy=privacy)
            assert (seen.model, seen.not_understood) == ("m", 0)
            assert seen.options == {"temperature": 0.5}
        nested = {"model": "m", "messages": [user(value), user([text("a") | {"content": value}])]}
        assert asked(path, nested).not_understood == 0

    def test_a_picture_before_the_words_of_a_cut_request(self) -> None:
        image = {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * 400}}
        body = json.dumps({"model": "m", "messages": [user([text("What?"), image])]}).encode()
        seen = asked(CHAT, body[:-100], whole=False)
        assert (seen.model, seen.prompt, seen.images) == ("m", "What?", None)


class TestStreaming:
    @pytest.mark.parametrize("path", EVENTS)
    def test_as_asked_else_not(self, path: str) -> None:
        assert asked(path, {"model": "m"}).streamed is False
        assert asked(path, {"stream": True}).streamed is True
        assert asked(path, {"stream": "yes"}).streamed is None


OPTIONS: dict[str, Any] = {
    "temperature": 0,
    "top_p": 0.5,
    "top_k": 40,
    "max_tokens": 1,
    "max_completion_tokens": 2,
    "max_output_tokens": 3,
    "seed": 7,
    "stop": ["x"],
    "stop_sequences": ["y"],
    "frequency_penalty": 0.1,
    "presence_penalty": 0.2,
    "stream_options": {"include_usage": True},
}


class TestOptions:
    @pytest.mark.parametrize("path", EVENTS)
    def test_what_was_asked_for(self, path: str) -> None:
        assert asked(path, OPTIONS).options == OPTIONS
        assert asked(path, {"model": "m", "tools": [], "user": "u"}).options is None
        strict = asked(path, OPTIONS, privacy=Privacy.build("none")).options or {}
        texts = {"stop", "stop_sequences", "stream_options"}
        assert {key for key, value in strict.items() if value is None} == texts

    @pytest.mark.parametrize(
        ("body", "options"),
        [
            ({"response_format": {"type": "json_object"}}, {"format": "json"}),
            ({"response_format": {"type": "json_schema", "json_schema": {}}}, {"format": "schema"}),
            ({"response_format": {"type": "text"}}, None),
            ({"text": {"format": {"type": "json_schema", "schema": {}}}}, {"format": "schema"}),
            ({"text": {"format": {"type": "text"}}}, None),
            ({"reasoning_effort": "high"}, {"think": "high"}),
            ({"reasoning": {"effort": "low", "summary": "auto"}}, {"think": "low"}),
            ({"reasoning": {"effort": "low"}, "reasoning_effort": "high"}, {"think": "low"}),
            ({"thinking": {"type": "enabled", "budget_tokens": 9}}, {"think": True}),
            ({"thinking": {"type": "disabled"}}, {"think": False}),
            ({"output_config": {"effort": "max"}}, {"think": "max"}),
            ({"reasoning_effort": "my canary"}, None),
            ({"reasoning": {"effort": 5}, "thinking": {"type": 5}}, None),
        ],
    )
    def test_format_and_thinking_have_one_name_each(
        self, body: dict[str, Any], options: dict[str, Any] | None
    ) -> None:
        assert asked(CHAT, body).options == options

    def test_of_a_cut_request_only_what_was_seen_whole(self) -> None:
        body = json.dumps({"model": "m", **OPTIONS, "reasoning_effort": "high"}).encode()
        whole = asked(CHAT, body).options or {}
        for end in range(len(body)):
            seen = asked(CHAT, body[:end], whole=False)
            assert seen.not_understood == 0
            assert (seen.options or {}).items() <= whole.items()

    def test_large_ones_are_reduced_to_their_keys(self) -> None:
        body = {"stop": "s" * OPTIONS_LIMIT, "seed": 1}
        assert asked(CHAT, body, privacy=FULL).options == {"stop": None, "seed": None}
        assert asked(CHAT, body).options == {"stop": None, "seed": 1}


PICTURES = [b"", b"a", b"ab", b"abc", bytes(1000)]
SIZE = sum(map(len, PICTURES))


def base(picture: bytes) -> str:
    return base64.b64encode(picture).decode()


def urls(kind: str, nested: bool) -> list[dict[str, Any]]:
    listed = [f"data:image/png;base64,{base(one)}" for one in PICTURES]
    return [{"type": kind, "image_url": {"url": u} if nested else u} for u in listed]


def sources() -> list[dict[str, Any]]:
    listed = [{"type": "base64", "media_type": "image/png", "data": base(p)} for p in PICTURES]
    return [{"type": "image", "source": source} for source in listed]


class TestImages:
    NATIVE = ({"role": "user", "images": [base(p) for p in PICTURES]},)

    @pytest.mark.parametrize(
        ("path", "body"),
        [
            ("/api/generate", {"images": [base(picture) for picture in PICTURES]}),
            ("/api/chat", {"messages": [*NATIVE, {"role": "assistant", "content": "a"}]}),
            (CHAT, {"messages": [user([*urls("image_url", True), text("a")])]}),
            (CHAT, {"messages": [user([one]) for one in urls("image_url", False)]}),
            (RESPONSES, {"input": [user(urls("input_image", False))]}),
            (RESPONSES, {"input": [{**OUTPUT, "output": urls("input_image", False)}]}),
            (MESSAGES, {"messages": [user(sources())]}),
            (MESSAGES, {"messages": [user([{**TOOL, "content": sources()}, text("a")])]}),
        ],
    )
    def test_how_many_and_how_large(self, path: str, body: dict[str, Any]) -> None:
        seen = asked(path, {"model": "m", **body}, privacy=FULL)
        assert (seen.images, seen.image_bytes) == (len(PICTURES), SIZE)
        assert base(PICTURES[-1])[:50] not in msgspec.json.encode(seen).decode()

    @pytest.mark.parametrize("path", ["/api/generate", "/api/chat", *EVENTS])
    def test_none_and_not_known(self, path: str) -> None:
        seen = asked(path, {"model": "m", "prompt": "p", "messages": [user("a")], "input": "a"})
        assert (seen.images, seen.image_bytes) == (0, 0)
        for unknown in (
            b'{"model": "m"',
            b"\x00",
            b'{"images": ["' + b"A" * REQUEST_LIMIT + b'"]}',
        ):
            seen = asked(path, unknown)
            assert (seen.images, seen.image_bytes) == (None, None)

    @pytest.mark.parametrize("url", ["https://h/x.png", "data:image/png,raw", "", 5, None])
    def test_of_one_that_is_not_there_in_base64_the_size_is_not_known(self, url: object) -> None:
        part = {"type": "image_url", "image_url": {"url": url}}
        seen = asked(CHAT, {"messages": [user([part, *urls("image_url", True)])]})
        assert (seen.images, seen.image_bytes) == (len(PICTURES) + 1, None)

    @pytest.mark.parametrize("wrap", [4, 76])
    def test_line_breaks_in_base64_are_no_bytes(self, wrap: int) -> None:
        encoded = base(bytes(1001))
        lines = [encoded[at : at + wrap] for at in range(0, len(encoded), wrap)]
        for end in ("\n", "\r\n"):
            assert asked("/api/generate", {"images": [end.join(lines)]}).image_bytes == 1001
        assert asked("/api/generate", {"images": [encoded.rstrip("=")]}).image_bytes == 1001

    @pytest.mark.parametrize("images", [5, "x", {}, [5], [None], [[]]])
    def test_wrong_types(self, images: object) -> None:
        body = {"model": "m", "images": images, "messages": [{"role": "user", "images": images}]}
        for path in ("/api/generate", "/api/chat"):
            seen = asked(path, body)
            assert (seen.model, seen.not_understood) == ("m", 0)
            assert seen.image_bytes == (None if isinstance(images, list) else 0)
