"""Integer programs on one CPU thread: the native executor against torch, ONNX Runtime and OpenVINO.

Products of ternary weights with spikes (18.8 % of them, the project's firing rate) and with int8 activations, and whole
steps of streaming networks at batch 1.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
import onnxruntime as ort
import openvino as ov
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper

from neuromorphic import LIF, Dense, Input, Program, Readout
from neuromorphic.compiler import compile_model
from neuromorphic.executors.native import NativeNetwork, TernaryMatrix, bits_of
from neuromorphic.executors.onnx.model import to_onnx
from neuromorphic.executors.onnx.onnxruntime import onnxruntime_runtime
from neuromorphic.executors.onnx.stepper import facts_of
from neuromorphic.ops import LI, Scale
from neuromorphic.wording import counted
from pnbx_snn.quantization import keep_ternary
from studies.bench.few_bits import few_bits, published
from studies.bench.least_work import Work, step_of
from studies.bench.step import reference
from studies.bench.timing import Row, interleave
from studies.measurements.reference import images, settled

RATE = 0.188


def _weights(rng: np.random.Generator, size: int, num_inputs: int) -> NDArray[np.int8]:
    return rng.integers(-1, 2, (size, num_inputs)).astype(np.int8)


def _onnx_integer(weights: NDArray[np.int8]) -> bytes:
    """Return ONNX's integer product: activations uint8 with zero point 128."""
    nodes = [helper.make_node("MatMulInteger", ["x", "w", "zero"], ["y"])]
    values = [
        helper.make_tensor("w", TensorProto.INT8, weights.T.shape, np.ascontiguousarray(weights.T).tobytes(), raw=True),
        helper.make_tensor("zero", TensorProto.UINT8, [], [128]),
    ]
    x = helper.make_tensor_value_info("x", TensorProto.UINT8, ["B", weights.shape[1]])
    y = helper.make_tensor_value_info("y", TensorProto.INT32, ["B", weights.shape[0]])
    graph = helper.make_graph(nodes, "product", [x], [y], values)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9)
    return bytes(model.SerializeToString())


def _onnxruntime(weights: NDArray[np.int8], x: NDArray[np.uint8]) -> Callable[[], NDArray[np.int32]]:
    options = ort.SessionOptions()
    options.intra_op_num_threads = options.inter_op_num_threads = 1
    session = ort.InferenceSession(_onnx_integer(weights), options, providers=["CPUExecutionProvider"])
    return lambda: session.run(None, {"x": x})[0]


def _openvino(weights: NDArray[np.int8], x: NDArray[np.float32]) -> Callable[[], NDArray[np.float32]]:
    """Return OpenVINO's product with int8 weights, its activations quantised by its own FakeQuantize."""
    from openvino import opset13 as ops

    given = ops.parameter([len(x), weights.shape[1]], np.float32)
    limits = [np.float32(v) for v in (-128, 127)]
    quantised = ops.fake_quantize(given, *limits, *limits, 256)
    stored = ops.convert(ops.constant(weights), np.float32)
    model = ov.Model([ops.matmul(quantised, stored, False, True)], [given])
    core = ov.Core()
    compiled = core.compile_model(model, "CPU", {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1})
    request = compiled.create_infer_request()
    return lambda: request.infer({0: x}, share_inputs=True)[0]


