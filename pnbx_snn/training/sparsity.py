r"""Dynamic sparse training: connections are dropped and grown until ternary matrices have a wanted share of zeros.

A sparse matrix has a mask of connections. A weight inside it is -1 or 1, the sign of its latent weight, and 0 outside,
so the share of zeros is that of the mask, exactly, in training, evaluation, files and programs. The other definition,
to round the weights inside a mask by their mean as a dense matrix does, would add zeros that no target knows of.

Until the training is at ``start``, a mask has the weights that rounding by the mean keeps. Then the share of zeros goes
from what it is there, :math:`z_0`, to the target :math:`z`:

.. math::

    z(u) = z + (z_0 - z)(1 - u)^3, \qquad u \in [0, 1] \text{ between } start \text{ and } end

With the rule ``"magnitude"`` the connections are, after every step, the :math:`k` largest latent magnitudes of the
matrix: rounding with a threshold of rank in place of half the mean. With ``"set"`` and ``"rigl"`` they change every so
many steps: a matrix loses those with the smallest latent magnitudes, as many as its share of zeros asks for and
:math:`d k` more, and others grow in place of these. :math:`d` falls along a cosine, from ``drop`` at ``start`` to 0 at
``until``.

The straight-through gradient reaches every latent weight, also outside the mask, so nothing has to be computed for
growing. A connection that grows starts with the magnitude of the smallest one that stayed: from zero, as in the papers,
it would be the first to be dropped, and its ternary weight is -1 or 1 in any case.

From: Mocanu et al. 2018, Nature Communications 9:2383 (SET); Evci et al. 2020, arXiv:1911.11134 (RigL, its cosine, and
Erdos-Renyi-Kernel allocation); Zhu and Gupta 2017, arXiv:1710.01878 (the cubic schedule); Lin et al. 2020,
arXiv:2006.07253 (latent weights that go on learning outside the mask).
"""

import math
from collections.abc import Iterable
from typing import Any, Literal

import numpy as np
import torch
from pydantic import Field
from torch import Tensor, nn

from pnbx_snn.errors import ConfigError
from pnbx_snn.layers.hippocampus import Hippocampus
from pnbx_snn.layers.ternary_layer import TernaryLayer
from pnbx_snn.quantization import ternarize
from pnbx_snn.training.settings import Section

Matrix = TernaryLayer | Hippocampus
RANDOM = 101
"""Of the seeds of a training, which are by epoch and process: those of what grows at random."""


class SparsityConfig(Section):
    """How many weights of the ternary matrices are 0, see :mod:`pnbx_snn.training.sparsity`.

    Attributes
    ----------
    zeros
        Share of zeros at the end, to the nearest whole number of connections; 0 is off.
    rule
        ``"magnitude"``: after every step the largest latent magnitudes are the connections. ``"rigl"``: connections
        with the largest gradients grow, against their sign. ``"set"``: they grow where chance wants, of either sign.
    allocation
        ``"erk"``: a matrix ``[n, m]`` has connections in proportion to ``n + m`` (all, where that would be more than
        there are), and ``zeros`` is the share in all of them together. ``"uniform"``: the same share in each matrix.
    leave
        Parts that are left as they are: names of matrices that ``pnbx-snn info`` lists, or what they begin or end with,
        for example ``"readout"`` or ``"ssm.C"``. Learned edges of messages are always left.
    start, end
        Shares of the training: from ``start`` on the share of zeros rises, at ``end`` it is reached.
    every, drop, until
        Of ``"set"`` and ``"rigl"`` alone: steps between two updates, the share of the connections that an update
        exchanges at first, and the share of the training after which connections change no more.
    """

    zeros: float = Field(default=0.0, ge=0, lt=1)
    rule: Literal["magnitude", "rigl", "set"] = "magnitude"
    allocation: Literal["erk", "uniform"] = "erk"
    leave: tuple[str, ...] = Field(default=(), strict=False, description="a list of names of parts")
    start: float = Field(default=0.0, ge=0, le=1)
    end: float = Field(default=0.5, ge=0, le=1)
    every: int = Field(default=20, ge=1, le=1_000_000)
    drop: float = Field(default=0.3, ge=0, lt=1)
    until: float = Field(default=0.75, ge=0, le=1)


