"""The configuration: defaults < TOML file < environment `OLLAMA_PROXY_…` < command-line flags.

`SETTINGS` is the one table: the file, the environment, the flags, `config.example.toml` and the
README are all made from it or held to it. Not here: opening ports, checking that Ollama is there.
"""

from __future__ import annotations

import difflib
import ipaddress
import json
import re
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import msgspec
import platformdirs

ENVIRONMENT = "OLLAMA_PROXY_"
PRIVACY_MODES = ("none", "truncate", "hash", "full")


class ConfigError(Exception):
    """A setting that cannot be used. Its text is one line that names the key and where it was."""


class Address(msgspec.Struct, frozen=True):
    """Where to listen. `host` is without brackets; port 0 lets the system choose."""

    host: str
    port: int

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
    """What is kept of prompts and answers; the patterns of `redact` do compile."""

    mode: str
    characters: int
    redact: tuple[str, ...]


class Retention(msgspec.Struct, frozen=True):
    """How much is kept. `days` and `megabytes` 0: no limit. `recent`: finished calls in memory."""

    days: int
    megabytes: int
    recent: int


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """All settings. `sources` tells for each name where its value came from."""

    listen: Address
    upstream: Upstream
    admin_listen: Address | None
    admin_path: str
    data_dir: Path
    models_interval: float
    timeouts: Timeouts
    privacy: PrivacyRules
    retention: Retention
    sources: dict[str, str]

    @property
    def admin_listen_given(self) -> bool:
        """Whether somebody asked for this address, so that its being taken is an error."""
        return self.sources["admin_listen"] != "default"


class Kind(msgspec.Struct, frozen=True):
    """A sort of value. `parse` makes it from a TOML value, `from_text` that one from a text of
    the environment or a flag; both raise ValueError for what is not `right`."""

    right: str
    parse: Callable[[Any], Any]
    from_text: Callable[[str], Any] = str


class Setting(msgspec.Struct, frozen=True):
    """One row of the table. `default` is what a TOML file would hold."""

    name: str
    kind: Kind
    default: Any
    help: str

    @property
    def environment(self) -> str:
        return ENVIRONMENT + self.name.upper().replace(".", "_")

    @property
    def flag(self) -> str:
        return "--" + self.name.replace(".", "-").replace("_", "-")


