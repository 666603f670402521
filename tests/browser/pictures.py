"""The README's pictures, made of the demo: `python -m tests.browser.pictures [SECONDS]` (240).

They go to `docs/`. Not here: pictures of single states with made-up data (`look.py`).
"""

from __future__ import annotations

import asyncio
import signal
import socket
import sys
from pathlib import Path

from playwright.async_api import ViewportSize, async_playwright

from tests.browser.conftest import ARGUMENTS, CHROMIUM

DOCS = Path(__file__).resolve().parents[2] / "docs"
PICTURES = {"page": "", "charts": "charts?since=15m"}
SIZE: ViewportSize = {"width": 1280, "height": 900}


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


async def main(seconds: float) -> None:
    port, admin = free_port(), free_port()
    demo = await asyncio.create_subprocess_exec(
        *(sys.executable, "-m", "ollama_proxy", "demo"),
        *("--listen", f"127.0.0.1:{port}", "--admin-listen", f"127.0.0.1:{admin}"),
    )
    try:
        await asyncio.sleep(seconds)  # what is drawn has to happen first
        async with async_playwright() as playwright:
            browser = await playwright.chromium.launch(executable_path=CHROMIUM, args=ARGUMENTS)
            page = await browser.new_page(viewport=SIZE, color_scheme="light", locale="en-GB")
            for name, view in PICTURES.items():
                await page.goto(f"http://127.0.0.1:{admin}/{view}")
                await page.wait_for_timeout(1500)
                await page.screenshot(path=DOCS / f"{name}.png")
            await browser.close()
    finally:
        demo.send_signal(signal.SIGINT)
        await demo.wait()


if __name__ == "__main__":
    asyncio.run(main(float(sys.argv[1]) if len(sys.argv) > 1 else 240))
