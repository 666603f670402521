"""Which program holds a connection's other end: real processes, and a made-up `/proc`."""

from __future__ import annotations

import os
import pwd
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest

from ollama_proxy.sensors.callers import Caller, Connection, LinuxFinder
from ollama_proxy.sensors.inet_diag import open_netlink
from tests.harness import PATIENCE

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="Linux's own tables")

NOBODY = 65534
CALL = """
import socket, sys
with socket.create_connection((sys.argv[1], int(sys.argv[2]))) as connection:
    connection.recv(1)
"""


def refused() -> socket.socket:
    raise PermissionError


def whoami() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return str(os.geteuid())


# -- real processes -------------------------------------------------------------------------


@pytest.fixture
def listener() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        opened.settimeout(PATIENCE)
        yield opened


@contextmanager
def called_by(
    listener: socket.socket, *command: str, **options: Any
) -> Iterator[tuple[subprocess.Popen[bytes], Connection]]:
    """A process that calls and waits for an answer; its connection as the server sees it."""
    host, port = listener.getsockname()
    process = subprocess.Popen([*command, host, str(port)], **options)
    try:
        accepted, peer = listener.accept()
        with accepted:
            yield process, (peer, accepted.getsockname())
    finally:
        process.kill()
        process.wait()


@pytest.mark.parametrize("netlink", [None, refused])
def test_two_scripts_of_one_name_are_told_apart(
    tmp_path: Path, listener: socket.socket, netlink: Callable[[], socket.socket] | None
) -> None:
    finder = LinuxFinder(netlink=netlink) if netlink else LinuxFinder()
    with ExitStack() as running:
        made = []
        for folder in ("signals", "backtest"):
            (tmp_path / folder).mkdir()
            (tmp_path / folder / "main.py").write_text(CALL)
            shell = f'cd "{tmp_path / folder}" && exec "{sys.executable}" -u main.py "$@"'
            called = called_by(listener, "sh", "-c", shell, "sh")
            made.append((folder, *running.enter_context(called)))
        callers = finder.find([connection for _, _, connection in made])
    for caller, (folder, process, _) in zip(callers, made, strict=True):
        assert caller is not None
        assert caller.name == caller.script == "main.py"
        assert caller.program == os.path.basename(os.path.realpath(sys.executable))
        assert caller.pid == process.pid
        assert caller.folder is not None
        assert str(tmp_path / folder).endswith(caller.folder.lstrip("~…"))
        assert caller.user == whoami()
        assert caller.started is not None
    finder.close()


def test_nothing_else_of_a_command_line_is_told(listener: socket.socket) -> None:
    secret = "s3cret"
    with called_by(listener, sys.executable, "-c", f"{CALL}# {secret}") as (process, connection):
        (caller,) = LinuxFinder().find([connection])
    assert caller is not None and caller.pid == process.pid
    assert caller.script is None and caller.name == caller.program
    assert secret not in repr(caller)


def test_a_program_that_has_left_is_not_found(listener: socket.socket) -> None:
    finder = LinuxFinder()
    with called_by(listener, sys.executable, "-c", CALL) as (_, connection):
        assert finder.find([connection]) != [None]
    assert finder.find([connection]) == [None]


@pytest.mark.skipif(shutil.which("bash") is None, reason="bash is not here")
@pytest.mark.skipif(os.geteuid() != 0, reason="only root starts programs of other users")
def test_a_program_of_another_user_is_told_with_its_user(listener: socket.socket) -> None:
    program = {"user": NOBODY, "group": NOBODY, "extra_groups": [], "cwd": "/"}
    shell = 'exec 3<>"/dev/tcp/$1/$2" && read -r -u 3 line'
    with called_by(listener, "bash", "-c", shell, "bash", **program) as (process, connection):
        (caller,) = LinuxFinder().find([connection])
    assert caller is not None
    assert (caller.pid, caller.name, caller.folder) == (process.pid, "bash", "/")
    assert caller.user in ("nobody", str(NOBODY))


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_without_the_right_to_look_the_user_is_told(listener: socket.socket) -> None:
    with called_by(listener, sys.executable, "-c", CALL) as (_, connection):
        told = as_nobody(lambda: msgspec.json.encode(LinuxFinder().find([connection])))
    assert msgspec.json.decode(told, type=list[Caller]) == [Caller(user="root")]


