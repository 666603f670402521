"""The tables of alerts in the config file: what is right, what each mistake is told as, secrets."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest

from ollama_proxy.alerts.config import Command, Mail, Webhook, with_shipped
from ollama_proxy.alerts.kinds import KINDS
from ollama_proxy.config import Config, ConfigError, effective, load
from tests.test_config import EXAMPLE, from_file

SECRET = "hunter2-hunter2"


def told(rules: Any = None, notifiers: Any = None) -> Config:
    environ = {"OLLAMA_PROXY_ALERTS_RULES": json.dumps(rules or {})}
    environ["OLLAMA_PROXY_ALERTS_NOTIFIERS"] = json.dumps(notifiers or {})
    return load({}, environ)


def refused(rules: Any = None, notifiers: Any = None) -> str:
    with pytest.raises(ConfigError) as caught:
        told(rules, notifiers)
    message = str(caught.value)
    assert len(message.splitlines()) == 1
    return message


def test_each_kind_is_shipped_and_off() -> None:
    shipped = with_shipped(load({}, {}).alerts.rules)
    assert shipped.keys() == KINDS.keys()
    assert not any(rule.on for rule in shipped.values())


def test_an_empty_table_switches_a_kind_on_with_its_defaults() -> None:
    config = from_file("[alerts.rules.disk_full]\n[alerts.rules.ollama_down]\nfor = 5\n")
    disk, down = config.alerts.rules.values()
    assert (disk.on, disk.when, disk.above, disk.clear, disk.for_) == (True, "disk_full", 90, 90, 0)
    assert (down.above, down.for_) == (None, 5)


def test_the_examples_of_the_example_file_are_right_as_they_stand() -> None:
    text = EXAMPLE.read_text().partition("[alerts]")[2].partition("[log]")[0]
    tables = re.search(r"(?ms)^#\[alerts\..*", text)
    assert tables is not None
    alerts = from_file(re.sub(r"(?m)^#(?=\[|\w+ = )", "", tables[0])).alerts
    failed, mean, silent, down = alerts.rules.values()
    assert (failed.when, failed.above, failed.within, failed.every) == (
        "failed_calls",
        10,
        300,
        300,
    )
    assert (mean.when, mean.above, mean.every) == ("mean_duration", 60, 300)
    assert (silent.client, silent.notify, down.when) == ("backtest.py", ("phone",), "ollama_down")
    phone, desktop = alerts.notifiers.values()
    assert isinstance(phone, Webhook) and phone.format == "ntfy"
    assert isinstance(desktop, Command) and desktop.run[2] == "{text}"


@pytest.mark.parametrize(
    ("rule", "why"),
    [
        ({"when": "failed"}, "x: when says what is watched, one of failed_calls, "),
        ({}, "x: when says what is watched"),
        ({"when": "ollama_down", "above": 3}, "x: ollama_down takes when, on, for"),
        ({"when": "queue", "above": "3"}, "x: Expected `float | null`, got `str`"),
        ({"when": "queue", "above": -1}, "x: a number is 0 or more"),
        ({"when": "queue", "above": float("nan")}, "x: a number is 0 or more"),
        ({"when": "queue", "above": 3, "clear": 4}, "x: clear is where it is good again"),
        ({"when": "failed_calls", "within": 90_000}, "x: within is 1 to 86400 seconds"),
        ({"when": "queue", "every": 0}, "x: every is 0.1 to 86400 seconds"),
        ({"when": "queue", "each": "route"}, "x: Invalid enum value 'route'"),
        ({"when": "model_unavailable"}, "x: model says which model Ollama must have"),
        ({"when": "queue", "notify": ["nobody"]}, "x: there is no notifier 'nobody'"),
        (["queue"], "x: a table is expected"),
    ],
)
def test_a_wrong_rule_is_told_by_its_name_and_key(rule: Any, why: str) -> None:
    message = refused({"x": rule})
    assert why in message, message
    assert message.startswith("alerts.rules")


def test_a_name_is_one_word() -> None:
    assert "a name has up to 64 letters, digits, - and _" in refused({"a/b": {"when": "queue"}})


@pytest.mark.parametrize(
    ("notifier", "why"),
    [
        ({"kind": SECRET}, "x: kind is one of log, webhook, command, mail, apprise"),
        ({}, "x: kind is one of"),
        ({"kind": "webhook", "url": SECRET}, "x: url is where to post to, http:// or https://"),
        ({"kind": "webhook", "url": "http://a", "format": SECRET}, "x: Invalid enum value"),
        ({"kind": "webhook", "url": "http://a", "secrets": SECRET}, "unknown field `secrets`"),
        (
            {"kind": "webhook", "url": "http://a", "format": "telegram"},
            "x: chat says to which chat",
        ),
        ({"kind": "webhook", "url": "http://a", "token": SECRET + "\n"}, "x: token is printable"),
        ({"kind": "command", "run": []}, "x: run is a list: the program, then its arguments"),
        ({"kind": "command", "run": SECRET}, "x: Expected `array`, got `str`"),
        ({"kind": "mail", "host": "h", "sender": "a", "to": ["b@c"]}, "x: sender and to are mail"),
        ({"kind": "mail", "host": "h", "sender": "a@b", "to": ["b@c\nBcc: d@e"]}, "x: sender and"),
        (
            {
                "kind": "mail",
                "host": "h",
                "sender": "a@b",
                "to": ["b@c"],
                "tls": "none",
                "user": "u",
            },
            "x: tls is starttls or tls where a password is sent to another machine",
        ),
        ({"kind": "apprise", "urls": []}, "x: urls is a list of at least one"),
    ],
)
def test_a_wrong_notifier_is_told_without_its_values(notifier: Any, why: str) -> None:
    message = refused(notifiers={"x": notifier})
    assert why in message, message
    assert SECRET not in message


def test_what_a_notifier_is_set_to_is_shown_nowhere() -> None:
    config = told(
        {"queue": {}},
        {
            "a": {"kind": "webhook", "url": f"https://example.org/{SECRET}", "secret": SECRET},
            "b": {"kind": "mail", "host": "h", "sender": "a@b", "to": ["b@c"], "password": SECRET},
            "c": {"kind": "apprise", "urls": [f"tgram://{SECRET}/1"]},
        },
    )
    assert isinstance(config.alerts.notifiers["b"], Mail)
    shown = json.dumps(msgspec.to_builtins(effective(config))) + repr(config.alerts)
    assert SECRET not in shown
    rows = {one.name: one.value for one in effective(config)}
    assert rows["alerts.notifiers"] == "…"
    assert '"queue"' in rows["alerts.rules"]
