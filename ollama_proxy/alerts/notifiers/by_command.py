"""Tells by running a program: an argument list, no shell, a time limit, its group killed.

The message comes as JSON on its standard input, and in the place of an argument's `{text}`. It gets
the proxy's environment but for the proxy's own settings, as keys are among them; what it prints
goes nowhere. Not here: another try.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import signal
import tempfile

from ollama_proxy.alerts.config import Command
from ollama_proxy.alerts.message import Message, NotifyError
from ollama_proxy.settings import ENVIRONMENT

TEXT = "{text}"


class ByCommand:
    """The program is in a session of its own, so that it can be ended with all that it began."""

    def __init__(self, command: Command) -> None:
        self._command = command
        # What kills it is here, not around: the one around only stops waiting.
        self.seconds = command.seconds + 2.0

    async def send(self, message: Message) -> None:
        run = [part.replace(TEXT, message.line) for part in self._command.run]
        environ = {k: v for k, v in os.environ.items() if not k.startswith(ENVIRONMENT)}
        try:
            # A file, not a pipe: a program may end without having read it.
            with tempfile.TemporaryFile() as told:
                told.write(message.as_json())
                told.seek(0)
                process = await asyncio.create_subprocess_exec(
                    *run,
                    stdin=told,
                    stdout=asyncio.subprocess.DEVNULL,
                    stderr=asyncio.subprocess.DEVNULL,
                    start_new_session=True,
                    env=environ,
                )
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else type(error).__name__
            raise NotifyError(f"cannot run its program: {why}: see run", again=False) from None
        try:
            async with asyncio.timeout(self._command.seconds):
                await process.wait()
        except TimeoutError:
            raise NotifyError(
                f"its program did not end within {self._command.seconds:g} s and was killed"
            ) from None
        finally:
            # Out of time, or cancelled. Once it has ended its number may be another's.
            if process.returncode is None:
                with contextlib.suppress(ProcessLookupError):
                    os.killpg(process.pid, signal.SIGKILL)
        if process.returncode:
            raise NotifyError(
                f"its program ended with code {process.returncode}: run it by hand to see why"
            )
