"""The client for programs that use asyncio.

Not here: what is asked and how answers are read (`asking.py`), the same for programs that wait
(`blocking.py`), where each method is told.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import threading
import warnings
from collections.abc import AsyncGenerator, AsyncIterator, Callable
from typing import Any, Self, TypeVar, Unpack

import aiohttp

from ollama_proxy import rest
from ollama_proxy.client import asking, errors
from ollama_proxy.client.answers import (
    Client,
    Event,
    Finding,
    FindingFilters,
    Health,
    Model,
    RequestFilters,
    Series,
    SeriesFilters,
    Stats,
    Status,
)
from ollama_proxy.client.asking import Ask
from ollama_proxy.client.calls import Call, OneCall, RunningCall
from ollama_proxy.client.place import Place, place
from ollama_proxy.sse import Sent, Stream
from ollama_proxy.unanswered import why

log = logging.getLogger(__name__)
T = TypeVar("T")
_LONGEST_LINE = 2**16


class AsyncMonitorClient:
    """As `MonitorClient`, awaited: `async with AsyncMonitorClient() as monitor`."""

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        seconds: float = rest.ASK_SECONDS,
    ) -> None:
        self._named, self._seconds = (url, token), seconds
        self._place: Place | None = None
        self._session: aiohttp.ClientSession | None = None

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End its connections."""
        if self._session is not None:
            await self._session.close()
            self._session = None

    async def status(self) -> Status:
        return (await self._answer(asking.STATUS))[0]

    async def health(self) -> Health:
        return (await self._answer(asking.HEALTH))[0]

    async def active(self) -> list[RunningCall]:
        return (await self._answer(asking.ACTIVE))[0]

    async def stats(self) -> Stats:
        return (await self._answer(asking.STATS))[0]

    async def series(self, **filters: Unpack[SeriesFilters]) -> Series:
        return (await self._answer(asking.series(filters)))[0]

    async def models(self) -> list[Model]:
        return (await self._answer(asking.MODELS))[0]

    async def clients(self) -> list[Client]:
        return (await self._answer(asking.CLIENTS))[0]

    def requests(
        self, limit: int | None = None, **filters: Unpack[RequestFilters]
    ) -> AsyncIterator[Call]:
        return self._rows(asking.requests(limit, filters), limit)

    async def request(self, id: str) -> OneCall:
        return (await self._answer(asking.request(id)))[0]

    async def cancel(self, id: str) -> OneCall:
        return (await self._answer(asking.cancel(id)))[0]

    def insights(
        self, limit: int | None = None, **filters: Unpack[FindingFilters]
    ) -> AsyncIterator[Finding]:
        return self._rows(asking.insights(limit, filters), limit)

    async def finding(self, id: str) -> Finding:
        return (await self._answer(asking.finding(id)))[0]

    async def events(self) -> AsyncGenerator[Event]:
        listening = asking.Listening()
        while True:
            try:
                there = await self._where()
                async with contextlib.aclosing(self._sent(there, listening.last_id)) as stream:
                    async for sent in stream:
                        if (event := listening.heard(there.admin, sent)) is not None:
                            yield event
                lost = errors.MonitorError("the monitor ended its stream")
            except errors.MonitorError as error:
                lost = error
            pause = listening.lost(lost)
            log.info("%s; asked anew in %s s", lost, pause)
            await asyncio.sleep(pause)

    async def _rows(self, ask: Ask[list[T]], limit: int | None) -> AsyncIterator[T]:
        told, following = 0, ask if limit is None or limit > 0 else None
        while following is not None:
            rows, header = await self._answer(following)
            if (lacks := asking.lacking(following, header)) is not None:
                warnings.warn(lacks, errors.MonitorWarning, stacklevel=2)
            for row in rows:
                yield row
                told += 1
                if told == limit:
                    return
            following = asking.following(following, rows, header)

    async def _where(self) -> Place:
        if self._place is None:
            self._place = await _apart(lambda: place(*self._named, self._seconds))
        return self._place

    async def _answer(self, ask: Ask[T]) -> tuple[T, rest.Header]:
        there = await self._where()
        body = bytearray()
        try:
            async with (
                asyncio.timeout(self._seconds),
                self._answered(there, ask.path, ask.post, {}) as answer,
            ):
                async for piece in answer.content.iter_any():
                    body += piece
                    if len(body) > rest.MOST_BYTES:
                        raise ValueError(rest.TOO_LONG)
                header = answer.headers.get
        except (rest.Refused, OSError, ValueError, aiohttp.ClientError) as error:
            raise self._failed(there, error) from error
        return asking.read(ask, there.admin, bytes(body)), header

    async def _sent(self, there: Place, last_id: str | None) -> AsyncGenerator[Sent]:
        stream = Stream(rest.MOST_BYTES)
        headers = {} if last_id is None else {"Last-Event-ID": last_id}
        quiet = aiohttp.ClientTimeout(sock_connect=self._seconds, sock_read=rest.QUIET_SECONDS)
        try:
            async with contextlib.AsyncExitStack() as stack:
                opening = self._answered(there, asking.EVENT_STREAM, False, headers, timeout=quiet)
                async with asyncio.timeout(self._seconds):
                    answer = await stack.enter_async_context(opening)
                async for piece in answer.content.iter_any():
                    for sent in stream.feed(piece):
                        yield sent
        except (rest.Refused, OSError, ValueError, aiohttp.ClientError) as error:
            raise self._failed(there, error) from error

    @contextlib.asynccontextmanager
    async def _answered(
        self, there: Place, path: str, post: bool, headers: dict[str, str], **more: Any
    ) -> AsyncIterator[aiohttp.ClientResponse]:
        """The open answer. The token is said to who asks for it, as in `rest.answered`."""
        if self._session is None:
            self._session = aiohttp.ClientSession(
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=aiohttp.ClientTimeout(),
                max_line_size=_LONGEST_LINE,
                max_field_size=_LONGEST_LINE,
            )
        more |= {"json": {}} if post else {}
        refused: rest.Refused | None = None
        for token in (None, there.token):
            if token is not None:
                headers = headers | {"Authorization": f"Bearer {token}"}
            async with self._session.request(
                "POST" if post else "GET",
                f"{there.admin}/{path}",
                headers=headers,
                allow_redirects=False,
                **more,
            ) as answer:
                if answer.status == 200:
                    yield answer
                    return
                body, header = await _beginning(answer), answer.headers.get
                refused = rest.refusal(answer.status, answer.reason or "", header, body)
            if there.token is None or not refused.lacks_token:
                break
        assert refused is not None
        raise refused

    def _failed(self, there: Place, error: Exception) -> errors.MonitorError:
        told = errors.failed(there.admin, _plain(error))
        if isinstance(told, errors.MonitorDown):
            self._place = None  # started again, it may be elsewhere
        return told


