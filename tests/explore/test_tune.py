"""Tuning: what is found keeps its constraint when measured again, claims are proved on seeds of their own, searches resume."""

import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import neurosim as ns
from neurosim import dense
from neurosim.cli import app
from neurosim.control.episodes import Played
from neurosim.control.statistics import episodes_needed, fewest_episodes, score_interval
from neurosim.control.workers import EnvironmentSpec
from neurosim.errors import LoadError, NotProved, PricingError, SimulationError
from neurosim.explore.tune import tune, tune_recorded
from neurosim.explore.tune.claim import claim_score
from neurosim.explore.tune.pricer import Pricer
from neurosim.explore.tune.score import ScoreTask, Seeds, Yardstick
from neurosim.explore.tune.search import Measured, Trial, front_of
from neurosim.explore.tune.space import BOTTOM, LADDER, MOST_SPARSE, TOP, Setting, Space, activation_scales
from neurosim.explore.tune.storage import STUDY, Storage
from neurosim.view.documents import to_json

pytest.importorskip("optuna")
MODELS = Path(__file__).parents[2] / "models"
LANDER = MODELS / "lunarlander_dqn"
GOLDEN = np.load(LANDER / "golden.npz")
OBS, STARTS = GOLDEN["obs"], GOLDEN["episode_start"]
HALF = int(np.flatnonzero(STARTS)[-1])
"""The golden stream is cut at the start of its last episode: search, claim."""


@pytest.fixture(scope="module")
def lander():
    return ns.load(LANDER)


@pytest.fixture(scope="module")
def cartpole():
    return ns.load(MODELS / "cartpole_ppo")


def recorded(network, **options):
    return tune_recorded(network, OBS[:HALF], resets=STARTS[:HALF], **({"max_error": 0.02, "trials": 16} | options))


def balanced(network, **options):
    """CartPole with few, cheap episodes: 0.5 at 95 % needs 6 episodes."""
    return tune(network, "CartPole-v1", **({"episodes": 3, "claim_episodes": 8, "min_score": 0.5, "trials": 10} | options))


# recorded inputs


def test_the_bound_holds_when_measured_by_hand(lander):
    result = recorded(lander, claim_inputs=OBS[HALF:], claim_resets=STARTS[HALF:])
    assert result.chosen is not None and result.claim.held_out
    for x, starts, found in ((OBS[:HALF], STARTS[:HALF], result.chosen.measured), (OBS[HALF:], STARTS[HALF:], result.claim.proved.measured)):
        trace = ns.simulate(result.tuned_network, x, resets=starts)
        wanted = dense.evaluate(lander, x)[2]
        error = np.sqrt(((trace.outputs - wanted) ** 2).sum() / (wanted**2).sum())
        assert found.value == pytest.approx(error, rel=1e-9) and error <= 0.02
        assert found.macs == trace.totals_by_counter["effective_macs"] / len(x)
        assert found.agreement == (trace.outputs.argmax(1) == wanted.argmax(1)).mean()
        assert sum(found.layers.values()) == pytest.approx(found.macs)
    assert result.claim.statement.startswith("met: relative error 0.02 or less on")


def test_search_beats_the_ladder_and_chooses_the_cheapest_kept(lander):
    result = recorded(lander, trials=30)
    kept = [t.measured.macs for t in result.trials if t.measured.value <= 0.02]
    assert result.chosen.measured.macs == min(kept)
    assert min(kept) < min(t.measured.macs for t in result.trials[: len(LADDER)] if t.measured.value <= 0.02)
    assert [set(t.setting.fractions.values()) for t in result.trials[: len(LADDER)]] == [{f} for f in LADDER]
    assert set(result.trials[0].setting.thresholds.values()) == {0.0}
    assert "none were held out" in result.claim.statement and not result.claim.held_out


def test_agreement_is_a_bound_too(lander):
    both = recorded(lander, max_error=0.5, min_agreement=0.97)
    assert both.chosen.measured.agreement >= 0.97
    alone = recorded(lander, max_error=None, min_agreement=0.97)
    assert alone.chosen.measured.value == 1 - alone.chosen.measured.agreement <= 0.03


