"""The same answer in every dialect that Ollama speaks: the same facts (M1, M2, M4)."""

from __future__ import annotations

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ollama_proxy.exchange import Observation
from ollama_proxy.observers import Privacy
from ollama_proxy.simulator.dialects.base import NO_METRICS
from ollama_proxy.simulator.script import Piece
from tests.observers.spoken import (
    ALL,
    EVENTS,
    TELLING,
    asked,
    say,
    streamed,
    think,
    units,
    use,
    whole,
)

MODES = [Privacy.build(mode) for mode in ("truncate", "none", "hash", "full")]
FULL = Privacy.build("full")
REASONS = {"/v1/responses": "completed", "/v1/messages": "end_turn"}
CUTS = st.lists(st.integers(0, 1 << 20), max_size=8)
LONG = say(*(f"w{number:03} " for number in range(100)))  # more than the mode truncate keeps


def counts(seen: Observation) -> tuple[int | None, ...]:
    return seen.output_chunks, seen.thinking_characters, seen.tool_calls


class TestAStream:
    @pytest.mark.parametrize("path", ALL)
    def test_its_facts(self, path: str) -> None:
        told = path in TELLING
        pieces = [*think("hm", " ß\n"), *say("Hel", 'lo "é"')] if told else say("Hel", 'lo "é"')
        observer = streamed(path, *pieces).watched()
        seen = observer.observation
        assert seen.response == 'Hello "é"'
        assert (seen.model, seen.streamed, seen.not_understood) == ("m", True, 0)
        assert (seen.input_tokens, seen.output_tokens) == (11, 3)
        assert seen.done_reason == REASONS.get(path, "stop")
        assert counts(seen) == ((4, 5, 0) if told else (2, None, None))
        assert (seen.incomplete, seen.error_in_stream, seen.error) == (False, False, None)
        assert observer.text_seen and observer.answer_seen

    @pytest.mark.parametrize("path", EVENTS)
    def test_v1_tells_no_durations(self, path: str) -> None:
        seen = streamed(path, *say("a")).facts()
        assert (seen.total, seen.load, seen.prefill, seen.decode, seen.queue) == (None,) * 5

    @pytest.mark.parametrize("path", ALL)
    @pytest.mark.parametrize("privacy", MODES)
    def test_past_the_kept_text_all_is_counted(self, path: str, privacy: Privacy) -> None:
        told = path in TELLING
        pieces = [*LONG, *(think("hm") if told else []), *LONG]
        call = streamed(path, *pieces, privacy=privacy)
        seen = call.facts()
        assert seen == call.facts(range(0, len(call.answer), 997))
        assert counts(seen) == ((201, 2, 0) if told else (200, None, None))
        assert (seen.input_tokens, seen.output_tokens, seen.incomplete) == (11, 3, False)

    @pytest.mark.parametrize("path", ALL)
    @pytest.mark.parametrize("privacy", MODES)
    def test_cut_off_before_its_end_it_is_incomplete(self, path: str, privacy: Privacy) -> None:
        call = streamed(path, *LONG, *say("a"), end=False, privacy=privacy)
        seen = call.facts()
        assert seen == call.facts(range(0, len(call.answer), 997))
        assert (seen.incomplete, seen.output_chunks) == (True, 101)
        assert (seen.input_tokens, seen.output_tokens, seen.done_reason) == (None,) * 3

    @pytest.mark.parametrize("path", ALL)
    def test_cut_off_anywhere_it_tells_nothing_wrong(self, path: str) -> None:
        pieces = units(path, say("Hel", "lo"))
        before = b"".join(pieces[: len(units(path, say("Hel", "lo"), end=False))])
        answer = b"".join(pieces)
        call = asked(path, answer)
        sure = call.facts()
        for size in range(len(before), len(answer)):
            call.answer, call.complete = answer[:size], False
            seen = call.facts()
            assert seen.input_tokens in (None, sure.input_tokens)
            assert seen.output_tokens in (None, sure.output_tokens)
            assert (seen.response, seen.output_chunks) == ("Hello", 2)
            assert seen.incomplete or seen.done_reason == sure.done_reason

    @pytest.mark.parametrize("path", TELLING)
    @pytest.mark.parametrize("privacy", MODES)
    def test_thinking_is_no_answer(self, path: str, privacy: Privacy) -> None:
        observer = streamed(path, *think("hm", "so"), privacy=privacy).watched()
        assert observer.text_seen and not observer.answer_seen
        assert observer.observation.thinking_characters == 4
        assert observer.observation.response == privacy.keep("")

    @pytest.mark.parametrize("path", TELLING)
    @pytest.mark.parametrize("privacy", MODES)
    def test_an_answer_after_long_thinking_is_seen(self, path: str, privacy: Privacy) -> None:
        pieces = [*think(*["hm "] * 3000), *say("yes")]
        observer = streamed(path, *pieces, privacy=privacy).watched()
        assert observer.answer_seen
        assert counts(observer.observation) == (3001, 9000, 0)


