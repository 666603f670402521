"""Whether Ollama cut a call's prompt, which it does without a word. Pure, bounded.

What it does (server/prompt.go, llm/server.go of 0.33): in a chat the oldest messages but the
system's are dropped until the rest fits the context of N tokens. What still does not fit, as every
prompt that is one message, loses its middle: `half_cut` tokens are left. Rules, the certain first:

- `context`: an answer of /api/generate lists the tokens of the uncut prompt.
- `bytes`: a token is at least a byte, and there were fewer bytes than N.
- `half`: exactly `half_cut` tokens were counted, of a prompt that is estimated far longer; of a
  single message any other count is a whole prompt's.
- `grown`: a conversation that goes on has fewer tokens than before, or went on from one that was
  cut. `went_on`: it has far fewer than before plus what was added.
- `messages`: the count fits best without the oldest messages.

Where these do not tell apart there is no verdict: nearly always a prompt within a tenth of N. How
often each is right stands in `docs/insights.md`. Not here: tokens of characters (`tokens.py`), what
N is (`contexts.py`), what an answer overran (`overrun.py`).
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from ollama_proxy.insights.tokens import Tokens, features
from ollama_proxy.sketch import Sketch

KEEP = 4
"""Tokens at a prompt's beginning that a half cut keeps, unless `num_keep` says otherwise."""
REMEMBERED = 2000
"""Conversations whose last call is remembered, of all models."""
MAX_MODELS = 500

_A_MESSAGE, _A_PROMPT = 14, 22  # bytes that a template puts around them, at most
_SURE = 0.8  # of N: no estimate below it was ever of a cut prompt
_NEAR = 0.9
_LONG = 0.7  # of N: an estimate of a prompt that was cut in half
_FULL = 0.88
_CLEARLY = 1.06
_FAR = 1.5  # every estimate above it was of a cut prompt
_BETTER = 0.06  # of the count: by so much a fit must be better than that of the whole
_DOUBT, _LEAST_DOUBT = 0.08, 3.0


class Prompt(msgspec.Struct, frozen=True, kw_only=True, gc=False):
    """What is known of a call's prompt.

    `tokens` is what Ollama counted, `context` N, `output` the tokens of the answer, `listed` how
    many tokens an answer of /api/generate lists: prompt and answer. None is not known.
    """

    model: str
    sketch: Sketch
    tokens: int
    context: int | None
    output: int | None = None
    listed: int | None = None
    keep: int = KEEP
    may_cut: bool = True


class Verdict(msgspec.Struct, frozen=True, gc=False):
    """`cut` None: it cannot be told. `lost` are tokens, exact or `estimated`."""

    cut: bool | None
    rule: str = ""
    lost: int | None = None
    estimated: bool = False


class _Said(msgspec.Struct, frozen=True, gc=False):
    """The last call of a conversation."""

    tokens: int
    output: int
    cut: bool | None
    context: int | None
    plain: bool


NO_VERDICT = Verdict(None)


