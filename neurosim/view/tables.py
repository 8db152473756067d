"""Tables for a terminal (rich): networks, runs, reports, comparisons, rollouts."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from rich.console import Console, Group, RenderableType
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from neurosim import counters
from neurosim.network import Network
from neurosim.report import Report
from neurosim.trace import Trace
from neurosim.units import show

if TYPE_CHECKING:
    from neurosim.control import Rollout
    from neurosim.program import Program

PRINTED = (
    "dense_macs",
    "nonzero_macs",
    "zero_skip_macs",
    "effective_macs",
    "effective_acs",
    "synaptic_ops",
    "unweighted_ops",
    "events",
    "neuron_updates",
    "elementwise_ops",
    "input_compares",
    "output_reads",
)


_PROSE = ("definition", "note", "source", "value", "energy not published for")


def table(title: str, *columns: str) -> Table:
    """An empty borderless table; the first column, those of prose and those without a name are aligned left."""
    rows = Table(title=title, title_justify="left", title_style="bold", box=None, pad_edge=False, header_style="dim")
    for i, column in enumerate(columns):
        left = i == 0 or column in ("", "chip", "kind", "grade", *_PROSE)
        rows.add_column(column, justify="left" if left else "right", no_wrap=column not in _PROSE)
    return rows


def _per(total: int | None, n: int) -> str:
    if total is None:
        return "-"
    mean = total / n
    return f"{mean:,.0f}" if mean >= 100 or mean == int(mean) else f"{mean:,.2f}"


def _times(ratio: float | None) -> str:
    return "-" if ratio is None else f"{ratio:,.1f}x" if ratio < 100 else f"{ratio:,.0f}x"


def network_table(network: Network) -> RenderableType:
    """Layers of a network: neurons, synapses, weights, dense MACs, axons a slice would need."""
    rows = table(
        f"{network.name}: input {network.input.name} {network.input.shape}, output {network.output_name} {network.output_shape}",
        "layer",
        "kind",
        "shape",
        "neurons",
        "synapses",
        "weights",
        "non-zero",
        "dense MACs",
        "f",
    )
    for layer, row in zip(network.layers, network.static_counts):
        rows.add_row(
            layer.name,
            layer.kind,
            "x".join(map(str, layer.shape)),
            *(f"{row[k]:,}" for k in ("neurons", "synapses", "weights", "nonzero_weights", "dense_macs")),
            " ".join(e.op for e in layer.activation) or "-",
        )
    rows.add_row(
        "total",
        "",
        "",
        *(f"{network.static_total(k):,}" for k in ("neurons", "synapses", "weights", "nonzero_weights", "dense_macs")),
        "",
        style="bold",
    )
    lines = ["layers are height x width x channels", *network.notes]
    return Group(rows, *(Text(f"  {line}", style="dim") for line in lines))


def run_table(trace: Trace) -> RenderableType:
    """Counts of a run: per layer, in total with definitions, shares, fidelity."""
    n, network = trace.n_timesteps, trace.network
    layers = table(
        f"{network.name}: {n:,} timesteps, {trace.numerics}, {trace.schedule}; means per timestep",
        "layer",
        "kind",
        "neurons",
        "events in",
        "dense MACs",
        "effective MACs",
        "dense/effective",
        "updates",
        "events out",
        "threshold",
    )
    layers.add_row(
        "input", "-", f"{network.input.n_elements:,}", "", "", "", "", "", _per(trace.input_events, n),
        f"{network.input.threshold:g}" if "input" in network.thresholds else "values",
    )
    for layer, row in zip(network.layers, trace.layer_counts()):
        effective = row["effective_macs"] + row["effective_acs"]
        ratio = row["dense_macs"] / effective if effective else None
        layers.add_row(
            layer.name,
            layer.kind,
            f"{layer.n_neurons:,}",
            _per(row["events"], n),
            _per(row["dense_macs"], n),
            _per(effective, n),
            _times(ratio),
            _per(row["neuron_updates"], n),
            _per(row["events_out"], n),
            f"{network.thresholds[layer.name]:g}" if layer.name in network.thresholds else "spikes" if row["events_out"] else "read",
        )
    return Group(layers, Text(), _counts_table(trace), Text(), Text(_shares(trace)), *_fidelity(trace))


def _counts_table(trace: Trace) -> Table:
    total, first = trace.totals_by_counter, trace.first_totals_by_counter
    rows = table("counts", "counter", "per timestep", "after a reset", "total", "definition")
    for name in PRINTED:
        if total[name] == 0 and name in ("effective_acs", "unweighted_ops"):
            continue
        rows.add_row(
            name,
            _per(total[name], trace.n_timesteps),
            _per(first[name], max(1, trace.n_first)),
            "-" if total[name] is None else f"{total[name]:,}",
            counters.COUNTERS[name].definition,
            style=None,
        )
    ops = counters.all_ops(total)
    rows.add_row(
        "all_ops",
        _per(ops, trace.n_timesteps),
        _per(counters.all_ops(first), max(1, trace.n_first)),
        f"{ops:,}",
        "effective MACs and ACs + unweighted ops + neuron updates + input compares",
        style="bold",
    )
    return rows


def _shares(trace: Trace) -> str:
    r = trace.reduction()
    return (
        f"reduction: dense / effective MACs {_times(r['vs_dense'])} = pruning {_times(r['pruning'])} x activation sparsity "
        f"{_times(r['activation'])} x delta {_times(r['delta'])};  dense MACs / all operations {_times(r['all_ops'])}"
    )


def _fidelity(trace: Trace) -> list[Text]:
    r = trace.reference
    lines = []
    if r is not None and r.max_abs_error == r.max_abs_error:
        span = "" if trace.outputs is None else f" (outputs span {float(np.ptp(trace.outputs)):.3g})"
        lines.append(
            f"fidelity: largest output error {r.max_abs_error:.3g}{span}, mean {r.mean_abs_error:.3g}, same argmax in "
            f"{r.argmax_agreement:.2%} of {r.timesteps.size:,} inputs (before the decoder, against the dense float64 run)"
        )
    if r is not None and not r.complete:
        lines.append(
            f"the dense run saw {r.timesteps.size:,} evenly spaced inputs of {trace.n_inputs:,}; zero-skip ratios are means over those"
        )
    if trace.network.thresholds and not any(trace.network.thresholds.values()):
        lines.append("threshold 0 sends every change; a larger --threshold trades fidelity for operations")
    return [Text(line) for line in lines]


def program_table(program: Program) -> RenderableType:
    """Layers on cores, and the fullest core per resource."""
    layers = table(
        f"{program.network_name} on {program.chip.name}: {program.cores_used:,} cores",
        "layer",
        "slices",
        "cores",
        "neurons at most",
        "storage",
    )
    for i, name in enumerate(program.layer_names):
        mine = [s for s in program.slices if s.layer == i]
        if mine:
            layers.add_row(
                name,
                f"{len(mine):,}",
                f"{len(program.cores_of_layer(i)):,}",
                f"{max(s.n_neurons for s in mine):,}",
                ", ".join(dict.fromkeys(k for s in mine for k in s.storage)),
            )
    use = table("fullest core per resource", "resource", "core", "used", "limit", "share")
    for resource in dict.fromkeys(u.resource for u in program.utilization()):
        known = [u for u in program.utilization() if u.resource == resource and u.used is not None]
        if known:
            top = max(known, key=lambda u: u.used or 0)
            use.add_row(
                resource,
                str(top.core),
                f"{top.used:,}",
                "not published" if top.limit is None else f"{top.limit:,}",
                "-" if not top.limit else f"{(top.used or 0) / top.limit:.0%}",
            )
    return Group(layers, Text(), use, *(Text(f"  {note}", style="dim") for note in program.notes))


def report_table(report: Report) -> RenderableType:
    """Energy and time on one chip: parts with their ranges, what a timestep waits for, what is not priced."""
    e, n = report.energy, report.n_timesteps
    rows = table(
        f"{report.chip}: {report.cores_used} core{'s' * (report.cores_used != 1)}, per timestep",
        "part",
        "count",
        "energy",
        "range",
        "share",
        "",
    )
    for action, joule in e.parts.items():
        count = e.counts.get(action)
        rows.add_row(
            action,
            "" if count is None or action == "static" else _per(count, n),
            show(joule / n, "J"),
            part_range(report, action),
            *share_bar(joule, e.total_j),
        )
    rows.add_row("energy", "", at_least(e.complete) + show(e.per_timestep_j, "J"), energy_range(report), "", "", style="bold")
    lines = [_time(report), *(report.latency.why() if report.latency else ())]
    if report.period is not None:
        lines.append(
            f"control period {show(report.period.period_s, 's')}: static energy {show(report.period.static_j, 'J')} per period; "
            + report.deadline()
        )
    if report.area is not None:
        lines.append(str(report.area))
    return Group(rows, *(Text(f"  {line}") for line in lines), *(Text(f"  {note}", style="dim") for note in report.notes))


def share_bar(part: float, whole: float, width: int = 20) -> tuple[str, str]:
    """A share as text and as a bar of `width` characters for the whole."""
    share = part / whole if whole else 0.0
    return (f"{share:.0%}" if whole else "-"), "#" * round(share * width)


def part_range(report: Report, action: str) -> str:
    """Energy of a part at the ends of its figure's range, per timestep."""
    if action in report.energy.no_range:
        return "not published"
    low, high = report.energy.parts_range[action]
    return f"{show(low / report.n_timesteps, 'J')} .. {show(high / report.n_timesteps, 'J')}"


