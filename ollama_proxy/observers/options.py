"""What a client asked for besides its prompt: small, and with no text of the prompt in it.

Pure. Not here: which options make Ollama reload a model, or what their defaults are.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ollama_proxy.observers.privacy import Mode, Privacy, readable
from ollama_proxy.observers.reading import name

OPTIONS_LIMIT = 2048
_KEYS = 32
_KEY_LIMIT = 64
_DURATION = re.compile(r"-?[\d.hmsuµn]{1,31}")
_WORD = re.compile(r"[a-z]{1,16}")


def asked(
    options: object, keep_alive: object, think: object, format_: object, privacy: Privacy
) -> dict[str, Any] | None:
    """The `options` object with `keep_alive`, `think`, `format` beside it; None if all are absent.

    Of `format` only its kind is kept, "json" or "schema". An object of more than 2 KiB, or with a
    redaction pattern's match in it, is reduced to its keys. `stop` holds text of the client's own:
    in the modes `none` and `hash` only numbers and truth values are kept, in `truncate` no value
    that is longer than the mode's limit.
    """
    kept = _bounded(options, privacy) if isinstance(options, dict) else {}
    if _is_plain(keep_alive) or _matches(_DURATION, keep_alive):
        kept["keep_alive"] = keep_alive
    if isinstance(think, bool) or _matches(_WORD, think):
        kept["think"] = think
    if format_:
        kept["format"] = "json" if format_ == "json" else "schema"
    return kept or None


def _bounded(options: dict[str, Any], privacy: Privacy) -> dict[str, Any]:
    options = {key: value if _may_stay(value, privacy) else None for key, value in options.items()}
    try:
        encoded = msgspec.json.encode(options)
    except (ValueError, OverflowError, RecursionError):
        return _keys_only(options, privacy)
    if len(encoded) > OPTIONS_LIMIT or privacy.hits(encoded.decode()):
        return _keys_only(options, privacy)
    return dict(options)


def _keys_only(options: dict[str, Any], privacy: Privacy) -> dict[str, Any]:
    keys = [readable(str(key)[:_KEY_LIMIT]) for key in options]
    return {key: None for key in keys[:_KEYS] if not privacy.hits(key)}


def _may_stay(value: object, privacy: Privacy) -> bool:
    """Whether the mode allows it: text is kept no longer than a prompt's would be."""
    if _is_plain(value) or value is None or privacy.mode is Mode.FULL:
        return True
    if privacy.mode is not Mode.TRUNCATE:
        return False
    try:
        return len(msgspec.json.encode(value)) <= privacy.characters
    except (ValueError, OverflowError, RecursionError):
        return False


def _is_plain(value: object) -> bool:
    return isinstance(value, bool | int | float)


def _matches(pattern: re.Pattern[str], value: object) -> bool:
    return name(value) is not None and pattern.fullmatch(str(value)) is not None
