"""Gymnasium environments: making them, and refusing a policy that does not fit before the first step."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from neurosim.errors import SimulationError
from neurosim.network import Network

if TYPE_CHECKING:
    import gymnasium

PREPROCESSING = (None, "atari")
_EXTRAS = {"box2d": "box2d", "Box2D": "box2d", "mujoco": "mujoco", "MuJoCo": "mujoco", "ale": "atari", "cv2": "atari", "opencv": "atari"}


def make_environment(env_id: str, kwargs: dict[str, Any] | None = None, preprocess: str | None = None) -> gymnasium.Env:
    """Make an environment.

    Parameters
    ----------
    env_id : str
        Gymnasium id; ids of ``ale_py`` (``ALE/Pong-v5``) are registered on demand.
    kwargs : dict, optional
        For ``gymnasium.make``.
    preprocess : {None, "atari"}
        ``atari``: frame-skip 4, maximum of the last two frames, 84 x 84 grey bytes, stack of 4
        (Mnih et al. 2015), through Gymnasium's wrappers; observations (4, 84, 84).

    Raises
    ------
    SimulationError
        When the environment is unknown, or a package it needs is not installed.
    """
    import gymnasium

    kwargs = dict(kwargs or {})
    if preprocess not in PREPROCESSING:
        raise SimulationError(f"preprocessing {preprocess!r} is unknown; choose atari or none")
    try:
        if env_id.startswith("ALE/") or preprocess == "atari":
            import ale_py

            gymnasium.register_envs(ale_py)
        if preprocess == "atari":
            env = gymnasium.make(env_id, **({"frameskip": 1} | kwargs))
            env = gymnasium.wrappers.AtariPreprocessing(env, frame_skip=4)
            return gymnasium.wrappers.FrameStackObservation(env, 4)
        return gymnasium.make(env_id, **kwargs)
    except ImportError as error:
        raise SimulationError(f"environment {env_id}: {error}{_install_hint(str(error))}") from None
    except (gymnasium.error.DependencyNotInstalled, gymnasium.error.Error, TypeError) as error:
        raise SimulationError(f"environment {env_id}: {error}{_install_hint(str(error))}") from None


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
            problem += " (a time feature? see gymnasium.wrappers.TimeAwareObservation)"
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


def default_action(env: gymnasium.Env, network: Network) -> str:
    """``argmax`` for discrete actions (``identity`` where the decoder already chose one), ``clip`` for continuous ones."""
    import gymnasium

    if isinstance(env.action_space, gymnasium.spaces.Discrete):
        return "identity" if np.asarray(network.decode(np.zeros(network.output_shape))).size == 1 else "argmax"
    return "clip"
