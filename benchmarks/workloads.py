"""What each proxy is made to do, and what is kept of it: one record a measure.

Not here: what the records mean (`figures.py`), in which order they are taken (`rounds.py`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

from benchmarks import measure
from benchmarks.driver import Answer, Load
from benchmarks.peers import Peer
from benchmarks.processes import Cores, Running

Record = dict[str, Any]

LINE_BYTES = 150
"""Of one streamed line: what Ollama's are for a short token."""
CALL_TOKENS = 20
CALLS_A_SECOND = 200
GETS_A_SECOND = 2000
"""A load at which nothing that is measured is at its limit: all have the same to do."""
PAGES = 5
EVENTS = "/admin/api/events"


@dataclass(frozen=True)
class Stand:
    """The upstream, the cores, and how much is asked for."""

    cores: Cores
    upstream: int
    """Its port."""
    upstream_pid: int
    quick: bool = False

    def seconds(self, full: float) -> float:
        return min(2.0, full) if self.quick else full

    def load(self, mode: str, port: int, *flags: str, **options: object) -> Load:
        return Load(self.cores.load, mode, port, *flags, **options)


@dataclass(frozen=True)
class Trial:
    """One peer, running, about to be measured."""

    stand: Stand
    peer: Peer
    running: Running

    def run(self, mode: str, *flags: str, **options: object) -> Answer:
        with self.stand.load(mode, self.running.port, *flags, **options) as load:
            return load.finish()

    def streams(self, streams: int, gap_us: int, seconds: float, *flags: str) -> Answer:
        return self.run("streams", *flags, **self.paced(streams, gap_us, seconds))

    def paced(self, streams: int, gap_us: int, seconds: float) -> dict[str, object]:
        """The options of streams at this pace."""
        options: dict[str, object] = {"streams": streams, "gap_us": gap_us, "seconds": seconds}
        options["size"] = LINE_BYTES
        if self.peer.dialect != "ollama":
            options["dialect"] = self.peer.dialect
        return options

    def calls(self, **more: object) -> dict[str, object]:
        """The options of short chat calls, answered as fast as they are taken."""
        return {
            "rate": CALLS_A_SECOND,
            "seconds": self.stand.seconds(5),
            "tokens": CALL_TOKENS,
            "size": LINE_BYTES,
            **more,
        }

    def observed(self, action: Callable[[], Answer], settle: float = 0.3) -> Record:
        """What the action printed, and what the peer's processes used for it.

        The CPU is read `settle` seconds after the end, so that what a proxy does later counts too.
        `driver_us` is what upstream and load used: whether they, too, were at their limit.
        """
        pids, upstream = self.running.pids(), [self.stand.upstream_pid]
        begun, loads = time.monotonic(), measure.ended_children_us()
        served, before = measure.cpu_us(upstream), measure.cpu_us(pids)
        answer = action()
        record: Record = {"load": answer, "wall_s": round(time.monotonic() - begun, 3)}
        record["driver_us"] = round(
            measure.ended_children_us() - loads + measure.cpu_us(upstream) - served
        )
        time.sleep(settle)
        if pids:
            record["cpu_us"] = round(measure.cpu_us(pids) - before)
            record["memory_kb"] = measure.memory_kb(pids)
        return record


@dataclass(frozen=True)
class Workload:
    """One row of measures: its name, what it is in words, and how it is taken."""

    id: str
    what: str
    measure: Callable[[Trial], Record]
    peers: Callable[[Peer], bool]
    fresh: bool = False
    """Takes a new process for each measure."""


HELD_GAP_US = 1_000_000
"""Their opening is spread over this time; each then has one chunk."""
WRITTEN = 1.2
"""Seconds after the last call in which a recording proxy has written it."""


def w1(trial: Trial) -> Record:
    streams = 8 if trial.peer.collapses else 64
    return trial.observed(lambda: trial.streams(streams, 20_000, trial.stand.seconds(10)))


def w2(trial: Trial) -> Record:
    seconds = 1 if trial.peer.collapses else trial.stand.seconds(10)
    return trial.observed(lambda: trial.streams(500, 20_000, seconds), WRITTEN)


def w2x(trial: Trial) -> Record:
    return trial.observed(lambda: trial.streams(2000, 80_000, trial.stand.seconds(10)), WRITTEN)


def w3(trial: Trial) -> Record:
    chunks = 1000 if trial.stand.quick else 5000
    options = {"streams": 16, "gap_us": 0, "chunks": chunks, "size": LINE_BYTES}
    return trial.observed(lambda: trial.run("streams", **options), WRITTEN)


def w4(trial: Trial) -> Record:
    options = {"connections": 32, "seconds": trial.stand.seconds(3)}
    return trial.observed(lambda: trial.run("requests", **options))


def w4r(trial: Trial) -> Record:
    options = {"connections": 32, "seconds": trial.stand.seconds(3), "rate": GETS_A_SECOND}
    return trial.observed(lambda: trial.run("requests", **options))


