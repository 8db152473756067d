"""The inner loops, three times: LLVM vectors, plain loops, numpy.

The drivers are compiled like the kernels are: addresses in, two typed pointers that say in which
numbers to compute.
"""

import ctypes
from functools import cache

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import cfunc, types

from neurosim.kernels import plain, vector
from neurosim.kernels.pointer import int32_pointer, int64_pointer, pointer, uint8_pointer
from neurosim.kernels.target import VECTOR_BYTES, VECTORS

WAYS = [
    pytest.param(vector, marks=pytest.mark.skipif(not VECTORS, reason="this processor has no AVX2, or NEUROSIM_PLAIN is set")),
    plain,
]
REALS = [(np.float64, np.float64), (np.float64, np.float32), (np.float32, np.float32), (np.float32, np.int8), (np.float32, np.int16)]
INTEGERS = [(a, w) for a in (np.int32, np.int64) for w in (np.int8, np.int16, np.int32)]
SPARE = 16
"""Elements behind what is worked on: two vectors of the widest lanes; for a target they are guards."""
SEEDS = st.integers(0, 2**32 - 1)


def numba_type(dtype):
    return getattr(types, np.dtype(dtype).name)


def callable_at(driver):
    """A driver as a function of integers."""
    n = len(driver._sig.args)
    return lambda *arguments: ctypes.CFUNCTYPE(ctypes.c_int64, *[ctypes.c_int64] * n)(driver.address)(*map(int, arguments))


def address(array, i=0):
    """Address of element i."""
    return array.ctypes.data + i * array.itemsize


def bits(array):
    """The bytes of an array, so that -0.0 and NaN are compared as they lie."""
    return np.ascontiguousarray(array).view(np.uint8)


# -- add_rows --------------------------------------------------------------------------------------------------------


@cache
def adder(way, real_type, weight_type):
    """`add_rows` of vector or plain for two number types, compiled."""
    add_rows = way.add_rows

    def driver(target, rows, offset, payload, n, length, real, weight):
        add_rows(pointer(target, real), int64_pointer(rows), offset, pointer(payload, real), n, length, weight)
        return 0

    like = [types.CPointer(numba_type(t)) for t in (real_type, weight_type)]
    return callable_at(cfunc(types.int64(*[types.int64] * 6, *like))(driver))


def add(way, target, first, rows, offset, payload, length):
    """Run `add_rows` on target[first:first + length]; rows is a list of any number of arrays.

    The last one fills up to an even number, with a payload of 0.
    """
    fill = len(rows) % 2
    addresses = np.array([address(row) for row in [*rows, *[rows[-1]] * fill]], np.int64)
    payload = np.concatenate([payload, np.zeros(fill, payload.dtype)])
    run = adder(way, target.dtype, rows[0].dtype)
    run(address(target, first), address(addresses), offset, address(payload), addresses.size, length, 0, 0)


def numbers(rng, dtype, size, low=None, high=None):
    """Random numbers of a type: all weights that it holds, or those in a range."""
    if np.dtype(dtype).kind == "f":
        return rng.normal(size=size).astype(dtype)
    info = np.iinfo(dtype)
    return rng.integers(info.min if low is None else low, info.max if high is None else high, size, dtype, endpoint=True)


def summed(target, rows, payload, dtype):
    """The equation: one event after the other, each product and each sum rounded once."""
    total = target.astype(dtype)
    for d, row in zip(payload, rows):
        total = total + dtype(d) * row.astype(dtype)
    return total


def case(rng, real, weight, n, length, first, offset):
    """Target with guards on both sides, rows with something else in front and behind, payloads."""
    target = numbers(rng, real, first + length + SPARE)
    payload = numbers(rng, real, n)
    if np.dtype(real).kind == "i":  # 70 products that fit an int32
        low, high = (-100, 100) if weight != np.int32 else (-1000, 1000)
        payload, target = numbers(rng, real, n, low, high), numbers(rng, real, target.size, -(2**20), 2**20)
        most = 2**17 if weight == np.int32 else None
        rows = [numbers(rng, weight, offset + length + 4 * SPARE, most and -most, most) for _ in range(n)]
    else:
        rows = [numbers(rng, weight, offset + length + 4 * SPARE) for _ in range(n)]
    return target, rows, payload


