"""What every call needs of the rest of the program, in one place.

Not here: what is done with it (`call.py`, `admission.py`).
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from ollama_proxy.limits import Limits
from ollama_proxy.live import Live
from ollama_proxy.names import Naming
from ollama_proxy.observers import Observing, kind_for
from ollama_proxy.observers.capturing import Captures
from ollama_proxy.observers.policy import Policy
from ollama_proxy.pool import Pool
from ollama_proxy.records import UpstreamHealth
from ollama_proxy.target import Target


@dataclass(frozen=True)
class Parts:
    """What every call needs.

    `on_surprise` is called when a connection contradicts what `health` last said of the upstream.
    A request that carries `instance` in PROBE_HEADER is this proxy's own, come back: a loop.
    `observe` chooses who looks at a call; `naming` says which names of clients are believed;
    `captures` what of a call is kept so that it can be made again. `inject_usage`: streams are
    asked for their usage (`usage.py`).
    """

    target: Target
    pool: Pool
    live: Live
    limits: Limits
    policy: Policy
    instance: str
    health: Callable[[], UpstreamHealth]
    on_surprise: Callable[[], None]
    observe: Observing = kind_for
    naming: Naming = field(default_factory=Naming)
    captures: Captures = field(default_factory=Captures)
    inject_usage: bool = False
