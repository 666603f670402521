"""Shows an observer one call, cut into pieces as the test wants; not a test itself."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from ollama_proxy.exchange import Observation
from ollama_proxy.observers import Observer, Privacy, observer_for

WIRE = Path(__file__).parents[1] / "wire"
RECORDINGS = sorted(path.stem for path in WIRE.glob("*.json"))
NDJSON = "application/x-ndjson"
FINAL = (
    b'{"model":"m","created_at":"t","response":"","done":true,"done_reason":"stop",'
    b'"total_duration":4000000000,"load_duration":1000000000,"prompt_eval_count":11,'
    b'"prompt_eval_duration":500000000,"eval_count":3,"eval_duration":2000000000}\n'
)


class Call(msgspec.Struct, kw_only=True):
    """What a client sent and a server answered, as far as an observer sees it."""

    method: str = "POST"
    path: str = "/api/generate"
    body: bytes = b'{"model":"m","prompt":"hi"}'
    whole: bool = True
    status: int = 200
    content_type: str = NDJSON
    content_encoding: str = ""
    answer: bytes = b""
    complete: bool = True
    privacy: Privacy = Privacy()

    def watched(self, cuts: Iterable[int] = ()) -> Observer:
        """The observer after the whole call, its answer cut at these places."""
        observer = observer_for(self.method, self.path, Observation(), self.privacy)
        observer.request(self.body, self.whole)
        observer.response(self.status, self.content_type, self.content_encoding)
        for piece in pieces(self.answer, cuts):
            observer.feed(piece)
        observer.close(self.complete)
        return observer

    def facts(self, cuts: Iterable[int] = ()) -> Observation:
        return self.watched(cuts).observation


def pieces(data: bytes, cuts: Iterable[int]) -> Iterator[bytes]:
    start = 0
    for cut in sorted(cuts):
        yield data[start:cut]
        start = cut
    yield data[start:]


def recording(name: str, privacy: Privacy | None = None) -> Call:
    """The exchange `tests/wire/<name>.json` as a call."""
    exchange = json.loads((WIRE / f"{name}.json").read_bytes())
    request, response = exchange["request"], exchange["response"]
    headers = {key.lower(): value for key, value in response["headers"]}
    return Call(
        method=request["method"],
        path=request["target"].partition("?")[0],
        body=request["body"].encode(),
        status=response["status"],
        content_type=headers.get("content-type", ""),
        answer="".join(text for _, text in response["chunks"]).encode(),
        complete=response["complete"],
        privacy=privacy or Privacy(),
    )


def last_line(call: Call) -> dict[str, Any]:
    """The last JSON line of a call's answer, read by json, not by the code under test."""
    found: dict[str, Any] = json.loads(call.answer.strip().split(b"\n")[-1])
    return found


def line(text: str, **more: object) -> bytes:
    """One line of a generate stream."""
    return json.dumps({"model": "m", "response": text, "done": False, **more}).encode() + b"\n"


def stream(*texts: str, end: bytes = FINAL) -> bytes:
    """A generate stream of these pieces of text, with its end."""
    return b"".join(line(text) for text in texts) + end
