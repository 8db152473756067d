"""Event lists as frames, values as spike trains: by hand, and by what they must keep."""

import numpy as np
import pytest

from neurosim.encoders import delta, events_to_frames, latency, rate
from neurosim.errors import SimulationError


def test_frames_by_hand():
    """Steps of 1 ms from the first event (2 ms): two at (0, 1) in the first step, one at (1, 0) in the third."""
    frames = events_to_frames([0.0025, 0.002, 0.0045], 1e-3, (2, 2), [0, 0, 1], [1, 1, 0])
    assert frames.tolist() == [[[0, 2], [0, 0]], [[0, 0], [0, 0]], [[0, 0], [1, 0]]] and frames.dtype == np.uint8
    assert events_to_frames([0.0, 0.0], 1.0, (1,), [0, 0], binary=True).tolist() == [[1]]


def test_no_event_is_lost():
    rng = np.random.default_rng(0)
    n = 5000
    frames = events_to_frames(rng.random(n), 1e-2, (2, 5, 7), rng.integers(0, 2, n), rng.integers(0, 5, n), rng.integers(0, 7, n))
    assert frames.sum() == n and len(frames) == 100


@pytest.mark.parametrize(("arguments", "message"), [
    (([], 1e-3, (2,), []), "0 events"), (([0.0], 0.0, (2,), [0]), "a positive step"), (([np.nan], 1.0, (2,), [0]), "finite times"),
    (([0.0], 1.0, (2, 2), [0]), "one for each axis"), (([0.0], 1.0, (2,), [2]), "the shape .2,. holds 0 to 1"),
    (([0.0, 1e9], 1e-6, (2,), [0, 0]), "take longer steps")])
def test_refusals(arguments, message):
    with pytest.raises(SimulationError, match=message):
        events_to_frames(*arguments)


def test_rate_and_latency():
    spikes = rate(np.array([0.0, 0.25, 1.0]), 4000, seed=1)
    assert spikes[:, 0].sum() == 0 and spikes[:, 2].all() and abs(spikes[:, 1].mean() - 0.25) < 0.03
    assert np.array_equal(spikes, rate(np.array([0.0, 0.25, 1.0]), 4000, seed=1))
    assert latency(np.array([1.0, 0.5, 0.25, 0.0]), 5).T.tolist() == [[1, 0, 0, 0, 0], [0, 0, 1, 0, 0], [0, 0, 0, 1, 0], [0] * 5]
    with pytest.raises(SimulationError, match="values from -1 to 2"):
        latency(np.array([-1.0, 2.0]), 3)


def test_delta_follows_the_signal():
    """0, 0.25, 0.5, 0.5, -0.5 with threshold 0.2: levels 0 | 0.2 up | 0.4 up | 0.4 | 0.2 down."""
    spikes = delta(np.array([0, 0.25, 0.5, 0.5, -0.5]), 0.2)
    assert spikes[:, 0].tolist() == [0, 1, 1, 0, 0] and spikes[:, 1].tolist() == [0, 0, 0, 0, 1]
    with pytest.raises(SimulationError, match="positive threshold"):
        delta(np.zeros(3), 0.0)
