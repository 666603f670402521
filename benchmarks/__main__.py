"""The command: `python -m benchmarks [rounds|growth|report]`. Reads options, writes the files.

Not here: what is measured (`workloads.py`, `growth.py`), and how it is told (`report.py`).
"""

from __future__ import annotations

import argparse
import signal
import sys
from pathlib import Path
from types import FrameType

from benchmarks import growth, peers, report, results, rounds, table, workloads
from benchmarks.driver import BUILD
from benchmarks.processes import BenchmarkError
from benchmarks.results import Results
from benchmarks.stand import chosen_peers


def main() -> int:
    parser = _parser()
    options = parser.parse_args()
    signal.signal(signal.SIGTERM, _leave)
    try:
        if options.command == "report":
            report.write()
        elif options.command == "growth":
            _growth(options)
        else:
            _rounds(options)
    except ValueError as error:
        parser.error(str(error))
    except BenchmarkError as error:
        print(f"benchmarks: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        return 130
    return 0


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks",
        description="Measure this proxy beside others. Linux, two cores or more.",
        epilog=f"Peers: {', '.join(peer.name for peer in peers.EVERY)}. "
        f"Workloads: {', '.join(one.id for one in workloads.EVERY)}. "
        f"Growth by: {', '.join(one.id for one in growth.EVERY)}.",
    )
    add = parser.add_argument
    add(
        "command",
        nargs="?",
        choices=("rounds", "growth", "report"),
        default="rounds",
        help="rounds: the workloads (default); growth: how cost grows, for the charts; "
        "report: write docs/performance.md from the stored results",
    )
    add("--rounds", type=int, help="how often each is measured (5; growth 3; quick 1)")
    add("--only", metavar="W1,W4", help="these workloads, or kinds of growth, only")
    add("--peers", metavar="ours,nginx", help="these peers only")
    add("--with", dest="with_", action="append", default=[], metavar="PEER", help="one peer more")
    add(
        "--add",
        action="append",
        default=[],
        metavar="NAME=COMMAND",
        help="one more proxy: a command line with {port}, {upstream} and {folder} in it; "
        "a name that begins with ours takes W7 too",
    )
    add("--quick", action="store_true", help="small and short: does it all work?")
    add("--out", type=Path, metavar="FILE", help="where the results go")
    add("--note", metavar="TEXT", default="", help="a sentence on this run, for the report")
    add("--lock", type=Path, metavar="FILE", help="measure only while holding flock(2) on this")
    return parser


def _rounds(options: argparse.Namespace) -> None:
    found = rounds.run(
        chosen_peers(options.peers, options.add, options.with_),
        workloads.named(options.only),
        rounds=options.rounds or (1 if options.quick else 5),
        quick=options.quick,
        lock=options.lock,
    )
    print(table.as_text([table.header(found), *table.rows(found)]))
    _save(found, options)


def _growth(options: argparse.Namespace) -> None:
    found = growth.run(
        chosen_peers(options.peers, options.add, options.with_),
        growth.named(options.only),
        rounds=options.rounds or (1 if options.quick else 3),
        quick=options.quick,
        lock=options.lock,
    )
    _save(found, options)


def _save(found: Results, options: argparse.Namespace) -> None:
    found.settings |= {"note": options.note} if options.note else {}
    default = BUILD / f"quick-{found.kind}.json" if options.quick else None
    path = options.out or default or results.new_file(found.kind, found.date)
    found.save(path)
    print(f"kept in {path}")
    if not options.quick:
        print("to write docs/performance.md: python -m benchmarks report")


def _leave(number: int, frame: FrameType | None) -> None:
    """SIGTERM ends like Ctrl-C: what was started is stopped."""
    raise KeyboardInterrupt


if __name__ == "__main__":
    sys.exit(main())
