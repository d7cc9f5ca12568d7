"""``python -m studies.bench.convolutions``: convolutions of spikes on one CPU thread, native against others.

Ternary weights, spikes at several densities, batch 1 and 16. Rivals take turns in one run, and each must give the exact
sums first: ONNX Runtime's ConvInteger, its QLinearConv (whose sums are rounded to 8 bits: timed, not compared), torch
in float32, and the same convolution unrolled into a ``Dense`` of this project, where that is built. A time is what the
thread worked, so that others on the machine do not count. Native starts from bits and ends with int32 sums.

The limit of a row is that of the quickest known way to compute it, :func:`limit_of`.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper

from neuromorphic import Dense, Input, Program, Readout
from neuromorphic.executors.native import NativeNetwork, bits_of
from neuromorphic.executors.native.window_lists import num_planes, signed_digits
from neuromorphic.integers.numbers import NumPy
from neuromorphic.ops import Conv, Operation
from studies.bench import limits
from studies.bench.timing import Limit, Row, interleave, readable
from studies.measurements.machine import facts

OURS, UNROLLED = "PNB-X native", "PNB-X native, unrolled"
TORCH, EXACT, ROUNDED = "torch fp32", "ONNX Runtime ConvInteger", "ONNX Runtime QLinearConv"
DENSITIES = (0.01, 0.05, 0.1, 0.2, 0.5)
BATCHES = (1, 16)
LARGEST_UNROLLED = 1 << 25
"""Weights of the largest ``Dense`` that is built."""
DEFAULT_OUT = Path(__file__).resolve().parents[2] / "docs" / "performance" / "convolutions"


@dataclass(frozen=True)
class Shape:
    """A convolution of 3 x 3 with a margin of 1."""

    channels: int
    outputs: int
    side: int
    groups: int = 1
    most: int = 1

    @property
    def name(self) -> str:
        """In a table."""
        kind = ", depthwise" if self.groups > 1 else ", int8" if self.most > 1 else ""
        return f"{self.channels} -> {self.outputs}, {self.side} x {self.side}{kind}"

    def weights(self) -> NDArray[np.int8]:
        """Random ones."""
        shape = (self.outputs, self.channels // self.groups, 3, 3)
        return np.random.default_rng(0).integers(-self.most, self.most + 1, shape).astype(np.int8)


SHAPES = (
    *(Shape(16, 32, 14), Shape(3, 64, 32), Shape(64, 64, 16)),
    *(Shape(64, 64, 16, groups=64), Shape(64, 64, 16, most=127)),
)


def convolved(shape: Shape, x: NDArray[Any], weights: NDArray[np.int8]) -> NDArray[np.int64]:
    """Return the exact sums of images ``[B, C, H, W]``."""
    found: NDArray[np.int64] = NumPy().convolve(weights, x.astype(np.int64), (1, 1), (1, 1), (1, 1), shape.groups)
    return found


def native(op: Conv | Dense, size: int, batch: int, *more: Operation) -> NativeNetwork:
    """Return a network of one operation, and of what reads it."""
    return NativeNetwork(Program((Input("x", size), op, *more), num_steps=1), batch=batch)


def native_sums(op: Conv | Dense, x: NDArray[np.bool_]) -> NDArray[np.int32]:
    """Return the sums of a product, which is no variable, by a read-out."""
    network = native(op, x.shape[1], len(x), Readout("sums", (op.name,), np.zeros(op.size, dtype=np.int32), 0))
    return network.step(bits_of(x)).copy()


def unrolled(shape: Shape, weights: NDArray[np.int8]) -> NDArray[np.int8]:
    """Return the convolution as a matrix: its answers to every single spike."""
    size = shape.channels * shape.side**2
    found = []
    for start in range(0, size, 512):
        count = min(512, size - start)
        one = np.zeros((count, size), dtype=np.int8)
        one[np.arange(count), start + np.arange(count)] = 1
        images = one.reshape(count, shape.channels, shape.side, shape.side)
        found.append(convolved(shape, images, weights).reshape(count, -1).astype(np.int8))
    return np.ascontiguousarray(np.concatenate(found).T)


def onnx_session(shape: Shape, weights: NDArray[np.int8], *, rounded: bool) -> ort.InferenceSession:
    """Return a session of one convolution, of uint8 with int8."""
    values = [helper.make_tensor("w", TensorProto.INT8, weights.shape, weights.tobytes(), raw=True)]
    names, kind = ["x", "w"], TensorProto.INT32
    if rounded:
        names, kind = ["x", "xs", "xz", "w", "ws", "wz", "ys", "yz"], TensorProto.UINT8
        values += [helper.make_tensor(name, TensorProto.FLOAT, [], [1.0]) for name in ("xs", "ws", "ys")]
        values += [helper.make_tensor(n, t, [], [z]) for n, t, z in (("xz", 2, 0), ("wz", 3, 0), ("yz", 2, 128))]
    operator = "QLinearConv" if rounded else "ConvInteger"
    node = helper.make_node(operator, names, ["y"], pads=[1] * 4, group=shape.groups)
    x = helper.make_tensor_value_info("x", TensorProto.UINT8, ["B", shape.channels, shape.side, shape.side])
    y = helper.make_tensor_value_info("y", kind, ["B", shape.outputs, shape.side, shape.side])
    graph = helper.make_graph([node], "convolution", [x], [y], values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    return ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])


def limit_of(shape: Shape, weights: NDArray[np.int8], x: NDArray[np.bool_]) -> Limit | None:
    """Return the least time of a convolution: of counting, of lists or of multiplying, whichever has the least.

    All read bits and write sums of 32 bits. Counting adds a row of bits for each digit of a weight that is not 0: a
    full adder, two vpternlogq, takes one bit from the rows and planes of a register of windows, and the planes stay.
    Lists add 64 bytes (8-bit weights: 32 numbers of 16 bits) for each spike and place of the kernel that lies in the
    image. Multiplying takes a vpdpbusd for 64 weights of every window.
    """
    batch, windows, width = len(x), shape.side**2, limits.vector_bits()
    outputs, each = shape.outputs // shape.groups, shape.channels // shape.groups
    digits = signed_digits(weights)
    rows, planes = np.count_nonzero(digits), shape.outputs * num_planes(weights)
    inside = convolved(Shape(1, 1, shape.side), np.ones((1, 1, shape.side, shape.side)), np.ones((1, 1, 3, 3), np.int8))
    spikes = float((x.reshape(batch, shape.channels, -1) * inside.reshape(-1)).sum())
    ways: tuple[dict[str, float], ...] = (
        {"vpternlogq": 2 * max(rows - planes, 0) * batch * windows / width},
        {"vpaddd": spikes * outputs * (8 if shape.most == 1 else 16) / width},
        {"vpdpbusd": shape.outputs * each * 9 * batch * windows * 8 / width},
    )
    moved = x.size / 8 + 4 * batch * shape.outputs * windows
    found = [limits.least(copied=moved, issued=way) for way in ways if all(limits.rate(name, 1) for name in way)]
    return min((limit for limit in found if limit is not None), key=lambda limit: limit.seconds, default=None)


class Rivals:
    """All ways to compute one convolution for a batch, built once for all densities."""

    def __init__(self, shape: Shape, batch: int) -> None:
        self.shape, self.batch, self.weights = shape, batch, shape.weights()
        size = shape.channels * shape.side**2
        image = (shape.channels, shape.side, shape.side)
        conv = Conv("conv", "x", self.weights, input_shape=image, padding=(1, 1), groups=shape.groups)
        self.products: dict[str, Conv | Dense] = {OURS: conv}
        started = time.perf_counter()
        if size * conv.size <= LARGEST_UNROLLED:
            self.products[UNROLLED] = Dense("conv", "x", unrolled(shape, self.weights))
        self.networks = {name: native(op, size, batch) for name, op in self.products.items()}
        self.seconds_to_unroll = time.perf_counter() - started
        self.sessions = {name: onnx_session(shape, self.weights, rounded=name == ROUNDED) for name in (EXACT, ROUNDED)}
        self.real = torch.from_numpy(self.weights).float()

    def cases(self, x: NDArray[np.bool_]) -> dict[str, Callable[[], Any]]:
        """Return what is timed, and check the sums of those that are exact."""
        bits, shape = bits_of(x), (self.batch, self.shape.channels, self.shape.side, self.shape.side)
        real, small = torch.from_numpy(x.astype(np.float32).reshape(shape)), x.astype(np.uint8).reshape(shape)

        def stepped(network: NativeNetwork) -> Callable[[], Any]:
            return lambda: network.step(bits)

        def answered(session: ort.InferenceSession) -> Callable[[], Any]:
            return lambda: session.run(None, {"x": small})[0]

        cases: dict[str, Callable[[], Any]] = {name: stepped(network) for name, network in self.networks.items()}
        cases[TORCH] = lambda: torch.nn.functional.conv2d(real, self.real, padding=1, groups=self.shape.groups)
        for name, session in self.sessions.items():
            cases[name] = answered(session)
        expected = convolved(self.shape, x.reshape(shape), self.weights)
        for name in (TORCH, EXACT):
            assert np.array_equal(np.asarray(cases[name]()).astype(np.int64), expected), name
        for name, op in self.products.items():
            assert np.array_equal(native_sums(op, x), expected.reshape(self.batch, -1)), name
        return cases


def measure(seconds: float, *, quick: bool = False) -> list[Row]:
    """Measure all shapes, batches and densities."""
    rows = []
    for shape in SHAPES[:1] if quick else SHAPES:
        for batch in BATCHES[:1] if quick else BATCHES:
            rivals = Rivals(shape, batch)
            for density in DENSITIES[3:4] if quick else DENSITIES:
                x = np.random.default_rng(1).random((batch, shape.channels * shape.side**2)) < density
                row = Row("convolutions", f"{shape.name}, batch {batch}, {density:.0%}", (OURS, UNROLLED))
                with torch.inference_mode():
                    row.times = interleave(rivals.cases(x), seconds=seconds, clock=time.thread_time)
                row.limit = limit_of(shape, rivals.weights, x)
                row.facts = {"shape": shape.name, "batch": batch, "density": density}
                row.facts |= {f"weight_bytes {name}": net.weight_bytes for name, net in rivals.networks.items()}
                if UNROLLED in rivals.networks:
                    row.facts["seconds_to_unroll"] = rivals.seconds_to_unroll
                rows.append(row)
                sys.stderr.write(f"{row.work}\n")
    return rows


def table(rows: list[Row]) -> str:
    """Return a table in Markdown: medians, the machine's limit, and how many times faster native is than each."""
    rivals = (TORCH, EXACT, ROUNDED, UNROLLED)
    heads = ("convolution 3 x 3", OURS, "limit of the machine", "share", *rivals)
    lines = [f"| {' | '.join(heads)} |", "| --- | ---: | --- |" + " ---: |" * (1 + len(rivals))]
    for row in rows:
        ours = row.times[OURS].median_s
        limit = (
            ("", "") if row.limit is None else (f"{readable(row.limit.seconds)}: {row.limit.binds}", f"{row.share:.0%}")
        )
        cells = [
            f"{readable(row.times[name].median_s)} ({row.times[name].median_s / ours:.1f}x)"
            if name in row.times
            else ""
            for name in rivals
        ]
        lines.append(f"| {row.work} | {readable(ours)} | {' | '.join((*limit, *cells))} |")
    return "\n".join(lines) + "\n"


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m studies.bench.convolutions",
        description=__doc__,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--quick", action="store_true", help="one row: to see that it runs")
    parser.add_argument("--seconds", type=float, default=2.0, help="for each row (default: 2)")
    parser.add_argument("--out", type=Path, default=DEFAULT_OUT, help="folder of the results (default: %(default)s)")
    options = parser.parse_args(arguments)
    warnings.filterwarnings("ignore")  # those of the rivals
    torch.set_num_threads(1)
    rows = measure(options.seconds, quick=options.quick)
    options.out.mkdir(parents=True, exist_ok=True)
    found = {"machine": facts(), "clock": "seconds that the thread worked", "rows": [asdict(row) for row in rows]}
    (options.out / "convolutions.json").write_text(json.dumps(found, indent=1) + "\n")
    (options.out / "convolutions.md").write_text(table(rows))
    sys.stdout.write(table(rows))
    return 0


if __name__ == "__main__":
    sys.exit(main())
