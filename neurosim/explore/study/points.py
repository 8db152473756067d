"""Points of a study -> runs to be simulated and chunks to be priced, each named by a hash of all that it depends on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import islice, product
from pathlib import Path
from typing import Any

import numpy as np

from neurosim import counters
from neurosim.chip import Chip
from neurosim.errors import ChipError, LoadError
from neurosim.explore.study.spec import Range, Study, Value
from neurosim.network import Network
from neurosim.version import __version__

Settings = Mapping[str, Value]


def digest(data: Any) -> str:
    """SHA-256 of plain JSON values, 32 hexadecimal digits."""
    return hashlib.sha256(json.dumps(data, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:32]


@dataclass(frozen=True)
class Run:
    """One combination of the axes of `runs`: simulated once."""

    key: str
    settings: Settings


@dataclass(frozen=True)
class Chunk:
    """Combinations of the axes of `prices` for one run: priced, and kept, together."""

    key: str
    run: Run
    candidates: tuple[Settings, ...]


@dataclass(frozen=True)
class Plan:
    """What a generation consists of; chunks in the order of the table."""

    runs: tuple[Run, ...]
    chunks: tuple[Chunk, ...]

    @property
    def work(self) -> tuple[Chunk, ...]:
        """Chunks in the order in which they are best priced: those with the same candidates one after the other."""
        place: dict[str, int] = {}
        order = []
        for chunk in self.chunks:
            order.append(place.get(chunk.run.key, 0))
            place[chunk.run.key] = order[-1] + 1
        return tuple(self.chunks[i] for i in sorted(range(len(order)), key=lambda i: order[i]))


class Sources:
    """Digests of the files that a study names; every file is read once, and what is wrong in it is said before anything runs.

    Raises
    ------
    NeurosimError
        For files that cannot be read, chips that do not exist, and chip fields or values that are invalid.
    """

    def __init__(self, study: Study) -> None:
        self.study = study
        self.runs: dict[str, str] = {}
        self.chips = {name: digest(chip.model_dump(mode="json")) for name, chip in self._chips().items()}
        self.workload = self._workload()
        for axis, read in (("model", self._model), ("trace", self._trace)):
            for name in study.runs.get(axis, ()):
                read(str(name))

    @property
    def digest(self) -> str:
        """Digest of the study and of all that it names."""
        return digest([self.study.model_dump(mode="json"), self.chips, self.workload, self.runs])

    def _chips(self) -> dict[str, Chip]:
        names = self.study.prices.get("chip", ())
        assert not isinstance(names, Range)
        chips = {str(name): load_chip(self.study.folder, str(name)) for name in names}
        problems = []
        for axis, values in self.study.prices.items():
            if axis == "arithmetic.weight_bits":
                problems.append("prices.arithmetic.weight_bits changes what is computed: put weight_bits into runs")
                continue
            some = [values.text(values.low), values.text(values.high)] if isinstance(values, Range) else values
            for chip, value in product(chips.values(), some if axis != "chip" else ()):
                try:
                    chip.with_settings({axis: value})
                except ChipError as error:
                    problems.append(str(error))
        if problems:
            raise ChipError("\n".join(dict.fromkeys(problems)))
        return chips

    def _workload(self) -> Any:
        work = self.study.workload
        if work is None:
            return None
        data = work.model_dump(mode="json")
        for name in ("inputs", "resets"):
            if data[name]:
                data[name] = file_digest(self.study, data[name].rpartition(":")[0] if ".npz:" in data[name] else data[name])
        if data["baseline"]:
            data["baseline"] = self._model(data["baseline"])
        return data

    def _trace(self, name: str) -> str:
        if name not in self.runs:
            self.runs[name] = file_digest(self.study, name)
        return self.runs[name]

    def _model(self, name: str) -> str:
        if name not in self.runs:
            network = load_model(self.study, name)
            _check_names(self.study, name, network)
            own, card = own_baseline(self.study, name), model_card(self.study, name)
            base = network if own == name else load_model(self.study, own)
            played = card.model_dump(mode="json", include={"env", "action"}) if card and card.env else None
            self.runs[name] = digest([network.sha256, network.thresholds, base.sha256, played])
        return self.runs[name]

    def run(self, settings: Settings) -> Run:
        """The run of some settings."""
        if "trace" in settings:
            return Run(digest(["trace", self._trace(str(settings["trace"])), __version__, counters.VERSION]), settings)
        model = self._model(str(settings["model"]))
        rest = {key: value for key, value in settings.items() if key != "model"}
        return Run(digest(["run", model, rest, self.workload, self.study.numerics, self._floor, __version__, counters.VERSION]), settings)

    @property
    def _floor(self) -> float | None:
        """Floor of the score under which a run is broken off: part of what a run is."""
        return self.study.bounds().get("score_low", (None, None))[0]

    def chunk(self, run: Run, candidates: tuple[Settings, ...]) -> Chunk:
        """A chunk of a run."""
        s = self.study
        options = [s.hypothetical, s.placement, s.balance, s.period]
        return Chunk(digest([run.key, run.settings, candidates, self.chips, options]), run, candidates)


def file_digest(study: Study, name: str) -> str:
    """SHA-256 of a file."""
    whole = hashlib.sha256()
    try:
        with open(study.path(name), "rb") as f:
            while part := f.read(1 << 20):
                whole.update(part)
    except OSError as error:
        raise LoadError(f"{study.path(name)}: {error.strerror}") from None
    return whole.hexdigest()


def load_chip(folder: str, name: str) -> Chip:
    """A chip of the library, or of a file of a study in `folder`."""
    return Chip.load(name if name in Chip.names() else Path(folder) / name)


def load_model(study: Study, name: str) -> Network:
    """A model with the thresholds of its card, if it has one."""
    from neurosim.loaders import load
    from neurosim.transforms import set_thresholds

    card = model_card(study, name)
    path = study.path(name)
    network = load(path, output=card.output) if card else load(path)
    return set_thresholds(network, card.thresholds) if card and card.thresholds is not None else network


def model_card(study: Study, name: str) -> Any:
    """The model card of a folder; None for a file."""
    from neurosim.model_card import read_card

    folder = study.path(name)
    return read_card(folder / "model.yaml") if (folder / "model.yaml").is_file() else None


def own_baseline(study: Study, name: str) -> str:
    """The network of the dense policy: the baseline of a model's card, else the model itself."""
    card = model_card(study, name)
    path = card.baseline_in(study.path(name)) if card else None
    return name if path is None else str(path)


