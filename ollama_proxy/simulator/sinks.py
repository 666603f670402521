"""Where the pieces of an answer go: out at once, or kept for one body at the end.

Not here: their words; a dialect makes those.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import replace

from aiohttp import web

from . import wire
from .calls import Refused
from .dialects.base import Answer, Dialect, logprobs_of
from .script import Piece


class Sink(ABC):
    """One response. All but `piece` finish it."""

    def __init__(self, request: web.Request, dialect: Dialect) -> None:
        self.request = request
        self.dialect = dialect
        self.response = web.StreamResponse(headers=dialect.stream_headers)

    @abstractmethod
    async def piece(self, piece: Piece) -> None: ...

    @abstractmethod
    async def end(self, answer: Answer) -> web.StreamResponse: ...

    @abstractmethod
    async def cut(self) -> web.StreamResponse:
        """End cleanly without the dialect's end mark."""

    @abstractmethod
    async def fail(self, status: int, message: str) -> web.StreamResponse:
        """Raise `Refused` as long as a status can still be sent."""

    def break_off(self) -> web.StreamResponse:
        """Close the connection after what was sent; aiohttp then cannot end the body."""
        if self.request.transport is not None:
            self.request.transport.close()
        return self.response


class Streamed(Sink):
    """Headers go out with the first piece, as Ollama's do."""

    async def piece(self, piece: Piece) -> None:
        await self._open()
        for chunk in self.dialect.piece(piece):
            await self.response.write(chunk)

    async def end(self, answer: Answer) -> web.StreamResponse:
        return await self._close(self.dialect.end(answer))

    async def cut(self) -> web.StreamResponse:
        return await self._close([])

    async def fail(self, status: int, message: str) -> web.StreamResponse:
        if not self.response.prepared:
            raise Refused(status, message, late=True)
        return await self._close(self.dialect.broken(message))

    async def _open(self) -> None:
        if not self.response.prepared:
            await self.response.prepare(self.request)

    async def _close(self, chunks: list[bytes]) -> web.StreamResponse:
        await self._open()
        for chunk in chunks[:-1]:
            await self.response.write(chunk)
        await self.response.write_eof(chunks[-1] if chunks else b"")
        return self.response


class Whole(Sink):
    """Keeps all pieces for one body."""

    def __init__(self, request: web.Request, dialect: Dialect) -> None:
        super().__init__(request, dialect)
        self.pieces: list[Piece] = []

    async def piece(self, piece: Piece) -> None:
        self.pieces.append(piece)

    async def end(self, answer: Answer) -> web.StreamResponse:
        whole = replace(
            answer,
            content="".join(p.content for p in self.pieces),
            thinking="".join(p.thinking for p in self.pieces),
            tool_calls=[p.tool_call for p in self.pieces if p.tool_call],
            logprobs=[x for p in self.pieces for x in logprobs_of(self.dialect.call, p)],
        )
        return wire.reply(self.dialect.whole(whole), 200, self.dialect.whole_type)

    async def cut(self) -> web.StreamResponse:
        return await self.end(Answer())

    async def fail(self, status: int, message: str) -> web.StreamResponse:
        raise Refused(status, message)
