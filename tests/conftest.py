"""Shared settings: hypothesis without deadlines (the first example waits for the compiler)."""

from hypothesis import HealthCheck, settings

settings.register_profile("neurosim", deadline=None, max_examples=60, print_blob=True,
                          suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
settings.load_profile("neurosim")
