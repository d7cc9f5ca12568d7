"""A path of linear nodes from a source to a population as integer operations can follow it: its shared weights.

A path is one layer of weights with sums of windows before and after it. Factors move into the weights, and of two
convolutions in a row one must look at single places: then both are one. What is none of this becomes a matrix, for
which :mod:`neuromorphic.compiler.nir.signals` pushes unit vectors through the nodes.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np

from neuromorphic.compiler.nir.nodes import ELEMENTWISE, Map, Shape
from neuromorphic.compiler.weight_integers import Float64
from neuromorphic.compiler.windows import PLAIN, Layout, Window


@dataclass(frozen=True)
class Path:
    """Weights ``[N]`` (one for each unit), ``[C]`` or ``[O, C / groups, kh, kw]`` (with a layout), or ``[out, in]``."""

    weights: Float64
    steps: int = 0
    layout: Layout = PLAIN

    @property
    def _is_plain(self) -> bool:
        return self.weights.ndim == 1 and not self.layout.before

    @property
    def size(self) -> int:
        """Number of values at its end."""
        return len(self.weights) if self._is_plain else self.layout.size_of(self.weights)

    @property
    def is_identity(self) -> bool:
        """Whether it changes nothing."""
        return self._is_plain and bool((self.weights == 1).all())

    def peak(self) -> Float64:
        """Return what events of 1 add up to at most, ``[N]``."""
        rows: Float64 = np.abs(self.weights).reshape(len(self.weights), -1).sum(axis=1) * self.layout.area
        return np.repeat(rows, self.size // len(rows))

    def through(self, kind: str, m: Map) -> Path | None:
        """Return the path through one more node; ``None`` where it would be none."""
        if kind == "Delay":
            assert m.steps is not None
            more = int(m.steps.max())
            return None if int(m.steps.min()) != more else replace(self, steps=self.steps + more)
        if kind in ELEMENTWISE and m.weights is None:
            return self  # a name or another shape
        assert m.weights is not None
        if kind == "Scale":
            return self.times(np.broadcast_to(m.weights, m.shape_out).reshape(-1))
        if kind in ("Linear", "Affine"):
            return self.matrix(m.weights)
        if m.window is None:
            return None
        return self.pool(m.window, m.weights) if "Pool" in kind else self.convolution(m.window, m.weights)

    def rows(self, values: Float64) -> Float64 | None:
        """Return one value for each unit at its end, ``[N]``, as its weights take them; ``None`` where they cannot."""
        own = values if self._is_plain or self.weights.ndim == 2 else _by_channel(values, len(self.weights))
        return None if own is None else own.reshape(-1, *(1,) * (self.weights.ndim - 1))

    def times(self, values: Float64) -> Path | None:
        """Return the path with its values times a factor each, ``[N]``."""
        rows = self.rows(values)
        return None if rows is None else replace(self, weights=self.weights * rows)

    def times_source(self, rows: Float64) -> Path | None:
        """Return the path of a source whose values were times a factor each, ``[N]``."""
        if self._is_plain:
            return replace(self, weights=self.weights * rows)
        if self.weights.ndim == 2 and not self.layout.before:
            return replace(self, weights=self.weights * rows)
        window = self.layout.before[0] if self.layout.before else self.layout.conv
        assert window is not None
        channels = _by_channel(rows, len(rows) // math.prod(window.size))
        if channels is None:
            return None
        if self.weights.ndim == 2:
            channels = np.repeat(channels, math.prod(self.layout.before[-1].output))
        if self.weights.ndim < 3:
            return replace(self, weights=self.weights * channels)
        assert self.layout.conv is not None
        return replace(self, weights=_times_inputs(self.weights, channels, self.layout.conv.groups))

    def normal(self) -> Path:
        """Return the path with its convolution in the plainest form: see :func:`plainest`."""
        if self.weights.ndim < 3:
            return self
        assert self.layout.conv is not None
        weights, window = plainest(self.weights, self.layout.conv)
        return replace(self, weights=weights, layout=replace(self.layout, conv=window))

    def matrix(self, matrix: Float64) -> Path | None:
        """Return the path through a matrix ``[out, in]``."""
        if self.weights.ndim == 2:
            return replace(self, weights=matrix @ self.weights)
        if self.weights.ndim > 2:
            return None
        each = self.weights
        if self.layout.before:
            each = np.repeat(each, math.prod(self.layout.before[-1].output))
        return replace(self, weights=matrix * each)

    def _channels(self, window: Window) -> Float64 | None:
        """Return the factor of each channel of an image that no weights were applied to."""
        if self.weights.ndim > 1:
            return None
        if self.layout.before:
            return self.weights
        return _by_channel(self.weights, len(self.weights) // math.prod(window.size))

    def pool(self, window: Window, one: Float64) -> Path | None:
        """Return the path through sums of windows, times a number."""
        factor = float(one.reshape(-1)[0])
        if self.weights.ndim > 2:
            layout = replace(self.layout, after=(*self.layout.after, window))
            return replace(self, weights=self.weights * factor, layout=layout)
        channels = self._channels(window)
        if channels is None:
            return None
        return replace(self, weights=channels * factor, layout=Layout((*self.layout.before, window)))

    def convolution(self, window: Window, kernels: Float64) -> Path | None:
        """Return the path through a convolution."""
        if self.weights.ndim > 2:
            return self._two_convolutions(window, kernels)
        channels = self._channels(window)
        if channels is None:
            return None
        kernels, window = plainest(kernels, window)
        weights = _times_inputs(kernels, channels, window.groups)
        return replace(self, weights=weights, layout=replace(self.layout, conv=window))

    def _two_convolutions(self, window: Window, kernels: Float64) -> Path | None:
        own = self.layout.conv
        assert own is not None
        first, second = ungrouped(self.weights, own.groups), ungrouped(kernels, window.groups)
        if window.is_pointwise:
            weights = np.einsum("po,ockl->pckl", second[:, :, 0, 0], first)
            return replace(self, weights=weights, layout=replace(self.layout, conv=replace(own, groups=1)))
        if own.is_pointwise and not self.layout.after:
            weights = np.einsum("pokl,oc->pckl", second, first[:, :, 0, 0])
            return replace(self, weights=weights, layout=replace(self.layout, conv=replace(window, groups=1)))
        return None


def plainest(weights: Float64, window: Window) -> tuple[Float64, Window]:
    """Return a convolution with as many groups as it has, and without zeros all round its kernels.

    The package ``nir`` 1.0 reads square kernels without groups alone, so files hold them with zeros in them.
    """
    full = ungrouped(weights, window.groups)
    outputs, inputs = full.shape[:2]
    groups = math.gcd(outputs, inputs)
    while not _are_grouped(full, groups):
        groups -= 1
    full = np.concatenate(
        [
            part[:, n * (inputs // groups) : (n + 1) * (inputs // groups)]
            for n, part in enumerate(np.split(full, groups))
        ]
    )
    kernel, padding = list(window.kernel), list(window.padding)
    for axis in (0, 1):
        edge = np.moveaxis(full, 2 + axis, 0)
        while len(edge) > 2 and padding[axis] >= window.dilation[axis] and not (edge[0].any() or edge[-1].any()):
            edge = edge[1:-1]
            kernel[axis], padding[axis] = kernel[axis] - 2, padding[axis] - window.dilation[axis]
        full = np.moveaxis(edge, 0, 2 + axis)
    sides = {"kernel": (kernel[0], kernel[1]), "padding": (padding[0], padding[1])}
    return np.ascontiguousarray(full), replace(window, groups=groups, **sides)


def _are_grouped(full: Float64, groups: int) -> bool:
    """Return whether all weights between groups are 0."""
    if full.shape[0] % groups or full.shape[1] % groups:
        return False
    blocks = full.reshape(groups, full.shape[0] // groups, groups, full.shape[1] // groups, -1).any(axis=(1, 3, 4))
    return not (blocks & ~np.eye(groups, dtype=np.bool_)).any()


def ungrouped(weights: Float64, groups: int) -> Float64:
    """Write grouped kernels as full ones, zeros between the groups."""
    outputs, inputs = weights.shape[0] // groups, weights.shape[1]
    full = np.zeros((weights.shape[0], inputs * groups, *weights.shape[2:]))
    for group in range(groups):
        rows = slice(group * outputs, (group + 1) * outputs)
        full[rows, group * inputs : (group + 1) * inputs] = weights[rows]
    return full


def added_up(paths: list[Path]) -> list[Path]:
    """Add up the weights of paths that are used alike."""
    found: list[Path] = []
    for path in paths:
        for place, other in enumerate(found):
            alike = (other.steps, other.layout, other.weights.shape) == (path.steps, path.layout, path.weights.shape)
            if alike:
                found[place] = replace(other, weights=other.weights + path.weights)
                break
        else:
            found.append(path)
    return found


def start(shape: Shape) -> Path:
    """Return the path of no nodes."""
    return Path(np.ones(math.prod(shape)))


def _times_inputs(kernels: Float64, channels: Float64, groups: int) -> Float64:
    """Return kernels with a factor for each channel that they read."""
    each = channels.reshape(groups, -1).repeat(len(kernels) // groups, axis=0)  # [O, C / groups]
    return kernels * each[:, :, None, None]


def _by_channel(values: Float64, channels: int) -> Float64 | None:
    """Return one value for each channel, ``None`` where they differ within one."""
    by_channel = values.reshape(channels, -1)
    alike = bool((by_channel == by_channel[:, :1]).all())
    return by_channel[:, 0].copy() if alike else None
