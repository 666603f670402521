"""The page in a real browser, over a made-up proxy: it lives, holds still, and trusts no text."""

from __future__ import annotations

import json
import re
import time
from collections.abc import AsyncIterator
from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio
from msgspec.structs import replace
from playwright.async_api import Browser, Page, expect

from ollama_proxy.admin.pages import Pages
from ollama_proxy.admin.site import DASHBOARD
from ollama_proxy.admin.words import Text, name, visible
from ollama_proxy.ids import epoch, iso
from tests.browser.conftest import watched
from tests.browser.fake import Fake, call, finding, model, summary
from tests.browser.scene import busy, noted

pytestmark = pytest.mark.asyncio(loop_scope="session")

LANES = "#now-list tr.lane"
ROWS = "#recent-list tr.call"
HOSTILE = "</script><img src=x onerror=alert(1)>{{7*7}}\u2028\u202eevil\u2069"
SHOWN = "</script><img src=x onerror=alert(1)>{{7*7}}\\u2028\\u202eevil\\u2069"


@pytest_asyncio.fixture(loop_scope="session")
async def italian(browser: Browser, fake: Fake) -> AsyncIterator[Page]:
    async for page in watched(browser, fake, "it-IT"):
        yield page


async def opened(page: Page, fake: Fake) -> None:
    await page.goto(fake.url)
    await fake.connected()


async def test_first_call_turns_the_empty_page_into_the_real_one(page: Page, fake: Fake) -> None:
    await opened(page, fake)
    await expect(page.locator("#first")).to_contain_text("OLLAMA_HOST=http://127.0.0.1:11435")
    await expect(page.locator("#page")).to_be_hidden()

    begun = await fake.start(call("running", client="signals.py"))
    lane = page.locator(LANES)
    await expect(lane).to_contain_text("Waiting")
    await expect(page.locator("#first")).to_be_hidden()
    await expect(page).to_have_title("(1) Ollama Proxy")

    moved = await fake.progress(
        begun,
        "answering",
        duration=4.0,
        time_to_first_token=1.5,
        output_chunks=100,
        response_bytes=9000,
    )
    await expect(lane).to_contain_text("Answering")
    await expect(lane.locator(".c-pieces")).to_contain_text("100")
    await expect(lane.locator(".c-rate")).to_contain_text("40")

    await fake.finish(moved, output_tokens=99, input_tokens=12, duration=5.0)
    row = page.locator(ROWS)
    await expect(row).to_have_count(1)
    await expect(row).to_contain_text("Completed")
    await expect(row).to_contain_text("12 → 99")
    await expect(lane).to_contain_text("Completed")  # it stays a moment where it ran
    await expect(page).to_have_title("Ollama Proxy")


async def test_a_row_is_changed_in_place(page: Page, fake: Fake) -> None:
    begun = await fake.start(call("running"))
    await opened(page, fake)
    lane = await page.locator(LANES).element_handle()
    assert lane is not None
    moved = await fake.progress(
        begun, "answering", time_to_first_token=0.5, output_chunks=7, duration=2.0
    )
    await expect(page.locator(LANES)).to_contain_text("Answering")
    await fake.finish(moved)
    await expect(page.locator(LANES)).to_contain_text("Completed")
    assert await lane.evaluate("row => row.isConnected")


async def test_the_list_holds_still_under_the_pointer(page: Page, fake: Fake) -> None:
    busy(fake)
    await opened(page, fake)
    first = page.locator(ROWS).first
    await first.hover()
    before = await first.bounding_box()
    for _ in range(5):
        await fake.finish(await fake.start(call("running", client="newcomer")))
    pill = page.locator("#recent .pill")
    await expect(pill).to_have_text("5 new calls: show")
    assert await page.locator(ROWS, has_text="newcomer").count() == 0
    assert await page.locator(ROWS).first.bounding_box() == before

    await pill.click()
    await expect(page.locator(ROWS, has_text="newcomer")).to_have_count(5)
    await page.mouse.move(5, 5)
    await fake.finish(await fake.start(call("running", client="latecomer")))
    await expect(page.locator(ROWS).first).to_contain_text("latecomer")


async def test_a_reader_by_keyboard_keeps_the_place(page: Page, fake: Fake) -> None:
    busy(fake)
    await opened(page, fake)
    link = page.locator(f"{ROWS} a").nth(2)
    await link.focus()
    await fake.finish(await fake.start(call("running", client="newcomer")))
    await expect(page.locator("#recent .pill")).to_have_text("1 new call: show")
    await expect(link).to_be_focused()


async def test_hostile_names_are_text(page: Page, fake: Fake) -> None:
    fake.listed = [model(HOSTILE, loaded=True, size_loaded=1, size_vram=1)]
    texts: dict[str, Any] = {"client": HOSTILE, "model": HOSTILE, "error": HOSTILE}
    fake.ended = [call("failed", **texts, reason="http_status", status_code=500)]
    await opened(page, fake)
    live = call("running", client=HOSTILE, model=HOSTILE)
    await fake.start(live)
    await expect(page.locator(LANES)).to_have_count(1)
    for place in (f"{LANES} bdi", f"{ROWS} .c-client bdi", f"{ROWS} .c-model", ".m-model bdi"):
        spoken = page.locator(f"{place} .vh")
        await expect(spoken).to_have_text(SHOWN)
        await expect(page.locator(place).first).to_contain_text("…")
    assert await page.locator("main img").count() == 0

    texts = {"prompt": HOSTILE, "response": HOSTILE * 3000, "options": {"stop": HOSTILE}}
    fake.ended = [call("completed", ago=9, client="short", **texts)]
    await page.goto(f"{fake.url}?call={fake.ended[0].id}")
    await expect(page.locator("#content-prompt")).to_have_text(HOSTILE)
    show_all = page.locator("[data-content=response] .all")
    await show_all.click()
    await expect(show_all).to_be_hidden()
    assert await page.locator("#content-response").evaluate("e => e.textContent.length") > 150_000