def _host(text: str) -> str:
    """A host name or IP address, the latter in brackets if IPv6; returned without them."""
    if text.startswith("[") and text.endswith("]"):
        return str(ipaddress.IPv6Address(text[1:-1]))
    if re.fullmatch(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?", text) is None:
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


def _mode(value: object) -> str:
    if value not in PRIVACY_MODES:
        raise ValueError
    return _text(value)


def _patterns(value: object) -> tuple[str, ...]:
    if not isinstance(value, list):
        raise ValueError
    for pattern in value:
        try:
            re.compile(_text(pattern))
        except (re.error, RecursionError, OverflowError) as error:
            raise ValueError from error
    return tuple(value)


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise ValueError
    return value


ADDRESS = Kind("host:port, such as 127.0.0.1:11435 or [::1]:11435", _address)
ADMIN_ADDRESS = Kind('host:port, such as 127.0.0.1:8080, or "off"', _address_or_off)
UPSTREAM = Kind("http or https, host, port and perhaps a path: http://127.0.0.1:11434", _upstream)
ADMIN_PATH = Kind("a path such as /admin, not / and not beginning with /api or /v1", _admin_path)
FOLDER = Kind("the path of a folder", _data_dir)
MODE = Kind("one of " + ", ".join(PRIVACY_MODES), _mode)
PATTERNS = Kind('a list of regular expressions, such as ["sk-[a-z0-9]+"]', _patterns, json.loads)
SECONDS = Kind("a number of seconds, 0 or more", _number(float, 0), float)
INTERVAL = Kind("a number of seconds, 0.1 or more", _number(float, 0.1), float)
CHARACTERS = Kind("a whole number from 0 to 1000000", _number(int, 0, 1_000_000), int)
AMOUNT = Kind("a whole number, 0 or more", _number(int, 0, 2**31), int)
RECENT = Kind("a whole number from 1 to 100000", _number(int, 1, 100_000), int)

SETTINGS: tuple[Setting, ...] = (
    Setting("listen", ADDRESS, "127.0.0.1:11435", "Where clients connect."),
    Setting("upstream", UPSTREAM, "http://127.0.0.1:11434", "Where Ollama listens."),
    Setting("admin_listen", ADMIN_ADDRESS, "127.0.0.1:8080", "The pages' own port, or off."),
    Setting("admin_path", ADMIN_PATH, "/admin", "The pages on the clients' port; not forwarded."),
    Setting("data_dir", FOLDER, "", "The database's folder; if empty, the user's data folder."),
    Setting("models_interval", INTERVAL, 10, "Seconds between two looks at Ollama's models."),
    Setting("timeouts.connect", SECONDS, 10, "Seconds to connect to Ollama. 0: no limit."),
    Setting("timeouts.first_byte", SECONDS, 0, "Seconds to the answer's first byte. 0: no limit."),
    Setting("timeouts.idle", SECONDS, 0, "Seconds between two pieces of an answer. 0: no limit."),
    Setting("timeouts.total", SECONDS, 0, "Seconds of a whole call. 0: no limit."),
    Setting("timeouts.upload", SECONDS, 300, "Seconds between pieces of a request. 0: no limit."),
    Setting("timeouts.drain", SECONDS, 30, "Seconds that running calls get to end at a stop."),
    Setting("timeouts.pool_idle", SECONDS, 30, "Seconds an idle connection to Ollama is kept."),
    Setting("privacy.mode", MODE, "truncate", "Kept of texts: none, truncate, hash or full."),
    Setting("privacy.characters", CHARACTERS, 200, "Characters kept in the mode truncate."),
    Setting("privacy.redact", PATTERNS, [], "Regular expressions; what they match is taken out."),
    Setting("retention.days", AMOUNT, 30, "Days that calls are kept. 0: no limit."),
    Setting("retention.megabytes", AMOUNT, 1024, "Size the database may reach. 0: no limit."),
    Setting("retention.recent", RECENT, 1000, "Finished calls kept in memory."),
)
CONFIG_ENVIRONMENT = ENVIRONMENT + "CONFIG"
_SETTINGS = {setting.name: setting for setting in SETTINGS}
_SECTIONS = dict.fromkeys(name.partition(".")[0] for name in _SETTINGS if "." in name)


class _Given(msgspec.Struct, frozen=True):
    """A value not yet understood, and where it was. `text`: it is text, not a TOML value."""

    value: Any
    source: str
    text: bool = False


def load(
    flags: Mapping[str, str],
    environ: Mapping[str, str],
    read_file: Callable[[str], bytes] = lambda path: Path(path).expanduser().read_bytes(),
) -> Config:
    """The configuration, or `ConfigError`.

    `flags` holds what was given on the command line by the settings' names (`admin_listen`), and
    the file's path as `config`. A value that another one overrides is not checked.
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
    config = _build(
        {name: _understood(_SETTINGS[name], value) for name, value in given.items()},
        {name: value.source for name, value in given.items()},
    )
    _check_together(config)
    return config


def _from_file(path: str, read_file: Callable[[str], bytes]) -> dict[str, _Given]:
    found: dict[str, Any] = {}
    for key, value in _toml(path, read_file).items():
        if isinstance(value, dict) and value and key not in _SETTINGS:
            found |= {f"{key}.{name}": member for name, member in value.items()}
        elif key not in _SECTIONS:
            found[key] = value
        elif value != {}:
            raise ConfigError(f"{key} = {_shown(value)} (file {path}): expected a table, [{key}]")
    for name in found:
        if name not in _SETTINGS:
            raise ConfigError(f"{_line(name)} (file {path}): no such setting{_nearest(name)}")
    return {name: _Given(value, f"file {path}") for name, value in found.items()}


def _toml(path: str, read_file: Callable[[str], bytes]) -> dict[str, Any]:
    try:
        return tomllib.loads(read_file(path).decode("utf-8-sig"))
    except OSError as error:
        raise ConfigError(f"config file {_line(path)}: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError(f"config file {_line(path)}: line {line} is not UTF-8") from error
    except (tomllib.TOMLDecodeError, RecursionError) as error:
        raise ConfigError(f"config file {_line(path)}: {_line(str(error))}") from error


def _understood(setting: Setting, given: _Given) -> Any:
    try:
        value = setting.kind.from_text(given.value) if given.text else given.value
        return setting.kind.parse(value)
    except (ValueError, RuntimeError) as error:
        why = "" if error.__cause__ is None else f" ({_line(str(error.__cause__))})"
        raise ConfigError(
            f"{setting.name} = {_shown(given.value)} ({given.source}): "
            f"expected {setting.kind.right}{why}"
        ) from error


def _build(values: Mapping[str, Any], sources: dict[str, str]) -> Config:
    tables: dict[str, dict[str, Any]] = {"": {}, **{section: {} for section in _SECTIONS}}
    for name, value in values.items():
        section, _, key = name.rpartition(".")
        tables[section][key] = value
    return Config(
        **tables[""],
        timeouts=Timeouts(**tables["timeouts"]),
        privacy=PrivacyRules(**tables["privacy"]),
        retention=Retention(**tables["retention"]),
        sources=sources,
    )


def _check_together(config: Config) -> None:
    """What each is right in itself, but not beside the others, or not safe."""
    admin = config.admin_listen
    if admin is not None and _meant(admin.host) != "localhost":
        raise ConfigError(
            f"{_told(config, 'admin_listen')}: needs a token, which this version does not have: "
            "use a loopback address or an SSH tunnel"
        )
    if admin is not None and _same(admin, config.listen):
        raise ConfigError(
            f"{_told(config, 'admin_listen')} is the same as {_told(config, 'listen')}: expected "
            f"another port, or off; the pages are on the clients' port at {config.admin_path} too"
        )
    upstream = Address(config.upstream.host, config.upstream.port)
    for name, own in (("listen", config.listen), ("admin_listen", admin)):
        if own is not None and _same(upstream, own):
            raise ConfigError(
                f"{_told(config, 'upstream')} is the same as {_told(config, name)}: the proxy "
                "would forward to itself; expected two different addresses"
            )


def _told(config: Config, name: str) -> str:
    return f"{name} = {getattr(config, name)} ({config.sources[name]})"


def _same(one: Address, other: Address) -> bool:
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
    near = difflib.get_close_matches(name, _SETTINGS, n=1)
    return f"; did you mean {near[0]}?" if near else ""


def _shown(value: object) -> str:
    """A value for a message: one line, short, without a password that a URL may hold."""
    text = re.sub(r"//[^/@]*@", "//***@", json.dumps(value, default=str))
    return text if len(text) <= 80 else text[:79] + "…"


def _line(text: str) -> str:
    return " ".join(text.split())
