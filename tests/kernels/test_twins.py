"""The same networks on vectors, on plain loops, and compiled for a processor without AVX2: one result.

Which primitives are used is decided at import, so each way is a process of its own, with a cache
folder of its own. Run as a script this file is that process: it writes what it saw to a file.
"""

import os
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

TESTS = Path(__file__).parent.parent
if __name__ == "__main__":
    sys.path[:0] = [str(TESTS.parent), str(TESTS)]

from naive import Naive  # noqa: E402
from networks import conv, full, identity, layer, network, pool, slow_stream, two_three_one, values  # noqa: E402

from neurosim import dense  # noqa: E402
from neurosim.simulation import Simulator, simulate  # noqa: E402
from neurosim.synapses import ELSEWHERE, INPUT  # noqa: E402
from neurosim.transforms import set_thresholds  # noqa: E402

WAYS = {
    "default": {},
    "plain": {"NEUROSIM_PLAIN": "1"},
    "generic": {"NUMBA_CPU_NAME": "generic", "NUMBA_CPU_FEATURES": ""},
}
N_TIMESTEPS = 6
RESETS = np.arange(N_TIMESTEPS) == 4
FIELDS = ("outputs", "input_counts", "counts", "event_start", "event_element")


# -- networks --------------------------------------------------------------------------------------------------------


def chain(rng, input_shape, *convolutions, head=3):
    """Convolutions (channels, kernel, options) in a row and a full layer behind them."""
    layers, grid = [], input_shape
    for i, (out, kernel, options) in enumerate(convolutions):
        s = conv(i - 1, grid, out, kernel, rng=rng, dyadic=False, **options)
        layers.append(layer(f"c{i}", s, bias=values((out,), rng, False)))
        grid = s.target_grid
    n = int(np.prod(grid))
    layers.append(layer("head", full(len(layers) - 1, n, head, rng=rng, dyadic=False), ()))
    return network(layers, input_shape)


def nature(rng):
    """A relative of the Nature-CNN with odd channel counts; it reads bytes."""
    c1 = conv(INPUT, (28, 28, 4), 7, (8, 8), stride=(4, 4), rng=rng, dyadic=False)
    c2 = conv(0, (6, 6, 7), 11, (4, 4), stride=(2, 2), pads=(1, 1), rng=rng, dyadic=False)
    c3 = conv(1, (3, 3, 11), 9, (3, 3), pads=(1, 1), rng=rng, dyadic=False)
    flat = np.arange(81).reshape(3, 3, 9).transpose(2, 0, 1).reshape(-1).astype(np.int32)
    f1 = full(2, 81, 37, rng=rng, dyadic=False, view=flat)
    f2 = full(3, 37, 5, rng=rng, dyadic=False)
    c1 = replace(c1, weight=c1.weight / 256)
    return network([layer("c1", c1, bias=values(7, rng, False)), layer("c2", c2), layer("c3", c3), layer("f1", f1), layer("f2", f2, ())],
                   (28, 28, 4))


def pooled(rng):
    """Average and maximum over windows, overlapping and padded."""
    c = conv(INPUT, (7, 7, 2), 3, (2, 2), rng=rng, dyadic=False)
    total = pool("sum_pool", 0, (6, 6, 3), (2, 2), (1, 1))
    largest = pool("max_pool", 1, (5, 5, 3), (3, 3), (2, 2), (1, 1))
    head = full(2, 27, 5, rng=rng, dyadic=False)
    return network([layer("c", c, ()), layer("sum", total), layer("max", largest, ()), layer("head", head, ())], (7, 7, 2))


def residual(rng):
    """A convolution beside an identity of either sign, and a depthwise one beside them."""
    grid = (5, 6, 5)
    layers = []
    for source, sign, groups in ((INPUT, 1, 1), (0, -1, 5)):
        same = conv(source, grid, 5, (3, 3), pads=(1, 1), groups=groups, rng=rng, dyadic=False)
        layers.append(layer(f"r{source}", (same, identity(source, grid, sign)), bias=values(150, rng, False)))
    return network([*layers, layer("head", full(1, 150, 3, rng=rng, dyadic=False), ())], grid)