def test_a_bound_that_no_trial_keeps(lander):
    result = recorded(lander, max_error=1e-9, trials=3)
    assert result.chosen is None and result.thresholds is None and result.yaml() == "" and "NOT met" in result.claim.statement


def test_a_bound_that_holds_on_the_search_only_is_not_claimed(lander):
    """Inputs a hundred times as large allow thresholds that silence the claim's: what was kept there is missed here."""
    result = tune_recorded(lander, OBS[:HALF] * 100, claim_inputs=OBS, max_error=0.05, trials=12, candidates=1)
    (tested,) = result.claim.tested
    assert tested.trial.measured.value <= 0.05 < tested.measured.value and not tested.proved
    assert result.chosen is None and result.claim.statement.startswith("NOT met: relative error 0.05 or less on 500 held-out inputs")


def test_sparsity_prunes_and_is_searched(lander):
    result = recorded(lander, sparsity=True, max_error=0.1, trials=24)
    sparse = [t for t in result.trials if any(t.setting.sparsity.values())]
    assert len(sparse) > 5 and all(0 <= s <= MOST_SPARSE for t in sparse for s in t.setting.sparsity.values())
    trial = sparse[-1]
    network = trial.setting.apply(lander)
    assert network.static_total("nonzero_weights") < lander.static_total("nonzero_weights")
    trace = ns.simulate(network, OBS[:HALF], resets=STARTS[:HALF])
    assert trial.measured.macs == trace.totals_by_counter["effective_macs"] / HALF


def test_energy_on_a_chip(lander):
    chip = ns.Chip.load("grai_one")
    result = recorded(lander, objective="energy", chip=chip, trials=9)
    trace = ns.simulate(result.tuned_network, OBS[:HALF], resets=STARTS[:HALF])
    report = ns.price(trace, ns.compile(lander, chip))
    assert result.chosen.measured.energy_j == pytest.approx(report.energy.per_timestep_j, rel=1e-12)
    assert result.chosen.measured.energy_j == min(t.measured.energy_j for t in result.trials if t.measured.value <= 0.02)


# closed loop


def test_the_claim_is_played_on_seeds_of_its_own(cartpole):
    result = balanced(cartpole, seed=5)
    assert result.settings["seed"] == 5 and result.claim.facts["seed"] == 8 and result.claim.facts["episodes"] == 8
    returns = [result.search[name]["returns"] for name in ("dense", "random")]
    assert result.search["copy_of_dense_needs"] == episodes_needed(None, *returns, 0.5)
    proved = result.claim.proved
    again = ns.rollout(result.tuned_network, "CartPole-v1", episodes=8, seed=8, action="argmax", dense_by="events")
    assert again.returns.tolist() == list(proved.measured.returns)
    assert again.dense_returns.tolist() == result.claim.facts["dense"]["returns"]
    assert again.random_returns.tolist() == result.claim.facts["random"]["returns"]
    interval = score_interval(again.returns, again.dense_returns, again.random_returns)
    assert (proved.measured.value, proved.measured.low, proved.measured.high) == interval and interval[1] >= 0.5
    assert proved.measured.macs == pytest.approx(again.macs_per_decision().mean())
    assert proved.measured.macs < 0.7 * result.before.macs


def test_search_trials_are_those_of_a_rollout(cartpole):
    result = balanced(cartpole, trials=5)
    trial = result.trials[4]
    again = ns.rollout(trial.setting.apply(cartpole), "CartPole-v1", episodes=3, seed=0, dense_by="events")
    assert list(trial.measured.returns) == again.returns.tolist()
    assert trial.measured.macs == pytest.approx(again.macs_per_decision().mean())


