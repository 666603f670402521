"""/api/embed, /api/embeddings and /v1/embeddings, with their three ways to refuse.

Not here: the vectors; `text.vector` makes them up.
"""

from __future__ import annotations

import asyncio
import base64
import struct
import time
from dataclasses import dataclass
from typing import Any

from aiohttp import web

from . import text, wire
from .calls import Body, Refused, parse, seconds
from .catalogue import Model
from .dialects.openai import error_object
from .faults import Fault
from .inference import Inference, fail_at_once, fault_of
from .scheduler import load_options

_NOT_EMBEDDING = "This server does not support embeddings. Start it with `--embeddings`"


@dataclass(frozen=True)
class Vectors:
    """Durations in nanoseconds."""

    vectors: list[list[float]]
    tokens: int
    total: int
    load: int


class Embeddings:
    """The routes; they share runners and slots with the generations."""

    def __init__(self, inference: Inference) -> None:
        self.inference = inference

    async def embed(self, request: web.Request, _: str) -> web.StreamResponse:
        body = parse(await request.read())
        found = await self._vectors(body, _texts(body), fault_of(request, body.text("model")), 501)
        fields: dict[str, Any] = {"model": body.text("model"), "embeddings": found.vectors}
        if found.vectors:
            fields |= {"total_duration": found.total, "load_duration": found.load}
            fields |= {"prompt_eval_count": found.tokens}
        return wire.reply(wire.encode(fields))

    async def embeddings(self, request: web.Request, _: str) -> web.StreamResponse:
        """The older route: one text, no figures, other words for an unknown model."""
        body = parse(await request.read())
        model, prompt = body.text("model"), body.text("prompt")
        if not model:
            raise Refused(400, "model is required")
        found = await self._vectors(body, [prompt] if prompt else [], fault_of(request, model), 500)
        return wire.reply(wire.encode({"embedding": found.vectors[0] if prompt else []}))

    async def v1(self, request: web.Request, _: str) -> web.StreamResponse:
        try:
            body = parse(await request.read(), "EOF")
            fault = fault_of(request, body.text("model"))
            found = await self._vectors(body, _v1_texts(body), fault, 501)
        except Refused as refused:
            raw = error_object(refused.status, refused.message)
            return wire.reply(raw, refused.status, wire.JSON)
        return wire.reply(wire.encode(_v1_list(body, found)) + b"\n", 200, wire.JSON)

    def _model(self, name: str) -> Model:
        model = self.inference.catalogue.find(name) if name else None
        if model is None and not name:
            raise Refused(404, "model '' not found")
        if model is None:
            raise Refused(404, f'model "{name}" not found, try pulling it first')
        return model

    async def _vectors(self, body: Body, texts: list[str], fault: Fault, unable: int) -> Vectors:
        """Raise `Refused` with status `unable` from a model that does not embed."""
        arrived, options = time.perf_counter_ns(), self.inference.options
        model = self._model(body.text("model"))
        fail_at_once(fault)
        wanted = load_options(model, body.table("options"), True, options.num_ctx)
        keep_alive = seconds(body.values.get("keep_alive"))
        async with self.inference.scheduler.runner(model, wanted, keep_alive) as runner:
            load = time.perf_counter_ns() - arrived
            if texts and "embedding" not in model.capabilities:
                raise Refused(unable, _NOT_EMBEDDING)
            tokens = [min(text.count_tokens(t) + 2, wanted.num_ctx) for t in texts]
            async with runner.slots:
                rate = options.prefill_tokens_per_second
                await asyncio.sleep(sum(tokens) / rate if rate else 0)
            vectors = [text.vector(t, _size(body, model), options.seed) for t in texts]
            return Vectors(vectors, sum(tokens), time.perf_counter_ns() - arrived, load)


def _size(body: Body, model: Model) -> int:
    wanted = body.number("dimensions") or 0
    return min(wanted, model.embedding_length) if wanted > 0 else model.embedding_length


def _texts(body: Body) -> list[str]:
    given = body.values.get("input")
    if isinstance(given, str):
        return [given] if given else []
    if isinstance(given, list) and all(isinstance(t, str) for t in given):
        return given
    if given is None:
        return []
    raise Refused(400, "invalid input type")


def _v1_texts(body: Body) -> list[str]:
    if body.values.get("input") in (None, []):
        raise Refused(400, "invalid input")
    return _texts(body) or [""]


def _v1_list(body: Body, found: Vectors) -> dict[str, Any]:
    packed = body.text("encoding_format").lower() == "base64"
    data = [
        {"object": "embedding", "embedding": _packed(v) if packed else v, "index": i}
        for i, v in enumerate(found.vectors)
    ]
    usage = {"prompt_tokens": found.tokens, "total_tokens": found.tokens}
    return {"object": "list", "data": data, "model": body.text("model"), "usage": usage}


def _packed(vector: list[float]) -> str:
    return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
