"""The admin behind a token, from outside: the whole program, both of its mounts, real sockets."""

from __future__ import annotations

import asyncio
import itertools
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http.cookies import SimpleCookie
from pathlib import Path
from typing import Any
from urllib.parse import quote, urljoin, urlsplit

import aiohttp
import pytest
import pytest_asyncio
from aiohttp import ClientSession, DummyCookieJar, TCPConnector
from aiohttp.test_utils import TestServer
from yarl import URL

from ollama_proxy.admin.attempts import FIRST_WAIT, FREE, LONGEST_WAIT, MOST, Attempts
from ollama_proxy.admin.gate import Gate
from ollama_proxy.admin.login import FORM, Login
from ollama_proxy.admin.security import refusal
from ollama_proxy.admin.serving import Part, admin_app
from ollama_proxy.admin.sessions import SESSION_SECONDS, Sessions
from ollama_proxy.admin.site import Site
from ollama_proxy.app import App
from ollama_proxy.config import load
from tests.admin.support import PATIENCE, Clock, World
from tests.admin.test_security import request_of
from tests.harness import Connection, ScriptedUpstream
from tests.processes import run, serving

TOKEN = "correct-horse_battery~staple!"
WRONG = "correct-horse_battery~staple?"
BEARER = {"Authorization": f"Bearer {TOKEN}"}
ANSWERS = [
    *("api/status", "api/models", "api/stats", "api/clients", "api/marks", "api/insights"),
    *("api/machine", "api/privacy", "api/around", "api/active", "api/requests", "api/estimate"),
    *("api/requests.csv", "api/requests.jsonl", "api/requests/1", "api/requests/1/replay?as=curl"),
    *("api/events", "api/nowhere"),
]


@asynccontextmanager
async def program(folder: Path, token: str = TOKEN) -> AsyncIterator[dict[str, str]]:
    """The whole program in this process; yields where each mount's root is, by its path."""
    environ = {"OLLAMA_PROXY_ADMIN_TOKEN": token, "OLLAMA_PROXY_CLIENTS_PROCESSES": "false"}
    flags = {"listen": "127.0.0.1:0", "admin_listen": "127.0.0.1:0", "data_dir": str(folder)}
    app = App(load({**flags, "upstream": "http://127.0.0.1:9"}, environ))
    await app.start()
    try:
        yield {
            "": f"http://{app.admin_address}/",
            "/admin": f"http://127.0.0.1:{app.port}/admin/",
        }
    finally:
        await app.stop()


