"""The parts of a running program that its settings can change, or that another process may take.

Not here: building them (`app.py`), what is taken (`succession.py`), which settings changed
(`reload.py`).
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, replace

from ollama_proxy.admin.history import History
from ollama_proxy.config import Config, Retention
from ollama_proxy.forwarder import Forwarder
from ollama_proxy.gauging import Gauging
from ollama_proxy.handover.custody import Custody
from ollama_proxy.insights.slow import Usual
from ollama_proxy.limits import Limits
from ollama_proxy.live import Live
from ollama_proxy.marking import Marking
from ollama_proxy.names import Naming
from ollama_proxy.observers.capturing import Captures
from ollama_proxy.observers.policy import Policy
from ollama_proxy.pool import Pool
from ollama_proxy.sensors.models import ModelSensor
from ollama_proxy.storage.writer import Writer

DOWN_SECONDS = 2.0
"""Between looks at an Ollama that is down, at first."""


@dataclass(frozen=True)
class Works:
    """All of it runs."""

    captures: Captures
    custody: Custody
    forwarder: Forwarder
    gauging: Gauging
    history: History
    live: Live
    marking: Marking
    pool: Pool
    sensor: ModelSensor
    server: asyncio.Server
    usual: Usual
    writer: Writer

    def use(self, config: Config) -> None:
        """These settings, as far as they can change now. Calls that run keep theirs."""
        self.pool.idle_limit = config.timeouts.pool_idle
        self.sensor.interval = config.models_interval
        self.sensor.interval_down = min(DOWN_SECONDS, config.models_interval)
        self.usual.times = config.insights.slow_times
        self.usual.seconds = config.insights.slow_seconds
        self.history.hidden = config.insights.hidden
        self.live.keep(config.retention.recent)
        self.writer.keep(*kept(config.retention))
        self.forwarder.use(
            replace(
                self.forwarder.parts,
                limits=Limits.of(config.timeouts),
                policy=Policy.of(config.privacy),
                naming=Naming(header=config.clients.header, keys=config.clients.keys),
                inject_usage=config.inject_usage,
            )
        )


def kept(retention: Retention) -> tuple[float | None, int | None, int | None]:
    """How long calls are kept, as a writer takes it: days, bytes, rows."""
    megabytes = retention.megabytes * 1_000_000
    return retention.days or None, megabytes or None, retention.rows or None
