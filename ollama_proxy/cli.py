"""The commands: `serve`, `demo`, `export`, `privacy`. Reads flags, tells, handles signals.

Not here: what the program does (`app.py`), what a setting means (`config.py`).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, TypeAlias

from ollama_proxy import __version__
from ollama_proxy.admin.query import FILTERS, NO_LIMIT, ParameterError, parse_filter
from ollama_proxy.app import DATABASE, App
from ollama_proxy.config import Config, ConfigError, load, misspelt
from ollama_proxy.demo import sample_programs, simulated_ollama
from ollama_proxy.disclosing import asked_of_running, by_config
from ollama_proxy.disclosure import told
from ollama_proxy.export import FORMATS
from ollama_proxy.exporting import export, opened
from ollama_proxy.garbage import Garbage
from ollama_proxy.listening import StartError, allow_many_files
from ollama_proxy.logs import OneLine, where
from ollama_proxy.records import UpstreamHealth
from ollama_proxy.settings import SETTINGS, Address, Setting
from ollama_proxy.storage.base import StoreError

log = logging.getLogger(__name__)

Commands: TypeAlias = "argparse._SubParsersAction[argparse.ArgumentParser]"
USAGE_ERROR = 2
"""The exit code of a wrong setting, as argparse's own for a wrong flag."""


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command; returns the exit code."""
    parser = _parser()
    options = parser.parse_args(arguments)
    if options.command is None:
        parser.print_help()
        return USAGE_ERROR
    try:
        return int(options.run(options))
    except ConfigError as error:
        return refuse(str(error), USAGE_ERROR)
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        # The reader of our output left, as `| head` does: not an error of ours.
        _leave_output()
        return 141


def _leave_output() -> None:
    """What is left of the output goes nowhere, so that the end of the program does not fail."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="ollama-proxy",
        description="A transparent proxy in front of Ollama that records every call.",
        allow_abbrev=False,
    )
    parser.add_argument("--version", action="version", version=f"ollama-proxy {__version__}")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    serve = commands.add_parser(
        "serve",
        help="forward and record every call",
        description="Forward every call to Ollama, and record it. Settings also come from the "
        "environment (OLLAMA_PROXY_...) and from a TOML file; flags win.",
        allow_abbrev=False,
    )
    _add_flags(serve)
    serve.set_defaults(run=_serve)
    demo = commands.add_parser(
        "demo",
        help="show it all without an Ollama",
        description="Start the proxy in front of the built-in simulator, with sample programs "
        "calling it. The simulator's text is made up; nothing is kept after the end.",
        allow_abbrev=False,
    )
    _add_flags(demo, leave_out=("upstream", "data_dir"))
    demo.set_defaults(run=_demo)
    _add_export(commands)
    _add_privacy(commands)
    return parser


def _add_export(commands: Commands) -> None:
    export = commands.add_parser(
        "export",
        help="write recorded calls as CSV or lines of JSON",
        description="Write recorded calls, the newest first, from the database in the data "
        "folder; a proxy that uses it may go on meanwhile.",
        allow_abbrev=False,
    )
    export.add_argument("--format", choices=list(FORMATS), default="csv", help="Default: csv.")
    export.add_argument("--output", metavar="FILE", help="Default: standard output.")
    export.add_argument("--force", action="store_true", help="Overwrite the file.")
    for name, what in FILTERS.items():
        flag = f"--{name.replace('_', '-')}"
        export.add_argument(flag, dest=f"only.{name}", metavar="VALUE", help=what)
    _add_flags(export, leave_out=[one.name for one in SETTINGS if one.name != "data_dir"])
    export.set_defaults(run=_export)


def _add_privacy(commands: Commands) -> None:
    privacy = commands.add_parser(
        "privacy",
        help="tell what is stored of calls, where, by which rule",
        description="Tell what is stored of calls, where and by which rule, and what is open to "
        "the network: as a running proxy says, or without one by this configuration.",
        allow_abbrev=False,
    )
    privacy.add_argument("--json", action="store_true", help="As one JSON object.")
    _add_flags(privacy)
    privacy.set_defaults(run=_privacy)


def _add_flags(parser: argparse.ArgumentParser, leave_out: Sequence[str] = ()) -> None:
    for setting in SETTINGS:
        if not setting.has_flag:
            parser.add_argument(setting.flag, action=_NotHere, help=argparse.SUPPRESS)
        elif setting.name not in leave_out:
            default = f" Default: {setting.default}." if setting.default not in ("", []) else ""
            parser.add_argument(
                setting.flag,
                dest=setting.name,
                metavar=_metavar(setting),
                help=(setting.help + default).replace("%", "%%"),
            )
    parser.add_argument("--config", dest="config", metavar="FILE", help="A TOML file of settings.")


