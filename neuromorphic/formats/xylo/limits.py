"""What XyloAudio 2 (SYNS61201, the second version of the SNN core) has room for."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from neuromorphic.errors import CompileError
from neuromorphic.executors.xylosim.network import XyloNetwork


class Limits(NamedTuple):
    """The limits of a chip; those of 8-bit weights, 4-bit shifts and 16-bit thresholds are fields of ``XyloLIF``.

    Attributes
    ----------
    channels, hidden, outputs
        Input channels, hidden neurons, output neurons.
    fan_out
        Hidden neurons to which one hidden neuron has synapses.
    mean_fan_out
        The same, of all hidden neurons the chip has, on average: how many recurrent weights there is memory for.
    bias_bits
        Of a bias, with its sign.

    References
    ----------
    The table of the family in https://rockpool.ai/devices/xylo-overview.html (rockpool 3.0): 16 input channels with up
    to 15 events a step, 1000 hidden neurons with up to 31, 8 output neurons with 1, "max. fanout" 64, "avg. fanout" 32
    for each of two synapses, of which a program uses the first; inputs project to all hidden neurons, and these to all
    outputs, so neither has a limit of its own, and no fan-in is named. Biases of 8 bits: ``xylosim`` 0.1.3 writes two
    hexadecimal digits of them for the chip's memory, and rockpool quantises them like weights.
    """

    channels: int = 16
    hidden: int = 1000
    outputs: int = 8
    fan_out: int = 64
    mean_fan_out: int = 32
    bias_bits: int = 8


XYLO_AUDIO_2 = Limits()


def check_limits(network: XyloNetwork, limits: Limits = XYLO_AUDIO_2) -> None:
    """Refuse a network that exceeds a limit of the chip.

    Raises
    ------
    CompileError
        Naming the first limit that is exceeded, what is allowed and where.
    """
    channels, hidden = network.inputs.shape
    counts = ("input channels", channels, limits.channels), ("hidden neurons", hidden, limits.hidden)
    for what, got, most in (*counts, ("output neurons", network.outputs.shape[1], limits.outputs)):
        if got > most:
            raise CompileError(f"XyloAudio 2 has {most} {what}, the program {got}")
    fan_out = np.count_nonzero(network.recurrent, axis=1)
    if fan_out.max() > limits.fan_out:
        raise CompileError(
            f"{network.where(int(fan_out.argmax()))} has synapses to {int(fan_out.max())} hidden neurons, on "
            f"XyloAudio 2 to at most {limits.fan_out}; set weights to 0"
        )
    room = limits.mean_fan_out * limits.hidden
    if fan_out.sum() > room:
        raise CompileError(
            f"XyloAudio 2 has room for {room} weights between hidden neurons, the program has {int(fan_out.sum())}"
        )
    border = 1 << (limits.bias_bits - 1)
    for neurons, is_output in ((network.hidden, False), (network.out, True)):
        outside = (neurons["bias"] < -border) | (neurons["bias"] >= border)
        if outside.any():
            number = int(outside.argmax())
            raise CompileError(
                f"{network.where(number, is_output=is_output)} has bias {int(neurons['bias'][number])}, on XyloAudio 2 "
                f"biases lie in {-border}..{border - 1}"
            )
