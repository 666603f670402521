"""Processes on cores of their own: started, waited for, stopped. Not here: which ones."""

from __future__ import annotations

import contextlib
import http.client
import os
import resource
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks import measure

START_SECONDS = 60.0
STOP_SECONDS = 10.0


class BenchmarkError(Exception):
    """The benchmark cannot go on; its text is one line that says why and what to do."""


@dataclass(frozen=True)
class Cores:
    """Where things run. On two cores load, upstream and runner share the first."""

    load: int
    upstream: int
    proxy: int

    @classmethod
    def of_this_machine(cls) -> Cores:
        usable = sorted(os.sched_getaffinity(0))
        if len(usable) < 2:
            raise BenchmarkError("two cores are needed: one for the proxy, one for everything else")
        return cls(usable[0], usable[2] if len(usable) > 2 else usable[0], usable[1])

    def in_words(self) -> str:
        if self.load == self.upstream:
            return "load and upstream share one core, the proxy under test has another to itself"
        return "load, upstream and the proxy under test have a core each"


@dataclass
class Running:
    """A started program: the head of its process tree."""

    name: str
    port: int
    process: subprocess.Popen[bytes] | None
    started_in: float = 0.0

    def pids(self) -> list[int]:
        """Its processes; none where there is no proxy (direct)."""
        return [] if self.process is None else measure.tree(self.process.pid)


def allow_many_files() -> None:
    """Raise this process's limit of open files, which its children inherit, as far as allowed."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def pinned(command: Sequence[str], core: int) -> list[str]:
    """The command on one core, its threads and children too; it ends if this process does.

    `taskset` and `setpriv` (both of util-linux) set this before the program's first thread exists.
    """
    for needed in ("taskset", "setpriv"):
        if shutil.which(needed) is None:
            raise BenchmarkError(f"{needed} is missing: install util-linux")
    return ["setpriv", "--pdeathsig", "TERM", "taskset", "-c", str(core), *command]


def environment(added: Mapping[str, str] | None = None) -> dict[str, str]:
    """This process's, without what would change the programs under test."""
    unwanted = ("OLLAMA_", "LITELLM_", "PYTHON", "GOMAXPROCS", "GOGC", "GODEBUG")
    kept = {k: v for k, v in os.environ.items() if not k.startswith(unwanted)}
    kept = {k: v for k, v in kept.items() if not k.lower().endswith("_proxy")}
    return {**kept, **(added or {})}


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


@contextlib.contextmanager
def program(
    name: str,
    command: Sequence[str],
    *,
    core: int,
    port: int,
    folder: Path,
    ready_path: str = "/api/version",
    environ: Mapping[str, str] | None = None,
) -> Iterator[Running]:
    """Run a server until the block ends; gives it once it answers `ready_path` with 200."""
    log = folder / f"{name}.log"
    with log.open("ab") as output:
        begun = time.monotonic()
        process = subprocess.Popen(
            pinned(command, core),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env=environment(environ),
            cwd=folder,
        )
    running = Running(name, port, process)
    try:
        _wait_until_ready(running, ready_path, log)
        running.started_in = time.monotonic() - begun
        wrong = measure.misplaced(running.pids(), {core})
        if wrong:
            raise BenchmarkError(f"{name}: threads {wrong} are not held to core {core}")
        yield running
    finally:
        stop(running)


def stop(running: Running) -> None:
    """Ask the program to end, and end its whole tree if it does not."""
    assert running.process is not None
    pids = running.pids()
    running.process.terminate()
    try:
        running.process.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        for pid in pids:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        running.process.wait()


def _wait_until_ready(running: Running, path: str, log: Path) -> None:
    assert running.process is not None
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline:
        if running.process.poll() is not None:
            break
        if _answers(running.port, path):
            return
        time.sleep(0.01)
    lines = log.read_text(errors="replace").strip().splitlines() or ["it said nothing"]
    raise BenchmarkError(f"{running.name} did not start: {lines[-1]}")


def _answers(port: int, path: str) -> bool:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        connection.request("GET", path)
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
