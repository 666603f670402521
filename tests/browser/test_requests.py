"""The page of calls in Chromium: what the address asks for, what comes new, and what is older."""

from __future__ import annotations

import asyncio
import re
import time
from urllib.parse import parse_qs, parse_qsl, urlsplit

import msgspec
import pytest
from playwright.async_api import Browser, Page, Route, expect

from ollama_proxy.admin.query import parse_filter
from ollama_proxy.bus import unspoken
from ollama_proxy.filters import matches
from tests.browser.fake import Fake, call, finding
from tests.browser.scene import UNTOLD

pytestmark = pytest.mark.asyncio(loop_scope="session")


async def listed(page: Page, fake: Fake, query: str = "") -> None:
    await page.goto(f"{fake.url}requests{query}")
    await fake.connected()


def asked(page: Page) -> dict[str, list[str]]:
    return parse_qs(urlsplit(page.url).query)


async def test_why_something_is_not_known_is_said_alike_with_and_without_script(
    browser: Browser, page: Page, fake: Fake
) -> None:
    """Ollama is named only where it did not report it; in the list as in the sheet."""
    fake.ended = [call(ago=5, **given) for given, _ in UNTOLD if given.get("state") != "running"]
    read = "cells => cells.map((cell) => cell.textContent)"
    plain = await browser.new_page(java_script_enabled=False, locale="en-GB")
    await plain.goto(f"{fake.url}requests")
    without = await plain.locator("#requests .c-first [data-f]").evaluate_all(read)
    await plain.close()
    await page.goto(f"{fake.url}requests")
    await fake.connected()
    assert await page.locator("#requests .c-first [data-f]").evaluate_all(read) == without
    assert "\u2013This call was not streamed, so it has none." in without
    for one, why in zip(fake.ended, without[::-1], strict=True):
        await page.goto(f"{fake.url}?call={one.id}")
        await expect(page.locator("#call [data-f=first]")).to_have_text(why)


async def test_the_form_asks_by_the_address_and_shows_what_it_asks(page: Page, fake: Fake) -> None:
    fake.ended = [
        call("failed" if n % 3 == 0 else "completed", ago=600.0 - 10 * n, client=f"c{n % 2}.py")
        for n in range(12)
    ]
    await listed(page, fake)
    rows = page.locator("#requests tbody tr")
    await expect(rows).to_have_count(12)
    await page.get_by_role("combobox", name="State").select_option("failed")
    await page.get_by_role("combobox", name="Client").select_option("c0.py")
    await page.get_by_role("button", name="Show").click()
    await expect(rows).to_have_count(2)
    # An empty field is not in the address that is shared.
    assert asked(page) == {"state": ["failed"], "client": ["c0.py"]}
    await expect(page.get_by_role("combobox", name="State")).to_have_value("failed")
    csv = page.get_by_role("link", name="CSV")
    assert await csv.get_attribute("href") == "api/requests.csv?state=failed&client=c0.py"
    await page.get_by_role("link", name="Clear all").click()
    await expect(rows).to_have_count(12)


async def test_a_new_call_comes_by_itself_and_waits_while_somebody_reads(
    page: Page, fake: Fake
) -> None:
    fake.ended = [call(ago=60.0)]
    await listed(page, fake)
    rows = page.locator("#requests tbody tr")
    await expect(rows).to_have_count(1)
    await fake.finish(await fake.start(call("running", ago=0.0, client="new.py")))
    await expect(rows).to_have_count(2)
    await expect(rows.first).to_contain_text("new.py")
    await rows.first.hover()
    await fake.finish(await fake.start(call("running", ago=0.0, client="newer.py")))
    pill = page.locator("#requests .pill")
    await expect(pill).to_be_visible()
    await expect(rows).to_have_count(2)
    await pill.click()
    await expect(rows.first).to_contain_text("newer.py")


