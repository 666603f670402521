"""Clients that stand by a user agent or an address, since their process was not found. Pure.

A program may so have two rows: one by its name, one of the calls whose connection was closed before
it was looked up. Not here: the look itself (`callers.py`), what such a row says (`views.py`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ollama_proxy.exchange import Call

_LOOPBACK = ("127.0.0.1", "::1")
_AGENT = re.compile(r"[^\s/()]+/[^\s/()]*")
"""How a user agent begins, such as `curl/8.5.0`; from elsewhere an address stands behind it."""


def unseen(names: Iterable[str], recent: Iterable[Call]) -> dict[str, str | None]:
    """Of the clients by these names those whose process was not found in time (None), or is not to
    be seen: then its user. What calls that ended lately do not show is told of an address alone.
    """
    callers: dict[str, list[dict[str, object] | None]] = {}
    for call in recent:
        callers.setdefault(call.client or "", []).append(call.caller)
    found: dict[str, str | None] = {}
    for name in names:
        if name not in _LOOPBACK and not _AGENT.fullmatch(name):
            continue
        known = callers.get(name, [])
        if None in known or (not known and name in _LOOPBACK):
            found[name] = None
        elif users := [one["user"] for one in known if one and "user" in one and "pid" not in one]:
            found[name] = str(users[0])
    return found
