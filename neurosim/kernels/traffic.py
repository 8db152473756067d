"""Mapped traffic of a recorded run: what each slice does in each timestep, and how often each fan is used.

Arrays in, arrays out. Sources are numbered through over all senders (`offset`); `axon_*` is the
table of `neurosim.program.Axons`. The touched set of a timestep is found again from the events:
every unit of neurons that an event meets is stamped once and its neurons are counted as updated.

touch rows, one per group of synapses:
    cells, channels, per_group, n_out, unit, taps, units   (offsets and sizes, see `TOUCH_*`)
"""

from __future__ import annotations

from numba import njit

(MESSAGES_IN, LOCAL_IN, UPDATES, EVENTS_OUT, MESSAGES_OUT, LOCAL_OUT, WEIGHT_READS, SYNAPSES, NONZERO,
 VISITS) = range(10)
"""Columns per timestep and slice; from `VISITS` on one column per storage kind."""

N_STORAGE = 4
N_COLUMNS = VISITS + N_STORAGE

(TOUCH_SENDER, TOUCH_CELLS, TOUCH_CHANNELS, TOUCH_PER_GROUP, TOUCH_OUT, TOUCH_UNIT, TOUCH_TAPS, TOUCH_UNITS, TOUCH_BLOCKS,
 TOUCH_ROW) = range(10)


@njit(cache=True)
def touch(source, row, cells, tap_start, tap_position, stamp, now, unit_start, unit_slice, unit_neurons, counts):
    """Stamp the units that an event of `source` (within its sender) meets over one group; count their neurons."""
    cell = cells[row[TOUCH_CELLS] + source]
    if cell < 0:
        return
    position, channel = cell // row[TOUCH_CHANNELS], cell % row[TOUCH_CHANNELS]
    first = channel // row[TOUCH_PER_GROUP] * row[TOUCH_OUT] // row[TOUCH_UNIT]
    n_units = row[TOUCH_OUT] // row[TOUCH_UNIT]
    taps = row[TOUCH_TAPS]
    for k in range(tap_start[taps + position], tap_start[taps + position + 1]):
        base = row[TOUCH_UNITS] + tap_position[k] * row[TOUCH_BLOCKS] + first
        for u in range(base, base + n_units):
            if stamp[u] != now:
                stamp[u] = now
                for i in range(unit_start[u], unit_start[u + 1]):
                    counts[unit_slice[i], UPDATES] += unit_neurons[i]


@njit(cache=True)
def count(begin, end, pipelined, first, event_start, event_element, offset,
          axon_start, axon_slice, axon_synapses, axon_nonzero, axon_visits, axon_storage, axon_weighted, axon_delivery,
          fan_of_source, fan_slice, fan_messages, fan_local,
          touch_start, touch_rows, cells, tap_start, tap_position, stamp, unit_start, unit_slice, unit_neurons,
          slice_neurons, slice_always, counts, fans):
    """Count timesteps begin .. end - 1.

    Parameters
    ----------
    pipelined : bool
        Layers consume what layers sent in the previous timestep; the input is consumed at once,
        and the first timestep after a reset consumes nothing of the previous one.
    first : bool (timesteps,)
        Timesteps that follow a reset: every neuron is updated.
    touch_start : int64 (senders + 1,)
        Touch rows of each sender.
    slice_always : bool (slices,)
        Slices whose neurons are all updated in every timestep; their units count no neurons.
    stamp : int64 (units,)
        Changed in place; holds timesteps.
    counts : int64 (end - begin, slices, N_COLUMNS), zeroed by the caller, filled here
    fans : int64 (end - begin, fans), zeroed by the caller, filled here
        Events sent per fan.
    """
    n_senders = offset.size - 1
    for t in range(begin, end):
        row = counts[t - begin]
        for s in range(slice_neurons.size):
            if first[t] or slice_always[s]:
                row[s, UPDATES] += slice_neurons[s]
        for j in range(n_senders):
            at = t * n_senders + j
            for e in range(event_start[at], event_start[at + 1]):
                fan = fan_of_source[offset[j] + event_element[e]]
                fans[t - begin, fan] += 1
                if fan_slice[fan] >= 0:
                    row[fan_slice[fan], EVENTS_OUT] += 1
                    row[fan_slice[fan], MESSAGES_OUT] += fan_messages[fan]
                    row[fan_slice[fan], LOCAL_OUT] += fan_local[fan]
            if pipelined and j > 0:
                if first[t] or t == 0:
                    continue
                at = (t - 1) * n_senders + j
            for e in range(event_start[at], event_start[at + 1]):
                element = event_element[e]
                source = offset[j] + element
                for a in range(axon_start[source], axon_start[source + 1]):
                    s = axon_slice[a]
                    visits = axon_visits[a]
                    row[s, VISITS + axon_storage[a]] += visits
                    row[s, SYNAPSES] += axon_synapses[a]
                    if axon_weighted[a] == 1:
                        row[s, WEIGHT_READS] += visits
                        row[s, NONZERO] += axon_nonzero[a]
                    if axon_delivery[a] == 1:
                        row[s, MESSAGES_IN] += 1
                    elif axon_delivery[a] == 2:
                        row[s, LOCAL_IN] += 1
                if not first[t]:
                    for g in range(touch_start[j], touch_start[j + 1]):
                        touch(element, touch_rows[g], cells, tap_start, tap_position, stamp, t + 1,
                              unit_start, unit_slice, unit_neurons, row)


@njit(cache=True)
def links(fans, fan_level, fan_time, link_start, link, events_per_message, load, busiest, busiest_link, longest,
          total, flits):
    """Load of links and longest hop latency, per timestep and level.

    Parameters
    ----------
    fans : int64 (timesteps, fans)
    fan_level : int64 (fans,)
        Level in which the messages of a fan travel.
    fan_time : float64 (fans,)
        Hop latency of the longest message of a fan.
    load : int64 (levels, links)
        Scratch, zero on entry and on return.
    busiest, busiest_link : int64 (timesteps, levels)
        Flits on the busiest link (events / events_per_message, rounded up), and the link (-1: none).
    longest : float64 (timesteps, levels)
    total, flits : int64 (links,)
        Events and flits over each link, added to.
    """
    for t in range(fans.shape[0]):
        for f in range(fans.shape[1]):
            n = fans[t, f]
            if n == 0:
                continue
            level = fan_level[f]
            if fan_time[f] > longest[t, level]:
                longest[t, level] = fan_time[f]
            for k in range(link_start[f], link_start[f + 1]):
                x = link[k]
                load[level, x] += n
                total[x] += n
                full = (load[level, x] + events_per_message - 1) // events_per_message
                if full > busiest[t, level]:
                    busiest[t, level] = full
                    busiest_link[t, level] = x
        for f in range(fans.shape[1]):
            if fans[t, f] > 0:
                for k in range(link_start[f], link_start[f + 1]):
                    n = load[fan_level[f], link[k]]
                    flits[link[k]] += (n + events_per_message - 1) // events_per_message
                    load[fan_level[f], link[k]] = 0
