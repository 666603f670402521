"""No byte of a text past what the mode allows, and no secret in an error (S7)."""

from __future__ import annotations

import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_proxy.observers import Mode, Privacy
from ollama_proxy.observers.privacy import FULL_LIMIT, LOOKAHEAD, MARK, NOT_KEPT
from ollama_proxy.simulator.script import Piece
from tests.observers.spoken import ALL, streamed, use
from tests.observers.watching import RECORDINGS, Call, line, recording, stream

SECRET = "card 4111-1111-1111-1111"
PATTERN = r"\d{4}(-\d{4}){3}"


class TestModes:
    def test_truncate_keeps_characters_not_bytes(self) -> None:
        assert Privacy(characters=3).keep("\U0001f680日本語") == "\U0001f680日本"
        assert Privacy().keep("x" * 300) == "x" * 200

    def test_none_keeps_nothing(self) -> None:
        assert Privacy.build("none").keep("text") is None

    def test_hash_tells_equal_from_different_and_nothing_else(self) -> None:
        hashed = Privacy.build("hash")
        assert hashed.keep("a") == hashed.keep("a") != hashed.keep("b")
        assert re.fullmatch(r"sha256:[0-9a-f]{16}", hashed.keep("a") or "")
        assert hashed.keep("a", whole=False) is None

    def test_full_is_bounded(self) -> None:
        assert len(Privacy.build("full").keep("x" * (FULL_LIMIT + 5)) or "") == FULL_LIMIT

    def test_unknown_mode_is_refused(self) -> None:
        with pytest.raises(ValueError, match="all"):
            Privacy.build("all")
        with pytest.raises(re.error):
            Privacy.build("full", redact=["("])


class TestRedaction:
    def test_before_cutting(self) -> None:
        privacy = Privacy.build("truncate", 12, [PATTERN])
        assert privacy.keep(SECRET + " and more") == "card [redact"
        assert "4111" not in (Privacy.build("truncate", 7, [PATTERN]).keep(SECRET) or "")

    def test_several_patterns_that_overlap(self) -> None:
        privacy = Privacy.build("full", redact=["abc", "bcd", "cde", "x*"])
        assert privacy.keep("-abcde-abc") == f"-{MARK}-{MARK}"

    def test_match_within_a_longer_one(self) -> None:
        assert Privacy.build("full", redact=["a.*f", "bc"]).keep("-abcdef-") == f"-{MARK}-"

    def test_nothing_beyond_the_end_comes_along_with_a_match(self) -> None:
        privacy = Privacy.build("full", redact=[PATTERN])
        text = "kept" + "y" * 100 + SECRET + "y" * (LOOKAHEAD - 100 - len(SECRET))
        assert privacy.keep(text, whole=False) == "kept"

    def test_secret_of_which_the_end_was_not_seen(self) -> None:
        """A pattern could not match it; so the last characters of a cut text are not kept."""
        privacy = Privacy.build("full", redact=[PATTERN])
        text = "y" * LOOKAHEAD + "card 4111-1111-11"
        kept = privacy.keep(text, whole=False)
        assert kept is not None
        assert "4111" not in kept

    def test_secret_spread_over_many_chunks_and_across_the_cut(self) -> None:
        answer = stream(*("z" * 190), *SECRET, *("z" * 50))
        privacy = Privacy.build("truncate", 200, [PATTERN])
        assert Call(answer=answer, privacy=privacy).facts().response == (
            "z" * 190 + "card " + "[reda"
        )

    @given(st.integers(0, 5000), st.integers(1, 40))
    def test_wherever_the_secret_lies(self, before: int, size: int) -> None:
        answer = "z" * before + SECRET + "z" * 300
        pieces = [answer[at : at + size] for at in range(0, len(answer), size)]
        privacy = Privacy.build("truncate", 200, [PATTERN])
        kept = Call(answer=stream(*pieces[:400]), privacy=privacy).facts().response or ""
        assert "41" not in kept
        assert len(kept) <= 200

    def test_redacted_hash_does_not_depend_on_the_secret(self) -> None:
        privacy = Privacy.build("hash", redact=[PATTERN])
        other = SECRET.replace("4111", "5222")
        assert privacy.keep(SECRET) == privacy.keep(other)


class TestErrors:
    @pytest.mark.parametrize(
        "secret",
        [
            "Authorization: Bearer abc.def-ghi",
            "bearer abc.def-ghi",
            "sk-canary",
            "sk-proj-abc_def-123",
            "Basic YWxhZGRpbjpvcGVu",
            "x-api-key: abc.def",
            "x-api-key=abc.def",
            '"api_key": "abc.def"',
            "Cookie: a=1; session=abc.def",
            "Set-Cookie: session=abc.def; Path=/",
            "http://h/x?key=abc.def",
            "http://h/x?a=1&token=abc.def",
            "https://user:abc.def@h/x",
        ],
    )
    def test_known_secrets_are_taken_out(self, secret: str) -> None:
        kept = Privacy().error(f"cannot go on: {secret}")
        for part in ("abc", "def", "canary", "YWxh"):
            assert part not in kept
        assert kept.startswith("cannot go on: ")
        assert MARK in kept

    def test_ordinary_words_stay(self) -> None:
        text = "model 'task-based' not found: unknown key=value, ask-me, token limit (7610 tokens)"
        assert Privacy().error(text) == text

    def test_bounded_and_by_the_patterns_too(self) -> None:
        privacy = Privacy.build("none", redact=["canary"])
        assert len(privacy.error("x" * 10_000)) == 500
        assert privacy.error("x" * 497 + "canary") == "x" * 497 + "[re"

    @pytest.mark.parametrize("status", [200, 500])
    def test_on_the_way_from_the_server(self, status: int) -> None:
        body = json.dumps({"error": "upstream said: Bearer canary"}).encode() + b"\n"
        seen = Call(answer=body, status=status).facts()
        assert seen.error == f"upstream said: {MARK}"


