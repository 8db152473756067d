"""What one core can do at most: multiply-accumulates per second of plain loops, by where the weights lie.

An event adds its row of weights, times its payload, to the sums of its targets. Loops do so over
a table of weights that fits the first cache (L1), the second (L2), or neither (L3 and beyond):

===========  ==============================================================================
fused        plain numba, written here, four events at a time; shares nothing with the simulator
add_rows     the simulator's own primitive, 8 or 32 events at a time
scatter      plain numba, single weights at 16-bit indices (pruned weights)
===========  ==============================================================================

The ceiling of a layer is that of the level which its stored weights fit, from the better loop,
measured in turn with the very runs that it is compared with. Then

    fraction of the roofline = (sum over layers of effective MACs / ceiling) / measured time.
"""

import ctypes
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial

import numpy as np
from measure import Contender, Stream
from numba import cfunc, from_dtype, njit, types

import neurosim as ns
from neurosim.kernels import target
from neurosim.kernels.cache import kept
from neurosim.kernels.layout import SPARE
from neurosim.kernels.pointer import INT64, shifted
from neurosim.kernels.primitives import add_rows

LEVELS = ("L1", "L2", "L3")
KINDS = {
    "float32": (np.float32, np.float32),
    "bfloat16": (np.float32, np.uint16),
    "int8": (np.float32, np.int8),
    "float64": (np.float64, np.float64),
    "float32 in float64": (np.float64, np.float32),
}
"""Types of sums, and of the weights that are added to them as they are stored (bfloat16 as the upper half of a float32)."""
BATCHES = (8, 32)
"""Events that the primitive adds at a time."""
ROW_LENGTH = 512
"""Weights in a row, as in the largest layer of the Nature-CNN; in L1 bytes, so that a batch of rows fits."""
MACS = 20_000_000
"""MACs of one call, about: many passes over the table, so that it lies in its cache."""


def level_of(n_bytes: int) -> str:
    """The nearest cache that a table fits; L3 is everything beyond the second."""
    return "L1" if n_bytes <= target.L1_BYTES else "L2" if n_bytes <= target.L2_BYTES else "L3"


