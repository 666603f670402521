"""The pages of charts, models, clients, alerts and settings in Chromium."""

from __future__ import annotations

import re
import time
from typing import Any

import pytest
from playwright.async_api import Browser, Page, expect

from ollama_proxy.admin.words import visible
from ollama_proxy.ids import iso
from tests.browser.fake import Fake, call, finding
from tests.browser.scene import busy

pytestmark = pytest.mark.asyncio(loop_scope="session")

HOSTILE = "</b><img src=x onerror=alert(1)>\u202eevil"
CHARTS = ("calls", "duration", "first", "speed", "tokens", "queue", "cpu", "memory")


async def test_charts_are_drawn_and_a_click_leads_to_the_calls(page: Page, fake: Fake) -> None:
    took: dict[str, Any] = {"duration": 2.0, "time_to_first_token": 0.5, "tokens_per_second": 40.0}
    took |= {"input_tokens": 100, "output_tokens": 60}
    fake.ended = [call(ago=60.0 + n, **took) for n in range(6)]
    await page.goto(f"{fake.url}charts")
    for id in CHARTS:
        await expect(page.locator(f"#chart-{id} canvas")).to_be_visible()
    await expect(page.locator("#chart-watts")).to_be_hidden()
    over = page.locator("#chart-calls .u-over")
    box = await over.bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 60)
    await expect(page.locator("#chart-calls .u-legend")).to_contain_text("completed6")
    # The others show the same moment.
    await expect(page.locator("#chart-queue .u-legend")).to_contain_text("running2.0")
    await page.mouse.click(box["x"] + box["width"] * 0.9, box["y"] + 60)
    await expect(page).to_have_url(re.compile(r"requests\?since=\d+&until=\d+$"))


async def test_a_drag_zooms_and_back_undoes_it(page: Page, fake: Fake) -> None:
    fake.ended = [call(ago=60.0 + n) for n in range(6)]
    await page.goto(f"{fake.url}charts?since=1h")
    over = page.locator("#chart-calls .u-over")
    box = await over.bounding_box()
    assert box is not None
    await page.mouse.move(box["x"] + box["width"] * 0.6, box["y"] + 60)
    await page.mouse.down()
    await page.mouse.move(box["x"] + box["width"] * 0.9, box["y"] + 60, steps=4)
    await page.mouse.up()
    await expect(page).to_have_url(re.compile(r"charts\?since=\d{10}&until=\d{10}$"))
    pressed = page.locator(".filters .choice [aria-current]")
    await expect(pressed).to_have_count(0)
    await page.go_back()
    await expect(page).to_have_url(re.compile(r"charts\?since=1h$"))
    await expect(pressed).to_have_text("1 h")


async def test_charts_that_cannot_be_drawn_say_why(page: Page, fake: Fake) -> None:
    await page.goto(f"{fake.url}charts?since=1d")
    await expect(page.locator("#charts-trouble")).to_contain_text("the store cannot be read now")


async def test_models_and_clients_lead_to_their_calls(page: Page, fake: Fake) -> None:
    busy(fake)
    fake.found = [finding("waited", client="signals.py", other="backtest.py", seconds=212.0)]
    await page.goto(f"{fake.url}models")
    row = page.locator("tr.a-model", has_text="qwen3:14b")
    await expect(row).to_contain_text("Loaded")
    await row.get_by_role("link", name="its calls").click()
    await expect(page.get_by_role("combobox", name="Model")).to_have_value("qwen3:14b")
    await page.get_by_role("link", name="Clients", exact=True).click()
    row = page.locator("tr.client", has_text="signals.py")
    await expect(row).to_contain_text("3\u00a0min\u00a032\u00a0s")
    await row.get_by_role("link").click()
    await expect(page.get_by_role("combobox", name="Client")).to_have_value("signals.py")