def as_nobody(work: Callable[[], bytes]) -> bytes:
    """What `work` gives in a copy of this process that belongs to another user."""
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(NOBODY)
            os.setuid(NOBODY)
            os.write(writing, work())
        finally:
            os._exit(0)
    os.close(writing)
    with open(reading, "rb") as told:
        found = told.read()
    os.waitpid(child, 0)
    return found


# -- a made-up /proc ------------------------------------------------------------------------

SERVER = ("127.0.0.1", 11435)
BOOTED, TICKS = 1_790_000_000, os.sysconf("SC_CLK_TCK")


class Proc:
    """A `/proc` of files: connections by port, processes that hold their inodes."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.breaks = 0
        self.time = 0.0
        self._at: tuple[int, Callable[[], object]] | None = None
        self._rows = ""
        for name in ("net", "self"):
            (root / name).mkdir(parents=True)
        self.connect(1)
        (root / "stat").write_text(f"cpu 1\nintr {'1 ' * 20000}\nbtime {BOOTED}\n")
        (root / "self/status").write_text("Name:\tx\nCapEff:\t000001ffffffffff\n")
        (root / "passwd").write_text("broken\n:::\n")

    def connect(self, port: int, inode: int = 0, uid: int = 1000) -> Connection:
        self._rows += (
            f"   0: 0100007F:{port:04X} 0100007F:{SERVER[1]:04X} 01 00000000:00000000 "
            f"00:00000000 00000000 {uid:5d}        0 {inode} 1 0 20 4 30 10 -1\n"
        )
        (self.root / "net/tcp").write_text("  sl  local_address ...\n" + self._rows)
        return ("127.0.0.1", port), SERVER

    def disconnect(self) -> None:
        self._rows = ""
        (self.root / "net/tcp").write_text("")

    def process(
        self,
        pid: int,
        *inodes: int,
        cmdline: bytes = b"python3\0/opt/job.py\0",
        exe: bytes = b"/usr/bin/python3.11",
        cwd: bytes = b"/home/joe/work",
        started: int = 500,
    ) -> Path:
        folder = self.root / str(pid)
        (folder / "fd").mkdir(parents=True)
        for number, inode in enumerate(inodes, 3):
            os.symlink(f"socket:[{inode}]", folder / "fd" / str(number))
        os.symlink(exe, os.fsencode(folder / "exe"))
        os.symlink(cwd, os.fsencode(folder / "cwd"))
        (folder / "cmdline").write_bytes(cmdline)
        (folder / "cgroup").write_text("0::/system.slice/job.service\n")
        fields = " ".join(["S"] + ["0"] * 18 + [str(started * TICKS)] + ["0"] * 30)
        (folder / "stat").write_text(f"{pid} (a) b) {fields}\n")
        return folder

    def finder(self, netlink: Callable[[], socket.socket] = refused) -> LinuxFinder:
        return LinuxFinder(
            str(self.root),
            str(self.root / "passwd"),
            netlink,
            clock=self._clock,
            sleep=self._break,
        )

    def at_break(self, number: int, work: Callable[[], object]) -> None:
        """Do this in one of the look's breaks: there is one for each connection, then for each
        descriptor that is looked at."""
        self._at = number, work

    def _break(self, seconds: float) -> None:
        self.breaks += 1
        if self._at is not None and self._at[0] == self.breaks:
            self._at[1]()

    def _clock(self) -> float:
        """A millisecond more at each look, so that each is followed by a break."""
        self.time += 0.001
        return self.time


@pytest.fixture
def proc(tmp_path: Path) -> Proc:
    return Proc(tmp_path / "proc")


def test_all_that_is_told_of_a_process(proc: Proc) -> None:
    (proc.root / "passwd").write_text("root:x:0:0::/root:/bin/sh\njoe:x:1000:1::/home/joe/:/bin/sh")
    proc.process(7, 55)
    assert proc.finder().find([proc.connect(40000, 55)]) == [
        Caller(
            pid=7,
            program="python3.11",
            script="job.py",
            folder="~/work",
            user="joe",
            service="job.service",
            started=BOOTED + 500.0,
        )
    ]


def test_what_cannot_be_read_of_a_process_is_not_known(proc: Proc) -> None:
    folder = proc.process(7, 55)
    for name in ("exe", "cwd", "cmdline", "cgroup", "stat"):
        (folder / name).unlink()
    (folder / "comm").write_text("worker\n")
    (caller,) = proc.finder().find([proc.connect(40000, 55)])
    assert caller == Caller(pid=7, program="worker", user="1000")


@pytest.mark.parametrize(
    ("cwd", "told"),
    [
        (b"/home/joe", "~"),
        (b"/home/joe2/work", "/home/joe2/work"),
        (b"/srv/app (deleted)", "/srv/app"),
        (b"/", "/"),
        (b"/srv/\xff\n\x1b", "/srv/\ufffd\ufffd\ufffd"),
        (b"/srv" + b"/abc" * 100, "…" + "abc/" * 39 + "abc"),
    ],
)
def test_the_folder_is_told_in_one_short_line(proc: Proc, cwd: bytes, told: str) -> None:
    (proc.root / "passwd").write_text("joe:x:1000:1000::/home/joe:/bin/sh\n")
    proc.process(7, 55, cwd=cwd)
    (caller,) = proc.finder().find([proc.connect(40000, 55)])
    assert caller is not None and caller.folder == told


@pytest.mark.parametrize(
    ("cmdline", "script"),
    [
        (b"", None),
        (b"python3", None),
        (b"python3\0x.py", "x.py"),
        (b"worker: title set by the program itself\0\0\0\0", None),
        (b"python3\0/opt/\xff\xfe\x1b.py\0", "\ufffd\ufffd\ufffd.py"),
        (b"python3\0job.py\0" + b"s3cret " * 300_000, "job.py"),
        (b"python3\0-X\0" + b"x" * 2_000_000 + b"\0job.py\0", None),
    ],
)
def test_command_lines_of_all_kinds(proc: Proc, cmdline: bytes, script: str | None) -> None:
    proc.process(7, 55, cmdline=cmdline)
    (caller,) = proc.finder().find([proc.connect(40000, 55)])
    assert caller is not None
    assert (caller.pid, caller.script) == (7, script)


def test_processes_that_cannot_be_looked_at_are_passed_over(proc: Proc) -> None:
    (proc.root / "9").mkdir()  # ended: nothing in it
    (proc.root / "8").mkdir()
    (proc.root / "8/fd").write_text("no folder: reading it fails, as where it is not permitted")
    proc.process(7, 55)
    (caller,) = proc.finder().find([proc.connect(40000, 55)])
    assert caller is not None and caller.pid == 7


def test_of_a_connection_that_no_visible_process_holds_the_user_is_told(proc: Proc) -> None:
    proc.process(7, 1)
    assert proc.finder().find([proc.connect(40000, 55)]) == [Caller(user="1000")]


def test_what_cannot_be_seen_is_not_searched(proc: Proc) -> None:
    (proc.root / "self/status").write_text("CapEff:\t0000000000000000\n")
    proc.process(7, 55, 56)
    others = proc.connect(40000, 55, os.geteuid() + 1)
    own = proc.connect(40001, 56, os.geteuid())
    found = proc.finder().find([others, own])
    assert found[0] == Caller(user=str(os.geteuid() + 1))
    assert found[1] is not None and found[1].pid == 7


def test_many_connections_are_found_in_one_go(proc: Proc) -> None:
    proc.process(7, 50, 51, 52)
    proc.process(8, 53, 54)
    ports = [proc.connect(40000 + inode, inode) for inode in (54, 50, 52, 99, 53)]
    gone: Connection = (("127.0.0.1", 50000), SERVER)
    found = proc.finder().find([*ports, gone])
    assert [caller and caller.pid for caller in found] == [8, 7, 7, None, 8, None]
    assert found[3] == Caller(user="1000") and found[5] is None


def test_a_process_that_ends_during_the_look_is_not_found(proc: Proc) -> None:
    folder = proc.process(8, 55)

    def ends() -> None:
        proc.disconnect()
        shutil.rmtree(folder)

    proc.at_break(3, ends)
    assert proc.finder().find([proc.connect(40000, 55), proc.connect(40001, 99)]) == [None, None]
    assert not folder.exists()


def test_a_number_given_anew_during_the_look_does_not_lead_to_another_program(proc: Proc) -> None:
    folder = proc.process(8, 55)

    def swap() -> None:
        shutil.rmtree(folder)
        proc.process(8, 57, exe=b"/usr/bin/other")

    proc.at_break(3, swap)
    found = proc.finder().find([proc.connect(40000, 55), proc.connect(40001, 99)])
    assert os.readlink(folder / "exe") == "/usr/bin/other"
    assert found == [Caller(user="1000"), Caller(user="1000")]


def test_the_look_ends_soon_after_the_connection(proc: Proc, listener: socket.socket) -> None:
    """On a real connection, whose client is found in no process of the made-up ones."""
    for pid in range(1, 100):
        proc.process(pid, 1, 2)
    with socket.create_connection(listener.getsockname()) as client:
        accepted, peer = listener.accept()
        with accepted:
            proc.at_break(5, client.close)
            finder = proc.finder(open_netlink)
            assert finder.find([(peer, accepted.getsockname())]) == [None]
            finder.close()
    assert proc.breaks < 10


def test_a_known_number_given_anew_is_another_process(proc: Proc) -> None:
    finder = proc.finder()
    folder = proc.process(8, 55)
    (first,) = finder.find([proc.connect(40000, 55)])
    shutil.rmtree(folder)
    proc.process(8, 56, exe=b"/usr/bin/other", started=900)
    (second,) = finder.find([proc.connect(40001, 56)])
    assert first is not None and first.name == "job.py"
    assert second is not None and second.name == "other"
    assert second.started == BOOTED + 900.0


def test_a_process_that_runs_another_program_now_is_told_anew_after_a_second(proc: Proc) -> None:
    finder = proc.finder()
    folder = proc.process(8, 55)
    connection = proc.connect(40000, 55)
    (first,) = finder.find([connection])
    shutil.rmtree(folder)
    proc.process(8, 55, exe=b"/usr/bin/other")
    proc.time += 1.1
    (second,) = finder.find([connection])
    assert first is not None and first.name == "job.py"
    assert second is not None and second.name == "other"


def test_the_newest_processes_are_looked_at_first(proc: Proc) -> None:
    """Seen by what holds one inode together: the first that is looked at is told."""
    (proc.root / "loadavg").write_text("0.10 0.10 0.10 1/100 120\n")
    for pid in (3, 100, 900):
        proc.process(pid, 55)
    finder, connection = proc.finder(), proc.connect(40000, 55)
    told = []
    for _ in range(3):
        (caller,) = finder.find([connection])
        assert caller is not None
        told.append(caller.pid)
        shutil.rmtree(proc.root / str(caller.pid))
    assert told == [100, 3, 900]


def test_the_latest_callers_are_looked_at_before_all_others(proc: Proc) -> None:
    finder = proc.finder()
    for pid in range(1, 7):
        proc.process(pid, 50 + pid, 99 if pid in (1, 4) else 0)
        finder.find([proc.connect(40000 + pid, 50 + pid)])
    proc.process(100, 99)
    connection = proc.connect(41000, 99)
    told = []
    for _ in range(3):
        (caller,) = finder.find([connection])
        assert caller is not None
        told.append(caller.pid)
        shutil.rmtree(proc.root / str(caller.pid))
    assert told == [4, 100, 1]


def test_the_look_lets_other_threads_run(proc: Proc) -> None:
    proc.process(7, *range(100, 150))
    assert proc.finder().find([proc.connect(40000, 99)]) == [Caller(user="1000")]
    assert proc.breaks >= 50
