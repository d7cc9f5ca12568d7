"""What a network's forward does after its last module: what keeps the order of its read-outs, and what does not."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

from module_equations import Array, softmax


@dataclass(frozen=True)
class Ending:
    """``returned`` makes of a module's output ``[T, B, C]`` (and of a second head's) what the network returns.

    ``right`` is the same in NumPy; ``read`` is what a user reads of the program's values before the argmax,
    their sum over time, their last step, their largest value.
    """

    name: str
    returned: Callable[[Tensor, Tensor], Any]
    right: Callable[[Array, Array], Array]
    read: str = "sum"
    shape: str = "stack"  # acc: added up in the loop; list: a step each; tuple, dict: with the states
    heads: int = 1
    batch_first: bool = False


def _e(name: str, returned: Any, right: Any, **more: Any) -> tuple[str, Ending]:
    return name, Ending(name, returned, right, **more)


def hand(x: Tensor) -> Tensor:
    """Run :class:`HandNeuron` over steps."""
    return HandNeuron().over(x)


class HandNeuron(nn.Module):
    """A neuron of a library that nobody knows, with its surrogate as a module of its own, as SpikingJelly's have."""

    def __init__(self, threshold: float = 0.5) -> None:
        super().__init__()
        self.surrogate, self.threshold, self.v = nn.Identity(), threshold, 0.0

    def forward(self, x: Tensor) -> Tensor:
        v = (self.v + x) / 2
        z = (self.surrogate(v - self.threshold) > 0).to(x.dtype)
        self.v = v * (1 - z)
        return z

    def over(self, x: Tensor) -> Tensor:
        self.v = 0.0
        return torch.stack([self(step) for step in x])


def _hand(x: Array, threshold: float = 0.5) -> Array:
    v, out = np.zeros(x.shape[1:]), []
    for step in x:
        v = (v + step) / 2
        z = (v > threshold).astype(np.float64)
        v = v * (1 - z)
        out.append(z)
    return np.stack(out)


def _ramp(o: Any) -> Any:
    return np.arange(len(o), dtype=np.float64)[:, None, None]


GOOD = dict(
    [
        _e("raw", lambda o, _: o, lambda o, _: o),
        _e("sum", lambda o, _: o.sum(0), lambda o, _: o.sum(0)),
        _e("mean", lambda o, _: o.mean(dim=0), lambda o, _: o.mean(0)),
        _e("softmax", lambda o, _: torch.softmax(o.sum(0), -1), lambda o, _: softmax(o.sum(0), -1)),
        _e(
            "log_softmax",
            lambda o, _: functional.log_softmax(o.mean(0), dim=1),
            lambda o, _: np.log(softmax(o.mean(0), -1)),
        ),
        _e("scaled", lambda o, _: 2.5 * o.sum(0), lambda o, _: o.sum(0) * 2.5),
        _e("divided", lambda o, _: o.sum(0) / len(o), lambda o, _: o.mean(0)),
        _e("viewed", lambda o, _: o.sum(0).unsqueeze(0).reshape(o.shape[1:]), lambda o, _: o.sum(0)),
        _e("batch first", lambda o, _: o.transpose(0, 1), lambda o, _: o.swapaxes(0, 1), batch_first=True),
        _e("added up", None, lambda o, _: o.sum(0), shape="acc"),
        _e("list", None, lambda o, _: o, shape="list"),
        _e("tuple", None, lambda o, _: o, shape="tuple"),
        _e("dict", None, lambda o, _: o, shape="dict"),
        _e("last of values", lambda o, _: o[-1], lambda o, _: o[-1], read="last"),
    ]
)

