"""Quantities with units: "35.5 pJ" <-> 35.5e-12 joule.

Every quantity inside the package is a float in SI base units (memory in bits). Text with a
unit exists only in files and on the screen; this module is the only translator.
"""

from __future__ import annotations

import math
import re

_PREFIX = {"f": 1e-15, "p": 1e-12, "n": 1e-9, "u": 1e-6, "µ": 1e-6, "m": 1e-3, "": 1.0,
           "k": 1e3, "M": 1e6, "G": 1e9}
_BASE = {"energy": "J", "time": "s", "power": "W", "frequency": "Hz"}
_MEMORY = {"bit": 1.0, "B": 8.0,
           "kbit": 1e3, "Mbit": 1e6, "Kibit": 2.0**10, "Mibit": 2.0**20,
           "kB": 8e3, "MB": 8e6, "KiB": 8.0 * 2**10, "MiB": 8.0 * 2**20, "GiB": 8.0 * 2**30}
_QUANTITY = re.compile(r"^\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)\s*([A-Za-zµ]+)\s*$")


def parse(text: str, dimension: str) -> float:
    """Return the value of `text` in SI base units.

    Parameters
    ----------
    text : str
        Number and unit, for example ``"35.5 pJ"``, ``"16.7ms"``, ``"128 KiB"``.
    dimension : str
        ``energy`` (J), ``time`` (s), ``power`` (W), ``frequency`` (Hz) or ``memory`` (bit).

    Raises
    ------
    ValueError
        When the text has no unit, the unit is of another dimension, or the value is
        negative or not finite.
    """
    if not isinstance(text, str):
        raise ValueError(f"{text!r} has no unit; write for example {_example(dimension)!r}")
    match = _QUANTITY.match(text)
    if match is None:
        raise ValueError(f"{text!r} is not a number with a unit; write for example {_example(dimension)!r}")
    value, unit = float(match.group(1)), match.group(2)
    factor = _factor(unit, dimension)
    if factor is None:
        raise ValueError(f"{text!r}: {unit!r} is not a unit of {dimension}; write for example {_example(dimension)!r}")
    if not math.isfinite(value):
        raise ValueError(f"{text!r} is not a finite quantity")
    if value < 0:
        raise ValueError(f"{text!r} is negative")
    return value * factor


def _factor(unit: str, dimension: str) -> float | None:
    if dimension == "memory":
        return _MEMORY.get(unit)
    base = _BASE[dimension]
    if not unit.endswith(base):
        return None
    return _PREFIX.get(unit[: -len(base)])


def _example(dimension: str) -> str:
    return {"energy": "23.6 pJ", "time": "3.5 ns", "power": "35 mW",
            "frequency": "500 MHz", "memory": "128 KiB"}[dimension]


def show(value: float | None, base: str) -> str:
    """Format an SI value with three significant digits and a prefix: ``show(3.55e-11, "J")`` is "35.5 pJ"."""
    if value is None:
        return "-"
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
