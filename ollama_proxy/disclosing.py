"""Gathers what `disclosure.py` tells: reads the data folder, the store, the process's sockets.

Also asks a proxy that runs. Not here: the words.
"""

from __future__ import annotations

import json
import stat
import urllib.error
import urllib.request
from pathlib import Path
from typing import Any

from ollama_proxy.config import Config
from ollama_proxy.disclosure import File, disclosed
from ollama_proxy.records import Holdings
from ollama_proxy.sensors.own import own_connections
from ollama_proxy.settings import Address
from ollama_proxy.storage.base import StoreError
from ollama_proxy.storage.sqlite import SqliteStore

ASK_SECONDS = 5.0


def by_running(config: Config, store: SqliteStore) -> dict[str, Any]:
    """What holds in the process that calls this, a running proxy's. Slow: in a thread."""
    return disclosed(
        config,
        holdings=_holdings(store),
        files=_files(config.data_dir, store.path),
        sockets=own_connections(),
    )


def by_config(config: Config, database: Path) -> dict[str, Any]:
    """What a configuration means, and what is on disk, without a proxy."""
    store = SqliteStore(database)
    try:
        store.open_to_read()
        holdings = _holdings(store)
    except StoreError:
        holdings = None
    finally:
        store.close()
    files = _files(config.data_dir, database)
    return disclosed(config, holdings=holdings, files=files, sockets=None)


def asked_of_running(config: Config) -> tuple[str, dict[str, Any]] | None:
    """A running proxy's own word, and where it listens; None if none answers."""
    admin = config.admin_listen
    places = [f"http://{admin}"] if admin is not None else []
    places.append(f"http://{_reachable(config.listen)}{config.admin_path}")
    # Not by way of a proxy that the environment names: this stays on the machine.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    for place in places:
        try:
            with direct.open(f"{place}/api/privacy", timeout=ASK_SECONDS) as answer:
                facts: dict[str, Any] = json.load(answer)
            if "taken_out" in facts:
                return place.removeprefix("http://").partition("/")[0], facts
        except (OSError, ValueError, TypeError):
            continue
    return None


def _reachable(listen: Address) -> Address:
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(listen.host, listen.host)
    return Address(host, listen.port)


def _holdings(store: SqliteStore) -> Holdings | None:
    try:
        return store.holdings()
    except StoreError:
        return None


def _files(folder: Path, database: Path) -> list[File]:
    """The folder, and the database's files in it; those that can be seen."""
    found = []
    for path in (folder, *sorted(folder.glob(database.name + "*"))):
        try:
            status = path.stat()
        except OSError:
            continue
        size = None if stat.S_ISDIR(status.st_mode) else status.st_size
        found.append(File(str(path), size, stat.filemode(status.st_mode)))
    return found
