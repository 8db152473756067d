"""The claim of `tune`: candidates on seeds or inputs that no trial saw.

Scores are tested in a fixed sequence, dearest first: on to a cheaper setting while the one before is
proved. The order is settled before any claim seed is played and the first failure ends the claim, so
the probability that any setting below the floor is called proved stays that of a single test, without
a correction for their number (fixed-sequence testing; Maurer, Hothorn, Lehmacher 1995).
"""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

from neurosim.explore.tune.recorded import ErrorTask
from neurosim.explore.tune.result import Claim, Tested
from neurosim.explore.tune.score import ScoreTask
from neurosim.explore.tune.search import Progress, Trial, from_dict
from neurosim.explore.tune.storage import Storage


def claim_score(task: ScoreTask, trials: list[Trial], storage: Storage, progress: Progress) -> Claim:
    """Test candidates on the claim seeds, dearest first, until one fails; the last one proved is the result.

    Each is tested by the lower end of its two-sided 95 % interval. A further claim on the same
    storage, made with the results of earlier ones known, has half the error of the one before.
    """
    candidates = task.chosen_candidates(trials)
    seeds = task.claim_seeds
    earlier = storage.round_of(json.dumps([seeds.first, seeds.episodes, [asdict(c.setting) for c in candidates]])) if candidates else 0
    level = task.level(earlier)
    yardstick = task.yardstick(seeds, storage, progress)
    tested: list[Tested] = []
    for trial in candidates:

        def play(trial: Trial = trial) -> dict[str, Any]:
            run, shares = task.measure_claim(trial.setting.apply(task.network), yardstick, level, progress)
            return {"run": run.to_dict(), "shares": shares}

        found = storage.remembered(f"claim {seeds} at {level!r}: {json.dumps(asdict(trial.setting))}", play)
        run = from_dict(found["run"])
        tested.append(Tested(trial, run, found["shares"], task.proves(run, level), task.would_prove(run, yardstick, level)))
        if not tested[-1].proved:
            break
    facts = {"seed": seeds.first, "episodes": seeds.episodes, **yardstick.to_dict()}
    return Claim(True, level, len(candidates), earlier, tuple(tested), _score_statement(task, trials, tested), facts)


def _score_statement(task: ScoreTask, trials: list[Trial], tested: list[Tested]) -> str:
    wanted = f"score {task.floor:g} or more at 95 % confidence on seeds {task.claim_seeds}"
    if not tested:
        games = task.expected_need(trials)
        enough = f"by its scores and their spread about {games:,} games would be needed" if games else "its scores are below; more trials"
        return f"NOT proved: {wanted}: no setting of the search is expected to reach it; {enough}, or a lower floor"
    proved = [t for t in tested if t.proved]
    shown = proved[-1] if proved else tested[0]
    r = shown.measured
    found = f"score {r.value:.4f}, interval {r.low:.4f} .. {r.high:.4f}, {r.macs:,.6g} MACs per decision"
    if r.distinct != task.claim_seeds.episodes:
        found += f" ({r.distinct:,} distinct games of {task.claim_seeds.episodes:,})"
    if proved:
        return f"proved: {wanted}: {found}"
    unit = "episodes" if r.distinct == task.claim_seeds.episodes else "distinct games"
    needed = f"with this score and spread {shown.needed:,} {unit} would be needed" if shown.needed else "no number of episodes would do"
    return f"NOT proved: {wanted}: {found}; {needed}"


def claim_error(task: ErrorTask, front: list[Trial]) -> Claim:
    """Run candidates on the claim's inputs: a measurement of those inputs, no statement about others."""
    tested: list[Tested] = []
    candidates = task.chosen_candidates(front)
    for trial in candidates:
        run, shares = task.measure_claim(trial.setting.apply(task.network))
        tested.append(Tested(trial, run, shares, task.shortfall(run) <= 0))
        if tested[-1].proved:
            break
    inputs = task.claim or task.stream
    facts = {"inputs": {"sha256": inputs.sha256, "n": len(inputs.inputs)}}
    return Claim(task.claim is not None, None, len(candidates), 0, tuple(tested), _error_statement(task, tested), facts)


def _error_statement(task: ErrorTask, tested: list[Tested]) -> str:
    bounds = [f"relative error {task.max_error:g} or less"] if task.max_error is not None else []
    bounds += [f"same argmax in {task.min_agreement:.4%} or more"] if task.min_agreement is not None else []
    n = len((task.claim or task.stream).inputs)
    where = f"{n:,} held-out inputs" if task.claim else f"the {n:,} inputs of the search itself (none were held out)"
    wanted = f"{' and '.join(bounds)} on {where}"
    if not tested:
        return f"NOT met: {wanted}: no setting of the search keeps it; more trials, or a looser bound"
    last = tested[-1]
    r, macs = last.reduction, last.measured.macs
    found = f"error {r['error']:.4g}, same argmax in {r['agreement']:.2%}, {macs:,.6g} MACs per timestep"
    return f"{'met' if last.proved else 'NOT met'}: {wanted}: {found}"
