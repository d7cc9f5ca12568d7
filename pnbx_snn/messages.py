"""Messages: every neuron hears the spikes of its eight neighbours on a torus."""

import math

from jaxtyping import Float
from torch import Tensor, nn

from pnbx_snn.errors import PnbxTypeError, PnbxValueError, ShapeError

MAX_KAPPA_SHIFT = 16
SMALLEST_SIDE = 3
"""Below three rows or columns, two of the eight neighbours are the same neuron."""


def torus_messages(
    spikes: Float[Tensor, "*batch N"], rows: int, columns: int, kappa_shift: int
) -> Float[Tensor, "*batch N"]:
    r"""Sum the spikes of the eight neighbours of each neuron, times kappa / 8.

    .. math::

        m_{r,c} = \frac{\kappa}{8} \sum_{(i,j) \in \{-1,0,1\}^2 \setminus (0,0)}
        z_{(r+i) \bmod R,\,(c+j) \bmod C}, \qquad \kappa = 2^{-k}

    Neuron ``n`` sits in row ``n // columns`` and column ``n % columns``.

    Parameters
    ----------
    spikes : Tensor, ``[..., N]``
        0 or 1 (other values are summed as they are).
    rows, columns : int
        Sides of the torus, at least 3 each; ``rows * columns = N``.
    kappa_shift : int
        :math:`k` in 0 .. 16.

    Returns
    -------
    Tensor, ``[..., N]``
        Messages, in the dtype of ``spikes``; between 0 and kappa for spikes.

    Raises
    ------
    PnbxValueError
        A side is below 3, or ``kappa_shift`` is not in 0 .. 16.
    ShapeError
        The last axis is not ``rows * columns`` long.
    PnbxTypeError
        ``spikes`` is not floating point.

    Notes
    -----
    Exact for spikes in every floating-point dtype: a sum is a whole number up to 8, and the factor a power of two.
    Each spike is heard eight times, so the messages of a sample sum to kappa times its number of spikes. The operation
    is its own transpose: its gradient is the same sum over the gradients of the neighbours.

    Integer counterpart: the sum of eight spikes, shifted; no weights and no multiplication.

    References
    ----------
    Own; the neighbourhood is Moore's.

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
    sides = z.roll(1, -1) + z.roll(-1, -1)
    three = sides + z
    neighbours = three.roll(1, -2) + three.roll(-1, -2) + sides
    messages: Tensor = neighbours * 2.0 ** -(kappa_shift + 3)
    return messages.flatten(-2)  # [..., N]


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

    Attributes
    ----------
    num_neurons, rows, columns, kappa_shift : int
        As given or chosen.

    Raises
    ------
    PnbxValueError
        No torus has this number of neurons (the message names sizes that would do), the sides do not multiply to it,
        or ``kappa_shift`` is not in 0 .. 16.

    Notes
    -----
    Shapes: spikes ``[..., N]``, messages ``[..., N]``. No parameters, no state.

    Examples
    --------
    >>> import torch
    >>> messages = TorusMessages(2048)
    >>> messages
    TorusMessages(2048, rows=32, columns=64, kappa_shift=4)
    >>> messages(torch.ones(7, 2048)).unique().item()
    0.0625
    """

    def __init__(
        self, num_neurons: int, *, rows: int | None = None, columns: int | None = None, kappa_shift: int = 4
    ) -> None:
        super().__init__()
        sides = _sides(num_neurons, rows, columns)
        _check_torus(*sides, kappa_shift)
        self.num_neurons = num_neurons
        self.rows, self.columns = sides
        self.kappa_shift = kappa_shift

    def forward(self, spikes: Float[Tensor, "*batch N"]) -> Float[Tensor, "*batch N"]:
        """Return the messages that ``spikes`` send; both ``[..., N]``."""
        return torus_messages(spikes, self.rows, self.columns, self.kappa_shift)

    def extra_repr(self) -> str:
        """Show the options in ``print(messages)``."""
        return f"{self.num_neurons}, rows={self.rows}, columns={self.columns}, kappa_shift={self.kappa_shift}"


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
