"""The REST routes: what each takes, tells and refuses. Data.

Parameters are named by the handlers' own lists. A test holds this to the routes and parameters that
there are. Not here: the types of answers (`shapes.py`), how this becomes OpenAPI (`document.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from ollama_proxy.admin import (
    alerts,
    calls,
    differences,
    estimates,
    insights,
    neighbours,
    series,
)
from ollama_proxy.admin.openapi import shapes
from ollama_proxy.admin.query import (
    FILTERS,
    INSIGHTS,
    NEWEST,
    NO_LIMIT,
    ORDER,
    PAGE,
    TEXT_LIMIT,
)
from ollama_proxy.charts import STEPS, spelt
from ollama_proxy.exchange import Reason, State
from ollama_proxy.recording import Recording
from ollama_proxy.records import FINDINGS, SORTS
from ollama_proxy.replay import FORMS
from ollama_proxy.storage.base import MAX_LIMIT

JSON, TEXT, HTML, EVENTS = "application/json", "text/plain", "text/html", "text/event-stream"

Parameter = tuple[dict[str, Any], str]
"""A schema and a sentence."""

_TEXT = {"type": "string", "minLength": 1}
_LIMIT = {"type": "integer", "minimum": 1, "maximum": MAX_LIMIT, "default": PAGE}
_SILENCE = {"type": "integer", "minimum": 0, "maximum": alerts.LONGEST_SILENCE}
_ID = {"type": "string", "minLength": 26, "maxLength": 26}

PARAMETERS: Mapping[str, Parameter] = {
    **{name: (_TEXT, sentence) for name, sentence in FILTERS.items()},
    "limit": (_LIMIT, FILTERS["limit"]),
    "before": (_ID, FILTERS["before"]),
    "state": ({"enum": list(State)}, FILTERS["state"]),
    "reason": ({"enum": list(Reason)}, FILTERS["reason"]),
    "route": ({"type": "string", "pattern": "^/"}, FILTERS["route"]),
    "slower_than": ({"type": "number", "minimum": 0}, FILTERS["slower_than"]),
    "text": (_TEXT | {"maxLength": TEXT_LIMIT}, FILTERS["text"]),
    "insight": ({"enum": list(INSIGHTS)}, FILTERS["insight"]),
    "sort": ({"enum": [NEWEST, *SORTS], "default": NEWEST}, ORDER["sort"]),
    "kind": ({"enum": list(FINDINGS)}, "Of this kind; also one that the settings hide."),
    "after": (_TEXT, "Behind the finding of this id. The order moves while calls come in."),
    "prompt_chars": ({"type": "integer", "minimum": 0}, "Bytes of the prompt."),
    "max_tokens": ({"type": "integer", "minimum": 0}, "The most tokens of the answer."),
    "as": ({"enum": [*FORMS, calls.WHICH_FORMS], "default": "curl"}, "In which form."),
}
_ANY_NUMBER = {"limit": ({"type": "integer", "minimum": 1, "maximum": NO_LIMIT}, FILTERS["limit"])}


class Route(msgspec.Struct, frozen=True, kw_only=True):
    """`answers`: what a 200 holds, by content type. `own`: parameters that differ from the others'
    of that name. `listed`: it has an ETag; `onward`: the parameter that leads to its next page.
    `refuses`: what each status beside those of every route means. `example`: path and query."""

    path: str
    group: str
    summary: str
    answers: Mapping[str, Any]
    more: str = ""
    method: Literal["get", "post"] = "get"
    takes: tuple[str, ...] = ()
    required: tuple[str, ...] = ()
    own: Mapping[str, Parameter] = {}
    listed: bool = False
    onward: str | None = None
    refuses: Mapping[int, str] = {}
    events: Mapping[str, tuple[str, Any]] = {}
    example: str = ""


_NO_CALL = "There is no such call: it never was, or was deleted since."
_UNREAD = {503: "The store cannot be read now: try later."}

ROUTES = (
    Route(
        path="/api/status",
        group="now",
        summary="How the proxy and Ollama are, and the totals",
        answers={JSON: shapes.Status},
    ),
    Route(
        path="/api/active",
        group="now",
        summary="The running calls, the oldest first",
        answers={JSON: shapes.Many[shapes.RunningCall]},
    ),
    Route(
        path="/api/events",
        group="now",
        summary="What happens, as it happens: server-sent events",
        more="First a snapshot, then the other events; whoever reads too slowly gets a new "
        "snapshot in place of what was missed. The data of each event is one line of JSON.",
        answers={EVENTS: str},
        events={
            "snapshot": ("How all stands.", shapes.Snapshot),
            "started": ("A call began.", shapes.Call),
            "progress": (
                "How far the running calls are, at most 4 times a second. Of those behind the "
                "first 100 only where more is new than the time and their place.",
                shapes.Many[shapes.Progress],
            ),
            "finished": ("A call ended.", shapes.Call),
            "status": ("Each second.", shapes.Status),
            "numbers": (
                "Totals and models, where they changed, at most each other second.",
                shapes.Numbers,
            ),
        },
        refuses={503: "Too many event streams are open, or the proxy is stopping."},
    ),
    Route(
        path="/api/machine",
        group="now",
        summary="What Ollama, the machine and the proxy use now",
        more="null before the first look is done.",
        answers={JSON: shapes.Machine | None},
    ),
    Route(
        path="/api/around",
        group="now",
        summary="Calls that go round the proxy, as far as can be seen; lower bounds",
        answers={JSON: shapes.Around},
    ),
    Route(
        path="/healthz",
        group="now",
        summary="Whether the proxy runs; parameters are ignored",
        answers={JSON: shapes.Health},
    ),
    Route(
        path="/api/requests",
        group="calls",
        summary="Calls, the newest first or sorted",
        more="A page may hold fewer calls than limit: it also ends once its texts are long, or its "
        "search takes long. The link to the next page leads on all the same; an empty page "
        "without one is the end. A sorted list is of the moment of each page: calls that come in "
        "meanwhile may be missing from it.",
        answers={JSON: shapes.Many[shapes.Call]},
        takes=(*FILTERS, *ORDER),
        own={"after": (_TEXT, ORDER["after"])},
        listed=True,
        onward="before, or by after where it is sorted",
        refuses=_UNREAD,
        example="?model=llama3.2&state=failed&since=2h",
    ),
    *(
        Route(
            path=f"/api/requests.{kind}",
            group="calls",
            summary=f"All calls that the filters ask for, the newest first, as a download: {told}",
            answers={content: str},
            takes=tuple(FILTERS),
            own=_ANY_NUMBER,
            refuses={503: "The store cannot be read now, or 4 downloads run already: try later."},
            example="?since=7d",
        )
        for kind, content, told in (
            ("csv", "text/csv", "a head with the names of a Call's fields, then a call a row"),
            ("jsonl", "application/x-ndjson", "a Call a line, as JSON"),
        )
    ),
    Route(
        path="/api/requests/{id}",
        group="calls",
        summary="One call",
        answers={JSON: shapes.OneCall},
        refuses={404: _NO_CALL} | _UNREAD,
    ),
    Route(
        path="/api/requests/{id}/neighbours",
        group="calls",
        summary="The calls that began before and after one, of those that the filters ask for",
        more="A search that takes long ends with null.",
        answers={JSON: shapes.Neighbours},
        takes=neighbours.TAKES,
        refuses={404: _NO_CALL} | _UNREAD,
        example="?model=llama3.2",
    ),
    Route(
        path="/api/requests/{id}/replay",
        group="calls",
        summary="What makes a call again, where the privacy mode full kept it",
        more="A line for a shell, a script, or a recording for the simulator. forms: an array of "
        "the names of those that can be made.",
        answers={JSON: Recording | shapes.Many[shapes.OneOf[tuple(FORMS)]], TEXT: str},
        takes=("as",),
        refuses={404: "There is no such call, or it was not kept.", 409: "Not in this form."}
        | _UNREAD,
        example="?as=python",
    ),
    Route(
        path="/api/requests/{id}/cancel",
        group="calls",
        method="post",
        summary="Stop a running call: its client gets an error, Ollama stops working for it",
        answers={JSON: shapes.OneCall},
        refuses={404: _NO_CALL, 409: "The call has ended."},
    ),
    Route(
        path="/api/requests/{id}/prompt_cut",
        group="calls",
        method="post",
        summary="Whether a call's prompt was cut, for sure: Ollama writes it out anew",
        more="Nothing runs but the model's template; the model is loaded if need be.",
        answers={JSON: shapes.PromptCut},
        refuses={
            404: _NO_CALL,
            409: "Not of this call, or what it sent was not kept.",
            502: "Ollama did not do it.",
        }
        | _UNREAD,
    ),
    Route(
        path="/api/stats",
        group="totals",
        summary="Totals and percentiles, in all, by model and by client",
        more="The ETag leaves uptime out.",
        answers={JSON: shapes.Stats},
        listed=True,
    ),
    Route(
        path="/api/series",
        group="totals",
        summary="How calls and the machine were over time, in columns for charts",
        more="Minutes for two days, then hours. Steps of which nothing is known, as the proxy did "
        "not run, are not in the columns. A call counts in the step in which it ended.",
        answers={JSON: shapes.Series},
        takes=series.PARAMETERS,
        own={
            "since": (_TEXT, "From then on, told as for requests; the last hour if not given."),
            "until": (_TEXT, "Up to then, told in the same ways."),
            "model": (_TEXT, "Calls of this model."),
            "step": ({"enum": [spelt(one) for one in STEPS]}, "So long; fitting if not given."),
        },
        refuses=_UNREAD,
        example="?since=6h",
    ),
    Route(
        path="/api/models",
        group="totals",
        summary="The models that Ollama has, then those that calls only named",
        answers={JSON: shapes.Many[shapes.Model]},
        listed=True,
    ),
    Route(
        path="/api/clients",
        group="totals",
        summary="Who has called, by name",
        answers={JSON: shapes.Many[shapes.Client]},
        listed=True,
    ),
    Route(
        path="/api/insights",
        group="findings",
        summary="What was found of calls, the costliest first",
        answers={JSON: shapes.Many[shapes.Finding]},
        takes=insights.PARAMETERS,
        own={"limit": (_LIMIT, "At most so many, the costliest.")},
        listed=True,
        onward="after",
        refuses=_UNREAD,
        example="?since=1d",
    ),
    Route(
        path="/api/insights/{id}",
        group="findings",
        summary="One finding",
        answers={JSON: shapes.Finding},
        refuses={404: "There is no such finding: it never was, or its calls were deleted."}
        | _UNREAD,
    ),
    Route(
        path="/api/differences",
        group="findings",
        summary="What is different about a model's calls since some moment",
        answers={JSON: shapes.Different},
        takes=differences.PARAMETERS,
        required=("model", "since"),
        refuses=_UNREAD,
        example="?model=llama3.2&since=2h",
    ),
    Route(
        path="/api/estimate",
        group="findings",
        summary="What a call would take that was sent now",
        answers={JSON: shapes.Estimated},
        takes=estimates.PARAMETERS,
        required=("model",),
        own={
            "model": (_TEXT, "To this model."),
            "client": (_TEXT, "From this client."),
        },
        refuses={404: "Too few calls of this model were seen since the proxy's start."},
        example="?model=llama3.2",
    ),
    Route(
        path="/api/marks",
        group="findings",
        summary="What changed in Ollama, the newest first",
        answers={JSON: shapes.Many[shapes.Mark]},
        takes=calls.MARKS,
        own={
            "before": (_ID, "Older than the change of this id."),
            "since": (_TEXT, "Found since, told as for requests."),
            "until": (_TEXT, "Found before that, told in the same ways."),
        },
        listed=True,
        onward="before",
        refuses=_UNREAD,
    ),
    Route(
        path="/api/alerts",
        group="alerts",
        summary="The rules, those that are on first, with their states; and who is told",
        answers={JSON: shapes.Alerts},
    ),
    Route(
        path="/api/alerts/history",
        group="alerts",
        summary="What flipped, the newest first",
        answers={JSON: shapes.Many[shapes.Flip]},
        takes=alerts.HISTORY,
        own={
            "limit": (_LIMIT, "At most so many, the newest."),
            "before": (_ID, "Older than the flip of this id."),
            "since": (_TEXT, "Flipped since, told as for requests."),
            "until": (_TEXT, "Flipped before that, told in the same ways."),
        },
        listed=True,
        onward="before",
        refuses=_UNREAD,
        example="?since=7d",
    ),
    Route(
        path="/api/alerts/{name}/silence",
        group="alerts",
        method="post",
        summary="Send no message of a rule for a time; what was told as firing is told when over",
        answers={JSON: shapes.AlertRule},
        takes=alerts.SILENCE,
        own={
            "seconds": (_SILENCE, "For so long, an hour if not given; 0 ends it."),
        },
        refuses={404: "There is no such rule."},
        example="?seconds=3600",
    ),
    Route(
        path="/api/alerts/test",
        group="alerts",
        method="post",
        summary="Send a test message; answers once each notifier took it or did not",
        answers={JSON: shapes.Many[shapes.Tested]},
        takes=alerts.TEST,
        own={"name": (_TEXT, "By the notifiers of this rule, or by this notifier; else by all.")},
        refuses={404: "There is no such rule or notifier."},
        example="?name=log",
    ),
    Route(
        path="/api/privacy",
        group="about",
        summary="What is stored of calls, where, by which rule, and what is open to the network",
        answers={JSON: shapes.Privacy},
    ),
    Route(
        path="/api/openapi.json",
        group="about",
        summary="This description: OpenAPI 3.1",
        answers={JSON: dict[str, Any]},
        listed=True,
    ),
    Route(
        path="/api/",
        group="about",
        summary="The same as a page",
        answers={HTML: str},
    ),
)
