"""Messages: every neuron hears the spikes of its eight neighbours on a torus."""

import math
from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor, nn

from pnbx_snn.checks import check_option
from pnbx_snn.errors import PnbxTypeError, PnbxValueError, ShapeError
from pnbx_snn.quantization import kept_ternary, ternarize

Edges = Literal["equal", "ternary"]

MAX_KAPPA_SHIFT = 16
SMALLEST_SIDE = 3
"""Below three rows or columns, two of the eight neighbours are the same neuron."""
NEIGHBOURS = tuple((row, column) for row in (-1, 0, 1) for column in (-1, 0, 1) if row or column)
"""Offsets (row, column) of the eight neighbours, in the order of their edges; number ``7 - k`` is opposite ``k``."""

LATENT_MIN = 1 / 16
"""Latent edges start between this and its double, where all of them round to 1."""


def torus_messages(
    spikes: Float[Tensor, "*batch N"],
    rows: int,
    columns: int,
    kappa_shift: int,
    edges: Float[Tensor, "8 N"] | None = None,
) -> Float[Tensor, "*batch N"]:
    r"""Sum the spikes of the eight neighbours of each neuron, weighed by its edges if there are any, times kappa / 8.

    .. math::

        m_{r,c} = \frac{\kappa}{8} \sum_{(i,j) \in \{-1,0,1\}^2 \setminus (0,0)}
        w^{i,j}_{r,c}\; z_{(r+i) \bmod R,\,(c+j) \bmod C}, \qquad \kappa = 2^{-k}

    Neuron ``n`` sits in row ``n // columns`` and column ``n % columns``. Spikes (other values than 0 and 1 are summed
    as they are) and messages are ``[..., N]`` with ``N = rows * columns``, both sides at least 3; ``kappa_shift`` is
    :math:`k` in 0 .. 16. ``edges[k, n]`` weighs what neuron ``n`` hears from its neighbour at offset
    ``NEIGHBOURS[k]``; without edges, every :math:`w` is 1.

    Raises
    ------
    PnbxValueError, ShapeError, PnbxTypeError
        A side or ``kappa_shift`` out of range; spikes or edges of another shape; spikes not in floating point.

    Notes
    -----
    Exact for spikes in every floating-point dtype: a sum is a whole number up to 8, and the factor a power of two.
    Without edges the operation is its own transpose; with edges, the transpose has those of :func:`transpose_edges`.

    Integer counterpart: the sum of eight spikes, each added, subtracted or left out, and shifted; no multiplication.

    Examples
    --------
    >>> import torch
    >>> spikes = torch.zeros(4 * 5)
    >>> spikes[0] = 1.0  # its neighbours are found across both edges
    >>> torus_messages(spikes, rows=4, columns=5, kappa_shift=0).reshape(4, 5)[:, [0, 1, 4]]
    tensor([[0.0000, 0.1250, 0.1250],
            [0.1250, 0.1250, 0.1250],
            [0.0000, 0.0000, 0.0000],
            [0.1250, 0.1250, 0.1250]])
    """
    _check_torus(rows, columns, kappa_shift)
    if spikes.ndim == 0 or spikes.shape[-1] != rows * columns:
        raise ShapeError(
            f"messages: spikes must be [..., {rows * columns}] for {rows} x {columns} neurons, "
            f"got shape {list(spikes.shape)}"
        )
    if not spikes.is_floating_point():
        raise PnbxTypeError(f"messages: spikes must be floating point, got {spikes.dtype}; convert with .float()")
    z = spikes.reshape(*spikes.shape[:-1], rows, columns)  # [..., rows, columns]
    if edges is not None:
        if edges.shape != (len(NEIGHBOURS), rows * columns):
            raise ShapeError(f"messages: edges must be [8, {rows * columns}], got shape {list(edges.shape)}")
        weights = edges.to(spikes.dtype).reshape(-1, rows, columns)  # [8, rows, columns]
        heard = torch.zeros_like(z)
        for weight, neighbour in zip(weights, _neighbours(z), strict=True):
            heard = torch.addcmul(heard, neighbour, weight)
        return (heard * 2.0 ** -(kappa_shift + 3)).flatten(-2)  # [..., N]
    sides = z.roll(1, -1) + z.roll(-1, -1)
    three = sides + z
    neighbours = three.roll(1, -2) + three.roll(-1, -2) + sides
    messages: Tensor = neighbours * 2.0 ** -(kappa_shift + 3)
    return messages.flatten(-2)  # [..., N]


