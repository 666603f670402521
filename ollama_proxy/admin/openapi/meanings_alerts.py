"""What each field of the REST answers about alerts means, a sentence each. Data.

`name: sentence`, a field a line; a line that is indented goes on with the one before. Not here:
the other answers' (`meanings.py`, `meanings_besides.py`), types (`shapes.py`).
"""

from __future__ import annotations

ALERTS = {
    "Alerts": """
rules: All rules, those that are on first.
notifiers: Who is told; of their settings only name and kind.
""",
    "AlertRule": """
name: The rule's name in the settings.
kind: What it watches.
on: Whether it is watched; a kind that no rule is named after is listed, off.
state: firing if it fires for any subject; pending: bad, but not yet for as long as for says.
since: Since when it fires (ISO 8601); null where it does not.
checked_at: When it was last looked at (ISO 8601).
silenced_until: Until when no message of it is sent (ISO 8601); null: it is not silenced.
above: It is bad above this: calls, percent or seconds, by its kind; null: it is so or not.
clear: It is good again at this or below.
within: The window that it looks at, in seconds.
calls: With fewer calls in the window it is not bad.
for: It fires when it was bad for so many seconds.
every: Seconds between two looks.
cooldown: Seconds after a message in which none says that the same subject fires again.
each: It has a state for each model or client; null: one for all.
model: The models that it is about; null: all.
client: The clients that it is about; null: all.
notify: The notifiers that are told.
subjects: For whom it is bad now.
""",
    "AlertSubject": """
subject: The model, client or program; empty: all together.
state: firing, or pending.
since: Since when it fires (ISO 8601).
value: What was measured at the last look, in the kind's unit.
told: Whether a notifier delivered the message that it fires.
given_up: The notifiers that gave that message up: their last errors say why.
text: The same as a sentence.
""",
    "AlertText": """
en: In English.
it: In Italian.
""",
    "Flip": """
id: The flip's id, a ULID.
at: When it flipped (ISO 8601).
rule: The rule's name.
kind: What it watches.
subject: The model, client or program; empty: all together.
old: The state before.
new: The state from then on.
value: What was measured, in the kind's unit; 1 and 0 are yes and no.
limit: What it may be; null: it is so or not.
within: The window that was looked at, in seconds.
detail: Ollama's error, or whose call it is.
text: The same as a sentence.
""",
    "Notifier": """
name: The notifier's name in the settings.
kind: What it is: log, webhook, command, mail or apprise.
waiting: Messages that are still to be sent.
sent: Messages that it took since the start, tests included.
failed: Messages that were given up.
dropped: Messages that found no room, as too many waited.
last_sent_at: When it last took one (ISO 8601).
last_error: Why it last did not, and what to do about it.
last_error_at: When that was (ISO 8601).
""",
    "Tested": """
notifier: The notifier's name.
sent: Whether it took the message.
error: Why it did not.
""",
}