def make_sparse(model: nn.Module, settings: SparsityConfig) -> nn.Module:
    """Give the matrices of a network that are to be sparse their masks, and return it; nothing with ``zeros = 0``.

    Raises
    ------
    ConfigError
        If there are no such matrices, ``leave`` names none, or the shares of the training are in another order.
    """
    if settings.zeros:
        if not settings.start <= settings.end <= settings.until:
            raise ConfigError(
                f"sparsity: start, end and until must not fall, got {settings.start}, {settings.end}, {settings.until}"
            )
        for matrix in _chosen(model, settings.leave).values():
            matrix.mask = _kept_by_rounding(matrix)
    return model


def sparse_matrices(model: nn.Module) -> dict[str, Matrix]:
    """Return the matrices that have a mask, by name."""
    return {name: matrix for name, matrix in _matrices(model) if matrix.mask is not None}


def latent_of(matrix: Matrix) -> nn.Parameter:
    """Return the latent weights of a matrix."""
    return matrix.K if isinstance(matrix, Hippocampus) else matrix.weight


class Sparsifier:
    """Moves the connections of a network in training; it has no state beside the masks.

    Parameters
    ----------
    model
        The network, made with :func:`make_sparse`.
    settings, seed
        Sections of the training's configuration.
    num_steps
        Steps of the whole training.
    """

    def __init__(self, model: nn.Module, settings: SparsityConfig, *, num_steps: int, seed: int) -> None:
        self._settings, self._seed = settings, seed
        self._matrices = sparse_matrices(model)
        by_rank = settings.rule == "magnitude"
        self._every = 1 if by_rank else settings.every
        self._first = settings.start * num_steps
        self._last = num_steps if by_rank else max(1, math.floor(settings.until * num_steps))
        self._reached = min(settings.end * num_steps, self._last)
        kept = allocate({name: latent_of(m).shape for name, m in self._matrices.items()}, settings)
        self._targets = {name: 1 - count / latent_of(self._matrices[name]).numel() for name, count in kept.items()}

    def metrics(self) -> dict[str, Any]:
        """Return the share of zeros in all sparse matrices and in each by name; nothing where there are none."""
        if not self._matrices:
            return {}
        shares = {name: _share_of_zeros(matrix) for name, matrix in self._matrices.items()}
        sizes = {name: latent_of(matrix).numel() for name, matrix in self._matrices.items()}
        total = sum(shares[name] * size for name, size in sizes.items()) / sum(sizes.values())
        return {"zero_fraction": total, "zero_fraction_layers": shares}

    @torch.no_grad()
    def rank_again(self) -> None:
        """Let the connections be the largest latent weights again, as many, where others were put in their place."""
        if self._settings.rule == "magnitude":
            for matrix in self._matrices.values():
                mask = _mask(matrix)
                mask.copy_(_marked(_largest(latent_of(matrix).abs().flatten(), int(mask.sum())), mask))

    @torch.no_grad()
    def after_step(self, step: int) -> None:
        """Update the connections if it is time; ``step`` counts the finished steps of the optimiser.

        Gradients must still be those of that step.
        """
        if not self._matrices or step > self._last:
            return
        if step < self._last and step <= self._first:
            for matrix in self._matrices.values():
                _mask(matrix).copy_(_kept_by_rounding(matrix))
        elif step == self._last or step % self._every == 0:
            seeds = np.random.SeedSequence(self._seed, spawn_key=(step, RANDOM))
            generator = torch.Generator().manual_seed(int(seeds.generate_state(1, np.uint64)[0]))
            for name, matrix in self._matrices.items():
                self._update(matrix, self._connections(name, matrix, step), self._exchanged(step), generator)

    def _connections(self, name: str, matrix: Matrix, step: int) -> int:
        """Return how many connections the matrix has after this update."""
        target, size = self._targets[name], latent_of(matrix).numel()
        now = (1 - self._progress(step)) ** 3
        # From the share there is, so that no other has to be kept: (z0 - z) (1 - u)^3 falls by this factor.
        before = (1 - self._progress(max(self._first, step - self._every))) ** 3
        zeros = target + (_share_of_zeros(matrix) - target) * (now / before if now else 0.0)
        return max(1, round((1 - zeros) * size))

    def _progress(self, step: int | float) -> float:
        if step >= self._reached:
            return 1.0
        return max(0.0, (step - self._first) / (self._reached - self._first))

    def _exchanged(self, step: int) -> float:
        share = min(1.0, (step - self._first) / max(1.0, self._last - self._first))
        return self._settings.drop * 0.5 * (1 + math.cos(math.pi * share))

    def _update(self, matrix: Matrix, count: int, exchanged: float, generator: torch.Generator) -> None:
        weight, mask = latent_of(matrix), _mask(matrix)
        magnitude, inside = weight.abs().flatten(), mask.flatten()
        if self._settings.rule == "magnitude":
            mask.copy_(_marked(_largest(magnitude, count), mask))
            return
        stay = min(int(inside.sum()), count - round(exchanged * count))
        kept = _largest(magnitude.masked_fill(~inside, -1.0), stay)
        lost = _marked(kept, mask).flatten()
        if self._settings.rule == "set":
            wanted = torch.rand(len(inside), generator=generator).to(weight.device)
            signs = torch.randint(0, 2, (len(inside),), generator=generator).to(weight) * 2 - 1
        else:
            gradient = torch.zeros_like(weight) if weight.grad is None else weight.grad
            wanted, signs = gradient.abs().flatten(), torch.where(gradient.flatten() > 0, -1.0, 1.0)
        grown = _largest(wanted.masked_fill(lost, -1.0), count - stay)
        least = magnitude[kept].min() if stay else magnitude.mean()
        new = weight.flatten().clone()
        new[grown] = (signs[grown] * least).to(new.dtype)
        weight.copy_(new.reshape(weight.shape))
        mask.copy_(_marked(torch.cat((kept, grown)), mask))


