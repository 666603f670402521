"""Answers that no server should send: nothing is raised, nothing wrong is told (M2)."""

from __future__ import annotations

import json
import time
import tracemalloc

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ollama_proxy.exchange import Observation
from ollama_proxy.observers import Observer, Privacy, anthropic, observer_for, openai, responses
from ollama_proxy.observers.lines import LINE_LIMIT, LineObserver
from ollama_proxy.observers.ollama import Answer, GenerateObserver
from ollama_proxy.observers.requests import Request
from tests.observers.spoken import ALL, EVENTS, SSE, say, units, use
from tests.observers.watching import FINAL, Call, line, stream

FULL = Privacy.build("full")
PATHS = [*ALL, "/api/embed", "/v1/embeddings", "/v1/audio/transcriptions", "/api/pull", "/api/tags"]


class TestWrongTypes:
    @pytest.mark.parametrize(
        "value", ['"x"', "-1", "true", "1.0", "null", "[]", "{}", "1e9", "9" * 40]
    )
    @pytest.mark.parametrize("field", [b"eval_count", b"prompt_eval_duration"])
    def test_one_field_is_unknown_and_the_others_count(self, field: bytes, value: str) -> None:
        members = json.loads(FINAL)
        del members[field.decode()]
        text = json.dumps(members)[:-1] + f', "{field.decode()}": {value}}}\n'
        seen = Call(answer=stream("a", end=text.encode())).facts()
        missing = seen.output_tokens if field == b"eval_count" else seen.prefill
        assert missing is None
        assert seen.input_tokens == 11
        assert seen.total == 4.0
        assert not seen.incomplete

    @pytest.mark.parametrize("value", ["1", "null", "[]", '{"content": 5}', '"text"'])
    def test_message_of_a_wrong_type(self, value: str) -> None:
        odd = f'{{"message": {value}, "done": false}}\n'.encode()
        seen = Call(path="/api/chat", answer=odd + line("x") + FINAL).facts()
        assert seen.output_tokens == 3
        assert seen.output_chunks == 2

    def test_done_is_only_done_when_it_is_true(self) -> None:
        odd = b'{"response": "a", "done": "true"}\n{"response": "b", "done": 1}\n'
        seen = Call(answer=odd).facts()
        assert seen.incomplete
        assert seen.output_chunks == 2

    def test_of_duplicate_keys_the_last_counts_as_in_ollamas_clients(self) -> None:
        end = FINAL.replace(b'"eval_count":3', b'"eval_count":9,"eval_count":3')
        assert Call(answer=stream("a", end=end)).facts().output_tokens == 3


class TestBrokenLines:
    @pytest.mark.parametrize(
        "broken",
        [
            b"\n",
            b"  \r\n",
            b"not json\n",
            b'{"response": "a\n',
            b"[1, 2]\n",
            b"null\n",
            b'{"response": "\xff\xfe"}\n',
            b'{"response": "\\ud800"}\n',
            b'{"deep": ' + b"[" * 50_000 + b"]" * 50_000 + b"}\n",
            b"\x00\n",
        ],
    )
    def test_the_lines_around_it_count(self, broken: bytes) -> None:
        call = Call(answer=line("a") + broken + line("b") + FINAL, privacy=FULL)
        seen = call.facts()
        assert seen.response == "ab"
        assert seen.output_chunks == 2
        assert seen.output_tokens == 3
        assert seen == call.facts(range(1, min(len(call.answer), 400)))

    def test_blank_lines_are_no_chunks_even_when_lines_are_only_counted(self) -> None:
        quiet = Privacy.build("none")
        call = Call(answer=line("a") + b"\n \r\n\n" + line("b") + b"\n\n" + FINAL, privacy=quiet)
        assert call.facts().output_chunks == 2
        assert call.facts(range(1, len(call.answer))).output_chunks == 2

    def test_line_end_of_windows(self) -> None:
        call = Call(answer=stream("a", "b").replace(b"\n", b"\r\n"), privacy=FULL)
        assert call.facts() == Call(answer=stream("a", "b"), privacy=FULL).facts()

    def test_last_line_without_newline(self) -> None:
        assert Call(answer=stream("a").rstrip(b"\n")).facts() == Call(answer=stream("a")).facts()

    @pytest.mark.parametrize("end", [b"\n", b"\n\n \n", b""])
    def test_odd_spacing_of_the_last_line(self, end: bytes) -> None:
        odd = FINAL.replace(b'"done":true', b'"done" :\ttrue').rstrip(b"\n") + end
        call = Call(answer=stream("a", "b", "c", end=odd), privacy=Privacy.build("none"))
        seen = call.facts()
        assert (seen.output_tokens, seen.output_chunks) == (3, 3)
        assert seen == call.facts(range(1, len(call.answer)))


