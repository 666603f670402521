"""What a benchmark needs around its measures: tools, upstream, peers, the lock; records as told.

Not here: what is measured and in which order (`rounds.py`, `growth.py`).
"""

from __future__ import annotations

import contextlib
import datetime
import fcntl
import os
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks import driver, machine, peers
from benchmarks.peers import Peer
from benchmarks.processes import (
    BenchmarkError,
    Cores,
    Running,
    allow_many_files,
    free_port,
    program,
)
from benchmarks.results import Results
from benchmarks.workloads import Record, Stand, Trial


@dataclass
class Bench:
    """The stand with peers that run."""

    stand: Stand
    folder: Path
    lock: Path | None
    peers: dict[str, Peer] = field(default_factory=dict)
    idle: dict[str, Running] = field(default_factory=dict)
    _started: int = 0

    @contextlib.contextmanager
    def locked(self) -> Iterator[None]:
        """Alone on this machine, if a lock was given."""
        if self.lock is None:
            yield
            return
        with self.lock.open("a") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            yield

    def fresh(self, peer: Peer) -> contextlib.AbstractContextManager[Running]:
        """A new process of the peer, in a folder of its own."""
        self._started += 1
        folder = self.folder / f"{peer.name}-{self._started}"
        return peer.running(self.stand.cores.proxy, self.stand.upstream, folder)

    @contextlib.contextmanager
    def running(self, peer: Peer, fresh: bool = False) -> Iterator[Trial]:
        """The peer's standing process, or a new one where that is asked for."""
        if not fresh and peer.name in self.idle:
            yield Trial(self.stand, peer, self.idle[peer.name])
            return
        with self.fresh(peer) as running:
            trial = Trial(self.stand, peer, running)
            if not fresh:
                warm_up(trial)
            yield trial


@contextlib.contextmanager
def prepared(chosen: Sequence[Peer], quick: bool, lock: Path | None) -> Iterator[Bench]:
    """Tools built, upstream and peers started and warm."""
    driver.build()
    allow_many_files()
    cores = Cores.of_this_machine()
    os.sched_setaffinity(0, {cores.load})
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="benchmark-")))
        port = free_port()
        command = [str(driver.BUILD / "upstream"), str(port)]
        upstream = stack.enter_context(
            program("upstream", command, core=cores.upstream, port=port, folder=folder)
        )
        stand = Stand(cores, port, upstream.pids()[0], quick)
        bench = Bench(stand, folder, lock, {one.name: one for one in chosen})
        with bench.locked():
            for peer in chosen:
                if not peer.on_demand:
                    bench.idle[peer.name] = stack.enter_context(bench.fresh(peer))
                    warm_up(Trial(bench.stand, peer, bench.idle[peer.name]))
        yield bench


def warm_up(trial: Trial) -> None:
    """So that the first measure does not pay for first times."""
    if trial.peer.collapses:
        trial.streams(2, 20_000, 1)
        return
    trial.run("requests", connections=32, seconds=1)
    trial.streams(100, 20_000, 1)
    trial.run("calls", **trial.calls(seconds=1))


def attempt(measured: Callable[[], Record]) -> Record:
    """The record, or why there is none."""
    try:
        return measured()
    except (BenchmarkError, OSError) as error:
        # Its path would tell of this machine.
        return {"failed": error.strerror or "failed" if isinstance(error, OSError) else str(error)}


def available(chosen: Sequence[Peer]) -> tuple[list[Peer], dict[str, str]]:
    """Those that can be run here, and why the others cannot."""
    missing = {peer.name: peer.missing() for peer in chosen}
    for why in missing.values():
        if why:
            print(f"left out: {why}", file=sys.stderr)
    present = [peer for peer in chosen if missing[peer.name] is None]
    return present, {name: why for name, why in missing.items() if why}


def blank(kind: str, present: Sequence[Peer], missing: dict[str, str], quick: bool) -> Results:
    """Results without records: what, when, where, who."""
    return Results(
        kind=kind,
        date=datetime.datetime.now(datetime.UTC).date().isoformat(),
        machine=machine.facts(),
        settings={"quick": quick, "placement": Cores.of_this_machine().in_words()},
        peers={
            peer.name: {
                "title": peer.title,
                "version": peer.version(),
                "settings": peer.settings,
            }
            for peer in present
        },
        missing=missing,
    )


def tell(begun: float, text: str) -> None:
    """Progress, on standard error."""
    print(f"{time.monotonic() - begun:6.0f} s  {text}", file=sys.stderr, flush=True)


def chosen_peers(names: str | None, added: Sequence[str], with_: Sequence[str]) -> list[Peer]:
    """The peers of a list like `ours,nginx`, and those given as NAME=COMMAND. Raises ValueError."""
    known: dict[str, Peer] = {peer.name: peer for peer in peers.EVERY}
    for one in added:
        name, _, line = one.partition("=")
        known[name] = peers.Added(name=name, line=line)
    extra = [*with_, *(one.partition("=")[0] for one in added)]
    wanted = names.split(",") if names else [*peers.DEFAULT, *extra]
    unknown = {*wanted, *with_} - known.keys()
    if unknown:
        raise ValueError(f"no peer {', '.join(sorted(unknown))}; there are {', '.join(known)}")
    for name in with_:
        peer = known[name]
        if isinstance(peer, peers.LiteLLM):
            peer.install()
    return [peer for name, peer in known.items() if name in {*wanted, *extra}]
