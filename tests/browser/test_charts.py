"""The page of charts by keyboard, as tables, and what it says where it has nothing to draw."""

from __future__ import annotations

import re
from typing import Any

import pytest
from playwright.async_api import Locator, Page, expect

from tests.browser.fake import Fake, call

pytestmark = pytest.mark.asyncio(loop_scope="session")

TOOK: dict[str, Any] = {"duration": 2.0, "time_to_first_token": 0.5, "tokens_per_second": 40.0}


async def opened(page: Page, fake: Fake, calls: int = 6, query: str = "since=1h") -> None:
    fake.ended = [call(ago=60.0 + n, **TOOK) for n in range(calls)]
    await page.goto(f"{fake.url}charts?{query}")
    await expect(page.locator("#chart-calls canvas")).to_be_visible()


def plot(page: Page, id: str) -> Locator:
    return page.locator(f"#chart-{id}").get_by_role("slider")


async def told(page: Page, id: str) -> str:
    """What a screen reader says of the step at the cursor."""
    said = await plot(page, id).get_attribute("aria-valuetext")
    return (said or "").replace("\u00a0", " ")


async def test_a_chart_is_read_and_opened_by_keyboard(page: Page, fake: Fake) -> None:
    await opened(page, fake)
    await page.get_by_role("button", name="Show").focus()
    await page.keyboard.press("Tab")
    chart = page.get_by_role("slider", name="Calls by outcome")
    await expect(chart).to_be_focused()
    await expect(chart).to_have_accessible_description(re.compile("Enter for the calls"))
    last = await told(page, "calls")
    assert "completed 6" in last
    await page.keyboard.press("ArrowLeft")
    before = await told(page, "calls")
    assert before != last
    # What is heard is also seen, and in the other charts, too.
    moment = before.partition(": ")[0]
    await expect(page.locator("#chart-calls .u-legend")).to_contain_text(moment)
    await expect(page.locator("#chart-queue .u-legend")).to_contain_text(moment)
    # Steps of which nothing is known are left out: the first is in the middle of the hour.
    await page.keyboard.press("Home")
    await expect(chart).to_have_attribute("aria-valuenow", "1")
    assert "completed 6" in await told(page, "calls")
    await page.keyboard.press("ArrowLeft")
    await expect(chart).to_have_attribute("aria-valuenow", "1")
    await page.keyboard.press("ArrowRight")
    await expect(chart).to_have_attribute("aria-valuenow", "2")
    await page.keyboard.press("Enter")
    await expect(page).to_have_url(re.compile(r"requests\?since=\d+&until=\d+$"))


async def test_keys_zoom_and_go_back_and_the_focus_stays(page: Page, fake: Fake) -> None:
    await opened(page, fake)
    spoken = page.locator("#say")
    chart = plot(page, "duration")
    await chart.focus()
    await page.keyboard.press("ArrowLeft")
    await page.keyboard.press("+")
    await expect(page).to_have_url(re.compile(r"charts\?since=\d{10}&until=\d{10}$"))
    await expect(spoken).to_contain_text("a step is 1\u00a0min")
    since, until = map(int, re.findall(r"\d{10}", page.url))
    assert until - since == 1800
    await expect(chart).to_be_focused()
    assert "median 2.0 s" in await told(page, "duration")
    await page.keyboard.press("-")
    await expect(page).not_to_have_url(re.compile(str(since)))
    await page.keyboard.press("Escape")
    await expect(page).to_have_url(re.compile(str(since)))
    await page.keyboard.press("Escape")
    await expect(page).to_have_url(re.compile(r"charts\?since=1h$"))
    await expect(chart).to_be_focused()
    # No further than where one began.
    await page.keyboard.press("Escape")
    await page.keyboard.press("End")
    await expect(page).to_have_url(re.compile(r"charts\?since=1h$"))


async def test_a_table_has_the_numbers_and_leads_to_the_calls(page: Page, fake: Fake) -> None:
    await opened(page, fake)
    await page.locator("#chart-duration summary").click()
    table = page.locator("#chart-duration .rows table")
    await expect(table).to_have_accessible_name(
        re.compile(r"^Duration, time of a call; .* to .*, each row is 1\smin\.")
    )
    await expect(table.get_by_role("columnheader")).to_have_text(["Time", "median"])
    await expect(table.locator("tbody tr")).to_have_count(30)
    await expect(table.get_by_role("row").last).to_contain_text("2.0 s")
    await table.get_by_role("link").last.click()
    await expect(page).to_have_url(re.compile(r"requests\?since=\d+&until=\d+$"))


