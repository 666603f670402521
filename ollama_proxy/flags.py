"""Settings as a command line says them, by the settings' names.

Pure. Not here: the options of commands (`commands/options.py`), which value wins (`config.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from ollama_proxy.settings import SETTINGS

_FLAGS = {one.name: one.flag for one in SETTINGS if one.has_flag} | {"config": "--config"}


def parted(flags: Mapping[str, str]) -> tuple[dict[str, str], list[str]]:
    """Of flags that another version was started with those that are known, and other names."""
    known = {name: value for name, value in flags.items() if name in _FLAGS}
    return known, [name for name in flags if name not in _FLAGS]


def as_flags(flags: Mapping[str, str]) -> list[str]:
    """The words of a command line; all are to be known."""
    return [part for name, value in flags.items() for part in (_FLAGS[name], value)]


def absolute(said: Mapping[str, str]) -> dict[str, str]:
    """The same with paths as they are seen from everywhere."""
    paths = {name: said[name] for name in ("data_dir", "config", "log.file") if said.get(name)}
    return {**said, **{name: str(Path(p).expanduser().absolute()) for name, p in paths.items()}}
