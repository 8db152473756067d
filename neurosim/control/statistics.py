"""Statistics of returns: means with bootstrap confidence intervals, paired differences, scores and what proves them."""

from __future__ import annotations

import math
import warnings

import numpy as np

from neurosim.errors import SimulationError

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


def score_interval(
    returns: np.ndarray, dense: np.ndarray, random: np.ndarray, confidence: float = CONFIDENCE, resamples: int = RESAMPLES
) -> tuple[float, float, float]:
    """Score of a policy between the random and the dense one, with a paired bootstrap interval over seeds.

    Equation: score = (mean R - mean R_random) / (mean R_dense - mean R_random), computed again on each
    resample of the seeds, so that the spread of all three policies is in the interval.

    Parameters
    ----------
    returns, dense, random : array-like, float, (episodes,)
        Element i of all three was played on the same seed.
    confidence : float
        Two-sided, in (0, 1).
    resamples : int

    Returns
    -------
    score, low, high : float
        Percentile method, fixed random state. All NaN where the dense policy is not better than the
        random one or there are fewer than two seeds; an end is infinite where too many resamples have
        a dense policy no better than the random one.

    Raises
    ------
    SimulationError
        When the three differ in length.

    Notes
    -----
    Source: Efron 1979. No resample shows a failure that no seed showed: see `fewest_episodes`.
    """
    played = _of_equal_length(returns, dense, random)
    n = played.shape[1]
    if n < 2 or not played[1].mean() > played[2].mean():
        return float("nan"), float("nan"), float("nan")
    rng, means = np.random.default_rng(0), np.empty((3, resamples))
    block = max(1, (1 << 22) // n)
    for start in range(0, resamples, block):
        seeds = rng.integers(0, n, (min(block, resamples - start), n))
        means[:, start : start + len(seeds)] = [row[seeds].mean(axis=1) for row in played]
    above, span = means[0] - means[2], means[1] - means[2]
    usable = span > 0
    scores = np.divide(above, span, out=np.full(resamples, np.inf), where=usable)
    tail = (1 - confidence) / 2
    low = np.quantile(np.where(usable, scores, -np.inf), tail, method="inverted_cdf")
    high = np.quantile(scores, 1 - tail, method="inverted_cdf")
    score = (played[0].mean() - played[2].mean()) / (played[1].mean() - played[2].mean())
    return float(score), float(low), float(high)


def fewest_episodes(floor: float, confidence: float = CONFIDENCE) -> int:
    """Episodes below which no score, however even, proves a floor.

    Equation: a policy that fails in a share 1 - floor of its episodes (as bad as the random one there)
    shows no failure in n of them with probability floor^n, which must not exceed (1 - confidence) / 2:
    n = ceil(log((1 - confidence) / 2) / log(floor)). 72 episodes for 0.95 at 95 %.

    Raises
    ------
    SimulationError
        For a floor outside (0, 1).
    """
    if not 0 < floor < 1:
        raise SimulationError(f"a score of {floor} cannot be a floor; it must lie between 0 and 1")
    return math.ceil(math.log((1 - confidence) / 2) / math.log(floor))


def episodes_needed(
    returns: np.ndarray | None, dense: np.ndarray, random: np.ndarray, floor: float = 0.95, confidence: float = CONFIDENCE
) -> int | None:
    """Episodes after which the lower end of `score_interval` is expected to reach a floor.

    Equation: score >= floor means mean(L) >= 0 with L = R - floor R_dense - (1 - floor) R_random on each
    seed; n = (z sd(L) / mean(L))^2 with z the normal quantile at (1 + confidence) / 2, at least
    `fewest_episodes`.

    Parameters
    ----------
    returns : array-like, float, (episodes,), or None
        None stands for an independent copy of the dense policy: score 1, and a variance of L of
        var(R_dense) + var(floor R_dense + (1 - floor) R_random).
    dense, random : array-like, float, (episodes,)
        Same seeds.
    floor, confidence : float

    Returns
    -------
    int or None
        None where no number of episodes would do: the score does not lie above the floor, or fewer than
        two seeds tell nothing about the spread.

    Raises
    ------
    SimulationError
        When lengths differ, or for a floor outside (0, 1).
    """
    from scipy.stats import norm

    least = fewest_episodes(floor, confidence)
    played = _of_equal_length(dense if returns is None else returns, dense, random)
    if played.shape[1] < 2:
        return None
    demanded = floor * played[1] + (1 - floor) * played[2]
    margin = float(played[0].mean() - demanded.mean())
    if margin <= 0:
        return None
    variance = played[0].var(ddof=1) + demanded.var(ddof=1) if returns is None else (played[0] - demanded).var(ddof=1)
    z = float(norm.ppf((1 + confidence) / 2))
    return max(least, math.ceil(z**2 * float(variance) / margin**2))


def _of_equal_length(returns: np.ndarray, dense: np.ndarray, random: np.ndarray) -> np.ndarray:
    rows = [np.asarray(row, np.float64).reshape(-1) for row in (returns, dense, random)]
    if len({row.size for row in rows}) > 1:
        raise SimulationError(f"{rows[0].size}, {rows[1].size} and {rows[2].size} returns; each policy plays the same seeds")
    return np.stack(rows)
