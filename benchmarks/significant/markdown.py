"""The document: one table of all tasks first, then each task in full. Every figure comes from the JSON."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import matplotlib

from neurosim.control.statistics import fewest_episodes
from neurosim.units import show
from neurosim.view.results import score_curve, share_bars
from significant.tasks import CLAIM_SEED

Json = dict[str, Any]


def write(document: Json, path: Path, pictures: Path) -> None:
    """Write the Markdown and its pictures (significant_*.svg in `pictures`)."""
    for name, draw in _plots(document).items():
        _save(draw, pictures / f"significant_{name}.svg")
    folder = Path(os.path.relpath(pictures.resolve(), path.resolve().parent)).as_posix()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n\n".join([_head(document, folder), *(_task(task, document["floor"], folder) for task in document["tasks"])]) + "\n")


def summary(document: Json) -> str:
    """The table of all tasks, and the goals."""
    floor = document["floor"]
    header = ["task", "dense return", "event-driven return", "score", "MACs, dense", "MACs, event-driven", "fewer than dense",
              "fewer than zero-skip", "pruning x activation x delta", "games", "claim"]  # fmt: skip
    lines = []
    for task in document["tasks"]:
        rows = _main(task)
        row, macs = rows[task["claim"]], rows[task["claim"]]["macs"]
        cells = [f"[{task['name']}](#{task['name']})", _interval(rows["dense"]["mean_return"], rows["dense"]["ci95"]),
                 _interval(row["mean_return"], row["ci95"]), _score(row), _count(macs["dense"]), _count(macs["effective"]),
                 f"**{_times(macs['vs_dense'])}**", _times(macs["delta"]), _shares(macs), str(row["distinct_games"]), verdict(task, floor)]  # fmt: skip
        lines.append(cells)
    return "\n\n".join([_table(header, lines), _far(document)])


def verdict(task: Json, floor: float) -> str:
    """Whether the task's goal is reached, in plain words."""
    row, goal = _main(task)[task["claim"]], task["goal"]
    macs, low = row["macs"], row["score_ci95"][0]
    wanted = f"{goal['vs_dense']:g}x" + (f", {goal['vs_zero_skip']:g}x against zero-skip" if goal["vs_zero_skip"] else "")
    short = [f"{_times(macs[key])} of {goal[name]:g}x {what}" for key, name, what in
             (("vs_dense", "vs_dense", "against dense"), ("delta", "vs_zero_skip", "against zero-skip"))
             if goal[name] and not (macs[key] or 0) >= goal[name]]  # fmt: skip
    problems = [f"MISSED: {', '.join(short)}"] if short else []
    if not row["proved"]:
        problems.append(_unproved(row, floor))
    return "; ".join(problems) if problems else f"reached: {wanted}, score at least {low:.3f}"


def _unproved(row: Json, floor: float) -> str:
    """Why the score is not proved."""
    low, high = row["score_ci95"]
    least = fewest_episodes(floor)
    if row["score"] is None:
        return "not proven: the dense policy is no better than the random one in these games"
    if high is not None and high < floor:
        return f"MISSED: the score is below {floor:g} (at most {high:.3f})"
    if row["distinct_games"] < least:
        return f"not proven: {row['distinct_games']} distinct games, {max(least, row['episodes_needed'] or 0):,} are needed"
    needed = f"about {row['episodes_needed']:,} games would do" if row["episodes_needed"] else f"the mean itself is below {floor:g}"
    return f"not proven: lower bound {_fixed(low)}; {needed}"


def _far(document: Json) -> str:
    goal, games = document["far_goal"]["vs_dense"], document["far_goal"]["games"]
    there = [t["name"] for t in document["tasks"] if t["env"].startswith("ALE/") and _main(t)[t["claim"]]["proved"]
             and (_main(t)[t["claim"]]["macs"]["vs_dense"] or 0) >= goal]  # fmt: skip
    state = "reached" if len(there) >= games else "MISSED"
    return f"Goal past the paper: {goal:g}x at the same standard on at least {games} games: {state} ({', '.join(there) or 'none'})."


