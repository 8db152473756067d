"""simulate and Simulator: schedules, resets, readout, records, refusals."""

import copy
import pickle
import tracemalloc
from dataclasses import replace

import numpy as np
import pytest
from networks import TWO_THREE_ONE_INPUTS, conv, full, identity, layer, nature_like, network, slow_stream, two_three_one

from neurosim import dense
from neurosim.activation import ELEMENTWISE, Elementwise
from neurosim.errors import SimulationError
from neurosim.host import HostOp, HostProgram
from neurosim.network import INPUT, Input, Network
from neurosim.simulation import Simulator, map_threads, simulate
from neurosim.simulation import simulator as simulator_module
from neurosim.transforms import set_thresholds


def chain(depth, rng):
    """`depth` full layers of 5."""
    return network(
        [layer(f"l{i}", full(i - 1, 5, 5, rng=rng), () if i == depth - 1 else (Elementwise("relu"),), bias=0.125) for i in range(depth)],
        (5,),
    )


def test_pipelined_answers_stand_depth_minus_one_later():
    rng = np.random.default_rng(0)
    net = chain(3, rng)
    inputs = slow_stream((5,), 12, rng, change=0.5)
    trace = simulate(net, inputs, numerics="float64", schedule="pipelined")
    expected = dense.evaluate(net, inputs)[2]
    assert net.depth == 3
    assert np.array_equal(trace.outputs[2:], expected[:-2])
    assert trace.reference.max_abs_error == 0


def test_pipelined_layers_all_evaluate_in_the_first_timestep():
    net = chain(3, np.random.default_rng(1))
    trace = simulate(net, np.zeros((2, 5)), numerics="float64", schedule="pipelined")
    assert trace.counts[0, :, 4].tolist() == [5, 5, 5]


def test_held_inputs_and_readouts():
    rng = np.random.default_rng(2)
    net = chain(3, rng)
    inputs = slow_stream((5,), 4, rng, change=0.5)
    last = simulate(net, inputs, numerics="float64", schedule="pipelined", timesteps_per_input=3)
    assert np.array_equal(last.outputs, dense.evaluate(net, inputs)[2])
    assert last.n_timesteps == 12 and last.totals_by_counter["output_reads"] == 4 * 5
    mean = simulate(net, inputs, numerics="float64", schedule="pipelined", timesteps_per_input=3, readout="mean")
    total = simulate(net, inputs, numerics="float64", schedule="pipelined", timesteps_per_input=3, readout="sum")
    assert np.allclose(mean.outputs * 3, total.outputs)
    assert mean.totals_by_counter["output_reads"] == 12 * 5


def test_a_reset_is_a_fresh_start():
    rng = np.random.default_rng(3)
    net = set_thresholds(nature_like(rng), 0.1)
    inputs = slow_stream((20, 20, 2), 6, rng)
    resets = np.array([False, False, False, True, False, False])
    joined = simulate(net, inputs, numerics="float64", resets=resets)
    apart = [simulate(net, part, numerics="float64") for part in (inputs[:3], inputs[3:])]
    assert np.array_equal(joined.counts, np.concatenate([t.counts for t in apart]))
    assert np.array_equal(joined.outputs, np.concatenate([t.outputs for t in apart]))
    assert joined.first.tolist() == [True, False, False, True, False, False]
    assert joined.first_totals_by_counter["effective_macs"] == sum(t.first_totals_by_counter["effective_macs"] for t in apart)


@pytest.mark.parametrize("numerics", ["float32", "float64"])
def test_step_by_step_equals_run(numerics):
    rng = np.random.default_rng(4)
    net = set_thresholds(nature_like(rng), 0.05)
    inputs = slow_stream((20, 20, 2), 9, rng)
    simulator = Simulator(net, numerics=numerics, record="events")
    steps = np.stack([simulator.step(x) for x in inputs])
    trace = simulate(net, inputs, numerics=numerics)
    assert np.array_equal(steps, trace.outputs)
    assert np.array_equal(simulator.totals()[1], trace.totals)
    for mine, theirs in zip(simulator.recorder.arrays(), (trace.input_counts, trace.counts, trace.event_start, trace.event_element)):
        assert np.array_equal(mine, theirs)