class _NotHere(argparse.Action):
    """A setting that is not to be said on a command line: refused without repeating its value."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object, **__: object) -> None:
        name = next(one.environment for one in SETTINGS if one.flag in self.option_strings)
        parser.error(
            f"{self.option_strings[0]}: other users see a command line: set {name}, or it in the "
            "config file"
        )


def _metavar(setting: Setting) -> str:
    known = {
        "listen": "HOST:PORT",
        "upstream": "URL",
        "admin_listen": "HOST:PORT|off",
        "admin_path": "PATH",
        "data_dir": "DIR",
    }
    kinds = {
        "number, 1 or more": "NUMBER",
        "whole number": "NUMBER",
        "seconds": "SECONDS",
        "true or false": "true|false",
        "one of": "MODE",
        "a list": "JSON",
        "a table": "JSON",
    }
    fitting = (word for part, word in kinds.items() if part in setting.kind.right)
    return known.get(setting.name) or next(fitting, "TEXT")


def _flags(options: argparse.Namespace) -> dict[str, str]:
    names = [*(setting.name for setting in SETTINGS), "config"]
    given = {name: getattr(options, name, None) for name in names}
    return {name: value for name, value in given.items() if value is not None}


def _serve(options: argparse.Namespace) -> int:
    config = load(_flags(options), os.environ)
    _log_to_stderr()
    for line in misspelt(os.environ):
        log.warning("%s", line)
    return _run(_served(config))


def _demo(options: argparse.Namespace) -> int:
    _log_to_stderr()
    with tempfile.TemporaryDirectory(prefix="ollama-proxy-demo-") as folder:
        return _run(_demonstrated(_flags(options), folder))


def _export(options: argparse.Namespace) -> int:
    """A reader of our output that left, as `| head` does, has all that it wanted."""
    given = {name: getattr(options, f"only.{name}") for name in FILTERS}
    asked = {name: value for name, value in given.items() if value is not None}
    try:
        wanted = parse_filter(asked, time.time(), limit=NO_LIMIT, most=NO_LIMIT)
        database = load(_flags(options), os.environ).data_dir / DATABASE
        with opened(options.output, options.force) as out:
            count = export(database, wanted, FORMATS[options.format], out)
    except ParameterError as error:
        return refuse(str(error), USAGE_ERROR)
    except StoreError as error:
        return refuse(str(error), 1)
    except BrokenPipeError:
        _leave_output()
        return 0
    except FileExistsError:
        return refuse(f"{options.output} exists: --force overwrites it", 1)
    except OSError as error:
        return refuse(f"cannot write {options.output or 'the output'}: {error.strerror}", 1)
    print(f"exported {count} {'call' if count == 1 else 'calls'}", file=sys.stderr)
    return 0


def _privacy(options: argparse.Namespace) -> int:
    config = load(_flags(options), os.environ)
    said = asked_of_running(config)
    running, facts = said or (None, by_config(config, config.data_dir / DATABASE))
    print(json.dumps(facts, indent=2) if options.json else told(facts, running))
    return 0


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
    config: Config, beside: Callable[[str], AbstractContextManager[None]] | None = None
) -> int:
    """Serve until a signal says to stop; a second one ends running calls at once.

    `beside` is entered with the proxy's URL once it serves, and left before it stops.
    """
    allow_many_files()
    app = App(config)
    stop, hurry = asyncio.Event(), asyncio.Event()
    loop = asyncio.get_running_loop()
    loop.set_exception_handler(_tell_fault)
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, lambda: (hurry if stop.is_set() else stop).set())
    try:
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
    print(_welcome(app, config, health), flush=True)
    with beside(f"http://{_own_address(app, config)}") if beside else nullcontext():
        await stop.wait()
    await _stopped(app, hurry)
    return 0


async def _stopped(app: App, hurry: asyncio.Event) -> None:
    if app.running and app.config.timeouts.drain:
        calls = "1 running call" if app.running == 1 else f"{app.running} running calls"
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


def refuse(message: str, code: int) -> int:
    """Say on standard error, in one line, why nothing happens; returns the exit code."""
    print(f"ollama-proxy: {message}", file=sys.stderr)
    return code


def _log_to_stderr() -> None:
    handler = logging.StreamHandler()
    handler.setFormatter(OneLine("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler])