def _head(document: Json, pictures: str) -> str:
    floor, versions = document["floor"], document["versions"]
    quick = ("\n\n**This is a quick run: few games, cut short. It shows that everything works; it proves next to nothing.**"
             if document["quick"] else "")  # fmt: skip
    return f"""# Significant multiplications

Made by `{document["command"]}` from the shipped weights. How many multiplications (MACs) does a trained policy need per decision when its pruned network sends only changes, and does it still play as well?{quick}

{summary(document)}

![Which share of the saving comes from where]({pictures}/significant_shares.svg)

How to read it:

- **Score** = (R - R_random) / (R_dense - R_random), R in the game's own points over full games, all policies on the same seeds; a paired bootstrap over seeds (10,000 resamples) gives the 95 % interval, its lower end with one more seed on which the policy fails, as rare failures may go unseen. A reduction is claimed where the lower bound is at least {floor:g}, over at least {fewest_episodes(floor)} distinct games (fewer cannot exclude rare failures): of policies that lie at {floor:g} by failing outright now and then, about 2.5 % are called proved.
- **Dense**: one MAC per synapse and decision. **Zero-skip**: a machine that skips zero weights and zero activations of the same pruned network, but knows no time. **Event-driven**: synapses of non-zero weight met by a change, all decisions counted, the first of each game too.
- Dense / event-driven = pruning x activation sparsity x delta: dense / non-zero weights, that / zero-skip, that / event-driven. Zero-skip is measured on a sample of the decisions (every 128th with screens, every 8th without).
- **Pruned only**, without events, costs the non-zero MACs; tables say beside it what the same network would cost as events at threshold 0, where outputs are those of the dense evaluation. So does the row of the dense network.
- The dense policies are played as events at threshold 0 in float64: the same function as conventional inference to 13 digits.
- The primary protocol of Atari has sticky actions. Without them games repeat: means and intervals are over distinct games only (told apart by all actions and rewards).
- {_chosen_on(document["tasks"])} The curves are for finding the knee: several points share the same games, so a point on a curve is no claim.
- MACs are not everything: all operations of every row stand under its task.

neurosim {versions["neurosim"]}, counters version {versions["counters"]}, gymnasium {versions["gymnasium"]}, ale-py {versions["ale-py"]}, mujoco {versions["mujoco"]}, numpy {versions["numpy"]}. Same seeds, same machine: same bytes."""


def _chosen_on(tasks: list[Json]) -> str:
    """Whether these seeds are the benchmark's own."""
    if min(task["seed"] for task in tasks) >= CLAIM_SEED:
        return "Thresholds and weights were chosen on other seeds than these."
    return f"Thresholds and weights may have been chosen on some of these seeds (those below {CLAIM_SEED:,}), so nothing here is a claim about others."


def _task(task: Json, floor: float, pictures: str) -> str:
    cut = f", cut after {task['frames']:,} frames" if task["frames"] else ""
    fire = ", each life opened by FIRE" if task["preprocess"] == "atari_fire" else ""
    first = next(iter(task["protocols"].values()))["rows"]
    parts = [f"## {task['name']}\n\n{task['env']}{fire}, seeds from {task['seed']} on{cut}. {verdict(task, floor)}.", _sparsity(first)]
    for protocol in task["protocols"].values():
        parts.append(f"### {protocol['title'][0].upper()}{protocol['title'][1:]}\n\n{_returns(protocol['rows'])}")
        parts.append(_machines(protocol["rows"]))
    parts += [f"### All operations per decision\n\n{_operations(first)}", f"### Energy per decision\n\n{_energy(task)}"]
    parts.append(
        f"### Score against threshold\n\n{_knee(task, floor)}\n\n![Score against MACs]({pictures}/significant_{task['name']}.svg)\n\n{_curve(task)}"
    )
    if task["paper"]:
        parts.append(f"### The paper's points\n\n{_paper(task)}")
    parts.append(f"### Controls\n\n{_controls(task)}")
    if task["planes"]:
        parts.append(_planes(task["planes"]))
    return "\n\n".join(parts)


