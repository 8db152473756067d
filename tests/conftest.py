"""Shared settings: hypothesis without deadlines (the first example waits for the compiler).

The same examples run everywhere; NEUROSIM_FUZZ=N draws N fresh ones per property instead.
"""

import os

from hypothesis import HealthCheck, settings

fuzz = int(os.environ.get("NEUROSIM_FUZZ", "0"))
settings.register_profile("neurosim", deadline=None, max_examples=fuzz or 60, derandomize=not fuzz, print_blob=True,
                          suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
settings.load_profile("neurosim")