def half_cut(context: int, keep: int) -> int:
    """Tokens that are left of a prompt that does not fit; a negative `keep` keeps all it can."""
    kept = min(keep, context - 1) if keep >= 0 else context - 1
    return context - max((context - kept) // 2, 1)


class PromptCuts:
    """Judges calls as they end, and learns from those that were judged."""

    def __init__(self) -> None:
        self._tokens: dict[str, Tokens] = {}
        self._said: OrderedDict[tuple[str, int], _Said] = OrderedDict()

    def judge(self, prompt: Prompt) -> Verdict:
        tokens = self._tokens.get(prompt.model)
        if tokens is None:
            tokens = Tokens()
            if len(self._tokens) < MAX_MODELS:
                self._tokens[prompt.model] = tokens
        sums = features(prompt.sketch.parts)
        verdict = self._judge(prompt, tokens, tokens.estimate(sums))
        self._learn(prompt, verdict, tokens, sums)
        return verdict

    def _judge(self, prompt: Prompt, tokens: Tokens, whole: float) -> Verdict:
        if not prompt.may_cut:
            return Verdict(False, "asked")
        if prompt.listed is not None and prompt.output is not None:
            missing = prompt.listed - prompt.output - prompt.tokens
            if missing > max(8, prompt.tokens // 50):
                return Verdict(True, "context", missing)
            return Verdict(False, "context")
        parts = prompt.sketch.parts
        last = self._last(prompt)
        alike = last is not None and last[1].plain and prompt.sketch.plain
        grown = _grown(prompt, last[1]) if last is not None and alike else None
        if grown is not None:
            return grown
        if prompt.context is None or not prompt.sketch.plain or prompt.tokens > prompt.context:
            return NO_VERDICT
        most = prompt.sketch.size + _A_MESSAGE * len(parts) + _A_PROMPT
        if prompt.tokens <= most < prompt.context:
            return Verdict(False, "bytes")
        return _by_estimate(prompt, prompt.context, tokens, whole, last)

    def _last(self, prompt: Prompt) -> tuple[int, _Said] | None:
        """The last call of this conversation, and how many of the messages it had."""
        parts = prompt.sketch.parts
        for index in range(len(parts) - 2, -1, -1):
            said = self._said.get((prompt.model, parts[index].mark))
            if said is not None:
                return index + 1, said
        return None

    def _learn(self, prompt: Prompt, verdict: Verdict, tokens: Tokens, sums: list[float]) -> None:
        sketch = prompt.sketch
        if not sketch.parts:
            return
        if verdict.cut is False and sketch.plain:
            tokens.learn(sums, prompt.tokens)
        elif verdict.rule == "context" and sketch.plain and verdict.lost:
            tokens.learn(sums, prompt.tokens + verdict.lost)
        key = prompt.model, sketch.parts[-1].mark
        self._said.pop(key, None)
        self._said[key] = _Said(
            prompt.tokens, prompt.output or 0, verdict.cut, prompt.context, sketch.plain
        )
        if len(self._said) > REMEMBERED:
            self._said.popitem(last=False)


def _grown(prompt: Prompt, said: _Said) -> Verdict | None:
    """Of a conversation that goes on from another call; None if that tells nothing."""
    same = said.context is not None and said.context == prompt.context
    if prompt.tokens < said.tokens:
        return Verdict(True, "grown", said.tokens - prompt.tokens, estimated=True)
    return Verdict(True, "grown") if said.cut and same else None


def _by_estimate(
    prompt: Prompt, context: int, tokens: Tokens, whole: float, last: tuple[int, _Said] | None
) -> Verdict:
    parts = prompt.sketch.parts
    # One token more is kept by models that begin each prompt with one of their own.
    halves = {half_cut(context, prompt.keep), half_cut(context, prompt.keep + 1)}
    lost = max(1, round(whole) - prompt.tokens)
    if prompt.tokens in halves and whole > max(_SURE * prompt.tokens, _LONG * context):
        return Verdict(True, "half", lost, estimated=True)
    if sum(part.role != "system" for part in parts) <= 1:
        return Verdict(False, "half")
    if last is not None and last[1].plain and last[1].cut is False:
        return _went_on(prompt, context, tokens, *last)
    if whole < _SURE * context:
        return Verdict(False, "messages")
    return _messages_dropped(prompt, context, tokens, whole)


def _went_on(prompt: Prompt, context: int, tokens: Tokens, count: int, said: _Said) -> Verdict:
    """Of a conversation whose beginning was whole: what was added is all that is estimated."""
    answer, added = prompt.sketch.parts[count : count + 1], prompt.sketch.parts[count + 1 :]
    # What a model thought is not in the conversation.
    answered = min(said.output, 1.5 * tokens.of_message(answer[0]) + 10) if answer else 0
    expected = said.tokens + answered + 5 + sum(map(tokens.of_message, added))
    doubt = 2 * (_LEAST_DOUBT + _DOUBT * (expected - said.tokens))
    missing = expected - prompt.tokens
    if missing > doubt and expected + doubt >= context:
        return Verdict(True, "went_on", max(1, round(missing)), estimated=True)
    return Verdict(False, "went_on")


def _messages_dropped(prompt: Prompt, context: int, tokens: Tokens, whole: float) -> Verdict:
    """By which of the oldest messages the count fits best to leave out."""
    count = prompt.tokens
    left, fits = whole, []
    others = [part for part in prompt.sketch.parts if part.role != "system"]
    for part in others[:-1]:
        left -= tokens.of_message(part)
        fits.append(abs(left - count))
    best = min(fits)
    better = (abs(whole - count) - best) / count > _BETTER
    if whole > _FAR * context or (better and whole > _CLEARLY * context):
        return Verdict(True, "messages", max(1, round(whole) - count), estimated=True)
    if better and whole > _FULL * context:
        return NO_VERDICT
    if whole > _NEAR * context and count > _NEAR * context:
        return NO_VERDICT
    return Verdict(False, "messages")
