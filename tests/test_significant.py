"""The benchmark of significant multiplications: sums that add up, claims that follow from them, the same bytes twice."""

import json
import shlex
import shutil
from dataclasses import asdict, replace
from importlib import import_module
from pathlib import Path

import numpy as np
import pytest
import yaml
from networks import RELU, conv, full, layer, network

import neurosim as ns
from neurosim import dense

ROOT = Path(__file__).parents[1]


@pytest.fixture(autouse=True)
def benchmarks(monkeypatch):
    monkeypatch.syspath_prepend(str(ROOT / "benchmarks"))


def part(name):
    return import_module(f"significant.{name}")


@pytest.fixture(scope="module")
def models(tmp_path_factory):
    """CartPole's policy with a sparse partner: the smallest fifth of its weights removed."""
    import onnx
    from onnx import numpy_helper

    root = tmp_path_factory.mktemp("models")
    shutil.copytree(ROOT / "models" / "cartpole_ppo", root / "cartpole_ppo")
    (root / "cartpole_ppo_sparse").mkdir()
    model = onnx.load(root / "cartpole_ppo" / "policy.onnx")
    for initializer in model.graph.initializer:
        if len(initializer.dims) == 2:
            weight = numpy_helper.to_array(initializer).copy()
            weight[np.abs(weight) <= np.quantile(np.abs(weight), 0.2)] = 0
            initializer.CopyFrom(numpy_helper.from_array(weight, initializer.name))
    onnx.save(model, root / "cartpole_ppo_sparse" / "policy.onnx")
    card = yaml.safe_load((root / "cartpole_ppo" / "model.yaml").read_text())
    card |= {"name": "cartpole_ppo_sparse", "thresholds": "thresholds.yaml", "baseline": "../cartpole_ppo", "sha256": None}
    (root / "cartpole_ppo_sparse" / "model.yaml").write_text(yaml.safe_dump(card))
    names = ns.load(root / "cartpole_ppo_sparse" / "policy.onnx").thresholds
    (root / "cartpole_ppo_sparse" / "thresholds.yaml").write_text(yaml.safe_dump(dict.fromkeys(names, 0.02)))
    return root


def results(models, folder, *arguments):
    return written(folder, "--models", str(models), "--episodes", "3", "--other-episodes", "2", "--workers", "1", *arguments)


def written(folder, *arguments):
    places = ["--json", str(folder / "f" / "s.json"), "--markdown", str(folder / "r.md"), "--cache", str(folder / "cache.jsonl")]
    import_module("significant_multiplications").main([*places, *arguments])
    return (folder / "f" / "s.json").read_bytes(), (folder / "r.md").read_bytes()


@pytest.fixture(scope="module")
def once(models, tmp_path_factory):
    pytest.importorskip("matplotlib")
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        folder = tmp_path_factory.mktemp("once")
        return folder, *results(models, folder)


def test_the_document_holds_every_row(once):
    folder, document, text = once
    (task,) = json.loads(document)["tasks"]
    rows = {r["key"]: r for r in task["protocols"]["plain"]["rows"]}
    assert list(rows) == ["dense", "delta", "pruned", "both", "random"] and task["claim"] == "both"
    assert rows["dense"]["mean_return"] == 500 > rows["random"]["mean_return"]
    assert rows["pruned"]["sparsity"]["weights"] == pytest.approx(0.2, abs=0.01)
    for row in (rows["dense"], rows["delta"], rows["pruned"], rows["both"]):
        m = row["macs"]
        assert m["pruning"] * m["activation"] * m["delta"] == pytest.approx(m["vs_dense"]) == pytest.approx(m["dense"] / m["effective"])
        assert m["worst_after_first"] <= m["worst"] and row["operations"]["all_ops"] > m["effective"] == row["operations"]["effective_macs"]
    assert rows["both"]["macs"]["effective"] < rows["pruned"]["macs"]["effective"] < rows["dense"]["macs"]["effective"]
    assert [r["key"] for r in task["curve"]["rows"]] == ["x0", "x0.25", "x0.5", "x1", "x2", "x4"]
    assert {r["key"] for r in task["controls"]} == {"hold2", "hold4", "hold8", "constant", "silenced"}
    energy = task["energy"]["both"]["chips"]["loihi2"]
    assert 0 < energy["static_j"] < energy["energy_j"] and energy["low_j"] <= energy["energy_j"] <= energy["high_j"]
    shown = text.decode()
    for word in ("cartpole_ppo", "not proven: 3 distinct games, 72 are needed", "All operations", "Knee", "loihi2", "grai_one", "Controls"):
        assert word in shown, word
    for picture in ("significant_shares.svg", "significant_cartpole_ppo.svg"):
        assert (folder / "f" / picture).is_file() and f"(f/{picture})" in shown