CASES = st.tuples(SEEDS, st.integers(1, 70), st.integers(1, 200), st.integers(1, 9), st.integers(0, 17))
"""Seed, events, length, first element of the target (an odd one is aligned to nothing but itself), offset in the rows."""


def run_case(way, real, weight, drawn):
    """Run one case; hold that the guards stand; return (before, after, weights, payloads)."""
    seed, n, length, first, offset = drawn
    before, rows, payload = case(np.random.default_rng(seed), real, weight, n, length, first, offset)
    after = before.copy()
    add(way, after, first, rows, offset, payload, length)
    inside = slice(first, first + length)
    assert np.array_equal(bits(after[:first]), bits(before[:first]))
    assert np.array_equal(bits(after[first + length:]), bits(before[first + length:]))
    return before[inside], after[inside], [row[offset: offset + length] for row in rows], payload


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("weight", [np.float64, np.float32])
@given(drawn=CASES)
def test_float64_sums_are_those_of_a_loop_to_the_last_bit(way, weight, drawn):
    """No fused multiply-add and no other order, whatever the width of the weights."""
    before, after, rows, payload = run_case(way, np.float64, weight, drawn)
    assert np.array_equal(bits(after), bits(summed(before, rows, payload, np.float64)))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("weight", [np.float32, np.int8, np.int16])
@given(drawn=CASES)
def test_float32_sums_are_within_rounding(way, weight, drawn):
    """Each of n events rounds its product and the sum so far (a fused one only the sum), by at most a half unit each.

    So the error is at most (n + 1) u / (1 - (n + 1) u) times the sum of magnitudes, u = 2^-24 (Higham, Accuracy and
    Stability of Numerical Algorithms, section 3.1); the float64 sum beside it is exact to 2^-29 of that.
    """
    before, after, rows, payload = run_case(way, np.float32, weight, drawn)
    magnitude = summed(np.abs(before), [np.abs(row.astype(np.float64)) for row in rows], np.abs(payload), np.float64)
    bound = (len(rows) + 1) * 2.0**-24 * 1.0001
    assert (np.abs(after - summed(before, rows, payload, np.float64)) <= bound * magnitude).all()


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("weight", [np.float32, np.int8, np.int16])
@given(drawn=CASES)
def test_float32_sums_of_dyadic_numbers_are_exact(way, weight, drawn):
    """Multiples of 1/8 below 2^8 and small whole weights: every sum fits 24 bits, so no rounding hides a mistake."""
    seed, n, length, first, offset = drawn
    rng = np.random.default_rng(seed)
    target = rng.integers(-64, 65, first + length + SPARE).astype(np.float32) / 8
    payload = rng.integers(-16, 17, n).astype(np.float32) / 8
    rows = [rng.integers(-100, 101, offset + length + 4 * SPARE).astype(weight) for _ in range(n)]
    expected = summed(target[first: first + length], [row[offset: offset + length] for row in rows], payload, np.float64)
    add(way, target, first, rows, offset, payload, length)
    assert np.array_equal(target[first: first + length], expected)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("real", "weight"), INTEGERS)
@given(drawn=CASES)
def test_integer_sums_are_exact(way, real, weight, drawn):
    """Narrow weights are widened with their sign; sums equal those of int64."""
    before, after, rows, payload = run_case(way, real, weight, drawn)
    assert np.array_equal(after, summed(before, rows, payload, np.int64))


