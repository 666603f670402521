"""`GET estimate`: what a call would take that was sent now, and how often such answers were right.

Not here: how it is estimated (`insights/estimate.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
from aiohttp import web

from ollama_proxy.admin.answers import json_answer
from ollama_proxy.admin.query import ParameterError, single, whole_number
from ollama_proxy.foretelling import Asked
from ollama_proxy.insights.estimate import Estimate

PARAMETERS = ("model", "prompt_chars", "max_tokens", "client")


class Estimates:
    """`estimate` is asked on the event loop; `view` tells how often it was right."""

    def __init__(
        self, estimate: Callable[[Asked], Estimate | None], view: Callable[[], dict[str, Any]]
    ) -> None:
        self._estimate, self._view = estimate, view

    def add_routes(self, app: web.Application) -> None:
        app.router.add_get("/api/estimate", self._answer)

    async def _answer(self, request: web.Request) -> web.Response:
        said = single(request.query.items(), PARAMETERS)
        if not said.get("model"):
            raise ParameterError("model: must be given, as in model=llama3.2")
        size, most = (whole_number(name, said.get(name)) for name in ("prompt_chars", "max_tokens"))
        found = self._estimate(Asked(said["model"], size, most, said.get("client") or None))
        if found is None:
            raise web.HTTPNotFound(
                text="too few calls of this model were seen since the proxy's start to tell"
            )
        told = {"model": said["model"], **msgspec.to_builtins(found), "estimated": True}
        return json_answer(told | {"came_true": self._view()})
