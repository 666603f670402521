"""Made-up language: words, JSON, vectors and a token count, all decided by a seed.

Not here: a tokenizer; the counts only behave like one (about a token a word). No I/O.
"""

from __future__ import annotations

import hashlib
import json
import math
import random
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

# A bar parts the tokens of one word, so that words also arrive in pieces, as from a real model.
_WORDS = (
    "the the the a a of of and and to in is that it for as with on by at from this be which "
    "river harbour window morning winter market garden letter signal engine paper machine bridge "
    "street number stone winter|berry light|house ob|serv|ation temper|ature meas|urement "
    "pheno|menon struct|ure arch|itect|ure quiet slow bright narrow open early small distant warm "
    "plain turns opens moves carries follows holds answers waits returns keeps counts shows "
    "slowly often again almost rarely together between under above without perhaps because while "
    "café naïve 数据 → 🚀 Zürich perché"
)
_VOCABULARY = tuple(tuple(word.split("|")) for word in _WORDS.split())
_OPENING = ("This", " answer", " is", " sim", "ulated", ".")
_TOKEN = re.compile(r"[^\W\d_]+|\d|_|[^\w\s]")
_PIECE = re.compile(r"\s*(?:\w+|[^\w\s])|\s+")
_LONG_WORD = 10  # letters; longer words cost another token
_COUNTED = 1 << 18  # characters; of longer texts only the start is counted, the rest in proportion
_IDS = [(i * 7919 + 198) % 49152 for i in range(1024)]


def generator(*parts: object) -> random.Random:
    """A random source that the same parts always seed alike, in every process."""
    digest = hashlib.blake2b("\0".join(map(str, parts)).encode(), digest_size=8).digest()
    return random.Random(int.from_bytes(digest, "big"))


def count_tokens(text: str) -> int:
    """About what a tokenizer would count: a token a word, digit, ideogram or mark."""
    if len(text) <= _COUNTED:
        return _count(text) + text.endswith(" ")
    return _count(text[:_COUNTED]) * len(text) // _COUNTED


def _count(text: str) -> int:
    return sum(_cost(word) for word in _TOKEN.findall(text))


def _cost(word: str) -> int:
    per_token = _LONG_WORD if word[0] < "\u2e80" else 1
    return -(-len(word) // per_token)


def token_ids(count: int) -> list[int]:
    """Numbers that look like the `context` of an answer."""
    return (_IDS * (count // len(_IDS) + 1))[:count]


def prose(rng: random.Random) -> Iterator[str]:
    """Tokens of endless sentences; the first one says that they mean nothing."""
    yield from _OPENING
    while True:
        yield from _sentence(rng)


def _sentence(rng: random.Random) -> Iterator[str]:
    first = rng.choice(_VOCABULARY)
    yield ("\n\n" if rng.random() < 0.1 else " ") + first[0].capitalize()
    yield from first[1:]
    for _ in range(rng.randint(5, 13)):
        head, *tail = rng.choice(_VOCABULARY)
        yield " " + head
        yield from tail
    yield "."


def pieces_of(text: str) -> list[str]:
    """A finished text cut into token-like pieces."""
    return _PIECE.findall(text)


def json_answer(schema: object, rng: random.Random) -> list[str]:
    """Tokens of a JSON document that fits `format`: "json" or a schema."""
    if not isinstance(schema, dict):
        schema = {"type": "object", "properties": {"trend": {"enum": ["up", "down"]}}}
    return pieces_of(json.dumps(sample(schema, rng), indent=1, ensure_ascii=False))


def sample(schema: object, rng: random.Random) -> Any:
    """A value that fits the common part of JSON Schema; what is not understood is a word."""
    schema = schema if isinstance(schema, dict) else {}
    if isinstance(schema.get("enum"), list) and schema["enum"]:
        return rng.choice(schema["enum"])
    kind = schema.get("type", "object" if "properties" in schema else "string")
    kind = kind[0] if isinstance(kind, list) and kind else kind
    if kind == "object":
        properties = schema.get("properties")
        named = properties.items() if isinstance(properties, dict) else ()
        return {key: sample(value, rng) for key, value in named}
    if kind == "array":
        return [sample(schema.get("items"), rng)]
    return _scalar(str(kind), rng)


def _scalar(kind: str, rng: random.Random) -> Any:
    if kind == "integer":
        return rng.randint(1, 99)
    if kind == "number":
        return rng.randint(1, 999) / 10
    if kind == "boolean":
        return rng.random() < 0.5
    return None if kind == "null" else "".join(rng.choice(_VOCABULARY))


def vector(text: str, size: int, seed: int) -> list[float]:
    """An embedding of length 1: texts that share words point in similar directions."""
    rng = generator("vector", seed, text)
    total = [rng.gauss(0.0, 0.4) for _ in range(size)]
    for word in _TOKEN.findall(text[:2000])[:64]:
        total = [a + b for a, b in zip(total, _word_vector(word.lower(), size, seed), strict=True)]
    norm = math.sqrt(sum(x * x for x in total)) or 1.0
    return [round(x / norm, 9) for x in total]


@lru_cache(maxsize=512)
def _word_vector(word: str, size: int, seed: int) -> tuple[float, ...]:
    rng = generator("word", seed, word)
    return tuple(rng.gauss(0.0, 1.0) for _ in range(size))