async def test_a_broken_stream_loses_no_row(page: Page, fake: Fake) -> None:
    busy(fake)
    await opened(page, fake)
    await expect(page.locator(LANES)).to_have_count(4)
    await expect(page.locator(".group-head")).to_contain_text(
        ["qwen3:14b Loaded", "embed-text Not loaded"]
    )
    rows = await page.locator(ROWS).count()
    ending = next(iter(fake.running.values()))
    await fake.break_off()
    line = page.locator("#line")
    await expect(line).to_contain_text("No data for")
    await expect(line).to_contain_text("The proxy does not answer; is it running?")
    for title in ("#now-title", "#models-title", "#summary-title"):
        await expect(page.locator(title)).to_contain_text(re.compile("as of [0-9:]{8}$"))
    quiet, number = "rgb(82, 92, 105)", page.locator("#numbers .big").first
    await expect(number).to_have_css("color", quiet)
    assert await page.locator(ROWS).count() == rows
    await expect(page).to_have_title("! No data \u2013 Ollama Proxy")

    await fake.finish(ending, output_tokens=2096)
    for _ in range(40):  # more than the 20 that a snapshot holds
        fake.ended.append(call(client="meanwhile", duration=0.2))
    await expect(page.get_by_role("button", name="Try now")).to_be_visible()
    fake.refused = False
    # Not a click: the page may have tried by itself in this moment, and the button be gone.
    await page.locator("#try-now").dispatch_event("click")
    await fake.connected(2)
    await expect(page.locator(ROWS)).to_have_count(rows + 41)
    await expect(page.locator(LANES)).to_have_count(3)
    await expect(line).to_contain_text("Working")
    await expect(page.locator("#now-title .as-of")).to_be_hidden()
    await expect(number).not_to_have_css("color", quiet)


async def test_what_is_wrong_is_said(page: Page, fake: Fake) -> None:
    busy(fake)
    await opened(page, fake)
    await fake.change(status="down", upstream_up=False, upstream_error="connection refused")
    await expect(page.locator("#line")).to_contain_text("Ollama down")
    await expect(page.locator("#notices")).to_contain_text("Ollama has not answered at http")
    await expect(page.locator("#notices")).to_contain_text(
        "connection refused. Start it: ollama serve"
    )
    await expect(page).to_have_title("(4) ! Ollama down \u2013 Ollama Proxy")
    await expect(page.locator("#favicon")).to_have_attribute("href", re.compile("icon-down"))
    await expect(page.locator("#shout")).to_have_text("Ollama does not answer.")
    since = iso(time.time())
    await fake.change(status="working", storage_error="disk full", storage_error_since=since)
    await expect(page.locator("#notices")).to_contain_text(
        re.compile("but have not been saved since [0-9:]{8}: disk full\\.")
    )
    await expect(page.locator("#notices .notice")).to_have_count(1)


async def test_calls_that_wait_long_are_named_where_it_says_working(page: Page, fake: Fake) -> None:
    busy(fake)
    await opened(page, fake)
    health, icon = page.locator("#line .health"), page.locator("#favicon")
    await fake.change(waiting={"calls": 6, "seconds": 125.0, "behind": HOSTILE})
    await expect(health).to_have_text(
        f"Working, but 6 calls wait, the longest for 2\u00a0min\u00a005\u00a0s, behind "
        f"{visible(HOSTILE)[:17]}\u2026{visible(HOSTILE)[-12:]}"
    )
    await expect(page.locator("#line .health use")).to_have_attribute("href", "#s-waiting")
    await expect(icon).to_have_attribute("href", re.compile("icon-attention"))
    await fake.change(waiting={"calls": 1, "seconds": 11.0, "behind": None})
    await expect(health).to_have_text(
        "Working, but 1 call has been waiting for 11\u00a0s, behind an unknown client"
    )
    await fake.change(waiting=None)
    await expect(health).to_have_text("Working")
    await expect(icon).to_have_attribute("href", re.compile("icon-ok"))


async def test_a_proxy_that_is_being_stopped_says_how_many_calls_it_lets_end(
    page: Page, fake: Fake
) -> None:
    busy(fake)
    await opened(page, fake)
    await fake.change(status="stopping")
    line = page.locator("#line")
    await expect(line).to_contain_text("Stopping")
    await expect(line).to_contain_text("takes no new calls, lets 4 end")
    await expect(page).to_have_title("(4) ! Stopping \u2013 Ollama Proxy")
    await expect(page.locator("#say")).to_have_text("The proxy is being stopped.")
    await fake.finish(next(iter(fake.running.values())))
    await expect(line).to_contain_text("takes no new calls, lets 3 end")


