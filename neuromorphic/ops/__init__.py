"""The operations of a program: one file each, or a tight family, with fields, checks, states and one step.

=========  ==================================================  ===============================================
kind       values                                              produced by
=========  ==================================================  ===============================================
events     0/1 spikes or graded integers in a stated range     ``Input``, ``LIF``, ``AdaptiveLIF``,
                                                               ``HomeostaticLIF``, ``GradedLIF``, ``ShiftLIF``,
                                                               ``Delay``, ``Delays``, ``SpikePool``, ``XyloLIF``
values     integers in int32, proven to fit                    ``Dense``, ``Conv``, ``SumPool``, ``MaxPool``,
                                                               ``Scale``, ``Multiply``, ``Torus``, ``LI``,
                                                               ``GatedState``, ``Resonator``, ``FastWeights``,
                                                               ``Slots``, ``Delta``, ``Sigma``, ``ReLU``
gate       Q0.12 in 0..4096                                    ``Gate``
sum        24-bit running sums, never fed onward               ``Readout``, ``LeakyReadout``
=========  ==================================================  ===============================================

A new operation is a new file in this folder: every module of it is imported here, and the class enters itself into
:data:`OP_TYPES`.
"""

from __future__ import annotations

from importlib import import_module
from pkgutil import iter_modules

from neuromorphic.ops.adaptive_lif import AdaptiveLIF
from neuromorphic.ops.base import OP_TYPES, Operation, State, Variable, Wanted
from neuromorphic.ops.conv import Conv
from neuromorphic.ops.delay import Delay
from neuromorphic.ops.delays import Delays
from neuromorphic.ops.dense import Dense
from neuromorphic.ops.fast_weights import FastWeights
from neuromorphic.ops.gate import Gate, Multiply
from neuromorphic.ops.gated_state import GatedState
from neuromorphic.ops.graded_lif import GradedLIF
from neuromorphic.ops.homeostatic_lif import HomeostaticLIF
from neuromorphic.ops.input import Input
from neuromorphic.ops.leaky_readout import LeakyReadout
from neuromorphic.ops.li import LI, Readout
from neuromorphic.ops.lif import LIF
from neuromorphic.ops.pool import MaxPool, SpikePool, SumPool
from neuromorphic.ops.resonator import Resonator
from neuromorphic.ops.scale import Scale
from neuromorphic.ops.shift_lif import ShiftLIF
from neuromorphic.ops.sigma_delta import Delta, ReLU, Sigma
from neuromorphic.ops.slots import Slots
from neuromorphic.ops.torus import Torus
from neuromorphic.ops.xylo_lif import XyloLIF

for _module in iter_modules(__path__):
    import_module(f"{__name__}.{_module.name}")

__all__ = [
    "LI",
    "LIF",
    "OP_TYPES",
    "AdaptiveLIF",
    "Conv",
    "Delay",
    "Delays",
    "Delta",
    "Dense",
    "FastWeights",
    "Gate",
    "GatedState",
    "GradedLIF",
    "HomeostaticLIF",
    "Input",
    "LeakyReadout",
    "MaxPool",
    "Multiply",
    "Operation",
    "ReLU",
    "Readout",
    "Resonator",
    "Scale",
    "ShiftLIF",
    "Sigma",
    "Slots",
    "SpikePool",
    "State",
    "SumPool",
    "Torus",
    "Variable",
    "Wanted",
    "XyloLIF",
]
