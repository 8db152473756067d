"""Lists that the kernels keep for themselves (they import nothing of ours) are those of the package."""

from neurosim import counters
from neurosim.activation import ELEMENTWISE
from neurosim.host import HOST_OPS
from neurosim.kernels import layout
from neurosim.kernels.functions import ENCODER_FUNCTIONS, FUNCTIONS
from neurosim.kernels.neurons import NEURONS
from neurosim.neurons import KINDS
from neurosim.simulation.lower import RULES, SCHEDULES


def test_columns_of_a_count_row():
    assert [getattr(layout, f"C_{name.upper()}") for name in counters.KERNEL_COLUMNS] == list(range(layout.N_COLUMNS))


def test_functions_of_layers_and_encoders():
    assert [f.__name__.rstrip("_") for f in FUNCTIONS] == list(ELEMENTWISE)
    assert set(ENCODER_FUNCTIONS) < set(HOST_OPS)


def test_kinds_of_neurons():
    assert [f.__name__ for f in NEURONS] == list(KINDS)


def test_rules_and_schedules():
    assert [getattr(layout, name.upper()) for name in RULES] == list(RULES.values())
    assert [getattr(layout, name.upper()) for name in SCHEDULES] == list(SCHEDULES.values())
