"""A priced run as a timeline in the native format of Perfetto (https://ui.perfetto.dev).

Tracks: the timesteps with their parts; load and links as counters; the input port; every core in
use, with a slice for the work of each level. Flows join the slice that sends messages and the one
that receives them. Times are those of the pricer (`neurosim.pricing.spans`): a model, not silicon.

Perfetto counts whole nanoseconds, and the work of a core in a timestep is often less than a hundred
of them (one synaptic operation takes 0.04 to 30 ns on the shipped chips). So where something shorter
than 1 us is drawn, what Perfetto calls 1 ns is 1 ps of the model, and the name of the first track says
so; 64 bits of them are more than a hundred days. Begins and ends are rounded to the unit, not
durations, so that slices of a track never overlap; the arguments of a slice hold its seconds as
they were priced.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from neurosim.counters import KERNEL_COLUMNS
from neurosim.errors import PricingError
from neurosim.kernels import traffic as kernel
from neurosim.mesh import link_name
from neurosim.pricing import price
from neurosim.pricing.spans import BARRIER, HOPS, WAIT, Flow, Spans, flows, spans
from neurosim.program import HOST
from neurosim.version import __version__
from neurosim.view.perfetto_file import PerfettoFile

if TYPE_CHECKING:
    from neurosim.program import Program
    from neurosim.report import Report
    from neurosim.trace import Trace

FLOWS = 64
"""Flows drawn per timestep where nothing else is said: those of most messages."""

LINKS = 8
"""Links that have a counter: the busiest ones."""

NS, PS = 1e-9, 1e-12

LONG_S = 1e-6
"""Shortest duration that is drawn in nanoseconds: they change it by 0.1 % at most."""


def timeline(trace: Trace, program: Program, report: Report | None = None, *, first: int = 0, timesteps: int = 200,
             flows_per_timestep: int = FLOWS) -> bytes:
    """Draw timesteps of a priced run.

    Parameters
    ----------
    trace : Trace
    program : Program
        Of the trace's network, on an event chip.
    report : Report or None
        The price of this trace on this program, where it is known already.
    first, timesteps : int
        Timesteps that are drawn: so many, or as many as are recorded.
    flows_per_timestep : int
        At most so many flows begin in a timestep, those of most messages; a timestep counts the messages of the
        others as ``messages_without_flow``.

    Returns
    -------
    bytes
        A serialised ``perfetto.protos.Trace``, time 0 at the begin of the first timestep drawn.

    Raises
    ------
    PricingError
        For a machine without cores, a chip without times, timesteps whose events were not recorded, and the
        report of another run.
    LoadError
        Where the package ``perfetto`` is missing.
    """
    file = PerfettoFile()
    if not program.is_mapped:
        raise PricingError(f"{program.chip.name} has no cores onto which a network is mapped: a timeline shows those of an event chip")
    if flows_per_timestep < 0:
        raise PricingError(f"flows per timestep: {flows_per_timestep} < 0")
    report = price(trace, program) if report is None else report
    stop = min(first + timesteps, trace.n_recorded)
    if not 0 <= first < stop:
        raise PricingError(f"{timesteps:,} timesteps from {first:,} on: events are recorded for {trace.n_recorded:,} timesteps, from 0 on")
    if report.latency is None:
        raise PricingError(f"{program.chip.name} publishes no times, so a run on it has no timeline; "
                           "set some (cost.synapse.time=2ns), or choose another chip")
    if (report.chip, report.n_timesteps) != (program.chip.name, trace.n_recorded):
        raise _another(report)
    laid_out = spans(trace, program, report.latency.per_timestep_s[first:stop], first)
    if not np.allclose(laid_out.parts_s.sum((1, 2)), laid_out.step_s, 1e-9, 0):
        raise _another(report)
    _Drawing(trace, program, report, laid_out, *flows(trace, program, laid_out, flows_per_timestep)).draw(file)
    return file.to_bytes()


def _another(report: Report) -> PricingError:
    return PricingError(f"the report on {report.chip} is not the price of this trace on this program; leave it out, or price again")


@dataclass(frozen=True)
class _Tracks:
    """Numbers of the tracks; a counter comes with its values per timestep."""

    timesteps: int
    counters: list[tuple[int, list[float]]]
    port: int
    cores: list[int]


class _Drawing:
    """What is drawn, with names and in the unit of the file."""

    def __init__(self, trace: Trace, program: Program, report: Report, laid_out: Spans, found: list[Flow], left_out: np.ndarray) -> None:
        self.trace, self.program, self.report, self.spans, self.left_out = trace, program, report, laid_out, left_out
        drawn_s = np.concatenate([laid_out.busy_s.ravel(), laid_out.parts_s.ravel()])
        self.unit_s = NS if drawn_s[drawn_s > 0].min(initial=np.inf) >= LONG_S else PS
        self.edges = self._ticks(laid_out.edge_s)
        self.begins, self.ends = (self._ticks(time_s) for time_s in laid_out.cell_span_s)
        layers: list[dict[str, None]] = [{} for _ in laid_out.cell_core]
        for cell, layer in zip(laid_out.cell_of_slice.tolist(), program.layer_of_slice.tolist()):
            layers[cell][program.layer_names[layer]] = None
        self.has_neurons = [bool(names) for names in layers]
        self.cell_name = [", ".join(names) or "neuron access" for names in layers]
        self.sends: dict[tuple[int, int], dict[int, Flow]] = defaultdict(dict)
        self.receives: dict[tuple[int, int], dict[int, Flow]] = defaultdict(dict)
        for number, flow in enumerate(found, 1):
            self.sends[flow.sent, flow.sender][number] = self.receives[flow.received, flow.receiver][number] = flow

    def draw(self, file: PerfettoFile) -> None:
        """Write the tracks, then timestep after timestep: who sends stands before who receives."""
        tracks = self._tracks(file)
        for t, edges in enumerate(self.edges):
            file.begin(tracks.timesteps, edges[0], f"timestep {self.spans.first + t}", self._of_timestep(t))
            for track, values in tracks.counters:
                file.count(track, edges[0], values[t])
            self._input(file, tracks.port, t)
            for level in range(self.spans.parts_s.shape[1]):
                self._parts(file, tracks.timesteps, t, level)
                for cell in np.flatnonzero(self.spans.cell_level == level).tolist():
                    self._cell(file, tracks.cores[self.spans.cell_core[cell]], t, cell)
            file.end(tracks.timesteps, edges[-1])
        for track, values in tracks.counters:
            file.count(track, self.edges[-1][-1], 0 * values[-1])

    def _ticks(self, time_s: np.ndarray) -> list[list[int]]:
        return np.rint(time_s / self.unit_s).astype(np.int64).tolist()

    def _tracks(self, file: PerfettoFile) -> _Tracks:
        unit = "ns" if self.unit_s == NS else "1 ns shown is 1 ps"
        root = file.track(f"{self.program.network_name} on {self.program.chip.name}, model time ({unit})")
        file.instant(root, 0, "about", self._about(unit))
        timesteps = file.track("timesteps", root)
        counters = [(file.track(name, root, counted), values) for name, counted, values in (*self._load(), *self._links())]
        port = file.track("input port tile ({}, {})".format(*self.program.port), root)
        return _Tracks(timesteps, counters, port, [file.track(self._core_name(core), root) for core in range(self.program.cores_used)])

    def _about(self, unit: str) -> dict[str, Any]:
        trace, report, steps = self.trace, self.report, self.spans.step_s
        unpriced = report.latency.not_priced if report.latency else ()
        return {"neurosim": __version__, "network": trace.network.name, "sha256": trace.network.sha256, "chip": report.chip, "unit": unit,
                "schedule": trace.schedule, "numerics": trace.numerics, "first_timestep": self.spans.first, "timesteps": steps.size,
                "duration_s": float(steps.sum()), "times_not_priced": ", ".join(unpriced) or "none",
                "notes": {str(i): note for i, note in enumerate(report.notes, 1)}}

    def _load(self) -> list[tuple[str, str, list[float]]]:
        """Counters of what is to be done: name, unit, values."""
        begin, end = self.spans.first, self.spans.first + self.spans.step_s.size
        work = ("work of the busiest core", "ns", (self.spans.core_work_s.max(1) / NS).tolist())
        if self.trace.counts is None:
            return [work]
        operations = self.trace.counts[begin:end, :, KERNEL_COLUMNS.index("synaptic_ops")].sum(1)
        return [("synaptic operations", "per timestep", operations.tolist()), work]

    def _links(self) -> list[tuple[str, str, list[float]]]:
        """Counters of the busiest links: the share of a timestep in which they carry flits, or the flits where a flit has no time."""
        flits, flit_s = self.spans.flits, self.program.chip.noc and self.program.chip.noc.flit_time
        total = flits.sum(0)
        busiest = [link for link in (-total).argsort(kind="stable")[:LINKS].tolist() if total[link]]
        width = self.program.mesh[0]
        if not flit_s:
            return [(f"flits on link {link_name(link, width)}", "per timestep", flits[:, link].tolist()) for link in busiest]
        share = 100 * flits * flit_s / np.where(self.spans.step_s > 0, self.spans.step_s, np.inf)[:, None]
        return [(f"occupancy of link {link_name(link, width)}", "%", share[:, link].tolist()) for link in busiest]

    def _core_name(self, core: int) -> str:
        layers = [self.program.layer_names[s.layer] for s in self.program.slices if s.core == core]
        return "core {} ({}) tile ({}, {})".format(core, ", ".join(dict.fromkeys(layers)), *self.program.tile_of_core[core])

    def _place(self, cell: int) -> str:
        """``core 7 (conv2)``; ``input port``."""
        if cell == HOST:
            return "input port"
        return f"core {self.spans.cell_core[cell]} ({self.cell_name[cell]})"

    def _of_timestep(self, t: int) -> dict[str, Any]:
        at = self.spans.first + t
        return {"input": at // self.trace.timesteps_per_input, "after_reset": bool(self.trace.first[at]),
                "duration_s": float(self.spans.step_s[t]), "messages_without_flow": int(self.left_out[t])}

    def _input(self, file: PerfettoFile, port: int, t: int) -> None:
        events, messages = int(self.spans.input_events[t]), int(self.spans.input_messages[t])
        if events:
            flows_out = self.sends.get((t, HOST), {})
            arguments = {"events_out": events, "messages_out": messages, "messages_to": self._partners(flows_out, "receiver")}
            file.instant(port, self.edges[t][0], "input", arguments, list(flows_out))

    def _parts(self, file: PerfettoFile, track: int, t: int, level: int) -> None:
        """Hops, work and barrier of a level, below its timestep."""
        edges, parts_s = self.edges[t][3 * level:], self.spans.parts_s[t, level]
        for part, name in ((HOPS, "hops"), (WAIT, "work"), (BARRIER, "barrier")):
            if parts_s[part] > 0:
                arguments: dict[str, Any] = {"duration_s": float(parts_s[part])}
                if part == WAIT:
                    name, waits = self._waits(t, level)
                    arguments |= waits
                file.begin(track, edges[part], name, arguments)
                file.end(track, edges[part + 1])

    def _waits(self, t: int, level: int) -> tuple[str, dict[str, Any]]:
        """What a level waits for: the slowest core or the busiest link."""
        cells = np.flatnonzero(self.spans.cell_level == level)
        slowest = int(cells[self.spans.busy_s[t, cells].argmax()])
        core_s, link_s = float(self.spans.busy_s[t, slowest]), float(self.spans.link_s[t, level])
        name = self._place(slowest)
        if link_s > core_s:
            name = f"link {link_name(int(self.spans.link[t, level]), self.program.mesh[0])}"
        which = "all levels" if self.trace.schedule == "pipelined" else f"level {level + 1}"
        return f"{which}: {name}", {"slowest_core_s": core_s, "busiest_link_s": link_s}

    def _cell(self, file: PerfettoFile, track: int, t: int, cell: int) -> None:
        """The work of a core in a level, where there is any."""
        counts, busy_s = self.spans.counts[t, cell], float(self.spans.busy_s[t, cell])
        sends, receives = self.sends.get((t, cell), {}), self.receives.get((t, cell), {})
        if not (busy_s > 0 or counts.any() or sends or receives):
            return
        arguments: dict[str, Any] = {"duration_s": busy_s}
        if self.has_neurons[cell]:
            arguments |= {"synapse_visits": int(counts[kernel.VISITS:].sum())} | {name: int(counts[column]) for name, column in (
                ("neuron_updates", kernel.UPDATES), ("events_out", kernel.EVENTS_OUT), ("messages_out", kernel.MESSAGES_OUT),
                ("messages_in", kernel.MESSAGES_IN), ("events_from_own_core", kernel.LOCAL_IN))}
        arguments |= {"messages_to": self._partners(sends, "receiver"), "messages_from": self._partners(receives, "sender")}
        file.begin(track, self.begins[t][cell], self.cell_name[cell], arguments, list(sends), list(receives))
        file.end(track, self.ends[t][cell])

    def _partners(self, mine: dict[int, Flow], end: str) -> dict[str, int]:
        """Messages of each flow by the cell at its other end."""
        return {self._place(getattr(flow, end)): flow.n_messages for flow in mine.values()}
