"""What every format's parts do when they are loaded and run: rows of docs/conformance.md, found by trying.

Each part is put into the smallest file that can hold it. ``runs``: it loads, and four timesteps of events at threshold 0 give
what the dense run gives. Else the row is the message with which it is refused.
"""

from __future__ import annotations

import tempfile
from pathlib import Path

import numpy as np

import neurosim as ns
from neurosim.errors import NeurosimError


def attempt(path, **options):
    """``runs``, or the refusal without the path."""
    try:
        network = ns.load(path, **options)
        shape = network.input.shape
        xs = np.random.default_rng(0).integers(0, 3, (4, *shape)).astype(float)
        trace = ns.simulate(ns.set_thresholds(network, 0.0) if network.thresholds else network, xs,
                            numerics="fixed" if network.default("numerics") == "fixed" else "float64")
    except NeurosimError as error:
        return "refused: " + " ".join(str(error).replace(f"{path}: ", "").split())
    error = trace.reference.max_abs_error
    scale = max(1.0, float(np.abs(trace.outputs).max()))
    return f"runs ({', '.join(dict.fromkeys(layer.neuron for layer in network.layers))} neurons)" if error <= 1e-9 * scale else f"WRONG by {error}"


def nir_rows(folder):
    """Every node of NIR, between an Input of (4,) or (2, 6, 6) and an Output."""
    from loaders.test_nir import io, write

    ones, grid = np.ones(4), np.ones((2, 6, 6))
    leak = {"r": ones, "v_leak": 0 * ones}
    spatial = {"stride": np.array([1, 1]), "padding": np.array([0, 0]), "dilation": np.array([1, 1]), "groups": 1}
    flat = {
        "Affine": {"weight": np.ones((3, 4)), "bias": np.ones(3)}, "Linear": {"weight": np.ones((3, 4))}, "Scale": {"scale": ones},
        "Threshold": {"threshold": 0.5 * ones}, "IF": {"r": ones, "v_threshold": ones}, "I": {"r": ones},
        "LIF": {**leak, "tau": 1e-3 * ones, "v_threshold": 0.1 * ones}, "LI": {**leak, "tau": 1e-3 * ones},
        "CubaLIF": {**leak, "tau_mem": 1e-3 * ones, "tau_syn": 1e-3 * ones, "v_threshold": 0.01 * ones, "w_in": ones},
        "CubaLI": {**leak, "tau_mem": 1e-3 * ones, "tau_syn": 1e-3 * ones, "w_in": ones}, "Delay": {"delay": 2e-4 * ones}, "ALIF": {},
        "Sequence": {}}
    images = {
        "Conv2d": {**spatial, "weight": np.ones((3, 2, 3, 3)), "bias": np.ones(3), "input_shape": np.array([6, 6])},
        "Conv1d": {"weight": np.ones((3, 2, 3)), "bias": np.ones(3), "stride": 1, "padding": 0, "dilation": 1, "groups": 1},
        "SumPool2d": {"kernel_size": np.array([2, 2]), "stride": np.array([2, 2]), "padding": np.array([0, 0])},
        "AvgPool2d": {"kernel_size": np.array([2, 2]), "stride": np.array([2, 2]), "padding": np.array([0, 0])},
        "Flatten": {"start_dim": 1, "end_dim": -1}, "Upsample": {"scale": np.array([2, 2])}}
    rows = []
    for kind, fields in (flat | images).items():
        shape = (2, 6) if kind == "Conv1d" else (2, 6, 6) if kind in images else (4,)
        n = {"Conv1d": (3, 4), "Conv2d": (3, 4, 4), "Flatten": 72}.get(kind, 18 if kind in images else 4)
        nodes = {**io(shape, n), "node": {"type": kind, **fields}}
        edges = [("input", "node"), ("node", "out"), ("out", "output")]
        if kind in images:
            flat_size = {"Conv1d": 12, "Conv2d": 48, "Flatten": 72}.get(kind, 18)
            nodes |= {"flat": {"type": "Flatten", "start_dim": 1, "end_dim": -1}, "out": {"type": "Linear", "weight": np.ones((2, flat_size))}}
            edges = [("input", "node"), ("node", "flat"), ("flat", "out"), ("out", "output")]
        else:
            nodes["out"] = {"type": "Linear", "weight": np.ones((2, 3 if kind in ("Affine", "Linear") else 4))}
        rows.append(("NIR", kind, attempt(write(folder / f"{kind}.nir", nodes, edges))))
    back = {**io(4, 4), "lif": {"type": "LIF", **flat["LIF"]}, "w": {"type": "Linear", "weight": np.eye(4)}}
    edges = [("input", "lif"), ("lif", "w"), ("w", "lif"), ("lif", "output")]
    rows.append(("NIR", "a cycle (recurrence)", attempt(write(folder / "cycle.nir", back, edges))))
    inner = {"nodes": {**io(4, 4), "n": {"type": "LIF", **flat["LIF"]}}, "edges": [("input", "n"), ("n", "output")]}
    rows.append(("NIR", "NIRGraph (subgraph)", attempt(write(folder / "sub.nir", {**io(4, 4), "g": inner}, [("input", "g"), ("g", "output")]))))
    assert grid.size == 72
    return rows


