"""Scores between the random and the dense policy: by hand, against a plain loop, and how often the interval holds the truth."""

import math
import random as python_random

import numpy as np
import pytest

from neurosim.control.statistics import episodes_needed, fewest_episodes, score_interval
from neurosim.errors import SimulationError

RNG = np.random.default_rng(5)
DENSE = RNG.normal(100, 20, 60)
RANDOM = RNG.normal(10, 5, 60)
RETURNS = 0.9 * DENSE + RNG.normal(0, 10, 60)


def plain_interval(returns, dense, random, confidence, resamples):
    """The same bootstrap, one seed at a time, with another generator."""
    draw, scores = python_random.Random(3), []
    for _ in range(resamples):
        seeds = [draw.randrange(len(returns)) for _ in returns]
        r, d, z = (sum(row[i] for i in seeds) / len(seeds) for row in (returns, dense, random))
        scores.append((r - z) / (d - z))
    scores.sort()
    tail = (1 - confidence) / 2
    return scores[int(tail * resamples)], scores[int((1 - tail) * resamples)]


def test_by_hand():
    assert score_interval([6, 6], [11, 11], [1, 1]) == (0.5, 0.5, 0.5)
    # resamples of two seeds: (1,1) with 1/4, (2,2) with 1/4, mixed 1/2: scores 0.2, 0.8, 0.5
    assert score_interval([2, 8], [10, 10], [0, 0]) == (0.5, 0.2, 0.8)
    assert score_interval([2, 8], [10, 10], [0, 0], confidence=0.4) == (0.5, 0.5, 0.5)


@pytest.mark.parametrize("confidence", [0.8, 0.95])
def test_interval_agrees_with_a_plain_loop(confidence):
    score, low, high = score_interval(RETURNS, DENSE, RANDOM, confidence)
    assert score == pytest.approx((RETURNS.mean() - RANDOM.mean()) / (DENSE.mean() - RANDOM.mean()))
    plain = plain_interval(RETURNS.tolist(), DENSE.tolist(), RANDOM.tolist(), confidence, 4_000)
    assert (low, high) == pytest.approx(plain, abs=0.08 * (high - low))


def coverage(interval, n=40, repetitions=400):
    """Share of experiments of n seeds whose interval holds the true score of 0.8 (dense 100, random 0)."""
    rng, held = np.random.default_rng(11), 0
    for _ in range(repetitions):
        dense, random = rng.normal(100, 50, n), rng.normal(0, 10, n)
        _, low, high = interval(rng.normal(80, 50, n), dense, random)
        held += low <= 0.8 <= high
    return held / repetitions


def test_coverage():
    """Within 3.5 standard errors (1.1 %) of 95 %; forgetting the spread of the dense policy falls well below."""
    assert 0.91 <= coverage(lambda r, d, z: score_interval(r, d, z, resamples=1_000)) <= 0.985
    forgetful = coverage(lambda r, d, z: score_interval(r, np.full_like(d, d.mean()), z, resamples=1_000))
    assert forgetful < 0.91


def test_pairing_narrows_the_interval():
    _, low, high = score_interval(RETURNS, DENSE, RANDOM)
    _, shuffled_low, shuffled_high = score_interval(np.random.default_rng(0).permutation(RETURNS), DENSE, RANDOM)
    assert high - low < 0.7 * (shuffled_high - shuffled_low)


def test_scores_that_are_not_defined():
    assert np.isnan(score_interval([1.0, 2.0], [0.0, 0.0], [3.0, 3.0])).all()
    assert np.isnan(score_interval([1.0], [2.0], [0.0])).all()
    # the dense policy is better on average, but not on every resample: no end can be given
    score, low, high = score_interval([5, 5, 5], [30, 0, 0], [5, 5, 5])
    assert (score, low, high) == (0.0, -math.inf, math.inf)
    with pytest.raises(SimulationError, match="2, 3 and 3 returns"):
        score_interval([1, 2], [1, 2, 3], [1, 2, 3])


def test_fewest_episodes_by_hand():
    # 0.95^71 = 0.0262 > 0.025 >= 0.95^72 = 0.0249; 0.5^5 = 0.031 > 0.025 >= 0.5^6
    assert fewest_episodes(0.95) == 72 and fewest_episodes(0.5) == 6
    with pytest.raises(SimulationError, match="must lie between 0 and 1"):
        fewest_episodes(1.0)


def test_episodes_needed_by_hand():
    # L = R - 0.9 x 100 - 0.1 x 0 = +-10 around 5: sd^2 = 100 n/(n-1), z^2 = 3.8415, mean^2 = 25
    returns, dense, random = [85.0, 105.0] * 50, [100.0] * 100, [0.0] * 100
    assert episodes_needed(returns, dense, random, floor=0.9) == max(fewest_episodes(0.9), math.ceil(3.8415 * 100 * 100 / 99 / 25))
    assert episodes_needed(returns, dense, random, floor=0.94) == math.ceil(3.8415 * 100 * 100 / 99)  # margin 1
    # an independent copy of dense = 100 +- 30: variance (1 + 0.9^2) 900 n/(n-1), margin 0.1 x 100
    dense = [70.0, 130.0] * 50
    assert episodes_needed(None, dense, random, floor=0.9) == math.ceil(3.8415 * 1.81 * 900 * 100 / 99 / 100)
    assert episodes_needed(dense, dense, random, floor=0.9) == fewest_episodes(0.9)  # paired and equal: only rare failures are left
    assert episodes_needed([80.0] * 100, [100.0] * 100, random) is None
    assert episodes_needed([80.0], [100.0], [0.0]) is None


def test_so_many_episodes_do_clear_the_floor():
    """With the number said, about half of the experiments or more clear the floor; with a quarter of it few do."""
    rng = np.random.default_rng(2)
    draw = lambda n: (rng.normal(100, 30, n), rng.normal(100, 30, n), rng.normal(0, 5, n))
    n = episodes_needed(None, *draw(20_000)[1:], floor=0.9)

    def cleared(n):
        return np.mean([score_interval(*draw(n), resamples=1_000)[1] >= 0.9 for _ in range(100)])

    assert 0.35 < cleared(n) < 0.65 and cleared(n // 4) < 0.3 < 0.9 < cleared(4 * n)
