"""The innermost loop (microkernel) of every matrix product: one register tile of C = S + A B, held over all of K.

C's tile is `rows` x `vectors` vector registers, which start as rows of S, mostly those of C itself. For each k,
`vectors` registers of B are loaded and each row's number of A is broadcast and multiplied in. Emitted as LLVM vector
code through an intrinsic, because no auto-vectorised loop keeps all accumulators in registers. LLVM lowers the vector
types to what the machine has.

Operands are addresses and strides in bytes. B is a packed panel, see `matmul.py`: (K, panel width), contiguous. In
bfloat16 a step of K is a pair: two neighbours of A's row against two rows of B, multiplied and added to float32
accumulators by one instruction where the machine has it, and by two multiply-adds on numbers widened to float32 where
it has not.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from charrnn.runtime.features import HAS_BFLOAT16, PANEL_BYTES, VECTOR_BYTES


class BFloat(ir.Type):  # type: ignore[misc]
    """LLVM's bfloat, which llvmlite has no name for."""

    def _to_string(self) -> str:
        return "bfloat"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, BFloat)

    def __hash__(self) -> int:
        return hash("bfloat")


def emit_prefetch(builder: Any, address: Any, *, write: bool) -> None:
    """Software prefetching of the cache line at an address, which need not be one of ours, to read or to write it."""
    number, pointer = ir.IntType(32), ir.PointerType()
    kind = ir.FunctionType(ir.VoidType(), [pointer, number, number, number])
    name = "llvm.prefetch.p0"
    function = builder.module.globals.get(name) or ir.Function(builder.module, kind, name)
    near, data = 3, 1
    options = [ir.Constant(number, n) for n in (int(write), near, data)]
    builder.call(function, [builder.inttoptr(address, pointer), *options])


