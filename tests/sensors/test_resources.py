"""What Ollama's processes use, held against what real processes count themselves, by getrusage.

Not here: what a test machine cannot have, such as a number that is used again
(`test_made_up_processes.py`).
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from ollama_proxy.sensors.gpu import Gpus
from ollama_proxy.sensors.machine import ThisMachine, Unknown
from ollama_proxy.sensors.resources import SEARCH_SECONDS, Reading, ResourceSensor
from tests.sensors import burner

MEGABYTE = 1 << 20
# The kernel tells user and system time in hundredths, cut off: for each of a process's two, at each
# of two looks. Ours have at most three processes; a command more costs them below a hundredth.
TOLERANCE = 0.05


class Server:
    """A burner that listens, and is called as Ollama's server is; so are its runners."""

    def __init__(self, folder: Path, name: str = "ollama") -> None:
        folder.mkdir(exist_ok=True)
        program = folder / name
        program.symlink_to(os.path.realpath(sys.executable))
        self.process = subprocess.Popen(
            [program, burner.__file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.port = int(self.do("listen"))

    def do(self, command: str) -> str:
        assert self.process.stdin and self.process.stdout
        print(command, file=self.process.stdin, flush=True)
        return self.process.stdout.readline().strip()

    def total(self) -> float:
        """CPU seconds that it and all its descendants count themselves."""
        return float(self.do("total"))

    def stop(self) -> None:
        self.process.communicate()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Server]:
    server = Server(tmp_path)
    yield server
    server.stop()


def watching(server: Server) -> ResourceSensor:
    return ResourceSensor("127.0.0.1", server.port, gpus=no_gpus())


def no_gpus() -> Gpus:
    def missing() -> None:
        raise ImportError

    return Gpus(missing)


def spent(reading: Reading) -> float:
    seconds = reading.sample.used.cpu_seconds
    assert seconds is not None
    return seconds


def held(reading: Reading) -> int:
    memory = reading.sample.held.memory_bytes
    assert memory is not None
    return memory


def test_the_cpu_seconds_are_those_that_the_processes_count_themselves(server: Server) -> None:
    sensor = watching(server)
    assert sensor.read(0.0).sample.used.cpu_seconds is None  # there is nothing to count from
    before = server.total()
    server.do("burn 0.2")
    reading = sensor.read(1.0)
    assert spent(reading) == pytest.approx(server.total() - before, abs=TOLERANCE)
    assert spent(reading) > 0.15
    assert reading.processes == 1
    assert reading.status == f"Ollama is process {server.process.pid}"


def test_runners_and_what_they_start_count_from_their_start(server: Server) -> None:
    sensor = watching(server)
    sensor.read(0.0)
    before = server.total()
    server.do("start")
    server.do("child start")
    server.do("child burn 0.1")
    server.do("child child burn 0.2")
    reading = sensor.read(1.0)
    assert spent(reading) == pytest.approx(server.total() - before, abs=TOLERANCE)
    assert reading.processes == 3
    before = server.total()
    server.do("child child burn 0.1")
    assert spent(sensor.read(2.0)) == pytest.approx(server.total() - before, abs=TOLERANCE)


def test_without_linuxs_lists_of_children_they_are_found_all_the_same(
    server: Server, tmp_path: Path
) -> None:
    server.do("start")
    server.do("child start")
    machine = ThisMachine(str(tmp_path / "no proc"))
    sensor = ResourceSensor("127.0.0.1", server.port, machine=machine, gpus=no_gpus())
    assert sensor.read(0.0).processes == 3


def test_a_runner_that_has_ended_counts_to_its_end_and_once(server: Server) -> None:
    sensor = watching(server)
    server.do("start")
    sensor.read(0.0)
    before = server.total()
    server.do("child burn 0.1")
    first = spent(sensor.read(1.0))
    server.do("child burn 0.1")  # not seen before it ends
    server.do("end")
    after = sensor.read(2.0)
    total = first + spent(after)
    assert total == pytest.approx(server.total() - before, abs=TOLERANCE)
    assert total > 0.15
    assert after.processes == 1
    assert spent(sensor.read(3.0)) <= 0.02


def test_a_runner_that_lived_between_two_looks_counts(server: Server) -> None:
    sensor = watching(server)
    sensor.read(0.0)
    before = server.total()
    server.do("start")
    server.do("child burn 0.15")
    server.do("end")
    seconds = spent(sensor.read(1.0))
    assert seconds == pytest.approx(server.total() - before, abs=TOLERANCE)
    assert seconds > 0.15


def test_memory_is_what_server_and_runners_hold(server: Server) -> None:
    sensor = watching(server)
    server.do("start")
    empty = held(sensor.read(0.0))
    server.do("child hold 40")
    server.do("hold 20")
    full = held(sensor.read(1.0))
    assert 55 * MEGABYTE < full - empty < 80 * MEGABYTE
    server.do("end")
    assert held(sensor.read(2.0)) < full - 40 * MEGABYTE


def test_a_server_that_is_gone_is_looked_for_again_and_the_new_one_found(server: Server) -> None:
    now = 0.0
    sensor = ResourceSensor("127.0.0.1", server.port, gpus=no_gpus(), clock=lambda: now)
    sensor.read(0.0)
    server.stop()
    gone = sensor.read(1.0)
    assert (gone.sample.used.cpu_seconds, gone.sample.held.memory_bytes) == (None, None)
    assert gone.processes is None
    assert gone.status == f"process {server.process.pid}, which was Ollama, is gone"
    now = SEARCH_SECONDS
    assert sensor.read(2.0).status.startswith("nothing that is called ollama is seen to")


def test_of_two_ollamas_the_one_on_the_port_is_meant(server: Server, tmp_path: Path) -> None:
    other = Server(tmp_path / "other")
    for one in (server, other):
        assert watching(one).read(0.0).status == f"Ollama is process {one.process.pid}"
    other.stop()


def test_another_programs_port_is_not_ollamas() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        reading = ResourceSensor("127.0.0.1", port, gpus=no_gpus()).read(0.0)
    assert reading.sample.held.memory_bytes is None
    assert reading.status == f"nothing that is called ollama is seen to listen on port {port}"


def test_another_machines_ollama_is_unknown() -> None:
    reading = ResourceSensor("192.0.2.1", 11434, gpus=no_gpus()).read(0.0)
    assert (reading.here, reading.status) == (False, "Ollama is not on this machine")
    assert not ResourceSensor("nowhere.invalid", 11434, gpus=no_gpus()).read(0.0).here


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost", "127.3.2.1", "::1"])
def test_this_machine_is_known_by_its_loopback(host: str) -> None:
    assert ThisMachine().is_here(host)


def test_this_machine_is_known_by_its_own_addresses() -> None:
    for addresses in psutil.net_if_addrs().values():
        for address in addresses:
            if address.family == socket.AF_INET:
                assert ThisMachine().is_here(address.address)


def test_the_proxy_and_the_host_are_told_too(server: Server) -> None:
    sensor = watching(server)
    first = sensor.read(0.0)
    assert first.host_cpu_percent is None
    until = time.process_time() + 0.1
    while time.process_time() < until:
        pass
    second = sensor.read(1.0)
    assert second.proxy_cpu_seconds - first.proxy_cpu_seconds >= 0.1
    assert second.proxy_memory_bytes > 10 * MEGABYTE
    assert second.host_cpu_percent is not None
    assert 0 < second.host_cpu_percent <= 100
    assert 0 < second.host_memory_used < second.host_memory_total


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can look as another user")
def test_another_users_server_is_found_by_whose_socket_it_is(tmp_path: Path) -> None:
    """As where Ollama is a service with a user of its own, whose open files may not be seen."""
    name = f"ollama-{os.getpid()}"
    server = Server(tmp_path, name)
    server.do("start")
    assert as_nobody(server.port, name) == f"{server.process.pid}: more than a megabyte"
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
        # The only process of that name and of the socket's user; what it holds is not seen.
        assert as_nobody(port, name).startswith(f"{server.process.pid}: ")
        assert as_nobody(port, "ollama-other") == (
            f"nothing that is called ollama-other is seen to listen on port {port}"
        )
    other = Server(tmp_path / "other", name)
    assert as_nobody(server.port, name) == (
        f"which of 2 processes listens on port {server.port} is not seen"
    )
    other.do("become 65533")
    assert as_nobody(server.port, name) == f"{server.process.pid}: more than a megabyte"
    other.stop()
    server.stop()


def as_nobody(port: int, name: str) -> str:
    """What a user without rights finds."""
    reading, writing = os.pipe()
    child = os.fork()
    if not child:
        try:
            os.setuid(65534)
            machine = ThisMachine()
            found = machine.listener(port, name)
            much = machine.process(found).memory > MEGABYTE
            os.write(writing, f"{found}: {'more' if much else 'less'} than a megabyte".encode())
        except Unknown as unknown:
            os.write(writing, str(unknown).encode())
        finally:
            os._exit(0)
    os.waitpid(child, 0)
    os.close(writing)
    with os.fdopen(reading) as told:
        return told.read()
