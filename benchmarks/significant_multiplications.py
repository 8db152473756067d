"""Multiplications against score, from the shipped weights: docs/results.md in one command.

    python benchmarks/significant_multiplications.py            # every pair models/X, models/X_sparse
    python benchmarks/significant_multiplications.py --quick    # few episodes: everything runs, little is proved
    python benchmarks/significant_multiplications.py --episodes 96,breakout_ppo=960

writes --json and --markdown with its pictures. Finished chunks of episodes are kept in --cache, so
a run that was stopped goes on. Same seeds, same machine, same bytes.
"""

from __future__ import annotations

import argparse
import json
import shlex
import sys
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from significant import energy, markdown
from significant.controls import control_rows, rotating_planes
from significant.rows import describe, knee
from significant.tally import PRICING, Cache, Player, Tally, sources, versions
from significant.tasks import (
    CLAIM_SEED,
    FAR_GAMES,
    FAR_GOAL,
    FLOOR,
    PAPER,
    PLAIN,
    STICKY,
    TRAINING_SEED,
    Protocol,
    Row,
    Task,
    curve_rows,
    find,
    main_rows,
    paper_rows,
)

from neurosim.errors import LoadError, NeurosimError
from neurosim.view.documents import to_json

ROOT = Path(__file__).parents[1]


@dataclass(frozen=True)
class Plan:
    """How much is played.

    Parameters
    ----------
    episodes : int
        Of the claim and of the dense and the random policy, under the first protocol.
    others : int
        Of the other rows: the second protocol, curves, the paper's points and controls.
    chunk : int
        Episodes that are played, and kept in the cache, at a time.
    frames : int or None
        Games are cut after so many frames (Atari); None plays full games.
    """

    episodes: int = 96
    others: int = 24
    chunk: int = 24
    frames: int | None = None
    seed: int = CLAIM_SEED


QUICK = Plan(episodes=4, others=2, chunk=2, frames=4_000)
QUICK_FACTOR = 8
"""Tasks without screens play so many times more episodes in a quick run: they cost that much less."""


def main(arguments: list[str] | None = None) -> None:
    options = parsed(arguments)
    plan = QUICK if options.quick else Plan(options.episodes[""], options.other_episodes, seed=options.seed)
    try:
        tasks = find(options.models, options.tasks)
        _check_names(options.episodes, tasks)
        player = Player(Cache(options.cache), options.workers, plan.chunk, say=lambda text: print(text, flush=True))
        plans = {task.name: replace(plan, episodes=options.episodes.get(task.name, plan.episodes)) for task in tasks}
        results = [run_task(task, plans[task.name], player, options.quick) for task in tasks]
    except NeurosimError as error:
        sys.exit(f"error: {error}")
    document = {
        "schema": "neurosim.significant/1",
        "quick": options.quick,
        "command": options.command,
        "floor": FLOOR,
        "versions": versions(),
        "far_goal": {"vs_dense": FAR_GOAL, "games": FAR_GAMES},
        "tasks": results,
    }
    document = json.loads(to_json(document))
    options.json.parent.mkdir(parents=True, exist_ok=True)
    options.json.write_text(json.dumps(document, indent=1) + "\n")
    markdown.write(document, options.markdown, options.json.parent)
    print(markdown.summary(document))
    print(f"{options.markdown}, {options.json}")


