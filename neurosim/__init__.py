"""neurosim: run trained networks as delta events on a simulated many-core neuromorphic chip.

Data flows one way: load -> Network -> simulate -> Trace -> price -> Report. The names below are
imported when they are first used, so that ``import neurosim`` costs nothing.

>>> import neurosim as ns
>>> network = ns.set_thresholds(ns.load("models/lunarlander_dqn"), 0.05)
>>> trace = ns.simulate(network, inputs)
>>> program = ns.compile(network, ns.Chip.load("loihi2"))
>>> print(ns.price(trace, program))
"""

from importlib import import_module
from typing import Any

from neurosim.version import __version__ as __version__

_HOME = {
    "load": "neurosim.loaders", "load_trace": "neurosim.trace_file", "load_array": "neurosim.loaders.inputs",
    "Network": "neurosim.network", "Trace": "neurosim.trace", "Chip": "neurosim.chip", "Program": "neurosim.program",
    "Report": "neurosim.report", "ModelCard": "neurosim.model_card",
    "prune": "neurosim.transforms", "quantize": "neurosim.transforms", "set_thresholds": "neurosim.transforms",
    "calibrate_thresholds": "neurosim.transforms",
    "simulate": "neurosim.simulation", "Simulator": "neurosim.simulation", "write_golden": "neurosim.simulation.golden",
    "compile": "neurosim.mapping", "price": "neurosim.pricing",
    "compare": "neurosim.explore", "sweep": "neurosim.explore",
    "tune": "neurosim.explore.tune", "tune_recorded": "neurosim.explore.tune", "Tuned": "neurosim.explore.tune",
    "rollout": "neurosim.control", "Rollout": "neurosim.control",
    "NeurosimError": "neurosim.errors", "LoadError": "neurosim.errors", "ChipError": "neurosim.errors",
    "MappingError": "neurosim.errors", "DoesNotFit": "neurosim.errors", "SimulationError": "neurosim.errors",
    "PricingError": "neurosim.errors", "NotProved": "neurosim.errors",
}

__all__ = sorted(_HOME)


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module 'neurosim' has no attribute {name!r}")
    value = getattr(import_module(_HOME[name]), name)
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOME])
