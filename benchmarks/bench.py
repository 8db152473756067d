"""Every published figure, with its goal, in one run.

    make bench            (or: python benchmarks/bench.py [--only PART ...] [--quick] [--json PATH])

Times are medians of thread CPU time, one thread, batch 1, in microseconds per timestep; what is
compared takes turns, and the ratio is that of the medians (`measure`). onnxruntime runs the same
network on the same inputs, one per call; ours runs a stream in one compiled call, or step by
step from Python where a line says so. Byte frames stay bytes for ours, and are float32 for
onnxruntime before its clock starts; both divide by 255. Compilation is timed apart. Wall time
is used where a title says so, and nowhere else. Networks and inputs: `workloads`. Ceilings:
`roofline`. The parts and their goals: `parts`.

A missed goal has a second line: the MACs per timestep, their rate, and the share of the time
that they would take at the measured ceilings.
"""

import argparse
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
from figures import Figure, machine, shown, write
from parts import PARTS, Size
from workloads import CACHE, Weights, write_onnx

import neurosim as ns
from neurosim.errors import SimulationError
from neurosim.kernels import is_compiled


def first_run() -> dict:
    """Seconds until a tiny network has run, apart from loading it: its kernels compiled now, or loaded."""
    was_compiled, start = is_compiled(), time.perf_counter()
    with TemporaryDirectory() as folder:
        network = ns.load(write_onnx(Path(folder, "tiny.onnx"), [Weights(np.ones((1, 2)), np.zeros(1))], (2,)))
    loaded = time.perf_counter()
    ns.Simulator(network).run(np.zeros((2, 2), np.float32))
    return {"from_cache": was_compiled, "load_model_s": loaded - start, "first_run_s": time.perf_counter() - loaded}


def run(names: list[str], size: Size) -> tuple[list[Figure], dict[str, str]]:
    """Run parts and print their figures as they come; figures, and title or reason for having been skipped by part."""
    figures, notes = [], {}
    for name in names:
        title, part = PARTS[name]
        notes[name] = title.format(frames=size.frames)
        print(f"\n{name}: {notes[name]}")
        try:
            for figure in shown(part(size)):
                figures.append(figure)
        except (SimulationError, ImportError) as error:
            notes[name] += f"; skipped: {error}"
            print(f"  skipped: {error}", flush=True)
    return figures, notes


def main(arguments: list[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", nargs="+", choices=PARTS, metavar="PART", default=list(PARTS), help=", ".join(PARTS))
    parser.add_argument("--quick", action="store_true", help="small stand-ins, one round: to see that everything runs")
    parser.add_argument("--json", type=Path, default=CACHE / "results.json")
    given = parser.parse_args(arguments)
    print(", ".join(f"{name} {value}" for name, value in machine().items()))
    first = first_run()
    print(f"first run: {first['first_run_s']:.2f} s ({'kernels from the cache' if first['from_cache'] else 'kernels compiled'})")
    if given.quick:
        print("quick: small stand-ins for networks and inputs; the figures say nothing about speed")
    with TemporaryDirectory() as folder:
        figures, notes = run(given.only, Size.small(Path(folder)) if given.quick else Size(Path(folder)))
    goals = [figure.met for figure in figures if figure.goal is not None]
    print(f"\n{sum(goals)} of {len(goals)} goals met")
    write(given.json, figures, first, notes)
    print(f"written to {given.json}")


if __name__ == "__main__":
    main()
