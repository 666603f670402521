"""The proxy that runs in a data folder, as commands ask for it. Not here: how it is found
(`running.py`)."""

from __future__ import annotations

from pathlib import Path
from typing import IO, Any

import click

from ollama_proxy.commands.saying import refuse
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
