"""`privacy`: what is stored of calls, where and why. Not here: its words (`disclosure.py`)."""

from __future__ import annotations

import json
from typing import Any

import click

from ollama_proxy.commands.options import given, settings
from ollama_proxy.commands.there import as_it_runs
from ollama_proxy.disclosing import asked_of_running, by_config
from ollama_proxy.disclosure import told
from ollama_proxy.storage.folder import DATABASE


@click.command(short_help="Tell what is stored of calls, where, by which rule.")
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@settings()
def privacy(as_json: bool, **flags: Any) -> int:
    """Tell what is stored of calls, where and by which rule, and what is open to the network: as a
    running proxy says, or without one by this configuration."""
    config = as_it_runs(given(flags))
    said = asked_of_running(config)
    running, facts = said or (None, by_config(config, config.data_dir / DATABASE))
    print(json.dumps(facts, indent=2) if as_json else told(facts, running))
    return 0
