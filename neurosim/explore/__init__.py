"""Explore: many chips, constants or thresholds for one recorded run."""

from neurosim.explore.break_even import BreakEven, break_even
from neurosim.explore.compare import Comparison, Row, compare
from neurosim.explore.pareto import front
from neurosim.explore.ranking import Ranking, ranking
from neurosim.explore.sensitivity import Bar, tornado
from neurosim.explore.sweep import sweep
from neurosim.explore.tune import Tuned, tune, tune_recorded

__all__ = [
    "Bar", "BreakEven", "Comparison", "Ranking", "Row", "Tuned", "break_even", "compare", "front", "ranking", "sweep", "tornado", "tune",
    "tune_recorded",
]  # fmt: skip
