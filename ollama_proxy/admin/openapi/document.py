"""Builds the OpenAPI 3.1 document of the REST answers from types, sentences and routes. Pure.

Not here: those (`shapes.py`, `meanings*.py`, `routes.py`), how it is served (`admin/reference.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any

import msgspec

from ollama_proxy.admin.openapi import shapes
from ollama_proxy.admin.openapi.meanings import CALLS
from ollama_proxy.admin.openapi.meanings_alerts import ALERTS
from ollama_proxy.admin.openapi.meanings_besides import BESIDES
from ollama_proxy.admin.openapi.routes import PARAMETERS, ROUTES, Route
from ollama_proxy.headers import INCOMPLETE, SCANNED_TO

VERSION = "1.0"
RULE = """\
Version 1: a path, parameter, field, event or header that is described here stays, and so do its
name, type, unit and meaning. What may come at any time, with a higher second number: paths,
parameters, fields, events, headers, and words among those of an enum. So programs ignore what they
do not know. What would break this gets paths of its own below api/v2/, beside these.

Times are seconds unless a field says otherwise. null is not known, never 0. Each parameter may be
given once, and one that a route does not know is refused, so that a misspelt filter never looks
like a wide one. Only this machine is answered, under its own names, and no page of another origin:
there is no CORS."""
GROUPS = {
    "now": "What runs now",
    "calls": "Calls",
    "totals": "Totals, models, clients",
    "findings": "What was found, what changed, what to expect",
    "alerts": "Alerts",
    "about": "About the proxy",
}
SAME = {
    "RunningCall": ("Call", "Phase"),
    "Progress": ("Call", "Phase"),
    "OneCall": ("Call",),
    "CallPromptCut": ("PromptCut",),
    "Expected": ("Estimate",),
    "Estimated": ("Estimate",),
    "Client": ("Summary",),
    "Sentences": ("Sentence",),
}
"""Whose fields' sentences hold for another's, too."""

_REFS = "#/components/schemas/{name}"
_REFUSED = {
    400: "A parameter is not known here, or has no such value; the text names it.",
    401: "There is a token, admin.token, and it was not sent, or another one was.",
    403: "Whoever asks is not on this machine, or is a page of another origin.",
    429: "Too many wrong tokens came from this address; Retry-After tells when to try again.",
    500: "The proxy failed here; its log says where.",
}
_TOKEN = {
    "type": "http",
    "scheme": "bearer",
    "description": "The value of the setting admin.token, where there is one.",
}
_MODIFIED = {
    "name": "If-None-Match",
    "in": "header",
    "required": False,
    "description": "The ETag of a copy that was kept.",
    "schema": {"type": "string"},
}


def document(server: str) -> dict[str, Any]:
    """The description of the admin whose root is at `server`, a path such as `/admin`."""
    paths: dict[str, Any] = {}
    for route in ROUTES:
        paths.setdefault(route.path, {})[route.method] = _operation(route)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "Ollama Proxy: REST",
            "version": VERSION,
            "summary": "What runs, what ran, how it went, and what was found of it.",
            "description": RULE.replace("\n", " ").replace("  ", "\n\n"),
        },
        "servers": [{"url": server}],
        "tags": [{"name": name, "description": told} for name, told in GROUPS.items()],
        "paths": paths,
        "security": [{}, {"token": []}],
        "components": {"schemas": _schemas(), "securitySchemes": {"token": _TOKEN}},
    }


def _operation(route: Route) -> dict[str, Any]:
    told: dict[str, Any] = {
        "operationId": _name(route),
        "tags": [route.group],
        "summary": route.summary,
        "parameters": list(_parameters(route)),
        "responses": _responses(route),
        "x-example": route.path + route.example,
    }
    if route.more:
        told["description"] = route.more
    if route.events:
        told["x-events"] = {
            name: {"description": sentence, "data": _schema(kind)}
            for name, (sentence, kind) in route.events.items()
        }
    return told


def _name(route: Route) -> str:
    words = re.findall(r"[a-z]+", route.path.removeprefix("/api/")) or ["reference"]
    return "_".join([*(["check"] if route.method == "post" else []), *words])


def _parameters(route: Route) -> Iterator[dict[str, Any]]:
    if "{name}" in route.path:
        yield {
            "name": "name",
            "in": "path",
            "required": True,
            "description": "The name of one, as the list tells it.",
            "schema": {"type": "string"},
        }
    if "{id}" in route.path:
        yield {
            "name": "id",
            "in": "path",
            "required": True,
            "description": "The id of one, as the list tells it.",
            "schema": {"type": "string"},
        }
    for name in route.takes:
        schema, sentence = route.own.get(name) or PARAMETERS[name]
        yield {
            "name": name,
            "in": "query",
            "required": name in route.required,
            "description": sentence,
            "schema": schema,
        }
    if route.listed:
        yield _MODIFIED


def _responses(route: Route) -> dict[str, Any]:
    fine: dict[str, Any] = {
        "description": route.summary,
        "content": {kind: {"schema": _schema(one)} for kind, one in route.answers.items()},
    }
    if headers := dict(_headers(route)):
        fine["headers"] = headers
    answers = {"200": fine}
    if route.listed:
        answers["304"] = {"description": "The copy that was kept still holds; there is no body."}
    refused = {**_REFUSED, **route.refuses}
    if route.path == "/healthz":
        del refused[400]
    content = {"application/json": {"schema": _schema(shapes.Error)}}
    for status, sentence in sorted(refused.items()):
        answers[str(status)] = {"description": sentence, "content": content}
    return answers


def _headers(route: Route) -> Iterator[tuple[str, dict[str, Any]]]:
    text = {"schema": {"type": "string"}}
    if route.listed:
        yield "ETag", {"description": "Another one whenever the answer is another one.", **text}
    if route.onward:
        told = f'<…>; rel="next": the next page, by {route.onward} (RFC 8288).'
        yield "Link", {"description": told, **text}
    if route.path == "/api/requests":
        told = "Where a search ended that took too long: the id to go on before. Sorted are then "
        told += "the calls from there on, and those before it are another list."
        yield SCANNED_TO, {"description": told, **text}
        told = "Why calls may be missing: only what memory knows is told."
        yield INCOMPLETE, {"description": told, **text}


# -- schemas ---------------------------------------------------------------------------------


def _schema(kind: Any) -> dict[str, Any]:
    return msgspec.json.schema_components([kind], ref_template=_REFS)[0][0]


def _schemas() -> dict[str, Any]:
    kinds = [shapes.Error]
    for route in ROUTES:
        kinds += [*route.answers.values(), *(kind for _, kind in route.events.values())]
    _, made = msgspec.json.schema_components(kinds, ref_template=_REFS)
    # Python's words for the ends of a text are none of JSON Schema's.
    text = msgspec.json.encode(made).replace(rb"\\A", b"^").replace(rb"\\Z", b"$")
    found: dict[str, Any] = msgspec.json.decode(text)
    meanings = {name: read(text) for name, text in (CALLS | BESIDES | ALERTS).items()}
    for name, schema in found.items():
        # The sentences of the code are for those who change it.
        schema.pop("title", None)
        schema.pop("description", None)
        own = [meanings.get(one, {}) for one in (name, *SAME.get(name, ()))]
        for field, told in schema.get("properties", {}).items():
            sentence = next((these[field] for these in own if field in these), None)
            if sentence is not None:
                told["description"] = sentence
    return found


def read(text: str) -> Mapping[str, str]:
    """The sentences of a table, by field."""
    lines = text.strip().replace("\n  ", " ").splitlines()
    return {name: sentence for name, _, sentence in (line.partition(": ") for line in lines)}
