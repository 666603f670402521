"""Checks of an installation: each a line that says what is so, or what is wrong and what to do.

Not here: which are made, and how they are shown (`commands/testing.py`).
"""
