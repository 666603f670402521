"""The REST answers' description: `GET api/openapi.json` for programs, `GET api/` for people.

Both are made of one document. Not here: what it says (`openapi/`).
"""

from __future__ import annotations

from functools import lru_cache
from itertools import groupby
from typing import Any

from aiohttp import web

from ollama_proxy.admin.answers import listed
from ollama_proxy.admin.openapi.document import document
from ollama_proxy.admin.query import single
from ollama_proxy.admin.site import Site
from ollama_proxy.admin.words import Words

_DOCUMENT, _PAGE = "/api/openapi.json", "/api/"


class Reference:
    """Both, in the style of the pages."""

    def __init__(self, site: Site) -> None:
        self._site = site

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get(_DOCUMENT, self._document)
        app.router.add_get(_PAGE, self._page)

    async def _document(self, request: web.Request) -> web.Response:
        single(request.query.items(), ())
        return listed(request, _described(request.path.removesuffix(_DOCUMENT)))

    async def _page(self, request: web.Request) -> web.Response:
        single(request.query.items(), ())
        root = request.path.removesuffix(_PAGE)

        def values(w: Words) -> dict[str, Any]:
            told = _described(root)
            return {
                "root": f"{request.scheme}://{request.host}{root}",
                "told": told,
                "groups": _grouped(told),
            }

        return await self._site.answer(request, "reference.html", values)


@lru_cache(maxsize=2)
def _described(root: str) -> dict[str, Any]:
    """For the admin's own port, and for the path on the clients'."""
    return document(root or "/")


def _grouped(told: dict[str, Any]) -> list[tuple[str, list[dict[str, Any]]]]:
    """The operations of each tag, with method and path, by the tag's description."""
    names = {tag["name"]: tag["description"] for tag in told["tags"]}
    operations = [
        {"method": method.upper(), "path": path, **operation}
        for path, methods in told["paths"].items()
        for method, operation in methods.items()
    ]
    by_tag = groupby(operations, key=lambda one: names[one["tags"][0]])
    return [(name, list(some)) for name, some in by_tag]
