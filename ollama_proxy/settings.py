"""The settings: one table of names, kinds, defaults and words, and the kinds of value there are.

The flags, the environment, `config.example.toml` and the README are made from `SETTINGS` or held
to it by tests. Not here: where a value comes from, what is wrong with two of them (`config.py`).
"""

from __future__ import annotations

import ipaddress
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import platformdirs

from ollama_proxy import records
from ollama_proxy.alerts import config as alerts
from ollama_proxy.alerts import examples

ENVIRONMENT = "OLLAMA_PROXY_"
PRIVACY_MODES = ("none", "truncate", "hash", "full")
LOG_LEVELS = ("debug", "info", "warning", "error")
LOG_FORMATS = ("human", "json")


class Address(msgspec.Struct, frozen=True):
    """Where to listen. `host` is without brackets; port 0 lets the system choose."""

    host: str
    port: int

    @property
    def reachable(self) -> Address:
        """Where this machine's programs reach who listens here."""
        return Address({"0.0.0.0": "127.0.0.1", "::": "::1"}.get(self.host, self.host), self.port)

    def __str__(self) -> str:
        return f"[{self.host}]:{self.port}" if ":" in self.host else f"{self.host}:{self.port}"


class Upstream(msgspec.Struct, frozen=True):
    """Where Ollama is. `path` is "" or begins with a slash and does not end with one."""

    scheme: str
    host: str
    port: int
    path: str = ""

    def __str__(self) -> str:
        return f"{self.scheme}://{Address(self.host, self.port)}{self.path}"


