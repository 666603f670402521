"""The page as the server makes it: its words, its headers, its files, and what is not in it."""

from __future__ import annotations

import gzip
import json
import re
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
from aiohttp import ClientSession, CookieJar

from ollama_proxy.admin.choices import preferred
from ollama_proxy.admin.findings import short
from ollama_proxy.admin.pages import Pages
from ollama_proxy.admin.rows import call_row, model_row, numbers, percentile, phases, summary_row
from ollama_proxy.admin.security import HEADERS
from ollama_proxy.admin.site import DASHBOARD, POLICY, VIEWS, address
from ollama_proxy.admin.words import LANGUAGES, Said, name, visible
from ollama_proxy.exchange import Reason, State
from ollama_proxy.ids import epoch, first_id, iso
from ollama_proxy.records import FINDINGS
from ollama_proxy.settings import SETTINGS
from tests.admin.support import WORDS
from tests.browser.fake import Fake, call, finding, model, serve, spread, summary
from tests.browser.scene import UNTOLD, busy

CATALOGUES: dict[str, dict[str, str]] = {
    language: json.loads((DASHBOARD / "i18n" / f"{language}.json").read_text())
    for language in LANGUAGES
}
SOURCES = [
    *(DASHBOARD / "templates").glob("*.html"),
    *(DASHBOARD / "static").glob("*.js"),
    *(Path(__file__).resolve().parents[2] / "ollama_proxy" / "admin").glob("*.py"),
]
FORMS = (".one", ".other")


@pytest.fixture
def fake() -> Fake:
    return Fake()


@pytest_asyncio.fixture
async def url(fake: Fake) -> AsyncIterator[str]:
    runner, url = await serve(fake)
    yield url
    await runner.cleanup()


@pytest_asyncio.fixture
async def client() -> AsyncIterator[ClientSession]:
    async with ClientSession(cookie_jar=CookieJar(unsafe=True)) as session:
        yield session


# -- words ------------------------------------------------------------------------------------


def test_languages_have_the_same_keys_and_places() -> None:
    english, italian = CATALOGUES["en"], CATALOGUES["it"]
    assert english.keys() == italian.keys()
    for key, text in english.items():
        places = {language: set(re.findall(r"\{(\w+)\}", CATALOGUES[language][key]))
                  for language in LANGUAGES}  # fmt: skip
        if key.endswith(".one"):  # "one" may say it in words
            places = {language: found - {"n"} for language, found in places.items()}
        assert places["en"] == places["it"], key
        assert text.strip(), key
        assert italian[key].strip(), key


def test_each_setting_says_in_both_languages_what_it_is_for() -> None:
    """In English in the words of the command line, the config file and the README."""
    helps = {f"settings.help.{one.name}": one.help for one in SETTINGS}
    for language in LANGUAGES:
        assert _family(CATALOGUES[language], "settings.help.") == helps.keys()
    assert {key: CATALOGUES["en"][key] for key in helps} == helps
    alike = [key for key in helps if CATALOGUES["it"][key] == CATALOGUES["en"][key]]
    assert alike == []
    units = {f"settings.unit.{one.kind.unit}{form}"
             for one in SETTINGS if one.kind.unit for form in FORMS}  # fmt: skip
    assert units == _family(CATALOGUES["en"], "settings.unit.")


async def test_settings_are_written_as_a_person_would(client: ClientSession, url: str) -> None:
    for language, said in (
        (
            "en",
            ["10 s", "30 days", "200 characters", "1024 MB", "1000 calls", "2 times", "not set"],
        ),
        ("it", ["10 s", "30 giorni", "200 caratteri", "1024 MB", "sì", "no", "non impostato"]),
    ):
        async with client.get(f"{url}settings", headers={"Accept-Language": language}) as answer:
            html = await answer.text()
        values = re.findall(r"<td role=\"cell\"><code>([^<]*)</code>", html)
        assert len(values) == len(SETTINGS)
        assert not {"", "[]", "{}", "true", "false", "10.0"} & set(values)
        assert set(said) <= set(values)
        assert CATALOGUES[language]["settings.help.retention.days"] in html
        # Only the server writes them.
        assert "settings.help" not in html


