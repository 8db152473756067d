"""Episodes shared out among processes: the same bytes for any number, errors as messages."""

import json
from functools import partial
from pathlib import Path

import gymnasium
import numpy as np
import pytest

import neurosim as ns
from neurosim.control import EnvironmentSpec, ExactPolicy, Job, RandomPolicy, play_jobs, rollout
from neurosim.control.workers import _blocks
from neurosim.errors import SimulationError
from neurosim.view.documents import to_json

MODELS = Path(__file__).parents[2] / "models"


@pytest.fixture(scope="module")
def lander():
    pytest.importorskip("Box2D")
    return ns.set_thresholds(ns.load(MODELS / "lunarlander_dqn"), 0.02)


def arrays(result):
    trace = result.trace
    named = {
        name: getattr(result, name)
        for name in ("returns", "dense_returns", "random_returns", "lengths", "macs", "still", "games", "dense_games")
    }
    named |= {
        name: getattr(trace, name) for name in ("first", "totals", "first_totals", "counts", "input_counts", "event_start", "event_element")
    }
    if trace.reference is not None:
        named |= {"skip": trace.reference.zero_skip_macs, "compared": trace.reference.timesteps}
    return named


@pytest.mark.parametrize(
    "options", [{}, {"record": "none", "reference_every": 7, "dense_by": "events"}, {"record": "counts", "reference_every": 0}]
)
def test_any_number_of_workers_gives_the_same_bytes(lander, options):
    one, two = (rollout(lander, "LunarLander-v3", episodes=9, seed=3, workers=n, **options) for n in (1, 2))
    assert to_json(one.to_dict()) == to_json(two.to_dict())
    for name, value in arrays(one).items():
        other = arrays(two)[name]
        assert (value is None) == (other is None), name
        if value is not None:
            assert value.dtype == other.dtype and value.tobytes() == other.tobytes(), name
    assert two.trace.network is lander and two.trace.n_timesteps == one.lengths.sum()


def test_a_joined_trace_is_saved_and_priced_as_any_other(lander, tmp_path):
    one, two = (rollout(lander, "LunarLander-v3", episodes=3, workers=n) for n in (1, 2))
    for name, result in (("one", one), ("two", two)):
        result.trace.save(tmp_path / name)
    program = ns.compile(lander, ns.Chip.load("loihi2"))
    reports = [ns.price(ns.load_trace(tmp_path / name), program).to_json() for name in ("one", "two")]
    assert json.dumps(reports[0], default=str) == json.dumps(reports[1], default=str)


def test_totals_alone_are_those_of_the_record(lander):
    full = rollout(lander, "LunarLander-v3", episodes=2)
    bare = rollout(lander, "LunarLander-v3", episodes=2, record="none")
    assert bare.trace.counts is None and bare.trace.event_element.size == 0
    assert np.array_equal(bare.macs, full.macs) and np.array_equal(full.macs, full.trace.counts[:, :, 2].sum(axis=1))
    assert bare.trace.totals_by_counter == full.trace.totals_by_counter
    assert bare.to_dict() == full.to_dict()


def test_every_kth_decision_of_each_episode_is_compared(lander):
    whole = rollout(lander, "LunarLander-v3", episodes=3)
    some = rollout(lander, "LunarLander-v3", episodes=3, reference_every=10)
    begins = np.cumsum(whole.lengths) - whole.lengths
    expected = np.concatenate([np.arange(b + 5, b + n, 10) for b, n in zip(begins, whole.lengths)])
    assert some.trace.reference.timesteps.tolist() == expected.tolist()
    assert np.array_equal(some.trace.reference.zero_skip_macs, whole.trace.reference.zero_skip_macs[expected])
    assert some.trace.totals_by_counter["zero_skip_macs"] is None and some.trace.reduction()["vs_zero_skip"] is not None