def test_same_seeds_same_bytes_and_resumed_searches_too(cartpole, tmp_path):
    whole = to_json(balanced(cartpole, storage=tmp_path / "whole").to_dict())
    assert to_json(balanced(cartpole).to_dict()) == whole
    assert to_json(balanced(cartpole, storage=tmp_path / "whole").to_dict()) == whole  # nothing is left to do
    killed = tmp_path / "killed"

    def stop(what, done, total):
        if what == "trials" and done == 9:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        balanced(cartpole, storage=killed, progress=stop)
    played = []
    resumed = balanced(cartpole, storage=killed, progress=lambda what, done, total: played.append(what))
    assert to_json(resumed.to_dict()) == whole
    assert played.count("trials") == 1 and "dense" in played  # of the claim; those of the search were kept
    assert to_json(balanced(cartpole, sampler_seed=1).to_dict()) != whole


def test_a_finished_storage_plays_nothing_and_a_longer_one_goes_on(cartpole, tmp_path):
    first = balanced(cartpole, storage=tmp_path / "s", trials=4)
    assert len(first.trials) == 4 and first.claim.earlier == 0
    played = []
    balanced(cartpole, storage=tmp_path / "s", trials=4, progress=lambda *what: played.append(what))
    assert played == []
    longer = balanced(cartpole, storage=tmp_path / "s", trials=8)
    assert [t.to_dict() for t in longer.trials[:4]] == [t.to_dict() for t in first.trials] and len(longer.trials) == 8
    other = balanced(cartpole, storage=tmp_path / "s", trials=8, claim_seed=500, claim_episodes=10)
    # a further claim, made with the results of earlier ones known, has half the error of the one before
    assert other.claim.confidence == pytest.approx(1 - 0.05 / 2**other.claim.earlier)
    assert other.claim.earlier == 2


def test_workers_change_nothing(cartpole):
    assert to_json(balanced(cartpole, trials=2, workers=2).to_dict()) == to_json(balanced(cartpole, trials=2).to_dict())


def test_too_few_claim_episodes_are_refused_before_anything_is_played(cartpole):
    """4 episodes of a floor of 0.5: 0.5^6 is the first power below 0.025."""
    played = []
    with pytest.raises(NotProved, match=r"4 claim episodes cannot prove a score of 0.5 .* would need 6 \(--claim-episodes 6,"):
        balanced(cartpole, claim_episodes=4, progress=lambda what, done, total: played.append(what))
    assert played == []


def test_what_an_independent_copy_would_need_is_a_note_not_a_refusal(cartpole):
    """A policy that plays the dense policy's games is proved by fewer."""

    class Scripted(ScoreTask):
        def yardstick(self, seeds, storage, progress):
            return Yardstick(np.tile([400.0, 600.0], 50), np.zeros(100), np.arange(100, dtype=np.uint64))

    def prepared(claim_episodes):
        said = []
        task = Scripted(cartpole, cartpole, EnvironmentSpec("CartPole-v1"), Seeds(0, 100), Seeds(100, claim_episodes), 0.9,
                        pricer=Pricer(cartpole, None), say=said.append)  # fmt: skip
        task.prepare(Storage(None, {}, ["minimize", "maximize"]), None)
        return task, said

    task, said = prepared(40)
    assert task.copy_needs == episodes_needed(None, np.tile([400.0, 600.0], 50), np.zeros(100), 0.9) > 40 > fewest_episodes(0.9)
    assert len(said) == 1 and f"an independent copy of the dense policy would need {task.copy_needs} claim episodes; 40 may do" in said[0]
    assert prepared(task.copy_needs)[1] == []
    returns = np.tile([400.0, 600.0], 20)  # the same games
    run = Measured(1, 1, {}, 1, None, None, *score_interval(returns, returns, np.zeros(40)), returns=tuple(returns), distinct=40)
    assert task.proves(run, 0.95)


def test_no_spread_does_not_prove_a_rare_failure_away(cartpole):
    """All dense episodes reach 500: five would show an interval of no width, yet a policy that fails in half of its own passes one time in 32."""
    with pytest.raises(NotProved, match="5 claim episodes .* fails in 50.00% of its episodes .* would need 6 "):
        balanced(cartpole, claim_episodes=5)


def score_task(cartpole, **options):
    spec = EnvironmentSpec("CartPole-v1")
    given = {"seeds": Seeds(0, 25), "claim_seeds": Seeds(100, 100), "floor": 0.9, "candidates": 3} | options
    return ScoreTask(cartpole, cartpole, spec, pricer=Pricer(cartpole, None), **given)