def test_every_counted_word_has_both_forms() -> None:
    for key in CATALOGUES["en"]:
        stem, dot, form = key.rpartition(".")
        if dot + form in FORMS:
            assert all(stem + other in CATALOGUES["en"] for other in FORMS), key


def test_no_word_is_missing_or_unused() -> None:
    """A key is used where it stands in quotes; `"state." + x` uses the family `state.`."""
    keys = CATALOGUES["en"].keys()
    text = "\n".join(source.read_text() for source in SOURCES)
    quoted = set(re.findall(r"""["'`]([a-z][a-z0-9_.]*)(?:["'`]|\$\{|\{)""", text))
    families = {found for found in quoted if found.endswith(".")}
    for key in keys:
        stem, dot, form = key.rpartition(".")
        counted = dot + form in FORMS and stem in quoted
        assert key in quoted or counted or any(map(key.startswith, families)), f"unused: {key}"
    asked = set(re.findall(r"""\bt\(\s*["']([^"'$]+)["']\s*[,)]""", text))
    assert asked - keys == set()
    counted_keys = set(re.findall(r"""\bn\(\s*["']([^"'$]+)["']\s*,""", text))
    assert {f"{key}{form}" for key in counted_keys for form in FORMS} - keys == set()


def test_every_state_and_reason_has_its_word() -> None:
    for language in LANGUAGES:
        words = CATALOGUES[language]
        assert {f"state.{state}" for state in State} == _family(words, "state.")
        assert {f"reason.{reason}" for reason in Reason} == _family(words, "reason.")


def _family(words: dict[str, str], stem: str) -> set[str]:
    return {key for key in words if key.startswith(stem)}


def test_an_estimate_has_its_mark_and_first_token_its_name() -> None:
    assert not any("TTFT" in text for words in CATALOGUES.values() for text in words.values())
    page = Pages(Fake())
    one = call(duration=5.0, queue=2.0, load=0.5, prefill=0.5, decode=2.0)
    told = call_row(page.words["en"], one, 0.0)["phases"]
    assert str(told).startswith("Queue ~2.0\u00a0s (estimated), Load 500\u00a0ms, ")


# -- numbers ----------------------------------------------------------------------------------


def test_phases_that_ollama_did_not_report_are_not_made_up() -> None:
    assert phases(call(duration=4.0)) == [("before", 4.0)]
    assert phases(call(duration=4.0, time_to_first_token=1.0)) == [("before", 1.0), ("decode", 3.0)]
    loaded = phases(call(duration=4.0, load=1.0))
    assert loaded == [("load", 1.0), ("unknown", 3.0)]


def test_what_cannot_be_seen_of_a_name_is_written_out() -> None:
    assert visible("a\u2800\xad\u3164b") == "a\\u2800\\u00ad\\u3164b"


def test_few_calls_have_no_percentile() -> None:
    w = Pages(Fake()).words["en"]
    assert percentile(w, None, "p50") == Said(
        "\u2013", "No call so far from which it could be measured."
    )
    few = percentile(w, spread(4, 1, 2, 3, 4), "p50")
    assert isinstance(few, Said)
    assert few.full == "Too few calls for a percentile (4 calls)."
    assert percentile(w, spread(5, 1, 2, 3, 4), "p50") == 1
    assert isinstance(percentile(w, spread(19, 1, 2, 3, 4), "p95"), Said)
    assert isinstance(percentile(w, spread(99, 1, 2, 3, 4), "p99"), Said)


