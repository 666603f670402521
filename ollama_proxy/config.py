"""The configuration: defaults < TOML file < environment `OLLAMA_PROXY_…` < command-line flags.

After a takeover, what it left in the data folder stands in place of two defaults.

Not here: what settings there are (`settings.py`), opening ports, checking that Ollama is there.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import os
import re
import tomllib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

import msgspec

from ollama_proxy.alerts.config import Notifier, Rule, or_log
from ollama_proxy.settings import ENVIRONMENT, SETTINGS, Address, PrivacyRule, Setting, Upstream


class ConfigError(Exception):
    """A setting that cannot be used. Its text is one line that names the key and where it was."""


class Admin(msgspec.Struct, frozen=True):
    """Who may see the pages: with a `token` all who have it, without one this machine."""

    token: str | None

    def __repr__(self) -> str:
        return "Admin(…)"


class Timeouts(msgspec.Struct, frozen=True):
    """Seconds. 0 means no limit; for `drain` and `pool_idle` it means not at all."""

    connect: float
    first_byte: float
    idle: float
    total: float
    upload: float
    drain: float
    pool_idle: float


class PrivacyRules(msgspec.Struct, frozen=True):
    """What is kept of prompts and answers; the patterns of `redact` do compile.

    `responses` None: as `mode`. `header` may be empty.
    """

    mode: str
    responses: str | None
    characters: int
    redact: tuple[str, ...]
    redact_keys: bool
    redact_mails: bool
    redact_cards: bool
    rules: tuple[PrivacyRule, ...]
    header: str


class ClientRules(msgspec.Struct, frozen=True):
    """Which names of clients are believed. `keys`: the SHA-256 of an API key, in hex → a name.

    `processes`: whether the program behind a connection is looked for.
    """

    processes: bool
    header: str
    keys: Mapping[str, str]


class Insights(msgspec.Struct, frozen=True):
    """Which calls are slow, and which findings (`records.FINDINGS`) are not told unasked."""

    slow_times: float
    slow_seconds: float
    hidden: tuple[str, ...]


class Retention(msgspec.Struct, frozen=True):
    """How much is kept; `recent` in memory. `days`, `megabytes` and `rows` 0: no limit."""

    days: int
    megabytes: int
    rows: int
    recent: int


class Alerts(msgspec.Struct, frozen=True):
    """What is watched, `every` so many seconds, and who is told; both by name."""

    every: float
    rules: Mapping[str, Rule]
    notifiers: Mapping[str, Notifier]

    def __repr__(self) -> str:
        return "Alerts(…)"


class Logs(msgspec.Struct, frozen=True):
    """What is logged, how, and where to; `file` None: standard error."""

    level: str
    format: str
    file: Path | None


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All settings. `sources` tells for each name where its value came from."""

    listen: Address
    upstream: Upstream
    admin_listen: Address | None
    admin_path: str
    data_dir: Path
    models_interval: float
    inject_usage: bool
    admin: Admin
    timeouts: Timeouts
    privacy: PrivacyRules
    clients: ClientRules
    insights: Insights
    retention: Retention
    alerts: Alerts
    log: Logs
    sources: dict[str, str]

    @property
    def admin_listen_given(self) -> bool:
        """Whether somebody asked for this address, so that its being taken is an error."""
        return self.sources["admin_listen"] != "default"


class Effective(msgspec.Struct, frozen=True):
    """A setting in force: its value as a flag would have it, "…" for a secret; the `unit` of a
    number, else ""; where it came from."""

    name: str
    value: str
    unit: str
    source: str


CONFIG_ENVIRONMENT = ENVIRONMENT + "CONFIG"
TAKEN_OVER = "takeover.toml"
"""In the data folder: TAKEOVER_SETS of who says nothing else, after a takeover."""
TAKEOVER_SETS = ("listen", "upstream")
_SETTINGS = {setting.name: setting for setting in SETTINGS}
_SECTIONS = dict.fromkeys(name.partition(".")[0] for name in _SETTINGS if "." in name)


class _Given(msgspec.Struct, frozen=True):
    """A value not yet understood, and where it was. `text`: it is text, not a TOML value."""

    value: Any
    source: str
    text: bool = False


def _bytes(path: str) -> bytes:
    return Path(path).expanduser().read_bytes()


