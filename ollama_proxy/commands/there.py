"""The proxy that runs in a data folder, as commands ask for it. Not here: how it is found
(`running.py`)."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import IO, Any

import click

from ollama_proxy.commands.options import parted
from ollama_proxy.commands.saying import refuse
from ollama_proxy.config import Config, load
from ollama_proxy.running import Found, found
from ollama_proxy.storage.base import StoreError


class Untold(click.ClickException):
    """It cannot be asked for, and why: ends the command."""

    exit_code = 1

    def show(self, file: IO[Any] | None = None) -> None:
        refuse(self.message, self.exit_code)


def running_in(folder: Path) -> Found | None:
    """Raises Untold."""
    try:
        return found(folder)
    except StoreError as error:
        raise Untold(str(error)) from error


def as_it_runs(said: dict[str, str]) -> Config:
    """The settings with the flags of the proxy that runs in their data folder, which is said on
    standard error; those of nobody where none does. Raises ConfigError."""
    config = load(said, os.environ)
    try:
        there = found(config.data_dir)
    except StoreError as error:
        print(f"warning: whether a proxy runs cannot be told: {error}", file=sys.stderr)
        return config
    if there is not None and there.run is not None:
        known, _ = parted(there.run.flags)
        print(f"process {there.pid} runs here: with the flags it was given", file=sys.stderr)
        return load(known | said | {"data_dir": str(config.data_dir)}, os.environ)
    return config
