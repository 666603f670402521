"""Writes the Python client's types from the description of the REST answers.

`python -m tests.client.generating` writes `calls.py` and `answers.py` in `ollama_proxy/client/`
anew; a test holds them to it. Not here: the description (`admin/openapi/`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

from ollama_proxy.admin.openapi.document import document

FOLDER = Path(__file__).parents[2] / "ollama_proxy" / "client"
CALLS = ("Call", "OneCall", "RunningCall", "Progress")
ANSWERS = ("Status", "Health", "Stats", "Model", "Client", "Series", "Finding")
BASES = ("Call", "Summary")
"""What has all their fields is one of them."""
FILTERS = {"RequestFilters": "requests", "FindingFilters": "insights", "SeriesFilters": "series"}
PAGING = ("limit", "before", "after")
TIMES = ("since", "until", "ended_after")
_HEAD = '''\
"""The types of the REST answers: {what}. Made from their description.

Not to be changed by hand: `python -m tests.client.generating` makes them anew. What each field
means is told by a proxy's page `api/`. What is null there, or not there, is None here; a word of a
fixed set is a text, since words may be added. Not here: how they are asked for (`asking.py`).
"""

from __future__ import annotations

from typing import {typing}

import msgspec
'''
_ANSWER = '''

class Answer(msgspec.Struct, frozen=True):
    """What a monitor told, or a part of it; fields that are not known here are left out."""
'''
_PLAIN = {"string": "str", "integer": "int", "number": "float", "boolean": "bool"}
_TOLD = document("/")
_SCHEMAS = _TOLD["components"]["schemas"]
_EVENTS = _TOLD["paths"]["/api/events"]["get"]["x-events"]


def sources() -> dict[str, str]:
    """The text of each file, by its name."""
    calls = _ordered(CALLS)
    told = [one["data"] for one in _EVENTS.values()]
    others = [one for one in _ordered([*ANSWERS, *_named(told)]) if one not in calls]
    used = {one for name in others for one in _named(_SCHEMAS[name])} | {*_named(told)}
    imported = ", ".join(sorted({"Answer", *(used & {*calls})}))
    return {
        "calls.py": "".join(
            [
                _HEAD.format(what="the calls'", typing="Any"),
                _ANSWER,
                *(_struct(one) for one in calls),
            ]
        ),
        "answers.py": "".join(
            [
                _HEAD.format(what="all but the calls'", typing="Literal, TypedDict").replace(
                    "import msgspec\n", f"from ollama_proxy.client.calls import {imported}\n"
                ),
                *(_struct(one) for one in others),
                *_events(),
                *(_filters(title, route) for title, route in FILTERS.items()),
            ]
        ),
    }


def _ordered(names: Iterable[str]) -> list[str]:
    """Each type once, behind those that it is made of."""
    seen: list[str] = []

    def visit(one: str) -> None:
        if one not in seen and "enum" not in _SCHEMAS[one]:
            for other in _named(_SCHEMAS[one]):
                visit(other)
            seen.append(one)

    for name in names:
        visit(name)
    return seen


def _named(schema: Any) -> list[str]:
    """The types that it refers to."""
    if isinstance(schema, list):
        return [name for one in schema for name in _named(one)]
    if not isinstance(schema, dict):
        return []
    own = [schema["$ref"].rpartition("/")[2]] if "$ref" in schema else []
    return own + [name for one in schema.values() for name in _named(one)]


def _struct(name: str) -> str:
    fields = _fields(name)
    base = next((one for one in BASES if _fields(one).items() < fields.items()), None)
    own = [one for one in fields if base is None or one not in _fields(base)]
    head = f"\n\nclass {name}({base or 'Answer'}, frozen=True, kw_only=True):"
    return "\n".join([head, *(f"    {field}: {fields[field]}" for field in own), ""])


def _fields(name: str) -> dict[str, str]:
    schema = _SCHEMAS[name]
    return {
        field: _optional(_type(told), field in schema["required"])
        for field, told in schema["properties"].items()
    }


def _optional(kind: str, required: bool) -> str:
    if kind.endswith("| None"):
        return f"{kind} = None"
    return kind if required else f"{kind} | None = None"


def _type(schema: Any) -> str:
    if "$ref" in schema:
        name = schema["$ref"].rpartition("/")[2]
        return str(name) if "enum" not in _SCHEMAS[name] else "str"
    if "anyOf" in schema:
        kinds = [_type(one) for one in schema["anyOf"] if one.get("type") != "null"]
        return " | ".join([*dict.fromkeys(kinds), "None"])
    if "enum" in schema:
        return "str"
    if "prefixItems" in schema:
        return f"tuple[{', '.join(_type(one) for one in schema['prefixItems'])}]"
    match schema.get("type"):
        case "array":
            return f"list[{_type(schema.get('items', {}))}]"
        case "object":
            return f"dict[str, {_type(schema.get('additionalProperties', {}))}]"
        case None:
            return "Any"
        case plain:
            return _PLAIN[plain]


def _events() -> Iterator[str]:
    for kind, one in _EVENTS.items():
        yield f"\n\nclass {kind.title()}Event(Answer, frozen=True, kw_only=True):\n"
        yield f'    data: {_type(one["data"])}\n    kind: Literal["{kind}"] = "{kind}"\n'
    names = {kind: f"{kind.title()}Event" for kind in _EVENTS}
    yield "\n\nEvent = " + " | ".join(names.values()) + "\n"
    rows = (f'    "{kind}": {name},\n' for kind, name in names.items())
    yield "EVENTS: dict[str, type[Event]] = {\n" + "".join(rows) + "}\n"


def _filters(title: str, route: str) -> str:
    """The parameters of a route as keywords, but for those that lead from page to page."""
    lines = [f"\n\nclass {title}(TypedDict, total=False):"]
    for one in _TOLD["paths"][f"/api/{route}"]["get"]["parameters"]:
        if one["in"] == "query" and one["name"] not in PAGING:
            kind = "str | float" if one["name"] in TIMES else _type(one["schema"])
            lines.append(f"    {one['name']}: {kind}")
    return "\n".join([*lines, ""])


if __name__ == "__main__":
    for name, text in sources().items():
        (FOLDER / name).write_text(text)
