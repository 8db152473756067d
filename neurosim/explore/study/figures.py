"""The columns of a study's table: figures of a run, and figures of a price. Unknown values are empty, never 0."""

from __future__ import annotations

RUN_FIGURES: dict[str, str] = {
    "timesteps": "timesteps of the run (decisions)",
    "dense_macs": "MACs of the dense network per timestep",
    "nonzero_macs": "the same over non-zero weights",
    "effective_macs": "MACs and ACs met by events per timestep, non-zero weights",
    "all_ops": "effective MACs, unweighted operations, updates and compares per timestep",
    "events": "events per timestep",
    "max_abs_error": "largest error of the outputs against the dense run (recorded inputs)",
    "argmax_agreement": "share of timesteps with the dense run's largest output",
    "episodes": "episodes played",
    "mean_return": "mean return",
    "dense_return": "mean return of the dense policy on the same seeds",
    "random_return": "mean return of a random policy on the same seeds",
    "score": "(R - R_random) / (R_dense - R_random)",
    "score_low": "lower end of its 95 % interval",
    "score_high": "upper end of its 95 % interval",
}
"""Of a run, whatever it is priced on."""

PRICE_FIGURES: dict[str, str] = {
    "cores_used": "cores",
    "energy_j": "energy per timestep",
    "energy_low_j": "low end of its range",
    "energy_high_j": "high end of its range",
    "latency_s": "mean time of a timestep",
    "latency_p99_s": "99th percentile of the time of a timestep",
    "latency_max_s": "longest timestep",
    "answer_s": "mean time to an answer",
    "throughput_hz": "inputs answered per second",
    "hops": "links crossed by all messages",
    "period_energy_j": "energy of a control period",
    "missed_share": "missed deadlines",
    "area_m2": "silicon area",
}
"""Of a run on a chip."""

INTEGERS = ("timesteps", "episodes", "cores_used", "hops", "dense_macs", "nonzero_macs")
MAXIMISED = ("argmax_agreement", "mean_return", "score", "score_low", "score_high", "throughput_hz")
"""Figures of which more is better; of all others less is."""

UNITS = {"energy_j": "energy", "energy_low_j": "energy", "energy_high_j": "energy", "latency_s": "time", "latency_p99_s": "time",
         "latency_max_s": "time", "answer_s": "time", "period_energy_j": "energy"}
"""Dimension of the figures that a constraint may state with a unit."""
