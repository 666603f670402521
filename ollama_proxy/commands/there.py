"""The proxy that runs in a data folder, as commands ask for it. Not here: how it is found
(`running.py`)."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

import click

from ollama_proxy.commands.options import given
from ollama_proxy.commands.saying import refuse
from ollama_proxy.config import Config, Effective, load, read
from ollama_proxy.flags import parted
from ollama_proxy.handover.link import Refusal, Show, Shown, connect
from ollama_proxy.running import Found, found
from ollama_proxy.storage.errors import StoreError

SHOW_SECONDS = 3.0


class Untold(click.ClickException):
    """It cannot be asked for, and why: ends the command."""

    exit_code = 1

    def show(self, file: IO[Any] | None = None) -> None:
        refuse(self.message, self.exit_code)


def asking(flags: Mapping[str, Any], *names: str) -> Config:
    """The settings of a command that only asks, or ends, a proxy: its folder, its token, and those
    of these `names`. What else is wrong with settings is nothing to it. Raises ConfigError."""
    return read(given(flags), os.environ, only=("data_dir", "admin.token", *names))


def in_force(folder: Path) -> list[Effective] | None:
    """The settings of the proxy that runs in this folder, as it says; None where it does not."""
    with contextlib.suppress(OSError, Refusal), contextlib.closing(connect(folder)) as link:
        link.limit(SHOW_SECONDS)
        return link.ask(Show(), Shown).settings
    return None


def running_in(folder: Path) -> Found | None:
    """Raises Untold."""
    try:
        return found(folder)
    except StoreError as error:
        raise Untold(str(error)) from error


def looked(said: dict[str, str]) -> tuple[Config, Found | None]:
    """The settings with the flags of the proxy that runs in their data folder, and that proxy;
    those of nobody where none does. Raises ConfigError, Untold."""
    folder = read(said, os.environ, only=("data_dir",)).data_dir
    there = running_in(folder)
    if there is None or there.run is None:
        return load(said, os.environ), there
    known, _ = parted(there.run.flags)
    return read(known | said | {"data_dir": str(folder)}, os.environ), there


def as_it_runs(said: dict[str, str]) -> Config:
    """The same settings for who only shows them: whose they are is said on standard error. Raises
    ConfigError."""
    try:
        config, there = looked(said)
    except Untold as error:
        print(f"warning: whether a proxy runs cannot be told: {error.message}", file=sys.stderr)
        return load(said, os.environ)
    if there is not None and there.run is not None:
        print(f"process {there.pid} runs here: with the flags it was given", file=sys.stderr)
    return config
