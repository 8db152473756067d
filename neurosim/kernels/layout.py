"""The layout of a network in memory, explained once.

The whole network is one int64 table, the *plan*: a header, then rows, one per layer, per group of
synapses, per sender and per step of f, then the count row of the timestep and two rows of totals.
A slot holds a number, the *address* of a table (0: none), or the *index* of another row in the
plan (0: none). Every table is an array of its own, aligned to a cache line and followed by spare
bytes. The address of the compiled kernel that serves a row stands in the row as well, so that
dense, sparse, narrow and wide weights need no branch and only what a network uses is compiled.

A *sender* is the input or a layer that other layers read: `ref` holds the last value it sent;
its event list holds (element, payload) of the current timestep, elements ascending.

A *group* is one set of synapses seen from its source. A *cell* is a place in the grid that the
group reads, (y * width + x) * channels + c. Without a view a cell's number is that of the source's
element; through a view (flattening, slicing, transposing) CELL[element] says which, or -1 for none.
cell // channels is computed as cell * MAGIC >> SHIFT.

Neurons and inputs stand height x width x channel, so events at one *position* are neighbours
in the list and feed the same targets: their sums stay in registers over all of them. ::

    events     e0    e1    e2  | e3 | e4    e5        elements ascending
    position   5     5     5   | 6  | 9     9         cell // channels
    channel    0     2     7   | 1  | 0     3         cell %  channels

Positions that meet their targets over the same taps share a *class* (in a convolution: the phase of
the stride, and what the border cuts off); classes whose targets lie alike share a *shape*. So the
tables are short: ::

    PLACE[position] = class, first target position
    CLASS[class]    = shape, weight base, weights per channel, fan-out

**Convolution.** An event of channel c at a position of class k meets the segments s of the class's
shape: ::

    accumulators[first target * channels out + S_TARGET[s] + (0 .. S_LENGTH[s] - 1)]
        +=  payload * weights[base of k + c * weights per channel of k + S_WEIGHT[s] + (0 .. S_LENGTH[s] - 1)]

Weights are repacked for this by the phase of the stride. Kernel 8, stride 4: the two taps that one
source column meets, k = phase and k = phase + 4, feed neighbouring target columns in descending
order; stored in that order, output channels innermost, they are one segment per kernel row: ::

    weights[kernel row][phase][source channel][ tap phase+4 : channels out | tap phase : channels out ]
                                               '---> target column x-1     '---> target column x

(A dilated kernel has one segment per tap.) Neighbouring events with the same first target and shape
are one *visit*: with stride 4, up to four positions of all channels. Events are delivered in two
passes over at most CHUNK of them: *gather* lists the visits, and of each event the address of its row
of weights and its payload (times the scale of narrow weights); *add* goes through the segments. ::

    ROWS     r0 r1 r2 r2 | r3 r3 | r4 r5     an odd number is filled up with a payload of 0
    VISITS   shape, target, end = 3 | ...

It adds visit by visit or, where there are many events, tap by tap for all visits of one row of
positions, so that the weights of a tap stay in the first-level cache.

**Full synapses** need none of this: one row of weights per source element, filled up to whole
vectors (pairs of them for bfloat16).

**Sparse rows** hold everything else (pruned weights, depthwise and grouped convolutions, pooling,
identity): for each class and channel, ROW_START[class * channels + channel] onwards, the targets
relative to the first and the weights, non-zero ones only, filled up to fours with weights of 0.

A *unit* is the block of neurons that is always touched together (`Layer.unit`): all channels of a
position under an ordinary convolution, the whole layer under full synapses, one neuron under
pooling, identity and depthwise synapses. `MARK` has a byte per unit: an event marks the units that it
meets (over zero weights too; runs of units per shape in M_UNIT and M_COUNT, in sparse rows per
class), the update evaluates the marked ones and clears the marks.

**Layers that run in every timestep** (neurons with a state, static ones behind spikes) have up to two tables of accumulators:
what lasts (bias and held changes), and what came in this timestep alone. Groups whose events count only in their own timestep
feed the latter: their G_LAYER is a second row of the layer that differs in L_ACCUMULATOR. A *delay line* is a ring of event
lists: at the end of a timestep the sender's list goes into it, and a row like that of a sender shows the one to be read next.

Counting never happens in the inner loop: an event adds the fan-out of its class and the
non-zero fan-out of its class and channel (no table where no weight is 0).
"""