@pytest.fixture(params=["", "/admin"])
def path(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest_asyncio.fixture
async def root(tmp_path: Path, path: str) -> AsyncIterator[str]:
    async with program(tmp_path) as roots:
        yield roots[path]


class Answer:
    def __init__(self, response: aiohttp.ClientResponse, text: str) -> None:
        self.status, self.headers, self.text = response.status, response.headers, text
        self.location = self.headers.get("Location", "")

    @property
    def cookie(self) -> Any:
        (morsel,) = SimpleCookie(self.headers["Set-Cookie"]).values()
        return morsel


async def asked(
    url: str | URL, method: str = "GET", local: str = "127.0.0.1", **how: Any
) -> Answer:
    """One request over a connection of its own; of an event stream the first bytes."""
    timeout = aiohttp.ClientTimeout(PATIENCE)
    connector = TCPConnector(local_addr=(local, 0))
    async with (
        ClientSession(connector=connector, cookie_jar=DummyCookieJar(), timeout=timeout) as session,
        session.request(method, url, allow_redirects=False, **how) as response,
    ):
        if response.content_type == "text/event-stream":
            return Answer(response, (await response.content.readany()).decode())
        return Answer(response, await response.text())


async def log_in(root: str, token: str = TOKEN, to: str = "", **how: Any) -> Answer:
    return await asked(root + "login", "POST", data={"token": token, "to": to}, **how)


def with_cookie(answer: Answer) -> dict[str, str]:
    return {"Cookie": f"{answer.cookie.key}={answer.cookie.value}"}


# -- what is asked ----------------------------------------------------------------------------


async def test_no_answer_without_the_token(root: str) -> None:
    wanted = [(answer, "GET") for answer in ANSWERS]
    wanted += [("api/status", "HEAD"), ("api/requests/1/prompt_cut", "POST"), ("logins", "POST")]
    wanted += [("api/status", "OPTIONS"), ("api/status", "DELETE"), ("", "POST")]
    for what, method in wanted:
        answer = await asked(root + what, method)
        assert answer.status == 401, what
        assert answer.headers["WWW-Authenticate"] == 'Bearer realm="ollama_proxy"'
        assert answer.headers["Cache-Control"] == "no-store"
        if method != "HEAD":
            assert answer.text.startswith('{"error":"a token is needed: send the header ')
            assert "admin.token" in answer.text and "/login" in answer.text


async def test_the_token_opens_all(root: str) -> None:
    for what in ("", *ANSWERS):
        assert (await asked(root + what, headers=BEARER)).status not in (303, 401, 403, 429), what
    assert (await asked(root + "api/status", headers=BEARER)).status == 200
    events = await asked(root + "api/events", headers=BEARER)
    assert "event: snapshot" in events.text
    lower = {"authorization": f"bearer  {TOKEN}"}
    assert (await asked(root + "api/status", headers=lower)).status == 200
    cut = await asked(root + "api/requests/1/prompt_cut", "POST", headers=BEARER)
    assert cut.status == 404


@pytest.mark.parametrize(
    "headers",
    [
        [("Authorization", f"Basic {TOKEN}")],
        [("Authorization", TOKEN)],
        [("Authorization", "Bearer")],
        [("Authorization", f"Bearer {WRONG}")],
        [("Authorization", f"Bearer {TOKEN}x")],
        [("Authorization", f"Bearer {TOKEN[:-1]}")],
        [("Authorization", "Bearer \udcff")],
        [("Authorization", f"Bearer {TOKEN}"), ("Authorization", f"Bearer {TOKEN}")],
        [("X-API-Key", TOKEN)],
        [("Cookie", f"ollama_proxy_session={TOKEN}")],
    ],
)
async def test_what_is_not_the_token(tmp_path: Path, headers: list[tuple[str, str]]) -> None:
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers)
    request = f"GET /api/status?token={TOKEN} HTTP/1.1\r\nHost: localhost\r\n{lines}\r\n"
    async with program(tmp_path) as roots:
        reader, writer = await asyncio.open_connection("127.0.0.1", urlsplit(roots[""]).port)
        writer.write(request.encode("utf-8", "surrogateescape"))
        async with asyncio.timeout(PATIENCE):
            assert (await reader.readline()).split()[1] == b"401"
        writer.close()


async def test_what_stays_open(root: str) -> None:
    assert (await asked(root + "healthz")).status == 200
    page = await asked(root + "login")
    assert page.status == 200
    style = re.search(r'href="(static/\w+/page\.css)"', page.text)
    assert style is not None
    assert (await asked(root + style[1])).status == 200
    for beside in ("static/", "static/x/../../api/status", "static/%2e%2e/api/status", "login/"):
        url = URL(root + beside, encoded=True)
        assert (await asked(url)).status in (303, 404), beside


async def test_without_a_token_there_is_no_login(tmp_path: Path, path: str) -> None:
    async with program(tmp_path, token="") as roots:
        assert (await asked(roots[path] + "login")).status == 404
        assert (await asked(roots[path] + "api/status")).status == 200
        assert 'action="logout"' not in (await asked(roots[path])).text


# -- the login --------------------------------------------------------------------------------


