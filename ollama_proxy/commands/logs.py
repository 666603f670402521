"""`logs`: the last lines of the log file, and those that come. Not here: writing it (`logs.py`)."""

from __future__ import annotations

import contextlib
import errno
import os
import stat
import sys
import time
from collections import deque
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TextIO

import click

from ollama_proxy.commands.background import LOG
from ollama_proxy.commands.options import settings
from ollama_proxy.commands.saying import printable, refuse
from ollama_proxy.commands.there import asking
from ollama_proxy.running import found
from ollama_proxy.storage.errors import StoreError

PAUSE = 0.2
MOST = 1_000_000
"""Lines before those that come: more than the files hold that are kept."""


@click.command(short_help="Show what it logged.")
@click.option("-f", "--follow", is_flag=True, help="Go on with what comes.")
@click.option("-n", "--lines", type=click.IntRange(0, MOST), default=50, help="Default: 50.")
@settings(only=("data_dir", "log.file"))
def logs(follow: bool, lines: int, **flags: Any) -> int:
    """Show the last lines of the log of the proxy in the background."""
    config = asking(flags, "log.file")
    file = config.log.file or config.data_dir / LOG
    with contextlib.suppress(StoreError):
        there = found(config.data_dir)
        if there is not None and there.run is not None and there.run.log is None:
            return refuse(
                f"process {there.pid} logs to its terminal or service (journalctl), not to a file: "
                "log.file names one, and `ollama-proxy start` has one by itself",
                1,
            )
        if there is not None and there.run is not None and there.run.log is not None:
            file = Path(there.run.log)
    try:
        with _opened(file) as log:
            for line in deque(log, maxlen=lines):
                sys.stdout.write(_shown(line))
            sys.stdout.flush()
            if follow:
                for line in _coming(file, log):
                    sys.stdout.write(_shown(line))
                    sys.stdout.flush()
    except FileNotFoundError:
        return refuse(f"{file} does not exist: no proxy was started in the background here", 1)
    except OSError as error:
        remedy = "ask as the user who runs the proxy" if error.errno == errno.EACCES else ""
        remedy = remedy or "--data-dir or --log-file names another"
        return refuse(f"cannot read {file}: {error.strerror}: {remedy}", 1)
    return 0


def _opened(file: Path) -> TextIO:
    """Raises OSError; of a pipe, too, which might never end, nor even open."""
    log = os.fdopen(os.open(file, os.O_RDONLY | os.O_NONBLOCK), encoding="utf-8", errors="replace")
    if stat.S_ISREG(os.fstat(log.fileno()).st_mode):
        return log
    log.close()
    raise OSError(errno.EINVAL, "it is no regular file")


def _shown(line: str) -> str:
    """A terminal is given nothing that it would obey."""
    if not sys.stdout.isatty():
        return line
    return printable(line.removesuffix("\n")) + "\n"


def _coming(file: Path, log: TextIO) -> Iterator[str]:
    """Lines as they are written; goes on in the new file when this one was put aside."""
    while True:
        if line := log.readline():
            yield line
            continue
        with contextlib.suppress(OSError):
            if file.stat().st_ino != os.fstat(log.fileno()).st_ino:
                yield from log.readlines()
                log.close()
                log = _opened(file)
                continue
        time.sleep(PAUSE)
