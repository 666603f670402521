"""Tells by a line in the proxy's log. Not here: the log (`logs.py`)."""

from __future__ import annotations

import logging

from ollama_proxy.alerts.message import Message

log = logging.getLogger(__name__)


class ByLog:
    """A warning for what fires, an info for what is over."""

    seconds = 1.0

    async def send(self, message: Message) -> None:
        log.log(logging.WARNING if message.firing else logging.INFO, "%s", message.line)
