"""Builds a Network from primitives; every file format is lowered onto these.

A `Tensor` is an array of *element numbers*: the input and each layer own a contiguous range,
`PAD` is a zero. Reshape, transpose, slice, concatenate and pad are therefore plain numpy on
that array: exact, and no neurons. A linear primitive reads a tensor, groups its cells by the
layer they belong to, and makes one group of synapses for each.

An element-wise step goes, in this order: into f of the layer that the tensor is (if nobody
else reads it); into the encoder (if the tensor is the input and nobody else reads it); else
into a new layer behind `identity` synapses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np

from neurosim.host import HostOp, HostProgram
from neurosim.loaders.drafts import Draft, Step, Unsupported, X, compact, run_step
from neurosim.loaders.naming import unique_names
from neurosim.loaders.windows import Window
from neurosim.network import Input, Layer, Network, OutputPart
from neurosim.neurons import DELTA
from neurosim.synapses import ELSEWHERE, INPUT, PADDING, Synapses

PAD = -1
"""Element number of a zero."""

Grid = tuple[int, int, int]

POINT = Window((1, 1))
"""The window of synapses that have none: one tap, one step."""


@dataclass(frozen=True)
class Tensor:
    """int64 element numbers in the shape of the tensor (batch axis of size 1 included)."""

    index: np.ndarray

    @property
    def shape(self) -> tuple[int, ...]:
        """Shape of the tensor."""
        return self.index.shape


class Builder:
    """A network under construction. Drafts are numbered from 0; the input is `INPUT`."""

    def __init__(self, input_name: str, input_shape: tuple[int, ...], batch: bool = True) -> None:
        self.input_name, self.input_shape, self.batch = input_name, tuple(input_shape), batch
        self.drafts: list[Draft] = []
        self.encoder: list[HostOp] = []
        self.input_sealed = False
        self.starts = [0, int(np.prod(input_shape, dtype=np.int64))]

    def input_tensor(self) -> Tensor:
        """The whole input."""
        shape = (1, *self.input_shape) if self.batch else self.input_shape
        return Tensor(np.arange(self.starts[1], dtype=np.int64).reshape(shape))

    # ---- who owns which element -------------------------------------------------------

    def owners(self, index: np.ndarray) -> np.ndarray:
        """Draft number of each element (`INPUT`), or -2 for `PAD`."""
        return np.searchsorted(self.starts, index, side="right") - 2

    def sources(self, index: np.ndarray) -> list[int]:
        """Draft numbers that occur, ascending, `INPUT` included, padding left out."""
        return [int(s) for s in np.unique(self.owners(index[index >= 0]))]

    def share(self, x: Tensor) -> None:
        """Declare that a tensor has several readers: what it shows may no longer change in place."""
        for source in self.sources(x.index):
            self._seal(source)

    def _seal(self, source: int) -> None:
        if source == INPUT:
            self.input_sealed = True
        else:
            self.drafts[source].sealed = True

    def _new(self, draft: Draft) -> np.ndarray:
        """Register a draft; returns its element numbers in shape `grid`."""
        start = self.starts[-1]
        self.drafts.append(draft)
        self.starts.append(start + draft.n_neurons)
        return np.arange(start, start + draft.n_neurons, dtype=np.int64).reshape(draft.grid)

    def sole(self, x: Tensor) -> int | None:
        """The draft of which `x` shows every neuron exactly once, or None."""
        sources = self.sources(x.index)
        if len(sources) != 1 or sources[0] == INPUT or x.index.size != self.drafts[sources[0]].n_neurons:
            return None
        return sources[0] if _once(x.index) else None

    def pending(self, x: Tensor) -> Draft | None:
        """The draft that `x` is, while it is still a plain sum that nobody reads."""
        sole = self.sole(x)
        return self.drafts[sole] if sole is not None and self.drafts[sole].linear else None

    # ---- synapses ---------------------------------------------------------------------

    def _groups(self, cells: np.ndarray, kind: str, target: Grid, weight: np.ndarray | None = None,
                window: Window = POINT, channel_groups: int = 1, sign: int = 1) -> list[Synapses]:
        """One group of synapses per source of `cells` (height, width, channels); seals the sources."""
        sources = self.sources(cells)
        if not sources:
            raise Unsupported("it reads nothing but zeros")
        if not _once(cells):
            raise Unsupported("it reads an element twice (Expand, Tile, reflected padding or a repeated index before it); "
                              "give each branch its own operator")
        owners = self.owners(cells)
        groups = []
        for i, source in enumerate(sources):
            start = self.starts[source + 1]
            view = np.where(owners == source, cells - start, np.where((cells == PAD) & (i == 0), PADDING, ELSEWHERE))
            part = weight
            if part is not None and len(sources) > 1 and channel_groups == 1:
                keep = np.any(view != ELSEWHERE, axis=(0, 1))
                view, part = view[:, :, keep], part[:, keep]
            n_source = self.starts[source + 2] - start
            whole = view.size == n_source and np.array_equal(view.ravel(), np.arange(n_source))
            groups.append(Synapses(kind, source, _grid(view), target, part if part is None else part.astype(np.float64),
                                   None if whole else view.ravel().astype(np.int32), window.kernel, window.stride, window.dilation,
                                   window.pads, channel_groups, sign))
            self._seal(source)
        return groups

    def _layer(self, kind: str, label: str, grid: Grid, groups: list[Synapses], bias: np.ndarray | float) -> np.ndarray:
        full = np.broadcast_to(np.asarray(bias, np.float64), grid).copy()
        return self._new(Draft(kind, label, grid, groups, full))

    def full(self, x: Tensor, weight: np.ndarray, bias: np.ndarray | float = 0.0, label: str = "") -> Tensor:
        """y[..., o] = sum_i weight[o, i] x[..., i] + bias[o]: `full`, or a 1 x 1 convolution over the leading axes."""
        *lead, n_in = x.shape
        if n_in != weight.shape[1]:
            raise Unsupported(f"shapes do not agree: input {x.shape} has {n_in} elements in its last axis, "
                              f"the weight (out, in) is {weight.shape}")
        grid_lead = lead[-2:] if len(lead) > 2 and np.prod(lead[:-2]) == 1 else [1, int(np.prod(lead))]
        cells, grid = x.index.reshape(*grid_lead, n_in), (*grid_lead, weight.shape[0])
        if grid[:2] == (1, 1):
            groups = self._groups(cells, "full", grid, weight)
        else:
            groups = self._groups(cells, "convolution", grid, weight[:, :, None, None])
        return Tensor(self._layer("fc", label, grid, groups, bias).reshape(*lead, weight.shape[0]))

    def convolution(self, x: Tensor, weight: np.ndarray, bias: np.ndarray | float, window: Window, groups: int = 1,
                    label: str = "") -> Tensor:
        """Convolution of a (1, channels, length) or (1, channels, height, width) tensor; weight as in ONNX."""
        cells = spatial_cells(x)
        if weight.shape[1] * groups != cells.shape[2] or weight.shape[0] % groups:
            raise Unsupported(f"shapes do not agree: input {x.shape} has {cells.shape[2]} channels, "
                              f"the weight is {weight.shape} with {groups} groups")
        weight = weight.reshape(*weight.shape[:2], *window.kernel)
        target = (*window.target(cells.shape), weight.shape[0])
        made = self._layer("conv", label, target, self._groups(cells, "convolution", target, weight, window, groups), bias)
        return Tensor(back(made, len(x.shape)))

    def pool(self, x: Tensor, window: Window, maximum: bool = False, mean: bool = False, include_pads: bool = True,
             label: str = "") -> Tensor:
        """Sum, mean or maximum over windows of a (1, channels, ...) tensor; the mean's 1/k is a scale in f."""
        if maximum and (len(self.sources(x.index)) > 1 or (x.index == PAD).any()):
            x = self.identity(x, label)
        cells = spatial_cells(x)
        target = (*window.target(cells.shape), cells.shape[2])
        groups = self._groups(cells, "max_pool" if maximum else "sum_pool", target, window=window)
        made = self._layer("pool", label, target, groups, 0.0)
        if mean:
            scale = 1.0 / window.counts(cells.shape, include_pads)
            self.drafts[-1].affine(np.broadcast_to(scale[:, :, None], target).copy(), np.zeros(target))
        return Tensor(back(made, len(x.shape)))

    def reduce(self, x: Tensor, axes: tuple[int, ...], keepdims: bool, how: str, label: str = "") -> Tensor:
        """Sum, mean or max over any axes: a pooling window that covers them."""
        kept = [a for a in range(len(x.shape)) if a not in axes]
        n_reduced = int(np.prod([x.shape[a] for a in axes]))
        lined = x.index.transpose(*kept, *axes).reshape(1, -1, n_reduced)
        window = Window((1, n_reduced), (1, 1))
        y = self.pool(Tensor(lined), window, maximum=how == "max", mean=how == "mean", label=label)
        shape = [1 if a in axes else n for a, n in enumerate(x.shape) if keepdims or a not in axes]
        return Tensor(y.index.reshape(shape))

    def identity(self, x: Tensor, label: str = "") -> Tensor:
        """A layer that repeats `x`; it carries element-wise steps that fit nowhere else."""
        grid, positions = self._layout(x)
        groups = self._groups(x.index.ravel()[positions], "identity", grid)
        return self._numbered(self._layer("copy", label, grid, groups, 0.0), positions, x.shape)

    # ---- sums -----------------------------------------------------------------------------

    def add(self, a: Tensor, b: Tensor, sign: int = 1, label: str = "") -> Tensor:
        """a + b, or a - b: several groups of synapses on one accumulator."""
        if a.shape != b.shape:
            raise Unsupported(f"adds branches of different shapes {a.shape} and {b.shape}")
        left, right = self.pending(a), self.pending(b)
        if right is left or (sign < 0 and right is not None and not right.negatable):
            right = None
        if left is not None and right is not None and left.grid == right.grid and \
                np.array_equal(a.index - a.index.min(), b.index - b.index.min()):
            if sign < 0:
                right.negate()
            left.groups += right.groups
            left.bias = left.bias + right.bias
            right.merged = True
            return a
        if left is not None:
            self._add_identity(left, a, b, sign)
            return a
        if right is not None:
            if sign < 0:
                right.negate()
            self._add_identity(right, b, a, 1)
            return b
        return self._sum_layer(a, b, sign, label)

    def _add_identity(self, draft: Draft, a: Tensor, b: Tensor, sign: int) -> None:
        """Add tensor `b` to the pending draft that `a` shows."""
        positions = np.argsort(a.index.ravel()).reshape(draft.grid)
        draft.groups += self._groups(b.index.ravel()[positions], "identity", draft.grid, sign=sign)

    def _sum_layer(self, a: Tensor, b: Tensor, sign: int, label: str) -> Tensor:
        grid, positions = self._layout(a)
        groups = (self._groups(a.index.ravel()[positions], "identity", grid)
                  + self._groups(b.index.ravel()[positions], "identity", grid, sign=sign))
        return self._numbered(self._layer("add", label, grid, groups, 0.0), positions, a.shape)

    def _layout(self, x: Tensor) -> tuple[Grid, np.ndarray]:
        """Grid of a layer that repeats `x`, and for each neuron the position in the flattened tensor."""
        sole = self.sole(x)
        if sole is not None:
            grid = self.drafts[sole].grid
            return grid, np.argsort(x.index.ravel()).reshape(grid)
        shape = x.shape[1:] if len(x.shape) > 1 and x.shape[0] == 1 else x.shape
        if len(shape) != 3:
            shape = (shape[0], 1, shape[1]) if len(shape) == 2 else (1, 1, x.index.size)
        flat = np.arange(x.index.size).reshape(shape)
        positions = flat if shape[:2] == (1, 1) else flat.transpose(1, 2, 0)
        return _grid(positions), positions

    @staticmethod
    def _numbered(made: np.ndarray, positions: np.ndarray, shape: tuple[int, ...]) -> Tensor:
        index = np.empty(made.size, np.int64)
        index[positions.ravel()] = made.ravel()
        return Tensor(index.reshape(shape))

    # ---- element-wise steps -------------------------------------------------------------

    def elementwise(self, x: Tensor, step: Step, label: str = "") -> Tensor:
        """Apply a step to every element (see the order at the head of this module)."""
        sources = self.sources(x.index)
        if step.neuron is not None and self._owns_alone(x, sources) and self._keeps_padding(x, step):
            for source in sources:
                self._extend(source, x, step)
            return x
        if sources == [INPUT] and not self.input_sealed and _once(x.index) and self._keeps_padding(x, step):
            self._encode(x, step)
            return x
        if step.neuron is None:
            raise Unsupported("a neuron cannot evaluate it; it is possible before the first or after the last weights")
        y = self.identity(x, label)
        self._extend(len(self.drafts) - 1, y, step)
        return y

    def _owns_alone(self, x: Tensor, sources: list[int]) -> bool:
        if not sources or INPUT in sources or any(self.drafts[s].sealed for s in sources):
            return False
        n_shown = int((x.index >= 0).sum())
        return n_shown == sum(self.drafts[s].n_neurons for s in sources) and _once(x.index)

    @staticmethod
    def _keeps_padding(x: Tensor, step: Step) -> bool:
        """Whether zeros that the tensor is padded with stay zero."""
        padding = x.index == PAD
        if not padding.any():
            return True
        with np.errstate(all="ignore"):
            return bool(np.all(run_step(step, np.zeros(x.shape))[padding] == 0))

    def _extend(self, source: int, x: Tensor, step: Step) -> None:
        draft, start = self.drafts[source], self.starts[source + 1]
        own = self.owners(x.index) == source
        at = x.index[own] - start
        for op, parameters in step.neuron or ():
            placed = []
            for p in parameters:
                values = np.empty(draft.n_neurons)
                values[at] = np.broadcast_to(p, x.shape)[own]
                placed.append(values.reshape(draft.grid))
            draft.extend(op, tuple(placed))

    def _encode(self, x: Tensor, step: Step) -> None:
        """Append the step to the encoder; constants move to the input's own layout."""
        shown, before = x.index >= 0, len(self.encoder)
        for op, operands, attributes in step.host:
            placed: list[int | np.ndarray] = []
            for operand in operands:
                if isinstance(operand, str):
                    placed.append(before if operand == X else len(self.encoder))
                elif np.size(operand) == 1:
                    placed.append(np.asarray(operand).reshape(()))
                else:
                    values = np.broadcast_to(operand, x.shape)[shown]
                    flat = np.full(self.starts[1], values.flat[0], np.asarray(operand).dtype)
                    flat[x.index[shown]] = values
                    placed.append(_squeezed(flat.reshape(1, *self.input_shape)))
            self.encoder.append(HostOp(op, tuple(placed), dict(attributes)))

    # ---- the network --------------------------------------------------------------------

    def read(self, x: Tensor) -> list[tuple[int, np.ndarray]]:
        """(draft, element of the draft) of each source of an output tensor; refuses the input itself."""
        sources = self.sources(x.index)
        if INPUT in sources or not sources:
            raise Unsupported("the output shows the input itself: no synapses stand before it")
        owners = self.owners(x.index)
        return [(s, x.index[owners == s] - self.starts[s + 1]) for s in sources]

    def finish(self, parts: list[tuple[int, np.ndarray]], decoder: HostProgram | None = None, name: str = "network",
               output_name: str = "output", notes: tuple[str, ...] = (), signal: str = DELTA,
               thresholds: Mapping[int, float] | None = None, payload_shift: int = 0,
               defaults: tuple[tuple[str, str], ...] = ()) -> Network:
        """Drop what no output needs, order and name the layers, and freeze.

        `signal` is how the input transmits, `thresholds` are those of drafts and of the `INPUT`, `payload_shift` is that of all.
        """
        own = thresholds or {}
        order = self._order({draft for draft, _ in parts})
        number = {INPUT: INPUT, **{draft: i for i, draft in enumerate(order)}}
        names = unique_names([(self.drafts[d].label, self.drafts[d].kind) for d in order])
        layers = []
        for name_, d in zip(names, order):
            draft = self.drafts[d]
            groups = tuple(replace(s, source=number[s.source]) for s in draft.groups)
            layers.append(Layer(name_, draft.grid, groups, compact(draft.bias), draft.f(), own.get(d, 0.0), draft.dynamics, payload_shift))
        outputs = tuple(OutputPart(number[d], np.asarray(elements, np.int64)) for d, elements in parts)
        encoder = HostProgram(tuple(self.encoder))
        source = Input(self.input_name, self.input_shape, encoder, own.get(INPUT, 0.0), signal, payload_shift)
        return Network(name, source, tuple(layers), outputs, decoder or HostProgram(), output_name, notes, defaults)

    def _order(self, needed: set[int]) -> list[int]:
        """Needed drafts, depth first, so that every source stands before its readers (those of delayed synapses may stand behind)."""
        order: list[int] = []
        found = list(needed)
        for d in found:
            found += [s.source for s in self.drafts[d].groups if s.source != INPUT and s.source not in found]
        stack = [(d, False) for part in (set(found) - needed, needed) for d in sorted(part, reverse=True)]
        done: set[int] = set()
        while stack:
            draft, entered = stack.pop()
            if entered:
                order.append(draft)
            elif draft not in done:
                done.add(draft)
                stack.append((draft, True))
                stack += [(s.source, False) for s in reversed(self.drafts[draft].groups)
                          if s.source not in done | {INPUT} and not s.delay]
        return order