def test_the_share_that_succeeded_and_the_count_that_failed_are_of_the_same_calls() -> None:
    fake = Fake()
    w = Pages(fake).words["en"]
    counts = {"completed": 37, "failed": 6, "timeout": 2, "cancelled": 2, "interrupted": 3}
    fake.ended = [call(state) for state, count in counts.items() for _ in range(count)]
    strip = numbers(w, fake.status(), [], 0.0)
    since = w.since(epoch(fake.ended[0].started_at), 0.0)
    assert (strip["success"], strip["success_note"]) == ("82.2\u00a0%", f"8 of 45 failed · {since}")
    row = summary_row(w, summary(requests=50, **counts))
    assert (row["failed"], row["failed_note"]) == ("8", "17.8\u00a0% of 45")
    assert (row["requests"], row["cancelled"], row["interrupted"]) == ("50", "2", "3")
    assert model_row(w, model("a", stats=summary(**counts)), 0.0)["failed"] == "8 failed"
    fake.ended = [call("cancelled")]
    assert numbers(w, fake.status(), [], 0.0)["success_note"] == ""


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_big_number_says_over_which_span_it_is(language: str) -> None:
    fake = Fake()
    w = Pages(fake).words[language]
    began = datetime(2026, 11, 3, 14, 2).timestamp()
    now = datetime(2026, 11, 23, 9, 0).timestamp()
    fake.began = now - 60
    fake.ended = [call(input_tokens=3)]
    fake.changes = {"first_call_at": iso(began)}
    strip = numbers(w, fake.status(), [], now)
    for key in ("requests", "success", "tokens"):
        assert str(strip[f"{key}_note"]).endswith(f" · {w.since(began, now)}"), key
    assert strip["uptime_note"] == w.since(now - 60, now)
    for key in ("active", "models"):
        assert re.search(r"\b(now|ora|adesso)\b", str(strip[f"{key}_note"])), key
    # Counted before it was kept when the first one came.
    fake.changes = {"first_call_at": None}
    strip = numbers(w, fake.status(), [], now)
    assert str(strip["requests_note"]).endswith(f" · {w.t('since.first')}")


def test_a_call_that_only_names_a_model_shows_what_it_asked() -> None:
    w = Pages(Fake()).words["en"]
    told = {path: call_row(w, call(path=path, model="smollm2"), 0.0)["model"]
            for path in ("/api/show", "/api/chat", "/api/embed")}  # fmt: skip
    assert told == {
        "/api/show": "smollm2 · /api/show",
        "/api/chat": "smollm2",
        "/api/embed": "smollm2",
    }
    long = call_row(w, call(path="/api/show", model="m" * 60), 0.0)["model"]
    assert isinstance(long, Said) and long.shown.endswith("… · /api/show")


def test_a_call_whose_end_nobody_saw_has_no_times() -> None:
    w = Pages(Fake()).words["en"]
    killed = call("interrupted", reason="crash", duration=None)
    assert phases(killed) == []
    row = call_row(w, killed, 0.0)
    why = Said("\u2013", w.t("unknown.end"))
    assert [row[key] for key in ("ended", "total", "first", "tokens")] == [why] * 4
    assert row["phases"] == ""


@pytest.mark.parametrize(("given", "why"), UNTOLD)
def test_a_call_without_a_first_token_says_why(given: dict[str, Any], why: str) -> None:
    w = Pages(Fake()).words["en"]
    assert call_row(w, call(**given), 0.0)["first"] == Said("\u2013", w.t(why))


def test_long_names_are_shortened_in_the_middle() -> None:
    short = name("qwen3-coder-next-80b-a3b-instruct-q4_K_M")
    assert isinstance(short, Said)
    assert short.shown == "qwen3-coder-next-\u2026truct-q4_K_M"
    assert len(short.shown) == 30


@pytest.mark.parametrize(
    ("header", "language"),
    [
        ("", "en"),
        ("it", "it"),
        ("de-DE, it;q=0.5, en;q=0.4", "it"),
        ("it;q=0.3,en-US;q=0.9", "en"),
        ("it;q=0", "en"),
        ("it;q=nonsense,,;q=", "en"),
    ],
)
def test_language_of_a_browser(header: str, language: str) -> None:
    assert preferred(header) == language


