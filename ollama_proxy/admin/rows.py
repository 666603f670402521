"""What the page says of calls, models and totals: each fact by the name of its place in a template.

Mirrors `facts.js` in the dashboard; a browser test holds the two together. Not here: how a number
is written (`words.py`), HTML (`pages.py` and the templates).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from typing import Any

from ollama_proxy.admin.columns import more_cells
from ollama_proxy.admin.words import NONE, Said, Text, Words, name, visible
from ollama_proxy.derived import output_tokens_estimated
from ollama_proxy.exchange import Call, ran_model
from ollama_proxy.ids import epoch

YEAR = 365 * 86400

Phases = list[tuple[str, float]]
BAD = ("failed", "timeout")
FEW = {"p50": 5, "p99": 100}
"""Calls below which a percentile is not told; 20 of any other."""
LEAST = 0.0005  # seconds: less is written as 0 ms


def phases(call: Call) -> Phases:
    """The call's time by phase, in order; what Ollama did not report is "before" or "unknown".

    None of a call whose end nobody saw: its duration is not known.
    """
    if call.duration is None:
        return []
    total = call.duration
    if call.prefill is None and call.decode is None and call.load is None:
        first = call.time_to_first_token
        if first is None:
            return [("before", total)]
        return [("before", first), ("decode", max(0.0, total - first))]
    seen = [("queue", call.queue), ("load", call.load)]
    seen += [("prefill", call.prefill), ("decode", call.decode)]
    known = [(kind, seconds) for kind, seconds in seen if seconds and seconds >= LEAST]
    rest = total - sum(seconds for _, seconds in known)
    if call.decode is None and rest >= LEAST:
        known.append(("unknown", rest))
    return known


def phases_text(w: Words, parts: Phases) -> str:
    key = {"queue": "phase.estimated"}
    return ", ".join(
        w.t(key.get(kind, "phase.measured"), phase=w.t(f"phase.{kind}"), s=str(w.seconds(seconds)))
        for kind, seconds in parts
    )


def _who(w: Words, call: Call) -> dict[str, Text]:
    model = call.model if call.model is not None else f"{call.method} {call.path}"
    if call.model is not None and not ran_model(call.path):
        model = f"{call.model} · {call.path}"
    client = call.client if call.client is not None else w.t("client.unknown")
    # Of several calls of one client each has a name of its own, for those who hear it.
    about = f", {visible(model)}, {w.clock(epoch(call.started_at))}"
    return {"client": name(client), "model": name(model), "about": about}


def note_of(w: Words, call: Call) -> str:
    """What a final state's word leaves open."""
    if call.reason == "http_status":
        return w.t("note.status", code=str(call.status_code))
    if call.reason:
        return w.t(f"reason.{call.reason}")
    return w.t("note.limit") if call.done_reason == "length" else ""


def _tokens(w: Words, call: Call) -> Text:
    """In and out; where Ollama told none of them, out by the pieces that passed."""
    estimated = output_tokens_estimated(call)
    if call.input_tokens is None and call.output_tokens is None:
        if estimated is None:
            return w.unknown
        about = w.t("about", n=w.number(estimated))
        return Said(w.t("tokens.in_out", i=NONE, o=about), w.n("tokens.estimated", estimated))
    both = [
        NONE if count is None else w.number(count)
        for count in (call.input_tokens, call.output_tokens)
    ]
    return w.t("tokens.in_out", i=both[0], o=both[1])


def call_row(w: Words, call: Call, now: float) -> dict[str, Text]:
    """A finished call in the list."""
    ended: Text = w.unknown
    if call.duration is not None:
        ended = w.moment(epoch(call.started_at) + call.duration, now)
    return _who(w, call) | _explained(
        w,
        call,
        {
            "started": w.moment(epoch(call.started_at), now),
            "ended": ended,
            "state": w.t(f"state.{call.state}"),
            "note": note_of(w, call),
            "phases": phases_text(w, phases(call)),
            "total": w.seconds(call.duration),
            "first": w.seconds(call.time_to_first_token),
            "tokens": _tokens(w, call),
            "speed": w.speed(call.tokens_per_second),
            **more_cells(w, call),
        },
    )


def _explained(w: Words, call: Call, row: dict[str, Text]) -> dict[str, Text]:
    """The same texts: of what is not known why, where it is not that Ollama did not report it."""
    whys = {key: untold(call, key) for key, text in row.items() if text == w.unknown}
    return row | {key: Said(NONE, w.t(why)) for key, why in whys.items()}


def untold(call: Call, key: str) -> str:
    """Why the fact with this key of a row is not known: a word of the catalogues."""
    if call.state == "running":
        return "unknown.running"
    if call.duration is None:
        return "unknown.end"
    if call.state != "completed" and call.time_to_first_byte is None:
        return "unknown.unanswered"
    if not ran_model(call.path):
        return "unknown.no_model"
    if key in ("first", "pieces"):
        if call.streamed is False:
            return "unknown.unstreamed"
        if call.state != "completed":
            return "unknown.before"
    return "unknown"


