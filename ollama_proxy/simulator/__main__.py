"""`python -m ollama_proxy.simulator`: the simulator as a program of its own.

Not here: the simulator; only its flags and its life.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import math
import os
import signal
import socket
import sys
from collections.abc import Sequence
from typing import Any, NamedTuple

from .app import Simulator
from .options import SimulatorOptions
from .playing import Player, Unplayable, load

_DEFAULTS = SimulatorOptions()
_EPILOG = """Misbehaviour: send X-Simulate: die-after=5 (or break-after, cut-after, loop-after,
stall-after, error=500, busy), or use a model named simulate-die-after-5."""


def parser() -> argparse.ArgumentParser:
    flags = argparse.ArgumentParser(
        prog="python -m ollama_proxy.simulator",
        description="An Ollama without a model, for trying and for tests: all it says is made up.",
        epilog=_EPILOG,
        formatter_class=argparse.ArgumentDefaultsHelpFormatter,
    )

    def flag(name: str, default: object, metavar: str, text: str, **more: Any) -> None:
        flags.add_argument(name, default=default, metavar=metavar, help=text, **more)

    known = _DEFAULTS
    flag("--listen", _Listen("127.0.0.1", 11434), "HOST:PORT", "where it answers", type=_listen)
    flag("--models", ",".join(known.models), "A,B", "the models it has")
    flag("--pace", known.tokens_per_second, "TOKENS/S", "how fast it answers", type=float)
    flag("--prefill", known.prefill_tokens_per_second, "TOKENS/S", "how fast it reads", type=float)
    flag("--load", known.load_seconds, "SECONDS", "to load a model", type=float)
    flag("--parallel", known.parallel, "N", "calls that a model serves at once", type=int)
    flag("--answer", None, "TOKENS", "length of every answer; if not given, each its own", type=int)
    flag("--context", known.num_ctx, "TOKENS", "a model's context, where no call asks", type=int)
    flag("--seed", known.seed, "N", "what the made-up texts begin with", type=int)
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
        help="of recordings: 2 in half the time, 0 at once",
    )
    return flags


class _Listen(NamedTuple):
    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


def _listen(text: str) -> _Listen:
    host, _, port = text.rpartition(":")
    if not (port.isascii() and port.isdigit() and int(port) < 65536):
        raise argparse.ArgumentTypeError(f"{text}: expected HOST:PORT, as in 127.0.0.1:11434")
    return _Listen(host.strip("[]") or "127.0.0.1", int(port))


def _speed(text: str) -> float:
    try:
        speed = float(text)
    except ValueError:
        speed = -1.0
    if not 0 <= speed < math.inf:
        raise argparse.ArgumentTypeError(f"{text}: expected a number, 0 or more")
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
    url = await simulator.start(*flags.listen)
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
        with asyncio.Runner(loop_factory=_loop_factory()) as runner:
            runner.run(run(flags, player))
    except Unplayable as error:
        sys.exit(_refused(str(error)))
    except OSError as error:
        known = error.errno and not isinstance(error, socket.gaierror)
        cause = os.strerror(error.errno or 0) if known else error.strerror or str(error)
        sys.exit(_refused(f"cannot listen on {flags.listen}: {cause}; choose another --listen"))


def _refused(text: str) -> int:
    print(f"error: {text}", file=sys.stderr)
    return 2


def _loop_factory() -> type[asyncio.AbstractEventLoop] | None:
    try:
        import uvloop
    except ImportError:
        return None
    return uvloop.Loop


if __name__ == "__main__":
    main()
