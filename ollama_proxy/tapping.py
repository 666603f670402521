"""Chooses what looks at a call: its observer, under the privacy that holds for it, and its tap.

A call is captured if it runs a model and everything of it may turn out to be kept.

Not here: which observer is for which route (`observers/`), which privacy for which call
(`observers/policy.py`), what is done with the bytes (`observers/tap.py`, `capturing.py`).
"""

from __future__ import annotations

from functools import partial

from ollama_proxy.exchange import Exchange
from ollama_proxy.observers.base import Observer
from ollama_proxy.observers.capturing import CapturingTap
from ollama_proxy.observers.ruled import Ruled
from ollama_proxy.observers.tap import PlainTap, Tap
from ollama_proxy.parts import Parts
from ollama_proxy.request_head import RequestHead


def make_tap(parts: Parts, exchange: Exchange, head: RequestHead) -> Tap | PlainTap:
    """The tap of a call that has just begun."""
    policy = parts.policy
    said = head.header(policy.key) if policy.key and head.has(policy.key) else None
    privacy = policy.usual if said is None else policy.asked(said)
    # By the path as it is recorded, which an absolute target has too.
    kind = parts.observe(exchange.method, exchange.path)
    exchange.shown = privacy.named
    settled = said is not None or not policy.has_rules
    if settled and kind is Observer:
        return PlainTap(exchange, partial(kind, exchange.observation, privacy))
    observer = kind(exchange.observation, privacy)
    exchange.said = observer.said
    ruled = None if settled else Ruled(policy, exchange, observer)
    may_keep_all = privacy.keeps_all if settled else policy.may_keep_all
    if may_keep_all and observer.reads_all and exchange.runs_model:
        return CapturingTap(exchange, observer, head.raw_headers, parts.captures, ruled=ruled)
    return Tap(exchange, observer, ruled=ruled)
