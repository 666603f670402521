"""From one process to the next without a refused call: `docs/commands.md` tells how.

`link.py`: what the two say; `giving.py`: the old one's side; `taking.py`: the new one's;
`custody.py`: who writes to the database meanwhile. Not here: which parts of the program are given
(`app.py`), the commands.
"""
