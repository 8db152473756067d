"""A recurrent policy as a delta network: multiplications and error as thresholds rise, on a recorded stream.

    python benchmarks/delta_gru.py MODEL.onnx STREAM.npz:frames_u8:episode_start --scale 255

Thresholds are fractions of each sender's activation scale (99th percentile of the dense run). The hidden values are thresholded like
all others: their changes go back into the cell (Neil et al. 2016, arXiv 1612.05571).
"""

from __future__ import annotations

import argparse
import json
from pathlib import Path

import numpy as np

import neurosim as ns

FRACTIONS = (0.0, 0.003, 0.01, 0.03, 0.1)


def sweep(network: ns.Network, inputs: np.ndarray, resets: np.ndarray) -> list[dict[str, float]]:
    """One row per fraction: MACs per timestep in all and of the recurrent layers, error and agreement with the dense run."""
    recurrent = [i for i, layer in enumerate(network.layers) if layer.dynamics is not None]
    rows = []
    for fraction in FRACTIONS:
        chosen = ns.calibrate_thresholds(network, inputs, fraction, resets=resets)
        trace = ns.simulate(chosen, inputs, resets=resets, record="none", reference="all")
        layers, n = trace.layer_counts(), trace.n_timesteps
        reference = trace.reference
        assert reference is not None
        rows.append({
            "fraction": fraction, "macs": trace.totals_by_counter["effective_macs"] / n,
            "recurrent_macs": sum(layers[i]["effective_macs"] for i in recurrent) / n,
            "dense_over_effective": trace.reduction()["vs_dense"] or float("nan"), "max_abs_error": reference.max_abs_error,
            "argmax_agreement": reference.argmax_agreement})
    return rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("stream", help="FILE.npz:INPUTS:RESETS")
    parser.add_argument("--scale", type=float, default=1.0, help="inputs are divided by this")
    parser.add_argument("--timesteps", type=int, default=500)
    parser.add_argument("--json", type=Path)
    args = parser.parse_args()
    path, inputs_key, resets_key = args.stream.rsplit(":", 2)
    network, data = ns.load(args.model), np.load(path)
    inputs = (data[inputs_key][: args.timesteps] / args.scale).astype(np.float32).reshape(-1, *network.input.shape)
    rows = sweep(network, inputs, data[resets_key][: args.timesteps])
    print(f"{network.name}: {network.static_total('dense_macs'):,} dense MACs; {len(inputs)} timesteps")
    print(f"{'threshold':>10} {'MACs':>12} {'recurrent':>12} {'fewer':>8} {'max error':>10} {'same argmax':>12}")
    for row in rows:
        print(f"{row['fraction']:>10.1%} {row['macs']:>12,.0f} {row['recurrent_macs']:>12,.0f} {row['dense_over_effective']:>7.1f}x "
              f"{row['max_abs_error']:>10.2g} {row['argmax_agreement']:>12.1%}")
    if args.json:
        args.json.write_text(json.dumps(rows, indent=1) + "\n")


if __name__ == "__main__":
    main()
