"""The notifiers, one file each, and which settings make which.

Not here: when they are called, how long, how often (`delivering.py`).
"""

from __future__ import annotations

from ollama_proxy.alerts import config
from ollama_proxy.alerts.message import Notifier
from ollama_proxy.alerts.notifiers.by_apprise import ByApprise
from ollama_proxy.alerts.notifiers.by_command import ByCommand
from ollama_proxy.alerts.notifiers.by_log import ByLog
from ollama_proxy.alerts.notifiers.by_mail import ByMail
from ollama_proxy.alerts.notifiers.by_webhook import ByWebhook


def notifier(told: config.Notifier) -> Notifier:
    """What sends as these settings say."""
    match told:
        case config.Webhook():
            return ByWebhook(told)
        case config.Command():
            return ByCommand(told)
        case config.Mail():
            return ByMail(told)
        case config.Apprise():
            return ByApprise(told)
        case config.Log():
            return ByLog()
