"""What `alerts.rules` and `alerts.notifiers` may say, read strictly, with the kinds' defaults.

Pure. Each mistake is a ValueError whose cause names the table and the key, and no value: one may
be a secret. Not here: what a rule means (`rules.py`), how a notifier sends (`notifiers/`).
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Literal
from urllib.parse import urlsplit

import msgspec

from ollama_proxy.alerts.kinds import KINDS, takes

LONGEST_WINDOW = 86400.0
_HERE = ("localhost", "127.0.0.1", "::1")
_NAME = re.compile(r"[A-Za-z0-9_-]{1,64}")


class Rule(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename={"for_": "for"}):
    """One rule, complete. Seconds, calls or percent, by its kind (`when`).

    It is bad `above` a limit, or so (None), and good again at `clear` or below. `within`: the
    window that it looks at; `calls`: with fewer in it nothing is said. `for_`: so long it must be
    bad. `every`: how often it is looked at, None: as the others. `cooldown`: so long after a
    message no other one of the same subject says that it is bad again. `each`: a state for each
    model or client. `notify` None: all notifiers.
    """

    name: str
    when: str
    on: bool = True
    above: float | None = None
    clear: float | None = None
    within: float | None = None
    calls: int | None = None
    for_: float = 0.0
    every: float | None = None
    cooldown: float = 300.0
    each: Literal["model", "client"] | None = None
    model: str | None = None
    client: str | None = None
    notify: tuple[str, ...] | None = None


class Log(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="log"):
    """A line in the proxy's own log."""


class Webhook(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="webhook"
):
    """A POST. `secret`: the key of the signature; `token`: a bearer's; `chat`: Telegram's."""

    url: str
    format: Literal["json", "slack", "discord", "telegram", "ntfy"] = "json"
    secret: str = ""
    token: str = ""
    chat: str = ""


class Command(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="command"
):
    """A program with its arguments; `{text}` among these stands for the message."""

    run: list[str]
    seconds: float = 10.0


class Mail(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="mail"):
    """A mail by SMTP. `port` None: the usual one of `tls`."""

    host: str
    sender: str
    to: list[str]
    port: int | None = None
    tls: Literal["starttls", "tls", "none"] = "starttls"
    user: str = ""
    password: str = ""


class Apprise(
    msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="kind", tag="apprise"
):
    """Services by the URLs that the library of that name understands."""

    urls: list[str]


Notifier = Log | Webhook | Command | Mail | Apprise
Rules = Mapping[str, Rule]
Notifiers = Mapping[str, Notifier]


def rules(value: object) -> dict[str, Rule]:
    """Rules by name."""
    return {name: _rule(name, told) for name, told in _tables(value).items()}


def with_shipped(given: Rules) -> dict[str, Rule]:
    """These, then one for each kind that has none of its name: off."""
    left = (kind for kind in KINDS if kind not in given)
    return {**given, **{kind: _made(kind, {"when": kind, "on": False}) for kind in left}}


def notifiers(value: object) -> dict[str, Notifier]:
    """Notifiers by name."""
    return {name: _notifier(name, told) for name, told in _tables(value).items()}


def or_log(given: Notifiers) -> Notifiers:
    """These; where there is none, one that logs."""
    return given or {"log": Log()}


def kind_of(told: Notifier) -> str:
    """As the settings name it."""
    return str(told.__struct_config__.tag)


def _tables(value: object) -> dict[str, dict[str, Any]]:
    if not isinstance(value, dict):
        raise ValueError
    for name, told in value.items():
        if _NAME.fullmatch(name) is None:
            raise ValueError from ValueError("a name has up to 64 letters, digits, - and _")
        if not isinstance(told, dict):
            raise ValueError from ValueError(f"{name}: a table is expected")
    return value


