"""Return and operations against the delta threshold: one command for the curves in docs/.

    python benchmarks/threshold_curve.py models/lunarlander_dqn --episodes 100

writes docs/figures/threshold_<model>.svg and .json. Needs matplotlib (the extra `plot`).
"""

import argparse
import json
from pathlib import Path

import matplotlib
import numpy as np

import neurosim as ns
from neurosim.control import DeltaPolicy, DensePolicy, RandomPolicy
from neurosim.control.environment import make_environment
from neurosim.control.rollout import play
from neurosim.control.statistics import mean_interval
from neurosim.counters import KERNEL_COLUMNS
from neurosim.model_card import read_card
from neurosim.view.plots import threshold_curve

THRESHOLDS = (0.0, 0.001, 0.003, 0.01, 0.02, 0.03, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("--episodes", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    card = read_card(arguments.model / "model.yaml")
    network = ns.load(arguments.model)
    env = make_environment(card.env.id, card.env.kwargs, card.env.preprocess)
    references = {
        name: play(env, policy, arguments.episodes, arguments.seed, name)[0].mean()
        for name, policy in (("dense", DensePolicy(network, env.action_space, card.action)), ("random", RandomPolicy(env.action_space)))
    }
    rows = []
    for threshold in THRESHOLDS:
        policy = DeltaPolicy(ns.set_thresholds(network, threshold), env.action_space, card.action, record="none")
        returns, lengths = play(env, policy, arguments.episodes, arguments.seed, "event-driven")
        macs = policy.simulator.totals()[1][:, KERNEL_COLUMNS.index("effective_macs")].sum() / lengths.sum()
        low, high = mean_interval(returns)
        rows.append({"threshold": threshold, "mean_return": returns.mean(), "low": low, "high": high, "macs_per_decision": float(macs)})
        print(
            f"threshold {threshold:<6g} return {returns.mean():8.2f} ({low:.2f} .. {high:.2f})  {macs:10,.0f} MACs per decision", flush=True
        )
    write(arguments, card, network, references, rows)


def write(arguments, card, network, references, rows) -> None:
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "neurosim"
    import matplotlib.pyplot as plt

    folder = Path(__file__).parents[1] / "docs" / "figures"
    folder.mkdir(parents=True, exist_ok=True)
    figure, ax = plt.subplots(figsize=(7.2, 4.2), layout="constrained")
    columns = [np.array([row[key] for row in rows]) for key in ("threshold", "mean_return", "low", "high", "macs_per_decision")]
    threshold_curve(
        ax, *columns, dense_return=references["dense"], random_return=references["random"], dense_macs=network.static_total("dense_macs")
    )
    ax.set_title(
        f"{card.env.id}, {card.name}: {arguments.episodes} episodes per point, seeds {arguments.seed}..{arguments.seed + arguments.episodes - 1}",
        fontsize="medium",
    )
    figure.savefig(folder / f"threshold_{card.name}.svg", metadata={"Date": None})
    document = {
        "model": card.name,
        "env": card.env.id,
        "episodes": arguments.episodes,
        "seed": arguments.seed,
        "dense_macs": network.static_total("dense_macs"),
        **{f"{k}_mean_return": v for k, v in references.items()},
        "rows": rows,
    }
    (folder / f"threshold_{card.name}.json").write_text(json.dumps(document, indent=2) + "\n")


if __name__ == "__main__":
    main()
