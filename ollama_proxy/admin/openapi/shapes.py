"""The types of the REST answers, from the rows that they are made of. Data.

A row that is told as it is stands for itself; what is put together by hand is named here, field by
field. A test holds real answers to these. Not here: what a field means (`meanings.py`).
"""

from __future__ import annotations

from typing import Any, Literal, get_type_hints

import msgspec

from ollama_proxy import config, exchange, records, series, settings, shares, waiting
from ollama_proxy.alerts.delivering import Delivered
from ollama_proxy.alerts.kinds import KINDS
from ollama_proxy.callers import CallersStatus
from ollama_proxy.disclosure import File
from ollama_proxy.insights import differences, estimate, prompt_cache, slow, waste
from ollama_proxy.sensors.callers import Caller
from ollama_proxy.sensors.resources import Reading

# Of types that are made at run time mypy can make no others.
Many: Any = list
Named: Any = dict
OneOf: Any = Literal


def shape(title: str, /, *like: type, **fields: Any) -> Any:
    """The fields of the rows `like`, then `fields`, which win; all are in each answer."""
    hints = {key: kind for one in like for key, kind in get_type_hints(one).items()} | fields
    return msgspec.defstruct(title, list(hints.items()), kw_only=True)


def partly(title: str, /, **fields: Any) -> Any:
    """Fields that are there only where they are known."""
    unset = msgspec.UNSET
    given = [(key, kind | msgspec.UnsetType, unset) for key, kind in fields.items()]
    return msgspec.defstruct(title, given, kw_only=True)


Error = shape("Error", error=str)
Health = shape("Health", status=str, upstream_up=bool | None)

# -- calls -------------------------------------------------------------------------------------

PromptCut = shape(
    "PromptCut", cut=bool | None, tokens_lost=int | None, estimated=bool, rule=str | None
)
Insights = partly(
    "Insights",
    prompt_cut=shape("CallPromptCut", PromptCut, context=int | None),
    overrun=shape("Overrun", shifts=int, ended=str | None, context=int),
    reload=shape("Reload", cause=str, seconds=float, changed=dict[str, list[Any]], by=str | None),
    prompt_start=shape("PromptStart", at=int, tokens=int, seconds=float | None),
    load_wait=shape(
        "LoadWait", seconds=float, reason=Literal["reload", "room", "load"], models=list[str]
    ),
    prompt_cache=shape("PromptCache", prompt_cache.Cached),
    waste=shape("Waste", waste.Waste),
    slow=shape("Slow", slow.Slow, because=Many[shape("Because", slow.Because)]),
    deadline=shape("Deadline", seconds=float, met=bool),
    outage=shape("Outage", since=str),
)
KnownCaller = partly(
    "Caller",
    **{
        name: float if name == "started" else int if name == "pid" else str
        for name in Caller.__struct_fields__
        if name != "own"
    },
)
_Pairs = list[tuple[str, str | None]]
Call = shape(
    "Call",
    exchange.Call,
    state=exchange.State,
    reason=exchange.Reason | None,
    caller=KnownCaller | None,
    resources=shape("Resources", shares.Resources) | None,
    insights=Insights | None,
    pace=shape("Pace", seconds=float, pieces=list[int], longest_at=float, longest_after=int) | None,
    headers=shape("Headers", request=_Pairs, response=_Pairs | None) | None,
    in_force=partly("InForce", num_ctx=int, num_gpu=int | None, keep_alive=float) | None,
    prefill_tokens_per_second=float | None,
    rest=float | None,
    output_tokens_estimated=int | None,
    found=Many[OneOf[records.FINDINGS]] | None,
)
Phase = shape(
    "Phase",
    phase=Literal[
        "waiting",
        "loading",
        "waiting_to_load",
        "queued",
        "reading",
        "thinking",
        "answering",
        "working",
    ],
    phase_seconds=float,
    phase_estimated=bool,
    queue_position=int | None,
)
RunningCall = shape("RunningCall", Call, Phase)
Expected = shape("Expected", estimate.Estimate, estimated=bool)
OneCall = shape(
    "OneCall",
    Call,
    expected=Expected | None,
    waited_for=Many[
        shape(
            "WaitedFor",
            client=str | None,
            kind=Literal["waited", "reload", "room", "load", "runner_busy"],
            seconds=float | None,
        )
    ],
)
Neighbours = shape(
    "Neighbours",
    newer=str | None,
    newer_unsought=bool,
    older=str | None,
    same_client=str | None,
)
Progress = shape(
    "Progress",
    id=str,
    model=str | None,
    duration=float,
    output_chunks=int | None,
    response_bytes=int,
    time_to_first_token=float | None,
    **get_type_hints(Phase),
)

# -- totals, models, clients -------------------------------------------------------------------

