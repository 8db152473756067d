"""Synapses: one linear map from a source (the input or a layer) to the accumulators of a layer.

Every kind is a convolution over a grid, seen from its sources:

=============  ==================================  ===================  ==========
kind           weight                              grid (view)          weighted
=============  ==================================  ===================  ==========
full           (n_out, n_in)                       (1, 1, n_in)         yes
convolution    (c_out, c_in / groups, k_y, k_x)    (height, width, c)   yes
identity       none; `sign` +1 or -1               (height, width, c)   no
sum_pool       none (unit weights)                 (height, width, c)   no
max_pool       none (the layer takes a maximum)    (height, width, c)   no
=============  ==================================  ===================  ==========

Neurons are ordered height x width x channel everywhere inside the package. `view` says which
source element stands at each grid cell, so that flattening, transposing, slicing,
concatenating and padding cost no neurons and no operations (they are index maps).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np

INPUT = -1
"""Source index of the network's input; layers are numbered from 0."""

PADDING = -1
"""View entry of a grid cell that is zero padding: synapses from it do not exist."""

ELSEWHERE = -2
"""View entry of a grid cell that belongs to another group of synapses (a concatenated branch)."""

KINDS = ("full", "convolution", "identity", "sum_pool", "max_pool")


@dataclass(frozen=True)
class Synapses:
    """A group of synapses from one source to one layer.

    Parameters
    ----------
    kind : str
        One of `KINDS`.
    source : int
        Index of the layer that is read, or `INPUT`.
    grid : (int, int, int)
        Height, width, channels of the grid that the map reads.
    target_grid : (int, int, int)
        Height, width, channels of the layer that it feeds.
    weight : ndarray or None
        float64; shape as in the module's table. None for unweighted kinds.
    view : ndarray or None
        int32, one source element per grid cell (height x width x channel order), or
        `PADDING` or `ELSEWHERE`. None is the identity. No source element occurs twice.
    kernel, stride, dilation : (int, int)
        In y and x.
    pads : (int, int)
        Zero rows above and zero columns left of the grid; what lies below and right follows
        from `target_grid`.
    groups : int
        Channel groups of a convolution.
    sign : int
        +1 or -1 for `identity` (the second operand of a subtraction).
    delay : int
        Timesteps after which an event arrives, 0 or more. Synapses from a layer that does not stand before
        their own (recurrent ones) have at least 1.
    feeds : ndarray or None
        Of `full` synapses: the target channels that the group feeds (bool, (channels,)); to the others it has no synapses.
    """

    kind: str
    source: int
    grid: tuple[int, int, int]
    target_grid: tuple[int, int, int]
    weight: np.ndarray | None = None
    view: np.ndarray | None = None
    kernel: tuple[int, int] = (1, 1)
    stride: tuple[int, int] = (1, 1)
    dilation: tuple[int, int] = (1, 1)
    pads: tuple[int, int] = (0, 0)
    groups: int = 1
    sign: int = 1
    delay: int = 0
    feeds: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"unknown kind of synapses {self.kind!r}")
        if self.delay < 0:
            raise ValueError(f"synapses have a delay of {self.delay} timesteps")
        if self.weighted != (self.weight is not None):
            raise ValueError(f"{self.kind} synapses {'need' if self.weighted else 'take no'} weights")
        if self.weight is not None:
            expected: tuple[int, ...] = (self.target_grid[2], self.grid[2] // self.groups, *self.kernel)
            if self.kind == "full":
                expected = expected[:2]
            if self.weight.shape != expected:
                raise ValueError(f"{self.kind} weight has shape {self.weight.shape}, expected {expected}")
            self.weight.setflags(write=False)
        if self.feeds is not None:
            if self.weight is None or self.kind != "full" or self.feeds.shape != (self.target_grid[2],) or np.any(self.weight[~self.feeds]):
                raise ValueError("full synapses that feed some channels have one entry per channel, and weights of 0 to the others")
            self.feeds.setflags(write=False)
        if self.view is not None:
            read = self.view[self.view >= 0]
            if self.view.size != self.n_cells or np.unique(read).size != read.size:
                raise ValueError("a view has one entry per grid cell and reads no source element twice")
            self.view.setflags(write=False)

    @property
    def weighted(self) -> bool:
        """Whether its synapses multiply by a stored weight (and count as MACs)."""
        return self.kind in ("full", "convolution")

    @property
    def n_weights(self) -> int:
        """Stored weights."""
        if self.weight is None:
            return 0
        return self.weight.size if self.feeds is None else int(self.feeds.sum()) * self.weight.shape[1]

    @property
    def n_cells(self) -> int:
        """Cells of the grid."""
        return int(np.prod(self.grid))

    @property
    def channel_groups(self) -> int:
        """Groups in which channels are connected: 1 is all to all, the channel count is depthwise."""
        return self.groups if self.weighted else self.grid[2]

    @property
    def channels_out(self) -> int:
        """Target channels that one source channel reaches at one target position."""
        return self.target_grid[2] // self.channel_groups

    @cached_property
    def taps(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Which target positions each grid position reaches, and over which kernel tap.

        Equation: target y, tap k meet where ``y * stride + k * dilation - pad = source y``.

        Returns
        -------
        start : ndarray, int64, (height * width + 1,)
        position, tap : ndarray, int64
            Target position (y * width + x) and tap (k_y * kernel width + k_x), target
            positions ascending, of source position p in ``start[p]:start[p + 1]``.
        """
        (height, width, _), (out_h, out_w, _) = self.grid, self.target_grid
        rows, row_taps, row_sources = _axis_taps(height, out_h, self.kernel[0], self.stride[0], self.dilation[0], self.pads[0])
        cols, col_taps, col_sources = _axis_taps(width, out_w, self.kernel[1], self.stride[1], self.dilation[1], self.pads[1])
        source = (row_sources[:, None] * width + col_sources[None, :]).ravel()
        position = (rows[:, None] * out_w + cols[None, :]).ravel()
        tap = (row_taps[:, None] * self.kernel[1] + col_taps[None, :]).ravel()
        order = np.lexsort((position, source))
        start = np.zeros(height * width + 1, np.int64)
        np.cumsum(np.bincount(source, minlength=height * width), out=start[1:])
        return start, position[order], tap[order]

    @cached_property
    def tap_weights(self) -> np.ndarray:
        """Weights as (taps, source channel, target channel of the group); ones (or `sign`) where unweighted."""
        n_taps = self.kernel[0] * self.kernel[1]
        if self.weight is None:
            return np.full((n_taps, self.grid[2], 1), float(self.sign))
        weight = self.weight.reshape(self.groups, self.channels_out, self.grid[2] // self.groups, n_taps)
        return np.ascontiguousarray(weight.transpose(3, 0, 2, 1).reshape(n_taps, self.grid[2], self.channels_out))

    def cell_of_source(self, n_source: int) -> np.ndarray:
        """Grid cell at which each of the `n_source` source elements stands; -1 where it is not read (int64)."""
        if self.view is None:
            return np.arange(n_source, dtype=np.int64)
        cells = np.full(n_source, -1, np.int64)
        read = self.view >= 0
        cells[self.view[read]] = np.flatnonzero(read)
        return cells

    def _per_source(self, per_cell: np.ndarray, n_source: int) -> np.ndarray:
        cells = self.cell_of_source(n_source)
        return np.where(cells >= 0, per_cell.ravel()[cells], 0)

    def _cell_fan_out(self) -> np.ndarray:
        start, _, _ = self.taps
        return np.repeat(np.diff(start) * (self.channels_out if self.feeds is None else int(self.feeds.sum())), self.grid[2])

    def fan_out(self, n_source: int) -> np.ndarray:
        """Synapses that an event of each source element meets, zero weights included (int64, (n_source,))."""
        return self._per_source(self._cell_fan_out(), n_source)

    def nonzero_fan_out(self, n_source: int) -> np.ndarray:
        """The same over synapses with a non-zero weight (int64, (n_source,))."""
        start, _, tap = self.taps
        nonzero = np.count_nonzero(self.tap_weights, axis=2).astype(np.int64)
        running = np.zeros((tap.size + 1, self.grid[2]), np.int64)
        np.cumsum(nonzero[tap], axis=0, out=running[1:])
        return self._per_source(running[start[1:]] - running[start[:-1]], n_source)

    def n_synapses(self, n_source: int) -> int:
        """Synapses of the group; taps on padding do not exist."""
        return int(self.fan_out(n_source).sum())

    def n_padded_synapses(self) -> int:
        """Synapses with the taps on padding included."""
        out_h, out_w, out_c = self.target_grid
        out_c = out_c if self.feeds is None else int(self.feeds.sum())
        taps = out_h * out_w * out_c * self.kernel[0] * self.kernel[1]
        total = taps * (self.grid[2] // self.channel_groups)
        if self.view is None:
            return total
        return total - int(self._cell_fan_out()[self.view == ELSEWHERE].sum())


def _axis_taps(size: int, out: int, kernel: int, stride: int, dilation: int, pad: int) -> tuple[np.ndarray, ...]:
    """Matching (target, tap, source) triples along one axis."""
    target, tap = np.meshgrid(np.arange(out), np.arange(kernel), indexing="ij")
    source = target * stride + tap * dilation - pad
    inside = (source >= 0) & (source < size)
    return target[inside], tap[inside], source[inside]
