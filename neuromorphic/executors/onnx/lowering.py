"""The traced step of an operation as ONNX nodes: one rule for each primitive, and none for any operation.

A symbol becomes an int32 tensor ``[B, *shape]``, modulo ``2**32``: that is its value where its proven range fits int32,
and all that sums, products and masks need where it does not. What needs more of a symbol that leaves int32 (a shift, a
limit, a comparison) asks for its limbs. Whole numbers of a large state that is shifted are float32, which both runtimes
shift as vectors.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from neuromorphic.errors import CompileError
from neuromorphic.executors.onnx.graph import Operand, Tensor
from neuromorphic.executors.onnx.integers import EXACT, Integers, Limbs
from neuromorphic.executors.onnx.products import Products
from neuromorphic.integers.symbols import Symbol, Traced

INT32_END = 1 << 31
SUMS = ("add", "subtract")
Rule = Callable[["Lowering", Symbol], Tensor]


@dataclass
class Lowering:
    """The nodes of one operation.

    Parameters
    ----------
    g : Integers
        Where to compute.
    op : str
        Its name, for messages.
    products : str
        See :func:`neuromorphic.executors.onnx.products.product`.
    inputs : sequence of Tensor
        What its sources give, int32.
    states : mapping of str to Tensor
        Its states before the step; those named in ``real_states`` are float32.
    reads : Counter
        How often each symbol is read, by its identity: see :func:`reads_of`.
    rules, real_rules : mapping of str to Rule
        What makes the nodes of each primitive: :data:`neuromorphic.executors.onnx.rules.table.RULES`.
    """

    g: Integers
    op: str
    products: Products
    inputs: Sequence[Tensor]
    states: Mapping[str, Tensor]
    real_states: frozenset[str]
    reads: Counter[int]
    rules: Mapping[str, Rule]
    real_rules: Mapping[str, Rule]
    _tensors: dict[int, Tensor] = field(default_factory=dict)
    _reals: dict[int, Tensor] = field(default_factory=dict)
    whole: dict[int, Limbs] = field(default_factory=dict)

    def tensor(self, s: Symbol) -> Tensor:
        """Return a symbol as int32, modulo ``2**32``; a constant without the axis of samples."""
        if id(s) not in self._tensors:
            fixed = fixed_value(s)
            if fixed is not None:
                made = self.g.constant(fixed.astype(np.int32))
            else:
                made = self.g.to_integer(self.real(s)) if self.is_real(s) else self.rules[s.kind](self, s)
            self._tensors[id(s)] = made
        return self._tensors[id(s)]

    def real(self, s: Symbol) -> Tensor:
        """Return a symbol of at most 24 bits as float32."""
        if id(s) not in self._reals:
            fixed = fixed_value(s)
            if fixed is not None:
                made = self.g.constant(fixed.astype(np.float32))
            else:
                made = self.real_rules[s.kind](self, s) if self.is_real(s) else self.g.to_float(self.tensor(s))
            self._reals[id(s)] = made
        return self._reals[id(s)]

    def is_real(self, s: Symbol) -> bool:
        """Whether float32 computes it, because it comes from a state that is float32."""
        if s.kind == "state":
            return s.facts["name"] in self.real_states
        exact = s.kind in self.real_rules and max(s.peak, *(a.peak for a in s.args)) <= EXACT
        by_variable = s.kind == "right" and fixed_value(s.args[1]) is None
        return exact and not by_variable and any(self.is_real(a) for a in s.args)

    def is_shared(self, s: Symbol) -> bool:
        """Whether more than one node reads it."""
        return self.reads[id(s)] > 1

    def operands(self, s: Symbol, args: Sequence[Symbol]) -> list[Operand]:
        """Return tensors that broadcast to the shape of ``s``, a constant as one integer where that is enough."""
        return [self.operand(a, s.shape, [b for b in args if b is not a]) for a in args]

    def operand(self, a: Symbol, shape: tuple[int, ...], others: Sequence[Symbol] = ()) -> Operand:
        """Return a tensor that broadcasts to a shape, or an integer."""
        fixed = fixed_value(a)
        if fixed is None:
            return self.ranked(self.tensor(a), a, len(shape))
        enough = any(b.shape == shape and fixed_value(b) is None for b in others)
        return int(fixed.flat[0]) if enough and (fixed == fixed.flat[0]).all() else self.tensor(a)

    def ranked(self, tensor: Tensor, s: Symbol, rank: int) -> Tensor:
        """Return the tensor of a symbol with so many axes, that of samples aside."""
        missing = rank - len(s.shape)
        return self.g.reshape(tensor, -1, *[1] * missing, *s.shape) if missing else tensor

    def refused(self, what: str) -> CompileError:
        """Return the error for what no rule can compute."""
        return CompileError(f"{self.op}: {what} of more than 32 bits cannot be exported to ONNX")


def fixed_value(s: Symbol) -> NDArray[np.int64] | None:
    """Return the value of a symbol that has only one."""
    return np.broadcast_to(s.low, s.shape) if s.low is s.high or np.array_equal(s.low, s.high) else None


def is_number(s: Symbol) -> bool:
    """Whether a symbol is one number, the same for all elements."""
    return s.span[0] == s.span[1]


def plain(value: NDArray[np.int64]) -> Operand:
    """Return a constant as int32, or as one integer where all are equal."""
    return int(value.flat[0]) if (value == value.flat[0]).all() else value.astype(np.int32)


def reads_of(asked: Traced) -> Counter[int]:
    """Return how often each symbol is read, by its identity; what is asked for is read once more."""
    args = (a for symbol in asked.symbols() for a in symbol.args)
    return Counter(map(id, [asked.value, *asked.after.values(), *args]))
