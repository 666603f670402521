"""What all calls hold together, and how much of an odd answer is looked at (M2, M4, L5)."""

from __future__ import annotations

import json
import tracemalloc
from typing import Any, cast

import msgspec
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from ollama_proxy.exchange import Observation
from ollama_proxy.observers import ROUTES, Observer, Privacy
from ollama_proxy.observers.budget import FREE, Budget
from ollama_proxy.observers.lines import STRANGE, LineObserver
from ollama_proxy.observers.reading import LONG_DOCUMENT, MANY_VALUES, decode
from tests.observers.spoken import ALL, EVENTS, NATIVE, SSE, asked, say, streamed, units, use
from tests.observers.watching import FINAL, Call, line, pieces, stream

MIB = 1024 * 1024
QUIET = Privacy.build("none")
CHAT = "/v1/chat/completions"
CUTS = st.lists(st.integers(0, 1 << 18), max_size=8)


def watching(call: Call, **members: object) -> LineObserver:
    """The observer of a call before its answer's body, with some members of its class replaced."""
    kind = type("Watched", (ROUTES[call.method, call.path],), members)
    observer = cast(LineObserver, kind(Observation(), call.privacy))
    observer.request(call.body, call.whole)
    observer.response(call.status, call.content_type, "")
    return observer


def fed(observer: Observer, answer: bytes, cuts: Any = ()) -> Observation:
    for piece in pieces(answer, cuts):
        observer.feed(piece)
    return observer.observation


def big(path: str, size: int) -> bytes:
    """One line of text of a stream, somewhat longer than `size`."""
    return b"".join(units(path, say("x" * size), end=False))


