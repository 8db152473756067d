"""The part of the benchmark that prices: one recorded run on thousands of configurations, and large networks."""

import json
import os
import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import workloads
from figures import Figure, ratio
from measure import Contender, alternate

import neurosim as ns
from neurosim.network import Layer, Network, OutputPart
from neurosim.pricing import price
from neurosim.pricing.family import price as family
from neurosim.pricing.family.cells import Cells, lay_out
from neurosim.pricing.family.core_work import Mapping
from neurosim.pricing.family.tabulate import tabulate
from neurosim.pricing.family.terms import encode
from neurosim.program import LayerSlice, Program
from neurosim.synapses import INPUT, Synapses
from neurosim.trace import Trace

CONFIGURATIONS = 1000
CHECKED = 20
MESH = 12
"""Tiles along each side of the mesh on which configurations are placed at random."""


def recorded(folder: Path, frames: int, channels: tuple[int, int, int, int]) -> Trace:
    """Nature-CNN on Pong at threshold 0.01, with its events."""
    stream = workloads.atari_frames("Pong", frames)
    path = folder / "pricing.onnx"
    workloads.nature_cnn(path, stream, channels=channels)
    return ns.simulate(ns.set_thresholds(ns.load(path), 0.01), stream, record="events", reference="none")


def random_cuts(network: Network, rng: np.random.Generator) -> tuple[LayerSlice, ...]:
    """Row bands x blocks of 16 channels of every layer, at random."""
    slices: list[LayerSlice] = []
    for i, layer in enumerate(network.layers):
        height, width, channels = layer.shape
        rows = _edges(rng, height, 1, 4)
        blocks = _edges(rng, channels // 16, 16, 4) if channels > 16 else [0, channels]
        storage = ("dense" if layer.kind == "full" else "convolution",)
        slices += [LayerSlice(i, len(slices) + k, (a, b), (0, width), (c, d), storage)
                   for k, ((a, b), (c, d)) in enumerate((r, c) for r in zip(rows, rows[1:]) for c in zip(blocks, blocks[1:]))]
    return tuple(slices)


def _edges(rng: np.random.Generator, size: int, unit: int, most: int) -> list[int]:
    n = int(rng.integers(1, min(size, most) + 1))
    return [0, *(np.sort(rng.choice(np.arange(1, size), n - 1, replace=False)) * unit).tolist(), size * unit]


def random_programs(trace: Trace, chip: ns.Chip, n: int) -> list[Program]:
    """Configurations of random cuts at random places."""
    rng, found = np.random.default_rng(0), []
    names = tuple(layer.name for layer in trace.network.layers)
    for _ in range(n):
        slices = random_cuts(trace.network, rng)
        seats = rng.permutation(MESH * MESH)[: len(slices)]
        tiles = np.stack([seats % MESH, seats // MESH], 1).astype(np.int64)
        found.append(Program(chip, trace.network.name, trace.network.sha256, names, slices, tiles, (0, 0), (MESH, MESH)))
    return found


def batch_of(trace: Trace, programs: list[Program]) -> tuple[Cells, family.Tables, family.Batch]:
    """Configurations as the kernel takes them, and the tables of the run."""
    slices = {id(p.slices): p.slices for p in programs}
    tables = family.Tables(lay_out(trace, list(slices.values())), trace)
    terms = encode(tables.cells, family._row_neurons(programs, slices))
    mappings = {key: Mapping(tables.cells, terms, k, trace) for k, key in enumerate(slices)}
    list(tables.blocks())
    known = family.Known()
    keys = [known.load_key(p) for p in programs]
    order = sorted(range(len(programs)), key=lambda i: keys[i])
    chosen = [programs[i] for i in order]
    return tables.cells, tables, family.Batch(tables, terms, chosen, [mappings[id(p.slices)] for p in chosen], [keys[i] for i in order], known)


def pricing(folder: Path, quick: bool, rounds: int, frames: int, channels: tuple[int, int, int, int]) -> Iterator[Figure]:
    """Cells and kernel of random configurations; the command; a large network."""
    trace, n = recorded(folder, frames, channels), 40 if quick else CONFIGURATIONS
    mesh = {"noc.width": MESH, "noc.height": MESH, "noc.cores_per_tile": 1}
    names = ("", "ours ms")
    for chip_name, goal in (("loihi2", 35.0), ("loihi1_silicon_fit", None)):
        chip = ns.Chip.load(chip_name).with_settings(mesh)
        programs = random_programs(trace, chip, n)
        cells, tables, batch = batch_of(trace, programs)
        times = alternate({"build": Contender(lambda c=cells: tabulate(c, trace, 0, trace.n_recorded), 1),
                           "price": Contender(lambda b=batch, t=tables: b.add(t.kept, 0), 1)}, rounds)
        build, priced = times["build"] / 1e3, times["price"] / 1e3
        if chip_name == "loihi2":
            events = trace.event_element.size / trace.n_recorded
            yield Figure("pricing", f"building the cells, {events:,.0f} events per timestep", build, "ms", 100.0, False, names, ours=build)
        yield Figure("pricing", f"{n} configurations, {chip_name}, step times", priced, "ms", goal, False, names, ours=priced)
        start = time.thread_time_ns()
        reports = family.price_family(trace, programs)
        whole = (time.thread_time_ns() - start) / 1e6
        yield Figure("pricing", f"the same with cells, encoding and reports, {chip_name}", whole, "ms", names=names, ours=whole)
        yield from _checked(trace, chip, programs, reports, priced / n)
    if not quick:
        yield from _commands(folder, trace)
        yield from _large()


def _checked(trace: Trace, chip: ns.Chip, programs: list[Program], reports: list, fast_ms: float) -> Iterator[Figure]:
    """The first of them counted event by event: the same times and energies, or an error."""
    from neurosim.mapping import _routed
    from neurosim.mapping import axons as axon_table
    from neurosim.mapping.cut import reaches_of

    reaches, spent = reaches_of(trace.network), 0.0
    checked = programs[:: max(1, len(programs) // CHECKED)][:CHECKED]
    for program, report in zip(checked, reports[:: max(1, len(programs) // CHECKED)], strict=False):
        routed = _routed(program, trace.network, axon_table.build(trace.network, program.slices, reaches, chip.core), verify=False)
        start = time.thread_time_ns()
        exact = price(trace, routed)
        spent += (time.thread_time_ns() - start) / 1e6
        np.testing.assert_allclose(report.latency.per_timestep_s, exact.latency.per_timestep_s, rtol=1e-9)
        assert report.energy.counts == exact.energy.counts
    yield ratio("pricing", f"{len(checked)} counted event by event, equal; {chip.name}", spent / len(checked), fast_ms,
                names=("by events ms", "by cells ms"))


def _commands(folder: Path, trace: Trace) -> Iterator[Figure]:
    """`neurosim compare` in a process of its own: wall time and memory."""
    saved = folder / "pricing.trace"
    trace.save(saved)
    cores = "core.neurons=" + ",".join(str(256 * k) for k in range(1, 11))
    memory = "core.synapse_memory=" + ",".join(f"{64 * k} KiB" for k in range(1, 6))
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    for widths, statics, wall_goal, memory_goal in ((10, 2, 3.0, None), (20, 10, 10.0, 1000.0)):
        command = [sys.executable, "-m", "neurosim", "compare", str(saved), "--chips", "loihi2", "--set", cores, "--set", memory,
                   "--set", "noc.width=" + ",".join(str(12 + k) for k in range(widths)),
                   "--set", "static_power.per_chip=" + ",".join(f"{200 + k} mW" for k in range(statics)), "--json"]
        walls = []
        for _ in range(3):
            start = time.perf_counter()
            done = subprocess.run(command, capture_output=True, check=True, cwd=workloads.ROOT, env=environment)
            walls.append(time.perf_counter() - start)
        rows = len(json.loads(done.stdout)["rows"])
        wall = float(np.median(walls))
        yield Figure("pricing", f"neurosim compare, {rows:,} configurations (wall)", wall, "s", wall_goal, False, ("", "ours s"), ours=wall)
        if memory_goal is not None:
            peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss / 1e3
            yield Figure("pricing", "its memory at most", peak, "MB", memory_goal, False, ("", "ours MB"), ours=peak)


def _large() -> Iterator[Figure]:
    """Map and price a network of 30 million synapses, in a process of its own."""
    code = "import sys; sys.path.insert(0, 'benchmarks'); import pricing; pricing.large()"
    start = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, cwd=workloads.ROOT,
                          env=os.environ | {"PYTHONPATH": str(workloads.ROOT)})
    wall, (seconds, peak, cores) = time.perf_counter() - start, json.loads(done.stdout.splitlines()[-1])
    yield Figure("pricing", f"29 million synapses on {cores} cores of 3 chips loihi2, mapped and priced (wall)", seconds, "s", 60.0, False,
                 ("with its simulation s", "ours s"), reference=wall, ours=seconds)
    yield Figure("pricing", "its memory at most", peak, "MB", 4000.0, False, ("", "ours MB"), ours=peak)


def large() -> None:
    """4096-4096-3072 full synapses (29.4 million) and a head, 20 timesteps; prints seconds, peak MB and cores."""
    rng = np.random.default_rng(0)
    sizes = (4096, 4096, 3072, 16)
    layers = tuple(
        Layer(f"fc{i}", (1, 1, n_out), (Synapses("full", i - 1 if i else INPUT, (1, 1, n_in), (1, 1, n_out),
                                                 rng.integers(-127, 128, (n_out, n_in)) / 4096),), np.zeros(n_out))
        for i, (n_in, n_out) in enumerate(zip(sizes, sizes[1:])))
    from neurosim.network import Input

    network = Network("large", Input("x", (sizes[0],)), layers, (OutputPart(len(layers) - 1, np.arange(sizes[-1])[None]),))
    trace = ns.simulate(network, workloads.few_changes(20, sizes[0]), reference="none", record="events")
    start = time.perf_counter()
    program = ns.compile(network, ns.Chip.load("loihi2").with_settings({"chips": 3}))
    ns.price(trace, program)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    print(json.dumps([time.perf_counter() - start, peak, program.cores_used]))
