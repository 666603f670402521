"""The dashboard's page: HTML with the first numbers in it, its static files, its two languages.

Not here: JSON and events (`api.py`), nor who may see them (`security.py`). What a row says is
decided twice: here for the first paint and for readers without script, and in the page's
`format.js` and `words.js` while it lives. A browser test holds the two together.
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import logging
import math
import re
import time
from collections.abc import Callable
from datetime import datetime
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jinja2
import msgspec
from aiohttp import web

from ollama_proxy.exchange import Call

log = logging.getLogger(__name__)

_PACKAGE = Path(__file__).resolve().parent.parent
DASHBOARD = _PACKAGE / "dashboard"
if not DASHBOARD.is_dir():
    DASHBOARD = _PACKAGE.parent / "dashboard"

PRODUCT = "Ollama Proxy"
LANGUAGES = ("en", "it")
THEMES = ("system", "light", "dark")
NONE = "\u2013"  # an en dash: not known
ROWS = 50  # recent calls in the first page; the live page keeps 200
LANES = 12
YEAR = 365 * 86400

SECURITY_HEADERS = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cross-Origin-Resource-Policy": "same-origin",
}
ICONS = {"failing": "attention", "down": "down"}
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class PageState(Protocol):
    """What the page shows, in the shapes that the REST answers have."""

    def status(self) -> dict[str, Any]: ...
    def stats(self) -> dict[str, Any]: ...
    def models(self) -> list[dict[str, Any]]: ...
    def active(self) -> list[Call]: ...
    async def recent(self, limit: int) -> list[Call]: ...


class Said(NamedTuple):
    """A text whose short form is seen and whose full form is heard and shown on hover."""

    shown: str
    full: str


Text = str | Said

_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b-\u200f\u2028-\u202e\u2060-\u206f\ufeff\ufff9-\ufffb\ud800-\udfff]"
)


def visible(text: str) -> str:
    """Control and direction characters written out, so that a name can't move its neighbours."""
    return _UNSEEN.sub(lambda match: f"\\u{ord(match[0]):04x}", text)


def name(text: str, most: int = 30) -> Text:
    """A name as a label: made visible, shortened in the middle so that both ends still tell."""
    full = visible(text)
    if len(full) <= most:
        return full
    tail = most * 2 // 5
    return Said(full[: most - 1 - tail] + "…" + full[-tail:], full)


def epoch(iso: str) -> float:
    """Seconds since 1970 of an ISO 8601 text (Ollama writes nanoseconds: cut to microseconds)."""
    return datetime.fromisoformat(re.sub(r"(\.\d{6})\d+", r"\1", iso)).timestamp()


def _half_up(value: float) -> int:
    return math.floor(value + 0.5)  # as the script rounds, not half to even


def _same_day(moment: float, now: float) -> bool:
    return datetime.fromtimestamp(moment).date() == datetime.fromtimestamp(now).date()


