"""Files that the package `nir` writes from its own graphs, against loops in numpy."""

import numpy as np
import pytest

import neurosim as ns
from neurosim.loaders.nir import load_nir

nir = pytest.importorskip("nir")


def test_convolutions_of_one_and_two_dimensions(tmp_path):
    """Strides, padding and dilation, beside their definition in plain numpy. (The package itself refuses groups.)"""
    rng = np.random.default_rng(0)
    w1, b1 = rng.normal(size=(4, 2, 3)), rng.normal(size=4)
    x1 = rng.normal(size=(2, 9))
    graph = nir.NIRGraph.from_list(nir.Input(np.array([2, 9])), nir.Conv1d(9, w1, 2, 1, 1, 1, b1), nir.Output(np.array([4, 5])))
    nir.write(tmp_path / "c1.nir", graph)
    padded = np.pad(x1, ((0, 0), (1, 1)))
    expected = np.stack([np.einsum("oik,ik->o", w1, padded[:, 2 * t: 2 * t + 3]) for t in range(5)], axis=1) + b1[:, None]
    found = ns.simulate(load_nir(tmp_path / "c1.nir"), x1[None], numerics="float64").outputs[0]
    np.testing.assert_allclose(found.reshape(4, 5), expected, atol=1e-12)

    w2, b2 = rng.normal(size=(4, 2, 3, 3)), rng.normal(size=4)
    x2 = rng.normal(size=(2, 7, 8))
    conv = nir.Conv2d((7, 8), w2, (2, 1), (1, 2), (1, 2), 1, b2)
    graph = nir.NIRGraph.from_list(nir.Input(np.array([2, 7, 8])), conv, nir.Output(np.array([4, 4, 8])))
    nir.write(tmp_path / "c2.nir", graph)
    padded = np.pad(x2, ((0, 0), (1, 1), (2, 2)))
    expected = np.zeros((4, 4, 8))
    for o in range(4):
        for y in range(4):
            for x in range(8):
                patch = padded[:, 2 * y: 2 * y + 3, x: x + 5: 2]
                expected[o, y, x] = (w2[o] * patch).sum() + b2[o]
    found = ns.simulate(load_nir(tmp_path / "c2.nir"), x2[None], numerics="float64").outputs[0]
    np.testing.assert_allclose(found.reshape(4, 4, 8), expected, atol=1e-12)


def test_neurons_recurrence_and_pools(tmp_path):
    """A graph of CubaLIF with feedback behind an average pool, timestep by timestep."""
    rng = np.random.default_rng(1)
    n = 5
    w, back = rng.normal(size=(n, 8)), rng.normal(size=(n, n))
    cuba = nir.CubaLIF(tau_syn=np.full(n, 2e-3), tau_mem=np.full(n, 4e-3), r=np.full(n, 2.0), v_leak=np.full(n, 0.1),
                       v_threshold=np.full(n, 0.3), w_in=np.full(n, 1.5), v_reset=np.zeros(n))
    graph = nir.NIRGraph(
        {"input": nir.Input(np.array([2, 4, 4])), "pool": nir.AvgPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
         "flat": nir.Flatten(np.array([2, 2, 2]), 0, -1), "w": nir.Linear(w), "cuba": cuba, "back": nir.Linear(back),
         "output": nir.Output(np.array([n]))},
        [("input", "pool"), ("pool", "flat"), ("flat", "w"), ("w", "cuba"), ("cuba", "back"), ("back", "cuba"), ("cuba", "output")])
    nir.write(tmp_path / "g.nir", graph)
    xs, dt = rng.normal(size=(40, 2, 4, 4)), 1e-3
    i, v, s, expected = np.zeros(n), np.zeros(n), np.zeros(n), []
    for x in xs:
        current = w @ x.reshape(2, 2, 2, 2, 2).mean(axis=(2, 4)).reshape(-1) + back @ s
        i = i + dt / 2e-3 * (-i + 1.5 * current)
        v = v + dt / 4e-3 * (0.1 - v + 2.0 * i)
        s = (v > 0.3).astype(float)
        v = np.where(s > 0, 0.0, v)
        expected.append(s)
    found = ns.simulate(load_nir(tmp_path / "g.nir", dt=dt), xs, numerics="float64")
    assert np.array_equal(found.outputs, expected) and 5 < found.outputs.sum() < 195
