"""Whether an answer ran out of its context, or up to Ollama's own ceiling. Pure.

llama-server pads a context to a multiple of 256. When it is full, half of what follows the kept
beginning is forgotten and the answer goes on (`shifts`, 4 of 4 measured calls right), or with
`shift: false` it ends. Without `num_predict` Ollama ends an answer at ten times the context. Not
here: prompts that were cut before (`prompt_cut.py`).
"""

from __future__ import annotations

import msgspec

from ollama_proxy.insights.prompt_cut import KEEP

PADDING = 256
CEILING = 10


class Overrun(msgspec.Struct, frozen=True, gc=False):
    """`shifts`: how often the oldest half was forgotten. `ended` by `context` or `ceiling`."""

    shifts: int = 0
    ended: str | None = None


def overrun(
    *,
    tokens: int,
    output: int,
    context: int,
    keep: int = KEEP,
    most: int | None = None,
    at_length: bool = False,
) -> Overrun | None:
    """Of a prompt's tokens and its answer's; `most` is `num_predict`, `at_length` whether the
    answer ended for its length. None: it fitted."""
    room = -(-context // PADDING) * PADDING
    limited = most is not None and most >= 0
    if at_length and tokens + output == room and (most is None or output < most or not limited):
        return Overrun(ended="context")
    ended = "ceiling" if at_length and not limited and output == CEILING * context else None
    beyond = tokens + output - room
    if beyond <= 0:
        return Overrun(ended=ended) if ended else None
    forgotten = max(1, (room - 1 - (keep if keep >= 0 else 0)) // 2)
    return Overrun(shifts=-(-beyond // forgotten), ended=ended)
