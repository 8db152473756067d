"""Proximal policy optimisation on Atari games, from the screen, on one CPU core or with a GPU.

Clipped surrogate objective: Schulman et al. 2017 (arXiv 1707.06347), eq. 7 and 9.
Generalised advantage estimation: Schulman et al. 2016 (arXiv 1506.02438), eq. 16.
Network and preprocessing (frame-skip 4, maximum of two frames, 84 x 84 grey, stack of 4): Mnih et al. 2015 (Nature 518, 529-533).
Sticky actions: Machado et al. 2018 (JAIR 61, 523-562), section 5.

    python models/train/atari_ppo.py --game space_invaders --out models/spaceinvaders_ppo
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections import deque
from dataclasses import dataclass, fields
from pathlib import Path

import checkpoint
import numpy as np
import torch
from ale_py.vector_env import AtariVectorEnv
from export import Card, ship
from gymnasium.vector import AutoresetMode
from network import Scale
from play import NEEDS_FIRE, SELECTION_SEED, TRAINING_SEED, env_id_of
from torch import nn
from torch.distributions import Categorical

FIRE = 1


@dataclass(frozen=True)
class Config:
    """Hyperparameters; `env_steps` counts decisions over all environments (four frames each).

    Training ends, and the learning rate reaches 0, after `env_steps` or `anneal_minutes`, whichever comes first.
    """

    env_steps: int = 1_000_000
    sticky: float = 0.25
    n_envs: int = 16
    horizon: int = 128
    epochs: int = 3
    minibatch: int = 256
    learning_rate: float = 2.5e-4
    gamma: float = 0.99
    gae_lambda: float = 0.95
    clip: float = 0.1
    entropy: float = 0.01
    value_weight: float = 0.5
    max_gradient: float = 0.5
    evaluate_every: int = 102_400
    selection_episodes: int = 16
    selection_frames: int = 40_000
    checkpoint_s: float = 300.0
    device: str = "cpu"
    bfloat16: bool = False
    threads: int = 1
    anneal_minutes: float = np.inf


class NatureCnn(nn.Module):
    """Actor and critic on a shared trunk: three convolutions, one hidden layer, ReLU; about 1.69 M weights.

    Orthogonal weights (gain sqrt(2); 0.01 for the actor, 1 for the critic), zero biases.
    """

    def __init__(self, n_actions: int, bfloat16: bool = False) -> None:
        super().__init__()
        self.bfloat16 = bfloat16
        self.c1 = nn.Conv2d(4, 32, 8, stride=4)
        self.c2 = nn.Conv2d(32, 64, 4, stride=2)
        self.c3 = nn.Conv2d(64, 64, 3)
        self.fc = nn.Linear(64 * 7 * 7, 512)
        self.pi = nn.Linear(512, n_actions)
        self.v = nn.Linear(512, 1)
        for layer in self.children():
            gain = {self.pi: 0.01, self.v: 1.0}.get(layer, float(np.sqrt(2.0)))
            nn.init.orthogonal_(layer.weight, gain)
            nn.init.zeros_(layer.bias)

    def forward(self, obs: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Screens (batch, 4, 84, 84), uint8 -> logits (batch, n_actions) and values (batch,)."""
        with torch.autocast(obs.device.type, torch.bfloat16, enabled=self.bfloat16):
            hidden = obs.float().div_(255)
            for convolution in (self.c1, self.c2, self.c3):
                hidden = convolution(hidden).relu()
            hidden = self.fc(hidden.flatten(1)).relu()
            return self.pi(hidden).float(), self.v(hidden).float().squeeze(1)

    def actor(self) -> nn.Sequential:
        """The policy alone, on screens as float32, in plain memory layout: (batch, 4, 84, 84), 0..255 -> logits."""
        layers = (Scale(), self.c1, nn.ReLU(), self.c2, nn.ReLU(), self.c3, nn.ReLU(), nn.Flatten(), self.fc, nn.ReLU(), self.pi)
        return nn.Sequential(*layers).to(memory_format=torch.contiguous_format)


