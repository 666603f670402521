"""What is peculiar to each /v1 dialect, to server-sent events, embeddings and transcriptions."""

from __future__ import annotations

import json
from typing import Any

import pytest

from ollama_proxy.exchange import Observation
from ollama_proxy.observers import Privacy
from ollama_proxy.observers.lines import LINE_LIMIT
from ollama_proxy.observers.text import CALLS_LIMIT
from tests.observers.spoken import EVENTS, asked, say, streamed, whole
from tests.observers.watching import Call

CHAT = "/v1/chat/completions"
COMPLETION = "/v1/completions"
RESPONSES = "/v1/responses"
MESSAGES = "/v1/messages"
QUIET = Privacy.build("none")


def events(*data: Any, end: str = "data: [DONE]\n\n") -> bytes:
    """A stream of these values; one that has a type says it in the event's name, too."""
    named = [(f"event: {one['type']}\n" if "type" in one else "", one) for one in data]
    return "".join([f"{name}data: {json.dumps(one)}\n\n" for name, one in named] + [end]).encode()


def chunk(finish: str | None = None, **delta: Any) -> dict[str, Any]:
    choice = {"index": 0, "delta": delta, "finish_reason": finish}
    return {"id": "c", "model": "m", "choices": [choice]}


def usage(came: int, went: int) -> dict[str, int]:
    return {"prompt_tokens": came, "completion_tokens": went, "total_tokens": came + went}


class TestServerSentEvents:
    """HTML standard, section 9.2.6: what Ollama does not send, others may."""

    @pytest.mark.parametrize(
        ("sent", "instead"),
        [
            (b"data: ", b"data:"),
            (b"data: ", b"id: 7\ndata: "),
            (b"data: ", b"event: message\nretry: 10\ndata: "),
            (b"data: ", b": a comment\ndata: "),
            (b'"choices"', b'\ndata: "choices"'),
            (b"\n\n", b"\r\n\r\n"),
            (b"\n\n", b"\n\n\n"),
            (b"\n\n", b"\n\n: keep-alive\n\n"),
            (b"\n\n", b"\n\nevent: nothing\n\n"),
        ],
    )
    def test_other_ways_to_say_the_same(self, sent: bytes, instead: bytes) -> None:
        call = streamed(CHAT, *say("a", "b"))
        facts = call.facts()
        call.answer = call.answer.replace(sent, instead)
        assert call.facts() == facts == call.facts(range(1, len(call.answer)))

    @pytest.mark.parametrize("comment", [b": keep-alive\n\n", b":\n\n"])
    @pytest.mark.parametrize("path", EVENTS)
    def test_comments_are_no_pieces_even_where_they_are_only_counted(
        self, path: str, comment: bytes
    ) -> None:
        call = streamed(path, *say(*["word "] * 100), privacy=QUIET)
        facts = call.facts()
        call.answer = call.answer.replace(b"\n\n", b"\n\n" + comment)
        assert call.facts() == facts

    def test_end_mark_without_what_separates_it(self) -> None:
        call = streamed(CHAT, *say("a"))
        call.answer = call.answer.rstrip(b"\n")
        assert not call.facts().incomplete

    def test_text_that_says_data_or_done(self) -> None:
        texts = ["data: {", "\n\ndata: [DONE]\n\n", "[DONE]", "event: error", ".delta\n"]
        for path in EVENTS:
            for privacy in (QUIET, Privacy.build("full")):
                call = streamed(path, *say("a", *texts, *texts), end=False, privacy=privacy)
                seen = call.facts()
                assert (seen.output_chunks, seen.incomplete) == (11, True)
                assert seen.response == privacy.keep("a" + "".join(texts * 2))
                assert seen == call.facts(range(0, len(call.answer), 400))

    @pytest.mark.parametrize("path", EVENTS)
    @pytest.mark.parametrize("junk", [b"data: not json\n\n", b"data: [1]\n\n", b'data: {"a\n\n'])
    def test_a_broken_event_is_counted_and_the_others_are_read(
        self, path: str, junk: bytes
    ) -> None:
        call = streamed(path, *say("a"))
        call.answer = junk + call.answer
        seen = call.facts()
        assert (seen.not_understood, seen.response, seen.output_tokens) == (1, "a", 3)
        assert (seen.thinking_characters, seen.tool_calls) == (None, None)

    def test_what_stands_before_the_data_is_no_part_of_it(self) -> None:
        call = streamed(CHAT, *say("a"))
        odd = b'data: 1\ndata: {"choices":[{"delta":{"content":"b"}}]}\n\n'
        call.answer = odd + call.answer
        assert call.facts().not_understood == 1
        assert call.facts() == call.facts([len(odd)])

    def test_an_event_that_is_too_long_to_look_at(self) -> None:
        call = streamed(CHAT, *say("a", "x" * LINE_LIMIT, "b"))
        seen = call.facts()
        assert (seen.not_understood, seen.response, seen.output_tokens) == (1, "ab", 3)
        assert seen == call.facts(range(0, len(call.answer), 99_991))
        end = call.answer.index(b"\n\n", call.answer.rfind(b"xx"))
        assert seen == call.facts([end + 1])

    def test_one_past_the_kept_text_leaves_it_open_what_it_was(self) -> None:
        words = say("a", "x" * LINE_LIMIT, "b", "c", "d")
        call = streamed(CHAT, *words, end=False, privacy=QUIET)
        seen = call.facts()
        assert (seen.not_understood, seen.output_chunks, seen.incomplete) == (0, 5, False)
        assert (seen.tool_calls, seen.thinking_characters) == (None, None)
        assert seen == call.facts(range(0, len(call.answer), 99_991))

    def test_an_object_that_is_too_long_to_look_at(self) -> None:
        seen = whole(CHAT, *say("x" * LINE_LIMIT)).facts()
        assert (seen.incomplete, seen.response, seen.tool_calls) == (False, None, None)
        assert seen.not_understood == 1


