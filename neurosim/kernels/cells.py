"""Activity tables and step times of families of configurations. Arrays in, arrays out.

A *table* holds one kind of count (events sent, synapses met, neurons updated) of one layer over
boxes of rows x columns x channels, as sums from the origin to each corner; its *rows* are corners,
its columns timesteps, so that the count of any box is a sum of at most eight rows, and every
operation runs over contiguous timesteps.

`tabulate` fills the increments of the tables, timestep by timestep; the sums are made by the caller.
`step_times` adds up rows x coefficients to the work of each core, and takes the slowest core and
the busiest link of every level.
"""

from __future__ import annotations

import numpy as np
from numba import njit

(S_CELLS, S_SENT, S_RECEIVED, S_COLUMNS) = range(4)
"""Sender rows: offset of its elements' cells; first rows of the events sent, and of the events received."""

(G_SENDER, G_LAYER, G_CELLS, G_CHANNELS, G_PER_GROUP, G_OUT, G_TAPS, G_VISITS, G_NONZERO, G_WEIGHTS, G_COLUMNS) = range(11)
"""Rows of groups of synapses: sender, layer, offset of its grid cells, channels of the grid, channels per
channel group, target channels of one channel group, offset of its taps, first row of synapses met, first
row of non-zero synapses met (-1: none), offset of its non-zero weights per tap, channel and interval."""

(L_POSITIONS, L_CHANNELS, L_WHOLE, L_STAMP, L_CELLS, L_CHANNEL_CELLS, L_UPDATED, L_STRIDE, L_COLUMNS) = range(9)
"""Layer rows: positions, channels, 1 where all channels of a position are met together, offsets of its stamps,
position corners and channel corners, first row of neurons updated, channel corners of a position."""

WHOLE_STRIDE = 2
"""Channel corners of a position where channels are not told apart: the origin and all of them."""

ADD, FIRST, LARGER, CLOSE = range(4)
"""What a segment of terms does: add to the work; open an overlap group; keep the larger; add the group to the work."""

BLOCK = 1024
"""Timesteps that are held at once."""


@njit(cache=True)
def touch_all(layer, position_corner, channel_corner, row):
    """Count every neuron of a layer as updated (the timestep after a reset)."""
    for p in range(layer[L_POSITIONS]):
        corner = position_corner[layer[L_CELLS] + p]
        if layer[L_WHOLE] == 1:
            row[layer[L_UPDATED] + corner * WHOLE_STRIDE + 1] += 1
        else:
            for c in range(layer[L_CHANNELS]):
                row[layer[L_UPDATED] + corner * layer[L_STRIDE] + channel_corner[layer[L_CHANNEL_CELLS] + c]] += 1


@njit(cache=True)
def touch(layer, position, low, high, now, stamp, corner, channel_corner, row):
    """Stamp neurons [low, high) of a position; count the ones that were not stamped in this timestep."""
    if layer[L_WHOLE] == 1:
        if stamp[layer[L_STAMP] + position] != now:
            stamp[layer[L_STAMP] + position] = now
            row[layer[L_UPDATED] + corner * WHOLE_STRIDE + 1] += 1
        return
    base = layer[L_STAMP] + position * layer[L_CHANNELS]
    for c in range(low, high):
        if stamp[base + c] != now:
            stamp[base + c] = now
            row[layer[L_UPDATED] + corner * layer[L_STRIDE] + channel_corner[layer[L_CHANNEL_CELLS] + c]] += 1


@njit(cache=True)
def deliver(group, layer, elements, is_reset, now, cells, tap_start, tap_position, tap_index, position_corner, channel_corner,
            nonzero, stamp, row):
    """Count the synapses that events of one sender meet over one group, and the neurons that they touch."""
    i, n = 0, elements.size
    stride, whole = layer[L_STRIDE], group[G_PER_GROUP] == group[G_CHANNELS]
    while i < n:
        cell = cells[group[G_CELLS] + elements[i]]
        i += 1
        if cell < 0:
            continue
        position, channel = cell // group[G_CHANNELS], cell % group[G_CHANNELS]
        count = 1
        if whole and group[G_NONZERO] < 0:
            while i < n:
                cell = cells[group[G_CELLS] + elements[i]]
                if cell < 0 or cell // group[G_CHANNELS] != position:
                    break
                count += 1
                i += 1
        low = channel // group[G_PER_GROUP] * group[G_OUT]
        high = low + group[G_OUT]
        for k in range(tap_start[group[G_TAPS] + position], tap_start[group[G_TAPS] + position + 1]):
            corner = position_corner[layer[L_CELLS] + tap_position[k]]
            if whole:
                row[group[G_VISITS] + corner * WHOLE_STRIDE + 1] += count
            else:
                for c in range(low, high):
                    row[group[G_VISITS] + corner * stride + channel_corner[layer[L_CHANNEL_CELLS] + c]] += 1
            if group[G_NONZERO] >= 0:
                weights = group[G_WEIGHTS] + (tap_index[k] * group[G_CHANNELS] + channel) * (stride - 1)
                for j in range(stride - 1):
                    row[group[G_NONZERO] + corner * stride + j + 1] += nonzero[weights + j]
            if not is_reset:
                touch(layer, tap_position[k], low, high, now, stamp, corner, channel_corner, row)


