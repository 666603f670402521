"""What was found of calls, in words: a sentence for each finding, and the rows that the page has.

Not here: what counts as a finding (`insights/`), their answers in JSON (`insights.py`).
"""

from __future__ import annotations

import re

from msgspec.structs import replace

from ollama_proxy.admin.columns import marked_as
from ollama_proxy.admin.words import Said, Text, Words, name
from ollama_proxy.ids import epoch
from ollama_proxy.insights.conflicts import NOT_NAMED, number
from ollama_proxy.records import Changed, Finding, Values

_STEP = 1024
_USUAL: tuple[int, ...] = tuple(2048 << power for power in range(12))
_DOUBT = 0.3
"""Of an estimated prompt, how much longer it may be. Nine of ten estimates of what was lost were
within that (`docs/insights.md`); where all of a model's prompts were cut, so that none taught what
its tokens are, prompts were up to 26 % longer than estimated."""
_PLAIN = re.compile(r"[\w][\w./:-]*", re.ASCII)
SHOWN = 5
"""How many findings stand in the open."""
WAITS, LITTLE = ("waited", "runner_busy"), 5.0
"""Kinds that tell of waits; seconds below which all of a finding are not worth a place there."""
MOST_OPTIONS = 3
"""Options that a sentence names."""
LONGEST_NAME, LONGEST_LABEL, LONGEST_VALUE = 100, 30, 20
"""Characters: a sentence, and a few words, are of bearable length, whatever a client sends."""


def sentence(found: Finding, words: Words, now: float) -> str:
    """What, who, how often, what it cost, and what to change; `now` in seconds since 1970."""
    if found.kind == "outage":
        return outage(found, words, now)
    tokens = _tokens(found, found.tokens or 0, words)
    options = found.options
    key = _key(found, words)
    return words.t(
        key,
        calls=_counted("finding.calls", found, words),
        answers=_counted("finding.answers", found, words),
        client=_client(found.client, words),
        other=_client(found.other, words),
        detail=_short(found.detail or "", LONGEST_NAME),
        seconds=full(words.seconds(found.seconds)),
        model=_short(found.model or "", LONGEST_NAME),
        tokens=tokens,
        lost=_lost(found, words),
        cost=_cost(found, words),
        remedy=_remedy(found, words),
        old=_asked(words, [(one.name, one.old) for one in options]),
        new=_asked(words, [(one.name, one.new) for one in options]),
    )


def outage(found: Finding, words: Words, now: float) -> str:
    """Times are those of this machine: the page writes them anew, in the reader's zone."""
    moments = [words.moment(epoch(one), now) for one in (found.opened_at, found.last_at)]
    return words.n("findings.outage", found.count, at=" \u2013 ".join(dict.fromkeys(moments)))


def _key(found: Finding, words: Words) -> str:
    """Of which sentence: that of the kind, or of the kind and what it is about, or between whom."""
    key = f"finding.{found.kind}"
    for about in ((found.detail or "").partition(" ")[0], "options" if found.options else ""):
        if about and f"{key}.{about}" in words.catalogue:
            key += f".{about}"
    own = found.other is not None and found.other == found.client
    return f"{key}.own" if own and f"{key}.own" in words.catalogue else key


def _asked(words: Words, options: list[tuple[str, Values]]) -> str:
    """What a client asks for, of the first few options."""
    told = [_of_option(words, name, values) for name, values in options[:MOST_OPTIONS]]
    if more := len(options) - MOST_OPTIONS:
        told += [words.n("finding.option.more", more)] if more > 0 else []
    return ", ".join(told)


def _of_option(words: Words, name: str, asked: Values) -> str:
    if asked.values == [NOT_NAMED] and not asked.others:
        return words.t("finding.option.default", name=name)
    return f"{name} {_either(words, asked)}"


def _either(words: Words, asked: Values) -> str:
    """Some values, and how many others there are."""
    own = words.t("finding.option.left_out")
    told = [own if value == NOT_NAMED else _short(value, LONGEST_VALUE) for value in asked.values]
    told += [words.n("finding.option.others", asked.others)] if asked.others else []
    return words.t("finding.option.or").join(told)


def _lost(found: Finding, words: Words) -> str:
    """The tokens that were lost; of several calls what one lost, too."""
    if not found.tokens:
        return ""
    tokens = _tokens(found, found.tokens, words)
    if found.count == 1 or found.tokens_p50 is None or found.tokens_max is None:
        return words.t("finding.cost.lost", tokens=tokens)
    same = found.tokens_p50 == found.tokens_max and not found.estimated
    return words.t(
        "finding.cost.lost.alike" if same else "finding.cost.lost.each",
        typical=_tokens(found, found.tokens_p50, words),
        most=_about(found, words.number(_rounded(found, found.tokens_max)), words),
        tokens=tokens,
    )


def _tokens(found: Finding, tokens: int, words: Words) -> str:
    """As exact as they are known."""
    return _about(found, words.n("finding.cost.tokens", _rounded(found, tokens)), words)


def _about(found: Finding, text: str, words: Words) -> str:
    return words.t("finding.about", what=text) if found.estimated else text


def _rounded(found: Finding, tokens: int) -> int:
    """Of an estimate two digits."""
    return int(float(f"{tokens:.1e}")) if found.estimated else tokens


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
    tokens = None if found.tokens is None else _tokens(found, found.tokens, words)
    seconds = None if found.seconds is None else full(words.seconds(found.seconds))
    if tokens and seconds:
        return words.t("finding.cost.both", tokens=tokens, seconds=seconds)
    return tokens or seconds


