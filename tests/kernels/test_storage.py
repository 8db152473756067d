"""How weights and connectivity are stored decides how fast a run is, and nothing else."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from naive import Naive
from networks import RELU, conv, full, identity, layer, nature_like, network, networks, pool, slow_stream, values

from neurosim import dense
from neurosim.kernels import cache, compiled
from neurosim.kernels import layout as at
from neurosim.kernels.target import VECTORS
from neurosim.simulation import Simulator, lower_synapses, simulate
from neurosim.synapses import INPUT, Synapses
from neurosim.transforms import quantize, set_thresholds

FIELDS = ("outputs", "input_counts", "counts", "event_start", "event_element")


def kernels_of(simulator):
    """Address of the kernel of every group of synapses."""
    plan = simulator._plan
    n = sum(len(one.synapses) for one in simulator.network.layers)
    return [int(plan[plan[at.GROUPS] + i * at.GROUP_ROW + at.G_KERNEL]) for i in range(n)]


def kernel(name, index=None):
    return compiled.address(name, np.float64, index)


# -- dense or sparse -------------------------------------------------------------------------------------------------

STORAGES = {
    "as chosen": {},
    "dense": {"SPARSE_IN_CACHE": 0.0, "SPARSE_BEYOND": 0.0},
    "sparse": {"SPARSE_IN_CACHE": 1.1, "SPARSE_BEYOND": 1.1},
}


def stored(net, settings, l2_bytes=None):
    """A simulator whose weights are stored as the settings of `lower_synapses` say."""
    with pytest.MonkeyPatch.context() as patch:
        for name, value in settings.items():
            patch.setattr(lower_synapses, name, value)
        if l2_bytes is not None:
            patch.setattr(lower_synapses.target, "L2_BYTES", l2_bytes)
        return Simulator(net, numerics="float64", record="events")


def everything(simulator, inputs, resets):
    """Answers, counts and events of a run."""
    return [simulator.run(inputs, resets), *simulator.recorder.arrays(), *simulator.totals(), *simulator.totals(first_only=True)]


def assert_storage_changes_nothing(net, inputs):
    """All ways of storing give the same answers, counts and events, to the last bit (0.0 and -0.0 are the same)."""
    resets = np.arange(len(inputs)) == 3
    expected = everything(stored(net, {}), inputs, resets)
    for settings, l2_bytes in ((STORAGES["dense"], None), (STORAGES["sparse"], None), ({}, 0), (STORAGES["dense"], 0), ({}, 1 << 60)):
        seen = everything(stored(net, settings, l2_bytes), inputs, resets)
        assert all(np.array_equal(a, b) for a, b in zip(seen, expected, strict=True))


@pytest.mark.parametrize("density", [0.0, 0.01, 0.1, 0.5, 1.0])
def test_dense_or_sparse_changes_nothing(density):
    """Convolutions (strided, dilated, 1-pixel) and full layers of every density, in and out of the second-level cache."""
    rng = np.random.default_rng(7)
    options = {"rng": rng, "dyadic": False, "zeros": 1 - density}
    c1 = conv(INPUT, (9, 8, 3), 5, (3, 2), stride=(2, 1), pads=(1, 1), **options)
    c2 = conv(0, c1.target_grid, 7, (2, 2), dilation=(2, 2), **options)
    f1, f2 = full(1, int(np.prod(c2.target_grid)), 45, **options), full(2, 45, 7, **options)
    c3 = conv(3, (1, 1, 7), 3, (1, 1), **options)
    hidden = [layer(f"l{i}", s, RELU, bias=values((s.target_grid[2],), rng, False), threshold=0.1) for i, s in enumerate((c1, c2, f1, f2))]
    net = network([*hidden, layer("answer", c3, (), bias=0.5)], (9, 8, 3))
    assert_storage_changes_nothing(net, slow_stream((9, 8, 3), 6, rng, dyadic=False))


@given(networks(dyadic=False), st.integers(0, 2**31))
def test_dense_or_sparse_changes_nothing_in_random_networks(net, seed):
    """The same on branches, views, residuals and pools."""
    assert_storage_changes_nothing(net, slow_stream(net.input.shape, 5, np.random.default_rng(seed), dyadic=False))


def test_a_small_nature_cnn_is_the_same_in_any_storage():
    """Strided convolutions, a channel-first flattening, full layers."""
    rng = np.random.default_rng(3)
    net = set_thresholds(nature_like(rng), 0.1)
    assert_storage_changes_nothing(net, slow_stream((20, 20, 2), 6, rng, dyadic=False))


def test_the_choice_is_made_by_density():
    """Few non-zero weights: sparse rows. Many: segments, or rows of a full layer. Groups and pools are always sparse."""
    rng = np.random.default_rng(0)
    c = conv(INPUT, (4, 4, 6), 6, (2, 2), rng=rng, dyadic=False)  # no weight is a float32 value, so that none is stored as one
    g = conv(0, (3, 3, 6), 6, (1, 1), groups=3, rng=rng, dyadic=False)
    p, f = pool("sum_pool", 1, (3, 3, 6), (3, 3), (1, 1)), full(2, 6, 40, rng=rng, dyadic=False)
    many = network([layer("c", c), layer("g", g), layer("p", p), layer("f", f, ())], (4, 4, 6))
    few = network([layer("c", pruned_to_one(c)), layer("g", g), layer("p", p), layer("f", pruned_to_one(f), ())], (4, 4, 6))
    rows = kernel("sparse", np.uint16)
    dense_kernels = [kernel("convolution"), rows, rows, kernel("full")]
    assert kernels_of(stored(many, {})) == kernels_of(stored(few, STORAGES["dense"])) == dense_kernels
    assert kernels_of(stored(few, {})) == kernels_of(stored(many, STORAGES["sparse"])) == [rows] * 4


def pruned_to_one(s):
    """The same synapses with one weight that is not 0."""
    weight = np.zeros_like(s.weight)
    weight.flat[0] = 0.1
    return replace(s, weight=weight)


@pytest.mark.parametrize("levels", [[1.0], [0.5, 0.25], [301 / 256], [301 / 512, 3 * 301 / 512], np.arange(1, 128) / 128,
                                    np.arange(1, 256) / 64, np.arange(1, 512) / 512])
@pytest.mark.parametrize("by_channel", [False, True])
def test_float32_stays_exact_on_dyadic_weights(levels, by_channel):
    """However narrow a form dyadic weights allow, sums that fit 24 bits are exact, and counts those of float64 (DESIGN section 3).

    Weights of 9 bits, 5 powers of two of them (13 bits), 32 inputs of -1, 0 or 1 (18 bits), 48 of those sums (24 bits).
    """
    rng = np.random.default_rng(9)
    scale = 2.0 ** -(np.arange(48)[:, None] % 5) if by_channel else 1.0
    weight = rng.choice([-1.0, 0, 1], (48, 32)) * rng.choice(np.asarray(levels), (48, 32)) * scale
    read = Synapses("full", 0, (1, 1, 48), (1, 1, 5), rng.choice([-1.0, 0, 1], (5, 48)))
    net = network([layer("a", Synapses("full", INPUT, (1, 1, 32), (1, 1, 48), weight)), layer("b", read, ())], (32,))
    inputs = rng.choice([-1.0, 0, 1], (20, 32))
    exact, fast = (simulate(net, inputs, numerics=n, reference="none") for n in ("float64", "float32"))
    assert np.array_equal(exact.outputs, fast.outputs) and np.array_equal(exact.counts, fast.counts)


# -- width of the targets in sparse rows -----------------------------------------------------------------------------


@pytest.mark.parametrize(("last", "index"), [(65535, np.uint16), (65536, np.int32)])
def test_targets_take_the_width_that_they_need(last, index):
    """The last target that 16 bits can name, and the first that they cannot."""
    weight = np.zeros((last + 1, 2))
    weight[[0, 5, last], 0], weight[last, 1] = [1, 2, 3], 4
    net = network([layer("f", Synapses("full", INPUT, (1, 1, 2), (1, 1, last + 1), weight), ())], (2,))
    simulator = Simulator(net, numerics="float64")
    assert kernels_of(simulator) == [kernel("sparse", index)]
    answer = simulator.step(np.array([1.0, 10.0]))
    assert np.flatnonzero(answer).tolist() == [0, 5, last] and answer[answer != 0].tolist() == [1, 2, 43]


def test_a_map_wider_than_16_bits():
    """Depthwise, 5 x 480 x 70 neurons: targets lie up to (2 x 480 + 2) x 70 past the first. Dyadic: equal to the dense run."""
    rng = np.random.default_rng(1)
    shape = (5, 480, 70)
    one = conv(INPUT, shape, 70, (3, 3), pads=(1, 1), groups=70, rng=rng)
    net = network([layer("d", one, ())], shape)
    assert (2 * 480 + 2) * 70 > 1 << 16
    assert kernels_of(Simulator(net, numerics="float64")) == [kernel("sparse", np.int32)]
    inputs = slow_stream(shape, 2, rng, change=0.01)
    trace = simulate(net, inputs, numerics="float64", reference="none")
    assert np.array_equal(trace.outputs, dense.evaluate(net, inputs)[2])
    down, across = (np.array([2, *[3] * (n - 2), 2]) for n in shape[:2])  # target positions within reach along each axis
    assert trace.counts[0, 0, at.C_SYNAPTIC_OPS] == (np.outer(down, across)[..., None] * (inputs[0] != 0)).sum()


# -- the first timestep ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("settings", STORAGES.values(), ids=list(STORAGES))
def test_the_first_timestep_evaluates_every_neuron(settings):
    """Input 0 sends nothing: every neuron still sends relu(bias) in the first timestep after a reset, and nothing later."""
    rng = np.random.default_rng(2)
    a = conv(INPUT, (41, 41, 1), 3, (1, 1), rng=rng)  # 5,043 neurons: more than one block is evaluated at a time
    b = pool("sum_pool", 0, (41, 41, 3), (2, 2), (5, 5))  # leaves most of its source unread
    c = full(1, 8 * 8 * 3, 2, rng=rng)
    bias = values((41 * 41 * 3,), rng)
    net = network([layer("a", a, bias=bias), layer("b", b, bias=-1.0), layer("c", c, (), bias=[0.5, -0.25])], (41, 41, 1))
    simulator = stored(net, settings)
    zeros, resets = np.zeros((4, 41, 41, 1)), np.array([False, False, True, False])
    answers = simulator.run(zeros, resets)
    counts, expected = simulator.recorder.arrays()[1], dense.evaluate(net, zeros[:1])
    assert np.array_equal(answers, np.repeat(expected[2], 4, axis=0))
    for t in (0, 2):
        assert counts[t, :, at.C_NEURON_UPDATES].tolist() == [5043, 192, 2]
        assert counts[t, 0, at.C_EVENTS] == 0 and counts[t, 0, at.C_EVENTS_OUT] == (bias > 0).sum()
    assert counts[[1, 3]].sum() == 0


# -- marks -----------------------------------------------------------------------------------------------------------


@given(st.integers(1, 200), st.integers(0, 2**31), st.sampled_from([0.02, 0.3, 0.9, 1.0]), st.integers(1, 24))
def test_exactly_the_neurons_that_an_event_meets_are_evaluated(n, seed, share, run):
    """Units of one neuron, touched in runs that begin and end anywhere in the words of marks; and once only."""
    rng = np.random.default_rng(seed)
    net = network([layer("same", identity(INPUT, (1, 1, n)), ())], (n,))
    simulator = Simulator(net, numerics="float64", record="events")
    x = rng.integers(1, 9, n).astype(float)
    simulator.step(x)
    for _ in range(3):
        changes = np.repeat(rng.random(-(-n // run)) < share, run)[:n]
        x = np.where(changes, x + 1, x)
        before = simulator.totals()[1][0, at.C_NEURON_UPDATES]
        assert np.array_equal(simulator.step(x), x)
        assert simulator.totals()[1][0, at.C_NEURON_UPDATES] - before == changes.sum()
    sent = simulator.recorder.arrays()
    assert sent[3].size == sent[0].sum() and sent[1][0, 0, at.C_NEURON_UPDATES] == n


# -- classes of positions --------------------------------------------------------------------------------------------


@st.composite
def geometries(draw):
    """A convolution or pool of any kernel, stride, dilation, padding and cut of the target."""
    kernel_size, stride, dilation, pads, grid, target = [], [], [], [], [], []
    for _ in "yx":
        k, d, s = draw(st.integers(1, 4)), draw(st.integers(1, 3)), draw(st.integers(1, 5))
        p, n = draw(st.integers(0, 3)), draw(st.integers(1, 12))
        most = max((n + 2 * p - d * (k - 1) - 1) // s + 1, 1)
        for values_, value in zip((kernel_size, stride, dilation, pads, grid, target), (k, s, d, p, n, draw(st.integers(1, most)))):
            values_.append(value)
    kind, channels = draw(st.sampled_from(["convolution", "sum_pool"])), draw(st.integers(1, 3))
    weight = np.ones((2, channels, *kernel_size)) if kind == "convolution" else None
    out = 2 if kind == "convolution" else channels
    return Synapses(kind, INPUT, (*grid, channels), (*target, out), weight, None, *map(tuple, (kernel_size, stride, dilation, pads)))


def connectivity(s):
    """What each position meets, walked from the targets: [(target position, tap)], targets ascending; pools have one tap."""
    met = [[] for _ in range(s.grid[0] * s.grid[1])]
    for y in range(s.target_grid[0]):
        for x in range(s.target_grid[1]):
            for k_y in range(s.kernel[0]):
                for k_x in range(s.kernel[1]):
                    row, column = y * s.stride[0] + k_y * s.dilation[0] - s.pads[0], x * s.stride[1] + k_x * s.dilation[1] - s.pads[1]
                    if 0 <= row < s.grid[0] and 0 <= column < s.grid[1]:
                        tap = k_y * s.kernel[1] + k_x if s.weighted else 0
                        met[row * s.grid[1] + column].append((y * s.target_grid[1] + x, tap))
    return [sorted(taps) for taps in met]


@given(geometries())
def test_positions_of_equal_connectivity_share_a_class(s):
    """Each position's class and first target give what it meets; there are no more classes than different connectivities."""
    classes = lower_synapses._classes(s)
    different = set()
    for (k, first), expected in zip(classes.place.tolist(), connectivity(s), strict=True):
        taps = classes.taps_of(k)
        assert list(zip((first + classes.target[taps]).tolist(), classes.tap[taps].tolist())) == expected
        different.add(tuple((target - expected[0][0], tap) for target, tap in expected))
    assert classes.n == len(different)


