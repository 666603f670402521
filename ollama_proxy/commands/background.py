"""`start`, `stop` and `restart`: a proxy in the background, one for each data folder.

Not here: what it does there (`serving.py`), how one that runs is found (`running.py`).
"""

from __future__ import annotations

import contextlib
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import click
from msgspec.structs import replace

from ollama_proxy.commands.options import Port, given, settings
from ollama_proxy.commands.saying import USAGE_ERROR, counted, printable, refuse
from ollama_proxy.commands.there import asking, in_force, running_in
from ollama_proxy.config import Config, ConfigError, load, read
from ollama_proxy.flags import absolute, as_flags, parted
from ollama_proxy.handover.giving import TAKE_SECONDS
from ollama_proxy.handover.link import FILE as CONTROL
from ollama_proxy.rest import Refused, ask
from ollama_proxy.running import Found, Run, found
from ollama_proxy.settings import SETTINGS
from ollama_proxy.storage.errors import StoreError
from ollama_proxy.storage.folder import DATABASE, giver, unwritable

LOG = "ollama-proxy.log"
LOG_FILE = next(one.environment for one in SETTINGS if one.name == "log.file")
START_SECONDS = 30.0
"""Within which a proxy answers: reading the statistics of a large database takes some of it."""
WRITE_SECONDS = 15.0
"""That a stop takes beside the time that running calls get."""
SERVICE = (
    "a service of systemd, which would lose sight of another one: restart its unit (systemctl "
    "--user restart ollama-proxy); ollama-proxy config reload has settings read again without a gap"
)
HURRY_SECONDS = 5.0
PAUSE = 0.05


@click.command(short_help="Run it in the background.")
@click.argument("port", required=False, type=Port())
@settings()
def start(port: int | None, **flags: Any) -> int:
    """Run the proxy in the background, at PORT if one is named, and tell where it is once it
    answers. It writes a log into the data folder."""
    said = _said(port, flags)
    there = running_in(asking(flags).data_dir)
    if there is not None:
        print(f"it runs already: {_described(there)}")
        return 0 if there.run is None else _unchanged(port, said, there.run)
    return _started(load(said, os.environ), said)


def _unchanged(port: int | None, said: dict[str, str], run: Run) -> int:
    """Of one that runs: what was said now, and is not so there."""
    if port is not None and urlsplit(run.url).port != port:
        return refuse(f"it does not listen at {port}: ollama-proxy restart {port} moves it", 1)
    if port is not None:
        said = {name: value for name, value in said.items() if name != "listen"}
    here = {name: value for name, value in said.items() if name != "data_dir"}
    if other := {name: value for name, value in here.items() if run.flags.get(name) != value}:
        folder = {"data_dir": said["data_dir"]} if "data_dir" in said else {}
        flags, again = (printable(shlex.join(as_flags(one))) for one in (other, folder | other))
        does = f"ollama-proxy restart {again} applies it"
        if run.service:
            does = f"ollama-proxy stop, then service install {again}, applies it"
        return refuse(f"{flags} was not applied: {does}", 1)
    if "config" in here:
        reads = "ollama-proxy config reload reads it again"
        print(f"what is new in {printable(here['config'])} was not applied: {reads}")
    return 0


@click.command(short_help="End the one in the background.")
@click.option("--now", is_flag=True, help="Do not wait for running calls.")
@settings(only=("data_dir", "timeouts.drain"))
def stop(now: bool, **flags: Any) -> int:
    """End the proxy that runs in the data folder. Running calls may end first, for as long as
    timeouts.drain says."""
    config = asking(flags, "timeouts.drain")
    if _is_given(config.data_dir):
        print("it is being restarted: waiting until that is over", flush=True)
        _until(lambda: not _is_given(config.data_dir), TAKE_SECONDS + WRITE_SECONDS)
    there = running_in(config.data_dir)
    if there is None:
        print(f"it does not run: nothing holds {config.data_dir}")
        return 0
    if not now and "timeouts.drain" not in given(flags):
        drain = _drain(there, config)
        config = replace(config, timeouts=replace(config.timeouts, drain=drain))
    return _stopped(there, config, now)


