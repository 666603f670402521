"""Each notifier against a real receiver: what arrives, and how failure and a hang are told."""

from __future__ import annotations

import asyncio
import email
import email.policy
import hashlib
import hmac
import importlib.util
import json
import logging
import os
import sys
from pathlib import Path
from typing import Any

import pytest

from ollama_proxy.alerts import config
from ollama_proxy.alerts.config import Apprise, Command, Mail, Webhook
from ollama_proxy.alerts.delivering import Delivery
from ollama_proxy.alerts.message import Message, Notifier, NotifyError
from ollama_proxy.alerts.notifiers import notifier
from ollama_proxy.alerts.notifiers.by_apprise import ByApprise
from ollama_proxy.alerts.notifiers.by_command import ByCommand
from ollama_proxy.alerts.notifiers.by_mail import ByMail
from ollama_proxy.alerts.notifiers.by_webhook import ByWebhook
from ollama_proxy.records import Flip
from tests.alerts.receivers import hooks, mails, until

SECRET = "hunter2-hunter2"
HOSTILE = "<!channel> @everyone *b* [x](http://e) & \\u202e"
FLIP = Flip(
    id="01M0000000000000000000000A",
    at="2026-11-28T12:00:00.000Z",
    rule="model_on_cpu",
    kind="model_on_cpu",
    subject="m",
    old="ok",
    new="firing",
    value=75.0,
)
MESSAGE = Message(FLIP, "Alert: model_on_cpu", f"75 % of {HOSTILE}.")


async def error_of(one: Notifier) -> NotifyError:
    with pytest.raises(NotifyError) as caught:
        await one.send(MESSAGE)
    text = str(caught.value)
    assert len(text.splitlines()) == 1
    assert SECRET not in text
    return caught.value


# -- webhook ------------------------------------------------------------------------------------


async def test_a_webhook_posts_json_that_is_signed() -> None:
    async with hooks() as server:
        told = Webhook(url=f"{server.url}/in?a=b", secret=SECRET, token="t0ken")
        await ByWebhook(told, now=lambda: 1_790_000_000.5).send(MESSAGE)
    (head,), (body,) = server.heads, server.bodies
    assert server.targets == ["/in?a=b"]
    assert json.loads(body) == MESSAGE.facts()
    assert json.loads(body)["new"] == "firing"
    assert (head["authorization"], head["content-type"]) == ("Bearer t0ken", "application/json")
    at = head["x-ollama-proxy-timestamp"]
    expected = hmac.new(SECRET.encode(), at.encode() + b"." + body, hashlib.sha256).hexdigest()
    assert (at, head["x-ollama-proxy-signature"]) == ("1790000000", f"sha256={expected}")


async def test_without_a_secret_there_is_no_signature() -> None:
    async with hooks() as server:
        await ByWebhook(Webhook(url=server.url)).send(MESSAGE)
    assert not [name for name in server.heads[0] if name.startswith("x-ollama")]


@pytest.mark.parametrize(
    ("status", "again"), [(500, True), (429, True), (404, False), (401, False), (302, False)]
)
async def test_a_refusal_is_told_with_its_status_and_no_redirection_followed(
    status: int, again: bool
) -> None:
    async with hooks(status) as server:
        error = await error_of(ByWebhook(Webhook(url=f"{server.url}/{SECRET}")))
    assert (f"answers {status}" in str(error), error.again) == (True, again)
    assert len(server.bodies) == 1


async def test_an_address_where_nobody_is_is_told_without_its_path() -> None:
    error = await error_of(ByWebhook(Webhook(url=f"http://127.0.0.1:9/{SECRET}")))
    assert str(error) == "its address does not answer: Connection refused"


@pytest.mark.parametrize("form", ["slack", "discord", "telegram", "ntfy"])
async def test_a_services_body_escapes_names_in_its_own_form(form: Any) -> None:
    async with hooks() as server:
        url = f"{server.url}/base/topic"
        await ByWebhook(Webhook(url=url, format=form, chat="42")).send(MESSAGE)
    (told,), (target,) = server.told, server.targets
    if form == "slack":
        assert "&lt;!channel&gt;" in told["text"] and " &amp; " in told["text"]
        assert (told["mrkdwn"], told["link_names"]) == (False, False)
    elif form == "discord":
        assert r"\<!channel\> \@everyone \*b\* \[x\]\(http\://e\)" in told["content"]
        assert told["allowed_mentions"] == {"parse": []}
    elif form == "telegram":
        assert (told["chat_id"], told["text"]) == ("42", MESSAGE.line)
        assert "parse_mode" not in told
    else:
        assert (target, told["topic"]) == ("/base", "topic")
        assert (told["message"], "markdown" in told) == (MESSAGE.text, False)
    if form != "ntfy":
        assert target == "/base/topic"


