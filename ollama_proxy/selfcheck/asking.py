"""Asks Ollama, and the proxy that runs: do they answer, as what, is a call recorded.

Not here: this machine (`machine.py`).
"""

from __future__ import annotations

import json
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from typing import Any

from ollama_proxy import __version__
from ollama_proxy.config import Config
from ollama_proxy.rest import Refused, ask, cause, opened
from ollama_proxy.running import Found, Run
from ollama_proxy.selfcheck.check import Check, ok, warning, wrong

CALLER = "ollama-proxy-test"
CALL_SECONDS = 600.0
"""A large model is long in being loaded."""
RECORD_SECONDS = 10.0
PAUSE = 0.1


def ollama(config: Config) -> Iterator[Check]:
    upstream = str(config.upstream)
    try:
        version = ask(upstream, "version")["version"]
    except OSError as error:
        remedy = "start it (ollama serve), or name the right address with --upstream"
        yield wrong("Ollama", f"does not answer at {upstream}: {cause(error)}", remedy)
        return
    except (Refused, ValueError, KeyError, TypeError):
        remedy = "name Ollama's address with --upstream"
        yield wrong("Ollama", f"what answers at {upstream} is not Ollama", remedy)
        return
    yield ok("Ollama", f"version {version} answers at {upstream}")
    try:
        models = len(ask(upstream, "tags")["models"] or ())
    except (OSError, Refused, ValueError, KeyError, TypeError):
        yield wrong("models", "Ollama does not say which it has", "look into Ollama's own log")
        return
    if models:
        yield ok("models", f"{models} on disk")
    else:
        yield warning("models", "Ollama has none", "ollama pull llama3.2, for one")


def proxy(config: Config, there: Found | None) -> Iterator[Check]:
    """What runs in the data folder, and whether it is well."""
    if there is None:
        remedy = "ollama-proxy start runs one"
        yield warning("proxy", f"none runs: nothing holds {config.data_dir}", remedy)
        return
    if there.run is None:
        says = f"process {there.pid} is just starting or stopping"
        yield warning("proxy", says, "ask again in a moment")
        return
    try:
        facts = ask(there.run.admin, "status", config.admin.token)
    except Refused as refused:
        yield wrong("proxy", f"process {there.pid} at {there.run.url} {refused}")
        return
    except (OSError, ValueError) as error:
        says = f"process {there.pid} does not answer at {there.run.admin}: {cause(error)}"
        yield wrong("proxy", says, "ollama-proxy logs says why, perhaps; ollama-proxy restart")
        return
    yield from _running(there.run, facts)
    yield from _pages(config, there.run)


def _running(run: Run, facts: dict[str, Any]) -> Iterator[Check]:
    says = f"process {run.pid}, version {run.version}, at {run.url} since {run.started_at}"
    if run.version == __version__:
        yield ok("proxy", says)
    else:
        yield warning("proxy", f"{says}; this is {__version__}", "ollama-proxy restart")
    if facts["storage_error"]:
        yield wrong("records", f"are not stored now: {facts['storage_error']}")
    elif facts["records_dropped"]:
        lost = facts["records_dropped"]
        were = "was" if lost == 1 else "were"
        says = f"{lost} {were} lost since its start: the store was too slow, or its disk was full"
        yield warning("records", says, "ollama-proxy logs says when and why")
    if facts["upstream_up"] is False:
        says = f"the running proxy does not reach Ollama: {facts['upstream_error']}"
        yield wrong("upstream", says, "see above; it goes on by itself once Ollama answers it")


def _pages(config: Config, run: Run) -> Iterator[Check]:
    places = dict.fromkeys((run.admin, run.url + config.admin_path))
    for place in places:
        try:
            with opened(urllib.request.Request(f"{place}/")) as answer:
                if answer.headers.get_content_type() != "text/html":
                    raise ValueError("it is no page")
        except (OSError, ValueError) as error:
            says = f"{place}/ cannot be read: {cause(error)}"
            yield wrong("page", says, "ollama-proxy restart; its log may say more")
            return
    yield ok("page", " and ".join(f"{place}/" for place in places))


def call(config: Config, there: Found | None, model: str) -> Check:
    """One call of one token through the proxy, and its record."""
    if there is None or there.run is None:
        return wrong("call", "needs a proxy that runs", "ollama-proxy start runs one")
    began = time.time()
    body = {"model": model, "prompt": "Hi", "stream": False, "options": {"num_predict": 1}}
    request = urllib.request.Request(
        f"{there.run.url}/app/{CALLER}/api/generate",
        json.dumps(body).encode(),
        {"Content-Type": "application/json"},
    )
    try:
        with opened(request, CALL_SECONDS) as answer:
            told = json.load(answer)
    except urllib.error.HTTPError as error:
        return wrong("call", f"{model}: {_error(error)}", "ollama list names the models there are")
    except (OSError, ValueError) as error:
        return wrong("call", f"{model}: {cause(error)}")
    took = time.time() - began
    if not isinstance(told, dict) or not told.get("done"):
        return wrong("call", f"{model} gave an answer that Ollama does not give")
    return _recorded(config, there.run, model, began, took)


def _recorded(config: Config, run: Run, model: str, began: float, took: float) -> Check:
    try:
        one = record(run, config.admin.token, CALLER, began)
    except (OSError, Refused, ValueError) as error:
        return wrong("call", f"{model} answered, but its record cannot be asked for: {error}")
    if one is None:
        remedy = "ollama-proxy logs says what keeps records from being made"
        return wrong("call", f"{model} answered, but no record of the call is there", remedy)
    tokens = f"{one['input_tokens']} tokens in, {one['output_tokens']} out"
    if one["input_tokens"] == 1:
        tokens = f"1 token in, {one['output_tokens']} out"
    says = f"{model} answered through the proxy in {took:.1f} s, recorded as {one['id']}"
    return ok("call", f"{says} ({one['state']}, {tokens})")


def record(run: Run, token: str | None, client: str, began: float) -> dict[str, Any] | None:
    """The client's ended call since then, waited for; None if none comes. Raises as `ask` does."""
    until = time.monotonic() + RECORD_SECONDS
    while time.monotonic() < until:
        calls = ask(run.admin, f"requests?client={client}&since={began - 1:.0f}&limit=1", token)
        if calls and calls[0]["state"] != "running":
            found: dict[str, Any] = calls[0]
            return found
        time.sleep(PAUSE)
    return None


def _error(error: urllib.error.HTTPError) -> str:
    try:
        return str(json.load(error)["error"])
    except (OSError, ValueError, KeyError, TypeError):
        return f"answered with {error.code}"
