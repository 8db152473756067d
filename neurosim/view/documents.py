"""The JSON documents of the command line (DESIGN's contract: keys are added, never renamed)."""

from __future__ import annotations

import json
import math
from typing import Any

import numpy as np

from neurosim import counters
from neurosim.network import Network
from neurosim.program import Program
from neurosim.report import Report
from neurosim.trace import Trace

RUN_SCHEMA = "neurosim.run/1"


def run_document(trace: Trace, report: Report | None = None) -> dict[str, Any]:
    """The document of ``run --json``: schema ``neurosim.run/1``.

    Parameters
    ----------
    trace : Trace
    report : Report, optional
        Fills chip, energy, latency, cores_used, mapping_counts; null without.
    """
    network, rows = trace.network, trace.layer_counts()
    document: dict[str, Any] = {
        "schema": RUN_SCHEMA,
        "counters_version": counters.VERSION,
        "network": network_document(network),
        "timesteps": trace.n_timesteps,
        "inputs": trace.n_inputs,
        "timesteps_per_input": trace.timesteps_per_input,
        "numerics": trace.numerics,
        "schedule": trace.schedule,
        "rule": trace.rule,
        "threshold": _threshold(network),
        "counts": trace.totals_by_counter,
        "first_timestep": {"timesteps": trace.n_first, **trace.first_totals_by_counter},
        "input": {"elements": network.input.n_elements, "events": trace.input_events},
        "layers": [{"name": layer.name, "kind": layer.kind, "neurons": layer.n_neurons, **row} for layer, row in zip(network.layers, rows)],
        "reduction": trace.reduction(),
        "fidelity": _fidelity(trace),
        "all_ops": counters.all_ops(trace.totals_by_counter),
        "chip": None,
        "energy": None,
        "latency": None,
        "cores_used": None,
        "mapping_counts": None,
        "manifest": trace.manifest,
    }
    return document if report is None else document | report.to_json()


def program_document(program: Program) -> dict[str, Any]:
    """The document of ``compile --json``."""
    slices = [{"layer": program.layer_names[s.layer], "core": s.core, "tile": program.tile_of_core[s.core].tolist(), "rows": s.rows,
               "columns": s.columns, "channels": s.channels, "neurons": s.n_neurons, "storage": s.storage} for s in program.slices]
    use = [{"core": u.core, "layers": u.layers, "resource": u.resource, "used": u.used, "limit": u.limit} for u in program.utilization()]
    return {"schema": "neurosim.compile/1", "chip": program.chip.name, "cores_used": program.cores_used, "mesh": program.mesh,
            "slices": slices, "utilization": use, "notes": program.notes}


def network_document(network: Network) -> dict[str, Any]:
    """Name, hash and sizes of a network."""
    return {
        "name": network.name,
        "sha256": network.sha256,
        "neurons": network.static_total("neurons"),
        "synapses": network.static_total("synapses"),
        "weights": network.static_total("weights"),
        "nonzero_weights": network.static_total("nonzero_weights"),
        "depth": network.depth,
        "input": {"name": network.input.name, "shape": list(network.input.shape), "encoder": network.input.encoder.describe()},
        "output": {"name": network.output_name, "shape": list(network.output_shape), "decoder": network.decoder.describe()},
        "notes": list(network.notes),
    }


def _threshold(network: Network) -> float | dict[str, float]:
    values = set(network.thresholds.values())
    return values.pop() if len(values) == 1 else dict(network.thresholds)


def _fidelity(trace: Trace) -> dict[str, Any] | None:
    r = trace.reference
    if r is None:
        return None
    return {
        "max_abs_error": r.max_abs_error,
        "mean_abs_error": r.mean_abs_error,
        "argmax_agreement": r.argmax_agreement,
        "timesteps_compared": int(r.timesteps.size),
    }


LONG = 500
"""Rows above which a document is not indented: it is read by programs."""


def to_json(document: dict[str, Any]) -> str:
    """Serialise; NaN and infinity become null, numpy numbers plain ones. Long tables stand on one line."""
    indent = None if len(document.get("rows", ())) > LONG else 2
    try:
        return json.dumps(document, indent=indent, allow_nan=False, default=_plain)
    except (TypeError, ValueError):  # something that is not finite, or a key that is no text
        return json.dumps(_plain(document), indent=indent, allow_nan=False)


def _plain(value: Any) -> Any:
    if isinstance(value, dict):
        return {str(k): _plain(v) for k, v in value.items()}
    if isinstance(value, (list, tuple)):
        return [_plain(v) for v in value]
    if isinstance(value, np.ndarray):
        return _plain(value.tolist())
    if isinstance(value, np.generic):
        return _plain(value.item())
    if isinstance(value, float) and not math.isfinite(value):
        return None
    return value
