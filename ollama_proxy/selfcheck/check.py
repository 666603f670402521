"""One check's result, and the judgements that need no look at anything. Pure.

Not here: looking (`machine.py`, `asking.py`).
"""

from __future__ import annotations

import stat
from collections.abc import Iterable, Sequence
from pathlib import Path

import msgspec

from ollama_proxy.config import Config, same_listener
from ollama_proxy.settings import UPSTREAM, Address, Upstream

OK, WARNING, WRONG = "ok", "warning", "wrong"
MARKS = {OK: "✓", WARNING: "!", WRONG: "✗"}
PLAIN = {OK: "ok", WARNING: "warning", WRONG: "WRONG"}
"""For a terminal whose encoding lacks the marks."""

MEGABYTE = 1_000_000
LEAST_FREE = 100 * MEGABYTE
"""Bytes below which a disk is as good as full: SQLite writes beside the database, too."""
OTHERS = stat.S_IRWXG | stat.S_IRWXO


class Check(msgspec.Struct, frozen=True):
    """`state` is ok, warning or wrong; `says` names a cause, `remedy` what to do about it."""

    name: str
    state: str
    says: str
    remedy: str | None = None


def ok(name: str, says: str) -> Check:
    return Check(name, OK, says)


def warning(name: str, says: str, remedy: str | None = None) -> Check:
    return Check(name, WARNING, says, remedy)


def wrong(name: str, says: str, remedy: str | None = None) -> Check:
    return Check(name, WRONG, says, remedy)


def told(checks: Sequence[Check], encoding: str) -> str:
    """The lines for a terminal of that encoding."""
    marks = MARKS
    try:
        "".join(MARKS.values()).encode(encoding)
    except (UnicodeEncodeError, LookupError):
        marks = PLAIN
    mark, name = max(map(len, marks.values())), max(len(one.name) for one in checks)
    lines = []
    for one in checks:
        lines.append(f"{marks[one.state]:{mark}} {one.name:{name}}  {one.says}")
        if one.remedy:
            lines.append(f"{'':{mark + name + 3}}{one.remedy}")
    return "\n".join(lines)


def disk(folder: Path, free: int, database: int, most: int) -> Check:
    """`free` bytes where the database of so many bytes may grow to `most`; 0 is no limit."""
    says = f"{megabytes(free)} free on the disk of {folder}"
    if free < LEAST_FREE:
        return wrong("disk", says, "free some space: without it no call is recorded")
    if most and free < most - database:
        return warning(
            "disk",
            f"{says}, but the database may grow by {megabytes(most - database)}",
            "free some space, or lower retention.megabytes",
        )
    return ok("disk", says)


def size(calls: int, database: int, most: int) -> Check:
    """A database that is larger than retention allows was not pruned."""
    says = f"{calls:,} {'call' if calls == 1 else 'calls'} in {megabytes(database)}"
    if most and database > 1.2 * most:
        return warning(
            "size",
            f"{says}, more than the {megabytes(most)} of retention.megabytes",
            "a running proxy deletes by itself within the hour; else: ollama-proxy cleanup",
        )
    return ok("size", f"{says}, {megabytes(most)} at the most" if most else f"{says}, no limit")


def permissions(folder: Path, mode: int, files: Iterable[tuple[Path, int]]) -> Check:
    """Modes as `stat` tells them. What may be read of a file depends on its folder, too."""
    open_files = [path for path, bits in files if bits & OTHERS]
    if open_files:
        names = ", ".join(path.name for path in open_files)
        says = f"other users may read {names}: prompts may be in there"
        state = wrong if mode & OTHERS else warning
        paths = " ".join(map(str, open_files))
        return state("permissions", says, f"chmod 600 {paths}")
    if mode & OTHERS:
        bits = f"{stat.S_IMODE(mode):04o}"
        return warning(
            "permissions",
            f"{folder} is open to other users ({bits}), its files are not",
            f"chmod 700 {folder}, unless it is shared on purpose",
        )
    return ok("permissions", f"{folder} and its files are this user's only")


def clients_side(said: str | None, proxy: Address, upstream: Upstream) -> Check:
    """Where programs go that are started in this shell. `said`: its OLLAMA_HOST."""
    export = f"export OLLAMA_HOST=http://{proxy.reachable}"
    try:
        meant = UPSTREAM.parse(said or "127.0.0.1:11434")
    except ValueError:
        return wrong("OLLAMA_HOST", f"{said!r} is no address", export)
    place = f"OLLAMA_HOST is {said}" if said else "OLLAMA_HOST is not set"
    address = Address(meant.host, meant.port)
    if same_listener(address, proxy):
        return ok("OLLAMA_HOST", f"{place}: programs of this shell go through the proxy")
    if same_listener(address, Address(upstream.host, upstream.port)):
        says = f"{place}: programs of this shell go past the proxy, to Ollama itself"
        return warning("OLLAMA_HOST", says, export)
    says = f"{place}: neither the proxy ({proxy}) nor its Ollama ({upstream})"
    return warning("OLLAMA_HOST", says, export)


def token_file(config: Config, mode: int) -> Check | None:
    """Whether others may read the config file that holds the token."""
    source = config.sources["admin.token"]
    if config.admin.token is None or not source.startswith("file ") or not mode & OTHERS:
        return None
    path = source.removeprefix("file ")
    return warning("token", f"other users may read {path}, which holds it", f"chmod 600 {path}")


def megabytes(size: int) -> str:
    if size < 10_000 * MEGABYTE:
        return f"{size / MEGABYTE:,.1f} MB"
    return f"{size / (1000 * MEGABYTE):,.1f} GB"
