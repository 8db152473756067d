"""Quantities with units, both ways."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from neurosim import units


@pytest.mark.parametrize("text, dimension, value", [
    ("35.5 pJ", "energy", 35.5e-12), ("16.7ms", "time", 16.7e-3), ("113 ns", "time", 113e-9), ("35 mW", "power", 0.035),
    ("500 MHz", "frequency", 5e8), ("128 KiB", "memory", 128 * 1024 * 8), ("2 Mbit", "memory", 2e6), ("64 bit", "memory", 64),
    ("0 pJ", "energy", 0), ("20.2 mm2", "area", 20.2e-6), ("4.3 cm2", "area", 4.3e-4), ("7um2", "area", 7e-12), ("1e-3 uJ", "energy", 1e-9), ("5uJ", "energy", 5e-6)])
def test_parse(text, dimension, value):
    assert units.parse(text, dimension) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize("text, dimension, message", [
    (35.5, "energy", "has no unit"), ("35.5", "energy", "not a number with a unit"), ("3 ns", "energy", "not a unit of energy"),
    ("-1 pJ", "energy", "is negative"), ("1e999 J", "energy", "not a finite"), ("pJ", "energy", "not a number"), ("1 pj", "energy", "not a unit"),
    ("3 mm", "area", "not a unit of area"), ("3 pJ2", "energy", "not a unit"), ("1e308 GiB", "memory", "not a finite"),
    ("1e-400 pJ", "energy", "too small"), ("9" * 5000 + "!", "energy", "not a number"), ([1], "energy", "has no unit"), ("1 pJ\n2", "energy", "not a number")])
def test_refusals(text, dimension, message):
    with pytest.raises(ValueError, match=message):
        units.parse(text, dimension)


@given(st.floats(1e-15, 1e9))
def test_what_is_shown_can_be_read_again(value):
    assert units.parse(units.show(value, "J").replace(",", ""), "energy") == pytest.approx(value, rel=6e-3)


def test_show():
    assert units.show(35.5e-12, "J") == "35.5 pJ" and units.show(None, "J") == "-" and units.show(0, "s") == "0 s"
    assert units.show(999.9e-9, "s") == "1 us" and units.show(20.2e-6, "m2") == "20.2 mm2"