async def test_an_english_cause_says_so(italian: Page, fake: Fake) -> None:
    busy(fake)
    await opened(italian, fake)
    cause = italian.locator("#notices [lang=en]")
    await fake.change(status="down", upstream_up=False, upstream_error=HOSTILE)
    await expect(cause).to_have_text(SHOWN)
    await expect(italian.locator("#notices .notice")).to_contain_text(f": {SHOWN}. Avvialo: ")
    assert await italian.locator("main img").count() == 0
    await fake.change(upstream_error=None)
    await expect(italian.locator("#notices .notice")).to_contain_text(
        ": causa sconosciuta. Avvialo"
    )
    await expect(cause).to_be_empty()
    await fake.change(status="working", storage_error="disk full")
    await expect(cause).to_have_text("disk full")


async def test_an_upstream_that_is_not_ollama_is_named(page: Page, fake: Fake) -> None:
    busy(fake)
    await opened(page, fake)
    await expect(page.locator("#line")).to_contain_text("Ollama 0.33.1 answers in 3")
    why = "/api/version is answered with 404"
    await fake.change(upstream_version=None, upstream_error=why)
    await expect(page.locator("#notices .notice")).to_have_text(
        f"What answers at http://127.0.0.1:11434 is not Ollama: {why}. Check the setting upstream."
    )
    await expect(page.locator("#notices [lang=en]")).to_have_text(why)
    await expect(page.locator("#line")).to_contain_text("what answers is not Ollama")
    await expect(page.locator("#line")).not_to_contain_text("answers in")
    await fake.change(upstream_version="0.33.1", upstream_error=None)
    await expect(page.locator("#notices .notice")).to_have_count(0)


async def test_failing_says_the_most_frequent_cause(page: Page, fake: Fake) -> None:
    failed: list[dict[str, Any]] = [{"reason": "upstream_unreachable"}]
    failed += [{"reason": "http_status", "status_code": 404}] * 2
    fake.ended = [call("failed", ago=30 + at, duration=1, **why) for at, why in enumerate(failed)]
    long_ago = {"reason": "internal_error", "duration": 1}
    fake.ended += [call("failed", ago=900, **long_ago) for _ in range(9)]
    await opened(page, fake)
    await fake.change(status="failing", upstream_since=iso(fake.began - 900))
    await expect(page.locator("#notices .notice")).to_have_text(
        "3 of the latest calls failed, most often: status 404."
    )


async def test_until_when_calls_did_not_reach_ollama_is_the_end_of_the_last(
    browser: Browser, page: Page, fake: Fake
) -> None:
    """Not when this process found it up again, nor how many of them the list holds."""
    missed: dict[str, Any] = {"reason": "upstream_unreachable", "duration": 1.0}
    told = {"insights": {"outage": {"since": "first"}}, "status_code": 502}
    fake.ended = [call("failed", ago=ago, **missed, **told) for ago in (70, 90)]
    fake.ended += [call(ago=200, duration=1.0, time_to_first_byte=0.1)]
    fake.changes |= {"upstream_since": iso(fake.began - 900)}
    notices, last = page.locator("#notices .notice"), epoch(fake.ended[0].started_at) + 1
    await opened(page, fake)
    await expect(notices).to_have_count(0)
    await fake.change(upstream_since=iso(fake.began))
    clock = datetime.fromtimestamp(last).strftime("%H:%M:%S")
    words = f"Until {clock} calls did not reach Ollama; it answers again. These calls"
    await expect(notices).to_have_text(re.compile(words.replace(" ", r"\s+")))
    plain = await browser.new_page(java_script_enabled=False, locale="en-GB")
    await plain.goto(fake.url)
    await expect(plain.locator("#notices .notice").first).to_contain_text(words)
    await plain.close()
    await fake.change(upstream_since=iso(fake.began - 900))
    await expect(notices).to_have_count(0)
    await fake.finish(await fake.start(call("running")), duration=0.5, time_to_first_byte=0.1)
    await notices.get_by_role("link", name="These calls").click()
    await expect(page.locator("#requests tr.call")).to_have_count(2)


async def test_a_call_that_a_crash_cut_claims_no_times(page: Page, fake: Fake) -> None:
    fake.ended = [call("interrupted", ago=60, reason="crash", duration=None)]
    await opened(page, fake)
    row = page.locator(ROWS)
    why = "The proxy was killed while this call ran: when it ended is not known."
    for place in (".c-ended", ".c-total"):
        await expect(row.locator(place)).to_have_text("\u2013" + why)
    await expect(row.locator(".bar > *")).to_have_count(0)
    await row.locator("a").click()
    sheet = page.locator("#call-body")
    await expect(sheet.locator("[data-f=started]")).to_have_text(
        re.compile("^[0-9:]{8}, end not known$")
    )
    await expect(sheet.locator("[data-f=bytes]")).to_have_text("\u2013" + why)
    await expect(sheet.locator("#call-untimed")).to_be_visible()
    await expect(sheet.locator("[data-phase]:visible")).to_have_count(0)


async def test_what_could_not_be_read_of_a_call_is_said(page: Page, fake: Fake) -> None:
    fake.ended = [call(not_understood=3), call()]
    for one in fake.ended:
        await page.goto(f"{fake.url}?call={one.id}")
        await expect(page.locator("#call-body")).to_be_visible()
        said = page.locator("#call-unread")
        if one.not_understood:
            await expect(said).to_have_text(
                "3 pieces of this call could not be read: its numbers may be incomplete."
            )
        else:
            await expect(said).to_be_hidden()