class TestMarksInTheText:
    def test_text_that_says_done_or_error_ends_nothing(self) -> None:
        texts = ("a", '{"done":true}', '"done": true', "error", '{"error":"x"}', "b")
        seen = Call(answer=stream(*texts), privacy=Privacy.build("none")).facts()
        assert seen.output_chunks == len(texts)
        assert not seen.error_in_stream
        assert Call(answer=stream(*texts), privacy=FULL).facts().response == "".join(texts)

    def test_tool_that_is_called_with_done_and_error(self) -> None:
        calls = [{"function": {"name": "f", "arguments": {"done": True, "error": "x"}}}]
        message = {"role": "assistant", "content": "", "tool_calls": calls}
        told = json.dumps({"message": message, "done": False}).encode() + b"\n"
        call = Call(path="/api/chat", answer=line("a") + told.replace(b": ", b":") + FINAL)
        seen = call.facts()
        assert (seen.output_chunks, seen.error_in_stream, seen.output_tokens) == (2, False, 3)
        assert Call(path="/api/chat", answer=told).watched().text_seen

    def test_error_after_thousands_of_lines(self) -> None:
        error = b'{"error":"the runner died"}\n'
        seen = Call(answer=stream(*["word "] * 3000, end=error)).facts()
        assert seen.error_in_stream
        assert seen.error == "the runner died"
        assert seen.output_chunks == 3000
        assert not seen.incomplete

    @pytest.mark.parametrize("value", ["null", '""', "{}"])
    def test_empty_error_is_none(self, value: str) -> None:
        odd = f'{{"response": "a", "error": {value}}}\n'.encode()
        assert not Call(answer=odd + FINAL).facts().error_in_stream

    @pytest.mark.parametrize("path", ["/api/chat", "/api/generate"])
    @pytest.mark.parametrize(
        ("more", "facts"),
        [
            ({"thinking": "hm"}, (2, 0, False, None, 2)),
            ({"tool_calls": [{"function": {"name": "f"}}]}, (0, 1, False, None, 2)),
            ({"done": True, "eval_count": 3}, (0, 0, False, 3, 1)),
            ({"error": "no"}, (0, 0, True, None, 1)),
        ],
    )
    def test_a_line_that_says_something_and_does_more(
        self, path: str, more: dict[str, object], facts: tuple[object, ...]
    ) -> None:
        lines: list[dict[str, object]] = [{"response": "a"}, {"response": "b", **more}]
        if path == "/api/chat":
            inner = {key: value for key, value in more.items() if key in ("thinking", "tool_calls")}
            outer = {key: value for key, value in more.items() if key not in inner}
            lines = [{"message": {"content": "a"}}, {"message": {"content": "b", **inner}, **outer}]
        answer = b"".join(json.dumps(one).encode() + b"\n" for one in lines)
        seen = Call(path=path, answer=answer).facts()
        assert seen.response == ("a" if seen.error else "ab")
        told = (seen.thinking_characters, seen.tool_calls, seen.error_in_stream)
        assert (*told, seen.output_tokens, seen.output_chunks) == facts

    def test_a_tool_that_is_called_in_a_long_line_is_counted(self) -> None:
        call = {"function": {"name": "write_file", "arguments": {"content": "x" * 5000}}}
        message = {"role": "assistant", "content": "", "tool_calls": [call]}
        told = json.dumps({"model": "m", "message": message, "done": False}).encode() + b"\n"
        words = line("word " * 50)
        for answer in (words + told + words, words + told, told + words, words + told + told):
            for cuts in ((), (len(words),), range(0, len(answer), 997)):
                seen = Call(path="/api/chat", answer=answer + FINAL).facts(cuts)
                assert seen.tool_calls == answer.count(b"write_file")
                assert seen.tool_names == ["write_file"]

    def test_marks_count_in_the_first_bytes_of_a_line_whatever_the_cuts(self) -> None:
        """What is read must not depend on which lines come together."""
        late = line("x" * 600, error="late")
        words = [line("word " * 50), line("b")]
        for lines in ([*words, late, *words], [words[0], late, late, words[1]]):
            answer = b"".join(lines) + FINAL
            whole = Call(answer=answer).facts()
            assert (whole.error_in_stream, whole.output_chunks) == (False, len(lines))
            assert Call(answer=answer).facts(range(0, len(answer), 211)) == whole