def lava_rows(folder):
    """Every block of a lava-dl network with each kind of neuron."""
    import h5py

    rows = []
    for neuron in ("SDNN", "LOIHI", "CUBA", "ADRF"):
        fields = {"type": neuron, "vThMant": 1, "iDecay": 1024, "vDecay": 512, "refDelay": 1, "activation": "relu"}
        for block in ("input", "dense", "conv", "pool", "flatten", "average"):
            path = folder / f"{neuron}_{block}.net"
            blocks = [{"type": "input", "shape": np.array([2, 4, 4])}]
            if block in ("conv", "pool"):
                weight = np.ones((3, 2, 3, 3)) if block == "conv" else np.array([2.0])
                blocks.append({"type": block, "weight": weight, "kernelSize": np.array([3, 3]), "stride": np.array([1, 1]),
                               "padding": np.array([0, 0]), "dilation": np.array([1, 1]), "groups": 1})
            elif block in ("flatten", "average"):
                blocks.append({"type": block, "shape": np.array([32])})
            n_in = {"conv": 12, "pool": 8}.get(block, 32)
            blocks.append({"type": "dense", "inFeatures": n_in, "outFeatures": 3, "weight": np.ones((3, n_in))})
            with h5py.File(path, "w") as file:
                for i, content in enumerate(blocks):
                    group = file.create_group(f"layer/{i}")
                    for key, value in content.items():
                        group[key] = np.array([value], "S10") if key == "type" else value
                    if content["type"] not in ("flatten", "average"):
                        for key, value in fields.items():
                            group[f"neuron/{key}"] = value
            rows.append(("lava-dl", f"{block}, {neuron}", attempt(path)))
    return rows


def onnx_rows(folder):
    """Recurrent cells, as operators and taken apart. (Operators one by one: the table in the README.)"""
    from loaders.test_onnx_recurrent import operator_model, taken_apart

    rng = np.random.default_rng(0)
    variants = [(op, {}) for op in ("LSTM", "GRU", "RNN")] + [
        ("LSTM", {"direction": "bidirectional"}), ("GRU", {"linear_before_reset": 0}), ("RNN", {"activations": ["Relu"]}),
        ("LSTM", {"clip": 1.0})]
    rows = [("ONNX", f"{op} operator{''.join(f', {k} {v}' for k, v in more.items())}", attempt(operator_model(folder / "m.onnx", op, rng, **more)))
            for op, more in variants]
    rows.append(("ONNX", "LSTM operator without state inputs", attempt(operator_model(folder / "m.onnx", "LSTM", rng, states=False))))
    return rows + [("ONNX", f"{op} cell taken apart by an exporter", attempt(taken_apart(folder / "m.onnx", op, rng)))
                   for op in ("GRU", "LSTM", "RNN")]


def rows():
    """(format, part, outcome) of everything."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        return [*onnx_rows(folder), *nir_rows(folder), *lava_rows(folder)]