def bfloat16(rng, n, length):
    """Rows of bfloat16 values as float32, and as they are stored: pairs of vectors, interleaved."""
    lanes = VECTOR_BYTES // 4
    high = rng.normal(size=(n, length)).astype(np.float32).view(np.uint32) & np.uint32(0xFFFF0000)
    stored = (high >> np.uint32(16)).astype(np.uint16).reshape(n, -1, 2, lanes).transpose(0, 1, 3, 2).reshape(n, length)
    return high.view(np.float32), stored


@pytest.mark.skipif(not VECTORS, reason="only vectors read bfloat16")
@given(SEEDS, st.integers(1, 70), st.integers(1, 13), st.integers(0, 3), st.integers(1, 9))
def test_bfloat16_sums_are_those_of_the_same_float32_weights(seed, n, pairs, skipped, first):
    """Widening is exact: bit-equal to float32 rows of the same values, from any pair of vectors on."""
    rng, pair = np.random.default_rng(seed), 2 * VECTOR_BYTES // 4
    wide, stored = bfloat16(rng, n, (skipped + pairs) * pair)
    payload = numbers(rng, np.float32, n)
    narrow = numbers(rng, np.float32, first + pairs * pair + SPARE)
    before, expected = narrow.copy(), narrow.copy()
    add(vector, narrow, first, list(stored), skipped * pair, payload, pairs * pair)
    spare = np.zeros((n, SPARE), np.float32)
    add(vector, expected, first, list(np.concatenate([wide, spare], axis=1)), skipped * pair, payload, pairs * pair)
    assert np.array_equal(bits(narrow), bits(expected))
    outside = np.r_[:first, first + pairs * pair: narrow.size]
    assert np.array_equal(bits(narrow[outside]), bits(before[outside])) and not np.array_equal(narrow, before)


def check_neighbours(way, real, weight, guards, payload):
    """Guards on both sides of targets of several lengths are the same bits afterwards."""
    for length in (1, 3, 7, 17, 45):
        target = np.resize(np.array(guards, real), 1 + length + SPARE)
        target[1: 1 + length] = 1
        before, rows = target.copy(), [np.ones(length + 4 * SPARE, weight) for _ in payload]
        add(way, target, 1, rows, 0, np.array(payload, real), length)
        assert not np.array_equal(target[1: 1 + length], before[1: 1 + length])
        assert np.array_equal(bits(target[:1]), bits(before[:1]))
        assert np.array_equal(bits(target[1 + length:]), bits(before[1 + length:]))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("real", "weight"), REALS)
def test_infinite_neighbours_of_a_target_stay(way, real, weight):
    """Infinities, NaN, the smallest number and 0 beside a target are written back as they were."""
    check_neighbours(way, real, weight, [np.inf, -np.inf, np.nan, 0.0, 5e-324 if real == np.float64 else 1e-45], [1, 3, -2])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("real", "weight"), REALS)
def test_negative_zero_beside_a_target_stays(way, real, weight):
    """-0.0 is written back as -0.0."""
    check_neighbours(way, real, weight, [-0.0], [1, 3, -2])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(("real", "weight"), REALS)
def test_an_infinite_payload_does_not_reach_the_neighbours_of_a_target(way, real, weight):
    """What overflows in one neuron is no NaN in the next position's."""
    check_neighbours(way, real, weight, [1.0], [1, np.inf, 2])


@pytest.mark.parametrize("way", WAYS)
def test_no_length_and_no_events_change_nothing(way):
    """A length of 0, or no events, leaves the target bit for bit."""
    target = np.full(40, -0.0)
    add(way, target, 1, [np.ones(64)], 0, np.ones(1), 0)
    run = adder(way, np.dtype(np.float64), np.dtype(np.float64))
    run(address(target, 1), 0, 0, address(target), 0, 30, 0, 0)
    assert np.array_equal(bits(target), bits(np.full(40, -0.0)))


# -- compact ---------------------------------------------------------------------------------------------------------


