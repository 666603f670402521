"""The demo's surroundings: a simulated Ollama, and sample programs that call the proxy.

The sample programs (`scripts/`) are ordinary ones that only read OLLAMA_HOST; they end by
themselves when nobody answers there. Not here: the proxy, which is started as always.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path

from ollama_proxy.simulator import Simulator

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.py"))


@asynccontextmanager
async def simulated_ollama() -> AsyncIterator[str]:
    """An Ollama without a model, on a port of its own; gives its URL."""
    simulator = Simulator()
    try:
        yield await simulator.start()
    finally:
        await simulator.stop()


@contextmanager
def sample_programs(host: str) -> Iterator[None]:
    """The sample programs, each a process of its own with OLLAMA_HOST set to `host`."""
    programs = [
        subprocess.Popen(
            [sys.executable, str(script)],
            env={**os.environ, "OLLAMA_HOST": host},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,  # Ctrl-C is for the proxy to handle
        )
        for script in SCRIPTS
    ]
    try:
        yield
    finally:
        for program in programs:
            program.terminate()
        for program in programs:
            program.wait()
