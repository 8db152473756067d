"""The graph of a NIR file: nodes with their arrays, subgraphs put in place, edges checked. NIR: Pedersen et al. 2024."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurosim.errors import LoadError
from neurosim.loaders.hdf5_file import Tree, read_hdf5

NEURONS = ("Threshold", "IF", "LIF", "CubaLIF", "LI", "I", "CubaLI")
SUPPORTED = ("Input", "Output", "Affine", "Linear", "Scale", "Conv1d", "Conv2d", "SumPool2d", "AvgPool2d", "Flatten", "Delay",
             "NIRGraph", *NEURONS)
MAX_NESTING = 8


@dataclass(frozen=True)
class NirNode:
    """One node: its type and its arrays and texts."""

    name: str
    type: str
    fields: dict[str, Any]

    def array(self, path: Path, name: str, default: float | None = None) -> np.ndarray:
        """A field as float64.

        Raises
        ------
        LoadError
            Where it is missing without a default, no number, NaN or infinite.
        """
        value = self.fields.get(name, default)
        if value is None:
            raise LoadError(f"{path}: node '{self.name}' ({self.type}) has no {name}")
        if not isinstance(value, np.ndarray | float | int):
            raise LoadError(f"{path}: node '{self.name}' ({self.type}): {name} is not a number")
        array = np.asarray(value, np.float64)
        if not np.isfinite(array).all():
            raise LoadError(f"{path}: node '{self.name}' ({self.type}): {name} holds NaN or infinity")
        return array

    def integers(self, path: Path, name: str, default: int | None = None) -> tuple[int, ...]:
        """A field as whole numbers."""
        array = self.array(path, name, default).reshape(-1)
        if np.any(array != np.rint(array)) or array.size and np.abs(array).max() > 1 << 30:
            raise LoadError(f"{path}: node '{self.name}' ({self.type}): {name} {array.tolist()} are not whole numbers of a sensible size")
        return tuple(int(v) for v in array)


@dataclass(frozen=True)
class NirGraph:
    """Nodes by name and edges, without subgraphs: `before` lists the sources of each node."""

    nodes: dict[str, NirNode]
    before: dict[str, list[str]]
    input: str
    output: str


def read_graph(path: Path) -> NirGraph:
    """Read a file.

    Raises
    ------
    LoadError
        With every node of an unknown type, and every edge from or to nowhere.
    """
    tree = read_hdf5(path)
    root = tree.get("node")
    if not isinstance(root, dict) or root.get("type") != "NIRGraph":
        raise LoadError(f"{path}: no NIR graph: 'node' of type NIRGraph is missing")
    nodes: dict[str, NirNode] = {}
    edges: list[tuple[str, str]] = []
    _flatten(path, root, "", nodes, edges, 0)
    inputs = [n for n in nodes.values() if n.type == "Input" and "." not in n.name]
    outputs = [n for n in nodes.values() if n.type == "Output" and "." not in n.name]
    problems = [f"node '{n.name}': type {n.type} is not supported; {', '.join(SUPPORTED)} are" for n in nodes.values()
                if n.type not in SUPPORTED]
    problems += [f"edge '{a}' -> '{b}': no node '{a if a not in nodes else b}'" for a, b in edges if a not in nodes or b not in nodes]
    if len(inputs) != 1 or len(outputs) != 1:
        problems.append(f"{len(inputs)} inputs and {len(outputs)} outputs; one of each is supported")
    if problems:
        raise LoadError(f"{path}: {len(problems)} problems:\n  " + "\n  ".join(problems) if len(problems) > 1 else f"{path}: {problems[0]}")
    before: dict[str, list[str]] = {name: [] for name in nodes}
    for a, b in dict.fromkeys(edges):
        before[b].append(a)
    return NirGraph(nodes, before, inputs[0].name, outputs[0].name)


def _flatten(path: Path, graph: Tree, prefix: str, nodes: dict[str, NirNode], edges: list[tuple[str, str]], depth: int) -> None:
    """Add the nodes and edges of a graph; a subgraph's own input and output stand for it."""
    members, pairs = graph.get("nodes"), graph.get("edges", [])
    if not isinstance(members, dict) or not isinstance(pairs, list) or any(not isinstance(p, list) or len(p) != 2 for p in pairs):
        raise LoadError(f"{path}: graph '{prefix or '/'}' lacks nodes, or its edges are not pairs of names")
    if depth > MAX_NESTING:
        raise LoadError(f"{path}: subgraphs are nested deeper than {MAX_NESTING}")
    enter: dict[str, str] = {}
    leave: dict[str, str] = {}
    for name, fields in members.items():
        if not isinstance(fields, dict) or not isinstance(fields.get("type"), str):
            raise LoadError(f"{path}: node '{prefix}{name}' has no type")
        if fields["type"] == "NIRGraph":
            inner = f"{prefix}{name}."
            _flatten(path, fields, inner, nodes, edges, depth + 1)
            own = [n for n in nodes.values() if n.name.startswith(inner) and "." not in n.name[len(inner):]]
            doors = {kind: [n.name for n in own if n.type == kind] for kind in ("Input", "Output")}
            if any(len(found) != 1 for found in doors.values()):
                raise LoadError(f"{path}: subgraph '{prefix}{name}' does not have one input and one output")
            enter[name], leave[name] = doors["Input"][0], doors["Output"][0]
        else:
            enter[name] = leave[name] = prefix + name
            nodes[prefix + name] = NirNode(prefix + name, fields["type"], fields)
    for a, b in pairs:
        edges.append((leave.get(str(a), prefix + str(a)), enter.get(str(b), prefix + str(b))))
