"""Balance: how much measured work each neuron of a layer is, from the events of a recorded run.

A timestep lasts as long as its busiest core, so pieces of equal work are better than pieces of equal
size. Work is summed over the run: (synapses walked) x (time of a synapse) + updates x (time of an update)
+ arrivals at the piece x (time of a message in); a chip without synapse time counts synapses alone.
Updates are taken as the layer's mean.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from neurosim.chip import Chip
from neurosim.counters import KERNEL_COLUMNS
from neurosim.mapping.geometry import Reach, box_sums
from neurosim.network import Network
from neurosim.trace import Trace

Cuts = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Profile:
    """Measured work of one layer.

    Parameters
    ----------
    reaches : tuple of Reach
    events : tuple of ndarray, int64, grid
        Per group the events of each grid cell over the run.
    updates : float
        Updates of each neuron over the run (the mean of the layer).
    times : (float, float, float)
        Work of a synapse, of an update and of an arrival, in seconds (or synapses).
    """

    reaches: tuple[Reach, ...]
    events: tuple[np.ndarray, ...]
    updates: float
    times: tuple[float, float, float]

    @cached_property
    def met(self) -> tuple[np.ndarray, ...]:
        """Per group the synapses met at each neuron (float64, layer shape)."""
        return tuple(_met(r, e, np.ones((1, 1, 1))) for r, e in zip(self.reaches, self.events, strict=True))

    @cached_property
    def nonzero_met(self) -> tuple[np.ndarray, ...]:
        """The same over synapses with a non-zero weight."""
        return tuple(_met(r, e, r.is_nonzero.astype(float)) for r, e in zip(self.reaches, self.events, strict=True))

    @cached_property
    def _sums(self) -> tuple[tuple[np.ndarray, np.ndarray], ...]:
        return tuple((_running(a), _running(b)) for a, b in zip(self.met, self.nonzero_met, strict=True))

    def work(self, cuts: Cuts, stored: list[np.ndarray], row_neurons: int | None) -> np.ndarray:
        """Work of each piece (float64, (n_y, n_x, n_c)).

        Parameters
        ----------
        stored : list of ndarray of str, (n_y, n_x, n_c)
            Per group the storage of each piece: sparse walks the non-zero synapses, a crossbar a whole row.
        row_neurons : int or None
            Synapses of a row of a crossbar; None is the neurons of the piece.
        """
        synapse_s, update_s, arrival_s = self.times
        y, x, c = (np.diff(cut) for cut in cuts)
        n = y[:, None, None] * x[:, None] * c
        total = n * (self.updates * update_s)
        for g, (reach, events) in enumerate(zip(self.reaches, self.events, strict=True)):
            arriving = _arriving(reach, events, cuts)
            every, nonzero = (box_sums(sums, cuts) for sums in self._sums[g])
            walked = np.where(stored[g] == "sparse", nonzero, np.where(stored[g] == "crossbar", arriving * (row_neurons or n), every))
            total = total + synapse_s * walked + arrival_s * arriving
        return total

    def edges(self, axis: int, n: int) -> np.ndarray:
        """Edges of `n` parts of nearly equal work along an axis, each of one index or more (int64, (n + 1,))."""
        per_neuron = self.times[0] * np.sum(self.met, axis=0) + self.times[1] * self.updates
        size = per_neuron.shape[axis]
        along = per_neuron.sum(tuple(a for a in range(3) if a != axis))
        if along.sum() <= 0:
            return np.arange(n + 1, dtype=np.int64) * size // n
        found = np.searchsorted(along.cumsum(), along.sum() * np.arange(1, n) / n) + 1
        for k in range(n - 1):
            found[k] = max(found[k], (found[k - 1] if k else 0) + 1)
        for k in reversed(range(n - 1)):
            found[k] = min(found[k], (found[k + 1] if k < n - 2 else size) - 1)
        return np.array([0, *found, size], np.int64)


@dataclass(frozen=True)
class Activity:
    """What a run says of a network: events of each element of each sender, and updates of each layer, over the recorded run."""

    network: Network
    events: dict[int, np.ndarray]
    updates: tuple[float, ...]


def activity_of(trace: Trace) -> Activity:
    """Add up the events of a run."""
    network = trace.network
    sizes = [network.size_of(sender) for sender in network.senders]
    offset = np.concatenate([[0], np.cumsum(sizes)])
    sender = np.repeat(np.tile(np.arange(len(sizes)), trace.n_recorded), np.diff(trace.event_start))
    events = np.bincount(offset[sender] + trace.event_element, minlength=offset[-1])
    return Activity(network, {s: events[offset[j]: offset[j + 1]] for j, s in enumerate(network.senders)}, _updates(trace))


def _updates(trace: Trace) -> tuple[float, ...]:
    """Updates of each layer over the recorded timesteps; their share of the run's where counts per timestep are not kept."""
    column = KERNEL_COLUMNS.index("neuron_updates")
    if trace.counts is not None:
        return tuple(trace.counts[: trace.n_recorded, :, column].sum(0).tolist())
    return tuple((trace.totals[:, column] * (trace.n_recorded / trace.n_timesteps)).tolist())


