"""`python -m ollama_proxy.simulator`: the simulator as a program of its own.

Not here: the simulator; only its flags and its life.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import signal
import sys
from collections.abc import Sequence

from .app import Simulator
from .options import SimulatorOptions
from .playing import Player, Unplayable, load

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
    flags.add_argument(
        "--play",
        action="append",
        default=[],
        metavar="FILE_OR_FOLDER",
        help="answer requests that equal a recorded one as recorded; may be given again",
    )
    flags.add_argument(
        "--speed",
        type=_speed,
        default=1.0,
        metavar="FACTOR",
        help="of recordings: 2 in half the time, 0 at once; default 1",
    )
    return flags


def _speed(text: str) -> float:
    speed = float(text)
    if not 0 <= speed < math.inf:
        raise ValueError
    return speed


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


async def run(flags: argparse.Namespace, player: Player) -> None:
    """Serve until a signal."""
    simulator = Simulator(options_of(flags), player)
    host, _, port = flags.listen.rpartition(":")
    url = await simulator.start(host.strip("[]") or "127.0.0.1", int(port))
    print(f"Simulated Ollama at {url}: no model, every text it says is made up.", flush=True)
    if len(player):
        print(f"It plays {len(player)} recorded answers to requests that equal theirs.", flush=True)
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
    try:
        player = Player(load(flags.play), flags.speed)
    except Unplayable as error:
        sys.exit(_refused(error))
    with asyncio.Runner(loop_factory=_loop_factory()) as runner:
        runner.run(run(flags, player))


def _refused(error: Unplayable) -> int:
    print(f"error: {error}", file=sys.stderr)
    return 2


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


if __name__ == "__main__":
    main()
