"""Gathers what `disclosure.py` tells: reads the data folder, the store, the process's sockets.

Also asks a proxy that runs. Not here: the words.
"""

from __future__ import annotations

import stat
from pathlib import Path
from typing import Any

from ollama_proxy.config import Config, ConfigError
from ollama_proxy.disclosure import File, disclosed
from ollama_proxy.records import Holdings
from ollama_proxy.rest import Refused, ask
from ollama_proxy.sensors.own import own_connections
from ollama_proxy.storage.errors import StoreError
from ollama_proxy.storage.sqlite import SqliteStore


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
    """A running proxy's own word, and where it listens; None if none answers.

    Raises ConfigError if one answers that does not take this configuration's token.
    """
    admin = config.admin_listen
    places = [f"http://{admin.reachable}"] if admin is not None else []
    places.append(f"http://{config.listen.reachable}{config.admin_path}")
    for place in places:
        try:
            facts = ask(place, "privacy", config.admin.token)
        except Refused as refused:
            if refused.lacks_token:
                raise ConfigError(f"the proxy at {place} {refused}") from None
            continue
        except (OSError, ValueError):
            continue
        if isinstance(facts, dict) and "taken_out" in facts:
            return place.removeprefix("http://").partition("/")[0], facts
    return None


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