class TestOpenAI:
    def test_no_usage_no_tokens(self) -> None:
        seen = asked(CHAT, events(chunk(content="a"), chunk(finish="length"))).facts()
        assert (seen.input_tokens, seen.output_tokens) == (None, None)
        assert (seen.done_reason, seen.incomplete, seen.output_chunks) == ("length", False, 1)

    def test_the_zeros_in_each_chunk_of_completions_are_no_usage(self) -> None:
        call = streamed(COMPLETION, *say("a", "b"), end=False)
        assert call.answer.count(b'"prompt_tokens":0') == 2
        assert call.facts().input_tokens is None

    def test_usage_with_zero_answer(self) -> None:
        last = {"choices": [], "usage": usage(5, 0)}
        seen = asked(CHAT, events(chunk(content=""), chunk("stop"), last)).facts()
        assert (seen.input_tokens, seen.output_tokens) == (5, 0)

    @pytest.mark.parametrize(
        "used", [None, 5, "x", {}, {"prompt_tokens": -1}, {"prompt_tokens": "1"}]
    )
    def test_usage_of_a_wrong_type(self, used: object) -> None:
        seen = asked(CHAT, events(chunk(content="a"), {"choices": [], "usage": used})).facts()
        assert (seen.input_tokens, seen.output_tokens, seen.not_understood) == (None, None, 0)

    def test_calls_in_fragments_count_once_each(self) -> None:
        def part(index: int, **more: Any) -> dict[str, Any]:
            return chunk(tool_calls=[{"index": index, **more}])

        answer = events(
            part(0, id="a", function={"name": "first", "arguments": ""}),
            part(1, id="b", function={"name": "second"}),
            part(0, function={"arguments": '{"x":'}),
            part(1, id="b", function={"arguments": "{}"}),
            part(0, function={"arguments": "1}"}),
            chunk("tool_calls"),
        )
        for privacy in (Privacy(), QUIET):
            seen = asked(CHAT, answer, privacy).facts()
            assert (seen.tool_calls, seen.tool_names) == (2, ["first", "second"])
            assert (seen.output_chunks, seen.done_reason) == (5, "tool_calls")

    def test_more_calls_than_are_told_apart_are_not_counted(self) -> None:
        def calls(count: int) -> Observation:
            each = [chunk(tool_calls=[{"index": at, "id": f"{at}"}]) for at in range(count)]
            return asked(CHAT, events(*each)).facts()

        assert calls(CALLS_LIMIT).tool_calls == CALLS_LIMIT
        assert calls(CALLS_LIMIT + 1).tool_calls is None

    @pytest.mark.parametrize("calls", [None, 5, "x", {}, [], [5], [None]])
    def test_calls_of_a_wrong_type(self, calls: object) -> None:
        answer = events(chunk(content="a", tool_calls=calls), chunk("stop"))
        seen = asked(CHAT, answer).facts()
        assert (seen.tool_calls, seen.not_understood, seen.response) == (0, 0, "a")

    @pytest.mark.parametrize("call", [{}, {"index": [1], "id": {}, "function": 7}])
    def test_a_call_that_says_little_is_one_all_the_same(self, call: object) -> None:
        seen = asked(CHAT, events(chunk(tool_calls=[call]), chunk("stop"))).facts()
        assert (seen.tool_calls, seen.tool_names, seen.not_understood) == (1, None, 0)

    def test_calls_of_one_object_need_neither_index_nor_id(self) -> None:
        calls = [{"function": {"name": "f"}}, {"function": {"name": "g"}}]
        choice = {"message": {"content": None, "tool_calls": calls}, "finish_reason": "tool_calls"}
        body = json.dumps({"choices": [choice]}).encode()
        seen = asked(CHAT, body, stream=False).facts()
        assert (seen.tool_calls, seen.tool_names, seen.response) == (2, ["f", "g"], "")

    @pytest.mark.parametrize("key", ["reasoning", "reasoning_content"])
    def test_both_names_of_thinking(self, key: str) -> None:
        chunks = [chunk(**{"content": None, key: "hm"})] * 2
        for privacy in (Privacy(), QUIET):
            seen = asked(CHAT, events(*chunks, chunk(content="a"), *chunks), privacy).facts()
            assert (seen.thinking_characters, seen.output_chunks) == (8, 5)

    def test_a_piece_that_does_several_things(self) -> None:
        call = {"index": 0, "id": "c", "function": {"name": "f"}}
        several = chunk(content="a", reasoning="hm", tool_calls=[call])
        seen = asked(CHAT, events(several, end="")).facts()
        assert (seen.response, seen.thinking_characters, seen.tool_calls) == ("a", 2, 1)
        failed = chunk(content="a") | {"error": {"message": "no"}}
        seen = asked(CHAT, events(failed, end="")).facts()
        assert (seen.error_in_stream, seen.output_chunks, seen.response) == (True, 0, None)

    def test_a_piece_that_also_finishes_is_a_piece(self) -> None:
        for end in ("data: [DONE]\n\n", ""):
            last = chunk("stop", content="b")
            seen = asked(CHAT, events(chunk(content="a"), last, end=end)).facts()
            assert (seen.response, seen.output_chunks, seen.done_reason) == ("ab", 2, "stop")

    @pytest.mark.parametrize("choices", [None, 5, "x", {}, [5], [{"delta": 5}], [{"delta": [1]}]])
    def test_choices_of_a_wrong_type(self, choices: object) -> None:
        answer = events({"choices": choices}, chunk(content="a"), chunk("stop"))
        seen = asked(CHAT, answer).facts()
        assert (seen.response, seen.not_understood) == ("a", 0)

    @pytest.mark.parametrize("path", [CHAT, COMPLETION])
    @pytest.mark.parametrize("before", [0, 1, 100])
    @pytest.mark.parametrize("after", [0, 100])
    def test_error_in_a_stream(self, path: str, before: int, after: int) -> None:
        error = b'data: {"error":{"message":"the runner died","type":"api_error"}}\n\n'
        call = streamed(path, *say(*["word "] * before), end=False)
        call.answer += error + streamed(path, *say(*["word "] * after), end=False).answer
        seen = call.facts()
        assert (seen.error_in_stream, seen.error) == (True, "the runner died")
        assert (seen.output_chunks, seen.incomplete) == (before + after, False)

    def test_error_in_an_object(self) -> None:
        seen = asked(CHAT, b'{"error":{"message":"no"}}', stream=False).facts()
        assert (seen.error_in_stream, seen.error, seen.incomplete) == (True, "no", False)

    def test_rendered_only(self) -> None:
        choice = {"message": {"role": "", "content": ""}, "finish_reason": None}
        body = {"choices": [choice], "usage": usage(0, 0), "_debug_info": {"rendered_template": ""}}
        assert not asked(CHAT, json.dumps(body).encode(), stream=False).facts().incomplete