def _remedy(found: Finding, words: Words) -> str:
    """What to change, or what is known of the cause, where that is not the same each time."""
    if found.kind.startswith("slow_"):
        key = f"finding.slow.{found.detail}"
        return words.t(key if key in words.catalogue else "finding.slow.unknown")
    if found.kind == "model_missing":
        # A name that a shell would read as more than one is not put into a command.
        can_be_got = _PLAIN.fullmatch(found.model or "")
        key = f"finding.missing.{'pull' if can_be_got else 'name'}"
        return words.t(key, model=found.model or "", client=_client(found.client, words))
    if found.options:
        return " ".join(_one_for_both(found, one, words) for one in found.options[:MOST_OPTIONS])
    client = _client(found.client, words)
    if not found.needed or found.kind == "context_full":  # that stopped where it was full
        return words.t("finding.remedy.context.unknown", client=client)
    needed, key = _context_for(found.needed, found.estimated), "finding.remedy.context"
    key += ".about" if found.estimated else ""
    return words.t(key, client=client, needed=str(needed))


def _context_for(tokens: int, estimated: bool) -> int:
    """A context that holds them, and one more: Ollama cuts what fills it. Of an estimate one that
    holds them also where it is too low."""
    if not estimated:
        return (tokens // _STEP + 1) * _STEP
    doubtful = tokens * (1 + _DOUBT)
    return next((usual for usual in _USUAL if usual > doubtful), _USUAL[-1])


def _one_for_both(found: Finding, option: Changed, words: Words) -> str:
    """Where to change an option so that all ask for the same: what Ollama chooses where some do not
    name it, else the largest context, which never cuts a prompt; of others it is not said which
    value is the better one. Said the same of both ways."""
    name, sides = option.name, (option.new, option.old)
    client, other = (_client(one, words) for one in (found.client, found.other))
    values = list(dict.fromkeys([*option.new.values, *option.old.values]))
    numbers = {value: known for value in values if (known := number(value)) is not None}
    left_out = NOT_NAMED in values and name != "num_ctx"
    if not left_out and (name != "num_ctx" or len(numbers) < len(values)):
        return words.t("finding.option.same", name=name, client=client, other=other)
    keep = NOT_NAMED if left_out else max(numbers, key=numbers.__getitem__)
    wrong = [side.values != [keep] or side.others > 0 for side in sides]
    where = words.t("finding.option.where", client=client if wrong[0] else other)
    if found.client == found.other:
        where = words.t("finding.option.everywhere")
    elif all(wrong):
        where = words.t("finding.option.in_both", client=client, other=other)
    # Of two sides that both have others, some may be the same ones.
    others = max(side.others for side in sides)
    drop = Values([value for value in values if value != keep], others)
    how = "leave_out" if left_out else "set"
    now = _either(words, drop)
    return words.t(f"finding.option.{how}", where=where, name=name, value=keep, now=now)


def finding_row(w: Words, found: Finding, now: float) -> dict[str, str]:
    """A finding among those to look at, with the id of its latest call."""
    return {
        "id": found.id,
        "text": sentence(found, w, now),
        "last": w.t("findings.last", ago=w.ago(epoch(found.last_at), now)),
        "call": found.calls[0] if found.calls else "",
    }


def opened(found: list[Finding]) -> tuple[list[Finding], list[Finding]]:
    """Those that stand in the open, and the rest, each in their order."""
    first = [one for one in found if not minor(one)][:SHOWN]
    return first, [one for one in found if one not in first]


def minor(found: Finding) -> bool:
    """Whether it only tells of waits that were nothing, all together."""
    return found.kind in WAITS and (found.seconds or 0.0) < LITTLE


def short(found: Finding, words: Words) -> str:
    """In a few words: of what kind, whose and for whom, and of which model."""
    own, other = (
        _short(one or words.t("finding.client.unknown"), LONGEST_LABEL)
        for one in (found.client, found.other)
    )
    who = own if found.other in (None, found.client) else f"{own} \u2192 {other}"
    about = [] if found.kind == "outage" else [who]
    if found.model is not None:
        about.append(_short(found.model, LONGEST_LABEL))
    return " \u00b7 ".join([words.t(f"mark.{marked_as(found.kind)}"), *about])


def pairs(waits: list[Finding]) -> list[Finding]:
    """One for each client, for whom it waited and at which model; the longest first."""
    found: dict[tuple[str | None, ...], Finding] = {}
    for one in waits:
        key = (one.client, one.other, one.model)
        if (same := found.get(key)) is not None:
            seconds, count = (same.seconds or 0.0) + (one.seconds or 0.0), same.count + one.count
            one = replace(same, seconds=seconds, count=count)
        found[key] = one
    return sorted(found.values(), key=lambda one: -(one.seconds or 0.0))


def wait_row(w: Words, found: Finding) -> dict[str, Text]:
    """Who waited for whom."""
    return {
        "id": found.id,
        "client": name(_client(found.client, w)),
        "other": name(_client(found.other, w)),
        "model": name(found.model or ""),
        "seconds": w.seconds(found.seconds),
        "calls": w.number(found.count),
        "unit": w.n("waits.calls", found.count),
    }


def _client(client: str | None, words: Words) -> str:
    return _short(client or words.t("finding.client.unknown"), LONGEST_NAME)


def _short(text: str, most: int) -> str:
    """Made visible, and what is too long shortened in its middle."""
    short = name(text, most)
    return short.shown if isinstance(short, Said) else short


def full(text: Text) -> str:
    """A text as it is read out."""
    return text.full if isinstance(text, Said) else text