def trial(number, macs, value, low):
    return Trial(number, None, Measured(macs, macs, {}, 1, None, None, value, low, 2 * value - low))


def test_candidates_by_hand(cartpole):
    # 25 search episodes, 100 of the claim: the expected lower ends there (by `expected_low`, tested beside the bootstrap)
    trials = [
        trial(0, 100.0, 1.0, 0.89),  # 0.971: no spread behind it, the added failure alone
        trial(1, 60.0, 0.99, 0.86),  # 0.946
        trial(2, 50.0, 0.97, 0.81),  # 0.906
        trial(3, 40.0, 0.96, 0.81),  # 0.902
        trial(4, 30.0, 0.94, 0.80),  # 0.887: too little
        trial(5, 70.0, 0.98, 0.87),  # 0.951; beaten by 1
        trial(6, 20.0, 0.2, 0.1),
    ]
    assert [round(score_task(cartpole).expected_low(t.measured), 3) for t in trials[:6]] == [0.971, 0.946, 0.906, 0.902, 0.887, 0.951]
    front = front_of(trials, "maximize")
    assert [t.number for t in front] == [6, 4, 3, 2, 1, 0]
    # hopeful are 40 (3), 50 (2), 60 (1), 70 (5), 100 (0): three steps of a factor 2.5^(1/3) = 1.36 end at 54.3, 73.7, 100; dearest first
    assert [t.number for t in score_task(cartpole).chosen_candidates(trials)] == [0, 5, 3]  # 2 and 3 have equal ends: the cheaper one
    # six steps end at 46.6, 54.3, 63.2, 73.7, 85.8, 100: one is empty
    assert [t.number for t in score_task(cartpole, candidates=6).chosen_candidates(trials)] == [0, 5, 1, 2, 3]
    assert [t.number for t in score_task(cartpole, candidates=1).chosen_candidates(trials)] == [0]
    # at 0.94 only 0, 5 and 1 are left, 60 and 70 in one step of a factor 1.19
    assert [t.number for t in score_task(cartpole, floor=0.94).chosen_candidates(trials)] == [0, 5]
    task = score_task(cartpole, floor=0.98)
    assert task.chosen_candidates(trials) == []
    # 0 has no spread: 0.02 n - 0.98 >= 1.96 from n = 147 on, and 183 games are the least for 0.98
    assert task.expected_need(trials) == fewest_episodes(0.98) == 183 and task.expected_need(trials[1:5]) > 183
    assert task.expected_need(trials[4:5]) is None and task.expected_need(trials[2:5]) is None


def test_claims_stop_at_the_first_failure_and_name_the_last_proved(cartpole):
    """Scores on the claim seeds fall with the cost; the sequence ends where one misses the floor, whatever comes after."""
    front = [trial(i, 10.0 * 2**i, 0.95, 0.93) for i in range(5)]
    lows = {160.0: 0.97, 80.0: 0.93, 40.0: 0.91, 20.0: 0.85, 10.0: 0.99}

    class Scripted(ScoreTask):
        def yardstick(self, seeds, storage, progress):
            return Yardstick(np.tile([400.0, 600.0], 50), np.zeros(100), np.arange(100, dtype=np.uint64))

        def measure_claim(self, network, yardstick, level, progress):
            cost = network.input.threshold
            return Measured(cost, cost, {}, 1, None, None, 0.98, lows[cost], 1.0, returns=(490.0,) * 100, distinct=100), {}

    spec = EnvironmentSpec("CartPole-v1")
    thresholds = [dict.fromkeys(cartpole.thresholds, t.measured.macs) for t in front]
    front = [Trial(t.number, Setting({}, values, {}), t.measured) for t, values in zip(front, thresholds)]
    task = Scripted(cartpole, cartpole, spec, Seeds(0, 25), Seeds(100, 100), 0.9, candidates=5, pricer=Pricer(cartpole, None))
    claim = claim_score(task, front, Storage(None, {}, ["minimize", "maximize"]), None)
    assert [(t.measured.macs, t.proved) for t in claim.tested] == [(160.0, True), (80.0, True), (40.0, True), (20.0, False)]
    assert claim.proved.measured.macs == 40.0 and claim.statement.startswith("proved: score 0.9 or more") and claim.planned == 5
    lows[160.0] = 0.8
    failed = claim_score(task, front, Storage(None, {}, ["minimize", "maximize"]), None)
    assert failed.proved is None and len(failed.tested) == 1 and "episodes would be needed" in failed.statement