def load(
    flags: Mapping[str, str],
    environ: Mapping[str, str],
    read_file: Callable[[str], bytes] = _bytes,
) -> Config:
    """The configuration that a proxy is to run with, or `ConfigError`.

    `flags` holds what was given on the command line by the settings' names (`admin_listen`), and
    the file's path as `config`. A value that another one overrides is not checked.
    """
    config = read(flags, environ, read_file)
    _check_together(config)
    return config


def read(
    flags: Mapping[str, str],
    environ: Mapping[str, str],
    read_file: Callable[[str], bytes] = _bytes,
    only: Collection[str] = (),
) -> Config:
    """The same for who runs nothing by it: whether a value is safe beside the others is not asked.

    `only`: the settings that are used, if not all; the others are as by default.
    """
    path = flags.get("config", environ.get(CONFIG_ENVIRONMENT) or None)
    given = {name: _Given(setting.default, "default") for name, setting in _SETTINGS.items()}
    if path is not None:
        given |= _from_file(path, read_file)
    for name, setting in _SETTINGS.items():
        if text := environ.get(setting.environment):
            given[name] = _Given(text, f"environment {setting.environment}", text=True)
        if name in flags:
            given[name] = _Given(flags[name], f"flag {setting.flag}", text=True)
    if not only or set(only) & set(TAKEOVER_SETS):
        found = _left_by_takeover(_understood(_SETTINGS["data_dir"], given["data_dir"]))
        given |= {name: one for name, one in found.items() if given[name].source == "default"}
    if only:
        unused = (one for name, one in _SETTINGS.items() if name not in only)
        given |= {one.name: _Given(one.default, "default") for one in unused}
    return _build(
        {name: _understood(_SETTINGS[name], value) for name, value in given.items()},
        {name: value.source for name, value in given.items()},
    )


def effective(config: Config) -> list[Effective]:
    """All settings, in their order."""
    return [
        Effective(
            setting.name,
            _effective(config, setting),
            setting.kind.unit,
            config.sources[setting.name],
        )
        for setting in SETTINGS
    ]


def _effective(config: Config, setting: Setting) -> str:
    value: Any = config
    for part in setting.name.split("."):
        value = getattr(value, part)
    if value is None:
        return "off" if setting.name == "admin_listen" else ""
    if setting.kind.secret and value:
        return "…"
    if isinstance(value, (str, Address, Upstream, Path)):
        return str(value)
    return msgspec.json.encode(value).decode()


def misspelt(environ: Mapping[str, str]) -> list[str]:
    """A line for each variable that looks like a setting's but is none.

    Only near misses: a container platform may set OLLAMA_PROXY_PORT and the like by itself.
    """
    known = {CONFIG_ENVIRONMENT, *(setting.environment for setting in SETTINGS)}
    return [
        f"environment {_line(name)} is no setting: did you mean {near}?"
        for name in environ
        if name.startswith(ENVIRONMENT) and name not in known
        for near in difflib.get_close_matches(name, known, n=1, cutoff=0.92)
    ]


def _from_file(path: str, read_file: Callable[[str], bytes]) -> dict[str, _Given]:
    found: dict[str, Any] = {}
    for key, value in _toml(path, read_file).items():
        if isinstance(value, dict) and value and key not in _SETTINGS:
            found |= {f"{key}.{name}": member for name, member in value.items()}
        elif key not in _SECTIONS:
            found[key] = value
        elif value != {}:
            shown = "…" if _has_secret(key) else _shown(value)
            raise ConfigError(f"{key} = {shown} (file {path}): expected a table, [{key}]")
    for name in found:
        if name not in _SETTINGS:
            raise ConfigError(f"{_line(name)} (file {path}): no such setting{_nearest(name)}")
    return {name: _Given(value, f"file {path}") for name, value in found.items()}


def _left_by_takeover(folder: Path) -> dict[str, _Given]:
    path = str(folder / TAKEN_OVER)
    if not os.path.exists(path):  # or the folder is another user's, which is said where it is used
        return {}
    if os.stat(path).st_uid not in (os.geteuid(), 0):
        raise ConfigError(f"{path} is another user's: remove it, or choose another data folder")
    found = _from_file(path, _bytes)
    if others := found.keys() - set(TAKEOVER_SETS):
        raise ConfigError(f"{min(others)} (file {path}): expected listen and upstream only")
    return found


