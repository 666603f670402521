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

from ollama_proxy.config import Config, ConfigError
from ollama_proxy.disclosure import File, disclosed
from ollama_proxy.headers import CHALLENGE
from ollama_proxy.records import Holdings
from ollama_proxy.sensors.own import own_connections
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
    """A running proxy's own word, and where it listens; None if none answers.

    Raises ConfigError if one answers that does not take this configuration's token.
    """
    admin = config.admin_listen
    places = [f"http://{admin.reachable}"] if admin is not None else []
    places.append(f"http://{config.listen.reachable}{config.admin_path}")
    for place in places:
        try:
            facts = _asked(place, config.admin.token)
        except urllib.error.HTTPError as error:
            if _asks_for_token(error):
                raise ConfigError(f"the proxy at {place} {_missing(error)}") from None
            continue
        except (OSError, ValueError):
            continue
        if isinstance(facts, dict) and "taken_out" in facts:
            return place.removeprefix("http://").partition("/")[0], facts
    return None


def _asked(place: str, token: str | None) -> Any:
    """Raises OSError and ValueError. The token is said to nobody but a proxy that asks for it, as
    the port may be another program's, and not to where a redirection leads."""
    # Not by way of a proxy that the environment names: this stays on the machine.
    direct = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    request = urllib.request.Request(f"{place}/api/privacy")
    try:
        with direct.open(request, timeout=ASK_SECONDS) as answer:
            return json.load(answer)
    except urllib.error.HTTPError as error:
        if token is None or not _asks_for_token(error):
            raise
    request.add_unredirected_header("Authorization", f"Bearer {token}")
    with direct.open(request, timeout=ASK_SECONDS) as answer:
        return json.load(answer)


def _asks_for_token(error: urllib.error.HTTPError) -> bool:
    return error.code in (401, 429) and error.headers.get("WWW-Authenticate") == CHALLENGE


def _missing(error: urllib.error.HTTPError) -> str:
    if error.code == 429:
        wait = error.headers["Retry-After"]
        return f"was told too many wrong tokens from here: try again in {wait} s"
    return (
        "asks for its token: set admin.token (environment OLLAMA_PROXY_ADMIN_TOKEN, or the config "
        "file) as it was when that one started"
    )


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