async def test_rows_of_nothing_are_not_shown(page: Page, fake: Fake) -> None:
    fake.ended = [call()]
    fake.all = summary(requests=1, completed=1)
    await opened(page, fake)
    totals = page.locator("#summary")
    for hidden in ("#spent-shown", "[data-count=cancelled]", "[data-count=interrupted]"):
        await expect(totals.locator(hidden)).to_be_hidden()
    await expect(totals).to_contain_text("Ollama has not reported the times of a call yet.")
    await expect(totals).to_contain_text("Duration 0 completed calls that ran a model")
    fake.all = summary(requests=3, completed=1, cancelled=1, interrupted=1, decode_seconds=4.0)
    await fake.finish(await fake.start(call("running")))
    await expect(totals.locator("[data-count=interrupted]")).to_have_text("Interrupted1")
    await expect(totals.locator("#spent-shown")).to_be_visible()
    await expect(totals.locator("#spent-empty")).to_be_hidden()


async def test_pause_freezes_and_counts(page: Page, fake: Fake) -> None:
    busy(fake)
    await opened(page, fake)
    await page.get_by_role("button", name="Pause").click()
    await fake.finish(await fake.start(call("running", client="newcomer")))
    await expect(page.locator("#paused")).to_contain_text("1 new call.")
    assert await page.locator(ROWS, has_text="newcomer").count() == 0
    await page.locator("#paused button").click()
    await expect(page.locator(ROWS, has_text="newcomer")).to_have_count(1)


async def test_a_call_opens_by_keyboard_and_gives_the_focus_back(page: Page, fake: Fake) -> None:
    busy(fake)
    fake.ended[0] = noted(fake.ended[0])
    await opened(page, fake)
    link = page.locator(f"{ROWS} a").first
    await link.press("Enter")
    await expect(page.locator("#call-title")).to_be_focused()
    sheet = page.locator("#call")
    await expect(sheet).to_contain_text("Cancelled")
    await expect(page.locator("#content-prompt")).to_contain_text("careful analyst")
    await expect(page).to_have_url(f"{fake.url}?call={fake.ended[0].id}")
    await page.keyboard.press("Escape")
    await expect(sheet).to_be_hidden()
    await expect(link).to_be_focused()
    await page.goto(f"{fake.url}?call=nothing")
    await expect(sheet).to_contain_text("This call is not stored.")


async def test_a_call_tells_all_that_is_known_of_it_and_nothing_else(
    page: Page, fake: Fake
) -> None:
    full = call(
        "completed", ago=9.0, time_to_first_byte=0.4, connect=0.002, time_to_first_token=0.5,
        time_to_first_answer=3.5, longest_gap=0.25, p95_gap=0.04, thinking_characters=1234,
        tool_calls=2, tool_names=["price", HOSTILE], images=1, image_bytes=90_000,
        caller={"script": "backtest.py", "program": "python3.11", "pid": 77, "folder": "~/bots"},
        resources={"cpu_seconds": 2.5, "memory_peak_bytes": 2_000_000_000, "gpu_seconds": None},
        time_per_output_token=0.0034, prefill_cached=True, input_tokens=3000, duration=9.0,
        queue=0.5, load=0.1, prefill=0.2, decode=8.0,
    )  # fmt: skip
    fake.ended = [full, call("completed", ago=5.0)]
    await page.goto(f"{fake.url}?call={full.id}")
    sheet = page.locator("#call")
    for text in (
        "400 ms (connecting 2 ms)",
        "longest 250 ms, 95 % up to 40 ms",
        "1,234 characters",
        f"2 · price · {SHOWN}",
        "backtest.py · python3.11 · PID 77 · ~/bots",
        "CPU 2.5 s · memory 2.0 GB",
        "3.4 ms",
        "15,000 tok/s (mostly from the cache)",
        "198 ms",  # of 9 s neither connecting nor the phases
    ):
        await expect(sheet).to_contain_text(text)
    await page.goto(f"{fake.url}?call={fake.ended[1].id}")
    await expect(sheet.locator("[data-f=started]")).not_to_be_empty()
    await expect(sheet.locator("[data-more]:visible")).to_have_count(0)


async def test_a_closed_sheet_leaves_no_step_behind(page: Page, fake: Fake) -> None:
    busy(fake)
    await opened(page, fake)
    before = await page.evaluate("history.length")
    for _ in range(3):
        await page.locator(f"{ROWS} a").first.click()
        await expect(page.locator("#call-title")).to_be_visible()
        await page.keyboard.press("Escape")
        await expect(page).to_have_url(fake.url)
    assert await page.evaluate("history.length") <= before + 1
    # The way back closes it, too; a link that was followed here leads to the page.
    await page.locator(f"{ROWS} a").first.click()
    await page.go_back()
    await expect(page.locator("#call")).to_be_hidden()
    await page.goto(f"{fake.url}?call={fake.ended[0].id}")
    await page.keyboard.press("Escape")
    await expect(page).to_have_url(fake.url)


