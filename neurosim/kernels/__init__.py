"""Numba kernels: numbers and addresses in, numbers out, nothing of ours but tables.

Rules of this folder: it imports numpy, numba (with its llvmlite) and itself; the caller allocates;
status codes come out where something can be wrong; nothing prints and nothing is random. Start at `layout`, which explains the tables.

=============  ==========================================================================
layout         the tables of a network in memory, in words and pictures
pointer        addresses with a type: how kernels read tables
target         what the processor can do
vector, plain  the inner loops as LLVM vectors, and their twins in plain loops
primitives     whichever of the two the processor runs
encode         which inputs changed
deliver        what all ways of delivering events share: views, marks, counts
convolution    deliver events over segments of dense weights, position by position
full           deliver events over rows of dense weights
sparse         deliver events over non-zero weights only
update         evaluate, compare, emit
functions      the functions f of layers and encoders
step           one timestep, and many
compiled       kernels compiled for number types, by name
cache          where compiled kernels are kept
traffic        events of a recorded run on the slices of a mapped network
=============  ==========================================================================
"""

from neurosim.kernels.cache import is_compiled, kept

with kept():
    from neurosim.kernels import compiled, layout, step, traffic

__all__ = ["compiled", "is_compiled", "layout", "step", "traffic"]