class TestResponses:
    def response(self, kind: str, **more: Any) -> dict[str, Any]:
        tokens = {"input_tokens": 5, "output_tokens": 7, "input_tokens_details": {"cached": 0}}
        body = {"status": kind, "model": "m", "usage": tokens, **more}
        return {"response": body, "type": f"response.{kind}"}

    def delta(self, text: str, kind: str = "output_text") -> dict[str, Any]:
        return {"delta": text, "type": f"response.{kind}.delta"}

    def test_incomplete_tells_why(self) -> None:
        last = self.response("incomplete", incomplete_details={"reason": "max_output_tokens"})
        seen = asked(RESPONSES, events(self.delta("a"), last, end="")).facts()
        assert (seen.done_reason, seen.output_tokens) == ("max_output_tokens", 7)
        assert not seen.incomplete

    def test_failed(self) -> None:
        last = self.response("failed", error={"code": "server_error", "message": "no search"})
        seen = asked(RESPONSES, events(self.delta("a"), last, end="")).facts()
        assert (seen.error_in_stream, seen.error, seen.done_reason) == (True, "no search", "failed")
        body = json.dumps(last["response"]).encode()
        assert asked(RESPONSES, body, stream=False).facts().error == "no search"

    @pytest.mark.parametrize("error", [{"message": "no"}, {"error": {"message": "no"}}])
    def test_error_event(self, error: dict[str, Any]) -> None:
        words = [self.delta("word ")] * 100
        answer = events(*words, {"type": "error", **error}, *words, end="")
        seen = asked(RESPONSES, answer).facts()
        assert (seen.error_in_stream, seen.error, seen.output_chunks) == (True, "no", 200)

    def test_a_search_of_ollamas_own_is_a_call_too(self) -> None:
        item = {"id": "ws", "type": "web_search_call", "status": "in_progress"}
        added = {"type": "response.output_item.added", "item": item}
        seen = asked(RESPONSES, events(added, self.response("completed"), end="")).facts()
        assert (seen.tool_calls, seen.tool_names) == (1, ["web_search"])

    def test_an_answer_of_no_words(self) -> None:
        body = json.dumps({"status": "completed", "output": None, "usage": None}).encode()
        seen = asked(RESPONSES, body, stream=False).facts()
        assert (seen.incomplete, seen.response, seen.done_reason) == (False, None, "completed")

    @pytest.mark.parametrize("item", [None, 5, {}, {"type": 5}, {"type": "message", "content": 5}])
    def test_items_of_a_wrong_type(self, item: object) -> None:
        added = {"type": "response.output_item.added", "item": item}
        answer = events(added, self.delta("a"), self.response("completed"), end="")
        assert asked(RESPONSES, answer).facts().tool_calls == 0
        body = json.dumps({"status": "completed", "output": [item]}).encode()
        assert asked(RESPONSES, body, stream=False).facts().not_understood == 0


