"""No pattern's match is overlooked in a captured call, however it is written or spread."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import pytest

from ollama_proxy.observers.matching import is_clear, may_show_image
from ollama_proxy.recording import Headers
from ollama_proxy.replay import Capture

PATTERNS = [re.compile(r"never\d"), re.compile("geheim-[0-9]{4}")]
SECRET = "geheim-4711"
NDJSON: Headers = [("Content-Type", "application/x-ndjson")]
EVENTS: Headers = [("content-type", "text/event-stream; charset=utf-8")]
PLAIN: Headers = [("Content-Type", "text/plain")]


def clear(body: bytes = b"{}", answer: bytes = b"{}", **fields: Any) -> bool:
    known: dict[str, Any] = {
        "id": "01ABC",
        "method": "POST",
        "target": "/api/chat",
        "headers": [],
        "body": body,
        "status": 200,
        "pieces": [(0.0, answer[i : i + 7]) for i in range(0, len(answer), 7)],
        "complete": True,
    }
    return is_clear(Capture(**known | fields), PATTERNS)


def spread(before: str, after: str, separator: str) -> bytes:
    """One document a letter of the secret."""
    return "".join(before + letter + after + separator for letter in SECRET).encode()


ESCAPED = rb"g\u0065heim-4711"

HIDDEN_IN_REQUEST = [
    b'{"prompt": "a geheim-4711 b"}',
    b'{"prompt": "' + ESCAPED + b'"}',
    b'{"prompt": "' + ESCAPED + b'", "prompt": "harmless"}',
    b'{"options": {"stop": ["a", "' + ESCAPED + b'"]}}',
    b'{"tools": {"' + ESCAPED + b'": 1}}',
    b'"' + ESCAPED + b'"',
    json.dumps({"arguments": '{"k": "' + ESCAPED.decode() + '"}'}).encode(),
    b"# geheim-4711",
]
HIDDEN_IN_ANSWER = [
    (spread('{"message": {"content": "', '"}}', "\n"), NDJSON),
    (spread('{"message": {"thinking": "', '", "content": ""}}', "\n"), NDJSON),
    (spread('{"response": "', '"}', "\n"), NDJSON),
    (spread('{"response": "', '"}', " "), []),
    (spread('data: {"choices": [{"delta": {"content": "', '"}}]}', "\n\n"), EVENTS),
    (spread('event: x\r\ndata: {"delta": {"text": "', '"}}', "\r\n\r\n"), EVENTS),
    (spread('data: {"d": {"partial_json": "', '"}}', "\n\n") + b"data: [DONE]\n\n", EVENTS),
    (b": geheim-4711\n\n", EVENTS),
    (b'{"response": "' + ESCAPED + b'"}', NDJSON),
    (b"geheim-4711", PLAIN),
]
HARMLESS = [
    (b'{"response": "geheim"}\n{"response": "-471"}\n{"response": null}\n', NDJSON),
    (b'{"a": "geheim-47"}\n{"b": "11"}', NDJSON),
    (b'data: {"n": 4711, "l": [1.5, [], {}]}\n\ndata: [DONE]\n\n', EVENTS),
    (b"404 page not found", PLAIN),
    (b"", []),
]
UNREADABLE = [
    (b"\xff", NDJSON),
    (b'{"response": "a"}\n{"resp', NDJSON),
    (b"data: nothing\n\n", EVENTS),
    (b"[" * 100_000, NDJSON),
    (b"{}", [("Content-Encoding", "gzip")]),
    (b"<html>", [("Content-Type", "text/html")]),
]


@pytest.mark.parametrize("body", HIDDEN_IN_REQUEST)
def test_a_match_in_a_request_is_found(body: bytes) -> None:
    assert not clear(body)
    assert not clear(body, headers=EVENTS)


@pytest.mark.parametrize(("answer", "headers"), HIDDEN_IN_ANSWER)
def test_a_match_in_an_answer_is_found(answer: bytes, headers: Headers) -> None:
    assert not clear(answer=answer, response_headers=headers)
    assert clear(answer=answer.replace(b"4", b"x"), response_headers=headers)


@pytest.mark.parametrize("where", ["headers", "response_headers"])
def test_a_match_in_a_header_is_found(where: str) -> None:
    found: dict[str, Any] = {where: [("User-Agent", SECRET)]}
    assert not clear(**found)


@pytest.mark.parametrize(("answer", "headers"), HARMLESS)
def test_what_holds_no_match_is_clear(answer: bytes, headers: Headers) -> None:
    assert clear(answer=answer, response_headers=headers)


@pytest.mark.parametrize(("answer", "headers"), UNREADABLE)
def test_what_cannot_be_read_is_not_clear(answer: bytes, headers: Headers) -> None:
    assert not clear(answer=answer, response_headers=headers)
    assert not clear(answer, headers=headers)


def test_what_was_not_seen_whole_is_not_clear() -> None:
    assert not is_clear(Capture(id="", method="", target="", headers=[], body=None), PATTERNS)
    assert not clear(complete=False)
    assert clear(complete=False, status=None, pieces=[])
    assert clear(cut=True, complete=False, pieces=[])


def test_what_an_earlier_call_said_may_be_in_a_requests_tokens() -> None:
    assert not clear(b'{"prompt": "and then?", "context": [1, 2, 3]}')
    assert not clear(b'{"prompt": "and then?", "Context": [1]}')
    assert clear(b'{"prompt": "and then?", "context": []}')
    assert clear(answer=b'{"response": "", "context": [1, 2, 3]}')


def test_an_error_while_searching_keeps_nothing_and_ends_there() -> None:
    class Broken:
        def search(self, string: str, /) -> None:
            raise MemoryError

        def finditer(self, string: str, pos: int = 0, /) -> Iterator[re.Match[str]]:
            raise MemoryError

    capture = Capture(id="", method="", target="/", headers=[], body=b"{}")
    assert not is_clear(capture, [Broken()])


def test_what_takes_too_long_to_search_is_not_clear() -> None:
    prompt = json.dumps({"prompt": "a" * 200_000}).encode()
    capture = Capture(id="", method="", target="/", headers=[], body=prompt)
    assert not is_clear(capture, [re.compile("a+b")])
    assert is_clear(capture, [re.compile("ab")])


def test_without_patterns_everything_is_clear() -> None:
    call = Capture(id="", method="", target="", headers=[], body=b"\xff", complete=False)
    assert is_clear(call, [])


@pytest.mark.parametrize(
    ("body", "shows"),
    [
        ({"messages": [{"images": ["aGk="]}]}, True),
        ({"Messages": [{"Images": ["aGk="]}]}, True),
        ({"image": "aGk="}, True),
        ({"content": [{"type": "image_url", "image_url": {"url": "x"}}]}, True),
        ({"content": [{"type": "input_image", "file": "x"}]}, True),
        ({"content": [{"type": "image", "source": {}}]}, True),
        ({"anything": ["x", {"y": "DATA:image/png;base64,aGk="}]}, True),
        ({"input": ["data:image/png;base64,aGk="]}, True),
        ({"prompt": "an image, images, image_url", "images": [], "image": None}, False),
        ({"tools": [{"properties": {"image": {"type": "string"}, "images": {}}}]}, False),
        ({"required": ["image"], "type": "object"}, False),
    ],
)
def test_an_image_is_known_by_the_words_of_each_dialect(body: Any, shows: bool) -> None:
    data = json.dumps(body).encode()
    capture = Capture(id="", method="", target="", headers=[], body=data)
    assert may_show_image(capture) is shows
