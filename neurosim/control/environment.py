"""Gymnasium environments: making them, and refusing a policy that does not fit before the first step."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosim.control.policy import ACTIONS
from neurosim.errors import SimulationError
from neurosim.network import Network

if TYPE_CHECKING:
    import gymnasium

PREPROCESSING = (None, "atari", "atari_fire", "time_feature")
FIRE = 1
"""Action of ALE's minimal action sets that serves the ball or starts a life."""
_EXTRAS = {"box2d": "box2d", "Box2D": "box2d", "mujoco": "mujoco", "MuJoCo": "mujoco", "ale": "atari", "cv2": "atari", "opencv": "atari"}


def make_environment(env_id: str, kwargs: dict[str, Any] | None = None, preprocess: str | None = None) -> gymnasium.Env:
    """Make an environment.

    Parameters
    ----------
    env_id : str
        Gymnasium id; ids of ``ale_py`` (``ALE/Pong-v5``) are registered on demand.
    kwargs : dict, optional
        For ``gymnasium.make``.
    preprocess : {None, "atari", "atari_fire", "time_feature"}
        ``atari``: 1 to 30 no-ops at the start of a game, frame-skip 4, maximum of the last two
        frames, 84 x 84 grey bytes, stack of 4 (Mnih et al. 2015), through Gymnasium's wrappers;
        observations (4, 84, 84).
        ``atari_fire``: the same, and the first decision after a reset and after each lost life is
        FIRE, whatever the policy answers. Some games (Breakout) stand still until then.
        ``time_feature``: the remaining time, 1 - t / time limit, follows the observation (as in
        Stable-Baselines3's zoo).

    Raises
    ------
    SimulationError
        When the environment is unknown, or a package it needs is not installed.

    Notes
    -----
    ``ALE/*-v5`` repeats the action before with probability 0.25 in each frame (sticky actions;
    Machado et al. 2018) and ends a game after 108,000 frames = 27,000 decisions. The protocol of
    Mnih et al. 2015 has no sticky actions: ``kwargs={"repeat_action_probability": 0.0}``. Another
    end: ``kwargs={"max_num_frames_per_episode": n}`` (a greedy policy may loop for ever).
    """
    import gymnasium

    kwargs = dict(kwargs or {})
    if preprocess not in PREPROCESSING:
        raise SimulationError(f"preprocessing {preprocess!r} is unknown; choose atari, atari_fire, time_feature or none")
    try:
        if preprocess == "time_feature":
            return _remaining_time()(gymnasium.make(env_id, **kwargs))
        if env_id.startswith("ALE/") or preprocess:
            import ale_py

            gymnasium.register_envs(ale_py)
        if preprocess:
            settings: dict[str, Any] = {"frameskip": 1, "obs_type": "grayscale"} | kwargs
            env = gymnasium.make(env_id, **settings)
            env = gymnasium.wrappers.AtariPreprocessing(env, frame_skip=4)
            env = gymnasium.wrappers.FrameStackObservation(env, 4)
            return _press_fire()(env) if preprocess == "atari_fire" else env
        return gymnasium.make(env_id, **kwargs)
    except ImportError as error:
        raise SimulationError(f"environment {env_id}: {error}{_install_hint(str(error))}") from None
    except (gymnasium.error.DependencyNotInstalled, gymnasium.error.Error, TypeError) as error:
        raise SimulationError(f"environment {env_id}: {error}{_install_hint(str(error))}") from None


@cache
def _remaining_time() -> type:
    """The wrapper of ``time_feature``; made when it is needed, for Gymnasium is imported then."""
    import gymnasium

    class RemainingTime(gymnasium.ObservationWrapper):
        """Observations (n,) become (n + 1,): the last is 1 - t / time limit."""

        def __init__(self, env: gymnasium.Env) -> None:
            super().__init__(env)
            space, spec = env.observation_space, env.spec
            if not isinstance(space, gymnasium.spaces.Box) or len(space.shape) != 1 or spec is None or not spec.max_episode_steps:
                raise SimulationError("preprocessing time_feature: observations (n,) and an environment with a time limit are needed")
            self._limit, self._t = spec.max_episode_steps, 0
            low, high = np.append(space.low, 0.0), np.append(space.high, 1.0)
            self.observation_space = gymnasium.spaces.Box(low, high, dtype=np.float64)

        def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
            """All the time is left."""
            self._t = 0
            return super().reset(**kwargs)

        def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
            """One decision less."""
            self._t += 1
            return super().step(action)

        def observation(self, observation: Any) -> Any:
            """The observation and what is left."""
            return np.append(observation, 1.0 - self._t / self._limit)

    return RemainingTime


