"""Pictures of the page with made-up data: `python -m tests.browser.look FOLDER [NAME-PART ...]`.

One of each scene, width, theme and language, of those whose name (`busy-390-dark-it`) has each of
the parts in it: with none of them it takes many minutes.
"""

from __future__ import annotations

import asyncio
import sys
import time
from pathlib import Path
from typing import Any

import msgspec
from playwright.async_api import Browser, async_playwright

from ollama_proxy.admin.columns import COLUMNS
from ollama_proxy.ids import epoch, first_id, iso
from tests.browser.conftest import ARGUMENTS, CHROMIUM
from tests.browser.fake import Fake, call, serve
from tests.browser.fake_alerts import flip
from tests.browser.scene import busy, noted, written

SIZES = {1440: 900, 1280: 900, 1000: 900, 820: 1180, 390: 844, 360: 740}
SCENES = {
    **dict.fromkeys(("busy", "stop", "first", "down", "back", "lost", "login", "wrong"), ""),
    **{name: name for name in ("requests", "models", "clients", "alerts", "settings", "charts")},
    "columns": "requests?" + "&".join(f"columns={one}" for one in COLUMNS),
    "sparse": "charts?since=6h",
    "sorted": "requests?sort=duration&state=completed",
    "nothing": "requests?text=no+such+thing",
    "beside": "requests?ended_after={beside}&sort=duration",
    "api": "api/",
    "call": "?call={noted}",
    "failed": "?call={failed}",
    "cut": "?call={cut}",
    "running": "?call={running}",
    **{f"empty-{name}": name for name in ("requests", "models", "clients", "alerts", "charts")},
}
"""Each scene's address below the page's own."""


async def picture(browser: Browser, url: str, path: Path, theme: str, language: str) -> None:
    scheme: Any = theme
    scene, width = path.name.rpartition(f"-{theme}")[0].rsplit("-", 1)
    page = await browser.new_page(
        viewport={"width": int(width), "height": SIZES[int(width)]},
        color_scheme=scheme,
        locale="it-IT" if language == "it" else "en-GB",
    )
    await page.goto(url)
    if scene == "wrong":
        await page.get_by_label("Token", exact=True).fill("no token")
        await page.keyboard.press("Enter")
    await page.wait_for_timeout(4500 if scene == "lost" else 900)
    if scene == "stop":
        await page.locator("#now-list button.stop").first.click()
    sheet = page.locator("dialog.sheet[open]")
    opened = await sheet.count() > 0
    if opened:
        # All of it, not only what the screen holds.
        tall = await sheet.evaluate("sheet => sheet.scrollHeight")
        await page.set_viewport_size({"width": int(width), "height": min(tall, 4000)})
    await page.screenshot(path=path, full_page=not (opened or scene == "stop"))
    await page.close()


def made(scene: str) -> tuple[Fake, str]:
    """What the scene shows, and its address below the page's own."""
    fake = Fake()
    if scene == "first" or scene.startswith("empty"):
        return fake, SCENES[scene]
    busy(fake)
    fake.ended[-1] = noted(fake.ended[-1])
    # Two calls of one program whose connection was closed before it was looked up.
    for client in ("127.0.0.1", "python-requests/2.32.3"):
        fake.ended.append(call(ago=1100, client=client, **written(0.0, 0.0, 0.5, (90, 60), 40.0)))
    # Ids rise as they are made; here they are to rise by the time that they stand for.
    fake.ended = [
        msgspec.structs.replace(one, id=first_id(epoch(one.started_at))[:10] + one.id[10:])
        for one in fake.ended
    ]
    fake.alerts.fire("model_on_cpu", "qwen3:14b", 25.0)
    fake.alerts.past = [flip("model_on_cpu", "model_on_cpu", subject="qwen3:14b", value=25.0)]
    seen = {"count": 3, "first_seen": iso(time.time() - 900), "last_seen": iso(time.time() - 125)}
    fake.bypassed = [{"name": name, **seen} for name in ("report.py", "(unknown)")]
    fake.apart = 3 if scene == "sparse" else 1
    if scene == "back":
        missed = call("failed", ago=100, duration=0.1, reason="upstream_unreachable")
        fake.ended.append(missed)
        fake.changes["upstream_since"] = iso(time.time() - 90)
    if scene == "down":
        fake.running = {}
        fake.changes |= {
            "status": "down", "upstream_up": False, "upstream_since": iso(fake.began + 60),
            "upstream_error": "connection refused", "storage_error": "disk full",
            "storage_error_since": iso(fake.began + 90), "records_dropped": 12,
        }  # fmt: skip
    ids = {
        "noted": next(one.id for one in fake.ended if one.pace),
        "failed": next(one.id for one in fake.ended if one.state == "failed"),
        "cut": next(one.id for one in fake.ended if "prompt_cut" in (one.insights or {})),
        "running": next(iter(fake.running), ""),
        "beside": f"{fake.began:.3f}",
    }
    return fake, SCENES[scene].format(**ids)


async def main(folder: Path, parts: list[str]) -> None:
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
        for scene in SCENES:
            names = [
                (f"{scene}-{width}-{theme}-{language}.png", theme, language)
                for width in SIZES
                for theme in ("light", "dark")
                for language in ("en", "it")
            ]
            names = [one for one in names if all(part in f"-{one[0]}" for part in parts)]
            if not names:
                continue
            fake, opened = made(scene)
            token = "0123456789abcdef" if scene in ("login", "wrong") else ""
            runner, url = await serve(fake, token=token)
            fake.refused = scene == "lost"
            for name, theme, language in names:
                await picture(browser, url + opened, folder / name, theme, language)
            await runner.cleanup()
        await browser.close()


if __name__ == "__main__":
    Path(sys.argv[1]).mkdir(parents=True, exist_ok=True)
    asyncio.run(main(Path(sys.argv[1]), sys.argv[2:]))
