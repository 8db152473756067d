"""A real recording of an event camera, as frames for a spiking network."""

import numpy as np
from external.test_reference_models import FOLDER, pytestmark  # noqa: F401

from neurosim.encoders import events_to_frames


def test_a_recording_becomes_frames():
    data = np.load(FOLDER / "stream_dvs_320x240" / "events.npz")
    polarity = data["on"].astype(int)
    frames = events_to_frames(data["t_us"] * 1e-6, 1e-3, (2, 240, 320), polarity, data["y"], data["x"])
    assert frames.sum(dtype=np.int64) == 473_225 and frames.shape == (1000, 2, 240, 320)
    assert round(frames[:, 1].sum(dtype=np.int64) / 473_225, 2) == 0.57