async def test_an_open_sheet_follows_its_call_to_the_end(page: Page, fake: Fake) -> None:
    running = await fake.start(call("running", ago=1.0))
    await page.goto(f"{fake.url}?call={running.id}")
    sheet = page.locator("#call")
    await expect(sheet.locator(".state").first).to_contain_text("Running")
    await fake.finish(running, duration=4.0, output_tokens=77, response="a b c")
    await expect(sheet.locator(".state").first).to_contain_text("Completed")
    await expect(sheet.locator("[data-f=tokens_out]")).to_have_text("77")
    await expect(page.locator("#content-response")).to_have_text("a b c")


async def test_a_call_says_in_a_sentence_where_its_time_went(page: Page, fake: Fake) -> None:
    spans: dict[str, Any] = {"queue": 7.0, "load": 0.01, "prefill": 1.0, "decode": 2.0}
    fake.ended = [call(ago=60.0, duration=10.01, **spans)]
    fake.waited = [{"client": HOSTILE, "kind": "waited", "seconds": 6.5}]
    await page.goto(f"{fake.url}?call={fake.ended[0].id}")
    await expect(page.locator(".short")).to_have_text(
        f"10\u00a0s in all: 7.0\u00a0s waiting, mostly for {SHOWN}, "
        "1.0\u00a0s to read the prompt, 2.0\u00a0s to write the answer."
    )
    beside = await page.get_by_role("link", name="What ran at the same time").get_attribute("href")
    span = r"ended_after=\d{10}\.\d{3}&until=\d{10}\.\d{3}"
    assert beside is not None and re.fullmatch(rf"requests\?{span}&sort=duration", beside)
    waited = page.locator("[data-more=waited_for]")
    await expect(waited).to_contain_text(f"{SHOWN} 6.5\u00a0s")


@pytest.mark.parametrize(
    ("state", "language", "said"),
    [
        ("failed", "en-US", "31\u00a0ms until it failed."),
        ("failed", "it-IT", "31\u00a0ms prima di fallire."),
        ("cancelled", "en-US", "31\u00a0ms until it was cancelled."),
    ],
)
async def test_of_a_call_without_a_token_only_its_end_is_said(
    browser: Browser, fake: Fake, state: str, language: str, said: str
) -> None:
    fake.ended = [call(state, ago=60.0, duration=0.031)]
    context = await browser.new_context(locale=language)
    page = await context.new_page()
    await page.goto(f"{fake.url}?call={fake.ended[0].id}")
    await expect(page.locator(".short")).to_have_text(said)
    await context.close()


async def test_a_wait_within_a_load_is_said_to_be_one(page: Page, fake: Fake) -> None:
    spans: dict[str, Any] = {"queue": 24.0, "load": 2.0, "prefill": 1.0, "decode": 1.0}
    wait = {"seconds": 24.0, "reason": "room", "models": ["big:latest"]}
    fake.ended = [call(ago=60.0, duration=28.0, insights={"load_wait": wait}, **spans)]
    fake.waited = [{"client": "batch.py", "kind": "room", "seconds": 24.0}]
    await page.goto(f"{fake.url}?call={fake.ended[0].id}")
    await expect(page.locator(".short")).to_have_text(
        "28\u00a0s in all: 24\u00a0s waiting, mostly for batch.py, 2.0\u00a0s to load the model."
    )
    told = page.locator("[data-more=waited_for] dd"), page.locator("[data-more=load_wait] dd")
    await expect(told[0]).to_have_text(
        "batch.py 24\u00a0s, until there was room in memory for the model"
    )
    await expect(told[1]).to_have_text(
        "24\u00a0s, until there was room in memory; Ollama counts that as loading"
    )


async def test_findings_are_said_and_lead_to_their_latest_call(page: Page, fake: Fake) -> None:
    last = call(ago=300.0, client="signals.py")
    fake.ended = [last]
    fake.found = [
        finding("waited", other=HOSTILE, seconds=200.0, calls=[last.id]),
        finding("prompt_cut", tokens=900, needed=5000, client=None),
    ]
    await opened(page, fake)
    listed = page.locator("#findings-list .finding")
    await expect(listed).to_have_count(2)
    await expect(listed.first).to_contain_text(
        f"signals.py waited 3\u00a0min\u00a020\u00a0s for {SHOWN}"
    )
    await listed.first.locator("a.shows").click()
    await expect(page.locator("#call-title")).to_have_text("signals.py")
    await page.keyboard.press("Escape")
    await expect(listed.first.locator("a.shows")).to_be_focused()
    await page.locator("#waits summary").click()
    await expect(page.locator("#waits tbody tr")).to_have_count(1)
    as_of, clock = page.locator("#findings-as-of"), re.compile("as of [0-9:]{8}; ")
    await expect(as_of).to_have_text(clock)
    # After a break of the stream they are asked for again.
    fake.found = []
    await fake.break_off()
    fake.refused = False
    await fake.connected(2)
    await expect(page.locator("#findings-empty")).to_be_visible()
    await expect(page.locator("#waits")).to_be_hidden()
    await expect(as_of).to_have_text(clock)


