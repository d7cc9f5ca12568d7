"""Programs as specifications of SynSense's Xylo, which rockpool puts on the chip.

:func:`to_xylo` makes a program of ``XyloLIF`` of one of ``Dense`` and ``ShiftLIF``; :func:`export_xylo` checks the
chip's limits and writes the dictionary that rockpool's ``config_from_specification`` takes; :func:`read_xylo` reads it.
"""

from neuromorphic.formats.entry import Format
from neuromorphic.formats.xylo.order import to_xylo
from neuromorphic.formats.xylo.read import read_xylo
from neuromorphic.formats.xylo.write import export_xylo

__all__ = ["export_xylo", "read_xylo", "to_xylo"]

FORMATS = (
    Format(
        name="xylo",
        purpose="rockpool, for SynSense's XyloAudio 2",
        suffix=".json",
        module="neuromorphic.formats.xylo.write",
    ),
)
