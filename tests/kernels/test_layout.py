"""Lists that the kernels keep for themselves (they import nothing of ours) are those of the package."""

from neurosim import counters
from neurosim.activation import ELEMENTWISE
from neurosim.kernels import layout
from neurosim.simulation.lower import RULES, SCHEDULES


def test_columns_of_a_count_row():
    assert [getattr(layout, f"C_{name.upper()}") for name in counters.KERNEL_COLUMNS] == list(range(layout.N_COLUMNS))


def test_operators_of_an_activation_function():
    assert set(layout.OPS) == set(ELEMENTWISE)
    assert [getattr(layout, name.upper()) for name in layout.OPS] == list(range(len(layout.OPS)))


def test_rules_and_schedules():
    assert [getattr(layout, name.upper()) for name in RULES] == list(RULES.values())
    assert [getattr(layout, name.upper()) for name in SCHEDULES] == list(SCHEDULES.values())