def test_bytes_after_reals_are_compared_with_what_was_sent():
    rng = np.random.default_rng(5)
    net = nature_like(rng)
    frames = rng.integers(0, 256, (3, 20, 20, 2), dtype=np.uint8)
    mixed, plain = Simulator(net, numerics="float64"), Simulator(net, numerics="float64")
    for x in (frames[0], frames[1].astype(float), frames[0]):
        answer = mixed.step(x)
    for x in (frames[0], frames[1], frames[0]):
        expected = plain.step(x)
    assert np.array_equal(answer, expected) and np.array_equal(mixed.totals()[1], plain.totals()[1])


def test_an_encoder_runs_before_the_comparison():
    """Encoder x / 4 with input threshold 0.3: a change of 1 becomes 0.25 and is not sent, one of 2 is."""
    base = two_three_one()
    encoder = HostProgram((HostOp("Div", (0, np.array(4.0))),))
    net = Network("n", Input("x", (2,), encoder, threshold=0.3), base.layers, base.outputs)
    inputs = np.array([[4.0, 0], [5, 0], [6, 0]])
    for x in (inputs, inputs.astype(np.uint8), inputs.astype(np.float32)):
        trace = simulate(net, x, numerics="float64")
        assert trace.input_counts.tolist() == [1, 0, 1]
        assert trace.outputs.ravel().tolist() == [3.0, 3.0, 4.5]


@pytest.mark.parametrize("op", sorted(ELEMENTWISE))
def test_activations_equal_the_numpy_form(op):
    parameters = {"affine": (0.5, -0.25), "leaky_relu": (0.2,), "elu": (1.5,), "clip": (-1.0, 0.75), "hard_sigmoid": (0.2, 0.5),
                  "requantize": (1.7,), "shift_right": (2.0,)}.get(op, ())
    rng = np.random.default_rng(6)
    net = network([layer("l", full(INPUT, 4, 7, rng=rng, dyadic=False), (Elementwise(op, parameters),))], (4,))
    inputs = rng.normal(size=(5, 4)) * 3
    assert np.allclose(simulate(net, inputs, numerics="float64").outputs, dense.evaluate(net, inputs)[2], rtol=1e-13, atol=1e-13)
    assert np.allclose(simulate(net, inputs).outputs, dense.evaluate(net, inputs)[2], rtol=1e-4, atol=1e-5)


def test_naive_drifts_and_hold_does_not():
    """A ramp of steps below the threshold: naive never sends, hold stays within the threshold."""
    weights = np.ones((1, 1))
    from neurosim.synapses import Synapses

    net = network([layer("l", Synapses("full", INPUT, (1, 1, 1), (1, 1, 1), weights), ())], (1,), threshold=0.5)
    ramp = np.arange(1, 41)[:, None] * 0.25
    naive, hold = (simulate(net, ramp, numerics="float64", rule=rule) for rule in ("naive", "hold"))
    assert naive.outputs[-1, 0] == 0 and hold.reference.max_abs_error <= 0.5
    assert naive.reference.max_abs_error == 10


def test_strict_and_inclusive_comparison():
    """A change equal to the threshold is sent by sigma_delta (>=) and not by hold (>)."""
    net = set_thresholds(two_three_one(), {"input": 1.0, "hidden": 0.0})
    assert simulate(net, TWO_THREE_ONE_INPUTS, numerics="float64").input_events == 0
    assert simulate(net, TWO_THREE_ONE_INPUTS, numerics="float64", rule="sigma_delta").input_events == 2


def test_a_record_can_be_limited_or_off():
    net = two_three_one()
    inputs = np.repeat(TWO_THREE_ONE_INPUTS, 3, axis=0)
    whole = simulate(net, inputs)
    limited = simulate(net, inputs, record_limit=4)
    assert limited.n_recorded == 4 and limited.event_start.size == 4 * 2 + 1
    assert np.array_equal(limited.event_element, whole.event_element[: limited.event_element.size])
    assert np.array_equal(limited.counts, whole.counts)
    counts = simulate(net, inputs, record="counts")
    assert counts.n_recorded == 0 and np.array_equal(counts.counts, whole.counts)
    none = simulate(net, inputs, record="none", keep_outputs=False)
    assert none.counts is None and none.outputs is None
    assert none.totals_by_counter == whole.totals_by_counter and none.reduction() == whole.reduction()


