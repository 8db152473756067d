"""The inner loops that the kernels are made of: vectors where the processor has them, plain loops elsewhere."""

from neurosim.kernels import plain, vector
from neurosim.kernels.target import VECTORS

_chosen = vector if VECTORS else plain

add_rows = _chosen.add_rows
compact = _chosen.compact
differing = _chosen.differing
lowest = _chosen.lowest
count_bits = _chosen.count_bits
prefetch = _chosen.prefetch
