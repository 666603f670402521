"""Where calls go: what is put before a request's target, and which Host it carries.

Not here: connections (`pool.py`), Ollama's own table of hosts (`headers.py`).
"""

from __future__ import annotations

from dataclasses import dataclass

from ollama_proxy.settings import Address, Upstream

DEFAULT_PORTS = {"http": 80, "https": 443}


@dataclass(frozen=True)
class Target:
    """One upstream, as requests see it.

    Host: where listener and upstream are both on loopback, Ollama applies its own table and Host
    passes unchanged (`pass_host`). Otherwise the upstream gets its own `authority`, and a loopback
    listener applies the table first (`check_host`).
    """

    path: bytes
    authority: bytes
    pass_host: bool
    check_host: bool

    @classmethod
    def of(cls, upstream: Upstream, listens_on_loopback: bool, is_on_loopback: bool) -> Target:
        authority = str(Address(upstream.host, upstream.port))
        if upstream.port == DEFAULT_PORTS[upstream.scheme]:
            authority = authority.rpartition(":")[0]
        pass_host = listens_on_loopback and is_on_loopback
        return cls(
            path=upstream.path.encode(),
            authority=authority.encode(),
            pass_host=pass_host,
            check_host=listens_on_loopback and not pass_host,
        )

    def prefixed(self, target: bytes) -> bytes:
        """A request's target below the upstream's path; `*` and absolute ones stay as they are."""
        return self.path + target if target.startswith(b"/") else target
