"""`config show` and `config check`: what is in force, and whether it is right.

Not here: what a setting means (`config.py` above this).
"""

from __future__ import annotations

import json
import os
from typing import Any

import click
import msgspec

from ollama_proxy.commands.options import given, settings
from ollama_proxy.commands.saying import counted
from ollama_proxy.config import effective, load, misspelt


@click.group(short_help="Show the settings, or check them.")
def config() -> None:
    """The settings: flags, then the environment, then the file, then the defaults."""


@config.command(short_help="Show what is in force, and from where.")
@click.option("--json", "as_json", is_flag=True, help="As a list of JSON objects.")
@settings()
def show(as_json: bool, **flags: Any) -> int:
    """Show each setting's value, and where it came from; keys and tokens are not shown."""
    found = effective(load(given(flags), os.environ))
    if as_json:
        print(json.dumps([msgspec.structs.asdict(one) for one in found], indent=2))
        return 0
    names = max(len(one.name) for one in found)
    values = min(max(len(one.value) for one in found), 40)
    for one in found:
        print(f"{one.name:{names}}  {one.value or '(empty)':{values}}  {one.source}")
    return 0


@config.command(short_help="Say whether the settings are right.")
@settings()
def check(**flags: Any) -> int:
    """Say whether the proxy would start with these settings: what is wrong is named, with what
    would be right."""
    found = effective(load(given(flags), os.environ))
    for line in misspelt(os.environ):
        print(f"warning: {line}")
    changed = sum(one.source != "default" for one in found)
    print(f"right: {counted(changed, 'setting', 'settings')} of {len(found)} not by default")
    return 0
