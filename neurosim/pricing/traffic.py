"""Traffic: what every slice and every fan did in each recorded timestep of a run.

The counts of slices and fans follow from the event record and the axon table. Summed over the
slices of a layer they are the layer's own counts: synapses met, neurons updated, events out.

A neuron is updated once in a timestep in which at least one event meets it over any synapse (zero
weights included), and in the first timestep after a reset. *Units* are blocks of neurons that are
always touched together: all channels of a position, the channels of a group, or one neuron.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from neurosim.chip import STORAGE_KINDS
from neurosim.errors import PricingError
from neurosim.kernels import traffic as kernel
from neurosim.mesh import link_name
from neurosim.network import Network
from neurosim.program import HOST, MESSAGE, Program
from neurosim.report import Traffic
from neurosim.trace import Trace

CHUNK = 4_000_000
"""Counts held at a time: long runs are counted in blocks of timesteps."""


@dataclass(frozen=True)
class Touch:
    """Which units an event meets, in the arrays that the kernel reads (see `kernels/traffic.py`)."""

    start: np.ndarray
    rows: np.ndarray
    cells: np.ndarray
    tap_start: np.ndarray
    tap_position: np.ndarray
    n_units: int
    unit_start: np.ndarray
    unit_slice: np.ndarray
    unit_neurons: np.ndarray


@dataclass(frozen=True)
class Block:
    """Counts of a run of timesteps: ``counts`` (timesteps, slices, kernel columns), ``fans`` (timesteps, fans)."""

    begin: int
    counts: np.ndarray
    fans: np.ndarray

    @property
    def visits(self) -> np.ndarray:
        """Synapse visits (timesteps, slices, storage kinds)."""
        return self.counts[:, :, kernel.VISITS:]


def touch_tables(network: Network, program: Program) -> Touch:
    """Build the touch tables of a network whose neurons stand on the slices of `program`."""
    unit = [layer.unit for layer in network.layers]
    n_units = [layer.n_neurons // u for layer, u in zip(network.layers, unit, strict=True)]
    unit_offset = np.concatenate([[0], np.cumsum(n_units)]).astype(np.int64)
    rows, start, cells, tap_start, tap_position = [], [0], [], [], []
    n_cells = n_starts = n_taps = 0
    for j, sender in enumerate(network.senders):
        for i, layer in enumerate(network.layers):
            for s in (s for s in layer.synapses if s.source == sender):
                begin, position, _ = s.taps
                blocks = layer.shape[2] // unit[i]
                rows.append((j, n_cells, s.grid[2], s.grid[2] // s.channel_groups, s.channels_out, unit[i],
                             n_starts, int(unit_offset[i]), blocks))
                cells.append(s.cell_of_source(network.size_of(sender)))
                tap_start.append(begin + n_taps)
                tap_position.append(position)
                n_cells, n_starts, n_taps = n_cells + cells[-1].size, n_starts + begin.size, n_taps + position.size
        start.append(len(rows))
    unit_start, unit_slice, unit_neurons = _unit_slices(network, program, unit, unit_offset)
    return Touch(np.array(start, np.int64), np.array(rows, np.int64).reshape(-1, kernel.TOUCH_ROW), np.concatenate(cells),
                 np.concatenate(tap_start), np.concatenate(tap_position), int(unit_offset[-1]),
                 unit_start, unit_slice, unit_neurons)


def _unit_slices(network: Network, program: Program, unit: list[int], offset: np.ndarray) -> tuple[np.ndarray, ...]:
    """Slices that hold neurons of each unit, and how many: CSR."""
    n_slices, pairs, n = len(program.slices), [], []
    for i, layer in enumerate(network.layers):
        of_neuron = program.slice_of_neuron(i, layer.shape).astype(np.int64)
        of_unit = offset[i] + np.arange(layer.n_neurons) // unit[i]
        found, counts = np.unique(of_unit * n_slices + of_neuron, return_counts=True)
        pairs.append(found)
        n.append(counts * (not network.autonomous[i]))  # those are updated in every timestep, met or not
    pair, neurons = np.concatenate(pairs), np.concatenate(n)
    start = np.zeros(int(offset[-1]) + 1, np.int64)
    np.cumsum(np.bincount(pair // n_slices, minlength=int(offset[-1])), out=start[1:])
    return start, pair % n_slices, neurons


def blocks(trace: Trace, program: Program, first: int = 0, stop: int | None = None) -> Iterator[Block]:
    """Count the recorded timesteps first .. stop - 1 of a run (all, where nothing is said) on a program, some at a time.

    Raises
    ------
    PricingError
        When the trace holds no event record, or belongs to another network.
    """
    if not program.is_mapped:
        raise PricingError(f"{program.chip.name}: the program holds no mapping; compile the network for this chip")
    if trace.n_recorded == 0:
        raise PricingError("the trace holds no event record; simulate again with recording on")
    a, r, network = program.axons, program.routes, trace.network
    touch = touch_tables(network, program)
    stamp = np.zeros(touch.n_units, np.int64)
    n_slices = len(program.slices)
    neurons = np.array([s.n_neurons for s in program.slices], np.int64)
    always = np.array([network.autonomous[s.layer] for s in program.slices], np.bool_)
    size = max(1, CHUNK // (n_slices * kernel.N_COLUMNS + a.n_fans))
    stop = trace.n_recorded if stop is None else stop
    for begin in range(first, stop, size):
        end = min(begin + size, stop)
        counts = np.zeros((end - begin, n_slices, kernel.N_COLUMNS), np.int64)
        fans = np.zeros((end - begin, a.n_fans), np.int64)
        kernel.count(
            begin, end, trace.schedule == "pipelined", trace.first, trace.event_start, trace.event_element, a.source_offset,
            a.start, a.slice, a.n_synapses, a.n_nonzero, a.n_visits, a.storage, a.weighted, a.delivery,
            a.fan_of_source, a.fan_slice, r.n_messages, r.n_local,
            touch.start, touch.rows, touch.cells, touch.tap_start, touch.tap_position, stamp,
            touch.unit_start, touch.unit_slice, touch.unit_neurons, neurons, always, counts, fans)
        yield Block(begin, counts, fans)


@dataclass(frozen=True)
class Deliveries:
    """Who sends messages to whom: the messages of `Block.counts`, told apart by sender and receiver.

    Parameters
    ----------
    sender, receiver : ndarray, int64, (pairs,)
        Slice that sends, or `HOST`, and slice that receives.
    pair, source : ndarray, int64, (axons,)
        Pair and source of each axon that a message enters by.
    offset : ndarray, int64, (senders + 1,)
        As in `Axons.source_offset`.
    """

    sender: np.ndarray
    receiver: np.ndarray
    pair: np.ndarray
    source: np.ndarray
    offset: np.ndarray

    @classmethod
    def of(cls, program: Program) -> Deliveries:
        """Pairs of a program."""
        a = program.axons
        entered = np.flatnonzero(a.delivery == MESSAGE)
        source = np.repeat(np.arange(a.start.size - 1), np.diff(a.start))[entered]
        sender = a.fan_slice[a.fan_of_source[source]].astype(np.int64)
        n = len(program.slices)
        key, pair = np.unique((sender - HOST) * n + a.slice[entered], return_inverse=True)
        return cls(key // n + HOST, key % n, pair.ravel(), source, a.source_offset)

    def sent(self, trace: Trace, timestep: int) -> np.ndarray:
        """Messages that each pair sends in a recorded timestep (int64, (pairs,))."""
        sends = np.zeros(int(self.offset[-1]), np.bool_)
        for j, offset in enumerate(self.offset[:-1]):
            sends[offset + trace.events_of(timestep, j)] = True
        return np.bincount(self.pair[sends[self.source]], minlength=self.sender.size)


def mapping_counts(counts: np.ndarray, hops: np.ndarray, messages: int, input_messages: int) -> dict[str, int]:
    """Mapping-bound counters (`neurosim.counters`) of a run.

    Parameters
    ----------
    counts : ndarray, int64, (slices, kernel columns)
        Summed over timesteps.
    hops : ndarray, int64, (4,)
        Links crossed in x, in y, between chips, and messages that stay in their tile.
    messages, input_messages : int
        Messages injected in all, and by the input port.

    Notes
    -----
    ``messages_sent`` includes the messages of the input port, also given as ``input_messages``.
    ``hops_local`` are messages that stay in their tile. Walking a synapse reads and writes its
    accumulator; updating a neuron reads it.
    """
    total = counts.sum(0)
    visits = total[kernel.VISITS:]
    named = {"messages_sent": messages, "input_messages": input_messages,
             "messages_received": int(total[kernel.MESSAGES_IN]), "messages_local": int(total[kernel.LOCAL_IN]),
             "hops_x": int(hops[0]), "hops_y": int(hops[1]), "hops_chip": int(hops[2]), "hops_local": int(hops[3]),
             "synapse_visits": int(visits.sum()), "weight_reads": int(total[kernel.WEIGHT_READS]),
             "state_reads": int(visits.sum() + total[kernel.UPDATES]), "state_writes": int(visits.sum())}
    return named | {f"synapse_visits.{kind}": int(n) for kind, n in zip(STORAGE_KINDS, visits, strict=True) if n}


def by_place(program: Program, counts: np.ndarray, accesses: int, link_events: np.ndarray, link_flits: np.ndarray) -> Traffic:
    """What every core and every link did.

    Parameters
    ----------
    counts : ndarray, int64, (slices, kernel columns)
        Summed over timesteps.
    accesses : int
        Neuron accesses of the whole chip; every neuron takes as many.
    link_events, link_flits : ndarray, int64, (links,)
    """
    neurons = np.array([s.n_neurons for s in program.slices], np.int64)
    of_slice = {"synapse_visits": counts[:, kernel.VISITS:].sum(1), "weight_reads": counts[:, kernel.WEIGHT_READS],
                "neuron_accesses": neurons * (accesses // max(1, int(neurons.sum()))), "neuron_updates": counts[:, kernel.UPDATES],
                "events_out": counts[:, kernel.EVENTS_OUT], "messages_out": counts[:, kernel.MESSAGES_OUT],
                "messages_in": counts[:, kernel.MESSAGES_IN], "messages_local": counts[:, kernel.LOCAL_IN]}
    cores = {}
    for name, values in of_slice.items():
        cores[name] = np.zeros(program.cores_used, np.int64)
        np.add.at(cores[name], program.core_of_slice, values)
    used = np.flatnonzero(link_events).tolist()
    return Traffic(cores, {link_name(link, program.mesh[0]): (int(link_events[link]), int(link_flits[link])) for link in used})