def test_a_million_timesteps_in_constant_memory():
    """Without a record, what is allocated does not grow with the run (the inputs are a view of one row)."""
    net = set_thresholds(two_three_one(), 0.01)
    row = np.array([[1.0, 0.5]], np.float32)
    simulate(net, np.broadcast_to(row, (10, 2)), record="none", keep_outputs=False, reference="none")
    peaks = []
    for n in (10_000, 1_000_000):
        tracemalloc.start()
        trace = simulate(net, np.broadcast_to(row, (n, 2)), record="none", keep_outputs=False, reference="none")
        peaks.append(tracemalloc.get_traced_memory()[1] - 2 * n)  # two flags of one byte per input
        tracemalloc.stop()
        assert trace.n_timesteps == n
    assert peaks[1] < peaks[0] + 4e6, peaks


REFUSALS = [
    (dict(inputs=np.zeros((0, 2))), "zero timesteps"),
    (dict(inputs=np.zeros((3, 3))), r"inputs have shape \(3, 3\): expected \(timesteps, 2\)"),
    (dict(inputs=np.array([[1.0, np.nan]])), "NaN or infinity at index 0"),
    (dict(inputs=np.array([[1.0, 0], [np.inf, 0]])), "NaN or infinity at index 1"),
    (dict(inputs=np.array([["a", "b"]])), "real numbers are needed"),
    (dict(inputs=np.ones((3, 2)), resets=np.ones(2)), r"one value per input is needed: \(3,\)"),
    (dict(inputs=np.ones((3, 2)), numerics="float16"), "numerics 'float16' is unknown"),
    (dict(inputs=np.ones((3, 2)), schedule="parallel"), "schedule 'parallel' is unknown"),
    (dict(inputs=np.ones((3, 2)), rule="sometimes"), "delta rule 'sometimes' is unknown"),
    (dict(inputs=np.ones((3, 2)), readout="count"), "readout 'count' needs spiking neurons"),
    (dict(inputs=np.ones((3, 2)), timesteps_per_input=0), "at least 1 is needed"),
    (dict(inputs=np.ones((3, 2)), record="some"), "record 'some' is unknown"),
    (dict(inputs=np.ones((3, 2)), reference=-1), "reference -1 is neither"),
    (dict(inputs=np.full((1, 2), 3e38, np.float32)), "infinite or NaN"),
]


@pytest.mark.parametrize("arguments, message", REFUSALS, ids=[m[:24] for _, m in REFUSALS])
def test_refusals(arguments, message):
    with pytest.raises(SimulationError, match=message):
        simulate(two_three_one(), **arguments)


def test_a_pooling_window_of_padding_only_is_refused():
    from networks import pool

    net = network([layer("p", pool("max_pool", INPUT, (2, 2, 1), (1, 1), (1, 1), pads=(1, 1)))], (2, 2, 1))
    with pytest.raises(SimulationError, match="holds no input at all"):
        simulate(net, np.zeros((1, 2, 2, 1)))


def test_step_refuses_another_shape():
    with pytest.raises(SimulationError, match=r"has shape \(3,\), the network takes \(2,\)"):
        Simulator(two_three_one()).step(np.zeros(3))
    with pytest.raises(SimulationError, match="NaN or infinity"):
        Simulator(two_three_one()).step(np.array([np.nan, 0]))


def test_convolutions_of_one_dimension():
    rng = np.random.default_rng(8)
    net = network([layer("c", conv(INPUT, (1, 16, 3), 4, (1, 5), stride=(1, 2), pads=(0, 2), rng=rng))], (1, 16, 3))
    inputs = slow_stream((1, 16, 3), 5, rng)
    assert np.array_equal(simulate(net, inputs, numerics="float64").outputs.ravel(), dense.evaluate(net, inputs)[2].ravel())


def test_read_only_and_strided_inputs_are_taken_as_they_are(tmp_path):
    rng = np.random.default_rng(9)
    net = nature_like(rng)
    frames = rng.integers(0, 256, (4, 20, 20, 2), dtype=np.uint8)
    np.save(tmp_path / "x.npy", frames)
    expected = simulate(net, frames, numerics="float64").outputs
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    strided = np.repeat(frames, 2, axis=0)[::2]
    for x in (mapped, strided, np.asfortranarray(frames), frames.astype(np.int16)):
        assert np.array_equal(simulate(net, x, numerics="float64").outputs, expected)
        simulator = Simulator(net, numerics="float64")
        assert np.array_equal(np.stack([simulator.step(frame) for frame in x]), expected)