@njit(cache=True)
def tabulate(begin, end, pipelined, first, event_start, event_element, senders, sender_cell, groups, layers, cells, tap_start, tap_position,
             tap_index, position_corner, channel_corner, nonzero, stamp, table):
    """Fill the increments of timesteps begin .. end - 1.

    Parameters
    ----------
    pipelined : bool
        Layers consume what layers sent in the previous timestep; the input is consumed at once.
    first : bool (timesteps,)
        Timesteps that follow a reset: every neuron is updated.
    table : int32 (end - begin, rows), zeroed by the caller, filled here
    stamp : int64, changed in place; holds timesteps
    """
    n_senders = senders.shape[0]
    for t in range(begin, end):
        row = table[t - begin]
        if first[t]:
            for i in range(layers.shape[0]):
                touch_all(layers[i], position_corner, channel_corner, row)
        for j in range(n_senders):
            sender = senders[j]
            at = t * n_senders + j
            for e in event_element[event_start[at]: event_start[at + 1]]:
                row[sender[S_SENT] + sender_cell[sender[S_CELLS] + e]] += 1
            if pipelined and j > 0:
                if first[t] or t == 0:
                    continue
                at = (t - 1) * n_senders + j
            received = event_element[event_start[at]: event_start[at + 1]]
            if sender[S_RECEIVED] != sender[S_SENT]:
                for e in received:
                    row[sender[S_RECEIVED] + sender_cell[sender[S_CELLS] + e]] += 1
            for g in range(groups.shape[0]):
                if groups[g, G_SENDER] == j:
                    deliver(groups[g], layers[groups[g, G_LAYER]], received, first[t], t + 1, cells, tap_start, tap_position,
                            tap_index, position_corner, channel_corner, nonzero, stamp, row)


@njit(cache=True)
def four_rows(a, b, c, d, u, v, w, x, out):
    """out[:] += u a + v b + w c + x d."""
    for t in range(a.size):
        out[t] += u * a[t] + v * b[t] + (w * c[t] + x * d[t])


@njit(cache=True)
def one_row(a, u, out):
    """out[:] += u a."""
    for t in range(a.size):
        out[t] += u * a[t]


@njit(cache=True)
def combine(table, begin, end, term_begin, term_end, row, value, out):
    """out[:] += sum of value x table row over some terms, timesteps begin .. end - 1."""
    k = term_begin
    while k + 4 <= term_end:
        four_rows(table[row[k], begin:end], table[row[k + 1], begin:end], table[row[k + 2], begin:end], table[row[k + 3], begin:end],
                  value[k], value[k + 1], value[k + 2], value[k + 3], out)
        k += 4
    while k < term_end:
        one_row(table[row[k], begin:end], value[k], out)
        k += 1


@njit(cache=True)
def largest(table, term_start, term_row, term_value, out):
    """Largest value over time of each combination of rows (float64, (combinations,))."""
    work = np.zeros(BLOCK)
    for i in range(out.size):
        for begin in range(0, table.shape[1], BLOCK):
            end = min(begin + BLOCK, table.shape[1])
            work[:] = 0.0
            combine(table, begin, end, term_start[i], term_start[i + 1], term_row, term_value, work)
            for t in range(end - begin):
                out[i] = max(out[i], work[t])


@njit(cache=True, fastmath={"reassoc", "nsz"})
def total(values, n):
    """Sum of the first `n` values, in any order."""
    found = 0.0
    for t in range(n):
        found += values[t]
    return found


@njit(cache=True)
def keep_larger(work, n, core, best, who):
    """Where this core has more work than the best so far, take its place."""
    for t in range(n):
        larger = work[t] > best[t]
        best[t] = work[t] if larger else best[t]
        who[t] = core if larger else who[t]


@njit(cache=True, fastmath={"reassoc", "nsz"})
def total_of(seconds, who, n, core):
    """Sum of the seconds of the timesteps that `core` took, in any order."""
    found = 0.0
    for t in range(n):
        found += seconds[t] if who[t] == core else 0.0
    return found