# header of the plan
(N_LAYERS, N_SENDERS, LAYERS, GROUPS, SENDERS, COUNTS, TOTALS, FIRST_TOTALS,      # sizes, and where rows start
 ADVANCE, RESET, ENCODE, _ENCODE_1, _ENCODE_2,                                    # kernels; ENCODE + i reads RAW_TYPES[i]
 SCHEDULE, RULE, FIRST, TIMESTEPS, FIRST_TIMESTEPS,                               # FIRST: 1 in the timestep after a reset
 N_INPUT, N_DIMENSIONS, SHAPE, RAW_KIND, PREVIOUS, CHANGED, MASKS, INPUT_SCRATCH, # the input, and what it was last time
 ENCODER_TABLE, ENCODER, N_ENCODER,                                               # of bytes; steps
 ANSWER, ANSWERS_LEFT, N_ANSWER, ANSWER_BYTES, ANSWER_SOURCE,
 RECORD, RECORD_FILL, RECORD_CAPACITY, RECORD_BYTES, LOG, LOG_FILL, LOG_CAPACITY, MAX_EVENTS,   # the caller's buffers
 BLOCK_X, BLOCK_FIRST, BLOCK_SIZE,                                                # the block that a step of f works on
 LINES, N_LINES,                                                                  # delay lines
 N_HEADER) = range(48)

# layer row
(L_NEURONS, L_UNIT, L_N_UNITS, L_MARK, L_INITIAL, L_ACCUMULATOR, L_VALUE, L_SENDER, L_UPDATE,
 L_F, L_N_F, L_FLOOR, L_GROUP, L_N_GROUPS, L_SCRATCH, L_AT_A_TIME, L_POOL_START, L_POOL_ELEMENT, L_POOL_SENDER, L_COUNTS,
 L_N_ACCUMULATORS, L_ALWAYS, L_AUTONOMOUS, L_TRANSIENT, L_SUM, L_RESULT,         # layers that run in every timestep
 L_NEURON, L_STATE, L_N_STATE, L_PARAMETERS, L_OVERFLOWS,
 LAYER_ROW) = range(32)

# group row
(G_KERNEL, G_SENDER, G_LAYER, G_WEIGHTED, G_WEIGHT,
 G_CELL, G_READ, G_READ_PAYLOADS,                                # through a view: cell of each element; events read, in cells
 G_CHANNELS, G_MAGIC, G_SHIFT, G_PLACE, G_CLASS, G_N_OUT,        # where an event stands, and what it meets
 G_MARKS, G_M_UNIT, G_M_COUNT, G_UNITS, G_FAN_OUT, G_NONZERO,
 G_SEGMENTS, G_S_TARGET, G_S_WEIGHT, G_S_LENGTH,                 # convolution
 G_VISITS, G_TAP_ROWS, G_TAP_COLUMNS, G_WIDTH, G_GATHERED,
 G_SCALE, G_ROWS, G_PAYLOADS, G_LENGTH, G_BATCH,                  # dense rows
 G_ROW_START, G_ROW_TARGET, G_FIRST_UNIT, G_CHANNEL_GROUPS, G_LONG_ROWS,  # sparse rows
 GROUP_ROW) = range(40)

# class row, int32
K_SHAPE, K_BASE, K_STEP, K_FAN_OUT, CLASS_ROW = range(5)

# visit row, int32: where the visit's rows end among those gathered
V_SHAPE, V_TARGET, V_END, VISIT_ROW = range(4)

# sender row
S_ELEMENTS, S_REF, S_EVENT, S_PAYLOAD, S_COUNT, S_THRESHOLD, S_SIGNAL, S_SHIFT, SENDER_ROW = range(9)
CHANGES, VALUES = 0, 1
"""S_SIGNAL: a sender sends changes of its values, or all values that are not 0."""

# delay line: the sender it reads and the one it feeds, its length and place, and its slots' tables
D_SENDER, D_READER, D_DELAY, D_AT, D_EVENT, D_PAYLOAD, D_COUNT, DELAY_ROW = range(8)

# f row: kernel, then address and kind of two parameters
F_KERNEL, F_P0, F_KIND0, F_P1, F_KIND1, F_CHANNELS, F_ROW = range(7)
SCALAR, PER_CHANNEL, PER_NEURON = 0, 1, 2

# columns of a count row: counters.KERNEL_COLUMNS
(C_EVENTS, C_SYNAPTIC_OPS, C_EFFECTIVE_MACS, C_UNWEIGHTED_OPS, C_NEURON_UPDATES, C_EVENTS_OUT, C_EFFECTIVE_ACS,
 N_COLUMNS) = range(8)
UNWEIGHTED, MACS, ACS = 0, 1, 2
"""G_WEIGHTED: in which column synapses with a weight count."""

FALL_THROUGH, PIPELINED = 0, 1
HOLD, SIGMA_DELTA, QUANTISED, NAIVE = 0, 1, 2, 3

RAW_TYPES = ("uint8", "float32", "float64")
"""Types in which the kernels take inputs; the slots ENCODE + i hold the kernels that read them."""

LINE = 64
"""Bytes of a cache line."""

BLOCK = 64
"""Bytes in which inputs are compared: one bit each in an int64."""

SPARE = 128
"""Bytes behind every table that vectors may run into: two of 64 (rows are filled up to pairs)."""

CHUNK = 512
"""Events that a convolution or sparse rows take at a time: the size of their lists."""
