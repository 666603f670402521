"""The dashboard's page: HTML with the first numbers in it, its static files, its two languages.

What a row says is decided twice: in `rows.py` for the first paint and for readers without script,
and in the page's own modules while it lives; a browser test holds the two together. Not here: JSON
and events (`api.py`), who may see them (`security.py`).
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import logging
import re
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import jinja2
from aiohttp import web

from ollama_proxy.admin.choices import choosing, language, theme
from ollama_proxy.admin.findings import finding_row, wait_row
from ollama_proxy.admin.gate import without_token
from ollama_proxy.admin.rows import (
    PRODUCT,
    call_row,
    facts,
    model_kind,
    model_row,
    notices,
    numbers,
    running_row,
    spent,
    status_line,
    summary_row,
    title,
)
from ollama_proxy.admin.words import LANGUAGES, Text, Words, name
from ollama_proxy.bus import unspoken
from ollama_proxy.exchange import MODEL_PATHS, Call, model_key
from ollama_proxy.ids import epoch, first_id
from ollama_proxy.logs import where
from ollama_proxy.records import Filter, Finding

log = logging.getLogger(__name__)

_PACKAGE = Path(__file__).resolve().parent.parent
DASHBOARD = _PACKAGE / "dashboard"
if not DASHBOARD.is_dir():
    DASHBOARD = _PACKAGE.parent / "dashboard"

FINDINGS_SECONDS = 86400.0
FINDINGS, WAITS = 5, 10
ROWS = 50  # recent calls in the first page; the live page keeps 200
LANES = 12

POLICY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
}
ICONS = {"failing": "attention", "down": "down"}
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}


class PageState(Protocol):
    """What the page shows, in the shapes that the REST answers have."""

    def status(self) -> dict[str, Any]: ...
    def stats(self) -> dict[str, Any]: ...
    def models(self) -> list[dict[str, Any]]: ...
    def active(self) -> list[Call]: ...
    def phases(self) -> dict[str, dict[str, Any]]: ...
    async def recent(self, limit: int) -> list[Call]: ...
    async def findings(self, wanted: Filter) -> list[Finding]: ...


@dataclass(frozen=True)
class Seen:
    """What one page shows, as it was `now`."""

    now: float
    status: dict[str, Any]
    stats: dict[str, Any]
    models: list[dict[str, Any]]
    active: list[Call]
    phases: dict[str, dict[str, Any]]
    recent: list[Call]  # finished, the last first
    findings: list[Finding]  # of the last day, the costliest first
    waits: list[Finding]  # those that tell who waited for whom
    unread: bool  # the store could not be read


Rows = dict[str, dict[str, Text]]  # each model's row by its name


def address(listen: str | None, host: str) -> str:
    """Where programs reach the proxy: as configured, a wildcard as the name the browser used."""
    if not listen:
        return host
    bound, _, port = listen.rpartition(":")
    if bound in ("0.0.0.0", "[::]", "::", ""):
        used = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:\d+)?", host)
        bound = used[1] if used else "127.0.0.1"
    return f"{bound}:{port}"


class Chosen(NamedTuple):
    """What a reader's page is written with."""

    words: Words
    theme: str