def _returns(rows: list[Json]) -> str:
    header = [
        "policy",
        "return",
        "score",
        "difference to dense, paired",
        "episodes",
        "distinct games",
        "same action as dense",
        "unchanged observations",
    ]
    return _table(header, [[r["title"], _interval(r["mean_return"], r["ci95"]), _score(r), _interval(r["paired"]["mean"], r["paired"]["ci95"]),
                            str(r["episodes"]), str(r["distinct_games"]), _percent(r["agreement"]), _percent(r["still_share"])] for r in rows])  # fmt: skip


def _machines(rows: list[Json]) -> str:
    header = ["MACs per decision", "dense", "non-zero", "zero-skip", "event-driven", "dense / event-driven", "pruning x activation x delta",
              "first of a game", "all others", "changed observations only", "worst", "worst after the first"]  # fmt: skip
    names = ("dense", "nonzero", "zero_skip", "effective")
    rest = ("first", "after_first", "changed", "worst", "worst_after_first")
    lines = [[_as_events(r), *(_count(r["macs"][n]) for n in names), _times(r["macs"]["vs_dense"]), _shares(r["macs"]),
              *(_count(r["macs"][n]) for n in rest)] for r in rows if r["macs"]["dense"]]  # fmt: skip
    return _table(header, lines)


def _as_events(row: Json) -> str:
    return f"{row['title']} (as events: threshold 0)" if row["key"] in ("dense", "pruned") else row["title"]


def _sparsity(rows: list[Json]) -> str:
    by_key = {row["key"]: row for row in rows}
    thresholds = [f"Thresholds ({by_key[key]['title']}): " + ", ".join(f"{name} {value:.3g}" for name, value in by_key[key]["thresholds"].items()) + "."
                  for key in ("delta", "both") if key in by_key]  # fmt: skip
    if "pruned" not in by_key:
        return " ".join(["There is no pruned network for this task.", *thresholds])
    s = by_key["pruned"]["sparsity"]
    layers = ", ".join(f"{name} {value:.1%}" for name, value in s["layers"].items())
    pruned = f"Pruned network: {s['weights']:.1%} of the weights are zero, and {s['macs']:.1%} of the MACs; per layer {layers}."
    return " ".join([pruned, *thresholds])


def _operations(rows: list[Json]) -> str:
    names = {"effective_macs": "MACs", "unweighted_ops": "unweighted", "neuron_updates": "neuron updates", "elementwise_ops": "activation functions",
             "input_compares": "input compares", "events": "events sent", "output_reads": "outputs read", "all_ops": "sum: all operations"}  # fmt: skip
    lines = [[_as_events(r), *(_count(r["operations"][n]) for n in names), _times(r["macs"]["dense"] / r["operations"]["all_ops"])]
             for r in rows if r["operations"]]  # fmt: skip
    note = "All operations = MACs + unweighted + neuron updates + input compares."
    return f"{_table(['event-driven', *names.values(), 'dense MACs / all operations'], lines)}\n\n{note}"


