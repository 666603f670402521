"""The routes that change models: pull, push, create, copy, delete, and blobs.

Not here: a registry or a disk; a pull makes a model up, a blob is hashed and forgotten.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Any

from aiohttp import web

from . import wire
from .calls import Body, Refused, parse
from .catalogue import Catalogue, Model, describe, full_name, valid_name
from .options import SimulatorOptions
from .scheduler import Scheduler

_DIGEST = re.compile(r"sha256[:-][0-9a-f]{64}\Z")
_INVALID_NAME = "invalid model name"
_STEPS = 20  # progress lines of one layer
_REGISTRY = "https://registry.ollama.ai/v2/"
_OFFLINE = "dial tcp: lookup registry.ollama.ai: no such host"
_MANIFESTS = "/home/user/.ollama/models/manifests/registry.ollama.ai/"

Line = dict[str, Any]


class Transfers:
    """One method a route; its second argument is the part of the path that a route leaves open."""

    def __init__(
        self, options: SimulatorOptions, catalogue: Catalogue, scheduler: Scheduler
    ) -> None:
        self.options = options
        self.catalogue = catalogue
        self.scheduler = scheduler
        self.blobs: set[str] = set()

    async def pull(self, request: web.Request, _: str) -> web.StreamResponse:
        body = parse(await request.read())
        name = body.text("model", "name")
        if not valid_name(name):
            raise Refused(400, _INVALID_NAME)
        return await report(request, body, self._pulled(name))

    async def push(self, request: web.Request, _: str) -> web.StreamResponse:
        body = parse(await request.read())
        name = body.text("model", "name")
        if not name:
            raise Refused(400, "model is required")
        return await report(request, body, self._pushed(name))

    async def create(self, request: web.Request, _: str) -> web.StreamResponse:
        body = parse(await request.read())
        if not valid_name(body.text("model", "name")):
            raise Refused(400, _INVALID_NAME)
        if not (body.text("from") or body.table("files")):
            raise Refused(400, "neither 'from' or 'files' was specified")
        return await report(request, body, self._created(body))

    async def copy(self, request: web.Request, _: str) -> web.StreamResponse:
        body = parse(await request.read())
        names = {key: body.text(key) for key in ("source", "destination")}
        for key, name in names.items():
            if not valid_name(name):
                raise Refused(400, f'{key} "{name}" is invalid')
        model = self.catalogue.find(names["source"])
        if model is None:
            raise Refused(404, f'model "{names["source"]}" not found')
        self.catalogue.derive(model, names["destination"])
        return wire.nothing(200)

    async def delete(self, request: web.Request, _: str) -> web.StreamResponse:
        name = parse(await request.read()).text("model", "name")
        if not valid_name(name):
            raise Refused(400, f'name "{name}" is invalid')
        model = self.catalogue.remove(name)
        if model is None:
            raise Refused(404, f"model '{name}' not found")
        if all(other.blob != model.blob for other in self.catalogue):
            self.scheduler.expire(model)
        return wire.nothing(200)

    async def head_blob(self, request: web.Request, digest: str) -> web.StreamResponse:
        if digest in self.blobs:
            return wire.nothing(200)
        raise Refused(*_no_blob(digest))

    async def post_blob(self, request: web.Request, digest: str) -> web.StreamResponse:
        if not _DIGEST.match(digest):
            raise Refused(400, "invalid digest format")
        if digest in self.blobs:
            return wire.nothing(200)
        found = await _hash(request)
        if found != digest:
            raise Refused(400, f'digest mismatch, expected "{digest}", got "{found}"')
        self.blobs.add(digest)
        return wire.nothing(201)

    def _pulled(self, name: str) -> Iterator[Line]:
        yield {"status": "pulling manifest"}
        if not self.options.registry:
            repository, _, tag = full_name(name).rpartition(":")
            url = f"{_REGISTRY}{_qualified(repository)}/manifests/{tag}"
            yield {"error": f'pull model manifest: Get "{url}": {_OFFLINE}'}
            return
        yield from _layer("pulling", describe(full_name(name)))
        yield {"status": "verifying sha256 digest"}
        yield {"status": "writing manifest"}
        self.catalogue.add(name)
        yield {"status": "success"}

    def _pushed(self, name: str) -> Iterator[Line]:
        yield {"status": "retrieving manifest"}
        model = self.catalogue.find(name)
        if model is None:
            yield {"status": "couldn't retrieve manifest"}
            path = _MANIFESTS + _qualified(full_name(name)).replace(":", "/")
            yield {"error": f"open {path}: no such file or directory"}
            return
        if not self.options.registry:
            yield {"error": f'Get "{_REGISTRY}": {_OFFLINE}'}
            return
        yield from _layer("pushing", model)
        yield {"status": "pushing manifest"}
        yield {"status": "success"}

    def _created(self, body: Body) -> Iterator[Line]:
        name, source = body.text("model", "name"), body.text("from")
        base = self.catalogue.find(source) if source else describe(full_name(name))
        if base is None:
            yield {"status": "pulling manifest"}
            yield {"error": "pull model manifest: file does not exist"}
            return
        model = self.catalogue.derive(base, name, body.text("system"))
        for state, digest in _layers(model, base):
            yield {"status": f"{state} layer sha256:{digest}"}
        yield {"status": "writing manifest"}
        yield {"status": "success"}


def _no_blob(digest: str) -> tuple[int, str]:
    if not _DIGEST.match(digest):
        return 400, "invalid digest format"
    return 404, f'blob "{digest}" not found'


async def _hash(request: web.Request) -> str:
    sha256 = hashlib.sha256()
    if request.content.at_eof():  # empty, or read before, to be compared with recordings
        sha256.update(await request.read())
    async for part in request.content.iter_any():
        sha256.update(part)
    return "sha256:" + sha256.hexdigest()


def _layer(verb: str, model: Model) -> Iterator[Line]:
    """A layer's bytes going by; the first line does not say `completed`, as zeros are omitted."""
    status = f"{verb} {model.blob[:12]}"
    line: Line = {"status": status, "digest": f"sha256:{model.blob}", "total": model.size}
    yield line
    for step in range(1, _STEPS + 1):
        yield line | {"completed": model.size * step // _STEPS}


def _layers(model: Model, base: Model) -> Iterable[tuple[str, str]]:
    yield "using existing", base.blob
    yield "using existing", describe("template").blob
    if model.digest != base.digest:
        yield "creating new", model.digest
    yield "using existing", describe("parameters").blob


def _qualified(name: str) -> str:
    return name if "/" in name else "library/" + name


async def report(request: web.Request, body: Body, lines: Iterator[Line]) -> web.StreamResponse:
    """Progress as NDJSON, or only its last line when `stream` is false."""
    if not body.flag("stream", True):
        last = list(lines)[-1]
        status = 500 if "error" in last else 200
        return wire.reply(wire.encode(last), status, wire.JSON)
    response = web.StreamResponse(headers={"Content-Type": wire.NDJSON})
    await response.prepare(request)
    for line in lines:
        await response.write(wire.encode(line) + b"\n")
    await response.write_eof()
    return response
