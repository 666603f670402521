"""What goes wrong when a monitor is asked, each as one clear line. Not here: the asking."""

from __future__ import annotations

from ollama_proxy.rest import Refused, cause

_MOST = 500
_TOKEN = "; or say another one with token="


class MonitorError(Exception):
    """A monitor did not tell what it was asked for; the text says why, in one line.

    `status`: the HTTP status of its answer, None where there was none."""

    def __init__(self, why: str, status: int | None = None) -> None:
        super().__init__(why)
        self.status = status


class MonitorDown(MonitorError):
    """Nobody answers there, or not in time, or the answer broke off."""


class MonitorUnauthorized(MonitorError):
    """It asks for its token, and this one is missing or wrong; or it does not answer to here."""


class MonitorNotFound(MonitorError):
    """There is no such call or finding: it never was, or was deleted since."""


class MonitorBadParameter(MonitorError):
    """It does not know a parameter, or not such a value; the text names it in its own words."""


class NotAMonitor(MonitorError):
    """Something answers there, but not as a proxy's monitor does."""


class MonitorWarning(UserWarning):
    """Why a script's function came back with nothing, or a list may lack something."""


_BY_STATUS = {
    400: MonitorBadParameter,
    401: MonitorUnauthorized,
    403: MonitorUnauthorized,
    404: MonitorNotFound,
    429: MonitorUnauthorized,
}


def failed(admin: str, error: Exception) -> MonitorError:
    """What was raised while the monitor at `admin` was asked: Refused, OSError or ValueError."""
    if isinstance(error, Refused):
        if not error.told:
            return foreign(admin, str(error), error.status)
        why = f"{admin} {error}{_TOKEN if error.lacks_token and error.status == 401 else ''}"
        return _BY_STATUS.get(error.status, MonitorError)(line(why), error.status)
    if isinstance(error, OSError):
        return MonitorDown(line(f"no monitor answers at {admin}: {cause(error)}"))
    return foreign(admin, str(error))


def foreign(admin: str, why: str, status: int | None = None) -> NotAMonitor:
    return NotAMonitor(line(f"what answers at {admin} is no proxy's monitor: {why}"), status)


def line(text: str) -> str:
    """One line, whatever others wrote, without what a terminal would obey."""
    text = "".join(one if one.isprintable() else " " for one in text)
    return text if len(text) <= _MOST else f"{text[: _MOST - 1]}…"