def phase_words(w: Words, phase: Mapping[str, Any]) -> dict[str, Text]:
    """The phase's word, and whether it is inferred; of a call that has only begun none is known."""
    if (place := phase.get("queue_position")) is not None:
        note = w.t("running.place", n=w.number(place))
    else:
        note = w.t("estimated") if phase.get("phase_estimated") else ""
    return {"phase": w.t(f"running.{phase.get('phase', 'waiting')}"), "note": note}


def running_row(w: Words, call: Call, phase: Mapping[str, Any]) -> dict[str, Text]:
    """A running call in its `phase`. Pieces are counted; a piece is not a token."""
    row = _who(w, call) | phase_words(w, phase) | {"pieces": "", "rate": ""}
    row |= {"first": "", "elapsed": w.seconds(call.duration or 0.0, running=True)}
    first = call.time_to_first_token
    if first is not None and call.output_chunks:
        writing = (call.duration or 0.0) - first
        row["pieces"] = w.number(call.output_chunks)
        row["rate"] = w.speed(call.output_chunks / writing) if writing >= 1 else ""
        row["first"] = w.seconds(first)
    return row


def percentile(w: Words, spread: dict[str, Any] | None, key: str) -> float | Said:
    """A percentile, or why there is none: below 5 calls, for p90 and p95 20, for p99 100."""
    count = int(spread["count"]) if spread else 0
    if count == 0:
        return Said(NONE, w.t("none_measured"))
    if spread is None or count < FEW.get(key, 20):
        return Said(NONE, w.n("few", count))
    return float(spread[key])


def _spread(
    w: Words, summary: dict[str, Any], of: str, key: str, write: Callable[[float], Text]
) -> Text:
    value = percentile(w, summary.get(of), key)
    return value if isinstance(value, Said) else write(value)


