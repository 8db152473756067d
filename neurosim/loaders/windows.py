"""Windows of convolutions and pools: kernel, stride, dilation, pads, and the size they lead to."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from neurosim.loaders.drafts import Unsupported

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """Sizes in y and x. `pads` and `end_pads` are zero rows/columns before and after the grid."""

    kernel: Pair
    stride: Pair = (1, 1)
    dilation: Pair = (1, 1)
    pads: Pair = (0, 0)
    end_pads: Pair = (0, 0)
    ceil_mode: bool = False

    def __post_init__(self) -> None:
        if min(self.kernel) < 1 or min(self.stride) < 1 or min(self.dilation) < 1:
            raise Unsupported(f"kernel {self.kernel}, stride {self.stride} and dilation {self.dilation} must be 1 or more")
        if min(self.pads + self.end_pads) < 0:
            raise Unsupported(f"negative pads {self.pads + self.end_pads}")

    def extent(self, axis: int) -> int:
        """Cells from the first to the last tap."""
        return (self.kernel[axis] - 1) * self.dilation[axis] + 1

    def target(self, grid: tuple[int, ...]) -> Pair:
        """Windows that fit: floor((n + pads - extent) / stride) + 1; ceil_mode also takes a last one that starts inside.

        Raises
        ------
        Unsupported
            When no window fits.
        """
        sizes = []
        for axis in (0, 1):
            room = grid[axis] + self.pads[axis] + self.end_pads[axis] - self.extent(axis)
            if room < 0:
                raise Unsupported(f"a window of {self.extent(axis)} does not fit into "
                                  f"{grid[axis]} + {self.pads[axis]} + {self.end_pads[axis]} cells")
            size = room // self.stride[axis] + 1
            if self.ceil_mode and room % self.stride[axis] and size * self.stride[axis] < grid[axis] + self.pads[axis]:
                size += 1
            sizes.append(size)
        return sizes[0], sizes[1]

    def counts(self, grid: tuple[int, ...], include_pads: bool) -> np.ndarray:
        """Cells that each window averages over: float64 (height, width)."""
        per_axis = []
        for axis, size in enumerate(self.target(grid)):
            cells = (np.arange(size)[:, None] * self.stride[axis] + np.arange(self.kernel[axis]) * self.dilation[axis]
                     - self.pads[axis])
            low, high = (-self.pads[axis], grid[axis] + self.end_pads[axis]) if include_pads else (0, grid[axis])
            per_axis.append(((cells >= low) & (cells < high)).sum(1))
        return np.outer(*per_axis).astype(np.float64)


def same_pads(size: int, extent: int, stride: int, upper: bool) -> Pair:
    """Pads before and after for ceil(size / stride) windows; the odd one stands after (`upper`) or before."""
    total = max(0, (-(-size // stride) - 1) * stride + extent - size)
    small, large = total // 2, total - total // 2
    return (small, large) if upper else (large, small)