def test_false_claims_are_as_rare_as_promised(cartpole):
    """Three settings that score exactly the floor, by failing outright in a tenth of their games: any of them is called proved in 2.5 % of
    claims, not in three times as many."""
    rng = np.random.default_rng(7)
    front = [trial(i, 10.0 * 2**i, 0.95, 0.93) for i in range(3)]
    front = [Trial(t.number, Setting({}, dict.fromkeys(cartpole.thresholds, 0.0), {}), t.measured) for t in front]

    class Chance(ScoreTask):
        def yardstick(self, seeds, storage, progress):
            return Yardstick(rng.normal(100, 5, 100), rng.normal(0, 5, 100), np.arange(100, dtype=np.uint64))

        def measure_claim(self, network, yardstick, level, progress):
            returns = np.where(rng.random(100) < 0.1, yardstick.random, yardstick.dense + rng.normal(0, 2, 100))
            score, low, high = score_interval(returns, yardstick.dense, yardstick.random, level, resamples=1_000)
            return Measured(1, 1, {}, 1, None, None, score, low, high, returns=tuple(returns), distinct=100), {}

    spec = EnvironmentSpec("CartPole-v1")
    task = Chance(cartpole, cartpole, spec, Seeds(0, 25), Seeds(100, 100), 0.9, candidates=3, pricer=Pricer(cartpole, None))
    claims = [claim_score(task, front, Storage(None, {}, ["minimize", "maximize"]), None) for _ in range(300)]
    assert all(len(c.tested) == 1 + sum(t.proved for t in c.tested) or c.proved is c.tested[-1] for c in claims)
    assert 0 < sum(c.proved is not None for c in claims) <= 300 * 0.025 + 3 * np.sqrt(300 * 0.025 * 0.975)  # 15.6; 21 if all were tested


def test_a_claim_that_fails_says_how_many_episodes_would_do(cartpole):
    """One seed of three decides the search; thresholds that lose on the claim seeds are not proved."""
    task = score_task(cartpole, claim_seeds=Seeds(100, 150))
    yard = type("Yardstick", (), {"dense": np.tile([400.0, 600.0], 75), "random": np.zeros(150)})
    lost = Measured(1, 1, {}, 1, None, None, 0.85, 0.8, 0.9, returns=tuple(np.tile([400.0, 450.0], 75)), distinct=150)
    assert not task.proves(lost, 0.95) and task.would_prove(lost, yard, 0.95) is None
    near = Measured(1, 1, {}, 1, None, None, 0.92, 0.88, 0.96, returns=tuple(np.tile([520.0, 400.0], 75)), distinct=150)
    # by the interval n of 0.02 n - 0.9 = z sqrt(n v + 0.92^2), v = ((150 x 0.92 - 151 x 0.88)^2 / z^2 - 0.92^2 x 150 / 151) / 150,
    # which is 0.02 n - 0.9 = sqrt(n x 0.1521 + ...): 477; by the returns, which alternate against the dense ones, more
    n = next(n for n in range(50, 900) if 0.02 * n - 0.9 >= (n * (5.12**2 - 3.8415 * 0.8408) / 150 + 3.8415 * 0.8464) ** 0.5)
    assert not task.proves(near, 0.95) and task.would_prove(near, yard, 0.95) > n
    even = Measured(1, 1, {}, 1, None, None, 0.92, 0.88, 0.96, returns=tuple(np.tile([368.0, 552.0], 75)), distinct=150)
    assert task.would_prove(even, yard, 0.95) == n > 400
    assert task.would_prove(replace(even, distinct=100), yard, 0.95) < n  # the same interval from fewer games: less spread
    good = Measured(1, 1, {}, 1, None, None, 0.95, 0.9, 1.0, distinct=150)
    assert task.proves(good, 0.95) and not task.proves(replace(good, distinct=30), 0.95)


