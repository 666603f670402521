"""Tells by mail: SMTP in a thread. Not here: another try.

With `tls` other than none the server's certificate must hold, and a password is sent only then, or
to this machine.
"""

from __future__ import annotations

import os
import smtplib
import socket
import ssl
from email.message import EmailMessage
from email.utils import formatdate, make_msgid

from ollama_proxy.alerts.config import Mail
from ollama_proxy.alerts.message import Message, NotifyError
from ollama_proxy.alerts.notifiers.in_thread import InThread

PORTS = {"starttls": 587, "tls": 465, "none": 25}


class ByMail:
    """One mail a message, to all addresses."""

    def __init__(self, mail: Mail, *, seconds: float = 20.0) -> None:
        self.seconds = seconds
        self._mail, self._thread = mail, InThread()

    async def send(self, message: Message) -> None:
        mail = composed(self._mail, message)
        await self._thread.run(lambda: self._send(mail))

    def _send(self, mail: EmailMessage) -> None:
        to = self._mail
        port = to.port or PORTS[to.tls]
        tls = ssl.create_default_context() if to.tls != "none" else None
        try:
            if to.tls == "tls":
                server: smtplib.SMTP = smtplib.SMTP_SSL(
                    to.host, port, timeout=self.seconds, context=tls
                )
            else:
                server = smtplib.SMTP(to.host, port, timeout=self.seconds)
            with server:
                if to.tls == "starttls":
                    server.starttls(context=tls)
                if to.user:
                    server.login(to.user, to.password)
                server.send_message(mail)
        except smtplib.SMTPAuthenticationError as error:
            code = error.smtp_code
            told = f"{to.host} refused user and password ({code}): set them anew"
            raise NotifyError(told, again=False) from None
        except smtplib.SMTPResponseException as error:
            code = error.smtp_code
            raise NotifyError(f"{to.host} refused the mail ({code})", again=code < 500) from None
        except smtplib.SMTPRecipientsRefused:
            raise NotifyError(f"{to.host} refused all addresses of to", again=False) from None
        except smtplib.SMTPNotSupportedError:
            told = f"{to.host} does not offer what tls and user ask for"
            raise NotifyError(told, again=False) from None
        except smtplib.SMTPException as error:
            raise NotifyError(f"{to.host} broke off ({type(error).__name__})") from None
        except ssl.SSLError:
            told = f"the certificate of {to.host} does not hold, or tls is wrong for port {port}"
            raise NotifyError(told, again=False) from None
        except TimeoutError:
            raise NotifyError(f"{to.host} did not answer in time") from None
        except socket.gaierror:
            raise NotifyError(f"the host {to.host} is not known") from None
        except OSError as error:
            why = os.strerror(error.errno) if error.errno else type(error).__name__
            raise NotifyError(f"{to.host} port {port}: {why}") from None


def composed(mail: Mail, message: Message) -> EmailMessage:
    """Plain text; the subject is the title, which is one line."""
    made = EmailMessage()
    made["Subject"] = message.title[:200]
    made["From"], made["To"] = mail.sender, ", ".join(mail.to)
    made["Date"] = formatdate()
    made["Message-ID"] = make_msgid(message.flip.id, mail.sender.rpartition("@")[2])
    made["Auto-Submitted"] = "auto-generated"
    flip = message.flip
    made.set_content(f"{message.text}\n\n{flip.at}\nrule: {flip.rule} ({flip.kind})\n")
    return made
