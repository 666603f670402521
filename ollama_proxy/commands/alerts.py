"""`alerts` and `alerts test`: the rules of the proxy that runs; whether notifiers reach anybody.

Not here: the rules (`alerts/` above this), silence (the page, REST).
"""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import quote

import click
from click.exceptions import Exit

from ollama_proxy.admin.alert_words import plain
from ollama_proxy.commands.options import settings
from ollama_proxy.commands.saying import printable, refuse
from ollama_proxy.commands.there import asking
from ollama_proxy.config import Config
from ollama_proxy.logs import one_line
from ollama_proxy.rest import Refused, ask
from ollama_proxy.running import found
from ollama_proxy.storage.errors import StoreError

TEST_SECONDS = 120.0
NOBODY = "no rule and no notifier (ollama-proxy alerts lists them) is called"


@click.group(short_help="List alerts, or test them.", invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="As one JSON object.")
@settings(only=("data_dir",))
@click.pass_context
def alerts(context: click.Context, /, as_json: bool, **flags: Any) -> int:
    """List the alert rules of the proxy that runs, with their states, and who is told."""
    if context.invoked_subcommand is not None:
        return 0
    told = _asked(asking(flags), "alerts")
    if as_json:
        print(json.dumps(told))
        return 0
    on = [rule for rule in told["rules"] if rule["on"]]
    width = max((len(rule["name"]) for rule in on), default=0)
    for rule in on:
        since = f" since {rule['since']}" if rule["since"] else ""
        silent = f", silenced until {rule['silenced_until']}" if rule["silenced_until"] else ""
        print(f"{rule['name']:{width}}  {rule['state']}{since}{silent}")
        for one in rule["subjects"]:
            print(f"{'':{width}}    {one_line(plain(one['text']['en']))}")
    off = [rule["name"] for rule in told["rules"] if not rule["on"]]
    if off:
        print(f"{'' if on else 'no rule is on; '}off: {', '.join(off)}")
    for one in told["notifiers"]:
        print(f"notifier {one['name']} ({one['kind']}): {_how(one)}")
    return 0


@alerts.command(short_help="Send a test message.")
@click.argument("name", required=False)
@click.option("--json", "as_json", is_flag=True, help="As a list of JSON objects.")
@settings(only=("data_dir",))
def test(name: str | None, as_json: bool, **flags: Any) -> int:
    """Send a test message by the notifiers of the rule NAME, by the notifier NAME, or by all. Exits
    with 1 where one did not take it."""
    path = "alerts/test" + (f"?name={quote(name, safe='')}" if name else "")
    config = asking(flags)
    told = _asked(config, path, body={}, seconds=TEST_SECONDS, missing=f"{NOBODY} {name}")
    if as_json:
        print(json.dumps(told))
    else:
        for one in told:
            print(f"{one['notifier']}: {'sent' if one['sent'] else one_line(one['error'])}")
    return 0 if all(one["sent"] for one in told) else 1


def _how(one: dict[str, Any]) -> str:
    parts = [f"{one['sent']} sent"]
    for key in ("failed", "waiting", "dropped"):
        if one[key]:
            parts.append(f"{one[key]} {key}")
    if one["last_error"]:
        parts.append(f"last error at {one['last_error_at']}: {one_line(one['last_error'])}")
    return ", ".join(parts)


def _asked(config: Config, path: str, missing: str | None = None, **more: Any) -> Any:
    """Ends the command where the proxy does not say. `missing`: what is said where it answers that
    there is no such thing."""
    try:
        there = found(config.data_dir)
        if there is None or there.run is None:
            where = f"no proxy runs in {config.data_dir}: ollama-proxy start runs one"
            raise Exit(refuse(where, 1))
        return ask(there.run.admin, path, config.admin.token, **more)
    except StoreError as error:
        raise Exit(refuse(str(error), 1)) from None
    except Refused as error:
        if missing is not None and error.status == 404:
            raise Exit(refuse(printable(missing), 1)) from None
        raise Exit(refuse(f"the proxy {error}", 1)) from None
    except (OSError, ValueError):
        why = "the proxy does not answer: its log says why (ollama-proxy logs)"
        raise Exit(refuse(why, 1)) from None