async def test_an_alert_is_tested_and_silenced(page: Page, fake: Fake) -> None:
    fake.alerts.fire("model_on_cpu", "qwen3:14b", 25.0)
    await page.goto(f"{fake.url}alerts")
    card = page.locator(".alert", has_text="model_on_cpu")
    await expect(card).to_contain_text("Alert")
    await expect(card).to_contain_text("of the model qwen3:14b is in the CPU's memory")
    told = page.get_by_role("status")
    await page.get_by_role("button", name="Send a test slow_backtest").click()
    await expect(told).to_contain_text("broken: not sent: cannot run its program")
    await page.get_by_role("button", name="Send a test log").click()
    await expect(told).to_have_text("log: sent.")
    await page.get_by_role("button", name="Silence for an hour model_on_cpu").click()
    await expect(card).to_contain_text("Silenced until")
    await page.get_by_role("button", name="End the silence model_on_cpu").click()
    await expect(card).not_to_contain_text("Silenced until")
    assert fake.alerts.kept == ["model_on_cpu", "model_on_cpu"]


async def test_settings_tell_what_is_in_force_and_from_where(page: Page, fake: Fake) -> None:
    await page.goto(f"{fake.url}settings")
    row = page.locator("tr.setting", has_text="privacy.characters")
    await expect(row).to_contain_text("200")
    await expect(row).to_contain_text("default")


@pytest.mark.parametrize("view", ["requests", "charts", "models", "clients", "settings"])
async def test_each_page_fits_a_phone_and_speaks_italian(view: str, page: Page, fake: Fake) -> None:
    busy(fake)
    await page.set_viewport_size({"width": 360, "height": 800})
    await page.goto(f"{fake.url}{view}?language=it")
    assert await page.evaluate("document.documentElement.scrollWidth") <= 360
    # One row of the mark and the switches, one of the pages, with the page's own name in view.
    header, here = page.locator("header.top"), page.locator("nav.views a[aria-current=page]")
    box, own = await header.bounding_box(), await here.bounding_box()
    assert box is not None and box["height"] < 100
    assert own is not None and own["x"] >= 0 and own["x"] + own["width"] <= 360
    await expect(page.locator("nav.views")).to_contain_text("Impostazioni")
    await expect(page.locator("nav.views a[aria-current=page]")).to_have_count(1)


async def test_programs_that_go_past_the_proxy_are_told_with_what_to_do(
    browser: Browser, page: Page, fake: Fake
) -> None:
    """The overview leads to them while one was seen in the last hour, with script or without."""
    now = time.time()
    busy(fake)
    await page.goto(f"{fake.url}clients")
    await expect(page.locator("#around")).to_have_count(0)
    seen = {"count": 3, "first_seen": iso(now - 900), "last_seen": iso(now - 125)}
    old = {"count": 1, "first_seen": iso(now - 7200), "last_seen": iso(now - 7200)}
    fake.bypassed = [{"name": "(unknown)", **seen}, {"name": HOSTILE, **seen}]
    fake.bypassed += [{"name": "old.py", **old}]
    words = "2 programs go past the proxy, the last of them unknown program, seen 2 min ago."
    plain = await browser.new_page(java_script_enabled=False, locale="en-GB")
    await plain.goto(fake.url)
    await expect(plain.locator("#around")).to_contain_text(words)
    await plain.close()
    await page.clock.install()
    await page.goto(fake.url)
    line = page.locator("#around")
    await expect(line).to_contain_text(words)
    fake.bypassed = fake.bypassed[1:]
    await page.clock.run_for(61_000)
    await expect(line).to_contain_text(f"A program goes past the proxy: {visible(HOSTILE)[:10]}")
    fake.bypassed = [{"name": "old.py", **old}]
    await page.clock.run_for(61_000)
    await expect(line).to_be_hidden()
    fake.bypassed = [{"name": HOSTILE, **seen}, {"name": "old.py", **old}]
    await page.goto(f"{fake.url}clients#around")
    section = page.locator("#around")
    await expect(section).to_contain_text("OLLAMA_HOST=http://127.0.0.1:11435")
    await expect(section.locator("dd")).to_have_text(
        [
            re.compile("^3 connections seen: the first [0-9:]{8}, the last [0-9:]{8}$"),
            re.compile("1"),
        ]
    )
    assert await section.locator("img").count() == 0