async def test_a_page_leads_to_the_login_and_back(root: str, path: str) -> None:
    sent = await asked(root + "?call=a%26b&x=1")
    assert (sent.status, sent.headers["Cache-Control"]) == (303, "no-store")
    assert sent.location == f"{path}/login?to=%3Fcall%3Da%2526b%26x%3D1"
    form = await asked(urljoin(root, sent.location))
    (to,) = re.findall(r'name="to" value="([^"]*)"', form.text)
    assert to == "?call=a%26b&amp;x=1"
    back = await log_in(root, to=to.replace("&amp;", "&"))
    assert (back.status, back.location) == (303, f"{path}/?call=a%26b&x=1")
    for what in ("", "?call=a", "api/status", "api/events"):
        assert (await asked(root + what, headers=with_cookie(back))).status == 200
    again = await asked(root + "login?to=%3Fcall%3Db", headers=with_cookie(back))
    assert (again.status, again.location) == (303, f"{path}/?call=b")


async def test_the_cookie_is_for_this_mount_alone_and_not_the_token(root: str, path: str) -> None:
    cookie = (await log_in(root)).cookie
    assert cookie["path"] == (path or "/")
    assert (cookie["httponly"], cookie["samesite"], cookie["secure"]) == (True, "Strict", "")
    assert int(cookie["max-age"]) == 30 * 86400
    assert cookie["domain"] == ""
    assert TOKEN not in str(cookie)


@pytest.mark.parametrize(
    "to",
    [
        *("//evil.example/", "/\\evil.example", "\\\\evil.example", "/\t/evil.example", "\t/x.y"),
        *("https://evil.example/", "javascript:alert(1)", "\r\nSet-Cookie: a=b", " //evil.example"),
        *("?" + "x" * 5000, "/", "..//evil.example", "?a\r\nX: y", "\u2028/x.y", "@evil.example"),
    ],
)
async def test_the_way_back_stays_here(root: str, path: str, to: str) -> None:
    entered = await log_in(root, to=to)
    again = await asked(f"{root}login?to={quote(to)}", headers=with_cookie(entered))
    for location in (entered.location, again.location):
        assert re.fullmatch(rf"{path}/(?![/\\])[!-~]*", location), location
        assert urlsplit(urljoin(root, location)).netloc == urlsplit(root).netloc


async def test_a_wrong_token_is_said_in_the_readers_language(root: str) -> None:
    refused = await log_in(root, WRONG, to="?call=a", headers={"Accept-Language": "it"})
    assert refused.status == 401
    assert "Set-Cookie" not in refused.headers
    assert '<html lang="it"' in refused.text
    assert "Non è il token giusto." in refused.text
    assert 'name="to" value="?call=a"' in refused.text
    assert WRONG not in refused.text
    assert (await log_in(root, f" {TOKEN}\n")).status == 303


async def test_a_choice_of_language_keeps_the_way_back(root: str, path: str) -> None:
    page = (await asked(root + "login?to=%3Fcall%3Da")).text
    (link,) = re.findall(r'href="(\?[^"]*language=it)"', page)
    chosen = await asked(f"{root}login{link.replace('&amp;', '&')}")
    assert chosen.status == 303
    assert urljoin(f"{path}/login", chosen.location) in (
        f"{path}/login?to=%3Fcall%3Da",
        f"{path}/login?to=?call%3Da",
    )
    assert chosen.headers["Set-Cookie"].startswith("ollama_proxy_language=it;")


async def test_what_is_no_form(root: str) -> None:
    assert (await asked(root + "login", "POST", json={"token": TOKEN})).status == 415
    form = {"Content-Type": FORM}
    for body, status in ((b"token=" + b"x" * 20_000, 413), (b"\xff=\xff", 400), (b"", 401)):
        assert (await asked(root + "login", "POST", data=body, headers=form)).status == status
    many = "&".join(f"a{number}=b" for number in range(100))
    assert (await asked(root + "login", "POST", data=many, headers=form)).status == 400


# -- sessions ---------------------------------------------------------------------------------


async def test_a_session_outlives_a_restart_and_ends_with_the_token(tmp_path: Path) -> None:
    async with program(tmp_path) as roots:
        cookie = with_cookie(await log_in(roots[""]))
        assert (await asked(roots[""] + "api/status", headers=cookie)).status == 200
        assert (await asked(roots["/admin"] + "api/status", headers=cookie)).status == 401
        renamed = {"Cookie": cookie["Cookie"].replace("=", "x=", 1)}
        assert (await asked(roots[""] + "api/status", headers=renamed)).status == 401
    async with program(tmp_path) as roots:
        assert (await asked(roots[""] + "api/status", headers=cookie)).status == 200
    async with program(tmp_path, token=WRONG) as roots:
        assert (await asked(roots[""] + "api/status", headers=cookie)).status == 401


