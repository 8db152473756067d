"""Sweep: the chip in every combination of some settings."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import product
from typing import Any

from neurosim.chip import Chip
from neurosim.errors import ChipError


def sweep(chip: Chip | str, settings: Mapping[str, Sequence[Any]]) -> list[tuple[dict[str, Any], Chip]]:
    """Return (settings, chip) for the product of all lists, the last key running fastest.

    Parameters
    ----------
    chip : Chip or str
        A chip, its name or its file.
    settings : mapping
        Dotted path -> values as in the chip file: ``{"core.neurons": [256, 1024]}``.

    Raises
    ------
    ChipError
        With every combination that is invalid.
    """
    base = chip if isinstance(chip, Chip) else Chip.load(chip)
    lone = [key for key, values in settings.items() if isinstance(values, str) or not isinstance(values, Sequence)]
    if lone:
        raise ChipError(f"sweep over {', '.join(lone)}: give a list of values")
    found, problems = [], []
    for values in product(*settings.values()):
        chosen = dict(zip(settings, values, strict=True))
        try:
            found.append((chosen, base.with_settings(chosen)))
        except ChipError as error:
            problems.append(str(error))
    if problems:
        raise ChipError("\n".join(dict.fromkeys(problems)))
    return found
