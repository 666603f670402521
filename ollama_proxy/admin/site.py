"""What all pages share: their files, their languages, what a browser chose, the frame around them.

Not here: what stands on a page (`pages.py`, `lists.py`), what a row says (`rows.py`).
"""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
import re
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
from aiohttp import web

from ollama_proxy.admin.choices import language, theme
from ollama_proxy.admin.gate import without_token
from ollama_proxy.admin.state import ICONS, PRODUCT, health, notices, status_line, title
from ollama_proxy.admin.words import LANGUAGES, NONE, Words
from ollama_proxy.exchange import MODEL_PATHS, Call
from ollama_proxy.ids import epoch
from ollama_proxy.records import FINDINGS

_PACKAGE = Path(__file__).resolve().parent.parent
DASHBOARD = _PACKAGE / "dashboard"
if not DASHBOARD.is_dir():
    DASHBOARD = _PACKAGE.parent / "dashboard"

VIEWS = ("", "requests", "charts", "models", "clients", "alerts", "settings")
"""The addresses of the pages, as the navigation has them."""

POLICY = {
    "Content-Security-Policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; "
        "connect-src 'self'; font-src 'self'; base-uri 'none'; form-action 'self'; "
        "frame-ancestors 'none'; require-trusted-types-for 'script'"
    ),
}
_OURS = (
    *(
        f"finding.{one}"
        for one in (*FINDINGS, "remedy", "option", "slow", "cost", "calls", "missing")
    ),
    *("finding.answers", "difference.", "setting", "filter.", "alert."),
)
"""Words that only the server writes."""
_TYPES = {".js": "text/javascript", ".css": "text/css", ".svg": "image/svg+xml"}
_IMPORT = re.compile(r'^import [^;]* from "\./([\w-]+\.js)";', re.MULTILINE)


class Site:
    """The dashboard's folder, read once. `guarded`: who sees the pages has logged in, may leave."""

    def __init__(self, dashboard: Path = DASHBOARD, *, guarded: bool = False) -> None:
        self._guarded = guarded
        self.words = {
            language: Words(
                language, json.loads((dashboard / "i18n" / f"{language}.json").read_text("utf-8"))
            )
            for language in LANGUAGES
        }
        self.files = {
            path.name: path.read_bytes()
            for path in sorted((dashboard / "static").rglob("*"))
            if path.suffix in _TYPES
        }
        digest = hashlib.sha256()
        for file, content in self.files.items():
            digest.update(f"{file}\0{len(content)}\0".encode() + content)
        self.version = digest.hexdigest()[:12]
        self.packed = {file: gzip.compress(content) for file, content in self.files.items()}
        self._environment = jinja2.Environment(
            loader=jinja2.FileSystemLoader(dashboard / "templates"),
            autoescape=True,
            undefined=jinja2.StrictUndefined,
            trim_blocks=True,
            lstrip_blocks=True,
        )

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/favicon.svg", self._favicon)
        app.router.add_get("/static/{version}/{file}", self._static)

    def modules(self, file: str) -> list[str]:
        """A script and all that it imports, for the browser to fetch at once."""
        found = [file]
        for one in found:
            found += (
                name for name in _IMPORT.findall(self.files[one].decode()) if name not in found
            )
        return found

    async def answer(
        self, request: web.Request, template: str, values: Callable[[Words], Mapping[str, Any]]
    ) -> web.Response:
        """A page. It is made in a thread, so that calls pass while that takes 20 ms."""
        packs = "gzip" in request.headers.get("Accept-Encoding", "")

        def made() -> bytes:
            html = self.html(request, template, values).encode()
            return gzip.compress(html, 5) if packs else html

        headers = {
            "Cache-Control": "no-store",
            "Content-Type": "text/html; charset=utf-8",
            "Vary": "Accept-Encoding, Accept-Language, Cookie",
        }
        if packs:
            headers["Content-Encoding"] = "gzip"
        return web.Response(body=await asyncio.to_thread(made), headers=POLICY | headers)

    def html(
        self, request: web.Request, template: str, values: Callable[[Words], Mapping[str, Any]]
    ) -> str:
        w = self.words[language(request)]
        shared = {
            "w": w,
            "theme": theme(request),
            "version": self.version,
            "product": PRODUCT,
            "guarded": self._guarded,
            "here": _without_choice(request.query_string),
        }
        return self._environment.get_template(template).render({**shared, **values(w)})

    def frame(
        self,
        w: Words,
        view: str,
        script: str,
        status: dict[str, Any],
        host: str,
        now: float,
        recent: Sequence[Call] = (),
    ) -> dict[str, Any]:
        """What stands around a page: the tab, the status line, the notices, the foot. `host`: by
        which name it was asked for; `recent`: calls that may have failed."""
        return {
            "view": view,
            "views": VIEWS,
            "script": script,
            "files": self.modules(script),
            "address": address(status["listen"], host),
            "zone": time.strftime("%Z"),
            "title": title(w, status, titled(w, view)),
            "icon": ICONS.get(health(status), "ok"),
            "health": health(status),
            "status": status,
            "line": status_line(w, status, now),
            "notices": notices(w, status, list(recent), now),
            "moment": now,
        }

    @without_token
    async def _favicon(self, request: web.Request) -> web.Response:
        return self._file(request, "icon-ok.svg", "no-cache")

    @without_token
    async def _static(self, request: web.Request) -> web.Response:
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


def script_data(
    w: Words, view: str, status: dict[str, Any], now: float, **more: Any
) -> dict[str, Any]:
    """What the scripts of every page start with. No list holds a prompt or an answer."""
    return {
        "language": w.language,
        "words": {key: text for key, text in w.catalogue.items() if not key.startswith(_OURS)},
        "product": titled(w, view),
        "paths": {"model": MODEL_PATHS},
        "now": now,
        "status": status,
        "stats": None,
        "models": [],
        "active": [],
        "recent": [],
        **more,
    }


def titled(w: Words, view: str) -> str:
    return f"{w.t('view.' + view)} {NONE} {PRODUCT}" if view else PRODUCT


def address(listen: str | None, host: str) -> str:
    """Where programs reach the proxy: as configured, a wildcard as the name the browser used."""
    if not listen:
        return host
    bound, _, port = listen.rpartition(":")
    if bound in ("0.0.0.0", "[::]", "::", ""):
        used = re.fullmatch(r"(\[[0-9a-fA-F:.]+\]|[A-Za-z0-9.-]+)(:\d+)?", host)
        bound = used[1] if used else "127.0.0.1"
    return f"{bound}:{port}"


def _without_choice(query: str) -> str:
    """The query to which a choice is added."""
    parts = [part for part in query.split("&") if not part.startswith(("language=", "theme="))]
    kept = "&".join(part for part in parts if part)
    return f"{kept}&" if kept else ""


def last_call_ago(w: Words, status: dict[str, Any], now: float) -> str:
    last = status["last_call_at"]
    return w.ago(epoch(last), now) if last else ""