async def test_each_pair_has_one_row_with_all_that_it_waited(page: Page, fake: Fake) -> None:
    pair: dict[str, Any] = {"client": "a.py", "other": "b.py"}
    fake.ended = [call(ago=9.0)]
    fake.found = [
        finding("waited", client="c.py", other="b.py", seconds=150.0, count=1),
        finding("waited", **pair, seconds=100.0, count=2),
        finding("waited", **pair, detail="room", seconds=90.0, count=1),
    ]
    await page.set_viewport_size({"width": 390, "height": 800})
    await opened(page, fake)
    rows = page.locator("#waits tbody tr")
    for times in (1, 2):
        await fake.connected(times)
        await page.locator("#waits").evaluate("(one) => (one.open = true)")
        await expect(rows).to_have_count(2)
        await expect(rows.nth(0)).to_contain_text("3\u00a0min\u00a010\u00a0s")
        await expect(rows.nth(0)).to_contain_text("3 calls")
        await expect(rows.nth(1)).to_contain_text(re.compile(r"1 call\s*$"))
        # After a break of the stream they are asked for again.
        await fake.break_off()
        fake.refused = False


async def test_findings_are_those_of_the_span_in_the_address(page: Page, fake: Fake) -> None:
    fake.ended = [call(ago=9.0)]
    lately = finding("waited", ago=600.0, client="a.py", other="busy.py", seconds=30.0)
    before = finding("waited", ago=7200.0, client="a.py", other="night.py", seconds=600.0)
    fake.found = [before, lately]
    await page.goto(f"{fake.url}?since=1h")
    listed, waits = page.locator("#findings-list .finding"), page.locator("#waits tbody tr")
    spans = page.locator("#findings nav a")
    await expect(spans).to_have_text(["1 h", "24 h", "7 d"])
    await expect(spans.first).to_have_attribute("aria-current", "true")
    newest = finding("waited", ago=60.0, client="a.py", other="new.py", seconds=20.0)
    for times, shown in ((1, [lately]), (2, [lately, newest])):
        await fake.connected(times)
        await expect(listed).to_have_count(len(shown))
        await expect(waits).to_have_count(len(shown))
        await expect(listed.first).to_contain_text("waited 30\u00a0s for busy.py")
        link = listed.first.locator("a.all-calls")
        await expect(link).to_have_attribute("href", f"requests?finding={lately.id}&since=1h")
        # After a break of the stream they are asked for again.
        fake.found = [before, lately, newest]
        await fake.break_off()
        fake.refused = False
    # The sheet of a call keeps the span.
    await listed.first.locator("a.shows").click()
    await page.wait_for_url("**?since=1h&call=*")
    await page.keyboard.press("Escape")
    await spans.nth(1).click()
    await page.wait_for_url("**?since=1d#findings")
    await expect(listed).to_have_count(3)


async def test_an_outage_is_told_in_the_readers_zone(page: Page, fake: Fake) -> None:
    far = "Pacific/Kiritimati"  # nobody's server
    assert page.context.browser is not None
    context = await page.context.browser.new_context(timezone_id=far, locale="en-GB")
    away = await context.new_page()
    fake.ended = [call(ago=9.0)]
    met = finding("outage", ago=60.0, model=None, client=None, count=12)
    fake.found = [met]
    await opened(away, fake)
    row = away.locator("#findings-list .finding")
    await expect(row).to_contain_text("12 calls failed")
    # After a break of the stream they are asked for again.
    fake.found = [replace(met, count=13)]
    await fake.break_off()
    fake.refused = False
    await expect(row).to_contain_text("13 calls failed", timeout=20_000)
    last = datetime.fromisoformat(met.last_at).astimezone(ZoneInfo(far))
    await expect(row).to_contain_text(f"{last:%H:%M}")
    await context.close()


async def test_what_costs_less_is_folded_away(page: Page, fake: Fake) -> None:
    last = call(ago=300.0, client="signals.py")
    fake.ended = [last]
    fake.found = [
        finding("left", client=f"c{n}.py", seconds=90.0 - n, calls=[last.id]) for n in range(8)
    ]
    await opened(page, fake)
    more = page.locator("#findings-more")
    for times in (1, 2):
        await fake.connected(times)
        await expect(page.locator("#findings-list .finding")).to_have_count(5)
        await expect(more.locator("summary")).to_have_text("3 more")
        await expect(more.locator(".finding")).to_have_count(3)
        # After a break of the stream they are asked for again.
        await fake.break_off()
        fake.refused = False
    await more.locator("summary").click()
    await expect(more.locator(".finding").last).to_contain_text("c7.py")


async def test_waits_of_a_moment_take_no_place_in_the_open(page: Page, fake: Fake) -> None:
    last = call(ago=300.0)
    fake.ended = [last]
    both: dict[str, Any] = {"client": "a.py", "other": "b.py", "calls": [last.id]}
    fake.found = [
        finding("waited", **both, seconds=5.0),
        finding("runner_busy", **both, seconds=4.9),
        finding("waited", **both, seconds=0.7),
        finding("left", client="c.py", seconds=0.3, calls=[last.id]),
    ]
    await opened(page, fake)
    listed = page.locator("#findings-list .finding")
    more = page.locator("#findings-more summary")
    await expect(listed).to_have_count(2)
    await expect(listed.last).to_contain_text("c.py")
    await expect(more).to_have_text("2 more")
    # After a break of the stream they are asked for again.
    fake.found.append(finding("left", client="d.py", seconds=0.2, calls=[last.id]))
    await fake.break_off()
    fake.refused = False
    await expect(listed.last).to_contain_text("d.py", timeout=20_000)
    await expect(listed).to_have_count(3)
    await expect(more).to_have_text("2 more")
    fake.found = fake.found[1:3]
    await page.reload()
    await expect(page.locator("#findings-empty")).to_have_text("Nothing stands out.")
    await expect(more).to_have_text("2 more")


