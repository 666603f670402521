"""What is posted to each service: where, and which JSON; names escaped in the service's own form.

Pure. A message's text is one line; here it is made sure that no name in it formats, links, or
mentions anybody. Sources: Slack "Formatting text for app surfaces", Discord "Execute Webhook" and
"Allowed Mentions", Telegram Bot API `sendMessage`, ntfy "Publish as JSON". Not here: the post.
"""

from __future__ import annotations

import json
import re
from typing import Any

from ollama_proxy.alerts.config import Webhook
from ollama_proxy.alerts.message import Message

MOST = 1500
"""Characters: less than any of the services takes."""
_DISCORD = re.compile(r"([\\*_~`|>#\[\]()<@:-])")
_QUIET_EMBEDS = 1 << 2


def post(webhook: Webhook, message: Message) -> tuple[str, bytes]:
    """The URL and the body."""
    if webhook.format == "json":
        return webhook.url, message.as_json()
    url, body = webhook.url, _BODIES[webhook.format](message)
    if webhook.format == "telegram":
        body["chat_id"] = webhook.chat
    if webhook.format == "ntfy":
        url, _, body["topic"] = webhook.url.rstrip("/").rpartition("/")
    return url, json.dumps(body).encode()


def _slack(message: Message) -> dict[str, Any]:
    text = message.line[:MOST]
    for plain, escaped in (("&", "&amp;"), ("<", "&lt;"), (">", "&gt;")):
        text = text.replace(plain, escaped)
    return {
        "text": text,
        "mrkdwn": False,
        "link_names": False,
        "unfurl_links": False,
        "unfurl_media": False,
    }


def _discord(message: Message) -> dict[str, Any]:
    text = _DISCORD.sub(r"\\\1", message.line[: MOST // 2])
    return {"content": text, "allowed_mentions": {"parse": []}, "flags": _QUIET_EMBEDS}


def _telegram(message: Message) -> dict[str, Any]:
    """Without a `parse_mode` the text is as it is."""
    return {"text": message.line[:MOST], "link_preview_options": {"is_disabled": True}}


def _ntfy(message: Message) -> dict[str, Any]:
    """Without `markdown` the text is as it is."""
    tag, priority = ("warning", 4) if message.firing else ("white_check_mark", 3)
    return {
        "title": message.title[:MOST],
        "message": message.text[:MOST],
        "tags": [tag],
        "priority": priority,
    }


_BODIES = {"slack": _slack, "discord": _discord, "telegram": _telegram, "ntfy": _ntfy}