class TestCost:
    def test_lines_past_the_text_that_is_kept_are_not_parsed(self) -> None:
        """A broken line there goes unnoticed; where all text is kept it is read, and noticed."""
        answer = stream(*["word "] * 100, end=b"broken\n" + line("b") + FINAL)
        assert Call(answer=answer).facts().not_understood == 0
        assert Call(answer=answer, privacy=FULL).facts().not_understood == 1
        assert Call(answer=answer).facts().output_tokens == 3


class TestSizes:
    def test_overlong_line_is_skipped_and_the_rest_counts(self) -> None:
        big = line("x" * LINE_LIMIT)
        call = Call(answer=line("a") + big + line("b") + FINAL, privacy=FULL)
        seen = call.facts()
        assert seen.response == "ab"
        assert seen.output_tokens == 3
        assert seen == call.facts(range(0, len(call.answer), 100_000))

    def test_line_just_within_the_limit_is_read(self) -> None:
        shell = len(line("")) - 1
        assert Call(answer=line("x" * (LINE_LIMIT - shell))).facts().not_understood == 0
        assert Call(answer=line("x" * (LINE_LIMIT - shell + 1))).facts().not_understood == 1

    def test_answer_too_long_to_look_at_is_not_called_incomplete(self) -> None:
        answer = b'{"response": "' + b"x" * LINE_LIMIT + b'", "done": true}'
        seen = Call(answer=answer, content_type="application/json").facts()
        assert not seen.incomplete
        assert seen.response is None

    def test_memory_stays_bounded_over_a_line_without_end(self) -> None:
        observer = GenerateObserver(Observation(), Privacy())
        observer.response(200, "application/x-ndjson", "")
        tracemalloc.start()
        for _ in range(1024):
            observer.feed(b"x" * 65536)
        _, peak = tracemalloc.get_traced_memory()
        tracemalloc.stop()
        assert peak < 3 * LINE_LIMIT

    @pytest.mark.parametrize("piece", [b"[", b'{"a":', b'"', b"\n", b'{"error":\n'])
    def test_repeated_nonsense_costs_little(self, piece: bytes) -> None:
        for path in PATHS:
            call = Call(path=path, answer=piece * 20_000, body=piece * 20_000, whole=False)
            before = time.process_time()
            call.watched(range(0, len(call.answer), 4096))
            assert time.process_time() - before < 2

    @pytest.mark.parametrize("path", EVENTS)
    def test_memory_stays_bounded_in_every_dialect(self, path: str) -> None:
        """Events without end, an object without end, tools without end."""
        many = b"".join(units(path, [*say("x" * 60_000), *use("t" * 60_000)]))
        endless = b"x" * 65536
        for kind, piece, times in (
            (SSE, endless, 512),
            ("application/json", endless, 512),
            (SSE, many, 100),
            (SSE, b"data: " + b"x" * (6 << 20) + b"\n\n", 6),
        ):
            observer = observer_for("POST", path, Observation(), Privacy.build("none"))
            observer.response(200, kind, "")
            observer.feed(many)  # past the text that is kept
            tracemalloc.start()
            for _ in range(times):
                observer.feed(piece)
            _, peak = tracemalloc.get_traced_memory()
            tracemalloc.stop()
            assert peak < 3 * LINE_LIMIT


