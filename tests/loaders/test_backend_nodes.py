"""The ONNX backend node tests: every claimed operator passes at least one, and what does not pass is listed exactly."""

import onnx
import pytest
from loaders import backend_nodes

from neurosim.loaders.operators import OPERATORS, operator_table

OWN_TESTS = dict.fromkeys(("LSTM", "GRU", "RNN"), "test_onnx_recurrent.py") | dict.fromkeys(
    ("QuantizeLinear", "QLinearConv", "QLinearMatMul", "QGemm"), "test_onnx_quantised.py")
"""Operators whose suite has no test that fits, and where our own are."""


@pytest.fixture(scope="module")
def outcome():
    return backend_nodes.results()


def test_no_value_is_wrong(outcome):
    _, failed = outcome
    assert not [name for name, reason in failed.items() if "WRONG" in reason]


def test_the_exclusion_list_is_exact(outcome):
    if onnx.__version__ != backend_nodes.RECORDED_WITH:
        pytest.skip(f"the list was recorded with the suite of onnx {backend_nodes.RECORDED_WITH}, this is {onnx.__version__}")
    _, failed = outcome
    assert failed == backend_nodes.listed()


def test_every_claimed_operator_passes_a_test(outcome):
    table, _ = outcome
    assert {op for op in OPERATORS if table.get(op, (0, 0))[0] == 0} <= OWN_TESTS.keys()


def test_support_table(outcome):
    rows = operator_table(outcome[0])
    assert len(rows) == len(OPERATORS) + 2 and any(row.startswith("| Conv | synapses |") for row in rows)
