"""Findings: what a call's figures mean, where Ollama itself says nothing of it.

Each file is one thing that can be found, pure, by a rule that was measured (`docs/insights.md`).
Not here: the calls (`exchange.py`), when they are judged (`judging.py` is told), where what was
found is kept.
"""
