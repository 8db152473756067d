"""Golden vectors: every number of a run, for somebody who builds the chip.

The file is an ``.npz`` without pickles. For a network of L layers and T timesteps:

================  ======================  ===================================================================
array             shape                   what
================  ======================  ===================================================================
manifest          text (JSON)             versions, network, thresholds, schedule, rule, numerics, layer names
input             (T, elements)           after the encoder
resets            (T,)                    state is cleared before these timesteps
sum_<layer>       (T, accumulators)       accumulators when the layer is evaluated, bias included
value_<layer>     (T, neurons)            after f
sent_<layer>      (T, neurons)            payload that each neuron transmits, 0 where none; also sent_input
output            (T, values)             before the decoder
================  ======================  ===================================================================

They are written by the numpy twin of the kernels and only where the kernels' run gives the same events, counts and outputs.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from neurosim import dense
from neurosim.errors import SimulationError
from neurosim.network import Network
from neurosim.simulation.reference import Recorded, run_reference
from neurosim.simulation.run import simulate
from neurosim.synapses import INPUT
from neurosim.version import __version__
from neurosim.whole_file import whole_file

MAX_VALUES = 1 << 27


def write_golden(network: Network, inputs: np.ndarray, path: str | Path, *, schedule: str | None = None, rule: str | None = None,
                 numerics: str | None = None, resets: np.ndarray | None = None) -> Path:
    """Write golden vectors of a run.

    Parameters
    ----------
    numerics : {"fixed", "float64"}, optional
        ``fixed`` writes int64. Default: the network's own, or float64.
    others : as in `simulate`

    Raises
    ------
    SimulationError
        For float32 (its sums depend on their order), for runs of more than `MAX_VALUES` values, and where the two simulators disagree.
    """
    numerics = numerics or ("fixed" if network.default("numerics") == "fixed" else "float64")
    schedule, rule = schedule or network.default("schedule"), rule or network.default("rule")
    if numerics not in ("fixed", "float64"):
        raise SimulationError(f"golden vectors in {numerics}: the last bits of its sums depend on their order; take fixed or float64")
    n_values = len(inputs) * (network.input.n_elements + sum(2 * layer.n_neurons + layer.n_accumulators for layer in network.layers))
    if n_values > MAX_VALUES:
        raise SimulationError(f"golden vectors of {n_values:,} values > {MAX_VALUES:,}; give fewer timesteps")
    trace = simulate(network, inputs, numerics=numerics, schedule=schedule, rule=rule, resets=resets, reference="none")
    recorded = Recorded()
    twin = run_reference(network, inputs, schedule=schedule, rule=rule, resets=resets, record=recorded)
    _same(trace, twin, network)
    kind = np.int64 if numerics == "fixed" else np.float64
    outputs = twin.outputs.reshape(len(inputs), -1)
    arrays: dict[str, Any] = {"input": dense.encode(network, inputs), "resets": trace.first, "output": outputs}
    for i, layer in enumerate(network.layers):
        arrays |= {f"sum_{layer.name}": np.array(recorded.sums[i]), f"value_{layer.name}": np.array(recorded.values[i])}
    for s in network.senders:
        arrays[f"sent_{'input' if s == INPUT else network.layers[s].name}"] = np.array(recorded.sent[s])
    whole = {k: v.astype(kind) if v.dtype.kind == "f" else v for k, v in arrays.items()}
    manifest = {"neurosim": __version__, "network": network.name, "sha256": network.sha256, "thresholds": network.thresholds,
                "schedule": schedule, "rule": rule, "numerics": numerics, "layers": [layer.name for layer in network.layers]}
    path = Path(path)
    with whole_file(path) as file:
        np.savez_compressed(file, manifest=np.array(json.dumps(manifest)), **whole)
    return path


def _same(trace: Any, twin: Any, network: Network) -> None:
    outputs = np.asarray(trace.outputs, np.float64).reshape(twin.outputs.shape)
    exact = np.array_equal(outputs, twin.outputs) if trace.numerics == "fixed" else np.allclose(outputs, twin.outputs, rtol=1e-9, atol=1e-9)
    events = all(np.array_equal(trace.events_of(t, j), sent) for t, row in enumerate(twin.events) for j, sent in enumerate(row))
    if not exact or not events or not np.array_equal(trace.counts, twin.counts):
        raise SimulationError(f"network {network.name!r}: the two simulators disagree (a tie at a threshold, in real numbers); no golden "
                              "vectors are written. Use fixed numerics")
