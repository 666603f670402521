"""What the records mean: each figure of the report as a pure function of one measure.

`direct` is the record without a proxy of the same workload and round; a figure that needs it is
None without. Not here: medians over rounds (`results.py`), what figures should be (`targets.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

Record = dict[str, Any]
Of = Callable[[Record, Record | None], float | None]


@dataclass(frozen=True)
class Figure:
    id: str
    workload: str
    title: str
    unit: str
    of: Of
    more_is_better: bool = False
    compared: bool = True
    """Whether ratios to other proxies say something."""


def value(record: Record | None, *path: str) -> float | None:
    """The number at this path of the record, None if it is not there."""
    found: Any = record
    for name in path:
        if not isinstance(found, dict) or found.get(name) is None:
            return None
        found = found[name]
    return float(found)


def divided(above: float | None, below: float | None, factor: float = 1.0) -> float | None:
    return None if above is None or not below else above / below * factor


def plain(*path: str, factor: float = 1.0) -> Of:
    def of(record: Record, direct: Record | None) -> float | None:
        found = value(record, *path)
        return None if found is None else found * factor

    return of


def added(*path: str) -> Of:
    """By how much it is more than without a proxy."""

    def of(record: Record, direct: Record | None) -> float | None:
        with_it, without = value(record, *path), value(direct, *path)
        return None if with_it is None or without is None or record is direct else with_it - without

    return of


def cpu_by(*path: str, factor: float = 1.0) -> Of:
    """The peer's CPU by what was done."""

    def of(record: Record, direct: Record | None) -> float | None:
        return divided(value(record, "cpu_us"), value(record, *path), factor)

    return of


def driver(record: Record, direct: Record | None) -> float | None:
    """How much of the time load and upstream together were busy, in per cent of one core."""
    return divided(value(record, "driver_us"), value(record, "wall_s"), 1e-4)


def frames(record: Record, direct: Record | None) -> float | None:
    """Chunks of HTTP's framing by those that the upstream sent: 1 if none was merged or split."""
    own = divided(value(record, "load", "frames"), value(record, "load", "chunks"))
    sent = divided(value(direct, "load", "frames"), value(direct, "load", "chunks"))
    return divided(own, sent)


def kb_a_stream(record: Record, direct: Record | None) -> float | None:
    held, before = value(record, "held_kb"), value(record, "before_kb")
    if held is None or before is None:
        return None
    return divided(held - before, value(record, "streams"))


def growth_mb(record: Record, direct: Record | None) -> float | None:
    """The higher of both ways' growth of the peak."""
    both = [value(record, way, "growth_kb") for way in ("up", "down")]
    known = [one for one in both if one is not None]
    return max(known) / 1000 if known else None


def errors(record: Record, direct: Record | None) -> float | None:
    """Of all loads of this measure."""
    parts = [record, *(part for part in record.values() if isinstance(part, dict))]
    parts += [part["load"] for part in parts if isinstance(part.get("load"), dict)]
    counted = {id(part): part["errors"] for part in parts if "errors" in part}
    return float(sum(counted.values()))


def _streams(workload: str) -> list[Figure]:
    name = workload.lower()
    return [
        Figure(f"{name}-cpu", workload, "CPU a chunk", "µs", cpu_by("load", "chunks")),
        Figure(f"{name}-errors", workload, "errors", "", errors, compared=False),
    ]


def _requests(workload: str) -> list[Figure]:
    name = workload.lower()
    return [
        Figure(f"{name}-cpu", workload, "CPU a request", "µs", cpu_by("load", "requests")),
        Figure(
            f"{name}-rate",
            workload,
            "requests a second",
            "1/s",
            plain("load", "rate"),
            more_is_better=True,
        ),
        Figure(
            f"{name}-p99", workload, "answer time p99", "µs", plain("load", "latency_us", "p99")
        ),
        Figure(f"{name}-errors", workload, "errors", "", errors, compared=False),
    ]


def _under_pressure(workload: str) -> list[Figure]:
    name = workload.lower()
    return [
        Figure(
            f"{name}-pace",
            workload,
            "chunks a second",
            "1/s",
            plain("load", "pace"),
            more_is_better=True,
        ),
        Figure(
            f"{name}-p50",
            workload,
            "delay p50",
            "ms",
            plain("load", "delay_us", "p50", factor=1e-3),
        ),
        Figure(
            f"{name}-p99",
            workload,
            "delay p99",
            "ms",
            plain("load", "delay_us", "p99", factor=1e-3),
        ),
        Figure(
            f"{name}-steady",
            workload,
            "delay p99 while all are open",
            "ms",
            plain("load", "steady_us", "p99", factor=1e-3),
        ),
        Figure(f"{name}-frames", workload, "frames a chunk sent", "", frames, compared=False),
        Figure(f"{name}-driver", workload, "load and upstream busy", "%", driver, compared=False),
        *_streams(workload),
    ]


def _bulk() -> list[Figure]:
    return [
        *(
            Figure(f"w5-{way}", "W5", way, "MB/s", plain(way, "load", "mb_s"), more_is_better=True)
            for way in ("up", "down")
        ),
        Figure("w5-memory", "W5", "growth of peak memory", "MB", growth_mb, compared=False),
        Figure("w5-errors", "W5", "errors", "", errors, compared=False),
    ]


EVERY: tuple[Figure, ...] = (
    Figure("w1-delay", "W1", "added delay p50", "µs", added("load", "delay_us", "p50")),
    Figure("w1-delay-p99", "W1", "added delay p99", "µs", added("load", "delay_us", "p99")),
    Figure("w1-first", "W1", "added first chunk p50", "µs", added("load", "first_us", "p50")),
    *_streams("W1"),
    *_under_pressure("W2"),
    *_under_pressure("W2x"),
    Figure("w3-pace", "W3", "chunks a second", "1/s", plain("load", "pace"), more_is_better=True),
    Figure("w3-frames", "W3", "frames a chunk sent", "", frames, compared=False),
    *_streams("W3"),
    *_requests("W4"),
    *_requests("W4r"),
    *_requests("W4f"),
    Figure("w4c-cpu", "W4c", "CPU a call", "µs", cpu_by("load", "calls")),
    Figure("w4c-p50", "W4c", "call time p50", "µs", plain("load", "latency_us", "p50")),
    Figure("w4c-p99", "W4c", "call time p99", "µs", plain("load", "latency_us", "p99")),
    Figure("w4c-errors", "W4c", "errors", "", errors, compared=False),
    *_bulk(),
    Figure("w6-memory", "W6", "memory a stream", "kB", kb_a_stream),
    Figure("w6-errors", "W6", "errors", "", errors, compared=False),
    Figure("w7-cpu", "W7", "CPU a recorded call", "ms", cpu_by("load", "calls", factor=1e-3)),
    Figure("w7-errors", "W7", "errors", "", errors, compared=False),
    Figure("w7p-p999", "W7p", "delay p99.9", "ms", plain("load", "delay_us", "p999", factor=1e-3)),
    Figure("w7p-max", "W7p", "longest delay", "ms", plain("load", "delay_us", "max", factor=1e-3)),
    Figure("w7p-errors", "W7p", "errors", "", errors, compared=False),
)
