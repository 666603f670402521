"""Proves a takeover by real calls: at the old address Ollama answers as before, through the proxy.

Not here: what follows if it does not (`commands/takeover.py`).
"""

from __future__ import annotations

import time
import urllib.request

from ollama_proxy.config import Config
from ollama_proxy.rest import Refused, cause, opened
from ollama_proxy.running import Found, found
from ollama_proxy.selfcheck import asking
from ollama_proxy.selfcheck.check import OK
from ollama_proxy.storage.errors import StoreError
from ollama_proxy.takeover.doing import Failed
from ollama_proxy.takeover.facts import Answer
from ollama_proxy.takeover.look import answer

CALLER = "ollama-proxy-takeover"


def prove(address: str, before: Answer, config: Config, model: str | None) -> str:
    """What was seen. Raises Failed."""
    there = _there(address, config)
    now = answer(address)
    if now is None:
        raise Failed(f"nobody answers at {address} as Ollama does")
    if now.version != before.version:
        raise Failed(f"at {address} Ollama {now.version} answers, before it was {before.version}")
    if now.models != before.models:
        gone = ", ".join(sorted({name for name, _ in set(before.models) ^ set(now.models)}))
        raise Failed(f"the models at {address} are not those of before: {gone}")
    _recorded(address, config, there)
    says = f"Ollama {now.version} answers at {address} with the same {len(now.models)} models"
    says += ", and the proxy records calls"
    if model is not None:
        check = asking.call(config, there, model)
        if check.state != OK:
            raise Failed(check.says)
        says += f"; {check.says}"
    return says


def _there(address: str, config: Config) -> Found:
    try:
        there = found(config.data_dir)
    except StoreError as error:
        raise Failed(str(error)) from error
    if there is None or there.run is None:
        raise Failed("the proxy does not run: its log says why (ollama-proxy logs)")
    if there.run.url != address:
        raise Failed(f"the proxy listens at {there.run.url}, not at {address}")
    return there


def _recorded(address: str, config: Config, there: Found) -> None:
    began = time.time()
    request = urllib.request.Request(f"{address}/app/{CALLER}/api/version")
    try:
        with opened(request) as answered:
            answered.read()
        assert there.run is not None
        call = asking.record(there.run, config.admin.token, CALLER, began)
    except (OSError, Refused, ValueError) as error:
        raise Failed(f"no record of a call through {address}: {cause(error)}") from error
    if call is None:
        raise Failed(f"a call to {address} was answered, but the proxy has no record of it")