def allocate(shapes: dict[str, torch.Size], settings: SparsityConfig) -> dict[str, int]:
    """Return how many connections each matrix is to have, at least one.

    Examples
    --------
    >>> shapes = {"wide": torch.Size([100, 300]), "readout": torch.Size([10, 100])}
    >>> allocate(shapes, SparsityConfig(zeros=0.9))
    {'wide': 2431, 'readout': 669}
    >>> allocate(shapes, SparsityConfig(zeros=0.9, allocation="uniform"))
    {'wide': 3000, 'readout': 100}
    """
    sizes = {name: shape.numel() for name, shape in shapes.items()}
    if settings.allocation == "uniform" or not sizes:
        return {name: max(1, round((1 - settings.zeros) * size)) for name, size in sizes.items()}
    total, full = (1 - settings.zeros) * sum(sizes.values()), set[str]()
    while True:
        rest = total - sum(sizes[name] for name in full)
        factor = rest / sum(sum(shape) for name, shape in shapes.items() if name not in full)
        more = {name for name, shape in shapes.items() if name not in full and factor * sum(shape) > sizes[name]}
        if not more:
            break
        full |= more
    wanted = {name: sizes[name] if name in full else factor * sum(shape) for name, shape in shapes.items()}
    kept = {name: max(1, math.floor(number)) for name, number in wanted.items()}
    # What rounding down left over goes to those that lost most by it, so that the sum is the nearest whole number.
    for name in sorted(wanted, key=lambda name: kept[name] - wanted[name])[: max(0, round(total) - sum(kept.values()))]:
        kept[name] += 1
    return kept


def _matrices(model: nn.Module) -> Iterable[tuple[str, Matrix]]:
    return ((name, module) for name, module in model.named_modules() if isinstance(module, TernaryLayer | Hippocampus))


def _chosen(model: nn.Module, leave: Iterable[str]) -> dict[str, Matrix]:
    found = dict(_matrices(model))
    if not found:
        raise ConfigError(f"sparsity.zeros: a {type(model).__name__} has no ternary matrices to make sparse")
    left: set[str] = set()
    for part in leave:
        named = {name for name in found if f".{part}." in f".{name}."}
        if not named:
            raise ConfigError(f"sparsity.leave: no ternary matrix is named {part!r}, got {', '.join(found)}")
        left |= named
    if left == found.keys():
        raise ConfigError("sparsity.leave: leaves every ternary matrix, so none is left to be sparse; zeros = 0 is off")
    return {name: matrix for name, matrix in found.items() if name not in left}


def _kept_by_rounding(matrix: Matrix) -> Tensor:
    """Return where a dense ternary matrix of these latent weights is not 0."""
    return ternarize(latent_of(matrix).detach(), scale=matrix.scale)[0] != 0


def _largest(values: Tensor, count: int) -> Tensor:
    """Return the places of so many largest values, in any order."""
    return values.topk(count, sorted=False).indices


def _marked(places: Tensor, like: Tensor) -> Tensor:
    flat = torch.zeros(like.numel(), dtype=torch.bool, device=like.device)
    flat[places] = True
    return flat.reshape(like.shape)


def _mask(matrix: Matrix) -> Tensor:
    assert matrix.mask is not None
    return matrix.mask


def _share_of_zeros(matrix: Matrix) -> float:
    mask = _mask(matrix)
    return 1 - int(mask.sum()) / mask.numel()
