"""What is read of a request, whole or cut off, and what is kept of its options and prompt."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest

from ollama_proxy.exchange import Observation
from ollama_proxy.observers import REQUEST_LIMIT, ROUTES, Privacy
from ollama_proxy.observers.options import OPTIONS_LIMIT
from tests.observers.watching import Call

FULL = Privacy.build("full")


def asked(body: object, path: str = "/api/generate", **more: Any) -> Observation:
    """What is known of a request to which nobody answered yet."""
    data = body if isinstance(body, bytes) else json.dumps(body).encode()
    return Call(path=path, body=data, status=0, content_type="", **more).facts()


class TestPrompts:
    MESSAGES = (
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": "One?"},
        {"role": "assistant", "content": "", "tool_calls": [{"function": {"name": "f"}}]},
        {"role": "user", "content": "Two?", "images": ["aGVsbG8gaW1hZ2U="]},
        {"role": "tool", "content": "4"},
    )

    def test_chat_keeps_the_last_thing_the_user_said(self) -> None:
        assert asked({"messages": self.MESSAGES}, "/api/chat").prompt == "Two?"

    def test_chat_in_full_is_the_conversation_without_images(self) -> None:
        assert asked({"messages": self.MESSAGES}, "/api/chat", privacy=FULL).prompt == (
            "system: Be brief.\nuser: One?\nassistant: \nuser: Two?\ntool: 4"
        )

    def test_chat_hash_differs_when_an_earlier_message_does(self) -> None:
        hashed = Privacy.build("hash")
        one = asked({"messages": self.MESSAGES}, "/api/chat", privacy=hashed).prompt
        two = asked({"messages": self.MESSAGES[1:]}, "/api/chat", privacy=hashed).prompt
        assert one != two
        assert one == asked({"messages": self.MESSAGES}, "/api/chat", privacy=hashed).prompt

    @pytest.mark.parametrize(
        "messages", [None, "x", [1, None], [{"role": "user", "content": ["x"]}], [{"role": 5}], {}]
    )
    def test_chat_of_wrong_types(self, messages: object) -> None:
        seen = asked({"model": "m", "messages": messages}, "/api/chat")
        assert seen.prompt is None
        assert seen.model == "m"

    @pytest.mark.parametrize(
        ("path", "body", "prompt"),
        [
            ("/api/generate", {"prompt": "a", "images": ["x"], "system": "s"}, "a"),
            ("/api/embed", {"input": "a"}, "a"),
            ("/api/embed", {"input": ["a", "b"]}, "a"),
            ("/api/embed", {"input": []}, None),
            ("/api/embed", {"input": [[1, 2]]}, None),
            ("/api/embeddings", {"prompt": "a"}, "a"),
        ],
    )
    def test_other_routes(self, path: str, body: object, prompt: str | None) -> None:
        assert asked(body, path).prompt == prompt

    def test_chat_passes_over_what_the_user_said_without_text(self) -> None:
        messages = [{"role": "user", "content": "One?"}, {"role": "user", "images": ["aGk="]}]
        assert asked({"messages": messages}, "/api/chat").prompt == "One?"

    def test_empty_prompt_is_not_a_missing_one(self) -> None:
        assert asked({"prompt": ""}).prompt == ""
        assert asked({}).prompt is None

    def test_lone_surrogate_becomes_something_every_store_can_write(self) -> None:
        assert asked(b'{"model": "m", "prompt": "a\\ud800b"}').prompt == "a\ufffdb"

    def test_bytes_that_are_not_utf8_are_read_as_ollama_reads_them(self) -> None:
        seen = asked(b'{"model": "m", "prompt": "a\xffb", "stream": false}')
        assert seen.prompt == "a\ufffdb"
        assert seen.streamed is False


class TestStreaming:
    @pytest.mark.parametrize(
        ("path", "default"),
        [
            ("/api/generate", True),
            ("/api/chat", True),
            ("/api/pull", True),
            ("/api/show", False),
            ("/api/embed", False),
            ("/v1/chat/completions", False),
            ("/v1/messages", False),
        ],
    )
    def test_default(self, path: str, default: bool) -> None:
        assert asked({"model": "m"}, path).streamed is default

    @pytest.mark.parametrize("path", ["/api/generate", "/api/pull", "/v1/completions"])
    @pytest.mark.parametrize("value", [True, False])
    def test_as_asked(self, path: str, value: bool) -> None:
        assert asked({"stream": value}, path).streamed is value

    def test_not_known_from_a_request_that_was_not_understood(self) -> None:
        assert asked({"stream": "yes"}).streamed is None
        assert asked(b"\x00\x01").streamed is None

    def test_then_the_answer_tells(self) -> None:
        body = json.dumps({"prompt": "x" * REQUEST_LIMIT, "stream": False}).encode()
        call = Call(body=body, content_type="application/json", answer=b'{"done":true}')
        assert call.facts().streamed is False
        call.content_type = "application/x-ndjson"
        assert call.facts().streamed is True


class TestCutRequests:
    BODY = json.dumps(
        {
            "model": "m:7b",
            "stream": False,
            "options": {"num_ctx": 4096, "stop": ["a", "b"]},
            "keep_alive": "5m",
            "prompt": 'Say "hé" \\ \U0001f680\n' + "word " * 20,
            "images": ["A" * 400],
        }
    ).encode()

    @pytest.mark.parametrize(
        "body", [BODY, BODY.decode().encode("utf-8").replace(b"\\u00e9", b"\xc3\xa9")]
    )
    def test_at_every_byte_only_what_was_seen_and_nothing_wrong(self, body: bytes) -> None:
        whole = asked(body, privacy=FULL)
        assert whole.prompt is not None
        for end in range(len(body)):
            seen = asked(body[:end], whole=False, privacy=FULL)
            assert seen.model in (None, "m:7b")
            assert seen.streamed in (None, False)
            assert seen.prompt is None or whole.prompt.startswith(seen.prompt.rstrip("\ufffd"))
            assert (seen.options or {}).items() <= (whole.options or {}).items()
            assert (seen.images, seen.image_bytes) == (None, None)  # more may have followed
        assert (whole.images, whole.image_bytes) == (1, 300)
        seen.images, seen.image_bytes = whole.images, whole.image_bytes
        seen.request_mark = whole.request_mark  # of a whole one only
        assert seen == whole

    @pytest.mark.parametrize("end", [b"\\", b"\\u", b"\\u0", b"\\u00e", b"\xc3", b"\xf0\x9f\x9a"])
    def test_within_a_character(self, end: bytes) -> None:
        assert asked(b'{"prompt": "ab' + end, whole=False).prompt == "ab"

    def test_beyond_the_limit(self) -> None:
        body = json.dumps({"model": "m", "prompt": "y" * (2 * REQUEST_LIMIT)}).encode()
        seen = asked(body, privacy=FULL)
        assert seen.model == "m"
        assert seen.prompt is not None
        assert len(seen.prompt) == REQUEST_LIMIT - len('{"model": "m", "prompt": "')

    def test_number_at_the_cut_is_not_trusted(self) -> None:
        assert asked(b'{"options": {"seed": 7, "num_ctx": 40', whole=False).options is None
        for cut in (b"30", b"0.", b"-", b"3e", b"3.5E+"):
            assert asked(b'{"keep_alive": ' + cut, whole=False).options is None
        assert asked(b'{"keep_alive": "5', whole=False).options is None

    def test_name_at_the_cut_is_not_taken_for_the_name(self) -> None:
        """`llama3` of `llama3.1:70b` is another model."""
        assert asked(b'{"model": "llama3', whole=False).model is None

    def test_chat_cut_within_a_message(self) -> None:
        messages = [{"role": "user", "content": "old"}, {"role": "user", "content": "w" * 50}]
        body = json.dumps({"model": "m", "messages": messages}).encode()[:-30]
        seen = asked(body, "/api/chat", whole=False)
        assert seen.model == "m"
        assert seen.prompt == "w" * 24

    def test_hash_of_a_cut_prompt_would_name_nothing(self) -> None:
        hashed = Privacy.build("hash")
        assert asked(b'{"prompt": "abc', whole=False, privacy=hashed).prompt is None
        assert asked(b'{"prompt": "abc", "images": ["', whole=False, privacy=hashed).prompt
        body = b'{"messages": [{"role": "user", "content": "a"}], "images": ["'
        assert asked(body, "/api/chat", whole=False, privacy=hashed).prompt is None

    def test_whole_but_broken_or_with_more_behind_it(self) -> None:
        """Ollama reads the first JSON value and ignores the rest."""
        assert asked(b'{"model": "m", ').model == "m"
        assert asked(b'{"model": "m", "prompt": "p"} {"x": 1}').prompt == "p"

    def test_model_comes_from_the_answer_if_the_request_did_not_show_it(self) -> None:
        body = json.dumps({"prompt": "x" * REQUEST_LIMIT, "model": "m"}).encode()
        call = Call(body=body, answer=b'{"model":"m","response":"a","done":true}\n')
        assert call.facts().model == "m"


class TestOptions:
    def test_the_object_and_what_stands_beside_it(self) -> None:
        body = {"options": {"num_ctx": 512, "stop": ["x"]}, "keep_alive": -1, "think": "high"}
        assert asked({**body, "format": "json"}).options == {
            "num_ctx": 512,
            "stop": ["x"],
            "keep_alive": -1,
            "think": "high",
            "format": "json",
        }
        assert asked({"format": {"type": "object"}}).options == {"format": "schema"}
        assert asked({"keep_alive": "5m", "think": False}).options == {
            "keep_alive": "5m",
            "think": False,
        }

    @pytest.mark.parametrize("options", [None, {}, [], "x", 5])
    def test_nothing_asked(self, options: object) -> None:
        assert asked({"options": options}).options is None

    def test_large_object_is_reduced_to_its_keys(self) -> None:
        options = {"num_ctx": 1, "stop": ["s" * OPTIONS_LIMIT]}
        full = Privacy.build("full")
        assert asked({"options": options}, privacy=full).options == {"num_ctx": None, "stop": None}
        many = {f"{n}" * 200: n for n in range(500)}
        kept = asked({"options": many}).options
        assert len(msgspec.json.encode(kept)) <= 4096

    def test_text_in_options_is_kept_no_longer_than_a_prompt(self) -> None:
        options = {"stop": ["s" * 100, "s" * 100], "note": "short", "seed": 7}
        assert asked({"options": options}).options == {"stop": None, "note": "short", "seed": 7}

    @pytest.mark.parametrize("mode", ["none", "hash"])
    def test_text_in_options_obeys_the_strict_modes(self, mode: str) -> None:
        body = {
            "options": {"stop": ["canary"], "note": "canary", "seed": 7, "deep": {"a": "canary"}}
        }
        body["keep_alive"] = "canary canary"  # type: ignore[assignment]
        body["think"] = "my canary"  # type: ignore[assignment]
        kept = asked(body, privacy=Privacy.build(mode)).options
        assert kept == {"stop": None, "note": None, "seed": 7, "deep": None}

    def test_pattern_in_options(self) -> None:
        privacy = Privacy.build("full", redact=["canary"])
        kept = asked({"options": {"stop": ["a canary"], "canary": 1}}, privacy=privacy).options
        assert kept == {"stop": None}

    @pytest.mark.parametrize("number", ["9" * 50, "1e999", "1" * 5000])
    def test_numbers_out_of_range(self, number: str) -> None:
        seen = asked(f'{{"model": "m", "options": {{"num_ctx": {number}}}}}'.encode())
        assert seen.model == "m"
        msgspec.json.encode(seen)

    def test_huge_model_name_is_bounded(self) -> None:
        assert len(asked({"model": "m" * 10_000}).model or "") == 256


class TestModelRoutes:
    @pytest.mark.parametrize(
        ("method", "path", "body"),
        [
            ("POST", "/api/pull", {"name": "m"}),
            ("POST", "/api/push", {"model": "m", "name": "old"}),
            ("POST", "/api/create", {"model": "m", "from": "x"}),
            ("POST", "/api/show", {"model": "m"}),
            ("POST", "/api/copy", {"source": "m", "destination": "n"}),
            ("DELETE", "/api/delete", {"name": "m"}),
            ("POST", "/v1/responses/compact", {"model": "m", "input": "canary"}),
        ],
    )
    def test_model(self, method: str, path: str, body: object) -> None:
        seen = asked(body, path, method=method, privacy=FULL)
        assert seen.model == "m"
        assert seen.prompt is None

    @pytest.mark.parametrize("path", ["/api/chat", "/api/embed", "/api/pull", "/v1/messages"])
    @pytest.mark.parametrize(
        ("body", "whole", "misread"),
        [(b'{"model": "m"}', True, 0), (b'{"model": "m', True, 1), (b'{"model', False, 0)],
    )
    def test_broken_ones_are_counted_and_cut_or_empty_ones_are_not(
        self, body: bytes, whole: bool, misread: int, path: str
    ) -> None:
        assert asked(body, path, whole=whole).not_understood == misread
        assert asked(b"", path).not_understood == 0


@pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions", "/v1/messages"])
@pytest.mark.parametrize("where", ["messages", "parts"])
def test_of_endless_lists_the_latest_is_looked_at_and_not_all_is_told(
    path: str, where: str
) -> None:
    """A body of 80,000 empty messages held all calls for a fifth of a second."""
    empty: list[Any] = [{}] * 50_000
    last = {"role": "user", "content": "at last"}
    messages = [*empty, last] if where == "messages" else [{"role": "user", "content": empty}, last]
    observer = ROUTES["POST", path](Observation(), Privacy.build("truncate"))
    observer.request(json.dumps({"model": "m", "messages": messages}).encode(), True)
    seen = observer.observation
    assert (seen.prompt, seen.images) == ("at last", None)
    assert seen.sketch is not None and not seen.sketch.plain
