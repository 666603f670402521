"""The two C programs: built when their sources are newer, `upstream` found, `load` run.

Not here: what is measured with them. What they take and print is told in `tools/`.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import time
from pathlib import Path
from typing import Any

from benchmarks.processes import BenchmarkError, environment, pinned

HERE = Path(__file__).parent
SOURCES = HERE / "tools"
BUILD = HERE / "build"
PROGRAMS = ("upstream", "load")
FLAGS = ("-O2", "-Wall", "-Wextra", "-Werror")
PATIENCE = 120.0
"""Seconds after which a load that has not ended is ended: its peer answers too slowly."""

Answer = dict[str, Any]


def build(folder: Path = BUILD) -> None:
    """Compile what is older than its sources. Raises BenchmarkError."""
    folder.mkdir(parents=True, exist_ok=True)
    headers = list(SOURCES.glob("*.h"))
    for name in PROGRAMS:
        target = folder / name
        newest = max(path.stat().st_mtime for path in [*sources(name), *headers])
        if not target.exists() or target.stat().st_mtime < newest:
            compile_one(name, target)


def sources(name: str) -> list[Path]:
    """A program's own files, and those that both share."""
    return sorted([*SOURCES.glob(f"{name}*.c"), *SOURCES.glob("common*.c")])


def compile_one(name: str, target: Path) -> None:
    compiler = shutil.which("cc")
    if compiler is None:
        raise BenchmarkError("no C compiler: install one (Debian: apt install gcc libc6-dev)")
    command = [compiler, *FLAGS, "-o", str(target), *map(str, sources(name))]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise BenchmarkError(f"{name} does not compile: {done.stderr.strip()}")


class Load:
    """One run of `load`, on its core. `ready`, `finish`, and at the latest `end`."""

    def __init__(self, core: int, mode: str, port: int, *flags: str, **options: object) -> None:
        command = [str(BUILD / "load"), mode, "--port", str(port), *flags]
        for name, value in options.items():
            command += ["--" + name.replace("_", "-"), str(value)]
        self.mode = mode
        self._process = subprocess.Popen(
            pinned(command, core),
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            env=environment(),
            text=True,
        )

    def __enter__(self) -> Load:
        return self

    def __exit__(self, *_: object) -> None:
        self.end()

    def ready(self) -> None:
        """Wait for the line that says that all streams or pages are open."""
        assert self._process.stdout is not None
        line = self._process.stdout.readline().strip()
        if line != "ready":
            _, complaint = self._process.communicate(timeout=PATIENCE)
            raise BenchmarkError(f"load {self.mode}: {line or complaint.strip() or 'ended early'}")

    def finish(self, patience: float = PATIENCE) -> Answer:
        """Let it end (a held one by closing its input); returns what it printed."""
        try:
            out, complaint = self._process.communicate(timeout=patience)
        except subprocess.TimeoutExpired:
            self.end()
            return {"errors": 1, "first_error": f"not done within {patience:.0f} s"}
        if self._process.returncode:
            raise BenchmarkError(f"load {self.mode}: {complaint.strip() or 'failed'}")
        printed: Answer = json.loads(out.strip().splitlines()[-1])
        return printed

    def end(self) -> None:
        if self._process.poll() is None:
            self._process.kill()
        self._process.communicate()


def settle(seconds: float) -> None:
    """Wait for what a proxy does after the last answer (rows written, sockets closed)."""
    time.sleep(seconds)