@pytest.mark.parametrize(
    ("listen", "host", "expected"),
    [
        ("127.0.0.1:11435", "localhost:9000", "127.0.0.1:11435"),
        ("0.0.0.0:11435", "box.lan:9000", "box.lan:11435"),
        ("[::]:11435", "[::1]:9000", "[::1]:11435"),
        ("0.0.0.0:11435", 'x"; rm -rf ~', "127.0.0.1:11435"),
        (None, "box:11435", "box:11435"),
    ],
)
def test_address_to_copy(listen: str | None, host: str, expected: str) -> None:
    assert address(listen, host) == expected


# -- answers ----------------------------------------------------------------------------------


class Reader(HTMLParser):
    """Collects what the policy would refuse."""

    def __init__(self) -> None:
        super().__init__()
        self.inline: list[str] = []
        self.links: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.inline += [key for key in found if key == "style" or key.startswith("on")]
        if tag == "style" or (tag == "script" and "src" not in found):
            self.inline += [tag] if found.get("type") != "application/json" else []
        self.links += [found[key] or "" for key in ("src", "href", "action") if key in found]


async def test_page_keeps_its_own_policy(client: ClientSession, url: str, fake: Fake) -> None:
    busy(fake)
    async with client.get(url) as answer:
        html = await answer.text()
        assert answer.status == 200
        for key, value in (HEADERS | POLICY).items():
            assert answer.headers[key] == value
        assert answer.headers["Cache-Control"] == "no-store"
    reader = Reader()
    reader.feed(html)
    assert reader.inline == []
    assert [link for link in reader.links if re.match(r"/|\w+:", link)] == []


async def test_hostile_text_stays_text(client: ClientSession, url: str, fake: Fake) -> None:
    hostile = '</script><script>alert(1)</script>{{ 7*7 }}<!--\u202e"\ud800'
    fake.listed = [model(hostile, loaded=True)]
    fake.ended = [call("failed", client=hostile[:-1], model=hostile[:-1], reason="http_status")]
    fake.changes = {"storage_error": hostile}
    async with client.get(url) as answer:
        html = await answer.text()
    assert "<script>alert" not in html
    assert "49" not in re.findall(r"alert\(1\)[^<]{0,40}", html)
    assert "\u202e" not in html.split('id="data"')[0]


@pytest.mark.parametrize(
    ("language", "words"),
    [("en", "0 % 1 failed, 8 cancelled"), ("it", "0 % 1 fallita, 8 annullate")],
)
@pytest.mark.parametrize("view", ["clients", "models"])
async def test_cancelled_calls_stand_beside_those_that_failed(
    client: ClientSession, url: str, fake: Fake, view: str, language: str, words: str
) -> None:
    fake.ended = [call("failed", ago=5), *(call("cancelled", ago=at) for at in range(6, 14))]
    counts = {"requests": 9, "failed": 1, "cancelled": 8, "success_rate": 0.0}
    fake.listed = [model("qwen3:14b", stats=summary(**counts))]
    async with client.get(f"{url}{view}", headers={"Accept-Language": language}) as answer:
        html = await answer.text()
    assert words in " ".join(re.sub("<[^>]*>", "", html).split())


async def test_an_english_cause_says_so_in_an_italian_notice(
    client: ClientSession, url: str, fake: Fake
) -> None:
    fake.changes = {"status": "down", "upstream_error": "<b>refused"}
    fake.changes |= {"storage_error": "disk full"}
    async with client.get(url, headers={"Accept-Language": "it"}) as answer:
        html = await answer.text()
    cause = '<span data-f="cause" lang="en">'
    assert re.search(rf">Ollama non risponde su [^<]+: </span>{cause}&lt;b&gt;refused</span>", html)
    assert re.search(rf"non vengono salvate: </span>{cause}disk full</span><[^>]+>\.</span>", html)
    fake.changes = {"status": "down"}
    async with client.get(url, headers={"Accept-Language": "it"}) as answer:
        html = await answer.text()
    assert f": causa sconosciuta.</span>{cause}</span>" in html