def test_counts_beyond_32_bits_are_kept():
    """A timestep of 3.6 thousand million synaptic operations: 512 -> 512 channels, 3x3, on 40x40, all inputs change."""
    from neurosim.synapses import Synapses

    s = Synapses("convolution", INPUT, (40, 40, 512), (40, 40, 512), np.zeros((512, 512, 3, 3)), kernel=(3, 3), pads=(1, 1))
    trace = simulate(network([layer("c", s)], (40, 40, 512)), np.ones((1, 40, 40, 512), np.float32), reference="none")
    assert trace.counts[0, 0, 1] == trace.totals_by_counter["synaptic_ops"] == (40 * 3 - 2) ** 2 * 512 * 512 > 2**31


@pytest.mark.parametrize("value", [np.inf, -np.inf, np.nan, 1e300])
def test_what_an_encoder_would_hide_is_refused(value):
    base = two_three_one()
    encoder = HostProgram((HostOp("Clip", (0, np.array(-1.0), np.array(1.0))),))
    net = Network("n", Input("x", (2,), encoder), base.layers, base.outputs)
    with pytest.raises(SimulationError, match="NaN or infinity at index 1"):
        simulate(net, np.array([[0.5, 0.5], [value, 0.5]]))
    with pytest.raises(SimulationError, match="NaN or infinity"):
        Simulator(net).step(np.array([value, 0.5]))


def test_run_refuses_no_timesteps():
    with pytest.raises(SimulationError, match="at least 1"):
        Simulator(two_three_one()).run(np.ones((1, 2)), timesteps_per_input=0)


@pytest.mark.parametrize("workers", [2, 3, 7])
@pytest.mark.parametrize("record_limit", [None, 5])
def test_threads_share_a_stream_out_at_its_resets(workers, record_limit):
    """Any number of workers gives the very trace of one, whatever the lengths of the episodes."""
    rng = np.random.default_rng(5)
    net = set_thresholds(nature_like(rng), 0.05)
    inputs = slow_stream((20, 20, 2), 24, rng)
    resets = np.isin(np.arange(24), (0, 2, 3, 9, 20))
    options = {"resets": resets, "timesteps_per_input": 2, "record_limit": record_limit}
    done = []
    one = simulate(net, inputs, **options)
    many = simulate(net, inputs, workers=workers, progress=lambda n, total: done.append((n, total)), **options)
    for name in ("totals", "first_totals", "input_counts", "counts", "event_start", "event_element", "outputs", "first"):
        assert np.array_equal(getattr(one, name), getattr(many, name)), name
    assert (one.n_timesteps, one.n_recorded, one.manifest) == (many.n_timesteps, many.n_recorded, many.manifest)
    assert done[-1] == (24, 24) and [n for n, _ in done] == sorted(n for n, _ in done)


def test_workers_are_one_or_more():
    with pytest.raises(SimulationError, match="0 workers"):
        simulate(two_three_one(), TWO_THREE_ONE_INPUTS, workers=0)


def test_a_bad_value_is_named_by_its_place_in_the_stream():
    inputs = np.zeros((9000, 2), np.float32)
    inputs[8000] = np.nan
    with pytest.raises(SimulationError, match="index 8000"):
        simulate(two_three_one(), inputs, reference="none")


def test_map_threads_keeps_the_order_and_hands_errors_on():
    assert map_threads(lambda x: x * x, range(9), workers=3) == [x * x for x in range(9)]
    with pytest.raises(ZeroDivisionError):
        map_threads(lambda x: 1 / x, [1, 0, 2], workers=2)


def test_a_simulator_is_not_copied():
    """Its tables are reached by address: a copy would share or lose them."""
    simulator = Simulator(two_three_one())
    for duplicate in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="make a new one"):
            duplicate(simulator)


def test_outputs_lie_inside_their_layer():
    net = two_three_one()
    with pytest.raises(SimulationError, match="beyond the 1 neurons of layer 'output'"):
        Simulator(replace(net, outputs=(replace(net.outputs[0], elements=np.array([[0, 5]])),)))


