"""Environments played side by side by a policy that is learning from another: one class for Atari, one for all others."""

from __future__ import annotations

from collections import deque
from typing import Protocol

import gymnasium as gym
import numpy as np
import torch
from atari_ppo import Config, Score, Screens
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from play import game_of


class Games(Protocol):
    """What a recipe needs of the environments.

    obs: (n_envs, *shape), as the environment gives them. began: bool (n_envs,), a new episode starts with this observation.
    discrete: the policy's outputs are scores of actions (else actions themselves). mean_return: of the last 100 episodes.
    """

    obs: torch.Tensor
    began: np.ndarray
    discrete: bool

    @property
    def mean_return(self) -> float: ...

    def step(self, outputs: torch.Tensor) -> None:
        """Play one step in each environment with the policy's deterministic actions."""


class AtariGames:
    """Games of ale_py; FIRE is pressed as `Screens` does."""

    discrete = True

    def __init__(self, game: str, n_envs: int, sticky: float, seed: int) -> None:
        self._screens = Screens(game, n_envs, Config(sticky=sticky), seed)
        self._score = Score(np.zeros(n_envs), deque(maxlen=100))
        self.obs, self.began = self._screens.obs, np.ones(n_envs, np.bool_)

    @property
    def mean_return(self) -> float:
        return self._score.mean

    def step(self, outputs: torch.Tensor) -> None:
        points, over, _ = self._screens.step(outputs.argmax(1).numpy())
        self._score.note(points, over)
        self.obs, self.began = self._screens.obs, over


class GymGames:
    """Environments of Gymnasium with observations in one vector."""

    def __init__(self, env_id: str, n_envs: int, seed: int) -> None:
        self._envs = SyncVectorEnv([lambda: gym.make(env_id)] * n_envs, autoreset_mode=AutoresetMode.SAME_STEP)
        self._space = self._envs.single_action_space
        self.discrete = isinstance(self._space, gym.spaces.Discrete)
        self._score = Score(np.zeros(n_envs), deque(maxlen=100))
        obs, _ = self._envs.reset(seed=seed)
        self.obs, self.began = torch.from_numpy(obs.astype(np.float32)), np.ones(n_envs, np.bool_)

    @property
    def mean_return(self) -> float:
        return self._score.mean

    def step(self, outputs: torch.Tensor) -> None:
        answer = outputs.numpy()
        actions = answer.argmax(1) if self.discrete else np.clip(answer, self._space.low, self._space.high)
        obs, points, terminated, truncated, _ = self._envs.step(actions)
        over = terminated | truncated
        self._score.note(points, over)
        self.obs, self.began = torch.from_numpy(obs.astype(np.float32)), over


def games_of(env_id: str, n_envs: int, sticky: float, seed: int) -> Games:
    """The environments of a Gymnasium id."""
    return AtariGames(game_of(env_id), n_envs, sticky, seed) if env_id.startswith("ALE/") else GymGames(env_id, n_envs, seed)
