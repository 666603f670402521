"""Tells by the library apprise, the extra of that name: its services, by their URLs.

It is imported at the first alert, in the thread that sends. Its log is switched off, as URLs hold
keys; so it is not known why a service refused. Not here: another try.
"""

from __future__ import annotations

import logging

from ollama_proxy.alerts.config import Apprise
from ollama_proxy.alerts.message import Message, NotifyError
from ollama_proxy.alerts.notifiers.in_thread import InThread

TALKATIVE = ("apprise", "requests", "urllib3")
"""Libraries whose logs hold URLs, and so keys."""


class ByApprise:
    """All URLs at once."""

    def __init__(self, apprise: Apprise, *, seconds: float = 30.0) -> None:
        self.seconds = seconds
        self._urls, self._thread = apprise.urls, InThread()

    async def send(self, message: Message) -> None:
        await self._thread.run(lambda: self._send(message))

    async def close(self) -> None: ...

    def _send(self, message: Message) -> None:
        for library in TALKATIVE:
            logging.getLogger(library).setLevel(logging.CRITICAL + 1)
        try:
            import apprise
        except ImportError:
            raise NotifyError(
                "the library apprise is missing: pip install 'ollama-proxy[apprise]'", again=False
            ) from None
        services = apprise.Apprise()
        for number, url in enumerate(self._urls, 1):
            if not services.add(url):
                raise NotifyError(
                    f"number {number} of urls is none that apprise understands", again=False
                )
        kind = apprise.NotifyType.WARNING if message.firing else apprise.NotifyType.SUCCESS
        if not services.notify(
            body=message.text,
            title=message.title,
            notify_type=kind,
            body_format=apprise.NotifyFormat.TEXT,
        ):
            raise NotifyError("one of its services did not take it: compare urls with its keys")
