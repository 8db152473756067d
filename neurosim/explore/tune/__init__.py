"""Tune: thresholds per layer (and sparsity) that need least under a constraint, and a claim on seeds that no trial saw.

    space -> search (Optuna, stored in a file) -> front -> claim -> Tuned
"""

from neurosim.explore.tune.result import Tuned
from neurosim.explore.tune.verbs import tune, tune_recorded

__all__ = ["Tuned", "tune", "tune_recorded"]