@njit(cache=True)
def add_level(slowest, longest, busy, flit_time, idle, n, steps, seconds, link_seconds):
    """Add a level to the step times: the slowest core or the busiest link, and the longest hop."""
    for t in range(n):
        at_core, at_link = max(slowest[t], idle), busy[t] * flit_time
        on_link = at_link > at_core
        seconds[t] = 0.0 if on_link else at_core
        link_seconds[t] = at_link if on_link else 0.0
        steps[t] += seconds[t] + link_seconds[t] + longest[t]


@njit(cache=True)
def slowest_core(table, core_begin, core_end, segment_start, operation, constant, term_start, term_row, term_value,
                 work, group, other, best, who, core_work):
    """Work of the cores of one level; keep the slowest and which it is, for every timestep."""
    best[:] = 0.0
    who[:] = core_begin
    for c in range(core_begin, core_end):
        for begin in range(0, table.shape[1], BLOCK):
            end = min(begin + BLOCK, table.shape[1])
            n = end - begin
            work[:] = 0.0
            for s in range(segment_start[c], segment_start[c + 1]):
                if operation[s] == CLOSE:
                    for t in range(n):
                        work[t] += group[t]
                    continue
                at = work if operation[s] == ADD else group if operation[s] == FIRST else other
                if operation[s] == ADD:
                    for t in range(n):
                        at[t] += constant[s]
                else:
                    at[:] = constant[s]
                combine(table, begin, end, term_start[s], term_start[s + 1], term_row, term_value, at)
                if operation[s] == LARGER:
                    for t in range(n):
                        group[t] = max(group[t], other[t])
            core_work[c] += total(work, n)
            keep_larger(work, n, c, best[begin:end], who[begin:end])


@njit(cache=True, fastmath={"reassoc", "nsz"})
def note_longest(messages, seconds, n, longest):
    """Where messages pass and none that takes longer did, note their hop latency; returns timesteps still without one."""
    waiting = 0
    for t in range(n):
        longest[t] = max(longest[t], seconds if messages[t] > 0.0 else 0.0)
        waiting += 1 if longest[t] == 0.0 else 0
    return waiting


@njit(cache=True)
def longest_hop(table, begin, end, pair_begin, pair_end, pair, pair_time, pair_start, pair_row, pair_value, n_silent, work, longest):
    """Hop latency of the longest message of a level; pairs come in falling order of it.

    `n_silent` timesteps are known to pass no message in this level.
    """
    longest[:] = 0.0
    for p in range(pair_begin, pair_end):
        if pair_time[p] <= 0.0:
            return
        work[:] = 0.0
        combine(table, begin, end, pair_start[pair[p]], pair_start[pair[p] + 1], pair_row, pair_value, work)
        if note_longest(work, pair_time[p], end - begin, longest) <= n_silent:
            return


@njit(cache=True)
def silent(table, begin, end, rows):
    """Timesteps in which none of some rows counts anything."""
    n = 0
    for t in range(begin, end):
        found = 0
        for row in rows:
            found += table[row, t]
        n += found == 0
    return n


@njit(cache=True)
def add_to(row, values, n):
    """row[:n] += values[:n]."""
    for t in range(n):
        row[t] += values[t]


@njit(cache=True)
def keep_busiest(row, n, events_per_message, x, busy, which):
    """Where this link passes more flits than the best so far, take its place; the row is left empty."""
    for t in range(n):
        flits = row[t] if events_per_message == 1 else np.ceil(row[t] / events_per_message)
        larger = flits > busy[t]
        busy[t] = flits if larger else busy[t]
        which[t] = x if larger else which[t]
        row[t] = 0.0


@njit(cache=True)
def busiest_link(table, begin, end, pair_begin, pair_end, pair, pair_start, pair_row, pair_value, link_start, link,
                 events_per_message, work, load, is_used, busy, which):
    """Flits on the busiest link of a level, and which link it is.

    `load` (links of the mesh, timesteps of a block) and `is_used` (links of the mesh) are zero on entry and on return.
    """
    n = end - begin
    busy[:] = 0.0
    which[:] = -1
    for p in range(pair_begin, pair_end):
        if link_start[p] == link_start[p + 1]:
            continue
        work[:] = 0.0
        combine(table, begin, end, pair_start[pair[p]], pair_start[pair[p] + 1], pair_row, pair_value, work)
        for x in link[link_start[p]: link_start[p + 1]]:
            is_used[x] = 1
            add_to(load[x], work, n)
    for x in range(is_used.size):
        if is_used[x] == 1:
            is_used[x] = 0
            keep_busiest(load[x], n, events_per_message, x, busy, which)


