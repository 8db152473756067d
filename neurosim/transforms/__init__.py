"""Network -> Network: pruning, weight quantisation, thresholds. A pass returns a new network."""

from neurosim.transforms.prune import prune
from neurosim.transforms.quantize import quantize
from neurosim.transforms.thresholds import calibrate_thresholds, set_thresholds

__all__ = ["calibrate_thresholds", "prune", "quantize", "set_thresholds"]