class TestOneObject:
    @pytest.mark.parametrize("path", ALL)
    def test_its_facts(self, path: str) -> None:
        told = path in TELLING
        seen = whole(path, *(think("hm ß") if told else []), *say("Hello")).facts()
        assert (seen.response, seen.streamed, seen.output_chunks) == ("Hello", False, None)
        assert (seen.input_tokens, seen.output_tokens) == (11, 3)
        assert seen.done_reason == REASONS.get(path, "stop")
        assert counts(seen)[1:] == ((4, 0) if told else (None, None))
        assert not seen.incomplete

    @pytest.mark.parametrize("path", ALL)
    def test_what_ollama_gave_up_on_is_incomplete(self, path: str) -> None:
        """After 31 equal tokens: no reason and no counts, which /v1 writes as zeros."""
        seen = whole(path, *say("a a a"), reason="", metrics=NO_METRICS).facts()
        assert seen.incomplete
        assert (seen.input_tokens, seen.output_tokens) == (None, None)

    @pytest.mark.parametrize("path", EVENTS)
    @pytest.mark.parametrize(
        ("body", "misread"), [(b"", 0), (b"<html>", 1), (b'{"model":"m"', 1), (b"[1]", 1)]
    )
    def test_not_what_was_expected(self, path: str, body: bytes, misread: int) -> None:
        seen = asked(path, body, stream=False).facts()
        assert (seen.incomplete, seen.not_understood) == (True, misread)
        assert seen.input_tokens is None
        assert seen.tool_calls == (0 if path in TELLING and not misread else None)

    @pytest.mark.parametrize("path", EVENTS)
    def test_pretty_printed(self, path: str) -> None:
        call = whole(path, *say("Hello"))
        facts = call.facts()
        call.answer = json.dumps(json.loads(call.answer), indent=2).encode()
        assert call.facts() == facts


class TestTools:
    @pytest.mark.parametrize("path", TELLING)
    @pytest.mark.parametrize("stream", [True, False])
    @pytest.mark.parametrize("names", [("f",), ("f", "get_price", "f")])
    def test_are_counted_and_named(self, path: str, stream: bool, names: tuple[str, ...]) -> None:
        """The simulator, as Ollama may, gives each call of a stream the index 0."""
        call = streamed(path, *use(*names)) if stream else whole(path, *use(*names))
        observer = call.watched()
        seen = observer.observation
        assert seen.tool_calls == len(names)
        assert seen.tool_names == list(dict.fromkeys(names))
        assert seen.output_chunks == (len(names) if stream else None)
        assert seen.response == ""
        assert observer.answer_seen
        assert (seen.incomplete, seen.error_in_stream, seen.thinking_characters) == (
            False,
            False,
            0,
        )

    @pytest.mark.parametrize("path", TELLING)
    @pytest.mark.parametrize("privacy", MODES)
    def test_past_the_kept_text(self, path: str, privacy: Privacy) -> None:
        pieces = [*LONG, *use("f"), *([] if path == "/v1/responses" else LONG)]
        call = streamed(path, *pieces, privacy=privacy)
        seen = call.facts()
        assert seen == call.facts(range(0, len(call.answer), 997))
        assert (seen.tool_calls, seen.tool_names) == (1, ["f"])
        assert seen.output_chunks == len(pieces)

    @pytest.mark.parametrize("path", TELLING)
    def test_names_are_bounded(self, path: str) -> None:
        names = [f"{at:03}" + "n\U0001f680" * 50 for at in range(40)]
        seen = streamed(path, *use(*names)).facts()
        assert seen.tool_calls == 40
        assert seen.tool_names == [name[:64] for name in names[:16]]

    @pytest.mark.parametrize("mode", ["none", "hash"])
    @pytest.mark.parametrize("path", TELLING)
    def test_a_name_that_is_no_name_is_not_kept_in_strict_modes(self, path: str, mode: str) -> None:
        pieces = use("get_price", "the user said: canary")
        seen = streamed(path, *pieces, privacy=Privacy.build(mode)).facts()
        assert (seen.tool_calls, seen.tool_names) == (2, ["get_price"])
        redacted = Privacy.build("full", redact=["canary"])
        assert streamed(path, *pieces, privacy=redacted).facts().tool_names == ["get_price"]


