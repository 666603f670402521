"""The settings as options of commands: each that has a flag, and the config file.

Not here: what the settings are (`settings.py`), which value wins (`config.py`).
"""

from __future__ import annotations

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
        options = [click.Option(["--config"], metavar="FILE", help="A TOML file of settings.")]
        for setting in SETTINGS:
            if not setting.has_flag:
                options.append(_refused(setting))
            elif setting.name not in leave_out and (not only or setting.name in only):
                options.append(_option(setting))
        # click's own decorators leave options here, the last one first.
        known = getattr(command, "__click_params__", [])
        command.__click_params__ = [*reversed(options), *known]  # type: ignore[attr-defined]
        return command

    return decorated


def given(flags: Mapping[str, Any]) -> dict[str, str]:
    """Of a command's options the settings that were said, by the settings' names."""
    names = {_parameter(setting.name): setting.name for setting in SETTINGS} | {"config": "config"}
    return {names[key]: str(value) for key, value in flags.items() if value is not None}


def as_flags(flags: Mapping[str, str]) -> list[str]:
    """The settings as a command line says them."""
    known = {setting.name: setting.flag for setting in SETTINGS} | {"config": "--config"}
    return [part for name, value in flags.items() for part in (known[name], value)]


def _option(setting: Setting) -> click.Option:
    default = f" Default: {setting.default}." if setting.default not in ("", []) else ""
    return click.Option(
        [setting.flag, _parameter(setting.name)],
        metavar=_metavar(setting),
        help=setting.help + default,
    )


def _refused(setting: Setting) -> click.Option:
    """A setting that is not to be said on a command line: its value is not repeated."""

    def refuse(context: click.Context, parameter: click.Parameter, value: str | None) -> None:
        if value is not None:
            raise click.UsageError(
                f"{setting.flag}: other users see a command line: set {setting.environment}, or "
                "it in the config file"
            )

    return click.Option([setting.flag], hidden=True, expose_value=False, callback=refuse)


def _parameter(name: str) -> str:
    return name.replace(".", "_")


def _metavar(setting: Setting) -> str:
    fitting = (word for part, word in _KINDS.items() if part in setting.kind.right)
    return _METAVARS.get(setting.name) or next(fitting, "TEXT")
