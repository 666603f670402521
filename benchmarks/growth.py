"""How cost grows: with streams, with the size of a chunk, with calls stored, with pages open.

One thing changes, the rest stays. Not here: the charts of it (`charts.py`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import measure
from benchmarks.peers import Ours, Peer
from benchmarks.prefill import fill
from benchmarks.results import Results
from benchmarks.rounds import rotated
from benchmarks.stand import Bench, attempt, available, blank, prepared, tell
from benchmarks.workloads import EVENTS, WRITTEN, Record, Trial, chosen

CHUNKS_A_SECOND = 5000
OPENING_S = 0.0005
"""The load opens one stream in this time, at most."""


@dataclass(frozen=True)
class Growth:
    id: str
    what: str
    points: Sequence[int]
    few: Sequence[int]
    """The points of a quick run."""
    measure: Callable[[Trial, int], Record]
    peers: Sequence[str] = ("nginx", "caddy", "aiohttp", "ours")


def by_streams(trial: Trial, streams: int) -> Record:
    """CPU in a time in which all are open and none begins or ends: the pace tells the chunks."""
    gap_us = streams * 1_000_000 // CHUNKS_A_SECOND
    opening = max(streams * OPENING_S, gap_us / 1e6) + gap_us / 1e6
    seconds = trial.stand.seconds(3)
    pids, options = trial.running.pids(), trial.paced(streams, gap_us, opening + seconds + 1)
    with trial.stand.load("streams", trial.running.port, **options) as load:
        time.sleep(opening + 0.5)
        begun, before = time.monotonic(), measure.cpu_us(pids)
        time.sleep(seconds)
        used, passed = measure.cpu_us(pids) - before, time.monotonic() - begun
        answer = load.finish()
    time.sleep(WRITTEN)
    return {"load": answer, "cpu_us": round(used), "in_window": round(passed * CHUNKS_A_SECOND)}


def by_size(trial: Trial, size: int) -> Record:
    options = {**trial.paced(10, 20_000, trial.stand.seconds(3)), "size": size}
    return trial.observed(lambda: trial.run("streams", **options), WRITTEN)


def by_pages(trial: Trial, pages: int) -> Record:
    with contextlib.ExitStack() as beside:
        if pages:
            listeners = trial.stand.load("listen", trial.running.port, pages=pages, path=EVENTS)
            beside.enter_context(listeners).ready()
        return trial.observed(lambda: trial.run("calls", **trial.calls()), WRITTEN)


def by_stored(trial: Trial, stored: int) -> Record:
    trial.run("calls", **trial.calls(seconds=1))  # a new process: not its first calls
    record = trial.observed(lambda: trial.run("calls", **trial.calls()), WRITTEN)
    for name in ("requests", "stats"):
        path = f"/admin/api/{name}"
        record[name] = trial.run("requests", connections=1, seconds=1, path=path)
    record["started_in"] = round(trial.running.started_in, 3)
    return record


STREAMS = Growth(
    "streams",
    f"open streams, together always {CHUNKS_A_SECOND:,} chunks a second",
    (1, 10, 100, 500, 1000, 2000, 5000),
    (1, 100, 1000),
    by_streams,
)
SIZE = Growth(
    "size",
    "bytes of a chunk; 10 streams, a chunk each 20 ms",
    (150, 1024, 4096, 16_384, 65_536, 262_144),
    (150, 65_536),
    by_size,
)
STORED = Growth(
    "stored",
    "calls stored before; 200 recorded calls a second",
    (0, 10_000, 100_000, 1_000_000),
    (0, 10_000),
    by_stored,
    ("ours",),
)
PAGES = Growth(
    "pages",
    "pages open; 200 recorded calls a second",
    (0, 1, 5, 20, 50, 100, 200),
    (0, 20),
    by_pages,
    ("ours",),
)
EVERY = (STREAMS, SIZE, STORED, PAGES)


def named(ids: str | None) -> list[Growth]:
    """The kinds of a list like `streams,pages`; all for None. Raises ValueError."""
    return chosen(EVERY, ids, "growth by")


def run(
    chosen: Sequence[Peer],
    kinds: Sequence[Growth],
    *,
    rounds: int,
    quick: bool,
    lock: Path | None,
) -> Results:
    wanted = {name for kind in kinds for name in kind.peers}
    present, missing = available([peer for peer in chosen if peer.name in wanted])
    results = blank("growth", present, missing, quick)
    results.settings |= {"rounds": rounds, "growth": {one.id: one.what for one in kinds}}
    begun = time.monotonic()
    with prepared(present, quick, lock) as bench:
        for kind in kinds:
            points = kind.few if quick else kind.points
            if kind is STORED:
                _stored(bench, points, results, begun, rounds)
            else:
                _paced(bench, kind, points, results, begun, rounds)
    return results


def _paced(
    bench: Bench, kind: Growth, points: Sequence[int], results: Results, begun: float, rounds: int
) -> None:
    peers = [peer for name, peer in bench.peers.items() if name in kind.peers]
    for number in range(1, rounds + 1):
        for index, point in enumerate(points):
            with bench.locked():
                for peer in rotated(peers, number - 1 + index):
                    record = _measured(bench, kind, point, peer)
                    _keep(results, begun, kind, point, number, peer.name, record)


def _stored(
    bench: Bench, points: Sequence[int], results: Results, begun: float, rounds: int
) -> None:
    """Each time a new process, with the same database grown to this many calls.

    Without a limit to its size: what pruning costs is not the question here.
    """
    if "ours" not in bench.peers:
        return
    data = bench.folder / "stored"
    peer = Ours(data, "--retention-megabytes", "0")
    there = 0
    for point in points:
        there = fill(data, there, point, bench.locked)
        tell(begun, f"stored   {there:,} calls are in the database")
        for number in range(1, rounds + 1):
            with bench.locked():
                record = _measured(bench, STORED, point, peer, fresh=True)
            _keep(results, begun, STORED, point, number, peer.name, record)


def _measured(bench: Bench, kind: Growth, point: int, peer: Peer, fresh: bool = False) -> Record:
    def measured() -> Record:
        with bench.running(peer, fresh) as trial:
            return kind.measure(trial, point)

    return attempt(measured)


def _keep(
    results: Results,
    begun: float,
    kind: Growth,
    point: int,
    number: int,
    peer: str,
    record: Record,
) -> None:
    where = {"growth": kind.id, "at": point, "round": number, "peer": peer}
    results.records.append({**where, **record})
    tell(begun, f"{kind.id:8} {point:>9,} {peer} {record.get('failed', '')}")
