"""The pathways that a PNB-X network can have, by the names that a configuration gives them."""

from typing import Literal

from torch import nn

from pnbx_snn.layers.fast_weights import FastWeights, Rule
from pnbx_snn.layers.hippocampus import Competition, Hippocampus
from pnbx_snn.layers.rnn import MinGRU, SpikingRNN
from pnbx_snn.layers.ssm import LTISSM, SelectiveSSM
from pnbx_snn.quantization import WeightScale

SSMKind = Literal["selective", "real", "complex", "none"]
RNNKind = Literal["min_gru", "spiking", "none"]
FastWeightsRule = Literal["hebbian", "delta", "none"]
HippocampusScope = Literal["sequence", "persistent", "none"]


def make_ssm(
    kind: SSMKind, d_hidden: int, d_ssm: int, scale: WeightScale, tau_max: float, *, quantize: bool = False
) -> nn.Module | None:
    """Return the state-space pathway of this kind, ``None`` for ``"none"``."""
    if kind == "none":
        return None
    if kind == "selective":
        return SelectiveSSM(d_hidden, d_ssm, scale=scale, tau_max=tau_max, quantize=quantize)
    return LTISSM(d_hidden, d_ssm, kind=kind, scale=scale, tau_max=tau_max, quantize=quantize)


def make_rnn(
    kind: RNNKind, d_hidden: int, d_rnn: int, scale: WeightScale, tau_max: float, *, quantize: bool = False
) -> nn.Module | None:
    """Return the micro-RNN of this kind, ``None`` for ``"none"``."""
    if kind == "none":
        return None
    if kind == "min_gru":
        return MinGRU(d_hidden, d_rnn, scale=scale, tau_max=tau_max, quantize=quantize)
    return SpikingRNN(d_hidden, d_rnn, scale=scale)


def make_fast_weights(rule: FastWeightsRule, d_hidden: int, rank: int, scale: WeightScale) -> nn.Module | None:
    """Return fast weights with this rule, ``None`` for ``"none"``; a delta rule moves half as fast."""
    if rule == "none":
        return None
    learned: Rule = rule
    return FastWeights(d_hidden, rank, rule=learned, rate_bits=5 if rule == "delta" else 4, scale=scale)


def make_hippocampus(
    scope: HippocampusScope, d_hidden: int, slots: int, competition: Competition, scale: WeightScale
) -> Hippocampus | None:
    """Return a hippocampus of this scope, ``None`` for ``"none"``."""
    if scope == "none":
        return None
    return Hippocampus(d_hidden, slots, scope=scope, competition=competition, scale=scale)
