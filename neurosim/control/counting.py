"""A Gymnasium wrapper that runs a network as delta events beside whatever plays, and puts its counts into `info`."""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosim.control.policy import to_action
from neurosim.counters import KERNEL_COLUMNS
from neurosim.network import Network
from neurosim.simulation.simulator import Simulator

if TYPE_CHECKING:
    import gymnasium

KEY = "neurosim"
_COUNTED = ("effective_macs", "effective_acs", "synaptic_ops", "unweighted_ops", "neuron_updates")


def count_events(env: gymnasium.Env, network: Network, *, action: str = "argmax", numerics: str = "float32") -> gymnasium.Env:
    """Wrap an environment: every observation is also shown to the event-driven network.

    ``info["neurosim"]`` then holds, for the observation returned with it: ``events`` (input and layers), `effective_macs`,
    `effective_acs`, `synaptic_ops`, `unweighted_ops`, `neuron_updates`, ``dense_macs``, and ``action``, what the network would
    do. The network's state is cleared by `reset`.

    Parameters
    ----------
    env : gymnasium.Env
        Its observations have the shape of the network's input.
    action : {"argmax", "clip", "identity"}
        How an answer becomes an action.

    Raises
    ------
    SimulationError
        When network and environment do not match.
    """
    from neurosim.control.environment import check_fit

    check_fit(network, env, action)
    return _wrapper()(env, network, action, numerics)


@cache
def _wrapper() -> type:
    """The class; made when it is needed, for Gymnasium is imported then."""
    import gymnasium

    class CountEvents(gymnasium.Wrapper):
        """See `count_events`."""

        def __init__(self, env: gymnasium.Env, network: Network, action: str, numerics: str) -> None:
            super().__init__(env)
            self.network, self._action = network, action
            self.simulator = Simulator(network, numerics=numerics)
            self._before = self.simulator.totals()

        def reset(self, **kwargs: Any) -> tuple[Any, dict[str, Any]]:
            """Start an episode, with a clear network."""
            observation, info = self.env.reset(**kwargs)
            self.simulator.reset()
            return observation, {**info, KEY: self._count(observation)}

        def step(self, action: Any) -> tuple[Any, Any, bool, bool, dict[str, Any]]:
            """One decision, by whoever plays."""
            observation, reward, terminated, truncated, info = self.env.step(action)
            return observation, reward, terminated, truncated, {**info, KEY: self._count(observation)}

        def _count(self, observation: Any) -> dict[str, Any]:
            answer = self.simulator.step(np.asarray(observation))
            n_input, rows = self.simulator.totals()
            new = rows.sum(axis=0) - self._before[1].sum(axis=0)
            column = dict(zip(KERNEL_COLUMNS, map(int, new), strict=True))
            events = n_input - self._before[0] + column["events_out"]
            self._before = n_input, rows
            return {"events": events, **{name: column[name] for name in _COUNTED}, "dense_macs": self.network.static_total("dense_macs"),
                    "action": to_action(self.network.decode(answer), self._action, self.env.action_space)}

    return CountEvents
