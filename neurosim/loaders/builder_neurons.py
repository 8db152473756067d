"""The builder's primitives for neurons with a state: populations that are fed afterwards, and recurrent cells."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from neurosim.loaders.builder import Builder, Grid, Tensor, back
from neurosim.loaders.drafts import Draft, Unsupported
from neurosim.neurons import Dynamics
from neurosim.synapses import Synapses


class NeuronBuilder(Builder):
    """A network under construction that may hold neurons with a state."""

    def population(self, shape: tuple[int, ...], dynamics: Dynamics, label: str = "") -> Tensor:
        """Neurons with a state that nothing feeds yet (`join` does): a tensor (1, *shape), shape (n,) or (channels, height, width)."""
        grid = (1, 1, shape[0]) if len(shape) == 1 else (shape[1], shape[2], shape[0])
        made = self._new(Draft(dynamics.kind, label, grid, [], np.zeros(grid), sealed=True, dynamics=dynamics))
        return Tensor(made.reshape(1, -1) if len(shape) == 1 else back(made, 4))

    def join(self, neurons: Tensor, x: Tensor, delay: int = 0) -> None:
        """Let `x` feed the accumulators of a population of the same shape, `delay` timesteps later."""
        if neurons.shape != x.shape:
            raise Unsupported(f"feeds {x.shape} into neurons of shape {neurons.shape}")
        draft, pending = self.drafts[self.sources(neurons.index)[0]], self.pending(x)
        if pending is not None and pending.grid == draft.grid and \
                np.array_equal(x.index - x.index.min(), neurons.index - neurons.index.min()):
            groups, pending.merged = pending.groups, True
            draft.bias = draft.bias + pending.bias
        else:
            positions = np.argsort(neurons.index.ravel()).reshape(draft.grid)
            groups = self._groups(x.index.ravel()[positions], "identity", draft.grid)
        draft.groups += [replace(s, delay=s.delay + delay) for s in groups]

    def neurons(self, x: Tensor, dynamics: Dynamics, label: str = "") -> Tensor:
        """Neurons with a state and one accumulator each behind `x`, in its shape."""
        if self.pending(x) is None:
            x = self.identity(x, label)
        draft = self.drafts[self.sources(x.index)[0]]
        draft.dynamics, draft.sealed = dynamics, True
        return x

    def cell(self, kind: str, inputs: Sequence[tuple[Tensor, np.ndarray]], recurrent: np.ndarray, bias: np.ndarray,
             label: str = "") -> Tensor:
        """A gated or plain recurrent cell: (1, n) hidden values.

        Parameters
        ----------
        kind : str
            ``rnn``, ``lstm`` or ``gru`` of `neurosim.neurons.KINDS`.
        inputs : sequence of (Tensor, ndarray)
            Tensors of n_in elements with weights (n, ports, n_in).
        recurrent : ndarray, (n, ports, n)
            From the cell's own hidden values of the timestep before.
        bias : ndarray, (n, ports)
        """
        n, ports = bias.shape
        target: Grid = (1, 1, n * ports)
        groups: list[Synapses] = []
        for x, weight in inputs:
            groups += [replace(s, feeds=_fed(weight)) for s in self._groups(x.index.reshape(1, 1, -1), "full", target,
                                                                           weight.reshape(n * ports, -1))]
        draft = Draft(kind, label, (1, 1, n), groups, bias.reshape(target).astype(np.float64), sealed=True, dynamics=Dynamics(kind, {}))
        made = self._new(draft)
        draft.groups.append(Synapses("full", len(self.drafts) - 1, (1, 1, n), target, recurrent.reshape(n * ports, n).astype(np.float64),
                                     delay=1, feeds=_fed(recurrent)))
        return Tensor(made.reshape(1, n))


def _fed(weight: np.ndarray) -> np.ndarray | None:
    """Accumulators (n * ports,) of the ports that weights (n, ports, inputs) feed at all; None where it is all of them."""
    ports = np.any(weight != 0, axis=(0, 2))
    return None if ports.all() else np.tile(ports, len(weight))
