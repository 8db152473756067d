"""What the benchmark reports: figures, each with its goal, as lines of a table and as JSON."""

import json
import platform
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

CAUSES = {
    "kmac_per_timestep": "{:,.1f} kMAC per timestep",
    "gmac_per_s": "{:.2f} GMAC/s",
    "roofline": "{:.0%} of the measured roofline",
    "fused": "{:.0%} of its plain loop alone",
    "add_rows": "{:.0%} of its add_rows loop alone",
    "cores_one": "one thread had {:.2f} cores to itself",
    "cores_two": "two threads had {:.2f}",
    "cpu_s": "{:.2f} s of CPU time",
}
"""Figures that say why a goal is missed, and how they are printed."""


@dataclass(frozen=True)
class Figure:
    """One figure of one part.

    Parameters
    ----------
    part, work : str
        The part of the benchmark, and what ran.
    value : float
    unit : str
        Of the value: ``x`` (a ratio), ``us``, ``ms``, ``s``, ``MB``, ``GMAC/s``, ``%``.
    goal : float, optional
        In the same unit; the value is to be `at_least` that, else at most.
    names : (str, str)
        What `reference` and `ours` are, with their unit.
    reference, ours : float, optional
        What the value was computed from.
    causes : dict
        Some of `CAUSES`.
    """

    part: str
    work: str
    value: float
    unit: str = "x"
    goal: float | None = None
    at_least: bool = True
    names: tuple[str, str] = ("onnxruntime us", "ours us")
    reference: float | None = None
    ours: float | None = None
    causes: dict[str, float] = field(default_factory=dict)

    @property
    def met(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        if self.goal is None:
            return None
        return bool(self.value >= self.goal if self.at_least else self.value <= self.goal)

    def line(self) -> str:
        """One line of the table; under a missed goal a second one with its causes."""
        goal = "" if self.goal is None else f"{'>=' if self.at_least else '<='} {_number(self.goal, self.unit)}"
        result = {None: "", True: "met", False: "MISSED"}[self.met]
        line = f"  {self.work:<46}{_time(self.reference)}{_time(self.ours)}{_number(self.value, self.unit):>14}{goal:>15}  {result}".rstrip()
        if self.met is False and self.causes:
            line += "\n      cause: " + ", ".join(CAUSES[name].format(value) for name, value in self.causes.items())
        return line

    def header(self) -> str:
        """Names of the columns."""
        return f"  {'':<46}{self.names[0]:>20}{self.names[1]:>20}{'figure':>14}{'goal':>15}"


def _number(value: float, unit: str) -> str:
    digits = {"x": 2 if value < 10 else 1, "us": 2, "ms": 1, "s": 2, "MB": 2, "GMAC/s": 1, "%": 1}[unit]
    return f"{value:.{digits}f}{'' if unit in 'x%' else ' '}{unit}"


def _time(value: float | None) -> str:
    return f"{'' if value is None else f'{value:,.2f}':>20}"


def ratio(part: str, work: str, reference: float, ours: float, goal: float | None = None, **more: object) -> Figure:
    """How many times less `ours` is than the reference; the goal is at least so many."""
    return Figure(part, work, reference / ours, "x", goal, True, reference=reference, ours=ours, **more)  # type: ignore[arg-type]


def excess(part: str, work: str, reference: float, ours: float, goal: float | None = None, **more: object) -> Figure:
    """How many times the reference `ours` is; the goal is at most so many."""
    return Figure(part, work, ours / reference, "x", goal, False, reference=reference, ours=ours, **more)  # type: ignore[arg-type]


def shown(figures: Iterable[Figure]) -> Iterator[Figure]:
    """Print figures as they come, with a header wherever the meaning of the columns changes; hand them on."""
    names = None
    for figure in figures:
        if figure.names != names:
            print(figure.header())
            names = figure.names
        print(figure.line(), flush=True)
        yield figure


def machine() -> dict:
    """Processor, caches, versions, and the kernels that ran (the folder's name holds the digest of their sources)."""
    from neurosim.kernels import cache, target

    cpu = Path("/proc/cpuinfo")
    lines = cpu.read_text().splitlines() if cpu.is_file() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor() or platform.machine(),
        "l2_bytes": target.L2_BYTES,
        "python": platform.python_version(),
        **{package: _version(package) for package in ("numpy", "numba", "onnxruntime", "ale-py")},
        "kernels": Path(cache.FOLDER).name,
    }


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


def write(path: Path, figures: list[Figure], first_run: dict, notes: dict[str, str]) -> None:
    """Write all figures as JSON."""
    rows = [asdict(figure) | {"met": figure.met} for figure in figures]
    document = {"schema": "neurosim.bench/1", "machine": machine(), "first_run": first_run, "notes": notes, "rows": rows}
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(document, indent=2) + "\n")