def spatial_cells(x: Tensor) -> np.ndarray:
    """Element numbers of a (1, channels, length) or (1, channels, height, width) tensor as (height, width, channels)."""
    if len(x.shape) not in (3, 4) or x.shape[0] != 1:
        raise Unsupported(f"its input has shape {x.shape}; (1, channels, length) and (1, channels, height, width) are "
                          "supported, 3-D and batches are not")
    index = x.index if len(x.shape) == 4 else x.index[:, :, None, :]
    return np.ascontiguousarray(index[0].transpose(1, 2, 0))


def _grid(array: np.ndarray) -> Grid:
    """Shape of an array over (height, width, channels)."""
    height, width, channels = array.shape
    return height, width, channels


def back(made: np.ndarray, rank: int) -> np.ndarray:
    """(height, width, channels) as (1, channels, height, width), or (1, channels, length)."""
    index = made.transpose(2, 0, 1)[None]
    return index if rank == 4 else index[:, :, 0]


def _once(index: np.ndarray) -> bool:
    """Whether no element (padding apart) occurs twice."""
    shown = index[index >= 0]
    return np.unique(shown).size == shown.size


def _squeezed(constant: np.ndarray) -> np.ndarray:
    """The constant with every axis along which it does not vary reduced to size 1."""
    for axis in range(constant.ndim):
        first = np.take(constant, [0], axis)
        if np.all(constant == first):
            constant = first
    return constant
