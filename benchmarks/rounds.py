"""The rounds: in each every workload, in each workload every peer, in rotated order.

So two peers' measures of one workload are taken one right after the other, and each comes first as
often as any other. Not here: what a workload is.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path
from typing import TypeVar

from benchmarks.peers import Peer
from benchmarks.results import Results
from benchmarks.stand import Bench, attempt, available, blank, prepared, tell
from benchmarks.workloads import Record, Workload

T = TypeVar("T")


def rotated(items: Sequence[T], by: int) -> list[T]:
    """The same order, begun elsewhere."""
    start = by % len(items) if items else 0
    return [*items[start:], *items[:start]]


def run(
    chosen: Sequence[Peer],
    workloads: Sequence[Workload],
    *,
    rounds: int,
    quick: bool,
    lock: Path | None,
) -> Results:
    present, missing = available(chosen)
    results = blank("rounds", present, missing, quick)
    results.settings |= {"rounds": rounds, "workloads": {one.id: one.what for one in workloads}}
    begun = time.monotonic()
    with prepared(present, quick, lock) as bench:
        for number in range(1, rounds + 1):
            for index, workload in enumerate(workloads):
                with bench.locked():
                    for peer in rotated(present, number - 1 + index):
                        if workload.peers(peer):
                            record = _measured(bench, workload, peer)
                            where = {"round": number, "workload": workload.id, "peer": peer.name}
                            results.records.append({**where, **record})
                            what = record.get("failed") or _errors(record)
                            told = f"round {number} of {rounds}  {workload.id:4} {peer.name} {what}"
                            tell(begun, told)
    return results


def _measured(bench: Bench, workload: Workload, peer: Peer) -> Record:
    def measured() -> Record:
        with bench.running(peer, workload.fresh) as trial:
            return workload.measure(trial)

    return attempt(measured)


def _errors(record: Record) -> str:
    load = record.get("load", {})
    return f"{load['errors']} errors: {load.get('first_error')}" if load.get("errors") else ""