async def _apart(work: Callable[[], T]) -> T:
    """Done in a thread that neither a cancellation nor the program's end waits for."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[T] = loop.create_future()

    def tell(say: Callable[[Any], None], what: Any) -> None:
        if not done.done():
            say(what)

    def run() -> None:
        try:
            told: tuple[Callable[[Any], None], Any] = done.set_result, work()
        except Exception as error:  # noqa: BLE001 - raised again where it is awaited
            told = done.set_exception, error
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(tell, *told)

    threading.Thread(target=run, daemon=True).start()
    return await done


async def _beginning(answer: aiohttp.ClientResponse) -> bytes:
    """Of a refusal's body: all of it, but for one that is too long to be one; b"" of one that
    breaks off."""
    body = bytearray()
    try:
        async for piece in answer.content.iter_any():
            body += piece
            if len(body) >= rest.LONGEST_REFUSAL:
                break
    except (OSError, aiohttp.ClientError):
        return b""
    return bytes(body[: rest.LONGEST_REFUSAL])


def _plain(error: Exception) -> Exception:
    """aiohttp's errors as `errors.failed` reads them."""
    if isinstance(error, aiohttp.ClientPayloadError):
        return ConnectionAbortedError(rest.BROKEN_OFF)
    if isinstance(error, OSError | aiohttp.ClientConnectionError):
        return ConnectionError(why(error))
    return ValueError(rest.NO_HTTP) if isinstance(error, aiohttp.ClientError) else error
