"""What the page says of the proxy and of Ollama behind it: the status line, the notices, the tab.

Mirrors `status.js` in the dashboard; a browser test holds the two together. Not here: what stands
below that on a page (`rows.py`).
"""

from __future__ import annotations

from collections import Counter
from typing import Any

from ollama_proxy.admin.rows import BAD, note_of
from ollama_proxy.admin.words import NONE, Text, Words, name, visible
from ollama_proxy.exchange import UNREACHED, Call
from ollama_proxy.ids import epoch

PRODUCT = "Ollama Proxy"
WINDOW = 300  # seconds: the status says "failing" of as many
MISSED = "requests?insight=outage&since=1h"
"""Where the calls are that did not reach Ollama lately."""
ICONS = {"waiting": "attention", "failing": "attention", "stopping": "attention", "down": "down"}


def health(status: dict[str, Any]) -> str:
    """The sign of the status line: its word, or `waiting` where calls wait long though it works."""
    long = status["status"] == "working" and status["waiting"]
    return "waiting" if long else str(status["status"])


def status_line(w: Words, status: dict[str, Any], now: float) -> dict[str, Text]:
    """The line that answers: does it work?"""
    answers = w.t("line.unasked")
    if _stranger(status):
        answers = w.t("line.stranger")
    elif status["upstream_up"] and status["upstream_latency"] is not None:
        version = visible(status["upstream_version"] or "")
        answers = w.t("line.answers", version=version, s=str(w.seconds(status["upstream_latency"])))
    elif status["upstream_up"] is False:
        answers = w.since(down_since(status), now)
    last, running = status["last_call_at"], status["active_requests"]
    stops = status["status"] == "stopping"
    return {
        "health": _health_words(w, status),
        "answers": answers,
        "running": w.t("line.ending", n=w.number(running))
        if stops
        else w.n("line.running", running),
        "last": w.t("line.last", ago=w.ago(epoch(last), now)) if last else w.t("line.no_call"),
    }


def _health_words(w: Words, status: dict[str, Any]) -> str:
    """The state's word; where calls wait long, how many, for how long, and behind whom."""
    kind, waiting = health(status), status["waiting"]
    if kind != "waiting":
        return w.t(f"health.{kind}")
    client = name(waiting["behind"] or w.t("finding.client.unknown"))
    return w.n(
        "health.waiting",
        waiting["calls"],
        s=str(w.seconds(waiting["seconds"])),
        client=client if isinstance(client, str) else client.shown,
    )


def down_since(status: dict[str, Any]) -> float:
    return epoch(status["upstream_since"] or status["started_at"])


def _stranger(status: dict[str, Any]) -> bool:
    """Whether something answers that is not Ollama."""
    return bool(status["upstream_up"] and status["upstream_version"] is None)


def notices(
    w: Words, status: dict[str, Any], recent: list[Call], now: float
) -> list[dict[str, str]]:
    """What must be said above everything. A cause is English: it stands apart in its sentence."""
    said = []
    if status["status"] == "down":
        told = {"address": visible(status["upstream"]), "since": w.since(down_since(status), now)}
        row = _caused(w, "notice.down", status["upstream_error"], **told)
        said.append(row | {"id": "down", "advice": w.t("notice.down_check")})
    if _stranger(status):
        told = {"address": visible(status["upstream"])}
        row = _caused(w, "notice.stranger", status["upstream_error"], **told)
        said.append(row | {"id": "stranger", "advice": w.t("notice.stranger_check")})
    ended = [call for call in recent if call.duration is not None and _end(call) > now - WINDOW]
    failed = [call for call in ended if call.state in BAD]
    missed = [call for call in failed if call.reason in UNREACHED]
    last = max(map(_end, missed), default=now)
    if status["upstream_up"] and missed and _answered(status, ended) >= last:
        link = {"href": MISSED, "link": w.t("notice.was_down_calls")}
        text = w.t("notice.was_down", time=w.clock(last))
        said.append({"id": "was_down", "text": text, **link})
        failed = [call for call in failed if call not in missed]
    if status["status"] == "failing" and (reasons := _failures(w, failed)):
        text = w.n("notice.failing", reasons.total(), reason=reasons.most_common(1)[0][0])
        said.append({"id": "failing", "text": text})
    if status["storage_error"]:
        since = w.since(epoch(status["storage_error_since"] or status["started_at"]), now)
        row = _caused(w, "notice.not_saved", status["storage_error"], since=since)
        said.append(row | {"id": "storage"})
    if status["records_dropped"]:
        said.append({"id": "dropped", "text": w.n("notice.dropped", status["records_dropped"])})
    return said


def _answered(status: dict[str, Any], ended: list[Call]) -> float:
    """When Ollama is known to have answered: since it was found up, or the last of these calls."""
    answered = [_end(call) for call in ended if call.time_to_first_byte is not None]
    return max([epoch(status["upstream_since"] or status["started_at"]), *answered])


def _failures(w: Words, failed: list[Call]) -> Counter[str]:
    """Why the listed calls failed, and how many."""
    return Counter(note_of(w, call) or w.t("cause.unknown") for call in failed)


def _end(call: Call) -> float:
    return epoch(call.started_at) + (call.duration or 0.0)


def _caused(w: Words, key: str, cause: str | None, **values: str) -> dict[str, str]:
    if not cause:
        return {"text": w.t(key, reason=w.t("cause.unknown"), **values)}
    text, end = w.around(key, "reason", **values)
    return {"text": text, "cause": visible(cause), "end": end}


def title(w: Words, status: dict[str, Any], product: str = PRODUCT) -> str:
    """The browser tab's title: how many run, and the state when it needs attention."""
    running = f"({status['active_requests']}) " if status["active_requests"] else ""
    trouble = status["status"] in ("failing", "stopping", "down")
    return running + (f"! {w.t('health.' + status['status'])} {NONE} " if trouble else "") + product