# -- command ------------------------------------------------------------------------------------

SCRIPT = """
import json, os, sys
out = {"args": sys.argv[2:], "in": json.load(sys.stdin), "env": dict(os.environ)}
open(sys.argv[1] + ".new", "w").write(json.dumps(out))
os.rename(sys.argv[1] + ".new", sys.argv[1])
"""


async def test_a_command_gets_the_message_and_no_shell_and_no_settings_of_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OLLAMA_PROXY_ADMIN_TOKEN", SECRET)
    script, out = tmp_path / "alarm.py", tmp_path / "out"
    script.write_text(SCRIPT)
    shell = "$(touch " + str(tmp_path / "no") + ")"
    run = [sys.executable, str(script), str(out), "{text}", "a{text}b", shell]
    await ByCommand(Command(run=run)).send(MESSAGE)
    told = json.loads(out.read_text())
    assert told["args"] == [MESSAGE.line, f"a{MESSAGE.line}b", shell]
    assert told["in"] == MESSAGE.facts()
    assert SECRET not in json.dumps(told["env"]) and "PATH" in told["env"]
    assert not (tmp_path / "no").exists()


async def test_a_command_that_fails_or_is_not_there_is_told() -> None:
    failed = await error_of(ByCommand(Command(run=["false"])))
    assert str(failed) == "its program ended with code 1: run it by hand to see why"
    missing = await error_of(ByCommand(Command(run=["/nowhere/alarm"])))
    assert str(missing) == "cannot run its program: No such file or directory: see run"
    assert (failed.again, missing.again) == (True, False)


# -- mail ---------------------------------------------------------------------------------------


def mail(port: int, **more: Any) -> Mail:
    told = {"host": "127.0.0.1", "sender": "proxy@x.org", "to": ["a@x.org", "b@x.org"]}
    return Mail(**{**told, "port": port, "tls": "none", **more})


async def test_a_mail_arrives() -> None:
    async with mails() as server:
        await ByMail(mail(server.port)).send(MESSAGE)
    (text,) = server.mails
    told = email.message_from_string(text, policy=email.policy.default)
    assert (told["Subject"], told["To"]) == ("Alert: model_on_cpu", "a@x.org, b@x.org")
    assert HOSTILE in told.get_content()
    assert "rcpt TO:<b@x.org>" in server.commands


async def test_a_title_with_line_ends_makes_no_header() -> None:
    """Words are one line by then; should one not be, the mail is refused, not split."""
    async with mails() as server:
        with pytest.raises(ValueError, match="linefeed"):
            await ByMail(mail(server.port)).send(Message(FLIP, "a\r\nBcc: c@x.org", "text"))
    assert server.mails == []


@pytest.mark.parametrize(
    ("replies", "more", "told", "again"),
    [
        ({"MAIL": "550 no"}, {}, "127.0.0.1 refused the mail (550)", False),
        ({"MAIL": "451 later"}, {}, "127.0.0.1 refused the mail (451)", True),
        ({"RCPT": "550 no"}, {}, "127.0.0.1 refused all addresses of to", False),
        ({"MAIL": ""}, {}, "127.0.0.1 broke off (SMTPServerDisconnected)", True),
        ({}, {"tls": "starttls"}, "127.0.0.1 does not offer what tls and user ask for", False),
        (
            {"EHLO": "250-x\r\n250 AUTH PLAIN", "AUTH": f"535 {SECRET}"},
            {"user": "u", "password": SECRET},
            "127.0.0.1 refused user and password (535): set them anew",
            False,
        ),
    ],
)
async def test_a_mail_server_that_refuses_is_told(
    replies: dict[str, str], more: dict[str, Any], told: str, again: bool
) -> None:
    async with mails(**replies) as server:
        error = await error_of(ByMail(mail(server.port, **more)))
    assert (str(error), error.again) == (told, again)


async def test_a_mail_server_that_is_not_there_is_told() -> None:
    error = await error_of(ByMail(mail(9)))
    assert str(error) == "127.0.0.1 port 9: Connection refused"