class Words:
    """One language: its catalogue, its plurals, and how it writes numbers and times."""

    def __init__(self, language: str, catalogue: dict[str, str]) -> None:
        self.language = language
        self.catalogue = catalogue
        self.unknown = Said(NONE, catalogue["unknown"])

    def t(self, key: str, **values: str) -> str:
        text = self.catalogue[key]
        return re.sub(r"\{(\w+)\}", lambda match: values[match[1]], text)

    def n(self, key: str, count: int, **values: str) -> str:
        """The form of `key` for `count`: both languages have "one" for 1 and "other"."""
        form = "one" if count == 1 else "other"
        return self.t(f"{key}.{form}", n=self.number(count), **values)

    def number(self, value: float, decimals: int = 0) -> str:
        digits = str(_half_up(value * 10**decimals)).rjust(decimals + 1, "0")
        whole, part = (digits[:-decimals], digits[-decimals:]) if decimals else (digits, "")
        grouped = f"{int(whole):,}".replace(",", self.t("number.group"))
        return grouped + self.t("number.decimal") + part if part else grouped

    def compact(self, value: float) -> str:
        """Short above 99 999: 212 k, 2.1 M."""
        units = (
            (1e9, 1e9, "unit.billion"),
            (1e6, 1e6, "unit.million"),
            (1e5, 1e3, "unit.thousand"),
        )
        for least, unit, key in units:
            if value >= least:
                short = value / unit
                return self.t(key, n=self.number(short, 1 if short < 100 else 0))
        return self.number(value)

    def seconds(self, value: float | None, running: bool = False) -> Text:
        if value is None:
            return self.unknown
        if running and value < 60:
            return self.t("time.s", n=self.number(value, 1))
        if (thousandths := _half_up(value * 1000)) < 1000:
            return self.t("time.ms", n=str(thousandths))
        if _half_up(value * 10) < 100:
            return self.t("time.s", n=self.number(value, 1))
        whole = _half_up(value)
        if whole < 60:
            return self.t("time.s", n=str(whole))
        if whole < 3600:
            return self.t("time.min", m=str(whole // 60), s=f"{whole % 60:02}")
        if whole < 86400:
            return self.t("time.h", h=str(whole // 3600), m=str(whole % 3600 // 60))
        return self.t("time.d", d=self.number(whole // 86400), h=str(whole % 86400 // 3600))

    def speed(self, value: float | None) -> Text:
        if value is None:
            return self.unknown
        return self.number(value, 0 if value >= 9.95 else 1)

    def size(self, value: float) -> str:
        for unit, key in ((1e9, "unit.gb"), (1e6, "unit.mb"), (1e3, "unit.kb")):
            if value >= unit:
                return self.t(key, n=self.number(value / unit, 1 if unit == 1e9 else 0))
        return self.t("unit.b", n=self.number(value))

    def percent(self, value: float) -> str:
        rounded = _half_up(value * 10)
        return self.t("unit.percent", n=self.number(value, 0 if rounded % 10 == 0 else 1))

    def clock(self, moment: float) -> str:
        return datetime.fromtimestamp(moment).strftime("%H:%M:%S")

    def moment(self, moment: float, now: float) -> str:
        """The clock today, else day and clock."""
        if _same_day(moment, now):
            return self.clock(moment)
        return self.day(moment, now)

    def day(self, moment: float, now: float) -> str:
        then, today = datetime.fromtimestamp(moment), datetime.fromtimestamp(now)
        values = {"d": str(then.day), "month": self.t("months").split()[then.month - 1]}
        if then.year != today.year:
            return self.t("date.year", y=str(then.year), **values)
        return self.t("date", time=then.strftime("%H:%M"), **values)

    def ago(self, moment: float, now: float) -> str:
        passed = max(0.0, now - moment)
        if passed < 5:
            return self.t("ago.now")
        if passed < 60:
            return self.t("ago.s", n=str(int(passed // 5) * 5))
        if passed < 3600:
            return self.t("ago.min", n=str(int(passed // 60)))
        if _same_day(moment, now):
            return self.t("ago.at", time=self.clock(moment)[:5])
        return self.t("ago.on", date=self.day(moment, now))

    def since(self, moment: float, now: float) -> str:
        if _same_day(moment, now):
            return self.t("since", time=self.clock(moment))
        return self.t("since.day", date=self.day(moment, now))


# What rows say. Each key is a `data-f` place in the templates and a key in words.js.

Phases = list[tuple[str, float]]
_WRITES = re.compile(
    r"/(api/(generate|chat)|v1/(chat/completions|completions|responses|messages))$"
)


def phases(call: Call) -> Phases:
    """The call's time by phase, in order; what Ollama did not report is "before" or "unknown"."""
    total = call.duration or 0.0
    if call.prefill is None and call.decode is None and call.load is None:
        first = call.time_to_first_token
        if first is None:
            return [("before", total)]
        return [("before", first), ("decode", max(0.0, total - first))]
    seen = [("queue", call.queue), ("load", call.load)]
    seen += [("prefill", call.prefill), ("decode", call.decode)]
    known = [(kind, seconds) for kind, seconds in seen if seconds and seconds >= 0.0005]
    rest = total - sum(seconds for _, seconds in known)
    if call.decode is None and rest >= 0.0005:
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
    client = call.client if call.client is not None else w.t("client.unknown")
    return {"client": name(client), "model": name(model)}


def call_row(w: Words, call: Call, now: float) -> dict[str, Text]:
    """A finished call in the list."""
    ended = epoch(call.started_at) + (call.duration or 0.0)
    note = ""
    if call.reason == "http_status":
        note = w.t("note.status", code=str(call.status_code))
    elif call.reason:
        note = w.t(f"reason.{call.reason}")
    elif call.done_reason == "length":
        note = w.t("note.limit")
    tokens: Text = w.unknown
    if call.input_tokens is not None or call.output_tokens is not None:
        both = [
            NONE if count is None else w.number(count)
            for count in (call.input_tokens, call.output_tokens)
        ]
        tokens = w.t("tokens.in_out", i=both[0], o=both[1])
    return _who(w, call) | {
        "ended": w.moment(ended, now),
        "state": w.t(f"state.{call.state}"),
        "note": note,
        "phases": phases_text(w, phases(call)),
        "total": w.seconds(call.duration),
        "first": w.seconds(call.time_to_first_token),
        "tokens": tokens,
        "speed": w.speed(call.tokens_per_second),
    }


def running_phase(call: Call) -> str:
    """Which phase a running call is in, as far as it is measured: a key of the catalogue."""
    if not _WRITES.search(call.path):
        return "running.answering" if call.response_bytes else "running.before_answer"
    return "running.before" if call.time_to_first_token is None else "running.writing"


def running_row(w: Words, call: Call) -> dict[str, Text]:
    """A running call. Pieces are counted; a piece is not a token."""
    row = _who(w, call) | {"phase": w.t(running_phase(call)), "pieces": "", "rate": ""}
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
        return Said(NONE, w.t("none_yet"))
    if spread is None or count < {"p50": 5, "p99": 100}.get(key, 20):
        return Said(NONE, w.n("few", count))
    return float(spread[key])


def _spread(
    w: Words, summary: dict[str, Any], of: str, key: str, write: Callable[[float], Text]
) -> Text:
    value = percentile(w, summary.get(of), key)
    return value if isinstance(value, Said) else write(value)


def model_row(w: Words, model: dict[str, Any], now: float) -> dict[str, Text]:
    """A model: what it occupies now and how it did."""
    summary = model["stats"] or {}
    about = [visible(model[key]) for key in ("parameter_size", "quantization") if model[key]]
    row: dict[str, Text] = {"model": name(model["name"]), "about": " · ".join(about)}
    row |= {
        "now": w.t(f"kind.{model_kind(model)}"),
        "expires": "",
        "share": "",
        "memory": w.unknown,
    }
    whole, gpu = model["size_loaded"], model["size_vram"]
    if not model["loaded"]:
        row["memory"] = Said(NONE, w.t("kind.disk"))
    elif whole:
        row["memory"] = w.size(whole)
        if gpu is not None:
            part = gpu / whole * 100
            row["share"] = w.t("share.gpu") if part >= 99.95 else w.t("share.cpu")
            if 0 < part < 99.95:
                row["share"] = w.t("share.part", p=w.percent(part))
    if model["loaded"] and (left := _left(model["expires_at"], now)) is not None:
        minutes = str(max(1, int(left // 60)))
        key = "expires.soon" if left < 60 else "expires.min" if left < 5400 else "expires.at"
        if left > YEAR:
            key = "expires.never"
        at = w.moment(now + left, now)[:-3] if key == "expires.at" else ""
        row["expires"] = w.t(key, n=minutes, time=at)
    context = model["context_length"]
    bad = sum(summary.get(key, 0) for key in ("failed", "timeout", "interrupted"))
    return row | {
        "context": w.number(context) if context else Said(NONE, w.t("kind.disk")),
        "calls": w.number(summary.get("requests", 0)),
        "failed": w.n("failed", bad) if bad else "",
        "first": _spread(w, summary, "time_to_first_token", "p50", w.seconds),
        "decode": _spread(w, summary, "tokens_per_second", "p50", w.speed),
        "total": _spread(w, summary, "duration", "p50", w.seconds),
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
    ended = status["total_requests"] - status["active_requests"]
    bad = sum(status[f"{key}_requests"] for key in ("failed", "timeout", "interrupted"))
    rate, known = status["success_rate"], status["models_available"]
    began = epoch(status["started_at"])
    return {
        "uptime": w.seconds(math.floor(status["uptime"])),
        "uptime_note": w.since(began, now),
        "active": w.number(status["active_requests"]),
        "active_note": w.n("loaded", sum(bool(model["loaded"]) for model in models)),
        "requests": w.compact(status["total_requests"]),
        "requests_note": w.n("completed", status["completed_requests"]),
        "models": w.unknown if known is None else w.number(known),
        "models_note": w.t("models.note"),
        "success": Said(NONE, w.t("none_yet")) if rate is None else w.percent(rate),
        "success_note": w.n("not_completed", bad, m=w.number(ended)),
        "tokens": w.compact(status["total_tokens"]),
        "tokens_note": w.t(
            "tokens.note", i=w.compact(status["input_tokens"]), o=w.compact(status["output_tokens"])
        ),
    }


def summary_row(w: Words, summary: dict[str, Any]) -> dict[str, Text]:
    """The general statistics."""
    bad = sum(summary[key] for key in ("failed", "timeout", "interrupted"))
    ended = summary["requests"]
    share = w.percent(bad / ended * 100) if ended else ""
    row: dict[str, Text] = {
        "requests": w.number(ended),
        "failed": w.number(bad),
        "failed_note": w.t("share.of", p=share, m=w.number(ended)) if bad else "",
        "cancelled": w.number(summary["cancelled"]),
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


def status_line(w: Words, status: dict[str, Any], now: float) -> dict[str, Text]:
    """The line that answers: does it work?"""
    answers = w.t("line.unasked")
    if status["upstream_up"] and status["upstream_latency"] is not None:
        version = visible(status["upstream_version"] or "")
        answers = w.t("line.answers", version=version, s=str(w.seconds(status["upstream_latency"])))
    elif status["upstream_up"] is False:
        answers = w.since(_down_since(status), now)
    last = status["last_call_at"]
    return {
        "health": w.t(f"health.{status['status']}"),
        "answers": answers,
        "running": w.n("line.running", status["active_requests"]),
        "last": w.t("line.last", ago=w.ago(epoch(last), now)) if last else w.t("line.no_call"),
    }


def facts(w: Words, row: dict[str, Text] | None) -> str:
    """What a model occupies, in one line over its running calls."""
    if row is None:
        return ""
    context = row["context"]
    told: list[Text] = [row["now"], row["memory"], row["share"]]
    told += ["" if isinstance(context, Said) else w.t("context.of", n=context), row["expires"]]
    return " · ".join(text for text in told if isinstance(text, str) and text)


def _down_since(status: dict[str, Any]) -> float:
    return epoch(status["upstream_since"] or status["started_at"])


def notices(w: Words, status: dict[str, Any], now: float) -> list[tuple[str, str, str]]:
    """What must be said above everything: (id, text, what to do)."""
    said = []
    if status["status"] == "down":
        said.append(
            (
                "down",
                w.t(
                    "notice.down",
                    address=visible(status["upstream"]),
                    since=w.since(_down_since(status), now),
                    reason=visible(status["upstream_error"] or w.t("cause.unknown")),
                ),
                w.t("notice.down_check"),
            )
        )
    if status["storage_error"]:
        since = status["storage_error_since"] or status["started_at"]
        text = w.t(
            "notice.not_saved",
            since=w.since(epoch(since), now),
            reason=visible(status["storage_error"]),
        )
        said.append(("storage", text, ""))
    if status["records_dropped"]:
        said.append(("dropped", w.n("notice.dropped", status["records_dropped"]), ""))
    return said


def title(w: Words, status: dict[str, Any]) -> str:
    """The browser tab's title: how many run, and the state when it needs attention."""
    running = f"({status['active_requests']}) " if status["active_requests"] else ""
    trouble = status["status"] in ("failing", "down")
    return running + (f"! {w.t('health.' + status['status'])} {NONE} " if trouble else "") + PRODUCT


def address(listen: str | None, host: str) -> str:
    """Where programs reach the proxy: as configured, a wildcard as the name the browser used."""
    if not listen:
        return host
    bound, _, port = listen.rpartition(":")
    if bound in ("0.0.0.0", "[::]", "::", ""):
        used = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:\d+)?", host)
        bound = used[1] if used else "127.0.0.1"
    return f"{bound}:{port}"


def preferred(accept: str) -> str:
    """The first of our languages in an Accept-Language header, by weight; English if none."""
    wanted: list[tuple[float, str]] = []
    for part in accept.split(",")[:20]:
        tag, _, weight = part.strip().partition(";q=")
        try:
            wanted.append((float(weight or 1), tag[:2].lower()))
        except ValueError:
            continue
    for worth, tag in sorted(wanted, key=lambda pair: -pair[0]):
        if tag in LANGUAGES and worth > 0:
            return tag
    return LANGUAGES[0]


class Pages:
    """The page and its files, under whatever prefix the application is mounted."""

    def __init__(self, state: PageState, dashboard: Path = DASHBOARD) -> None:
        self.state = state
        self.words = {
            language: Words(
                language, json.loads((dashboard / "i18n" / f"{language}.json").read_text("utf-8"))
            )
            for language in LANGUAGES
        }
        self.files = {
            path.name: path.read_bytes()
            for path in sorted((dashboard / "static").iterdir())
            if path.suffix in _TYPES
        }
        digest = hashlib.sha256()
        for file, content in self.files.items():
            digest.update(f"{file}\0{len(content)}\0".encode() + content)
        self.version = digest.hexdigest()[:12]
        self.packed = {file: gzip.compress(content) for file, content in self.files.items()}
        environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(dashboard / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )
        self.template = environment.get_template("overview.html")

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/", self.page)
        app.router.add_get("/favicon.svg", self.favicon)
        app.router.add_get("/static/{version}/{file}", self.static)

    async def page(self, request: web.Request) -> web.Response:
        for key, allowed in (("language", LANGUAGES), ("theme", THEMES)):
            if request.query.get(key) in allowed:
                return _choose(request, key, request.query[key])
        language = request.cookies.get("ollama_proxy_language", "")
        if language not in LANGUAGES:
            language = preferred(request.headers.get("Accept-Language", ""))
        theme = request.cookies.get("ollama_proxy_theme", "")
        html = await self.render(language, theme if theme in THEMES else THEMES[0], request.host)
        headers = {"Cache-Control": "no-store", "Vary": "Accept-Language, Cookie"}
        return web.Response(text=html, content_type="text/html", headers=SECURITY_HEADERS | headers)

    async def render(self, language: str, theme: str, host: str) -> str:
        status, stats, models = self.state.status(), self.state.stats(), self.state.models()
        active = self.state.active()
        unread = False
        try:
            recent = [call for call in await self.state.recent(ROWS) if call.state != "running"]
        except Exception:  # a store that fails must not take the page with it
            log.warning("recent calls could not be read", exc_info=True)
            recent, unread = [], True
        # In a thread, so that calls pass while a page of 20 ms is made.
        told = (status, stats, models, active, recent, unread)
        return await asyncio.to_thread(self._html, language, theme, host, *told)

    def _html(
        self,
        language: str,
        theme: str,
        host: str,
        status: dict[str, Any],
        stats: dict[str, Any],
        models: list[dict[str, Any]],
        active: list[Call],
        recent: list[Call],
        unread: bool,
    ) -> str:
        w, now = self.words[language], time.time()
        recent.sort(key=lambda call: epoch(call.started_at) + (call.duration or 0), reverse=True)
        rows = {model["name"]: model_row(w, model, now) for model in models}
        groups: dict[str | None, list[Call]] = {}
        for call in active[:LANES]:
            groups.setdefault(call.model, []).append(call)
        return self.template.render(
            w=w,
            theme=theme,
            version=self.version,
            files=[file for file in self.files if file.endswith(".js")],
            product=PRODUCT,
            title=title(w, status),
            icon=ICONS.get(status["status"], "ok"),
            address=address(status["listen"], host),
            first=not (status["total_requests"] or active or recent or unread),
            status=status,
            line=status_line(w, status, now),
            notices=notices(w, status, now),
            numbers=numbers(w, status, models, now),
            summary=summary_row(w, stats["all"]),
            groups=[
                {
                    "model": model,
                    "label": name(model) if model else w.t("now.no_model"),
                    "facts": facts(w, rows.get(model or "")),
                    "rows": [(call.id, running_row(w, call)) for call in calls],
                }
                for model, calls in groups.items()
            ],
            models=[(m, model_kind(m), rows[m["name"]]) for m in models if _shown(m)],
            on_disk=[name(m["name"]) for m in models if not _shown(m)],
            more=len(active) - LANES,
            recent=[(call, call_row(w, call, now)) for call in recent],
            unread=unread,
            moment=now,
            ago=w.ago(epoch(status["last_call_at"]), now) if status["last_call_at"] else "",
            zone=time.strftime("%Z"),
            data={
                "language": language,
                "words": w.catalogue,
                "product": PRODUCT,
                "now": now,
                "status": status,
                "stats": stats,
                "models": models,
                "active": [_bare(call) for call in active],
                "recent": [_bare(call) for call in recent],
            },
        )

    async def favicon(self, request: web.Request) -> web.Response:
        return self._file(request, "icon-ok.svg", "no-cache")

    async def static(self, request: web.Request) -> web.Response:
        file = request.match_info["file"]
        if request.match_info["version"] != self.version or file not in self.files:
            return web.json_response({"error": "not found"}, status=404, headers=SECURITY_HEADERS)
        return self._file(request, file, "public, max-age=31536000, immutable")

    def _file(self, request: web.Request, file: str, caching: str) -> web.Response:
        headers = SECURITY_HEADERS | {
            "Cache-Control": caching,
            "Content-Type": _TYPES[Path(file).suffix] + "; charset=utf-8",
            "ETag": f'"{self.version}"',
            "Vary": "Accept-Encoding",
        }
        if request.headers.get("If-None-Match") == headers["ETag"]:
            return web.Response(status=304, headers=headers)
        if "gzip" in request.headers.get("Accept-Encoding", ""):
            packed = headers | {"Content-Encoding": "gzip"}
            return web.Response(body=self.packed[file], headers=packed)
        return web.Response(body=self.files[file], headers=headers)


def _choose(request: web.Request, key: str, value: str) -> web.Response:
    """Keep a choice of language or theme in a cookie and come back to the page.

    The cookie has no Path: the browser then takes the page's folder, whatever the prefix is.
    """
    rest = request.rel_url.without_query_params(key).raw_query_string
    headers = SECURITY_HEADERS | {"Location": f"./?{rest}" if rest else "./"}
    answer = web.Response(status=303, headers=headers)
    answer.headers["Set-Cookie"] = f"ollama_proxy_{key}={value}; Max-Age={YEAR}; SameSite=Strict"
    return answer


def _bare(call: Call) -> dict[str, Any]:
    """A call without its texts: no list holds a prompt or an answer."""
    bare: dict[str, Any] = msgspec.to_builtins(call)
    return bare | {"prompt": None, "response": None, "options": None}


def _shown(model: dict[str, Any]) -> bool:
    """Whether a model gets a row; those on disk that were never used are only named."""
    return bool(model["loaded"] or model["stats"] or model["active"])