def model_row(w: Words, model: dict[str, Any], now: float, up: bool = True) -> dict[str, Text]:
    """A model: what it occupies now and how it did. Not `up`: as Ollama was when last seen."""
    summary = model["stats"] or {}
    about = [visible(model[key]) for key in ("parameter_size", "quantization") if model[key]]
    if model["changed_at"]:
        about.append(w.t("changed", at=w.at(epoch(model["changed_at"]), now)))
    row: dict[str, Text] = {"model": name(model["name"]), "about": " · ".join(about)}
    kind = w.t(f"kind.{model_kind(model)}" if up else f"kind.down.{model_kind(model)}")
    missing = w.unknown if model["loaded"] else Said(NONE, kind)
    row |= {"now": kind, "expires": "", "share": "", "memory": missing}
    whole, gpu = model["size_loaded"], model["size_vram"]
    if model["loaded"] and whole:
        row["memory"] = w.size(whole)
        if gpu is not None:
            part = gpu / whole * 100
            row["share"] = w.t("share.gpu") if part >= 99.95 else w.t("share.cpu")
            if 0 < part < 99.95:
                row["share"] = w.t("share.part", p=w.percent(part))
    if model["loaded"] and (left := _left(model["expires_at"], now)) is not None:
        key = "expires.soon" if left < 60 else "expires.min" if left < 5400 else "expires.at"
        if left > YEAR:
            key = "expires.never"
        at = w.at(now + left, now) if key == "expires.at" else ""
        row["expires"] = w.t(key, n=str(int(left // 60)), at=at)
    context = model["context_length"]
    bad = sum(summary.get(key, 0) for key in BAD)
    return row | {
        "context": w.number(context) if context else missing,
        "calls": w.number(summary.get("requests", 0)),
        "failed": w.n("failed", bad) if bad else "",
        "first": _spread(w, summary, "time_to_first_token", "p50", w.seconds),
        "decode": _spread(w, summary, "tokens_per_second", "p50", w.speed),
        "total": _spread(w, summary, "duration", "p50", w.seconds),
    }


def model_more(w: Words, model: dict[str, Any], now: float) -> dict[str, Text]:
    """What the page of models tells beside the overview's row."""
    summary = model["stats"] or {}
    return {
        "name": visible(model["name"]),
        "family": visible(model["family"] or ""),
        "disk": w.size(model["size"]) if model["size"] else _undisked(w, model),
        **_outcome(w, summary, now),
        "first_p95": _spread(w, summary, "time_to_first_token", "p95", w.seconds),
        "total_p95": _spread(w, summary, "duration", "p95", w.seconds),
        "loads": w.number(summary.get("cold_starts", 0)),
        "load_seconds": w.seconds(summary.get("load_seconds", 0.0)),
    }


def _undisked(w: Words, model: dict[str, Any]) -> Said:
    return w.unknown if model["available"] else Said(NONE, w.t("kind.gone"))


def client_row(w: Words, client: dict[str, Any], now: float) -> dict[str, Text]:
    """A client: how its calls went, and `waited` and `made_wait`, seconds in the last day."""
    waits, made = client["waited"], client["made_wait"]
    return {
        "client": name(client["name"], 40),
        **_outcome(w, client, now),
        "active": w.number(client["active"]),
        "calls": w.number(client["requests"]),
        "first": _spread(w, client, "time_to_first_token", "p50", w.seconds),
        "total": _spread(w, client, "duration", "p50", w.seconds),
        "waited": w.seconds(waits) if waits else NONE,
        "made_wait": w.seconds(made) if made else NONE,
    }


def _outcome(w: Words, summary: dict[str, Any], now: float) -> dict[str, Text]:
    """How many came through, their tokens, and when the last one was."""
    rate, last = summary.get("success_rate"), summary.get("last_used")
    bad, left = sum(summary.get(key, 0) for key in BAD), summary.get("cancelled", 0)
    counts = [w.compact(summary.get(f"{way}_tokens", 0)) for way in ("input", "output")]
    return {
        "success": Said(NONE, w.t("none_yet")) if rate is None else w.percent(rate),
        "bad": w.n("failed", bad) if bad else "",
        "left": w.n("cancelled", left) if left else "",
        "tokens": w.t("tokens.in_out", i=counts[0], o=counts[1]),
        "last": w.ago(epoch(last), now) if last else NONE,
    }


def _left(expires_at: str | None, now: float) -> float | None:
    """Seconds until Ollama unloads the model; None where its text is not a time."""
    try:
        left = epoch(expires_at) - now if expires_at else None
    except ValueError:
        return None
    return None if left is None or left < -60 else left


def model_kind(model: dict[str, Any]) -> str:
    if model["loaded"]:
        return "loaded"
    return "disk" if model["available"] else "gone"


def numbers(
    w: Words, status: dict[str, Any], models: list[dict[str, Any]], now: float
) -> dict[str, Text]:
    """The strip of big numbers."""
    bad = sum(status[f"{key}_requests"] for key in BAD)
    judged = status["completed_requests"] + bad
    rate, known = status["success_rate"], status["models_available"]
    began, since = epoch(status["started_at"]), counted_since(w, status, now)
    return {
        "uptime": w.seconds(math.floor(status["uptime"])),
        "uptime_note": w.since(began, now),
        "active": w.number(status["active_requests"]),
        "active_note": _noted(
            w.t("ago.now"), w.n("loaded", sum(bool(model["loaded"]) for model in models))
        ),
        "requests": w.compact(status["total_requests"]),
        "requests_note": _noted(w.n("completed", status["completed_requests"]), since),
        "models": Said(NONE, w.t("models.never_seen")) if known is None else w.number(known),
        "models_note": w.t("models.note" if status["upstream_up"] else "models.note_seen"),
        "success": Said(NONE, w.t("none_yet")) if rate is None else w.percent(rate),
        "success_note": _noted(w.n("not_completed", bad, m=w.number(judged)), since)
        if judged
        else "",
        "tokens": w.compact(status["total_tokens"]),
        "tokens_note": _noted(
            w.t(
                "tokens.note",
                i=w.compact(status["input_tokens"]),
                o=w.compact(status["output_tokens"]),
            ),
            since,
        ),
    }


def _noted(*notes: str) -> str:
    return " · ".join(filter(None, notes))


def counted_since(w: Words, status: dict[str, Any], now: float) -> str:
    """From when on calls were counted; nothing while none is."""
    if status["first_call_at"]:
        return w.since(epoch(status["first_call_at"]), now)
    ended = status["total_requests"] - status["active_requests"]
    return w.t("since.first") if ended else ""


def summary_row(w: Words, summary: dict[str, Any]) -> dict[str, Text]:
    """The general statistics."""
    bad = sum(summary[key] for key in BAD)
    judged = summary["completed"] + bad
    share = w.percent(bad / judged * 100) if judged else ""
    row: dict[str, Text] = {
        "requests": w.number(summary["requests"]),
        "failed": w.number(bad),
        "failed_note": w.t("share.of", p=share, m=w.number(judged)) if bad else "",
        "cancelled": w.number(summary["cancelled"]),
        "interrupted": w.number(summary["interrupted"]),
        "first_p50": _spread(w, summary, "time_to_first_token", "p50", w.seconds),
        "first_p95": _spread(w, summary, "time_to_first_token", "p95", w.seconds),
        "decode_p50": _spread(w, summary, "tokens_per_second", "p50", w.speed),
        "count": w.n("sample", (summary["duration"] or {}).get("count", 0)),
    }
    for key in ("p50", "p90", "p95", "p99"):
        row[f"duration_{key}"] = _spread(w, summary, "duration", key, w.seconds)
    for kind in ("queue", "load", "prefill", "decode"):
        seconds = w.seconds(summary[f"{kind}_seconds"])
        row[f"spent_{kind}"] = w.t("estimate", s=str(seconds)) if kind == "queue" else seconds
    return row


def spent(summary: dict[str, Any]) -> bool:
    """Whether any phase took time that can be shown."""
    return any(
        summary[f"{kind}_seconds"] >= LEAST for kind in ("queue", "load", "prefill", "decode")
    )


def facts(w: Words, row: dict[str, Text] | None) -> str:
    """What a model occupies, in one line over its running calls."""
    if row is None:
        return ""
    context = row["context"]
    told: list[Text] = [row["now"], row["memory"], row["share"]]
    told += ["" if isinstance(context, Said) else w.t("context.of", n=context), row["expires"]]
    return " · ".join(text for text in told if isinstance(text, str) and text)
