"""The lists in Chromium: their order, their columns, what marks a call, what a narrow page has."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, urlsplit

import pytest
from playwright.async_api import Browser, Page, expect

from ollama_proxy.admin.columns import COLUMNS
from tests.browser.fake import Fake, call, finding, model, summary
from tests.browser.scene import CUT, LOOPED, busy, written

pytestmark = pytest.mark.asyncio(loop_scope="session")

ROWS = "#requests tbody tr"
ALL = "&".join(f"columns={one}" for one in COLUMNS)


async def clients(page: Page) -> list[str]:
    """As they are seen; what only a screen reader says of each stands below."""
    told = await page.locator(f"{ROWS} .c-client").all_inner_texts()
    return [text.partition("\n")[0] for text in told]


def waited(*seconds: float | None) -> list[object]:
    return [
        call(ago=900.0 - n, client=f"w{wait}.py", duration=9.0, queue=wait)
        for n, wait in enumerate(seconds)
    ]


# -- the order ------------------------------------------------------------------------------------


async def test_a_list_is_sorted_by_the_form_or_its_head_and_the_address_says_so(
    page: Page, fake: Fake
) -> None:
    fake.ended = waited(1.0, None, 3.0, 2.0)  # type: ignore[assignment]
    await page.goto(f"{fake.url}requests?state=completed")
    await page.get_by_role("combobox", name="Order").select_option("longest wait")
    await page.get_by_role("button", name="Show", exact=True).click()
    await expect(page.locator("th[aria-sort]")).to_contain_text("Wait")
    assert parse_qs(urlsplit(page.url).query) == {"state": ["completed"], "sort": ["queue"]}
    assert await clients(page) == ["w3.0.py", "w2.0.py", "w1.0.py", "wNone.py"]
    # What the list is sorted by is shown, usual or not.
    await expect(page.locator(f"{ROWS} .c-wait").first).to_contain_text("~3.0\u00a0s")
    csv = page.get_by_role("link", name="CSV")
    assert await csv.get_attribute("href") == "api/requests.csv?state=completed"
    await expect(page.locator("#requests")).to_contain_text("Export, the newest first")
    await page.get_by_role("link", name="Total", exact=True).click()
    await expect(page.locator("th[aria-sort]")).to_contain_text("Total")
    await page.get_by_role("link", name="Began").click()
    assert await clients(page) == ["w2.0.py", "w3.0.py", "wNone.py", "w1.0.py"]
    assert parse_qs(urlsplit(page.url).query) == {"state": ["completed"]}


async def test_a_sorted_list_stands_says_so_and_is_made_anew_when_asked(
    page: Page, fake: Fake
) -> None:
    fake.ended = waited(1.0, 2.0)  # type: ignore[assignment]
    await page.goto(f"{fake.url}requests?sort=queue")
    await fake.connected()
    new = await fake.start(call("running", ago=1.0, client="new.py"))
    other = await page.context.new_page()
    await other.goto(f"{fake.url}requests")
    await fake.finish(new, queue=9.0, duration=10.0)
    # Where new calls come in by themselves this one has.
    await expect(other.locator(ROWS).first).to_contain_text("Completed")
    await other.close()
    assert await clients(page) == ["w2.0.py", "w1.0.py"]
    await expect(page.locator("#requests")).to_contain_text("new calls do not come in")
    await page.get_by_role("link", name="Look again").click()
    await expect(page.locator(f"{ROWS} .c-client").first).to_contain_text("new.py")


async def test_what_follows_in_a_sorted_list_comes_below(page: Page, fake: Fake) -> None:
    fake.ended = waited(*[n % 7 / 10 for n in range(120)])  # type: ignore[assignment]
    await page.goto(f"{fake.url}requests?sort=queue")
    rows, more = page.locator(ROWS), page.get_by_role("link", name="More calls")
    await expect(rows).to_have_count(50)
    await more.click()
    await expect(rows).to_have_count(100)
    await more.click()
    await expect(rows).to_have_count(120)
    await expect(more).to_be_hidden()
    told = await clients(page)
    assert told == sorted(told, reverse=True)


async def test_where_not_all_could_be_sorted_the_page_says_since_when(
    page: Page, fake: Fake
) -> None:
    fake.ended = waited(1.0, 2.0, 3.0)  # type: ignore[assignment]
    fake.scanned_to = fake.ended[1].id
    await page.goto(f"{fake.url}requests?sort=queue")
    await expect(page.locator("#requests")).to_contain_text("only the calls since")
    await page.get_by_role("link", name="Sort the older ones").click()
    await expect(page.locator(ROWS)).to_have_count(1)
    assert parse_qs(urlsplit(page.url).query)["sort"] == ["queue"]


# -- the columns ----------------------------------------------------------------------------------


async def test_columns_are_chosen_and_kept_with_and_without_script(
    browser: Browser, fake: Fake
) -> None:
    fake.ended = [call(ago=60.0, duration=4.0, load=0.5, resources={"cpu_seconds": 3.0})]
    for script in (True, False):
        context = await browser.new_context(java_script_enabled=script, locale="en-GB")
        page = await context.new_page()
        await page.goto(f"{fake.url}requests?state=completed")
        await page.get_by_text("Columns", exact=True).click()
        for name in ("Load", "CPU time"):
            await page.get_by_role("checkbox", name=name).check()
        for name in ("Phases", "State"):
            await page.get_by_role("checkbox", name=name).uncheck()
        await page.get_by_role("button", name="Show these").click()
        await expect(page.locator(f"{ROWS} .c-cpu")).to_contain_text("3.0\u00a0s")
        assert page.url.endswith("requests?state=completed")
        await page.goto(f"{fake.url}requests")
        await expect(page.locator(f"{ROWS} .c-load")).to_contain_text("500\u00a0ms")
        await expect(page.locator("#requests .c-phases")).to_have_count(0)
        await page.get_by_text("Columns", exact=True).click()
        await page.get_by_role("link", name="The usual ones").click()
        await expect(page.locator(f"{ROWS} .c-phases")).to_have_count(1)
        await expect(page.locator("#requests .c-cpu")).to_have_count(0)
        await context.close()


async def test_a_list_of_few_columns_lives(page: Page, fake: Fake) -> None:
    await page.goto(f"{fake.url}requests?columns=total")
    await fake.connected()
    await fake.finish(await fake.start(call("running", ago=0.0, client="new.py")))
    await expect(page.locator(ROWS)).to_have_count(1)
    assert await page.locator(f"{ROWS} > *").count() == 2  # the client is always there


async def test_every_column_says_the_same_with_and_without_script(
    browser: Browser, page: Page, fake: Fake
) -> None:
    busy(fake)
    fake.running = {}
    used = {"cpu_seconds": 3.0, "estimated": True}
    fake.ended.append(call(ago=9, duration=4.0, resources=used, request_bytes=5000, queue=1.5))
    read = """() => [...document.querySelectorAll("#requests tbody [data-f]")]
      .map((place) => [place.dataset.f, place.textContent])"""
    plain = await browser.new_page(java_script_enabled=False, locale="en-GB")
    await plain.goto(f"{fake.url}requests?{ALL}")
    without: list[list[str]] = await plain.evaluate(read)
    await plain.close()
    await page.goto(f"{fake.url}requests?{ALL}")
    await expect(page.locator("#requests [data-f=scale]")).to_have_text("20\u00a0s")
    living: list[list[str]] = await page.evaluate(read)
    assert living == without
    assert ["cpu", "~3.0\u00a0s"] in living
    assert ["size", "5\u00a0kB → 0\u00a0B"] in living
    assert ["found", "prompt cut · loop"] in living


# -- what was found -------------------------------------------------------------------------------


async def test_a_call_is_marked_by_what_was_found_and_found_by_it(page: Page, fake: Fake) -> None:
    fake.ended = [call(ago=90.0, client="fine.py", insights={"prompt_cut": CUT | {"cut": False}})]
    await page.goto(f"{fake.url}requests")
    await fake.connected()
    begun = await fake.start(call("running", ago=2.0, client="cut.py"))
    await fake.finish(begun, insights={"waste": LOOPED, "prompt_cut": CUT})
    row = page.locator(ROWS, has_text="cut.py")
    await expect(row.locator(".found")).to_have_text("prompt cut · loop")
    await expect(page.locator(ROWS, has_text="fine.py").locator(".found")).to_be_hidden()
    await page.get_by_role("combobox", name="Found").select_option("prompt cut")
    await page.get_by_role("button", name="Show", exact=True).click()
    await expect(page.locator(ROWS)).to_have_count(1)
    await expect(page).to_have_url(re.compile(r"requests\?insight=prompt_cut$"))
    await page.goto(fake.url)
    await expect(page.locator("#recent .found").first).to_have_text("prompt cut · loop")


# -- where there is little room -------------------------------------------------------------------


@pytest.mark.parametrize("width", [1080, 820, 720, 719, 360])
async def test_a_list_is_a_table_down_to_phones_and_has_its_scale_on_all(
    page: Page, fake: Fake, width: int
) -> None:
    busy(fake)
    await page.set_viewport_size({"width": width, "height": 800})
    display = "row => getComputedStyle(row).display"
    for view, rows in (("", ".call"), ("", ".lane"), ("requests", ".call"), ("clients", ".client")):
        await page.goto(fake.url + view)
        shown = await page.locator(rows).first.evaluate(display)
        assert shown == ("table-row" if width >= 720 else "grid"), (view, rows)
        if rows == ".call":
            await expect(page.locator(".calls [data-f=scale]")).to_have_text("20\u00a0s")
            scale = await page.locator(".calls .axis").bounding_box()
            bar = await page.locator(".call .bar").first.bounding_box()
            assert scale is not None and bar is not None
            assert abs(scale["x"] - bar["x"]) < 1 and abs(scale["width"] - bar["width"]) < 1
            assert bar["width"] > 140
        if rows == ".lane":
            await expect(page.locator(".lanes .axis")).to_be_visible()


async def test_what_a_list_is_sorted_by_is_never_left_out(page: Page, fake: Fake) -> None:
    fake.ended = [call(ago=60.0, **written(0.0, 0.0, 0.5, (10, 20), 40.0))]
    await page.set_viewport_size({"width": 820, "height": 800})
    first = page.locator(f"{ROWS} .c-first")
    await page.goto(f"{fake.url}requests")
    await expect(first).to_be_hidden()
    await page.goto(f"{fake.url}requests?sort=time_to_first_token")
    await expect(first).to_be_visible()


# -- clients and models ---------------------------------------------------------------------------


async def test_what_is_of_the_last_day_says_so(page: Page, fake: Fake) -> None:
    busy(fake)
    fake.found = [finding("waited", client="signals.py", other="backtest.py", seconds=212.0)]
    await page.goto(f"{fake.url}clients")
    await expect(page.get_by_role("columnheader", name="Last 24 hours")).to_be_visible()
    await expect(page.get_by_role("columnheader", name="Since recording began")).to_be_visible()
    await page.set_viewport_size({"width": 390, "height": 800})
    row = page.locator("tr.client", has_text="signals.py")
    await expect(row.locator(".k-waited")).to_contain_text("Waited, 24 h 3\u00a0min\u00a032\u00a0s")


async def test_models_stand_by_their_use_and_what_was_last_seen_says_so(
    page: Page, fake: Fake
) -> None:
    fake.listed = [
        model("unused"),
        model("rare", stats=summary(requests=2, completed=2)),
        model("often", stats=summary(requests=90, completed=90)),
        model("also-unused"),
        model("first-call", active=1),
    ]
    await page.goto(f"{fake.url}models")
    names = page.locator(".a-model bdi")
    order = ["often", "rare", "first-call", "also-unused", "unused"]
    assert await names.all_inner_texts() == order
    await expect(page.locator(".a-model").last).to_contain_text("Not loaded")
    fake.changes = {"status": "down", "upstream_up": False}
    await page.reload()
    await expect(page.locator("#page")).to_contain_text("Ollama has not answered since")
    await expect(page.locator(".a-model").last).to_contain_text("In Ollama when last seen")
    await page.goto(fake.url)
    await expect(page.locator("#numbers")).to_contain_text("when it was last seen")
    await expect(page.locator("#numbers")).not_to_contain_text("available")


async def test_a_table_is_sorted_by_the_links_in_its_head_and_the_other_way(
    page: Page, fake: Fake
) -> None:
    busy(fake)
    fake.found = [finding("waited", client="signals.py", other="backtest.py", seconds=212.0)]
    await page.goto(f"{fake.url}clients")
    names = page.locator("tr.client .open")
    await page.get_by_role("link", name="Calls", exact=True).click()
    await expect(page).to_have_url(re.compile(r"clients\?sort=calls$"))
    await expect(page.get_by_role("columnheader", name="Calls")).to_have_attribute(
        "aria-sort", "descending"
    )
    most = await names.all_inner_texts()
    assert most[0] == "signals.py"
    await page.get_by_role("link", name="Calls", exact=True).click()
    await expect(page).to_have_url(re.compile(r"clients\?sort=-calls$"))
    assert (await names.all_inner_texts())[-1] == "signals.py"
    await page.get_by_role("link", name="Look again").click()
    await expect(page).to_have_url(re.compile(r"clients\?sort=-calls$"))
    await page.set_viewport_size({"width": 390, "height": 800})
    await page.get_by_role("navigation", name="Order").get_by_role("link", name="Waited").click()
    assert (await names.all_inner_texts())[0] == "signals.py"
    await page.goto(f"{fake.url}models?sort=model")
    listed = await page.locator(".a-model bdi").all_inner_texts()
    assert listed == sorted(listed)


async def test_all_columns_scroll_sideways_by_keyboard_and_whose_row_it_is_stays(
    page: Page, fake: Fake
) -> None:
    busy(fake)
    await page.set_viewport_size({"width": 1440, "height": 900})
    await page.goto(f"{fake.url}requests?{ALL}")
    place = page.get_by_role("region", name="Calls with the chosen columns")
    await place.focus()
    client, path = page.locator(f"{ROWS} .c-client").first, page.locator(f"{ROWS} .c-path").first
    stood = await client.bounding_box()
    await expect(path).not_to_be_in_viewport()
    for _ in range(20):
        await page.keyboard.press("ArrowRight")
    await expect(path).to_be_in_viewport(ratio=1)
    assert await client.bounding_box() == stood
    assert await page.evaluate("document.documentElement.scrollWidth") <= 1440


# -- the overview on phones -----------------------------------------------------------------------


async def test_a_phone_shows_less_of_the_overview_but_all_that_is_wrong(
    page: Page, fake: Fake
) -> None:
    busy(fake)
    failed = call("failed", ago=9000.0, client="long-ago.py", duration=1.0, reason="http_status")
    fake.ended.append(failed)
    await page.set_viewport_size({"width": 390, "height": 800})
    await page.goto(fake.url)
    await fake.connected()
    models = page.locator("#fold-models > summary")
    await expect(models).to_contain_text("2 models in memory")
    await expect(models).to_contain_text("1 partly on the CPU · 4 failed")
    await expect(page.locator("#fold-summary > summary")).to_contain_text("6 failed")
    await expect(page.locator("#models-list")).to_be_hidden()
    await expect(page.locator("#recent .call", has_text="long-ago.py")).to_be_visible()
    shown = page.locator("#recent .call:visible")
    assert await shown.count() < len(fake.ended) - 5
    assert await page.evaluate("document.documentElement.scrollHeight") < 4800
    await models.click()
    await expect(page.locator("#models-list")).to_be_visible()
    await page.reload()
    await expect(page.locator("#models-list")).to_be_visible()
    await page.set_viewport_size({"width": 1000, "height": 800})
    await expect(page.locator("#summary .spread")).to_be_visible()


async def test_a_browser_that_denies_storage_shows_the_overview_all_the_same(
    page: Page, fake: Fake
) -> None:
    denied = "Object.defineProperty(window, 'sessionStorage', {get() { throw new Error('no'); }})"
    await page.add_init_script(denied)
    busy(fake)
    await page.set_viewport_size({"width": 390, "height": 800})
    await page.goto(fake.url)
    await fake.connected()
    await page.locator("#fold-models > summary").click()
    await expect(page.locator("#models-list")).to_be_visible()
    await fake.finish(await fake.start(call("running", ago=1.0, client="new.py")))
    await expect(page.locator("#recent .call", has_text="new.py")).to_be_visible()


@pytest.mark.parametrize("language", ["en", "it"])
@pytest.mark.parametrize("width", [1000, 1280, 1440])
async def test_the_filters_sit_well(page: Page, fake: Fake, width: int, language: str) -> None:
    """The button beside fields, the example of a text whole, what folds at the left."""
    busy(fake)
    await page.set_viewport_size({"width": width, "height": 900})
    await page.goto(f"{fake.url}requests?language={language}")
    for query in ("", "?state=completed"):
        await page.goto(f"{fake.url}requests{query}")
        beside, columns, room, text = await page.evaluate(
            """() => {
              const box = (at) => document.querySelector(at).getBoundingClientRect();
              const field = document.querySelector("[name=text]");
              const pen = document.createElement("canvas").getContext("2d");
              pen.font = getComputedStyle(field).font;
              const button = box(".filters .button");
              const beside = [...document.querySelectorAll(".filters .field > :last-child")]
                .filter((one) => Math.abs(one.getBoundingClientRect().bottom - button.bottom) < 1);
              return [
                beside.length,
                box(".columns-choice").left - box(".block-head .note").right,
                field.clientWidth - 16, pen.measureText(field.placeholder).width,
              ];
            }"""
        )
        assert beside >= 4
        assert columns < 24
        assert text <= room
        assert await page.evaluate("document.documentElement.scrollWidth") <= width
