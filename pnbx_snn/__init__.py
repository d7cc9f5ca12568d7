"""Ternary-weight spiking networks on torch.

Everything is time first: ``[T, B, N]`` steps, samples, neurons. State goes in and comes out:
``spikes, state = layer(x, state)``. See :class:`PNBX` and :class:`SpikingClassifier` for whole networks,
:class:`BitBrain`, :class:`BitLinear` and :class:`LIF` for their parts, :func:`lift` and :class:`Leaky` for snnTorch and
Norse scripts, and :mod:`pnbx_snn.plot` for pictures.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from importlib.util import find_spec
from typing import TYPE_CHECKING, Any

import pnbx_extras
from pnbx_snn.errors import MissingPackageError

if TYPE_CHECKING:
    from pnbx_snn import plot
    from pnbx_snn.layers.bitconv import BitConv2d
    from pnbx_snn.layers.bitlinear import BitLinear
    from pnbx_snn.layers.delays import Delays, sharpen
    from pnbx_snn.layers.fast_weights import FastWeights
    from pnbx_snn.layers.hippocampus import Hippocampus
    from pnbx_snn.layers.rnn import MinGRU, SpikingRNN
    from pnbx_snn.layers.ssm import LTISSM, SelectiveSSM
    from pnbx_snn.networks.block import BitBrain
    from pnbx_snn.networks.classifier import SpikingClassifier, SpikingLayer
    from pnbx_snn.networks.conv import SpikingConvLayer, SpikingConvNet
    from pnbx_snn.networks.pnbx import PNBX
    from pnbx_snn.neurons.glia import Glia
    from pnbx_snn.neurons.leaky import Leaky
    from pnbx_snn.neurons.lif import LIF, LIFState, beta_from_tau
    from pnbx_snn.neurons.lift import lift
    from pnbx_snn.neurons.membrane import Membrane
    from pnbx_snn.neurons.messages import TorusMessages
    from pnbx_snn.neurons.noise import OUNoise
    from pnbx_snn.neurons.reset import reset
    from pnbx_snn.neurons.shift_lif import ShiftLIF, ShiftLIFCell, ShiftLIFState
    from pnbx_snn.quantization import integer_weights, keep_ternary, ternarize
    from pnbx_snn.surrogate import Surrogate
    from pnbx_snn.training.checkpoint import load_run
    from pnbx_snn.training.evaluate import evaluate
    from pnbx_snn.training.run import train

_NAMES = {
    "layers.bitconv": "BitConv2d",
    "layers.bitlinear": "BitLinear",
    "layers.delays": "Delays sharpen",
    "layers.fast_weights": "FastWeights",
    "layers.hippocampus": "Hippocampus",
    "layers.rnn": "MinGRU SpikingRNN",
    "layers.ssm": "LTISSM SelectiveSSM",
    "networks.block": "BitBrain",
    "networks.classifier": "SpikingClassifier SpikingLayer",
    "networks.conv": "SpikingConvLayer SpikingConvNet",
    "networks.pnbx": "PNBX",
    "neurons.glia": "Glia",
    "neurons.leaky": "Leaky",
    "neurons.lif": "LIF LIFState beta_from_tau",
    "neurons.lift": "lift",
    "neurons.membrane": "Membrane",
    "neurons.messages": "TorusMessages",
    "neurons.noise": "OUNoise",
    "neurons.reset": "reset",
    "neurons.shift_lif": "ShiftLIF ShiftLIFCell ShiftLIFState",
    "quantization": "integer_weights keep_ternary ternarize",
    "surrogate": "Surrogate",
    "training.checkpoint": "load_run",
    "training.evaluate": "evaluate",
    "training.run": "train",
}
_HOMES = {name: module for module, names in _NAMES.items() for name in names.split()}

if _missing := pnbx_extras.missing("train", "pnbx_snn"):
    raise MissingPackageError(_missing)

try:
    __version__ = version("pnbx-snn")
except PackageNotFoundError:  # a source tree that was not installed
    __version__ = "0+source"

__all__ = [
    "LIF",
    "LTISSM",
    "PNBX",
    "BitBrain",
    "BitConv2d",
    "BitLinear",
    "Delays",
    "FastWeights",
    "Glia",
    "Hippocampus",
    "LIFState",
    "Leaky",
    "Membrane",
    "MinGRU",
    "OUNoise",
    "SelectiveSSM",
    "ShiftLIF",
    "ShiftLIFCell",
    "ShiftLIFState",
    "SpikingClassifier",
    "SpikingConvLayer",
    "SpikingConvNet",
    "SpikingLayer",
    "SpikingRNN",
    "Surrogate",
    "TorusMessages",
    "__version__",
    "beta_from_tau",
    "evaluate",
    "integer_weights",
    "keep_ternary",
    "lift",
    "load_run",
    "plot",
    "reset",
    "sharpen",
    "ternarize",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import a name or a room when it is asked for: the command line answers ``--help`` without torch.

    What trains takes longer to import (accelerate, pydantic) than all layers together.
    """
    if name in _HOMES:
        value = getattr(import_module(f"{__name__}.{_HOMES[name]}"), name)
    elif not name.startswith("_") and find_spec(f"{__name__}.{name}") is not None:
        value = import_module(f"{__name__}.{name}")
    else:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    globals()[name] = value
    return value


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
