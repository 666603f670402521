"""Which findings a judged call is an occurrence of, and what each cost. Pure.

Not here: the judging (`judging.py`), findings as sums of their occurrences (`storage/findings.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from ollama_proxy.exchange import Call, Reason
from ollama_proxy.insights.conflicts import names, written
from ollama_proxy.records import RELOADS, Occurrence, gravity

LONG_WAIT, LARGE_SHARE = 0.5, 0.2
"""Seconds, and of a call's whole time: it is not said of a call that it waited for less."""


def occurrences(call: Call) -> Iterator[Occurrence]:
    """Those of a finished call, by its `insights`; at most one of a kind. Of waits nothing is there
    yet: who was waited for is known when others have ended, too."""
    found = call.insights or {}
    if outage := found.get("outage"):
        yield Occurrence(kind="outage", detail=outage["since"])
    if call.reason == Reason.MODEL_MISSING and call.model is not None:
        yield Occurrence(kind="model_missing")
    cut, over, reload = found.get("prompt_cut"), found.get("overrun"), found.get("reload")
    if cut and cut["cut"]:
        yield Occurrence(
            kind="prompt_cut",
            tokens=cut["tokens_lost"],
            needed=(call.input_tokens or 0) + (cut["tokens_lost"] or 0) or None,
            estimated=cut["estimated"],
        )
    if over:
        needed = (call.input_tokens or 0) + (call.output_tokens or 0)
        if over["shifts"]:
            lost = max(0, needed - over["context"])
            yield Occurrence(kind="context_overrun", tokens=lost, needed=needed)
        if over["ended"] == "context":
            yield Occurrence(kind="context_full", needed=needed)
        elif over["ended"] == "ceiling":
            yield Occurrence(kind="ceiling", tokens=call.output_tokens, seconds=call.decode)
    if start := found.get("prompt_start"):
        yield Occurrence(
            kind="prompt_start",
            detail=str(start["at"]),
            tokens=start["tokens"],
            seconds=start["seconds"],
            estimated=True,
        )
    if slow := found.get("slow"):
        yield from _slow(slow, start is not None)
    if waste := found.get("waste"):
        yield Occurrence(**waste)
    if reload and reload["cause"] in RELOADS:
        yield _reload(reload)


def kinds(call: Call) -> list[str] | None:
    """Of which findings it is an occurrence, in the order of findings: that there was no answer, or
    a wrong one, then what cost most. None: of none. A wait is among them where it was worth a word,
    though for whom it was is known later."""
    found = sorted(
        (*occurrences(call), *_waited(call)),
        key=lambda one: (gravity(one.kind), one.seconds or 0.0, one.tokens or 0),
        reverse=True,
    )
    return [one.kind for one in found] or None


def _waited(call: Call) -> Iterator[Occurrence]:
    waited = call.queue or 0.0
    if waited >= max(LONG_WAIT, LARGE_SHARE * (call.duration or 0.0)):
        yield Occurrence(kind="waited", seconds=waited)


def _slow(slow: dict[str, Any], moved: bool) -> Iterator[Occurrence]:
    """What no other finding tells: the seconds for which reading or writing was slower, where that
    is most of it. `moved`: the prompt's start did, which explains why it was read anew."""
    for one in slow["because"][:1]:
        what = one["what"]
        if what == "decode" or (what == "prefill" and not moved):
            yield Occurrence(kind=f"slow_{what}", detail=one["reason"], seconds=one["seconds"])


def _reload(reload: dict[str, Any]) -> Occurrence:
    cause, by, detail, values = reload["cause"], reload["by"], None, None
    if cause == "evicted":
        by, detail = None, by
    elif cause in ("options", "bypass"):
        detail, values = names(reload["changed"]), written(reload["changed"])
    kind, seconds = f"reload_{cause}", reload["seconds"]
    return Occurrence(kind=kind, other=by, detail=detail, values=values, seconds=seconds)
