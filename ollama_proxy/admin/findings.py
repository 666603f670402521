"""What was found of calls, in words: a sentence for each finding, and the rows that the page has.

Not here: what counts as a finding (`insights/`), their answers in JSON (`insights.py`).
"""

from __future__ import annotations

from ollama_proxy.admin.words import Said, Text, Words, name, visible
from ollama_proxy.ids import epoch
from ollama_proxy.records import Finding

_STEP = 1024


def sentence(found: Finding, words: Words) -> str:
    """What, who, how often, what it cost, and what to change."""
    tokens = words.n("finding.cost.tokens", found.tokens or 0)
    lost = words.t("finding.prompt_cut.lost", tokens=tokens) if found.tokens else ""
    key = f"finding.{found.kind}"
    if found.detail is not None and f"{key}.{found.detail}" in words.catalogue:
        key += f".{found.detail}"
    if found.other is not None and found.other == found.client and f"{key}.own" in words.catalogue:
        key += ".own"
    said = words.t(
        key,
        calls=_counted("finding.calls", found, words),
        answers=_counted("finding.answers", found, words),
        client=_client(found.client, words),
        other=_client(found.other, words),
        detail=visible(found.detail or ""),
        seconds=full(words.seconds(found.seconds)),
        model=visible(found.model or ""),
        tokens=tokens,
        lost=lost,
        cost=_cost(found, words),
        remedy=_remedy(found, words),
    )
    return f"{said} {words.t('finding.estimated')}" if found.estimated and found.tokens else said


def _counted(key: str, found: Finding, words: Words) -> str:
    """English counts them all, Italian those that are meant: `only` is one of one."""
    only = found.count == found.of == 1
    return words.t(
        f"{key}.only" if only else f"{key}.{'one' if found.count == 1 else 'other'}",
        n=words.number(found.count),
        of=words.number(found.of),
    )


def _cost(found: Finding, words: Words) -> str:
    """Tokens and seconds, as far as they are known; of a loop no more than was listened to."""
    known = _known_cost(found, words)
    if known is None:
        return words.t("finding.cost.unknown")
    return words.t("finding.cost.at_least", cost=known) if found.kind == "looped" else known


def _known_cost(found: Finding, words: Words) -> str | None:
    tokens = None if found.tokens is None else words.n("finding.cost.tokens", found.tokens)
    seconds = None if found.seconds is None else full(words.seconds(found.seconds))
    if tokens and seconds:
        return words.t("finding.cost.both", tokens=tokens, seconds=seconds)
    return tokens or seconds


def _remedy(found: Finding, words: Words) -> str:
    """What to change, or what is known of the cause, where that is not the same each time."""
    if found.kind.startswith("slow_"):
        key = f"finding.slow.{found.detail}"
        return words.t(key if key in words.catalogue else "finding.slow.unknown")
    if found.needed is None:
        return words.t("finding.remedy.context.unknown")
    return words.t("finding.remedy.context", needed=str(-(-found.needed // _STEP) * _STEP))


def finding_row(w: Words, found: Finding, now: float) -> dict[str, str]:
    """A finding among those to look at, with the id of its latest call."""
    return {
        "id": found.id,
        "text": sentence(found, w),
        "last": w.t("findings.last", ago=w.ago(epoch(found.last_at), now)),
        "call": found.calls[0] if found.calls else "",
    }


def wait_row(w: Words, found: Finding) -> dict[str, Text]:
    """Who waited for whom."""
    return {
        "id": found.id,
        "client": name(_client(found.client, w)),
        "other": name(_client(found.other, w)),
        "model": name(found.model or ""),
        "seconds": w.seconds(found.seconds),
        "calls": w.number(found.count),
    }


def _client(client: str | None, words: Words) -> str:
    return visible(client or words.t("finding.client.unknown"))


def full(text: Text) -> str:
    """A text as it is read out."""
    return text.full if isinstance(text, Said) else text
