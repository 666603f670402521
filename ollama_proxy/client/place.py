"""Which monitor is asked, and with which token. Not here: where proxies are (`places.py`)."""

from __future__ import annotations

import os

import msgspec

from ollama_proxy.client import errors
from ollama_proxy.config import Admin, ConfigError, read
from ollama_proxy.places import NoAddress, likely, named
from ollama_proxy.rest import Refused, ask


class Place(msgspec.Struct, frozen=True):
    """`admin`: its pages' address, without a slash at the end."""

    admin: str
    token: str | None


def place(url: str | None, token: str | None, seconds: float) -> Place:
    """The monitor at `url`, or this machine's, as the settings in the environment and in their file
    tell; so is the token. Asks around, and waits for that, `seconds` for each answer. Raises
    MonitorError."""
    try:
        config = read({}, os.environ)
    except ConfigError as error:
        raise errors.MonitorError(errors.line(str(error))) from error
    if token is not None:
        config = msgspec.structs.replace(config, admin=Admin(token))
    token = config.admin.token
    if url is not None:
        try:
            return Place(named(url, config, seconds), token)
        except NoAddress as error:
            raise errors.MonitorError(errors.line(str(error))) from error
        except (Refused, OSError, ValueError) as error:
            raise errors.failed(url, error) from error
    asked = list(likely(config))
    if len(asked) == 1:
        return Place(asked[0], token)
    for admin in asked:
        try:
            status = ask(admin, "status", token, seconds=seconds)
        except Refused as refused:
            if refused.told and refused.status in (401, 403, 429):
                raise errors.failed(admin, refused) from refused
        except (OSError, ValueError):
            pass
        else:
            if isinstance(status, dict) and "upstream_up" in status:
                return Place(admin, token)
    raise errors.MonitorDown(
        f"no monitor answers at {' or '.join(asked)}: ollama-proxy start runs one, url= names "
        "another"
    )
