"""Energy: sum over actions of count x energy, plus static power x time.

- An action that another figure `includes` is skipped and named, never added again.
- An action that happened and has no energy is ``not_priced``; the total is then a lower bound.
- ``low`` and ``high`` take every figure at the low or high end of its range at once (worst case).
- Static power: per chip x powered chips + per core x powered cores; gated parts that hold no
  neurons draw nothing.
"""

from __future__ import annotations

import numpy as np

from neurosim.chip import STORAGE_KINDS, Chip
from neurosim.kernels import traffic as kernel
from neurosim.program import Program
from neurosim.report import Energy
from neurosim.trace import Trace


def emulated(trace: Trace, chip: Chip) -> bool:
    """Whether a fall-through run is emulated: the chip takes one of its own timesteps per level."""
    return trace.schedule == "fall_through" and chip.kind == "event" and chip.supports.native_schedule == "pipelined"


def host_counts(trace: Trace, n_timesteps: int) -> dict[str, int]:
    """Actions at the border of the chip in the first `n_timesteps` timesteps."""
    n_senders, network = len(trace.network.senders), trace.network
    sent = np.diff(trace.event_start)[0: n_timesteps * n_senders: n_senders]
    reads = n_timesteps if trace.readout != "last" else -(-n_timesteps // trace.timesteps_per_input)
    return {"state_reset": int(trace.first[:n_timesteps].sum()) * sum(layer.n_neurons for layer in network.layers),
            "input_compare": network.input.n_elements * n_timesteps, "host_in": int(sent.sum()),
            "host_out": reads * sum(part.elements.size for part in network.outputs)}


def action_counts(trace: Trace, program: Program, counts: np.ndarray, fans: np.ndarray, n_timesteps: int) -> dict[str, int]:
    """How often each action happened on a mapped chip.

    Parameters
    ----------
    counts : ndarray, int64, (slices, kernel columns)
        Summed over timesteps.
    fans : ndarray, int64, (fans,)
    """
    total = counts.sum(0)
    local = bool(program.chip.noc and program.chip.noc.local_messages)
    hops = fans @ program.routes.hops
    accesses = n_timesteps * (trace.network.depth if emulated(trace, program.chip) else 1)
    named = {f"synapse.{kind}": int(total[kernel.VISITS + k]) for k, kind in enumerate(STORAGE_KINDS)}
    named |= {"neuron_access": accesses * sum(s.n_neurons for s in program.slices),
              "neuron_update": int(total[kernel.UPDATES]), "event_out": int(total[kernel.EVENTS_OUT]),
              "message_out": int(total[kernel.MESSAGES_OUT] + local * total[kernel.LOCAL_OUT]),
              "message_in": int(total[kernel.MESSAGES_IN] + local * total[kernel.LOCAL_IN])}
    named |= {f"hop.{kind}": int(n) for kind, n in zip(("x", "y", "chip", "local"), hops, strict=True)}
    return named | host_counts(trace, n_timesteps)


def static_power_w(chip: Chip, program: Program | None) -> tuple[float, float, float] | None:
    """Static power in watt (figure, low, high), or None where none is published."""
    p = chip.static_power
    if p.per_chip is None and p.per_core is None:
        return None
    chips = program.chips_used if program and p.gated else chip.chips
    cores_used = program.cores_used if program else 1
    cores = cores_used if p.gated else chip.n_cores or cores_used
    per_core = (p.per_core or 0.0) * cores
    low, high = (p.per_chip if x is None else x for x in (p.low, p.high))
    return ((p.per_chip or 0.0) * chips + per_core, (low or 0.0) * chips + per_core, (high or 0.0) * chips + per_core)


def energy(chip: Chip, program: Program | None, counts: dict[str, int], n_timesteps: int, time_s: float | None) -> Energy:
    """Price action counts.

    Parameters
    ----------
    counts : dict
        Action -> how often.
    n_timesteps : int
    time_s : float or None
        Computed time over all of them, for static energy.
    """
    held, parts, missing, included = chip.included("energy"), {}, [], {}
    low_j = high_j = 0.0
    for action, n in counts.items():
        root = action.partition(".")[0]
        if n == 0:
            continue
        if root in held:
            included[root] = held[root]
            continue
        figure = chip.figure(action)
        if figure is None or figure.energy is None:
            missing.append(action)
            continue
        parts[action] = n * figure.energy
        low_j += n * (figure.energy if figure.low is None else figure.low)
        high_j += n * (figure.energy if figure.high is None else figure.high)
    power, static_j = static_power_w(chip, program), 0.0
    if "static" in held:
        included["static"] = held["static"]
    elif power is None or time_s is None:
        missing.append("static")
    else:
        static_j = parts["static"] = power[0] * time_s
        low_j, high_j = low_j + power[1] * time_s, high_j + power[2] * time_s
    total = sum(parts.values())
    return Energy(total, total / n_timesteps, low_j, high_j, static_j, parts, dict(counts), tuple(missing), included, not missing)
