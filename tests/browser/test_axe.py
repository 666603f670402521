"""What axe-core finds of each page: nothing, in either theme, wide and narrow."""

from __future__ import annotations

from typing import Any

import pytest
from axe_playwright_python.async_playwright import Axe
from playwright.async_api import Browser

from tests.browser.fake import Fake
from tests.browser.fake_alerts import flip
from tests.browser.scene import busy, noted

pytestmark = pytest.mark.asyncio(loop_scope="session")

VIEWS = ("", "call", "requests", "charts", "models", "clients", "alerts", "settings")


@pytest.mark.parametrize("view", VIEWS, ids=[view or "overview" for view in VIEWS])
async def test_nothing_is_found(view: str, browser: Browser, fake: Fake) -> None:
    busy(fake)
    fake.ended[-1] = noted(fake.ended[-1])
    fake.alerts.fire("model_on_cpu", "qwen3:14b", 25.0)
    fake.alerts.past = [flip("model_on_cpu", "model_on_cpu", subject="qwen3:14b", value=25.0)]
    path = f"?call={fake.ended[-1].id}" if view == "call" else view
    sizes: list[Any] = [{"width": 1280, "height": 900}, {"width": 390, "height": 844}]
    themes: list[Any] = ["light", "dark"]
    for size in sizes:
        for theme in themes:
            page = await browser.new_page(viewport=size, color_scheme=theme)
            await page.goto(fake.url + path)
            await fake.connected(fake.opened)
            found = (await Axe().run(page)).response
            assert len(found["passes"]) > 20  # it has looked
            told = [(one["id"], one["nodes"][0]["html"]) for one in found["violations"]]
            assert told == [], (view, size, theme)
            await page.close()
