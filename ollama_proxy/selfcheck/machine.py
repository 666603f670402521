"""Looks at this machine: ports, the data folder, programs' lookup, GPU. Changes nothing that stays.

Not here: what is asked of a running proxy or of Ollama (`asking.py`), judgements (`check.py`).
"""

from __future__ import annotations

import os
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from ollama_proxy.callers import finder_for
from ollama_proxy.config import Config
from ollama_proxy.listening import StartError, bind, is_loopback
from ollama_proxy.selfcheck import check
from ollama_proxy.selfcheck.check import Check, ok, warning, wrong
from ollama_proxy.sensors.gpu import Gpus
from ollama_proxy.storage import folder
from ollama_proxy.storage.errors import StoreError
from ollama_proxy.storage.sqlite import SqliteStore

FILES = (folder.DATABASE + "*", "running.json", "start.out", "ollama-proxy.log*")
"""What the proxy has in its folder; there may be other things in it that are none of ours."""


def ports(config: Config) -> Iterator[Check]:
    """Whether they can be listened on; of a proxy that does not run."""
    free = []
    for address, flag in ((config.listen, "--listen"), (config.admin_listen, "--admin-listen")):
        if address is None:
            continue
        try:
            bind(address, flag).close()
            free.append(str(address))
        except StartError as error:
            if flag == "--listen" or config.admin_listen_given:
                yield wrong("ports", str(error))
            else:
                says = f"{error}; the pages are at {config.admin_path} of the proxy's port, too"
                yield warning("ports", says)
    if free:
        yield ok("ports", f"{' and '.join(free)} can be listened on")


def reach(config: Config) -> Iterator[Check]:
    """Who may come, where that is more than this machine."""
    if not is_loopback(config.listen.host):
        yield warning(
            "network",
            f"other machines can reach {config.listen}: whoever can may use the model",
            "wanted? then well; else --listen 127.0.0.1:PORT",
        )


def data_folder(config: Config) -> Iterator[Check]:
    """Whether it can be written, and what is in it."""
    place = config.data_dir.absolute()
    try:
        there = next(one for one in (place, *place.parents) if one.exists())
        with tempfile.TemporaryFile(dir=there) as trial:
            trial.write(bytes(4096))
            trial.flush()
            os.fsync(trial.fileno())
        if there == place:
            yield ok("folder", f"{place} can be written")
        else:
            yield ok("folder", f"{place} is not there yet: the first start makes it")
            return
        found = [*_store(config), _modes(config)]
    except OSError as error:
        remedy = "give this user access to it, free some space, or choose another with --data-dir"
        yield wrong("folder", f"{place} cannot be used: {error.strerror}", remedy)
    else:
        yield from found


def _store(config: Config) -> Iterator[Check]:
    database = config.data_dir / folder.DATABASE
    most = config.retention.megabytes * check.MEGABYTE
    store = SqliteStore(database)
    size = sum(file.stat().st_size for file in folder.files(database))
    yield check.disk(config.data_dir, shutil.disk_usage(config.data_dir).free, size, most)
    if not database.exists():
        yield ok("store", "no call was recorded so far")
        return
    try:
        store.open_to_read()
        calls = store.holdings().calls
    except StoreError as error:
        yield wrong("store", str(error))
    else:
        yield check.size(calls, size, most)
    finally:
        store.close()


def _modes(config: Config) -> Check:
    place = config.data_dir
    found = [path for pattern in FILES for path in sorted(place.glob(pattern))]
    if config.log.file is not None and config.log.file.exists():
        found.append(config.log.file)
    files = [(path, path.stat().st_mode) for path in dict.fromkeys(found)]
    return check.permissions(place, place.stat().st_mode, files)


def token(config: Config) -> Iterator[Check]:
    source = config.sources["admin.token"]
    if source.startswith("file "):
        mode = Path(source.removeprefix("file ")).expanduser().stat().st_mode
        if (found := check.token_file(config, mode)) is not None:
            yield found


def lookup(config: Config) -> Check:
    """Whether the program behind a connection is found: tried with one to ourselves."""
    if not config.clients.processes:
        return ok("programs", "are not looked for: clients.processes is off")
    finder = finder_for()
    try:
        with (
            socket.create_server(("127.0.0.1", 0)) as server,
            socket.create_connection(server.getsockname()) as client,
        ):
            (found,) = finder.find([(client.getsockname(), server.getsockname())])
    except (OSError, RuntimeError) as error:
        return warning("programs", f"cannot be looked for here: {error}", _NAMES)
    finally:
        finder.close()
    if found is None or found.pid != os.getpid():
        return warning("programs", "behind a connection are not found on this system", _NAMES)
    if os.geteuid() == 0:
        return ok("programs", "behind a connection are found, of all users")
    return ok("programs", "behind a connection are found; of other users' their user")


_NAMES = "let them say their names: OLLAMA_HOST=http://…/app/NAME, or clients.header"


def gpu(driver: Path = Path("/dev/nvidiactl")) -> Check:
    """NVIDIA's, as the sensors see them."""
    gpus = Gpus()
    reading = gpus.read(time.monotonic(), set())
    if reading is not None:
        return ok("GPU", gpus.status)
    if driver.exists():
        return warning("GPU", gpus.status, "pip install 'ollama-proxy[gpu]' shows its use")
    return ok("GPU", "no NVIDIA GPU here: its use is not shown")
