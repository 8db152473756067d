"""The manifest of a study: what its results were made from, and with."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from neurosim import counters
from neurosim.explore.study.points import Sources
from neurosim.explore.study.spec import Study
from neurosim.version import __version__

PACKAGES = ("numpy", "numba", "pyarrow", "optuna", "gymnasium", "ale-py", "mujoco", "box2d")


def manifest(study: Study, sources: Sources) -> dict[str, Any]:
    """Versions, digests of models, chips and inputs, seeds, and the command."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return {
        "schema": "neurosim.study/1",
        "study": study.name,
        "neurosim": __version__,
        "counters": counters.VERSION,
        "python": platform.python_version(),
        "machine": platform.machine(),
        "packages": found,
        "digests": {"chips": sources.chips, "workload": sources.workload, "runs": sources.runs},
        "seeds": {"search": study.search.seed, "workload": study.workload and study.workload.seed},
        "command": sys.argv,
    }