def parsed(arguments: list[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--quick", action="store_true", help="few and short games: minutes for all tasks, and hardly a proof")
    parser.add_argument("--tasks", metavar="A,B", help="dense model folders; by default all that have a sparse partner")
    parser.add_argument("--models", type=Path, action="append", help="folder of model folders (models/); may be repeated")
    parser.add_argument("--episodes", type=counts, metavar="N[,TASK=N]", help=f"of the claim and what it is held against ({Plan.episodes})")
    parser.add_argument("--other-episodes", type=int, metavar="N", help=f"of all other rows ({Plan.others})")
    parser.add_argument("--seed", type=int, metavar="S", help=f"episode i of every row starts from seed S + i ({Plan.seed:,})")
    parser.add_argument("--workers", type=int, default=2, help="processes")
    parser.add_argument("--json", type=Path, default=ROOT / "docs" / "figures" / "significant.json")
    parser.add_argument("--markdown", type=Path, default=ROOT / "docs" / "results.md")
    parser.add_argument("--cache", type=Path, default=Path.home() / ".cache" / "neurosim" / "significant.jsonl")
    options = parser.parse_args(arguments)
    sizes = {"--episodes": options.episodes, "--other-episodes": options.other_episodes, "--seed": options.seed}
    given = [name for name, value in sizes.items() if value is not None]
    if options.quick and given:
        parser.error(f"--quick plays few games of its own: leave out {', '.join(given)}")
    options.tasks = list(dict.fromkeys(options.tasks.split(","))) if options.tasks else None
    options.episodes = {"": Plan.episodes} | (options.episodes or {})
    options.other_episodes = Plan.others if options.other_episodes is None else options.other_episodes
    options.seed = Plan.seed if options.seed is None else options.seed
    if min(*options.episodes.values(), options.other_episodes, options.workers) < 1 or options.seed < 0:
        parser.error("episodes and workers are 1 or more, the seed 0 or more")
    last = options.seed + max(*options.episodes.values(), options.other_episodes)
    if last > TRAINING_SEED:
        parser.error(f"seeds {options.seed}..{last - 1} reach those of training, which start at {TRAINING_SEED}")
    options.command = repeatable(options)
    options.models = options.models or [ROOT / "models"]
    return options


def _check_names(episodes: dict[str, int], tasks: list[Task]) -> None:
    names = [task.name for task in tasks]
    unknown = [name for name in episodes if name and name not in names]
    if unknown:
        raise LoadError(f"--episodes: no task {', '.join(unknown)}; there are: {', '.join(names)}")


def counts(text: str) -> dict[str, int]:
    """``96,breakout_ppo=960``: episodes of all tasks (under ""), and of single ones."""
    pairs = [part.rpartition("=") for part in text.split(",")]
    return {name: int(number) for name, _, number in pairs}


def repeatable(options: argparse.Namespace) -> str:
    """The command that gives the same figures."""
    words = ["python", "benchmarks/significant_multiplications.py"] + ["--quick"] * options.quick
    words += ["--tasks", ",".join(options.tasks)] if options.tasks else []
    for folder in options.models or []:
        words += ["--models", str(folder)]
    if not options.quick:
        episodes = ",".join(f"{name}={n}" if name else str(n) for name, n in options.episodes.items())
        given = {"episodes": episodes, "other-episodes": str(options.other_episodes), "seed": str(options.seed)}
        usual = {"episodes": str(Plan.episodes), "other-episodes": str(Plan.others), "seed": str(Plan.seed)}
        for name, value in given.items():
            words += [f"--{name}", value] if value != usual[name] else []
    return shlex.join(words)


def run_task(task: Task, plan: Plan, player: Player, quick: bool) -> dict[str, Any]:
    """All figures of one task."""
    print(f"{task.name}: {task.env_id}", flush=True)
    factor = QUICK_FACTOR if quick and not task.is_atari else 1
    n, few = plan.episodes * factor, plan.others * factor
    protocols = [STICKY, PAPER] if task.is_atari else [PLAIN]
    rows = main_rows(task)
    claim = "both" if task.both is not None else "delta"
    mains = {p.key: _main(rows, claim, task, p, plan, player, n if i == 0 else few, few) for i, p in enumerate(protocols)}
    first = protocols[0]
    return {
        "name": task.name,
        "env": task.env_id,
        "preprocess": task.card.env.preprocess,
        "seed": plan.seed,
        "frames": plan.frames if task.is_atari else None,
        "goal": {"vs_dense": task.goal.vs_dense, "vs_zero_skip": task.goal.vs_zero_skip},
        "claim": claim,
        "protocols": {p.key: {"title": p.title, "rows": mains[p.key]} for p in protocols},
        "curve": _curve(task, first, plan, player, few),
        "paper": _measured(paper_rows(task), task, first, plan, player, few) if task.is_atari else [],
        "controls": _measured(control_rows(task, player, first, plan.frames), task, first, plan, player, few),
        "planes": _planes(task),
        "energy": {row.key: _energy(task, row, player, plan) for row in rows if row.network is not None},
    }


def _main(
    rows: list[Row], claim: str, task: Task, protocol: Protocol, plan: Plan, player: Player, episodes: int, others: int
) -> list[dict[str, Any]]:
    """The main rows: the claim and what it is held against over all episodes, the rest over as many as the other rows."""
    proof = [row for row in rows if row.key in ("dense", "random", claim)]
    measured = _measured(proof, task, protocol, plan, player, episodes)
    measured += _measured([row for row in rows if row not in proof], task, protocol, plan, player, min(episodes, others))
    order = [row.key for row in rows]
    return sorted(measured, key=lambda figures: order.index(figures["key"]))


def _measured(rows: list[Row], task: Task, protocol: Protocol, plan: Plan, player: Player, episodes: int) -> list[dict[str, Any]]:
    """Play rows under a protocol; scores against the dense and the random policy on the same seeds."""
    spec = task.spec(protocol, plan.frames)
    references = {row.key: player.play(row, spec, episodes, plan.seed) for row in main_rows(task) if row.key in ("dense", "random")}
    return [
        describe(
            row, _tally(references, row, lambda r: player.play(r, spec, episodes, plan.seed)), references["dense"], references["random"]
        )
        for row in rows
    ]


def _tally(played: dict[str, Tally], row: Row, play: Any) -> Tally:
    return played[row.key] if row.key in played else play(row)


def _curve(task: Task, protocol: Protocol, plan: Plan, player: Player, episodes: int) -> dict[str, Any]:
    rows = _measured(curve_rows(task), task, protocol, plan, player, episodes)
    return {"rows": rows, "knee": knee(rows)}


def _planes(task: Task) -> dict[str, Any] | None:
    if not task.is_atari or not (task.folder / "golden.npz").is_file():
        return None
    golden = np.load(task.folder / "golden.npz")
    return rotating_planes(task.pruned or task.dense, golden["obs"], golden["episode_start"])


def _energy(task: Task, row: Row, player: Player, plan: Plan) -> dict[str, Any]:
    key = {"energy": row.identity["network"], "thresholds": row.identity["thresholds"], "task": task.env_id, "seed": plan.seed,
           "decisions": energy.DECISIONS, "chips": energy.digests(), "preprocess": task.card.env.preprocess, "kwargs": task.card.env.kwargs, "pricing": sources(*PRICING)}  # fmt: skip
    return player.cache.get(key, lambda: energy.energies(task, row.network, plan.seed))


if __name__ == "__main__":
    main()
