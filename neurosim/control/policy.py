"""Policies: observation -> action, by delta events, densely, or at random; and controls that any gain is held against.

All have `reset(seed)` (called on the very step on which the environment resets) and
`act(observation)`.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from neurosim import dense
from neurosim.network import Network
from neurosim.simulation import Simulator
from neurosim.transforms import set_thresholds

if TYPE_CHECKING:
    import gymnasium

ACTIONS = ("argmax", "clip", "identity")


class Policy(Protocol):
    """What plays an episode."""

    def reset(self, seed: int | None = None) -> None:
        """The environment was reset with this seed."""

    def act(self, observation: np.ndarray) -> Any:
        """Action for one observation."""


def to_action(decoded: np.ndarray, rule: str, space: Any) -> Any:
    """Post-process one decoded answer.

    Parameters
    ----------
    decoded : ndarray
    rule : {"argmax", "clip", "identity"}
        Index of the largest value; values clipped to the bounds of the action space; as is.
    space : gymnasium.Space
    """
    if rule == "argmax":
        return int(np.argmax(decoded)) + int(getattr(space, "start", 0))
    if not hasattr(space, "low"):
        return int(np.asarray(decoded).reshape(()))
    values = np.asarray(decoded, space.dtype).reshape(space.shape)
    return np.clip(values, space.low, space.high) if rule == "clip" else values


class DeltaPolicy:
    """The network on the simulated chip: state lives between decisions and is cleared by `reset`."""

    def __init__(self, network: Network, space: gymnasium.Space, action: str, *, numerics: str = "float32", record: str = "events") -> None:
        self.simulator = Simulator(network, numerics=numerics, record=record)
        self._network, self._space, self._action = network, space, action

    def reset(self, seed: int | None = None) -> None:
        """Clear the chip's state."""
        self.simulator.reset()

    def act(self, observation: np.ndarray) -> Any:
        """Action for one observation; one timestep of the chip."""
        return to_action(self._network.decode(self.simulator.step(observation)), self._action, self._space)


class DensePolicy:
    """The same mathematical function without events (conventional inference); what the network remembers is cleared by `reset`."""

    def __init__(self, network: Network, space: gymnasium.Space, action: str, *, numerics: str = "float32") -> None:
        self._network, self._space, self._action = network, space, action
        self._stream = dense.Stream(network, np.float32 if numerics == "float32" else np.float64)

    def reset(self, seed: int | None = None) -> None:
        """Forget what came before."""
        self._stream.clear()

    def act(self, observation: np.ndarray) -> Any:
        """Action for one observation."""
        _, _, outputs = self._stream.run(np.asarray(observation)[None])
        return to_action(self._network.decode(outputs[0]), self._action, self._space)


class ExactPolicy(DeltaPolicy):
    """The dense function as events at threshold 0 in float64: conventional inference, a hundred times as fast on screens.

    Its outputs differ from `DensePolicy`'s by float64 rounding (1e-13 on a Nature-CNN), less than
    float32 rounds, and do not depend on how many observations are evaluated together.
    """

    def __init__(self, network: Network, space: gymnasium.Space, action: str) -> None:
        super().__init__(set_thresholds(network, 0.0), space, action, numerics="float64", record="none")


class RandomPolicy:
    """Uniform actions; seeded with the episode."""

    def __init__(self, space: gymnasium.Space) -> None:
        self._space = space

    def reset(self, seed: int | None = None) -> None:
        """Seed the action space."""
        self._space.seed(seed)

    def act(self, observation: np.ndarray) -> Any:
        """A random action."""
        return self._space.sample()


class ConstantPolicy:
    """The same action for ever."""

    def __init__(self, space: gymnasium.Space, chosen: Any) -> None:
        self._chosen = chosen

    def reset(self, seed: int | None = None) -> None:
        """Nothing to clear."""

    def act(self, observation: np.ndarray) -> Any:
        """That action."""
        return self._chosen


