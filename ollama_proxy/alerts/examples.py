"""What `config.example.toml` says of alerts, beside the defaults. Data; a test runs it.

Not here: the settings (`settings.py`).
"""

from __future__ import annotations

RULES = """\
# More than 10 failed calls in 5 minutes, looked at each 5 minutes:
[alerts.rules.failed_calls]
above = 10
within = 300
every = 300

# Calls that take more than 60 seconds on average:
[alerts.rules.mean_duration]
above = 60
within = 300
every = 300

# By a name of its own, for one client, and told to one notifier only:
[alerts.rules.backtest_hangs]
when = "call_silent"
client = "backtest.py"
above = 120
notify = ["phone"]

# With the defaults of its kind:
[alerts.rules.ollama_down]
"""
NOTIFIERS = """\
[alerts.notifiers.phone]
kind = "webhook"
format = "ntfy"
url = "https://ntfy.sh/a-topic-that-nobody-guesses"

[alerts.notifiers.desktop]
kind = "command"
run = ["notify-send", "Ollama", "{text}"]
"""
