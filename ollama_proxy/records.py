"""The other plain rows that modules hand each other: what was asked for, what the model server has.

Not here: calls themselves (`exchange.py`), nor any code that reads or writes them.
"""

from __future__ import annotations

import msgspec

PROBE_HEADER = "X-Ollama-Proxy-Probe"
"""Sent with this proxy's own looks at the upstream, never with a client's call."""

RELOADS = ("options", "bypass", "unloaded", "runner_died", "load_aborted", "expired", "evicted")
CHANGING = ("reload_options", "reload_bypass")
"""Of the findings those that tell which options differ."""
WRONG = ("prompt_cut", "context_overrun", "context_full")
"""Of the findings those that make an answer wrong, where others only make it late."""
FAILED = ("outage", "model_missing")
"""Of the findings those of calls that got no answer at all."""
FINDINGS = (
    "prompt_cut",
    "context_overrun",
    "context_full",
    "ceiling",
    "prompt_start",
    "waited",
    "runner_busy",
    *(f"reload_{cause}" for cause in RELOADS),
    "left",
    "repeated",
    "embedded_again",
    "thought_only",
    "looped",
    "unfinished",
    "slow_prefill",
    "slow_decode",
    *FAILED,
)
"""The kinds of findings."""
SORTS = ("duration", "queue", "time_to_first_token", "output_tokens")
"""Fields of a call by which calls can be sorted, the most first."""


def gravity(kind: str) -> int:
    """Of findings: 2 where there was no answer, 1 where it was wrong, 0 where it came late."""
    return 2 if kind in FAILED else int(kind in WRONG)


class Filter(msgspec.Struct, kw_only=True, frozen=True):
    """Which calls to list, newest first; what is None does not matter. See `filters.matches`.

    `ended_after` is a moment, in seconds since 1970, at which they still ran, or later than which
    they began. `finding`: calls that it names; `insight`: calls that any finding of that kind
    names. `sort`:
    in another order, by one of `SORTS`; `after` is then the `filters.place` that the page before
    ended with. Of findings `kind` is theirs, `hidden` are kinds that are left
    out, `after` is the one that the page before ended with. `before`, `since` and `until` are ids:
    those of calls from `since` on, below the other two. An id tells when its call began; where the
    clock was set back meanwhile, rather later than that.
    """

    limit: int = 50
    before: str | None = None
    since: str | None = None
    until: str | None = None
    client: str | None = None
    model: str | None = None
    state: str | None = None
    route: str | None = None
    reason: str | None = None
    slower_than: float | None = None
    ended_after: float | None = None
    text: str | None = None
    finding: str | None = None
    insight: str | None = None
    sort: str | None = None
    kind: str | None = None
    hidden: tuple[str, ...] = ()
    after: str | None = None


class Holdings(msgspec.Struct, kw_only=True, frozen=True):
    """How much a store holds of calls and of their texts. `captures`: calls kept whole."""

    calls: int
    with_prompt: int
    with_response: int
    captures: int
    oldest: str | None


class ModelInfo(msgspec.Struct, kw_only=True):
    """One model that Ollama has, as `/api/tags` and `/api/ps` tell it. Sizes in bytes.

    `loaded` false with `expires_at` None: on disk only. Times are Ollama's own ISO texts.
    `trained_context` is the longest context that the model was made for, `context_length` the one
    that it is loaded with, `size_loaded` less `size_vram` what of it lies in the CPU's memory.
    `weights` is the hash of the file that it is made of, where others may be made of the same.
    """

    name: str
    size: int | None = None
    family: str | None = None
    parameter_size: str | None = None
    quantization: str | None = None
    digest: str | None = None
    weights: str | None = None
    capabilities: list[str] | None = None
    trained_context: int | None = None
    loaded: bool = False
    size_loaded: int | None = None
    size_vram: int | None = None
    context_length: int | None = None
    expires_at: str | None = None

    @property
    def runner(self) -> str | None:
        """What models have in common that Ollama runs as one."""
        return self.weights or self.digest


class Mark(msgspec.Struct, kw_only=True, frozen=True):
    """A change in Ollama that a look found; `at` is the look's time (ISO).

    `kind` is `version` (the subject is `ollama`) or `digest` (the subject is a model's name). `old`
    None: it was seen for the first time, which is known from then on, but is no change.
    """

    id: str
    at: str
    kind: str
    subject: str
    old: str | None
    new: str


class Flip(msgspec.Struct, kw_only=True, frozen=True):
    """An alert's state changed from `old` to `new`: ok, firing. `kind` is what its rule watches.

    `subject`: the model, client or program that it is about, "" for all. `value` is what was
    measured, `limit` what it may be (None: yes or no), in the kind's unit; `within` the window in
    seconds; `detail` Ollama's error, or whose call it is. No text of a prompt.
    """

    id: str
    at: str
    rule: str
    kind: str
    subject: str
    old: str
    new: str
    value: float
    limit: float | None = None
    within: float | None = None
    detail: str | None = None


class Occurrence(msgspec.Struct, kw_only=True, frozen=True):
    """What one call adds to a finding of this kind: the tokens and seconds that it cost.

    `other` is the client on the other side, where there is one; `detail` a name or a value that a
    finding is about. `needed`: tokens of context that the call would have needed. `values`: those
    of options that differ, as `insights/conflicts.py` writes them. None: not known.
    """

    kind: str
    other: str | None = None
    detail: str | None = None
    tokens: int | None = None
    seconds: float | None = None
    needed: int | None = None
    estimated: bool = False
    values: str | None = None


class Noted(msgspec.Struct, frozen=True):
    """A call, by its id, its model and its client, and what it is an occurrence of."""

    call: str
    model: str | None
    client: str | None
    occurrences: list[Occurrence]


class Values(msgspec.Struct, frozen=True):
    """What calls asked of an option: some `values`, as JSON writes them, and how many `others`."""

    values: list[str]
    others: int


class Changed(msgspec.Struct, frozen=True):
    """An option that differs: what the calls before asked for, and what those of a finding do."""

    name: str
    old: Values
    new: Values


class Finding(msgspec.Struct, kw_only=True, frozen=True):
    """What was found of a model's calls from one client, within a span of time; an outage is of all
    calls, whatever their model and client.

    It opened at its first occurrence and is over when none came for `findings.QUIET_SECONDS`;
    what comes later is another one. `count` of its calls are occurrences, of `of` that Ollama
    took up for this client and model within that span. `tokens`
    and `seconds` are what they cost together, `needed` is the most that one needed; `tokens_p50`
    and `tokens_max` are the median and the most of one call, told of the `WRONG` ones. None is not
    known. `calls`: their ids, the newest first, not all of them. `options` are those that differ
    between its calls and those of `other`; none where it is about something else.
    """

    id: str
    kind: str
    model: str | None
    client: str | None
    other: str | None
    detail: str | None
    opened_at: str
    last_at: str
    over: bool
    count: int
    of: int
    tokens: int | None
    tokens_p50: int | None = None
    tokens_max: int | None = None
    seconds: float | None
    needed: int | None
    estimated: bool
    calls: list[str]
    options: list[Changed] = []


class UpstreamHealth(msgspec.Struct, kw_only=True):
    """What the last look at Ollama said. `up` None: not looked yet. `latency` in seconds."""

    up: bool | None = None
    version: str | None = None
    error: str | None = None
    latency: float | None = None
    since: str | None = None
    models: list[ModelInfo] = []
    loop: bool = False
