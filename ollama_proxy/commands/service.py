"""`service install` and `service uninstall`: the proxy as a service of the user's.

Not here: the service's texts (`service.py` above this).
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import click

from ollama_proxy.commands.options import given, settings
from ollama_proxy.commands.saying import refuse
from ollama_proxy.commands.there import running_in
from ollama_proxy.config import CONFIG_ENVIRONMENT, Config, load
from ollama_proxy.flags import absolute, as_flags
from ollama_proxy.service import UNIT, Service, for_launchd, for_systemd
from ollama_proxy.settings import SETTINGS

MACOS = sys.platform == "darwin"


@click.group(short_help="Have the system run it: systemd, launchd.")
def service() -> None:
    """Have the system run the proxy, as a service of this user."""


@service.command(short_help="Run it from now on, and at each login.")
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@settings()
def install(dry_run: bool, **flags: Any) -> int:
    """Write a unit for systemd's user manager (on macOS an agent for launchd) that runs the proxy
    with these flags, and start it. Settings of this shell's environment are not taken over: they
    belong into flags, or into the config file."""
    said = _said(given(flags), os.environ)
    config = load(said, {})
    ours = _service(config, said)
    for name in _left_out(os.environ):
        print(f"warning: {name} is not taken over: put it into the config file", file=sys.stderr)
    if dry_run:
        print(f"would write {ours.file}:\n\n{ours.text}")
        print("would run\n" + "\n".join(f"  {shlex.join(command)}" for command in ours.install))
        return 0
    if not _managed():
        return _without(said)
    there = running_in(config.data_dir)
    if there is not None and there.pid != _main_pid():
        return refuse(
            f"process {there.pid} runs in {config.data_dir} already: ollama-proxy stop ends it, "
            "then install the service",
            1,
        )
    try:
        config.data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
        ours.file.parent.mkdir(parents=True, exist_ok=True)
        ours.file.write_text(ours.text)
    except OSError as error:
        return refuse(f"cannot write {error.filename}: {error.strerror}: make it writable", 1)
    if MACOS:
        _run(ours.uninstall[0])  # an older one; there may be none
    for command in ours.install:
        if why := _run(command):
            return refuse(f"{shlex.join(command)}: {why} ({ours.log} may say why)", 1)
    print(f"installed {ours.file}, and it runs; its log: {ours.log}\n{ours.more}")
    return 0


@service.command(short_help="Run it no more.")
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
def uninstall(dry_run: bool) -> int:
    """End the service and remove its file. What was recorded stays."""
    config = load({}, {})
    ours = _service(config, {})
    if not ours.file.exists():
        print(f"not installed: {ours.file} does not exist")
        return 0
    if dry_run:
        commands = [*ours.uninstall, ["rm", str(ours.file)], *ours.removed]
        print("would run\n" + "\n".join(f"  {shlex.join(command)}" for command in commands))
        return 0
    if not _managed():
        return refuse(f"nobody answers who could end it: remove {ours.file} by hand", 1)
    for command in ours.uninstall:
        if why := _run(command):
            return refuse(f"{shlex.join(command)}: {why}", 1)
    try:
        ours.file.unlink()
    except OSError as error:
        return refuse(f"cannot remove {ours.file}: {error.strerror}: remove it by hand", 1)
    for command in ours.removed:
        _run(command)
    print(f"uninstalled: {ours.file} is removed; what was recorded stays")
    return 0


def _said(said: dict[str, str], environ: Mapping[str, str]) -> dict[str, str]:
    """The flags of the service: paths as they are seen from everywhere, the folder named, as the
    manager may have another environment."""
    if "config" not in said and environ.get(CONFIG_ENVIRONMENT):
        said["config"] = environ[CONFIG_ENVIRONMENT]
    said["data_dir"] = str(load(said, {}).data_dir)
    if MACOS and "log.file" not in said:
        said["log.file"] = str(Path(said["data_dir"]) / "ollama-proxy.log")
    return absolute(said)


def _left_out(environ: Mapping[str, str]) -> list[str]:
    return [one.environment for one in SETTINGS if environ.get(one.environment)]


def _service(config: Config, said: Mapping[str, str]) -> Service:
    program = [sys.executable, "-m", "ollama_proxy", "serve", *as_flags(said)]
    if MACOS:
        agents = Path.home() / "Library/LaunchAgents"
        return for_launchd(program, os.getuid(), agents, config.data_dir / "start.out")
    home = os.environ.get("XDG_CONFIG_HOME") or Path.home() / ".config"
    return for_systemd(program, config.timeouts.drain, Path(home) / "systemd/user")


def _managed() -> bool:
    """Whether somebody is there to run services of this user."""
    return MACOS or (
        shutil.which("systemctl") is not None
        and not _run(["systemctl", "--user", "show-environment"])
    )


def _main_pid() -> int:
    """The process of the installed service; 0 if it does not run."""
    if MACOS:
        return 0
    command = ["systemctl", "--user", "show", "--property=MainPID", "--value", UNIT]
    told = subprocess.run(
        command, capture_output=True, text=True, errors="replace", check=False
    ).stdout.strip()
    return int(told) if told.isdecimal() else 0


def _run(command: Sequence[str]) -> str:
    """Why it failed; empty if it did not."""
    try:
        done = subprocess.run(
            command, capture_output=True, text=True, errors="replace", check=False
        )
    except OSError as error:
        return error.strerror or "cannot be run"
    if done.returncode == 0:
        return ""
    return " ".join(done.stderr.split()) or f"exit code {done.returncode}"


def _without(said: Mapping[str, str]) -> int:
    """Nobody is there who runs services of this user: what can be done instead."""
    program = [sys.executable, "-m", "ollama_proxy"]
    start = shlex.join([*program, "start", *as_flags(said)])
    serve = shlex.join([*program, "serve", *as_flags(said)])
    print("Whatever starts programs here can run the proxy, as this user:")
    print(f"  in the foreground   {serve}")
    print(f"  in the background   {start}")
    print("\nWith cron: crontab -e, and the line")
    print(f"  @reboot {start.replace('%', chr(92) + '%')}")
    return refuse("no systemd user manager answers here: nothing was installed", 1)