async def test_no_body_in_the_page(client: ClientSession, url: str, fake: Fake) -> None:
    texts: dict[str, Any] = {"prompt": "SECRET", "response": "SECRET", "options": {"x": "SECRET"}}
    fake.ended = [call(**texts)]
    begun = call("running", **texts)
    fake.running[begun.id] = begun
    async with client.get(url) as answer:
        assert "SECRET" not in await answer.text()


async def test_a_store_that_fails_leaves_the_page(
    client: ClientSession, url: str, fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def broken(limit: int) -> list[Any]:
        raise OSError("disk")

    monkeypatch.setattr(fake, "recent", broken)
    async with client.get(url) as answer:
        html = await answer.text()
    assert answer.status == 200
    assert re.search(r'id="recent-unread">Earlier calls could not be read', html)


async def test_a_time_that_ollama_garbled_leaves_the_page(
    client: ClientSession, url: str, fake: Fake
) -> None:
    fake.listed = [
        model("a", loaded=True, expires_at="soon"),
        model("b", loaded=True, expires_at="0001-01-01T00:00:00Z"),
        model("c", loaded=True, expires_at="2318-03-04T10:00:00.123456789+01:00"),
        model("d", loaded=True, expires_at="9999-12-31T23:59:59-12:00"),
    ]
    fake.ended = [call()]
    async with client.get(url) as answer:
        assert answer.status == 200
        assert "stays loaded" in await answer.text()


@pytest.mark.parametrize("view", VIEWS)
async def test_a_first_view_takes_less_than_100_kb(view: str, url: str, fake: Fake) -> None:
    """As it goes over the line; the page of charts has uPlot besides, 23 kB."""
    fake.ended = [call(ago=60.0 + n, duration=2.0) for n in range(60)]
    packed = {"Accept-Encoding": "gzip"}
    async with ClientSession(auto_decompress=False, headers=packed) as client:
        async with client.get(url + view) as answer:
            page = await answer.read()
        size = len(page)
        for path in set(re.findall(r'"(static/[^"]+)"', gzip.decompress(page).decode())):
            async with client.get(url + path) as answer:
                size += len(await answer.read())
    assert size < 100_000


async def test_files_are_kept_for_ever_under_their_hash(client: ClientSession, url: str) -> None:
    async with client.get(url) as answer:
        html = await answer.text()
    paths = set(re.findall(r'"(static/[^"]+)"', html))
    assert len(paths) > 15
    for path in paths:
        async with client.get(url + path) as answer:
            assert answer.status == 200, path
            assert "immutable" in answer.headers["Cache-Control"]
            assert answer.headers["Content-Encoding"] == "gzip"
            assert answer.headers["Content-Security-Policy"].startswith("default-src 'none'")
            assert answer.content_type in ("text/javascript", "text/css", "image/svg+xml")
            tag = answer.headers["ETag"]
        async with client.get(url + path, headers={"If-None-Match": tag}) as answer:
            assert answer.status == 304
    folder = next(iter(paths)).rsplit("/", 1)[0]
    for wrong in ("../i18n/en.json", "%2e%2e%2fi18n%2fen.json", "en.json", "", "%00"):
        async with client.get(f"{url}{folder}/{wrong}") as answer:
            assert answer.status == 404, wrong
    async with client.get(f"{url}favicon.svg") as answer:
        assert answer.content_type == "image/svg+xml"


async def test_choices_are_kept_below_the_prefix(client: ClientSession, url: str) -> None:
    chosen = {"params": {"language": "it", "call": "x y"}, "allow_redirects": False}
    async with client.get(url, **chosen) as answer:  # type: ignore[arg-type]
        assert answer.status == 303
        assert answer.headers["Location"] == "./?call=x+y"
        assert "Path" not in answer.headers["Set-Cookie"]
        assert "SameSite=Strict" in answer.headers["Set-Cookie"]
    async with client.get(url, headers={"Accept-Language": "en"}) as answer:
        assert '<html lang="it" data-theme="system">' in await answer.text()
    async with client.get(url, params={"theme": "dark"}) as answer:
        assert '<html lang="it" data-theme="dark">' in await answer.text()
    async with client.get(url, params={"theme": "hot pink", "language": "xx"}) as answer:
        assert '<html lang="it" data-theme="dark">' in await answer.text()


async def test_columns_are_kept_and_what_are_none_is_ignored(
    client: ClientSession, url: str, fake: Fake
) -> None:
    fake.ended = [call()]

    async def shown(query: str) -> list[str]:
        async with client.get(f"{url}requests?{query}") as answer:
            assert answer.status == 200
            head = (await answer.text()).partition("<tbody")[0]
            return re.findall(r'scope="col" class="c-(\w+)', head)

    chosen = "state=completed&columns=path&columns=evil%22%3B&columns=wait"
    assert await shown(chosen) == ["client", "wait", "path"]
    async with client.get(f"{url}requests?{chosen}", allow_redirects=False) as answer:
        assert answer.headers["Location"] == "requests?state=completed"
        assert answer.headers["Set-Cookie"].startswith("ollama_proxy_columns=wait.path; Max-Age=")
    assert await shown("") == ["client", "wait", "path"]
    # The form's first one is always there, so that none besides can be chosen.
    assert await shown("columns=client") == ["client"]
    async with client.get(f"{url}requests") as answer:
        assert '<input type="hidden" name="columns" value="client">' in await answer.text()
    usual = await shown("columns=usual")
    assert "phases" in usual and "path" not in usual


async def test_filters_that_came_with_a_link_are_said_in_words(
    client: ClientSession, url: str, fake: Fake
) -> None:
    fake.ended = [call()]
    noon = datetime.now().replace(hour=12, minute=0, second=0, microsecond=0).timestamp()
    asked = f"since={noon:.0f}&until={noon + 60:.0f}&finding={first_id(noon)}.0&reason=operator"
    async with client.get(f"{url}requests?{asked}") as answer:
        html = await answer.text()
    chips = re.findall(r"<li><bdi>([^<]*)</bdi>", html)
    assert chips == ["Before: 12:01:00", "Finding: 12:00:00", "Reason: by hand"]
    assert re.search(r'<option value="[0-9]+" selected>since 12:00:00</option>', html)


async def test_what_ran_beside_a_call_is_titled_as_that(
    client: ClientSession, url: str, fake: Fake
) -> None:
    fake.ended = [call()]
    noon = datetime.now().replace(hour=12, minute=0, second=0, microsecond=0).timestamp()
    now, then = f"{url}requests?ended_after={noon:.3f}", f"&until={noon + 60:.3f}&sort=duration"
    for asked, language, said in (
        (now + then, "en", "What ran between 12:00:00 and 12:01:00."),
        (now + then, "it", "Chiamate in corso nel periodo 12:00:00 \u2013 12:01:00."),
        (now, "en", "What has run since 12:00:00."),
        (now, "it", "Chiamate in corso dalle 12:00:00 in poi."),
    ):
        async with client.get(asked, headers={"Accept-Language": language}) as answer:
            assert said in await answer.text()


async def test_a_client_without_process_says_that_it_was_not_found(
    client: ClientSession, url: str, fake: Fake
) -> None:
    callers = ("127.0.0.1", "127.0.0.1", "::1", "backtest.py")
    fake.ended = [call(client=client) for client in callers]
    for language, row, said in (
        ("en", "process not found in time", "2 clients are listed by user agent or address"),
        ("it", "processo non trovato in tempo", "2 client sono elencati per user agent"),
    ):
        headers = {"Accept-Language": language}
        async with client.get(f"{url}clients", headers=headers) as answer:
            html = await answer.text()
        assert html.count(f'<span class="note more">{row}</span>') == 2
        assert said in html


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"kind": "prompt_cut"}, "prompt cut · signals.py · qwen3:14b"),
        ({"kind": "waited", "other": "night.py"}, "waited · signals.py → night.py · qwen3:14b"),
        ({"kind": "runner_busy", "client": None}, "runner busy · an unknown client · qwen3:14b"),
        ({"kind": "slow_decode", "other": "signals.py"}, "slow · signals.py · qwen3:14b"),
        ({"kind": "outage", "client": None, "model": None}, "Ollama down"),
    ],
)
async def test_a_list_of_a_findings_calls_says_which(
    fields: dict[str, Any], said: str, client: ClientSession, url: str, fake: Fake
) -> None:
    fake.ended = [call()]
    fake.found = [finding(**fields)]
    async with client.get(f"{url}requests?finding={fake.found[0].id}") as answer:
        html = await answer.text()
    assert re.findall(r"<li><bdi>([^<]*)</bdi>", html) == [f"Finding: {said}"]


