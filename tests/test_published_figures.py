"""Figures that others have published or that follow exactly from published shapes."""

import numpy as np
import pytest
from networks import conv, full, layer, network

from neurosim.synapses import INPUT

RNG = np.random.default_rng(0)


def nature(actions):
    convs = [
        conv(INPUT, (84, 84, 4), 32, (8, 8), stride=(4, 4), rng=RNG, zeros=0),
        conv(0, (20, 20, 32), 64, (4, 4), stride=(2, 2), rng=RNG, zeros=0),
        conv(1, (9, 9, 64), 64, (3, 3), rng=RNG, zeros=0),
    ]
    layers = [layer(f"c{i}", s) for i, s in enumerate(convs)]
    return network([*layers, layer("f1", full(2, 3136, 512, rng=RNG)), layer("f2", full(3, 512, actions, rng=RNG))], (84, 84, 4))


@pytest.mark.parametrize(
    "game, actions, macs",
    [
        ("Freeway", 3, 9_344_512),
        ("Breakout", 4, 9_345_024),
        ("SpaceInvaders", 6, 9_346_048),
        ("Enduro", 9, 9_347_584),
        ("Robotank", 18, 9_352_192),
    ],
)
def test_dense_budget_of_the_deep_q_network(game, actions, macs):
    """Network of Mnih et al. 2015 (Nature 518:529), as in Ivanov et al. 2023: exact arithmetic from the shapes."""
    assert nature(actions).static_total("dense_macs") == macs


def test_layers_of_the_deep_q_network():
    rows = nature(4).static_counts
    assert [r["dense_macs"] for r in rows] == [3_276_800, 2_654_208, 1_806_336, 1_605_632, 2_048]
    assert [r["weights"] for r in rows] == [8_192, 32_768, 36_864, 1_605_632, 2_048]


@pytest.mark.parametrize("stage, mean, interior", [(0, 116.10, 128), (1, 207.36, 256), (2, 348.44, 576)])
def test_fan_out_of_the_convolutions(stage, mean, interior):
    """Mean and interior fan-out of one source value; the border lowers the mean."""
    net = nature(4)
    s = net.layers[stage].synapses[0]
    fan_out = s.fan_out(net.size_of(s.source))
    assert fan_out.mean() == pytest.approx(mean, abs=0.005) and fan_out.max() == interior


def test_pilotnet_with_and_without_padding():
    """PilotNet of lava-dl's tests, 100x33x3: 5,071,110 valid taps, 5,375,238 with padding."""
    shapes = [(24, (2, 2), (0, 0), 3), (36, (2, 2), (0, 0), 3), (64, (2, 1), (1, 0), 3), (64, (1, 1), (0, 0), 3)]
    grid, layers = (33, 100, 3), []
    for i, (channels, stride, pads, k) in enumerate(shapes):
        layers.append(layer(f"c{i}", conv(i - 1, grid, channels, (k, k), stride=stride, pads=pads, rng=RNG)))
        grid = layers[-1].shape
    assert grid == (2, 20, 64)
    for i, n in enumerate((100, 50, 10, 1)):
        layers.append(layer(f"f{i}", full(3 + i, layers[-1].n_neurons, n, rng=RNG)))
    net = network(layers, (33, 100, 3))
    assert net.static_total("dense_macs") == 5_071_110
    assert net.static_total("padded_dense_macs") == 5_375_238


def test_one_small_convolution_counted_as_the_literature_does():
    """Conv2d(4, 8, 3, stride 2, padding 1) on 16x16: 16,928 taps inside the image, 18,432 with padding (NeuroBench's Dense is the former)."""
    net = network([layer("c", conv(INPUT, (16, 16, 4), 8, (3, 3), stride=(2, 2), pads=(1, 1), rng=RNG))], (16, 16, 4))
    assert net.static_total("dense_macs") == 16_928 and net.static_total("padded_dense_macs") == 18_432
