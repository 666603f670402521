"""The types of the REST answers: all but the calls'. Made from their description.

Not to be changed by hand: `python -m tests.client.generating` makes them anew. What each field
means is told by a proxy's page `api/`. What is null there, or not there, is None here; a word of a
fixed set is a text, since words may be added. Not here: how they are asked for (`asking.py`).
"""

from __future__ import annotations

from typing import Literal, TypedDict

from ollama_proxy.client.calls import Answer, Call, Progress, RunningCall


class Waiting(Answer, frozen=True, kw_only=True):
    calls: int
    seconds: float
    behind: str | None = None


class Status(Answer, frozen=True, kw_only=True):
    status: str
    uptime: float
    active_requests: int
    total_requests: int
    completed_requests: int
    failed_requests: int
    timeout_requests: int
    cancelled_requests: int
    interrupted_requests: int
    waiting: Waiting | None = None
    success_rate: float | None = None
    avg_response_time: float
    total_tokens: int
    input_tokens: int
    output_tokens: int
    models_available: int | None = None
    upstream: str
    upstream_up: bool | None = None
    upstream_version: str | None = None
    upstream_error: str | None = None
    upstream_latency: float | None = None
    upstream_since: str | None = None
    version: str
    listen: str
    started_at: str
    first_call_at: str | None = None
    last_call_at: str | None = None
    records_dropped: int
    sink_errors: int
    storage_error: str | None = None
    storage_error_since: str | None = None
    database_bytes: int | None = None


class Health(Answer, frozen=True, kw_only=True):
    status: str
    upstream_up: bool | None = None


class Distribution(Answer, frozen=True, kw_only=True):
    count: int
    mean: float | None = None
    p50: float | None = None
    p90: float | None = None
    p95: float | None = None
    p99: float | None = None
    max: float | None = None


class Summary(Answer, frozen=True, kw_only=True):
    requests: int
    completed: int
    failed: int
    timeout: int
    cancelled: int
    interrupted: int
    success_rate: float | None = None
    input_tokens: int
    output_tokens: int
    total_tokens: int
    duration: Distribution
    time_to_first_token: Distribution
    tokens_per_second: Distribution
    queue_seconds: float
    load_seconds: float
    prefill_seconds: float
    decode_seconds: float
    cold_starts: int
    first_used: str | None = None
    last_used: str | None = None


class Stats(Answer, frozen=True, kw_only=True):
    uptime: float
    started_at: str
    active_requests: int
    all: Summary
    models: dict[str, Summary]
    clients: dict[str, Summary]


class Model(Answer, frozen=True, kw_only=True):
    name: str
    size: int | None = None
    family: str | None = None
    parameter_size: str | None = None
    quantization: str | None = None
    digest: str | None = None
    weights: str | None = None
    capabilities: list[str] | None = None
    trained_context: int | None = None
    loaded: bool
    size_loaded: int | None = None
    size_vram: int | None = None
    context_length: int | None = None
    expires_at: str | None = None
    changed_at: str | None = None
    available: bool
    active: int
    stats: Summary | None = None


class Client(Summary, frozen=True, kw_only=True):
    name: str
    active: int


class ByOutcome(Answer, frozen=True, kw_only=True):
    completed: list[int]
    failed: list[int]
    timeout: list[int]
    cancelled: list[int]
    interrupted: list[int]


class Percentiles(Answer, frozen=True, kw_only=True):
    n: list[int]
    p50: list[float | None]
    p95: list[float | None]
    p99: list[float | None]


class Level(Answer, frozen=True, kw_only=True):
    mean: list[float | None]
    max: list[float | None]


class CpuOverTime(Answer, frozen=True, kw_only=True):
    host_percent: list[float | None]
    ollama_percent: list[float | None]


class MemoryOverTime(Answer, frozen=True, kw_only=True):
    host_bytes: list[float | None]
    ollama_bytes: list[float | None]


class GpuOverTime(Answer, frozen=True, kw_only=True):
    percent: list[float | None]
    memory_bytes: list[float | None]
    watts: list[float | None]


class Series(Answer, frozen=True, kw_only=True):
    step: int
    since: int
    until: int
    now: float
    model: str | None = None
    unfinished: bool
    at: list[int]
    n: list[int]
    calls: ByOutcome
    duration: Percentiles
    time_to_first_token: Percentiles
    tokens_per_second: Percentiles
    input_tokens: list[int | None]
    output_tokens: list[int | None]
    running: Level
    queue: Level
    cpu: CpuOverTime
    memory: MemoryOverTime
    gpu: GpuOverTime


class Values(Answer, frozen=True, kw_only=True):
    values: list[str]
    others: int


class ChangedOption(Answer, frozen=True, kw_only=True):
    name: str
    old: Values
    new: Values


class Sentence(Answer, frozen=True, kw_only=True):
    en: str
    it: str


class Finding(Answer, frozen=True, kw_only=True):
    id: str
    kind: str
    model: str | None = None
    client: str | None = None
    other: str | None = None
    detail: str | None = None
    opened_at: str
    last_at: str
    over: bool
    count: int
    of: int
    tokens: int | None = None
    tokens_p50: int | None = None
    tokens_max: int | None = None
    seconds: float | None = None
    needed: int | None = None
    estimated: bool
    calls: list[str]
    options: list[ChangedOption]
    text: Sentence


class Snapshot(Answer, frozen=True, kw_only=True):
    status: Status
    active: list[RunningCall]
    recent: list[Call]


class Numbers(Answer, frozen=True, kw_only=True):
    all: Summary
    models: list[Model]


class SnapshotEvent(Answer, frozen=True, kw_only=True):
    data: Snapshot
    kind: Literal["snapshot"] = "snapshot"


class StartedEvent(Answer, frozen=True, kw_only=True):
    data: Call
    kind: Literal["started"] = "started"


class ProgressEvent(Answer, frozen=True, kw_only=True):
    data: list[Progress]
    kind: Literal["progress"] = "progress"


class FinishedEvent(Answer, frozen=True, kw_only=True):
    data: Call
    kind: Literal["finished"] = "finished"


class StatusEvent(Answer, frozen=True, kw_only=True):
    data: Status
    kind: Literal["status"] = "status"


class NumbersEvent(Answer, frozen=True, kw_only=True):
    data: Numbers
    kind: Literal["numbers"] = "numbers"


Event = SnapshotEvent | StartedEvent | ProgressEvent | FinishedEvent | StatusEvent | NumbersEvent
EVENTS: dict[str, type[Event]] = {
    "snapshot": SnapshotEvent,
    "started": StartedEvent,
    "progress": ProgressEvent,
    "finished": FinishedEvent,
    "status": StatusEvent,
    "numbers": NumbersEvent,
}


class RequestFilters(TypedDict, total=False):
    client: str
    model: str
    state: str
    route: str
    reason: str
    since: str | float
    until: str | float
    slower_than: float
    ended_after: str | float
    finding: str
    insight: str
    text: str
    sort: str


class FindingFilters(TypedDict, total=False):
    since: str | float
    until: str | float
    client: str
    model: str
    kind: str


class SeriesFilters(TypedDict, total=False):
    since: str | float
    until: str | float
    step: str
    model: str