def test_the_exact_policy_is_the_dense_one(lander):
    """On LunarLander, whose physics magnify any difference, in float64 both ways play the same games."""
    direct, events = (rollout(lander, "LunarLander-v3", episodes=4, numerics="float64", dense_by=by) for by in ("evaluation", "events"))
    assert direct.dense_returns.tolist() == events.dense_returns.tolist()
    assert direct.dense_games.tolist() == events.dense_games.tolist()


def test_equal_games_are_told_apart_from_equal_returns():
    """CartPole: all returns of 500 differ as games; the same seed again is the same game."""
    network = ns.load(MODELS / "cartpole_ppo")
    result = rollout(network, "CartPole-v1", episodes=4)
    assert set(result.returns) == {500.0} and len(result.distinct) == 4
    jobs = [Job("a", partial(ExactPolicy, network, action="argmax"))] * 2
    first, second = play_jobs(jobs, EnvironmentSpec("CartPole-v1"), 2, 0)
    assert first.games.tolist() == second.games.tolist() and first.games[0] != first.games[1]


@pytest.mark.parametrize("episodes, n", [(1, 8), (7, 3), (8, 8), (1000, 8)])
def test_blocks_are_all_episodes_in_order(episodes, n):
    blocks = _blocks(episodes, n)
    assert [i for block in blocks for i in block] == list(range(episodes))
    assert max(map(len, blocks)) - min(map(len, blocks)) <= 1 and len(blocks) <= n


class Dies:
    """A policy that fails in the worker, in one way or another."""

    def __init__(self, how, space):
        self._how = how

    def reset(self, seed=None):
        if self._how == "exit":
            import os

            os._exit(7)
        raise SimulationError("the camera is broken")

    def act(self, observation):
        return 0


@pytest.mark.parametrize("how, message", [("error", "the camera is broken"), ("exit", "one of 2 worker processes died.*__main__")])
def test_what_goes_wrong_in_a_worker_is_said_here(how, message):
    with pytest.raises(SimulationError, match=message):
        play_jobs([Job("ill", partial(Dies, how))], EnvironmentSpec("CartPole-v1"), 4, 0, workers=2)
    (played,) = play_jobs([Job("random", RandomPolicy)], EnvironmentSpec("CartPole-v1"), 4, 0, workers=2)  # the next call has new ones
    assert played.returns.size == 4


REFUSALS = [
    (dict(workers=0), "0 workers"),
    (dict(reference_every=-1), "every -1 decisions"),
    (dict(record="all"), "record 'all' is unknown; choose one of none, counts, events"),
    (dict(dense_by="magic"), "dense_by 'magic' is unknown; choose one of evaluation, events"),
]


@pytest.mark.parametrize("options, message", REFUSALS, ids=[m for _, m in REFUSALS])
def test_refusals(options, message):
    with pytest.raises(SimulationError, match=message):
        rollout(ns.load(MODELS / "cartpole_ppo"), "CartPole-v1", **options)


def test_an_environment_that_is_handed_over_stays_in_one_process():
    with pytest.raises(SimulationError, match="give its id"):
        rollout(ns.load(MODELS / "cartpole_ppo"), gymnasium.make("CartPole-v1"), workers=2)


def test_the_command_shares_out_too():
    from typer.testing import CliRunner

    from neurosim.cli import app

    command = ["rollout", str(MODELS / "cartpole_ppo"), "--episodes", "3", "--threshold", "0.02"]
    one, two = (CliRunner().invoke(app, [*command, "--json", "--workers", n]) for n in ("1", "2"))
    assert one.exit_code == two.exit_code == 0 and one.stdout == two.stdout
    shown = CliRunner().invoke(app, [*command, "--reference-every", "0", "--dense-by", "events"])
    assert "no decision compared with the dense policy" in shown.stdout
    some = CliRunner().invoke(app, [*command, "--reference-every", "100", "--dense-by", "events"])
    assert "of 15 decisions" in some.stdout
    refused = CliRunner().invoke(app, [*command, "--workers", "0"])
    assert refused.exit_code == 2 and "0 workers" in refused.stderr
