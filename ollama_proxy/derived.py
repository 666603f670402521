"""What follows from a call's record, and so is told with it but kept nowhere. Pure.

Not here: the record (`exchange.py`), how it is written (`bus.py`, `export.py`).
"""

from __future__ import annotations

from typing import Any

import msgspec

from ollama_proxy.exchange import Call, State
from ollama_proxy.insights.occurring import kinds

DERIVED = ("prefill_tokens_per_second", "rest", "output_tokens_estimated", "found")
KEYS = (*Call.__struct_fields__, *DERIVED)


def view(call: Call) -> dict[str, Any]:
    """The REST object of a call: its fields, then what follows from them; the keys are `KEYS`."""
    row = msgspec.structs.asdict(call)
    row["prefill_tokens_per_second"] = prefill_tokens_per_second(call)
    row["rest"] = rest(call)
    row["output_tokens_estimated"] = output_tokens_estimated(call)
    row["found"] = kinds(call)
    return row


def prefill_tokens_per_second(call: Call) -> float | None:
    """The prompt's tokens by prefill's seconds: Ollama counts those of the cache, too.

    So it is the model's speed only where `prefill_cached` is False.
    """
    if not call.input_tokens or not call.prefill:
        return None
    return call.input_tokens / call.prefill


def rest(call: Call) -> float | None:
    """Seconds of a finished call that lie outside its phases: an upload, JSON, the way, the proxy.

    The duration is by the proxy's clock and begins with the request's arrival here; the phases are
    Ollama's and begin with its arrival there, and their sum is Ollama's total. Two clocks may
    differ by more than the rest: it is then 0.
    """
    if call.state == State.RUNNING or call.duration is None:
        return None
    if call.queue is None or call.prefill is None or call.decode is None:
        return None
    told = (call.connect or 0.0) + call.queue + (call.load or 0.0) + call.prefill + call.decode
    return max(0.0, call.duration - told)


def output_tokens_estimated(call: Call) -> int | None:
    """The pieces of a stream whose tokens were never told: on Ollama one piece is one token.

    In recorded streams the pieces are as many as the tokens or, where the model ended by itself,
    one fewer. Only a character of several tokens is held back; a tool call is one piece of any
    length, so that a call with one has no estimate.
    """
    if call.state == State.RUNNING or call.output_tokens is not None or call.tool_calls:
        return None
    return call.output_chunks or None
