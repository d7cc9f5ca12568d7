"""Bytes of a network: its weights in different packings, and the state that one stream carries."""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor

from pnbx_snn.errors import PnbxTypeError
from pnbx_snn.files.zero_runs import fits_runs, pack_runs
from pnbx_snn.metrics.neurobench import matrices_of
from pnbx_snn.networks.base import Network
from pnbx_snn.networks.pnbx import PNBX


class Packing(NamedTuple):
    """Bytes of all weights of a network, packed in one way with so many bits for a ternary weight.

    ``other_bytes`` are those of all other parameters, which stay fp32 (fp16 in ``"fp16"``).
    """

    name: str
    bits: float
    ternary_bytes: int
    other_bytes: int

    @property
    def total(self) -> int:
        """The bytes of all weights together."""
        return self.ternary_bytes + self.other_bytes


def entropy_bits(weights: Tensor) -> float:
    """Return the Shannon entropy of ternary weights in bits each, as if they were independent.

    A :class:`PnbxTypeError` if there are none.

    Examples
    --------
    >>> entropy_bits(torch.tensor([-1, 0, 1]))
    1.584962500721156
    """
    if weights.numel() == 0:
        raise PnbxTypeError("entropy_bits: weights must not be empty")
    shares = [float((weights == value).double().mean()) for value in (-1, 0, 1)]
    return -sum(share * math.log2(share) for share in shares if share > 0) + 0.0


def ternary_weights(model: Network) -> dict[str, Tensor]:
    """Return the ternary matrices of a network, int8, by name; a :class:`PnbxTypeError` if it has none."""
    if not model.is_ternary:
        raise PnbxTypeError(f"packing: a [{model.section}] has no ternary weights")
    with torch.no_grad():
        return {name: module.rounded()[0].to(torch.int8) for name, module in matrices_of(model).items()}


def packings(model: Network) -> list[Packing]:
    """Return the bytes of a network's weights in each packing.

    Examples
    --------
    >>> from pnbx_snn import SpikingClassifier
    >>> found = packings(SpikingClassifier(in_features=64, hidden=[32], num_classes=4, num_steps=2))
    >>> [(packing.name, packing.ternary_bytes) for packing in found[:4]]
    [('fp32', 8704), ('fp16', 4352), ('int8', 2176), ('2 bits', 544)]
    """
    weights = list(ternary_weights(model).values())
    number = sum(weight.numel() for weight in weights)
    others = sum(parameter.numel() for parameter in model.parameters()) - number
    runs = sum(len(pack_runs(w.cpu().numpy())) if fits_runs(w.cpu().numpy()) else -(-w.numel() // 4) for w in weights)
    bits = sum(weight.numel() * entropy_bits(weight) for weight in weights)
    return [
        Packing("fp32", 32, 4 * number, 4 * others),
        Packing("fp16", 16, 2 * number, 2 * others),
        Packing("int8", 8, number, 4 * others),
        Packing("2 bits", 2, sum(-(-weight.numel() // 4) for weight in weights), 4 * others),
        Packing("5 trits a byte", 1.6, sum(-(-weight.numel() // 5) for weight in weights), 4 * others),
        Packing("runs of zeros (measured)", 8 * runs / number, runs, 4 * others),
        Packing("entropy (no code can be shorter)", bits / number, math.ceil(bits / 8), 4 * others),
    ]


def zero_share(model: Network) -> float:
    """Return the share of zeros among the ternary weights."""
    weights = list(ternary_weights(model).values())
    return sum(int((w == 0).sum()) for w in weights) / sum(w.numel() for w in weights)


@torch.no_grad()
def state_bytes(model: Network) -> dict[str, int]:
    """Return the bytes that one stream carries from step to step, by part, counted on the state of one step.

    The network is calibrated and in evaluation mode.

    Examples
    --------
    >>> from pnbx_snn import SpikingClassifier
    >>> state_bytes(SpikingClassifier(in_features=64, hidden=[32], num_classes=4, num_steps=2))
    {'layer 1': 128, 'readout': 128}
    """
    if not isinstance(model, PNBX):
        layers: Any = model.layers
        readout: Any = model.readout
        sizes = {f"layer {i}": 4 * layer.num_neurons for i, layer in enumerate(layers, start=1)}
        return {**sizes, "readout": 4 * readout.in_features}  # potentials, and the running sum of spikes
    state = model.stream(torch.zeros(1, model.in_features, device=model.readout.weight.device))[1]
    found = {"encoder": _bytes(state.encoder)}
    for part in ("ssm", "rnn", "fast_weights", "hippocampus", "membrane"):
        found[part] = sum(_bytes(getattr(block, part)) for block in state.blocks)
    return {**found, "readout": _bytes(state.total)}


def _bytes(value: Any) -> int:
    if isinstance(value, Tensor):
        return value.nbytes
    return sum(_bytes(part) for part in value) if isinstance(value, tuple) else 0
