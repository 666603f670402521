"""`test`: does this installation work; each part with a tick, or a cause and a remedy.

Not here: the checks (`selfcheck/`).
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Iterator
from typing import Any

import click
import msgspec

from ollama_proxy.commands.options import given, settings
from ollama_proxy.config import Config, ConfigError, effective, load, misspelt, read
from ollama_proxy.running import Found, found
from ollama_proxy.selfcheck import asking, check, machine
from ollama_proxy.selfcheck.check import Check, ok, warning, wrong
from ollama_proxy.settings import UPSTREAM, Address
from ollama_proxy.storage.errors import StoreError


@click.command(short_help="Check the installation.")
@click.option("--call", "model", metavar="MODEL", help="Also make one call of one token.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@settings()
def test(model: str | None, as_json: bool, **flags: Any) -> int:
    """Check settings, ports, Ollama, the store and its files, the proxy that runs in the data
    folder, and where the programs of this shell go. Each line says what is so, or what is wrong and
    what to do. With --call MODEL a real call is made through the proxy, and its record looked for.

    Exits with 1 if something is wrong; what is marked with ! does not count."""
    checks = list(_checks(given(flags), model))
    right = all(one.state != check.WRONG for one in checks)
    if as_json:
        print(json.dumps({"ok": right, "checks": [msgspec.to_builtins(one) for one in checks]}))
    else:
        print(check.told(checks, sys.stdout.encoding))
    return 0 if right else 1


def _checks(said: dict[str, str], model: str | None) -> Iterator[Check]:
    try:
        there = found(read(said, os.environ, only=("data_dir",)).data_dir)
        if there is not None and there.run is not None:
            config = read(there.run.flags | said, os.environ)
        else:
            config = load(said, os.environ)
    except ConfigError as error:
        yield wrong("settings", str(error))
        return
    except StoreError as error:
        yield wrong("folder", str(error))
        return
    yield from _settings(config)
    yield from asking.ollama(config)
    yield from asking.proxy(config, there)
    if there is None:
        yield from machine.ports(config)
    yield from machine.reach(config)
    yield from machine.data_folder(config)
    yield from machine.token(config)
    yield check.clients_side(
        os.environ.get("OLLAMA_HOST"), _address(config, there), config.upstream
    )
    yield machine.lookup(config)
    yield machine.gpu()
    if model is not None:
        if sys.stderr.isatty():  # to load a large model takes minutes
            print(f"calling {model} …", file=sys.stderr)
        yield asking.call(config, there, model)


def _settings(config: Config) -> Iterator[Check]:
    for line in misspelt(os.environ):
        yield warning("settings", line)
    values = effective(config)
    changed = sum(one.source != "default" for one in values)
    yield ok("settings", f"right: {changed} of {len(values)} settings changed from their defaults")


def _address(config: Config, there: Found | None) -> Address:
    """Where the proxy is, or will be."""
    if there is None or there.run is None:
        return config.listen
    url = UPSTREAM.parse(there.run.url)
    return Address(url.host, url.port)
