"""An Ollama without a model: every route, made-up text at a chosen pace.

For the demo, tests and benchmarks; `faults.py` tells how to make it misbehave, `playing.py` how it
repeats recorded answers. Not here: a model, or anything of the proxy but the form of a recording.
"""

from .app import Simulator
from .options import SimulatorOptions

__all__ = ["Simulator", "SimulatorOptions"]