def product_row(size: int, num_inputs: int, batch: int, seconds: float, *, spikes: bool) -> Row:
    """Measure one product; every rival must give the exact sums first."""
    rng = np.random.default_rng(0)
    weights = _weights(rng, size, num_inputs)
    x = (
        (rng.random((batch, num_inputs)) < RATE).astype(np.int32)
        if spikes
        else rng.integers(-128, 128, (batch, num_inputs))
    )
    x = x.astype(np.int32)
    matrix = TernaryMatrix(weights, reads="spikes" if spikes else "values")
    out = np.empty((batch, size), dtype=np.int32)
    real, w32 = torch.from_numpy(x).float(), torch.from_numpy(weights).float()
    real16, w16 = real.bfloat16(), w32.bfloat16()
    small, w8 = torch.from_numpy(x.astype(np.int8)), torch.from_numpy(weights)
    bits = bits_of(x.astype(bool)) if spikes else None
    cases: dict[str, Callable[[], Any]] = {
        "PNB-X native": (lambda: matrix.times_spikes(bits, out)) if spikes else (lambda: matrix.times_values(x, out)),
        "torch fp32": lambda: torch.nn.functional.linear(real, w32),
        "torch bf16": lambda: torch.nn.functional.linear(real16, w16),
        "ONNX Runtime int8": _onnxruntime(weights, (x + 128).astype(np.uint8)),
        "OpenVINO int8": _openvino(weights, x.astype(np.float32)),
    }
    if batch > 16:
        cases["torch int8"] = lambda: torch._int_mm(small, w8.t())
    fewer, said = few_bits(weights, x)
    expected = x @ weights.T.astype(np.int32)
    what = "spikes" if spikes else "int8"
    row = Row("deployment", f"{num_inputs} x {size} ternary x {what}, batch {batch}", ("PNB-X native",))
    for name, case in cases.items():
        error = int(np.abs(np.asarray(torch.as_tensor(case()).float()).astype(np.int64) - expected).max())
        if name == "torch bf16":
            row.checks.append(f"{name} rounds its sums: off by up to {error}")
        elif error:
            raise AssertionError(f"{row.work}: {name} is off by {error}")
    row.checks += ["all others of those give the exact sums", *said, *published(size, num_inputs, batch)]
    row.times = interleave(cases | fewer, seconds=seconds)
    row.facts["weight_bytes"] = matrix.weight_bytes
    work = Work()
    if spikes:
        work.add_events(size, x)
    else:
        work.add_values(size, num_inputs, batch, 1)
    row.limit = work.limit()
    return row


def small_stream() -> Program:
    """Return 784 -> 2048 LIF with a linear state of 256 that hears them and answers, and 10 classes."""
    rng = np.random.default_rng(0)
    full = lambda n, value: np.full(n, value, dtype=np.int32)  # noqa: E731
    ops = (
        Input("x", 784),
        Dense("in", "x", _weights(rng, 2048, 784)),
        LIF("lif", ("in",), full(2048, 3686), full(2048, 640), full(2048, 0), shift=6),
        Dense("B", "lif", _weights(rng, 256, 2048)),
        LI("state", ("B",), full(256, 3900), full(256, 0), shift=2),
        Scale("shown", "state", full(256, 1), 6),
        Dense("C", "shown", _weights(rng, 2048, 256)),
        LIF("out_lif", ("C",), full(2048, 3686), full(2048, 400), full(2048, 0), shift=4),
        Dense("out", "out_lif", _weights(rng, 10, 2048)),
        Readout("readout", ("out",), full(10, 0), shift=0),
    )
    return Program(ops, num_steps=1000)


class TorchStream:
    """The same small network in torch, fp32, dense products, elementwise steps."""

    def __init__(self, program: Program) -> None:
        def weights(name: str) -> torch.Tensor:
            op = program[name]
            assert isinstance(op, Dense)
            return torch.from_numpy(op.weights).float()

        self.w = {name: weights(name) for name in ("in", "B", "C", "out")}
        self.reset()

    def reset(self) -> None:
        """Start anew."""
        self.v, self.s, self.u, self.y = (torch.zeros(1, n) for n in (2048, 256, 2048, 10))

    @torch.no_grad()
    def step(self, x: torch.Tensor) -> torch.Tensor:
        """One step."""
        linear = torch.nn.functional.linear
        v = 0.9 * self.v + linear(x, self.w["in"])
        z = (v > 10.0).float()
        self.v = v * (1 - z)
        self.s = 0.952 * self.s + linear(z, self.w["B"])
        u = 0.9 * self.u + linear(self.s / 16, self.w["C"])
        out = (u > 25.0).float()
        self.u = u * (1 - out)
        self.y = self.y + linear(out, self.w["out"])
        return self.y


