"""Explore: many chips or thresholds for one recorded run."""

from neurosim.explore.compare import Comparison, Row, compare
from neurosim.explore.pareto import front
from neurosim.explore.sweep import sweep

__all__ = ["Comparison", "Row", "compare", "front", "sweep"]