class TestMessages:
    def test_the_guess_at_the_start_is_not_told(self) -> None:
        call = streamed(MESSAGES, *say("a"), end=False)
        assert b'"input_tokens":1' in call.answer
        assert call.facts().input_tokens is None

    @pytest.mark.parametrize("before", [0, 100])
    @pytest.mark.parametrize("after", [0, 100])
    def test_error_event(self, before: int, after: int) -> None:
        call = streamed(MESSAGES, *say("a", *["word "] * before), end=False)
        error = {"type": "error", "error": {"type": "api_error", "message": "no"}}
        call.answer += events(error, end="")
        call.answer += streamed(MESSAGES, *say(*["word "] * after), end=False).answer
        seen = call.facts()
        assert (seen.error_in_stream, seen.error, seen.incomplete) == (True, "no", False)
        assert seen.output_chunks == before + 1 + after

    def test_pings_are_no_pieces(self) -> None:
        for privacy in (Privacy(), QUIET):
            call = streamed(MESSAGES, *say(*["word "] * 100), privacy=privacy)
            facts = call.facts()
            call.answer = call.answer.replace(
                b"event: content_block_delta", b'event: ping\ndata: {"type":"ping"}\n\n\\g'
            ).replace(b"\\g", b"event: content_block_delta")
            assert call.facts() == facts

    def test_a_search_of_ollamas_own_is_a_call_too(self) -> None:
        block = {"type": "server_tool_use", "name": "web_search", "input": {}}
        body = json.dumps({"content": [block, 5, None], "stop_reason": "end_turn"}).encode()
        seen = asked(MESSAGES, body, stream=False).facts()
        assert (seen.tool_calls, seen.tool_names) == (1, ["web_search"])

    @pytest.mark.parametrize("value", [None, 5, "x", [], {"type": 5}])
    @pytest.mark.parametrize(
        "kind", ["content_block_delta", "content_block_start", "message_delta"]
    )
    def test_wrong_types(self, kind: str, value: object) -> None:
        odd = {"type": kind, "delta": value, "content_block": value, "usage": value}
        call = streamed(MESSAGES, *say("a"))
        call.answer = events(odd, end="") + call.answer
        seen = call.facts()
        assert (seen.response, seen.output_tokens, seen.not_understood) == ("a", 3, 0)


