"""Tells by a POST, signed if there is a key. Not here: the bodies (`bodies.py`), another try.

No redirection is followed, no proxy of the environment used, and no answer read. The signature is
an HMAC-SHA256 over the timestamp, a dot and the body, in hex; a receiver compares it, and refuses
an old timestamp, so that nobody else can say or repeat an alert.
"""

from __future__ import annotations

import hashlib
import hmac
import time
from collections.abc import Callable

import aiohttp

from ollama_proxy import __version__
from ollama_proxy.alerts.config import Webhook
from ollama_proxy.alerts.message import Message, NotifyError
from ollama_proxy.alerts.notifiers.bodies import post
from ollama_proxy.unanswered import why

TIMESTAMP, SIGNATURE = "X-Ollama-Proxy-Timestamp", "X-Ollama-Proxy-Signature"
WORTH_ANOTHER_TRY = (408, 425, 429)


class ByWebhook:
    """`now`: seconds since 1970, for the timestamp."""

    def __init__(
        self, webhook: Webhook, *, seconds: float = 10.0, now: Callable[[], float] = time.time
    ) -> None:
        self.seconds = seconds
        self._webhook, self._now = webhook, now

    async def send(self, message: Message) -> None:
        url, body = post(self._webhook, message)
        try:
            # A new connection each time: alerts are rare, and an old one may be dead.
            async with (
                aiohttp.ClientSession(trust_env=False, cookie_jar=aiohttp.DummyCookieJar()) as to,
                to.post(
                    url, data=body, headers=self._headers(body), allow_redirects=False
                ) as answer,
            ):
                status = answer.status
        except aiohttp.InvalidURL:
            raise NotifyError("its url cannot be used: set it anew", again=False) from None
        except (aiohttp.ClientError, OSError) as error:
            raise NotifyError(f"its address does not answer: {why(error)}") from None
        if 200 <= status < 300:
            return
        if 300 <= status < 400:
            raise NotifyError(f"answers {status}: set url to where that leads", again=False)
        again = status >= 500 or status in WORTH_ANOTHER_TRY
        hint = "" if again else ": compare its url and keys with what the service gave you"
        raise NotifyError(f"answers {status}{hint}", again=again)

    def _headers(self, body: bytes) -> dict[str, str]:
        headers = {
            "Content-Type": "application/json",
            "User-Agent": f"ollama-proxy/{__version__}",
        }
        if self._webhook.token:
            headers["Authorization"] = f"Bearer {self._webhook.token}"
        if self._webhook.secret:
            at = str(int(self._now()))
            headers[TIMESTAMP] = at
            headers[SIGNATURE] = "sha256=" + signature(self._webhook.secret, at, body)
        return headers


def signature(secret: str, at: str, body: bytes) -> str:
    """In hex."""
    return hmac.new(secret.encode(), f"{at}.".encode() + body, hashlib.sha256).hexdigest()
