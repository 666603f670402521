"""An Ollama without a model: every route, made-up text at a chosen pace.

For the demo, tests and benchmarks. Not a model, not a substitute for one. `faults.py` tells how
to make it misbehave.
"""

from .app import Simulator
from .options import SimulatorOptions

__all__ = ["Simulator", "SimulatorOptions"]
