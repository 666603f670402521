"""Compressed answers, embeddings, error answers: bodies that are no plain stream."""

from __future__ import annotations

import gzip
import json
import random
import zlib

import pytest

from ollama_proxy.exchange import Observation
from ollama_proxy.observers import Privacy
from ollama_proxy.observers.ollama import GenerateObserver
from tests.observers.watching import FINAL, Call, stream

ANSWER = stream("Hel", "lo", "!")
RAW_DEFLATE = zlib.compressobj(wbits=-15)
RAW = RAW_DEFLATE.compress(ANSWER) + RAW_DEFLATE.flush()


class TestCompressed:
    @pytest.mark.parametrize(
        ("encoding", "body"),
        [
            ("gzip", gzip.compress(ANSWER)),
            ("GZIP ", gzip.compress(ANSWER)),
            ("x-gzip", gzip.compress(ANSWER)),
            ("deflate", zlib.compress(ANSWER)),
            ("deflate", RAW),
            ("identity", ANSWER),
            ("gzip", gzip.compress(ANSWER[:50]) + gzip.compress(ANSWER[50:])),
            ("gzip", gzip.compress(ANSWER) + b"\0" * 8),
            ("deflate", zlib.compress(ANSWER) + b"surplus"),
        ],
    )
    def test_same_facts_as_plain_whatever_the_cuts(self, encoding: str, body: bytes) -> None:
        call = Call(answer=body, content_encoding=encoding)
        plain = Call(answer=ANSWER).facts()
        assert plain.response == "Hello!"
        for size in (1, 7, len(body)):
            assert call.facts(range(size, len(body), size)) == plain

    def test_long_one_that_does_not_fit_a_piece(self) -> None:
        words = random.Random(7).choices(["sea", "wind", "salt", "grey"], k=20_000)
        answer = stream(*words)
        seen = Call(answer=gzip.compress(answer), content_encoding="gzip").facts()
        assert seen == Call(answer=answer).facts()
        assert seen.output_chunks == 20_000

    @pytest.mark.parametrize(
        ("encoding", "body"), [("zstd", b"\x28\xb5"), ("br", b"x"), ("a, b", b"x")]
    )
    def test_others_are_not_read_and_not_called_incomplete(
        self, encoding: str, body: bytes
    ) -> None:
        observer = Call(answer=body, content_encoding=encoding).watched()
        assert observer.deaf
        assert observer.observation.not_understood == 0
        assert not observer.observation.incomplete
        assert observer.observation.prompt == "hi"

    def test_corrupt_one(self) -> None:
        body = bytearray(gzip.compress(ANSWER * 50))
        body[40] ^= 0xFF
        observer = Call(answer=bytes(body), content_encoding="gzip").watched()
        assert observer.observation.not_understood == 1
        assert not observer.observation.incomplete

    def test_bomb_is_not_inflated(self) -> None:
        packer = zlib.compressobj(9, wbits=31)
        bomb = b"".join(packer.compress(b" " * 1024 * 1024) for _ in range(10)) + packer.flush()
        observer = Call(answer=bomb, content_encoding="gzip").watched(range(0, len(bomb), 1000))
        assert observer.deaf
        assert observer.observation.not_understood == 0
        assert not Call(answer=gzip.compress(ANSWER), content_encoding="gzip").watched().deaf

    @pytest.mark.parametrize("lines", [1_000, 40_000])
    def test_piece_that_would_take_long_to_look_at_is_left_out(self, lines: int) -> None:
        noise = random.Random(7)
        line = b'{"model":"m","response":"%d","padding":"' + b"x" * 60 + b'","done":false}\n'
        told = b"".join(line % noise.getrandbits(32) for _ in range(lines))
        body = gzip.compress(told + FINAL)
        assert len(told) < 200 * len(body)  # not steep enough for a bomb
        observer = Call(answer=body, content_encoding="gzip").watched()
        assert observer.deaf == (len(told) > 2 * 1024 * 1024)
        assert observer.observation.output_tokens == (None if observer.deaf else 3)
        assert not observer.observation.incomplete

    def test_patient_bomb_stops_at_64_megabytes(self) -> None:
        noise = random.Random(7).randbytes(8000)
        bomb = gzip.compress((noise + b" " * 800_000) * 90, compresslevel=1)
        body = bomb + gzip.compress(FINAL)
        cuts = range(0, len(body), 10_000)
        observer = Call(answer=body, content_encoding="gzip").watched(cuts)
        assert observer.observation.output_tokens is None
        assert not observer.observation.incomplete


