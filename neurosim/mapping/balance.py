"""Balance: how much measured work each neuron of a layer is, from the events of a recorded run.

A timestep lasts as long as its busiest core, so pieces of equal work are better than pieces of equal
size. Work is summed over the run: (synapses met) x (time of a synapse) + updates x (time of an update)
+ arrivals at the piece x (time of a message in); a chip without synapse time counts synapses alone.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurosim.chip import Chip
from neurosim.mapping.geometry import Reach, box_sums
from neurosim.network import Network
from neurosim.trace import Trace

Cuts = tuple[np.ndarray, np.ndarray, np.ndarray]


@dataclass(frozen=True)
class Profile:
    """Measured work of one layer.

    Parameters
    ----------
    per_neuron : ndarray, float64, (height, width, channels)
        Work that belongs to each neuron, in seconds (or synapses).
    arrivals : tuple of (Reach, ndarray)
        Per group the events of each grid cell over the run (int64, grid).
    per_arrival : float
        Work of one event that arrives at a piece.
    """

    per_neuron: np.ndarray
    arrivals: tuple[tuple[Reach, np.ndarray], ...]
    per_arrival: float

    def work(self, cuts: Cuts) -> np.ndarray:
        """Work of each piece (float64, (n_y, n_x, n_c))."""
        sums = np.zeros(tuple(n + 1 for n in self.per_neuron.shape))
        sums[1:, 1:, 1:] = self.per_neuron.cumsum(0).cumsum(1).cumsum(2)
        total = box_sums(sums, cuts)
        if self.per_arrival:
            for reach, events in self.arrivals:
                total = total + self.per_arrival * _arriving(reach, events, cuts)
        return total

    def edges(self, axis: int, n: int) -> np.ndarray:
        """Edges of `n` parts of nearly equal work along an axis, each of one index or more (int64, (n + 1,))."""
        size = self.per_neuron.shape[axis]
        along = self.per_neuron.sum(tuple(a for a in range(3) if a != axis))
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
    updates: tuple[int, ...]


def activity_of(trace: Trace) -> Activity:
    """Add up the events of a run."""
    network = trace.network
    sizes = [network.size_of(sender) for sender in network.senders]
    offset = np.concatenate([[0], np.cumsum(sizes)])
    sender = np.repeat(np.tile(np.arange(len(sizes)), trace.n_recorded), np.diff(trace.event_start))
    events = np.bincount(offset[sender] + trace.event_element, minlength=offset[-1])
    return Activity(network, {s: events[offset[j]: offset[j + 1]] for j, s in enumerate(network.senders)},
                    tuple(int(row["neuron_updates"]) for row in trace.layer_counts()))


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
    shape = network.layers[layer].shape
    synapse_s, update_s, arrival_s = work_times(chip)
    work, arrivals = np.full(shape, update_s * activity.updates[layer] / np.prod(shape)), []
    for reach in reaches:
        s = reach.synapses
        seen = events[s.source] if s.view is None else np.where(s.view >= 0, events[s.source][s.view], 0)
        grid = seen.reshape(s.grid)
        arrivals.append((reach, grid))
        work = work + synapse_s * _met(reach, grid)
    return Profile(work, tuple(arrivals), arrival_s)


def _met(reach: Reach, events: np.ndarray) -> np.ndarray:
    """Synapses met at each neuron (float64, target grid): all of convolutions and pools, the non-zero ones of full synapses."""
    s = reach.synapses
    if s.kind == "full":
        return (events.ravel().astype(float) @ reach.is_nonzero[0].astype(float)).reshape(s.target_grid)
    per_group = events.reshape(*s.grid[:2], s.channel_groups, -1).sum(3).astype(float)
    rows, columns = reach.rows.sum(1).astype(float), reach.columns.sum(1).astype(float)
    met = np.einsum("yh,hwg,xw->yxg", rows, per_group, columns, optimize=True)
    return np.repeat(met, s.channels_out, axis=2)


def _arriving(reach: Reach, events: np.ndarray, cuts: Cuts) -> np.ndarray:
    """Events that reach each piece (float64, (n_y, n_x, n_c))."""
    s = reach.synapses
    rows = np.stack([reach.rows[a:b].any((0, 1)) for a, b in zip(cuts[0], cuts[0][1:])])
    columns = np.stack([reach.columns[a:b].any((0, 1)) for a, b in zip(cuts[1], cuts[1][1:])])
    by_group = events.reshape(*s.grid[:2], s.channel_groups, -1).sum(3).astype(float)
    met = np.einsum("yh,hwg,xw->yxg", rows.astype(float), by_group, columns.astype(float), optimize=True)
    running = np.concatenate([np.zeros((*met.shape[:2], 1)), met.cumsum(2)], 2)
    return running[..., -(-cuts[2][1:] // s.channels_out)] - running[..., cuts[2][:-1] // s.channels_out]
