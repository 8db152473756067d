"""Brute force on a mapped chip: every event, every synapse and every link, one at a time. Shares no code with the package.

From a program only what the mapper decided is read: the box, core and storage of each slice, the tile of
each core, the port and the mesh. What has to be delivered follows from the list of all synapses (`naive`);
messages walk tile by tile, first in x, then in y.
"""

from collections import Counter, defaultdict

import numpy as np
from naive import list_synapses


class Walker:
    """A recorded run on a program. `timesteps` holds one `Counter` per timestep, `cores` counters per (timestep, core)."""

    def __init__(self, trace, program):
        self.trace, self.program, self.network = trace, program, trace.network
        self.multicast = bool(program.chip.noc.multicast)
        self.chip_width = program.mesh[0] // program.chip.chips
        self.slice_of = [self._slices_of(i, layer.shape) for i, layer in enumerate(self.network.layers)]
        self.core_of_slice = [s.core for s in program.slices]
        self.tile = [tuple(t) for t in program.tile_of_core.tolist()]
        self.stored = self._stored()
        self.timesteps, self.cores = [], []
        self.links, self.loads, self.longest = [], [], []
        for t in range(trace.n_recorded):
            self._step(t)

    def _slices_of(self, i, shape):
        grid = np.full(shape, -1)
        for n, s in enumerate(self.program.slices):
            if s.layer == i:
                for y in range(*s.rows):
                    for x in range(*s.columns):
                        for c in range(*s.channels):
                            grid[y, x, c] = n
        return grid.ravel().tolist()

    def _stored(self):
        """{sender: {element: {(slice, group): [weights]}}} of synapses that take part, and all targets for updates."""
        chip_core = self.program.chip.core[0]
        stored = {s: defaultdict(lambda: defaultdict(list)) for s in self.network.senders}
        self.targets = {s: defaultdict(set) for s in self.network.senders}
        for i, layer in enumerate(self.network.layers):
            for g, synapses in enumerate(layer.synapses):
                for element, targets in list_synapses(synapses)[0].items():
                    for target, weight in targets:
                        stored[synapses.source][element][self.slice_of[i][target], g].append(weight)
                        self.targets[synapses.source][element].add((i, target))
        for sender in stored:
            for there in stored[sender].values():
                for (n, g), weights in list(there.items()):
                    s = self.program.slices[n]
                    kind, weighted = self.network.layers[s.layer].synapses[g].kind, weights[0] is not None
                    drops = weighted and (chip_core.axon_source == "nonzero" or (
                        chip_core.axon_source is None and kind == "full" and s.storage[g] == "sparse"))
                    if drops and not any(weights):
                        del there[n, g]
        return stored

    def _visits(self, n, g, weights):
        s = self.program.slices[n]
        if s.storage[g] == "sparse":
            return sum(1 for w in weights if w is None or w != 0)
        if s.storage[g] == "crossbar":
            return self.program.chip.core[0].neurons or s.n_neurons
        return len(weights)

    def _events(self, t):
        """(sender, element) of every event transmitted in a timestep."""
        n = len(self.network.senders)
        for j, sender in enumerate(self.network.senders):
            for e in range(self.trace.event_start[t * n + j], self.trace.event_start[t * n + j + 1]):
                yield sender, int(self.trace.event_element[e])

    def _step(self, t):
        total, cores, links, longest = Counter(), defaultdict(Counter), defaultdict(Counter), defaultdict(float)
        levels = self.network.levels
        pipelined = self.trace.schedule == "pipelined"
        for sender, element in self._events(t):
            level = 0 if pipelined or sender < 0 else min(levels[sender], max(levels) - 1)
            self._send(sender, element, total, cores, links[level], longest, level)
        arriving = [(s, e) for s, e in self._events(t) if s < 0 or not pipelined]
        if pipelined and t > 0 and not self.trace.first[t]:
            arriving += [(s, e) for s, e in self._events(t - 1) if s >= 0]
        touched = set()
        for sender, element in arriving:
            self._arrive(sender, element, total, cores)
            touched |= self.targets[sender][element]
        if self.trace.first[t]:
            touched = {(i, n) for i, layer in enumerate(self.network.layers) for n in range(layer.n_neurons)}
        for i, neuron in touched:
            cores[self.core_of_slice[self.slice_of[i][neuron]]]["updates"] += 1
        self.timesteps.append(total)
        self.cores.append(cores)
        self.links.append({level: max(load.values(), default=0) for level, load in links.items()})
        self.loads.append(links)
        self.longest.append(dict(longest))

    def _send(self, sender, element, total, cores, load, longest, level):
        own = None if sender < 0 else self.core_of_slice[self.slice_of[sender][element]]
        if own is not None:
            cores[own]["events_out"] += 1
        start = self.program.port if own is None else self.tile[own]
        targets = {self.core_of_slice[n] for n, _ in self.stored[sender][element]}
        crossed = []
        for core in targets - {own}:
            path = list(self._walk(start, self.tile[core]))
            crossed += path
            total["local_hops"] += not path and not self.multicast
            longest[level] = max(longest[level], sum(self._hop_s(*link) for link in path) or (0 if path else self._tile_s()))
        messages = len(targets - {own})
        if self.multicast:
            crossed, messages = set(crossed), min(messages, 1)
            total["local_hops"] += bool(messages and not crossed)
        total["sent"] += messages
        total["input_sent"] += messages if own is None else 0
        if own is not None:
            cores[own]["messages_out"] += messages
        for link in crossed:
            total[self._kind(*link)] += 1
            load[link] += 1
            total["links"] += 1

    def _arrive(self, sender, element, total, cores):
        own = None if sender < 0 else self.core_of_slice[self.slice_of[sender][element]]
        for core in {self.core_of_slice[n] for n, _ in self.stored[sender][element]}:
            which = "local" if core == own else "received"
            total[which] += 1
            cores[core][which] += 1
        for (n, g), weights in self.stored[sender][element].items():
            visits, core = self._visits(n, g, weights), self.core_of_slice[n]
            for counts in (total, cores[core]):
                counts["visits"] += visits
                counts["visits." + self.program.slices[n].storage[g]] += visits
                if weights[0] is not None:
                    counts["weight_reads"] += visits

    def _walk(self, at, to):
        (x, y), (to_x, to_y) = at, to
        while (x, y) != (to_x, to_y):
            step = (1 if to_x > x else -1, 0) if x != to_x else (0, 1 if to_y > y else -1)
            yield (x, y), (x + step[0], y + step[1])
            x, y = x + step[0], y + step[1]

    def _kind(self, left, entered):
        if left[1] != entered[1]:
            return "y"
        return "x" if left[0] // self.chip_width == entered[0] // self.chip_width else "chip"

    def _hop_s(self, left, entered):
        return self.program.chip.time_s("hop." + self._kind(left, entered)) or 0.0

    def _tile_s(self):
        return self.program.chip.time_s("hop.local") or 0.0

    def total(self, name):
        """Sum of one counter over timesteps."""
        return sum(counter[name] for counter in self.timesteps)

    def of_core(self, name):
        """One counter per timestep and core."""
        return [[cores[c][name] for c in range(len(self.tile))] for cores in self.cores]
