"""The membrane's loop over time on a CPU, one pass over memory a step; samples in parallel.

Compiled by numba at the first call and kept in its cache. Importing this module needs numba; the caller does without
where it is not installed, on another device, or with another surrogate than atan.
"""

import numba
import numpy as np
import torch
from torch import Tensor

from pnbx_snn.kernels.compiled import Compiled, array, inlined

RESETS = {"zero": 0, "subtract": 1, "none": 2}
Torus = tuple[int, int, float]
"""Rows, columns and the weight of a message; (0, 0, 0) without messages."""


@inlined
def _neighbours(z, out, sides, three, rows, columns, weight):  # type: ignore[no-untyped-def]
    """Sum over the eight neighbours on the torus, times the weight; all arrays are [rows * columns]."""
    for r in range(rows):
        i = r * columns
        for c in range(1, columns - 1):
            sides[i + c] = z[i + c - 1] + z[i + c + 1]
        sides[i] = z[i + columns - 1] + z[i + 1]
        sides[i + columns - 1] = z[i + columns - 2] + z[i]
        for c in range(columns):
            three[i + c] = sides[i + c] + z[i + c]
    for r in range(rows):
        i, up, down = r * columns, (r - 1) % rows * columns, (r + 1) % rows * columns
        for c in range(columns):
            out[i + c] = ((three[up + c] + three[down + c]) + sides[i + c]) * weight


@Compiled
def _forward(drive, beta, theta, v0, z0, reset, rows, columns, weight, potentials, spikes, v_last):  # type: ignore[no-untyped-def]
    T, B, N = drive.shape
    for b in numba.prange(B):
        v, heard = v0[b].copy(), np.zeros(N, drive.dtype)
        sides, three = np.empty(N, drive.dtype), np.empty(N, drive.dtype)
        for t in range(T):
            if rows:
                _neighbours(z0[b] if t == 0 else spikes[t - 1, b], heard, sides, three, rows, columns, weight)
            d, u_row, z_row = drive[t, b], potentials[t, b], spikes[t, b]
            for n in range(N):
                u = d[n] + v[n] * beta[n] + heard[n]
                z = drive.dtype.type(1.0) if u > theta[n] else drive.dtype.type(0.0)
                u_row[n] = u
                z_row[n] = z
                if reset == 0:
                    v[n] = drive.dtype.type(0.0) if u > theta[n] else u
                elif reset == 1:
                    v[n] = u - z * theta[n]
                else:
                    v[n] = u
        v_last[b] = v


@Compiled
def _backward(  # type: ignore[no-untyped-def]
    potentials, beta, theta, v0, grad_spikes, grad_v_last, reset, rows, columns, weight, height, slope,
    grad_drive, grad_beta, grad_theta, grad_v0, grad_z0,
):  # fmt: skip
    T, B, N = potentials.shape
    zero = potentials.dtype.type(0.0)
    one = potentials.dtype.type(1.0)
    for b in numba.prange(B):
        gv, heard = grad_v_last[b].copy(), np.zeros(N, potentials.dtype)
        sides, three = np.empty(N, potentials.dtype), np.empty(N, potentials.dtype)
        g_beta, g_theta = grad_beta[b], grad_theta[b]
        g_beta[:] = zero
        g_theta[:] = zero
        for back in range(T):
            t = T - 1 - back
            if rows and t + 1 < T:
                _neighbours(grad_drive[t + 1, b], heard, sides, three, rows, columns, weight)
            u_row, gs, gd = potentials[t, b], grad_spikes[t, b], grad_drive[t, b]
            before = v0[b] if t == 0 else potentials[t - 1, b]
            for n in range(N):
                u, th = u_row[n], theta[n]
                x = slope * (u - th)
                s = height / (one + x * x)
                gz = gs[n] + heard[n]
                through = gv[n]
                if reset == 0:
                    gz -= gv[n] * u
                    through = zero if u > th else gv[n]
                elif reset == 1:
                    gz -= gv[n] * th
                gu = through + gz * s
                gd[n] = gu
                g_theta[n] -= gz * s
                if reset == 1:
                    g_theta[n] -= gv[n] if u > th else zero
                w = before[n]
                if t > 0:
                    if reset == 0:
                        w = zero if w > th else w
                    elif reset == 1:
                        w = w - th if w > th else w
                g_beta[n] += gu * w
                gv[n] = gu * beta[n]
        grad_v0[b] = gv
        if rows:
            _neighbours(grad_drive[0, b], heard, sides, three, rows, columns, weight)
            grad_z0[b] = heard


def usable(tensor: Tensor) -> bool:
    """Whether the kernels can run on this tensor's device and dtype."""
    return tensor.device.type == "cpu" and tensor.dtype in (torch.float32, torch.float64)


def run_forward(
    drive: Tensor, beta: Tensor, theta: Tensor, v0: Tensor, z0: Tensor, reset: str, torus: Torus
) -> tuple[Tensor, Tensor, Tensor]:
    """Return potentials before the reset and spikes ``[T, B, N]``, and the last membrane ``[B, N]``."""
    potentials, spikes, v_last = torch.empty_like(drive), torch.empty_like(drive), torch.empty_like(v0)
    rows, columns, weight = torus
    arrays = (drive, beta, theta, v0, z0)
    outputs = (potentials, spikes, v_last)
    weight = array(drive).dtype.type(weight)
    _forward(*map(array, arrays), RESETS[reset], rows, columns, weight, *map(array, outputs))
    return potentials, spikes, v_last


def run_backward(
    potentials: Tensor,
    beta: Tensor,
    theta: Tensor,
    v0: Tensor,
    grad_spikes: Tensor,
    grad_v: Tensor,
    reset: str,
    torus: Torus,
    alpha: float,
) -> tuple[Tensor, Tensor, Tensor, Tensor, Tensor]:
    """Return the gradients of drive ``[T, B, N]`` and, all ``[B, N]``, of beta, theta, v0 and z0, for atan(alpha)."""
    grad_drive = torch.empty_like(potentials)
    of_sample = [torch.zeros_like(v0) for _ in range(4)]
    rows, columns, weight = torus
    kind = array(potentials).dtype.type
    arrays = (potentials, beta, theta, v0, grad_spikes.contiguous(), grad_v.contiguous())
    _backward(
        *map(array, arrays),
        RESETS[reset],
        rows,
        columns,
        kind(weight),
        kind(alpha / 2),
        kind(np.pi / 2 * alpha),
        *map(array, (grad_drive, *of_sample)),
    )
    grad_beta, grad_theta, grad_v0, grad_z0 = of_sample
    return grad_drive, grad_beta, grad_theta, grad_v0, grad_z0
