"""Chooses what looks at a call: its observer, under the privacy that holds for it.

Not here: which observer is for which route (`observers/`), which privacy for which call
(`observers/policy.py`), what is done with the bytes (`observers/tap.py`).
"""

from __future__ import annotations

from collections.abc import Mapping

from ollama_proxy.exchange import Exchange
from ollama_proxy.observers.ruled import Ruled
from ollama_proxy.observers.tap import Tap
from ollama_proxy.parts import Parts


def make_tap(parts: Parts, exchange: Exchange, headers: Mapping[str, str]) -> Tap:
    """The tap of a call that has just begun; `headers`, its request's, must not care about case."""
    policy = parts.policy
    said = headers.get(policy.header) if policy.header else None
    privacy = policy.usual if said is None else policy.asked(said)
    # By the path as it is recorded, which an absolute target has too.
    observer = parts.observe(exchange.method, exchange.path, exchange.observation, privacy)
    if said is not None or not policy.has_rules:
        return Tap(exchange, observer)
    return Tap(exchange, observer, ruled=Ruled(policy, exchange, observer))
