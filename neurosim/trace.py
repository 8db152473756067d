"""The Trace: everything that happened in a run, independent of any chip. Frozen data.

A trace holds its network (structure, weights, thresholds), the counts per layer and timestep,
the event record (which element of which sender transmitted in which timestep) and the outputs.
Energy and time on any chip are functions of it and of a Program.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import numpy as np

from neurosim import counters
from neurosim.network import Network

_COLUMN = {name: i for i, name in enumerate(counters.KERNEL_COLUMNS)}


@dataclass(frozen=True)
class Reference:
    """The dense float64 run of the same network on (a sample of) the same inputs.

    Parameters
    ----------
    timesteps : ndarray, int64, (n,)
        Inputs (indices) that were compared.
    zero_skip_macs : ndarray, int64, (n, layers)
        Non-zero activation x non-zero weight per compared input and layer; of networks that remember, the sum over the
        timesteps of the input.
    max_abs_error, mean_abs_error, argmax_agreement : float
        Outputs before the decoder, event run against dense run.
    complete : bool
        Whether every input was compared.
    """

    timesteps: np.ndarray
    zero_skip_macs: np.ndarray
    max_abs_error: float
    mean_abs_error: float
    argmax_agreement: float
    complete: bool


@dataclass(frozen=True, repr=False)
class Trace:
    """Record of one run.

    Parameters
    ----------
    network : Network
    n_timesteps : int
    numerics, schedule, rule, readout : str
    timesteps_per_input : int
    first : ndarray, bool, (n_timesteps,)
        Timesteps that follow a reset.
    totals, first_totals : ndarray, int64, (layers, columns)
        Sums over all timesteps, and over the timesteps in `first`; columns are
        `counters.KERNEL_COLUMNS`.
    input_events, first_input_events : int
    counts : ndarray, int32 or int64, (n_timesteps, layers, columns), or None
        The same per timestep; None when the record was switched off.
    input_counts : ndarray, int32 or int64, (n_timesteps,), or None
        Input events per timestep.
    n_recorded : int
        Leading timesteps whose events are recorded.
    event_start : ndarray, int64, (n_recorded * senders + 1,)
        Events of timestep t and the j-th entry of `network.senders` are
        ``event_element[event_start[t * senders + j]: event_start[t * senders + j + 1]]``.
    event_element : ndarray, uint16 or uint32
        Element (input element or neuron) that transmitted, ascending within a sender.
    outputs : ndarray, (inputs, *network.output_shape), or None
        Before the decoder.
    reference : Reference or None
    overflows : ndarray, int64, (layers,), or None
        Of integer runs: sums that did not fit the bits of their accumulators.
    """

    network: Network
    n_timesteps: int
    numerics: str
    schedule: str
    rule: str
    readout: str
    timesteps_per_input: int
    first: np.ndarray
    totals: np.ndarray
    first_totals: np.ndarray
    input_events: int
    first_input_events: int
    counts: np.ndarray | None
    input_counts: np.ndarray | None
    n_recorded: int
    event_start: np.ndarray
    event_element: np.ndarray
    outputs: np.ndarray | None
    reference: Reference | None = None
    manifest: dict[str, Any] = field(default_factory=dict)
    overflows: np.ndarray | None = None

    def __post_init__(self) -> None:
        for name in ("first", "totals", "first_totals", "counts", "input_counts", "event_start", "event_element", "outputs",
                     "overflows"):
            array = getattr(self, name)
            if array is not None:
                array.setflags(write=False)

    def __repr__(self) -> str:
        macs = self.totals_by_counter["effective_macs"] / self.n_timesteps
        return (f"Trace({self.network.name!r}: {self.n_timesteps:,} timesteps, {self.numerics}, {self.schedule}, "
                f"{macs:,.0f} effective MACs per timestep)")

    def events_of(self, timestep: int, sender: int) -> np.ndarray:
        """Elements of the `sender`-th entry of ``network.senders`` that transmitted in a recorded timestep."""
        at = timestep * len(self.network.senders) + sender
        return self.event_element[self.event_start[at]: self.event_start[at + 1]]

    @property
    def n_inputs(self) -> int:
        """Inputs answered (timesteps / timesteps_per_input)."""
        return self.n_timesteps // self.timesteps_per_input

    def _layer_row(self, i: int, sums: np.ndarray, n_timesteps: int) -> dict[str, int]:
        static = self.network.static_counts[i]
        row = {key: static[key] * n_timesteps for key in ("dense_macs", "padded_dense_macs", "nonzero_macs")}
        row |= {name: int(sums[i, c]) for name, c in _COLUMN.items()}
        layer = self.network.layers[i]
        per_update = bool(layer.activation) + (layer.dynamics.of.elementwise_ops if layer.dynamics else 0)
        row["elementwise_ops"] = row["neuron_updates"] * per_update
        return row

    def layer_counts(self, first_only: bool = False) -> list[dict[str, Any]]:
        """Counts of each layer: MAC-type counters of the synapses into it, arrivals (`events`), `events_out`."""
        sums, n = (self.first_totals, self.n_first) if first_only else (self.totals, self.n_timesteps)
        skip = self._zero_skip(first_only)
        return [self._layer_row(i, sums, n) | {"zero_skip_macs": None if skip is None else int(skip[i])}
                for i in range(len(self.network.layers))]

    @property
    def n_first(self) -> int:
        """Timesteps that follow a reset."""
        return int(self.first.sum())

    def _total(self, first_only: bool) -> dict[str, Any]:
        rows = self.layer_counts(first_only)
        n = self.n_first if first_only else self.n_timesteps
        total: dict[str, Any] = {name: 0 for name in counters.MAPPING_FREE}
        for name in ("dense_macs", "padded_dense_macs", "nonzero_macs", "synaptic_ops", "effective_macs",
                     "effective_acs", "unweighted_ops", "neuron_updates", "elementwise_ops"):
            total[name] = sum(row[name] for row in rows)
        sent = self.first_input_events if first_only else self.input_events
        total["events"] = sent + sum(row["events_out"] for row in rows)
        total["input_compares"] = n * self.network.input.n_elements
        total["output_reads"] = self._output_reads(n, first_only)
        skip = self._zero_skip(first_only)
        total["zero_skip_macs"] = None if skip is None else int(skip.sum())
        return total

    def _output_reads(self, n_timesteps: int, first_only: bool) -> int:
        """Values read by the host: every timestep, or (readout ``last``) in the last timestep of each input only."""
        n_values = sum(part.elements.size for part in self.network.outputs)
        held = self.timesteps_per_input
        if self.readout != "last" or held == 1:
            return n_timesteps * n_values
        return 0 if first_only else n_timesteps // held * n_values

    def _zero_skip(self, first_only: bool) -> np.ndarray | None:
        """Per layer; None unless every input was compared. A held input costs the dense machine each timestep.

        In the timesteps that follow a reset: unknown where timesteps of one input differ (held inputs, neurons with a state).
        """
        r = self.reference
        if r is None or not r.complete:
            return None
        held = self.timesteps_per_input
        if not first_only:
            return r.zero_skip_macs.sum(axis=0) * self._rows_per_input
        if held > 1 and not self.network.is_memoryless:
            return None
        return r.zero_skip_macs[np.flatnonzero(self.first) // held].sum(axis=0)

    @property
    def _rows_per_input(self) -> int:
        """How often the dense machine does what a row of the reference says: a network that remembers has rows of all timesteps."""
        return self.timesteps_per_input if self.network.is_memoryless else 1

    @cached_property
    def totals_by_counter(self) -> dict[str, Any]:
        """Mapping-free counters over all timesteps; None where not measured."""
        return self._total(first_only=False)

    @cached_property
    def first_totals_by_counter(self) -> dict[str, Any]:
        """The same over the timesteps that follow a reset."""
        return self._total(first_only=True)

    def reduction(self) -> dict[str, float | None]:
        """Ratios, 1 or more is a saving.

        pruning = dense / nonzero, activation = nonzero / zero_skip, delta = zero_skip / effective;
        their product is vs_dense. Where only a sample of the inputs was referenced, zero_skip is
        the mean over that sample (the other counts are means over the whole run).
        """
        c = self.totals_by_counter
        dense, nonzero = c["dense_macs"], c["nonzero_macs"]
        effective = c["effective_macs"] + c["effective_acs"]
        ops = counters.all_ops(c)
        shares: dict[str, float | None] = {
            "vs_dense": _ratio(dense, effective), "vs_zero_skip": None,
            "pruning": _ratio(dense, nonzero), "activation": None, "delta": None,
            "all_ops": _ratio(dense, ops)}
        r = self.reference
        if r is not None and r.timesteps.size:
            skip = int(r.zero_skip_macs.sum()) * self._rows_per_input / (r.timesteps.size * self.timesteps_per_input)
            shares["activation"] = _ratio(nonzero / self.n_timesteps, skip)
            shares["delta"] = shares["vs_zero_skip"] = _ratio(skip, effective / self.n_timesteps)
        return shares

    def save(self, path: str | Path) -> None:
        """Write a Trace file (see `neurosim.trace_file`). Raises LoadError when it cannot be written."""
        from neurosim.trace_file import save_trace

        save_trace(self, Path(path))


def _ratio(whole: float, part: float) -> float | None:
    return whole / part if part else None
