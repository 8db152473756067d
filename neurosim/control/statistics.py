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


def distinct_games(*games: np.ndarray) -> np.ndarray:
    """Indices of seeds whose games, of all given policies together, no earlier seed repeats: int64, ascending.

    Parameters
    ----------
    games : ndarray, uint64, (episodes,)
        Digests of one policy's games on the seeds (see `Played.games`).
    """
    return np.sort(np.unique(np.stack(games, axis=1), axis=0, return_index=True)[1])


def score_interval(
    returns: np.ndarray, dense: np.ndarray, random: np.ndarray, confidence: float = CONFIDENCE, resamples: int = RESAMPLES
) -> tuple[float, float, float]:
    """Score of a policy between the random and the dense one, with a paired bootstrap interval over seeds.

    Equation: score = (mean R - mean R_random) / (mean R_dense - mean R_random), computed again on each
    resample of the seeds, so that the spread of all three policies is in the interval. The lower end
    comes from the sample and one more seed, on which the policy fails: R and R_random are mean R_random
    there, R_dense is mean R_dense. A bootstrap of the sample alone knows only the failures that were
    seen, and after one or two of them its interval is too narrow.

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
        Percentile method, fixed random state; low is never above the lower end without the failure.
        All NaN where the dense policy is not better than the random one or there are fewer than two
        seeds; an end is infinite where too many resamples have a dense policy no better than the random one.

    Raises
    ------
    SimulationError
        When the three differ in length.

    Notes
    -----
    Source: Efron 1979; the added failure is the step from k to k + 1 in the exact bound of a binomial
    share (Clopper, Pearson 1934). A policy that fails outright in 5 % of its episodes then has a lower
    end of 0.95 or more in 2.5 % of experiments of 72 or 200 episodes, 3.7 % of 100, 1.9 % of 400. See
    `fewest_episodes`.
    """
    played = _of_equal_length(returns, dense, random)
    own, best, chance = (float(row.mean()) for row in played) if played.size else (0.0, 0.0, 0.0)
    if played.shape[1] < 2 or not best > chance:
        return float("nan"), float("nan"), float("nan")
    failing = np.append(played, [[chance], [best], [chance]], axis=1)
    tail = (1 - confidence) / 2
    seen, feared = _scores_of_resamples(played, resamples), _scores_of_resamples(failing, resamples)
    low = min(_quantile(np.where(np.isnan(scores), -np.inf, scores), tail) for scores in (seen, feared))
    return (own - chance) / (best - chance), low, _quantile(np.where(np.isnan(seen), np.inf, seen), 1 - tail)


def _scores_of_resamples(played: np.ndarray, resamples: int) -> np.ndarray:
    """Scores of resamples of the seeds; NaN where the dense policy is no better than the random one."""
    n = played.shape[1]
    rng, means = np.random.default_rng(0), np.empty((3, resamples))
    block = max(1, (1 << 22) // n)
    for start in range(0, resamples, block):
        seeds = rng.integers(0, n, (min(block, resamples - start), n))
        means[:, start : start + len(seeds)] = [row[seeds].mean(axis=1) for row in played]
    span = means[1] - means[2]
    return np.divide(means[0] - means[2], span, out=np.full(resamples, np.nan), where=span > 0)


def _quantile(values: np.ndarray, share: float) -> float:
    return float(np.quantile(values, share, method="inverted_cdf"))


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


def expected_low(score: float, variance: float, n: float, confidence: float = CONFIDENCE) -> float:
    """Lower end of `score_interval` to be expected of n seeds.

    Equation: with one seed of score 0 among n + 1, (n s - z sqrt(n v + s^2 n / (n + 1))) / (n + 1), z the
    normal quantile at (1 + confidence) / 2.

    Parameters
    ----------
    score : float
        s.
    variance : float
        v, of a single seed's part in the score: n v is that of the sum.
    n : float
        Seeds.
    """
    return (n * score - _z(confidence) * math.sqrt(n * variance + score**2 * n / (n + 1))) / (n + 1)


def variance_behind(score: float, low: float, n: float, confidence: float = CONFIDENCE) -> float:
    """The variance at which `expected_low` of n seeds is `low`; 0 where the added failure alone takes it below."""
    distance = max(0.0, n * score - (n + 1) * low) / _z(confidence)
    return max(0.0, distance**2 - score**2 * n / (n + 1)) / n


def episodes_for(score: float, variance: float, floor: float, confidence: float = CONFIDENCE) -> int | None:
    """Seeds from which on `expected_low` reaches a floor, at least `fewest_episodes`; None for a score that is not above it.

    Equation: n (s - f) - f = z sqrt(n v + s^2), of which n is the larger root.
    """
    least, margin, z = fewest_episodes(floor, confidence), score - floor, _z(confidence)
    if margin <= 0:
        return None
    half = margin * floor + z**2 * variance / 2
    root = math.sqrt(max(0.0, half**2 - margin**2 * (floor**2 - z**2 * score**2)))
    return max(least, math.ceil((half + root) / margin**2))


def episodes_needed(
    returns: np.ndarray | None, dense: np.ndarray, random: np.ndarray, floor: float = 0.95, confidence: float = CONFIDENCE
) -> int | None:
    """Episodes after which the lower end of `score_interval` is expected to reach a floor.

    Equation: score >= floor means mean(L) >= 0 with L = (R - floor R_dense - (1 - floor) R_random) /
    (mean R_dense - mean R_random) on each seed; `episodes_for` with s = floor + mean(L), v = var(L).

    Parameters
    ----------
    returns : array-like, float, (episodes,), or None
        None stands for an independent copy of the dense policy: score 1, and a variance of
        var(R_dense) + var(floor R_dense + (1 - floor) R_random).
    dense, random : array-like, float, (episodes,)
        Same seeds.
    floor, confidence : float

    Returns
    -------
    int or None
        None where no number of episodes would do: the score does not lie above the floor, or fewer than
        two seeds tell nothing about the spread, or the dense policy is not better than the random one.

    Raises
    ------
    SimulationError
        When lengths differ, or for a floor outside (0, 1).
    """
    fewest_episodes(floor, confidence)  # refuses such a floor
    played = _of_equal_length(dense if returns is None else returns, dense, random)
    if played.shape[1] < 2:
        return None
    span = float(played[1].mean() - played[2].mean())
    if span <= 0:
        return None
    demanded = floor * played[1] + (1 - floor) * played[2]
    variance = played[0].var(ddof=1) + demanded.var(ddof=1) if returns is None else (played[0] - demanded).var(ddof=1)
    score = float(played[0].mean() - played[2].mean()) / span
    return episodes_for(score, float(variance) / span**2, floor, confidence)


def _z(confidence: float) -> float:
    from scipy.stats import norm

    return float(norm.ppf((1 + confidence) / 2))


def _of_equal_length(returns: np.ndarray, dense: np.ndarray, random: np.ndarray) -> np.ndarray:
    rows = [np.asarray(row, np.float64).reshape(-1) for row in (returns, dense, random)]
    if len({row.size for row in rows}) > 1:
        raise SimulationError(f"{rows[0].size}, {rows[1].size} and {rows[2].size} returns; each policy plays the same seeds")
    return np.stack(rows)