def test_a_class_table_that_does_not_fit_its_positions_is_noticed():
    """Classes are found by a hash; where two connectivities fell together, lowering stops."""
    s = conv(INPUT, (6, 6, 1), 1, (3, 3), rng=np.random.default_rng(0))
    start, position, tap = s.taps
    classes, n_taps = lower_synapses._classes(s), np.diff(start)
    relative = position - np.repeat(position[np.minimum(start[:-1], position.size - 1)], n_taps)
    lower_synapses._verify(classes, n_taps, relative, tap)
    place = classes.place.copy()
    place[0, 0] = place[7, 0]
    with pytest.raises(AssertionError):
        lower_synapses._verify(replace(classes, place=place), n_taps, relative, tap)
    with pytest.raises(AssertionError):
        lower_synapses._verify(classes, n_taps, relative, tap[::-1])


def test_the_classes_of_a_nature_cnn_are_few():
    """84 x 84, kernel 8, stride 4: 21 x 21 blocks of 16 phases, cut off only at the borders."""
    s = conv(INPUT, (84, 84, 4), 32, (8, 8), stride=(4, 4), rng=np.random.default_rng(0))
    assert lower_synapses._classes(s).n == (4 * 3) ** 2  # first block, inner ones, last block, of 4 phases along each axis