def _is_given(folder: Path) -> bool:
    try:
        return giver(folder / DATABASE) is not None
    except StoreError:
        return False  # `running_in` says why


def _drain(there: Found, config: Config) -> float:
    """How long running calls may take there: as it says, else as its flags did."""
    for one in in_force(config.data_dir) or ():
        if one.name == "timeouts.drain":
            return float(one.value)
    flags = {} if there.run is None else parted(there.run.flags)[0]
    with contextlib.suppress(ConfigError):  # of a file that is wrong or gone by now
        return read(flags, os.environ, only=("timeouts.drain",)).timeouts.drain
    return config.timeouts.drain


@click.command(short_help="End it and run it anew.")
@click.argument("port", required=False, type=Port())
@settings()
def restart(port: int | None, **flags: Any) -> int:
    """Run the proxy anew in the background: with the flags that it was started with and those that
    are given now, and the environment and the config file as they are now. The new one takes over
    while the old one runs, so that no call is refused; running calls end in the old one. Where the
    new one cannot start, the old one goes on."""
    said = _said(port, flags)
    there = running_in(asking(flags).data_dir)
    if there is None:
        code = _started(load(said, os.environ), said)
        if not code:
            print("None ran here before: it has the flags given now.")
        return code
    if there.run is None:
        return refuse(f"{_described(there)}: try again", 1)
    if there.run.service:
        return refuse(f"process {there.pid} is {SERVICE}", 1)
    known, unknown = parted(there.run.flags)
    said = known | _said(port, flags, known)
    try:
        config = load(said, os.environ)
    except ConfigError as error:
        return refuse(f"{error}; process {there.pid} goes on as it was", USAGE_ERROR)
    for name in unknown:
        print(f"left out: {printable(name)}, which this version does not know", file=sys.stderr)
    if (config.data_dir / CONTROL).exists():
        return _handed_over(there, there.run, config, said)
    print("the proxy that runs cannot hand over: calls are refused until the new one is there")
    return _stopped(there, config, now=False) or _started(config, said)


def _handed_over(there: Found, run: Run, config: Config, said: dict[str, str]) -> int:
    calls = _running_calls(there, config)
    if code := _started(config, said, take_over=True):
        still = running_in(config.data_dir)
        if still is not None and still.pid == there.pid:
            print(f"process {there.pid} goes on as it was, at {run.url}", file=sys.stderr)
        return code
    now = running_in(config.data_dir)
    ends = "has ended"
    if _is_alive(there.pid):
        ends = f"ends once its calls have, within {config.timeouts.drain:g} s"
        ends += f": {counted(calls, 'call ran', 'calls ran')} there" if calls else ""
    print(f"It took over from process {there.pid}, which {ends}")
    if now is not None and now.run is not None and now.run.url != run.url:
        print(f"{run.url} is given up: calls are taken there until that process has ended")
    return 0


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except OSError:
        return False
    return True


