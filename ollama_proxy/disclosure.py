"""What is stored of calls, where, by which rule, and what is open to the network: told in full.

`disclosed` gathers it as plain values, `told` says the same in sentences. Pure. Not here: who asks
(`admin/api.py`, `cli.py`), what the rules do (`observers/policy.py`).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any

import msgspec

from ollama_proxy.alerts.config import kind_of, or_log
from ollama_proxy.config import Config
from ollama_proxy.records import Holdings
from ollama_proxy.settings import Address

ALWAYS = (
    "time, route, model, options, state, durations, tokens, sizes; error texts, at most 500 "
    "characters, without keys; and, except in the modes none and hash, the names of headers and "
    "the values of those that hold no key, such as Content-Type and User-Agent"
)
NEVER = (
    "API keys, cookies and the values of other headers; what follows ? in an address; images; what "
    "passes on routes that run no model"
)
_KEPT = {
    "none": "nothing",
    "truncate": "the first {characters} characters",
    "hash": "a hash, by which equal texts are known",
    "full": "all of it",
}
_KINDS = {"keys": "API keys and passwords", "mails": "mail addresses", "cards": "card numbers"}
Sockets = Iterable[tuple[Address, Address | None]]


class File(msgspec.Struct, frozen=True):
    """A file or folder on disk; `mode` as ls writes it."""

    path: str
    bytes: int | None
    mode: str


def disclosed(
    config: Config,
    *,
    holdings: Holdings | None,
    files: list[File],
    sockets: Sockets | None,
) -> dict[str, Any]:
    """`holdings` None: there is no database, or it cannot be read. `sockets` None: nothing runs."""
    rules = config.privacy
    return {
        "prompts": rules.mode,
        "responses": rules.responses or rules.mode,
        "characters": rules.characters,
        "taken_out": [kind for kind in _KINDS if getattr(rules, f"redact_{kind}")],
        "patterns": len(rules.redact),
        "rules": [_given(rule) for rule in rules.rules],
        "header": rules.header or None,
        "pages_ask_for_token": config.admin.token is not None,
        "programs_looked_up": config.clients.processes,
        "sources": {
            name: source
            for name, source in config.sources.items()
            if name.startswith(("privacy.", "retention.")) or name == "data_dir"
        },
        "alerts_to": _told_of_alerts(config),
        "always": ALWAYS,
        "never": NEVER,
        "folder": str(config.data_dir),
        "files": msgspec.to_builtins(files),
        "holdings": msgspec.to_builtins(holdings),
        "retention": msgspec.to_builtins(config.retention),
        "connections": None if sockets is None else _sorted(config, sockets),
    }


def _told_of_alerts(config: Config) -> list[str]:
    """Who is told of alerts, where any rule is on: names and kinds."""
    if not any(rule.on for rule in config.alerts.rules.values()):
        return []
    told = or_log(config.alerts.notifiers)
    return [f"{name} ({kind_of(one)})" for name, one in told.items()]


def _given(rule: msgspec.Struct) -> dict[str, str]:
    return {name: value for name, value in msgspec.structs.asdict(rule).items() if value}


def _sorted(config: Config, sockets: Sockets) -> dict[str, Any]:
    """By what they are for. Whatever is in `others` should not be there."""
    sockets = list(sockets)
    listening = sorted({str(local) for local, remote in sockets if remote is None})
    ports = {local.port for local, remote in sockets if remote is None}
    clients, upstream, others = 0, 0, []
    for local, remote in sockets:
        if remote is None:
            continue
        if local.port in ports:
            clients += 1
        elif remote.port == config.upstream.port:
            upstream += 1
        else:
            others.append(f"{local} to {remote}")
    return {
        "listening": listening,
        "clients": clients,
        "upstream": {"address": str(config.upstream), "open": upstream},
        "others": others,
    }


def told(facts: dict[str, Any], running: str | None) -> str:
    """In words for a terminal. `running`: where the proxy listens that says so, if one does."""
    whose = f"the proxy at {running}" if running else "no proxy answers; by this configuration"
    return "\n\n".join(
        (
            _part(f"What is kept of calls ({whose})", _rules(facts)),
            _part("Where", _places(facts)),
            _part("Open to the network", _network(facts)),
        )
    )


def _part(title: str, rows: Iterable[tuple[str, str]]) -> str:
    return "\n".join([title, *(f"  {name:<12}{text}".rstrip() for name, text in rows)])


def _rules(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    sources = facts["sources"]
    yield "prompts", f"{_kept(facts, facts['prompts'])}  ({sources['privacy.mode']})"
    from_ = sources["privacy.responses"]
    from_ = "as prompts" if from_ == "default" else from_
    yield "responses", f"{_kept(facts, facts['responses'])}  ({from_})"
    taken = [words for kind, words in _KINDS.items() if kind in facts["taken_out"]]
    if facts["patterns"]:
        taken.append(f"what matches privacy.redact ({facts['patterns']})")
    yield "taken out", ", ".join(taken) or "nothing"
    for number, rule in enumerate(facts["rules"], 1):
        yield ("rules" if number == 1 else ""), f"{number}. {_rule(facts, rule)}"
    if facts["header"]:
        yield "one call", f"asks for another mode with the header {facts['header']}"
    looked_up = "its program, script, folder, user, service and container"
    yield "caller", looked_up if facts["programs_looked_up"] else "its user agent and address"
    yield "always", facts["always"]
    yield "never", facts["never"]


def _kept(facts: dict[str, Any], mode: str) -> str:
    return f"{mode}: {_KEPT[mode].format(characters=facts['characters'])}"


def _rule(facts: dict[str, Any], rule: dict[str, str]) -> str:
    names = [name for name in ("model", "client", "route") if name in rule]
    wanted = ", ".join(f"{name} {rule[name]}" for name in names)
    kinds = {"mode": "prompts and responses" if "responses" not in rule else "prompts"}
    kinds["responses"] = "responses"
    kept = [f"{kind} {_kept(facts, rule[name])}" for name, kind in kinds.items() if name in rule]
    return f"{wanted}: {'; '.join(kept)}"


def _places(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    if not facts["files"]:
        yield "folder", f"{facts['folder']}: nothing is there"
    for number, file in enumerate(facts["files"]):
        size = "" if file["bytes"] is None else f", {file['bytes'] / 1e6:.1f} MB"
        name = file["path"] if number == 0 else Path(file["path"]).name
        yield ("folder" if number == 0 else ""), f"{name}  ({file['mode']}{size})"
    held = facts["holdings"]
    if held is not None:
        since = f" since {held['oldest'][:10]}" if held["oldest"] else ""
        yield "calls", f"{held['calls']:,}{since}"
        yield "", f"{held['with_prompt']:,} with a prompt"
        yield "", f"{held['with_response']:,} with a response"
        if held["captures"]:
            yield "", f"{held['captures']:,} kept whole, to be replayed"
    keep = facts["retention"]
    limits = [f"{keep[name]:,} {unit}" for name, unit in _LIMITS if keep[name]]
    yield "kept for", ", ".join(limits) + " at the most" if limits else "ever"


_LIMITS = (("days", "days"), ("megabytes", "MB"), ("rows", "calls"))


def _network(facts: dict[str, Any]) -> Iterator[tuple[str, str]]:
    yield "alerts to", ", ".join(facts["alerts_to"]) or "nobody: no rule is on"
    found = facts["connections"]
    if found is None:
        yield "", "nothing: no proxy runs"
        return
    yield "listens on", ", ".join(found["listening"]) or "nothing"
    asks = facts["pages_ask_for_token"]
    yield "pages for", "whoever has admin.token" if asks else "this machine only"
    yield "to Ollama", f"{found['upstream']['address']}, {found['upstream']['open']} open"
    yield "clients", f"{found['clients']} open"
    yield "any other", ", ".join(found["others"]) or "none"
