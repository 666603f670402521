"""Which privacy a call has: by its route, its model, its client, or as it asks itself. Pure.

The first rule that fits holds; without one, what holds for all. A call's model is known once its
request was read, its client perhaps later: until then what may be kept is what all rules that may
fit allow. Not here: what a mode keeps (`privacy.py`), when a call asks again (`tap.py`).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import msgspec

from ollama_proxy.config import PrivacyRules
from ollama_proxy.filters import alike, model_alike
from ollama_proxy.headers import CUT
from ollama_proxy.observers.privacy import Mode, Privacy
from ollama_proxy.settings import PrivacyRule

_MODES = (Mode.NONE, Mode.HASH, Mode.TRUNCATE, Mode.FULL)
"""The strictest first: two equal hashes tell less than any text."""


class Known(msgspec.Struct, frozen=True):
    """What is known of a call so far. `model` and `client` None: not yet."""

    route: str
    model: str | None
    client: str | None


class Policy:
    """What holds for all calls, and the rules. `key`: the header with which a call asks, in
    lower case, or empty.

    `cut` are the headers of a request that go no further: those of its connection, and this one.
    """

    def __init__(self, usual: Privacy, rules: Sequence[PrivacyRule] = (), header: str = "") -> None:
        self.usual = usual.with_modes(None, None)
        self.key = header.lower().encode()
        self.cut = CUT | {self.key} if header else CUT
        self._rules = [(rule, _with(self.usual, rule.mode, rule.responses)) for rule in rules]

    @classmethod
    def of(cls, rules: PrivacyRules) -> Policy:
        """From the configuration."""
        switches = {"keys": rules.redact_keys, "mails": rules.redact_mails}
        switches["cards"] = rules.redact_cards
        usual = Privacy.build(
            rules.mode,
            rules.characters,
            rules.redact,
            answers=rules.responses,
            secrets=[name for name, on in switches.items() if on],
        )
        return cls(usual, rules.rules, rules.header)

    @property
    def has_rules(self) -> bool:
        return bool(self._rules)

    @property
    def may_keep_all(self) -> bool:
        """Whether of some calls prompt and answer are kept whole."""
        return self.usual.keeps_all or any(privacy.keeps_all for _, privacy in self._rules)

    def asked(self, value: str) -> Privacy:
        """What a call asks for with its header. A word that is no mode keeps nothing."""
        mode = value.strip().lower()
        asked = Mode(mode) if mode in set(Mode) else Mode.NONE
        return self.usual.with_modes(asked, asked)

    def settled(self, known: Known) -> Privacy | None:
        """What holds for this call; None where that depends on what is not known yet."""
        first, *others = self._possible(known)
        return None if any(one != first for one in others) else first

    def strictest(self, known: Known) -> Privacy:
        """What is kept under each of the rules that may fit."""
        possible = list(self._possible(known))
        return self.usual.with_modes(
            min((one.mode for one in possible), key=_MODES.index),
            min((one.of_answers for one in possible), key=_MODES.index),
        )

    def widest(self, known: Known) -> Mode:
        """The mode that keeps most of an answer under one of the rules that may fit."""
        modes = {one.of_answers for one in self._possible(known)}
        if Mode.HASH in modes:
            modes.add(Mode.FULL)  # which takes as much of a text
        return max(modes, key=_MODES.index)

    def _possible(self, known: Known) -> Iterator[Privacy]:
        for rule, privacy in self._rules:
            fit = _fits(rule, known)
            if fit is not False:
                yield privacy
            if fit:
                return
        yield self.usual


def _with(usual: Privacy, mode: str | None, responses: str | None) -> Privacy:
    answers = responses or mode
    return usual.with_modes(Mode(mode) if mode else None, Mode(answers) if answers else None)


def _fits(rule: PrivacyRule, known: Known) -> bool | None:
    """Whether the rule is for this call; None: that is not known yet."""
    if rule.route is not None and not alike(known.route, rule.route):
        return False
    unsure = False
    for wanted, given, fits in (
        (rule.model, known.model, model_alike),
        (rule.client, known.client, alike),
    ):
        if wanted is None:
            continue
        if given is None:
            unsure = True
        elif not fits(given, wanted):
            return False
    return None if unsure else True
