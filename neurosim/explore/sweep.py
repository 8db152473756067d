"""Sweep: the chip in every combination of some settings, also with its total memory held constant."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from neurosim.chip import Chip
from neurosim.errors import ChipError

_MESH = ("noc.width", "noc.height", "noc.cores_per_tile", "chips")
_MEMORIES = ("neurons", "synapse_memory", "state_memory")
"""Fields of a core that share the total when it is held."""


def sweep(chip: Chip | str, settings: Mapping[str, Sequence[Any]], hold: str | None = None) -> list[tuple[dict[str, Any], Chip]]:
    """Return (settings, chip) for the product of all lists, the last key running fastest.

    Parameters
    ----------
    chip : Chip or str
        A chip, its name or its file.
    settings : mapping
        Dotted path -> values as in the chip file: ``{"core.neurons": [256, 1024]}``.
    hold : None or "memory"
        ``memory``: neurons, synapse memory and state memory of all cores together stay what they are
        in `chip`. Where the mesh is swept, those of a core follow; where one of them is swept, the
        others follow in proportion and the mesh becomes the near-square one with as many more or
        fewer cores. What follows is among the settings of the row.

    Raises
    ------
    ChipError
        With every combination that is invalid, and when a total cannot be held.
    """
    base = chip if isinstance(chip, Chip) else Chip.load(chip)
    lone = [key for key, values in settings.items() if isinstance(values, str) or not isinstance(values, Sequence)]
    if lone:
        raise ChipError(f"sweep over {', '.join(lone)}: give a list of values")
    if hold not in (None, "memory"):
        raise ChipError(f"hold {hold!r}: 'memory' is all that can be held")
    found, problems = [], []
    for values in product(*settings.values()):
        chosen = dict(zip(settings, values, strict=True))
        try:
            chosen |= _held(base, chosen) if hold else {}
            found.append((chosen, base.with_settings(chosen)))
        except ChipError as error:
            problems.append(str(error))
    if problems:
        raise ChipError("\n".join(dict.fromkeys(problems)))
    return found


def _held(base: Chip, chosen: Mapping[str, Any]) -> dict[str, Any]:
    """Settings that keep the total memory of `base` under the chosen ones."""
    if base.noc is None or base.n_cores is None or len(base.core) > 1:
        raise ChipError(f"{base.name}: the total memory can be held where one core type and the size of the mesh are given")
    odd = [key for key in chosen if key in ("core", "noc", "core.count") or key.startswith("core.") and key.split(".")[1].isdecimal()]
    memories = [key for key in chosen if key.removeprefix("core.") in _MEMORIES]
    if odd or base.core[0].count is not None:
        raise ChipError(f"{base.name}: the total memory can be held while noc.width, noc.height, noc.cores_per_tile, chips or one of "
                        f"core.{', core.'.join(_MEMORIES)} is varied, not {', '.join(odd) or 'where core.count is given'}")
    if len(memories) > 1 or memories and any(key in chosen for key in _MESH) or any(chosen[key] is None for key in memories):
        raise ChipError(f"{base.name}: the total memory follows one size of a core, or the mesh, not {' and '.join(chosen)} together")
    core, n_cores = base.core[0], base.n_cores
    sizes = {name: getattr(core, name) for name in _MEMORIES if getattr(core, name) is not None}
    swept = [name for name in sizes if f"core.{name}" in chosen]
    new = base.with_settings(chosen)
    assert new.noc is not None and new.n_cores is not None
    if any(key in chosen for key in _MESH) or not swept:
        factor, follows = n_cores / new.n_cores, {}
    else:
        factor = getattr(new.core[0], swept[0]) / sizes[swept[0]]
        follows = _mesh(new, n_cores / factor)
    return follows | {f"core.{name}": _size(name, size * factor) for name, size in sizes.items() if name not in swept}


def _mesh(chip: Chip, n_cores: float) -> dict[str, Any]:
    """Mesh of exactly so many cores, as near to a square as they allow."""
    assert chip.noc is not None
    tiles = n_cores / (chip.noc.cores_per_tile * chip.chips)
    if tiles != int(tiles) or tiles < 1:
        raise ChipError(f"{chip.name}: the total memory cannot be held: it would take {n_cores:,.6g} cores, which are "
                        f"{tiles:,.6g} tiles of {chip.noc.cores_per_tile} on {chip.chips} chips; choose sizes that divide it")
    height = next(h for h in range(int(tiles**0.5), 0, -1) if int(tiles) % h == 0)
    return {"noc.width": int(tiles) // height, "noc.height": height}


def _size(name: str, size: float) -> Any:
    if name == "neurons":
        return max(1, int(size))
    return f"{size / 8192!r} KiB"