def test_a_session_ends_after_thirty_days_and_cannot_be_made_longer() -> None:
    sessions = Sessions(TOKEN)
    value = sessions.opened("", now=1000.4)
    assert sessions.holds("", value, 1000 + SESSION_SECONDS - 1)
    assert not sessions.holds("", value, 1000 + SESSION_SECONDS)
    end, _, seal = value.partition(".")
    for wrong in (
        f"{int(end) + 1}.{seal}",
        f"{end}.{seal[:-1]}",
        f"{end}.",
        end,
        "",
        ".",
        "è.\udcff",
    ):
        assert not sessions.holds("", wrong, 1000), wrong
    assert not sessions.holds("/admin", value, 1000)


async def test_who_logs_out_is_asked_again(root: str, path: str) -> None:
    entered = await log_in(root)
    assert 'action="logout"' in (await asked(root, headers=with_cookie(entered))).text
    left = await asked(root + "logout", "POST", headers=with_cookie(entered))
    assert (left.status, left.location) == (303, f"{path}/login")
    assert (left.cookie.key, left.cookie.value) == (entered.cookie.key, "")
    assert (left.cookie["max-age"], left.cookie["path"]) == ("0", path or "/")
    assert (await asked(root + "logout", headers=with_cookie(entered))).status == 405


# -- guessing ---------------------------------------------------------------------------------


@asynccontextmanager
async def guarded(clock: Clock) -> AsyncIterator[str]:
    """The admin alone, whose attempts go by `clock`."""
    world = World()
    gate = Gate(Sessions(TOKEN), Attempts(clock), "", clock)
    parts: list[Part] = [world.api, Login(gate, Site())]
    async with TestServer(admin_app(parts, gate.asked)) as server:
        yield str(server.make_url("/"))
        world.api.events.close()


_guesses = itertools.count()


async def guess(root: str, token: str | None = None, **how: Any) -> Answer:
    """With another wrong token each time, if none is given."""
    token = f"{WRONG}{next(_guesses)}" if token is None else token
    return await asked(root + "api/status", headers={"Authorization": f"Bearer {token}"}, **how)


async def test_a_guesser_waits_longer_and_longer_and_nobody_else_does() -> None:
    clock = Clock()
    async with guarded(clock) as root:
        session = with_cookie(await log_in(root))
        for _ in range(FREE):
            assert (await guess(root)).status == 401
        for wait in (FIRST_WAIT, 2 * FIRST_WAIT, 4 * FIRST_WAIT, 8 * FIRST_WAIT, LONGEST_WAIT):
            for token in (WRONG, TOKEN):  # else the answer to a right one would tell it
                slowed = await guess(root, token)
                assert (slowed.status, slowed.headers["Retry-After"]) == (429, f"{wait:.0f}")
                assert f"try again in {wait:.0f} s" in slowed.text
            form = await log_in(root)
            assert (form.status, form.headers["Retry-After"]) == (429, f"{wait:.0f}")
            assert f"Try again in {wait:.0f} s." in form.text
            assert (await asked(root + "api/status", headers=session)).status == 200
            assert (await guess(root, TOKEN, local="127.0.0.2")).status == 200
            clock.now += wait - 0.5
            assert (await guess(root, TOKEN)).status == 429
            clock.now += 0.5
            assert (await guess(root, TOKEN)).status == 200
            assert (await guess(root)).status == 401
        clock.now += 700
        for _ in range(FREE):
            assert (await log_in(root, f"{WRONG}{next(_guesses)}")).status == 401
        assert (await log_in(root)).status == 429


