"""Where a proxy's pages, and so its REST, are: named by an address, or as the settings tell.

Not here: asking (`rest.py`), what the settings are (`config.py`).
"""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import urlsplit

from ollama_proxy.config import Config
from ollama_proxy.rest import ASK_SECONDS, Refused, ask
from ollama_proxy.running import found
from ollama_proxy.storage.errors import StoreError


class NoAddress(Exception):
    """What was named is none: the text says what is expected."""


def named(url: str, config: Config, seconds: float = ASK_SECONDS) -> str:
    """The pages of the proxy that is meant: it may be named by its own port, by its pages' port,
    or by the pages' path. Raises NoAddress, and as `rest.ask` does."""
    url = (url if "://" in url else f"http://{url}").rstrip("/")
    try:
        parts = urlsplit(url)
        wrong = parts.scheme not in ("http", "https") or not parts.hostname or parts.port == 0
    except ValueError:
        wrong = True
    if wrong:
        raise NoAddress(f"{url}: expected http://HOST:PORT")
    if parts.path:
        return url
    try:
        # First by the path: without it, on the proxy's own port, this would be a call to Ollama.
        ask(url + config.admin_path, "status", config.admin.token, seconds=seconds)
    except Refused as refused:
        if refused.lacks_token:
            raise
        return url
    return url + config.admin_path


def here(config: Config) -> str | None:
    """The pages of the proxy in the data folder. Raises StoreError."""
    there = found(config.data_dir)
    return None if there is None or there.run is None else there.run.admin


def likely(config: Config) -> Iterator[str]:
    """Where the pages of this machine's proxy are, the likeliest first: those of the one in the
    data folder, else the addresses that the settings tell, by which others may be found, too."""
    try:
        own = here(config)
    except StoreError:
        own = None  # another user's, or a container's
    if own is not None:
        yield own
        return
    if config.admin_listen is not None:
        yield f"http://{config.admin_listen.reachable}"
    yield f"http://{config.listen.reachable}{config.admin_path}"
