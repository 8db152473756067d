"""A Network as JSON data and named arrays, and back: the form that it has inside a Trace file, and of which its hash is made."""

from __future__ import annotations

from typing import Any

import numpy as np

from neurosim.activation import Elementwise
from neurosim.host import HostOp, HostProgram
from neurosim.network import Input, Layer, Network, OutputPart
from neurosim.neurons import DELTA, Dynamics
from neurosim.synapses import Synapses


def to_arrays(network: Network) -> tuple[dict[str, Any], dict[str, np.ndarray]]:
    """Split a network into JSON data and named arrays (the form it has inside a Trace file)."""
    arrays: dict[str, np.ndarray] = {}

    def put(array: np.ndarray) -> str:
        key = f"array{len(arrays)}"
        arrays[key] = np.asarray(array)
        return key

    def program(p: HostProgram) -> dict[str, Any]:
        return {"n_inputs": p.n_inputs, "ops": [
            {"op": o.op, "attributes": o.attributes,
             "operands": [v if isinstance(v, int) else put(v) for v in o.operands]} for o in p.ops]}

    def synapses(s: Synapses) -> dict[str, Any]:
        fields = {k: getattr(s, k) for k in ("kind", "source", "grid", "target_grid", "kernel", "stride",
                                             "dilation", "pads", "groups", "sign")}
        if s.delay:
            fields["delay"] = s.delay
        if s.feeds is not None:
            fields["feeds"] = put(s.feeds)
        return fields | {k: None if getattr(s, k) is None else put(getattr(s, k)) for k in ("weight", "view")}

    def extras(layer: Layer) -> dict[str, Any]:
        """What static layers of real numbers do not have."""
        found: dict[str, Any] = {"payload_shift": layer.payload_shift} if layer.payload_shift else {}
        if layer.dynamics is not None:
            found["dynamics"] = {"kind": layer.dynamics.kind, "parameters": {k: put(v) for k, v in layer.dynamics.parameters.items()}}
        return found

    given = {k: getattr(network.input, k) for k, usual in (("signal", DELTA), ("payload_shift", 0)) if getattr(network.input, k) != usual}

    defaults: dict[str, Any] = {"defaults": [list(pair) for pair in network.defaults]} if network.defaults else {}
    structure: dict[str, Any] = {
        "name": network.name, "output_name": network.output_name, "notes": list(network.notes), **defaults,
        "input": {"name": network.input.name, "shape": list(network.input.shape),
                  "threshold": network.input.threshold, "encoder": program(network.input.encoder), **given},
        "layers": [{"name": layer.name, "shape": layer.shape, "threshold": layer.threshold, "neuron": layer.neuron,
                    "bias": put(layer.bias), "synapses": [synapses(s) for s in layer.synapses],
                    "activation": [{"op": e.op, "parameters": [put(p) for p in e.parameters]} for e in layer.activation],
                    **extras(layer)}
                   for layer in network.layers],
        "outputs": [{"layer": part.layer, "elements": put(part.elements)} for part in network.outputs],
        "decoder": program(network.decoder),
    }
    return structure, arrays


def from_arrays(structure: dict[str, Any], arrays: dict[str, np.ndarray]) -> Network:
    """Inverse of `to_arrays`. Raises ValueError or KeyError when the two do not belong together."""

    def program(p: dict[str, Any]) -> HostProgram:
        return HostProgram(tuple(
            HostOp(o["op"], tuple(v if isinstance(v, int) else arrays[v] for v in o["operands"]), o["attributes"])
            for o in p["ops"]), p["n_inputs"])

    def synapses(s: dict[str, Any]) -> Synapses:
        fields: dict[str, Any] = {k: tuple(v) if isinstance(v, list) else v for k, v in s.items()}
        for key in ("weight", "view", "feeds"):
            fields[key] = None if s.get(key) is None else arrays[s[key]]
        return Synapses(**fields)

    def dynamics(d: dict[str, Any] | None) -> Dynamics | None:
        return None if d is None else Dynamics(d["kind"], {k: arrays[v] for k, v in d["parameters"].items()})

    layers = tuple(
        Layer(d["name"], tuple(d["shape"]), tuple(synapses(s) for s in d["synapses"]), arrays[d["bias"]],
              tuple(Elementwise(e["op"], tuple(arrays[p] for p in e["parameters"])) for e in d["activation"]),
              d["threshold"], dynamics(d.get("dynamics")), d.get("payload_shift", 0))
        for d in structure["layers"])
    i = structure["input"]
    source = Input(i["name"], tuple(i["shape"]), program(i["encoder"]), i["threshold"], i.get("signal", DELTA), i.get("payload_shift", 0))
    return Network(
        structure["name"], source, layers,
        tuple(OutputPart(o["layer"], arrays[o["elements"]]) for o in structure["outputs"]),
        program(structure["decoder"]), structure["output_name"], tuple(structure["notes"]),
        tuple((str(a), str(b)) for a, b in structure.get("defaults", [])))
