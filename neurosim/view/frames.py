"""Tables as data: rows of plain values, for pandas, CSV and Parquet.

Every function returns a list of dicts with the same keys in the same order; `to_pandas` and `write_table` take any of them.
Unknown values are None (an empty cell), never 0.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from neurosim.counters import KERNEL_COLUMNS
from neurosim.errors import LoadError
from neurosim.whole_file import whole_file

if TYPE_CHECKING:
    import pandas

    from neurosim.control.rollout import Rollout
    from neurosim.explore.compare import Comparison
    from neurosim.report import Report
    from neurosim.trace import Trace

Rows = Sequence[dict[str, Any]]


def layer_rows(trace: Trace) -> list[dict[str, Any]]:
    """One row per layer: its size and counters, totals over all timesteps."""
    network = trace.network
    return [{"layer": layer.name, "kind": layer.kind, "neuron": layer.neuron, "neurons": layer.n_neurons,
             "threshold": network.thresholds.get(layer.name), **row}
            for layer, row in zip(network.layers, trace.layer_counts(), strict=True)]


def timestep_rows(trace: Trace) -> list[dict[str, Any]]:
    """One row per timestep and layer: the counters of that timestep.

    Raises
    ------
    LoadError
        Where the trace holds no counts per timestep.
    """
    if trace.counts is None:
        raise LoadError("the trace holds no counts per timestep; simulate again with record='counts'")
    return [{"timestep": t, "after_reset": bool(trace.first[t]), "layer": layer.name,
             **dict(zip(KERNEL_COLUMNS, map(int, trace.counts[t, i]), strict=True))}
            for t in range(trace.n_timesteps) for i, layer in enumerate(trace.network.layers)]


def energy_rows(report: Report) -> list[dict[str, Any]]:
    """One row per action: how often it happened, its energy and the ends of its range (joule, totals); None where not priced."""
    e = report.energy
    return [{"chip": report.chip, "action": action, "count": e.counts.get(action), "energy_j": e.parts.get(action),
             "low_j": e.parts_range.get(action, (None, None))[0], "high_j": e.parts_range.get(action, (None, None))[1],
             "included_in": e.included.get(action)} for action in dict.fromkeys([*e.parts, *e.counts, *e.not_priced])]


def comparison_rows(comparison: Comparison) -> list[dict[str, Any]]:
    """One row per configuration: settings as columns of their own, figures, and whether it is on the front."""
    settings = list(dict.fromkeys(key for row in comparison.rows for key in row.settings))
    figures = ("complete", "cores_used", "energy_j", "energy_low_j", "energy_high_j", "latency_s", "latency_p99_s", "answer_s", "hops")
    rows = []
    for i, row in enumerate(comparison.rows):
        data = row.to_json()
        rows.append({"chip": row.chip, **{key: row.settings.get(key) for key in settings}, "fits": row.fits, "why_not": row.why_not,
                     **{name: data.get(name) for name in figures}, "on_front": i in comparison.pareto})
    return rows


def episode_rows(rollout: Rollout) -> list[dict[str, Any]]:
    """One row per episode: its seed, the three policies' returns, decisions, and mean effective MACs and ACs per decision."""
    rows, at = [], 0
    for i, n in enumerate(rollout.lengths.tolist()):
        macs = rollout.macs_per_decision()[at: at + n]
        at += n
        rows.append({"seed": rollout.seed + i, "return": float(rollout.returns[i]), "dense_return": float(rollout.dense_returns[i]),
                     "random_return": float(rollout.random_returns[i]), "decisions": n, "macs_per_decision": float(macs.mean())})
    return rows


def to_pandas(rows: Rows) -> pandas.DataFrame:
    """Rows as a DataFrame.

    Raises
    ------
    LoadError
        When pandas is not installed.
    """
    try:
        import pandas
    except ImportError:
        raise LoadError("data frames need pandas (pip install 'neurosim-chip[frames]')") from None
    return pandas.DataFrame.from_records(list(rows))


def write_table(rows: Rows, path: str | Path) -> Path:
    """Write rows as ``.csv`` or ``.parquet``, by the name; the file appears only when it is whole.

    Raises
    ------
    LoadError
        For another suffix, no rows, a package that is missing, or a file that cannot be written.
    """
    path = Path(path)
    if path.suffix not in (".csv", ".parquet"):
        raise LoadError(f"{path}: tables are written as .csv or .parquet")
    if not rows:
        raise LoadError(f"{path}: there are no rows to write")
    if path.suffix == ".csv":
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(rows)
        with whole_file(path) as file:
            file.write(text.getvalue().encode())
        return path
    try:
        import pyarrow
        import pyarrow.parquet
    except ImportError:
        raise LoadError(f"{path}: Parquet needs pyarrow (pip install 'neurosim-chip[frames]')") from None
    with whole_file(path) as file:
        pyarrow.parquet.write_table(pyarrow.Table.from_pylist(list(rows)), file)
    return path