def table_bytes(level: str) -> int:
    """Bytes of the weights that a loop walks: half of the cache, or 6.4 MB (3,136 rows of 512 float32) beyond."""
    return {"L1": target.L1_BYTES // 2, "L2": target.L2_BYTES // 2, "L3": 3136 * 512 * 4}[level]


@njit
def _from_bfloat16(bits):
    return np.uint32(np.uint32(bits) << 16).view(np.float32)


@cache
def _fused(kind: str) -> Callable:
    """Compile: sums[j] += payloads[i] * weights[i, j], four rows at a time, `repeats` times over the table."""
    number = _from_bfloat16 if kind == "bfloat16" else from_dtype(np.dtype(KINDS[kind][0]))

    def loop(sums, weights, payloads, repeats):
        for _ in range(repeats):
            for i in range(0, weights.shape[0], 4):
                a, b, c, d = weights[i], weights[i + 1], weights[i + 2], weights[i + 3]
                p, q, r, s = payloads[i], payloads[i + 1], payloads[i + 2], payloads[i + 3]
                for j in range(sums.size):
                    sums[j] = sums[j] + p * number(a[j]) + q * number(b[j]) + r * number(c[j]) + s * number(d[j])

    with kept():
        return njit(cache=True, fastmath={"contract"})(loop)


@cache
def _add_rows(kind: str) -> Callable:
    """Compile the same over the simulator's primitive, `batch` rows at a time. Takes addresses."""
    numbers, weights = (types.CPointer(from_dtype(np.dtype(dtype))) for dtype in KINDS[kind])

    def loop(sums, rows, payloads, n, batch, length, repeats, like):
        for _ in range(repeats):
            for i in range(0, n, batch):
                add_rows(sums, shifted(rows, i), 0, shifted(payloads, i), batch, length, like)
        return 0

    with kept():
        compiled = cfunc(types.int64(numbers, INT64, numbers, *[types.int64] * 4, weights), cache=True)(loop)
    address = ctypes.c_void_p
    return ctypes.CFUNCTYPE(ctypes.c_int64, address, address, address, *[ctypes.c_int64] * 4, address)(compiled.address)


@cache
def _scatter() -> Callable:
    """Compile: sums[index[i, j]] += payloads[i] * weights[i, j], `repeats` times over the table."""

    def loop(sums, index, weights, payloads, repeats):
        for _ in range(repeats):
            for i in range(weights.shape[0]):
                k, w, p = index[i], weights[i], payloads[i]
                for j in range(0, w.size - 3, 4):
                    sums[k[j]] += p * w[j]
                    sums[k[j + 1]] += p * w[j + 1]
                    sums[k[j + 2]] += p * w[j + 2]
                    sums[k[j + 3]] += p * w[j + 3]

    with kept():
        return njit(cache=True, fastmath={"contract"})(loop)


def _aligned(shape: tuple[int, ...], dtype: type) -> np.ndarray:
    """Zeros that start on a cache line and are followed by the bytes that a vector may run into."""
    n = int(np.prod(shape)) * np.dtype(dtype).itemsize
    raw = np.zeros(n + 64 + SPARE, np.uint8)
    start = -raw.ctypes.data % 64
    return raw[start: start + n].view(dtype).reshape(shape)


def as_stored(kind: str, values: np.ndarray) -> np.ndarray:
    """Values as weights of a kind, aligned."""
    stored = _aligned(values.shape, KINDS[kind][1])
    stored[:] = values.astype(np.float32).view(np.uint32) >> 16 if kind == "bfloat16" else values
    return stored


def _axpy_loops(kind: str, level: str) -> dict[tuple, Contender]:
    """The loops over rows of weights of one kind at one level."""
    real, width = KINDS[kind][0], np.dtype(KINDS[kind][1]).itemsize
    length = ROW_LENGTH // width if level == "L1" else ROW_LENGTH
    n = table_bytes(level) // width // length // 32 * 32
    weights = as_stored(kind, np.random.default_rng(0).integers(-3, 4, (n, length)))
    sums, payloads = _aligned((length,), real), _aligned((n,), real)
    payloads[:] = 1e-3
    repeats = -(-MACS // weights.size)
    rows = weights.ctypes.data + np.arange(n) * weights.strides[0]
    fused, primitive = _fused(kind), _add_rows(kind)

    def run_primitive(batch: int, repeats: int, arrays: tuple = (sums, rows, payloads, weights)) -> None:  # keeps the arrays alive
        primitive(*(a.ctypes.data for a in arrays[:3]), n, batch, length, repeats, None)

    loops = {("fused", kind, level): partial(fused, sums, weights, payloads)}
    loops |= {(f"add_rows {batch}", kind, level): partial(run_primitive, batch) for batch in BATCHES}
    return {name: _passes(loop, weights.size, repeats) for name, loop in loops.items()}


def _passes(loop: Callable[[int], object], n_weights: int, repeats: int) -> Contender:
    """So many passes of a loop over its table; as many go before the clock starts, so that the table lies in its cache."""
    call = partial(loop, repeats)
    return Contender(call, n_weights * repeats, prepare=call)


def _scatter_loop(level: str) -> dict[tuple, Contender]:
    """Rows of 204 float32 weights (5 % of 4,096 targets) at ascending random 16-bit indices."""
    rng, length = np.random.default_rng(0), 204
    n = table_bytes(level) // 6 // length
    weights, sums, payloads = _aligned((n, length), np.float32), _aligned((4096,), np.float32), _aligned((n,), np.float32)
    weights[:], payloads[:] = 1, 1e-3
    index = (np.sort(rng.integers(0, 4096 - length, (n, length)), axis=1) + np.arange(length)).astype(np.uint16)
    repeats = -(-MACS // weights.size // 4)
    return {("scatter", "float32", level): _passes(partial(_scatter(), sums, index, weights, payloads), weights.size, repeats)}


@cache
def loops() -> Mapping[tuple, Contender]:
    """All loops by (loop, kind of weights, level), compiled; they take turns with what they are compared with."""
    found: dict[tuple, Contender] = {}
    for level in LEVELS:
        for kind in KINDS:
            found |= _axpy_loops(kind, level)
        found |= _scatter_loop(level)
    for loop in found.values():
        loop.call()
    return found


def giga_macs(times: Mapping) -> dict[tuple, float]:
    """GMAC/s of each loop, from what `alternate` measured."""
    return {name: 1e-3 / times[name] for name in loops()}


@dataclass(frozen=True)
class Stored:
    """How the weights of a layer are kept: bytes (with indices), one of `KINDS`, and whether only non-zero ones are."""

    n_bytes: int
    kind: str
    sparse: bool


def stored_weights(simulator: ns.Simulator) -> list[Stored | None]:
    """Of each layer, as the simulator keeps them; None for a layer without weights (several groups count as the last)."""
    found = []
    for layer, groups in zip(simulator.network.layers, simulator.storage):
        weighted = [g for g, synapses in zip(groups, layer.synapses) if synapses.weight is not None]
        kinds = {weight: kind for kind, (sums, weight) in KINDS.items() if sums == np.dtype(simulator.numerics)}
        last = weighted[-1] if weighted else None
        found.append(last and Stored(sum(g.n_bytes for g in weighted), kinds[last.dtype.type], last.kind == "sparse"))
    return found


def fractions(stream: Stream, us: float, times: Mapping) -> dict[str, float]:
    """Time that a stream's MACs take at the ceilings, divided by the `us` per timestep that it took.

    Returns
    -------
    dict
        By ceiling: ``fused`` (the loop that shares nothing with the simulator), ``add_rows``
        (its own primitive), and ``roofline``, the better of the two in each layer.
    """
    speed, floor = giga_macs(times), dict.fromkeys(("roofline", "fused", "add_rows"), 0.0)
    for macs, stored in zip(stream.macs(), stored_weights(stream.simulator)):
        if stored is None:
            continue
        where = (stored.kind, level_of(stored.n_bytes))
        fused = speed["scatter", "float32", where[1]] if stored.sparse else speed[("fused", *where)]
        primitive = fused if stored.sparse else max(speed[(f"add_rows {batch}", *where)] for batch in BATCHES)
        for name, ceiling in (("fused", fused), ("add_rows", primitive), ("roofline", max(fused, primitive))):
            floor[name] += macs / 1e3 / ceiling
    return {name: value / us for name, value in floor.items()}
