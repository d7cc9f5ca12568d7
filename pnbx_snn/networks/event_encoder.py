"""The encoder of the PNB-X network: values in, events out."""

from jaxtyping import Bool, Float
from torch import Tensor, nn

from pnbx_snn.checks import check_finite, wide
from pnbx_snn.errors import PnbxValueError
from pnbx_snn.layers.bitlinear import BitLinear
from pnbx_snn.layers.stream_linear import StreamLinear
from pnbx_snn.networks.masks import normalised, zeroed
from pnbx_snn.neurons.cells import Reset
from pnbx_snn.neurons.graded import Levels, check_levels
from pnbx_snn.neurons.membrane import MembraneState, membrane_scan
from pnbx_snn.surrogate import SpikeFunction, resolve


class EventEncoder(nn.Module):
    r"""Ternary product, batch norm and LIF neurons: values in, events out.

    .. math::

        e_t = \operatorname{LIF}\big((1 - \beta)\operatorname{BN}(\gamma \tilde W x_t)\big)

    Parameters
    ----------
    linear, norm
        ``N_in`` to H, and batch norm of H features.
    beta, threshold
        Decay per step in [0, 1) and threshold > 0 of all H neurons.
    reset, spike_grad, levels
        See :func:`pnbx_snn.neurons.membrane.membrane_scan`.

    Notes
    -----
    Shapes: input ``[T, B, N_in]``, events ``[T, B, H]``, state ``[B, H]``. An input that is constant over time (a view
    with stride 0) is multiplied and normalised once.

    Examples
    --------
    >>> import torch
    >>> encoder = EventEncoder(BitLinear(4, 3), nn.BatchNorm1d(3, affine=False), beta=0.5)
    >>> events, state = encoder(torch.rand(5, 2, 4))
    >>> events.shape, state.v.shape
    (torch.Size([5, 2, 3]), torch.Size([2, 3]))
    """

    def __init__(
        self,
        linear: BitLinear | StreamLinear,
        norm: nn.BatchNorm1d,
        *,
        beta: float = 0.5,
        threshold: float = 1.0,
        reset: Reset = "zero",
        spike_grad: str | SpikeFunction | None = "atan",
        levels: Levels = 2,
    ) -> None:
        super().__init__()
        if not 0 <= beta < 1:
            raise PnbxValueError(f"encoder: beta must be in [0, 1), got {beta}")
        if not threshold > 0:
            raise PnbxValueError(f"encoder: threshold must be > 0, got {threshold}")
        check_levels("encoder", levels)
        self.linear, self.norm, self.levels = linear, norm, levels
        self.beta, self.threshold = float(beta), float(threshold)
        self.reset: Reset = reset
        self.spike_grad = resolve(spike_grad)

    def forward(
        self,
        x: Float[Tensor, "T B N_in"],
        state: MembraneState | None = None,
        *,
        threshold: Float[Tensor, " H"] | None = None,
        own: Bool[Tensor, "T B"] | None = None,
    ) -> tuple[Float[Tensor, "T B H"], MembraneState]:
        """Encode all steps from ``state`` (``None``: zeros); ``threshold`` stands in for the encoder's own.

        ``own`` says which steps are the samples' own (``None``: all): the norm looks at no others, and there are no
        events in them.
        """
        check_finite("encoder", "input", x)
        num_steps = x.shape[0]
        constant = num_steps > 1 and x.stride(0) == 0
        product = self.linear(x[:1] if constant else x)  # [1 or T, B, H]
        current = normalised(self.norm, product, own)
        drive = ((1 - self.beta) * current).expand(num_steps, -1, -1)
        theta = wide(current).new_tensor(self.threshold) if threshold is None else threshold
        beta = wide(current).new_tensor(self.beta)
        events, after = membrane_scan(
            drive, beta, theta, state, reset=self.reset, spike_grad=self.spike_grad, levels=self.levels
        )
        return zeroed(events, own), after

    def extra_repr(self) -> str:
        """Show the options in ``print(encoder)``."""
        graded = f", levels={self.levels}" if self.levels > 2 else ""
        return f"beta={self.beta:.4g}, threshold={self.threshold:.4g}, reset={self.reset!r}{graded}"
