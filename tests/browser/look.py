"""Pictures of the page with made-up data: `python -m tests.browser.look FOLDER [NAME-PART]`."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path
from typing import Any

from playwright.async_api import Browser, async_playwright

from ollama_proxy.ids import iso
from tests.browser.conftest import ARGUMENTS, CHROMIUM
from tests.browser.fake import Fake, serve
from tests.browser.scene import busy, noted

SIZES = {1440: 900, 390: 844}


async def picture(
    browser: Browser, url: str, path: Path, width: int, theme: str, language: str, opened: str = ""
) -> None:
    scheme: Any = theme
    page = await browser.new_page(
        viewport={"width": width, "height": SIZES.get(width, 900)},
        color_scheme=scheme,
        locale="it-IT" if language == "it" else "en-GB",
    )
    await page.goto(url + opened)
    if "wrong" in path.name:
        await page.get_by_label("Token", exact=True).fill("no token")
        await page.keyboard.press("Enter")
    await page.wait_for_timeout(4500 if "lost" in path.name else 900)
    asks = path.name.startswith("stop")
    if asks:
        await page.locator("#now-list button.stop").first.click()
    await page.screenshot(path=path, full_page=not (opened or asks))
    await page.close()


async def main(folder: Path, part: str) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        scenes = ("busy", "call", "running", "stop", "first", "down", "lost", "login", "wrong")
        for scene in scenes:
            fake = Fake()
            opened = ""
            if scene != "first":
                busy(fake)
            if scene == "call":
                fake.ended[-1] = noted(fake.ended[-1])
                opened = f"?call={fake.ended[-1].id}"
            if scene == "running":
                opened = f"?call={next(iter(fake.running))}"
            if scene == "down":
                fake.running = {}
                fake.changes |= {
                    "status": "down", "upstream_up": False, "upstream_since": iso(fake.began + 60),
                    "upstream_error": "connection refused", "storage_error": "disk full",
                    "storage_error_since": iso(fake.began + 90), "records_dropped": 12,
                }  # fmt: skip
            token = "0123456789abcdef" if scene in ("login", "wrong") else ""
            runner, url = await serve(fake, token=token)
            for width in SIZES:
                for theme in ("light", "dark"):
                    for language in ("en", "it"):
                        name = f"{scene}-{width}-{theme}-{language}.png"
                        if part not in name:
                            continue
                        fake.refused = scene == "lost"
                        await picture(browser, url, folder / name, width, theme, language, opened)
            await runner.cleanup()
        await browser.close()


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2] if len(sys.argv) > 2 else ""))
