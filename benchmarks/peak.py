"""The machine's multiply-add peak: accumulators in registers, nothing read from memory."""

from __future__ import annotations

import time
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from charrnn.kernels.tile import BFloat
from charrnn.runtime.arrays import Array
from charrnn.runtime.compile import kernel
from charrnn.runtime.features import HAS_BFLOAT16, VECTOR_BYTES

ACCUMULATORS = 12
LANES = VECTOR_BYTES // 4
STEPS = 4_000_000


def make_loop(*, bfloat16: bool) -> Any:
    """An intrinsic loop(seed, steps): `steps` times a multiply-add into each of the accumulators; their sum."""

    @intrinsic  # type: ignore[untyped-decorator]
    def loop(typingctx: Any, seed: Any, steps: Any) -> Any:
        def codegen(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            seed, steps = args
            vector = ir.VectorType(ir.FloatType(), LANES)
            undefined = ir.Constant(vector, ir.Undefined)
            zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), None)
            first = builder.insert_element(undefined, seed, ir.Constant(ir.IntType(32), 0))
            factor = builder.shuffle_vector(first, undefined, zeros)
            if bfloat16:
                numbers = ir.VectorType(BFloat(), 2 * LANES)
                factor = builder.bitcast(factor, numbers)
                name, kinds = "llvm.x86.avx512bf16.dpbf16ps.512", [vector, numbers, numbers]
            else:
                name, kinds = f"llvm.fma.v{LANES}f32", [vector] * 3
            found = builder.module.globals.get(name)
            function = found or ir.Function(builder.module, ir.FunctionType(vector, kinds), name)
            before, body = builder.block, builder.append_basic_block("loop")
            after = builder.append_basic_block("done")
            builder.branch(body)
            builder.position_at_end(body)
            n = builder.phi(steps.type)
            n.add_incoming(ir.Constant(steps.type, 0), before)
            sums = [builder.phi(vector) for _ in range(ACCUMULATORS)]
            grown = [
                builder.call(function, [total, factor, factor] if bfloat16 else [factor, factor, total])
                for total in sums
            ]
            for total, result in zip(sums, grown, strict=True):
                total.add_incoming(ir.Constant(vector, None), before)
                total.add_incoming(result, body)
            following = builder.add(n, ir.Constant(steps.type, 1))
            n.add_incoming(following, body)
            builder.cbranch(builder.icmp_signed("<", following, steps), body, after)
            builder.position_at_end(after)
            total = grown[0]
            for other in grown[1:]:
                total = builder.fadd(total, other)
            return builder.extract_element(total, ir.Constant(ir.IntType(32), 0))

        return types.float32(types.float32, types.intp), codegen

    return loop


float32_loop = make_loop(bfloat16=False)
bfloat16_loop = make_loop(bfloat16=HAS_BFLOAT16)


@kernel
def spin(bfloat16: bool, seed: Array, steps: int) -> None:
    """Run one of the loops, and store its result, so that it is not optimised away."""
    seed[1] = bfloat16_loop(seed[0], steps) if bfloat16 else float32_loop(seed[0], steps)


def peak(*, bfloat16: bool, threads: int) -> float:
    """Floating-point operations a second on that many threads, the best of several runs."""
    seeds = [np.full(2, 1e-9, np.float32) for _ in range(threads)]
    best = 0.0
    operations = 2.0 * LANES * (2 if bfloat16 and HAS_BFLOAT16 else 1) * ACCUMULATORS * STEPS * threads
    with ThreadPoolExecutor(threads) as pool:
        list(pool.map(lambda seed: spin(bfloat16, seed, 1), seeds))
        for _ in range(10):
            start = time.perf_counter()
            list(pool.map(lambda seed: spin(bfloat16, seed, STEPS), seeds))
            best = max(best, operations / (time.perf_counter() - start))
    return best
