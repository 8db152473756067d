"""Vector primitives in LLVM's vector types: the inner loops that plain loops do not reach.

Each function has a twin of the same name and arguments in `plain`, which `primitives` puts in
its place on processors without AVX2. Reads and writes of whole vectors may run past the end of
a table, into its spare bytes (`layout.SPARE`), which hold anything. Inside a table the
neighbours of what is added to are written back as they were; event lists hold anything behind
their end.

Sums run in event order, one event at a time. float32 and narrow weights may use fused
multiply-adds; float64 rounds every product and sum.
"""

from __future__ import annotations

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from neurosim.kernels.pointer import shifted, size_of
from neurosim.kernels.target import VECTOR_BYTES

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))


def _lanes(dtype) -> int:
    return VECTOR_BYTES * 8 // dtype.bitwidth


def _splat(builder, value, lanes):
    vector = ir.VectorType(value.type, lanes)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, I32(0))
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(I32, lanes), [0] * lanes))


def _load(builder, address, element, lanes):
    value = builder.load(builder.bitcast(address, ir.VectorType(element, lanes).as_pointer()))
    value.align = 1
    return value


def _store(builder, value, address):
    builder.store(value, builder.bitcast(address, value.type.as_pointer())).align = 1


def _at(builder, p, offset):
    return builder.gep(p, [I64(offset)])


