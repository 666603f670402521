"""Looks at the upstream now and then: is it there, which models has it, which are loaded.

An answer is taken field by field: what has the wrong type or size counts as not told. Not here:
calls of clients, and what follows from a change.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from collections.abc import Callable
from types import NoneType
from typing import Any

import aiohttp
import msgspec

from ollama_proxy.ids import iso
from ollama_proxy.logs import where
from ollama_proxy.phases import Loaded
from ollama_proxy.records import PROBE_HEADER, ModelInfo, UpstreamHealth
from ollama_proxy.sensors.weights import Weights
from ollama_proxy.unanswered import why

log = logging.getLogger(__name__)

MAX_BYTES = 8 << 20
MAX_MODELS = 5000
MAX_TEXT = 600  # characters: Ollama's longest model name, with host and tag
MAX_WORDS = 20
SHORTEST_PAUSE = 0.5  # seconds between two looks, however often it is poked
PUT_OFF = 6
"""How many intervals a look is put off at the most, while Ollama is busy with a model's file."""


class Misunderstood(Exception):
    """The upstream answered, but not as Ollama does. The text says how."""

    def __init__(self, text: str, status: int) -> None:
        super().__init__(text)
        self.status = status


class ModelSensor:
    """Keeps `health` up to date between `start` and `stop`.

    `loaded` are the models in memory, as the last look found them.
    `on_look` is told what was known before a look, and what is known now.
    `instance` names this proxy: a probe that comes back to it is answered 508, and so tells a loop.
    `busy` puts the next look off, unless it is poked. While Ollama is down the pauses double, from
    `interval_down` to `interval`.
    """

    def __init__(
        self,
        upstream: str,
        *,
        instance: str,
        interval: float = 10.0,
        interval_down: float = 2.0,
        timeout: float = 5.0,
        max_bytes: int = MAX_BYTES,
        now: Callable[[], float] = time.time,
        on_look: Callable[[UpstreamHealth, UpstreamHealth], None] | None = None,
        busy: Callable[[], bool] = bool,
    ) -> None:
        self.health, self.loaded = UpstreamHealth(), Loaded()
        self._upstream = upstream.rstrip("/")
        self._instance = instance
        self.interval, self.interval_down = interval, interval_down
        self._timeout = aiohttp.ClientTimeout(total=timeout)
        self._max_bytes = max_bytes
        self._now = now
        self._on_look = on_look
        self._busy = busy
        self._poked = asyncio.Event()
        self._one_look = asyncio.Lock()
        self._weights = Weights()
        self._session: aiohttp.ClientSession | None = None
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Look now, and from then on. Needs a running event loop."""
        if self._task is None:
            self._task = asyncio.create_task(self._run(), name="model-sensor")

    async def stop(self) -> None:
        task, self._task = self._task, None
        if task is not None:
            task.cancel()
            await asyncio.wait([task])
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def poke(self) -> None:
        """Look again soon: something went otherwise than `health` says."""
        self._poked.set()

    async def look(self) -> UpstreamHealth:
        """One look, now; two at once make one after the other. Never raises."""
        async with self._one_look:
            self._poked.clear()
            began = time.monotonic()
            try:
                new = await self._looked()
            except Exception as error:  # noqa: BLE001 - guard: background loop
                new = self._down(f"looking failed: {type(error).__name__}")
            old, self.health, self.loaded = self.health, new, _loaded(new, began)
            if (old.up, old.loop) != (new.up, new.loop):
                self._tell(new)
            if self._on_look is not None:
                try:
                    self._on_look(old, new)
                except Exception as error:  # noqa: BLE001 - guard: background loop
                    log.error("what follows from a look failed: %s", where(error))
            return new

    async def _run(self) -> None:
        failed = 0
        while True:
            if (await self.look()).up:
                failed = 0
                await self.learn()
                await self._pause(self.interval, PUT_OFF)
            else:
                await self._pause(pause_down(failed, self.interval_down, self.interval), 0)
                failed += 1

    async def _pause(self, seconds: float, put_off: int) -> None:
        """Until it is poked, or `seconds` are over, or so many times that while Ollama is busy."""
        shortest = min(SHORTEST_PAUSE, seconds)
        await asyncio.sleep(shortest)
        if await self._poked_within(seconds - shortest):
            return
        while put_off > 0 and self._busy():
            put_off -= 1
            if await self._poked_within(seconds):
                return

    async def _poked_within(self, seconds: float) -> bool:
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(seconds):
                return await self._poked.wait()
        return False

    async def _looked(self) -> UpstreamHealth:
        began = time.perf_counter()
        try:
            version = _text(_fields(await self._get("/api/version")).get("version"))
            error = None if version else "it does not tell a version"
        except Misunderstood as misunderstood:
            if misunderstood.status == 508:
                return self._down("the upstream leads back to this proxy", loop=True)
            if misunderstood.status >= 500:
                return self._down(str(misunderstood))
            version, error = None, str(misunderstood)
        except (aiohttp.ClientError, OSError, ValueError) as failure:
            return self._down(why(failure))
        latency = time.perf_counter() - began
        models, models_error = await self._models()
        return UpstreamHealth(
            up=True,
            version=version,
            error=error or models_error,
            latency=latency,
            since=self.health.since if self.health.up else iso(self._now()),
            models=models,
        )

    async def _models(self) -> tuple[list[ModelInfo], str | None]:
        """All models, or those known before and what went wrong."""
        try:
            tags = await self._list("/api/tags")
            loaded = await self._list("/api/ps")
        except Misunderstood as misunderstood:
            return self.health.models, str(misunderstood)
        except (aiohttp.ClientError, OSError, ValueError) as failure:
            return self.health.models, why(failure)
        models = _merged(tags, loaded)
        for model in models:
            model.weights = self._weights.of(model.digest)
        return models, None

    async def learn(self) -> None:
        """Ask which models are made of one file, for the next look; not within one, as it may take
        long. Each is asked once, but after an error of Ollama's own. Never raises."""
        for digest, name in self._weights.wanted(self.health.models).items():
            try:
                shown = await self._asked("POST", "/api/show", {"model": name})
            except Misunderstood as misunderstood:
                if misunderstood.status >= 500:
                    return
                shown = None
            except TimeoutError:
                shown = None  # it would be the same next time
            except (aiohttp.ClientError, OSError, ValueError):
                return
            self._weights.learn(digest, shown)
            self.poke()

    async def _list(self, path: str) -> list[dict[str, Any]]:
        models = _fields(await self._get(path)).get("models", ())
        if not isinstance(models, (list, NoneType)):
            raise Misunderstood(f"the answer to {path} lists no models", 200)
        return [_fields(entry) for entry in models or ()]

    async def _get(self, path: str) -> Any:
        return await self._asked("GET", path, None)

    async def _asked(self, method: str, path: str, body: dict[str, str] | None) -> Any:
        """One answer's JSON. Raises Misunderstood, or what says that there was no answer."""
        async with self._opened().request(
            method,
            self._upstream + path,
            json=body,
            headers={PROBE_HEADER: self._instance, "Accept-Encoding": "identity"},
            allow_redirects=False,
        ) as response:
            if response.status != 200:
                raise Misunderstood(f"{path} is answered with {response.status}", response.status)
            data = bytearray()
            async for piece in response.content.iter_any():
                data += piece
                if len(data) > self._max_bytes:
                    raise Misunderstood(f"the answer to {path} is too large", 200)
        try:
            return msgspec.json.decode(data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise Misunderstood(f"the answer to {path} is not JSON", 200) from None

    def _opened(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # A new connection each time: whether one can be made is what is asked.
                connector=aiohttp.TCPConnector(force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
                timeout=self._timeout,
                trust_env=False,
                auto_decompress=False,
            )
        return self._session

    def _down(self, error: str, *, loop: bool = False) -> UpstreamHealth:
        """The models stay, as what the disk held last; that any is loaded is not known any more."""
        was = self.health
        return UpstreamHealth(
            up=False,
            version=was.version,
            error=error,
            since=was.since if was.up is False else iso(self._now()),
            models=[_on_disk(model) for model in was.models],
            loop=loop,
        )

    def _tell(self, health: UpstreamHealth) -> None:
        address = self._upstream.partition("://")[2]
        if health.up and health.version is None:
            log.warning("what answers at %s is not Ollama: %s", address, health.error)
        elif health.up:
            log.info("Ollama at %s is up, version %s", address, health.version)
        else:
            log.warning("Ollama at %s is down: %s", address, health.error)


def pause_down(failed: int, first: float, last: float) -> float:
    """Seconds to the next look at an Ollama that is down, after so many that failed before."""
    return min(first * 2.0 ** min(failed, 30), max(first, last))


def _loaded(health: UpstreamHealth, at: float) -> Loaded:
    """By all their names, where Ollama lists one."""
    if not health.up:
        return Loaded()
    runners = {model.runner for model in health.models if model.loaded} - {None}
    names = [one.name for one in health.models if one.loaded or one.runner in runners]
    return Loaded.seen(names, at)


def _merged(tags: list[dict[str, Any]], loaded: list[dict[str, Any]]) -> list[ModelInfo]:
    """The models on disk in Ollama's order, then those that are loaded but no longer there."""
    found: dict[str, ModelInfo] = {}
    for entry in tags[:MAX_MODELS]:
        info = _model(entry)
        if info is not None:
            found.setdefault(info.name, info)
    for entry in loaded[:MAX_MODELS]:
        info = _model(entry)
        if info is not None:
            _load(found.setdefault(info.name, _unlisted(info)), entry)
    return list(found.values())


def _load(model: ModelInfo, entry: dict[str, Any]) -> None:
    model.loaded = True
    model.size_loaded = _size(entry.get("size"))
    model.size_vram = _size(entry.get("size_vram"))
    model.context_length = _size(entry.get("context_length"))
    model.expires_at = _text(entry.get("expires_at"))


def _model(entry: dict[str, Any]) -> ModelInfo | None:
    name = _text(entry.get("name")) or _text(entry.get("model"))
    if name is None:
        return None
    details = _fields(entry.get("details"))
    return ModelInfo(
        name=name,
        size=_size(entry.get("size")),
        family=_text(details.get("family")),
        parameter_size=_text(details.get("parameter_size")),
        quantization=_text(details.get("quantization_level")),
        digest=_text(entry.get("digest")),
        capabilities=_words(entry.get("capabilities")),
        trained_context=_size(details.get("context_length")),
    )


def _unlisted(model: ModelInfo) -> ModelInfo:
    """Loaded, but no longer on disk: the size told is that in memory."""
    return msgspec.structs.replace(model, size=None)


def _on_disk(model: ModelInfo) -> ModelInfo:
    return msgspec.structs.replace(
        model, loaded=False, size_loaded=None, size_vram=None, context_length=None, expires_at=None
    )


def _fields(value: Any) -> dict[str, Any]:
    return value if isinstance(value, dict) else {}


def _text(value: Any) -> str | None:
    """A text of one line and bearable length; an empty one tells nothing."""
    if not isinstance(value, str) or not 0 < len(value) <= MAX_TEXT:
        return None
    return value if value.isprintable() else None


def _words(value: Any) -> list[str] | None:
    """What a model can do; None where Ollama, an older one, does not say."""
    if not isinstance(value, list):
        return None
    return [word for word in value[:MAX_WORDS] if _text(word)]


def _size(value: Any) -> int | None:
    return value if type(value) is int and 0 <= value < 2**63 else None
