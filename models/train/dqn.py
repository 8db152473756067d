"""Deep Q-learning for discrete actions, with double Q targets.

Replay memory and target network: Mnih et al. 2015 (Nature 518, 529-533), algorithm 1.
Double Q target: van Hasselt, Guez, Silver 2016 (arXiv 1509.06461), eq. 4.

    python models/train/dqn.py --env LunarLander-v3 --out models/lunarlander_dqn
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import deque
from dataclasses import dataclass, replace
from pathlib import Path

import checkpoint
import gymnasium as gym
import numpy as np
import torch
from export import Card, ship
from network import mlp, shape_of
from play import SELECTION_SEED, TRAINING_SEED, episode_returns, torch_policy
from torch import nn


@dataclass(frozen=True)
class Config:
    """Hyperparameters; all periods in environment steps."""

    env_steps: int = 400_000
    hidden: tuple[int, ...] = (128, 128)
    memory: int = 100_000
    learning_starts: int = 5_000
    train_every: int = 4
    minibatch: int = 128
    target_every: int = 1_000
    learning_rate: float = 7e-4
    final_learning_rate: float = 5e-5
    gamma: float = 0.99
    epsilon_steps: int = 50_000
    final_epsilon: float = 0.02
    max_gradient: float = 10.0
    evaluate_every: int = 10_000
    selection_episodes: int = 50

    def epsilon(self, env_steps: int) -> float:
        """The share of random actions: linear from 1 to final_epsilon, then constant."""
        return max(self.final_epsilon, 1.0 - (1.0 - self.final_epsilon) * env_steps / self.epsilon_steps)

    def rate(self, env_steps: int) -> float:
        """The learning rate: linear from first to final over the whole training."""
        return self.learning_rate + (self.final_learning_rate - self.learning_rate) * env_steps / self.env_steps


class Replay:
    """The last `capacity` transitions, the oldest overwritten first. `terminal` is 0 or 1; a time limit is not terminal."""

    def __init__(self, capacity: int, n_obs: int) -> None:
        self.obs = np.zeros((capacity, n_obs), np.float32)
        self.next_obs = np.zeros((capacity, n_obs), np.float32)
        self.action = np.zeros(capacity, np.int64)
        self.reward = np.zeros(capacity, np.float32)
        self.terminal = np.zeros(capacity, np.float32)
        self.n_seen = 0

    def add(self, obs: np.ndarray, action: int, reward: float, next_obs: np.ndarray, terminal: bool) -> None:
        """Store one transition."""
        row = self.n_seen % len(self.action)
        self.obs[row], self.next_obs[row] = obs, next_obs
        self.action[row], self.reward[row], self.terminal[row] = action, reward, terminal
        self.n_seen += 1

    def sample(self, rng: np.random.Generator, n: int) -> tuple[torch.Tensor, ...]:
        """`n` transitions drawn uniformly with replacement: obs, action, reward, next_obs, terminal."""
        rows = rng.integers(min(self.n_seen, len(self.action)), size=n)
        arrays = (self.obs, self.action, self.reward, self.next_obs, self.terminal)
        return tuple(torch.from_numpy(array[rows]) for array in arrays)


@dataclass
class Learner:
    """The online and the target network with their optimizer."""

    online: nn.Sequential
    target: nn.Sequential
    optimizer: torch.optim.Optimizer
    config: Config

    def improve(self, batch: tuple[torch.Tensor, ...], env_steps: int) -> None:
        """One step of Adam on the Huber loss against `r + gamma (1 - terminal) Q_target(s', argmax_a Q_online(s', a))`."""
        obs, action, reward, next_obs, terminal = batch
        with torch.no_grad():
            best = self.online(next_obs).argmax(dim=1, keepdim=True)
            following = self.target(next_obs).gather(1, best).squeeze(1)
            goal = reward + self.config.gamma * (1 - terminal) * following
        estimate = self.online(obs).gather(1, action[:, None]).squeeze(1)
        loss = nn.functional.smooth_l1_loss(estimate, goal)
        for group in self.optimizer.param_groups:
            group["lr"] = self.config.rate(env_steps)
        self.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.online.parameters(), self.config.max_gradient)
        self.optimizer.step()

    def copy_to_target(self) -> None:
        """Make the target network equal to the online one."""
        self.target.load_state_dict(self.online.state_dict())


def new_learner(n_obs: int, n_actions: int, config: Config) -> Learner:
    """Fresh networks, both equal."""
    online, target = (mlp((n_obs, *config.hidden, n_actions)) for _ in range(2))
    learner = Learner(online, target, torch.optim.Adam(online.parameters(), lr=config.learning_rate), config)
    learner.copy_to_target()
    return learner


def train(env_id: str, config: Config, seed: int, work: Path) -> tuple[nn.Sequential, list[dict[str, float]]]:
    """Train, or go on from the checkpoint in `work`; return the best network on the selection seeds and the curve.

    Environments cannot be saved: a resumed training starts a new episode, so only an uninterrupted one is repeatable.
    """
    rng = checkpoint.seed_everything(seed)
    env = gym.make(env_id)
    n_obs = env.observation_space.shape[0]
    learner = new_learner(n_obs, int(env.action_space.n), config)
    state = {
        "env_steps": 0,
        "wall_s": 0.0,
        "curve": [],
        "best": -np.inf,
        "replay": Replay(config.memory, n_obs),
        "rng": rng,
    }
    saved = checkpoint.load(work / "last.pt")
    if saved:
        for part in ("online", "target", "optimizer"):
            getattr(learner, part).load_state_dict(saved.pop(part))
        state = saved
    rng, replay = state["rng"], state["replay"]
    recent: deque[float] = deque(maxlen=100)
    obs, _ = env.reset(seed=TRAINING_SEED + 1_000 * seed + state["env_steps"])
    episode_return = 0.0
    began = time.monotonic() - state["wall_s"]
    while state["env_steps"] < config.env_steps:
        if rng.random() < config.epsilon(state["env_steps"]):
            action = int(rng.integers(env.action_space.n))
        else:
            with torch.no_grad():
                action = int(learner.online(torch.from_numpy(obs)).argmax())
        next_obs, reward, terminated, truncated, _ = env.step(action)
        replay.add(obs, action, float(reward), next_obs, terminated)
        obs = next_obs
        episode_return += float(reward)
        if terminated or truncated:
            recent.append(episode_return)
            episode_return = 0.0
            obs, _ = env.reset()
        state["env_steps"] += 1
        now = state["env_steps"]
        if now >= config.learning_starts and now % config.train_every == 0:
            learner.improve(replay.sample(rng, config.minibatch), now)
        if now % config.target_every == 0:
            learner.copy_to_target()
        if now % config.evaluate_every == 0:
            policy = torch_policy(learner.online)
            score = episode_returns(env_id, policy, "argmax", config.selection_episodes, SELECTION_SEED).mean()
            state["wall_s"] = time.monotonic() - began
            note(state, learner, recent, float(score), work)
    env.close()
    return checkpoint.load(work / "best.pt")["network"], state["curve"]


def note(state: dict, learner: Learner, recent: deque[float], score: float, work: Path) -> None:
    """Add a row to the curve, save a checkpoint, and keep the network if it is the best so far."""
    row = {
        "env_steps": state["env_steps"],
        "wall_s": round(state["wall_s"], 1),
        "training_return": round(float(np.mean(recent)), 2) if recent else float("nan"),
        "selection_return": round(score, 2),
    }
    state["curve"].append(row)
    print(row, flush=True)
    if score >= state["best"]:
        state["best"] = score
        checkpoint.save(work / "best.pt", {"network": learner.online})
    parts = {part: getattr(learner, part).state_dict() for part in ("online", "target", "optimizer")}
    checkpoint.save(work / "last.pt", {**state, **parts})
    checkpoint.write_curve(work / "curve.csv", state["curve"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--env", default="LunarLander-v3", help="an environment with a flat observation and discrete actions")
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--env-steps", type=int, default=Config.env_steps, help="length of the training")
    parser.add_argument("--work", type=Path, help="folder of checkpoints (default: in the system's temporary folder)")
    args = parser.parse_args()
    config = replace(Config(), env_steps=args.env_steps)
    work = args.work or Path(tempfile.gettempdir()) / "neurosim-train" / f"{args.out.name}-{args.seed}"
    network, curve = train(args.env, config, args.seed, work)
    card = Card(
        name=args.out.name,
        description=f"Double-DQN policy for {args.env}: {shape_of(network)} ReLU network on raw observations",
        env_id=args.env,
        action="argmax",
        output="q_values",
        recipe=f"python models/train/dqn.py --env {args.env} --seed {args.seed} --env-steps {config.env_steps} "
        f"--out models/{args.out.name}",
    )
    ship(network, card, curve, args.out)


if __name__ == "__main__":
    main()
