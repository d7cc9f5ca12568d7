"""ONNX Runtime's products with weights of 4 and 2 bits as rivals of ternary products, and bitnet.cpp's published times.

``MatMulNBits`` with accuracy level 4: activations come as fp32, are rounded to int8 a block of the sum at a time, and
meet packed weights. Ternary weights are exact in 2 bits; the sums are not, but for spikes. Every size of block that
has fast code is tried, for 2 bits also the tables of ``mlas.use_lut_gemm``, and the fastest stands in the row.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray
from onnx import TensorProto, helper

from studies.bench.timing import interleave, readable

ZERO = {4: 8, 2: 2}  # what stands for a weight of zero where the model names none
BLOCKS = {4: (64, 128, 256), 2: (64, 128)}
"""Sizes of block with code of their own, by bits: for others ONNX Runtime unpacks all weights in each call."""


def _packed(weights: NDArray[np.int8], bits: int, block: int) -> NDArray[np.uint8]:
    """Return weights in blocks of the sum, the first weight of a byte in its lowest bits."""
    size, num_inputs = weights.shape
    blocks = -(-num_inputs // block)
    codes = np.full((size, blocks * block), ZERO[bits], dtype=np.uint8)
    codes[:, :num_inputs] = weights + ZERO[bits]
    each = codes.reshape(size, blocks, -1, 8 // bits) << np.arange(0, 8, bits, dtype=np.uint8)
    return np.bitwise_or.reduce(each, axis=-1)


def _model(weights: NDArray[np.int8], bits: int, block: int) -> bytes:
    packed, (size, num_inputs) = _packed(weights, bits, block), weights.shape
    scales = np.ones(packed.shape[:2], dtype=np.float32)
    options = {"K": num_inputs, "N": size, "bits": bits, "block_size": block, "accuracy_level": 4}
    node = helper.make_node("MatMulNBits", ["x", "w", "scales"], ["y"], domain="com.microsoft", **options)
    values = [
        helper.make_tensor("w", TensorProto.UINT8, packed.shape, packed.tobytes(), raw=True),
        helper.make_tensor("scales", TensorProto.FLOAT, [scales.size], scales.tobytes(), raw=True),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.FLOAT, ["B", num_inputs])
    y = helper.make_tensor_value_info("y", TensorProto.FLOAT, ["B", size])
    domains = [helper.make_opsetid("", 17), helper.make_opsetid("com.microsoft", 1)]
    graph = helper.make_graph([node], "product", [x], [y], values)
    return bytes(helper.make_model(graph, opset_imports=domains, ir_version=9).SerializeToString())


def _case(weights: NDArray[np.int8], x: NDArray[np.float32], bits: int, block: int, tables: bool) -> Callable[[], Any]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    if tables:
        options.add_session_config_entry("mlas.use_lut_gemm", "1")
    session = ort.InferenceSession(_model(weights, bits, block), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})[0]


def few_bits(
    weights: NDArray[np.int8], x: NDArray[np.int32], *, clock: Callable[[], float] = time.perf_counter
) -> tuple[dict[str, Callable[[], Any]], list[str]]:
    """Return the rivals of a product on one thread, and what was chosen and by how much its sums are off."""
    real, expected = x.astype(np.float32), x @ weights.T.astype(np.int32)
    found, checks = {}, []
    for bits in BLOCKS:
        cases = {
            f"blocks of {block}{' by tables' if tables else ''}": _case(weights, real, bits, block, tables)
            for block in BLOCKS[bits]
            for tables in ([False, True] if bits == 2 else [False])
        }
        times = interleave(cases, seconds=0.5, clock=clock)
        best = min(times, key=lambda name: times[name].median_s)
        name, off = f"ONNX Runtime {bits} bits", float(np.abs(cases[best]() - expected).max())
        found[name] = cases[best]
        checks.append(f"{name}: {best}; its sums are off by up to {off:.3g}")
    return found, checks


BITNET = {(2048, 2048, 1): 58e-6, (2048, 2048, 128): 5.805e-3}
"""Seconds by outputs, inputs and batch: the fastest of each row of the table in src/README.md of microsoft/BitNet."""


def published(size: int, num_inputs: int, batch: int) -> list[str]:
    """Say what bitnet.cpp's authors measured for a product of this size, if they did: on a processor of theirs."""
    seconds = BITNET.get((size, num_inputs, batch))
    if seconds is None:
        return []
    return [f"published, not measured here: bitnet.cpp I2_S {readable(seconds)} on one thread of an EPYC 7V13 (Zen 3)"]
