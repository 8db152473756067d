"""The layout of a network in memory: four flat pools and one table of offsets.

::

    plan   int64    header | layer rows | group rows | sender rows | f rows | counts | totals
    reals  float    weights | f parameters | initial accumulators      (constant)
                    accumulators | refs | values | payloads | scratch   (state)
    ints   int32    where sources stand, segments, fan-outs, event lists
    marks  uint8    one byte per unit of neurons that must be re-evaluated

A *sender* is the input or a layer that other layers read: its `ref` holds the last value it
sent, its event list holds (element, payload) of the current timestep, elements ascending.

A *group* is one set of synapses seen from its source. Source element e stands at a position
p = POSITION[e] and in a channel. Each position owns *segments*: runs of neighbouring target
neurons that are fed from neighbouring weights, so that an event is a few short

    accumulators[destination : destination + length] += payload * weights[offset : offset + length]

with  destination = SEGMENT_DESTINATION[s] + DESTINATION_SHIFT[e]
and   offset      = SEGMENT_WEIGHT[s] + WEIGHT_SHIFT[e].

Convolution weights are repacked for this by the phase of the stride: the taps that one source
column meets, k = phase, phase + stride, ..., feed neighbouring target columns in descending
order; stored in that order with the output channels innermost they are one segment per kernel
row. Taps that fall outside the target are not in any segment: no bounds are tested in a loop.

A *unit* is the block of neurons that is always touched together: all channels of a position
under an ordinary convolution, the whole layer under full synapses, one neuron under pooling,
identity and depthwise synapses.
"""

# header of the plan
(INTS, N_INTS, MARKS, N_MARKS, N_LAYERS, N_SENDERS, LAYERS, GROUPS, SENDERS, COUNTS, TOTALS, FIRST_TOTALS,
 SCHEDULE, RULE, FIRST, TIMESTEPS, FIRST_TIMESTEPS,
 INITIAL, ACCUMULATORS, N_ACCUMULATORS, REFS, N_REFS, ANSWER, N_ANSWER, ANSWER_SOURCE,
 ENCODER_TABLE, PREVIOUS, N_INPUT,
 RECORD, RECORD_FILL, RECORD_CAPACITY, LOG, LOG_FILL, LOG_CAPACITY, MAX_EVENTS, N_HEADER) = range(36)

# layer row
(L_NEURONS, L_CHANNELS, L_UNIT, L_N_UNITS, L_MARK, L_ACCUMULATOR, L_VALUE, L_SENDER,
 L_F, L_N_F, L_GROUP, L_N_GROUPS, L_SCRATCH, L_POOL_START, L_POOL_ELEMENT, LAYER_ROW) = range(16)

# group row
(G_SENDER, G_POSITION, G_WEIGHT_SHIFT, G_DESTINATION_SHIFT, G_SEGMENT_START, G_SEGMENT_DESTINATION,
 G_SEGMENT_WEIGHT, G_SEGMENT_LENGTH, G_WEIGHT, G_FAN_OUT, G_NONZERO, G_WEIGHTED, G_ADDS, GROUP_ROW) = range(14)

# sender row
S_ELEMENTS, S_REF, S_EVENT, S_PAYLOAD, S_COUNT, S_THRESHOLD, SENDER_ROW = range(7)

# f row: operator, then offset and kind of two parameters
F_OP, F_P0, F_KIND0, F_P1, F_KIND1, F_ROW = range(6)
PER_CHANNEL, PER_NEURON = 0, 1

# columns of a count row: counters.KERNEL_COLUMNS
(C_EVENTS, C_SYNAPTIC_OPS, C_EFFECTIVE_MACS, C_UNWEIGHTED_OPS, C_NEURON_UPDATES, C_EVENTS_OUT, N_COLUMNS) = range(7)

FALL_THROUGH, PIPELINED = 0, 1
HOLD, SIGMA_DELTA, QUANTISED, NAIVE = 0, 1, 2, 3

OPS = ("affine", "relu", "leaky_relu", "elu", "clip", "tanh", "sigmoid", "hard_sigmoid", "hard_swish", "swish", "softplus")
(AFFINE, RELU, LEAKY_RELU, ELU, CLIP, TANH, SIGMOID, HARD_SIGMOID, HARD_SWISH, SWISH, SOFTPLUS) = range(11)
