"""What a screen reader says of each page, and where the keyboard leads."""

from __future__ import annotations

import itertools
import re
from collections import defaultdict

import pytest
from playwright.async_api import Page, expect

from tests.browser.fake import Fake, finding
from tests.browser.scene import busy, noted

pytestmark = pytest.mark.asyncio(loop_scope="session")

VIEWS = ("", "requests", "charts", "models", "clients", "settings")
FOLLOWS = """() => {
  const [before, at] = [window.before, document.activeElement];
  window.before = at;
  const follows = !before || Boolean(before.compareDocumentPosition(at) & 4);
  return { follows, last: Boolean(at.closest("footer")), html: at.outerHTML.slice(0, 200) };
}"""
NAMES = [view or "overview" for view in VIEWS]


async def shown(view: str, page: Page, fake: Fake) -> None:
    busy(fake)
    await page.goto(fake.url + view)
    await fake.connected()
    closed = page.locator("details:not([open]) > summary:visible")
    while await closed.count():
        await closed.first.click()


@pytest.mark.parametrize("view", [*VIEWS, "call"], ids=[*NAMES, "call"])
async def test_what_has_one_name_does_one_thing(view: str, page: Page, fake: Fake) -> None:
    if view == "call":
        busy(fake)
        fake.ended[-1] = noted(fake.ended[-1])
        await page.goto(f"{fake.url}?call={fake.ended[-1].id}")
        await expect(page.locator("#call-body")).to_be_visible()
    else:
        await shown(view, page, fake)
    heard = await page.locator("dialog[open]" if view == "call" else "body").aria_snapshot()
    links = re.findall(r'- link "((?:[^"\\]|\\.)*)".*\n\s+- /url: (.*)', heard)
    leads = defaultdict(set)
    for name, url in links:
        leads[name].add(url)
    assert {name: urls for name, urls in leads.items() if len(urls) > 1} == {}
    assert len(links) > 12 or view == "call"
    buttons = re.findall(r'- button "((?:[^"\\]|\\.)*)"', heard)
    assert sorted(buttons) == sorted(set(buttons))
    assert not re.search(r"- (link|button)(:| \[)", heard)  # each has a name


@pytest.mark.parametrize("view", VIEWS, ids=NAMES)
async def test_headings_and_landmarks_tell_what_is_where(view: str, page: Page, fake: Fake) -> None:
    await shown(view, page, fake)
    levels = [
        int((await one.evaluate("e => e.tagName"))[1])
        for one in await page.locator(":is(h1, h2, h3, h4):visible").all()
    ]
    assert levels.count(1) == 1 and levels[0] == 1
    assert all(after - before <= 1 for before, after in itertools.pairwise(levels))
    for landmark in ("banner", "main", "contentinfo"):
        await expect(page.get_by_role(landmark)).to_have_count(1)
    for role in ("navigation", "region", "search", "form"):
        marked = await page.get_by_role(role).all()
        names = [await one.aria_snapshot() for one in marked]
        # With a colon in it what is heard is quoted once more, as YAML asks.
        heard = [re.match(rf"""- '?{role} "([^"]+)\"""", name) for name in names]
        assert None not in heard, (role, names)
        assert len({match[1] for match in heard if match}) == len(names), role


@pytest.mark.parametrize("view", VIEWS, ids=NAMES)
async def test_the_keyboard_reaches_all_in_the_order_of_the_page(
    view: str, page: Page, fake: Fake
) -> None:
    busy(fake)
    await page.goto(fake.url + view)
    await fake.connected()
    await page.keyboard.press("Tab")
    skip = page.get_by_role("link", name="Skip to the content")
    await expect(skip).to_be_focused()
    await expect(skip).to_be_in_viewport()
    await page.keyboard.press("Tab")
    await expect(page.locator(".brand")).to_be_focused()
    await page.keyboard.press("Tab")
    await expect(
        page.get_by_role("navigation", name="Pages").get_by_role("link").first
    ).to_be_focused()
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Shift+Tab")
    await page.keyboard.press("Enter")
    await expect(page.locator("#main")).to_be_focused()
    await page.keyboard.press("Tab")
    assert await page.evaluate("document.activeElement.closest('main, footer') !== null")
    # Nobody is kept anywhere: each place follows the one before, and the last is in the foot.
    await page.evaluate("document.activeElement.blur(); window.before = null")
    for _ in range(400):
        await page.keyboard.press("Tab")
        at = await page.evaluate(FOLLOWS)
        assert at["follows"], at
        if at["last"]:
            return
    raise AssertionError("the last place was not reached")


async def test_links_of_a_finding_that_came_later_are_named_by_it(page: Page, fake: Fake) -> None:
    busy(fake)
    fake.found = []
    await page.goto(fake.url)
    await fake.connected()
    fake.found = [finding("left", client=client, seconds=9.0) for client in ("a.py", "b.py")]
    await fake.break_off()
    fake.refused = False
    await fake.connected(2)
    for client in ("a.py", "b.py"):
        for link in ("the latest call", "its calls"):
            name = re.compile(f"^{link} {client} left 7 of 40 calls")
            await expect(page.get_by_role("link", name=name)).to_have_count(1)


async def test_what_came_before_the_stream_first_spoke_is_not_missed(
    page: Page, fake: Fake
) -> None:
    busy(fake)
    fake.found, fake.refused = [], True
    await page.goto(fake.url)
    await expect(page.locator("body")).to_contain_text("No data")
    fake.found = [finding("left", client="a.py", seconds=9.0)]
    fake.refused = False
    await expect(page.locator("#findings-list")).to_contain_text("a.py left 7 of 40 calls")
