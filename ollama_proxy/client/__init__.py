"""What a monitor tells, from Python: four functions for scripts, a client that waits, and one for
asyncio, which is loaded when it is used.

Not here: the monitor; this asks it over REST, on this machine or another.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

from ollama_proxy.client.answers import (
    Client,
    Event,
    Finding,
    Health,
    Model,
    Series,
    Stats,
    Status,
    Summary,
)
from ollama_proxy.client.blocking import MonitorClient
from ollama_proxy.client.calls import Call, OneCall, RunningCall
from ollama_proxy.client.errors import (
    MonitorBadParameter,
    MonitorDown,
    MonitorError,
    MonitorNotFound,
    MonitorUnauthorized,
    MonitorWarning,
    NotAMonitor,
)
from ollama_proxy.client.guide import (
    get_active_requests,
    get_model_performance,
    get_monitor_status,
    get_recent_requests,
)

if TYPE_CHECKING:
    from ollama_proxy.client.aio import AsyncMonitorClient

__all__ = [
    "AsyncMonitorClient",
    "Call",
    "Client",
    "Event",
    "Finding",
    "Health",
    "Model",
    "MonitorBadParameter",
    "MonitorClient",
    "MonitorDown",
    "MonitorError",
    "MonitorNotFound",
    "MonitorUnauthorized",
    "MonitorWarning",
    "NotAMonitor",
    "OneCall",
    "RunningCall",
    "Series",
    "Stats",
    "Status",
    "Summary",
    "get_active_requests",
    "get_model_performance",
    "get_monitor_status",
    "get_recent_requests",
]


def __getattr__(name: str) -> Any:
    """aiohttp takes 0.2 s to load, which those who wait need not spend."""
    if name == "AsyncMonitorClient":
        return importlib.import_module("ollama_proxy.client.aio").AsyncMonitorClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
