"""The login in a real browser: by keyboard, without script, and when a session ends."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, expect

from ollama_proxy.admin.sessions import SESSION_SECONDS
from tests.browser.conftest import watched
from tests.browser.fake import Fake, call, serve

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOKEN = "correct-horse_battery~staple!"


@pytest_asyncio.fixture(loop_scope="session")
async def fake() -> AsyncIterator[Fake]:
    fake = Fake()
    fake.ended = [call(ago=9)]
    runner, fake.url = await serve(fake, token=TOKEN)
    yield fake
    await runner.cleanup()


def titled(text: str) -> str:
    return f"{text} \u2013 Ollama Proxy"


async def typed(page: Page, token: str) -> None:
    """By keyboard alone: the field has the focus."""
    field = page.get_by_label("Token", exact=True)
    await expect(field).to_be_focused()
    await page.keyboard.type(token)
    await page.keyboard.press("Enter")


async def test_in_and_out(page: Page, fake: Fake) -> None:
    wanted = f"{fake.url}?call={fake.ended[0].id}"
    await page.goto(wanted)
    await expect(page).to_have_title(titled("Log in"))
    assert page.url.startswith(f"{fake.url}login?")
    field = page.get_by_label("Token", exact=True)
    await expect(field).to_have_accessible_description(
        "The value of the setting admin.token of this proxy."
    )

    await typed(page, "not the token at all")
    await expect(page).to_have_title(titled("This is not the token."))
    await expect(field).to_have_accessible_description(
        "This is not the token. The value of the setting admin.token of this proxy."
    )
    await expect(field).to_have_value("")

    await typed(page, TOKEN)
    await expect(page.locator("#call-title")).to_be_visible()
    assert page.url == wanted
    await fake.connected()
    await page.goto(fake.url)
    await page.get_by_role("button", name="Log out").click()
    await expect(page).to_have_title(titled("Log in"))
    await page.goto(fake.url)
    await expect(page).to_have_title(titled("Log in"))


async def test_the_choices_of_the_page_are_there_and_keep_the_way_back(
    page: Page, fake: Fake
) -> None:
    await page.goto(f"{fake.url}?call={fake.ended[0].id}")
    await page.get_by_role("link", name="Italiano").click()
    await expect(page).to_have_title(titled("Accedi"))
    await page.get_by_role("link", name="Tema scuro").click()
    await expect(page.locator("html[data-theme=dark]")).to_have_count(1)
    await typed(page, TOKEN)
    await expect(page.locator("#call-title")).to_be_visible()


async def test_a_session_that_ends_leads_from_the_live_page_to_the_login(
    page: Page, fake: Fake
) -> None:
    await page.goto(fake.url)
    await typed(page, TOKEN)
    await fake.connected()
    fake.later = SESSION_SECONDS + 60.0
    await fake.break_off()
    fake.refused = False
    await expect(page).to_have_title(titled("Log in"))
    await typed(page, TOKEN)
    await fake.connected(2)
    await expect(page.locator("#page")).to_be_visible()


async def test_a_stream_that_breaks_off_is_no_reason_to_log_in(page: Page, fake: Fake) -> None:
    await page.goto(fake.url)
    await typed(page, TOKEN)
    await fake.connected()
    await page.evaluate("window.stayed = true")
    await fake.break_off()
    await expect(page.locator("#line")).to_have_attribute("data-health", "lost")
    fake.refused = False
    await fake.connected(2)
    assert await page.evaluate("window.stayed")


async def test_without_script(browser: Browser, fake: Fake) -> None:
    async for page in watched(browser, fake, "en-GB", script=False):
        await page.goto(fake.url)
        await page.get_by_label("Token", exact=True).fill(TOKEN)
        await page.get_by_role("button", name="Log in").click()
        await expect(page.locator("noscript")).to_be_visible()
        await page.get_by_role("button", name="Log out").click()
        await expect(page).to_have_title(titled("Log in"))
