"""The commands of `ollama-proxy`, one file each or a few that belong together.

A command's function reads its options, does its work by other modules, tells, and returns the exit
code. Not here: which module a command is in (`cli.py`), what the program does (`app.py`).
"""
