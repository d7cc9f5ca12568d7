"""One step of a Transformer as an ONNX graph for ONNX Runtime: its cache of keys and values goes in and comes out."""

from collections.abc import Sequence
from typing import Any, Literal

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper
from torch import Tensor

from studies.rivals.cache import StoredAs
from studies.rivals.transformer import Layer, Transformer

Weights = Literal["fp32", "int8", "int4"]
OPSET, MICROSOFT = 17, "com.microsoft"
BLOCK = 128
"""Weights of a row with one scale: 32 took 7 % longer in a step of 256."""


class StepGraph:
    r"""The nodes and weights of a step, added one after the other.

    Inputs: ``token`` ``[B]``, ``position`` ``[1]`` (the row of learned positions), ``last`` ``[B]`` (the steps before
    this one), ``steps`` (with this one), and ``key_0``, ``value_0``, ... ``[B, heads, capacity, D / heads]``. Outputs:
    ``logits`` ``[B, C]`` and ``new_key_0``, ``new_value_0``, ..., which are meant to be the same memory as the inputs.

    Parameters
    ----------
    model
        A Transformer of tokens in fp32, its positions learned or none.
    weights
        ``"int8"``, ``"int4"``: as ``MatMulNBits`` takes them, a byte or half of one a weight and a scale for 128 of a
        row; activations are rounded to bytes at each call, sums are int32.
    stored
        ``"int8"``: keys and values are bytes of one scale, :math:`\hat x = s \operatorname{round}(x / s)` with
        :math:`s` = ``largest`` / 127; beyond ``largest`` they are cut off.
    largest
        See there.
    """

    def __init__(self, model: Transformer, *, weights: Weights, stored: StoredAs, largest: float) -> None:
        self.weights, self.stored = weights, stored
        self.heads = model.num_heads
        self.nodes: list[Any] = []
        self.constants: list[Any] = []
        self.inputs: list[Any] = []
        self.outputs: list[Any] = []
        for name, kind, shape in (
            ("token", TensorProto.INT64, ["B"]),
            ("position", TensorProto.INT64, [1]),
            ("last", TensorProto.INT32, ["B"]),
            ("steps", TensorProto.INT32, [1]),
        ):
            self.inputs.append(helper.make_tensor_value_info(name, kind, shape))
        if stored == "int8":
            self.constant("cache_scale", np.full(1, largest / 127, np.float32))
        self._step(model)
        classes = model.readout.weight.shape[0]
        self.outputs.insert(0, helper.make_tensor_value_info("logits", TensorProto.FLOAT, ["B", 1, classes]))

    def model(self) -> bytes:
        """Return the file."""
        graph = helper.make_graph(self.nodes, "step", self.inputs, self.outputs, self.constants)
        opsets = [helper.make_opsetid("", OPSET), helper.make_opsetid(MICROSOFT, 1)]
        file: bytes = helper.make_model(graph, opset_imports=opsets, ir_version=9).SerializeToString()
        return file

    def constant(self, name: str, value: Tensor | NDArray[Any]) -> str:
        """Add weights and return their name."""
        array = value.detach().numpy() if isinstance(value, Tensor) else value
        self.constants.append(onnx.numpy_helper.from_array(np.ascontiguousarray(array), name))
        return name

    def add(self, kind: str, inputs: Sequence[str], output: str, *more: str, **attributes: Any) -> str:
        """Add an operation and return the name of its first output."""
        self.nodes.append(helper.make_node(kind, list(inputs), [output, *more], name=output, **attributes))
        return output

    def _step(self, model: Transformer) -> None:
        table = self.constant("token_table", model.token.weight)
        x = self.add("Gather", [table, "token"], "embedded")  # [B, D]
        x = self.add("Unsqueeze", [x, self.constant("axis", np.array([1]))], "embedded_steps")  # [B, 1, D]
        if model.position is not None:
            row = self.add("Gather", [self.constant("position_table", model.position.weight), "position"], "row")
            x = self.add("Add", [x, row], "placed")
        for number, layer in enumerate(model.layers):
            assert isinstance(layer, Layer)
            x = self._layer(x, layer, number)
        if model.norm is not None:
            x = self.norm(x, model.norm, "norm")
        self.product(x, model.readout, "logits")

    def _layer(self, x: str, layer: Layer, number: int) -> str:
        def named(part: str) -> str:
            return f"{part}_{number}"

        first = self.norm(x, layer.norm1, named("norm1")) if layer.place == "before" else x
        qkv = self.product(first, layer.qkv, named("qkv"))
        part = self.product(self.attention(qkv, number, layer), layer.out, named("out"))
        x = self.add("Add", [x, part], named("sum1"))
        if layer.place == "after":
            x = self.norm(x, layer.norm1, named("norm1"))
        second = self.norm(x, layer.norm2, named("norm2")) if layer.place == "before" else x
        up = self.add("Relu", [self.product(second, layer.up, named("up"))], named("relu"))
        x = self.add("Add", [x, self.product(up, layer.down, named("down"))], named("sum2"))
        return self.norm(x, layer.norm2, named("norm2")) if layer.place == "after" else x

    def norm(self, x: str, norm: Any, name: str) -> str:
        """Add a layer's norm, gain and bias; the runtime joins it with the sum before it."""
        gain, bias = self.constant(f"{name}_gain", norm.weight), self.constant(f"{name}_bias", norm.bias)
        return self.add("LayerNormalization", [x, gain, bias], name, axis=-1, epsilon=norm.eps)

    def attention(self, qkv: str, number: int, layer: Layer) -> str:
        """Add the attention of one query over the cache, which takes in the new key and value."""
        kind = TensorProto.INT8 if self.stored == "int8" else TensorProto.FLOAT
        shape = ["B", self.heads, "capacity", layer.out.in_features // self.heads]
        for place in ("key", "value"):
            self.inputs.append(helper.make_tensor_value_info(f"{place}_{number}", kind, shape))
            self.outputs.append(helper.make_tensor_value_info(f"new_{place}_{number}", kind, shape))
        inputs = [qkv, "", "", f"key_{number}", f"value_{number}", "last", "steps"]
        attributes: dict[str, Any] = {"num_heads": self.heads, "kv_num_heads": self.heads}
        if self.stored == "int8":
            inputs += [""] * 5 + ["cache_scale", "cache_scale"]
            attributes |= {"kv_cache_bit_width": 8, "k_quant_type": "PER_TENSOR", "v_quant_type": "PER_TENSOR"}
        names = (f"attended_{number}", f"new_key_{number}", f"new_value_{number}")
        return self.add("GroupQueryAttention", inputs, *names, domain=MICROSOFT, **attributes)

    def product(self, x: str, linear: Any, name: str) -> str:
        """Add a product with weights in the form asked for."""
        weight = linear.weight.detach().numpy()  # [out, in]
        if self.weights == "fp32":
            return self.add("MatMul", [x, self.constant(f"{name}_weight", weight.T)], name)
        bits = int(self.weights.removeprefix("int"))
        numbers, scales = blocks(weight, bits)
        inputs = [x, self.constant(f"{name}_weight", numbers), self.constant(f"{name}_scale", scales)]
        sizes = {"N": weight.shape[0], "K": weight.shape[1], "bits": bits, "block_size": BLOCK, "accuracy_level": 4}
        return self.add("MatMulNBits", inputs, name, domain=MICROSOFT, **sizes)


def blocks(weight: NDArray[np.float32], bits: int) -> tuple[NDArray[np.uint8], NDArray[np.float32]]:
    """Return ``[out, in]`` as bytes ``[out, blocks, 16 * bits]`` and a scale a block of 128 weights ``[out, blocks]``.

    Zero is half of the range, 128 or 8. Of two numbers of four bits in a byte the first is the lower one.

    Examples
    --------
    >>> numbers, scales = blocks(np.array([[-127.0, 1.0, 2.0]], dtype=np.float32), 8)
    >>> numbers[0, 0, :4], scales
    (array([  1, 129, 130, 128], dtype=uint8), array([[1.]], dtype=float32))
    >>> blocks(np.array([[-7.0, 1.0, 2.0]], dtype=np.float32), 4)[0][0, 0, :3].tolist() == [0x91, 0x8A, 0x88]
    True
    """
    zero = 1 << (bits - 1)
    padded = np.pad(weight, ((0, 0), (0, -weight.shape[1] % BLOCK)))
    parts = padded.reshape(len(weight), -1, BLOCK)  # [out, blocks, 128]
    scales = np.maximum(np.abs(parts).max(axis=-1), np.float32(1e-12)) / (zero - 1)  # [out, blocks]
    numbers = (np.rint(parts / scales[:, :, None]) + zero).astype(np.uint8)
    if bits == 4:
        numbers = numbers[:, :, ::2] | numbers[:, :, 1::2] << 4
    return numbers, scales.astype(np.float32)
