"""One generation from its call to its last byte: admit, load, queue, read, say.

Only here is paced and measured. Not here: what is said (`script.py`) or how (`dialects/`).
"""

from __future__ import annotations

import asyncio
import math
import time
from dataclasses import dataclass

from aiohttp import web

from . import faults, text, wire
from .calls import Call, Refused, parse
from .catalogue import Catalogue, Model, valid_name
from .dialects.base import Answer, Dialect, Metrics
from .faults import Fault
from .options import SimulatorOptions
from .prompt import Prompt, prepare
from .scheduler import BUSY, Runner, Scheduler, load_options
from .script import Script, write
from .sinks import Sink, Streamed, Whole

_DIED = "an error was encountered while running the model: unexpected EOF"
_NUM_KEEP = 4
_CONTEXT_STEP = 256  # a runner's context is padded to a multiple of this


@dataclass(slots=True)
class Job:
    """A call on its way; times are perf_counter nanoseconds."""

    call: Call
    model: Model
    fault: Fault
    arrived: int
    loaded: int = 0
    reading: int = 0
    saying: int = 0


class Pacer:
    """Sleeps until a step's time by a fixed rate; a late step is not added to the next ones."""

    def __init__(self, per_second: float) -> None:
        self.rate = per_second or 0.0
        self.start = time.perf_counter()
        self.steps = 0

    async def step(self, count: int = 1) -> None:
        self.steps += count
        due = self.start + self.steps / self.rate if self.rate else 0.0
        await asyncio.sleep(max(due - time.perf_counter(), 0) if due else 0)


class Inference:
    """All generations. `active` have a slot, `waiting` a runner but none yet."""

    def __init__(
        self, options: SimulatorOptions, catalogue: Catalogue, scheduler: Scheduler
    ) -> None:
        self.options = options
        self.catalogue = catalogue
        self.scheduler = scheduler
        self.active = self.waiting = self.aborted = 0

    async def serve(self, request: web.Request, dialect: type[Dialect]) -> web.StreamResponse:
        """Answer a JSON request in this dialect."""
        try:
            body = parse(await request.read(), dialect.empty_body)
            call = dialect.read(body)
        except Refused as refused:
            return wire.reply(
                dialect.error(refused.status, refused.message), refused.status, dialect.whole_type
            )
        return await self.answer(request, dialect(call, body))

    async def answer(self, request: web.Request, dialect: Dialect) -> web.StreamResponse:
        try:
            return await self._run(request, dialect)
        except Refused as refused:
            return refusal(request, dialect, refused)
        except (asyncio.CancelledError, ConnectionError):  # the client left
            self.aborted += 1
            raise

    def find(self, call: Call) -> Model:
        """Raise `Refused` as the two handlers of Ollama do, which differ."""
        if call.chat and not valid_name(call.model):
            raise Refused(400, "model is required")
        model = self.catalogue.find(call.model)
        if model is None:
            raise Refused(404, f"model '{call.model}' not found")
        return model

    async def _run(self, request: web.Request, dialect: Dialect) -> web.StreamResponse:
        call, arrived = dialect.call, time.perf_counter_ns()
        job = Job(call, self.find(call), fault_of(request, call.model), arrived)
        if call.unload:
            self.scheduler.expire(job.model)
            return _told(dialect, "unload")
        admit(job)
        wanted = load_options(job.model, call.options, call.shift, self.options.num_ctx)
        async with self.scheduler.runner(job.model, wanted, call.keep_alive) as runner:
            job.loaded = time.perf_counter_ns()
            if call.load_only:
                return _told(dialect, "load")
            prompt = prepare(call, job.model.system, wanted.num_ctx, _num_keep(call))
            if call.render_only:
                return wire.reply(dialect.rendered(prompt.text), 200, dialect.whole_type)
            return await self._in_slot(job, runner, prompt, _sink(request, dialect))

    async def _in_slot(
        self, job: Job, runner: Runner, prompt: Prompt, sink: Sink
    ) -> web.StreamResponse:
        self.waiting += 1
        try:
            await runner.slots.acquire()
        finally:
            self.waiting -= 1
        self.active += 1
        try:
            await self._read(job, runner, prompt)
            return await self._say(job, runner, prompt, sink)
        finally:
            self.active -= 1
            runner.slots.release()

    async def _read(self, job: Job, runner: Runner, prompt: Prompt) -> None:
        """Prefill: only what no earlier prompt began with costs time."""
        job.reading = time.perf_counter_ns()
        fresh = prompt.tokens * (1 - runner.cached_share(prompt.text))
        rate = self.options.prefill_tokens_per_second
        await asyncio.sleep(max(fresh, 1) / rate if rate else 0)
        job.saying = time.perf_counter_ns()

    async def _say(
        self, job: Job, runner: Runner, prompt: Prompt, sink: Sink
    ) -> web.StreamResponse:
        script, pacer, fault = self._script(job, runner, prompt), self._pacer(), job.fault
        for piece in script:
            said = script.produced - piece.tokens
            if fault.due("stall", said):
                await _stall(fault.seconds)
                fault, pacer = faults.NONE, self._pacer()
            elif fault.kind and (broken := await self._break(fault, said, runner, sink)):
                return broken
            await pacer.step(piece.tokens)
            await sink.piece(piece)
        if fault.kind == "loop":
            return await sink.cut()
        return await sink.end(_answer(job, script, prompt))

    async def _break(
        self, fault: Fault, said: int, runner: Runner, sink: Sink
    ) -> web.StreamResponse | None:
        if fault.due("die", said):
            self.scheduler.drop(runner)
            return await sink.fail(500, _DIED)
        if fault.due("cut", said):
            return await sink.cut()
        return sink.break_off() if fault.due("break", said) else None

    def _script(self, job: Job, runner: Runner, prompt: Prompt) -> Script:
        thinks = "thinking" in job.model.capabilities and job.call.think is not False
        fixed = self.options.answer_tokens
        script = write(job.call, self.options.seed, thinks, fixed, job.fault)
        if not job.call.shift:
            padded = math.ceil(runner.options.num_ctx / _CONTEXT_STEP) * _CONTEXT_STEP
            room = max(padded - prompt.tokens, 1)
            script.limit = min(room, script.limit or room)
        return script

    def _pacer(self) -> Pacer:
        return Pacer(self.options.tokens_per_second)


