"""The counter contract: what is counted, and the sentence that is printed beside each number.

All counters are int64 and additive over timesteps and layers. Changing a definition changes
`VERSION` and gets a line in CHANGELOG.md.
"""

from __future__ import annotations

from dataclasses import dataclass

VERSION = 1


@dataclass(frozen=True, slots=True)
class Counter:
    """Name and definition of one counter, and whether it exists only after mapping."""

    name: str
    definition: str
    needs_mapping: bool = False


COUNTERS: dict[str, Counter] = {c.name: c for c in (
    Counter("dense_macs", "weighted synapses (convolution, full), each once per timestep; taps on padding do not exist"),
    Counter("padded_dense_macs", "dense_macs with the taps on padding included"),
    Counter("nonzero_macs", "dense_macs over non-zero weights"),
    Counter("zero_skip_macs", "non-zero activation x non-zero weight in the dense reference run of the same network; "
            "null where no full reference was run"),
    Counter("events", "non-zero payloads transmitted (by the input and by layers), each once"),
    Counter("synaptic_ops", "sum over events of all synapses they meet, zero weights, identity and pool synapses included"),
    Counter("effective_macs", "synapses with non-zero weight met by graded events, weighted synapses only"),
    Counter("effective_acs", "synapses with non-zero weight met by events declared as spikes (+-1), weighted synapses only"),
    Counter("unweighted_ops", "events over identity and pool synapses (adds, compares)"),
    Counter("neuron_updates", "neurons re-evaluated: touched by at least one event, or first timestep after a reset; "
            "neurons with a state in every timestep; outputs included, inputs not"),
    Counter("elementwise_ops", "evaluations of an activation function (neuron updates of layers whose f is not the identity), "
            "and of the functions and gate products of neurons with a state"),
    Counter("input_compares", "input values examined, each once per timestep"),
    Counter("output_reads", "output values read by the host"),
    Counter("messages_sent", "messages injected: unicast one per core that holds a target, multicast one", True),
    Counter("messages_received", "messages delivered to cores", True),
    Counter("messages_local", "events delivered inside the core that sent them", True),
    Counter("hops_x", "router-to-router links crossed in x", True),
    Counter("hops_y", "router-to-router links crossed in y", True),
    Counter("hops_chip", "links between chips crossed", True),
    Counter("synapse_visits", "synapses that a core really walks: all if it stores densely, non-zero ones if sparsely", True),
    Counter("weight_reads", "weights read from core memory while walking synapses", True),
    Counter("state_reads", "accumulators read: one per synapse visit and one per neuron update", True),
    Counter("state_writes", "accumulators written: one per synapse visit", True),
)}

MAPPING_FREE = tuple(name for name, c in COUNTERS.items() if not c.needs_mapping)

# Counted by the kernel per layer and timestep, in this column order.
KERNEL_COLUMNS = ("events", "synaptic_ops", "effective_macs", "unweighted_ops",
                  "neuron_updates", "events_out", "effective_acs")
"""Columns of the kernel's count rows: `events` are arrivals over the layer's synapses, `events_out` what it sent."""


def all_ops(counts: dict[str, int]) -> int:
    """Effective MACs and ACs + unweighted ops + neuron updates + input compares: printed beside every MAC figure."""
    return (counts["effective_macs"] + counts["effective_acs"] + counts["unweighted_ops"]
            + counts["neuron_updates"] + counts["input_compares"])