@cache
def compacter(way, dtype):
    """`compact` of vector or plain for one number type, compiled; threshold and floor by address."""
    compact = way.compact

    def driver(value, ref, event, payload, first, n, size, limits, real):
        threshold, floor = pointer(limits, real)[0], pointer(limits, real)[1]
        return compact(pointer(value, real), pointer(ref, real), int32_pointer(event), pointer(payload, real), first, n, size,
                       threshold, floor)

    return callable_at(cfunc(types.int64(*[types.int64] * 8, types.CPointer(numba_type(dtype))))(driver))


def compacted(value, ref, first, threshold, floor):
    """The equation, with numpy: (elements, payloads, refs afterwards)."""
    a = np.where(value < floor, value.dtype.type(floor), value)
    with np.errstate(invalid="ignore"):
        d = a - ref
    sends = np.abs(d) > threshold
    return first + np.flatnonzero(sends), d[sends], np.where(sends, a, ref)


def check_compact(way, value, ref, start, size, first, n, threshold, floor):
    """Compare elements start .. start + size - 1 of the tables; they are the elements `first`, ... of the sender."""
    dtype, lanes = value.dtype, 8
    event, payload = np.full(n + value.size + lanes, -7, np.int32), np.full(n + value.size + lanes, 77, dtype)
    limits, kept_value, kept_ref, inside = np.array([threshold, floor], dtype), value.copy(), ref.copy(), slice(start, start + size)
    elements, payloads, refs = compacted(value[inside], ref[inside], first, limits[0], limits[1])
    end = compacter(way, dtype)(address(value, start), address(ref, start), address(event), address(payload), first, n, size,
                                address(limits), 0)
    assert end == n + elements.size
    assert np.array_equal(event[n:end], elements) and np.array_equal(bits(payload[n:end]), bits(payloads))
    assert (event[:n] == -7).all() and (payload[:n] == 77).all()
    assert (event[end + lanes:] == -7).all() and (payload[end + lanes:] == 77).all()
    kept_ref[inside] = refs
    assert np.array_equal(bits(ref), bits(kept_ref)) and np.array_equal(bits(value), bits(kept_value))


COMPACT_CASES = st.tuples(SEEDS, st.integers(0, 70), st.integers(0, 3), st.integers(0, 10**6), st.integers(0, 9))
"""Seed, size, elements in front of the first in its table, number of the first, events already in the list."""
FLOORS = st.sampled_from([-np.inf, 0.0])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(drawn=COMPACT_CASES, threshold=st.sampled_from([0.0, 0.25, 1.0]), floor=FLOORS)
def test_compact_sends_what_moved_further_than_the_threshold(way, dtype, drawn, threshold, floor):
    """Ascending, strictly further, nothing behind `size`; ref moves where something was sent and nowhere else.

    Values are multiples of 1/4, so that differences hit the threshold exactly, and NaN, infinities and -0.0 occur.
    """
    seed, size, start, first, n = drawn
    rng = np.random.default_rng(seed)
    value, ref = (rng.integers(-6, 7, start + size + SPARE).astype(dtype) / 4 for _ in range(2))
    for table in (value, ref):
        special = rng.random(table.size) < 0.1
        table[special] = rng.choice(np.array([np.nan, np.inf, -np.inf, -0.0], dtype), special.sum())
    check_compact(way, value, ref, start, size, first, n, threshold, floor)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@given(drawn=COMPACT_CASES, share=st.sampled_from([0.0, 0.05, 0.5, 1.0]), floor=FLOORS)
def test_compact_on_any_share_of_changes(way, dtype, drawn, share, floor):
    """Few, many and all elements changed, with values of all bits."""
    seed, size, start, first, n = drawn
    rng = np.random.default_rng(seed)
    ref = np.abs(rng.normal(size=start + size + SPARE)).astype(dtype)
    value = np.where(rng.random(ref.size) < share, rng.normal(size=ref.size), ref).astype(dtype)
    check_compact(way, value, ref, start, size, first, n, 0.0, floor)


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_nan_never_sends(way, dtype):
    """Neither a value nor a ref of NaN is further than any threshold away."""
    for value, ref in ((np.nan, 1.0), (1.0, np.nan), (np.nan, np.nan)):
        check_compact(way, np.full(40, value, dtype), np.full(40, ref, dtype), 0, 23, 5, 2, 0.0, 0.0)


