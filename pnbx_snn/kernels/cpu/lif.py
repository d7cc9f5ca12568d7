"""LIF neurons over all steps on a CPU: tensors in, tensors out, by the loops of ``lif_loops``."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from torch import Tensor

from pnbx_snn.kernels.cpu.compiled import array, num_threads
from pnbx_snn.kernels.cpu.lif_loops import RESETS, STEPS, SURROGATES, backward_kernel, forward_kernel
from pnbx_snn.kernels.cpu.memory import empty

CHUNK = 32
"""Steps between two kept membranes."""
MOST_TOGETHER = 1 << 30
"""Neurons of the largest torus: no limit that memory would not set first."""

_TILE = 512  # units that are run through all steps before the next

Torus = Sequence[int]
"""Rows, columns and kappa's shift; zeros without messages."""


def num_kept(T: Any, M: Any, torus: Torus) -> Any:
    """Return how many numbers the forward pass keeps for the backward; T and M may be symbols of torch."""
    return (T + CHUNK - 1) // CHUNK * M * (2 if torus[0] else 1)


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
    sizes, threads, dtype = _sizes(x, torus)
    T, M, _, width, rows, *_ = sizes
    spikes = empty(x.shape, x.dtype)
    membranes = empty(x.shape, x.dtype) if traced else x.new_empty(0)
    v_last, kept = v0.clone(memory_format=torch.contiguous_format), x.new_empty(num_kept(T, M, torus))
    forward_kernel(step, reset, rows > 0, traced)(
        threads, *_by_step(x), _by_unit(decay, x), _by_unit(theta, x), _flat(v_last if z0 is None else z0.to(x.dtype)),
        *sizes, np.empty((threads, 3, width if rows else 1), dtype),
        *(_flat(result) for result in (v_last, spikes, membranes, kept)),
    )  # fmt: skip
    return spikes, v_last, membranes, kept


def run_backward(
    x: Tensor, decay: Tensor, theta: Tensor, kept: Tensor, g_spikes: Tensor | None, g_v: Tensor | None,
    g_membranes: Tensor | None, kind: str, slope: Sequence[float], torus: Torus, learned: bool,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:  # fmt: skip
    """Return the gradients of x, decay, theta (summed to their shapes; zeros unless learned), v0 and z0."""
    sizes, threads, dtype = _sizes(x, torus)
    _, M, chunk, width, rows, *_ = sizes
    zero = np.zeros(M, dtype)
    of_x, of_v = empty(x.shape, x.dtype), x.new_zeros(x.shape[1:])
    if g_v is not None:
        of_v.copy_(g_v)
    of_decay, of_theta = (torch.zeros_like(of_v) if learned else of_v for _ in range(2))
    of_z = torch.zeros_like(of_v)
    backward_kernel(*_indices(kind), rows > 0, g_membranes is not None, learned)(
        threads, *_by_step(x), _by_unit(decay, x), _by_unit(theta, x), _flat(kept),
        *((zero, 0) if g_spikes is None else _by_step(g_spikes)),
        *((zero, 0) if g_membranes is None else _by_step(g_membranes)),
        dtype.type(slope[0]), dtype.type(slope[1]),
        *sizes, np.empty((threads, 3, width if rows else 1), dtype),
        np.empty((threads, (2 * chunk + 1) * width), dtype),
        *(_flat(result) for result in (of_v, of_x, of_decay, of_theta, of_z)),
    )  # fmt: skip
    if not learned:
        return of_x, torch.zeros_like(decay), torch.zeros_like(theta), of_v, of_z
    sums = [of.sum_to_size(p.shape).to(p.dtype) for of, p in ((of_decay, decay), (of_theta, theta))]
    return of_x, sums[0], sums[1], of_v, of_z


def _indices(kind: str) -> tuple[int, int, int]:
    step, reset, surrogate = kind.split("/")
    return STEPS.index(step), RESETS.index(reset), SURROGATES.index(surrogate)


def _sizes(x: Tensor, torus: Torus) -> tuple[tuple[Any, ...], int, np.dtype[Any]]:
    """Return T, M, steps a chunk, units a tile, rows, columns, weight of a message; threads; dtype.

    A torus is not cut; few units are shared by all threads.
    """
    rows, columns, shift = torus
    dtype = np.dtype(np.float32 if x.dtype == torch.float32 else np.float64)
    T, M, threads = len(x), x.numel() // len(x), num_threads()
    width = rows * columns or max(16, min(_TILE, -(-M // threads)))
    weight = dtype.type(2.0 ** -(shift + 3))
    return (T, M, min(CHUNK, T), width, rows, columns, weight), min(threads, -(-M // width)), dtype


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
