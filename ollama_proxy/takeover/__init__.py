"""Moves Ollama to another port and has the proxy listen at the old one, so that programs with the
address written in go through the proxy; and puts all back.

What is so (`facts.py`, found out by `look.py`) becomes a plan of steps (`plan.py`, `actions.py`),
done or undone (`doing.py`) under a journal that outlives a crash (`journal.py`), and then proved
(`proof.py`). Not here: the command (`commands/takeover.py`), what it leaves to the settings
(`config.py`).
"""
