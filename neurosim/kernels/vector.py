"""Vector primitives in LLVM's vector types: the inner loops that plain loops do not reach.

Each function has a twin of the same name and arguments in `plain`, which `primitives` puts in
its place on processors without AVX2. All reads and writes of whole vectors may run up to one
vector past the end of what they are about: every table ends in spare bytes (`layout.SPARE`), and what lies
there is written back as it was.

Sums run in event order, one event at a time. float32 and narrow weights may use fused
multiply-adds; float64 rounds every product and sum.
"""

from __future__ import annotations

from llvmlite import ir
from numba import njit, types
from numba.core import cgutils
from numba.extending import intrinsic, overload

from neurosim.kernels.pointer import shifted
from neurosim.kernels.target import VECTOR_BYTES

I1, I8, I16, I32, I64 = (ir.IntType(bits) for bits in (1, 8, 16, 32, 64))


def _lanes(dtype) -> int:  # type: ignore[no-untyped-def]
    return VECTOR_BYTES * 8 // dtype.bitwidth


def _splat(builder, value, lanes):  # type: ignore[no-untyped-def]
    vector = ir.VectorType(value.type, lanes)
    one = builder.insert_element(ir.Constant(vector, ir.Undefined), value, I32(0))
    return builder.shuffle_vector(one, ir.Constant(vector, ir.Undefined), ir.Constant(ir.VectorType(I32, lanes), [0] * lanes))


def _load(builder, address, element, lanes):  # type: ignore[no-untyped-def]
    value = builder.load(builder.bitcast(address, ir.VectorType(element, lanes).as_pointer()))
    value.align = 1
    return value


def _store(builder, value, address):  # type: ignore[no-untyped-def]
    builder.store(value, builder.bitcast(address, value.type.as_pointer())).align = 1


def _at(builder, p, offset):  # type: ignore[no-untyped-def]
    return builder.gep(p, [I64(offset)])


def _weights(builder, w, dtype, real, count, lanes):  # type: ignore[no-untyped-def]
    """`count` vectors of weights, widened to `real`. bfloat16 (uint16) lies in pairs of vectors, interleaved."""
    vector = ir.VectorType(real, lanes)
    if dtype == types.uint16:
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


def _multiply_add(builder, accumulator, d, w, real):  # type: ignore[no-untyped-def]
    if isinstance(real, ir.IntType):
        return builder.add(accumulator, builder.mul(d, w))
    flags = ["contract"] if isinstance(real, ir.FloatType) else []
    return builder.fadd(accumulator, builder.fmul(d, w, flags=flags), flags=flags)


def _block(count, masked=False):  # type: ignore[no-untyped-def]
    """`count` vectors of accumulators stay in registers while the weights of n events are added."""
    @intrinsic
    def add_block(typingctx, target, rows, offset, payload, n, size, weight):  # type: ignore[no-untyped-def]
        def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
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
            with cgutils.for_range_slice(builder, I64(0), n, I64(4), intp=I64) as (i, _):
                for event in range(4):
                    number = builder.add(i, I64(event))
                    w = builder.inttoptr(builder.load(builder.gep(rows, [number])), ir.IntType(dtype.bitwidth).as_pointer())
                    w = builder.gep(w, [offset])
                    d = _splat(builder, builder.load(builder.gep(payload, [number])), lanes)
                    for register, value in zip(held, _weights(builder, w, dtype, real, count, lanes)):
                        if masked:
                            value = builder.select(inside, value, ir.Constant(value.type, [0] * lanes))
                        builder.store(_multiply_add(builder, builder.load(register), d, value, real), register)
            for place, register in zip(places, held):
                _store(builder, builder.load(register), place)
            return context.get_dummy_value()
        signature = types.void(target, rows, types.int64, payload, types.int64, types.int64, weight)
        return signature, codegen
    return add_block


_block8, _block4, _block2, _tail = _block(8), _block(4), _block(2), _block(1, masked=True)


@intrinsic
def lanes_of(typingctx, p):  # type: ignore[no-untyped-def]
    """Elements in one vector."""
    return types.int64(p), lambda context, builder, signature, arguments: I64(_lanes(signature.args[0].dtype))