def small_stream_row(seconds: float) -> Row:
    """Measure a step of the small network, one call each."""
    program = small_stream()
    rng = np.random.default_rng(1)
    x = (rng.random((1, 784)) < RATE).astype(np.int32)
    network, packed, stream = NativeNetwork(program), bits_of(x.astype(bool)), TorchStream(program)
    real = torch.from_numpy(x).float()
    many = np.repeat(packed[np.newaxis], 200, axis=0)
    row = Row(
        "deployment",
        "streaming 784 -> 2048 -> 256 -> 2048 -> 10, a step",
        ("PNB-X native", "PNB-X native, 200 steps a call, each"),
    )
    cases = {
        "PNB-X native": lambda: network.step(packed),
        "PNB-X native, 200 steps a call, each": lambda: network.run(many),
        "torch fp32": lambda: stream.step(real),
    }
    _add_compiled(row, cases, lambda: partial(torch.compile(TorchStream(program).step), real))
    row.times = interleave(cases, seconds=seconds)
    each = "PNB-X native, 200 steps a call, each"
    row.times[each] = _divided(row.times[each], 200)
    rates = network.spike_counts()
    row.checks.append(
        f"fires {100 * float(rates['lif'][0]) / network.time / 2048:.1f} % and "
        f"{100 * float(rates['out_lif'][0]) / network.time / 2048:.1f} %"
    )
    row.limit = step_of(program, network, x, 1).limit()
    return row


def _add_compiled(row: Row, cases: dict[str, Callable[[], Any]], make: Callable[[], Callable[[], Any]]) -> None:
    """Add torch.compile's form, which needs a C++ compiler on the machine."""
    try:
        case = make()
        case()
    except torch._dynamo.exc.TorchDynamoException as error:
        row.checks.append(f"torch.compile failed here: {str(error).splitlines()[0]}")
    else:
        cases["torch fp32, torch.compile"] = case


def _divided(timing: Any, by: int) -> Any:
    return type(timing)(timing.median_s / by, timing.low_s / by, timing.high_s / by, timing.samples)


def _stream_of(step: Callable[..., Any], x: torch.Tensor) -> Callable[[], None]:
    """Return what runs the next step of a stream, a few steps having been run."""
    state: list[Any] = [None]

    def run() -> None:
        _, state[0] = step(x, state[0])

    for _ in range(4):  # torch.compile compiles the first step, and the ones after it, apart
        run()
    return run


def _program_in_onnxruntime(program: Program, x: NDArray[np.int32], threads: int = 1) -> Callable[[], None]:
    """Return what runs the next step of the same integers, its states passed on."""
    model = to_onnx(program, record=[f"{program.ops[-1].name}.y"])
    states = facts_of(model)["states"]
    held = [{s["input"]: np.zeros((len(x), *s["shape"]), dtype=s["dtype"]) for s in states}]
    step, _ = onnxruntime_runtime(threads=threads).compiled(model, {})

    def run() -> None:
        given = step({"x": x, **held[0]})
        held[0] = {s["input"]: given[s["output"]] for s in states}

    return run