async def test_findings_that_cannot_be_read_are_not_none(page: Page, fake: Fake) -> None:
    fake.ended, fake.found = [call(ago=300.0)], None
    await opened(page, fake)
    await expect(page.locator("#findings-unread")).to_be_visible()
    await expect(page.locator("#findings-empty")).to_be_hidden()


async def test_a_captured_call_can_be_had_in_the_forms_that_there_are(
    page: Page, italian: Page, fake: Fake
) -> None:
    fake.ended = [call("completed", ago=9.0), call("failed", ago=5.0), call("completed", ago=3.0)]
    whole, broken, other = (one.id for one in fake.ended)
    fake.forms = {whole: ["curl", "python", "recording"], broken: ["curl", "python"]}
    again = page.locator("#call-again")
    await page.goto(f"{fake.url}?call={whole}")
    await expect(again).to_have_text("Make this call again: curl Python recording")
    async with page.expect_popup() as opening:
        await again.get_by_text("Python").click()
    await expect((await opening.value).locator("body")).to_have_text("the call as python")
    async with page.expect_download() as loading:
        await again.get_by_text("recording").click()
    assert (await loading.value).suggested_filename == f"{whole}.json"
    await page.goto(f"{fake.url}?call={broken}")
    await expect(again.get_by_text("curl")).to_be_visible()
    await expect(again.get_by_text("recording")).to_be_hidden()
    await page.goto(f"{fake.url}?call={other}")
    await expect(page.locator("#call-id")).to_have_text(other)
    await expect(again).to_be_hidden()
    await italian.goto(f"{fake.url}?call={whole}")
    await expect(italian.locator("#call-again")).to_contain_text("Ripeti questa chiamata")


async def test_whether_a_kept_prompt_was_cut_can_be_asked(page: Page, fake: Fake) -> None:
    kept = call(ago=5.0, input_tokens=300, insights={"prompt_cut": {"cut": None}})
    fake.ended = [kept, call(ago=9.0, input_tokens=300)]
    fake.forms = {kept.id: ["curl"]}
    await page.goto(f"{fake.url}?call={fake.ended[1].id}")
    await expect(page.locator("[data-f=started]")).not_to_be_empty()
    await expect(page.locator("#call-check")).to_be_hidden()
    await page.goto(f"{fake.url}?call={kept.id}")
    line = page.locator("[data-more=prompt_cut]")
    await expect(line).to_contain_text("cannot be told")
    await page.locator("#call-check").click()
    await expect(line).to_contain_text(
        "could not be asked: Ollama did not write the prompt out (“no answer”)"
    )
    fake.verdict = {"cut": True, "tokens_lost": 76, "estimated": True, "rule": "rendered"}
    await page.locator("#call-check").click()
    await expect(line).to_contain_text("yes, ~76 tokens lost")
    await expect(page.locator("#call-check")).to_be_hidden()


async def test_an_estimate_of_tokens_says_so(page: Page, fake: Fake) -> None:
    told = {"input_tokens": None, "output_tokens": None, "output_chunks": 1234}
    guessed = call("completed", ago=5.0, **told)
    fake.ended = [guessed]
    words = "about 1,234 tokens out, by the pieces that passed: Ollama told no count"
    await page.goto(fake.url)
    tokens = page.locator(f"{ROWS} [data-f=tokens]")
    await expect(tokens).to_have_text(f"\u2013 \u2192 \u2248 1,234{words}")
    await expect(tokens.locator("[title]")).to_have_attribute("title", words)
    await page.goto(f"{fake.url}?call={guessed.id}")
    tokens = page.locator("#call [data-f=tokens_out]")
    await expect(tokens).to_have_text(f"\u2248 1,234{words}")
    await expect(tokens.locator("[title]")).to_have_attribute("title", words)


async def test_nothing_scrolls_sideways(page: Page, fake: Fake) -> None:
    busy(fake)
    wide = "m" * 200
    fake.listed.append(model(wide, loaded=True, parameter_size=wide, quantization=wide))
    fake.ended.append(call("failed", client=wide, model=wide, reason="first_byte_timeout"))
    await fake.start(call("running", client=wide, model=wide))
    await opened(page, fake)
    await expect(page.locator(LANES)).to_have_count(5)
    for width in (320, 360, 700, 900, 1280):
        await page.set_viewport_size({"width": width, "height": 700})
        room = "[document.documentElement.scrollWidth, innerWidth]"
        scrolled, shown = await page.evaluate(room)
        assert scrolled <= shown, width
    await page.goto(f"{fake.url}?call={fake.ended[0].id}")
    await page.set_viewport_size({"width": 360, "height": 700})
    await expect(page.locator("#call-body")).to_be_visible()
    assert await page.locator("#call").evaluate("e => e.scrollWidth <= e.clientWidth")