@njit(cache=True)
def step_times(table, load_of, level_core, level_pair, idle, idle_core, flit_time, events_per_message, barrier,
               segment_start, operation, constant, term_start, term_row, term_value,
               pair, pair_time, pair_start, pair_row, pair_value, level_row_start, level_rows, link_start, link, n_links,
               steps, core_work, critical_start, core_critical, link_critical, parts):
    """Time of every timestep of many configurations, in order of their loads.

    A *load* is a mapping with the times of a chip: configurations of one load differ in places,
    links and barriers only, so that its slowest cores are found once.

    Parameters
    ----------
    load_of : int64 (configurations,), ascending
    level_core : int64 (loads, levels + 1)
        Cores of each level.
    level_pair : int64 (configurations, levels + 1)
        Pairs whose messages travel in each level, in falling order of their hop latency.
    idle, idle_core : float64, int64 (configurations,)
        Work of the busiest idle core, and which it is: no level takes less.
    flit_time, barrier : float64 (configurations,)
    events_per_message : int64 (configurations,)
    segment_start : int64 (cores + 1,)
    operation, constant, term_start : (segments,), (segments,), (segments + 1,)
    pair, pair_time : int64, float64
        Index in `pair_start`, and hop latency.
    level_row_start, level_rows : int64 (levels + 1,), int64
        Rows that count all events whose messages travel in a level.
    steps : float64 (configurations, timesteps), filled here
    core_work : float64 (cores,), added to
        Seconds of work.
    core_critical : float64, added to
        Seconds for which a core was the slowest thing of its level; those of a configuration from `critical_start` on.
    link_critical : float64 (configurations, links), added to
    parts : float64 (configurations, 4), added to
        Seconds of cores, links, hops and barriers.
    """
    n_timesteps, n_levels = table.shape[1], level_core.shape[1] - 1
    work, group, other, longest, busy = np.zeros(BLOCK), np.zeros(BLOCK), np.zeros(BLOCK), np.zeros(BLOCK), np.zeros(BLOCK)
    seconds, link_seconds = np.zeros(BLOCK), np.zeros(BLOCK)
    which, load = np.zeros(BLOCK, np.int64), np.zeros((n_links, BLOCK))
    is_used = np.zeros(n_links, np.uint8)
    best, who = np.zeros((n_levels, n_timesteps)), np.zeros((n_levels, n_timesteps), np.int64)
    n_silent = np.zeros((n_levels, (n_timesteps + BLOCK - 1) // BLOCK), np.int64)
    for level in range(n_levels):
        rows = level_rows[level_row_start[level]: level_row_start[level + 1]]
        for begin in range(0, n_timesteps, BLOCK):
            n_silent[level, begin // BLOCK] = silent(table, begin, min(begin + BLOCK, n_timesteps), rows)
    for i in range(load_of.size):
        mine = load_of[i]
        for level in range(n_levels):
            if i == 0 or load_of[i - 1] != mine:
                slowest_core(table, level_core[mine, level], level_core[mine, level + 1], segment_start, operation, constant,
                             term_start, term_row, term_value, work, group, other, best[level], who[level], core_work)
        for begin in range(0, n_timesteps, BLOCK):
            end = min(begin + BLOCK, n_timesteps)
            steps[i, begin:end] = barrier[i]
            parts[i, 3] += barrier[i] * (end - begin)
            for level in range(n_levels):
                first, last = level_pair[i, level], level_pair[i, level + 1]
                longest_hop(table, begin, end, first, last, pair, pair_time, pair_start, pair_row, pair_value,
                            n_silent[level, begin // BLOCK], work, longest)
                if flit_time[i] > 0.0:
                    busiest_link(table, begin, end, first, last, pair, pair_start, pair_row, pair_value, link_start, link,
                                 events_per_message[i], work, load, is_used, busy, which)
                n, slowest, core = end - begin, best[level, begin:end], who[level, begin:end]
                add_level(slowest, longest, busy, flit_time[i], idle[i], n, steps[i, begin:end], seconds, link_seconds)
                shift = critical_start[i] - level_core[mine, 0]
                if idle[i] > 0.0:
                    core = np.where(slowest < idle[i], idle_core[i] + level_core[mine, 0], core)
                    core_critical[critical_start[i] + idle_core[i]] += total_of(seconds, core, n, idle_core[i] + level_core[mine, 0])
                for c in range(level_core[mine, level], level_core[mine, level + 1]):
                    if idle[i] == 0.0 or c != idle_core[i] + level_core[mine, 0]:
                        core_critical[c + shift] += total_of(seconds, core, n, c)
                if flit_time[i] > 0.0:
                    for t in range(n):
                        if link_seconds[t] > 0.0:
                            link_critical[i, which[t]] += link_seconds[t]
                parts[i, 0] += total(seconds, n)
                parts[i, 1] += total(link_seconds, n)
                parts[i, 2] += total(longest, n)
