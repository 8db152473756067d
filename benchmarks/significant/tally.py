"""What rows played: sums over episodes that add up, kept in a file so that a stopped run goes on."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

import neurosim
from neurosim import counters
from neurosim.control import EnvironmentSpec, Played, play_jobs
from neurosim.errors import LoadError
from neurosim.version import __version__
from significant.tasks import Row


@dataclass(frozen=True)
class Tally:
    """Sums over the episodes of one row.

    Parameters
    ----------
    returns, lengths, games : list
        Per episode: return, env_steps, digest of actions and rewards.
    counts, first : dict
        Counters over all decisions, and over the first of each episode.
    zero_skip_macs, compared, agreed : int
        Over the sampled decisions: MACs of the zero-skip machine, how many, how many as the dense policy.
    still, changed_macs : int
        Decisions on an unchanged observation; effective MACs of the others.
    worst, worst_after_first : int
        Largest effective MACs of a decision; without the first of each episode.
    """

    returns: list[float]
    lengths: list[int]
    games: list[int]
    counts: dict[str, int]
    first: dict[str, int]
    zero_skip_macs: int = 0
    compared: int = 0
    agreed: int = 0
    still: int = 0
    changed_macs: int = 0
    worst: int = 0
    worst_after_first: int = 0

    @property
    def decisions(self) -> int:
        return sum(self.lengths)

    def __add__(self, other: Tally) -> Tally:
        mine, theirs = asdict(self), asdict(other)
        return Tally(**{name: _plus(name, mine[name], theirs[name]) for name in mine})

    def per_decision(self, counter: str) -> float | None:
        """Mean of a counter over all decisions; None where nothing counted it."""
        return self.counts[counter] / self.decisions if counter in self.counts else None


def _plus(name: str, a: Any, b: Any) -> Any:
    if name.startswith("worst"):
        return max(a, b)
    return {key: a[key] + b[key] for key in a} if isinstance(a, dict) else a + b


def tally_of(played: Played) -> Tally:
    """The sums of episodes just played."""
    returns, lengths, games = played.returns.tolist(), played.lengths.tolist(), played.games.tolist()
    if played.macs is None:
        return Tally(returns, lengths, games, {}, {}, still=int(played.still.sum()))
    starts = np.zeros(played.macs.size, np.bool_)
    starts[np.cumsum(played.lengths) - played.lengths] = True
    later = played.macs[~starts]
    sums = {
        "still": int(played.still.sum()),
        "changed_macs": int(played.macs[~played.still].sum()),
        "worst": int(played.macs.max()),
        "worst_after_first": int(later.max()) if later.size else 0,
    }
    trace = played.trace
    if trace is None:
        return Tally(
            returns, lengths, games, {"effective_macs": int(played.macs.sum())}, {"effective_macs": int(played.macs[starts].sum())}, **sums
        )
    skip = trace.reference.zero_skip_macs if trace.reference is not None else np.zeros(0, np.int64)
    counts, first = _counted(trace.totals_by_counter), _counted(trace.first_totals_by_counter)
    return Tally(returns, lengths, games, counts, first, int(skip.sum()), played.compared, played.agreed, **sums)


def _counted(totals: dict[str, Any]) -> dict[str, int]:
    return {name: int(value) for name, value in totals.items() if value is not None and name != "zero_skip_macs"}


def versions() -> dict[str, Any]:
    """Of everything that results depend on beside the row itself."""
    packages = ("numpy", "gymnasium", "ale-py", "mujoco", "box2d")
    return {"neurosim": __version__, "counters": counters.VERSION, **{name: _version(name) for name in packages}}


def sources(*parts: str) -> str:
    """Digest of the package's sources in these folders and files: results kept from other sources are not used."""
    root = Path(neurosim.__file__).parent
    files = [path for part in parts for path in ([root / part] if part.endswith(".py") else sorted((root / part).rglob("*.py")))]
    return hashlib.sha256(b"".join(path.read_bytes() for path in files)).hexdigest()


DECIDING = ("control", "simulation", "kernels", "transforms", "network.py", "synapses.py", "activation.py", "dense.py", "counters.py")
"""Sources that decide what is played and counted."""
PRICING = ("mapping", "pricing", "chip.py", "chip_file.py", "chip_rules.py", "host.py", "mesh.py")
"""Sources that decide what it costs on a chip, beside those."""


def _depends() -> dict[str, Any]:
    """What every kept value depends on."""
    return {"versions": versions() | {"opencv": _version("opencv-python-headless")}, "sources": sources(*DECIDING)}


def _version(package: str) -> str | None:
    try:
        return version(package)
    except PackageNotFoundError:
        return None


class Cache:
    """JSON values by a digest of what they depend on, one a line; a line that was cut short, or is another's, is passed over.

    Raises
    ------
    LoadError
        When the file can be neither read nor written.
    """

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._values: dict[str, Any] = {}
        self._depends = _depends()
        for line in [] if path is None else _lines(path):
            try:
                entry = json.loads(line)
            except ValueError:
                continue
            if isinstance(entry, dict) and isinstance(entry.get("key"), str) and "value" in entry:
                self._values[entry["key"]] = entry["value"]

    def get(self, depends_on: dict[str, Any], make: Callable[[], Any]) -> Any:
        """The value for this key; made, and written, when it is not there."""
        key = hashlib.sha256(json.dumps(depends_on | self._depends, sort_keys=True).encode()).hexdigest()
        if key not in self._values:
            self._values[key] = json.loads(json.dumps(make()))
            if self._path is not None:
                with self._path.open("a") as f:
                    f.write("\n" + json.dumps({"key": key, "value": self._values[key]}))
        return self._values[key]


def _lines(path: Path) -> list[bytes]:
    """Of a file that exists from now on."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("a+b") as f:
            f.seek(0)
            return f.read().splitlines()
    except OSError as error:
        raise LoadError(f"cannot use {path} as cache: {error.strerror}") from None


class Player:
    """Plays rows, a chunk of episodes at a time, unless the cache has them."""

    def __init__(self, cache: Cache, workers: int, chunk: int, say: Callable[[str], None] = print) -> None:
        self.cache, self._workers, self._chunk_size, self._say = cache, workers, chunk, say

    def play(self, row: Row, spec: EnvironmentSpec, episodes: int, seed: int) -> Tally:
        """The tally of episodes seed, seed + 1, ... of one row."""
        parts = []
        for start in range(0, episodes, self._chunk_size):
            n = min(self._chunk_size, episodes - start)
            key = {"row": row.identity, "env": asdict(spec), "seed": seed + start, "episodes": n}
            parts.append(Tally(**self.cache.get(key, lambda: asdict(self._chunk(row, spec, n, seed + start)))))  # noqa: B023 - called at once
        tally = parts[0]
        for part in parts[1:]:
            tally = tally + part
        return tally

    def _chunk(self, row: Row, spec: EnvironmentSpec, n: int, seed: int) -> Tally:
        (played,) = play_jobs([row.job], spec, n, seed, self._workers)
        tally = tally_of(played)
        macs = tally.per_decision("effective_macs")
        cost = "" if macs is None else f", {macs:,.0f} effective MACs per decision"
        self._say(
            f"    {row.title}: seeds {seed}..{seed + n - 1}, mean return {np.mean(tally.returns):,.2f}, {tally.decisions:,} decisions{cost}"
        )
        return tally