def test_repeated_games_count_once(cartpole):
    """Episodes 2 and 3 repeat 0 and 1: four returns, two of them news."""
    yard = Yardstick(np.array([10.0, 20.0, 10.0, 20.0]), np.zeros(4), np.array([1, 2, 1, 2], np.uint64))
    games = np.array([5, 6, 5, 6], np.uint64)
    assert yard.distinct(games).tolist() == [0, 1]
    assert yard.distinct(np.array([5, 6, 7, 6], np.uint64)).tolist() == [0, 1, 2]
    trace = ns.simulate(cartpole, np.zeros((4, 4)))
    played = Played(np.array([8.0, 20.0, 8.0, 20.0]), np.ones(4, np.int64), games, np.zeros(4, bool), trace=trace)
    run = score_task(cartpole)._measured(played, yard, 0.95)
    assert (run.value, run.low, run.high) == score_interval([8, 20], [10, 20], [0, 0]) and run.distinct == 2
    one = score_task(cartpole)._measured(replace(played, games=np.full(4, 5, np.uint64)), replace(yard, games=np.ones(4, np.uint64)), 0.95)
    assert one.distinct == 1 and one.value == 56 / 60 and (one.low, one.high) == (-np.inf, np.inf)


# the space


def test_space_by_hand():
    space = Space({"input": 2.0, "conv": 10.0, "dead": 0.0}, ("conv", "out"))
    assert set(space.distributions()) == {"threshold input", "threshold conv", "sparsity conv", "sparsity out"}
    setting = space.setting({"threshold input": 0.0123456, "threshold conv": 1.5e-4, "sparsity conv": 0.5, "sparsity out": 0.0})
    assert setting.fractions == {"input": 0.0123, "conv": 0.0, "dead": 0.0}  # below 2e-4 every change is sent
    assert setting.thresholds == {"input": 0.0246, "conv": 0.0, "dead": 0.0}
    assert setting.sparsity == {"conv": 0.5, "out": 0.0}
    rng = np.random.default_rng(0)
    start = space.ladder()[0]
    n_same = 0
    for _ in range(300):
        near = space.neighbour(start, rng)
        n_same += near == start
        assert all(BOTTOM <= v <= TOP for k, v in near.items() if k.startswith("threshold"))
        assert all(0 <= v <= MOST_SPARSE and round(v, 2) == v for k, v in near.items() if k.startswith("sparsity"))
        start = near
    assert n_same < 30  # a sparsity may be rounded to itself


def test_scales_are_percentiles_of_the_dense_run(lander):
    scales = activation_scales(lander, OBS)
    encoded, activations, _ = dense.evaluate(lander, OBS)
    assert scales["input"] == np.percentile(np.abs(encoded), 99)
    assert scales["fc1"] == np.percentile(np.abs(activations[0]), 99)


# refusals


@pytest.mark.parametrize(
    "options, message",
    [
        ({"claim_seed": 2}, r"search seeds 0\.\.2 and claim seeds 2\.\.9 overlap"),
        ({"claim_seed": 0, "seed": 7}, r"search seeds 7\.\.9 and claim seeds 0\.\.7 overlap"),
        ({"min_score": 1.0}, "a score of 1 cannot be a floor"),
        ({"episodes": 1}, "1 search episodes"),
        ({"claim_episodes": 1}, "1 claim episodes"),
        ({"trials": 0}, "0 trials"),
        ({"sampler_seed": -1}, "sampler seed -1"),
        ({"candidates": 0}, "0 candidates"),
        ({"objective": "time"}, "objective 'time' is unknown"),
        ({"objective": "energy"}, "objective energy needs a chip"),
        ({"action": "softmax"}, "action 'softmax' is unknown"),
    ],
)
def test_refusals_in_closed_loop(cartpole, options, message):
    with pytest.raises(SimulationError, match=message):
        balanced(cartpole, **options)


