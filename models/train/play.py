"""Playing episodes with a deterministic policy: the same loop scores checkpoints and exported files.

Seeds are kept apart, so that no number is measured on episodes that chose the network:
training episodes start at TRAINING_SEED, checkpoints are chosen on SELECTION_SEED + i,
published returns are measured on EVALUATION_SEED + i, golden vectors are recorded from GOLDEN_SEED + i.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator

import gymnasium as gym
import numpy as np
import torch
from torch import nn

EVALUATION_SEED = 0
GOLDEN_SEED = 1_000
SELECTION_SEED = 20_000
TRAINING_SEED = 1_000_000

NEEDS_FIRE = {"breakout"}
"""Games whose screen stands still after a reset and after a lost life until FIRE is pressed."""

Policy = Callable[[np.ndarray], np.ndarray]
"""One float32 observation (1, *shape) -> one float32 output (1, n_out), both with a batch axis of 1."""


def env_id_of(game: str) -> str:
    """Gymnasium's id of a game of ale_py: `space_invaders` -> `ALE/SpaceInvaders-v5`."""
    return f"ALE/{''.join(word.capitalize() for word in game.split('_'))}-v5"


def game_of(env_id: str) -> str:
    """ale_py's name of a game: `ALE/SpaceInvaders-v5` -> `space_invaders`."""
    return re.sub(r"(?<=.)([A-Z])", r"_\1", env_id.removeprefix("ALE/").removesuffix("-v5")).lower()


def preprocess_of(env_id: str) -> str | None:
    """The preprocessing of an environment, as model.yaml says it: `atari` for the games of ale_py, `atari_fire` where one must serve."""
    if not env_id.startswith("ALE/"):
        return None
    return "atari_fire" if game_of(env_id) in NEEDS_FIRE else "atari"


def make(env_id: str) -> gym.Env:
    """The environment behind its preprocessing. The games of ale_py have sticky actions (0.25) by default."""
    if preprocess_of(env_id) is None:
        return gym.make(env_id)
    from neurosim.control.environment import make_environment

    return make_environment(env_id, preprocess=preprocess_of(env_id))


def torch_policy(actor: nn.Module) -> Policy:
    """The policy of a torch module, without gradients."""

    def policy(obs: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return actor(torch.from_numpy(obs)).numpy()

    return policy


def action_of(output: np.ndarray, rule: str, space: gym.Space) -> int | np.ndarray:
    """The environment's action: `argmax` of the output, or the output clipped to the action space (`clip`)."""
    if rule == "argmax":
        return int(np.argmax(output[0]))
    return np.clip(output[0], space.low, space.high)


def transitions(env: gym.Env, policy: Policy, rule: str, seed: int) -> Iterator[tuple[np.ndarray, np.ndarray, float]]:
    """Play one episode from `env.reset(seed=seed)`; yield (obs (1, *shape), output (1, n_out), reward) per env_step."""
    obs, _ = env.reset(seed=seed)
    ended = False
    while not ended:
        batch = np.asarray(obs, dtype=np.float32)[None]
        output = policy(batch)
        obs, reward, terminated, truncated, _ = env.step(action_of(output, rule, env.action_space))
        ended = terminated or truncated
        yield batch, output, float(reward)


def episode_returns(env_id: str, policy: Policy, rule: str, episodes: int, seed: int) -> np.ndarray:
    """Undiscounted returns of `episodes` episodes, episode i from `env.reset(seed=seed + i)`: float64 (episodes,)."""
    env = make(env_id)
    returns = [sum(reward for _, _, reward in transitions(env, policy, rule, seed + i)) for i in range(episodes)]
    env.close()
    return np.array(returns)


def random_returns(env_id: str, episodes: int, seed: int) -> np.ndarray:
    """Returns of uniformly random actions on the same episodes; the action space is seeded with `seed + i` too."""
    env = make(env_id)
    returns = []
    for i in range(episodes):
        env.reset(seed=seed + i)
        env.action_space.seed(seed + i)
        total, ended = 0.0, False
        while not ended:
            _, reward, terminated, truncated, _ = env.step(env.action_space.sample())
            total += float(reward)
            ended = terminated or truncated
        returns.append(total)
    env.close()
    return np.array(returns)
