"""When garbage is collected: while nothing runs, or when something has run for very long."""

from __future__ import annotations

import subprocess
import sys
import textwrap

from ollama_proxy.garbage import PATIENCE_SECONDS, Garbage


def test_while_calls_run_it_waits_but_not_for_ever() -> None:
    world = {"now": 0.0, "running": 3}
    collected: list[float] = []
    garbage = Garbage(
        running=lambda: int(world["running"]),
        collect=lambda: collected.append(world["now"]),
        now=lambda: world["now"],
    )
    late = PATIENCE_SECONDS + 30
    for world["now"] in (30.0, PATIENCE_SECONDS, late, late + 30):
        garbage.look()
    assert collected == [late]
    world["running"] = 0
    garbage.look()
    assert collected == [late, late + 30]


def test_python_itself_makes_no_full_collection_while_calls_run() -> None:
    program = """
        import asyncio, gc
        from ollama_proxy.garbage import Garbage

        async def main():
            Garbage(lambda: 1).start()
            kept, full = [], []
            gc.callbacks.append(lambda phase, info: full.append(info["generation"]))
            for _ in range(300_000):  # by Python's own rule this brings some five of them
                kept.append([])
            print(max(full))

        asyncio.run(main())
    """
    run = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], capture_output=True, text=True, check=True
    )
    assert run.stdout == "1\n"
