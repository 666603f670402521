"""The sheet of one call in a real browser: what it tells, from call to call, in both languages."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
import pytest_asyncio
from msgspec.structs import replace
from playwright.async_api import Browser, Page, Route, expect

from tests.browser.conftest import watched
from tests.browser.fake import Fake, call
from tests.browser.scene import CUT, busy, noted
from tests.browser.test_page import HOSTILE, ROWS, SHOWN

pytestmark = pytest.mark.asyncio(loop_scope="session")


@pytest_asyncio.fixture(loop_scope="session")
async def italian(browser: Browser, fake: Fake) -> AsyncIterator[Page]:
    async for page in watched(browser, fake, "it-IT"):
        yield page


async def opened(page: Page, fake: Fake, id: str) -> None:
    await page.goto(f"{fake.url}?call={id}")
    await expect(page.locator("#call-id")).to_have_text(id)


async def test_a_stream_that_stood_still_is_seen_and_told(page: Page, fake: Fake) -> None:
    stalled = noted(call(ago=20.0))
    steady = replace(stalled, id=call(ago=9.0).id, longest_gap=0.3, p95_gap=0.26)
    plain = call(ago=4.0, duration=2.0)
    hung = replace(
        stalled,
        id=call(ago=2.0).id,
        duration=41.4,
        longest_gap=0.2,
        pace={"seconds": 0.2, "pieces": [8] * 50, "longest_at": 0.1, "longest_after": 1},
    )
    fake.ended = [stalled, steady, plain, hung]
    figure = page.locator("#call-pace")
    await opened(page, fake, stalled.id)
    await expect(figure.locator("[data-f=pace]")).to_have_text(
        "304 pieces in 11\u00a0s. Longest silence 3.2\u00a0s, after 141 pieces, "
        "3.5\u00a0s from the first."
    )
    await expect(figure.locator("[data-f=most]")).to_have_text("40 pieces/s")
    drawn = figure.locator("svg .ink-decode")
    await expect(drawn).to_have_count(39)  # of 54 parts those in which something came
    frame = await figure.locator("svg .silence").bounding_box()
    whole = await figure.locator("svg").bounding_box()
    assert frame and whole
    assert frame["width"] / whole["width"] == pytest.approx(3.2 / 10.8, abs=0.02)
    assert (frame["x"] - whole["x"]) / whole["width"] == pytest.approx(3.5 / 10.8, abs=0.02)
    await opened(page, fake, steady.id)
    await expect(figure.locator("svg .ink-decode")).to_have_count(39)
    await expect(figure.locator("svg .silence")).to_have_count(0)
    await opened(page, fake, hung.id)
    await expect(figure).to_contain_text("Nothing more came in the last 30\u00a0s.")
    await opened(page, fake, plain.id)
    await expect(figure).to_be_hidden()


async def test_options_in_force_beside_those_asked_for(
    page: Page, italian: Page, fake: Fake
) -> None:
    held = {"num_ctx": 4096, "num_gpu": None, "keep_alive": -1.0}
    asked = {"num_ctx": 8192, "keep_alive": HOSTILE}
    fake.ended = [
        call(ago=9.0, in_force=held),
        call(ago=5.0, in_force={"num_ctx": 4096}, options=asked),
        call("failed", ago=3.0),
    ]
    place = page.locator("#call-in-force dd")
    for one, told in (
        (fake.ended[0], ["4,096", "left to Ollama", "for ever"]),
        (
            fake.ended[1],
            ["4,096 (asked for: 8192)", "not known", f"not known (asked for: {SHOWN})"],
        ),
    ):
        await opened(page, fake, one.id)
        await expect(place).to_have_text(told)
    await opened(page, fake, fake.ended[2].id)
    await expect(page.locator("#call-in-force")).to_be_hidden()
    await opened(italian, fake, fake.ended[0].id)
    await expect(italian.locator("#call-in-force dd").last).to_have_text("per sempre")


async def test_headers_are_told_as_text_and_what_was_not_kept_says_so(
    page: Page, fake: Fake
) -> None:
    told = {"request": [["X-A", HOSTILE], ["Authorization", None]], "response": None}
    fake.ended = [call(ago=9.0, headers=told), call(ago=5.0)]
    await opened(page, fake, fake.ended[0].id)
    place = page.locator("#call-headers")
    await place.get_by_text("2 headers").click()
    lines = place.locator("[data-side=request] dl > div")
    await expect(lines).to_have_text([f"X-A{SHOWN}", "Authorizationnot kept"])
    await expect(place.locator("[data-side=response]")).to_be_hidden()
    await opened(page, fake, fake.ended[1].id)
    await expect(place.locator("details")).to_be_hidden()
    await expect(place.locator(".empty")).to_have_text("None were kept of this call.")
    await fake.start(running := call("running"))
    await opened(page, fake, running.id)
    await expect(place.locator(".empty")).to_have_text("Known once the call has ended.")


async def test_from_call_to_call_by_link_and_by_key(page: Page, fake: Fake) -> None:
    for ago in (5.0, 4.0, 3.0, 2.0, 1.0):
        bad = ago in (5.0, 3.0, 1.0)
        client = "a.py" if ago > 2 else "b.py"
        fake.ended.append(call("failed" if bad else "completed", ago=ago, client=client))
    oldest, second, third, fourth, newest = (one.id for one in fake.ended)
    shown = page.locator("#call-id")
    await page.goto(f"{fake.url}requests?state=failed")
    await page.locator("tr.call a.open").nth(1).click()
    await expect(shown).to_have_text(third)
    older = page.get_by_role("link", name="Older", exact=True)
    newer = page.get_by_role("link", name="Newer", exact=True)
    same = page.get_by_role("link", name="Before, same client")
    await expect(older).to_have_attribute("href", f"?state=failed&call={oldest}")
    await newer.click()
    await expect(shown).to_have_text(newest)
    await expect(newer).to_be_disabled()
    await expect(page.locator("#call-title")).to_be_focused()
    await expect(same).to_have_attribute("href", f"?state=failed&call={fourth}")
    await page.keyboard.press("k")
    await expect(older).to_have_attribute("href", f"?state=failed&call={third}")
    await page.keyboard.press("j")
    await expect(shown).to_have_text(third)
    await expect(older).to_have_attribute("href", f"?state=failed&call={oldest}")
    await page.keyboard.press("ArrowRight")
    await expect(shown).to_have_text(oldest)
    await expect(newer).to_have_attribute("href", f"?state=failed&call={third}")
    await page.keyboard.press("ArrowLeft")
    await expect(shown).to_have_text(third)
    await same.click()
    await expect(shown).to_have_text(second)
    # One step leads back to the list, to the call that was looked at last, if it is there.
    await page.keyboard.press("Escape")
    await expect(page).to_have_url(f"{fake.url}requests?state=failed")
    await page.locator("tr.call a.open").first.click()
    await expect(shown).to_have_text(newest)
    await expect(older).to_have_attribute("href", f"?state=failed&call={third}")
    await page.keyboard.press("j")
    await expect(shown).to_have_text(third)
    await page.keyboard.press("Escape")
    await expect(page.locator("tr.call a.open").nth(1)).to_be_focused()


async def test_each_part_of_the_sheet_has_a_name_of_its_own(page: Page, fake: Fake) -> None:
    fake.ended = [noted(call(ago=5.0))]
    await opened(page, fake, fake.ended[0].id)
    await expect(page.get_by_role("dialog", name="Call of signals.py", exact=True)).to_be_visible()
    for name in ("Copy Options asked for", "Copy Prompt", "Copy Answer", "Copy id"):
        await expect(page.get_by_role("button", name=name, exact=True)).to_have_count(1)


async def test_no_answer_is_told_in_the_language_of_the_page(
    page: Page, italian: Page, fake: Fake
) -> None:
    fake.ended = [call(ago=5.0)]

    async def cut(route: Route) -> None:
        await route.abort("connectionrefused")

    said = {
        page: "This call could not be read: the proxy does not answer. Check that it is running, "
        "then try again.",
        italian: "Impossibile leggere questa chiamata: il proxy non risponde. Controlla che sia "
        "avviato, poi riprova.",
    }
    for one, text in said.items():
        await one.goto(fake.url)
        await one.route("**/api/requests/*", cut)
        await one.locator(f"{ROWS} a").first.click()
        await expect(one.locator("#call-message [data-f=message]")).to_have_text(text)
        await one.unroute("**/api/requests/*")
        await one.locator("#call-retry").click()
        await expect(one.locator("#call-id")).to_have_text(fake.ended[0].id)


async def test_an_english_error_is_a_quotation(italian: Page, fake: Fake) -> None:
    ours = "the limit timeouts.first_byte of this proxy, 60 s, passed"
    fake.ended = [
        call("timeout", ago=9.0, reason="first_byte_timeout", error=ours),
        call("failed", ago=7.0, reason="runner_died", error="llama runner process has terminated"),
        call("cancelled", ago=5.0, reason="client_disconnected"),
        call(ago=3.0),
    ]
    box = italian.locator("#call-error-box")
    await opened(italian, fake, fake.ended[0].id)
    await expect(box).to_contain_text("Ollama ha impiegato a iniziare la risposta più di quanto")
    await expect(box).to_contain_text("Come lo ha annotato il proxy:")
    await expect(box.locator("[lang=en]")).to_have_text(ours)
    await opened(italian, fake, fake.ended[1].id)
    await expect(box).to_have_text(
        "ErroreNelle parole di Ollama:llama runner process has terminated"
    )
    await opened(italian, fake, fake.ended[2].id)
    await expect(box).to_contain_text("Il client se ne è andato prima")
    await expect(box.locator("pre")).to_be_hidden()
    await opened(italian, fake, fake.ended[3].id)
    await expect(box).to_be_hidden()


async def test_the_text_of_a_running_call_comes_while_it_runs(page: Page, fake: Fake) -> None:
    running = await fake.start(call("running", ago=1.0, response="So "))
    await opened(page, fake, running.id)
    place = page.locator("#content-response")
    await expect(place).to_have_text("So ")
    running = await fake.progress(running, "answering", response="So far", output_chunks=2)
    await expect(place).to_have_text("So far")
    await expect(page.locator("#call [data-f=pieces]")).to_have_text("2")
    await fake.finish(running, response="So far, so good.")
    await expect(place).to_have_text("So far, so good.")


async def test_on_a_phone_nothing_is_hidden_and_no_lines_touch(
    browser: Browser, fake: Fake
) -> None:
    busy(fake)
    one = replace(
        noted(fake.ended[9]),
        client="signals.py",
        caller={"script": "backtest.py", "program": "python3.11", "folder": "~/bots/" + "b" * 60},
        resources={"cpu_seconds": 2.5, "memory_peak_bytes": 2 * 10**9, "others_cpu_seconds": 3.0},
    )
    fake.ended[9] = one
    page = await browser.new_page(viewport={"width": 360, "height": 800}, locale="it-IT")
    await opened(page, fake, one.id)
    marks = page.locator(".waterfall > div:visible .note")
    await expect(marks).to_have_text(["stimato", "misurato", "misurato", "misurato"])
    await expect(marks.first).to_be_visible()
    assert await page.locator("#call").evaluate("e => e.scrollWidth <= e.clientWidth")
    gaps = await page.locator("#call .pairs").evaluate_all(
        """lists => lists.flatMap(list => {
          const lines = [...list.children].filter(line => line.offsetHeight);
          const texts = lines.map(line => [...line.children].map(e => e.getBoundingClientRect()));
          return texts.slice(1).map((now, at) => Math.min(...now.map(e => e.top))
            - Math.max(...texts[at].map(e => e.bottom)));
        })"""
    )
    assert min(gaps) >= 8
    await page.close()


async def test_a_cut_prompt_is_said_at_the_top(page: Page, fake: Fake) -> None:
    cut = CUT | {"tokens_lost": 6982, "estimated": True}
    fake.ended = [call(ago=5.0, duration=2.0, input_tokens=2050, insights={"prompt_cut": cut})]
    await opened(page, fake, fake.ended[0].id)
    await expect(page.locator("#call .short")).to_contain_text(
        "Ollama cut the prompt: about 6,982 of 9,032 tokens lost."
    )


async def test_of_a_call_that_was_never_answered_ollama_reported_nothing(
    page: Page, fake: Fake
) -> None:
    fake.ended = [call("cancelled", ago=5.0, duration=2.0, reason="client_disconnected")]
    await opened(page, fake, fake.ended[0].id)
    for key in ("first", "status", "stop"):
        await expect(page.locator(f"#call [data-f={key}]")).to_have_text(
            "\u2013Ollama never answered this call."
        )
