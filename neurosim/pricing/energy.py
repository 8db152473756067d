"""Energy: sum over actions of count x energy, plus static power x time.

- An action that another figure `includes` is skipped and named, never added again.
- An action that happened and has no energy is ``not_priced``; the total is then a lower bound.
- ``low`` and ``high`` take every figure at the low or high end of its range at once (worst case).
- Static power: per chip x powered chips + per core x powered cores; gated parts that hold no
  neurons draw nothing.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from neurosim.chip import STORAGE_KINDS, Chip
from neurosim.kernels import traffic as kernel
from neurosim.mesh import HOP_KINDS
from neurosim.program import HOST, Program
from neurosim.report import Energy, Latency
from neurosim.trace import Trace

COLUMN = {"message_in": kernel.MESSAGES_IN, "neuron_update": kernel.UPDATES, "event_out": kernel.EVENTS_OUT,
          "message_out": kernel.MESSAGES_OUT} | {f"synapse.{kind}": kernel.VISITS + k for k, kind in enumerate(STORAGE_KINDS)}
"""Action -> column of the traffic kernel that counts it."""


def emulated(trace: Trace, chip: Chip) -> bool:
    """Whether a fall-through run is emulated: the chip takes one of its own timesteps per level."""
    return trace.schedule == "fall_through" and chip.kind == "event" and chip.supports.native_schedule == "pipelined"


def host_counts(trace: Trace, n_timesteps: int) -> dict[str, int]:
    """Actions at the border of the chip in the first `n_timesteps` timesteps."""
    n_senders, network = len(trace.network.senders), trace.network
    sent = np.diff(trace.event_start)[0: n_timesteps * n_senders: n_senders]
    reads = n_timesteps if trace.readout != "last" else -(-n_timesteps // trace.timesteps_per_input)
    return {"state_reset": int(trace.first[:n_timesteps].sum()) * network.n_neurons,
            "input_compare": network.input.n_elements * n_timesteps, "host_in": int(sent.sum()),
            "host_out": reads * sum(part.elements.size for part in network.outputs)}


def action_counts(trace: Trace, program: Program, counts: np.ndarray, hops: np.ndarray, n_timesteps: int,
                  host: dict[str, int] | None = None) -> dict[str, int]:
    """How often each action happened on a mapped chip.

    Parameters
    ----------
    counts : ndarray, int64, (slices, kernel columns)
        Summed over timesteps.
    hops : ndarray, int64, (4,)
        Links crossed in x, in y, between chips, and messages that stay in their tile.
    host : dict or None
        `host_counts` of the run, where they are known.
    """
    total = counts.sum(0).tolist()
    local = bool(program.chip.noc and program.chip.noc.local_messages)
    accesses = n_timesteps * (trace.network.depth if emulated(trace, program.chip) else 1)
    named = {f"synapse.{kind}": int(total[kernel.VISITS + k]) for k, kind in enumerate(STORAGE_KINDS)}
    named |= {"neuron_access": accesses * trace.network.n_neurons,
              "neuron_update": int(total[kernel.UPDATES]), "event_out": int(total[kernel.EVENTS_OUT]),
              "message_out": int(total[kernel.MESSAGES_OUT] + local * total[kernel.LOCAL_OUT]),
              "message_in": int(total[kernel.MESSAGES_IN] + local * total[kernel.LOCAL_IN])}
    kinds = HOP_KINDS if program.chip.noc is not None else ("chip",)  # without a network nothing crosses links of a mesh
    named |= {f"hop.{kind}": int(hops[k]) for k, kind in enumerate(HOP_KINDS) if kind in kinds}
    return named | (host_counts(trace, n_timesteps) if host is None else host)


def powered(chip: Chip, program: Program | None) -> tuple[int, int]:
    """Chips and cores that draw static power: those in use where the others are gated, else all."""
    chips = program.chips_used if program and chip.static_power.gated else chip.chips
    cores_used = program.cores_used if program else 1
    return chips, cores_used if chip.static_power.gated else chip.n_cores or cores_used


def static_power_w(chip: Chip, program: Program | None) -> tuple[float, float, float] | None:
    """Static power in watt (figure, low, high), or None where none is published."""
    p = chip.static_power
    if p.per_chip is None and p.per_core is None:
        return None
    chips, cores = powered(chip, program)
    per_core = (p.per_core or 0.0) * cores
    low, high = (p.per_chip if x is None else x for x in (p.low, p.high))
    return ((p.per_chip or 0.0) * chips + per_core, (low or 0.0) * chips + per_core, (high or 0.0) * chips + per_core)


def energy(chip: Chip, program: Program | None, counts: dict[str, int], n_timesteps: int, latency: Latency | None) -> Energy:
    """Price action counts.

    Parameters
    ----------
    counts : dict
        Action -> how often.
    n_timesteps : int
    latency : Latency or None
        Its time over all of them is that of static energy, which is a lower bound where the time is one.
    """
    held, parts, missing, included = chip.included("energy"), {}, [], {}
    ends: dict[str, tuple[float, float]] = {}
    exact = []
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
        ends[action] = (n * (figure.energy if figure.low is None else figure.low),
                        n * (figure.energy if figure.high is None else figure.high))
        if (figure.low, figure.high) == (None, None):
            exact.append(action)
    power, static_j = static_power_w(chip, program), 0.0
    time_s = None if latency is None else latency.timestep_s["mean"] * n_timesteps
    if "static" in held:
        included["static"] = held["static"]
    elif power is None or time_s is None:
        missing.append("static")
    else:
        static_j = parts["static"] = power[0] * time_s
        ends["static"] = power[1] * time_s, power[2] * time_s
        if (chip.static_power.low, chip.static_power.high) == (None, None):
            exact.append("static")
    total = float(sum(parts.values()))
    whole = not missing and (not static_j or latency is not None and latency.complete)
    low_j, high_j = (float(sum(end[side] for end in ends.values())) for side in (0, 1))
    return Energy(total, total / n_timesteps, low_j, high_j, static_j, parts, dict(counts), tuple(missing), included, whole,
                  ends, tuple(exact))


def located(cost: Energy, trace: Trace, program: Program, counts: np.ndarray, fans: np.ndarray, n_timesteps: int) -> Energy:
    """Say where the energy of a mapped run goes: per layer and per core.

    Parameters
    ----------
    cost : Energy
        Of this program and these counts.
    counts : ndarray, int64, (slices, kernel columns)
        Summed over timesteps.
    fans : ndarray, int64, (fans,)

    Returns
    -------
    Energy
        With `by_layer` and `by_core_j`. What a slice does, and the hops of what it sends, is its
        layer's and its core's; at the border of the chip, ``host_out`` is the output layers' and
        the rest the input's.
    """
    chip, network, layers = program.chip, trace.network, program.layer_of_slice
    neurons = np.array([s.n_neurons for s in program.slices], float)
    local = bool(chip.noc and chip.noc.local_messages)
    accesses = n_timesteps * (network.depth if emulated(trace, chip) else 1)
    of_slice = {action: counts[:, column].astype(float) for action, column in COLUMN.items()}
    of_slice["message_in"] += local * counts[:, kernel.LOCAL_IN]
    of_slice["message_out"] += local * counts[:, kernel.LOCAL_OUT]
    of_slice |= {"neuron_access": neurons * accesses, "state_reset": neurons * int(trace.first[:n_timesteps].sum())}
    hops, sender = program.routes.hops * fans[:, None], program.axons.fan_slice
    inside, n_slices = sender != HOST, len(program.slices)
    by_layer: dict[str, dict[str, float]] = {name: {} for name in ("input", *program.layer_names)}
    for k, kind in enumerate(HOP_KINDS):
        of_slice[f"hop.{kind}"] = np.bincount(sender[inside], hops[inside, k], n_slices)
        _put(by_layer["input"], cost, f"hop.{kind}", float(hops[~inside, k].sum()))
    by_core = np.zeros(program.cores_used)
    for action, n in of_slice.items():
        for i, in_layer in enumerate(np.bincount(layers, n, len(program.layer_names))):
            _put(by_layer[program.layer_names[i]], cost, action, float(in_layer))
        if action in cost.parts:
            by_core += np.bincount(program.core_of_slice, n, by_core.size) * (cost.parts[action] / cost.counts[action])
    for action in ("input_compare", "host_in"):
        _put(by_layer["input"], cost, action, cost.counts[action])
    values = sum(part.elements.size for part in network.outputs)
    for part in network.outputs:
        _put(by_layer[program.layer_names[part.layer]], cost, "host_out", cost.counts["host_out"] * part.elements.size / values)
    return replace(cost, by_layer={name: parts for name, parts in by_layer.items() if parts}, by_core_j=by_core)


def _put(parts: dict[str, float], cost: Energy, action: str, n: float) -> None:
    """Add the energy of `n` times a priced action to `parts`, under the action's name without its kind."""
    if n and action in cost.parts:
        root = action.partition(".")[0]
        parts[root] = parts.get(root, 0.0) + cost.parts[action] * (n / cost.counts[action])