class Screens:
    """Games played side by side; rewards are the game's own points.

    A finished game is followed by a new one in the same step. A game goes on after a lost life; `step` reports the loss.
    In games of NEEDS_FIRE the first action after a reset or a lost life is FIRE, whatever the policy says.
    """

    def __init__(self, game: str, n_envs: int, config: Config, seed: int, max_frames: int = 108_000) -> None:
        # episodic_life of this class would start a new game at each lost life, so that later lives are never seen
        self.envs = AtariVectorEnv(
            game, n_envs, num_threads=config.threads, repeat_action_probability=config.sticky, noop_max=30,
            max_num_frames_per_episode=max_frames, episodic_life=False, reward_clipping=False, use_fire_reset=False,
            autoreset_mode=AutoresetMode.SAME_STEP,
        )  # fmt: skip
        self.n_actions = int(self.envs.single_action_space.n)
        self.device = config.device
        self.fires = game in NEEDS_FIRE
        obs, info = self.envs.reset(seed=seed)
        self.lives = info["lives"].copy()
        self.obs = to_torch(obs, self.device)
        self.must_fire = np.full(n_envs, self.fires)

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Play one decision in each game; return points, game over and life lost (a game over included), each (n_envs,)."""
        obs, points, terminated, truncated, info = self.envs.step(np.where(self.must_fire, FIRE, actions))
        over = terminated | truncated
        lost = over | (info["lives"] < self.lives)
        self.lives = info["lives"].copy()
        self.obs = to_torch(obs, self.device)
        self.must_fire = lost & self.fires
        return points, over, lost


def to_torch(obs: np.ndarray, device: str) -> torch.Tensor:
    """A copy of the screens, channels last in memory: faster convolutions."""
    return torch.from_numpy(obs).to(device, copy=True, memory_format=torch.channels_last)


@dataclass(frozen=True)
class Rollout:
    """One horizon of experience, flattened over (horizon, n_envs). `own` is 0 where FIRE was pressed for the policy."""

    obs: torch.Tensor
    actions: torch.Tensor
    log_probs: torch.Tensor
    own: torch.Tensor
    advantages: torch.Tensor
    returns: torch.Tensor


@dataclass
class Score:
    """Points of the games under way, and of the last 100 finished ones."""

    running: np.ndarray
    recent: deque[float]

    def note(self, points: np.ndarray, over: np.ndarray) -> None:
        """Add the points of one decision."""
        self.running += points
        self.recent.extend(self.running[over])
        self.running[over] = 0.0

    @property
    def mean(self) -> float:
        return float(np.mean(self.recent)) if self.recent else float("nan")


def collect(agent: NatureCnn, screens: Screens, score: Score, config: Config) -> Rollout:
    """Play `horizon` decisions in each game with sampled actions. Rewards are clipped to +-1; a lost life ends an episode."""
    obs, actions, log_probs, own, values, rewards, ends = [], [], [], [], [], [], []
    for _ in range(config.horizon):
        with torch.no_grad():
            logits, value = agent(screens.obs)
        policy = Categorical(logits=logits, validate_args=False)
        action = policy.sample()
        obs.append(screens.obs)
        actions.append(action)
        log_probs.append(policy.log_prob(action))
        own.append(torch.from_numpy(~screens.must_fire).float().to(config.device))
        values.append(value)
        points, over, lost = screens.step(action.cpu().numpy())
        score.note(points, over)
        rewards.append(torch.from_numpy(np.clip(points, -1, 1)).float().to(config.device))
        ends.append(torch.from_numpy(lost).float().to(config.device))
    with torch.no_grad():
        values.append(agent(screens.obs)[1])
    advantages = generalised_advantages(rewards, values, ends, config)
    returns = advantages + torch.cat(values[:-1])
    return Rollout(torch.cat(obs), torch.cat(actions), torch.cat(log_probs), torch.cat(own), advantages, returns)


def generalised_advantages(
    rewards: list[torch.Tensor], values: list[torch.Tensor], ends: list[torch.Tensor], config: Config
) -> torch.Tensor:
    """Generalised advantage estimates (horizon x n_envs,); `values` has one entry more, for what follows the horizon."""
    out: list[torch.Tensor] = []
    advantage = torch.zeros_like(rewards[0])
    for t in reversed(range(len(rewards))):
        delta = rewards[t] + config.gamma * (1 - ends[t]) * values[t + 1] - values[t]
        advantage = delta + config.gamma * config.gae_lambda * (1 - ends[t]) * advantage
        out.append(advantage)
    return torch.cat(out[::-1])


def improve(agent: NatureCnn, optimizer: torch.optim.Optimizer, rollout: Rollout, config: Config) -> float:
    """Several epochs of minibatch ascent on the clipped objective; changes the agent in place; return the last entropy."""
    entropy = torch.zeros(())
    for _ in range(config.epochs):
        for rows in torch.randperm(len(rollout.obs), device=config.device).split(config.minibatch):
            logits, value = agent(rollout.obs[rows])
            policy = Categorical(logits=logits, validate_args=False)
            ratio = (policy.log_prob(rollout.actions[rows]) - rollout.log_probs[rows]).exp()
            advantage = rollout.advantages[rows]
            advantage = (advantage - advantage.mean()) / (advantage.std() + 1e-8) * rollout.own[rows]
            clipped = ratio.clamp(1 - config.clip, 1 + config.clip)
            policy_loss = -torch.minimum(ratio * advantage, clipped * advantage).mean()
            value_loss = 0.5 * (value - rollout.returns[rows]).square().mean()
            entropy = policy.entropy().mean()
            loss = policy_loss + config.value_weight * value_loss - config.entropy * entropy
            optimizer.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(agent.parameters(), config.max_gradient)
            optimizer.step()
    return entropy.item()


def evaluate(agent: NatureCnn, game: str, config: Config) -> np.ndarray:
    """Points of `selection_episodes` full games with the most probable actions, game i seeded SELECTION_SEED + i.

    A game longer than `selection_frames` is cut there. Without selection episodes no points: NaN.
    """
    n = config.selection_episodes
    if n == 0:
        return np.array([np.nan])
    screens = Screens(game, n, config, SELECTION_SEED, config.selection_frames)
    points, playing = np.zeros(n), np.ones(n, np.bool_)
    while playing.any():
        with torch.no_grad():
            actions = agent(screens.obs)[0].argmax(dim=1).cpu().numpy()
        gained, over, _ = screens.step(actions)
        points += gained * playing
        playing &= ~over
    return points


def start(game: str, config: Config, seed: int, weights: Path | None) -> tuple[NatureCnn, torch.optim.Optimizer]:
    """A fresh agent, or one with the weights of an earlier agent, and a fresh optimizer."""
    checkpoint.seed_everything(seed)
    torch.set_flush_denormal(True)
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = torch.backends.cudnn.benchmark = True
    n_actions = Screens(game, 1, config, seed).n_actions
    agent = NatureCnn(n_actions, config.bfloat16)
    if weights:
        from safetensors.torch import load_file

        agent.load_state_dict(load_file(weights))
    agent = agent.to(config.device, memory_format=torch.channels_last)
    return agent, torch.optim.Adam(agent.parameters(), lr=config.learning_rate, eps=1e-5)


def train(
    game: str, config: Config, seed: int, work: Path, weights: Path | None = None, minutes: float = np.inf
) -> tuple[NatureCnn, list[dict[str, float]]]:
    """Train, or go on from the checkpoint in `work`; return the best agent on the selection seeds and the curve.

    Games under way are not saved: a resumed training starts new ones, so only an uninterrupted one is repeatable.
    """
    agent, optimizer = start(game, config, seed, weights)
    state = {"env_steps": 0, "wall_s": 0.0, "curve": [], "best": -np.inf, "recent": deque(maxlen=100)}
    saved = checkpoint.load(work / "last.pt")
    if saved:
        agent.load_state_dict(saved.pop("agent"))
        optimizer.load_state_dict(saved.pop("optimizer"))
        state = saved
    screens = Screens(game, config.n_envs, config, TRAINING_SEED + 1_000 * seed + state["env_steps"])
    score = Score(np.zeros(config.n_envs), state["recent"])
    per_horizon = config.n_envs * config.horizon
    began, called = time.monotonic() - state["wall_s"], time.monotonic()
    saved_at = called
    while progress(state, config) < 1 and time.monotonic() - called <= 60 * minutes:
        for group in optimizer.param_groups:
            group["lr"] = config.learning_rate * (1 - progress(state, config))
        entropy = improve(agent, optimizer, collect(agent, screens, score, config), config)
        state["env_steps"] += per_horizon
        state["wall_s"] = time.monotonic() - began
        if state["env_steps"] % (10 * per_horizon) == 0:
            print(f"{state['env_steps']:,} env_steps, {state['wall_s']:,.0f} s, mean {score.mean:.2f}, entropy {entropy:.3f}", flush=True)
        if state["env_steps"] % config.evaluate_every < per_horizon or progress(state, config) >= 1:
            note(agent, evaluate(agent, game, config), score, state, work)
        if time.monotonic() - saved_at > config.checkpoint_s:
            save(agent, optimizer, state, work)
            saved_at = time.monotonic()
    save(agent, optimizer, state, work)
    best = checkpoint.load(work / "best.pt")
    if best:
        agent.load_state_dict(best["agent"])
    return agent, state["curve"]


def progress(state: dict, config: Config) -> float:
    """Share of the training that is done."""
    return max(state["env_steps"] / config.env_steps, state["wall_s"] / (60 * config.anneal_minutes))


def save(agent: NatureCnn, optimizer: torch.optim.Optimizer, state: dict, work: Path) -> None:
    """Write the checkpoint from which a stopped training goes on."""
    checkpoint.save(work / "last.pt", {**state, "agent": agent.state_dict(), "optimizer": optimizer.state_dict()})


def save_weights(agent: NatureCnn, path: Path) -> None:
    """Write actor and critic for `--weights`."""
    from safetensors.torch import save_file

    save_file({name: weight.contiguous() for name, weight in agent.state_dict().items()}, path)


def note(agent: NatureCnn, points: np.ndarray, score: Score, state: dict, work: Path) -> None:
    """Add a row to the curve, and keep the agent if it is the best so far."""
    row = {
        "env_steps": state["env_steps"],
        "wall_s": round(state["wall_s"], 1),
        "training_return": round(score.mean, 2),
        "selection_return": round(float(points.mean()), 2),
    }
    state["curve"].append(row)
    print(row, flush=True)
    if not points.mean() < state["best"]:  # NaN: without selection episodes the latest counts as best
        state["best"] = float(points.mean())
        checkpoint.save(work / "best.pt", {"agent": agent.state_dict(), "env_steps": state["env_steps"]})
    checkpoint.write_curve(work / "curve.csv", state["curve"])


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--game", required=True, help="name in ale_py: pong, space_invaders, ...")
    parser.add_argument("--out", type=Path, required=True, help="model folder to write")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--env-steps", type=int, default=Config.env_steps, help="length; the learning rate falls to 0 over it")
    parser.add_argument("--epochs", type=int, default=Config.epochs, help="passes over each horizon")
    parser.add_argument("--sticky", type=float, default=Config.sticky, help="probability that a frame repeats the action before")
    parser.add_argument("--weights", type=Path, help="start from these weights (.safetensors of an earlier agent)")
    parser.add_argument("--n-envs", type=int, default=Config.n_envs, help="games side by side")
    parser.add_argument("--horizon", type=int, default=Config.horizon, help="decisions per game between two updates")
    parser.add_argument("--selection-episodes", type=int, default=Config.selection_episodes, help="0: ship the last agent")
    parser.add_argument("--evaluate-every", type=int, default=Config.evaluate_every, help="env_steps between two evaluations")
    parser.add_argument("--device", default=Config.device, help="cpu or cuda")
    parser.add_argument("--bfloat16", action="store_true", help="mixed precision: faster where the processor has the instructions")
    parser.add_argument("--threads", type=int, default=Config.threads, help="threads that play the games")
    parser.add_argument("--anneal-minutes", type=float, default=np.inf, help="length in minutes, if shorter than --env-steps")
    parser.add_argument("--minutes", type=float, default=np.inf, help="stop, with a checkpoint and without shipping, after this time")
    parser.add_argument("--ship-now", action="store_true", help="ship the best agent so far without training on")
    parser.add_argument("--episodes", type=int, default=30, help="full games over which the published return is measured")
    parser.add_argument("--work", type=Path, help="folder of checkpoints (default: in the system's temporary folder)")
    args = parser.parse_args()
    config = Config(**{field.name: getattr(args, field.name) for field in fields(Config) if field.name in args})
    work = args.work or Path(tempfile.gettempdir()) / "neurosim-train" / f"{args.out.name}-{args.seed}"
    agent, curve = train(args.game, config, args.seed, work, args.weights, -1.0 if args.ship_now else args.minutes)
    save_weights(agent, work / "best.safetensors")
    if curve and (args.ship_now or progress(curve[-1], config) >= 1):
        ship(agent.cpu().actor(), card_of(args), curve, args.out)
    else:
        print(f"stopped; the same command goes on from {work / 'last.pt'}")


def recipe_arguments(args: argparse.Namespace) -> list[str]:
    """The command line again, without what only says where and in how many pieces it ran."""
    words = [("game", args.game), ("seed", args.seed)]
    words += [(f.name, getattr(args, f.name)) for f in fields(Config) if f.name in args and getattr(args, f.name) != f.default]
    words += [("weights", args.weights.name)] * bool(args.weights) + [("out", f"models/{args.out.name}")]
    return [f"--{name.replace('_', '-')}" + ("" if value is True else f" {value}") for name, value in words]


def card_of(args: argparse.Namespace) -> Card:
    """What model.yaml says about the agent."""
    env_id = env_id_of(args.game)
    return Card(
        name=args.out.name,
        description=f"PPO policy for {env_id}: convolutions 32-64-64, one hidden layer of 512, ReLU, on a stack of four screens",
        env_id=env_id,
        action="argmax",
        output="logits",
        recipe="python models/train/atari_ppo.py " + " ".join(recipe_arguments(args)),
        episodes=args.episodes,
    )


if __name__ == "__main__":
    main()
