"""The Study: what is run, what each run is priced on, and how the points are chosen. Read from strict YAML, frozen.

    name: which-loihi2
    search: {kind: grid}              # or random / guided with samples, seed (guided: batch)
    workload: {inputs: frames.npz}    # or env, episodes, seed, preprocess, env_kwargs: played closed-loop
    runs:                             # each combination is simulated once
      model: [policy.onnx]
      threshold: [0, 0.01, 0.05]
    prices:                           # ... and priced on every combination of these
      chip: [loihi2]
      core.neurons: [256, 1024]
    objectives: [energy_j, latency_s, cores_used]
    constraints: {argmax_agreement: {min: 0.99}, latency_s: {max: 1 ms}}

An axis is a list of values, one value, or a range: ``{low: 0.001, high: 0.3, log: true}``, with ``integer: true`` or
``unit: KiB`` (not in a grid). Paths are relative to the study's file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from neurosim import strict_yaml, units
from neurosim.errors import LoadError
from neurosim.explore.study.figures import MAXIMISED, PRICE_FIGURES, RUN_FIGURES, UNITS

RUN_AXES = ("model", "trace", "sparsity", "threshold", "weight_bits", "schedule", "seed")
SEARCHED = ("random", "guided")
Value = str | int | float | bool | None


class _Strict(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class Range(_Strict):
    """Values between two ends, both included; evenly spread, or their logarithms."""

    low: float
    high: float
    log: bool = False
    integer: bool = False
    unit: str | None = None

    def text(self, value: float) -> Value:
        """A value as it stands in a table and in a chip file: six significant digits, with the unit."""
        number: int | float = round(value) if self.integer else float(f"{value:.6g}")
        return f"{number} {self.unit}" if self.unit else number


def _axis(value: Any) -> Any:
    if isinstance(value, list | tuple):
        return tuple(value)
    return value if isinstance(value, dict | Range) else (value,)


Axis = Annotated[Annotated[tuple[Value, ...], Field(min_length=1)] | Range, BeforeValidator(_axis)]


class Search(_Strict):
    """How points are chosen: every combination, at random, or guided by what is known (generations of `batch` points)."""

    kind: Literal["grid", "random", "guided"] = "grid"
    samples: Annotated[int, Field(ge=1)] | None = None
    batch: Annotated[int, Field(ge=1)] = 16
    seed: Annotated[int, Field(ge=0)] = 0


class Workload(_Strict):
    """Recorded inputs, or episodes of an environment (by default the model card's own)."""

    inputs: str | None = None
    resets: str | None = None
    env: str | None = None
    env_kwargs: dict[str, Any] = {}
    preprocess: str | None = None
    action: str | None = None
    baseline: str | None = None
    episodes: Annotated[int, Field(ge=1)] = 20
    seed: Annotated[int, Field(ge=0)] = 0


class Bound(_Strict):
    """Least and largest value that a figure may have."""

    min: str | float | None = None
    max: str | float | None = None


class Study(_Strict):
    """A study (see the head of this file).

    Parameters
    ----------
    runs, prices : mapping of axis to values
        `runs`: model or trace, sparsity, threshold, weight_bits, schedule, seed; ``threshold.NAME`` and ``sparsity.NAME``
        for one sender or layer. `prices`: chip, and dotted fields of the chip file.
    objectives : tuple of str
        Figures that the front spans; by default energy, time and cores, without prices the effective MACs.
    constraints : mapping of figure to Bound
        Rows that miss one are not on the front.
    chunk : int
        Rows that are priced, and kept, at a time.
    folder : str
        Paths are relative to it.
    """

    name: Annotated[str, Field(min_length=1)]
    search: Search = Search()
    workload: Workload | None = None
    runs: dict[str, Axis]
    prices: dict[str, Axis] = {}
    numerics: Literal["float32", "float64", "fixed"] | None = None
    hypothetical: bool = False
    placement: str = "row_major"
    balance: bool = False
    period: str | None = None
    objectives: Annotated[tuple[str, ...], Field(min_length=1)]
    constraints: dict[str, Bound] = {}
    chunk: Annotated[int, Field(ge=1)] = 500
    folder: str = "."

    @model_validator(mode="before")
    @classmethod
    def _with_objectives(cls, data: Any) -> Any:
        if isinstance(data, dict) and "objectives" not in data:
            return {**data, "objectives": ("energy_j", "latency_s", "cores_used") if data.get("prices") else ("effective_macs",)}
        return data

    def path(self, name: str) -> Path:
        """A path of the study's file."""
        return Path(self.folder) / name

    @property
    def axes(self) -> dict[str, Axis]:
        """All axes: those of the runs, then those of the prices."""
        return {**self.runs, **self.prices}

    @property
    def period_s(self) -> float | None:
        """Control period in seconds."""
        return None if self.period is None else units.parse(self.period, "time")

    def bounds(self) -> dict[str, tuple[float | None, float | None]]:
        """Figure -> (least, largest), SI units."""
        return {name: (_number(name, bound.min), _number(name, bound.max)) for name, bound in self.constraints.items()}

    @property
    def maximised(self) -> tuple[bool, ...]:
        """Whether more is better, of each objective."""
        return tuple(name in MAXIMISED for name in self.objectives)


def _number(figure: str, value: str | float | None) -> float | None:
    if value is None or not isinstance(value, str):
        return value
    if figure not in UNITS:
        raise ValueError(f"{value!r} is not a number ({figure} has no unit)")
    return units.parse(value, UNITS[figure])


def read_study(path: str | Path) -> Study:
    """Read a study's file.

    Raises
    ------
    LoadError
        Naming every unknown, missing or wrong key with line and column, and what contradicts each other.
    """
    path = Path(path)
    try:
        data, positions = strict_yaml.read_file(path)
        study = Study.model_validate({"folder": str(path.parent.resolve()), **data} if isinstance(data, dict) else data)
    except strict_yaml.StrictYamlError as error:
        raise LoadError(str(error)) from None
    except OSError as error:
        raise LoadError(f"{path}: {error.strerror}") from None
    except ValidationError as error:
        raise LoadError("\n".join(_problem(path, positions, problem) for problem in error.errors())) from None
    if problems := contradictions(study):
        raise LoadError("\n".join(f"{path}: {problem}" for problem in problems))
    return study


def _problem(path: Path, positions: strict_yaml.Positions, problem: Any) -> str:
    where = tuple(problem["loc"])
    line, column = strict_yaml.position_of(positions, where) if positions else (1, 1)
    return f"{path}:{line}:{column}: {'.'.join(map(str, where))}: {problem['msg']}"


def contradictions(study: Study) -> list[str]:
    """What is wrong with a study although each of its keys is well formed."""
    found = [f"runs.{name}: choose from {', '.join(RUN_AXES)}, threshold.NAME, sparsity.NAME" for name in study.runs
             if name not in RUN_AXES and name.partition(".")[0] not in ("threshold", "sparsity")]
    sources = [name for name in ("model", "trace") if name in study.runs]
    if len(sources) != 1:
        found.append("runs needs either model (with a workload) or trace (saved runs)")
    if "trace" in study.runs and (len(study.runs) > 1 or study.workload):
        found.append("runs.trace: a saved run stands alone, without other axes of runs and without a workload")
    if "model" in study.runs:
        found += _of_workload(study)
    if study.prices and "chip" not in study.prices:
        found.append("prices needs chip: names of the library or files")
    if study.search.kind != "grid" and study.search.samples is None:
        found.append(f"search.samples: how many points a {study.search.kind} search takes")
    for name, axis in study.axes.items():
        found += [f"{name}: {problem}" for problem in _of_axis(study, name, axis)]
    figures = {**RUN_FIGURES, **(PRICE_FIGURES if study.prices else {})}
    for what, names in (("objectives", study.objectives), ("constraints", tuple(study.constraints))):
        found += [f"{what}: {name!r} needs prices" if name in PRICE_FIGURES else f"{what}: {name!r} is unknown; choose from "
                  f"{', '.join(figures)}" for name in names if name not in figures]
    try:
        known = {name: bound for name, bound in study.constraints.items() if name in figures}
        study.model_copy(update={"constraints": known}).bounds()
        assert study.period is None or study.period_s
    except (ValueError, AssertionError) as error:
        found.append(f"constraints or period: {error}")
    return found


def _of_workload(study: Study) -> list[str]:
    work = study.workload
    if work is None:
        return ["workload: inputs (recorded) or env, episodes, seed (played) are needed to run a model"]
    given = work.model_fields_set
    closed = given & {"env", "env_kwargs", "preprocess", "action", "episodes", "seed", "baseline"}
    if work.inputs and closed:
        return [f"workload: inputs are recorded, nothing is played: {', '.join(sorted(closed))}"]
    if work.inputs is None and work.resets:
        return ["workload: resets belong to inputs"]
    return ["runs.seed: recorded inputs have no seeds"] if work.inputs and "seed" in study.runs else []


def _of_axis(study: Study, name: str, axis: Axis) -> list[str]:
    if isinstance(axis, Range):
        if study.search.kind == "grid":
            return ["a range has no end of values; a grid needs a list"]
        if name in ("model", "trace", "chip", "schedule"):
            return ["a list of names is needed"]
        bad = not axis.low < axis.high or axis.log and axis.low <= 0
        return [f"low {axis.low} and high {axis.high} are no range{' of logarithms' if axis.log else ''}"] if bad else []
    return ["a value is given twice"] if len({repr(value) for value in axis}) < len(axis) else []