class TestTheGuard:
    def test_observer_that_raises_goes_deaf_and_tells_nobody(self) -> None:
        class Broken(Observer):
            def _answer(self, data: bytes) -> None:
                raise RecursionError

        observer = Broken(Observation(), Privacy())
        observer.response(200, "", "")
        observer.feed(b"x")
        observer.feed(b"x")
        observer.close(True)
        assert observer.deaf
        assert observer.observation.not_understood == 1
        assert observer.observation == Observation(not_understood=1)

    @pytest.mark.parametrize("step", ["_request", "_begin", "_end"])
    def test_every_step_is_guarded(self, step: str) -> None:
        def fail(*_: object) -> None:
            raise ValueError

        observer = type("Broken", (Observer,), {step: fail})(Observation(), Privacy())
        observer.request(b"{}", True)
        observer.response(200, "", "")
        observer.close(True)
        assert observer.observation.not_understood == 1

    def test_closed_twice_and_fed_after(self) -> None:
        observer = Call(answer=stream("a")).watched()
        seen = observer.observation.output_chunks
        observer.feed(line("b"))
        observer.close(True)
        assert observer.observation.output_chunks == seen

    @settings(max_examples=150, deadline=None)
    @given(
        st.sampled_from(PATHS),
        st.one_of(st.binary(max_size=300), st.text(max_size=200).map(str.encode)),
        st.sampled_from([200, 400]),
        st.sampled_from(["", "gzip", "deflate", "zstd", "x"]),
        st.booleans(),
    )
    def test_any_bytes(
        self, path: str, junk: bytes, status: int, encoding: str, whole: bool
    ) -> None:
        call = Call(path=path, answer=junk, body=junk, status=status, whole=whole)
        call.content_encoding = encoding
        seen = call.facts()
        assert (seen.input_tokens, seen.output_tokens, seen.total) == (None, None, None)

    json_values = st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner),
        max_leaves=6,
    )
    structs = (Request, Answer, openai.Answer, responses.Event, anthropic.Event)
    names = st.sampled_from(sorted({name for one in structs for name in one.__struct_fields__}))

    @settings(max_examples=150, deadline=None)
    @given(st.sampled_from(PATHS), st.dictionaries(names, json_values), st.integers(0, 400))
    def test_any_json(self, path: str, members: dict[str, object], cut: int) -> None:
        """Known names with values of any type: never misunderstood as a whole."""
        body = (
            json.dumps(members, allow_nan=False, default=str).encode() if finite(members) else b""
        )
        for whole, seen in ((True, body), (False, body[:cut])):
            call = Call(path=path, body=seen, whole=whole, answer=body + b"\n" + FINAL)
            observer = call.watched()
            assert not any(isinstance(fact, float) and fact < 0 for fact in facts_of(observer))
            call.content_type, call.answer = SSE, b"data: " + body + b"\n\n"
            assert not call.watched().deaf


def finite(value: object) -> bool:
    try:
        json.dumps(value, allow_nan=False)
    except ValueError:
        return False
    return True


def facts_of(observer: Observer) -> list[object]:
    seen = observer.observation
    return [seen.total, seen.load, seen.prefill, seen.decode, seen.input_tokens]


def test_a_stream_that_never_says_anything_is_not_read_line_by_line_for_ever() -> None:
    """Each line read on the relay's way delays other streams."""
    call = Call(answer=b"{}\n" * 5000 + b'{"done":true,"eval_count":3}\n')
    observer = call.watched()
    assert isinstance(observer, LineObserver)
    assert observer.read_lines < 1100
    assert observer.observation.output_tokens == 3
