"""Runs something that blocks in a thread of its own, which a stop does not wait for.

Threads of a pool are waited for at the program's end, however they hang. Not here: what is run.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable

from ollama_proxy.alerts.message import NotifyError


class InThread:
    """One thing at a time: while one hangs, the next is refused."""

    def __init__(self) -> None:
        self._thread: threading.Thread | None = None

    async def run(self, work: Callable[[], None]) -> None:
        """Raises what `work` raises, and NotifyError while an earlier one hangs."""
        if self._thread is not None and self._thread.is_alive():
            raise NotifyError("the message before still hangs")
        loop = asyncio.get_running_loop()
        done: asyncio.Future[None] = loop.create_future()

        def settle(error: BaseException | None) -> None:
            if done.cancelled():
                return
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)

        def worked() -> None:
            error: BaseException | None = None
            try:
                work()
            except Exception as raised:  # noqa: BLE001 - handed on to who waits
                error = raised
            with contextlib.suppress(RuntimeError):  # nobody waits: the loop is closed
                loop.call_soon_threadsafe(settle, error)

        self._thread = threading.Thread(target=worked, name="notifier", daemon=True)
        self._thread.start()
        await done
        self._thread.join()  # it is at its end
