"""Proximal policy optimisation for discrete and continuous actions, on vectorised Gymnasium environments.

Clipped surrogate objective: Schulman et al. 2017 (arXiv 1707.06347), eq. 7 and 9.
Generalised advantage estimation: Schulman et al. 2016 (arXiv 1506.02438), eq. 16.

    python models/train/ppo.py --env CartPole-v1 --out models/cartpole_ppo
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from pathlib import Path

import checkpoint
import gymnasium as gym
import numpy as np
import torch
from export import Card, ship
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from network import Normalised, mlp, shape_of
from play import SELECTION_SEED, TRAINING_SEED, episode_returns, torch_policy
from torch import nn
from torch.distributions import Categorical, Distribution, Independent, Normal

OBS_LIMIT = 10.0
REWARD_LIMIT = 10.0


@dataclass(frozen=True)
class Config:
    """Hyperparameters; `env_steps` counts single environment steps over all environments."""

    env_steps: int
    hidden: tuple[int, ...] = (64, 64)
    n_envs: int = 8
    horizon: int = 128
    epochs: int = 10
    minibatch: int = 128
    learning_rate: float = 1e-3
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip: float = 0.2
    entropy: float = 0.0
    value_weight: float = 0.5
    max_gradient: float = 0.5
    initial_log_std: float = 0.0
    scale_rewards: bool = False
    evaluate_every: int = 20_480
    selection_episodes: int = 20


CONFIGS = {
    "CartPole-v1": Config(env_steps=204_800),
    "Acrobot-v1": Config(
        env_steps=614_400, n_envs=16, horizon=256, epochs=4, entropy=0.01, scale_rewards=True,
        evaluate_every=40_960, selection_episodes=50,
    ),
    "Hopper-v5": Config(
        env_steps=1_536_000, hidden=(128, 128), n_envs=4, horizon=512, minibatch=64, learning_rate=3e-4,
        initial_log_std=-0.5, scale_rewards=True, evaluate_every=61_440,
    ),
    "HalfCheetah-v5": Config(
        env_steps=819_200, hidden=(256, 256), n_envs=4, horizon=512, minibatch=64, learning_rate=3e-4,
        initial_log_std=-0.5, scale_rewards=True, evaluate_every=81_920, selection_episodes=8,
    ),
    "Walker2d-v5": Config(
        env_steps=819_200, hidden=(128, 128), n_envs=4, horizon=512, minibatch=128, learning_rate=3e-4,
        initial_log_std=-0.5, scale_rewards=True, evaluate_every=81_920, selection_episodes=8,
    ),
    "Ant-v5": Config(
        env_steps=819_200, hidden=(128, 128), n_envs=4, horizon=512, minibatch=128, learning_rate=3e-4,
        initial_log_std=-0.5, scale_rewards=True, evaluate_every=81_920, selection_episodes=8,
    ),
}  # fmt: skip
CONTINUOUS = {"Hopper-v5", "HalfCheetah-v5", "Walker2d-v5", "Ant-v5"}


@dataclass
class RunningMoments:
    """Mean and variance of a stream of batches (count, n), float64. Source: Chan, Golub, LeVeque 1983, eq. 2.1."""

    mean: np.ndarray
    var: np.ndarray
    count: float = 1e-4

    def update(self, batch: np.ndarray) -> None:
        """Fold in a batch, axis 0 counting samples; changes the moments in place."""
        n = len(batch)
        total = self.count + n
        delta = batch.mean(axis=0) - self.mean
        squares = self.var * self.count + batch.var(axis=0) * n + delta**2 * self.count * n / total
        self.mean = self.mean + delta * n / total
        self.var = squares / total
        self.count = total

    @property
    def inv_std(self) -> np.ndarray:
        return 1.0 / np.sqrt(self.var + 1e-8)

    def normalise(self, obs: np.ndarray) -> torch.Tensor:
        """Observations with zero mean and unit variance, clipped to +-OBS_LIMIT: float32."""
        return torch.as_tensor(np.clip((obs - self.mean) * self.inv_std, -OBS_LIMIT, OBS_LIMIT), dtype=torch.float32)


class Agent(nn.Module):
    """Separate actor and critic; continuous actions are Gaussian with one trained log standard deviation each."""

    def __init__(self, obs_space: gym.Space, action_space: gym.Space, config: Config) -> None:
        super().__init__()
        self.discrete = isinstance(action_space, gym.spaces.Discrete)
        n_obs = obs_space.shape[0]
        n_out = int(action_space.n) if self.discrete else action_space.shape[0]
        self.actor = mlp((n_obs, *config.hidden, n_out), head_gain=0.01)
        self.critic = mlp((n_obs, *config.hidden, 1))
        self.log_std = nn.Parameter(torch.full((n_out,), config.initial_log_std), requires_grad=not self.discrete)

    def distribution(self, obs: torch.Tensor) -> Distribution:
        """The distribution of actions at normalised observations (batch, n_obs)."""
        out = self.actor(obs)
        return Categorical(logits=out) if self.discrete else Independent(Normal(out, self.log_std.exp()), 1)

    def value(self, obs: torch.Tensor) -> torch.Tensor:
        """Estimated returns (batch,)."""
        return self.critic(obs).squeeze(-1)


@dataclass(frozen=True)
class Rollout:
    """One horizon of experience, arrays (horizon, n_envs, ...), float32."""

    obs: torch.Tensor
    actions: torch.Tensor
    log_probs: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor


@dataclass
class Collector:
    """The vectorised environments and everything that lives along with them from one horizon to the next."""

    envs: SyncVectorEnv
    config: Config
    obs_moments: RunningMoments
    return_moments: RunningMoments
    next_obs: torch.Tensor = field(init=False)
    discounted: np.ndarray = field(init=False)
    episode_return: np.ndarray = field(init=False)
    recent: deque[float] = field(default_factory=lambda: deque(maxlen=100))

    def start(self, seed: int) -> None:
        """Reset all environments, environment i with `seed + i`."""
        obs, _ = self.envs.reset(seed=seed)
        self.next_obs = self.obs_moments.normalise(obs)
        self.discounted = np.zeros(self.config.n_envs)
        self.episode_return = np.zeros(self.config.n_envs)

    def scaled(self, rewards: np.ndarray, ended: np.ndarray) -> np.ndarray:
        """Rewards over the standard deviation of the discounted return (the environments' own if not scale_rewards)."""
        if not self.config.scale_rewards:
            return rewards
        self.discounted = self.discounted * self.config.gamma + rewards
        self.return_moments.update(self.discounted[:, None])
        self.discounted[ended] = 0.0
        return np.clip(rewards * self.return_moments.inv_std[0], -REWARD_LIMIT, REWARD_LIMIT)

    def note_returns(self, rewards: np.ndarray, ended: np.ndarray) -> None:
        """Keep the undiscounted returns of finished episodes for the learning curve."""
        self.episode_return += rewards
        self.recent.extend(self.episode_return[ended])
        self.episode_return[ended] = 0.0

    def collect(self, agent: Agent) -> Rollout:
        """Play `horizon` steps in each environment with sampled actions."""
        obs, actions, log_probs, values, rewards, ends = [], [], [], [], [], []
        space = self.envs.single_action_space
        for _ in range(self.config.horizon):
            with torch.no_grad():
                policy = agent.distribution(self.next_obs)
                action = policy.sample()
                obs.append(self.next_obs)
                actions.append(action)
                log_probs.append(policy.log_prob(action))
                values.append(agent.value(self.next_obs))
            played = action.numpy() if agent.discrete else np.clip(action.numpy(), space.low, space.high)
            raw_obs, reward, terminated, truncated, info = self.envs.step(played)
            ended = terminated | truncated
            self.note_returns(reward, ended)
            reward = self.scaled(reward, ended)
            cut = np.flatnonzero(truncated & ~terminated)
            if len(cut):  # an episode cut by the time limit goes on in principle: add the value of what would follow
                final = self.obs_moments.normalise(np.stack(info["final_obs"][cut]))
                with torch.no_grad():
                    reward[cut] += self.config.gamma * agent.value(final).numpy()
            self.obs_moments.update(raw_obs)
            self.next_obs = self.obs_moments.normalise(raw_obs)
            rewards.append(torch.as_tensor(reward, dtype=torch.float32))
            ends.append(torch.as_tensor(ended, dtype=torch.float32))
        with torch.no_grad():
            values.append(agent.value(self.next_obs))
        advantages = self.advantages(rewards, values, ends)
        returns = advantages + torch.stack(values[:-1])
        return Rollout(torch.stack(obs), torch.stack(actions), torch.stack(log_probs), advantages, returns)

    def advantages(self, rewards: list[torch.Tensor], values: list[torch.Tensor], ends: list[torch.Tensor]) -> torch.Tensor:
        """Generalised advantage estimates (horizon, n_envs); `values` has one entry more, for what follows the horizon."""
        gamma, lam = self.config.gamma, self.config.gae_lambda
        out: list[torch.Tensor] = []
        advantage = torch.zeros_like(rewards[0])
        for t in reversed(range(len(rewards))):
            delta = rewards[t] + gamma * (1 - ends[t]) * values[t + 1] - values[t]
            advantage = delta + gamma * lam * (1 - ends[t]) * advantage
            out.append(advantage)
        return torch.stack(out[::-1])


def improve(agent: Agent, optimizer: torch.optim.Optimizer, rollout: Rollout, config: Config) -> None:
    """Several epochs of minibatch ascent on the clipped objective; changes the agent in place."""
    obs, actions, old_log_probs = (x.flatten(0, 1) for x in (rollout.obs, rollout.actions, rollout.log_probs))
    advantages, returns = rollout.advantages.flatten(), rollout.returns.flatten()
    for _ in range(config.epochs):
        for rows in torch.randperm(len(obs)).split(config.minibatch):
            policy = agent.distribution(obs[rows])
            ratio = (policy.log_prob(actions[rows]) - old_log_probs[rows]).exp()
            advantage = advantages[rows]
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8)
            clipped = ratio.clamp(1 - config.clip, 1 + config.clip)
            policy_loss = -torch.minimum(ratio * advantage, clipped * advantage).mean()
            value_loss = 0.5 * (agent.value(obs[rows]) - returns[rows]).square().mean()
            loss = policy_loss + config.value_weight * value_loss - config.entropy * policy.entropy().mean()
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), config.max_gradient)
            optimizer.step()


