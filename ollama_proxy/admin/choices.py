"""What a reader chose: language, theme, columns, kept in cookies. Not here: any page."""

from __future__ import annotations

import re

from aiohttp import web

from ollama_proxy.admin.columns import COLUMNS, in_order
from ollama_proxy.admin.rows import YEAR
from ollama_proxy.admin.words import LANGUAGES

THEMES = ("system", "light", "dark")
_KINDS = {"language": LANGUAGES, "theme": THEMES}


def cookie(request: web.Request, name: str) -> str:
    """One cookie's value, the last if there are several; "" if it is not there.

    Not `request.cookies`, which reads all of them: 60 kB of others took 50 ms of the event loop.
    """
    for line in reversed(request.headers.getall("Cookie", [])):
        found = re.findall(rf"(?:^|;)\s*{re.escape(name)}=([^;]*)", line)
        if found:
            return str(found[-1]).strip()
    return ""


def language(request: web.Request) -> str:
    """The chosen one, else the one that the browser prefers."""
    chosen = cookie(request, "ollama_proxy_language")
    if chosen in LANGUAGES:
        return chosen
    return preferred(request.headers.get("Accept-Language", ""))


def theme(request: web.Request) -> str:
    chosen = cookie(request, "ollama_proxy_theme")
    return chosen if chosen in THEMES else THEMES[0]


def columns(request: web.Request) -> tuple[str, ...]:
    """Those of the list of calls."""
    return in_order(cookie(request, "ollama_proxy_columns").split("."))


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


def choosing(request: web.Request) -> web.Response | None:
    """Where the page's address makes a choice: the answer that keeps it and comes back to the page.

    The cookie has no Path: the browser then takes the page's folder, whatever the prefix is.
    """
    for key, allowed in _KINDS.items():
        if (value := request.query.get(key)) in allowed:
            return _kept(request, key, str(value))
    if given := request.query.getall("columns", None):
        # Any other value is for the usual ones.
        return _kept(request, "columns", ".".join(one for one in COLUMNS if one in given))
    return None


def _kept(request: web.Request, key: str, value: str) -> web.Response:
    rest = request.rel_url.without_query_params(key).raw_query_string
    page = request.rel_url.raw_path.rpartition("/")[2] or "./"
    answer = web.Response(status=303, headers={"Location": f"{page}{rest and '?'}{rest}"})
    kept = f"ollama_proxy_{key}={value}; Max-Age={YEAR}; SameSite=Strict"
    answer.headers["Set-Cookie"] = kept
    return answer