@pytest.mark.parametrize(
    "options, message",
    [
        ({"max_error": None}, "recorded inputs need a bound"),
        ({"max_error": 0.0}, "a largest error of 0"),
        ({"min_agreement": 1.5}, "an agreement of 1.5"),
        ({"claim_inputs": OBS[:HALF], "claim_resets": STARTS[:HALF]}, "a claim needs inputs that no trial saw"),
        ({"claim_inputs": OBS[:, :3]}, r"claim inputs have shape \(500, 3\)"),
        ({"claim_inputs": np.full((4, 8), np.nan)}, "not finite"),
        ({"candidates": 0}, "0 candidates"),
    ],
)
def test_refusals_on_recorded_inputs(lander, options, message):
    with pytest.raises(SimulationError, match=message):
        recorded(lander, **options)


def test_refused_chips_and_baselines(lander, cartpole):
    with pytest.raises(PricingError, match="is a dense machine: thresholds change nothing there"):
        recorded(lander, objective="energy", chip=ns.Chip.load("horowitz_int8"))
    with pytest.raises(SimulationError, match="objective macs does not use a chip"):
        recorded(lander, chip=ns.Chip.load("grai_one"))
    with pytest.raises(SimulationError, match="those of the baseline"):
        recorded(lander, baseline=cartpole)
    with pytest.raises(SimulationError, match="does not match CartPole-v1"):
        balanced(lander)


def test_storages_of_other_searches(lander, cartpole, tmp_path):
    path = tmp_path / "s"
    recorded(lander, storage=path, trials=1)
    with pytest.raises(SimulationError, match=r"belongs to another search: constraint is .*0\.02.* there, .*0\.05.* here; choose another"):
        recorded(lander, storage=path, trials=1, max_error=0.05)
    with pytest.raises(SimulationError, match="network_sha256 is"):
        recorded(ns.prune(lander, 0.5), storage=path, trials=1)
    with pytest.raises(SimulationError, match="inputs is"):
        tune_recorded(lander, OBS[:20], max_error=0.02, storage=path, trials=1)
    for words in ("shopping list", '{"a": 1}\n', '{"op_code": 7', '{"op_code": 99, "worker_id": "x"}\n'):
        text = tmp_path / "notes.txt"
        text.write_text(words)
        with pytest.raises(LoadError, match="is not a storage of tune"):
            recorded(lander, storage=text)
        assert text.read_text() == words
    import optuna
    from optuna.storages import JournalStorage
    from optuna.storages.journal import JournalFileBackend

    other = tmp_path / "one"
    optuna.create_study(storage=JournalStorage(JournalFileBackend(str(other))), study_name=STUDY, direction="minimize")
    with pytest.raises(LoadError, match="is not a storage of tune: objectives of its study: 1, not 2"):
        recorded(lander, storage=other)
    with pytest.raises(LoadError, match="cannot use .* as storage: Is a directory"):
        recorded(lander, storage=tmp_path)


def test_a_storage_cut_within_a_line_loses_that_trial_only(lander, tmp_path):
    path = tmp_path / "s"
    whole = recorded(lander, storage=path, trials=4)
    path.write_bytes(path.read_bytes()[:-40])
    done = []
    again = recorded(lander, storage=path, trials=4, progress=lambda what, i, n: done.append((what, i)))
    assert done == [("trials", 4)] and to_json(again.to_dict()) == to_json(whole.to_dict())


def test_sampler_seeds_of_any_size(lander):
    searches = [recorded(lander, trials=12, sampler_seed=seed).trials[-1].setting for seed in (42_949, 100_000, 2**40)]
    assert len({json.dumps(setting.thresholds) for setting in searches}) == 3


def test_without_optuna(lander, monkeypatch):
    monkeypatch.setitem(sys.modules, "optuna", None)
    with pytest.raises(SimulationError, match=r"tune needs optuna \(pip install 'neurosim-chip\[tune\]'\)"):
        recorded(lander)


