"""The recipe that makes policies sparse trains the delta rule that the simulator runs."""

from __future__ import annotations

import sys
from pathlib import Path

import numpy as np
import pytest

import neurosim as ns

torch = pytest.importorskip("torch", reason="needs torch (recipes only)")
pytest.importorskip("ale_py", reason="needs ale_py")
ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def recipe(request):
    sys.path.insert(0, str(ROOT / "models" / "train"))
    request.addfinalizer(lambda: sys.path.remove(str(ROOT / "models" / "train")))
    import network
    import sparsify

    return sparsify, network


def test_windows_cost_what_the_simulator_counts(recipe):
    sparsify, network = recipe
    folder = ROOT / "models" / "lunarlander_dqn"
    thresholds, n_windows, length = [0.05, 0.1, 0.2], 6, 8
    student = sparsify.Student(network.read_actor(folder / "policy.onnx"), thresholds)
    student.prune([0.3, 0.6, 0.2])
    obs = np.load(folder / "golden.npz")["obs"][: n_windows * length]
    windows = torch.from_numpy(obs.reshape(n_windows, length, -1)).transpose(0, 1)
    with torch.no_grad():
        outputs, _, macs = student(windows)
        played = torch.stack([student.play(step, np.full(n_windows, i == 0)) for i, step in enumerate(windows)])
    assert torch.allclose(played, outputs, atol=1e-4)
    loaded = ns.load(folder / "policy.onnx")
    pruned = _with_weights(loaded, [layer.weight.detach().numpy() for layer in student.actor.layers])
    starts = np.arange(len(obs)) % length == 0
    trace = ns.simulate(ns.set_thresholds(pruned, dict(zip(loaded.thresholds, thresholds))), obs, resets=starts)
    after_first = trace.totals_by_counter["effective_macs"] - trace.first_totals_by_counter["effective_macs"]
    assert after_first == round(float(macs.sum()) * n_windows * (length - 1))
    assert np.allclose(outputs.transpose(0, 1).reshape(len(obs), -1).numpy(), trace.outputs, atol=1e-3)


def _with_weights(loaded, weights):
    from dataclasses import replace

    layers = [
        replace(layer, synapses=tuple(replace(s, weight=w.astype(np.float64).reshape(s.weight.shape)) for s in layer.synapses))
        for layer, w in zip(loaded.layers, weights)
    ]
    return replace(loaded, layers=tuple(layers))


def test_fan_out_is_the_number_of_synapses(recipe):
    sparsify, _ = recipe
    layer = torch.nn.Conv2d(2, 3, (3, 2), stride=(2, 3))
    count = (torch.rand(layer.weight.shape) < 0.5).float()
    height, width = 8, 10
    expected = np.zeros((2, height, width))
    for y in range((height - 3) // 2 + 1):
        for x in range((width - 2) // 3 + 1):
            expected[:, 2 * y : 2 * y + 3, 3 * x : 3 * x + 2] += count.sum(0).numpy()
    assert np.array_equal(sparsify.fan_out(layer, count, torch.Size((2, height, width))).numpy(), expected)


def test_hold_sends_what_moved_by_more_than_the_threshold(recipe):
    sparsify, _ = recipe
    x = torch.tensor([[0.05, 1.0], [0.2, 1.05], [0.25, 1.3], [0.0, 1.25]], requires_grad=True)
    held, sends = sparsify.Hold.apply(x, 4, 0.1)
    assert torch.equal(held.detach(), torch.tensor([[0.0, 1.0], [0.2, 1.0], [0.2, 1.3], [0.0, 1.3]]))
    assert torch.equal(sends.detach(), torch.tensor([2.0, 1.0]))
    sends.sum().backward()
    before = np.array([[0.0, 1.0], [0.2, 1.0], [0.2, 1.3]])
    pull = 0.1 / (np.abs(x.detach().numpy()[1:] - before) + 0.1) ** 2 * np.sign(x.detach().numpy()[1:] - before)
    expected = np.zeros((4, 2))
    expected[1:] += pull
    expected[:-1] -= pull
    assert np.allclose(x.grad.numpy(), expected, atol=1e-5)


def test_pruning_takes_exactly_the_fraction_even_among_equal_weights(recipe):
    sparsify, network = recipe
    actor = network.Actor(torch.nn.Identity(), [torch.nn.Linear(10, 10)])
    torch.nn.init.constant_(actor.layers[0].weight, 0.5)
    student = sparsify.Student(actor, [0.0])
    student.prune([0.3])
    assert int((actor.layers[0].weight == 0).sum()) == 30
    student.prune([0.5])
    assert int((actor.layers[0].weight == 0).sum()) == 50
