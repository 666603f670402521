"""Why a request of the proxy's own got no answer, in a few words that name no address.

Not here: the answers of a call that is forwarded (`call.py`), which a client reads.
"""

from __future__ import annotations

import os
import socket

import aiohttp


def why(error: Exception) -> str:
    """Of an error that aiohttp or a socket raised."""
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, aiohttp.ServerDisconnectedError):
        return "it closed the connection without an answer"
    if isinstance(error, aiohttp.ClientConnectorCertificateError):
        return "its certificate does not hold"
    if isinstance(error, aiohttp.ClientSSLError):
        return "it does not speak TLS as expected; is it http rather than https?"
    if isinstance(error, aiohttp.ClientConnectorError):
        error = error.os_error
    if isinstance(error, socket.gaierror):
        return "the host is not known"
    if isinstance(error, OSError) and error.errno:
        return os.strerror(error.errno)
    return type(error).__name__
