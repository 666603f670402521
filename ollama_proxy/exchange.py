"""One record a call: how it lives (`Exchange`) and what is kept of it (`Call`).

Not here: bytes, sockets, storage. An `Exchange` is begun by the forwarder, filled by an observer,
and ended exactly once; `Call` is the row that REST, events, statistics and the store all share.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from enum import StrEnum
from typing import Any, Protocol

import msgspec

from ollama_proxy.gaps import Gaps
from ollama_proxy.ids import iso, new_id
from ollama_proxy.sketch import Sketch


class State(StrEnum):
    """Where a call is in its life. All but RUNNING are final."""

    RUNNING = "running"
    COMPLETED = "completed"
    FAILED = "failed"
    TIMEOUT = "timeout"
    CANCELLED = "cancelled"
    INTERRUPTED = "interrupted"


class Reason(StrEnum):
    """Why a call did not complete."""

    UPSTREAM_UNREACHABLE = "upstream_unreachable"
    UPSTREAM_ABORTED = "upstream_aborted"
    CONNECT_TIMEOUT = "connect_timeout"
    FIRST_BYTE_TIMEOUT = "first_byte_timeout"
    IDLE_TIMEOUT = "idle_timeout"
    TOTAL_TIMEOUT = "total_timeout"
    UPLOAD_TIMEOUT = "upload_timeout"
    CLIENT_DISCONNECTED = "client_disconnected"
    OPERATOR = "operator"
    SHUTDOWN = "shutdown"
    CRASH = "crash"
    HTTP_STATUS = "http_status"
    ERROR_IN_STREAM = "error_in_stream"
    MODEL_MISSING = "model_missing"
    RUNNER_DIED = "runner_died"
    OUT_OF_MEMORY = "out_of_memory"
    CONTEXT_EXCEEDED = "context_exceeded"
    BUSY = "busy"
    INCOMPLETE = "incomplete"
    REFUSED = "refused"
    LOOP = "loop"
    INTERNAL_ERROR = "internal_error"


UNREACHED = (Reason.UPSTREAM_UNREACHABLE, Reason.CONNECT_TIMEOUT)
"""Nobody was there."""

# How the paths end that have a model write, and that run one.
GENERATING_PATHS = (
    "/api/generate",
    "/api/chat",
    "/v1/chat/completions",
    "/v1/completions",
    "/v1/responses",
    "/v1/messages",
)
MODEL_PATHS = (
    *GENERATING_PATHS,
    "/api/embed",
    "/api/embeddings",
    "/v1/embeddings",
    "/v1/audio/transcriptions",
)


def ran_model(call_path: str) -> bool:
    """Whether calls to this path run a model; /api/show and the like only name one."""
    return call_path.endswith(MODEL_PATHS)


def generates(call_path: str) -> bool:
    """Whether calls to this path have a model write."""
    return call_path.endswith(GENERATING_PATHS)


def model_key(name: str) -> str:
    """One spelling for all of a model's: Ollama fills in host, namespace and tag, and ignores case.

    Source: types/model/name.go, `DefaultName` and `EqualFold`.
    """
    key = name.lower().removeprefix("registry.ollama.ai/").removeprefix("library/")
    return key if ":" in key.rpartition("/")[2] else key + ":latest"


class Observation(msgspec.Struct, kw_only=True, gc=False):
    """What an observer understood of one call. Seconds are floats; what was not seen is None.

    `sketch`, `asked` (those options that decide how a model is loaded and cut, numbers and truth
    values), `request_mark` (a hash of a whole request by this process's own key), `listed_tokens`
    and `looped` (the share of the answer that goes round in a loop) are for the findings alone, and
    are never stored.
    """

    model: str | None = None
    options: dict[str, Any] | None = None
    prompt: str | None = None
    response: str | None = None
    streamed: bool | None = None
    input_tokens: int | None = None
    output_tokens: int | None = None
    output_chunks: int | None = None
    thinking_characters: int | None = None
    tool_calls: int | None = None
    tool_names: list[str] | None = None
    images: int | None = None
    image_bytes: int | None = None
    total: float | None = None
    load: float | None = None
    prefill: float | None = None
    decode: float | None = None
    done_reason: str | None = None
    error: str | None = None
    cause: Reason | None = None
    error_in_stream: bool = False
    incomplete: bool = False
    not_understood: int = 0
    sketch: Sketch | None = None
    asked: dict[str, Any] | None = None
    request_mark: int | None = None
    listed_tokens: int | None = None
    looped: float | None = None

    @property
    def queue(self) -> float | None:
        """Seconds at the loaded model's own queue: what Ollama's total leaves unexplained.

        Only where Ollama reported prefill and decode: in an answer without them (loading a model,
        embedding) the rest is work, not waiting.
        """
        if self.total is None or self.prefill is None or self.decode is None:
            return None
        return max(0.0, self.total - (self.load or 0.0) - self.prefill - self.decode)

    @property
    def tokens_per_second(self) -> float | None:
        """Decode speed: output tokens by decode seconds, both Ollama's own."""
        if not self.output_tokens or not self.decode:
            return None
        return self.output_tokens / self.decode


NOTHING_SEEN = Observation()


class Call(msgspec.Struct, kw_only=True, frozen=True, gc=False):
    """One call as it is stored and answered; its fields are the REST keys and the store's columns.

    `started_at` is ISO 8601 in UTC with milliseconds; durations are seconds; unknown is None.
    `output_chunks` counts the pieces of text that passed, exactly; it is not a token count.
    `not_understood` counts pieces of the call, the request or lines of the answer, that were looked
    at and could not be read; 0 is the rule.

    `connect` is the time to open a connection to Ollama, None where an open one was used. A first
    token may be thinking; `time_to_first_answer` counts to the first of the answer itself, text or
    tool call. The gaps are those between the pieces of a stream from its first token on: the
    longest, and what 95 % do not pass (at most 10 % off); `pace` is how those pieces came over time
    (`Gaps.pace`). `headers` are those of request and answer as they passed, in pairs of a name and
    a value, None where that is not kept. `in_force` are options that held for the call, asked for
    or not, as far as that is known (`insights/in_force.py`). `images` were sent with the request,
    of `image_bytes` once decoded; they are never kept. What follows from these is in `derived.py`.
    """

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
    request_bytes: int = 0
    response_bytes: int = 0
    output_chunks: int | None = None
    options: dict[str, Any] | None = None
    not_understood: int = 0
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
    caller: dict[str, Any] | None = None
    resources: dict[str, Any] | None = None
    time_per_output_token: float | None = None
    prefill_cached: bool | None = None
    insights: dict[str, Any] | None = None
    pace: dict[str, Any] | None = None
    headers: dict[str, Any] | None = None
    in_force: dict[str, Any] | None = None


def text_size(call: Call) -> int:
    """Characters of prompt and response: what a call's memory mostly is."""
    return len(call.prompt or "") + len(call.response or "")


class Look(Protocol):
    """Who called, known at once, later or never. `over`: if not by now, then never."""

    @property
    def caller(self) -> Caller | None: ...

    @property
    def over(self) -> bool: ...


class Caller(Protocol):
    """The program that called: a name, perhaps, and facts for the record; `own`: it is this one."""

    @property
    def name(self) -> str | None: ...

    @property
    def facts(self) -> dict[str, Any]: ...

    @property
    def own(self) -> bool: ...


def _nothing() -> None:
    return None


class Exchange:
    """One call while it runs: `begin`, then counters and observation, then `end`, once."""

    __slots__ = (
        "id",
        "method",
        "path",
        "client",
        "named",
        "started_at",
        "started",
        "state",
        "reason",
        "error",
        "status_code",
        "ended",
        "connect",
        "first_byte",
        "first_token",
        "first_answer",
        "gaps",
        "look",
        "resources",
        "deadline",
        "prefill_cached",
        "headers",
        "request_bytes",
        "response_bytes",
        "observation",
        "runs_model",
        "shown",
        "said",
    )

    def __init__(
        self,
        *,
        id: str,
        method: str,
        path: str,
        client: str | None,
        named: bool,
        started_at: float,
        started: float,
    ) -> None:
        self.id = id
        self.method = method
        self.path = path
        self.client = client
        self.named = named
        self.started_at = started_at
        self.started = started
        self.state = State.RUNNING
        self.reason: Reason | None = None
        self.error: str | None = None
        self.status_code: int | None = None
        self.ended: float | None = None
        self.connect: float | None = None
        self.first_byte: float | None = None
        self.first_token: float | None = None
        self.first_answer: float | None = None
        self.gaps: Gaps | None = None
        self.look: Look | None = None
        self.resources: dict[str, Any] | None = None
        self.deadline: float | None = None  # seconds from its start, if the client said so
        self.prefill_cached: bool | None = None
        self.headers: dict[str, Any] | None = None
        self.request_bytes = 0
        self.response_bytes = 0
        self.observation = Observation()
        self.runs_model = ran_model(path)
        self.shown: Callable[[str], str] = str  # a model's name, a path, as they may be recorded
        self.said: Callable[[], str | None] = _nothing  # of the answer, while it comes

    @classmethod
    def begin(cls, method: str, path: str, client: str | None, *, named: bool = False) -> Exchange:
        """Start the record of a call now. `path` is without the query, which may hold a key.

        `named`: the client said this name itself; otherwise the program behind its connection, once
        it is known, is a better one.
        """
        now = time.time()
        return cls(
            id=new_id(now),
            method=method,
            path=path,
            client=client,
            named=named,
            started_at=now,
            started=time.monotonic(),
        )

    def end(self, state: State, reason: Reason | None = None, error: str | None = None) -> bool:
        """The only way out of RUNNING. Returns False, and changes nothing, if already ended.

        `ended` is now, unless it was set before: when the answer was over, but not yet judged.
        """
        if self.state is not State.RUNNING:
            return False
        self.state, self.reason, self.error = state, reason, error
        if self.ended is None:
            self.ended = time.monotonic()
        return True

    @property
    def duration(self) -> float:
        """Seconds from the request's arrival to its end, or to now while it runs."""
        return (time.monotonic() if self.ended is None else self.ended) - self.started

    @property
    def client_settled(self) -> bool:
        """Whether the client's name will not change any more."""
        return self.named or self.look is None or self.look.over

    @property
    def client_name(self) -> str | None:
        """The best name that is known by now; see `begin`."""
        caller = None if self.look is None else self.look.caller
        return self.client if self.named or caller is None else caller.name or self.client

    def _since_start(self, moment: float | None) -> float | None:
        return None if moment is None else moment - self.started

    @property
    def time_to_first_token(self) -> float | None:
        return self._since_start(self.first_token)

    @property
    def time_per_output_token(self) -> float | None:
        """Seconds: Ollama's decode by its tokens; where it tells no durations, as they streamed.

        There not of a call with tool calls, whose text Ollama holds back.
        """
        seen = self.observation
        if seen.decode is not None:
            return seen.decode / seen.output_tokens if seen.output_tokens and seen.decode else None
        if self.gaps is None or seen.output_tokens is None or seen.tool_calls:
            return None
        return self.gaps.for_each(seen.output_tokens)

    def record(self) -> Call:
        """The call as a plain row, as it stands now."""
        seen, gaps = self.observation, self.gaps
        caller = None if self.look is None else self.look.caller
        facts = None if caller is None else caller.facts
        if seen == NOTHING_SEEN and not self.runs_model and self.headers is None:
            # Of most calls that run nothing: half the time of naming every field.
            return Call(
                id=self.id,
                method=self.method,
                path=self.shown(self.path),
                state=self.state.value,
                reason=None if self.reason is None else self.reason.value,
                status_code=self.status_code,
                started_at=iso(self.started_at),
                duration=self.duration,
                error=self.error,
                client=self.client_name,
                request_bytes=self.request_bytes,
                response_bytes=self.response_bytes,
                connect=self.connect,
                time_to_first_byte=self._since_start(self.first_byte),
                caller=facts,
            )
        return Call(
            id=self.id,
            method=self.method,
            path=self.shown(self.path),
            model=seen.model and self.shown(seen.model),
            state=self.state.value,
            reason=None if self.reason is None else self.reason.value,
            status_code=self.status_code,
            started_at=iso(self.started_at),
            duration=self.duration,
            time_to_first_token=self.time_to_first_token,
            queue=seen.queue,
            load=seen.load,
            prefill=seen.prefill,
            decode=seen.decode,
            input_tokens=seen.input_tokens,
            output_tokens=seen.output_tokens,
            tokens_per_second=seen.tokens_per_second,
            streamed=seen.streamed,
            done_reason=seen.done_reason,
            error=self.error if self.error is not None else seen.error,
            prompt=seen.prompt,
            response=seen.response,
            client=self.client_name,
            request_bytes=self.request_bytes,
            response_bytes=self.response_bytes,
            output_chunks=seen.output_chunks,
            options=seen.options,
            not_understood=seen.not_understood,
            connect=self.connect,
            time_to_first_byte=self._since_start(self.first_byte),
            time_to_first_answer=self._since_start(self.first_answer),
            longest_gap=None if gaps is None else gaps.longest,
            p95_gap=None if gaps is None else gaps.percentile(0.95),
            thinking_characters=seen.thinking_characters,
            tool_calls=seen.tool_calls,
            tool_names=seen.tool_names,
            images=seen.images,
            image_bytes=seen.image_bytes,
            caller=facts,
            resources=self.resources,
            time_per_output_token=self.time_per_output_token,
            prefill_cached=self.prefill_cached,
            pace=None if gaps is None else gaps.pace(),
            headers=self.headers,
        )

    def so_far(self) -> Call:
        """The same of a running call, with what its answer says so far."""
        return msgspec.structs.replace(self.record(), response=self.said())
