"""A live view of a proxy in a terminal: what runs now, for whom, at what rate.

`state.py` and `view.py` are pure: from what the proxy tells, and keys, to rows. Not here: the
command (`commands/top.py`).
"""