def frozen_actor(agent: Agent, moments: RunningMoments) -> Normalised:
    """The deterministic policy on raw observations, with the normalisation as it stands now."""
    return Normalised(agent.actor, moments.mean, moments.inv_std, OBS_LIMIT)


def train(
    env_id: str, config: Config, seed: int, work: Path, prepare: Callable[[Agent], None] = lambda agent: None
) -> tuple[Normalised, list[dict[str, float]]]:
    """Train, or go on from the checkpoint in `work`; return the best policy on the selection seeds and the curve.

    `prepare` is handed the fresh agent, whose weights follow from the seed alone.
    Environments cannot be saved: a resumed training starts new episodes, so only an uninterrupted one is repeatable.
    """
    checkpoint.seed_everything(seed)
    envs = SyncVectorEnv([lambda: gym.make(env_id)] * config.n_envs, autoreset_mode=AutoresetMode.SAME_STEP)
    n_obs = envs.single_observation_space.shape[0]
    agent = Agent(envs.single_observation_space, envs.single_action_space, config)
    prepare(agent)
    optimizer = torch.optim.Adam(agent.parameters(), lr=config.learning_rate, eps=1e-5)
    state = {
        "env_steps": 0,
        "wall_s": 0.0,
        "curve": [],
        "best": -np.inf,
        "obs_moments": RunningMoments(np.zeros(n_obs), np.ones(n_obs)),
        "return_moments": RunningMoments(np.zeros(1), np.ones(1)),
    }
    saved = checkpoint.load(work / "last.pt")
    if saved:
        agent.load_state_dict(saved.pop("agent"))
        optimizer.load_state_dict(saved.pop("optimizer"))
        state = saved
    collector = Collector(envs, config, state["obs_moments"], state["return_moments"])
    collector.start(TRAINING_SEED + 1_000 * seed + state["env_steps"])
    rule = "argmax" if agent.discrete else "clip"
    per_horizon = config.n_envs * config.horizon
    began = time.monotonic() - state["wall_s"]
    while state["env_steps"] < config.env_steps:
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * (1 - state["env_steps"] / config.env_steps)
        improve(agent, optimizer, collector.collect(agent), config)
        state["env_steps"] += per_horizon
        if state["env_steps"] % config.evaluate_every < per_horizon:
            actor = frozen_actor(agent, state["obs_moments"])
            score = episode_returns(env_id, torch_policy(actor), rule, config.selection_episodes, SELECTION_SEED).mean()
            state["wall_s"] = time.monotonic() - began
            row = {
                "env_steps": state["env_steps"],
                "wall_s": round(state["wall_s"], 1),
                "training_return": round(float(np.mean(collector.recent)), 2) if collector.recent else float("nan"),
                "selection_return": round(float(score), 2),
            }
            state["curve"].append(row)
            print(row, flush=True)
            if score >= state["best"]:
                state["best"] = score
                checkpoint.save(work / "best.pt", {"actor": actor})
            checkpoint.save(work / "last.pt", {**state, "agent": agent.state_dict(), "optimizer": optimizer.state_dict()})
            checkpoint.write_curve(work / "curve.csv", state["curve"])
    envs.close()
    return checkpoint.load(work / "best.pt")["actor"], state["curve"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", choices=CONFIGS, required=True)
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--env-steps", type=int, help="length of the training (default: that of the environment)")
    parser.add_argument("--work", type=Path, help="folder of checkpoints (default: in the system's temporary folder)")
    args = parser.parse_args()
    config = CONFIGS[args.env]
    if args.env_steps is not None:
        config = replace(config, env_steps=args.env_steps)
    work = args.work or Path(tempfile.gettempdir()) / "neurosim-train" / f"{args.out.name}-{args.seed}"
    actor, curve = train(args.env, config, args.seed, work)
    card = Card(
        name=args.out.name,
        description=f"PPO policy for {args.env}: {shape_of(actor)} ReLU network behind a frozen observation normalisation",
        env_id=args.env,
        action="clip" if args.env in CONTINUOUS else "argmax",
        output="action_mean" if args.env in CONTINUOUS else "logits",
        recipe=f"python models/train/ppo.py --env {args.env} --seed {args.seed} --env-steps {config.env_steps} "
        f"--out models/{args.out.name}",
    )
    ship(actor, card, curve, args.out)


if __name__ == "__main__":
    main()