@pytest.mark.parametrize("dtype", [np.int32, np.int64])
@given(drawn=COMPACT_CASES, threshold=st.sampled_from([0, 1, 3]), rectifies=st.booleans())
def test_plain_compact_of_integers(dtype, drawn, threshold, rectifies):
    """The same rule on integers (plain loops only)."""
    seed, size, start, first, n = drawn
    rng = np.random.default_rng(seed)
    value, ref = (rng.integers(-6, 7, start + size + SPARE, dtype) for _ in range(2))
    check_compact(plain, value, ref, start, size, first, n, threshold, 0 if rectifies else np.iinfo(dtype).min)


# -- bits and bytes --------------------------------------------------------------------------------------------------


@cache
def bit_tools(way):
    """(differing, lowest, count_bits, prefetch) of vector or plain, compiled."""
    differing, lowest, count_bits, prefetch = way.differing, way.lowest, way.count_bits, way.prefetch

    def driver_differing(a, b):
        return differing(uint8_pointer(a), uint8_pointer(b))

    def driver_prefetch(at):
        prefetch(at)
        return 0

    one, two = types.int64(types.int64), types.int64(types.int64, types.int64)
    return (callable_at(cfunc(two)(driver_differing)), callable_at(cfunc(one)(lambda mask: lowest(mask))),
            callable_at(cfunc(one)(lambda mask: count_bits(mask))), callable_at(cfunc(one)(driver_prefetch)))


MASKS = st.one_of(st.integers(-(2**63), 2**63 - 1), st.integers(0, 63).map(lambda i: (1 << i) - (1 << 64) * (i == 63)), st.just(-1))


@pytest.mark.parametrize("way", WAYS)
@given(SEEDS, st.sampled_from([0.0, 0.02, 0.5, 1.0]), st.integers(0, 7))
def test_differing_bytes(way, seed, share, start):
    """Bit i stands for byte i, wherever the blocks lie and whatever lies around them."""
    rng = np.random.default_rng(seed)
    a = rng.integers(0, 256, 80, np.uint8)
    b = np.where(rng.random(80) < share, rng.integers(0, 256, 80, np.uint8), a)
    mask = bit_tools(way)[0](address(a, start), address(b, start)) & (2**64 - 1)
    assert [mask >> i & 1 for i in range(64)] == (a != b)[start: start + 64].astype(int).tolist()


@pytest.mark.parametrize("way", WAYS)
def test_each_single_bit_of_a_block_is_seen(way):
    """64 bytes x 8 bits: one bit that differs is one bit of the mask."""
    a = np.zeros(64, np.uint8)
    for byte in range(64):
        for bit in range(8):
            b = a.copy()
            b[byte] = 1 << bit
            assert bit_tools(way)[0](address(a), address(b)) & (2**64 - 1) == 1 << byte


@pytest.mark.parametrize("way", WAYS)
@given(MASKS)
def test_lowest_and_count_of_bits(way, mask):
    """Against Python's integers, the sign bit included; `lowest` is for masks that are not 0."""
    _, lowest, count_bits, _ = bit_tools(way)
    assert count_bits(mask) == (mask & (2**64 - 1)).bit_count()
    if mask:
        assert lowest(mask) == (mask & -mask).bit_length() - 1


@pytest.mark.parametrize("way", WAYS)
def test_prefetch_never_faults(way):
    """An address that nothing lies at is no error."""
    for at in (0, 1, -1, 1 << 46):
        assert bit_tools(way)[3](at) == 0