def transpose_edges(edges: Float[Tensor, "8 N"], rows: int, columns: int) -> Float[Tensor, "8 N"]:
    r"""Return the edges ``[8, N]`` with which :func:`torus_messages` is its own transpose.

    .. math::

        w'_{k,n} = w_{7-k,\,\mathrm{nbr}_k(n)}

    What neuron ``n`` hears from a neighbour becomes what the neighbour hears from ``n``: messages with these edges
    carry the gradient back to the spikes.

    Examples
    --------
    >>> z, y, w = torch.rand(12), torch.rand(12), torch.randn(8, 12)
    >>> there = y @ torus_messages(z, 3, 4, 0, w)
    >>> back = z @ torus_messages(y, 3, 4, 0, transpose_edges(w, 3, 4))
    >>> bool((there - back).abs() < 1e-5)
    True
    """
    grid = edges.reshape(-1, rows, columns)
    turned = [weight.roll((-i, -j), (0, 1)) for weight, (i, j) in zip(grid.flip(0), NEIGHBOURS, strict=True)]
    return torch.stack(turned).flatten(-2)


def edge_gradient(
    spikes: Float[Tensor, "*batch N"], grad: Float[Tensor, "*batch N"], rows: int, columns: int, kappa_shift: int
) -> Float[Tensor, "8 N"]:
    r"""Return the gradient of :func:`torus_messages` to its edges, ``[8, N]``, summed over all axes but the neurons.

    .. math::

        \frac{\partial L}{\partial w_{k,n}} = \frac{\kappa}{8} \sum_{\text{batch}} z_{\mathrm{nbr}_k(n)}\,
        \frac{\partial L}{\partial m_n}

    ``spikes`` and the gradient to the messages, ``grad``, are ``[..., N]``.

    Examples
    --------
    >>> edge_gradient(torch.ones(5, 9), torch.ones(5, 9), rows=3, columns=3, kappa_shift=0).unique()
    tensor([0.6250])
    """
    grid, of_messages = (x.reshape(-1, rows, columns) for x in (spikes, grad))
    summed = [(neighbour * of_messages).sum(dim=0) for neighbour in _neighbours(grid)]
    return torch.stack(summed).flatten(-2) * 2.0 ** -(kappa_shift + 3)


class TorusMessages(nn.Module):
    r"""Messages between neighbouring neurons of a layer; see :func:`torus_messages` for the equation.

    In a recurrent layer they arrive one step late: step ``t`` hears ``z[t-1]``, and the caller carries ``z``.

    Parameters
    ----------
    num_neurons : int
        N, at least 9.
    rows, columns : int, optional
        Sides of the torus. One given decides the other; none: of all ``rows x columns = N`` with sides of at least 3
        the one nearest to 1:2 (32 x 64 for 2,048), and of two equally near the squarer.
    kappa_shift : int
        :math:`\kappa = 2^{-k}`, ``k`` in 0 .. 16. With the default 4, messages alone hold a membrane at no more than
        ``kappa / (1 - beta)``, 0.625 for ``beta`` 0.9: below a threshold of 1, activity cannot feed on itself.
    edges : {"equal", "ternary"}
        ``"equal"``: every neighbour counts the same. ``"ternary"``: each neuron learns a weight in {-1, 0, 1} for each
        of its eight neighbours.

    Attributes
    ----------
    weight : Parameter, ``[8, N]``
        Latent edges, starting uniform in [1/16, 1/8); ``None`` with ``edges="equal"``.

    Raises
    ------
    PnbxValueError
        No torus has this number of neurons (the message names sizes that would do), the sides do not multiply to it,
        ``kappa_shift`` is not in 0 .. 16, or ``edges`` is not one of the two names.

    Notes
    -----
    Shapes: spikes ``[..., N]``, messages ``[..., N]``. 8·N parameters with learned edges, else none; no state.

    Learned edges are rounded as the weights of a :class:`~pnbx_snn.layers.bitlinear.BitLinear` (absmean over all of
    them, straight-through gradient), but *without* the scale :math:`\gamma` in the result: what scales a message is
    :math:`\kappa / 8`, a power of two, so a compiled program has it exactly.

    Drawn from [a, 2a), every edge rounds to 1: learning starts from the messages of equal edges, bit for bit. With
    ``a = 1/16`` they start near enough to the border of 0 for the steps of Adam: in 440 of them on 8x8 digits, rate
    5e-3, 35 to 42 % of the edges left 1 (three seeds, H 64); of edges that all start at 1.0, none did.

    Examples
    --------
    >>> import torch
    >>> messages = TorusMessages(2048)
    >>> messages
    TorusMessages(2048, rows=32, columns=64, kappa_shift=4)
    >>> messages(torch.ones(7, 2048)).unique().item()
    0.0625
    >>> learned = TorusMessages(2048, edges="ternary")
    >>> learned.weight.shape, bool((learned(torch.ones(2048)) == messages(torch.ones(2048))).all())
    (torch.Size([8, 2048]), True)
    """

    weight: nn.Parameter | None

    def __init__(
        self,
        num_neurons: int,
        *,
        rows: int | None = None,
        columns: int | None = None,
        kappa_shift: int = 4,
        edges: Edges = "equal",
    ) -> None:
        super().__init__()
        sides = _sides(num_neurons, rows, columns)
        _check_torus(*sides, kappa_shift)
        check_option("messages", "edges", edges, Edges)
        self.num_neurons, self.kappa_shift = num_neurons, kappa_shift
        self.rows, self.columns = sides
        self.edges: Edges = edges
        self.weight = None
        if edges == "ternary":
            self.weight = nn.Parameter(torch.empty(len(NEIGHBOURS), num_neurons).uniform_(LATENT_MIN, 2 * LATENT_MIN))

    def forward(self, spikes: Float[Tensor, "*batch N"]) -> Float[Tensor, "*batch N"]:
        """Return the messages that ``spikes`` send; both ``[..., N]``."""
        return torus_messages(spikes, self.rows, self.columns, self.kappa_shift, self.ternary_edges())

    def ternary_edges(self) -> Float[Tensor, "8 N"] | None:
        """Return the edges as they count, -1, 0 and 1 with a gradient to the latent ones; ``None`` if all are equal."""
        rounded = self.rounded()
        return None if rounded is None else rounded[0]

    def rounded(self) -> tuple[Float[Tensor, "8 N"], Float[Tensor, ""]] | None:
        """Return ternary edges and the scale that rounded them (for packed files alone); ``None`` if all are equal."""
        if self.weight is None:
            return None
        return kept_ternary(self) or ternarize(self.weight)

    def extra_repr(self) -> str:
        """Show the options in ``print(messages)``."""
        edges = "" if self.weight is None else f", edges={self.edges!r}"
        return f"{self.num_neurons}, rows={self.rows}, columns={self.columns}, kappa_shift={self.kappa_shift}{edges}"


