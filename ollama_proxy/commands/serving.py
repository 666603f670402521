"""`serve` and `demo`: run the proxy until a signal says to stop, and tell where it is.

Not here: what the proxy does (`app.py`), running it in the background (`background.py`).
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import click

from ollama_proxy import __version__
from ollama_proxy import running as running_here
from ollama_proxy.app import App
from ollama_proxy.commands.options import given, settings
from ollama_proxy.commands.saying import FULL, USAGE_ERROR, counted, discard, refuse
from ollama_proxy.config import Config, load, misspelt
from ollama_proxy.demo import sample_programs, simulated_ollama
from ollama_proxy.flags import absolute
from ollama_proxy.garbage import Garbage
from ollama_proxy.handover.taking import Taking
from ollama_proxy.ids import iso
from ollama_proxy.listening import StartError, allow_many_files
from ollama_proxy.logs import log_to, where
from ollama_proxy.notify import Notifier
from ollama_proxy.records import UpstreamHealth
from ollama_proxy.settings import Address
from ollama_proxy.storage.errors import StoreError

log = logging.getLogger(__name__)


@click.command(short_help="Forward and record every call.")
@click.option("--take-over", is_flag=True, hidden=True)
@settings()
def serve(take_over: bool, **flags: Any) -> int:
    """Forward every call to Ollama, and record it. Settings also come from the environment
    (OLLAMA_PROXY_...) and from a TOML file; flags win."""
    said = absolute(given(flags))
    config = load(said, os.environ)
    try:
        log_to(config.log.file, config.log.format, config.log.level)
    except OSError as error:
        return refuse(
            f"log.file = {config.log.file}: cannot be written ({error.strerror}): choose another",
            USAGE_ERROR,
        )
    for line in misspelt(os.environ):
        log.warning("%s", line)
    return _run(
        _served(
            config,
            flags=said,
            take_over=take_over,
            read_settings=lambda: load(said, os.environ),
        )
    )


@click.command(short_help="Show it all without an Ollama.")
@settings(leave_out=("upstream", "data_dir", "log.level", "log.format", "log.file"))
def demo(**flags: Any) -> int:
    """Start the proxy in front of the built-in simulator, with sample programs calling it. The
    simulator's text is made up; nothing is kept after the end."""
    log_to(None, "human", "info")
    try:
        temporary = tempfile.TemporaryDirectory(prefix="ollama-proxy-demo-")
    except OSError as error:
        name = "set TMPDIR to a folder that this user can write, with some space"
        return refuse(f"cannot make a temporary folder: {error.strerror}: {name}", 1)
    with temporary as folder:
        return _run(_demonstrated(given(flags), folder))


async def _demonstrated(flags: Mapping[str, str], folder: str) -> int:
    async with simulated_ollama() as upstream:
        # At the end nobody waits for the answers that are still on their way.
        ours = {"timeouts.drain": "0", **flags, "upstream": upstream, "data_dir": folder}
        config = load(ours, os.environ)
        print("This is a demonstration: the model is simulated and its text is made up.\n")
        return await _served(config, sample_programs)


def _run(program: Coroutine[Any, Any, int]) -> int:
    """Run on uvloop where it is installed, else on asyncio's own loop."""
    try:
        import uvloop
    except ImportError:
        return asyncio.run(program)
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(program)


def _tell_fault(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """A fault of ours that nobody caught, in one line and without its text; see `logs.where`."""
    error = context.get("exception")
    place = context.get("message", "") if error is None else where(error)
    log.error("a fault in the proxy itself: %s", place)


async def _served(
    config: Config,
    beside: Callable[[str], AbstractContextManager[None]] | None = None,
    flags: Mapping[str, str] | None = None,
    take_over: bool = False,
    read_settings: Callable[[], Config] | None = None,
) -> int:
    """Serve until a signal says to stop; a second one ends running calls at once.

    `beside` is entered with the proxy's URL once it serves, and left before it stops. `take_over`:
    from the proxy that runs in the data folder. `read_settings`: what SIGHUP does without a
    terminal; else that stops, too.
    """
    allow_many_files()
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_tell_fault)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, lambda: (hurry if stop.is_set() else stop).set())
    try:
        running_here.found(config.data_dir)  # one whose lock file is gone, above all
        before = Taking.begin(config.data_dir) if take_over else None
        app = App(config, before, read_settings)
        await app.start()
    except (StartError, StoreError) as error:
        return refuse(str(error), 1)
    Garbage(lambda: app.running).start()
    looking, leaving = asyncio.create_task(app.first_look()), asyncio.create_task(stop.wait())
    await asyncio.wait((looking, leaving), return_when=asyncio.FIRST_COMPLETED)
    leaving.cancel()
    if not looking.done():  # told to stop while Ollama still keeps the look waiting
        looking.cancel()
        await _stopped(app, hurry)
        return 0
    health = looking.result()
    if health.loop:
        await app.stop()
        return refuse(
            f"upstream = {config.upstream} ({config.sources['upstream']}): leads back to this "
            "proxy; expected the address of Ollama itself",
            USAGE_ERROR,
        )
    run = _run_of(app, config, dict(flags or {}))
    try:
        running_here.prepare(config.data_dir, run)
    except OSError as error:
        if take_over:  # from one that has its file
            await app.stop()
            why = f"{error.strerror}: free some space, or give this user access to it"
            return refuse(f"cannot write {config.data_dir}: {why}", 1)
        _warn_untold(config, error)
    await app.take_over()
    if read_settings is not None and not _has_terminal():
        loop.add_signal_handler(signal.SIGHUP, app.reload)
    notifier = Notifier(os.environ)
    with _published(app, config, run), notifier.ready():
        _say(_welcome(app, config, health))
        with beside(f"http://{_own_address(app, config)}") if beside else nullcontext():
            while await _left(app, stop) and await app.outlive(stop):
                _publish_again(config, run)
            if app.left.is_set() and stop.is_set():
                hurry.set()  # the process that took over ends, too
            stop.set()
        notifier.stopping()
        await _stopped(app, hurry)
    return 0


