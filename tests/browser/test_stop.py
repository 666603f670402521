"""Stopping a running call at the page: asked once more, by mouse, keyboard or finger, and told."""

from __future__ import annotations

import asyncio
import re
from pathlib import Path

import pytest
from playwright.async_api import Browser, Locator, Page, expect

from ollama_proxy.simulator import Simulator, SimulatorOptions
from tests.browser.conftest import watched
from tests.browser.fake import Fake, call
from tests.browser.scene import busy
from tests.harness import head_bytes, running_proxy

pytestmark = pytest.mark.asyncio(loop_scope="session")

LANES = "#now-list tr.lane"
HOSTILE = "</b><img src=x onerror=alert(1)>\u202eevil"


def lane(page: Page, client: str) -> Locator:
    return page.locator(LANES, has_text=client)


def stop_of(page: Page, client: str) -> Locator:
    """By the name that a screen reader says."""
    return page.get_by_role("button", name=re.compile(rf"^Stop the call of {re.escape(client)}, "))


async def opened(page: Page, fake: Fake) -> None:
    await page.goto(fake.url)
    await fake.connected()


async def test_a_call_is_stopped_and_its_client_gets_an_error(
    browser: Browser, tmp_path: Path
) -> None:
    """The whole way: page, proxy, a made-up Ollama."""
    options = SimulatorOptions(models=("m",), load_seconds=0, tokens_per_second=20,
                               answer_tokens=9999)  # fmt: skip
    ollama = Simulator(options)
    async with running_proxy(await ollama.start(), tmp_path) as proxy:
        body = b'{"model":"m","messages":[{"role":"user","content":"hi"}]}'
        lines = [("Host", "localhost"), ("User-Agent", "night-batch")]
        lines.append(("Content-Length", str(len(body))))
        client = await proxy.client()
        await client.send(head_bytes("POST /api/chat HTTP/1.1", lines) + body)
        assert b" 200 OK" in await client.read_head()
        address = Fake()
        address.url = f"http://127.0.0.1:{proxy.port}/admin/"
        async for page in watched(browser, address, "en-GB"):
            await page.goto(address.url)
            row = lane(page, "night-batch")
            await expect(row).to_contain_text("Answering")
            await stop_of(page, "night-batch").click()
            dialog = page.get_by_role("alertdialog")
            await expect(dialog).to_contain_text(
                "Stop this call? night-batch will receive an error."
            )
            await expect(dialog).to_contain_text("Model: m")
            await dialog.get_by_role("button", name="Stop the call").click()
            await expect(row).to_contain_text("Cancelled")
            await expect(row).to_contain_text("by hand")
            await expect(page.locator("#recent-list tr.call")).to_contain_text("by hand")
        answer = await client.read_to_end()
        assert answer.count(b'"content"') > 0
        assert not answer.endswith(b"0\r\n\r\n")
        async with asyncio.timeout(10):
            while ollama.inference.active:
                await asyncio.sleep(0.005)
        (recorded,) = await proxy.calls(1)
    await ollama.stop()
    assert (recorded["state"], recorded["reason"]) == ("cancelled", "operator")


async def test_by_keyboard_two_keys_are_needed_and_the_focus_returns(
    page: Page, fake: Fake
) -> None:
    await fake.start(call("running", client="signals.py"))
    await fake.start(call("running", client="backtest.py"))
    await opened(page, fake)
    dialog = page.get_by_role("alertdialog")
    button = stop_of(page, "backtest.py")
    await button.focus()
    await page.keyboard.press("Enter")
    # Held down, the key does not stop it: the harmless button has the focus.
    await expect(dialog.get_by_role("button", name="Let it run")).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(dialog).to_be_hidden()
    await expect(button).to_be_focused()
    await page.keyboard.press("Enter")
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    await expect(button).to_be_focused()
    assert len(fake.running) == 2

    await page.keyboard.press("Enter")
    await page.keyboard.press("Tab")
    await page.keyboard.press("Enter")
    row = lane(page, "backtest.py")
    await expect(row).to_contain_text("Cancelled")
    await expect(row).to_contain_text("by hand")
    await expect(button).to_be_hidden()
    await expect(row.locator("a")).to_be_focused()
    await expect(page.locator("#shout")).to_have_text("The call of backtest.py was stopped.")
    assert [one.client for one in fake.running.values()] == ["signals.py"]
    await expect(page.locator("#call")).to_be_hidden()


async def test_a_click_in_the_row_asks_and_does_not_open_the_call(page: Page, fake: Fake) -> None:
    busy(fake)
    await opened(page, fake)
    await stop_of(page, "signals.py").click()
    dialog = page.get_by_role("alertdialog")
    await expect(dialog).to_be_visible()
    await expect(page.locator("#call")).to_be_hidden()
    await expect(page).to_have_url(fake.url)
    await dialog.get_by_role("button", name="Let it run").click()
    await expect(dialog).to_be_hidden()
    assert len(fake.running) == 4


