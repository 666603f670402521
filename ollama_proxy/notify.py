"""Tells systemd how the service is: ready, alive, stopping (sd_notify(3)); by its socket alone.

Where nobody asked to be told (`NOTIFY_SOCKET`), and where telling fails, nothing happens. Not here:
the unit (`service.py`).
"""

from __future__ import annotations

import contextlib
import os
import socket
from collections.abc import Iterator, Mapping

from ollama_proxy.ticker import Ticker


class Notifier:
    """What `environ` says of who wants to know. `watchdog`: seconds within which a sign of life is
    wanted, or None."""

    def __init__(self, environ: Mapping[str, str]) -> None:
        self._address = environ.get("NOTIFY_SOCKET", "")
        ours = environ.get("WATCHDOG_PID", str(os.getpid())) == str(os.getpid())
        within = environ.get("WATCHDOG_USEC", "")
        self.watchdog = int(within) / 1e6 if ours and within.isdecimal() and int(within) else None

    @contextlib.contextmanager
    def ready(self) -> Iterator[None]:
        """It serves from now on. Meanwhile the event loop gives its signs of life, twice as often
        as is asked for: one that hangs gives none."""
        self._tell("READY=1")
        ticker = Ticker(self.watchdog / 2, self._alive) if self.watchdog and self._address else None
        if ticker is not None:
            ticker.wake()
        try:
            yield
        finally:
            if ticker is not None:
                ticker.stop()

    def stopping(self) -> None:
        self._tell("STOPPING=1")

    def _alive(self) -> bool:
        self._tell("WATCHDOG=1")
        return True

    def _tell(self, line: str) -> None:
        if not self._address:
            return
        # A name that begins with @ is in the abstract namespace, which begins with NUL (unix(7)).
        address = "\0" + self._address[1:] if self._address[0] == "@" else self._address
        with contextlib.suppress(OSError), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as out:
            out.setblocking(False)
            out.sendto(line.encode(), address)
