"""`cleanup`: removes what nobody needs from the data folder, and tells what that was.

Not here: which files those are (`cleaning.py`), the store (`storage/tidying.py`).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import click
import msgspec

from ollama_proxy.cleaning import Removed, old_logs, outlived
from ollama_proxy.commands.options import settings
from ollama_proxy.commands.saying import counted, refuse
from ollama_proxy.commands.there import asking
from ollama_proxy.config import Config
from ollama_proxy.running import Found, found
from ollama_proxy.storage import folder, tidying
from ollama_proxy.storage.errors import StoreError

LOG = "ollama-proxy.log"
USED = ("retention.days", "retention.megabytes", "retention.rows", "log.file")


class Report(msgspec.Struct, kw_only=True):
    """What was done, or would be. `running`: the proxy whose store was left alone, `why_not` what
    stood in the way. `database_bytes`: before and after; None where nothing was done."""

    dry_run: bool
    running: int | None = None
    removed: list[Removed] = []
    deleted_calls: int | None = None
    estimated: bool = False
    database_bytes: tuple[int, int] | None = None
    why_not: str | None = None

    @property
    def freed_bytes(self) -> int:
        before, after = self.database_bytes or (0, 0)
        removed = sum(one.bytes for one in self.removed if one.error is None)
        return removed + max(0, before - after)


@click.command(short_help="Remove what is not needed any more.")
@click.option("--dry-run", is_flag=True, help="Only tell what would be done.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@settings(only=("data_dir", *USED))
def cleanup(dry_run: bool, as_json: bool, **flags: Any) -> int:
    """Remove files of a proxy that has ended and logs that were put aside, delete calls beyond
    retention, and compact the database. Retention is what these settings say: name here the flags,
    too, that the proxy is started with. A running proxy prunes its store by itself: beside one only
    logs are removed."""
    config = asking(flags, *USED)
    report = Report(dry_run=dry_run)
    try:
        there = found(config.data_dir)
        report.removed = old_logs(_log(config, there), dry_run)
        if there is not None:
            report.running = there.pid
        elif config.data_dir.is_dir():
            report.removed += outlived(config.data_dir, dry_run)
            _tidy(report, config)
    except StoreError as error:
        report.why_not = str(error)
    if as_json:
        print(json.dumps(msgspec.to_builtins(report) | {"freed_bytes": report.freed_bytes}))
    elif report.why_not is None or report.removed:
        print("\n".join(_told(report, config)))
    failed = [one for one in report.removed if one.error is not None]
    for one in failed:
        refuse(f"{one.file} cannot be removed: {one.error}: remove it as its owner", 1)
    if report.why_not is not None:
        return refuse(report.why_not, 1)
    return 1 if failed else 0


def _log(config: Config, there: Found | None) -> Path:
    if there is not None and there.run is not None and there.run.log is not None:
        return Path(there.run.log)
    return config.log.file or config.data_dir / LOG


def _tidy(report: Report, config: Config) -> None:
    """Raises StoreError."""
    database = config.data_dir / folder.DATABASE
    if not database.exists():
        return
    keep = config.retention
    most_bytes = keep.megabytes * 1_000_000 or None
    retention = (keep.days or None, most_bytes, keep.rows or None)
    before = _size(database)
    if report.dry_run:
        report.deleted_calls, empty = tidying.beyond(database, retention)
        report.estimated = True
        report.database_bytes = (before, before - empty)
        return
    report.deleted_calls = tidying.prune(database, retention)
    report.database_bytes = (before, _size(database))
    tidying.compact(database)
    report.database_bytes = (before, _size(database))


def _size(database: Path) -> int:
    return sum(file.stat().st_size for file in folder.files(database))


def _told(report: Report, config: Config) -> list[str]:
    dry = report.dry_run
    lines = [
        f"{'would remove' if dry else 'removed'} {one.file}: {_bytes(one.bytes)}, {one.why}"
        for one in report.removed
        if one.error is None
    ]
    if report.running is not None:
        lines.append(
            f"process {report.running} uses the store and prunes it by itself: left alone "
            "(ollama-proxy stop, then cleanup, compacts it)"
        )
    if report.deleted_calls is not None:
        done = "would delete about" if dry else "deleted"
        calls = counted(report.deleted_calls, "call", "calls")
        lines.append(f"{done} {calls} beyond {_retention(config)}")
    if report.database_bytes is not None and not dry:
        before, after = map(_bytes, report.database_bytes)
        lines.append(f"the database took {before}, now {after}")
    least = "at least " if dry and report.deleted_calls else ""
    lines.append(f"{'would free' if dry else 'freed'} {least}{_bytes(report.freed_bytes)}")
    return lines


def _bytes(count: int) -> str:
    return f"{count:,} {'byte' if count == 1 else 'bytes'}"


def _retention(config: Config) -> str:
    keep = config.retention
    limits = (
        *((keep.days, "day", "days"), (keep.megabytes, "MB", "MB"), (keep.rows, "call", "calls")),
    )
    said = [f"{value:,} {one if value == 1 else more}" for value, one, more in limits if value]
    return f"retention ({', '.join(said)})" if said else "retention, which has no limit"
