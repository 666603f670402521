"""Work that was for nobody, or for nothing: what of a call's tokens and seconds was wasted. Pure.

- `left`: the client had gone before its answer was there. Ollama stops then, but what it had done
  was in vain.
- `repeated`, `embedded_again`: word for word what this client had sent the model before, and got an
  answer to. Equal requests are told by a hash that this process keyed; none is kept.
- `thought_only`: the limit was used up by thinking, the answer itself is empty.
- `looped`: the answer ended in the same words over and over; what came from their second time on,
  as far back as was listened: at least so much.
- `unfinished`: a 200 whose answer has no end. Ollama breaks off so where a token comes 31 times.

Not here: how a loop is found (`loops.py`), prompts that were cut (`prompt_cut.py`).
"""

from __future__ import annotations

from collections import OrderedDict

import msgspec

from ollama_proxy.exchange import Call, Reason, State

REMEMBERED = 5000
"""Requests, the latest, that are known again."""
REPEATS = 31
"""Tokens: so often must one come again before Ollama breaks an answer off."""
EMBEDS = ("/api/embed", "/api/embeddings", "/v1/embeddings")


class Waste(msgspec.Struct, frozen=True):
    """None is not known. `detail` of one that is unfinished: `repeats`, if it is long enough for
    Ollama to have broken it off."""

    kind: str
    tokens: int | None = None
    seconds: float | None = None
    estimated: bool = False
    detail: str | None = None


class Wastes:
    """Told of calls as they end."""

    def __init__(self) -> None:
        self._answered: OrderedDict[tuple[str, str | None, str, int], None] = OrderedDict()

    def ended(
        self,
        call: Call,
        model: str,
        mark: int | None,
        in_service: float | None,
        looped: float | None = None,
    ) -> Waste | None:
        """What of this call was wasted. `mark` is its request's hash, None where that was not seen
        whole; `in_service` the seconds from where it was served to its end, if it was; `looped`
        the share of its answer that went round in a loop."""
        if call.state == State.CANCELLED and call.reason == Reason.CLIENT_DISCONNECTED:
            if in_service is None:
                return None  # it still waited: nothing was done for it
            return Waste("left", call.output_tokens or call.output_chunks, in_service)
        spoilt = looped is not None or _thought_only(call)
        if call.state == State.COMPLETED:
            again = self._again(call, model, mark, spoilt)
            if again is not None:
                return again
        if looped is not None:
            return _looped(call, looped)
        if call.reason == Reason.INCOMPLETE:
            tokens = call.output_tokens or call.output_chunks
            detail = "repeats" if (tokens or 0) >= REPEATS else None
            return Waste("unfinished", tokens, in_service, detail=detail)
        if call.state == State.COMPLETED and _thought_only(call):
            return Waste("thought_only", call.output_tokens, _worked(call))
        return None

    def _again(self, call: Call, model: str, mark: int | None, spoilt: bool) -> Waste | None:
        """Where this request was answered before, all of it was for nothing. `spoilt`: this answer
        is none to keep."""
        embeds = call.path.endswith(EMBEDS)
        # What only loads a model, or keeps it loaded, has no prompt.
        counts = mark is not None and (embeds or bool(call.input_tokens))
        request = model, call.client, call.path, mark or 0
        if counts and self._seen(request, spoilt):
            kind = "embedded_again" if embeds else "repeated"
            return Waste(kind, call.output_tokens, _worked(call))
        return None

    def _seen(self, request: tuple[str, str | None, str, int], spoilt: bool) -> bool:
        """Whether this request was answered before; it is from now on."""
        seen = request in self._answered
        if spoilt and not seen:
            return False
        self._answered[request] = None
        self._answered.move_to_end(request)
        if len(self._answered) > REMEMBERED:
            self._answered.popitem(last=False)
        return seen


def _thought_only(call: Call) -> bool:
    if call.done_reason not in ("length", "max_tokens") or not call.thinking_characters:
        return False
    silent = call.streamed is True and call.time_to_first_answer is None
    return call.response == "" or silent


def _looped(call: Call, share: float) -> Waste:
    tokens = call.output_tokens or call.output_chunks
    decode = None if call.decode is None else call.decode * share
    return Waste("looped", tokens and round(tokens * share), decode, True)


def _worked(call: Call) -> float | None:
    """Seconds that the model worked for it; of an embedding Ollama tells only the whole."""
    if call.prefill is not None:
        return call.prefill + (call.decode or 0.0)
    return call.duration if call.path.endswith(EMBEDS) else None