async def test_a_mail_server_that_hangs_is_given_up(caplog: pytest.LogCaptureFixture) -> None:
    async with hooks(0) as server:  # says nothing, as nothing but a request comes
        port = int(server.url.rpartition(":")[2])
        one = Delivery("mail", "mail", ByMail(mail(port), seconds=0.2))
        told = await one.test(MESSAGE)
        assert told in ("nothing came of it within 0.2 s", "127.0.0.1 did not answer in time")


# -- apprise ------------------------------------------------------------------------------------

installed = importlib.util.find_spec("apprise") is not None


@pytest.mark.skipif(installed, reason="the extra apprise is installed")
async def test_without_the_extra_apprise_it_says_what_to_install() -> None:
    error = await error_of(ByApprise(Apprise(urls=[f"json://{SECRET}"])))
    assert "pip install 'ollama-proxy[apprise]'" in str(error)
    assert not error.again


@pytest.mark.skipif(not installed, reason="the extra apprise is not installed")
async def test_apprise_delivers_and_tells_nothing_of_its_urls(
    caplog: pytest.LogCaptureFixture,
) -> None:
    async with hooks() as server:
        where = server.url.removeprefix("http://")
        with caplog.at_level(logging.DEBUG):
            await ByApprise(Apprise(urls=[f"json://{where}/{SECRET}"])).send(MESSAGE)
        server.statuses.append(500)
        await error_of(ByApprise(Apprise(urls=[f"json://{where}/{SECRET}"])))
    assert (server.told[0]["title"], server.told[0]["message"]) == (MESSAGE.title, MESSAGE.text)
    assert SECRET not in caplog.text
    wrong = await error_of(ByApprise(Apprise(urls=[f"nonsense-{SECRET}"])))
    assert "number 1 of urls" in str(wrong)


# -- any of them --------------------------------------------------------------------------------


async def test_what_fails_is_tried_again_and_its_success_is_seen() -> None:
    async with hooks(500, 503) as server:
        told = config.notifiers({"w": {"kind": "webhook", "url": server.url}})["w"]
        one = Delivery("w", "webhook", notifier(told), pauses=(0.0, 0.0, 0.0))
        one.start()
        one.put(MESSAGE)
        await until(lambda: one.how.sent)
        await one.stop(0.0)
    assert (len(server.bodies), one.how.failed, one.waiting) == (3, 0, 0)
    assert one.how.last_error == "answers 503"


async def test_what_cannot_work_is_not_tried_again_and_the_next_is_sent() -> None:
    async with hooks(404) as server:
        one = Delivery("w", "webhook", ByWebhook(Webhook(url=server.url)), pauses=(0.0,))
        one.start()
        one.put(MESSAGE)
        one.put(MESSAGE)
        await until(lambda: one.how.sent)
        await one.stop(0.0)
    assert (len(server.bodies), one.how.failed, one.how.sent) == (2, 1, 1)


class Broken:
    seconds = 0.05

    def __init__(self, hang: bool = False) -> None:
        self.hang = hang

    async def send(self, message: Message) -> None:
        if self.hang:
            await asyncio.Event().wait()
        raise RuntimeError(SECRET)


async def test_a_bug_and_a_hang_are_told_in_one_line(caplog: pytest.LogCaptureFixture) -> None:
    bug = await Delivery("b", "b", Broken()).test(MESSAGE)
    assert bug is not None and bug.startswith("internal error (RuntimeError in ")
    hang = await Delivery("h", "h", Broken(hang=True)).test(MESSAGE)
    assert hang == "nothing came of it within 0.05 s"
    assert SECRET not in caplog.text
    assert len(caplog.records) == 2


async def test_what_waits_is_bounded_and_a_stop_does_not_wait_for_it() -> None:
    one = Delivery("h", "h", Broken(hang=True), pauses=(60.0,))
    one.start()
    for _ in range(150):
        one.put(MESSAGE)
    await until(lambda: one.how.last_error)
    async with asyncio.timeout(5):
        await one.stop(60.0)
    assert (one.waiting, one.how.dropped) == (100, 50)


async def test_a_log_line_is_one_line(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        await notifier(config.Log()).send(MESSAGE)
    assert caplog.messages == [MESSAGE.line]
    assert os.linesep not in caplog.messages[0]
