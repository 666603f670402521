"""The columns of a list of calls: which there are, and what those say that not every list has.

Mirrors `columns.js` in the dashboard. Not here: what a reader chose (`choices.py`), the other
texts of a row (`rows.py`).
"""

from __future__ import annotations

from collections.abc import Iterable

from ollama_proxy.admin.words import NONE, Said, Text, Words, name
from ollama_proxy.exchange import Call
from ollama_proxy.insights.occurring import kinds

ALWAYS = "client"
COLUMNS = (
    *("started", ALWAYS, "model", "state", "phases"),
    *("wait", "load", "prefill", "decode", "total", "first"),
    *("tokens", "speed", "cpu", "size", "path"),
)
USUAL = ("started", ALWAYS, "model", "state", "phases", "total", "first", "tokens", "speed")
SORTED_BY = {
    "wait": "queue",
    "total": "duration",
    "first": "time_to_first_token",
    "tokens": "output_tokens",
}
"""Columns by which a list can be sorted, and the field of a call that is meant."""
MARKS = (
    *("prompt_cut", "context_overrun", "context_full", "looped", "unfinished", "thought_only"),
    *("repeated", "embedded_again", "prompt_start", "reload", "slow", "ceiling", "waited", "left"),
    *("model_missing", "outage"),
)
"""What calls are marked by, or found by; reload and slow are several kinds of findings."""
_UNMARKED = ("left", "model_missing", "outage")
"""Of such a call its reason says as much."""
MOST_MARKS = 2


def in_order(given: Iterable[str]) -> tuple[str, ...]:
    """Those of the columns that there are; the usual ones, if none of them is."""
    wanted = {*given} & {*COLUMNS}
    return tuple(one for one in COLUMNS if one in wanted | {ALWAYS}) if wanted else USUAL


def more_cells(w: Words, call: Call) -> dict[str, Text]:
    """What a row says beside the texts of every list."""
    queue, used = call.queue, call.resources or {}
    cpu: Text = Said(NONE, w.t("cpu.unknown"))
    if (spent := used.get("cpu_seconds")) is not None:
        cpu = w.seconds(spent)
        cpu = w.t("estimate", s=str(cpu)) if used.get("estimated") else cpu
    sizes = {"i": w.size(call.request_bytes), "o": w.size(call.response_bytes)}
    return {
        "found": marks(w, call),
        "wait": w.t("estimate", s=str(w.seconds(queue))) if queue else w.seconds(queue),
        "load": w.seconds(call.load),
        "prefill": w.seconds(call.prefill),
        "decode": w.seconds(call.decode),
        "cpu": cpu,
        "size": w.t("tokens.in_out", **sizes),
        "path": name(call.path),
    }


def marks(w: Words, call: Call) -> str:
    """What was found of a call, the worst first, in two words at the most."""
    told = [one for one in kinds(call) or () if one not in _UNMARKED]
    words = dict.fromkeys(w.t(f"mark.{marked_as(one)}") for one in told)
    return " · ".join([*words][:MOST_MARKS])


def marked_as(kind: str) -> str:
    """By which mark a kind of findings goes."""
    group = kind.partition("_")[0]
    return group if group in MARKS else kind
