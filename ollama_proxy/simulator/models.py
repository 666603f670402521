"""The routes that list and describe models, and the small ones about the server itself.

Not here: what changes models on disk (`transfers.py`).
"""

from __future__ import annotations

from typing import Any

from aiohttp import web

from . import wire
from .calls import Refused, parse
from .catalogue import Catalogue, Model, full_name
from .options import SimulatorOptions
from .scheduler import Runner, Scheduler

_TEMPLATE = (
    "{{ if .Tools }}<|im_start|>system\nYou are given tools: {{ .Tools }}<|im_end|>\n{{ end }}"
    "{{ range .Messages }}<|im_start|>{{ .Role }}\n{{ .Content }}<|im_end|>\n{{ end }}"
    "<|im_start|>assistant\n"
)
_SIGN_IN = {"error": "unauthorized", "signin_url": "https://ollama.com/connect?name=simulator"}


class Models:
    """One method a route; its second argument is the part of the path that a route leaves open."""

    def __init__(
        self, options: SimulatorOptions, catalogue: Catalogue, scheduler: Scheduler
    ) -> None:
        self.options = options
        self.catalogue = catalogue
        self.scheduler = scheduler

    async def root(self, request: web.Request, _: str) -> web.StreamResponse:
        return wire.reply(b"Ollama is running", 200, "text/plain; charset=utf-8")

    async def version(self, request: web.Request, _: str) -> web.StreamResponse:
        return wire.reply(wire.encode({"version": self.options.version}))

    async def status(self, request: web.Request, _: str) -> web.StreamResponse:
        return wire.reply(wire.encode({"cloud": {"disabled": True, "source": "env"}}))

    async def tags(self, request: web.Request, _: str) -> web.StreamResponse:
        listed = sorted(self.catalogue, key=lambda m: -m.modified_ns)
        return wire.reply(wire.encode({"models": [_listed(m) for m in listed]}))

    async def ps(self, request: web.Request, _: str) -> web.StreamResponse:
        runners = sorted(self.scheduler.runners.values(), key=lambda r: -r.expires_ns)
        return wire.reply(wire.encode({"models": [self._loaded(r) for r in runners]}))

    async def show(self, request: web.Request, _: str) -> web.StreamResponse:
        name = parse(await request.read()).text("model", "name")
        if not name:
            raise Refused(400, "model is required")
        model = self.catalogue.find(name)
        if model is None:
            raise Refused(404, f"model '{full_name(name).removesuffix(':latest')}' not found")
        return wire.reply(wire.encode(_shown(model)))

    async def v1_models(self, request: web.Request, _: str) -> web.StreamResponse:
        data = [_v1(model, model.name) for model in self.catalogue] or None
        return wire.reply(wire.encode({"object": "list", "data": data}) + b"\n", 200, wire.JSON)

    async def recommendations(self, request: web.Request, _: str) -> web.StreamResponse:
        rows = [
            {"model": m.name, "description": "made up", "context_length": m.context_length}
            for m in self.catalogue
        ]
        return wire.reply(wire.encode({"recommendations": rows}))

    async def web_search(self, request: web.Request, _: str) -> web.StreamResponse:
        raise Refused(403, "ollama cloud is disabled: web search is unavailable")

    async def web_fetch(self, request: web.Request, _: str) -> web.StreamResponse:
        raise Refused(403, "ollama cloud is disabled: web fetch is unavailable")

    async def me(self, request: web.Request, _: str) -> web.StreamResponse:
        return wire.reply(wire.encode(_SIGN_IN), 401)

    async def signout(self, request: web.Request, _: str) -> web.StreamResponse:
        raise Refused(401, "you are not currently signed in")

    def find_v1(self, name: str) -> bytes:
        """The body of /v1/models/{name}; raise `Refused`."""
        model = self.catalogue.find(name)
        if model is None:
            raise Refused(404, f"model '{full_name(name).removesuffix(':latest')}' not found")
        return wire.encode(_v1(model, name)) + b"\n"

    def _loaded(self, runner: Runner) -> dict[str, Any]:
        model = runner.model
        size = model.size + runner.options.num_ctx * 30_000
        share = 0.0 if runner.options.num_gpu == 0 else self.options.vram_share
        return {
            "name": model.name,
            "model": model.name,
            "size": size,
            "digest": model.digest,
            "details": model.details,
            "expires_at": wire.timestamp(runner.expires_ns),
            "size_vram": int(size * share),
            "context_length": runner.options.num_ctx,
        }


