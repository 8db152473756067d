"""Closed loop: policies in Gymnasium environments. The only importer of gymnasium."""

from neurosim.control.policy import DeltaPolicy, DensePolicy, RandomPolicy, VectorDeltaPolicy
from neurosim.control.rollout import Rollout, rollout

__all__ = ["DeltaPolicy", "DensePolicy", "RandomPolicy", "Rollout", "VectorDeltaPolicy", "rollout"]