def _neighbours(grid: Tensor) -> list[Tensor]:
    """Return what each place of ``[..., rows, columns]`` has at each of the eight offsets, as views of one copy."""
    rows, columns = grid.shape[-2:]
    wide = torch.cat((grid[..., -1:], grid, grid[..., :1]), dim=-1)
    wide = torch.cat((wide[..., -1:, :], wide, wide[..., :1, :]), dim=-2)  # [..., rows + 2, columns + 2]
    return [wide[..., 1 + i : 1 + i + rows, 1 + j : 1 + j + columns] for i, j in NEIGHBOURS]


def _sides(num_neurons: int, rows: int | None, columns: int | None) -> tuple[int, int]:
    """Choose the sides, or complete and check those that the caller gave."""
    if rows is None and columns is None:
        sides = _nearest_to_one_by_two(num_neurons)
        if sides is None:
            raise PnbxValueError(
                f"messages: num_neurons must be rows * columns with both at least {SMALLEST_SIDE}, got {num_neurons}; "
                f"the nearest that are: {_sizes_that_fit(num_neurons)}"
            )
        return sides
    sides = (rows or num_neurons // (columns or 1), columns or num_neurons // (rows or 1))
    if sides[0] * sides[1] != num_neurons:
        raise PnbxValueError(
            f"messages: rows * columns must be num_neurons = {num_neurons}, got rows={rows} and columns={columns}"
        )
    return sides


def _nearest_to_one_by_two(num_neurons: int) -> tuple[int, int] | None:
    """Rows and columns of the torus nearest to 1:2, or None where there is none."""
    tori = [
        (rows, num_neurons // rows)
        for rows in range(math.isqrt(max(num_neurons, 0)), SMALLEST_SIDE - 1, -1)  # the squarest first
        if num_neurons % rows == 0
    ]
    return min(tori, key=lambda side: max(side[1] / (2 * side[0]), 2 * side[0] / side[1]), default=None)


def _sizes_that_fit(num_neurons: int) -> str:
    """Name the next smaller and the next larger size with a torus."""
    smallest = SMALLEST_SIDE**2
    below = next((n for n in range(num_neurons - 1, smallest - 1, -1) if _nearest_to_one_by_two(n)), None)
    above = next(n for n in range(max(num_neurons, smallest - 1) + 1, 2**62) if _nearest_to_one_by_two(n))
    fitting = [(n, _nearest_to_one_by_two(n)) for n in (below, above) if n is not None]
    return ", ".join(f"{n} = {sides[0]} x {sides[1]}" for n, sides in fitting if sides)


def _check_torus(rows: int, columns: int, kappa_shift: int) -> None:
    if min(rows, columns) < SMALLEST_SIDE:
        raise PnbxValueError(
            f"messages: rows and columns must be at least {SMALLEST_SIDE}, so that eight neighbours are eight neurons, "
            f"got {rows} and {columns}"
        )
    if not 0 <= kappa_shift <= MAX_KAPPA_SHIFT:
        raise PnbxValueError(f"messages: kappa_shift must be in 0 .. {MAX_KAPPA_SHIFT}, got {kappa_shift}")
