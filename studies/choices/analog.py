"""PNB-X with real-valued currents in place of spikes: what spikes cost is the difference."""

from typing import Any, ClassVar

from jaxtyping import Float
from torch import Tensor

from pnbx_snn.kernels.scan import diagonal_scan
from pnbx_snn.networks.event_encoder import EventEncoder
from pnbx_snn.networks.masks import normalised
from pnbx_snn.networks.pnbx import PNBX
from pnbx_snn.neurons.membrane import Membrane, MembraneState
from pnbx_snn.training.kinds import KINDS, Kind

LARGEST = 4.0
"""Thresholds at which a current is clipped: the largest graded event."""


def _current(u: Tensor, threshold: Tensor | float) -> Tensor:
    clipped: Tensor = (u / threshold).clamp(0.0, LARGEST)
    return clipped


class AnalogEncoder(EventEncoder):
    """An encoder without spikes and memory: ``e_t = clip(BN(W x_t) / threshold, 0, 4)``."""

    def forward(
        self,
        x: Float[Tensor, "T B N_in"],
        state: MembraneState | None = None,
        *,
        threshold: Float[Tensor, " H"] | None = None,
        own: Any = None,
    ) -> tuple[Float[Tensor, "T B H"], MembraneState]:
        """Encode all steps; steps that are no sample's own are not known here."""
        current = normalised(self.norm, self.linear(x), own)
        e = _current(current, self.threshold if threshold is None else threshold)
        return e, MembraneState(current[-1], e[-1])


class AnalogMembrane(Membrane):
    """A membrane that shows its potential instead of firing: ``z_t = clip(u_t / threshold, 0, 4)``, never reset."""

    def forward(
        self,
        current: Float[Tensor, "T B N"],
        state: MembraneState | None = None,
        *,
        threshold: Float[Tensor, " N"] | None = None,
        noise: Float[Tensor, "T B N"] | None = None,
    ) -> tuple[Float[Tensor, "T B N"], MembraneState]:
        """All steps of a sequence from zero."""
        drive = self.drive(current)
        if noise is not None:
            drive = drive + noise
        u = diagonal_scan(self.beta, drive, drive.new_zeros(drive.shape[1:]))
        z = _current(u, self.threshold if threshold is None else threshold)
        return z, MembraneState(u[-1], z[-1])


class AnalogPNBX(PNBX):
    """A PNB-X network whose encoder and blocks pass clipped currents on; it cannot be compiled."""

    section: ClassVar[str] = "analog"

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self.encoder.__class__ = AnalogEncoder
        for block in self.blocks:
            block.membrane.__class__ = AnalogMembrane


AnalogPNBX.__init__.__wrapped__ = PNBX.__init__  # type: ignore[attr-defined]  # its section has the same keys
AnalogPNBX.__init__.__annotations__ = PNBX.__init__.__annotations__
KIND = Kind(AnalogPNBX, KINDS["pnbx"].arguments, reads=("sequences",), command="python -m studies.choices")