async def test_a_running_call_is_stopped_from_its_sheet(page: Page, fake: Fake) -> None:
    begun = await fake.start(call("running", ago=1.0, client="signals.py"))
    fake.ended = [call(client="done.py")]
    await page.goto(f"{fake.url}?call={begun.id}")
    await fake.connected()
    sheet, dialog = page.locator("#call"), page.get_by_role("alertdialog")
    await sheet.get_by_role("button", name="Stop the call").click()
    await expect(dialog).to_contain_text("signals.py will receive an error.")
    await page.keyboard.press("Escape")
    await expect(dialog).to_be_hidden()
    await expect(sheet).to_be_visible()
    await sheet.get_by_role("button", name="Stop the call").click()
    await dialog.get_by_role("button", name="Stop the call").click()
    await expect(sheet.locator(".state").first).to_contain_text("Cancelled")
    await expect(sheet.locator("button.stop")).to_be_hidden()
    await expect(page.locator("#call-title")).to_be_focused()
    await page.goto(f"{fake.url}?call={fake.ended[0].id}")
    await expect(sheet.locator(".state").first).to_contain_text("Completed")
    await expect(sheet.locator("button.stop")).to_be_hidden()


async def test_a_failure_is_told_in_a_line(page: Page, fake: Fake) -> None:
    await fake.start(call("running", client="signals.py"))
    await opened(page, fake)
    dialog = page.get_by_role("alertdialog")
    yes = dialog.get_by_role("button", name="Stop the call")
    fake.unstoppable = 500, HOSTILE
    await stop_of(page, "signals.py").click()
    await yes.click()
    told = dialog.get_by_role("alert")
    await expect(told).to_have_text(
        "It could not be stopped: the proxy answered with an error (500). Its log says more."
    )
    fake.unstoppable = 409, "this call has ended (completed): nothing is to cancel"
    await yes.click()
    await expect(told).to_have_text("It has ended already.")
    await expect(yes).to_be_hidden()
    close = dialog.get_by_role("button", name="Close")
    await expect(close).to_be_focused()
    await page.keyboard.press("Enter")
    await expect(dialog).to_be_hidden()
    # What was said once is not said of the next one.
    await stop_of(page, "signals.py").click()
    await expect(told).to_be_empty()
    await expect(yes).to_be_visible()
    await expect(dialog.get_by_role("button", name="Let it run")).to_be_focused()


async def test_who_is_at_the_button_of_a_call_that_ends_stays_at_its_row(
    page: Page, fake: Fake
) -> None:
    begun = await fake.start(call("running", client=HOSTILE))
    await opened(page, fake)
    button = page.locator(f"{LANES} button")
    await button.focus()
    await fake.finish(begun)
    await expect(page.locator(f"{LANES} a")).to_be_focused()
    await expect(button).to_be_hidden()
    # One that ends while the question is open leaves the focus there, too.
    begun = await fake.start(call("running", client="backtest.py"))
    await expect(page.locator("#now .pill")).to_have_text("1 new call: show")
    await page.locator("#now .pill").click()
    await stop_of(page, "backtest.py").click()
    await fake.finish(begun)
    # There is nothing left to ask about: it says so, and offers no more than to close it.
    asked = page.get_by_role("alertdialog")
    await expect(asked.get_by_role("alert")).to_have_text("It has ended already.")
    await expect(asked.get_by_role("button", name="Stop the call")).to_be_hidden()
    await page.keyboard.press("Escape")
    await expect(lane(page, "backtest.py").locator("a")).to_be_focused()


@pytest.mark.parametrize("locale", ["en-GB", "it-IT"])
async def test_a_finger_finds_it_on_a_small_screen(
    browser: Browser, fake: Fake, locale: str
) -> None:
    await fake.start(call("running", client="c" * 200, model="m" * 200))
    context = await browser.new_context(
        locale=locale, viewport={"width": 360, "height": 700}, has_touch=True, is_mobile=True
    )
    page = await context.new_page()
    await opened(page, fake)
    button = page.locator(f"{LANES} button")
    size = await button.bounding_box()
    assert size is not None
    assert size["height"] >= 44 and size["width"] >= 44
    assert size["x"] + size["width"] <= 360
    await button.tap()
    buttons = page.locator("#stop button")
    for at in range(2):
        size = await buttons.nth(at).bounding_box()
        assert size is not None
        assert size["height"] >= 44
        assert size["x"] >= 0 and size["x"] + size["width"] <= 360
    scrolled, shown = await page.evaluate("[document.documentElement.scrollWidth, innerWidth]")
    assert scrolled <= shown
    await page.locator("#stop-yes").tap()
    await expect(page.locator("#stop")).to_be_hidden()
    await expect(page.locator(LANES)).to_contain_text(
        "Annullata a mano" if locale == "it-IT" else "Cancelled by hand"
    )
    await context.close()


async def test_without_script_there_is_no_button(browser: Browser, fake: Fake) -> None:
    busy(fake)
    page = await browser.new_page(java_script_enabled=False)
    await page.goto(fake.url)
    await expect(page.locator(LANES)).to_have_count(4)
    await expect(page.locator("button:visible")).to_have_count(0)
    await page.close()
