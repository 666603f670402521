"""How often a wrong token may be tried: five times at once, then after growing waits.

Counted by address, so that nobody else waits; nothing sleeps. Not here: what is a wrong token
(`sessions.py`), what is answered meanwhile (`gate.py`).
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable
from typing import Any

FREE = 5
FIRST_WAIT, LONGEST_WAIT = 5.0, 60.0
FORGOTTEN_AFTER = 600.0
MOST = 4096
"""Addresses that are kept; beyond them the one that has been quiet for longest is forgotten."""


class Attempts:
    """The failures of each address; `clock` is in seconds and does not go back."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        # How many, when the last one was, and a mark of its token.
        self._failures: OrderedDict[str, tuple[int, float, int]] = OrderedDict()

    def wait(self, peer: Any) -> float:
        """Seconds until this socket's peer may try again; 0 if now.

        Whoever must wait is not looked at, right or wrong: else waiting would slow no guesser.
        """
        count, last, _ = self._failures.get(_place(peer), (0, 0.0, 0))
        if count < FREE:
            return 0.0
        # Bounded before it is raised: of a large count 2.0 ** count would overflow.
        wait = FIRST_WAIT * 2.0 ** min(count - FREE, 10)
        return max(0.0, last + min(wait, LONGEST_WAIT) - self._clock())

    def failed(self, peer: Any, token: str = "") -> None:
        """Note a wrong token. The same again is no other guess: a program that goes on with an old
        token would keep out all others at its address. A right one takes nothing back: somebody
        else may share the address, and would set a guesser free."""
        now, place, mark = self._clock(), _place(peer), hash(token)
        count, last, before = self._failures.get(place, (0, now, 0))
        if count and token and mark == before and now - last <= FORGOTTEN_AFTER:
            return
        self._failures.pop(place, None)
        self._failures[place] = (1 if now - last > FORGOTTEN_AFTER else count + 1, now, mark)
        if len(self._failures) > MOST:
            self._failures.popitem(last=False)


def _place(peer: Any) -> str:
    """What counts as one address: of IPv6 the network of 64 bits that one household has."""
    try:
        address = ipaddress.ip_address(peer[0])
    except (TypeError, ValueError, IndexError):
        return ""
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((int(address), 64), strict=False))
    return str(address)
