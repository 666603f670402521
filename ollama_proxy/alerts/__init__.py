"""Alerts: rules over facts, flips of their states, notifiers that are told of flips.

Facts in, states out (`rules.py`, `flips.py`: pure); who watches (`watching.py`); who is told, and
how (`delivering.py`, `notifiers/`). Not here: where flips are stored (`storage/flips.py`), in which
words they are told (`admin/alert_words.py`).
"""
