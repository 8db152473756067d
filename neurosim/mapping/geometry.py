"""Which sources reach which box of a layer, through one group of synapses. Vectorised and separable.

A target row y meets source row ``y * stride + k * dilation - pad`` over tap k, and columns
likewise; so what reaches a box is (rows reached) x (columns reached) x (channels of the groups
that the box touches), less the cells that are padding.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from neurosim.synapses import Synapses

Box = tuple[tuple[int, int], tuple[int, int], tuple[int, int]]
"""Rows, columns, channels [first, last)."""


@dataclass(frozen=True)
class Reach:
    """Geometry of one group of synapses."""

    synapses: Synapses

    @cached_property
    def rows(self) -> np.ndarray:
        """Relation target row x tap x source row (bool)."""
        s = self.synapses
        return _relation(s.grid[0], s.target_grid[0], s.kernel[0], s.stride[0], s.dilation[0], s.pads[0])

    @cached_property
    def columns(self) -> np.ndarray:
        """Relation target column x tap x source column (bool)."""
        s = self.synapses
        return _relation(s.grid[1], s.target_grid[1], s.kernel[1], s.stride[1], s.dilation[1], s.pads[1])

    @cached_property
    def valid(self) -> np.ndarray | None:
        """Grid cells at which a source element stands (bool, grid); None where all do."""
        view = self.synapses.view
        if view is None or (view >= 0).all():
            return None
        return (view >= 0).reshape(self.synapses.grid)

    @cached_property
    def is_nonzero(self) -> np.ndarray:
        """Where weights are not zero (bool, (taps, source channel, target channel of the group))."""
        return self.synapses.tap_weights != 0

    @cached_property
    def synapse_sums(self) -> np.ndarray:
        """Running sum of `fan_in` (see `running_sum`)."""
        return running_sum(self.fan_in)

    @cached_property
    def largest_fan_in(self) -> int:
        """Synapses of the target neuron that has most."""
        return int(self.fan_in.max())

    @cached_property
    def nonzero_sums(self) -> np.ndarray:
        """Running sum of `nonzero_fan_in`."""
        return running_sum(self.nonzero_fan_in)

    def drops_zeros(self, storage: str, axon_source: str | None) -> bool:
        """Whether a source element without a non-zero weight into a slice has no axon there.

        ``structural``: never; ``nonzero``: always; else as the storage holds it: sparse storage of
        full synapses holds no zeros.
        """
        if axon_source is None:
            return self.synapses.kind == "full" and storage == "sparse"
        return axon_source == "nonzero" and self.synapses.weighted

    @cached_property
    def weights_per_channel(self) -> int:
        """Weights of a shared kernel per target channel."""
        s = self.synapses
        return s.kernel[0] * s.kernel[1] * (s.grid[2] // s.channel_groups if s.weighted else 1)

    @cached_property
    def fan_in(self) -> np.ndarray:
        """Synapses of each target neuron, zero weights included (int64, target grid)."""
        if self.synapses.feeds is not None:
            return self._count(np.broadcast_to(self.synapses.feeds, self.is_nonzero.shape).astype(np.int64))
        return self._count(np.ones((1, 1, 1), np.int64))

    @cached_property
    def nonzero_fan_in(self) -> np.ndarray:
        """The same over non-zero weights (int64, target grid)."""
        return self._count(self.is_nonzero.astype(np.int64))

    def _count(self, per_tap: np.ndarray) -> np.ndarray:
        """Sum ``per_tap`` (taps, source channel, channel of the group) over the taps that exist at each target."""
        s = self.synapses
        n_y, n_x, groups = s.kernel[0], s.kernel[1], s.channel_groups
        per_tap = np.broadcast_to(per_tap, (n_y * n_x, s.grid[2], s.channels_out))
        per_tap = per_tap.reshape(n_y, n_x, groups, s.grid[2] // groups, s.channels_out)
        if self.valid is None:
            kernel = per_tap.sum(3).reshape(n_y, n_x, s.target_grid[2])
            by_row = np.tensordot(self.rows.any(2).astype(np.int64), kernel, (1, 0))
            return np.ascontiguousarray(np.einsum("xk,ykc->yxc", self.columns.any(2).astype(np.int64), by_row))
        total = np.zeros((*s.target_grid[:2], groups, s.channels_out))
        padded = np.zeros((s.grid[0] + 1, s.grid[1] + 1, s.grid[2]))
        padded[:-1, :-1] = self.valid
        for k_y in range(n_y):
            y = np.where(self.rows[:, k_y].any(1), self.rows[:, k_y].argmax(1), s.grid[0])
            for k_x in range(n_x):
                x = np.where(self.columns[:, k_x].any(1), self.columns[:, k_x].argmax(1), s.grid[1])
                met = padded[y[:, None], x].reshape(*s.target_grid[:2], groups, -1)
                total += np.einsum("yxgi,gio->yxgo", met, per_tap[k_y, k_x].astype(float), optimize=True)
        return np.rint(total).astype(np.int64).reshape(s.target_grid)

    def n_sources(self, cuts: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
        """Source elements that reach each box between `cuts` (edges in y, x, channel): (n_y, n_x, n_c) int64."""
        s = self.synapses
        rows: Any = np.maximum.reduceat(np.asarray(self.rows.any(1))[: cuts[0][-1]], cuts[0][:-1])
        columns: Any = np.maximum.reduceat(np.asarray(self.columns.any(1))[: cuts[1][-1]], cuts[1][:-1])
        first, last = cuts[2][:-1] // s.channels_out, -(-cuts[2][1:] // s.channels_out)
        per_group = s.grid[2] // s.channel_groups
        if self.valid is None:
            n = rows.sum(1)[:, None, None] * columns.sum(1)[None, :, None] * ((last - first) * per_group)
            return n.astype(np.int64)
        by_group = self.valid.reshape(*s.grid[:2], s.channel_groups, per_group).sum(3).astype(float)
        met = np.einsum("yh,xw,hwg->yxg", rows.astype(float), columns.astype(float), by_group, optimize=True)
        running = np.concatenate([np.zeros((*met.shape[:2], 1)), met.cumsum(2)], 2)
        return np.rint(running[..., last] - running[..., first]).astype(np.int64)

    def n_nonzero_sources(self, cuts: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
        """The same over sources with a non-zero weight into the box (full synapses only)."""
        connected = self.is_nonzero[0]
        if self.valid is not None:
            connected = connected & self.valid.reshape(-1)[:, None]
        n = np.maximum.reduceat(connected[:, : cuts[2][-1]], cuts[2][:-1], axis=1).sum(0)
        return n.reshape(1, 1, -1).astype(np.int64)

    def sources(self, box: Box, stored_only: bool) -> np.ndarray:
        """Source elements of a box (int64), as `axons` gives them."""
        if stored_only:
            return self.axons(box, True)[0]
        s = self.synapses
        rows = np.flatnonzero(self.rows[slice(*box[0])].any((0, 1)))
        columns = np.flatnonzero(self.columns[slice(*box[1])].any((0, 1)))
        per_group = s.grid[2] // s.channel_groups
        channels = np.arange(box[2][0] // s.channels_out * per_group, -(-box[2][1] // s.channels_out) * per_group)
        cell = ((rows[:, None, None] * s.grid[1] + columns[:, None]) * s.grid[2] + channels).ravel()
        source = cell if s.view is None else s.view[cell].astype(np.int64)
        return source[source >= 0]

    def axons(self, box: Box, stored_only: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Sources of a box with their synapses.

        Parameters
        ----------
        box : rows, columns, channels
        stored_only : bool
            Leave out sources that have no non-zero weight into the box.

        Returns
        -------
        source, n_synapses, n_nonzero : ndarray, int64
        """
        s = self.synapses
        by_row = self.rows[slice(*box[0])].sum(0)
        by_column = self.columns[slice(*box[1])].sum(0)
        rows, columns = np.flatnonzero(by_row.any(0)), np.flatnonzero(by_column.any(0))
        group = np.arange(s.grid[2]) // (s.grid[2] // s.channel_groups)
        low = np.clip(box[2][0] - group * s.channels_out, 0, s.channels_out)
        high = np.clip(box[2][1] - group * s.channels_out, 0, s.channels_out)
        channels = np.flatnonzero(high > low)
        by_row, by_column = by_row[:, rows], by_column[:, columns]
        n_synapses = by_row.sum(0)[:, None, None] * by_column.sum(0)[:, None] * (high - low)[channels]
        kernel = self._nonzero_between(low, high, channels)
        n_nonzero = np.einsum("ah,bw,abc->hwc", by_row, by_column, kernel, optimize=True)
        cell = ((rows[:, None, None] * s.grid[1] + columns[:, None]) * s.grid[2] + channels).ravel()
        source = cell if s.view is None else s.view[cell].astype(np.int64)
        n_synapses, n_nonzero = n_synapses.ravel(), np.rint(n_nonzero).astype(np.int64).ravel()
        keep = source >= 0
        if stored_only:
            keep &= n_nonzero > 0
        return source[keep], n_synapses[keep], n_nonzero[keep]

    def _nonzero_between(self, low: np.ndarray, high: np.ndarray, channels: np.ndarray) -> np.ndarray:
        """Non-zero weights per tap and source channel into target channels [low, high) of its group."""
        s = self.synapses
        if s.channel_groups == 1:
            n = self.is_nonzero[:, :, low[0]: high[0]].sum(2)[:, channels]
        else:
            inside = (np.arange(s.channels_out) >= low[:, None]) & (np.arange(s.channels_out) < high[:, None])
            n = (self.is_nonzero & inside).sum(2)[:, channels]
        return n.reshape(*s.kernel, channels.size)