def w4f(trial: Trial) -> Record:
    options = {"connections": 32, "seconds": trial.stand.seconds(3)}
    return trial.observed(lambda: trial.run("requests", "--fresh", **options))


def w4c(trial: Trial) -> Record:
    return trial.observed(lambda: trial.run("calls", **trial.calls()), WRITTEN)


def w5(trial: Trial) -> Record:
    return {"up": _transfer(trial, "up"), "down": _transfer(trial, "down")}


def _transfer(trial: Trial, way: str) -> Record:
    size = 200_000_000 if trial.stand.quick else 1_000_000_000
    pids = trial.running.pids()
    measure.reset_peak(pids)
    before = measure.peak_kb(pids)
    record = trial.observed(lambda: trial.run(way, bytes=size))
    if pids:
        record["growth_kb"] = measure.peak_kb(pids) - before
    return record


def w6(trial: Trial) -> Record:
    streams = 500 if trial.stand.quick else 2000
    trial.run("requests", connections=32, seconds=0.5)
    trial.streams(32, 20_000, 0.5)
    time.sleep(0.5)
    pids = trial.running.pids()
    before = measure.memory_kb(pids)
    options = trial.paced(streams, HELD_GAP_US, 0)
    with trial.stand.load("streams", trial.running.port, "--hold", **options) as load:
        load.ready()
        time.sleep(1)
        held = measure.memory_kb(pids)
        answer = load.finish()
    return {"load": answer, "streams": streams, "before_kb": before, "held_kb": held}


def w7(trial: Trial) -> Record:
    """Calls recorded while pages look on."""
    with trial.stand.load("listen", trial.running.port, pages=PAGES, path=EVENTS) as pages:
        pages.ready()
        options = trial.calls(seconds=trial.stand.seconds(10))
        record = trial.observed(lambda: trial.run("calls", **options), WRITTEN)
        record["pages"] = pages.finish()
    return record


def w7p(trial: Trial) -> Record:
    """The same with one stream of a chunk each ms beside it: its late chunks tell of pauses."""
    seconds = trial.stand.seconds(10)
    with contextlib.ExitStack() as beside:
        if trial.peer.name.startswith("ours"):
            pages = trial.stand.load("listen", trial.running.port, pages=PAGES, path=EVENTS)
            beside.enter_context(pages).ready()
        calls = trial.stand.load("calls", trial.running.port, **trial.calls(seconds=seconds))
        beside.enter_context(calls)
        probe = trial.observed(lambda: trial.streams(1, 1000, seconds), WRITTEN)
        probe["calls"] = calls.finish()
    return probe


def _everyone(peer: Peer) -> bool:
    return True


def _no_collapse(peer: Peer) -> bool:
    return not peer.collapses


def _proxies(peer: Peer) -> bool:
    return not peer.collapses and peer.name != "direct"


def _ours(peer: Peer) -> bool:
    return peer.name.startswith("ours")


EVERY: tuple[Workload, ...] = (
    Workload("W1", "64 streams, a chunk each 20 ms", w1, _everyone),
    Workload("W2", "500 streams, a chunk each 20 ms: 25,000 chunks/s", w2, _everyone),
    Workload("W2x", "2,000 streams, a chunk each 80 ms: 25,000 chunks/s", w2x, _no_collapse),
    Workload("W3", "16 streams as fast as they go", w3, _no_collapse),
    Workload("W4", "small GETs on 32 kept connections, one after the other", w4, _no_collapse),
    Workload(
        "W4r", f"{GETS_A_SECOND:,} small GETs a second on 32 kept connections", w4r, _no_collapse
    ),
    Workload("W4f", "the GETs of W4, a new connection for each", w4f, _no_collapse),
    Workload(
        "W4c",
        f"{CALLS_A_SECOND} chat calls a second of {CALL_TOKENS} chunks at full pace",
        w4c,
        _no_collapse,
    ),
    Workload("W5", "1 GB up, then 1 GB down", w5, _no_collapse),
    Workload("W6", "2,000 streams held open, in a fresh process", w6, _proxies, fresh=True),
    Workload("W7", f"the calls of W4c with {PAGES} pages open", w7, _ours),
    Workload(
        "W7p",
        "the same (pages: ours only) with a stream of a chunk each ms beside it",
        w7p,
        _no_collapse,
    ),
)


def named(ids: str | None) -> list[Workload]:
    """The workloads of a list like `W1,W4`, in their own order; all for None. Raises ValueError."""
    return chosen(EVERY, ids, "workload")


class _WithId(Protocol):
    @property
    def id(self) -> str: ...


_Kind = TypeVar("_Kind", bound=_WithId)


def chosen(every: Sequence[_Kind], ids: str | None, what: str) -> list[_Kind]:
    """Those of a list like `a,b`, in their own order; all for None. Raises ValueError."""
    wanted = [one.id for one in every] if ids is None else ids.split(",")
    unknown = set(wanted) - {one.id for one in every}
    if unknown:
        known = ", ".join(one.id for one in every)
        raise ValueError(f"no {what} {', '.join(sorted(unknown))}; there are {known}")
    return [one for one in every if one.id in wanted]