async def test_a_long_table_is_thinned_and_says_so(page: Page, fake: Fake) -> None:
    await opened(page, fake, query="since=6h")
    await page.locator("#chart-calls summary").click()
    table = page.locator("#chart-calls .rows table")
    await expect(table.locator("caption")).to_contain_text("each row is 5\u00a0min")
    await expect(table.locator("caption")).to_contain_text("steps of 1\u00a0min are put together")
    # Three hours of what the chart has 180 steps of.
    assert await table.locator("tbody tr").count() in (36, 37)


LEGIBLE = """place => {
  const probe = document.createElement("span");
  probe.style.color = "var(--prefill)";
  document.body.append(probe);
  const [red, green, blue] = getComputedStyle(probe).color.match(/\\d+/g).map(Number);
  probe.remove();
  const canvas = place.querySelector("canvas");
  const { data } = canvas.getContext("2d").getImageData(0, 0, canvas.width, canvas.height);
  let found = 0;
  for (let at = 0; at < data.length; at += 4)
    found += [red, green, blue, 255].every((part, of) => data[at + of] === part);
  return found;
}"""
"""How many pixels have the colour of a chart's first line."""


async def test_a_value_that_stands_alone_is_drawn_and_told(page: Page, fake: Fake) -> None:
    fake.apart = 3
    await opened(page, fake, query="since=6h")
    for id in ("duration", "first", "speed", "queue"):
        assert await page.locator(f"#chart-{id}").evaluate(LEGIBLE) > 200, id
    await expect(page.locator("#chart-duration .lineless")).to_contain_text(
        "Only points: median (fewer than 5 calls in the steps beside)."
    )
    await expect(page.locator("#chart-duration .lineless")).to_contain_text("p95 (fewer than 20")
    await plot(page, "duration").focus()
    await page.keyboard.press("End")
    await page.keyboard.press("ArrowLeft")
    assert (await told(page, "duration")).endswith("median 2.0 s")
    await page.locator("#chart-duration summary").click()
    await expect(page.locator("#chart-duration .rows tbody tr").nth(8)).to_be_visible()
    fake.apart = 1
    await page.reload()
    await expect(page.locator("#chart-duration .lineless")).to_contain_text("p95 (fewer than 20")
    await expect(page.locator("#chart-duration .lineless")).not_to_contain_text("Only points")


async def test_what_has_no_line_says_why(page: Page, fake: Fake) -> None:
    await opened(page, fake)
    duration = page.locator("#chart-duration")
    await expect(duration).to_contain_text("p95 (fewer than 20 calls in each step)")
    await expect(duration).to_contain_text("p99 (fewer than 100 calls in each step)")
    await expect(duration.locator(".u-legend")).not_to_contain_text("p95")
    await expect(page.locator("#chart-memory .lineless")).to_have_text(
        "Without a line: Ollama (not measured on this machine). Ollama is not on this machine."
    )
    await expect(page.locator("#chart-gpu .empty")).to_have_text(
        "Nothing to draw: no GPU could be read on this machine. No driver is installed."
    )
    await expect(duration.locator("[data-f=cause]")).to_have_text(["", ""])
    await opened(page, fake, calls=2)
    await expect(duration).to_contain_text("Nothing to draw: fewer than 5 calls in each step.")
    await opened(page, fake, calls=30)
    await expect(duration.locator(".u-legend")).to_contain_text("p95")
    await expect(duration).not_to_contain_text("p95 (fewer")


@pytest.mark.parametrize("width", [1280, 360])
async def test_nothing_moves_under_the_mouse(width: int, page: Page, fake: Fake) -> None:
    await page.set_viewport_size({"width": width, "height": 900})
    await opened(page, fake, calls=120)

    async def places() -> list[Any]:
        return [await one.bounding_box() for one in await page.locator("figure:visible").all()]

    before = await places()
    await page.locator("#chart-calls .u-over").hover()
    await expect(page.locator("#chart-queue .u-legend")).not_to_contain_text("\u2013")
    assert await places() == before
    assert await page.evaluate("document.documentElement.scrollWidth") <= width