class TestMemoryOfAllCalls:
    @pytest.mark.parametrize("path", ALL)
    @pytest.mark.parametrize("kind", ["unfinished line", "one object", "last line"])
    def test_together_they_hold_no_more_than_the_budget(self, path: str, kind: str) -> None:
        budget = Budget(6 * MIB)
        held = b'{"x":"' + b"x" * (2 * MIB)
        call = asked(path, held, QUIET, stream=kind != "one object")
        before = b"".join(units(path, say("a", "b"), end=False))
        if kind == "last line":
            held = big(path, 2 * MIB)
        observers = [watching(call, budget=budget) for _ in range(12)]
        fed(observers[0], before)
        tracemalloc.start()
        for observer in observers:
            fed(observer, held if kind == "one object" else before + held)
        now, _ = tracemalloc.get_traced_memory()
        assert 2 * MIB < budget.held <= budget.limit
        assert now < 1.2 * budget.limit + 12 * 2 * FREE
        for observer in observers:
            observer.close(False)
        after, _ = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert after < FREE
        assert budget.held == 0
        assert [observer.deaf for observer in observers] == [False] * 12

    def test_a_line_without_room_is_not_understood_and_the_others_are(self) -> None:
        call = Call(answer=line("a") + line("x" * 2 * FREE) + line("b") + FINAL)
        call.privacy = Privacy.build("full")
        observer = watching(call, budget=Budget(FREE))
        fed(observer, call.answer)
        observer.close(True)
        seen = observer.observation
        assert (seen.not_understood, seen.response, seen.output_tokens) == (1, "ab", 3)
        assert (seen.tool_calls, seen.thinking_characters, seen.incomplete) == (None, None, False)

    @pytest.mark.parametrize("path", EVENTS)
    def test_an_object_without_room_is_not_understood(self, path: str) -> None:
        call = asked(path, b'{"x":"' + b"x" * 2 * FREE + b'"}', stream=False)
        observer = watching(call, budget=Budget(FREE))
        fed(observer, call.answer)
        observer.close(True)
        seen = observer.observation
        assert (seen.not_understood, seen.output_tokens, seen.incomplete) == (1, None, False)

    def test_a_last_line_without_room_leaves_it_open_what_it_was(self) -> None:
        long = FINAL.replace(
            b'"done_reason"', b'"context":[%b1],"done_reason"' % (b"1," * 2 * FREE)
        )
        answer = stream("a", "b", "c", end=long)
        for limit, tokens in ((FREE, None), (MIB, 3)):
            observer = watching(Call(privacy=QUIET), budget=Budget(limit))
            fed(observer, answer)
            observer.close(True)
            seen = observer.observation
            assert (seen.output_tokens, seen.incomplete) == (tokens, False)

    @pytest.mark.parametrize("path", ALL)
    def test_all_is_given_back_when_the_line_ends_or_nobody_listens(self, path: str) -> None:
        budget = Budget(64 * MIB)
        held = big(path, MIB)
        call = asked(path, b"")
        observer = watching(call, budget=budget)
        fed(observer, held[:-2])
        assert budget.held > MIB
        fed(observer, held[-2:] + b"".join(units(path, say("b"))))
        assert budget.held == 0
        fed(observer, held[: MIB // 2])
        assert budget.held > 0
        observer.feed(cast(bytes, None))  # it raises, and goes deaf
        assert (observer.deaf, budget.held) == (True, 0)

    @pytest.mark.parametrize("path", ALL)
    def test_a_long_last_line_is_given_back_when_another_follows(self, path: str) -> None:
        budget = Budget(64 * MIB)
        observer = watching(asked(path, b"", QUIET), budget=budget)
        fed(observer, b"".join(units(path, say("a", "b"), end=False)) + big(path, MIB))
        assert budget.held > MIB
        fed(observer, b"".join(units(path, say("c"), end=False)))
        assert budget.held == 0

    @settings(max_examples=60, deadline=None)
    @given(st.sampled_from([NATIVE, SSE]), st.integers(-3, 3), st.booleans(), CUTS)
    @example(SSE, 1, True, [])
    def test_whether_a_line_finds_room_does_not_depend_on_the_cuts(
        self, kind: str, more: int, last: bool, cuts: list[int]
    ) -> None:
        path, lead, size = ("/api/generate", b"", 1) if kind == NATIVE else (CHAT, b"data: ", 2)
        for room in (FREE, FREE + 5000):
            text = b'{"x":"%b"}' % (b"x" * (room + more - len(lead) - 8))
            end = b"" if last else b"\n" * size + lead + b'{"done":true}' + b"\n" * size
            call = asked(path, lead + text + end)
            observer = watching(call, budget=Budget(room))
            fed(observer, call.answer, cuts)
            observer.close(True)
            assert observer.observation.not_understood == (more > 0)


class TestBlankLines:
    @pytest.mark.parametrize("blank", [b"\n", b"\r\n", b" \n", b"\n" * 3])
    @pytest.mark.parametrize("path", ["/api/chat", CHAT])
    def test_runs_of_them_are_skipped_at_once(self, path: str, blank: bytes) -> None:
        looks = 0
        kind = ROUTES["POST", path]
        assert issubclass(kind, LineObserver)

        def is_blank(self: LineObserver, line: bytes) -> bool:
            nonlocal looks
            looks += 1
            return kind._is_blank(self, line)

        runs = blank * 50_000
        written = units(path, [*say("a", "b"), *use("f"), *say("c")])
        answer = runs + b"".join(one + runs for one in written)
        for privacy in (QUIET, Privacy()):
            plain = asked(path, b"".join(written), privacy).facts()
            observer = watching(asked(path, b"", privacy), _is_blank=is_blank)
            fed(observer, answer)
            observer.close(True)
            assert observer.observation == plain
            assert looks < 500

    def test_they_are_no_silence_after_which_text_is_not_waited_for(self) -> None:
        call = Call(answer=b"\n" * 5000 + stream("a"))
        assert call.facts().response == "a"
        assert call.facts() == call.facts(range(0, len(call.answer), 3))


class TestNothingUnderstood:
    @pytest.mark.parametrize("path", [*ALL, "/api/pull"])
    def test_after_so_many_lines_nothing_more_is_looked_at(self, path: str) -> None:
        end = b"\n\n" if path in EVENTS else b"\n"
        junk = (b"event: error\ndata: " if path in EVENTS else b"") + b'"error"' + end
        call = asked(path, junk * 5000 + b"".join(units(CHAT, say("a"))))
        observer = call.watched()
        assert isinstance(observer, LineObserver)
        assert (observer.deaf, observer.read_lines) == (True, STRANGE)
        seen = observer.observation
        assert seen == call.facts(range(0, len(call.answer), 997))
        assert (seen.not_understood, seen.output_tokens, seen.incomplete) == (STRANGE, None, False)
        assert (seen.output_chunks, seen.tool_calls, seen.thinking_characters) == (None,) * 3

    def test_what_is_understood_in_between_begins_the_count_anew(self) -> None:
        junk = b"junk\n" * (STRANGE - 1)
        call = Call(answer=junk + line("a") + junk + FINAL)
        assert call.facts().output_tokens == 3
        assert call.facts() == call.facts(range(0, len(call.answer), 7))

    def test_a_text_that_was_not_seen_whole_has_no_digest(self) -> None:
        answer = stream("a", end=b"junk\n" * STRANGE + line("b") + FINAL)
        assert Call(answer=answer, privacy=Privacy.build("hash")).facts().response is None

    def test_what_was_told_before_holds(self) -> None:
        call = Call(answer=stream("a", end=FINAL + b"junk\n" * STRANGE), privacy=Privacy())
        call.privacy = Privacy.build("full")
        seen = call.facts()
        assert (seen.response, seen.output_tokens, seen.output_chunks) == ("a", 3, None)


class TestLongDocuments:
    MANY = b"[" + b"[]," * (LONG_DOCUMENT // 3) + b"1]"

    def test_of_too_many_values_none_is_made(self) -> None:
        class Never:
            def decode(self, data: bytes) -> None:
                raise AssertionError

        assert len(self.MANY) > LONG_DOCUMENT
        assert decode(cast("msgspec.json.Decoder[object]", Never()), self.MANY) is None
        text = json.dumps({"a": "x" * 3 * LONG_DOCUMENT}).encode()
        assert decode(msgspec.json.Decoder(dict[str, str]), text) is not None

    @pytest.mark.parametrize("privacy", [QUIET, Privacy.build("full")])
    def test_a_line_of_too_many_is_not_understood_and_the_others_are(
        self, privacy: Privacy
    ) -> None:
        call = {"function": {"name": "f", "arguments": {"a": [1] * MANY_VALUES * 2}}}
        told = json.dumps({"message": {"content": "", "tool_calls": [call]}, "done": False})
        answer = stream("a", "b", end=told.encode() + b"\n" + line("c") + FINAL)
        seen = Call(path="/api/chat", answer=answer, privacy=privacy).facts()
        assert (seen.not_understood, seen.tool_calls, seen.output_tokens) == (1, None, 3)
        assert not seen.incomplete
        cuts = range(0, len(answer), 50_021)
        assert seen == Call(path="/api/chat", answer=answer, privacy=privacy).facts(cuts)

    @pytest.mark.parametrize("path", ALL)
    def test_an_answer_of_too_many_is_not_called_incomplete(self, path: str) -> None:
        answer = b'{"choices":%b,"tool_calls":[1]}' % self.MANY
        seen = asked(path, answer, stream=False).facts()
        assert (seen.not_understood, seen.incomplete, seen.tool_calls) == (1, False, None)

    @pytest.mark.parametrize("privacy", [QUIET, Privacy.build("full")])
    def test_a_long_context_costs_no_fact(self, privacy: Privacy) -> None:
        context = b"12345," * MANY_VALUES * 2
        end = FINAL.replace(b'"total', b'"context":[%b1],"total' % context)
        plain = Call(answer=stream("a", "b"), privacy=privacy).facts()
        plain.listed_tokens = 2 * MANY_VALUES + 1
        assert Call(answer=stream("a", "b", end=end), privacy=privacy).facts() == plain

    def test_long_probabilities_cost_no_fact(self) -> None:
        told: dict[str, Any] = {
            "model": "m",
            "choices": [
                {
                    "index": 0,
                    "message": {"role": "assistant", "content": "a", "reasoning": "hm"},
                    "finish_reason": "stop",
                }
            ],
            "usage": {"prompt_tokens": 5, "completion_tokens": 7, "total_tokens": 12},
        }
        plain = asked(CHAT, json.dumps(told).encode(), stream=False).facts()
        one = {"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}
        told["choices"][0]["logprobs"] = {"content": [one] * MANY_VALUES}
        assert asked(CHAT, json.dumps(told).encode(), stream=False).facts() == plain
        assert (plain.output_tokens, plain.response, plain.incomplete) == (7, "a", False)

    def test_an_event_of_too_many_fields_is_not_understood(self) -> None:
        call = streamed(CHAT, *say("a"))
        call.answer = b"x: 1\n" * 5000 + b"data: {}\n\n" + call.answer
        assert call.facts().not_understood == 1
        assert call.facts().output_tokens == 3

    def test_many_choices_are_not_understood(self) -> None:
        odd = b'data: {"choices":[' + b"{}," * 1000 + b"{}]}\n\n"
        assert asked(CHAT, odd).facts().not_understood == 1


def test_a_text_in_very_many_pieces_takes_no_more_than_its_length() -> None:
    observer = watching(Call(privacy=Privacy.build("full")))
    block = line("\u4e2d") * 500 + b"{}\n"  # with a line that says nothing each is read alone
    tracemalloc.start()
    for _ in range(100):
        observer.feed(block)
    now, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert now < 1.2 * MIB
    observer.close(True)
    assert observer.observation.response == "\u4e2d" * 50_000


def test_of_more_tool_calls_than_can_be_the_number_is_not_known() -> None:
    answer = b"".join(units("/api/chat", use(*["f"] * 1025)))
    assert asked("/api/chat", answer).facts().tool_calls is None
    assert asked("/api/chat", answer).facts().tool_names == ["f"]


def test_the_first_error_counts() -> None:
    seen = Call(answer=line("a") + b'{"error":"first"}\n{"error":"second"}\n').facts()
    assert (seen.error, seen.error_in_stream) == ("first", True)


PARTS = {
    NATIVE: [
        b"\n",
        b"\n" * 70_000,
        b" \r\n" * 30,
        b"junk\n",
        b'"error"\n' * 60,
        b'{"tool_calls":[{}]}\n',
        line("word " * 60),
        line("b") * 30,
        line("x" * 70_000),
        json.dumps({"message": {"tool_calls": [[]] * MANY_VALUES}}).encode() + b"\n",
    ],
    SSE: [
        b"\n",
        b"\n" * 70_001,
        b": comment\n\n" * 20,
        b"data: junk\n\n",
        b'data: "error"\n\n' * 60,
        b'event: x\ndata: {"choices":[{"delta":{"content":"a"}}]}\n\n',
        b'data: {"choices":[{"delta":{"tool_calls":[{}]}}]}\n\n',
        b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n' % (b"word " * 60),
        b'data: {"choices":[{"delta":{"content":"%b"}}]}\n\n' % (b"x" * 70_000),
    ],
}


@settings(max_examples=150, deadline=None)
@given(st.sampled_from([NATIVE, SSE]), st.data())
def test_the_facts_of_an_odd_answer_do_not_depend_on_the_cuts(
    kind: str, data: st.DataObject
) -> None:
    parts = data.draw(st.lists(st.integers(0, len(PARTS[kind]) - 1), max_size=10))
    answer = b"".join(PARTS[kind][part] for part in parts)
    path = "/api/chat" if kind == NATIVE else CHAT
    call = asked(path, answer, data.draw(st.sampled_from([QUIET, Privacy()])))
    cuts = data.draw(st.lists(st.integers(0, len(answer)), max_size=12))
    one, other = call.facts(cuts), call.facts()
    for seen in one, other:
        seen.looped = None  # heard in the last 64 KiB, in blocks as they came
        if b"junk" in answer and seen.output_chunks is not None:
            # A broken line is refused where it is read, and counted where it is not.
            seen.output_chunks += seen.not_understood
            seen.not_understood = 0
    assert one == other