def _relation(size: int, out: int, kernel: int, stride: int, dilation: int, pad: int) -> np.ndarray:
    target, tap = np.meshgrid(np.arange(out), np.arange(kernel), indexing="ij")
    source = target * stride + tap * dilation - pad
    relation = np.zeros((out, kernel, size), bool)
    inside = (source >= 0) & (source < size)
    relation[target[inside], tap[inside], source[inside]] = True
    return relation


def edges(size: int, n: int) -> np.ndarray:
    """Edges of `n` nearly equal parts of `size` (int64, (n + 1,))."""
    return np.arange(n + 1, dtype=np.int64) * size // n


def box_sums(running: np.ndarray, cuts: tuple[np.ndarray, np.ndarray, np.ndarray]) -> np.ndarray:
    """Sums over the boxes between `cuts` of an array whose running sum (see `running_sum`) is given."""
    at = running[np.ix_(*cuts)]
    return np.diff(np.diff(np.diff(at, axis=0), axis=1), axis=2)


def running_sum(values: np.ndarray) -> np.ndarray:
    """Three-dimensional cumulative sum with a leading zero on every axis (int64)."""
    out = np.zeros(tuple(n + 1 for n in values.shape), np.int64)
    out[1:, 1:, 1:] = values.cumsum(0).cumsum(1).cumsum(2)
    return out
