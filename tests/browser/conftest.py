"""Chromium for the page's tests, and a page that fails its test on any trouble it had."""

from __future__ import annotations

import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from playwright.async_api import Browser, Page, async_playwright, expect

from tests.browser.fake import Fake, serve

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or "/usr/bin/chromium"
FOUND = Path(CHROMIUM).exists()
ARGUMENTS = [
    "--no-sandbox",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
]
PATIENCE = 20_000  # milliseconds: only a test that fails takes so long
expect.set_options(timeout=PATIENCE)
VIOLATIONS = """
window.violations = [];
document.addEventListener("securitypolicyviolation", (event) => {
  window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sourceFile}`);
});
"""


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def browser() -> AsyncIterator[Browser]:
    if not FOUND:
        pytest.skip(
            f"NO BROWSER TESTS: no Chromium at {CHROMIUM}. Install it (apt-get install chromium) "
            "or name one in the environment variable CHROMIUM."
        )
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        yield browser
        await browser.close()


@pytest_asyncio.fixture(loop_scope="session")
async def fake() -> AsyncIterator[Fake]:
    fake = Fake()
    runner, fake.url = await serve(fake)
    yield fake
    await runner.cleanup()


@pytest_asyncio.fixture(loop_scope="session")
async def page(browser: Browser, fake: Fake) -> AsyncIterator[Page]:
    """A page in an English browser. Its test fails on a script error, a violated policy, or a
    request to anywhere but the page's own origin."""
    async for page in watched(browser, fake, "en-GB"):
        yield page


async def watched(
    browser: Browser, fake: Fake, locale: str, script: bool = True
) -> AsyncIterator[Page]:
    context = await browser.new_context(
        locale=locale, viewport={"width": 1280, "height": 900}, java_script_enabled=script
    )
    await context.add_init_script(VIOLATIONS)
    page = await context.new_page()
    page.set_default_timeout(PATIENCE)
    trouble: list[str] = []
    origin = fake.url.removesuffix("admin/")
    page.on("pageerror", lambda error: trouble.append(f"script: {error}"))
    page.on(
        "request",
        lambda request: (
            None if request.url.startswith(origin) else trouble.append(f"foreign: {request.url}")
        ),
    )
    page.on(
        "console",
        lambda message: (
            trouble.append(f"console: {message.text}")
            if "Content Security" in message.text or "Trusted" in message.text
            else None
        ),
    )
    yield page
    trouble += await page.evaluate("window.violations ?? []")
    await context.close()
    assert not trouble
