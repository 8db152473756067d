"""A study of 20 runs on 500 (or --large: 10,000) chips each: time with one process and with two, and the driver's memory.

    python benchmarks/study.py [--large]
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np

ROOT = Path(__file__).parents[1]
THRESHOLDS = [0, 0.001, 0.002, 0.003, 0.004, 0.005, 0.006, 0.007, 0.008, 0.01, 0.012, 0.015, 0.02, 0.025, 0.03, 0.04, 0.05, 0.06, 0.08, 0.1]
CHIPS = {"chip": ["loihi2", "loihi1_silicon_fit"], "core.neurons": [16, 20, 24, 28, 32, 40, 48, 64, 80, 96],
         "core.synapse_memory": ["16 KiB", "24 KiB", "32 KiB", "64 KiB", "128 KiB"], "noc.width": [4, 6, 8, 12, 16]}
LARGE = {"noc.height": [4, 6, 8, 12], "cost.neuron_update.energy": ["40 pJ", "60 pJ", "80 pJ", "100 pJ", "120 pJ"]}
GOAL_S, GOAL_RATIO, GOAL_MB = 60.0, 1.8, 500
RUN = """
import json, resource, sys, time
from neurosim.explore.study import read_study, run_study
if __name__ == "__main__":
    begun = time.perf_counter()
    done = run_study(read_study(sys.argv[1]), sys.argv[2], workers=int(sys.argv[3]))
    print(json.dumps([time.perf_counter() - begun, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, done.rows]))
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--large", action="store_true", help="200,000 rows")
    large = parser.parse_args().large
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        _write(folder, CHIPS | (LARGE if large else {}))
        _run(folder, "warm", 1, "warm.yaml")  # the compiler's time is not the study's
        figures = {workers: _run(folder, f"w{workers}", workers, "study.yaml") for workers in (1, 2)}
        same = len({(folder / f"w{workers}" / "table.parquet").read_bytes() for workers in figures}) == 1
    (one, _, rows), (two, megabytes, _) = figures[1], figures[2]
    print(f"{rows:,} rows of 20 runs: {one:.1f} s with one process, {two:.1f} s with two (goal {GOAL_S:.0f} s: {_met(two <= GOAL_S)})")
    print(f"two processes are {one / two:.2f} times one (goal {GOAL_RATIO}: {_met(one / two >= GOAL_RATIO)})")
    print(f"memory of the driver {megabytes:.0f} MB (goal {GOAL_MB} MB: {_met(megabytes < GOAL_MB)}); tables equal: {same}")


def _write(folder: Path, prices: dict) -> None:
    rng = np.random.default_rng(0)
    np.save(folder / "x.npy", np.cumsum(rng.normal(0, 0.05, (1000, 8)), axis=0).astype(np.float32))
    study = {"name": "study", "workload": {"inputs": "x.npy"}, "prices": prices,
             "runs": {"model": [str(ROOT / "models" / "lunarlander_dqn" / "policy.onnx")], "threshold": THRESHOLDS}}
    (folder / "study.yaml").write_text(json.dumps(study))  # JSON is YAML
    few = study | {"runs": study["runs"] | {"threshold": [0.01]}, "prices": {**prices, "core.neurons": [16, 32]}}
    (folder / "warm.yaml").write_text(json.dumps(few))


def _run(folder: Path, out: str, workers: int, study: str) -> tuple[float, float, int]:
    done = subprocess.run([sys.executable, "-c", RUN, str(folder / study), str(folder / out), str(workers)], check=True, capture_output=True,
                          text=True)
    return tuple(json.loads(done.stdout))


def _met(goal: bool) -> str:
    return "met" if goal else "MISSED"


if __name__ == "__main__":
    main()