def _listed(model: Model) -> dict[str, Any]:
    sizes = {"context_length": model.context_length, "embedding_length": model.embedding_length}
    return {
        "name": model.name,
        "model": model.name,
        "modified_at": wire.timestamp(model.modified_ns),
        "size": model.size,
        "digest": model.digest,
        "details": model.details | sizes,
        "capabilities": model.capabilities,
    }


def _v1(model: Model, name: str) -> dict[str, Any]:
    owner = name.rpartition("/")[0].rpartition("/")[2] or "library"
    created = model.modified_ns // 1_000_000_000
    return {"id": name, "object": "model", "created": created, "owned_by": owner}


def _shown(model: Model) -> dict[str, Any]:
    system = {"system": model.system} if model.system else {}
    return {
        "modelfile": _modelfile(model),
        "parameters": f'{"temperature":30} 0.7\n{"stop":30} "<|im_end|>"',
        "template": _TEMPLATE,
        **system,
        "details": model.details,
        "model_info": _model_info(model),
        "tensors": _tensors(model),
        "capabilities": model.capabilities,
        "modified_at": wire.timestamp(model.modified_ns),
    }


def _modelfile(model: Model) -> str:
    return (
        '# Modelfile generated by "ollama show"\n'
        "# To build a new Modelfile based on this, replace FROM with:\n"
        f"# FROM {model.name}\n\nFROM /home/user/.ollama/models/blobs/sha256-{model.blob}\n"
        f'TEMPLATE """{_TEMPLATE}"""\nPARAMETER temperature 0.7\nPARAMETER stop <|im_end|>\n'
    )


def _model_info(model: Model) -> dict[str, Any]:
    family = model.family
    return {
        "general.architecture": family,
        "general.basename": model.name.partition(":")[0],
        "general.file_type": 15,
        "general.finetune": "simulated",
        "general.languages": None,
        "general.license": "none",
        "general.organization": "simulator",
        "general.parameter_count": model.parameters,
        "general.quantization_version": 2,
        "general.size_label": model.parameter_size,
        "general.type": "model",
        f"{family}.attention.head_count": max(model.embedding_length // 128, 1),
        f"{family}.attention.head_count_kv": max(model.embedding_length // 512, 1),
        f"{family}.attention.layer_norm_rms_epsilon": 0.00001,
        f"{family}.block_count": model.layers,
        f"{family}.context_length": model.context_length,
        f"{family}.embedding_length": model.embedding_length,
        f"{family}.feed_forward_length": model.embedding_length * 4,
        f"{family}.rope.dimension_count": 128,
        f"{family}.rope.freq_base": 500000,
        f"{family}.vocab_size": 49152,
        "tokenizer.ggml.add_bos_token": False,
        "tokenizer.ggml.add_space_prefix": False,
        "tokenizer.ggml.bos_token_id": 1,
        "tokenizer.ggml.eos_token_id": 2,
        "tokenizer.ggml.merges": None,
        "tokenizer.ggml.model": "gpt2",
        "tokenizer.ggml.padding_token_id": 2,
        "tokenizer.ggml.pre": "simulated",
        "tokenizer.ggml.token_type": None,
        "tokenizer.ggml.tokens": None,
        "tokenizer.ggml.unknown_token_id": 0,
    }


def _tensors(model: Model) -> list[dict[str, Any]]:
    width = model.embedding_length
    parts = ("attn_q", "attn_k", "attn_v", "ffn_down", "ffn_up")
    blocks = [f"blk.{block}.{part}" for block in range(model.layers) for part in parts]
    return [
        {"name": "output_norm.weight", "type": "F32", "shape": [width]},
        {"name": "token_embd.weight", "type": "Q6_K", "shape": [width, 49152]},
        *({"name": f"{b}.weight", "type": "Q4_K", "shape": [width, width]} for b in blocks),
    ]
