"""LIF neurons over all steps on a CPU: tensors in, tensors out, by the loops of ``lif_loops``."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pnbx_snn.kernels.cpu import lif_loops, lif_torus
from pnbx_snn.kernels.cpu.compiled import array, num_threads
from pnbx_snn.kernels.cpu.lif_steps import RESETS, STEPS, SURROGATES
from pnbx_snn.kernels.cpu.memory import empty

MOST_TOGETHER = 1 << 30
"""Neurons of the largest torus: no limit that memory would not set first."""

_TILE = 4096
"""Units that go through all steps before the next: long rows of memory, and membranes that stay in the cache."""

_PAST = 8 << 20
"""Bytes from which a result goes past the caches."""

Torus = Sequence[int]
"""Rows, columns and kappa's shift; zeros without messages."""


def num_kept(T: Any, M: Any, torus: Torus) -> Any:
    """Return how many numbers the forward pass keeps for the backward; T and M may be symbols of torch."""
    if torus[0]:
        return (T + lif_torus.CHUNK - 1) // lif_torus.CHUNK * M * 2
    return (T // lif_loops.AT_ONCE + T % lif_loops.AT_ONCE) * M


def saved(x: Tensor, kept: Tensor, torus: Torus) -> Tensor:
    """Return what the backward pass takes for x: x."""
    return x


def run_forward(
    x: Tensor, decay: Tensor, theta: Tensor, v0: Tensor, z0: Tensor | None, kind: str, torus: Torus, traced: bool
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """Return spikes ``[T, ...]``, the last membrane ``[...]``, all membranes (if traced) and the kept ones.

    ``kind`` names step, reset and surrogate: ``"leaky/zero/atan"``.
    """
    step, reset, _ = _indices(kind)
    T, M, threads, dtype = len(x), x.numel() // len(x), num_threads(), _dtype(x)
    spikes = empty(x.shape, x.dtype)
    membranes = empty(x.shape, x.dtype) if traced else x.new_empty(0)
    v_last = v0.clone(memory_format=torch.contiguous_format)
    kept = empty((num_kept(T, M, torus),), x.dtype)
    inputs = (*_by_step(x), _by_unit(decay, x), _by_unit(theta, x))
    results = (_flat(v_last), _flat(spikes), _flat(membranes))
    if z0 is None:
        lif_loops.forward_kernel(step, reset, traced)(
            threads, *inputs, T, M, _width(M, threads), _past(spikes, M), *results, _flat(kept)
        )
        return spikes, v_last, membranes, kept
    rows, columns, weight = _grid(torus, dtype)
    lif_torus.forward_kernel(step, reset, traced)(
        threads, *inputs, _flat(z0.to(x.dtype)), T, M, rows, columns, weight, *results,
        *np.split(_flat(kept), 2), np.empty((threads, 3, rows * columns), dtype),
    )  # fmt: skip
    return spikes, v_last, membranes, kept


def run_backward(
    x: Tensor, decay: Tensor, theta: Tensor, kept: Tensor, g_spikes: Tensor | None, g_v: Tensor | None,
    g_membranes: Tensor | None, kind: str, slope: Sequence[float], torus: Torus, learned: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Return the gradients of x, decay, theta (summed to their shapes; zeros unless learned), v0 and z0."""
    T, M, threads, dtype = len(x), x.numel() // len(x), num_threads(), _dtype(x)
    zero = np.zeros(M, dtype)
    of_x, of_v = empty(x.shape, x.dtype), x.new_zeros(x.shape[1:])
    if g_v is not None:
        of_v.copy_(g_v)
    of_decay, of_theta = (torch.zeros_like(of_v) if learned else of_v for _ in range(2))
    of_z = torch.zeros_like(of_v)
    choices = (*_indices(kind), g_membranes is not None, learned)
    inputs = (*_by_step(x), _by_unit(decay, x), _by_unit(theta, x))
    gradients = (
        *((zero, 0) if g_spikes is None else _by_step(g_spikes)),
        *((zero, 0) if g_membranes is None else _by_step(g_membranes)),
        dtype.type(slope[0]), dtype.type(slope[1]),
    )  # fmt: skip
    results = tuple(_flat(result) for result in (of_v, of_x, of_decay, of_theta))
    if torus[0]:
        rows, columns, weight = _grid(torus, dtype)
        units = rows * columns
        lif_torus.backward_kernel(*choices)(
            threads, *inputs, *np.split(_flat(kept), 2), *gradients, T, M, rows, columns, weight, *results, _flat(of_z),
            np.empty((threads, 4, units), dtype), np.empty((threads, (2 * lif_torus.CHUNK + 1) * units), dtype),
        )  # fmt: skip
    else:
        lif_loops.backward_kernel(*choices)(
            threads, *inputs, _flat(kept), *gradients, T, M, _width(M, threads), _past(of_x, M), *results
        )
    if not learned:
        return of_x, torch.zeros_like(decay), torch.zeros_like(theta), of_v, of_z
    sums = [of.sum_to_size(p.shape).to(p.dtype) for of, p in ((of_decay, decay), (of_theta, theta))]
    return of_x, sums[0], sums[1], of_v, of_z


def _indices(kind: str) -> tuple[int, int, int]:
    step, reset, surrogate = kind.split("/")
    return STEPS.index(step), RESETS.index(reset), SURROGATES.index(surrogate)


def _dtype(x: Tensor) -> np.dtype[Any]:
    return np.dtype(np.float32 if x.dtype == torch.float32 else np.float64)


def _width(M: int, threads: int) -> int:
    """Return the units of a tile, whole vectors; few units are shared by all threads."""
    return min(_TILE, -(-M // (64 * threads)) * 64)


def _past(result: Tensor, M: int) -> int:
    """Whether results go past the caches: they would not stay there, and vectors are aligned in all steps and tiles."""
    return int(result.nbytes >= _PAST and M % 16 == 0)


def _grid(torus: Torus, dtype: np.dtype[Any]) -> tuple[int, int, Any]:
    """Return rows, columns, and the weight of a message."""
    rows, columns, shift = torus
    return rows, columns, dtype.type(2.0 ** -(shift + 3))


def _by_step(x: Tensor) -> tuple[Any, int]:
    """Flatten ``[T, ...]``; give the distance of two steps, 0 if they are one in memory."""
    if len(x) > 1 and x.stride(0) == 0:
        return _flat(x[0]), 0
    return _flat(x), x.numel() // len(x)


def _by_unit(parameter: Tensor, x: Tensor) -> Any:
    if parameter.ndim == 0:
        return np.full(x.numel() // len(x), parameter.item(), array(x).dtype)
    return _flat(parameter.to(x.dtype).expand(x.shape[1:]))


def _flat(tensor: Tensor) -> Any:
    return array(tensor if tensor.is_contiguous() else tensor.contiguous()).reshape(-1)