@pytest.mark.parametrize("language", LANGUAGES)
@pytest.mark.parametrize("kind", FINDINGS)
def test_each_kind_of_finding_has_a_few_words(kind: str, language: str) -> None:
    assert "{" not in short(finding(kind), WORDS[language])


async def test_first_run(client: ClientSession, url: str, fake: Fake) -> None:
    async with client.get(url) as answer:
        html = await answer.text()
    assert '<section id="first" class="block first" aria-labelledby="first-title">' in html
    assert "OLLAMA_HOST=http://127.0.0.1:11435 your-program" in html
    fake.ended = [call()]
    async with client.get(url) as answer:
        assert 'aria-labelledby="first-title" hidden>' in await answer.text()


def test_modules_are_small() -> None:
    for module in (DASHBOARD / "static").glob("*.js"):
        assert len(module.read_text().splitlines()) < 200, module.name


def test_calls_of_other_days_have_a_date() -> None:
    w = Pages(Fake()).words["it"]
    now = datetime(2026, 11, 23, 14, 2, 11)
    assert w.moment(now.timestamp(), now.timestamp()) == "14:02:11"
    yesterday = now - timedelta(days=1)
    assert w.moment(yesterday.timestamp(), now.timestamp()) == "22 nov, 14:02"
    assert w.ago(yesterday.timestamp(), now.timestamp()) == "il giorno 22 nov, 14:02"


@pytest.mark.parametrize(
    ("language", "since", "ago"),
    [
        ("en", "since 8 Mar, 14:02", "on 8 Mar, 14:02"),
        ("it", "dal giorno 8 mar, 14:02", "il giorno 8 mar, 14:02"),  # not "dal 8", "il 8"
    ],
)
def test_a_day_needs_no_other_word_before_a_vowel(language: str, since: str, ago: str) -> None:
    w = Pages(Fake()).words[language]
    now = datetime(2026, 3, 10, 9, 0).timestamp()
    then = datetime(2026, 3, 8, 14, 2, 11).timestamp()
    assert w.since(then, now) == since
    assert w.ago(then, now) == ago


def test_a_model_that_stays_till_tomorrow_says_the_day() -> None:
    w = Pages(Fake()).words["en"]
    now = datetime(2026, 11, 23, 14, 2, 11)
    told = {}
    for hours in (2, 24):
        ends = iso((now + timedelta(hours=hours)).timestamp())
        row = model_row(w, model("a", loaded=True, expires_at=ends), now.timestamp())
        told[hours] = row["expires"]
    assert told == {2: "unloads at 16:02", 24: "unloads on 24 Nov, 14:02"}