def concatenated(rng):
    """Two branches that read halves of the input; what follows reads both, as channels and flattened."""
    half = np.arange(5 * 8 * 3, dtype=np.int32).reshape(5, 8, 3)
    left = conv(INPUT, (5, 4, 3), 3, (2, 2), rng=rng, dyadic=False, view=half[:, :4].reshape(-1).copy())
    right = conv(INPUT, (5, 4, 3), 2, (2, 2), rng=rng, dyadic=False, view=half[:, 4:].reshape(-1).copy())
    weight, parts = values((7, 5, 3, 3), rng, False), []
    for source, start, n in ((0, 0, 3), (1, 3, 2)):
        view = np.full((4, 3, 5), ELSEWHERE, np.int32)
        view[:, :, start: start + n] = np.arange(4 * 3 * n).reshape(4, 3, n)
        parts.append(replace(conv(source, (4, 3, 5), 7, (3, 3), pads=(1, 1), rng=rng, view=view.reshape(-1)), weight=weight))
    flat = [full(source, 36, 4, rng=rng, dyadic=False,
                 view=np.where(np.arange(36) < n, np.arange(36), ELSEWHERE).astype(np.int32)) for source, n in ((0, 36), (1, 24))]
    return network([layer("left", left), layer("right", right), layer("both", tuple(parts)), layer("head", tuple(flat), ())], (5, 8, 3),
                   output=3)


def pruned(rng):
    """98 % of the weights are zero: sparse rows, some of them empty."""
    c = conv(INPUT, (9, 9, 3), 5, (3, 3), rng=rng, dyadic=False, zeros=0.98)
    f1 = full(0, 245, 61, rng=rng, dyadic=False, zeros=0.98)
    f2 = full(1, 61, 3, rng=rng, dyadic=False, zeros=0.9)
    return network([layer("c", c, bias=values(5, rng, False)), layer("f1", f1, bias=values(61, rng, False)), layer("f2", f2, ())],
                   (9, 9, 3))


def quantised(rng):
    """float32 weights of few levels, of one scale or one per channel, and full-precision ones: what may be stored narrowly is."""

    def levels(s, scale):
        return replace(s, weight=(rng.integers(-127, 128, s.weight.shape) * np.float32(scale)).astype(np.float32).astype(np.float64))

    c = levels(conv(INPUT, (6, 6, 3), 32, (3, 3), rng=rng), 0.0123)
    f1 = levels(full(0, 512, 40, rng=rng), rng.integers(9, 33, (40, 1)) / 2**14)
    f2 = full(1, 40, 7, rng=rng, dyadic=False)
    f2 = replace(f2, weight=f2.weight.astype(np.float32).astype(np.float64))
    return network([layer("c", c, bias=values(32, rng, False)), layer("f1", f1, bias=values(40, rng, False)), layer("f2", f2, ())],
                   (6, 6, 3))


def wide(rng):
    """Full layers of sizes that fill no vector, and more events than one tile of rows."""
    sizes = (150, 67, 33, 1)
    maps = [full(i - 1, a, b, rng=rng, dyadic=False) for i, (a, b) in enumerate(zip(sizes, sizes[1:]))]
    layers = [layer(f"f{i}", s, bias=values(s.target_grid[2], rng, False)) for i, s in enumerate(maps[:-1])]
    return network([*layers, layer("head", maps[-1], ())], (150,))


def partly_read(rng):
    """A window and a slice at the end of a long input: most events are nobody's, and the slice is read backwards."""
    corner = np.arange(900, dtype=np.int32).reshape(30, 30)[25:, 20:25].reshape(-1)
    window = conv(INPUT, (5, 5, 1), 3, (3, 3), rng=rng, dyadic=False, view=corner)
    slice_ = full(INPUT, 40, 21, rng=rng, dyadic=False, view=np.arange(899, 859, -1, dtype=np.int32))
    parts = [full(source, n, 3, rng=rng, dyadic=False) for source, n in ((0, 27), (1, 21))]
    return network([layer("window", window), layer("slice", slice_), layer("head", tuple(parts), ())], (30, 30, 1))