def _say(text: str) -> None:
    """In the background this goes to a file, whose disk may be full: it serves all the same."""
    try:
        print(text, flush=True)
    except OSError as error:
        if error.errno not in FULL:
            raise
        discard()


def _has_terminal() -> bool:
    """Whether SIGHUP means that a terminal was closed (tty(4))."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR))
    except OSError:
        return False
    return True


def _run_of(app: App, config: Config, flags: dict[str, str]) -> running_here.Run:
    own = f"http://{_own_address(app, config)}"
    admin = f"{own}{config.admin_path}"
    if app.admin_address is not None:
        admin = f"http://{app.admin_address.reachable}"
    return running_here.Run(
        pid=os.getpid(),
        url=own,
        admin=admin,
        version=__version__,
        started_at=iso(time.time()),
        log=None if config.log.file is None else str(config.log.file.absolute()),
        flags=flags,
        service=os.environ.get("SYSTEMD_EXEC_PID") == str(os.getpid()),  # systemd.exec(5)
    )


def _warn_untold(config: Config, error: OSError) -> None:
    log.warning(
        "cannot write %s: %s: commands such as status do not find the address of this proxy",
        config.data_dir / running_here.FILE,
        error.strerror,
    )


@contextlib.contextmanager
def _published(app: App, config: Config, run: running_here.Run) -> Iterator[None]:
    """Leaves word in the data folder of what runs here; a full disk must not stand in the way."""
    try:
        running_here.publish(config.data_dir)
    except FileNotFoundError:
        pass  # that it could not be prepared is said
    except OSError as error:
        _warn_untold(config, error)
    try:
        yield
    finally:
        if not app.left.is_set():  # else the file is the other process's, now or in a moment
            with contextlib.suppress(OSError):
                running_here.ended(config.data_dir, run.pid)


def _publish_again(config: Config, run: running_here.Run) -> None:
    try:
        running_here.tell(config.data_dir, run)
    except OSError as error:
        _warn_untold(config, error)


async def _left(app: App, stop: asyncio.Event) -> bool:
    """Wait until it is told to stop, or another process has taken over; whether that is so."""
    ends = [asyncio.create_task(one.wait()) for one in (stop, app.left)]
    await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
    for end in ends:
        end.cancel()
    return not stop.is_set()


async def _stopped(app: App, hurry: asyncio.Event) -> None:
    if app.running and app.config.timeouts.drain and not app.left.is_set():
        calls = counted(app.running, "running call", "running calls")
        print(
            f"stopping: {calls} may end first (once more to end them now)",
            file=sys.stderr,
            flush=True,
        )
    stopping = asyncio.create_task(app.stop())
    hurrying = asyncio.create_task(hurry.wait())
    await asyncio.wait((stopping, hurrying), return_when=asyncio.FIRST_COMPLETED)
    if not stopping.done():
        await app.interrupt("asked for by a second signal")
    hurrying.cancel()
    await stopping


def _own_address(app: App, config: Config) -> Address:
    """Where programs of this machine reach the proxy."""
    return Address(config.listen.host, app.port).reachable


def _welcome(app: App, config: Config, health: UpstreamHealth) -> str:
    own = _own_address(app, config)
    page = f"http://{own}{config.admin_path}/"
    if app.admin_address is not None:
        page = f"http://{app.admin_address.reachable}/   and {page}"
    if config.admin.token is not None:
        page += "   (they ask for admin.token)"
    lines = [
        f"ollama-proxy {__version__}",
        f"  listens on    http://{Address(config.listen.host, app.port)}",
        f"  forwards to   {config.upstream}   ({_state(health)})",
        f"  page          {page}",
        f"  records in    {config.data_dir}",
        "",
        "Point your programs here (not the Ollama service itself, which reads the same variable):",
        f"  export OLLAMA_HOST=http://{own}",
    ]
    if not app.on_loopback:
        lines.insert(
            2, "                other machines can reach this port: whoever can may use the model"
        )
    return "\n".join(lines)


def _state(health: UpstreamHealth) -> str:
    if health.up and health.version is None:
        return f"what answers there is not Ollama: {health.error}; check upstream"
    if health.up:
        return f"Ollama {health.version} answers"
    return f"no answer: {health.error}; calls get 502 until it is back, which is noticed by itself"