def work_times(chip: Chip) -> tuple[float, float, float]:
    """Seconds of a synapse, of a neuron update and of a message in; (1, 0, 0), in synapses, where no synapse time is published."""
    synapse_s = next((t for kind in ("dense", "sparse", "convolution", "crossbar") if (t := chip.time_s(f"synapse.{kind}"))), None)
    if synapse_s is None:
        return 1.0, 0.0, 0.0
    held = chip.included("time")
    update_s, arrival_s = (0.0 if action in held else chip.time_s(action) or 0.0 for action in ("neuron_update", "message_in"))
    return synapse_s, update_s, arrival_s


def profile_of(activity: Activity, chip: Chip, layer: int, reaches: tuple[Reach, ...]) -> Profile:
    """Measure one layer: what its neurons would do on a chip if the run came again."""
    network, events = activity.network, activity.events
    grids = []
    for reach in reaches:
        s = reach.synapses
        seen = events[s.source] if s.view is None else np.where(s.view >= 0, events[s.source][s.view], 0)
        grids.append(seen.reshape(s.grid))
    return Profile(reaches, tuple(grids), activity.updates[layer] / network.layers[layer].n_neurons, work_times(chip))


def _running(values: np.ndarray) -> np.ndarray:
    sums = np.zeros(tuple(n + 1 for n in values.shape))
    sums[1:, 1:, 1:] = values.cumsum(0).cumsum(1).cumsum(2)
    return sums


def _met(reach: Reach, events: np.ndarray, per_tap: np.ndarray) -> np.ndarray:
    """Sum of events x ``per_tap`` (taps, source channel, channel of the group) over the taps of each neuron (float64, target grid)."""
    s = reach.synapses
    groups, per_group = s.channel_groups, s.grid[2] // s.channel_groups
    weights = np.broadcast_to(per_tap, (s.kernel[0] * s.kernel[1], s.grid[2], s.channels_out)).reshape(*s.kernel, groups, per_group, -1)
    padded = np.zeros((s.grid[0] + 1, s.grid[1] + 1, s.grid[2]))
    padded[:-1, :-1] = events
    total = np.zeros((*s.target_grid[:2], groups, s.channels_out))
    for k_y in range(s.kernel[0]):
        y = np.where(reach.rows[:, k_y].any(1), reach.rows[:, k_y].argmax(1), s.grid[0])
        for k_x in range(s.kernel[1]):
            x = np.where(reach.columns[:, k_x].any(1), reach.columns[:, k_x].argmax(1), s.grid[1])
            seen = padded[y[:, None], x].reshape(*s.target_grid[:2], groups, per_group)
            total += np.einsum("yxgi,gio->yxgo", seen, weights[k_y, k_x], optimize=True)
    return total.reshape(s.target_grid)


def _arriving(reach: Reach, events: np.ndarray, cuts: Cuts) -> np.ndarray:
    """Events that reach each piece (float64, (n_y, n_x, n_c))."""
    s = reach.synapses
    rows = np.stack([reach.rows[a:b].any((0, 1)) for a, b in zip(cuts[0], cuts[0][1:])])
    columns = np.stack([reach.columns[a:b].any((0, 1)) for a, b in zip(cuts[1], cuts[1][1:])])
    by_group = events.reshape(*s.grid[:2], s.channel_groups, -1).sum(3).astype(float)
    met = np.einsum("yh,hwg,xw->yxg", rows.astype(float), by_group, columns.astype(float), optimize=True)
    running = np.concatenate([np.zeros((*met.shape[:2], 1)), met.cumsum(2)], 2)
    return running[..., -(-cuts[2][1:] // s.channels_out)] - running[..., cuts[2][:-1] // s.channels_out]