def test_a_dense_policy_no_better_than_chance(cartpole):
    upside_down = ns.load(MODELS / "cartpole_ppo")
    object.__setattr__(upside_down.layers[-1].synapses[0], "weight", -upside_down.layers[-1].synapses[0].weight)
    with pytest.raises(SimulationError, match="does not exceed the random policy's .* no score is defined"):
        balanced(cartpole, baseline=upside_down)


# command line


def neurosim(*arguments):
    return CliRunner().invoke(app, ["tune", *(str(a) for a in arguments)])


def test_command_line(tmp_path):
    out = tmp_path / "t.yaml"
    cheap = ("--episodes", 3, "--claim-episodes", 8, "--min-score", 0.5, "--trials", 6)
    result = neurosim(MODELS / "cartpole_ppo", *cheap, "--storage", tmp_path / "s", "--out", out, "--json")
    assert result.exit_code == 0, result.stderr
    document = json.loads(result.stdout)
    assert document["schema"] == "neurosim.tune/1" and document["claim"]["proved"] and document["n_trials"] == 6
    assert document["env"]["id"] == "CartPole-v1" and document["after"]["trial"] == document["chosen"]["trial"]
    assert neurosim(MODELS / "cartpole_ppo", *cheap, "--json").stdout == result.stdout
    played = CliRunner().invoke(app, ["rollout", str(MODELS / "cartpole_ppo"), "--thresholds", str(out), "--episodes", "2", "--json"])
    assert json.loads(played.stdout)["threshold"] == document["chosen"]["thresholds"]
    table = neurosim(MODELS / "cartpole_ppo", *cheap, "--storage", tmp_path / "s").stdout
    assert "<- chosen" in table and "proved: score 0.5 or more" in table and "MACs per timestep into each layer" in table


def test_command_line_on_recorded_inputs(tmp_path):
    stream = ("--inputs", f"{LANDER / 'golden.npz'}:obs", "--resets", f"{LANDER / 'golden.npz'}:episode_start")
    result = neurosim(LANDER, *stream, "--max-error", 0.05, "--trials", 5, "--chip", "grai_one", "--sparsity")
    assert result.exit_code == 0 and "energy" in result.stdout and "sparsity" in result.stdout, result.stderr
    out = tmp_path / "t.yaml"
    missed = neurosim(LANDER, *stream, "--max-error", 1e-9, "--trials", 2, "--out", out)
    assert missed.exit_code == 1 and "NOT met" in missed.stderr and not out.exists()


@pytest.mark.parametrize(
    "arguments, code, message",
    [
        (("--inputs", "x.npy", "--episodes", 3, "--min-score", 0.9), 2, "--episodes, --min-score: inputs are recorded, nothing is played"),
        (("--max-error", 0.1), 2, "--max-error: they belong to recorded inputs"),
        (("--inputs", f"{LANDER / 'golden.npz'}:obs"), 2, "recorded inputs need a bound"),
        (("--inputs", f"{LANDER / 'golden.npz'}:obs", "--max-error", 0.1, "--claim-resets", "x.npz:y"), 2, "--claim-resets needs --claim-inputs"),
        (("--set", "core.neurons=4"), 2, "--set and --hypothetical need --chip"),
        (("--out", "/nowhere/t.yaml"), 2, "cannot write /nowhere/t.yaml"),
        (("--storage", LANDER), 2, f"cannot write {LANDER}: it is a folder"),
        (("--out", "/tmp/t.yaml", "--storage", "/tmp/../tmp/t.yaml"), 2, "--out and --storage are the same file, /tmp/t.yaml"),
        (("--episodes", 2, "--claim-episodes", 5), 1, "5 claim episodes cannot prove"),
    ],
)
def test_mistakes_on_the_command_line(arguments, code, message):
    result = neurosim(LANDER, *arguments)
    assert result.exit_code == code and message in result.stderr and result.stderr.count("\n") == 1, result.stderr
    assert result.stdout == ""


def test_a_model_without_an_environment():
    result = neurosim(LANDER / "policy.onnx")
    assert result.exit_code == 2 and "--env or --inputs is needed" in result.stderr
