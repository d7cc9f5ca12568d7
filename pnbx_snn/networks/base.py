"""What a network answers about itself: who trains, measures, saves or draws one never asks which class it is."""

from collections.abc import Sequence
from typing import ClassVar

import torch
from jaxtyping import Float, Int64
from torch import Tensor, nn

from pnbx_snn.errors import PnbxTypeError


class Network(nn.Module):
    """A classifier that can be trained, measured, saved and drawn; abstract.

    The answers given here are those of a network in floating point without spikes, which needs to define ``forward``
    (samples to logits) and ``section`` only. A spiking network overrides what is different for it.

    Attributes
    ----------
    section : str
        Name of the section that describes the network in a configuration, see :mod:`pnbx_snn.training.kinds`.
    is_ternary : bool
        Whether weights are ternary and neurons spike.
    takes_lengths : bool
        Whether samples of one batch may have different numbers of steps.
    gives_steps : bool
        Whether :meth:`classify_steps` is there.
    event_levels : int
        Of what neurons fire: 2 are 0 and 1; 3 or 4 are graded events, see :mod:`pnbx_snn.neurons.graded`.
    """

    section: ClassVar[str]
    is_ternary: ClassVar[bool] = False
    takes_lengths: ClassVar[bool] = False
    gives_steps: bool = False
    event_levels: int = 2

    @property
    def layer_names(self) -> list[str]:
        """A name for each layer whose spikes :meth:`classify` returns."""
        return []

    @property
    def regulators(self) -> list[nn.Module]:
        """The parts that move by what is fired, and in training mode only: see :meth:`adapt_to`."""
        return []

    def encode(
        self, x: Float[Tensor, "B *shape"], *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "T B N"]:
        """Return the input of all steps, ``[T, B, N]``; ``generator`` is for an encoder that draws spikes."""
        raise PnbxTypeError(f"{type(self).__name__}.encode: a [{self.section}] has no steps to encode samples for")

    def calibrate(self, x: Float[Tensor, "B *shape"], *, lengths: Int64[Tensor, " B"] | None = None) -> None:
        """Measure the input scale on typical samples; there is none in floating point."""
        self.check_lengths(lengths)

    def classify(
        self,
        x: Float[Tensor, "B *shape"],
        *,
        generator: torch.Generator | None = None,
        lengths: Int64[Tensor, " B"] | None = None,
    ) -> tuple[Float[Tensor, "B C"], tuple[Float[Tensor, "T B _"], ...]]:
        """Return logits ``[B, C]`` and the spikes ``[T, B, N_l]`` of every layer; none without spikes.

        ``generator`` is for what the network draws, ``lengths`` ``[B]`` are the steps that are a sample's own.
        """
        self.check_lengths(lengths)
        return self(x), ()

    def classify_steps(
        self,
        x: Float[Tensor, "B *shape"],
        *,
        generator: torch.Generator | None = None,
        lengths: Int64[Tensor, " B"] | None = None,
    ) -> tuple[Float[Tensor, "B C"], tuple[Float[Tensor, "T B _"], ...], Float[Tensor, "T B C"]]:
        """Return what :meth:`classify` does, and the logits ``[T, B, C]`` of each step.

        Those of step t are what :meth:`classify` would return if the samples ended there, without dropout of the
        readout; what they are beyond a sample's own steps has no meaning.
        """
        raise PnbxTypeError(f"{type(self).__name__}.classify_steps: this [{self.section}] has no logits of steps")

    def fired(self, spikes: Sequence[Float[Tensor, "*batch _"]]) -> tuple[Tensor, ...]:
        """Return 1 where an event is not 0, of which firing rates are taken: binary spikes as they are.

        The gradient is that of the events 0 and 1.
        """
        return tuple(spikes if self.event_levels == 2 else (layer.clamp(max=1) for layer in spikes))

    def domain_rates(self, spikes: Sequence[Float[Tensor, "*batch _"]]) -> Float[Tensor, "..."]:
        """Return what :meth:`adapt_to` needs to know of ``spikes``; rates of pieces of a batch may be averaged."""
        return torch.zeros(0)

    def adapt_to(self, rates: Float[Tensor, "..."]) -> None:
        """Let the regulators move by the rates of a batch."""

    def keep_in_range(self) -> None:
        """Move learned parameters back to where they are allowed, after a step of the optimiser."""

    def check_lengths(self, lengths: Int64[Tensor, " B"] | None) -> None:
        """Raise a :class:`~pnbx_snn.errors.PnbxTypeError` for lengths that the network does not take."""
        if lengths is not None and not self.takes_lengths:
            raise PnbxTypeError(
                f"{type(self).__name__}: samples must all have the same number of steps, got lengths of "
                f"{int(lengths.min())} to {int(lengths.max())}"
            )
