"""`top`: a live view in the terminal; in a pipe, or with --once, one snapshot.

Not here: what is shown and how (`top/`).
"""

from __future__ import annotations

import os
import sys
import time
from typing import Any

import click
import msgspec
from rich.console import Console
from rich.live import Live

from ollama_proxy.commands.options import settings
from ollama_proxy.commands.saying import refuse
from ollama_proxy.commands.there import asking
from ollama_proxy.places import NoAddress, here, named
from ollama_proxy.rest import Refused, cause
from ollama_proxy.storage.errors import StoreError
from ollama_proxy.top import screen
from ollama_proxy.top.feed import Feed, snapshot
from ollama_proxy.top.state import State
from ollama_proxy.top.terminal import Terminal
from ollama_proxy.top.view import View, pressed, shown

STOPPED = 3
LOOK_SECONDS = 1.0
DRAW_SECONDS = 0.1
"""Between two drawings, unless a key was pressed: a flood of calls is not worth more."""


@click.command(short_help="Watch what runs, live.")
@click.option("--url", metavar="URL", help="Of another proxy, or of its pages.")
@click.option("--once", is_flag=True, help="Print it once, as in a pipe.")
@settings(only=("data_dir", "admin_path"))
def top(url: str | None, once: bool, **flags: Any) -> int:
    """Watch running calls with their phases, models in memory, clients and findings. Of the proxy
    in the data folder, or of the one at URL, which may be on another machine: if it asks for a
    token, that is taken from admin.token.

    Keys: arrows choose a call, x ends it after a question, s sorts, r reverses, / filters, q
    quits."""
    config = asking(flags, "admin_path")
    try:
        admin = named(url, config) if url is not None else here(config)
        if admin is None:
            return refuse(
                f"no proxy uses {config.data_dir}: ollama-proxy start runs one, --url names one "
                "elsewhere",
                STOPPED,
            )
        now = snapshot(admin, config.admin.token)
    except NoAddress as error:
        raise click.BadParameter(str(error), param_hint="--url") from error
    except StoreError as error:
        return refuse(str(error), 1)
    except Refused as error:
        if error.lacks_token:
            return refuse(f"the proxy {error}", 1)
        return refuse(
            f"{url or 'the proxy'} {error}: name the port of a proxy, or that of its pages", 1
        )
    except (OSError, ValueError, KeyError, TypeError) as error:
        where = url or f"the proxy of {config.data_dir}"
        return refuse(f"{where} does not answer as a proxy: {cause(error)}", 1)
    console = Console(highlight=False)
    if once or not (sys.stdin.isatty() and console.is_terminal) or console.is_dumb_terminal:
        if not console.is_terminal and "COLUMNS" not in os.environ:
            console.width = screen.WIDE
        screen.printed(now, View(), console, time.time())
        return 0
    why = _watched(Feed, admin, config.admin.token, console, now)
    return refuse(f"the proxy {why}", 1) if why is not None else 0


def _watched(
    feed_of: type[Feed], admin: str, token: str | None, console: Console, state: State
) -> str | None:
    """Until it is quit. Returns why the proxy tells no more, if that ended it."""
    view, drawn_at = View(), 0.0
    with (
        Terminal(sys.stdin.fileno()) as terminal,
        Live(
            console=console,
            screen=True,
            auto_refresh=False,
            redirect_stdout=False,
            redirect_stderr=False,
        ) as live,
    ):
        feed = feed_of(admin, token, terminal.wake)
        feed.start()
        while not view.over:
            for kind, text in feed.take(state):
                if kind == "refused":
                    return str(text)
                view = msgspec.structs.replace(view, message=text)
            if time.monotonic() >= drawn_at + DRAW_SECONDS:
                height = console.size.height
                live.update(screen.drawn(state, view, height, time.time()), refresh=True)
                drawn_at = time.monotonic()
                wait = LOOK_SECONDS
            else:
                wait = drawn_at + DRAW_SECONDS - time.monotonic()
            for key in terminal.keys(wait):
                view, ended = pressed(view, key, shown(state, view), console.size.height // 3)
                if ended is not None:
                    feed.cancel(ended)
                drawn_at = 0.0
    return None
