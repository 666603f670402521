"""Misbehaviour on demand: what a request asks the simulator to do wrong. Pure.

Not here: doing it. Two ways to ask, the same words in both:

    X-Simulate: die-after=5              a header, with any model
    "model": "simulate-die-after-5"      a model's name, for clients that cannot add a header

| words | what happens |
| --- | --- |
| `die-after=N` | the runner dies: an `{"error"}` line and a clean end (N=0: HTTP 500) |
| `break-after=N` | the connection is closed after N tokens in the middle of the body |
| `cut-after=N` | a clean end after N tokens without `done: true` |
| `loop-after=N` | after N tokens one token 31 times, then a clean end without `done: true` |
| `stall-after=N` | nothing more after N tokens until the client leaves; header only: `,seconds=S` |
| `error=STATUS` | this HTTP status at once, default 500 |
| `busy` | 503, the scheduler's queue is full |

The generating routes know all of them, the embedding routes the last two, other routes none.
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

HEADER = "X-Simulate"
PREFIX = "simulate-"
_MODEL = re.compile(r"simulate-([a-z]+)(?:-after)?(?:-(\d+))?(?::[\w.-]+)?\Z")
_KINDS = {"die", "break", "cut", "loop", "stall", "error", "busy"}


@dataclass(frozen=True, slots=True)
class Fault:
    """One misbehaviour; `kind` is empty for none."""

    kind: str = ""
    number: int = 0
    seconds: float = math.inf

    def due(self, kind: str, produced: int) -> bool:
        return self.kind == kind and produced >= self.number


NONE = Fault()


def fault_of(header: str | None, model: str) -> Fault:
    """What this request asks for; unknown words are no fault."""
    return _from_header(header) if header else _from_model(model)


def _from_header(header: str) -> Fault:
    words = dict(_pair(part) for part in header.split(","))
    for name, number in words.items():
        kind = name.removesuffix("-after")
        if kind in _KINDS:
            return Fault(
                kind, int(number) if math.isfinite(number) else 0, words.get("seconds", math.inf)
            )
    return NONE


def _pair(part: str) -> tuple[str, float]:
    name, _, value = part.strip().lower().partition("=")
    try:
        return name, float(value or 0)
    except ValueError:
        return name, 0.0


def _from_model(model: str) -> Fault:
    match = _MODEL.match(model.lower())
    if match is None or match[1] not in _KINDS:
        return NONE
    return Fault(match[1], int(match[2] or 0))
