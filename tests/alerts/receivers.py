"""Where notifiers deliver to in tests: an HTTP server and an SMTP server, on real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from tests.harness import PATIENCE, Connection, ScriptedUpstream


@dataclass
class Hooks:
    """Requests that came; each is answered with the next of `statuses`, then with 200. A status of
    0 is no answer at all."""

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    heads: list[dict[str, str]] = field(default_factory=list)
    targets: list[str] = field(default_factory=list)
    bodies: list[bytes] = field(default_factory=list)
    came: asyncio.Event = field(default_factory=asyncio.Event)

    @property
    def told(self) -> list[dict[str, Any]]:
        return [json.loads(body) for body in self.bodies]

    async def until(self, count: int) -> list[dict[str, Any]]:
        await until(lambda: len(self.bodies) >= count)
        return self.told

    async def answer(self, connection: Connection) -> None:
        head, body = await connection.read_message()
        first, *lines = head.decode().strip().split("\r\n")
        self.targets.append(first.split()[1])
        self.heads.append({k.lower(): v for k, v in (line.split(": ", 1) for line in lines)})
        self.bodies.append(body)
        status = self.statuses.pop(0) if self.statuses else 200
        if status == 0:
            await connection.closed()
            return
        where = "Location: /elsewhere\r\n" if 300 <= status < 400 else ""
        await connection.send(f"HTTP/1.1 {status} X\r\n{where}Content-Length: 0\r\n\r\n".encode())


@asynccontextmanager
async def hooks(*statuses: int) -> AsyncIterator[Hooks]:
    found = Hooks(statuses=list(statuses))
    async with ScriptedUpstream(found.answer) as server:
        found.url = server.url
        yield found


@dataclass
class Mails:
    """What came by SMTP; `replies` answers a command (its first word) otherwise than with 250."""

    port: int = 0
    replies: dict[str, str] = field(default_factory=dict)
    commands: list[str] = field(default_factory=list)
    mails: list[str] = field(default_factory=list)

    async def talk(self, connection: Connection) -> None:
        await connection.send(b"220 test\r\n")
        while True:
            line = (await connection.read_until(b"\r\n")).decode().strip()
            self.commands.append(line)
            word = line.split()[0].upper()
            if word in self.replies:
                if self.replies[word] == "":
                    return
                await connection.send(f"{self.replies[word]}\r\n".encode())
                continue
            if word == "DATA":
                await connection.send(b"354 go\r\n")
                self.mails.append((await connection.read_until(b"\r\n.\r\n")).decode())
            if word == "QUIT":
                await connection.send(b"221 bye\r\n")
                return
            await connection.send(b"250 fine\r\n")


@asynccontextmanager
async def mails(**replies: str) -> AsyncIterator[Mails]:
    found = Mails(replies=replies)
    async with ScriptedUpstream(found.talk) as server:
        found.port = server.port
        yield found


async def until(condition: Callable[[], object]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not condition():
            await asyncio.sleep(0.005)


def settings(rules: Any, notifiers: Any) -> dict[str, str]:
    """For `running_proxy`: looked at ten times a second."""
    return {
        "alerts_every": "0.1",
        "models_interval": "0.1",
        "alerts_rules": json.dumps(rules),
        "alerts_notifiers": json.dumps(notifiers),
    }


def of(told: Iterable[dict[str, Any]], *keys: str) -> list[tuple[Any, ...]]:
    return [tuple(one[key] for key in keys) for one in told]