def pnbx_stream_row(model: Any, program: Program, seconds: float) -> Row:
    """Measure a step of the reference PNB-X network as a stream."""
    x = images(1)
    packed = np.ascontiguousarray(program.prepare_inputs(x.numpy())[0])
    network = NativeNetwork(program)
    many = np.repeat(packed[np.newaxis], 100, axis=0)
    row = Row(
        "deployment",
        f"streaming step of PNB-X, H = {model.d_hidden}",
        ("PNB-X native", "PNB-X native, 100 steps a call, each"),
    )
    with keep_ternary(model), torch.no_grad():  # weights are rounded once
        cases = {
            "PNB-X native": lambda: network.step(packed),
            "PNB-X native, 100 steps a call, each": lambda: network.run(many),
            "torch fp32": _stream_of(model.stream, x),
            "ONNX Runtime int8, the program": _program_in_onnxruntime(program, packed),
        }
        _add_compiled(row, cases, lambda: _stream_of(torch.compile(model.stream), x))
        row.times = interleave(cases, seconds=seconds)
    each = "PNB-X native, 100 steps a call, each"
    row.times[each] = _divided(row.times[each], 100)
    counts = network.spike_counts()
    fired = [int(counts[name][0]) / network.time / model.d_hidden for name in ("encoder", "block1")]
    row.checks.append(
        f"encoder fires {100 * fired[0]:.1f} %, block {100 * fired[1]:.1f} %, over {network.time:,} steps"
    )
    row.facts = {
        "operations": len(program.ops),
        "weight_bytes": network.weight_bytes,
        "parameter_bytes": network.parameter_bytes,
        "state_bytes": network.state_bytes,
    }
    row.limit = step_of(program, network, packed, 2).limit()
    return row


def pnbx_batch_row(model: Any, program: Program, batch: int, threads: int, seconds: float) -> Row:
    """Measure a sample's step of the reference PNB-X network where many go side by side; shares of those of batch 1."""
    x = images(batch)
    packed = np.ascontiguousarray(program.prepare_inputs(x.numpy())[0])
    network, one = NativeNetwork(program, batch=batch, threads=threads), NativeNetwork(program)
    many, alone = np.repeat(packed[np.newaxis], 8, axis=0), np.ascontiguousarray(packed[:1])
    each, single = "PNB-X native, 8 steps a call", "PNB-X native, batch 1, one thread"
    row = Row(
        "deployment",
        f"PNB-X, H = {model.d_hidden}, batch {batch}, {counted(threads, 'thread')}: a step, each sample",
        ("PNB-X native", each, single),
    )
    torch.set_num_threads(threads)
    with keep_ternary(model), torch.no_grad():
        cases = {
            "PNB-X native": lambda: network.step(packed),
            each: lambda: network.run(many),
            single: lambda: one.step(alone),
            "torch fp32": _stream_of(model.stream, x),
            "ONNX Runtime int8, the program": _program_in_onnxruntime(program, packed, threads),
        }
        row.times = interleave(cases, seconds=seconds)
    torch.set_num_threads(1)
    parts = {each: 8 * batch, single: 1}
    row.times = {name: _divided(timing, parts.get(name, batch)) for name, timing in row.times.items()}
    least = step_of(program, network, packed, 2).limit(threads)
    if least is not None:
        each_s, each_bytes, each_issued = (x / batch for x in (least.seconds, least.bytes, least.instructions))
        row.limit = replace(least, seconds=each_s, bytes=each_bytes, instructions=each_issued)
    faster = row.times[single].median_s / row.times[each].median_s
    row.checks.append(f"8 steps a call: {faster:.2f} times the samples a second of batch 1 on one thread")
    return row


def rows(seconds: float, *, quick: bool) -> list[Row]:
    """Measure the deployment table."""
    size = 256 if quick else 2048
    measured = [
        product_row(size, size, 1, seconds, spikes=True),
        product_row(size, size, 128, seconds, spikes=True),
        product_row(size, 784, 1, seconds, spikes=True),
        product_row(size, size, 1, seconds, spikes=False),
        product_row(size, size, 128, seconds, spikes=False),
    ]
    if not quick:
        measured.append(small_stream_row(seconds))
    model = settled(reference(8, size), images(8).expand(64, -1, -1))
    program = compile_model(model, num_steps=1000)
    measured.append(pnbx_stream_row(model, program, seconds))
    shapes = [(8, 2)] if quick else [(32, 1), (128, 1), (32, 2), (128, 2)]
    return measured + [pnbx_batch_row(model, program, batch, threads, seconds) for batch, threads in shapes]