NETWORKS = {
    "nature": nature,
    "odd": lambda rng: chain(rng, (7, 5, 3), (5, (3, 2), {"pads": (1, 1)}), (1, (1, 1), {}), (13, (2, 3), {"stride": (2, 1)})),
    "one pixel": lambda rng: chain(rng, (4, 4, 3), (9, (4, 4), {}), (17, (1, 1), {}), (3, (3, 3), {"pads": (1, 1)})),
    "grouped": lambda rng: chain(rng, (6, 5, 6), (9, (2, 2), {"groups": 3}), (18, (3, 3), {"groups": 9, "pads": (1, 1)}), (5, (1, 1), {})),
    "depthwise": lambda rng: chain(rng, (6, 6, 3), (3, (3, 3), {"groups": 3, "stride": (2, 2), "pads": (1, 1)}), (7, (1, 1), {})),
    "dilated": lambda rng: chain(rng, (9, 9, 2), (3, (2, 3), {"dilation": (2, 2)}), (5, (2, 2), {"dilation": (2, 1)}),
                                 (7, (2, 2), {"dilation": (1, 2), "stride": (1, 2)})),
    "many channels": lambda rng: chain(rng, (2, 3, 150), (7, (2, 2), {}), (300, (1, 1), {}), (3, (1, 2), {})),
    "strided past its kernel": lambda rng: chain(rng, (8, 8, 2), (5, (2, 1), {"stride": (3, 3)}), (3, (2, 2), {"stride": (1, 2)})),
    "pooled": pooled, "residual": residual, "concatenated": concatenated, "pruned": pruned, "wide": wide, "partly read": partly_read,
    "quantised": quantised,
}


def cases():
    """(name, network, inputs) of every network, always the same."""
    for i, (name, build) in enumerate(NETWORKS.items()):
        rng = np.random.default_rng(i)
        net = set_thresholds(build(rng), 0.05)
        yield name, net, frames(rng) if name == "nature" else slow_stream(net.input.shape, N_TIMESTEPS, rng, dyadic=False)


def frames(rng):
    """Bytes of which few, many and all change from one timestep to the next."""
    x = np.repeat(rng.integers(0, 256, (1, 28, 28, 4), dtype=np.uint8), N_TIMESTEPS, axis=0)
    for t, share in enumerate((0, 0.01, 0.3, 0, 1.0, 0.02)):
        x[t:] = np.where(rng.random(x[t].shape) < share, rng.integers(0, 256, x[t].shape), x[t])
    return x


# -- the process -----------------------------------------------------------------------------------------------------


def lie_differently(x):
    """One input in arrays that the kernels cannot, or can only just, read as they lie."""
    raw = np.zeros(x.nbytes + 1, np.uint8)
    unaligned = raw[1:].view(x.dtype).reshape(x.shape)
    unaligned[:] = x
    fixed = x.copy()
    fixed.setflags(write=False)
    spread = np.zeros((*x.shape[:-1], 2 * x.shape[-1]), x.dtype)
    spread[..., ::2] = x
    return {"unaligned": unaligned, "read-only": fixed, "strided": spread[..., ::2], "column-major": np.asfortranarray(x)}


def observe(path):
    """Run everything once and write what was seen."""
    from neurosim.kernels import target
    seen = {"vectors": np.array(target.VECTORS)}
    for name, net, inputs in cases():
        for numerics in ("float64", "float32"):
            trace = simulate(net, inputs, numerics=numerics, resets=RESETS, reference="none")
            seen |= {f"{name}/{numerics}/{field}": getattr(trace, field) for field in FIELDS}
            if name in ("nature", "odd") and numerics == "float64" and os.environ["NEUROSIM_TWIN"] == "default":
                for form in lie_differently(inputs[0]):
                    simulator = Simulator(net, numerics=numerics)
                    seen[f"{name}/{form}"] = np.array([simulator.step(lie_differently(x)[form]) for x in inputs[:4]])
    np.savez(path, **seen)


if __name__ == "__main__":
    observe(sys.argv[1])


