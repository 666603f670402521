"""The settings as options of commands: each that has a flag, and the config file.

Not here: what the settings are (`settings.py`), as words (`flags.py`), which wins (`config.py`).
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeVar

import click

from ollama_proxy.settings import SETTINGS, Setting

Command = TypeVar("Command", bound=Callable[..., Any])

_METAVARS = {
    "listen": "HOST:PORT",
    "upstream": "URL",
    "admin_listen": "HOST:PORT|off",
    "admin_path": "PATH",
    "data_dir": "DIR",
    "log.file": "FILE",
}
_KINDS = {
    "number, 1 or more": "NUMBER",
    "whole number": "NUMBER",
    "seconds": "SECONDS",
    "true or false": "true|false",
    "one of": "MODE",
    "a list": "JSON",
    "a table": "JSON",
}


def settings(
    leave_out: Sequence[str] = (), only: Sequence[str] = ()
) -> Callable[[Command], Command]:
    """Gives a command all settings as options, in `**flags`; see `given`."""

    def decorated(command: Command) -> Command:
        for setting in reversed(SETTINGS):  # the last one that decorates is shown first
            if not setting.has_flag:
                command = _refused(setting)(command)
            elif setting.name not in leave_out and (not only or setting.name in only):
                command = _option(setting)(command)
        return click.option("--config", metavar="FILE", help="A TOML file of settings.")(command)

    return decorated


def given(flags: Mapping[str, Any]) -> dict[str, str]:
    """Of a command's options the settings that were said, by the settings' names."""
    names = {_parameter(setting.name): setting.name for setting in SETTINGS} | {"config": "config"}
    return {names[key]: str(value) for key, value in flags.items() if value is not None}


class Port(click.IntRange):
    """A port's number, in digits that everybody reads the same."""

    def __init__(self) -> None:
        super().__init__(1, 65535)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        if isinstance(value, str) and not (value.isascii() and value.isdigit()):
            self.fail(f"{value!r} is no port: expected a number from 1 to 65535", param, ctx)
        return int(super().convert(value, param, ctx))


def _option(setting: Setting) -> Callable[[Command], Command]:
    default = f" Default: {_told(setting.default)}." if setting.default not in ("", []) else ""
    return click.option(
        setting.flag,
        _parameter(setting.name),
        metavar=_metavar(setting),
        help=setting.help + default,
    )


def _told(default: object) -> str:
    """As a flag says it."""
    return default if isinstance(default, str) else json.dumps(default)


def _refused(setting: Setting) -> Callable[[Command], Command]:
    """A setting that is not to be said on a command line: its value is not repeated."""

    def refuse(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            raise click.UsageError(
                f"{setting.flag}: other users see a command line: set {setting.environment}, or "
                "it in the config file"
            )

    return click.option(setting.flag, hidden=True, expose_value=False, callback=refuse)


def _parameter(name: str) -> str:
    return name.replace(".", "_")


def _metavar(setting: Setting) -> str:
    fitting = (word for part, word in _KINDS.items() if part in setting.kind.right)
    return _METAVARS.get(setting.name) or next(fitting, "TEXT")