class TestEmbeddings:
    @pytest.mark.parametrize("numbers", [[0.1], [0.123456789] * 20_000, "YWFh" * 40_000])
    @pytest.mark.parametrize("size", [997, 1 << 20])
    def test_tokens_behind_the_numbers(self, numbers: object, size: int) -> None:
        data = [{"object": "embedding", "embedding": numbers, "index": 0}] * 2
        used = {"prompt_tokens": 8, "total_tokens": 8}
        answer = json.dumps({"object": "list", "data": data, "model": "m", "usage": used}).encode()
        call = asked("/v1/embeddings", answer, stream=False)
        call.body = b'{"model":"m","input":["one","two"],"dimensions":64}'
        seen = call.facts(range(0, len(answer), size))
        assert (seen.input_tokens, seen.output_tokens, seen.prompt) == (8, None, "one")
        assert (seen.streamed, seen.not_understood, seen.incomplete) == (False, 0, False)
        assert seen.options == {"dimensions": 64}

    def test_error_after_a_200(self) -> None:
        seen = asked("/v1/embeddings", b'{"error":{"message":"no"}}', stream=False).facts()
        assert (seen.error_in_stream, seen.error) == (True, "no")


class TestTranscriptions:
    FORM = (
        b'--x\r\nContent-Disposition: form-data; name="file"; filename="a.wav"\r\n'
        b"Content-Type: audio/wav\r\n\r\n\x00\xff\r\n--x\r\n"
        b'Content-Disposition: form-data; name="model"\r\n\r\nm:7b\r\n--x--\r\n'
    )

    def seen(self, answer: bytes, body: bytes = FORM, status: int = 200) -> Observation:
        path, kind = "/v1/audio/transcriptions", "application/x-ndjson"
        return Call(path=path, body=body, status=status, content_type=kind, answer=answer).facts()

    @pytest.mark.parametrize("answer", [b'{"text":"Hello"}\n', b"Hello"])
    def test_model_and_text(self, answer: bytes) -> None:
        seen = self.seen(answer)
        assert (seen.model, seen.response, seen.streamed) == ("m:7b", "Hello", False)
        assert (seen.not_understood, seen.incomplete, seen.output_chunks) == (0, False, None)
        assert (seen.tool_calls, seen.thinking_characters, seen.images) == (None, None, None)

    def test_nothing_said_is_incomplete(self) -> None:
        assert self.seen(b"").incomplete
        assert self.seen(b'{"text":"Hel').incomplete

    def test_refused(self) -> None:
        assert self.seen(b'{"error":{"message":"no"}}', status=400).error == "no"

    def test_forms_cut_anywhere(self) -> None:
        for end in range(len(self.FORM)):
            assert self.seen(b"", self.FORM[:end]).model in (None, "m:7b")

    @pytest.mark.parametrize("body", [b"", b'name="model"\r\n\r\nm\r\n', b'{"model":"m"}', b"\xff"])
    def test_what_is_no_form(self, body: bytes) -> None:
        seen = self.seen(b'{"text":"a"}', body)
        assert (seen.model, seen.not_understood) == (None, 0)
