"""Network, inputs -> Trace: the event-driven run (kernels) and a slow, obvious twin in numpy."""

from neurosim.simulation.parallel import map_threads
from neurosim.simulation.run import simulate
from neurosim.simulation.simulator import Simulator

__all__ = ["Simulator", "simulate", "map_threads"]