class Pages:
    """The page and its files, under whatever prefix the application is mounted.

    `guarded`: who sees them has logged in, and may leave.
    """

    def __init__(
        self, state: PageState, dashboard: Path = DASHBOARD, *, guarded: bool = False
    ) -> None:
        self.state, self.guarded = state, guarded
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
        self.templates = jinja2.Environment(
            loader=jinja2.FileSystemLoader(dashboard / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/", self.page)
        app.router.add_get("/favicon.svg", self.favicon)
        app.router.add_get("/static/{version}/{file}", self.static)

    async def page(self, request: web.Request) -> web.Response:
        if (answer := choosing(request)) is not None:
            return answer
        html = await self.render(self.chosen(request), request.host)
        headers = {"Cache-Control": "no-store", "Vary": "Accept-Language, Cookie"}
        return web.Response(text=html, content_type="text/html", headers=POLICY | headers)

    def chosen(self, request: web.Request) -> Chosen:
        return Chosen(self.words[language(request)], theme(request))

    async def render(self, chosen: Chosen, host: str) -> str:
        seen = await self._read()
        # In a thread, so that calls pass while a page of 20 ms is made.
        return await asyncio.to_thread(self._overview, chosen, host, seen)

    def html(self, template: str, chosen: Chosen, **values: Any) -> str:
        """A page from its template, with what each page needs."""
        return self.templates.get_template(template).render(
            w=chosen.words,
            theme=chosen.theme,
            version=self.version,
            product=PRODUCT,
            **values,
        )

    async def _read(self) -> Seen:
        state, unread = self.state, False
        status, stats, models, active = (
            state.status(),
            state.stats(),
            state.models(),
            state.active(),
        )
        try:
            ended = [call for call in await state.recent(ROWS) if call.state != "running"]
        except Exception as error:  # noqa: BLE001 - guard: admin handler
            # Without the error's own text, which may quote a prompt.
            log.warning("recent calls could not be read: %s", where(error))
            ended, unread = [], True
        findings, waits = await self._findings()
        ended.sort(key=lambda call: epoch(call.started_at) + (call.duration or 0), reverse=True)
        return Seen(
            time.time(),
            status,
            stats,
            models,
            active,
            state.phases(),
            ended,
            findings,
            waits,
            unread,
        )

    async def _findings(self) -> tuple[list[Finding], list[Finding]]:
        """None, where they cannot be read: the page says of the calls that they cannot."""
        day = first_id(time.time() - FINDINGS_SECONDS)
        try:
            found = await self.state.findings(Filter(since=day, limit=FINDINGS))
            waited = await self.state.findings(Filter(since=day, limit=WAITS, kind="waited"))
        except Exception as error:  # noqa: BLE001 - guard: admin handler
            log.warning("findings could not be read: %s", where(error))
            return [], []
        return found, waited

    def _overview(self, chosen: Chosen, host: str, seen: Seen) -> str:
        w = chosen.words
        rows = {model["name"]: model_row(w, model, seen.now) for model in seen.models}
        return self.html(
            "overview.html",
            chosen,
            files=[file for file in self.files if file.endswith(".js")],
            guarded=self.guarded,
            address=address(seen.status["listen"], host),
            zone=time.strftime("%Z"),
            data=_data(w, seen),
            **_top(w, seen),
            **_now(w, seen, rows),
            **_models(seen, rows),
            recent=[(call, call_row(w, call, seen.now)) for call in seen.recent],
            findings=[finding_row(w, one, seen.now) for one in seen.findings],
            waits=[wait_row(w, one) for one in seen.waits],
            unread=seen.unread,
        )

    @without_token
    async def favicon(self, request: web.Request) -> web.Response:
        return self._file(request, "icon-ok.svg", "no-cache")

    @without_token
    async def static(self, request: web.Request) -> web.Response:
        file = request.match_info["file"]
        if request.match_info["version"] != self.version or file not in self.files:
            return web.json_response({"error": "not found"}, status=404, headers=POLICY)
        return self._file(request, file, "public, max-age=31536000, immutable")

    def _file(self, request: web.Request, file: str, caching: str) -> web.Response:
        headers = POLICY | {
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


def _top(w: Words, seen: Seen) -> dict[str, Any]:
    """The tab, the status line, the notices, the general numbers."""
    status, now = seen.status, seen.now
    last = status["last_call_at"]
    return {
        "title": title(w, status),
        "icon": ICONS.get(status["status"], "ok"),
        "first": not (status["total_requests"] or seen.active or seen.recent or seen.unread),
        "status": status,
        "line": status_line(w, status, now),
        "notices": notices(w, status, seen.recent, now),
        "numbers": numbers(w, status, seen.models, now),
        "summary": summary_row(w, seen.stats["all"]),
        "totals": seen.stats["all"],
        "spent": spent(seen.stats["all"]),
        "moment": now,
        "ago": w.ago(epoch(last), now) if last else "",
    }


def _now(w: Words, seen: Seen, rows: Rows) -> dict[str, Any]:
    """What runs, by model."""
    known = {model_key(model): row for model, row in rows.items()}
    groups: dict[str, list[Call]] = {}
    for call in seen.active[:LANES]:
        groups.setdefault(model_key(call.model) if call.model else "", []).append(call)
    return {
        "groups": [
            {
                "model": model,
                "label": name(calls[0].model or w.t("now.no_model")),
                "facts": facts(w, known.get(model)),
                "rows": [
                    (call.id, running_row(w, call, seen.phases.get(call.id, {}))) for call in calls
                ],
            }
            for model, calls in groups.items()
        ],
        "more": len(seen.active) - LANES,
    }


def _models(seen: Seen, rows: Rows) -> dict[str, Any]:
    return {
        "models": [(m, model_kind(m), rows[m["name"]]) for m in seen.models if _shown(m)],
        "on_disk": [name(m["name"]) for m in seen.models if not _shown(m)],
    }


def _data(w: Words, seen: Seen) -> dict[str, Any]:
    """What the script starts with. No list holds a prompt or an answer."""
    return {
        "language": w.language,
        "words": w.catalogue,
        "product": PRODUCT,
        "paths": {"model": MODEL_PATHS},
        "now": seen.now,
        "status": seen.status,
        "stats": seen.stats,
        "models": seen.models,
        "active": [unspoken(call) | seen.phases.get(call.id, {}) for call in seen.active],
        "recent": [unspoken(call) for call in seen.recent],
    }


def _shown(model: dict[str, Any]) -> bool:
    """Whether a model gets a row; those on disk that were never used are only named."""
    return bool(model["loaded"] or model["stats"] or model["active"])
