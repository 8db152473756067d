"""A small study over recorded inputs: 3 runs, 12 rows, chunks of 2."""

from pathlib import Path

import numpy as np
import pytest

from neurosim.explore.study import read_study

MODEL = Path(__file__).parents[3] / "models" / "cartpole_ppo" / "policy.onnx"


@pytest.fixture
def write(tmp_path):
    """Writes a study's file with some lines replaced; returns its path."""
    np.save(tmp_path / "x.npy", np.random.default_rng(0).normal(size=(60, 4)).astype(np.float32))

    def made(**lines):
        given = {"search": None, "workload": "{inputs: x.npy}", "runs": f"{{model: ['{MODEL}'], threshold: [0, 0.02, 0.1]}}",
                 "prices": "{chip: [loihi2], core.neurons: [16, 32], noc.width: [4, 8]}", "chunk": "2"} | lines
        path = tmp_path / "study.yaml"
        path.write_text("name: small\n" + "".join(f"{key}: {value}\n" for key, value in given.items() if value is not None))
        return path

    return made


@pytest.fixture
def small(write):
    return read_study(write())
