"""Closed loop: policies in Gymnasium environments. The only importer of gymnasium."""

from neurosim.control.episodes import Played, play
from neurosim.control.policy import (
    ConstantPolicy,
    DeltaPolicy,
    DensePolicy,
    ExactPolicy,
    HoldPolicy,
    NoisyCamera,
    RandomPolicy,
    VectorDeltaPolicy,
)
from neurosim.control.rollout import Rollout, rollout
from neurosim.control.workers import EnvironmentSpec, Job, play_jobs

__all__ = [
    "ConstantPolicy",
    "DeltaPolicy",
    "DensePolicy",
    "EnvironmentSpec",
    "ExactPolicy",
    "HoldPolicy",
    "Job",
    "NoisyCamera",
    "Played",
    "RandomPolicy",
    "Rollout",
    "VectorDeltaPolicy",
    "play",
    "play_jobs",
    "rollout",
]
