"""Atari: FIRE at the start of each life, agreement with the training's games, controls on screens."""

from functools import partial
from pathlib import Path

import gymnasium
import numpy as np
import pytest

from neurosim.control.environment import _press_fire, make_environment
from neurosim.control.policy import ConstantPolicy, HoldPolicy, NoisyCamera
from neurosim.errors import SimulationError

pytest.importorskip("ale_py")
pytest.importorskip("cv2")
ROOT = Path(__file__).parents[2]


class Spy(gymnasium.Wrapper):
    """Notes the actions that arrive and the lives that go."""

    def reset(self, **kwargs):
        self.actions, self.lives = [], []
        return self.env.reset(**kwargs)

    def step(self, action):
        answer = self.env.step(action)
        self.actions.append(action)
        self.lives.append(answer[-1]["lives"])
        return answer


def test_each_life_is_opened_by_fire():
    spy = Spy(make_environment("ALE/Breakout-v5", preprocess="atari"))
    env = _press_fire()(spy)
    for seed in (0, 1):
        env.reset(seed=seed)
        ended = False
        while not ended:
            _, _, terminated, truncated, _ = env.step(3)
            ended = terminated or truncated
        lives = np.array([5, *spy.lives[:-1]])
        begins = np.concatenate([[True], np.diff(lives) < 0])
        assert spy.lives[-1] == 0 and begins.sum() == 5
        assert spy.actions == np.where(begins, 1, 3).tolist()
    env.close()


def test_without_fire_breakout_stands_still():
    games = {}
    for preprocess in ("atari", "atari_fire"):
        env = make_environment("ALE/Breakout-v5", {"max_num_frames_per_episode": 2000}, preprocess)
        before, _ = env.reset(seed=0)
        moved, ended = 0, False
        while not ended:
            after, _, terminated, truncated, _ = env.step(0)
            moved, before, ended = moved + (not np.array_equal(before, after)), after, terminated or truncated
        games[preprocess] = moved, truncated
        env.close()
    assert games["atari"][0] < 10 < games["atari_fire"][0] and games["atari"][1] and not games["atari_fire"][1]


def test_games_whose_second_action_is_not_fire_are_refused():
    with pytest.raises(SimulationError, match="action 1 of ALE/Freeway-v5 is UP; use atari"):
        make_environment("ALE/Freeway-v5", preprocess="atari_fire")


def test_the_protocol_is_stated_by_the_environment():
    kwargs = gymnasium.spec("ALE/Breakout-v5").kwargs
    assert kwargs["repeat_action_probability"] == 0.25 and kwargs["max_num_frames_per_episode"] == 108_000
    env = make_environment("ALE/Breakout-v5", {"repeat_action_probability": 0.0}, "atari_fire")
    assert env.unwrapped.ale.getFloat("repeat_action_probability") == 0.0
    env.close()


def test_without_sticky_actions_games_repeat_and_with_them_they_do_not():
    """The first screens of 40 seeds: at most 30 numbers of no-ops."""
    env = make_environment("ALE/Pong-v5", {"repeat_action_probability": 0.0}, "atari")
    starts = {env.reset(seed=seed)[1]["frame_number"] for seed in range(40)}
    env.close()
    assert 5 < len(starts) <= 30


@pytest.mark.parametrize("game, env_id, preprocess", [("breakout", "ALE/Breakout-v5", "atari_fire"), ("pong", "ALE/Pong-v5", "atari")])
def test_the_agents_training_plays_the_same_games(monkeypatch, game, env_id, preprocess):
    """Same actions, no chance (no no-ops, no sticky actions): same screens and points as models/train/atari_ppo.py.

    The stack's older planes differ until four screens were seen: black there, the first screen here.
    """
    pytest.importorskip("torch")
    monkeypatch.syspath_prepend(str(ROOT / "models" / "train"))
    recipe = pytest.importorskip("atari_ppo")
    vector = recipe.AtariVectorEnv
    monkeypatch.setattr(recipe, "AtariVectorEnv", lambda *a, **k: vector(*a, **(k | {"noop_max": 0})))
    monkeypatch.setattr(gymnasium.wrappers, "AtariPreprocessing", partial(gymnasium.wrappers.AtariPreprocessing, noop_max=0))
    screens = recipe.Screens(game, 1, recipe.Config(sticky=0.0), 0)
    env = make_environment(env_id, {"repeat_action_probability": 0.0}, preprocess)
    observation, _ = env.reset(seed=0)
    random = np.random.default_rng(0)
    points, ended = 0.0, False
    for t in range(600):
        known = -min(t + 1, 4)
        assert np.array_equal(observation[known:], np.asarray(screens.obs)[0, known:])
        action = int(random.integers(screens.n_actions))
        observation, reward, terminated, truncated, _ = env.step(action)
        theirs, over, *_ = screens.step(np.array([action]))
        assert reward == theirs[0] and bool(over[0]) == (terminated or truncated)
        points, ended = points + abs(reward), terminated or truncated
        if ended:
            break
    env.close()
    assert points > 0 and (ended or game == "pong")


class Echo:
    """A policy that hands back what it sees."""

    def __init__(self, space):
        self.resets = []

    def reset(self, seed=None):
        self.resets.append(seed)

    def act(self, observation):
        return observation


def test_a_held_action_is_asked_for_every_kth_time():
    policy = HoldPolicy(Echo, 3, space=None)
    policy.reset(0)
    assert [policy.act(t) for t in range(7)] == [0, 0, 0, 3, 3, 3, 6]
    policy.reset(1)
    assert policy.act(9) == 9


def test_a_constant_action():
    policy = ConstantPolicy(None, 2)
    policy.reset(0)
    assert policy.act(None) == policy.act(1) == 2


def test_noise_moves_through_the_stack_with_its_screen():
    screens = np.random.default_rng(1).integers(60, 200, (9, 21, 21)).astype(np.uint8)
    policy = NoisyCamera(Echo, 5.0, space=None)
    policy.reset(7)
    stacks = [np.stack([screens[max(0, t - 3 + p)] for p in range(4)]) for t in range(9)]
    seen = [policy.act(stack) for stack in stacks]
    assert (seen[0] == seen[0][0]).all()
    for before, after in zip(seen, seen[1:]):
        assert np.array_equal(before[1:], after[:-1])
    noise = seen[8].astype(int) - stacks[8]
    assert 4.0 < noise.std() < 6.0 and seen[0].dtype == np.uint8
    policy.reset(7)
    assert np.array_equal(policy.act(stacks[0]), seen[0])
    policy.reset(8)
    assert not np.array_equal(policy.act(stacks[0]), seen[0])


def test_no_noise_is_the_screen_itself():
    policy = NoisyCamera(Echo, 0.0, space=None)
    policy.reset(0)
    stack = np.random.default_rng(0).integers(0, 256, (4, 5, 5)).astype(np.uint8)
    assert np.array_equal(policy.act(stack), stack)
