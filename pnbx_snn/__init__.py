"""Ternary-weight spiking networks on torch.

Everything is time first: ``[T, B, N]`` steps, samples, neurons. State goes in and comes out:
``spikes, state = layer(x, state)``. See :class:`PNBX` and :class:`SpikingClassifier` for whole networks,
:class:`BitBrain`, :class:`BitLinear` and :class:`LIF` for their parts, :func:`lift` and :class:`Leaky` for snnTorch and
Norse scripts.
"""

from importlib import import_module
from importlib.metadata import PackageNotFoundError, version
from typing import TYPE_CHECKING, Any

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

if TYPE_CHECKING:
    from pnbx_snn.training.checkpoint import load_run
    from pnbx_snn.training.evaluate import evaluate
    from pnbx_snn.training.run import train

_TRAINING = {"train": "run", "load_run": "checkpoint", "evaluate": "evaluate"}

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
    "reset",
    "sharpen",
    "ternarize",
    "train",
]


def __getattr__(name: str) -> Any:
    """Import what trains when it is asked for: accelerate and pydantic take longer than all layers together."""
    if name not in _TRAINING:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"pnbx_snn.training.{_TRAINING[name]}"), name)
