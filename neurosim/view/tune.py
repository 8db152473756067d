"""Tables of a tuned network: the front, the thresholds chosen, the claim, multiplications before and after."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rich.console import Group, RenderableType
from rich.table import Table
from rich.text import Text

from neurosim.explore.tune.search import Measured, Trial
from neurosim.units import show
from neurosim.view.tables import table

if TYPE_CHECKING:
    from neurosim.explore.tune import Tuned


def tuned_table(result: Tuned) -> RenderableType:
    """All of it, for a terminal."""
    parts: list[RenderableType] = [_front(result)]
    if result.chosen is not None:
        parts += [Text(), _thresholds(result, result.chosen), Text(), _layers(result)]
    return Group(*parts, Text(), *(Text(line) for line in _lines(result)))


def _front(result: Tuned) -> Table:
    kind = result.settings["constraint"]["kind"]
    energy = result.settings["objective"] == "energy"
    level = "95% interval" if kind == "score" else "same argmax"
    columns = ["trial", "MACs", "dense / MACs", *(["energy"] if energy else []), kind, level, ""]
    title = f"{result.network.name}: {len(result.trials)} trials on {_where(result)}; the front and what was tested, means per timestep"
    rows = table(title, *columns)
    remarks = {t.trial.number: "proved" if t.proved else "claim failed" for t in result.claim.tested}
    if result.chosen is not None:
        remarks[result.chosen.number] = "<- chosen"
    shown = {t.number: t for t in [*result.front, *(tested.trial for tested in result.claim.tested)]}
    for trial in sorted(shown.values(), key=lambda t: t.measured.cost):
        m = trial.measured
        value = f"{m.value:.4f}" if kind == "score" else f"{m.value:.4g}"
        rows.add_row(
            str(trial.number), f"{m.macs:,.1f}", _times(result, m.macs), *([show(m.energy_j or 0.0, "J")] if energy else []), value,
            _interval(m), remarks.get(trial.number, ""),
        )  # fmt: skip
    return rows


def _interval(m: Measured) -> str:
    if m.low is not None and m.high is not None:
        return f"{m.low:.4f} .. {m.high:.4f}"
    return "-" if m.agreement is None else f"{m.agreement:.2%}"


def _where(result: Tuned) -> str:
    s = result.settings
    if "env" in s:
        return f"{s['env']['id']}, seeds {s['seed']}..{s['seed'] + s['episodes'] - 1}"
    return f"{s['inputs']['n']:,} recorded inputs"


def _times(result: Tuned, macs: float) -> str:
    return f"{result.network.static_total('dense_macs') / macs:,.1f}x" if macs else "-"


def _thresholds(result: Tuned, chosen: Trial) -> Table:
    sparsity = chosen.setting.sparsity
    columns = ["sender", "threshold", "of its scale", "scale", *(["sparsity"] if sparsity else [])]
    rows = table(f"thresholds of trial {chosen.number}", *columns)
    for name in dict.fromkeys([*chosen.setting.thresholds, *sparsity]):
        cells = ["read", "", ""]
        if name in chosen.setting.thresholds:
            cells = [f"{chosen.setting.thresholds[name]:g}", f"{chosen.setting.fractions[name]:.2%}", f"{result.scales[name]:.4g}"]
        if sparsity:
            cells.append(f"{sparsity[name]:.0%}" if name in sparsity else "")
        rows.add_row(name, *cells)
    return rows


def _layers(result: Tuned) -> Table:
    """Multiplications into each layer: dense, at threshold 0 in the search, with the chosen setting in the claim."""
    assert result.claim.proved is not None  # asked only for a chosen setting
    before, after = result.before, result.claim.proved.measured
    rows = table("MACs per timestep into each layer", "layer", "dense", "threshold 0", "chosen", "dense / chosen")
    for layer, static in zip(result.network.layers, result.network.static_counts):
        dense, at_0, chosen = static["dense_macs"], before.layers[layer.name], after.layers[layer.name]
        rows.add_row(layer.name, f"{dense:,}", f"{at_0:,.1f}", f"{chosen:,.1f}", f"{dense / chosen:,.1f}x" if chosen else "-")
    dense = result.network.static_total("dense_macs")
    rows.add_row("total", f"{dense:,}", f"{before.macs:,.1f}", f"{after.macs:,.1f}", _times(result, after.macs), style="bold")
    return rows


def _lines(result: Tuned) -> list[str]:
    claim, lines = result.claim, [result.claim.statement]
    if claim.confidence is not None:
        lines.append(
            f"  {len(claim.tested)} of {claim.planned} candidates tested, dearest first, until one fails (fixed sequence); paired "
            f"bootstrap over seeds, {claim.confidence:.4g} two-sided"
            + (f", for {claim.earlier} earlier claims were made on this storage" if claim.earlier else "")
        )
    if claim.proved is not None:
        r = claim.proved.reduction
        share = {name: "-" if r[name] is None else f"{r[name]:,.1f}x" for name in ("vs_dense", "pruning", "activation", "delta", "all_ops")}
        lines.append(
            f"  reduction: dense / effective MACs {share['vs_dense']} = pruning {share['pruning']} x activation sparsity "
            f"{share['activation']} x delta {share['delta']};  dense MACs / all operations {share['all_ops']}"
        )
        energy = claim.proved.measured
        if energy.energy_j is not None:
            bound = "" if energy.energy_complete else ">= "
            lines.append(f"  energy per timestep on {result.settings['chip']}: {bound}{show(energy.energy_j, 'J')}")
    return lines