def _energy(task: Json) -> str:
    header = ["policy", "chip", "cores", "energy", "of it static", "range", "time", "energy of a control period", "of it static"]
    lines, notes = [], []
    for row in next(iter(task["protocols"].values()))["rows"]:
        measured = task["energy"].get(row["key"])
        for chip, e in (measured or {"chips": {}})["chips"].items():
            if "why_not" in e:
                lines.append([_as_events(row), chip, "-", f"not priced: {e['why_not']}", *["-"] * 5])
                continue
            least = "" if e["complete"] else ">= "
            cores = f"{e['cores']}{' (hypothetical)' if e['hypothetical'] else ''}"
            lines.append([_as_events(row), chip, cores, least + _unit(e["energy_j"], "J"), _unit(e["static_j"], "J"),
                          f"{_unit(e['low_j'], 'J')} .. {_unit(e['high_j'], 'J')}", _unit(e["time_s"], "s"),
                          least + _unit(e["period_j"], "J"), _unit(e["period_static_j"], "J")])  # fmt: skip
            if e["not_priced"]:
                notes.append(f"- {chip}: not published, so left out (>=): {', '.join(e['not_priced'])}.")
    measured = next(iter(task["energy"].values()))
    text = (f"Over the first {measured['decisions']:,} decisions from the first seed on; a control period is {_unit(measured['period_s'], 's')}, and static power "
            "then flows for all of it. `hypothetical`: more cores than the chip has.")  # fmt: skip
    return "\n\n".join([text, _table(header, lines), "\n".join(dict.fromkeys(notes))]).rstrip()


def _knee(task: Json, floor: float) -> str:
    found = task["curve"]["knee"]
    texts = []
    for name, what in (
        ("proved", f"fewest MACs with a lower bound of {floor:g} or more"),
        ("by_mean", f"fewest MACs with a mean score of {floor:g} or more"),
    ):
        k = found[name]
        texts.append(
            f"{what}: "
            + ("none of these points" if k is None else f"{_count(k['macs'])} ({_times(k['vs_dense'])}) at {k['key']} of the thresholds")
        )
    return f"Knee: {'; '.join(texts)}. {task['curve']['rows'][0]['episodes']} episodes per point."


def _curve(task: Json) -> str:
    return _table(
        ["point", "return", "score", "MACs per decision", "fewer than dense", "worst decision"], [_short(r) for r in task["curve"]["rows"]]
    )


def _paper(task: Json) -> str:
    text = ("One global threshold of 0.001 (Ivanov et al. 2023). On pixels / 255 one grey level is 0.0039, so every change of a screen is sent. "
            "On raw pixels all values of a ReLU network are 255 times as large, which here is a threshold of 0.001 / 255 everywhere. "
            "One-shot: magnitude pruning of the dense network without retraining, over all weights together (global) or in each layer.")  # fmt: skip
    header = ["point", "return", "score", "MACs per decision", "fewer than dense", "worst decision"]
    return f"{text}\n\n{_table(header, [_short(r) for r in task['paper']])}"


def _short(row: Json) -> list[str]:
    macs = row["macs"]
    return [
        row["title"],
        _interval(row["mean_return"], row["ci95"]),
        _score(row),
        _count(macs["effective"]),
        _times(macs["vs_dense"]),
        _count(macs["worst"]),
    ]


def _controls(task: Json) -> str:
    claim = _main(task)[task["claim"]]
    header = ["policy", "return", "score", "MACs per decision", "fewer than dense", "unchanged observations", "MACs on changed ones"]
    dense = claim["macs"]["dense"]
    lines = [[r["title"], _interval(r["mean_return"], r["ci95"]), _score(r), _count(r["macs"]["effective"]),
              _times(dense / r["macs"]["effective"] if r["macs"]["effective"] else None), _percent(r["still_share"]), _count(r["macs"]["changed"])]
             for r in [claim, *task["controls"]]]  # fmt: skip
    changed = _times(claim["macs"]["vs_dense_changed"])
    text = (f"{_percent(claim['still_share'])} of the event-driven policy's decisions were on an unchanged observation; over the others alone it needs {changed} "
            f"fewer MACs than dense. The first row repeats the claim; the others are {task['controls'][0]['episodes']} episodes each.")  # fmt: skip
    return f"{text}\n\n{_table(header, lines)}"