class TestEmbeddings:
    COUNTS = '"total_duration":2000000000,"load_duration":1000000000,"prompt_eval_count":8}'

    @pytest.mark.parametrize("count", [1, 100, 20_000])
    def test_counts_behind_the_numbers(self, count: int) -> None:
        numbers = json.dumps([[0.123456789] * count])
        answer = f'{{"model":"m","embeddings":{numbers},{self.COUNTS}'.encode()
        call = Call(path="/api/embed", answer=answer, content_type="application/json")
        seen = call.facts()
        assert (seen.input_tokens, seen.total, seen.load) == (8, 2.0, 1.0)
        assert (seen.output_tokens, seen.queue, seen.output_chunks) == (None, None, None)
        assert seen.streamed is False
        assert not seen.incomplete
        assert seen == call.facts(range(0, len(answer), 997))

    @pytest.mark.parametrize("missing", [1, 2, 30, 100])
    def test_broken_off_tells_no_wrong_number(self, missing: int) -> None:
        answer = f'{{"embeddings":{json.dumps([[0.5] * 20_000])},{self.COUNTS}'.encode()
        call = Call(path="/api/embed", answer=answer[:-missing], complete=False)
        assert (call.facts().input_tokens, call.facts().total) == (None, None)

    def test_legacy_answer_has_no_counts(self) -> None:
        answer = b'{"embedding":[0.1,0.2]}'
        observer = Call(path="/api/embeddings", answer=answer).watched()
        assert observer.observation.input_tokens is None
        assert observer.observation.not_understood == 0

    def test_error_after_a_200(self) -> None:
        seen = Call(path="/api/embed", answer=b'{"error":"no"}').facts()
        assert (seen.error_in_stream, seen.error) == (True, "no")


class TestErrorAnswers:
    @pytest.mark.parametrize(
        ("content_type", "body", "error"),
        [
            ("application/json", b'{"error":"no"}', "no"),
            ("application/json; charset=utf-8", b'{"error":{"message":"no","type":"x"}}', "no"),
            ("application/json", b'{"type":"error","error":{"type":"x","message":"no"}}', "no"),
            ("application/json", b'{"error":"{\\"error\\":{\\"message\\":\\"no\\"}}"}', "no"),
            ("application/json", b'{"error":"{braces"}', "{braces"),
            ("application/json", b'{"message":"no"}', "no"),
            ("", b'{"error":"no"}', "no"),
            ("text/plain", b" no \n", "no"),
            ("text/plain; charset=utf-8", "nò".encode(), "nò"),
            ("text/plain", b"n" * 300, "n" * 200),
            ("text/html", b"<html>", None),
            ("application/json", b'{"error":5}', None),
            ("application/json", b'{"error":"n', None),
            ("application/json", b"[]", None),
            ("text/plain", b"", None),
        ],
    )
    @pytest.mark.parametrize("path", ["/api/generate", "/api/embed", "/api/tags", "/v1/messages"])
    def test_text(self, path: str, content_type: str, body: bytes, error: str | None) -> None:
        call = Call(path=path, status=404, content_type=content_type, answer=body)
        assert call.facts().error == error
        assert call.facts(range(len(body))).error == error
        assert not call.facts().error_in_stream
        assert not call.facts().incomplete

    def test_in_gzip(self) -> None:
        body = gzip.compress(b'{"error":"no"}')
        assert Call(status=500, answer=body, content_encoding="gzip").facts().error == "no"

    def test_megabytes_of_error_are_not_kept(self) -> None:
        call = Call(status=500, content_type="text/plain", answer=b"n" * 5_000_000)
        assert call.facts().error == "n" * 200


class TestEnds:
    @pytest.mark.parametrize("complete", [True, False])
    def test_stream_without_its_end_is_incomplete(self, complete: bool) -> None:
        seen = Call(answer=stream("a", "b", end=b""), complete=complete).facts()
        assert seen.incomplete
        assert (seen.response, seen.output_chunks) == ("ab", 2)

    def test_object_that_says_it_is_not_done(self) -> None:
        """What Ollama answers after about 31 equal tokens."""
        answer = b'{"model":"m","response":"a a a","done":false}'
        seen = Call(answer=answer, content_type="application/json").facts()
        assert seen.incomplete
        assert (seen.output_tokens, seen.output_chunks) == (None, None)

    def test_empty_answer(self) -> None:
        assert Call(answer=b"").facts().incomplete

    def test_call_that_got_no_answer(self) -> None:
        seen = Call(status=0).facts()
        assert not seen.incomplete
        assert seen.prompt == "hi"

    def test_broken_off_after_its_end_is_complete(self) -> None:
        assert not Call(answer=ANSWER, complete=False).facts().incomplete

    def test_thinking_only(self) -> None:
        said = [{"thinking": "hm", "content": ""}, {"thinking": "so", "content": ""}]
        lines = [json.dumps({"message": message, "done": False}).encode() for message in said]
        observer = Call(path="/api/chat", answer=b"\n".join([*lines, FINAL])).watched()
        assert observer.text_seen
        assert observer.observation.response == ""
        assert observer.observation.output_chunks == 2

    def test_text_is_seen_with_the_first_text_not_the_first_line(self) -> None:
        assert not Call(answer=stream("", "")).watched().text_seen
        assert Call(answer=stream("", "a")).watched().text_seen

    def test_progress_routes_end_as_they_like(self) -> None:
        answer = b'{"status":"pulling"}\n{"status":"success"}\n'
        seen = Call(path="/api/pull", answer=answer).facts()
        assert (seen.incomplete, seen.error_in_stream, seen.output_chunks) == (False, False, None)

    def test_request_that_is_read_after_the_answer(self) -> None:
        """A server may answer before the request has ended."""
        observer = GenerateObserver(Observation(), Privacy())
        observer.response(200, "application/x-ndjson", "")
        observer.feed(ANSWER)
        observer.request(b'{"model":"m","stream":true}', True)
        observer.close(True)
        assert observer.observation.streamed is True
        assert observer.observation.response == "Hello!"
