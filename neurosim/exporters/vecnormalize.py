"""Statistics of observations out of VecNormalize's ``.pkl``: read as inert byte code, never unpickled."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from neurosim.errors import LoadError
from neurosim.exporters.inert_arrays import NUMPY_NAMES, array_of
from neurosim.exporters.inert_pickle import Record, read_pickle

MAX_BYTES = 64 << 20
_CLASS = "stable_baselines3.common.vec_env.vec_normalize.VecNormalize"
_STATISTICS = "stable_baselines3.common.running_mean_std.RunningMeanStd"
_NAMES = (
    _CLASS, _STATISTICS, *NUMPY_NAMES, "gym.spaces.", "gymnasium.spaces.", "numpy.random.", "collections.OrderedDict", "builtins.set",
    "numpy._core.numerictypes.", "copyreg._reconstructor", "builtins.object",
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Normalisation:
    """clip((x - mean) / sqrt(variance + epsilon), -limit, limit).

    Parameters
    ----------
    mean, variance : ndarray, float64, of the observation's shape
    epsilon, limit : float
    """

    mean: np.ndarray
    variance: np.ndarray
    epsilon: float
    limit: float


def read_vecnormalize(path: Path) -> Normalisation | None:
    """Read the file that ``VecNormalize.save`` wrote.

    Returns
    -------
    Normalisation or None
        None where only rewards are normalised.

    Raises
    ------
    LoadError
        When it is missing, no such file, asks for anything but arrays and the known classes, or
        its figures make no normalisation.
    """
    try:
        size = path.stat().st_size
        if not path.is_file() or size > MAX_BYTES:
            raise LoadError(f"{path}: no regular file of at most {MAX_BYTES:,} bytes")
        data = path.read_bytes()
    except OSError as error:
        raise LoadError(f"{path}: {error.strerror or error}") from None
    record = read_pickle(str(path), io.BytesIO(data), _NAMES)
    if not isinstance(record, Record) or record.name != _CLASS or not isinstance(record.state, dict):
        raise LoadError(f"{path}: not a saved VecNormalize (VecNormalize.save writes one)")
    state = record.state
    if not state.get("norm_obs", True):
        return None
    statistics = state.get("obs_rms")
    if isinstance(statistics, dict):
        raise LoadError(f"{path}: statistics of a dict of observations; policies with one array of observations are exported")
    if not isinstance(statistics, Record) or statistics.name != _STATISTICS or not isinstance(statistics.state, dict):
        raise LoadError(f"{path}: obs_rms is missing: no statistics of observations in it")
    mean, variance = (_figures(path, statistics.state, key) for key in ("mean", "var"))
    epsilon, limit = (float(_figures(path, state, key).reshape(())) for key in ("epsilon", "clip_obs"))
    if mean.shape != variance.shape or (variance < 0).any() or not (variance + epsilon > 0).all() or not limit > 0:
        raise LoadError(f"{path}: mean {mean.shape}, variance {variance.shape}, epsilon {epsilon:g}, clip {limit:g} make no normalisation")
    return Normalisation(mean, variance, epsilon, limit)


def _figures(path: Path, state: dict[str, Any], key: str) -> np.ndarray:
    if key not in state:
        raise LoadError(f"{path}: {key} is missing")
    values = array_of(f"{path}: {key}", state[key]).astype(np.float64)
    if not np.isfinite(values).all() or (key in ("epsilon", "clip_obs") and values.size != 1):
        raise LoadError(f"{path}: {key} is not finite, or not one number")
    return values