def _said(
    port: int | None, flags: dict[str, Any], before: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The settings of the command line; of what was said `before`, a PORT keeps the host."""
    said = absolute(given(flags))
    if port is not None:
        if "listen" in said:
            raise click.UsageError("PORT and --listen both say where to listen: name one")
        host = load({**(before or {}), **said}, os.environ).listen.host
        said["listen"] = f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
    return said


def _started(config: Config, said: dict[str, str], take_over: bool = False) -> int:
    folder = config.data_dir.absolute()
    log = (config.log.file or folder / LOG).absolute()
    said = {"data_dir": str(folder), **said}
    # As no flag: a restart keeps those, and is to follow the config file.
    environ = os.environ if "log.file" in said else {**os.environ, LOG_FILE: str(log)}
    program = [sys.executable, "-m", "ollama_proxy", "serve", *as_flags(said)]
    program += ["--take-over"] if take_over else []
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        word = tempfile.TemporaryFile(dir=folder, buffering=0)  # noqa: SIM115 - of this start alone
    except OSError as error:
        return refuse(str(unwritable(folder / DATABASE, error)), 1)
    with word:
        process = subprocess.Popen(
            program,
            stdin=subprocess.DEVNULL,
            stdout=word,
            stderr=word,
            start_new_session=True,
            cwd="/",
            env=environ,
        )
        return _told(process, word.fileno(), folder, log)


def _told(process: subprocess.Popen[bytes], word: int, folder: Path, log: Path) -> int:
    """Wait until a new process serves, and tell what it says: where it is, or why nowhere."""

    def said() -> str:
        return os.pread(word, 1 << 16, 0).decode(
            errors="replace"
        )  # its place to write is ours, too

    def serves() -> bool:
        # That it says so is enough: the next one may have taken over from it by now.
        return "export OLLAMA_HOST=" in said() or _answers(folder, process.pid)

    there = _until(lambda: serves() or process.poll() is not None)
    if not serves() and process.poll() is not None:
        sys.stderr.write(said() or f"ollama-proxy: it ended at once: {_why(folder, log)}\n")
        # Another code is none of ours: a signal's, or Python's own for an output it cannot write.
        return USAGE_ERROR if process.returncode == USAGE_ERROR else 1
    if not there:
        process.terminate()
        if not _until(lambda: process.poll() is not None, HURRY_SECONDS):
            process.kill()
        return refuse(f"no answer within {START_SECONDS:.0f} s, ended it again: see {log}", 1)
    print(said().rstrip("\n"))
    print(f"\nIt runs in the background as process {process.pid}; its log is {log}")
    return 0


def _why(folder: Path, log: Path) -> str:
    """Of a process that could not say it."""
    if not shutil.disk_usage(folder).free:
        return f"the disk of {folder} is full: free some space"
    return f"{log} says why"


def _answers(folder: Path, pid: int) -> bool:
    try:
        there = found(folder)
    except StoreError:
        return False  # while one takes over from another
    if there is None or there.run is None or there.pid != pid:
        return False
    try:
        ask(there.run.admin, "status")
    except Refused:
        return True  # it asks for a token
    except (OSError, ValueError):
        return False
    return True


def _stopped(there: Found, config: Config, now: bool) -> int:
    calls = _running_calls(there, config)
    try:
        os.kill(there.pid, signal.SIGTERM)
        if now:
            time.sleep(PAUSE)
            os.kill(there.pid, signal.SIGTERM)
        elif calls and config.timeouts.drain:
            wait = f"{config.timeouts.drain:g} s"
            waiting = f"{counted(calls, 'call runs', 'calls run')}: waiting for {wait} at the most"
            print(waiting, flush=True)
        seconds = WRITE_SECONDS + (0.0 if now else config.timeouts.drain)
        if not _until(lambda: not _holds(there, config), seconds):
            os.kill(there.pid, signal.SIGTERM)
            if not _until(lambda: not _holds(there, config), HURRY_SECONDS):
                os.kill(there.pid, signal.SIGKILL)
                _until(lambda: not _holds(there, config), HURRY_SECONDS)
                return refuse(
                    f"process {there.pid} did not end by itself and was killed: calls that ran are "
                    "recorded as interrupted at the next start",
                    1,
                )
    except ProcessLookupError:
        pass  # it ended meanwhile
    except PermissionError:
        return refuse(f"process {there.pid} belongs to another user: ask that one to end it", 1)
    print(f"stopped: process {there.pid}")
    return 0


def _holds(there: Found, config: Config) -> bool:
    try:
        now = found(config.data_dir)
    except StoreError:
        return _is_alive(there.pid)
    return now is not None and now.pid == there.pid


def _running_calls(there: Found, config: Config) -> int:
    """How many it has on their way; 0 where it does not say."""
    if there.run is None:
        return 0
    try:
        return int(ask(there.run.admin, "status", config.admin.token)["active_requests"])
    except (OSError, Refused, ValueError, KeyError, TypeError):
        return 0


def _described(there: Found) -> str:
    if there.run is None:
        return f"process {there.pid}, which is just starting or stopping"
    return f"process {there.pid}, at {there.run.url}, its pages at {there.run.admin}/"


def _until(true: Callable[[], object], seconds: float = START_SECONDS) -> bool:
    end = time.monotonic() + seconds
    while not true():
        if time.monotonic() >= end:
            return False
        time.sleep(PAUSE)
    return True