def _toml(path: str, read_file: Callable[[str], bytes]) -> dict[str, Any]:
    try:
        return tomllib.loads(read_file(path).decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"config file {_line(path)}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"config file {_line(path)}: line {line} is not UTF-8") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        hint = "; a text stands in quotes" if "Invalid value" in str(error) else ""
        raise ConfigError(f"config file {_line(path)}: {_line(str(error))}{hint}") from error


def _understood(setting: Setting, given: _Given) -> Any:
    try:
        value = setting.kind.from_text(given.value) if given.text else given.value
        return setting.kind.parse(value)
    except (ValueError, RuntimeError) as error:
        why = "" if error.__cause__ is None else f" ({_line(str(error.__cause__))})"
        shown = "…" if setting.kind.secret else _shown(given.value)
        raise ConfigError(
            f"{setting.name} = {shown} ({given.source}): expected {setting.kind.right}{why}"
        ) from error


def _build(values: Mapping[str, Any], sources: dict[str, str]) -> Config:
    tables: dict[str, dict[str, Any]] = {"": {}, **{section: {} for section in _SECTIONS}}
    for name, value in values.items():
        section, _, key = name.rpartition(".")
        tables[section][key] = value
    return Config(
        **tables[""],
        admin=Admin(**tables["admin"]),
        timeouts=Timeouts(**tables["timeouts"]),
        privacy=PrivacyRules(**tables["privacy"]),
        clients=ClientRules(**tables["clients"]),
        insights=Insights(**tables["insights"]),
        retention=Retention(**tables["retention"]),
        alerts=Alerts(**tables["alerts"]),
        log=Logs(**tables["log"]),
        sources=sources,
    )


def _check_together(config: Config) -> None:
    """What each is right in itself, but not beside the others, or not safe."""
    admin = config.admin_listen
    if admin is not None and _meant(admin.host) != "localhost" and config.admin.token is None:
        raise ConfigError(
            f"{_told(config, 'admin_listen')}: whoever reaches it could read what is recorded: set "
            f"admin.token (environment {_SETTINGS['admin.token'].environment}, or the config "
            "file), or use a loopback address and an SSH tunnel"
        )
    if admin is not None and same_listener(admin, config.listen):
        raise ConfigError(
            f"{_told(config, 'admin_listen')} is the same as {_told(config, 'listen')}: expected "
            f"another port, or off; the pages are on the clients' port at {config.admin_path} too"
        )
    for rule in config.alerts.rules.values():
        for name in rule.notify or ():
            if name not in or_log(config.alerts.notifiers):
                known = ", ".join(or_log(config.alerts.notifiers))
                raise ConfigError(
                    f"alerts.rules ({config.sources['alerts.rules']}): {rule.name}: there is no "
                    f"notifier {name!r}: expected one of {known}"
                )
    upstream = Address(config.upstream.host, config.upstream.port)
    for name, own in (("listen", config.listen), ("admin_listen", admin)):
        if own is not None and same_listener(upstream, own):
            raise ConfigError(
                f"{_told(config, 'upstream')} is the same as {_told(config, name)}: the proxy "
                "would forward to itself; expected two different addresses"
            )


def _told(config: Config, name: str) -> str:
    return f"{name} = {getattr(config, name)} ({config.sources[name]})"


def same_listener(one: Address, other: Address) -> bool:
    """Whether both are one listener; a listener on all addresses is this machine's own too."""
    hosts = {_meant(one.host), _meant(other.host)}
    return one.port == other.port != 0 and (len(hosts) == 1 or hosts == {"localhost", "all"})


def _meant(host: str) -> str:
    """A host as it can be compared: all of loopback's names are `localhost`."""
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        name = host.lower().rstrip(".")
        return "localhost" if name.endswith(".localhost") else name
    address = getattr(address, "ipv4_mapped", None) or address
    if address.is_unspecified:
        return "all"
    return "localhost" if address.is_loopback else str(address)


def _nearest(name: str) -> str:
    ends = [known for known in _SETTINGS if known.endswith(f".{name}")]
    near = ends[:1] or difflib.get_close_matches(name, _SETTINGS, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _shown(value: object) -> str:
    """A value for a message: one line, short, without a password that a URL may hold."""
    text = re.sub(r"//[^/@]*@", "//***@", json.dumps(value, default=str))
    return text if len(text) <= 80 else text[:79] + "…"


def _has_secret(section: str) -> bool:
    return any(one.kind.secret for one in SETTINGS if one.name.startswith(f"{section}."))


def _line(text: str) -> str:
    return " ".join(text.split())
