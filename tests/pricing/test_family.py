"""Families of configurations: priced from cells, against the path that counts event by event."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from networks import conv, full, identity, layer, nature_like, network, pool, slow_stream

from neurosim.chip import Chip
from neurosim.errors import DoesNotFit, PricingError
from neurosim.kernels import cells as kernel
from neurosim.mapping import compile
from neurosim.pricing import price, price_family
from neurosim.pricing.family import price as family
from neurosim.pricing.family.cells import why_not
from neurosim.simulation import simulate
from neurosim.synapses import INPUT

ROOMY = {"noc.width": 16, "noc.height": 16}
FIT = Chip.load("loihi1_silicon_fit").with_settings(ROOMY)
VARIANTS = {
    "native": {},
    "links": {"noc.flit_time": "40 ns"},
    "slow links": {"noc.flit_time": "3 us", "noc.events_per_message": 3},
    "several chips": {"noc.width": 4, "noc.height": 4, "chips": 16, "cost.hop.chip": {"energy": "9 pJ", "time": "70 ns", "grade": "assumed"}},
    "overlap": {"timing.overlap": [["message_in", "synapse"], ["neuron_update", "event_out", "message_out"]]},
    "overlapped access": {"timing.overlap": [["neuron_access", "synapse"]]},
    "natively fall-through": {"supports.native_schedule": "fall_through"},
    "dense": {"core.weight_storage": ["dense"]},
    "sparse": {"core.weight_storage": ["sparse"]},
    "crossbar": {"core.weight_storage": ["crossbar"], "core.synapse_memory": "64 MiB",
                 "cost.synapse": {"energy": "3 pJ", "time": "1 ns", "grade": "assumed"}},
}
ONLY_EXACT = {"by_layer", "by_core_j", "places", "gains", "busiest_link_events"}
ONLY_IN_DETAIL = {"traffic": None}


def run(net, schedule="fall_through", n=12, seed=0):
    resets = np.zeros(n, bool)
    resets[n // 2] = True
    return simulate(net, slow_stream(net.input.shape, n, np.random.default_rng(seed)), numerics="float64", schedule=schedule,
                    resets=resets, reference="none")


def assert_same(ours, exact, path="report"):
    """Equal in everything that both say; sums of floats to rounding."""
    if isinstance(exact, dict):
        assert set(exact) - set(ours) <= ONLY_EXACT and not set(ours) - set(exact), path
        for key in set(exact) - ONLY_EXACT:
            assert_same(ours[key], exact[key], f"{path}.{key}")
    elif isinstance(exact, list):
        assert len(ours) == len(exact), path
        for i, (a, b) in enumerate(zip(ours, exact, strict=True)):
            assert_same(a, b, f"{path}[{i}]")
    elif isinstance(exact, float):
        assert ours == pytest.approx(exact, rel=1e-9, abs=1e-24), path
    else:
        assert ours == exact, path


def check(trace, programs, keeps_steps=True):
    assert all(why_not(trace.network, p.chip, p.slices) is None for p in programs)
    for report, program in zip(price_family(trace, programs, period_s=1e-5), programs, strict=True):
        exact = price(trace, program, period_s=1e-5)
        ours, theirs = report.to_json(), exact.to_json() | ONLY_IN_DETAIL
        # two cores may have equal work: which of them is waited for is then open, but not for how long
        for document in (ours, theirs):
            if document["latency"] is not None:
                document["latency"]["critical"].pop("core", None)
                document["latency"]["critical"].pop("layer", None)
                document["latency"]["critical"].pop("share")
                document["latency"]["critical_share"] = sum(document["latency"]["critical_share"].values())
        assert_same(ours, theirs)
        np.testing.assert_array_equal(report.burst, exact.burst)
        if keeps_steps:
            np.testing.assert_allclose(report.latency.per_timestep_s, exact.latency.per_timestep_s, rtol=1e-9)
        else:
            assert report.latency.per_timestep_s.size == 0
        np.testing.assert_allclose(report.latency.core_work_s, exact.latency.core_work_s, rtol=1e-9)


@pytest.mark.parametrize("schedule", ["fall_through", "pipelined"])
def test_every_variant_equals_the_exact_path(schedule):
    net = nature_like(np.random.default_rng(0))
    trace = run(net, schedule)
    chips = [FIT.with_settings({**changes, "core.neurons": n}) for changes in VARIANTS.values() for n in (5, 24, 64)]
    programs = [compile(net, chip, hypothetical=True) for chip in chips]
    assert len({p.cores_used for p in programs}) >= 3
    cut = {axis for p in programs for s in p.slices for axis in ("rows", "columns", "channels")
           if getattr(s, axis)[1] - getattr(s, axis)[0] < net.layers[s.layer].shape[("rows", "columns", "channels").index(axis)]}
    assert cut == {"rows", "columns", "channels"}
    check(trace, programs)


@st.composite
def boxed(draw):
    """Chains of convolutions, grouped ones, pools and residual additions, with a full layer behind."""
    rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    grid, source, layers = (draw(st.integers(3, 9)), draw(st.integers(3, 9)), draw(st.sampled_from([1, 2, 4]))), INPUT, []
    for i in range(draw(st.integers(1, 4))):
        kernel = tuple(draw(st.integers(1, min(3, n))) for n in grid[:2])
        stride = tuple(draw(st.integers(1, k)) for k in kernel)
        kind = draw(st.sampled_from(["conv", "grouped", "depthwise", "sum", "max", "residual"]))
        if kind in ("sum", "max"):
            synapses = (pool(f"{kind}_pool", source, grid, kernel, stride),)
        elif kind == "residual" and source != INPUT:
            inner = layer(f"inner{i}", conv(source, grid, grid[2], (1, 1), rng=rng))
            layers.append(inner)
            synapses = (identity(len(layers) - 1, grid), identity(source, grid))
        else:
            groups = {"depthwise": grid[2], "grouped": max(1, grid[2] // 2)}.get(kind, 1)
            pads = tuple(draw(st.integers(0, k - 1)) for k in kernel)
            synapses = (conv(source, grid, grid[2] * draw(st.integers(1, 3)), kernel, stride=stride, pads=pads, groups=groups, rng=rng),)
        layers.append(layer(f"l{i}", synapses))
        source, grid = len(layers) - 1, layers[-1].shape
    n_in = int(np.prod(grid))
    layers.append(layer("out", full(source, n_in, draw(st.integers(1, 9)), rng=rng, view=rng.permutation(n_in).astype(np.int32))))
    return network(layers, next(s.grid for s in layers[0].synapses))


@given(boxed(), st.sampled_from(["fall_through", "pipelined"]), st.sampled_from(list(VARIANTS)), st.integers(2, 40), st.integers(0, 1000))
@settings(max_examples=80)
def test_random_networks_equal_the_exact_path(net, schedule, variant, core_neurons, seed):
    chip = FIT.with_settings({**VARIANTS[variant], "core.neurons": core_neurons})
    try:
        program = compile(net, chip, hypothetical=True)
    except DoesNotFit:
        assume(False)
    assume(why_not(net, chip, program.slices) is None)
    check(run(net, schedule, seed=seed), [program])


def test_branches_pools_and_groups_equal_the_exact_path():
    rng = np.random.default_rng(3)
    grid = (8, 8, 4)
    net = network([
        layer("in", conv(INPUT, (8, 8, 2), 4, (3, 3), pads=(1, 1), rng=rng)),
        layer("depthwise", conv(0, grid, 4, (3, 3), pads=(1, 1), groups=4, rng=rng)),
        layer("grouped", conv(1, grid, 8, (1, 1), groups=2, rng=rng)),
        layer("squeeze", conv(2, (8, 8, 8), 4, (1, 1), rng=rng)),
        layer("sum", (identity(0, grid), identity(3, grid, sign=-1))),
        layer("pool", pool("sum_pool", 4, grid, (2, 2), (2, 2))),
        layer("max", pool("max_pool", 5, (4, 4, 4), (2, 2), (2, 2))),
        layer("out", full(6, 16, 5, rng=rng)),
    ], (8, 8, 2))
    trace = run(net)
    programs = [compile(net, FIT.with_settings({**VARIANTS[v], "core.neurons": n}), hypothetical=True)
                for v in ("native", "links", "overlap", "dense") for n in (9, 33, 300)]
    assert all(why_not(net, p.chip, p.slices) is None for p in programs)
    check(trace, programs)


def test_balanced_and_placed_mappings_equal_the_exact_path():
    net = nature_like(np.random.default_rng(1))
    trace = run(net, n=20)
    chip = FIT.with_settings({"core.neurons": 20, "core.weight_storage": ["dense", "convolution"]})
    check(trace, [compile(net, chip, trace, placement, balance=balance, hypothetical=True)
                  for placement in ("row_major", "snake", "greedy") for balance in (False, True)])


def test_blocks_of_timesteps_and_batches_of_configurations(monkeypatch):
    net = nature_like(np.random.default_rng(0))
    trace = run(net, n=30)
    programs = [compile(net, FIT.with_settings({"core.neurons": n, "noc.flit_time": "40 ns"}), hypothetical=True) for n in (5, 24, 64)]
    monkeypatch.setattr(family, "TABLE_BYTES", 4 * 7 * 2000)
    monkeypatch.setattr(family, "STEPS", 60)
    check(trace, programs, keeps_steps=False)


def test_more_timesteps_than_the_kernel_holds_at_once():
    net = network([layer("a", full(INPUT, 6, 5, rng=np.random.default_rng(0), zeros=0, dyadic=False)),
                   layer("b", full(0, 5, 2, rng=np.random.default_rng(1), zeros=0, dyadic=False))], (6,))
    trace = run(net, n=kernel.BLOCK * 2 + 17)
    check(trace, [compile(net, FIT.with_settings({"core.neurons": n, "noc.flit_time": "40 ns"}), hypothetical=True) for n in (2, 8)])


def test_what_cannot_be_counted_in_boxes_is_named():
    rng = np.random.default_rng(0)
    chip = FIT.with_settings({"core.neurons": 64})

    def reason(net, chip=chip):
        return why_not(net, chip, compile(net, chip, hypothetical=True).slices)

    assert reason(nature_like(rng)) is None
    assert "multicast" in reason(nature_like(rng), chip.with_settings({"noc.multicast": True}))
    assert "dilated" in reason(network([layer("a", conv(INPUT, (7, 7, 1), 2, (3, 3), dilation=(2, 2), rng=rng))], (7, 7, 1)))
    assert "stride" in reason(network([layer("a", conv(INPUT, (7, 7, 1), 2, (1, 1), stride=(2, 2), rng=rng))], (7, 7, 1)))
    part = np.arange(4, dtype=np.int32)
    assert "part of its source" in reason(network([layer("a", full(INPUT, 4, 3, rng=rng, view=part))], (6,)))
    twice = (conv(INPUT, (4, 4, 2), 2, (3, 3), pads=(1, 1), rng=rng), identity(INPUT, (4, 4, 2)))
    assert "several groups" in reason(network([layer("a", twice)], (4, 4, 2)))
    weights = np.ones((3, 4))
    weights[:, 1] = 0
    sparse = replace(full(INPUT, 4, 3, rng=rng), weight=weights)
    assert "no axon" in reason(network([layer("a", sparse)], (4,)), chip.with_settings({"core.weight_storage": ["sparse"]}))


def test_a_trace_without_events_is_refused():
    net = nature_like(np.random.default_rng(0))
    trace = simulate(net, np.zeros((3, *net.input.shape)), reference="none", record="counts")
    with pytest.raises(PricingError, match="no event record"):
        price_family(trace, [compile(net, FIT, hypothetical=True)])


def test_sources_seen_in_another_grid_are_counted_event_by_event():
    """A full layer whose 64 neurons a convolution reads as 8 x 8, and two readers that see the input in different grids."""
    rng = np.random.default_rng(0)
    chip = FIT.with_settings({"core.neurons": 16})
    reshaped = network([layer("a", full(INPUT, 9, 64, rng=rng)), layer("b", conv(0, (8, 8, 1), 2, (3, 3), rng=rng))], (9,))
    assert "another grid" in why_not(reshaped, chip, compile(reshaped, chip, hypothetical=True).slices)
    twice = network([layer("a", conv(INPUT, (4, 4, 2), 2, (1, 1), rng=rng)), layer("b", conv(INPUT, (2, 8, 2), 2, (1, 1), rng=rng)),
                     layer("c", full(0, 32, 3, rng=rng)), layer("d", full(1, 32, 3, rng=rng))], (4, 4, 2))
    assert "another grid" in why_not(twice, chip, compile(twice, chip, hypothetical=True).slices)


def test_slices_that_read_padding_alone_equal_the_exact_path():
    net = network([layer("a", conv(INPUT, (3, 3, 1), 4, (1, 1), pads=(1, 1), rng=np.random.default_rng(0), zeros=0, dyadic=False))], (3, 3, 1))
    check(run(net), [compile(net, FIT.with_settings({"core.neurons": n, "noc.flit_time": "40 ns"}), hypothetical=True) for n in (4, 8, 20)])


def test_counts_beyond_32_bits_are_not_counted_in_boxes():
    huge = conv(INPUT, (300, 300, 64), 64, (11, 11), rng=np.random.default_rng(0), dyadic=False)
    net = network([layer("a", huge)], (300, 300, 64))
    assert huge.n_synapses(300 * 300 * 64) > 2**31
    assert "more synapses than a count" in why_not(net, FIT, ())
