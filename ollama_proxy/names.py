"""Who a client says it is: by a path in its OLLAMA_HOST, a header, or its API key. Pure.

The strongest name wins, in that order; without any the program behind the connection, or the user
agent, stands in (`exchange.py`). Keys are never kept: the configuration holds their hashes. Not
here: who holds the other end of a connection.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Callable, Mapping
from functools import lru_cache

import msgspec

from ollama_proxy.headers import client_name
from ollama_proxy.observers.secrets import SHIPPED

APP = b"/app/"
"""`OLLAMA_HOST=http://127.0.0.1:11435/app/NAME`: Ollama has no such route, so nothing is hidden."""

NAME_LIMIT = 64
# Not `.` and `..`: those are steps in a path.
_APP = re.compile(rb"%b(?!\.\.?[/?]|\.\.?\Z)([A-Za-z0-9._~-]{1,%d})(?=[/?]|\Z)" % (APP, NAME_LIMIT))


class Naming(msgspec.Struct, frozen=True):
    """The rules. `header`: the name of the header to believe, in any case, or empty. `keys`: an API
    key's SHA-256 in hex → the name of who uses it."""

    header: str = ""
    keys: Mapping[str, str] = {}

    def name_of(self, header: Callable[[bytes], str]) -> str | None:
        """The name that a request gives; `header` tells the value of one by its lower-case name."""
        if self.header and (said := shown(header(self.header.lower().encode()))):
            return said
        if self.keys:
            scheme, _, key = header(b"authorization").partition(" ")
            if scheme.lower() != "bearer":
                key = header(b"x-api-key")
            return self.keys.get(hashlib.sha256(key.strip().encode("utf-8", "replace")).hexdigest())
        return None


@lru_cache(maxsize=256)
def by_agent(agent: str, address: str) -> str:
    """The name that a user agent gives, or the address where what looks like a key, a mail address
    or a card's number stands in that."""
    hides = any(finder.search(agent) for finder in SHIPPED.values())
    return client_name("" if hides else agent, address)


def split_app(target: bytes) -> tuple[str | None, bytes]:
    """The name in a request's target, and the target as it goes upstream: `/app/bot/api/chat`
    is `bot` and `/api/chat`. Any other target stays the same bytes."""
    found = _APP.match(target) if target.startswith(APP) else None
    if found is None:
        return None, target
    rest = target[found.end() :]
    return found[1].decode(), rest if rest.startswith(b"/") else b"/" + rest


def shown(name: str) -> str:
    """A name as it may be stored and shown: no control characters, bounded."""
    return "".join(c for c in name if c.isprintable())[:NAME_LIMIT].strip()