@cache
def _press_fire() -> type:
    """The wrapper of ``atari_fire``; made when it is needed, for Gymnasium is imported then."""
    import gymnasium

    class PressFire(gymnasium.Wrapper):
        """The first decision after a reset and after a lost life is FIRE."""

        def __init__(self, env: gymnasium.Env) -> None:
            super().__init__(env)
            meanings = env.unwrapped.get_action_meanings()  # type: ignore[attr-defined]
            if meanings[FIRE] != "FIRE":
                raise SimulationError(
                    f"preprocessing atari_fire: action {FIRE} of {env.spec and env.spec.id} is {meanings[FIRE]}; use atari"
                )

        def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
            """A game that waits for FIRE."""
            observation, info = self.env.reset(**kwargs)
            self._lives, self._must_fire = info["lives"], True
            return observation, info

        def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
            """One decision; FIRE where it is due."""
            observation, reward, terminated, truncated, info = self.env.step(FIRE if self._must_fire else action)
            self._lives, self._must_fire = info["lives"], info["lives"] < self._lives
            return observation, reward, terminated, truncated, info

    return PressFire


def _install_hint(message: str) -> str:
    for word, extra in _EXTRAS.items():
        if word in message:
            return f" (pip install 'neurosim-chip[{extra}]')"
    return ""


def check_fit(network: Network, env: gymnasium.Env, action: str) -> None:
    """Compare a policy with the spaces of an environment.

    Raises
    ------
    SimulationError
        Naming every difference: kind and shape of observations, number or shape of actions.
    """
    problems = _observation_problems(network, env) + _action_problems(network, env, action)
    if problems:
        name = env.spec.id if env.spec else "the environment"
        raise SimulationError(f"network {network.name!r} does not match {name}: " + "; ".join(problems))


def _observation_problems(network: Network, env: gymnasium.Env) -> list[str]:
    import gymnasium

    space, shape = env.observation_space, network.input.shape
    if not isinstance(space, gymnasium.spaces.Box):
        return [f"observations are {type(space).__name__}, one array (Box) is needed; wrap the environment (FlattenObservation)"]
    if space.shape != shape:
        problem = f"observations have shape {space.shape}, input {network.input.name!r} takes {shape}"
        if sorted(space.shape) == sorted(shape):
            problem += " (channels first against channels last?)"
        elif np.prod(space.shape) == np.prod(shape):
            problem += " (same size: reshape the observation)"
        elif len(space.shape) == 3:
            problem += " (preprocess: atari?)"
        elif len(space.shape) == 1 and len(shape) == 1 and shape[0] - space.shape[0] == 1:
            problem += " (preprocess: time_feature?)"
        return [problem]
    return []


def _action_problems(network: Network, env: gymnasium.Env, action: str) -> list[str]:
    import gymnasium

    space = env.action_space
    decoded = np.asarray(network.decode(np.zeros(network.output_shape)))
    if isinstance(space, gymnasium.spaces.Discrete):
        if action == "argmax" and decoded.size != space.n:
            return [f"the policy has {decoded.size} outputs, the environment {space.n} actions"]
        if action != "argmax" and decoded.size != 1:
            return [f"action {action!r} hands over {decoded.size} values, the environment takes one of {space.n} actions (argmax?)"]
        return []
    if isinstance(space, gymnasium.spaces.Box):
        if action == "argmax":
            return ["argmax chooses among discrete actions, the environment takes continuous ones (clip?)"]
        if decoded.size != int(np.prod(space.shape)):
            return [f"the policy has {decoded.size} outputs, the environment takes actions of shape {space.shape}"]
        return []
    return [f"actions are {type(space).__name__}; Discrete and Box are supported"]


def fitting_action(env: gymnasium.Env, networks: Sequence[Network], action: str | None) -> str:
    """The rule by which answers become actions: the given one or, by default, that of the action space and the first network.

    Raises
    ------
    SimulationError
        When the rule is unknown, or any of the networks does not match the environment.
    """
    action = action or default_action(env, networks[0])
    if action not in ACTIONS:
        raise SimulationError(f"action {action!r} is unknown; choose one of {', '.join(ACTIONS)}")
    for network in networks:
        check_fit(network, env, action)
    return action


def default_action(env: gymnasium.Env, network: Network) -> str:
    """``argmax`` for discrete actions (``identity`` where the decoder already chose one), ``clip`` for continuous ones."""
    import gymnasium

    if isinstance(env.action_space, gymnasium.spaces.Discrete):
        return "identity" if np.asarray(network.decode(np.zeros(network.output_shape))).size == 1 else "argmax"
    return "clip"
