"""What commands say to whoever answers at a proxy's port. Not here: the answers of a proxy."""

from __future__ import annotations

import asyncio

import pytest

from ollama_proxy.rest import Refused, ask
from tests.harness import Connection, ScriptedUpstream


@pytest.mark.parametrize("challenge", [b"", b'WWW-Authenticate: Bearer realm="other"\r\n'])
async def test_the_token_is_not_said_to_another_program(challenge: bytes) -> None:
    heads: list[bytes] = []

    async def stranger(connection: Connection) -> None:
        heads.append(await connection.read_head())
        await connection.send(
            b"HTTP/1.1 401 No\r\n" + challenge + b"Content-Length: 0\r\nConnection: close\r\n\r\n"
        )

    async with ScriptedUpstream(stranger) as other:
        with pytest.raises(Refused):
            await asyncio.to_thread(ask, other.url, "status", "a-very-secret-token")
    assert len(heads) == 1 and b"secret" not in heads[0]
