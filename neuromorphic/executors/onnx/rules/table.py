"""Which function makes the nodes of which primitive."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from neuromorphic.executors.onnx.graph import Tensor
from neuromorphic.executors.onnx.lowering import Lowering, Rule
from neuromorphic.executors.onnx.rules import arrays, deliveries, elements, images, shifts, sums
from neuromorphic.integers.symbols import Symbol


def _leaf(to: Lowering, s: Symbol) -> Tensor:
    return to.inputs[s.facts["number"]] if s.kind == "input" else to.states[s.facts["name"]]


RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "input": _leaf,
        "state": _leaf,
        "add": sums.sum_of_terms,
        "subtract": sums.sum_of_terms,
        "multiply": elements.multiply,
        "right": shifts.right,
        "and": elements.mask,
        "toward_zero": shifts.toward_zero,
        "clip": sums.clip,
        "absolute": elements.absolute,
        "greater": elements.comparison,
        "greater_equal": elements.comparison,
        "where": elements.where,
        "take": arrays.take,
        "product": arrays.matrix_product,
        "convolve": images.convolve,
        "window_max": images.window_max,
        "deliver": deliveries.deliver,
        "sum": arrays.accumulated,
        "argmax": arrays.argmax,
        "row": arrays.row,
        "set_row": arrays.set_row,
        "pick": arrays.pick,
        "roll": arrays.reshape,
        "repeat": arrays.repeat,
        "reshape": arrays.reshape,
    }
)
"""What makes the nodes of each primitive; a constant is known by its range."""
REAL_RULES: Mapping[str, Rule] = MappingProxyType(
    {
        "state": _leaf,
        "add": arrays.real_sum,
        "subtract": arrays.real_sum,
        "right": arrays.real_right,
        "row": arrays.real_row,
        "set_row": arrays.real_set_row,
    }
)
"""Those that float32 computes where the state they come from is float32."""
