"""The demo's surroundings: the simulator, sample programs that call the proxy, a passing folder.

The sample programs (`scripts/`) are ordinary ones that only read OLLAMA_HOST. Not here: the proxy
itself, which is started as always.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from ollama_proxy.config import Config, load

SCRIPTS = sorted((Path(__file__).parent / "scripts").glob("*.py"))


@contextmanager
def show(flags: Mapping[str, str], environ: Mapping[str, str]) -> Iterator[Config]:
    """Start simulator and sample programs; gives the configuration to serve with, and cleans up."""
    with tempfile.TemporaryDirectory(prefix="ollama-proxy-demo-") as folder:
        port = _free_port()
        fixed = {"upstream": f"http://127.0.0.1:{port}", "data_dir": folder}
        # At the end nobody waits for the answers that are still on their way.
        config = load({"timeouts.drain": "0", **flags, **fixed}, environ)
        print("This is a demonstration: the model is simulated and its text is made up.\n")
        programs = [_start("-m", "ollama_proxy.simulator", "--listen", f"127.0.0.1:{port}")]
        try:
            _await_port(port)
            own = f"http://127.0.0.1:{config.listen.port}"
            programs += [_start(str(script), OLLAMA_HOST=own) for script in SCRIPTS]
            yield config
        finally:
            for program in programs:
                program.terminate()
            for program in programs:
                program.wait()


def _start(*arguments: str, **environ: str) -> subprocess.Popen[bytes]:
    """A program of ours; it does not see Ctrl-C, which is for the proxy to handle."""
    return subprocess.Popen(
        [sys.executable, *arguments],
        env={**os.environ, **environ},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _await_port(port: int) -> None:
    """Wait until something listens there, for a few seconds at most."""
    for _ in range(100):
        try:
            socket.create_connection(("127.0.0.1", port), timeout=1).close()
            return
        except OSError:
            time.sleep(0.05)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port
