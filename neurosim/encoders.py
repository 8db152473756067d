"""Inputs for spiking networks: event lists as frames, and values as spike trains.

Every function returns an array (timesteps, ...) that `simulate` takes as it is.
"""

from __future__ import annotations

import numpy as np

from neurosim.errors import SimulationError

MAX_ELEMENTS = 1 << 30


def events_to_frames(t_s: np.ndarray, dt_s: float, shape: tuple[int, ...], *address: np.ndarray, binary: bool = False) -> np.ndarray:
    """Events of a camera, a cochlea or recorded neurons, counted in timesteps.

    Equation: frames[floor((t - t_0) / dt), *address] += 1, t_0 the time of the first event.

    Parameters
    ----------
    t_s : ndarray, (events,)
        Times in seconds, in any order.
    dt_s : float
        Seconds per timestep.
    shape : tuple of int
        Of one input: (neurons,), or (polarities, height, width).
    address : ndarray, whole numbers, one for each axis of the shape
        Where each event happened: polarity, y, x.
    binary : bool
        At most one event per place and timestep: the input is then a spike train.

    Returns
    -------
    ndarray, uint8 or uint16, (timesteps, *shape)

    Raises
    ------
    SimulationError
        For addresses outside the shape, times that are not finite, no events, or frames beyond memory.
    """
    times = np.asarray(t_s, np.float64).reshape(-1)
    places = [np.asarray(a).reshape(-1).astype(np.int64) for a in address]
    if not times.size or not np.isfinite(times).all() or not dt_s > 0:
        raise SimulationError(f"{times.size} events at steps of {dt_s:g} s: at least one event, finite times and a positive step "
                              "are needed")
    if len(places) != len(shape) or any(a.size != times.size for a in places):
        raise SimulationError(f"{len(places)} addresses for inputs of shape {shape}: one for each axis, of {times.size} events each, "
                              "is needed")
    for axis, (a, n) in enumerate(zip(places, shape, strict=True)):
        if a.min() < 0 or a.max() >= n:
            raise SimulationError(f"addresses on axis {axis} run from {a.min()} to {a.max()}; the shape {shape} holds 0 to {n - 1}")
    timestep = np.floor((times - times.min()) / dt_s * (1 + 1e-12)).astype(np.int64)
    size = (int(timestep.max()) + 1) * int(np.prod(shape))
    if size > MAX_ELEMENTS:
        raise SimulationError(f"{int(timestep.max()) + 1:,} timesteps of {shape} are {size:,} values > {MAX_ELEMENTS:,}; take longer steps")
    counts = np.bincount(np.ravel_multi_index((timestep, *places), (int(timestep.max()) + 1, *shape)), minlength=size)
    counts = np.minimum(counts, 1) if binary else counts
    return counts.astype(np.uint8 if counts.max() < 256 else np.uint16).reshape(-1, *shape)


def rate(values: np.ndarray, timesteps: int, seed: int) -> np.ndarray:
    """Bernoulli spikes: in each timestep one with probability `values` (0 to 1). uint8, (timesteps, *values.shape).

    Raises
    ------
    SimulationError
        For probabilities outside 0 to 1, or fewer than one timestep.
    """
    p = _unit(values, timesteps)
    return (np.random.default_rng(seed).random((timesteps, *p.shape)) < p).astype(np.uint8)


def latency(values: np.ndarray, timesteps: int) -> np.ndarray:
    """One spike each, the earlier the larger the value: timestep round((1 - value) (timesteps - 1)); none for 0. uint8.

    Raises
    ------
    SimulationError
        For values outside 0 to 1, or fewer than one timestep.
    """
    v = _unit(values, timesteps)
    when = np.rint((1 - v) * (timesteps - 1)).astype(np.int64)
    return ((np.arange(timesteps).reshape(-1, *[1] * v.ndim) == when) & (v > 0)).astype(np.uint8)


def delta(signal: np.ndarray, threshold: float) -> np.ndarray:
    """Changes of a signal (timesteps, ...) as spikes up and down: uint8 (timesteps, 2, ...), channel 0 up, 1 down.

    Equation: a spike where the signal lies more than `threshold` above (below) the level of the last one; that level moves by
    one threshold per spike, and starts at the first value.

    Raises
    ------
    SimulationError
        For a threshold that is not positive, or a signal that is not finite.
    """
    x = np.asarray(signal, np.float64)
    if not threshold > 0 or not len(x) or not np.isfinite(x).all():
        raise SimulationError(f"threshold {threshold:g} on {len(x)} values: a positive threshold and a finite signal are needed")
    spikes, level = np.zeros((len(x), 2, *x.shape[1:]), np.uint8), x[0].copy()
    for t, value in enumerate(x):
        spikes[t, 0], spikes[t, 1] = value - level > threshold, level - value > threshold
        level = level + threshold * (spikes[t, 0].astype(np.float64) - spikes[t, 1])
    return spikes


def _unit(values: np.ndarray, timesteps: int) -> np.ndarray:
    v = np.asarray(values, np.float64)
    if timesteps < 1 or not v.size or not (v.min() >= 0 and v.max() <= 1):
        low, high = (v.min(), v.max()) if v.size else (0.0, 0.0)
        raise SimulationError(f"values from {low:g} to {high:g} over {timesteps} timesteps: 0 to 1, and at least one timestep, are needed")
    return v
