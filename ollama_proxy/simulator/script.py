"""The answer of a call as a script: its pieces in order and why it ends. Pure, lazy, seeded.

Not here: when a piece is said (`inference.py`) or in which dialect (`dialects/`).
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import islice, repeat
from random import Random
from typing import Any, NamedTuple

from . import text
from .calls import Body, Call
from .faults import Fault

_LOOP_LENGTH = 31  # equal tokens after which Ollama gives up on a runner's output


class ToolCall(NamedTuple):
    """A call of one of the client's tools."""

    id: str
    name: str
    arguments: dict[str, Any]


class Piece(NamedTuple):
    """One step of an answer; a tool call is said at once but costs all of its tokens."""

    content: str = ""
    thinking: str = ""
    tool_call: ToolCall | None = None
    tokens: int = 1


@dataclass
class Script:
    """Iterate once for the pieces; then `reason` and `produced` (tokens) are known."""

    source: Iterable[Piece]
    limit: int | None = None
    reason: str = "stop"
    produced: int = 0

    def __iter__(self) -> Iterator[Piece]:
        for piece in self.source:
            if self.limit is not None and self.produced + piece.tokens > self.limit:
                self.reason = "length"
                return
            self.produced += piece.tokens
            yield piece
            if self.produced == self.limit:
                self.reason = "length"
                return

    @property
    def evaluated(self) -> int:
        """`eval_count`: a natural end costs one more token that is never shown."""
        return self.produced + (self.reason == "stop")


def write(call: Call, seed: int, thinks: bool, fixed: int | None, fault: Fault) -> Script:
    """The answer to this call: the same call and seed always give the same one."""
    last = call.messages[-1].content if call.messages else ""
    rng = text.generator(seed, call.model, call.options.get("seed"), len(call.messages), last)
    pieces: Iterator[Piece] = _contents(call, rng, fixed)
    if thinks:
        pieces = _chain(_thoughts(rng), pieces)
    if fault.kind == "loop":
        pieces = _chain(islice(pieces, fault.number), repeat(Piece(" the"), _LOOP_LENGTH))
    return Script(pieces, _limit(call))


def _limit(call: Call) -> int | None:
    wanted = call.options.get("num_predict")
    return int(wanted) if isinstance(wanted, int | float) and wanted > 0 else None


def _chain(*parts: Iterable[Piece]) -> Iterator[Piece]:
    for part in parts:
        yield from part


def _thoughts(rng: Random) -> Iterator[Piece]:
    for token in islice(text.prose(rng), rng.randint(12, 40)):
        yield Piece(thinking=token)


def _contents(call: Call, rng: Random, fixed: int | None) -> Iterator[Piece]:
    if call.tools and call.messages and call.messages[-1].role == "user":
        yield _tool_call(call.tools[0], rng)
        return
    tokens: Iterable[str]
    if call.format:
        tokens = text.json_answer(call.format, rng)
    else:
        tokens = islice(text.prose(rng), fixed or rng.randint(24, 220))
    for token in until_stop(tokens, _stops(call)):
        yield Piece(content=token)


def _tool_call(tool: dict[str, Any], rng: Random) -> Piece:
    function = Body(Body(tool).table("function"))
    arguments = text.sample({"type": "object"} | function.table("parameters"), rng)
    name = function.text("name") or "tool"
    spoken = name + json.dumps(arguments)
    call = ToolCall(f"call_{rng.randrange(36**8):08x}", name, arguments)
    return Piece(tool_call=call, tokens=text.count_tokens(spoken))


def _stops(call: Call) -> list[str]:
    stops = call.options.get("stop") or []
    stops = stops if isinstance(stops, list) else [stops]
    return [stop for stop in stops if isinstance(stop, str) and stop]


def until_stop(tokens: Iterable[str], stops: list[str]) -> Iterator[str]:
    """Tokens up to the first stop sequence; what may become one is held back until it is sure."""
    if not stops:
        yield from tokens
        return
    held = ""
    for token in tokens:
        held += token
        cut = min((at for at in map(held.find, stops) if at >= 0), default=-1)
        if cut >= 0:
            yield from filter(None, [held[:cut]])
            return
        if not any(_may_become(held, stop) for stop in stops):
            yield held
            held = ""
    if held:
        yield held


def _may_become(held: str, stop: str) -> bool:
    longest = min(len(held), len(stop) - 1)
    return any(stop.startswith(held[-n:]) for n in range(1, longest + 1))
