"""`python -m ollama_proxy.simulator`: the simulator as a program of its own.

Not here: the simulator; only its flags and its life.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import signal
from collections.abc import Sequence

from .app import Simulator
from .options import SimulatorOptions

_DEFAULTS = SimulatorOptions()
_EPILOG = """Misbehaviour: send X-Simulate: die-after=5 (or break-after, cut-after, loop-after,
stall-after, error=500, busy), or use a model named simulate-die-after-5."""


def parser() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(
        prog="python -m ollama_proxy.simulator", description=__doc__, epilog=_EPILOG
    )
    flags.add_argument("--listen", default="127.0.0.1:11434", metavar="HOST:PORT")
    flags.add_argument("--models", default=",".join(_DEFAULTS.models), metavar="A,B")
    flags.add_argument(
        "--pace", type=float, default=_DEFAULTS.tokens_per_second, metavar="TOKENS/S"
    )
    flags.add_argument(
        "--prefill", type=float, default=_DEFAULTS.prefill_tokens_per_second, metavar="TOKENS/S"
    )
    flags.add_argument("--load", type=float, default=_DEFAULTS.load_seconds, metavar="SECONDS")
    flags.add_argument("--parallel", type=int, default=_DEFAULTS.parallel, metavar="N")
    flags.add_argument("--answer", type=int, default=None, metavar="TOKENS", help="of every answer")
    flags.add_argument("--context", type=int, default=_DEFAULTS.num_ctx, metavar="TOKENS")
    flags.add_argument("--seed", type=int, default=_DEFAULTS.seed, metavar="N")
    return flags


def options_of(flags: argparse.Namespace) -> SimulatorOptions:
    return SimulatorOptions(
        models=tuple(name for name in flags.models.split(",") if name),
        tokens_per_second=flags.pace,
        prefill_tokens_per_second=flags.prefill,
        load_seconds=flags.load,
        parallel=flags.parallel,
        answer_tokens=flags.answer,
        num_ctx=flags.context,
        seed=flags.seed,
    )


async def run(flags: argparse.Namespace) -> None:
    """Serve until a signal."""
    simulator = Simulator(options_of(flags))
    host, _, port = flags.listen.rpartition(":")
    url = await simulator.start(host.strip("[]") or "127.0.0.1", int(port))
    print(f"Simulated Ollama at {url}: no model, every text it says is made up.", flush=True)
    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        with contextlib.suppress(NotImplementedError):  # Windows
            loop.add_signal_handler(number, stopped.set)
    try:
        await stopped.wait()
    finally:
        await simulator.stop()


def main(arguments: Sequence[str] | None = None) -> None:
    flags = parser().parse_args(arguments)
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(run(flags))


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


if __name__ == "__main__":
    main()
