"""What goes wrong with a store, also for those that need nothing else of it.

Not here: the store (`base.py`), whose parts take long to load.
"""

from __future__ import annotations


class StoreError(Exception):
    """The store cannot do this now. Its text is one line: the cause, then what to do about it."""


class TooLong(Exception):
    """What was asked for would have to be looked for too long: it is not known."""
