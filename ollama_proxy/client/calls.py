"""The types of the REST answers: the calls'. Made from their description.

Not to be changed by hand: `python -m tests.client.generating` makes them anew. What each field
means is told by a proxy's page `api/`. What is null there, or not there, is None here; a word of a
fixed set is a text, since words may be added. Not here: how they are asked for (`asking.py`).
"""

from __future__ import annotations

from typing import Any

import msgspec


class Answer(msgspec.Struct, frozen=True):
    """What a monitor told, or a part of it; fields that are not known here are left out."""


class Caller(Answer, frozen=True, kw_only=True):
    pid: int | None = None
    program: str | None = None
    script: str | None = None
    folder: str | None = None
    user: str | None = None
    service: str | None = None
    container: str | None = None
    started: float | None = None


class Resources(Answer, frozen=True, kw_only=True):
    cpu_seconds: float | None = None
    memory_peak_bytes: int | None = None
    gpu_seconds: float | None = None
    gpu_memory_peak_bytes: int | None = None
    gpu_watt_seconds: float | None = None
    shared_with: int
    estimated: bool
    others_cpu_seconds: float | None = None


class CallPromptCut(Answer, frozen=True, kw_only=True):
    cut: bool | None = None
    tokens_lost: int | None = None
    estimated: bool
    rule: str | None = None
    context: int | None = None


class Overrun(Answer, frozen=True, kw_only=True):
    shifts: int
    ended: str | None = None
    context: int


class Reload(Answer, frozen=True, kw_only=True):
    cause: str
    seconds: float
    changed: dict[str, list[Any]]
    by: str | None = None


class PromptStart(Answer, frozen=True, kw_only=True):
    at: int
    tokens: int
    seconds: float | None = None


class LoadWait(Answer, frozen=True, kw_only=True):
    seconds: float
    reason: str
    models: list[str]


class PromptCache(Answer, frozen=True, kw_only=True):
    share: float
    tokens: int


class Waste(Answer, frozen=True, kw_only=True):
    kind: str
    tokens: int | None = None
    seconds: float | None = None
    estimated: bool
    detail: str | None = None


class Because(Answer, frozen=True, kw_only=True):
    what: str
    seconds: float
    reason: str | None = None


class Slow(Answer, frozen=True, kw_only=True):
    usual: float
    calls: int
    seconds: float
    because: list[Because]


class Deadline(Answer, frozen=True, kw_only=True):
    seconds: float
    met: bool


class Outage(Answer, frozen=True, kw_only=True):
    since: str


class Insights(Answer, frozen=True, kw_only=True):
    prompt_cut: CallPromptCut | None = None
    overrun: Overrun | None = None
    reload: Reload | None = None
    prompt_start: PromptStart | None = None
    load_wait: LoadWait | None = None
    prompt_cache: PromptCache | None = None
    waste: Waste | None = None
    slow: Slow | None = None
    deadline: Deadline | None = None
    outage: Outage | None = None


class Pace(Answer, frozen=True, kw_only=True):
    seconds: float
    pieces: list[int]
    longest_at: float
    longest_after: int


class Headers(Answer, frozen=True, kw_only=True):
    request: list[tuple[str, str | None]]
    response: list[tuple[str, str | None]] | None = None


class InForce(Answer, frozen=True, kw_only=True):
    num_ctx: int | None = None
    num_gpu: int | None = None
    keep_alive: float | None = None


class Call(Answer, frozen=True, kw_only=True):
    id: str
    method: str
    path: str
    model: str | None = None
    state: str
    reason: str | None = None
    status_code: int | None = None
    started_at: str
    duration: float | None = None
    time_to_first_token: float | None = None
    queue: float | None = None
    load: float | None = None
    prefill: float | None = None
    decode: float | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    tokens_per_second: float | None = None
    streamed: bool | None = None
    done_reason: str | None = None
    error: str | None = None
    prompt: str | None = None
    response: str | None = None
    client: str | None = None
    request_bytes: int
    response_bytes: int
    output_chunks: int | None = None
    options: dict[str, Any] | None = None
    not_understood: int
    connect: float | None = None
    time_to_first_byte: float | None = None
    time_to_first_answer: float | None = None
    longest_gap: float | None = None
    p95_gap: float | None = None
    thinking_characters: int | None = None
    tool_calls: int | None = None
    tool_names: list[str] | None = None
    images: int | None = None
    image_bytes: int | None = None
    caller: Caller | None = None
    resources: Resources | None = None
    time_per_output_token: float | None = None
    prefill_cached: bool | None = None
    insights: Insights | None = None
    pace: Pace | None = None
    headers: Headers | None = None
    in_force: InForce | None = None
    prefill_tokens_per_second: float | None = None
    rest: float | None = None
    output_tokens_estimated: int | None = None
    found: list[str] | None = None


class Spread(Answer, frozen=True, kw_only=True):
    p50: float
    p95: float


class Expected(Answer, frozen=True, kw_only=True):
    queue: Spread
    load: Spread
    first_token: Spread
    total: Spread
    ahead: int
    calls: int
    estimated: bool


class WaitedFor(Answer, frozen=True, kw_only=True):
    client: str | None = None
    kind: str
    seconds: float | None = None


class OneCall(Call, frozen=True, kw_only=True):
    expected: Expected | None = None
    waited_for: list[WaitedFor]


class RunningCall(Call, frozen=True, kw_only=True):
    phase: str
    phase_seconds: float
    phase_estimated: bool
    queue_position: int | None = None


class Progress(Answer, frozen=True, kw_only=True):
    id: str
    model: str | None = None
    duration: float
    output_chunks: int | None = None
    response_bytes: int
    time_to_first_token: float | None = None
    phase: str
    phase_seconds: float
    phase_estimated: bool
    queue_position: int | None = None
