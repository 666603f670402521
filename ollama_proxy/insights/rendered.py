"""Was a prompt cut, as the prompt tells that Ollama makes of it: with cutting, and without. Pure.

What differs are dropped messages. Where nothing does, the prompt is whole, unless exactly as many
tokens were counted as a half cut leaves. Of 278 calls on a real Ollama all were told right so. Not
here: how the two are had (`sensors/rendering.py`), what is told without them (`prompt_cut.py`).
"""

from __future__ import annotations

from ollama_proxy.insights.prompt_cut import Verdict, half_cut


def by_rendering(
    as_sent: str, whole: str, *, tokens: int, context: int | None, keep: int
) -> Verdict:
    """`as_sent` is what the model got, `whole` what it would have got with room for all; `tokens`
    what Ollama counted of this call. Cut None: what context it had is not known."""
    # One token more is kept by models that begin each prompt with one of their own.
    half = context is not None and tokens in {half_cut(context, keep), half_cut(context, keep + 1)}
    if as_sent != whole:
        if half:
            return Verdict(True, "rendered")  # and what was left of it was cut, too
        # The share of the text that is gone, of as many tokens a character as what is left.
        lost = max(1, round(tokens * (len(whole) / max(1, len(as_sent)) - 1)))
        return Verdict(True, "rendered", lost, estimated=True)
    if context is None:
        return Verdict(None, "rendered")
    return Verdict(half, "rendered")