class PrivacyRule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Modes for the calls that fit all of `model`, `client`, `route`; what is None does not matter.

    These are compared whole, in any case; `*` stands for any characters, and a model's name may
    leave out what Ollama fills in. `responses` None: as `mode`; `mode` None: of prompts the same
    is kept as without the rule.
    """

    model: str | None = None
    client: str | None = None
    route: str | None = None
    mode: str | None = None
    responses: str | None = None


class Kind(msgspec.Struct, frozen=True):
    """A sort of value. `parse` makes it from a TOML value, `from_text` that one from a text of
    the environment or a flag; both raise ValueError for what is not `right`. A `secret` value is
    not shown, as a wrong one may be a key. `unit`: what a number counts, in English."""

    right: str
    parse: Callable[[Any], Any]
    from_text: Callable[[str], Any] = str
    secret: bool = False
    unit: str = ""


class Setting(msgspec.Struct, frozen=True):
    """One row of the table. `default` is what a TOML file would hold; what has no flag is better
    not said on a command line, which other users see. `example`: TOML for the example file."""

    name: str
    kind: Kind
    default: Any
    help: str
    has_flag: bool = True
    example: str = ""

    @property
    def environment(self) -> str:
        return ENVIRONMENT + self.name.upper().replace(".", "_")

    @property
    def flag(self) -> str:
        return "--" + self.name.replace(".", "-").replace("_", "-")


def _host(text: str) -> str:
    """A host name or IP address, the latter in brackets if IPv6; returned without them.

    A name's lengths are those of RFC 1035 section 2.3.4: of others getaddrinfo raises UnicodeError.
    """
    if text.startswith("[") and text.endswith("]"):
        return str(ipaddress.IPv6Address(text[1:-1]))
    if re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?", text) is None:
        raise ValueError
    name = text.removesuffix(".")
    if len(name) > 253 or not all(0 < len(label) <= 63 for label in name.split(".")):
        raise ValueError
    return text


def _port(text: str, lowest: int) -> int:
    if re.fullmatch(r"[0-9]{1,5}", text) is None or not lowest <= int(text) <= 65535:
        raise ValueError
    return int(text)


def _address(value: object) -> Address:
    host, _, port = _text(value).rpartition(":")
    return Address(_host(host), _port(port, 0))


def _address_or_off(value: object) -> Address | None:
    return None if value == "off" else _address(value)


def _upstream(value: object) -> Upstream:
    """A URL, or host and port as in OLLAMA_HOST: then http, and Ollama's port if none is named.

    "All addresses", which OLLAMA_HOST may name for listening, is loopback to a client.
    """
    match = re.fullmatch(
        r"(?:(https?)://)?(\[[^\]]*\]|[^:/@?#\[\]]+)?(?::([0-9]+))?(/[!-~]*)?", _text(value).strip()
    )
    if match is None or not (match[2] or match[3]) or re.search("[?#@]", match[4] or ""):
        raise ValueError
    host = _host(match[2] or "127.0.0.1")
    host = {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)
    port = _port(match[3], 1) if match[3] else {None: 11434, "http": 80, "https": 443}[match[1]]
    return Upstream(match[1] or "http", host, port, (match[4] or "").rstrip("/"))


def _admin_path(value: object) -> str:
    path = _text(value).rstrip("/")
    plain = re.fullmatch(r"(/[A-Za-z0-9_~-][A-Za-z0-9_.~-]*)+", path)
    if plain is None or path.startswith(("/api", "/v1")):
        raise ValueError
    return path


def _data_dir(value: object) -> Path:
    if "\0" in _text(value):
        raise ValueError
    return Path(_text(value) or platformdirs.user_data_dir("ollama_proxy")).expanduser()


def _number(
    sort: type[int] | type[float], lowest: float, highest: float = 2**53
) -> Callable[[object], float]:
    def parse(value: object) -> float:
        if isinstance(value, bool) or not isinstance(value, (int, sort)):
            raise ValueError
        if not lowest <= value <= highest:
            raise ValueError
        return sort(value)

    return parse


def _one_of(words: tuple[str, ...]) -> Callable[[object], str]:
    def parse(value: object) -> str:
        if value not in words:
            raise ValueError
        return _text(value)

    return parse


def _file_or_none(value: object) -> Path | None:
    if "\0" in _text(value):
        raise ValueError
    return Path(_text(value)).expanduser() if value else None


def _mode_or_none(value: object) -> str | None:
    return _one_of(PRIVACY_MODES)(value) if value != "" else None


def _own_header(value: object) -> str:
    """A header that goes no further must be none that an upstream needs."""
    name = _header(value)
    if name != "off" and not name.lower().startswith("x-"):
        raise ValueError
    return "" if name == "off" else name


def _rules(value: object) -> tuple[PrivacyRule, ...]:
    if not isinstance(value, list):
        raise ValueError
    return tuple(map(_rule, value))


def _rule(value: object) -> PrivacyRule:
    try:
        rule = msgspec.convert(value, PrivacyRule)
    except msgspec.ValidationError as error:
        raise ValueError from error
    for mode in (rule.mode, rule.responses):
        if mode is not None and mode not in PRIVACY_MODES:
            raise ValueError from ValueError(f"{mode[:40]!r} is no mode")
    if not (rule.mode or rule.responses):
        raise ValueError from ValueError("a rule without a mode")
    if not (rule.model or rule.client or rule.route):
        raise ValueError from ValueError("a rule for no model, client or route")
    return rule


def _switch(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError
    return value


def _header(value: object) -> str:
    name = _text(value)
    if name and re.fullmatch(r"[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}", name) is None:
        raise ValueError
    return name


def _keys(value: object) -> dict[str, str]:
    """Names and hashes, turned round: a key's hash finds its name."""
    if not isinstance(value, dict):
        raise ValueError
    found = {}
    for name, digest in value.items():
        digits = _text(digest).lower().removeprefix("sha256:")
        if not re.fullmatch(r"[0-9a-f]{64}", digits) or not 0 < len(name) <= 64:
            raise ValueError
        if not name.isprintable():
            raise ValueError
        found[digits] = name
    return found