def at_least(complete: bool) -> str:
    """``>= `` before what is a lower bound."""
    return "" if complete else ">= "


def energy_range(report: Report) -> str:
    """Energy per timestep with all figures at their low and at their high end."""
    e, n = report.energy, report.n_timesteps
    if len(e.no_range) == len(e.parts):
        return "not published"
    return f"{at_least(e.complete)}{show(e.low_j / n, 'J')} .. {show(e.high_j / n, 'J')}"


def _time(report: Report) -> str:
    t = report.latency
    if t is None:
        return "time: not priced (the chip file gives none)"
    least = at_least(t.complete)
    return (
        f"time per timestep: mean {least}{show(t.timestep_s['mean'], 's')}, p99 {least}{show(t.timestep_s['p99'], 's')}, "
        f"max {least}{show(t.timestep_s['max'], 's')}; answer {least}{show(t.answer_s['mean'], 's')}{_critical(report)}"
    )


def _critical(report: Report) -> str:
    """The critical core, where nothing else says what is waited for (machines without mapping)."""
    critical = report.latency.critical if report.latency else {}
    kind = str(critical.get("kind"))
    if report.latency is None or report.latency.places:
        return ""
    return f"; critical {kind} {critical.get(kind, '')} ({critical.get('layer') or kind}), {critical.get('share', 0):.0%} of the time"