# -- division by multiplication --------------------------------------------------------------------------------------


@pytest.mark.parametrize("channels", range(1, 601, 40))
def test_the_divisor_is_exact(channels):
    """n // channels for every count of 40, at all edges and random n below 2^31, in int64 as the kernels compute it."""
    top, rng = 2**31 - 1, np.random.default_rng(channels)
    for c in range(channels, min(channels + 40, 601)):
        magic, shift = lower_synapses._divisor(c)
        assert magic * top < 2**63
        quotients = np.concatenate([np.arange(4), rng.integers(0, top // c + 1, 300), top // c - np.arange(3)])
        edges = (quotients[:, None] * c + np.array([-1, 0, 1, c - 1])).reshape(-1)
        n = np.concatenate([edges[(edges >= 0) & (edges <= top)], rng.integers(0, top, 2000, endpoint=True), [0, top - 1, top]])
        assert np.array_equal((n * magic) >> shift, n // c)


# -- where compiled kernels are kept ---------------------------------------------------------------------------------


def test_a_changed_kernel_has_another_cache_folder(tmp_path, monkeypatch):
    """The folder is named by the sources: equal ones share it, a change in any of them names another."""
    sources = tmp_path / "kernels"
    shutil.copytree(Path(cache.__file__).parent, sources, ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    name = Path(cache._folder()).name
    monkeypatch.setattr(cache, "__file__", str(sources / "cache.py"))
    assert Path(cache._folder()).name == name
    with open(sources / "plain.py", "a") as changed:
        changed.write("# a comment\n")
    assert Path(cache._folder()).name != name
    (tmp_path / "cache" / name).rmdir()  # and it lies where the user said


# -- tiles of rows and chunks of events ------------------------------------------------------------------------------


@pytest.mark.parametrize("n_events", [1, 2, 7, 8, 9, 15, 16, 17, 63, 64, 65, 255, 256, 257, 300, 513])
def test_any_number_of_events_is_summed_in_order(n_events):
    """Tiles of rows of a full layer and chunks of a convolution's events end anywhere: bit-equal to the slow twin."""
    rng = np.random.default_rng(n_events)
    parts = full(INPUT, 520, 3, rng=rng, dyadic=False), conv(INPUT, (1, 1, 520), 3, (1, 1), rng=rng, dyadic=False)
    net = network([layer("both", parts, (), bias=0.1)], (520,))
    x = np.zeros((2, 520))
    x[1, rng.permutation(520)[:n_events]] = rng.normal(size=n_events)
    naive = Naive(net)
    expected = [naive.step(one)[2] for one in x]
    for l2_bytes in (None, 0):
        assert stored(net, {}, l2_bytes).run(x).tolist() == expected


@pytest.mark.skipif(not VECTORS, reason="plain loops take weights as they are")
@pytest.mark.parametrize("per_channel", [False, True])
def test_quantised_networks_are_stored_narrowly(per_channel):
    """What `quantize` makes is what the kernels keep in 16 bits, and no value changes."""
    rng = np.random.default_rng(2)
    net = quantize(network([layer("a", full(INPUT, 40, 96, rng=rng, dyadic=False)), layer("b", full(0, 96, 32, rng=rng, dyadic=False))], (40,)), 8, per_channel)
    simulator = Simulator(net)
    assert [groups[0].dtype for groups in simulator.storage] == [np.uint16, np.uint16]
    assert all(np.array_equal(a.synapses[0].weight.astype(np.float32), a.synapses[0].weight) for a in net.layers)
