"""An Ollama without a model: every route, made-up text at a chosen pace.

For the demo, tests and benchmarks; `faults.py` tells how to make it misbehave. Not here: a model,
or anything of the proxy.
"""

from .app import Simulator
from .options import SimulatorOptions

__all__ = ["Simulator", "SimulatorOptions"]