STRICT = [Privacy(Mode.NONE), Privacy(Mode.HASH)]


@pytest.mark.parametrize("privacy", STRICT)
class TestErrorsThatMayQuoteThePrompt:
    @pytest.mark.parametrize("status", [200, 400])
    @pytest.mark.parametrize(
        "path",
        [
            *("/api/generate", "/api/chat", "/api/embed", "/api/embeddings", "/api/create"),
            *("/v1/chat/completions", "/v1/messages", "/api/of-tomorrow"),
        ],
    )
    @pytest.mark.parametrize("text", ["invalid prompt: canary", "canary", "model canary not found"])
    def test_unknown_errors_are_not_kept(
        self, text: str, path: str, status: int, privacy: Privacy
    ) -> None:
        answer = json.dumps({"error": text}).encode() + b"\n"
        body = b'{"model":"m","prompt":"canary"}'
        call = Call(path=path, body=body, status=status, answer=answer, privacy=privacy)
        seen = call.facts()
        assert "canary" not in msgspec.json.encode(seen).decode()
        watched = status >= 400 or path != "/api/of-tomorrow"
        assert seen.error == (NOT_KEPT if watched else None)

    @pytest.mark.parametrize(
        "text",
        [
            "model 'm' not found",
            'model "m" not found, try pulling it first',
            '"m" does not support thinking',
            "model requires more system memory (12.3 GiB) than is available (4.0 GiB)",
            "request (7610 tokens) exceeds the available context size (512 tokens)",
            "an error was encountered while running the model: unexpected EOF",
        ],
    )
    def test_known_errors_are_kept_and_what_follows_is_not(
        self, text: str, privacy: Privacy
    ) -> None:
        def error(text: str) -> str | None:
            answer = json.dumps({"error": text}).encode()
            return Call(status=500, answer=answer, privacy=privacy).facts().error

        assert error(text) == text
        assert error(text + ": canary") == f"{text} {NOT_KEPT}"

    def test_a_known_error_about_another_model_is_not_known(self, privacy: Privacy) -> None:
        answer = b'{"error": "model \'canary\' not found"}'
        assert Call(status=404, answer=answer, privacy=privacy).facts().error == NOT_KEPT

    @pytest.mark.parametrize("route", ["pull", "push", "show", "copy", "delete"])
    def test_routes_without_a_prompt_keep_the_servers_text(
        self, route: str, privacy: Privacy
    ) -> None:
        method = "DELETE" if route == "delete" else "POST"
        call = Call(
            method=method,
            path=f"/api/{route}",
            status=500,
            answer=b'{"error": "pull model manifest: no such host"}',
            privacy=privacy,
        )
        assert call.facts().error == "pull model manifest: no such host"


@pytest.mark.parametrize("name", RECORDINGS)
@pytest.mark.parametrize("privacy", STRICT)
def test_real_errors_stay_readable_but_for_a_few(name: str, privacy: Privacy) -> None:
    real, kept = recording(name).facts().error, recording(name, privacy).facts().error
    few = {"blob_bad_digest", "web_search_disabled"}
    assert kept == (NOT_KEPT if name in few else real)


EMBEDDING = ["/api/embed", "/api/embeddings", "/v1/embeddings"]


@pytest.mark.parametrize("mode", list(Mode))
@pytest.mark.parametrize("path", [*ALL, *EMBEDDING])
def test_no_byte_of_prompt_or_answer_past_the_mode(path: str, mode: Mode) -> None:
    words = [f"w{number:04}" for number in range(200)]
    text = " ".join(words)
    parts = [{"type": "text", "text": text}, {"type": "image_url", "image_url": {"url": text}}]
    turn = {"role": "user", "content": text if path == "/api/chat" else parts, "images": [text]}
    body = {
        "model": "m",
        "stream": True,
        "prompt": text,
        "input": text if path != "/v1/responses" else [turn],
        "messages": [turn] if path != "/v1/responses" else None,
        "images": [text],
        **dict.fromkeys(("system", "instructions", "suffix", "stop", "reasoning_effort"), text),
        "response_format": {"type": "json_schema", "json_schema": {"name": text}},
        "text": {"format": {"type": text}},
        "reasoning": {"effort": text},
        "thinking": {"type": text},
        "stream_options": {"other": text},
        "context": [1, 2],
    }
    if path in EMBEDDING:
        answer = b"".join(line(word, thinking=word) for word in words)
        call = Call(path=path, answer=answer, privacy=Privacy(mode))
    else:
        pieces = [Piece(word, word) for word in words]
        call = streamed(path, *pieces, *use(text), privacy=Privacy(mode))
    call.body = json.dumps(body).encode()
    told = msgspec.json.encode(call.facts()).decode()
    known = sum(word in told for word in words)
    allowed = {Mode.NONE: 0, Mode.HASH: 0, Mode.TRUNCATE: 41, Mode.FULL: 200}
    assert known <= allowed[mode]
    assert (known > 0) is (allowed[mode] > 0)


def test_in_truncate_no_more_than_the_limit_is_kept() -> None:
    text = "invalid prompt: " + "x" * 300 + "canary"
    answer = json.dumps({"error": text}).encode()
    seen = Call(status=400, answer=answer).facts()
    assert seen.error == f"{text[:200]} {NOT_KEPT}"