# -- the tests -------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What each way saw."""
    return {way: run_process(tmp_path_factory.mktemp(way), {"NEUROSIM_TWIN": way, **settings}) for way, settings in WAYS.items()}


def run_process(folder, settings):
    """Run this file as a script with a cache folder of its own."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith(("NUMBA_", "NEUROSIM_", "COV_"))}
    environment = kept | {"NUMBA_CACHE_DIR": str(folder / "cache")} | settings
    subprocess.run([sys.executable, __file__, str(folder / "seen.npz")], env=environment, check=True)
    with np.load(folder / "seen.npz") as stored:
        return {name: stored[name] for name in stored.files}


def test_the_ways_are_what_they_claim(seen):
    """Without AVX2, and where it is told so, no vectors are used."""
    assert not seen["plain"]["vectors"] and not seen["generic"]["vectors"]


@pytest.mark.parametrize("way", ["plain", "generic"])
def test_float64_is_the_same_to_the_last_bit(seen, way):
    """Outputs, counts and events of every network."""
    names = [f"{name}/float64/{field}" for name in NETWORKS for field in FIELDS]
    for name in names:
        expected, got = seen["default"][name], seen[way][name]
        assert expected.dtype == got.dtype and expected.tobytes() == got.tobytes(), name


@pytest.mark.parametrize("name", NETWORKS)
def test_float64_equals_a_loop_over_synapses(seen, name):
    """The slow twin shares no code with either: outputs, counts and events are equal to the last bit."""
    net, inputs = next((net, inputs) for other, net, inputs in cases() if other == name)
    naive, default = Naive(net), {field: seen["default"][f"{name}/float64/{field}"] for field in FIELDS}
    start = default["event_start"].reshape(-1)
    for t, x in enumerate(dense.encode(net, inputs)):
        if RESETS[t]:
            naive.reset()
        n, rows, outputs = naive.step(x)
        assert default["outputs"][t].reshape(-1).tolist() == outputs
        assert default["input_counts"][t] == n and default["counts"][t].tolist() == [list(row) for row in rows]
        for j, s in enumerate(net.senders):
            k = t * len(net.senders) + j
            assert default["event_element"][start[k]: start[k + 1]].tolist() == [e for e, _ in naive.sent[s]]


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", NETWORKS)
def test_float32_agrees_within_rounding(seen, way, name):
    """Totals within a thousandth of float64's (DESIGN section 3). Outputs within 1e-5 of the largest one.

    A sum of a few hundred products in float32 is off by some 1e-7 to 1e-6 of its magnitude, and that through up to five
    layers. No value of these networks lies that near to the threshold, so no event falls the other way.
    """
    fast, exact = ({f: seen[w][f"{name}/{numerics}/{f}"] for f in FIELDS} for w, numerics in ((way, "float32"), ("default", "float64")))
    assert fast["counts"].sum(axis=(0, 1)) == pytest.approx(exact["counts"].sum(axis=(0, 1)), rel=1e-3)
    assert np.abs(fast["outputs"] - exact["outputs"]).max() <= 1e-5 * np.abs(exact["outputs"]).max()


@pytest.mark.parametrize("name", ["nature", "odd"])
def test_however_an_input_lies_the_answers_are_the_same(seen, name):
    """Unaligned, read-only, strided, column-major."""
    for form in lie_differently(np.zeros((1, 1))):
        assert np.array_equal(seen["default"][f"{name}/{form}"], seen["default"][f"{name}/float64/outputs"][:4]), form


@pytest.mark.parametrize("dtype", [np.float16, np.longdouble, np.dtype(np.float64).newbyteorder(), np.dtype(np.int32).newbyteorder()])
def test_a_timestep_takes_any_real_type(dtype):
    """`Simulator.step` promises any real dtype; the second timestep reads the array as it lies, where it can."""
    simulator, fixed = Simulator(two_three_one(), numerics="float64"), np.array([1.0, 0])
    fixed.setflags(write=False)
    assert simulator.step(fixed) == 3
    assert [simulator.step(np.array(x, dtype)).item() for x in ([1, 0], [1, 1], [1, 1])] == [3, 4, 4]