async def test_a_program_with_an_old_token_keeps_nobody_out() -> None:
    async with guarded(Clock()) as root:
        for _ in range(3 * FREE):
            assert (await guess(root, WRONG)).status == 401
        assert (await guess(root, TOKEN)).status == 200
        assert (await log_in(root)).status == 303


async def test_one_cookie_is_found_among_many(root: str) -> None:
    session = with_cookie(await log_in(root))["Cookie"]
    name = session.partition("=")[0]
    for cookies, status in (
        (f"a=b; {session}; c=d", 200),
        (f"{name}=x;{session}", 200),
        (f"x{session}", 401),
        (f"a={session}", 401),
        (f"{session}; {name}=x", 401),
    ):
        got = await asked(root + "api/status", headers={"Cookie": cookies})
        assert got.status == status, cookies


async def test_being_asked_is_no_failure(root: str) -> None:
    for _ in range(FREE + 2):
        await asked(root + "api/status")
        await asked(root)
        await asked(root + "api/status", headers={"Cookie": "ollama_proxy_1=2"})
    assert (await guess(root, TOKEN)).status == 200


def test_guessers_of_many_addresses_take_bounded_memory() -> None:
    clock = Clock()
    attempts = Attempts(clock)
    first = ("10.0.0.1", 5)
    for _ in range(FREE):
        attempts.failed(first)
    for number in range(MOST - 1):
        attempts.failed((f"2001:db8:{number:x}::1", 5, 0, 0))
    assert attempts.wait(first) > 0
    attempts.failed(("2001:db8:ffff::1", 5, 0, 0))
    assert attempts.wait(first) == 0


def test_a_household_is_one_address_however_it_is_written() -> None:
    attempts = Attempts(Clock())
    for number in range(FREE):
        attempts.failed((f"2001:db8::{number:x}", 5, 0, 0))
        attempts.failed(("::ffff:10.0.0.1", number, 0, 0))
    assert attempts.wait(("2001:db8::ffff", 9, 0, 0)) > 0
    assert attempts.wait(("2001:db8:0:1::", 9, 0, 0)) == 0
    assert attempts.wait(("10.0.0.1", 9)) > 0
    assert attempts.wait(None) == 0


# -- from elsewhere ---------------------------------------------------------------------------


async def test_no_page_of_another_site_changes_anything(root: str) -> None:
    session = with_cookie(await log_in(root))
    own = root.removesuffix("/").removesuffix("/admin")
    for what in ("login", "logout", "api/requests/1/prompt_cut"):
        for hostile in (
            {"Origin": "https://evil.example"},
            {"Origin": "null"},
            {"Origin": own.replace("127.0.0.1", "localhost")},
            {"Sec-Fetch-Site": "cross-site", "Sec-Fetch-Mode": "navigate"},
            {"Sec-Fetch-Site": "same-site", "Sec-Fetch-Mode": "navigate"},
            {"Sec-Fetch-Site": "same-site", "Origin": own},
        ):
            headers = {**BEARER, **session, **hostile}
            answer = await asked(root + what, "POST", data={"token": TOKEN}, headers=headers)
            assert (answer.status, "Set-Cookie" in answer.headers) == (403, False), (what, hostile)
    for honest in ({"Origin": own, "Sec-Fetch-Site": "same-origin"}, {"Sec-Fetch-Site": "none"}):
        assert (await log_in(root, headers=honest)).status == 303
        headers = {**session, **honest}
        cut = await asked(root + "api/requests/1/prompt_cut", "POST", headers=headers)
        assert cut.status == 404
    stream = await asked(root + "api/events", headers={**BEARER, "Origin": "https://evil.example"})
    assert stream.status == 403


async def test_any_name_of_the_machine_will_do_but_opens_nothing(root: str) -> None:
    for host in ("gpu-box.example:8080", "gpu_box", "8.8.8.8", "[2001:db8::1]:80"):
        assert (await asked(root + "api/status", headers={"Host": host})).status == 401
        headers = {"Host": host, "Origin": f"http://{host}", **BEARER}
        assert (await asked(root + "api/events", headers=headers)).status == 200
        assert (await asked(root + "login", headers={"Host": host})).status == 200
    for host in ("user@evil.example", "a b", "a/b", "a:b", "è"):
        assert (await asked(root + "login", headers={"Host": host})).status in (400, 403)