def plan(sources: Sources, points: Sequence[tuple[Settings, Settings]]) -> Plan:
    """Runs and chunks of points (settings of the run, settings of the price), in order of first occurrence."""
    of_run: dict[str, tuple[Run, list[Settings]]] = {}
    for settings, price in points:
        run = sources.run(settings)
        of_run.setdefault(run.key, (run, []))[1].append(price)
    return Plan(tuple(run for run, _ in of_run.values()),
                tuple(chunk for run, prices in of_run.values() for chunk in _chunks(sources, run, iter(prices))))


def grid(sources: Sources) -> Plan:
    """Every combination; the last axis runs fastest. Combinations of prices are shared by all runs."""
    runs = [sources.run(settings) for settings in _product(sources.study.runs)]
    slices = [tuple(c) for c in _slices(_product(sources.study.prices), sources.study.chunk)]
    return Plan(tuple(runs), tuple(sources.chunk(run, part) for run in runs for part in slices))


def random_points(study: Study) -> list[tuple[Settings, Settings]]:
    """Points drawn independently, without repetition; fewer than asked for where there are no more."""
    rng, tries = np.random.default_rng(study.search.seed), 0
    found: dict[str, tuple[Settings, Settings]] = {}
    wanted = study.search.samples or 0
    while len(found) < wanted and tries < 20 * wanted + 1000:
        tries += 1
        point = {name: _draw(rng, axis) for name, axis in study.axes.items()}
        found.setdefault(digest(point), split(study, point))
    return list(found.values())


def split(study: Study, point: Settings) -> tuple[Settings, Settings]:
    """Settings of the run, and of the price, of a point."""
    return {name: point[name] for name in study.runs}, {name: point[name] for name in study.prices}


def _check_names(study: Study, name: str, network: Network) -> None:
    """Refuse layer names that a model does not have."""
    known = {"threshold": list(network.thresholds), "sparsity": [layer.name for layer in network.layers]}
    parts = {axis: axis.partition(".")[::2] for axis in study.runs}
    problems = [f"{axis}: {name} has no such name; choose from {', '.join(known[kind])}"
                for axis, (kind, layer) in parts.items() if layer and layer not in known[kind]]
    if problems:
        raise LoadError("\n".join(problems))


def _draw(rng: np.random.Generator, axis: Any) -> Value:
    if not isinstance(axis, Range):
        return axis[int(rng.integers(len(axis)))]
    if axis.integer and not axis.log:
        return axis.text(int(rng.integers(round(axis.low), round(axis.high), endpoint=True)))
    return axis.text(float(np.exp(rng.uniform(*np.log([axis.low, axis.high]))) if axis.log else rng.uniform(axis.low, axis.high)))


def _product(axes: Mapping[str, Any]) -> Iterator[Settings]:
    return (dict(zip(axes, values, strict=True)) for values in product(*axes.values()))


def _slices(settings: Iterator[Settings], size: int) -> Iterator[list[Settings]]:
    while part := list(islice(settings, size)):
        yield part


def _chunks(sources: Sources, run: Run, prices: Iterator[Settings]) -> Iterator[Chunk]:
    return (sources.chunk(run, tuple(part)) for part in _slices(prices, sources.study.chunk))