async def test_where_every_call_is_asked_for_the_stream_is_enough(page: Page, fake: Fake) -> None:
    """Many may have this page open: none of them asks for a list each time that a call ends."""
    fake.ended = [call(ago=60.0)]
    await listed(page, fake)
    rows = page.locator("#requests tbody tr")
    await expect(rows).to_have_count(1)
    asked: list[str] = []
    page.on("request", lambda request: asked.append(request.url))
    for number in range(510):
        await fake.finish(await fake.start(call("running", ago=0.0, client=f"c{number}.py")))
    await expect(rows.first).to_contain_text("c509.py")
    await expect(rows).to_have_count(500)  # as many as are kept of a page that stays open
    await expect(page.get_by_role("link", name="Older calls")).to_be_visible()
    last = await rows.last.locator("a").first.get_attribute("href")
    older = await page.get_by_role("link", name="Older calls").get_attribute("href")
    assert last is not None and older is not None
    assert parse_qs(urlsplit(older).query)["before"] == parse_qs(urlsplit(last).query)["call"]
    lists = [url for url in asked if "api/requests?" in url]
    assert len(lists) <= 1  # when the stream began
    # While somebody reads, no more wait than will be shown.
    await rows.first.hover()
    for number in range(510, 1030):
        await fake.finish(await fake.start(call("running", ago=0.0, client=f"c{number}.py")))
    pill = page.locator("#requests .pill")
    await expect(pill).to_have_text(re.compile("^50[0-9] new calls"))
    await expect(rows.first).to_contain_text("c509.py")
    await pill.click()
    await expect(rows.first).to_contain_text("c1029.py")
    await expect(rows.last).to_contain_text("c530.py")


@pytest.mark.parametrize(
    "query",
    [
        "client=new.py",
        "state=failed",
        "model=llama3.2",
        "model=LLAMA3.2:latest&since=1h",
        "route=/api/generate",
        "reason=http_status&client=new.py",
        "slower_than=3&state=completed",
    ],
)
async def test_a_filter_that_the_page_knows_needs_the_stream_alone(
    page: Page, fake: Fake, query: str
) -> None:
    """It lists what the server would, call by call."""
    await page.route("**/api/requests?*", lambda route: route.abort())
    await listed(page, fake, f"?{query}")
    begun = [
        await fake.start(call("running", ago=1.0, client=client, model=model, path=path))
        for client in ("new.py", "other.py")
        for model in ("llama3.2:latest", "mistral")
        for path in ("/api/chat", "/api/generate")
    ]
    ended = []
    for number, one in enumerate(begun):
        state, reason = ("failed", "http_status") if number % 3 else ("completed", None)
        took = float(number)
        ended.append(await fake.finish(one, duration=took, state=state, reason=reason))
    wanted = parse_filter(dict(parse_qsl(query)), time.time())
    ids = sorted((one.id for one in ended if matches(one, wanted)), reverse=True)
    assert 0 < len(ids) < len(ended)
    rows = page.locator("#requests tbody tr")
    await expect(rows).to_have_count(len(ids))
    links = await rows.locator("a").evaluate_all("all => all.map((one) => one.href)")
    assert [parse_qs(urlsplit(link).query)["call"][0] for link in links] == ids


async def test_a_call_that_began_before_the_span_does_not_come_in_when_it_ends(
    page: Page, fake: Fake
) -> None:
    fake.ended = [call(ago=60.0, client="listed.py")]
    await listed(page, fake, "?since=15m")
    rows = page.locator("#requests tbody tr")
    await expect(rows).to_have_count(1)
    early = await fake.start(call("running", ago=1200.0, client="early.py"))
    late = await fake.start(call("running", ago=600.0, client="late.py"))
    await fake.finish(early)
    await fake.finish(late)
    await expect(rows).to_have_count(2)
    await expect(rows).to_contain_text([re.compile("late.py"), re.compile("listed.py")])


