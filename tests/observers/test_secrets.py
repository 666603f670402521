"""What is taken for a key, a mail address or a card's number, and what is not."""

from __future__ import annotations

import pytest

from ollama_proxy.observers.privacy import MARK, Privacy
from ollama_proxy.observers.secrets import LONGEST, SHIPPED, checked

# None of these is in use: made up, or the issuers' own examples for tests.
FOUND = {
    "keys": [
        "sk-proj-abcdefghijklmnop",
        "sk-ant-api03-abcdefghijkl_mnop-q",
        "pk_live_abcdefghijklmnop1234",
        "rk_test_abcdefghijklmnop1234",
        *(f"gh{kind}_abcdefghijklmnopqrstuvwx" for kind in "pousr"),
        "github_pat_11ABCDEFG0abcdefghijkl",
        "glpat-abcdefghijklmnopqrst",
        "hf_abcdefghijklmnopqrstuvwx",
        "gsk_abcdefghijklmnopqrstuvwx",
        "xoxb-1234567890-abcdef",
        "AIzaSyA0123456789abcdefghijklmnopqrstuv",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl",
        "Bearer abcdefghijklmnop.qrst",
        "eyJhbGciOiJSU0EtT0FFUCJ9.OKOawDo13gRp2ojaHV7L.48V1_ALb6US04U3b.5eym8TW_c8SuK0lt.XFBoMYUZ",
        "-----BEGIN RSA PRIVATE KEY-----\nMIIEow==\n-----END RSA PRIVATE KEY-----",
        "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,3F17-F531\n"
        "\nMIIEow==\n-----END RSA PRIVATE KEY-----",
        r"-----BEGIN PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nMIIE\n-----END PRIVATE KEY-----",
        "-----BEGIN PGP PRIVATE KEY BLOCK-----\nlQOY==\n=a1B2\n-----END PGP PRIVATE KEY BLOCK-----",
        "secret_access_key = wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY",
        "api_key: hunter2hunter2",
        'password = "correct-horse"',
        "TOKEN=0123456789abcdef",
    ],
    "mails": ["me@example.org", "first.last+tag@mail.example.co.uk", "a@b.de"],
    "cards": [
        "4111111111111111",
        "4111 1111 1111 1111",
        "5500-0000-0000-0004",
        "378282246310005",
        "6011000990139424",
        "3530111333300000",
    ],
}
CARD = "4111 1111 1111 1111"
PASSED_OVER = {
    "keys": [
        "the key to the door",
        "risk-adjusted returns of the portfolio",
        "a token of my esteem",
        "max_tokens: 4096",
        "sk-short",
        "https://example.org/a_very_long_path_with_underscores",
    ],
    "mails": ["a @ b", "@decorator", "x@y", "5 apples @ 3 EUR", "me@localhost"],
    "cards": [
        "4111111111111112",
        "1700000000000",
        "14111111111111111",
        "4111111111111111.5",
        "0.4111111111111111",
        "1234 5678 9012 3456",
        "2024-01-02 03:04:05.678",
    ],
}


@pytest.mark.parametrize(
    ("kind", "text"), [(kind, text) for kind, texts in FOUND.items() for text in texts]
)
def test_each_is_found_wherever_it_stands(kind: str, text: str) -> None:
    privacy = Privacy.build("full", secrets=[kind])
    for before, after in (("", ""), ("use ", " now"), ("(", ")"), ("«", "»")):
        assert privacy.keep(before + text + after) == before + MARK + after


@pytest.mark.parametrize("before", ["22222 37828 ", "94000 37828 ", "1.2345 22222 22222 33 "])
def test_a_card_behind_other_numbers_is_found(before: str) -> None:
    kept = Privacy.build("full", secrets=["cards"]).keep(before + CARD) or ""
    assert MARK in kept and "1111" not in kept


@pytest.mark.parametrize(
    ("kind", "text"), [(kind, text) for kind, texts in PASSED_OVER.items() for text in texts]
)
def test_what_only_looks_a_little_like_it_stays(kind: str, text: str) -> None:
    assert Privacy.build("full", secrets=[kind]).keep(f"so {text} it is") == f"so {text} it is"


@pytest.mark.parametrize("kind", SHIPPED)
def test_one_that_lies_across_the_cut_is_seen(kind: str) -> None:
    privacy = Privacy.build("truncate", 200, secrets=[kind])
    for text in FOUND[kind]:
        for shown in range(1, 12):
            before = "." * (199 - shown) + " "
            kept = privacy.keep(before + text + " more " * 100)
            assert kept is not None
            assert kept.rstrip() == (before + MARK)[:200]


@pytest.mark.parametrize("kind", SHIPPED)
def test_one_that_is_off_takes_nothing_out(kind: str) -> None:
    others = [one for one in SHIPPED if one != kind]
    text = FOUND[kind][0]
    assert Privacy.build("full", secrets=others).keep(text) == text


def test_a_long_text_of_nothing_else_takes_no_time_of_its_own() -> None:
    """Each of these made a naive pattern try again from every character."""
    privacy = Privacy.build("full", secrets=list(SHIPPED))
    for unit in ("a", "a.", "1 ", "4", "@", "key ", "eyJ", "eyJ-", "eyJaaaaaaaa.eyJ "):
        text = "x" + unit * (200_000 // len(unit))
        assert privacy.keep(text) == text


def test_a_web_token_with_a_long_head_is_seen_whole() -> None:
    token = "eyJ" + "hbGciOiJI" * 300 + ".eyJzdWIiOiIxMjM0In0.c2lnbmF0dXJl"
    assert Privacy.build("full", secrets=["keys"]).keep(f"a {token} b") == f"a {MARK} b"


@pytest.mark.parametrize("head", [20, 90, 500])
def test_of_a_web_token_longer_than_what_is_looked_at_nothing_is_kept(head: int) -> None:
    """What comes first tells already that it is one."""
    token = "eyJ" + "hbGciOiJI" * (head // 9) + ".eyJ" + "zdWIiOiIx" * 300 + ".c2lnbmF0dXJl"
    privacy = Privacy.build("truncate", 200, secrets=["keys"])
    for shown in (0, 100, 190):
        before = "a " * (shown // 2)
        for text, whole in ((before + token, True), (before + token[:400], False)):
            assert privacy.keep(text, whole) == (before + MARK)[:200]


def test_the_longest_address_is_seen_whole() -> None:
    address = "a" * 64 + "@" + ".".join(["b" * 61] * 3) + ".de"
    assert len(address) <= LONGEST
    assert Privacy.build("truncate", 1, secrets=["mails"]).keep(address) == MARK[:1]


@pytest.mark.parametrize(("digits", "right"), [("79927398713", True), ("79927398710", False)])
def test_the_check_digit(digits: str, right: bool) -> None:
    assert checked(digits) is right
