"""The Nature-CNN on real Atari frames: every counter equals the loop over events and their synapses, exactly.

9.3 million synapses are too many for Python tuples, so this twin keeps the targets and weights of
each source element as arrays; it adds one event at a time, like the small one, and shares no code
with the kernels.
"""

import numpy as np
import pytest
from naive import INPUT, Naive
from networks import conv, full, layer

from neurosim.host import HostOp, HostProgram
from neurosim.network import Input, Network, OutputPart
from neurosim.simulation import simulate
from neurosim.transforms import set_thresholds

N_FRAMES = 60


class NaiveByEvent(Naive):
    """`Naive` with the synapses of a source element as arrays."""

    def __init__(self, network):
        self.network, self.schedule, self.rule = network, "fall_through", "hold"
        self.synapses = [[arrays_by_source(s) for s in layer.synapses] for layer in network.layers]
        self.reset()

    def reset(self):
        super().reset()
        self.accumulator = [np.array(a) for a in self.accumulator]

    def _layer(self, i):
        layer_, row = self.network.layers[i], [0] * 7
        touched = np.zeros(len(self.value[i]), bool)
        for s, (start, target, weight) in zip(layer_.synapses, self.synapses[i]):
            for element, payload in self.sent[s.source]:
                mine = slice(start[element], start[element + 1])
                touched[target[mine]] = True
                row[0] += target[mine].size > 0
                row[1] += target[mine].size
                row[2] += np.count_nonzero(weight[mine])
                self.accumulator[i][target[mine]] += payload * weight[mine]
        neurons = range(touched.size) if self.first else np.flatnonzero(touched).tolist()
        changed = []
        for neuron in neurons:
            self.value[i][neuron] = self._f(layer_, i, neuron)
            changed.append((neuron, self.value[i][neuron]))
        row[4] = len(changed)
        self.sent[i] = self._send(i, changed, layer_) if i < len(self.network.layers) - 1 else []
        row[5] = len(self.sent[i])
        return row


def arrays_by_source(s):
    """(start, target, weight) sorted by source element; targets of one element are distinct."""
    height, width, channels = s.grid
    out_h, out_w, out_c = s.target_grid
    y, x, o, k_y, k_x, c = (a.ravel() for a in np.indices((out_h, out_w, out_c, *s.kernel, channels)))
    row, column = y * s.stride[0] + k_y, x * s.stride[1] + k_x
    cell = (row * width + column) * channels + c
    source = cell if s.view is None else s.view[cell]
    weight = s.weight[o, c] if s.kind == "full" else s.weight[o, c, k_y, k_x]
    order = np.argsort(source, kind="stable")
    start = np.concatenate(([0], np.cumsum(np.bincount(source, minlength=height * width * channels))))
    return start, ((y * out_w + x) * out_c + o)[order], weight[order]


def nature_cnn(rng):
    """84x84x4 bytes / 255; conv 32@8x8/4, 64@4x4/2, 64@3x3/1, fc 512, fc 6; uniform initial weights, as torch makes them."""
    chw = np.arange(4 * 84 * 84, dtype=np.int32).reshape(4, 84, 84).transpose(1, 2, 0).reshape(-1)
    flatten = np.arange(7 * 7 * 64, dtype=np.int32).reshape(7, 7, 64).transpose(2, 0, 1).reshape(-1)
    groups = [
        conv(INPUT, (84, 84, 4), 32, (8, 8), stride=(4, 4), rng=rng, view=chw),
        conv(0, (20, 20, 32), 64, (4, 4), stride=(2, 2), rng=rng),
        conv(1, (9, 9, 64), 64, (3, 3), rng=rng),
        full(2, 3136, 512, rng=rng, view=flatten),
        full(3, 512, 6, rng=rng),
    ]
    layers = []
    for i, s in enumerate(groups):
        bound = 1 / np.sqrt(np.prod(s.weight.shape[1:]))
        weight = np.where(rng.random(s.weight.shape) < 0.1, 0.0, rng.uniform(-bound, bound, s.weight.shape))
        groups[i] = type(s)(s.kind, s.source, s.grid, s.target_grid, weight, s.view, s.kernel, s.stride)
        layers.append(
            layer(
                f"l{i}",
                groups[i],
                () if i == 4 else layers[0].activation if layers else layer("x", groups[0]).activation,
                bias=rng.uniform(-bound, bound, s.target_grid[2]),
            )
        )
    encoder = HostProgram((HostOp("Div", (0, np.array(255.0))),))
    return Network("nature_cnn", Input("obs", (4, 84, 84), encoder), tuple(layers), (OutputPart(4, np.arange(6)[None]),))


@pytest.fixture(scope="module")
def frames():
    pytest.importorskip("ale_py")
    pytest.importorskip("cv2")
    from neurosim.control.environment import make_environment

    env = make_environment("ALE/Breakout-v5", {"repeat_action_probability": 0.0}, "atari")
    env.action_space.seed(0)
    observation, _ = env.reset(seed=0)
    stacks = []
    for _ in range(N_FRAMES):
        stacks.append(np.array(observation))
        observation, _, terminated, truncated, _ = env.step(env.action_space.sample())
        if terminated or truncated:
            observation, _ = env.reset()
    env.close()
    return np.stack(stacks)


def test_dense_macs_are_the_published_ones():
    assert nature_cnn(np.random.default_rng(0)).static_total("dense_macs") == 9_346_048


@pytest.mark.parametrize("threshold", [0.0, 0.01, 0.05])
def test_every_counter_on_real_frames(frames, threshold):
    network = set_thresholds(nature_cnn(np.random.default_rng(0)), threshold)
    naive, counts, input_counts, outputs = NaiveByEvent(network), [], [], []
    for frame in frames:
        n, rows, out = naive.step((frame.reshape(-1) / 255.0).tolist())
        counts.append(rows)
        input_counts.append(n)
        outputs.append(out)
    exact = simulate(network, frames, numerics="float64", reference="none")
    assert np.array_equal(exact.counts, counts)
    assert np.array_equal(exact.input_counts, input_counts)
    assert np.array_equal(exact.outputs, outputs)
    fast = simulate(network, frames, numerics="float32", reference="none").totals_by_counter
    for name, value in exact.totals_by_counter.items():
        if value is not None:
            assert fast[name] == pytest.approx(value, rel=1e-3), name