def _rule(name: str, told: dict[str, Any]) -> Rule:
    kind = told.get("when", name)
    if kind not in KINDS:
        known = ", ".join(KINDS)
        raise ValueError from ValueError(f"{name}: when says what is watched, one of {known}")
    for key in told:
        if key not in takes(kind):
            raise ValueError from ValueError(f"{name}: {kind} takes {', '.join(takes(kind))}")
    rule = _made(name, {**told, "when": kind})
    numbers = (rule.above, rule.clear, rule.within, rule.calls, rule.for_, rule.cooldown)
    if any(number is not None and not 0 <= number < 2**53 for number in numbers):
        raise ValueError from ValueError(f"{name}: a number is 0 or more")
    if rule.within is not None and not 1 <= rule.within <= LONGEST_WINDOW:
        raise ValueError from ValueError(f"{name}: within is 1 to {LONGEST_WINDOW:.0f} seconds")
    if rule.every is not None and not 0.1 <= rule.every <= LONGEST_WINDOW:
        raise ValueError from ValueError(f"{name}: every is 0.1 to {LONGEST_WINDOW:.0f} seconds")
    if rule.above is not None and rule.clear is not None and rule.clear > rule.above:
        raise ValueError from ValueError(
            f"{name}: clear is where it is good again, so not more than above"
        )
    if kind == "model_unavailable" and rule.on and not rule.model:
        raise ValueError from ValueError(f"{name}: model says which model Ollama must have")
    return rule


def _made(name: str, told: dict[str, Any]) -> Rule:
    whole = {**KINDS[told["when"]][1], **told, "name": name}
    whole.setdefault("clear", whole.get("above"))
    try:
        return msgspec.convert(whole, Rule)
    except msgspec.ValidationError as error:
        raise ValueError from ValueError(f"{name}: {error}")


def _notifier(name: str, told: dict[str, Any]) -> Notifier:
    try:
        found: Notifier = msgspec.convert(told, Notifier)
    except msgspec.ValidationError as error:
        # Of a tag that is none msgspec repeats the value.
        if "kind" in str(error) and told.get("kind") not in KIND_NAMES:
            raise ValueError from ValueError(f"{name}: kind is one of {', '.join(KIND_NAMES)}")
        raise ValueError from ValueError(f"{name}: {_without_values(error)}")
    wrong = _trouble(found)
    if wrong:
        raise ValueError from ValueError(f"{name}: {wrong}")
    return found


def _trouble(one: Notifier) -> str | None:
    match one:
        case Webhook():
            if not _is_url(one.url):
                return "url is where to post to, http:// or https://"
            if one.format == "telegram" and not one.chat:
                return "chat says to which chat of Telegram"
            if not (one.token.isascii() and one.token.isprintable()):
                return "token is printable ASCII"
        case Command():
            if not one.run or not one.run[0] or any("\0" in part for part in one.run):
                return "run is a list: the program, then its arguments"
            if not 0.1 <= one.seconds <= 600:
                return "seconds is 0.1 to 600"
        case Mail():
            if not one.to or not all(map(_is_mail, (one.sender, *one.to))):
                return "sender and to are mail addresses, such as me@example.org"
            if one.user and one.tls == "none" and one.host not in _HERE:
                return "tls is starttls or tls where a password is sent to another machine"
            if one.port is not None and not 0 < one.port < 65536:
                return "port is 1 to 65535"
        case Apprise():
            if not one.urls:
                return "urls is a list of at least one"
    return None


def _is_url(text: str) -> bool:
    try:
        parts = urlsplit(text)
        return parts.scheme in ("http", "https") and bool(parts.hostname) and parts.port != 0
    except ValueError:
        return False


def _is_mail(text: str) -> bool:
    return re.fullmatch(r"[!-?A-~]+@[!-?A-~]+", text) is not None


def _without_values(error: Exception) -> str:
    """msgspec repeats a word that is none of those it knows."""
    return re.sub(r"'[^`]*'", "…", str(error))


KIND_NAMES = ("log", "webhook", "command", "mail", "apprise")
