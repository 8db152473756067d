"""Scores between the random and the dense policy: by hand, against a plain loop, and how often the interval holds the truth."""

import math
import random as python_random

import numpy as np
import pytest
from scipy.stats import binom

from neurosim.control.statistics import episodes_for, episodes_needed, expected_low, fewest_episodes, score_interval, variance_behind
from neurosim.errors import SimulationError

RNG = np.random.default_rng(5)
DENSE = RNG.normal(100, 20, 60)
RANDOM = RNG.normal(10, 5, 60)
RETURNS = 0.9 * DENSE + RNG.normal(0, 10, 60)


def plain_interval(returns, dense, random, confidence, resamples):
    """The same bootstraps, one seed at a time, with another generator."""
    draw, tail, mean = python_random.Random(3), (1 - confidence) / 2, lambda row: sum(row) / len(row)

    def scores(returns, dense, random):
        found = []
        for _ in range(resamples):
            seeds = [draw.randrange(len(returns)) for _ in returns]
            r, d, z = (mean([row[i] for i in seeds]) for row in (returns, dense, random))
            found.append((r - z) / (d - z))
        return sorted(found)

    failing = scores([*returns, mean(random)], [*dense, mean(dense)], [*random, mean(random)])
    return failing[int(tail * resamples)], scores(returns, dense, random)[int((1 - tail) * resamples)]


def test_by_hand():
    # of three seeds, one of them a failure, all are the failure with 1/27 = 0.037 > 0.025, two of them at most with 0.963
    assert score_interval([6, 6], [11, 11], [1, 1]) == (0.5, 0.0, 0.5)
    assert score_interval([6, 6], [11, 11], [1, 1], confidence=0.9) == (0.5, pytest.approx(0.5 / 3), 0.5)  # 0.037 < 0.05 < 0.26
    # resamples of two seeds: (1,1) with 1/4, (2,2) with 1/4, mixed 1/2: scores 0.2, 0.8, 0.5
    assert score_interval([2, 8], [10, 10], [0, 0]) == (0.5, 0.0, 0.8)
    # of returns 2, 8 and 0: sums 0, 2, 4, 6 in 8 of 27 resamples (0.296), 8 in 3 more (0.407)
    assert score_interval([2, 8], [10, 10], [0, 0], confidence=0.3) == (0.5, pytest.approx(8 / 30), 0.5)


def test_a_policy_worse_than_chance_gains_nothing_by_a_failure():
    """A seed at the random policy's return would lift it: its lower end is that of the seeds alone."""
    rng = np.random.default_rng(0)
    returns, dense, random = rng.normal(-50, 5, 10), np.full(10, 100.0), np.zeros(10)
    score, low, high = score_interval(returns, dense, random)
    assert low < score == pytest.approx(returns.mean() / 100) and low == pytest.approx(score - 1.96 * returns.std() / 100 / 10**0.5, abs=0.01)


@pytest.mark.parametrize("n", [72, 100, 200, 400])
def test_a_policy_that_fails_outright(n):
    """True score 0.95, all or nothing: exactly how often it is called proved, over the number of failures in n episodes."""
    dense, random = np.full(n, 500.0), np.full(n, 20.0)

    def proved(failures):
        returns = np.where(np.arange(n) < failures, random, dense)
        return score_interval(returns, dense, random)[1] >= 0.95

    least = n >= fewest_episodes(0.95)
    errors = [least * binom.pmf(k, n, 0.05) for k in range(n // 10) if proved(k)]
    assert 0.005 < sum(errors) < 0.04  # 2.5, 3.7, 2.6 and 1.9 %; without the added failure 11.9 % for 72


@pytest.mark.parametrize("n", [72, 200])
def test_rare_failures_among_noisy_games(n):
    """Scores of 0.95 by failures in 5 % of noisy games: 3.5 standard errors above 2.5 % of 300 experiments is 5.7 %."""
    rng, proved = np.random.default_rng(3), 0
    for _ in range(300):
        dense, random, returns = rng.normal(250, 10, n), rng.normal(-190, 80, n), rng.normal(250, 10, n)
        failed = rng.random(n) < 0.05
        proved += score_interval(np.where(failed, random, returns), dense, random, resamples=1_000)[1] >= 0.95
    assert proved <= 0.057 * 300


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
    def smallest(score, variance, floor):
        """Of n = 1, 2, ... the first with n (s - f) - f >= z sqrt(n v + s^2), z^2 = 3.8415."""
        reached = lambda n: n * (score - floor) - floor >= math.sqrt(3.84146 * (n * variance + score**2))
        return next(n for n in range(1, 5_000) if reached(n))

    # L = (R - 0.9 x 100 - 0.1 x 0) / 100 = +-0.1 around 0.05: variance 0.01 n/(n-1)
    returns, dense, random = [85.0, 105.0] * 50, [100.0] * 100, [0.0] * 100
    assert episodes_needed(returns, dense, random, floor=0.9) == smallest(0.95, 0.01 * 100 / 99, 0.9) == 68
    assert episodes_needed(returns, dense, random, floor=0.94) == smallest(0.95, 0.01 * 100 / 99, 0.94) == 618
    # an independent copy of dense = 100 +- 30: variance (1 + 0.9^2) 0.09 n/(n-1), score 1
    dense = [70.0, 130.0] * 50
    assert episodes_needed(None, dense, random, floor=0.9) == smallest(1, 1.81 * 0.09 * 100 / 99, 0.9)
    assert episodes_needed(dense, dense, random, floor=0.9) == fewest_episodes(0.9)  # paired and equal: only rare failures are left
    assert episodes_needed([80.0] * 100, [100.0] * 100, random) is None
    assert episodes_needed([80.0], [100.0], [0.0]) is None
    assert episodes_needed(None, random, dense) is None


@pytest.mark.parametrize("n, score, spread", [(30, 1.0, 0.0), (60, 0.97, 0.1), (200, 0.97, 0.3), (40, 0.9, 0.5)])
def test_expected_lower_ends(n, score, spread):
    """The lower end that is expected is that of the bootstrap; the spread behind it, and the number that reaches it, are inverses."""
    deviation = np.random.default_rng(0).normal(0, 1, n)
    deviation = spread * (deviation - deviation.mean()) / deviation.std()
    low = score_interval(100 * (score + deviation), np.full(n, 100.0), np.zeros(n))[1]
    expected = expected_low(score, spread**2, n)
    assert low == pytest.approx(expected, abs=0.12 * (score - expected))
    assert variance_behind(score, expected, n) == pytest.approx(spread**2, abs=1e-9)
    assert variance_behind(score, score, n) == 0
    if expected > 0 and n >= fewest_episodes(expected):
        assert abs(episodes_for(score, spread**2, expected) - n) <= 1


def test_so_many_episodes_do_clear_the_floor():
    """With the number said, about half of the experiments or more clear the floor; with a quarter of it few do."""
    rng = np.random.default_rng(2)
    draw = lambda n: (rng.normal(100, 30, n), rng.normal(100, 30, n), rng.normal(0, 5, n))
    n = episodes_needed(None, *draw(20_000)[1:], floor=0.9)

    def cleared(n):
        return np.mean([score_interval(*draw(n), resamples=1_000)[1] >= 0.9 for _ in range(100)])

    assert 0.35 < cleared(n) < 0.65 and cleared(n // 4) < 0.3 < 0.9 < cleared(4 * n)