async def test_italian_has_no_english_left(italian: Page, fake: Fake) -> None:
    words = {
        language: json.loads((DASHBOARD / "i18n" / f"{language}.json").read_text())
        for language in ("en", "it")
    }
    english = [
        re.sub(r"\\\{\w+\\\}", ".+", re.escape(text))
        for key, text in words["en"].items()
        if text != words["it"][key] and re.search(r"[A-Za-z]{3}", re.sub(r"\{\w+\}", "", text))
    ]
    busy(fake)
    fake.changes |= {"status": "down", "storage_error": "x", "records_dropped": 3}
    await opened(italian, fake)
    await italian.locator(f"{ROWS} a").first.click()
    await expect(italian.locator("#call-body")).to_be_visible()
    texts = await italian.evaluate(
        """() => [...document.querySelectorAll("body, body *")].flatMap((element) => [
          ...["aria-label", "title", "placeholder"].map((name) => element.getAttribute(name)),
          ...[...element.childNodes].filter((node) => node.nodeType === 3 && element.id !== "data")
            .map((node) => node.data),
        ]).filter((text) => text && text.trim())"""
    )
    assert len(texts) > 200
    assert "Ultime chiamate" in texts
    found = re.compile("|".join(english))
    assert [text for text in texts if found.fullmatch(text.strip())] == []


@pytest.mark.parametrize("state", ["down", "failing", "away", "stopping", "waiting"])
async def test_the_page_says_the_same_with_and_without_script(
    browser: Browser, page: Page, fake: Fake, state: str
) -> None:
    """The server's formatting and the script's are the same rules."""
    busy(fake)
    fake.running = {}
    fake.changes |= {"status": state, "upstream_error": "refused", "storage_error": HOSTILE}
    fake.changes |= {"upstream_version": None}
    if state == "away":
        fake.changes |= {"status": "down", "upstream_up": False}
    if state == "waiting":
        waiting = {"calls": 6, "seconds": 125.0, "behind": HOSTILE}
        fake.changes |= {"status": "working", "waiting": waiting}
    read = """() => Object.fromEntries([...document.querySelectorAll(
      "#line [data-f]:not([data-f=last]), #notices [data-f], #numbers [data-f], " +
      "#models [data-f], #summary [data-f], #recent tbody [data-f]")]
      .map((place, at) => [`${at} ${place.dataset.f}`, place.textContent]))"""
    plain = await browser.new_page(java_script_enabled=False, locale="en-GB")
    await plain.goto(fake.url)
    without: dict[str, Any] = await plain.evaluate(read)
    await expect(plain.locator("noscript p")).to_contain_text("Without JavaScript")
    await plain.close()
    await opened(page, fake)
    await expect(page.locator("#recent [data-f=scale]")).to_have_text("20\u00a0s")
    living: dict[str, Any] = await page.evaluate(read)
    uptime = next(key for key in living if key.endswith(" uptime"))
    assert without.pop(uptime)
    assert living.pop(uptime)
    assert living == without


async def test_theme_and_language_are_kept(page: Page, fake: Fake) -> None:
    busy(fake)
    await opened(page, fake)
    root = page.locator("html")
    await page.get_by_role("link", name="Dark theme").click()
    await expect(root).to_have_attribute("data-theme", "dark")
    await page.get_by_role("link", name="Italiano").click()
    await expect(root).to_have_attribute("lang", "it")
    await expect(root).to_have_attribute("data-theme", "dark")
    await page.reload()
    await expect(page.locator("h1")).to_have_text("Panoramica")


async def test_script_and_server_write_alike(page: Page, fake: Fake) -> None:
    """Numbers, times and names of every size, in both languages, from both formatters."""
    now = time.time()
    values = [0, 0.0004, 0.0125, 0.25, 0.9995, 1.05, 9.949, 9.95, 59.5, 63, 3599.6, 7200, 90061]
    values += [12.5, 1000, 99_999, 100_000, 123_456, 999_999, 2_150_000, 9.6e9, 1.25e12]
    values += [60, 60.2, 3600]
    moments = [now - ago for ago in (0, 4, 5, 59, 61, 3599, 3700, 30 * 3600, 500 * 86400)]
    ahead = [now + left for left in (3600, 30 * 3600, 500 * 86400)]
    names = ["a", "x" * 31, HOSTILE, "\u00e9\U0001f600" * 20, "\ufeff\x7f"]
    await opened(page, fake)
    ours = Pages(fake)
    script = """async ([folder, language, words, now, values, moments, ahead, names]) => {
      const i18n = await import(folder + "i18n.js");
      const format = await import(folder + "format.js");
      i18n.speak(language, words);
      const all = (list, kinds, ...more) =>
        list.map((value) => kinds.map((kind) => format[kind](value, ...more)));
      return [
        all(values, ["seconds", "number", "compact", "speed", "size", "percent"]),
        values.map((value) => format.seconds(value, true)),
        all(moments, ["ago", "since", "when"], now),
        all(ahead, ["at"], now),
        all(names, ["name", "visible"]),
      ];
    }"""
    for language in ("en", "it"):
        w = ours.words[language]
        folder = f"{fake.url}static/{ours.site.version}/"
        given = [folder, language, w.catalogue, now, values, moments, ahead, names]
        theirs = await page.evaluate(script, given)
        kinds = (w.seconds, w.number, w.compact, w.speed, w.size, w.percent)
        assert theirs == [
            [[kind(value) for kind in kinds] for value in values],
            [w.seconds(value, running=True) for value in values],
            [[kind(at, now) for kind in (w.ago, w.since, w.moment)] for at in moments],
            [[w.at(at, now)] for at in ahead],
            [[_pair(name(text)), visible(text)] for text in names],
        ]


def _pair(text: Text) -> str | list[str]:
    return text if isinstance(text, str) else list(text)