def encoded_by(*ops):
    net = two_three_one()
    return replace(net, input=replace(net.input, encoder=HostProgram(ops)))


@pytest.mark.parametrize("op", ["Add", "Sub", "Mul", "Div"])
@pytest.mark.parametrize("order", [0, 1])
def test_an_encoder_with_the_constant_on_either_side(op, order):
    """Of one value or one per element; as numpy has it, in float32 and for bytes too."""
    for constant in (np.array(4.0), np.array([[4.0, 0.5]])):
        net = encoded_by(HostOp(op, (0, constant)[:: 1 - 2 * order]))
        for x in (np.array([2.0, 8.0]), np.array([2, 8], np.uint8)):
            assert Simulator(net).step(x) == dense.evaluate(net, x[None].astype(float))[2].ravel()[0]


@pytest.mark.parametrize("ops", [
    [HostOp("Div", (0, np.array([[1.0, 0.0]])))], [HostOp("Div", (0, np.array(0.0)))],
    [HostOp("Mul", (0, np.array(1e30))), HostOp("Mul", (1, np.array(1e30)))], [HostOp("Log", (0,))],
])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.uint8])
def test_what_an_encoder_makes_infinite_is_refused_and_changes_nothing(ops, dtype):
    bad = np.array([1, 0] if ops[0].op == "Log" else [1, 1], dtype)
    for simulator in (Simulator(encoded_by(*ops)), Simulator(encoded_by(*ops))):
        with pytest.raises(SimulationError, match="NaN or infinity"):
            simulator.step(bad)
        with pytest.raises(SimulationError, match="NaN or infinity"):
            simulator.run(bad[None])
        assert simulator.n_timesteps == 0 and simulator.totals()[0] == 0


def test_whole_number_constants_treat_bytes_and_floats_alike():
    net = encoded_by(HostOp("Div", (0, np.array(255))), HostOp("Sub", (1, np.array(0.45))), HostOp("Div", (2, np.array(0.225))))
    simulator, image = Simulator(set_thresholds(net, 0.0)), np.array([3, 200], np.uint8)
    simulator.step(image)
    before = simulator.totals()[0]
    simulator.step(image.astype(np.float32))
    assert simulator.totals()[0] == before


def test_synapses_read_the_whole_of_their_source_or_through_a_view():
    small = conv(INPUT, (1, 1, 2), 3, (1, 1), rng=np.random.default_rng(0))
    with pytest.raises(SimulationError, match="grid of 2 cells, which does not match the 400,000 elements"):
        Simulator(network([layer("l", small)], (400_000,)))


def test_answers_keep_their_place_after_an_interrupt():
    """A timestep whose answer nobody took does not shift later ones."""
    net = network([layer("l", full(INPUT, 1, 1, rng=np.random.default_rng(0), zeros=0), ())], (1,))
    weight = net.layers[0].synapses[0].weight.item()
    simulator = Simulator(net)
    assert simulator.step(np.array([1.0])) == weight
    simulator_module._step(simulator._plan, np.array([2.0]))  # what an interrupt leaves behind
    answers = [simulator.step(np.array([x])) for x in np.arange(3.0, 900.0)]
    assert [a.item() for a in answers] == [x * weight for x in np.arange(3.0, 900.0)]


def test_large_answers_are_not_allocated_by_the_hundred():
    net = network([layer("l", identity(INPUT, (1, 1, 200_000)), ())], (200_000,))
    simulator = Simulator(net)
    assert simulator._answers.nbytes == 4 * 200_000
    assert all(np.array_equal(simulator.step(np.full(200_000, x, np.float32)), np.full(200_000, x)) for x in (1, 2))


def test_run_takes_what_step_takes_and_refuses_the_rest():
    net = two_three_one()
    assert Simulator(net).run([[1.0, 0], [1, 1]]).ravel().tolist() == [3, 4]
    with pytest.raises(SimulationError, match="resets have shape"):
        Simulator(net).run(np.zeros((3, 2)), resets=np.array([True]))
    for call in (Simulator(net).step, lambda x: Simulator(net).run(x[None])):
        with pytest.raises(SimulationError, match="complex128"):
            call(np.zeros(2, complex))