Distribution = shape(
    "Distribution",
    count=int,
    **dict.fromkeys(("mean", "p50", "p90", "p95", "p99", "max"), float | None),
)
Summary = shape(
    "Summary",
    **dict.fromkeys(
        ("requests", "completed", "failed", "timeout", "cancelled", "interrupted"), int
    ),
    success_rate=float | None,
    **dict.fromkeys(("input_tokens", "output_tokens", "total_tokens"), int),
    **dict.fromkeys(("duration", "time_to_first_token", "tokens_per_second"), Distribution),
    **dict.fromkeys(("queue_seconds", "load_seconds", "prefill_seconds", "decode_seconds"), float),
    cold_starts=int,
    first_used=str | None,
    last_used=str | None,
)
Client = shape("Client", name=str, active=int, **get_type_hints(Summary))
Model = shape(
    "Model",
    records.ModelInfo,
    changed_at=str | None,
    available=bool,
    active=int,
    stats=Summary | None,
)
Stats = shape(
    "Stats",
    uptime=float,
    started_at=str,
    active_requests=int,
    all=Summary,
    models=Named[str, Summary],
    clients=Named[str, Summary],
)
Status = shape(
    "Status",
    status=Literal["working", "idle", "failing", "down", "stopping"],
    uptime=float,
    **dict.fromkeys(
        (
            *("active_requests", "total_requests", "completed_requests", "failed_requests"),
            *("timeout_requests", "cancelled_requests", "interrupted_requests"),
        ),
        int,
    ),
    waiting=shape("Waiting", waiting.Waiting) | None,
    success_rate=float | None,
    avg_response_time=float,
    **dict.fromkeys(("total_tokens", "input_tokens", "output_tokens"), int),
    models_available=int | None,
    upstream=str,
    upstream_up=bool | None,
    upstream_version=str | None,
    upstream_error=str | None,
    upstream_latency=float | None,
    upstream_since=str | None,
    version=str,
    listen=str,
    started_at=str,
    first_call_at=str | None,
    last_call_at=str | None,
    records_dropped=int,
    sink_errors=int,
    storage_error=str | None,
    storage_error_since=str | None,
    database_bytes=int | None,
)
Numbers = shape("Numbers", all=Summary, models=Many[Model])
Snapshot = shape("Snapshot", status=Status, active=Many[RunningCall], recent=Many[Call])

# -- findings and changes ----------------------------------------------------------------------

Mark = shape("Mark", records.Mark, kind=Literal["version", "digest"], old=str)
Values = shape("Values", records.Values)
Finding = shape(
    "Finding",
    records.Finding,
    kind=OneOf[records.FINDINGS],
    options=Many[shape("ChangedOption", records.Changed, old=Values, new=Values)],
    text=shape("Sentence", en=str, it=str),
)
Different = shape(
    "Different",
    model=str,
    **get_type_hints(differences.Differences),
    changes=Many[Mark],
    text=shape("Sentences", en=list[str], it=list[str]),
)
Estimated = shape(
    "Estimated",
    model=str,
    **get_type_hints(Expected),
    came_true=shape("CameTrue", calls=int, within_p50=float | None, within_p95=float | None),
)

# -- alerts ------------------------------------------------------------------------------------

_Kind = OneOf[tuple(KINDS)]
_Said = shape("AlertText", en=str, it=str)
Flip = shape(
    "Flip",
    records.Flip,
    kind=_Kind,
    **dict.fromkeys(("old", "new"), Literal["ok", "firing"]),
    text=_Said,
)
AlertRule = shape(
    "AlertRule",
    name=str,
    kind=_Kind,
    on=bool,
    state=Literal["off", "ok", "pending", "firing"],
    **dict.fromkeys(("since", "checked_at", "silenced_until"), str | None),
    **dict.fromkeys(("above", "clear", "within"), float | None),
    calls=int | None,
    **dict.fromkeys(("for", "every", "cooldown"), float),
    each=Literal["model", "client"] | None,
    **dict.fromkeys(("model", "client"), str | None),
    notify=list[str],
    subjects=Many[
        shape(
            "AlertSubject",
            subject=str,
            state=Literal["pending", "firing"],
            since=str | None,
            value=float,
            told=bool,
            given_up=list[str],
            text=_Said,
        )
    ],
)
Alerts = shape(
    "Alerts",
    rules=Many[AlertRule],
    notifiers=Many[shape("Notifier", Delivered, name=str, kind=str, waiting=int)],
)
Tested = shape("Tested", notifier=str, sent=bool, error=str | None)

# -- the machine, privacy, what goes round -----------------------------------------------------

_reading = {name: kind for name, kind in get_type_hints(Reading).items() if name != "sample"}
Machine = shape(
    "Machine",
    **_reading,
    ollama_memory_bytes=int | None,
    callers=shape("CallersStatus", CallersStatus),
)
_Numbers = list[float | None]
Series = shape(
    "Series",
    step=int,
    since=int,
    until=int,
    now=float,
    model=str | None,
    unfinished=bool,
    at=list[int],
    n=list[int],
    calls=shape("ByOutcome", **dict.fromkeys(series.STATES, list[int])),
    **dict.fromkeys(
        series.TIMES,
        shape("Percentiles", n=list[int], **dict.fromkeys(("p50", "p95", "p99"), _Numbers)),
    ),
    input_tokens=list[int | None],
    output_tokens=list[int | None],
    **dict.fromkeys(("running", "queue"), shape("Level", mean=_Numbers, max=_Numbers)),
    cpu=shape("CpuOverTime", host_percent=_Numbers, ollama_percent=_Numbers),
    memory=shape("MemoryOverTime", host_bytes=_Numbers, ollama_bytes=_Numbers),
    gpu=shape("GpuOverTime", percent=_Numbers, memory_bytes=_Numbers, watts=_Numbers),
)
Privacy = shape(
    "Privacy",
    prompts=str,
    responses=str,
    characters=int,
    taken_out=list[str],
    patterns=int,
    rules=Many[partly("Rule", **dict.fromkeys(settings.PrivacyRule.__struct_fields__, str))],
    header=str | None,
    pages_ask_for_token=bool,
    programs_looked_up=bool,
    sources=dict[str, str],
    alerts_to=list[str],
    always=str,
    never=str,
    folder=str,
    files=Many[File],
    holdings=records.Holdings | None,
    retention=config.Retention,
    connections=shape(
        "Connections",
        listening=list[str],
        clients=int,
        upstream=shape("Upstream", address=str, open=int),
        others=list[str],
    ),
)
Seen = shape("Seen", name=str, count=int, first_seen=str | None, last_seen=str | None)
Around = shape("Around", connections_seen=bool | None, programs=Many[Seen], models=Many[Seen])