def fault_of(request: web.Request, model: str) -> Fault:
    return faults.fault_of(request.headers.get(faults.HEADER), model)


def admit(job: Job) -> None:
    """Raise `Refused` for what this model cannot do, or what was asked to go wrong at once."""
    call, capabilities = job.call, job.model.capabilities
    if call.think and "thinking" not in capabilities and not call.relax_thinking:
        raise Refused(400, f'"{call.model}" does not support thinking')
    if "completion" not in capabilities:
        kind = "chat" if call.chat else "generate"
        raise Refused(400, f'"{call.model}" does not support {kind}')
    fail_at_once(job.fault)


def fail_at_once(fault: Fault) -> None:
    if fault.kind == "error":
        raise Refused(fault.number or 500, "simulated failure")
    if fault.kind == "busy":
        raise Refused(503, BUSY)


def refusal(request: web.Request, dialect: Dialect, refused: Refused) -> web.Response:
    """A failure before the first byte; its headers tell whether a stream had been opened."""
    body = dialect.error(refused.status, refused.message)
    response = wire.reply(body, refused.status, dialect.whole_type)
    if dialect.call.stream:
        kept = {k: v for k, v in dialect.stream_headers.items() if k != "Content-Type"}
        response.headers.update(kept)
    if dialect.call.stream and refused.late:
        response.headers["Content-Type"] = wire.JSON
        wire.chunk(request, response)
    return response


def _sink(request: web.Request, dialect: Dialect) -> Sink:
    return (Streamed if dialect.call.stream else Whole)(request, dialect)


def _told(dialect: Dialect, reason: str) -> web.Response:
    return wire.reply(dialect.whole(Answer(reason=reason)), 200, dialect.whole_type)


def _num_keep(call: Call) -> int:
    keep = call.options.get("num_keep")
    return int(keep) if isinstance(keep, int | float) else _NUM_KEEP


async def _stall(seconds: float) -> None:
    if seconds == math.inf:
        await asyncio.get_running_loop().create_future()
    await asyncio.sleep(seconds)


def _answer(job: Job, script: Script, prompt: Prompt) -> Answer:
    """The end of an answer; its words, if it is not streamed, are the sink's to add."""
    now = time.perf_counter_ns()
    metrics = Metrics(
        total=now - job.arrived,
        load=job.loaded - job.arrived,
        prompt_tokens=prompt.tokens,
        prefill=job.saying - job.reading,
        eval_tokens=script.evaluated,
        decode=now - job.saying,
    )
    tokens = 0 if job.call.chat or job.call.raw else prompt.whole + script.produced
    return Answer(reason=script.reason, metrics=metrics, context=text.token_ids(tokens))