def _patterns(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError
    for pattern in value:
        try:
            re.compile(_text(pattern))
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError from error
    return tuple(value)


def _findings(value: object) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(one in records.FINDINGS for one in value):
        raise ValueError
    return tuple(value)


def _token(value: object) -> str | None:
    """What a header can carry; too long to be found by trying."""
    if value == "":
        return None
    if re.fullmatch(r"[!-~]{16,1024}", _text(value)) is None:
        raise ValueError
    return _text(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


ADDRESS = Kind("host:port, such as 127.0.0.1:11435 or [::1]:11435", _address)
ADMIN_ADDRESS = Kind('host:port, such as 127.0.0.1:8080, or "off"', _address_or_off)
UPSTREAM = Kind("http or https, host, port and perhaps a path: http://127.0.0.1:11434", _upstream)
ADMIN_PATH = Kind("a path such as /admin, not / and not beginning with /api or /v1", _admin_path)
MODE_OR_NONE = Kind("one of " + ", ".join(PRIVACY_MODES) + ", or nothing", _mode_or_none)
RULES = Kind(
    'a list of tables such as {client = "backtest.py", mode = "none"}, each with a model, client '
    "or route, and a mode for prompts and answers, or one for responses",
    _rules,
    json.loads,
)
OWN_HEADER = Kind("the name of a header that begins with X-, or off", _own_header)
FOLDER = Kind("the path of a folder", _data_dir)
MODE = Kind("one of " + ", ".join(PRIVACY_MODES), _one_of(PRIVACY_MODES))
LEVEL = Kind("one of " + ", ".join(LOG_LEVELS), _one_of(LOG_LEVELS))
FORMAT = Kind("one of " + ", ".join(LOG_FORMATS), _one_of(LOG_FORMATS))
FILE_OR_NONE = Kind("the path of a file, or nothing", _file_or_none)
PATTERNS = Kind('a list of regular expressions, such as ["sk-[a-z0-9]+"]', _patterns, json.loads)
SWITCH = Kind("true or false", _switch, json.loads)
HEADER = Kind("the name of a header, such as X-Client, or nothing", _header)
KEYS = Kind(
    "a table of names and SHA-256 hashes (64 hex digits), never the keys themselves",
    _keys,
    json.loads,
    secret=True,
)
TOKEN = Kind(
    "16 characters or more, of printable ASCII without spaces: openssl rand -hex 16 makes some",
    _token,
    secret=True,
)
SECONDS = Kind("a number of seconds, 0 or more", _number(float, 0), float, unit="seconds")
INTERVAL = Kind("a number of seconds, 0.1 or more", _number(float, 0.1), float, unit="seconds")
CHARACTERS = Kind(
    "a whole number from 0 to 1000000", _number(int, 0, 1_000_000), int, unit="characters"
)
MEGABYTES = Kind("a whole number, 0 or more", _number(int, 0, 2**31), int, unit="megabytes")
CALLS = Kind("a whole number, 0 or more", _number(int, 0, 2**31), int, unit="calls")
DAYS = Kind("a whole number of days, 0 to 36500", _number(int, 0, 36_500), int, unit="days")
TIMES = Kind("a number, 1 or more", _number(float, 1), float, unit="times")
FINDINGS = Kind(
    'a list such as ["waited", "left"], of these: ' + ", ".join(records.FINDINGS),
    _findings,
    json.loads,
)
ALERTS = Kind("a table of rules by name, each a table", alerts.rules, json.loads)
NOTIFIERS = Kind(
    "a table of notifiers by name, each a table with its kind",
    alerts.notifiers,
    json.loads,
    secret=True,
)
RECENT = Kind("a whole number from 1 to 100000", _number(int, 1, 100_000), int, unit="calls")

SETTINGS: tuple[Setting, ...] = (
    Setting("listen", ADDRESS, "127.0.0.1:11435", "Where clients connect."),
    Setting("upstream", UPSTREAM, "http://127.0.0.1:11434", "Where Ollama listens."),
    Setting("admin_listen", ADMIN_ADDRESS, "127.0.0.1:8080", "The pages' own port, or off."),
    Setting("admin_path", ADMIN_PATH, "/admin", "The pages on the clients' port; not forwarded."),
    Setting("data_dir", FOLDER, "", "The database's folder; if empty, the user's data folder."),
    Setting("models_interval", INTERVAL, 10, "Seconds between two looks at Ollama's models."),
    Setting("inject_usage", SWITCH, False, "Edit /v1 streams: ask for usage, take it out again."),
    Setting(
        "admin.token",
        TOKEN,
        "",
        "What the pages ask for, 16 characters or more; if empty, they answer this machine only.",
        has_flag=False,
    ),
    Setting("timeouts.connect", SECONDS, 10, "Seconds to connect to Ollama. 0: no limit."),
    Setting("timeouts.first_byte", SECONDS, 0, "Seconds to the answer's first byte. 0: no limit."),
    Setting("timeouts.idle", SECONDS, 0, "Seconds between two pieces of an answer. 0: no limit."),
    Setting("timeouts.total", SECONDS, 0, "Seconds of a whole call. 0: no limit."),
    Setting("timeouts.upload", SECONDS, 300, "Seconds between pieces of a request. 0: no limit."),
    Setting("timeouts.drain", SECONDS, 30, "Seconds that running calls get at a stop. 0: none."),
    Setting("timeouts.pool_idle", SECONDS, 30, "Seconds an idle connection stays open. 0: none."),
    Setting("privacy.mode", MODE, "truncate", "Kept of texts: none, truncate, hash or full."),
    Setting("privacy.responses", MODE_OR_NONE, "", "Kept of answers, if not the same."),
    Setting("privacy.characters", CHARACTERS, 200, "Characters kept in the mode truncate."),
    Setting("privacy.redact", PATTERNS, [], "Regular expressions; what they match is taken out."),
    Setting("privacy.redact_keys", SWITCH, True, "Take out API keys, tokens and passwords."),
    Setting("privacy.redact_mails", SWITCH, True, "Take out mail addresses."),
    Setting("privacy.redact_cards", SWITCH, True, "Take out numbers of payment cards."),
    Setting("privacy.rules", RULES, [], "Other modes by model, client or route: the first holds."),
    Setting(
        "privacy.header",
        OWN_HEADER,
        "X-Ollama-Proxy-Privacy",
        "A request's header that names its mode; not forwarded. Or off.",
    ),
    Setting("clients.processes", SWITCH, True, "Find out which local program calls."),
    Setting("clients.header", HEADER, "", "A header whose value is the caller's name."),
    Setting("clients.keys", KEYS, {}, "Callers' names, each with the SHA-256 of its API key."),
    Setting("insights.slow_times", TIMES, 2, "Times the usual that a slow call takes at least."),
    Setting(
        "insights.slow_seconds",
        SECONDS,
        1,
        "Seconds above the usual that a slow call takes at least.",
    ),
    Setting("insights.hidden", FINDINGS, [], "Findings that are told only if they are asked for."),
    Setting("retention.days", DAYS, 30, "Days that calls are kept. 0: no limit."),
    Setting("retention.megabytes", MEGABYTES, 1024, "Size the database may reach. 0: no limit."),
    Setting("retention.rows", CALLS, 0, "Calls that are kept. 0: no limit."),
    Setting("retention.recent", RECENT, 1000, "Finished calls kept in memory."),
    Setting("alerts.every", INTERVAL, 10, "Seconds between two looks at the alerts' rules."),
    Setting("alerts.rules", ALERTS, {}, "What is watched, by name.", example=examples.RULES),
    Setting("alerts.notifiers", NOTIFIERS, {}, "Who is told.", False, examples.NOTIFIERS),
    Setting(
        "log.level",
        LEVEL,
        "info",
        "The lowest level: debug, info, warning or error.",
    ),
    Setting("log.format", FORMAT, "human", "How: human, or json for a line of JSON an event."),
    Setting("log.file", FILE_OR_NONE, "", "Where to; if empty, to standard error."),
)