async def test_an_answer_that_is_older_than_the_stream_takes_no_end_back(
    page: Page, fake: Fake
) -> None:
    """An answer may have been on its way, or in the browser's cache, when a call ended."""
    earlier = call(ago=60.0, client="earlier.py")
    begun = await fake.start(call("running", ago=5.0, client="ended.py"))
    asked: asyncio.Future[Route] = asyncio.get_running_loop().create_future()
    await page.route("**/api/requests?*", lambda route: asked.set_result(route))
    await listed(page, fake)
    async with asyncio.timeout(10):
        question = await asked
    await fake.finish(begun)
    row = page.locator("#requests tbody tr", has_text="ended.py")
    await expect(row.locator(".state")).to_have_attribute("data-state", "completed")
    answer = msgspec.json.encode([unspoken(begun), unspoken(earlier)]).decode()
    await question.fulfill(body=answer, content_type="application/json")
    await expect(page.locator("#requests tbody tr")).to_have_count(2)  # it has been read
    await expect(row.locator(".state")).to_have_attribute("data-state", "completed")


async def test_a_text_is_looked_for_by_the_server(page: Page, fake: Fake) -> None:
    await listed(page, fake, "?text=needle")
    rows = page.locator("#requests tbody tr")
    await fake.finish(await fake.start(call("running", ago=0.0)))
    await fake.finish(await fake.start(call("running", ago=0.0)), response="a needle")
    await expect(rows).to_have_count(1)


async def test_a_call_that_ran_and_has_ended_leaves_the_list_of_those_that_run(
    page: Page, fake: Fake
) -> None:
    begun = await fake.start(call("running", ago=2.0))
    await fake.start(call("running", ago=1.0, client="other.py"))
    await listed(page, fake, "?state=running")
    rows = page.locator("#requests tbody tr")
    await expect(rows).to_have_count(2)
    await fake.finish(begun)
    await expect(rows).to_have_count(1)
    await expect(rows).to_contain_text("other.py")


async def test_older_calls_come_below(page: Page, fake: Fake) -> None:
    fake.ended = [call(ago=1000.0 - n) for n in range(120)]
    await listed(page, fake)
    rows = page.locator("#requests tbody tr")
    await expect(rows).to_have_count(50)
    older = page.get_by_role("link", name="Older calls")
    await older.click()
    await expect(rows).to_have_count(100)
    await older.click()
    await expect(rows).to_have_count(120)
    await expect(older).to_be_hidden()


async def test_a_call_opens_and_what_was_asked_for_stays(page: Page, fake: Fake) -> None:
    fake.ended = [call(ago=60.0, client="a.py"), call("failed", ago=50.0, client="b.py")]
    await listed(page, fake, "?state=failed")
    await page.locator("#requests tbody tr a").first.click()
    await expect(page.locator("#call-title")).to_have_text("b.py")
    assert set(asked(page)) == {"state", "call"}
    await page.keyboard.press("Escape")
    await expect(page).to_have_url(re.compile(r"requests\?state=failed$"))


async def test_a_finding_leads_to_its_calls(page: Page, fake: Fake) -> None:
    fake.ended = [call(ago=60.0 - n, client=f"c{n}.py") for n in range(4)]
    fake.found = [finding("left", calls=[fake.ended[1].id, fake.ended[2].id])]
    await page.goto(fake.url)
    await page.get_by_role("link", name="its calls").click()
    await expect(page.locator("#requests tbody tr")).to_have_count(2)
    await page.locator(".chips a").click()
    await expect(page.locator("#requests tbody tr")).to_have_count(4)


async def test_what_cannot_be_asked_for_is_said(page: Page, fake: Fake) -> None:
    await listed(page, fake, "?slower_than=x&state=failed")
    await expect(page.get_by_role("alert").first).to_contain_text("slower_than=x: must be a number")
    await expect(page.get_by_role("combobox", name="State")).to_have_value("failed")
    await page.goto(f"{fake.url}requests?colour=red&language=it")
    await expect(page.locator(".notice.bad")).to_contain_text("Così non si può chiedere")


async def test_language_and_theme_keep_what_was_asked_for(page: Page, fake: Fake) -> None:
    fake.ended = [call("failed", ago=60.0)]
    await listed(page, fake, "?state=failed")
    await page.get_by_role("link", name="Italiano").click()
    await expect(page.locator("h1")).to_have_text("Richieste")
    assert asked(page) == {"state": ["failed"]}
