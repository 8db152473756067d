"""Kernels on disk: what a process loads is what it asked for, whatever other processes compiled."""

import os
import subprocess
import sys
import textwrap
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np

from neurosim.kernels import compiled

ROOT = Path(__file__).parents[2]

ONE_LAYER_PER_FUNCTION = textwrap.dedent("""
    import sys
    import numpy as np
    from networks import Elementwise, identity, layer, network
    from neurosim.simulation import Simulator
    parameters = {"leaky_relu": (0.25,), "affine": (0.5, 2.0)}
    functions = [Elementwise(name, parameters.get(name, ())) for name in sys.argv[1:]]
    net = network([layer(f"l{i}", identity(i - 1, (1, 1, 4)), (f,)) for i, f in enumerate(functions)], (4,))
    print(*Simulator(net, numerics="float64").step(np.array([-2.0, -1, 1, 2])).ravel())
""")


def answer(cache, *functions):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(cache), "PYTHONPATH": f"{ROOT}{os.pathsep}{ROOT / 'tests'}"}
    run = subprocess.run([sys.executable, "-c", ONE_LAYER_PER_FUNCTION, *functions], env=environment, capture_output=True, text=True, check=True)
    return [float(x) for x in run.stdout.split()]


def test_functions_that_processes_compiled_apart_are_not_mixed_up(tmp_path):
    """One process compiles everything but f, two add one f each, a third loads both from disk."""
    answer(tmp_path, "relu")
    assert answer(tmp_path, "leaky_relu") == [-0.5, -0.25, 1, 2]
    assert answer(tmp_path, "affine") == [1, 1.5, 2.5, 3]
    assert answer(tmp_path, "tanh") == np.tanh([-2.0, -1, 1, 2]).tolist()
    assert answer(tmp_path, "leaky_relu", "affine") == [1.75, 1.875, 2.5, 3]
    assert answer(tmp_path, "relu", "tanh") == np.tanh([0.0, 0, 1, 2]).tolist()


def test_threads_get_one_kernel():
    compiled._compiled.cache_clear()
    with ThreadPoolExecutor(8) as pool:
        assert len(set(pool.map(lambda _: compiled.address("reset", np.float64), range(8)))) == 1