def make_tile(rows: int, vectors: int, *, masked: bool, vector_bytes: int = VECTOR_BYTES) -> Callable[..., None]:
    """An intrinsic `tile(like, a, a_row, a_step, panel, s, s_row, index, c, c_row, K, height, columns, below,
    prefetch, stride)` for c[i] = s[index[i]] + a[i] b, i < rows.

    `like` is any array of the packed number type: float32, float64, or uint32 for a pair of bfloat16. `a_row` and
    `a_step` are A's strides along its rows and along K, so that a transposed A needs no copy. `index` is an address of
    int32 numbers. Unmasked, `height` and `columns` are ignored and the tile is full; one of several rows prefetches
    at each step of K the memory at `prefetch`, which advances by `stride` bytes, and where `below` is not 0, before the
    first step, the C of the tile below. Masked, only the first `columns` of the tile exist, and rows from `height` on
    repeat the last one: they read and write the same numbers again.
    """

    @intrinsic  # type: ignore[untyped-decorator]
    def tile(
        typingctx: Any, like: Any, a: Any, a_row: Any, a_step: Any, panel: Any, s: Any, s_row: Any, index: Any,
        c: Any, c_row: Any, K: Any, height: Any, columns: Any, below: Any, prefetch: Any, stride: Any,
    ) -> Any:  # fmt: skip
        pairs = like.dtype == types.uint32
        scalar = ir.DoubleType() if like.dtype == types.float64 else ir.FloatType()
        size = like.dtype.bitwidth // 8
        lanes = vector_bytes // size
        vector = ir.VectorType(scalar, lanes)
        kind = f"v{lanes}f{8 * size}"

        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            _, a, a_row, a_step, panel, s, s_row, index, c, c_row, K, height, columns, below, prefetch, stride = args
            word = a.type
            pointer = ir.PointerType()

            def const(n: int) -> ir.Constant:
                return ir.Constant(word, n)

            def function(name: str, result: ir.Type, *arguments: ir.Type) -> Any:
                found = builder.module.globals.get(name)
                return found or ir.Function(builder.module, ir.FunctionType(result, arguments), name)

            def load(address: Any, what: ir.Type) -> Any:
                return builder.load(builder.inttoptr(address, pointer), align=2 if pairs else size, typ=what)

            def splat(value: Any, what: ir.VectorType) -> Any:
                undefined = ir.Constant(what, ir.Undefined)
                first = builder.insert_element(undefined, value, ir.Constant(ir.IntType(32), 0))
                zeros = ir.Constant(ir.VectorType(ir.IntType(32), what.count), None)
                return builder.shuffle_vector(first, undefined, zeros)

            def row(i: int) -> Any:
                if not masked or i == 0:
                    return const(i)
                last = builder.sub(height, const(1))
                return builder.select(builder.icmp_signed("<", const(i), last), const(i), last)

            def corners_of(base: Any, stride: Any, numbers: list[Any]) -> list[Any]:
                starts = [builder.add(base, builder.mul(stride, n)) for n in numbers]
                return [builder.add(start, const(vector_bytes * v)) for start in starts for v in range(vectors)]

            def number_at(i: Any) -> Any:
                at = builder.inttoptr(builder.add(index, builder.mul(i, const(4))), pointer)
                return builder.sext(builder.load(at, align=4, typ=ir.IntType(32)), word)

            numbers = [row(i) for i in range(rows)]
            a_rows = [builder.add(a, builder.mul(a_row, i)) for i in numbers]
            sources = corners_of(s, s_row, [number_at(i) for i in numbers])
            corners = corners_of(c, c_row, numbers)
            if masked:
                places = ir.VectorType(word, lanes)
                bits = ir.VectorType(ir.IntType(1), lanes)
                masks = [
                    builder.icmp_signed(
                        "<",
                        ir.Constant(places, [ir.Constant(word, lane + v * lanes) for lane in range(lanes)]),
                        splat(columns, places),
                    )
                    for v in range(vectors)
                ]
                align = ir.Constant(ir.IntType(32), size)
                read = function(f"llvm.masked.load.{kind}.p0", vector, pointer, align.type, bits, vector)
                write = function(f"llvm.masked.store.{kind}.p0", ir.VoidType(), vector, pointer, align.type, bits)
                start = [
                    builder.call(
                        read,
                        [builder.inttoptr(at, pointer), align, masks[n % vectors], ir.Constant(vector, None)],
                    )
                    for n, at in enumerate(sources)
                ]
            else:
                start = [load(at, vector) for at in sources]

            if not masked:
                with builder.if_then(builder.icmp_signed("!=", below, const(0))):
                    for at in corners:
                        emit_prefetch(builder, builder.add(at, builder.mul(c_row, const(rows))), write=True)
            before = builder.block
            loop = builder.append_basic_block("over_k")
            after = builder.append_basic_block("stored")
            builder.cbranch(builder.icmp_signed(">", K, const(0)), loop, after)
            builder.position_at_end(loop)
            k = builder.phi(word)
            k.add_incoming(const(0), before)
            sums = [builder.phi(vector) for _ in start]
            here = builder.add(panel, builder.mul(k, const(PANEL_BYTES)))
            raw = ir.VectorType(ir.IntType(32), lanes) if pairs else vector
            right = [load(builder.add(here, const(vector_bytes * v)), raw) for v in range(vectors)]
            fma = function(f"llvm.fmuladd.{kind}", vector, vector, vector, vector)  # fused where the CPU can

            def multiply_add(left: Any, right: Any, total: Any) -> Any:
                """total + left right, or with pairs total + the sum of both products."""
                if not pairs:
                    return builder.call(fma, [left, right, total])
                if HAS_BFLOAT16:
                    numbers = ir.VectorType(BFloat(), 2 * lanes)
                    dot = function(f"llvm.x86.avx512bf16.dpbf16ps.{8 * vector_bytes}", vector, vector, numbers, numbers)
                    return builder.call(dot, [total, builder.bitcast(left, numbers), builder.bitcast(right, numbers)])
                shift, mask = ir.Constant(raw, [16] * lanes), ir.Constant(raw, [0xFFFF0000] * lanes)
                for wide in (
                    [builder.shl(left, shift), builder.shl(right, shift)],
                    [builder.and_(left, mask), builder.and_(right, mask)],
                ):
                    total = builder.call(fma, [*(builder.bitcast(x, vector) for x in wide), total])
                return total

            if not masked and rows > 1:  # a single row keeps memory busy as it is
                emit_prefetch(builder, builder.add(prefetch, builder.mul(k, stride)), write=True)
            offset = builder.mul(k, a_step)
            grown = []
            for i in range(rows):
                left = splat(load(builder.add(a_rows[i], offset), raw.element), raw)
                grown += [multiply_add(left, right[v], sums[i * vectors + v]) for v in range(vectors)]
            following = builder.add(k, const(1))
            k.add_incoming(following, loop)
            for phi, first, result in zip(sums, start, grown, strict=True):
                phi.add_incoming(first, before)
                phi.add_incoming(result, loop)
            builder.cbranch(builder.icmp_signed("<", following, K), loop, after)
            builder.position_at_end(after)
            for n in range(len(start)):
                total = builder.phi(vector)
                total.add_incoming(start[n], before)
                total.add_incoming(grown[n], loop)
                start[n] = total
            for n, at in enumerate(corners):
                target = builder.inttoptr(at, pointer)
                if masked:
                    builder.call(write, [start[n], target, align, masks[n % vectors]])
                else:
                    builder.store(start[n], target, align=size)
            return context.get_dummy_value()

        word = types.intp
        return types.void(like, *[word] * 15), codegen

    made: Callable[..., None] = tile
    return made