def rollout_table(result: Rollout) -> RenderableType:
    """Returns of three policies on the same seeds, and operations per decision."""
    d = result.to_dict()
    rows = table(
        f"{result.env_id}: {d['episodes']} episode{'s' * (d['episodes'] != 1)}, seeds {result.seed}..{result.seed + d['episodes'] - 1}",
        "policy",
        "mean return",
        "95 % interval",
        "MACs per decision",
    )
    c, n = d["counts"], d["env_steps"]
    rows.add_row(
        "event-driven", f"{d['mean_return']:,.2f}", _interval(d["ci95"]), _per(c["effective_macs"] + c["effective_acs"], n), style="bold"
    )
    rows.add_row("dense", f"{d['dense']['mean_return']:,.2f}", _interval(d["dense"]["ci95"]), _per(c["dense_macs"], n))
    if c["zero_skip_macs"] is not None:
        rows.add_row("dense, zeros skipped", "", "", _per(c["zero_skip_macs"], n))
    rows.add_row("random", f"{d['random']['mean_return']:,.2f}", _interval(d["random"]["ci95"]), "")
    lines = [
        f"event-driven - dense, paired by seed: {d['paired']['mean']:+,.2f}, 95 % interval {_interval(d['paired']['ci95'])}",
        f"{_agreement(result)}; observation unchanged in {d['still_share']:.2%}",
        f"worst decision: {d['worst_step']:,} MACs; first decisions of episodes left out: {d['worst_step_after_first'] or 0:,}",
        _shares(result.trace),
    ]
    return Group(rows, *(Text(f"  {line}") for line in lines))


def _agreement(result: Rollout) -> str:
    compared = result.trace.reference
    if compared is None or not compared.timesteps.size:
        return "no decision compared with the dense policy"
    return f"same action as the dense policy in {result.action_agreement:.2%} of {compared.timesteps.size:,} decisions"


def _interval(ci: list[float]) -> str:
    return "-" if ci[0] != ci[0] else f"{ci[0]:,.2f} .. {ci[1]:,.2f}"


def console(shown: RenderableType = "") -> Console:
    """Standard output: 160 columns where it is not a terminal, and never less than 120 or what the table needs (a narrower
    terminal wraps lines, so that no figure is cut). Names are text, not markup."""
    screen = Console()
    width = max(screen.width, 120) if screen.is_terminal else 160
    tables = shown.renderables if isinstance(shown, Group) else [shown]
    needed = [Measurement.get(screen, screen.options.update(width=1000), t).minimum for t in tables if isinstance(t, Table)]
    return Console(width=max(width, *needed, 1), markup=False, highlight=False)
