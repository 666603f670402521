"""What a client asked for besides its prompt: small, and with no text of the prompt in it.

Pure. Not here: which options make Ollama reload a model, or what their defaults are.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from ollama_proxy.observers.privacy import Mode, Privacy, readable
from ollama_proxy.observers.reading import CutText, name, text
from ollama_proxy.observers.requests import Request

OPTIONS_LIMIT = 2048
_KEYS = 32
_KEY_LIMIT = 64
_DURATION = re.compile(r"-?[\d.hmsuµn]{1,31}")
_WORD = re.compile(r"[a-z]{1,16}")
_OF_MODEL = (
    "num_ctx",
    "num_keep",
    "num_predict",
    "num_batch",
    "num_thread",
    "num_gpu",
    "main_gpu",
    "use_mmap",
    "draft_num_predict",
)
_V1 = (
    "temperature",
    "top_p",
    "top_k",
    "max_tokens",
    "max_completion_tokens",
    "max_output_tokens",
    "seed",
    "stop",
    "stop_sequences",
    "frequency_penalty",
    "presence_penalty",
    "stream_options",
    "dimensions",
)


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


def asked_of_model(request: Request) -> dict[str, Any]:
    """What a native request asks for that decides how its model is loaded, and a prompt cut."""
    options = request.options if isinstance(request.options, dict) else {}
    found = {name: options[name] for name in _OF_MODEL if _is_plain(options.get(name))}
    if isinstance(request.shift, bool):
        found["shift"] = request.shift
    if _is_plain(request.keep_alive) or _matches(_DURATION, request.keep_alive):
        found["keep_alive"] = request.keep_alive
    return found


def asked_v1(request: Request, whole: bool, privacy: Privacy) -> dict[str, Any] | None:
    """The same of a /v1 request, in which options stand among the other fields.

    `think` is the effort, or whether to think; `format` the kind of `response_format`. `whole`
    False: the request was cut, so that a list may lack its end.
    """
    fields = {field: getattr(request, field) for field in _V1}
    cut = CutText if whole else (CutText, list)
    options = {k: v for k, v in fields.items() if v is not None and not isinstance(v, cut)}
    return asked(options, None, _effort(request), _format(request), privacy)


def _effort(request: Request) -> object:
    for holder in (request.reasoning, request.output_config):
        if isinstance(holder, dict) and holder.get("effort"):
            return holder["effort"]
    if isinstance(request.thinking, dict):
        return {"enabled": True, "disabled": False}.get(text(request.thinking.get("type")) or "")
    return request.reasoning_effort


def _format(request: Request) -> str | None:
    inner = request.text.get("format") if isinstance(request.text, dict) else None
    wanted = inner if request.response_format is None else request.response_format
    kind = text(wanted.get("type")) if isinstance(wanted, dict) else None
    return {"json_object": "json", "json_schema": "schema"}.get(kind or "")


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