def test_the_same_bytes_from_the_cache_and_without(once, models, tmp_path):
    folder, document, text = once
    before = (folder / "cache.jsonl").read_bytes()
    assert results(models, folder) == (document, text) and (folder / "cache.jsonl").read_bytes() == before
    (tmp_path / "cache.jsonl").write_bytes(before[: len(before) // 2])  # as a killed run leaves it
    assert results(models, tmp_path, "--workers", "2") == (document, text)


def test_the_command_in_the_document_repeats_it(once, models):
    folder, document, text = once
    python, program, *arguments = shlex.split(json.loads(document)["command"])
    assert (python, program) == ("python", "benchmarks/significant_multiplications.py") and (ROOT / program).is_file()
    assert arguments == ["--models", str(models), "--episodes", "3", "--other-episodes", "2"]
    assert written(folder, *arguments) == (document, text)


def test_options_are_in_the_command_where_they_are_not_the_usual_ones():
    parsed, start = import_module("significant_multiplications").parsed, "python benchmarks/significant_multiplications.py"
    options = parsed(["--episodes", "48,pong_ppo=96", "--seed", "5", "--tasks", "pong_ppo,a,pong_ppo"])
    assert options.episodes == {"": 48, "pong_ppo": 96} and options.tasks == ["pong_ppo", "a"]
    assert options.command == f"{start} --tasks pong_ppo,a --episodes 48,pong_ppo=96 --seed 5"
    assert parsed(["--episodes", "pong_ppo=960"]).episodes == {"": 96, "pong_ppo": 960}
    assert parsed([]).command == start and parsed([]).seed == 100_000 and parsed(["--seed", "100000", "--episodes", "96"]).command == start
    assert parsed(["--quick", "--models", "my models"]).command == f"{start} --quick --models 'my models'"


@pytest.mark.parametrize("arguments, message", [
    (["--episodes", "many"], "invalid counts value"),
    (["--episodes", "0"], "episodes and workers are 1 or more"),
    (["--workers", "0"], "episodes and workers are 1 or more"),
    (["--seed", "-1"], "the seed 0 or more"),
    (["--quick", "--episodes", "5", "--seed", "0"], "--quick plays few games of its own: leave out --episodes, --seed"),
    (["--quick", "--other-episodes", "5"], "leave out --other-episodes"),
    (["--seed", "999990", "--episodes", "11"], "seeds 999990..1000013 reach those of training, which start at 1000000"),
])  # fmt: skip
def test_wrong_options(arguments, message, capsys):
    with pytest.raises(SystemExit):
        import_module("significant_multiplications").parsed(arguments)
    assert message in capsys.readouterr().err


def test_seeds_that_others_chose_on_are_not_called_others():
    chosen_on = part("markdown")._chosen_on
    assert chosen_on([{"seed": 100_000}, {"seed": 200_000}]) == "Thresholds and weights were chosen on other seeds than these."
    assert chosen_on([{"seed": 100_000}, {"seed": 99_999}]).startswith("Thresholds and weights may have been chosen on some of these seeds")


def test_unknown_folders_are_named(models, tmp_path):
    with pytest.raises(SystemExit, match="no model folder pong in .*there are: cartpole_ppo, cartpole_ppo_sparse"):
        results(models, tmp_path, "--tasks", "pong")
    with pytest.raises(SystemExit, match="--episodes: no task pong; there are: cartpole_ppo"):
        results(models, tmp_path, "--episodes", "3,pong=4")
    with pytest.raises(SystemExit, match=r"no pair X, X_sparse in .*; name folders with --tasks"):
        written(tmp_path, "--models", str(tmp_path))
    assert not (tmp_path / "f").exists()  # nothing is written over


def test_caches(tmp_path):
    tally, made = part("tally"), []
    with pytest.raises(SystemExit, match="cannot use .* as cache: Is a directory"):
        import_module("significant_multiplications").main(["--models", str(ROOT / "models"), "--tasks", "cartpole_ppo", "--cache", str(tmp_path)])
    path = tmp_path / "deep" / "cache.jsonl"
    make = lambda: made.append(1) or {"a": 1}
    assert tally.Cache(path).get({"row": 1}, make) == {"a": 1} and len(made) == 1
    path.write_bytes(b'\xff\xfe\x00\n[1, 2]\n7\n{"key": 3}\n{"key": "x"}\n' + path.read_bytes() + b'\n{"key": "y", "val')
    assert tally.Cache(path).get({"row": 1}, make) == {"a": 1} and len(made) == 1
    tally.Cache(path).get({"row": 2}, make)
    assert len(made) == 2


def test_other_sources_play_again(tmp_path, monkeypatch):
    """A kept result is used while package versions and the sources that decide results are the same."""
    tally, made = part("tally"), []
    play = lambda: tally.Cache(tmp_path / "c").get({"row": 1}, lambda: made.append(1))
    play(), play()
    assert len(made) == 1
    shutil.copytree(Path(ns.__file__).parent, tmp_path / "neurosim", ignore=shutil.ignore_patterns("__pycache__"))
    monkeypatch.setattr(tally.neurosim, "__file__", str(tmp_path / "neurosim" / "__init__.py"))
    play()
    assert len(made) == 1
    with (tmp_path / "neurosim" / "view" / "results.py").open("a") as f:
        f.write("#")
    play()
    assert len(made) == 1
    with (tmp_path / "neurosim" / "simulation" / "run.py").open("a") as f:
        f.write("#")
    play()
    assert len(made) == 2
    monkeypatch.setattr(tally, "_version", lambda package: "0" if package == "opencv-python-headless" else "1")
    play()
    assert len(made) == 3 and "opencv" not in tally.versions()


def test_tallies_of_parts_add_up(models):
    tasks, tally = part("tasks"), part("tally")
    (task,) = tasks.find([models], None)
    row, spec = tasks.delta_row("both", "both", task.both, task), task.spec(tasks.PLAIN)
    silent = lambda text: None
    whole = tally.Player(tally.Cache(None), 1, 5, silent).play(row, spec, 5, 3)
    parts = tally.Player(tally.Cache(None), 1, 2, silent).play(row, spec, 5, 3)
    assert asdict(whole) == asdict(parts) and whole.decisions == 2500
    assert whole.counts["dense_macs"] == task.both.static_total("dense_macs") * 2500
    assert whole.first["dense_macs"] == task.both.static_total("dense_macs") * 5


def tally(returns, games=None, **more):
    n = len(returns)
    return part("tally").Tally(list(returns), [10] * n, list(games or range(n)), {}, {}, **more)


def test_a_repeated_game_counts_once():
    rows = part("rows")
    own, base, chance = tally([1, 1, 3], [7, 7, 8]), tally([2, 2, 4], [5, 5, 6]), tally([0, 0, 0])
    assert rows.score(own, base, chance)["distinct_games"] == 2
    assert rows.score(own, base, chance)["score"] == pytest.approx(2 / 3)  # (1 + 3) / (2 + 4)
    assert rows.score(own, tally([2, 2, 4], [5, 4, 6]), chance)["score"] == pytest.approx(5 / 8)
    row = part("tasks").random_row()
    assert rows.describe(row, own)["mean_return"] == 2.0 and rows.describe(row, own)["episodes"] == 3


@pytest.mark.parametrize("n, gap, proved", [(72, 0.0, True), (71, 0.0, False), (72, 0.04, False), (200, 0.03, True), (200, 0.06, False)])
def test_a_score_is_proved_by_its_lower_bound_and_enough_games(n, gap, proved):
    returns = np.full(n, 100.0)
    found = part("rows").score(tally(returns * (1 - gap)), tally(returns), tally(np.zeros(n)))
    assert found["proved"] is proved


@pytest.mark.parametrize("n, failures", [(135, 2), (198, 4), (378, 11)])
def test_more_games_are_asked_for_where_those_played_prove_nothing(n, failures):
    """Outright failures: the returns' spread alone would call fewer games than were played enough."""
    returns = np.where(np.arange(n) < failures, 0.0, 100.0)
    found = part("rows").score(tally(returns), tally(np.full(n, 100.0)), tally(np.zeros(n)))
    assert not found["proved"] and n < found["episodes_needed"] < 1.2 * n


def claim(**changes):
    macs = {"dense": 1e6, "effective": 1e4, "vs_dense": 100.0, "delta": 10.0}
    row = {
        "key": "both",
        "macs": macs,
        "score": 1.0,
        "score_ci95": [0.96, 1.02],
        "proved": True,
        "distinct_games": 96,
        "episodes_needed": 72,
    } | changes
    return {"claim": "both", "goal": {"vs_dense": 100, "vs_zero_skip": 10}, "protocols": {"p": {"rows": [row]}}}


@pytest.mark.parametrize("changes, message", [
    ({}, "reached: 100x, 10x against zero-skip, score at least 0.960"),
    ({"macs": {"vs_dense": 99.0, "delta": 9.0}}, "MISSED: 99x of 100x against dense, 9x of 10x against zero-skip"),
    ({"proved": False, "score_ci95": [0.5, 0.94]}, "MISSED: the score is below 0.95 (at most 0.940)"),
    ({"proved": False, "score_ci95": [0.93, 1.1], "episodes_needed": 1234}, "not proven: lower bound 0.930; about 1,234 games would do"),
    ({"proved": False, "score_ci95": [0.9, 0.99], "episodes_needed": None}, "not proven: lower bound 0.900; the mean itself is below 0.95"),
    ({"proved": False, "distinct_games": 27}, "not proven: 27 distinct games, 72 are needed"),
    ({"proved": False, "score": None}, "not proven: the dense policy is no better than the random one in these games"),
])  # fmt: skip
def test_claims_in_plain_words(changes, message):
    assert part("markdown").verdict(claim(**changes), 0.95) == message


def test_the_knee_is_the_cheapest_row_that_holds():
    rows = [{"key": key, "macs": {"effective": macs, "vs_dense": 100 / macs}, "score": score, "proved": proved}
            for key, macs, score, proved in (("a", 9, 1.0, True), ("b", 5, 0.97, True), ("c", 2, 0.96, False), ("d", 1, 0.4, False))]  # fmt: skip
    found = part("rows").knee(rows)
    assert (found["proved"]["key"], found["by_mean"]["key"]) == ("b", "c")
    assert part("rows").knee(rows[3:]) == {"proved": None, "by_mean": None}


def test_rotating_planes_need_a_sum_for_each_rotation():
    """Played through: n sums, of which the one for the present rotation equals the shifting network's, at the counted MACs."""
    rng = np.random.default_rng(0)
    n, size = 4, 7
    first = conv(-1, (size, size, n), 3, (3, 3), rng=rng, zeros=0.4)
    net = network(
        [layer("c", first, ()), layer("out", full(0, first.target_grid[0] * first.target_grid[1] * 3, 2, rng=rng), RELU)], (n, size, size)
    )
    net = replace(
        net,
        layers=(
            replace(net.layers[0], synapses=(replace(first, view=np.arange(n * size * size).reshape(n, -1).T.reshape(-1)),)),
            net.layers[1],
        ),
    )
    screens = (rng.random((40, size, size)) < 0.2).astype(np.uint8) * 8
    stacks = np.stack([[screens[max(0, t - n + 1 + p)] for p in range(n)] for t in range(40)])
    starts = np.arange(40) == 0
    counted = part("controls").rotating_planes(net, stacks, starts)

    weight, taps = first.weight, size - 2  # (out, planes, 3, 3)
    sums, plane = np.zeros((n, taps, taps, 3)), np.zeros((n, size, size))
    macs = []
    for t in range(40):
        place = t % n
        change = screens[t] - plane[place]
        plane[place] = screens[t]
        for rotation in range(n):  # the sum that is right when plane `rotation` is the newest
            w = weight[:, (place - rotation - 1) % n]
            for y in range(taps):
                for x in range(taps):
                    sums[rotation, y, x] += (w * change[y : y + 3, x : x + 3]).sum(axis=(1, 2))
        if t >= n - 1:
            _, values, _ = dense.evaluate(net, stacks[t : t + 1])
            assert np.allclose(sums[place].reshape(-1), values[0][0])
        reach = sum(
            np.count_nonzero(weight[:, :, i, j]) * np.count_nonzero(change[i : i + taps, j : j + taps]) for i in range(3) for j in range(3)
        )
        macs.append((np.count_nonzero(change), reach))
    events, reached = np.mean(macs[n:], axis=0)
    assert counted["rotating_events"] == pytest.approx(events) and counted["rotating_macs"] == pytest.approx(reached)
    again = ns.simulate(net, stacks, resets=starts, reference="none", numerics="float64")
    assert counted["shifting_macs"] == pytest.approx(again.counts[n:, 0, 2].mean())
    assert counted["shifting_events"] == pytest.approx(again.input_counts[n:].mean())


def test_thresholds_of_the_papers_points():
    """Of the paper's network in miniature: one global threshold in either unit, and pruning of the dense weights in one shot."""
    tasks = part("tasks")
    rng = np.random.default_rng(0)
    dense_ = network(
        [layer("h", full(-1, 6, 20, rng=rng, dyadic=False, zeros=0)), layer("q", full(0, 20, 3, rng=rng, dyadic=False, zeros=0), ())], (6,)
    )
    card = part("tasks").ModelCard(name="x", weights="x.onnx", env={"id": "ALE/Breakout-v5", "preprocess": "atari_fire"}, action="argmax")
    rows = tasks.paper_rows(tasks.Task("x", Path("."), card, dense_, dense_, None, None, None))
    assert [set(r.network.thresholds.values()) for r in rows] == [{0.001}, {0.001 / 255}] * 3
    zeros = [1 - r.network.static_total("nonzero_weights") / r.network.static_total("weights") for r in rows]
    assert zeros[:2] == [0, 0] and zeros[2:] == pytest.approx([0.79] * 4, abs=0.01)
    assert np.count_nonzero(rows[2].network.layers[0].synapses[0].weight) != np.count_nonzero(rows[4].network.layers[0].synapses[0].weight)
    assert len({json.dumps(r.identity, sort_keys=True) for r in rows}) == 6