@st.composite
def scripts(draw: st.DrawFn) -> tuple[str, list[Piece]]:
    path = draw(st.sampled_from(ALL))
    texts = st.sampled_from(["a", " wörd", "\n", '"', "\\", "error", '{"error":"x"}', "\U0001f680"])
    kinds = [st.builds(lambda t: say(t)[0], texts)]
    if path in TELLING:
        kinds += [st.builds(lambda t: think(t)[0], texts), st.just(use("f")[0])]
    return path, draw(st.lists(st.one_of(*kinds), max_size=30))


class TestCuts:
    @settings(max_examples=150, deadline=None)
    @given(scripts(), st.sampled_from(MODES), st.booleans(), CUTS)
    def test_wherever_they_are(
        self, script: tuple[str, list[Piece]], privacy: Privacy, end: bool, cuts: list[int]
    ) -> None:
        path, pieces = script
        call = streamed(path, *pieces, end=end, privacy=privacy)
        facts = call.facts()
        assert call.facts([cut % len(call.answer or b" ") for cut in cuts]) == facts
        assert call.facts(range(1, len(call.answer))) == facts

    @settings(max_examples=100, deadline=None)
    @given(scripts(), st.sampled_from(MODES))
    def test_the_quick_way_and_the_slow_one_tell_the_same(
        self, script: tuple[str, list[Piece]], privacy: Privacy
    ) -> None:
        """Blank lines or comments between the pieces take the slow way."""
        path, pieces = script
        call = streamed(path, *pieces, privacy=privacy)
        facts = call.facts()
        separator, between = (b"\n\n", b": ping\n\n") if path in EVENTS else (b"\n", b"\n")
        call.answer = call.answer.replace(separator, separator + between)
        assert call.facts() == facts

    @pytest.mark.parametrize("path", ALL)
    def test_a_model_that_only_the_answer_names(self, path: str) -> None:
        pieces = units(path, say("a", "b"), end=False)
        call = asked(path, b"".join(pieces))
        call.body = b"{}"
        for cuts in ((), (len(pieces[0]),), range(1, len(call.answer))):
            assert call.facts(cuts).model == "m"

    @pytest.mark.parametrize("path", ["/api/chat", "/v1/chat/completions"])
    def test_silence_lasts_as_long_whatever_the_cuts(self, path: str) -> None:
        """What is waited for is given up after so many pieces, not after so many blocks."""
        call = streamed(path, *say(*[""] * 3000, "late"), end=False)
        facts = call.facts()
        assert (facts.response, facts.output_chunks) == ("", 3001)
        assert call.facts(range(0, len(call.answer), 150)) == facts

    @pytest.mark.parametrize("path", ALL)
    @pytest.mark.parametrize("privacy", MODES[:2])
    def test_lines_that_end_as_in_windows(self, path: str, privacy: Privacy) -> None:
        call = streamed(path, *LONG, *say("a\nb"), privacy=privacy)
        facts = call.facts()
        call.answer = call.answer.replace(b"\n", b"\r\n")
        assert call.facts() == facts == call.facts(range(1, len(call.answer), 3))


class TestCost:
    @pytest.mark.parametrize("path", ALL)
    def test_pieces_past_the_kept_text_are_not_parsed(self, path: str) -> None:
        """A broken one goes unnoticed there; where all text is kept, it is noticed."""
        pieces = units(path, [*LONG, *say("BROKEN"), *LONG])
        answer = b"".join(pieces).replace(b'"BROKEN"', b"BROKEN")
        assert asked(path, answer).facts().not_understood == 0
        seen = asked(path, answer, FULL).facts()
        assert seen.not_understood == 1
        assert (seen.thinking_characters, seen.tool_calls) == (None, None)
