"""Statistics of returns: means with bootstrap confidence intervals, and paired differences."""

from __future__ import annotations

import warnings

import numpy as np

CONFIDENCE = 0.95
RESAMPLES = 10_000


def mean_interval(values: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of the mean (percentile method, 10,000 resamples, fixed random state).

    Parameters
    ----------
    values : array-like, float, (episodes,)

    Returns
    -------
    low, high : float
        Both equal to the mean where all values are equal; NaN for fewer than two values.

    Notes
    -----
    Source: Efron 1979, through ``scipy.stats.bootstrap``.
    """
    from scipy.stats import bootstrap

    values = np.asarray(values, np.float64)
    if values.size < 2:
        return float("nan"), float("nan")
    if np.ptp(values) == 0:
        return float(values[0]), float(values[0])
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        interval = bootstrap((values,), np.mean, confidence_level=CONFIDENCE, n_resamples=RESAMPLES, method="percentile",
                             rng=np.random.default_rng(0)).confidence_interval
    return float(interval.low), float(interval.high)


def paired_difference(values: np.ndarray, baseline: np.ndarray) -> dict[str, object]:
    """Mean and 95 % interval of values - baseline over the same seeds: ``{"mean", "ci95"}``."""
    difference = np.asarray(values, np.float64) - np.asarray(baseline, np.float64)
    return {"mean": float(difference.mean()), "ci95": list(mean_interval(difference))}