class HoldPolicy:
    """Asks another policy in every `hold`-th decision and repeats its action in between: its operations / hold.

    Parameters
    ----------
    inner : callable(space=...) -> Policy
    """

    def __init__(self, inner: Callable[..., Policy], hold: int, space: gymnasium.Space) -> None:
        self._inner, self._hold = inner(space=space), hold
        self._n, self._chosen = 0, None

    def reset(self, seed: int | None = None) -> None:
        """The next decision is asked for."""
        self._inner.reset(seed)
        self._n = 0

    def act(self, observation: np.ndarray) -> Any:
        """A fresh action or the last one."""
        if self._n % self._hold == 0:
            self._chosen = self._inner.act(observation)
        self._n += 1
        return self._chosen


class NoisyCamera:
    """Another policy behind a camera with Gaussian noise, rounded to grey levels and clipped to 0..255.

    Each screen gets its noise once and keeps it while it moves through the stack, as it would
    from a camera; the first screen of an episode fills the stack with its noise too.

    Parameters
    ----------
    inner : callable(space=...) -> Policy
    sigma : float
        Standard deviation in grey levels. Seeded with the episode.

    Attributes
    ----------
    simulator : Simulator
        Of the policy behind the camera.
    """

    def __init__(self, inner: Callable[..., Policy], sigma: float, space: gymnasium.Space) -> None:
        self._inner, self._sigma = inner(space=space), sigma
        self.simulator = getattr(self._inner, "simulator", None)
        self._noise: np.ndarray | None = None

    def reset(self, seed: int | None = None) -> None:
        """A new episode, with noise of its own."""
        self._inner.reset(seed)
        self._random, self._noise = np.random.default_rng(seed), None

    def act(self, observation: np.ndarray) -> Any:
        """Action on the noisy stack (planes, height, width), oldest plane first."""
        fresh = self._random.normal(0.0, self._sigma, observation.shape[1:])[None]
        self._noise = np.repeat(fresh, len(observation), axis=0) if self._noise is None else np.concatenate([self._noise[1:], fresh])
        return self._inner.act(np.clip(np.rint(observation + self._noise), 0, 255).astype(np.uint8))


class VectorDeltaPolicy:
    """One chip state per sub-environment of a Gymnasium vector environment.

    Gymnasium resets a finished sub-environment by itself. In which call the first observation
    of the new episode appears depends on its autoreset mode; the state is cleared before
    exactly that observation:

    - ``NextStep``: in the call after the one that reported the end (whose action is ignored);
    - ``SameStep``: in the call that reported the end;
    - ``Disabled``: the caller resets; pass the mask that went into ``reset_mask`` to `reset`.

    Parameters
    ----------
    network : Network
    envs : gymnasium.vector.VectorEnv
    action : {"argmax", "clip", "identity"}

    Examples
    --------
    >>> observations, _ = envs.reset(seed=0)
    >>> policy.reset()
    >>> while running:
    ...     observations, rewards, terminated, truncated, _ = envs.step(policy.act(observations))
    ...     policy.observe(terminated | truncated)
    """

    def __init__(self, network: Network, envs: gymnasium.vector.VectorEnv, action: str, *, numerics: str = "float32") -> None:
        from gymnasium.vector import AutoresetMode

        mode = envs.metadata.get("autoreset_mode", AutoresetMode.NEXT_STEP)
        self._mode = mode if isinstance(mode, AutoresetMode) else AutoresetMode(mode)
        self._same_step = self._mode == AutoresetMode.SAME_STEP
        self._next_step = self._mode == AutoresetMode.NEXT_STEP
        space = envs.single_action_space
        self.policies = [DeltaPolicy(network, space, action, numerics=numerics, record="none") for _ in range(envs.num_envs)]
        self._ended = np.zeros(envs.num_envs, np.bool_)

    def reset(self, mask: np.ndarray | None = None) -> None:
        """Clear the state of the sub-environments in `mask` (all by default)."""
        for i, policy in enumerate(self.policies):
            if mask is None or mask[i]:
                policy.reset()
                self._ended[i] = False

    def observe(self, ended: np.ndarray) -> None:
        """Tell which sub-environments reported an end (terminated or truncated) in the last step."""
        starts = ended if self._same_step else self._ended if self._next_step else np.zeros_like(ended)
        for i in np.flatnonzero(starts):
            self.policies[i].reset()
        self._ended = np.asarray(ended, np.bool_).copy()

    def act(self, observations: np.ndarray) -> np.ndarray:
        """One action per sub-environment."""
        return np.array([policy.act(x) for policy, x in zip(self.policies, observations)])