def _planes(planes: Json) -> str:
    fewer = _times(planes["shifting_events"] / planes["rotating_events"]) if planes["rotating_events"] else "-"
    rows = [["shifting (as trained)", _count(planes["shifting_events"]), _count(planes["shifting_macs"])],
            ["rotating, one sum per rotation", _count(planes["rotating_events"]), _count(planes["rotating_macs"])],
            ["rotating, a single sum (wrong outputs)", _count(planes["rotating_events"]), _count(planes["one_sum_macs"])]]  # fmt: skip
    text = ("The stack's planes shift by one each decision, so a change is sent once per plane. If the oldest plane were overwritten in place instead, "
            f"{fewer} fewer events would be sent. But then the planes' weights move round with each decision, and a running sum is right for one rotation "
            f"only: one sum per rotation must be kept, and each event meets the weights of all planes. Recorded screens, {planes['decisions']:,} decisions, threshold 0:")  # fmt: skip
    return f"### Frame stack\n\n{text}\n\n{_table(['layout', 'input events per decision', 'first-layer MACs per decision'], rows)}"


def _main(task: Json) -> dict[str, Json]:
    """Rows of the primary protocol by key."""
    return {row["key"]: row for row in next(iter(task["protocols"].values()))["rows"]}


def _table(header: list[str], lines: list[list[str]]) -> str:
    rows = [header, ["---"] + ["--:"] * (len(header) - 1), *lines]
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def _count(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}"


def _times(value: float | None) -> str:
    return "-" if value is None else f"{value:,.0f}x" if value >= 99.5 else f"{value:.3g}x"


def _percent(value: float | None) -> str:
    return "-" if value is None else f"{value:.1%}"


def _fixed(value: float | None) -> str:
    return "-" if value is None else f"{value:.3f}"


def _unit(value: float | None, unit: str) -> str:
    return "-" if value is None else show(value, unit)


def _interval(mean: float, ends: list[float | None]) -> str:
    return f"{mean:,.2f}" if ends[0] is None or ends[1] is None else f"{mean:,.2f} ({ends[0]:,.2f} .. {ends[1]:,.2f})"


def _score(row: Json) -> str:
    if row.get("score") is None:
        return "-"
    low, high = row["score_ci95"]
    return f"{row['score']:.3f} ({_fixed(low)} .. {_fixed(high)})"


def _shares(macs: Json) -> str:
    return " x ".join(_times(macs[name]) for name in ("pruning", "activation", "delta"))


def _plots(document: Json) -> dict[str, Any]:
    """Name -> function that draws on an Axes."""
    return {"shares": lambda ax: _draw_shares(ax, document["tasks"])} | {
        task["name"]: lambda ax, task=task: _draw_curve(ax, task, document["floor"]) for task in document["tasks"]
    }


def _draw_shares(ax: Any, tasks: list[Json]) -> None:
    macs = [_main(task)[task["claim"]]["macs"] for task in tasks]
    share_bars(ax, [task["name"] for task in tasks], *([m[name] or 1.0 for m in macs] for name in ("pruning", "activation", "delta")))


def _draw_curve(ax: Any, task: Json, floor: float) -> None:
    rows = [r for r in task["curve"]["rows"] if r["score"] is not None and r["macs"]["vs_dense"]]
    ends = [[r["score_ci95"][i] if r["score_ci95"][i] is not None else float("nan") for r in rows] for i in (0, 1)]
    found = task["curve"]["knee"]["by_mean"]
    score_curve(ax, [r["macs"]["vs_dense"] for r in rows], [r["score"] for r in rows], *ends, [r["key"] for r in rows], floor=floor,
                knee=found and found["vs_dense"])  # fmt: skip
    ax.set_title(f"{task['env']}, {task['name']}: {task['curve']['rows'][0]['episodes']} episodes per point", fontsize="medium")


def _save(draw: Any, path: Path) -> None:
    matplotlib.use("Agg")
    matplotlib.rcParams["svg.hashsalt"] = "neurosim"
    import matplotlib.pyplot as plt

    figure, ax = plt.subplots(figsize=(7.2, 4.2), layout="constrained")
    draw(ax)
    figure.savefig(path, metadata={"Date": None})
    plt.close(figure)
