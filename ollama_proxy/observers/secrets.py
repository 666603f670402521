"""What may stand in a text and is nobody's business: keys, mail addresses, card numbers. Pure.

Each kind finds what looks like one of it, and is a `Finder` like any regular expression. Sources
of the forms: the issuers' own documentation; RFC 5321 section 4.5.3.1 for a mail address's lengths;
ISO/IEC 7812 for a card's issuer digits and check digit. Not here: what is done with what is found
(`privacy.py`), keys in headers, which are never looked at.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Protocol

LONGEST = 256
"""Characters after its beginning in which each of these shows what it is."""


class Finder(Protocol):
    """Finds pieces of a text; `re.Pattern` is one."""

    def finditer(self, string: str, pos: int = 0, /) -> Iterator[re.Match[str]]:
        """Those that begin from `pos` on; what stands before it is seen."""

    def search(self, string: str, /) -> re.Match[str] | None: ...


_KEY = re.compile(
    r"[spr]k(?:-|_live_|_test_)[\w-]{16,}"  # OpenAI, Anthropic, OpenRouter; Stripe
    r"|gh[pousr]_[A-Za-z0-9]{20,}|github_pat_\w{22,}|glpat-[\w-]{20,}"
    r"|hf_[A-Za-z0-9]{20,}|gsk_[A-Za-z0-9]{20,}|xox[abeprs]-[\w-]{10,}|AIza[\w-]{35}"
    r"|(?:AKIA|ASIA)[A-Z0-9]{16}"
    # A JSON Web Token (RFC 7519, 7516), known by its first part: the others may be long. Within a
    # word that part is bounded: else each eyJ in a word of many would look at all the others, and
    # 200,000 characters took half a minute.
    r"|(?<![\w-])eyJ(?:[\w-]{100,}|[\w-]{8,99}(?=\.[\w-]{8}))(?:\.[\w-]*){0,4}"
    r"|eyJ[\w-]{8,200}\.eyJ[\w-]{8,}(?:\.[\w-]*)?"
    # PEM, its headers too (RFC 1421), and what OpenPGP makes of it (RFC 9580 section 6.2).
    r"|-----BEGIN [A-Z ]{0,40}PRIVATE KEY(?: BLOCK)?-----"
    r"(?:(?:\s|\\[nr]){0,4}[A-Za-z-]{1,40}: [^\r\n\\]{0,200})*[^-]*(?:-----END [A-Z ]{0,40}-----)?"
    r"|(?i:bearer\s{1,8}[\w.~+/-]{16,}=*"
    r"|(?:api[_-]?key|secret(?:[_-](?:access[_-])?key)?|token|passwo?r?d)[\"']?\s{0,8}[:=]\s{0,8}[\"']?[^\s\"',;)\]}>»]{6,}[\"']?)"
)
_IN_KEYS = ("k-", "xox", "glpat-", "AIza", "AKIA", "ASIA", "eyJ", "PRIVATE KEY")
_WITH_LINES = (
    "k_live_",
    "k_test_",
    "ghp_",
    "gho_",
    "ghu_",
    "ghs_",
    "ghr_",
    "b_pat_",
    "hf_",
    "gsk_",
)
_IN_NAMED_KEYS = ("bearer", "key", "secret", "token", "pass")
_DOMAIN = r"(?:[A-Za-z0-9](?:[A-Za-z0-9-]{0,61}[A-Za-z0-9])?\.){1,8}[A-Za-z]{2,24}"
_MAIL = re.compile(rf"[\w.%+-]{{1,64}}@{_DOMAIN}")
# First whether a label and a dot follow at all: of an @ before something else that is quick.
_AT_DOMAIN = re.compile(rf"@(?=[A-Za-z0-9-]{{1,63}}+\.){_DOMAIN}")
_NO_LOCAL_PART = re.compile(r"[^\w.%+-]")
_LOCAL_PART = 64
# Not within a longer number.
_CARD = re.compile(r"[2-6](?<![0-9.,-].)\d{3}(?:[ -]?\d){9,15}(?![.,-]?\d)")
# The first digits and lengths of the issuers: Visa, Mastercard, American Express, Discover, JCB,
# Diners Club, UnionPay.
_LUHN = [
    sum(sum(divmod(int(digit) * (2 - place % 2), 10)) for place, digit in enumerate(f"{four:04}"))
    for four in range(10_000)
]
"""What four digits add to that formula's sum: of many numbers in a row each is looked at."""
_ISSUED = re.compile(
    r"4\d{12}(?:\d{3}){0,2}|5[1-5]\d{14}|2(?:22[1-9]|2[3-9]\d|[3-6]\d\d|7[01]\d|720)\d{12}"
    r"|3[47]\d{13}|6(?:011|5\d\d)\d{12}|35\d{14}|3(?:0[0-5]|[68]\d)\d{11}|62\d{14,17}"
)


class Keys:
    """API keys, tokens, private keys, passwords that a text names so."""

    def finditer(self, text: str, pos: int = 0, /) -> Iterator[re.Match[str]]:
        # Many times as quick as the pattern, and most texts hold none of these.
        rest = text[pos:]
        if (
            any(map(rest.__contains__, _IN_KEYS))
            or any(map(rest.lower().__contains__, _IN_NAMED_KEYS))
            or ("_" in rest and any(map(rest.__contains__, _WITH_LINES)))
        ):
            yield from _KEY.finditer(text, pos)

    def search(self, text: str, /) -> re.Match[str] | None:
        return next(self.finditer(text), None)


class Mails:
    """Mail addresses. Looks only around an @ that a domain follows: others cost nothing."""

    def finditer(self, text: str, pos: int = 0, /) -> Iterator[re.Match[str]]:
        after = pos
        for at in _AT_DOMAIN.finditer(text, pos):
            first = max(after, at.start() - _LOCAL_PART)
            before = text[first : at.start()]
            others = [found.end() for found in _NO_LOCAL_PART.finditer(before)]
            found = _MAIL.match(text, first + (others[-1] if others else 0))
            if found is not None:
                yield found
                after = found.end()

    def search(self, text: str, /) -> re.Match[str] | None:
        return next(self.finditer(text), None)


class Cards:
    """Numbers of payment cards: an issuer's first digits, a length it uses, a check digit."""

    def finditer(self, text: str, pos: int = 0, /) -> Iterator[re.Match[str]]:
        at = pos
        while (found := _CARD.search(text, at)) is not None:
            digits = found[0].replace(" ", "").replace("-", "")
            if _ISSUED.fullmatch(digits) and checked(digits):
                yield found
                at = found.end()
            else:
                at = found.start() + 1  # a card may begin within what is none

    def search(self, text: str, /) -> re.Match[str] | None:
        return next(self.finditer(text), None)


def checked(digits: str) -> bool:
    """Whether the last digit is the one that the others call for (the Luhn formula)."""
    left, total = int(digits), 0
    while left:
        left, four = divmod(left, 10_000)
        total += _LUHN[four]
    return total % 10 == 0


SHIPPED: Mapping[str, Finder] = {"keys": Keys(), "mails": Mails(), "cards": Cards()}
"""The kinds by the name under which each is switched on or off."""
