"""Runners: loading, expiry, reloads and the slots of a loaded model, with Ollama's own order.

A load holds up every other load, a call whose options fit the loaded runner overtakes a waiting
reload, and a loaded runner's slots are first come, first served. Not here: HTTP, or what is said.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

from .calls import Refused
from .catalogue import Model
from .options import SimulatorOptions

BUSY = "server busy, please try again.  maximum pending requests exceeded"
_RELOADING = ("num_batch", "num_thread", "main_gpu", "use_mmap", "draft_num_predict")
_FOREVER_SECONDS = (2**63 - 1) / 1e9  # what a negative keep_alive shows as: the year 2318
_REMEMBERED = 12  # prompts whose prefix a runner still has in its cache


@dataclass(frozen=True)
class LoadOptions:
    """The options that a runner is started with; other values mean a reload."""

    num_ctx: int
    num_gpu: int | None
    others: tuple[Any, ...]

    def served_by(self, loaded: LoadOptions) -> bool:
        """An omitted `num_gpu` is content with any: it sticks."""
        same_gpu = self.num_gpu is None or self.num_gpu == loaded.num_gpu
        return same_gpu and (self.num_ctx, self.others) == (loaded.num_ctx, loaded.others)


def load_options(model: Model, options: dict[str, Any], shift: bool, num_ctx: int) -> LoadOptions:
    """Normalised as Ollama does; raise `Refused` for another thing where a number belongs."""
    for key in ("num_ctx", "num_gpu", "num_predict", "num_keep"):
        if not isinstance(options.get(key), int | float | None):
            raise Refused(500, f'option "{key}" must be of type integer')
    asked = options.get("num_ctx")
    context = min(max(int(num_ctx if asked is None else asked), 4), model.context_length)
    gpu = options.get("num_gpu")
    others = dict.fromkeys(_RELOADING) | {"num_batch": 512}
    others |= {k: options[k] for k in _RELOADING if options.get(k) is not None}
    layers = int(gpu) if gpu is not None and gpu >= 0 else None
    return LoadOptions(context, layers, (shift, *others.values()))


class Runner:
    """One loaded model: `users` hold it, of whom at most `parallel` have a slot."""

    def __init__(self, model: Model, options: LoadOptions, parallel: int) -> None:
        self.model = model
        self.options = options
        self.slots = asyncio.Semaphore(parallel)
        self.users = 0
        self.idle = asyncio.Event()
        self.keep_alive = 0.0
        self.expires_ns = 0
        self.timer: asyncio.TimerHandle | None = None
        self.prompts: deque[str] = deque(maxlen=_REMEMBERED)

    def cached_share(self, prompt: str) -> float:
        """The part of this prompt that an earlier one began with."""
        longest = max((shared_prefix(prompt, old) for old in self.prompts), default=0)
        self.prompts.append(prompt)
        return longest / max(len(prompt), 1)


def shared_prefix(a: str, b: str) -> int:
    """The length of the common prefix, by bisection: slices compare at memcmp's speed."""
    low, high = 0, min(len(a), len(b))
    while low < high:
        middle = (low + high + 1) // 2
        if a[low:middle] == b[low:middle]:
            low = middle
        else:
            high = middle - 1
    return low


class Scheduler:
    """All runners. `loads` counts the started ones."""

    def __init__(self, options: SimulatorOptions) -> None:
        self.options = options
        self.runners: dict[str, Runner] = {}
        self.loads = 0
        self.waiting_for_load = 0
        self._loading = asyncio.Lock()

    @asynccontextmanager
    async def runner(
        self, model: Model, wanted: LoadOptions, keep_alive: float | None
    ) -> AsyncIterator[Runner]:
        """A runner with these options, loaded if need be, held until the end of the block."""
        runner = self._fitting(model, wanted) or await self._load(model, wanted)
        self._hold(runner, keep_alive)
        try:
            yield runner
        finally:
            self._let_go(runner)

    def expire(self, model: Model) -> None:
        """Unload now, or as soon as its calls have ended."""
        if runner := self.runners.get(model.blob):
            runner.keep_alive = 0.0
            self._rest(runner)

    def drop(self, runner: Runner) -> None:
        """Forget a runner at once: it died, or its time is over."""
        if runner.timer is not None:
            runner.timer.cancel()
        if self.runners.get(runner.model.blob) is runner:
            del self.runners[runner.model.blob]

    def close(self) -> None:
        for runner in list(self.runners.values()):
            self.drop(runner)

    def _fitting(self, model: Model, wanted: LoadOptions) -> Runner | None:
        runner = self.runners.get(model.blob)
        return runner if runner and wanted.served_by(runner.options) else None

    async def _load(self, model: Model, wanted: LoadOptions) -> Runner:
        if self.waiting_for_load >= self.options.max_queue:
            raise Refused(503, BUSY)
        self.waiting_for_load += 1
        try:
            async with self._loading:
                return self._fitting(model, wanted) or await self._start(model, wanted)
        finally:
            self.waiting_for_load -= 1

    async def _start(self, model: Model, wanted: LoadOptions) -> Runner:
        """Until it ends nothing of it shows; when the caller leaves, the load dies with it."""
        await self._make_room(model)
        self.loads += 1
        await asyncio.sleep(self.options.load_seconds)
        runner = Runner(model, wanted, self.options.parallel)
        runner.keep_alive = self.options.keep_alive_seconds
        self.runners[model.blob] = runner
        return runner

    async def _make_room(self, model: Model) -> None:
        if old := self.runners.get(model.blob):
            await self._unload(old)
        while len(self.runners) >= self.options.max_loaded:
            await self._unload(min(self.runners.values(), key=lambda r: (r.users, r.expires_ns)))

    async def _unload(self, runner: Runner) -> None:
        """Wait for its calls, those included that overtake meanwhile."""
        while runner.users and self.runners.get(runner.model.blob) is runner:
            runner.idle.clear()
            await runner.idle.wait()
        self.drop(runner)

    def _hold(self, runner: Runner, keep_alive: float | None) -> None:
        runner.users += 1
        if keep_alive is not None:  # an omitted one keeps the last one said
            runner.keep_alive = keep_alive
        if runner.timer is not None:
            runner.timer.cancel()
        self._stamp(runner)

    def _let_go(self, runner: Runner) -> None:
        runner.users -= 1
        if runner.users == 0:
            runner.idle.set()
            self._rest(runner)

    def _rest(self, runner: Runner) -> None:
        """Start the clock of a runner that nobody uses."""
        self._stamp(runner)
        if runner.users or self.runners.get(runner.model.blob) is not runner:
            return
        if runner.keep_alive <= 0:
            self.drop(runner)
        elif runner.keep_alive != math.inf:
            loop = asyncio.get_running_loop()
            runner.timer = loop.call_later(runner.keep_alive, self.drop, runner)

    def _stamp(self, runner: Runner) -> None:
        ahead = min(runner.keep_alive, _FOREVER_SECONDS)
        runner.expires_ns = time.time_ns() + int(ahead * 1e9)