@njit(forceinline=True)
def add_rows(target, rows, offset, payload, n, length, weight):  # type: ignore[no-untyped-def]
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
        A multiple of four; rows with a payload of 0 fill up.
    weight : pointer
        Only its type is used. uint16 is bfloat16 in interleaved pairs of vectors; then `offset`
        and `length` are multiples of two vectors.
    """
    lanes = lanes_of(target)
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


def _add_tail(target, rows, offset, payload, n, length, weight, j, lanes):  # type: ignore[no-untyped-def]
    """What is left of a row, less than two vectors."""


@overload(_add_tail)
def _add_tail_of(target, rows, offset, payload, n, length, weight, j, lanes):  # type: ignore[no-untyped-def]
    if weight.dtype == types.uint16:
        return lambda target, rows, offset, payload, n, length, weight, j, lanes: None

    def tail(target, rows, offset, payload, n, length, weight, j, lanes):  # type: ignore[no-untyped-def]
        while j < length:
            _tail(shifted(target, j), rows, offset + j, payload, n, length - j, weight)
            j += lanes
    return tail


# -- compare and compact: eight float32 or four float64 at a time ---------------------------------------------------

_PERMUTE = b"".join(bytes([i for i in range(8) if mask >> i & 1] + [0] * (8 - mask.bit_count())) for mask in range(256))
_PERMUTE_PAIRS = b"".join(
    bytes([2 * i + k for i in range(4) if mask >> i & 1 for k in (0, 1)] + [0] * (8 - 2 * mask.bit_count())) for mask in range(16))
_NUMBERS = b"".join(bytes([i for i in range(4) if mask >> i & 1] + [0] * (4 - mask.bit_count())) for mask in range(16))


def _entry(builder, table, mask, width):  # type: ignore[no-untyped-def]
    """Entry `mask` of a constant table of `width` bytes each, as int32 lanes."""
    constant = ir.Constant(ir.ArrayType(I8, len(table)), bytearray(table))
    start = builder.bitcast(cgutils.global_constant(builder, "compact", constant), I8.as_pointer())
    lanes = _load(builder, builder.gep(start, [builder.mul(mask, I64(width))]), I8, width)
    return builder.zext(lanes, ir.VectorType(I32, width))


def _difference(builder, value, ref, floor, real, lanes):  # type: ignore[no-untyped-def]
    v = _load(builder, value, real, lanes)
    low = _splat(builder, floor, lanes)
    v = builder.select(builder.fcmp_ordered("<", v, low), low, v)
    return v, builder.fsub(v, _load(builder, ref, real, lanes))


@intrinsic
def _changed(typingctx, value, ref, size, threshold, floor):  # type: ignore[no-untyped-def]
    """Bit i: max(value[i], floor) differs from ref[i] by more than the threshold; for one vector, and i < size."""
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        value, ref, size, threshold, floor = arguments
        real, lanes = threshold.type, 256 // signature.args[0].dtype.bitwidth
        _, d = _difference(builder, value, ref, floor, real, lanes)
        name = "llvm.fabs.v8f32" if lanes == 8 else "llvm.fabs.v4f64"
        fabs = cgutils.get_or_insert_function(builder.module, ir.FunctionType(d.type, [d.type]), name)
        hit = builder.fcmp_ordered(">", builder.call(fabs, [d]), _splat(builder, threshold, lanes))
        mask = builder.zext(builder.bitcast(hit, ir.IntType(lanes)), I64)
        full = builder.icmp_signed(">=", size, I64(lanes))
        some = builder.sub(builder.shl(I64(1), builder.select(full, I64(0), size)), I64(1))
        return builder.and_(mask, builder.select(full, I64(-1), some))
    return types.int64(value, ref, types.int64, value.dtype, value.dtype), codegen


@intrinsic
def _emit(typingctx, value, ref, event, payload, first, mask, floor):  # type: ignore[no-untyped-def]
    """Append the masked elements of one vector to the event list and move their ref."""
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        value, ref, event, payload, first, mask, floor = arguments
        real, lanes = floor.type, 256 // signature.args[0].dtype.bitwidth
        v, d = _difference(builder, value, ref, floor, real, lanes)
        eight = ir.VectorType(ir.FloatType(), 8)
        permute = cgutils.get_or_insert_function(
            builder.module, ir.FunctionType(eight, [eight, ir.VectorType(I32, 8)]), "llvm.x86.avx2.permps")
        order = _entry(builder, _PERMUTE if lanes == 8 else _PERMUTE_PAIRS, mask, 8)
        _store(builder, builder.bitcast(builder.call(permute, [builder.bitcast(d, eight), order]), d.type), payload)
        number = order if lanes == 8 else _entry(builder, _NUMBERS, mask, 4)
        _store(builder, builder.add(number, _splat(builder, builder.trunc(first, I32), lanes)), event)
        bits = builder.bitcast(builder.trunc(mask, ir.IntType(lanes)), ir.VectorType(I1, lanes))
        _store(builder, builder.select(bits, v, _load(builder, ref, real, lanes)), ref)
        return context.get_dummy_value()
    return types.void(value, ref, event, payload, types.int64, types.int64, value.dtype), codegen


@intrinsic
def count_bits(typingctx, mask):  # type: ignore[no-untyped-def]
    """Bits that are set."""
    return types.int64(types.int64), lambda context, builder, signature, arguments: builder.ctpop(arguments[0])


@njit
def compact(value, ref, event, payload, first, n, size, threshold, floor):  # type: ignore[no-untyped-def]
    """Append every element whose value moved by more than the threshold; return the new length of the list.

    Equation: a = max(value, floor); if abs(a - ref) > threshold: send a - ref, ref = a.

    Parameters
    ----------
    value, ref : pointers to reals, of the elements first, first + 1, ... (size of them)
    event, payload : pointers to int32 and reals, of the whole list
    n : events already in the list
    """
    lanes = 32 // _bytes(value)
    j = 0
    while j < size:
        mask = _changed(shifted(value, j), shifted(ref, j), size - j, threshold, floor)
        if mask != 0:
            _emit(shifted(value, j), shifted(ref, j), shifted(event, n), shifted(payload, n), first + j, mask, floor)
            n += count_bits(mask)
        j += lanes
    return n


@intrinsic
def _bytes(typingctx, p):  # type: ignore[no-untyped-def]
    return types.int64(p), lambda context, builder, signature, arguments: I64(signature.args[0].dtype.bitwidth // 8)


# -- blocks of bytes -------------------------------------------------------------------------------------------------

@intrinsic
def differing(typingctx, a, b):  # type: ignore[no-untyped-def]
    """Bit i: byte i of two blocks of 64 bytes differs."""
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        halves = []
        for start in (0, 32):
            x, y = (_load(builder, _at(builder, p, start), I8, 32) for p in arguments)
            halves.append(builder.zext(builder.bitcast(builder.icmp_unsigned("!=", x, y), I32), I64))
        return builder.or_(halves[0], builder.shl(halves[1], I64(32)))
    return types.int64(a, b), codegen


@intrinsic
def lowest(typingctx, mask):  # type: ignore[no-untyped-def]
    """Number of the lowest bit that is set, of a mask that is not 0."""
    return types.int64(types.int64), lambda context, builder, signature, arguments: builder.cttz(arguments[0], I1(1))


@intrinsic
def prefetch(typingctx, address):  # type: ignore[no-untyped-def]
    """Ask for the cache line at an address; never faults."""
    def codegen(context, builder, signature, arguments):  # type: ignore[no-untyped-def]
        byte = I8.as_pointer()
        function = ir.FunctionType(ir.VoidType(), [byte, I32, I32, I32])
        builder.call(cgutils.get_or_insert_function(builder.module, function, "llvm.prefetch.p0"),
                     [builder.inttoptr(arguments[0], byte), I32(0), I32(3), I32(1)])
        return context.get_dummy_value()
    return types.void(types.int64), codegen


