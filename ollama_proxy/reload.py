"""Which settings change when they are read again while the proxy runs. Pure.

Not here: reading them (`config.py`), who takes the new values (`app.py`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import msgspec

from ollama_proxy.config import Config
from ollama_proxy.settings import SETTINGS

NEEDS_RESTART = frozenset(
    {
        *("listen", "upstream", "admin_listen", "admin_path", "data_dir", "admin.token"),
        *("clients.processes", "log.file"),
    }
)
TABLES = ("alerts.rules", "alerts.notifiers")


class Changes(msgspec.Struct, frozen=True):
    """`config` is what holds now: the new settings, but for those named in `later`, which need a
    restart; `now` changed at once. `named`: of tables among these, which of them, by name."""

    config: Config
    now: list[str]
    later: list[str]
    named: Mapping[str, str] = {}

    @property
    def told(self) -> str:
        """In one line."""
        now = [name + self.named.get(name, "") for name in self.now]
        parts = [f"{', '.join(now)} changed"] if now else []
        if self.later:
            verb = "needs" if len(self.later) == 1 else "need"
            parts.append(f"{', '.join(self.later)} {verb} a restart")
        return "; ".join(parts) or "nothing changed"


def changes(old: Config, new: Config) -> Changes:
    """What becomes of new settings in a proxy that runs with the old ones."""
    changed = [one.name for one in SETTINGS if _value(old, one.name) != _value(new, one.name)]
    replace = msgspec.structs.replace
    sources = {name: (old if name in NEEDS_RESTART else new).sources[name] for name in new.sources}
    config = replace(
        new,
        listen=old.listen,
        upstream=old.upstream,
        admin_listen=old.admin_listen,
        admin_path=old.admin_path,
        data_dir=old.data_dir,
        admin=old.admin,
        clients=replace(new.clients, processes=old.clients.processes),
        log=replace(new.log, file=old.log.file),
        sources=sources,
    )
    return Changes(
        config,
        now=[name for name in changed if name not in NEEDS_RESTART],
        later=[name for name in changed if name in NEEDS_RESTART],
        named={name: _named(_value(old, name), _value(new, name)) for name in TABLES},
    )


def _named(old: Mapping[str, object], new: Mapping[str, object]) -> str:
    """By name alone: a value may be a secret."""
    found = {
        "added": [name for name in new if name not in old],
        "removed": [name for name in old if name not in new],
        "changed": [name for name in new if name in old and new[name] != old[name]],
    }
    parts = [f"{how}: {', '.join(names)}" for how, names in found.items() if names]
    return f" ({'; '.join(parts)})" if parts else ""


def _value(config: Config, name: str) -> Any:
    value: Any = config
    for part in name.split("."):
        value = getattr(value, part)
    return value
