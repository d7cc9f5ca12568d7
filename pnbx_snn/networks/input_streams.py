"""Several streams in the inputs of a network: each in units of its own largest value."""

from collections.abc import Mapping
from typing import Any

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from pnbx_snn.checks import has_values
from pnbx_snn.errors import PnbxValueError, ShapeError


class InputStreams(nn.Module):
    r"""Bring streams that stand side by side to one range.

    .. math::

        y_k = x_k / p_k, \qquad p_k = \max |x_k| \text{ over the samples of calibrate}

    Pixels and filter banks have different ranges. In units of their own peaks, each uses all of an 8-bit input, whose
    unit is then :math:`p_k / 127`. A stream that is missing is 0, before and after.

    Parameters
    ----------
    where
        Who has the streams, for messages.
    widths
        Values of each stream by its name, in the order in which they stand.
    in_features
        What they must add up to.

    Attributes
    ----------
    peaks : Tensor
        :math:`p`, ``[K]``; 0 until :meth:`calibrate`.

    Raises
    ------
    PnbxValueError
        Widths below 1 or that do not add up; a call before :meth:`calibrate`.

    Examples
    --------
    >>> streams = InputStreams("net", {"sound": 2, "image": 1}, 3)
    >>> streams.calibrate(torch.tensor([[4.0, -8.0, 0.5]]))
    >>> streams(torch.tensor([[4.0, 0.0, 0.25]]))
    tensor([[0.5000, 0.0000, 0.5000]])
    """

    def __init__(self, where: str, widths: Mapping[str, int], in_features: int) -> None:
        super().__init__()
        if min(widths.values()) < 1 or sum(widths.values()) != in_features:
            raise PnbxValueError(
                f"{where}: streams must be of 1 value or more and {in_features} together, got {dict(widths)}"
            )
        self.widths = dict(widths)
        self.register_buffer("peaks", torch.zeros(len(widths)))
        self.peaks: Tensor

    def forward(self, x: Float[Tensor, "*batch N"]) -> Float[Tensor, "*batch N"]:
        """Divide each stream by its peak."""
        sizes = list(self.widths.values())
        if x.ndim == 0 or x.shape[-1] != sum(sizes):
            raise ShapeError(f"streams: input must be [..., {sum(sizes)}], got {list(x.shape)}")
        if has_values(self.peaks) and not bool((self.peaks > 0).all()):
            raise PnbxValueError("streams: have no scales yet; call calibrate(x) with typical inputs first")
        return x / self.peaks.repeat_interleave(torch.tensor(sizes, device=x.device))

    @torch.no_grad()
    def calibrate(self, x: Float[Tensor, "B *rest"], lengths: Int64[Tensor, " B"] | None = None) -> None:
        """Measure the peaks on typical samples; what is beyond a sample's length does not count.

        Raises a :class:`~pnbx_snn.errors.PnbxValueError` if a stream is empty, not finite or 0 everywhere.
        """
        if lengths is not None:
            x = x[torch.arange(x.shape[1], device=x.device) < lengths.unsqueeze(1)]
        streams = torch.split(x, list(self.widths.values()), dim=-1)
        for number, (name, values) in enumerate(zip(self.widths, streams, strict=True)):
            peak = values.abs().max().item() if values.numel() else 0.0
            if not 0.0 < peak < float("inf"):
                raise PnbxValueError(
                    f"streams: {name!r} must hold finite values that are not all zero, got the largest magnitude {peak}"
                )
            self.peaks[number] = peak

    def layout(self) -> list[dict[str, Any]]:
        """Return name, first input, width and peak of each stream."""
        first, found = 0, []
        for (name, width), peak in zip(self.widths.items(), self.peaks.tolist(), strict=True):
            found.append({"name": name, "first": first, "width": width, "peak": peak})
            first += width
        return found