def test_other_machines_may_come() -> None:
    request = request_of(("192.168.1.9", 5))
    assert refusal(request, guarded=True) is None
    assert "set admin.token" in str(refusal(request))


async def test_behind_a_server_that_speaks_tls(root: str) -> None:
    front = {"Host": "gpu.example", "X-Forwarded-Proto": "https"}
    entered = await log_in(root, headers={**front, "Origin": "https://gpu.example"})
    assert entered.cookie["secure"] is True
    for origin in ("http://gpu.example", "https://gpu.example:8443"):
        assert (await log_in(root, headers={**front, "Origin": origin})).status == 403


# -- the commands -----------------------------------------------------------------------------


async def test_the_command_says_the_token_and_nobody_shows_it(tmp_path: Path) -> None:
    environ = {"OLLAMA_PROXY_ADMIN_TOKEN": TOKEN}
    config = tmp_path / "proxy.toml"
    config.write_text(f'[admin]\ntoken = "{TOKEN}"\n')
    settings = ("--config", str(config))
    async with serving(tmp_path / "data", "http://127.0.0.1:9", *settings) as served:
        flags = ["--listen", f"127.0.0.1:{served.port}", "--admin-listen", "off"]
        code, out, err = await run("privacy", *flags, **environ)
        assert (code, err) == (0, "")
        assert f"the proxy at 127.0.0.1:{served.port}" in out
        assert "pages for   whoever has admin.token" in out
        asked_wrong = await run("privacy", *flags, OLLAMA_PROXY_ADMIN_TOKEN=WRONG)
        asked_without = await run("privacy", *flags)
        for refused in (asked_wrong, asked_without):
            assert (refused[0], refused[1], refused[2].count("\n")) == (2, "", 1)
            assert "asks for its token: set admin.token" in refused[2]
            assert WRONG not in refused[2]
        root = f"http://127.0.0.1:{served.port}/admin/"
        told = [out, served.welcome]
        for what in ("", *(answer for answer in ANSWERS if answer != "api/nowhere")):
            told.append((await asked(root + what, headers=BEARER)).text)
        json_too = await run("privacy", "--json", *flags, **environ)
        assert not [text for text in (*told, *json_too[1:]) if TOKEN in text]
        assert "admin.token" in served.welcome
        for _ in range(FREE):
            await guess(root)
        slowed = await run("privacy", *flags, **environ)
        assert (slowed[0], slowed[1], slowed[2].count("\n")) == (2, "", 1)
        assert "too many wrong tokens from here: try again in " in slowed[2]


async def test_the_token_is_said_to_no_other_program() -> None:
    heard: list[bytes] = []
    answers = [
        b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer\r\n",
        b'HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic realm="ollama_proxy"\r\n',
        b"HTTP/1.1 200 OK\r\n",
        b"HTTP/1.1 404 Not Found\r\n",
    ]

    async def stranger(client: Connection) -> None:
        heard.append(await client.read_head())
        await client.send(
            answers[len(heard) - 1] + b"Content-Length: 2\r\nConnection: close\r\n\r\n{}"
        )

    for _ in answers:
        async with ScriptedUpstream(stranger) as other:
            flags = ["--listen", f"127.0.0.1:{other.port}", "--admin-listen", "off"]
            code, out, _ = await run("privacy", *flags, OLLAMA_PROXY_ADMIN_TOKEN=TOKEN)
            assert code == 0
            assert "no proxy runs" in out
    assert len(heard) == len(answers)
    assert TOKEN.encode() not in b"".join(heard)


async def test_a_token_on_the_command_line_is_refused_and_not_repeated() -> None:
    for flag in (["--admin-token", TOKEN], [f"--admin-token={TOKEN}"]):
        code, out, err = await run("serve", *flag)
        assert (code, out) == (2, "")
        assert "OLLAMA_PROXY_ADMIN_TOKEN" in err
        assert TOKEN not in err
