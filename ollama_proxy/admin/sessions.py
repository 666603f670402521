"""Whether somebody has the admin's token: who says it now, or has a cookie for having said it.

A cookie holds the second at which its session ends, and a seal of that, keyed by the token. So
nothing is kept of a session, it outlives a restart of the proxy, and a new token ends them all; a
key made at each start would end them then. Not here: HTTP (`gate.py`), how often one may guess
(`attempts.py`).
"""

from __future__ import annotations

import hashlib
import hmac

SESSION_SECONDS = 30 * 86400
# Who gets hold of a cookie can try words as the token at leisure: each try costs this many rounds.
_ROUNDS = 200_000


class Sessions:
    """Those of one token. `path` is where the admin is mounted: "" or "/admin"."""

    def __init__(self, token: str) -> None:
        self._key = hashlib.pbkdf2_hmac(
            "sha256", token.encode(), b"ollama_proxy admin session", _ROUNDS
        )
        self._token = self._seal(f"token {token}")

    def knows(self, token: str) -> bool:
        """Whether this is the token; takes as long for a near one as for any other."""
        return hmac.compare_digest(self._seal(f"token {token}"), self._token)

    def cookie(self, path: str) -> str:
        """The cookie's name. A host's cookies go to all of its ports: one name for each token and
        path keeps several proxies, and this one's two mounts, from taking each other's."""
        return "ollama_proxy_" + self._seal(f"name {path}")[:8]

    def opened(self, path: str, now: float) -> str:
        """The cookie's value for a session that begins `now` (seconds since 1970)."""
        end = str(int(now) + SESSION_SECONDS)
        return f"{end}.{self._seal(f'session {path} {end}')}"

    def holds(self, path: str, value: str, now: float) -> bool:
        """Whether this value was made by `opened` for this path and has not ended."""
        end, _, seal = value.partition(".")
        right = self._seal(f"session {path} {end}")
        return hmac.compare_digest(_bytes(seal), _bytes(right)) and now < int(end)

    def _seal(self, text: str) -> str:
        return hmac.new(self._key, _bytes(text), "sha256").hexdigest()


def _bytes(text: str) -> bytes:
    """Of whatever a header held: aiohttp makes lone surrogates of what is no UTF-8."""
    return text.encode("utf-8", "surrogatepass")
