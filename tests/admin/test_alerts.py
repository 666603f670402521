"""Alerts over REST and on their page: states, silence, tests, history, in both languages."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession

from ollama_proxy.admin.alert_words import told
from tests.admin.support import WORDS
from tests.browser.fake import Fake, serve
from tests.browser.fake_alerts import flip

HOSTILE = "<img src=x>\u202e\r\n" + "n" * 200


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest_asyncio.fixture
async def url(fake: Fake) -> AsyncIterator[str]:
    runner, url = await serve(fake)
    yield url
    await runner.cleanup()


@pytest_asyncio.fixture
async def client() -> AsyncIterator[ClientSession]:
    async with ClientSession() as session:
        yield session


async def asked(client: ClientSession, method: str, url: str) -> tuple[int, Any]:
    async with client.request(method, url) as answer:
        return answer.status, await answer.json()


async def page(client: ClientSession, url: str, language: str = "en") -> str:
    headers = {"Accept-Language": language}
    async with client.get(f"{url}alerts", headers=headers) as answer:
        assert answer.status == 200
        return await answer.text()


async def test_rules_are_told_with_their_states(
    client: ClientSession, url: str, fake: Fake
) -> None:
    fake.alerts.fire("model_on_cpu", "qwen", 25.0)
    _, told = await asked(client, "GET", f"{url}api/alerts")
    states = {rule["name"]: rule["state"] for rule in told["rules"]}
    assert states["model_on_cpu"] == "firing"
    assert (states["ollama_down"], states["queue"]) == ("ok", "off")
    assert [rule["on"] for rule in told["rules"][:3]] == [True, True, True]
    (rule,) = [rule for rule in told["rules"] if rule["name"] == "model_on_cpu"]
    (subject,) = rule["subjects"]
    assert (subject["subject"], subject["value"], rule["since"]) == ("qwen", 25.0, subject["since"])
    assert subject["text"]["it"].startswith("25\u00a0% del modello qwen è nella memoria della CPU")
    assert told["notifiers"][1]["name"] == "broken"
    assert "alarm" not in str(told["notifiers"])


async def test_a_rule_is_silenced_for_a_time_and_no_more(
    client: ClientSession, url: str, fake: Fake
) -> None:
    status, rule = await asked(client, "POST", f"{url}api/alerts/ollama_down/silence?seconds=60")
    assert (status, rule["silenced_until"] is not None) == (200, True)
    status, rule = await asked(client, "POST", f"{url}api/alerts/ollama_down/silence?seconds=0")
    assert (status, rule["silenced_until"]) == (200, None)
    assert fake.alerts.kept == ["ollama_down", "ollama_down"]


@pytest.mark.parametrize(
    ("path", "status", "why"),
    [
        ("nothing/silence", 404, "no such rule"),
        ("ollama_down/silence?seconds=x", 400, "must be a whole number"),
        ("ollama_down/silence?seconds=9999999", 400, "must be at most 2592000"),
        ("ollama_down/silence?until=1", 400, "it takes seconds"),
        ("test?name=nothing", 404, "no such rule or notifier"),
    ],
)
async def test_what_cannot_be_is_refused_with_its_cause(
    path: str, status: int, why: str, client: ClientSession, url: str
) -> None:
    found, told = await asked(client, "POST", f"{url}api/alerts/{path}")
    assert (found, why in told["error"]) == (status, True), told


async def test_a_test_tells_who_took_it(client: ClientSession, url: str) -> None:
    status, told = await asked(client, "POST", f"{url}api/alerts/test")
    sent = {one["notifier"]: one["error"] for one in told}
    cause = "cannot run its program: No such file or directory: see run"
    assert (status, sent) == (200, {"log": None, "broken": cause})
    # A rule's name means its own notifiers.
    _, told = await asked(client, "POST", f"{url}api/alerts/test?name=slow_backtest")
    assert [one["notifier"] for one in told] == ["broken"]
    _, told = await asked(client, "POST", f"{url}api/alerts/test?name=log")
    assert told == [{"notifier": "log", "sent": True, "error": None}]


async def test_a_page_of_another_origin_neither_silences_nor_tests(
    client: ClientSession, url: str, fake: Fake
) -> None:
    for path in ("ollama_down/silence", "test"):
        headers = {"Origin": "http://evil.example"}
        async with client.post(f"{url}api/alerts/{path}", headers=headers) as answer:
            assert answer.status == 403
    assert fake.alerts.kept == []


async def test_the_page_tells_what_fires_and_why(
    client: ClientSession, url: str, fake: Fake
) -> None:
    fake.alerts.fire("model_on_cpu", HOSTILE, 25.0)
    fake.alerts.past = [
        flip("model_on_cpu", "model_on_cpu", subject=HOSTILE, value=25.0),
        flip("gone", "a_kind_of_another_version", "ok", ago=200_000),
    ]
    await fake.alerts.watching.test(["broken"], None)
    html = await page(client, url)
    assert "<img" not in html and "\u202e" not in html
    assert html.count("&lt;img src=x&gt;\\u202e") == 2
    assert re.search(r"mean_duration|slow_backtest", html)
    assert "see run" in html
    assert "A rule of a kind that is not known here." in html
    italian = await page(client, url, "it")
    assert "è nella memoria della CPU, non della GPU" in italian
    assert "Una regola di un tipo che qui non è noto." in italian
    assert "15 regole sono spente" in italian


async def test_the_page_stands_without_its_history(
    client: ClientSession, url: str, fake: Fake
) -> None:
    fake.alerts.past = None
    assert "The history cannot be read now." in await page(client, url)


def test_a_message_has_plain_spaces_and_no_line_end() -> None:
    one = flip("slow", "mean_duration", subject=HOSTILE, value=75.5, limit=60.0, within=300.0)
    title, text = told(one, False, WORDS["en"])
    assert text.startswith("<img src=x>\\u202e\\u000d\\u000annn")
    assert text.endswith(" on average within 5 min; the limit is 1 min.")
    assert (title + text).isprintable()


@pytest.mark.parametrize(
    ("detail", "english", "italian"),
    [
        ("a.py · m", ": 3, the latest of a.py · m; the", ": 3, gli ultimi di a.py · m; il"),
        ("a.py · m +1", "of a.py · m and 1 other; the", "di a.py · m e 1 altro; il"),
        ("a.py · m +2", "of a.py · m and 2 others; the", "di a.py · m e altri 2; il"),
        (None, ": 3; the limit", ": 3; il limite"),  # stored by an older version
    ],
)
def test_cut_prompts_are_told_with_whose_they_are(
    detail: str | None, english: str, italian: str
) -> None:
    fired = flip("cut", "prompt_cut", value=3.0, limit=0.0, within=600.0, detail=detail)
    assert english in told(fired, False, WORDS["en"])[1]
    assert italian in told(fired, False, WORDS["it"])[1]
