"""Quantities with units: "35.5 pJ" <-> 35.5e-12 joule.

Every quantity inside the package is a float in SI base units (memory in bits). Text with a
unit exists only in files and on the screen; this module is the only translator.
"""

from __future__ import annotations

import math
import re
from functools import lru_cache

_PREFIX = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "m": 1e-3, "": 1.0,
           "k": 1e3, "M": 1e6, "G": 1e9}
_BASE = {"energy": "J", "time": "s", "power": "W", "frequency": "Hz"}
_MEMORY = {"bit": 1.0, "B": 8.0,
           "kbit": 1e3, "Mbit": 1e6, "Kibit": 2.0**10, "Mibit": 2.0**20,
           "kB": 8e3, "MB": 8e6, "KiB": 8.0 * 2**10, "MiB": 8.0 * 2**20, "GiB": 8.0 * 2**30}
_AREA = {"um2": 1e-12, "µm2": 1e-12, "mm2": 1e-6, "cm2": 1e-4}
_QUANTITY = re.compile(r"\s*([-+]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)\s*([A-Za-zµ]+2?)\s*\Z")
_EXAMPLE = {"energy": "23.6 pJ", "time": "3.5 ns", "power": "35 mW", "frequency": "500 MHz", "memory": "128 KiB", "area": "20.2 mm2"}


def parse(text: str, dimension: str) -> float:
    """Return the value of `text` in SI base units.

    Parameters
    ----------
    text : str
        Number and unit, for example ``"35.5 pJ"``, ``"16.7ms"``, ``"128 KiB"``.
    dimension : str
        ``energy`` (J), ``time`` (s), ``power`` (W), ``frequency`` (Hz), ``memory`` (bit) or ``area`` (m2).

    Raises
    ------
    ValueError
        When the text has no unit, the unit is of another dimension, or the value is
        negative, not finite, or so small that it would be held as 0.
    """
    if not isinstance(text, str):
        raise ValueError(f"{clipped(text)} has no unit; write for example {_EXAMPLE[dimension]!r}")
    return _parsed(text, dimension)


@lru_cache(4096)
def _parsed(text: str, dimension: str) -> float:
    match = _QUANTITY.match(text)
    if match is None:
        raise ValueError(f"{clipped(text)} is not a number with a unit; write for example {_EXAMPLE[dimension]!r}")
    digits, unit = match.group(1), match.group(2)
    factor = _factor(unit, dimension)
    if factor is None:
        raise ValueError(f"{clipped(text)}: {clipped(unit)} is not a unit of {dimension}; write for example {_EXAMPLE[dimension]!r}")
    value = float(digits) * factor
    if not math.isfinite(value):
        raise ValueError(f"{clipped(text)} is not a finite quantity")
    if value < 0:
        raise ValueError(f"{clipped(text)} is negative")
    if value == 0 and digits.lower().partition("e")[0].strip("+-0."):
        raise ValueError(f"{clipped(text)} is too small to be told from 0")
    return value


def clipped(value: object, width: int = 60) -> str:
    """`repr` of a value for a message, cut where it is long."""
    shown = repr(value)
    return shown if len(shown) <= width else f"{shown[:width - 3]}..."


def _factor(unit: str, dimension: str) -> float | None:
    if dimension in ("memory", "area"):
        return (_MEMORY if dimension == "memory" else _AREA).get(unit)
    base = _BASE[dimension]
    if not unit.endswith(base):
        return None
    return _PREFIX.get(unit[: -len(base)])


def show(value: float | None, base: str) -> str:
    """Format an SI value with three significant digits and a prefix: ``show(3.55e-11, "J")`` is "35.5 pJ"; areas in mm2."""
    if value is None:
        return "-"
    if base == "m2":
        return f"{value * 1e6:.3g} mm2"
    if value == 0 or not math.isfinite(value):
        return f"{value:g} {base}"
    exponent = min(9, max(-15, 3 * math.floor(math.log10(abs(value)) / 3)))
    scaled = value / 10.0**exponent
    if abs(float(f"{scaled:.3g}")) >= 1000 and exponent < 9:
        exponent += 3
        scaled = value / 10.0**exponent
    prefix = {-15: "f", -12: "p", -9: "n", -6: "u", -3: "m", 0: "", 3: "k", 6: "M", 9: "G"}[exponent]
    digits = f"{scaled:.3g}" if abs(scaled) < 1000 else f"{scaled:,.0f}"
    return f"{digits} {prefix}{base}"
