"""Typed addresses: how kernels reach their tables without the price of an array.

Passing an array from Python to compiled code costs about 50 ns, and indexing one with a signed
number tests for wrap-around. A network needs many tables; the caller passes one int64 table
(the plan) that holds the addresses of the others, and the kernels read them through C pointers:
``p[i]`` is one load. Nothing is bounds-checked; the owner of the plan keeps the arrays alive.

A pointer also carries a type. Kernels are generic: they take two pointers that are never read
(`real`, `weight`) and whose element types say in which numbers to compute. A function that is only a
docstring, with an `@overload` below it, is chosen by those types when it is compiled.
"""

from __future__ import annotations

import operator

from llvmlite import ir
from numba import types
from numba.core import cgutils
from numba.extending import intrinsic, lower_builtin, type_callable

INT64 = types.CPointer(types.int64)


@intrinsic
def pointer(typingctx, address, like):
    """The address as a pointer of the same type as `like`."""
    def codegen(context, builder, signature, arguments):
        return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))
    return like(types.int64, like), codegen


def _pointer_to(dtype):
    @intrinsic
    def typed(typingctx, address):
        def codegen(context, builder, signature, arguments):
            return builder.inttoptr(arguments[0], context.get_value_type(signature.return_type))
        return types.CPointer(dtype)(types.int64), codegen
    return typed


uint8_pointer = _pointer_to(types.uint8)
uint16_pointer = _pointer_to(types.uint16)
int32_pointer = _pointer_to(types.int32)
int64_pointer = _pointer_to(types.int64)
float64_pointer = _pointer_to(types.float64)


@type_callable(operator.getitem)
def _type_getitem(context):
    return lambda p, i: p.dtype if isinstance(p, types.CPointer) and isinstance(i, types.Integer) else None


@lower_builtin(operator.getitem, types.CPointer, types.Integer)
def _getitem(context, builder, signature, arguments):
    i = context.cast(builder, arguments[1], signature.args[1], types.int64)
    value = builder.load(builder.gep(arguments[0], [i]))
    value.align = 1
    return value


@type_callable(operator.setitem)
def _type_setitem(context):
    return lambda p, i, value: types.none if isinstance(p, types.CPointer) and isinstance(i, types.Integer) else None


@lower_builtin(operator.setitem, types.CPointer, types.Integer, types.Any)
def _setitem(context, builder, signature, arguments):
    i = context.cast(builder, arguments[1], signature.args[1], types.int64)
    value = context.cast(builder, arguments[2], signature.args[2], signature.args[0].dtype)
    builder.store(value, builder.gep(arguments[0], [i])).align = 1
    return context.get_dummy_value()


@intrinsic
def shifted(typingctx, p, i):
    """The pointer `i` elements further on."""
    return p(p, types.int64), lambda context, builder, signature, arguments: builder.gep(arguments[0], [arguments[1]])


@intrinsic
def address_of(typingctx, p):
    """The address that a pointer holds, int64."""
    def codegen(context, builder, signature, arguments):
        return builder.ptrtoint(arguments[0], ir.IntType(64))
    return types.int64(p), codegen


@intrinsic
def size_of(typingctx, p):
    """Bytes of one element of a pointer."""
    def codegen(context, builder, signature, arguments):
        return ir.Constant(ir.IntType(64), context.get_abi_sizeof(context.get_value_type(signature.args[0].dtype)))
    return types.int64(p), codegen


@intrinsic
def copy_bytes(typingctx, target, source, n):
    """Copy n bytes from address to address; the blocks do not overlap."""
    def codegen(context, builder, signature, arguments):
        byte = ir.IntType(8).as_pointer()
        cgutils.raw_memcpy(builder, builder.inttoptr(arguments[0], byte), builder.inttoptr(arguments[1], byte), arguments[2], 1)
        return context.get_dummy_value()
    return types.void(types.int64, types.int64, types.int64), codegen


@intrinsic
def invoke(typingctx, kernel, plan, row):
    """Call the compiled kernel at address `kernel` with (plan, row); its type witnesses are null."""
    def codegen(context, builder, signature, arguments):
        integer = ir.IntType(64)
        plan_type = arguments[1].type
        function = ir.FunctionType(integer, [plan_type, integer, plan_type, plan_type])
        null = ir.Constant(plan_type, None)
        return builder.call(builder.inttoptr(arguments[0], function.as_pointer()), [arguments[1], arguments[2], null, null])
    return types.int64(types.int64, INT64, types.int64), codegen
