"""A process that burns CPU on demand and starts others like it; it counts by itself what it used.

Commands on standard input, an answer each on standard output: `listen`, `burn SECONDS`,
`hold MEGABYTES`, `become USER`, `start`, `child COMMAND`, `end`, `total`. Not here: tests.
"""

from __future__ import annotations

import os
import resource
import socket
import subprocess
import sys


def used(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


class Burner:
    def __init__(self) -> None:
        self.kept: list[object] = []
        self.child: subprocess.Popen[str] | None = None

    def answer(self, command: str, rest: str) -> str:
        answered: str = getattr(self, command)(rest)
        return answered

    def listen(self, _: str) -> str:
        listener = socket.create_server(("127.0.0.1", 0))
        self.kept.append(listener)
        return str(listener.getsockname()[1])

    def burn(self, seconds: str) -> str:
        until = used(resource.RUSAGE_SELF) + float(seconds)
        while used(resource.RUSAGE_SELF) < until:
            pass
        return "burnt"

    def hold(self, megabytes: str) -> str:
        self.kept.append(b"x" * (int(megabytes) << 20))
        return "held"

    def become(self, user: str) -> str:
        os.setuid(int(user))
        return user

    def start(self, _: str) -> str:
        self.child = subprocess.Popen(
            [sys.executable, __file__], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        return str(self.child.pid)

    def told(self, command: str) -> str:
        assert self.child is not None and self.child.stdin and self.child.stdout
        print(command, file=self.child.stdin, flush=True)
        return self.child.stdout.readline().strip()

    def end(self, _: str) -> str:
        """The child's end; waited for, it counts in RUSAGE_CHILDREN."""
        assert self.child is not None
        self.child.communicate()
        self.child = None
        return "ended"

    def total(self, _: str) -> str:
        """CPU seconds of this process and all that it ever started."""
        below = float(self.told("total")) if self.child else 0.0
        own = used(resource.RUSAGE_SELF) + used(resource.RUSAGE_CHILDREN)
        return str(own + below)


def main() -> None:
    burner = Burner()
    for line in sys.stdin:
        command, _, rest = line.strip().partition(" ")
        answer = burner.told(rest) if command == "child" else burner.answer(command, rest)
        print(answer, flush=True)


if __name__ == "__main__":
    main()
