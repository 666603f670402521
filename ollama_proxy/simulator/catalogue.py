"""The models that the simulator says it has, and their names.

Not here: which of them are loaded (`scheduler.py`) or how they are listed (`models.py`). No I/O.
"""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace

from .faults import PREFIX

_BILLIONS = re.compile(r"(\d+(?:\.\d+)?)([bm])\b")
_NAME = re.compile(r"[\w.-]+(?::\d+)?(?:/[\w.-]+){0,2}(?::[\w.-]+)?\Z")
_EMBEDDING = re.compile(r"embed|minilm|bge|arctic")
_THINKING = re.compile(r"qwen3|deepseek-r1|gpt-oss|magistral|think")
# name's start: family, parameters, context length, embedding length, layers
_KNOWN: dict[str, tuple[str, float, int, int, int]] = {
    "smollm2": ("llama", 134_515_008, 8192, 576, 30),
    "llama3": ("llama", 3_212_749_888, 131072, 3072, 28),
    "qwen3": ("qwen3", 8_190_735_360, 40960, 4096, 36),
    "gemma3": ("gemma3", 4_299_915_632, 131072, 2560, 34),
    "mistral": ("llama", 7_248_023_552, 32768, 4096, 32),
    "nomic-embed-text": ("nomic-bert", 136_727_040, 2048, 768, 12),
    "all-minilm": ("bert", 22_565_376, 256, 384, 6),
    "mxbai-embed-large": ("bert", 334_092_288, 512, 1024, 24),
}
_OTHER = ("llama", 8_030_261_312, 32768, 4096, 32)


@dataclass(frozen=True)
class Model:
    """One model as the lists show it. `blob` is shared by copies, as is their runner."""

    name: str
    blob: str
    digest: str
    family: str
    parameters: int
    context_length: int
    embedding_length: int
    layers: int
    capabilities: tuple[str, ...]
    modified_ns: int
    system: str = ""

    @property
    def size(self) -> int:
        return int(self.parameters * 0.62) + 14_000_000

    @property
    def parameter_size(self) -> str:
        billions = self.parameters / 1e9
        return f"{billions:.1f}B" if billions >= 1 else f"{self.parameters / 1e6:.2f}M"

    @property
    def details(self) -> dict[str, object]:
        return {
            "parent_model": "",
            "format": "gguf",
            "family": self.family,
            "families": [self.family],
            "parameter_size": self.parameter_size,
            "quantization_level": "Q4_K_M",
        }


class Catalogue:
    """Models by name; names are compared as Ollama does, with `:latest` implied."""

    def __init__(self, names: Iterable[str]) -> None:
        self.models: dict[str, Model] = {}
        for name in names:
            self.add(name)

    def __iter__(self) -> Iterator[Model]:
        return iter(self.models.values())

    def find(self, name: str) -> Model | None:
        """A `simulate-…` name is always there, so that misbehaviour needs no set-up."""
        known = self.models.get(full_name(name).lower())
        if known is None and name.lower().startswith(PREFIX):
            return describe(full_name(name))
        return known

    def add(self, name: str) -> Model:
        model = describe(full_name(name))
        self.models[model.name.lower()] = model
        return model

    def derive(self, source: Model, name: str, system: str = "") -> Model:
        """A copy under another name; with a system prompt also another manifest."""
        digest = _sha256(source.digest + system) if system else source.digest
        system = system or source.system
        model = replace(
            source, name=full_name(name), digest=digest, system=system, modified_ns=time.time_ns()
        )
        self.models[model.name.lower()] = model
        return model

    def remove(self, name: str) -> Model | None:
        return self.models.pop(full_name(name).lower(), None)


def full_name(name: str) -> str:
    """The shortest unambiguous form: no default registry or namespace, always a tag."""
    for default in ("registry.ollama.ai/", "library/"):
        name = name.removeprefix(default)
    return name if ":" in name.rpartition("/")[2] else name + ":latest"


def valid_name(name: str) -> bool:
    return bool(_NAME.match(name))


def describe(name: str) -> Model:
    """All facts of a model, made up from its name alone: the same in every run but the date."""
    known = next((facts for start, facts in _KNOWN.items() if name.startswith(start)), _OTHER)
    family, parameters, context_length, embedding_length, layers = known
    if match := _BILLIONS.search(name):
        parameters = float(match[1]) * (1e9 if match[2] == "b" else 1e6)
    return Model(
        name=name,
        blob=_sha256("blob " + name),
        digest=_sha256("manifest " + name),
        family=family,
        parameters=int(parameters),
        context_length=context_length,
        embedding_length=embedding_length,
        layers=layers,
        capabilities=_capabilities(name),
        modified_ns=time.time_ns(),
    )


def _capabilities(name: str) -> tuple[str, ...]:
    if _EMBEDDING.search(name):
        return ("embedding",)
    speaking = ("completion", "tools")
    return (*speaking, "thinking") if _THINKING.search(name) else speaking


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()