BAD = dict(
    [
        _e("negated", lambda o, _: -o, lambda o, _: -o),
        _e("negated sum", lambda o, _: -o.sum(0), lambda o, _: -o.sum(0)),
        _e("times minus 2", lambda o, _: o.mean(0) * -2.0, lambda o, _: -2.0 * o.mean(0)),
        _e("divided by minus 2", lambda o, _: o.mean(0) / -2.0, lambda o, _: o.mean(0) / -2.0),
        _e("taken from 1", lambda o, _: 1.0 - o.sum(0), lambda o, _: 1.0 - o.sum(0)),
        _e("classes rolled", lambda o, _: o.roll(1, -1), lambda o, _: np.roll(o, 1, -1)),
        _e("classes flipped", lambda o, _: o.flip(-1), lambda o, _: o[..., ::-1]),
        _e(
            "classes permuted",
            lambda o, _: o.sum(0)[:, torch.arange(o.shape[2] - 1, -1, -1)],
            lambda o, _: o.sum(0)[:, ::-1],
        ),
        _e("last classes", lambda o, _: o[..., 1:], lambda o, _: o[..., 1:]),
        _e("first class twice", lambda o, _: o.sum(0)[:, [0, 0]], lambda o, _: o.sum(0)[:, [0, 0]]),
        _e("abs", lambda o, _: o.sum(0).abs(), lambda o, _: np.abs(o.sum(0))),
        _e("relu", lambda o, _: torch.relu(o), lambda o, _: np.maximum(o, 0)),
        _e("square", lambda o, _: o.sum(0) ** 2, lambda o, _: o.sum(0) ** 2),
        _e("reciprocal", lambda o, _: 1.0 / (o.sum(0) + 100.0), lambda o, _: 1.0 / (o.sum(0) + 100.0)),
        _e("clamped", lambda o, _: o.sum(0).clamp(0, 1), lambda o, _: np.clip(o.sum(0), 0, 1)),
        _e("softmax of samples", lambda o, _: torch.softmax(o.sum(0), 0), lambda o, _: softmax(o.sum(0), 0)),
        _e("softmin", lambda o, _: functional.softmin(o.sum(0), -1), lambda o, _: softmax(-o.sum(0), -1)),
        _e("softmax of steps", lambda o, _: torch.softmax(3 * o, 0), lambda o, _: softmax(3 * o, 0)),
        _e(
            "softmax in each step",
            lambda o, _: torch.softmax(3 * o, -1).sum(0),
            lambda o, _: softmax(3 * o, -1).sum(0),
        ),
        _e("sum of features", lambda o, _: o.sum(-1), lambda o, _: o.sum(-1)),
        _e("plus a vector", lambda o, _: o + _vector(o), lambda o, _: o + np.arange(o.shape[2], dtype=float)),
        _e("times a vector", lambda o, _: o * _vector(o), lambda o, _: o * np.arange(o.shape[2], dtype=float)),
        _e("half of the steps", lambda o, _: o[len(o) // 2 :].sum(0), lambda o, _: o[len(o) // 2 :].sum(0)),
        _e("first step", lambda o, _: o[0], lambda o, _: o[0]),
        _e("last step", lambda o, _: o[-1], lambda o, _: o[-1]),
        _e("most of steps", lambda o, _: o.max(0).values, lambda o, _: o.max(0), read="max"),
        _e(
            "steps weighed",
            lambda o, _: (o * torch.as_tensor(_ramp(o), dtype=o.dtype)).sum(0),
            lambda o, _: (o * _ramp(o)).sum(0),
        ),
        _e("another neuron", lambda o, _: hand(o), lambda o, _: _hand(o)),
        _e("batch norm by hand", lambda o, _: o.sum(0) - o.sum(0).mean(0), lambda o, _: o.sum(0) - o.sum(0).mean(0)),
        _e("product of heads", lambda o, p: (o * p).sum(0), lambda o, p: (o * p).sum(0), heads=2),
        _e("difference of heads", lambda o, p: (o - p).sum(0), lambda o, p: (o - p).sum(0), heads=2),
        _e("mean of heads", lambda o, p: (o + p).mean(0) / 2, lambda o, p: (o + p).mean(0) / 2, heads=2),
        _e("larger head", lambda o, p: torch.maximum(o, p), lambda o, p: np.maximum(o, p), heads=2),
        _e("softmax of heads", lambda o, p: torch.cat([o, p], -1), lambda o, p: np.concatenate([o, p], -1), heads=2),
        _e("to integers", lambda o, _: o.mean(0).int(), lambda o, _: np.trunc(o.mean(0))),
        _e(
            "samples among classes",
            lambda o, _: o.sum(0).T.reshape(o.shape[1:]),
            lambda o, _: o.sum(0).T.reshape(o.shape[1:]),
        ),
        _e("in place", lambda o, _: o.mul_(-1.0), lambda o, _: -o),
        _e("through numpy", lambda o, _: torch.from_numpy(-o.numpy()), lambda o, _: -o),
    ]
)
SAMPLES_MIXED = ("softmax of samples", "batch norm by hand", "samples among classes")


def _vector(o: Tensor) -> Tensor:
    return torch.arange(o.shape[2], dtype=o.dtype)