def _weights(builder, w, dtype, real, count, lanes):
    """`count` vectors of weights, widened to `real`.

    bfloat16 (uint16) lies in pairs of vectors of L lanes, interleaved: v0 vL v1 vL+1 ... A lane of 32 bits
    then holds one weight of the first vector in its low half and one of the second in its high half: a shift
    and a mask make float32 values of both.
    """
    vector = ir.VectorType(real, lanes)
    if dtype == types.uint16:
        if not isinstance(real, ir.FloatType):
            raise TypeError("bfloat16 weights are for float32 sums")
        pairs = [_load(builder, _at(builder, w, 2 * k * lanes), I32, lanes) for k in range(count // 2)]
        low = [builder.shl(p, ir.Constant(p.type, [16] * lanes)) for p in pairs]
        high = [builder.and_(p, ir.Constant(p.type, [-65536] * lanes)) for p in pairs]
        return [builder.bitcast(half, vector) for both in zip(low, high) for half in both]
    element = {types.float32: ir.FloatType(), types.float64: ir.DoubleType()}.get(dtype) or ir.IntType(dtype.bitwidth)
    loaded = [_load(builder, _at(builder, w, k * lanes), element, lanes) for k in range(count)]
    if element == real:
        return loaded
    if isinstance(real, ir.IntType):
        return [builder.sext(v, vector) for v in loaded]
    widen = builder.sitofp if isinstance(element, ir.IntType) else builder.fpext
    return [widen(v, vector) for v in loaded]


def _multiply_add(builder, accumulator, d, w, real):
    if isinstance(real, ir.IntType):
        return builder.add(accumulator, builder.mul(d, w))
    flags = ["contract"] if isinstance(real, ir.FloatType) else []
    return builder.fadd(accumulator, builder.fmul(d, w, flags=flags), flags=flags)


def _block(count, masked=False):
    """`count` vectors of accumulators stay in registers while the weights of n events are added."""
    @intrinsic
    def add_block(typingctx, target, rows, offset, payload, n, size, weight):
        def codegen(context, builder, signature, arguments):
            target, rows, offset, payload, n, size, _ = arguments
            real = context.get_value_type(signature.args[0].dtype)
            dtype = signature.args[6].dtype
            lanes = _lanes(signature.args[0].dtype)
            places = [_at(builder, target, k * lanes) for k in range(count)]
            held = [cgutils.alloca_once(builder, ir.VectorType(real, lanes)) for _ in places]
            for place, register in zip(places, held):
                builder.store(_load(builder, place, real, lanes), register)
            inside = None
            if masked:
                ramp = ir.Constant(ir.VectorType(I64, lanes), list(range(lanes)))
                inside = builder.icmp_signed("<", ramp, _splat(builder, size, lanes))
            with cgutils.for_range_slice(builder, I64(0), n, I64(2), intp=I64) as (i, _):
                for event in range(2):
                    number = builder.add(i, I64(event))
                    w = builder.inttoptr(builder.load(builder.gep(rows, [number])), ir.IntType(dtype.bitwidth).as_pointer())
                    w = builder.gep(w, [offset])
                    d = _splat(builder, builder.load(builder.gep(payload, [number])), lanes)
                    for register, value in zip(held, _weights(builder, w, dtype, real, count, lanes)):
                        builder.store(_multiply_add(builder, builder.load(register), d, value, real), register)
            for place, register in zip(places, held):
                total = builder.load(register)
                if masked:
                    total = builder.select(inside, total, _load(builder, place, real, lanes))
                _store(builder, total, place)
            return context.get_dummy_value()
        signature = types.void(target, rows, types.int64, payload, types.int64, types.int64, weight)
        return signature, codegen
    return add_block


_block8, _block4, _block2, _tail = _block(8), _block(4), _block(2), _block(1, masked=True)


@intrinsic
def _lanes_of(typingctx, p):
    """Elements in one vector."""
    return types.int64(p), lambda context, builder, signature, arguments: I64(_lanes(signature.args[0].dtype))


@njit(forceinline=True)
def add_rows(target, rows, offset, payload, n, length, weight):
    """target[j] += payload[0] * row0[offset + j] + ... + payload[n-1] * row(n-1)[offset + j], j < length.

    Parameters
    ----------
    target : pointer to reals; changed in place
    rows : pointer to int64, (n,)
        Addresses of rows of weights.
    offset : int
        In weights.
    payload : pointer to reals, (n,)
    n : int
        Even; a row with a payload of 0 fills up.
    weight : pointer
        Only its type is used. uint16 is bfloat16 in interleaved pairs of vectors; then `offset`
        and `length` are multiples of two vectors.
    """
    lanes = _lanes_of(target)
    j = 0
    while j + 8 * lanes <= length:
        _block8(shifted(target, j), rows, offset + j, payload, n, 0, weight)
        j += 8 * lanes
    if j + 4 * lanes <= length:
        _block4(shifted(target, j), rows, offset + j, payload, n, 0, weight)
        j += 4 * lanes
    if j + 2 * lanes <= length:
        _block2(shifted(target, j), rows, offset + j, payload, n, 0, weight)
        j += 2 * lanes
    _add_tail(target, rows, offset, payload, n, length, weight, j, lanes)


def _add_tail(target, rows, offset, payload, n, length, weight, j, lanes):
    """What is left of a row, less than two vectors."""


@overload(_add_tail)
def _add_tail_of(target, rows, offset, payload, n, length, weight, j, lanes):
    if weight.dtype == types.uint16:
        return lambda target, rows, offset, payload, n, length, weight, j, lanes: None

    def tail(target, rows, offset, payload, n, length, weight, j, lanes):
        while j < length:
            _tail(shifted(target, j), rows, offset + j, payload, n, length - j, weight)
            j += lanes
    return tail


# -- compare and compact: eight values of 32 bits or four of 64 at a time ---------------------------------------------------

# Entry m of _PERMUTE: the numbers of the bits that are set in m, ascending: the lanes that move to the front.
# _PERMUTE_PAIRS: the same for values of 64 bits, as pairs of lanes of 32; _NUMBERS: the numbers of those values.
# Eight lanes at most, also where vectors are wider: AVX2 has the one instruction that moves lanes by a table.
_PERMUTE = b"".join(bytes([i for i in range(8) if mask >> i & 1] + [0] * (8 - mask.bit_count())) for mask in range(256))
_PERMUTE_PAIRS = b"".join(
    bytes([2 * i + k for i in range(4) if mask >> i & 1 for k in (0, 1)] + [0] * (8 - 2 * mask.bit_count())) for mask in range(16))
_NUMBERS = b"".join(bytes([i for i in range(4) if mask >> i & 1] + [0] * (4 - mask.bit_count())) for mask in range(16))


def _entry(builder, table, mask, width):
    """Entry `mask` of a constant table of `width` bytes each, as int32 lanes."""
    constant = ir.Constant(ir.ArrayType(I8, len(table)), bytearray(table))
    start = builder.bitcast(cgutils.global_constant(builder, "compact", constant), I8.as_pointer())
    lanes = _load(builder, builder.gep(start, [builder.mul(mask, I64(width))]), I8, width)
    return builder.zext(lanes, ir.VectorType(I32, width))


@intrinsic
def _compact_vector(typingctx, value, ref, event, payload, first, n, size, threshold, floor):
    """`compact` for one vector, of which `size` elements count; returns the new length of the list."""
    def codegen(context, builder, signature, arguments):
        value, ref, event, payload, first, n, size, threshold, floor = arguments
        real, lanes = threshold.type, 256 // signature.args[0].dtype.bitwidth
        low, held = _splat(builder, floor, lanes), _load(builder, ref, real, lanes)
        v = _load(builder, value, real, lanes)
        if isinstance(real, ir.IntType):
            v = builder.select(builder.icmp_signed("<", v, low), low, v)
            d = builder.sub(v, held)
            magnitude = builder.select(builder.icmp_signed("<", d, ir.Constant(d.type, None)), builder.neg(d), d)
            hit = builder.icmp_signed(">", magnitude, _splat(builder, threshold, lanes))
        else:
            v = builder.select(builder.fcmp_ordered("<", v, low), low, v)
            d = builder.fsub(v, held)
            fabs = _declare(builder, "llvm.fabs.v8f32" if lanes == 8 else "llvm.fabs.v4f64", d.type, d.type)
            hit = builder.fcmp_ordered(">", builder.call(fabs, [d]), _splat(builder, threshold, lanes))
        whole = ir.VectorType(ir.IntType(signature.args[0].dtype.bitwidth), lanes)
        ramp = ir.Constant(whole, list(range(lanes)))
        inside = builder.icmp_signed("<", ramp, _splat(builder, builder.trunc(size, whole.element) if lanes == 8 else size, lanes))
        hit = builder.and_(hit, inside)
        mask = builder.zext(builder.bitcast(hit, ir.IntType(lanes)), I64)
        # without a branch on the mask, which no branch predictor foresees
        eight = ir.VectorType(ir.FloatType(), 8)
        permute = _declare(builder, "llvm.x86.avx2.permps", eight, eight, ir.VectorType(I32, 8))
        order = _entry(builder, _PERMUTE if lanes == 8 else _PERMUTE_PAIRS, mask, 8)
        sent = builder.bitcast(builder.call(permute, [builder.bitcast(d, eight), order]), d.type)
        _store(builder, sent, builder.gep(payload, [n]))
        number = order if lanes == 8 else _entry(builder, _NUMBERS, mask, 4)
        _store(builder, builder.add(number, _splat(builder, builder.trunc(first, I32), lanes)), builder.gep(event, [n]))
        # the instruction by name: a select would become a masked store, which is slow on some processors
        blend = _declare(builder, "llvm.x86.avx.blendv.ps.256", eight, eight, eight, eight)
        chosen = [builder.bitcast(x, eight) for x in (held, v, builder.sext(hit, whole))]
        _store(builder, builder.bitcast(builder.call(blend, chosen), d.type), ref)
        return builder.add(n, builder.ctpop(mask))
    return types.int64(value, ref, event, payload, types.int64, types.int64, types.int64, value.dtype, value.dtype), codegen


def _declare(builder, name, result, *arguments):
    return cgutils.get_or_insert_function(builder.module, ir.FunctionType(result, arguments), name)


@intrinsic
def count_bits(typingctx, mask):
    """Bits that are set."""
    return types.int64(types.int64), lambda context, builder, signature, arguments: builder.ctpop(arguments[0])


@njit
def compact(value, ref, event, payload, first, n, size, threshold, floor):
    """Append every element whose value moved by more than the threshold; return the new length of the list.

    Equation: a = max(value, floor); if abs(a - ref) > threshold: send a - ref, ref = a.

    Parameters
    ----------
    value, ref : pointers to reals, of the elements first, first + 1, ... (size of them)
    event, payload : pointers to int32 and reals, of the whole list
    n : events already in the list
    """
    lanes = 32 // size_of(value)
    for j in range(0, size, lanes):
        n = _compact_vector(shifted(value, j), shifted(ref, j), event, payload, first + j, n, size - j, threshold, floor)
    return n


# -- blocks of bytes -------------------------------------------------------------------------------------------------

@intrinsic
def differing(typingctx, a, b):
    """Bit i: byte i of two blocks of 64 bytes differs."""
    def codegen(context, builder, signature, arguments):
        halves = []
        for start in (0, 32):
            x, y = (_load(builder, _at(builder, p, start), I8, 32) for p in arguments)
            halves.append(builder.zext(builder.bitcast(builder.icmp_unsigned("!=", x, y), I32), I64))
        return builder.or_(halves[0], builder.shl(halves[1], I64(32)))
    return types.int64(a, b), codegen


@intrinsic
def lowest(typingctx, mask):
    """Number of the lowest bit that is set, of a mask that is not 0."""
    return types.int64(types.int64), lambda context, builder, signature, arguments: builder.cttz(arguments[0], I1(1))


@intrinsic
def prefetch(typingctx, address):
    """Ask for the cache line at an address; never faults."""
    def codegen(context, builder, signature, arguments):
        byte = I8.as_pointer()
        function = ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32])
        builder.call(cgutils.get_or_insert_function(builder.module, function, "llvm.prefetch.p0"),
                     [builder.inttoptr(arguments[0], byte), I32(0), I32(3), I32(1)])  # to read, to keep, data
        return context.get_dummy_value()
    return types.void(types.int64), codegen


