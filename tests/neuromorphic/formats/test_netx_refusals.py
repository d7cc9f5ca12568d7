"""Chains of layers that do not fit each other, or ask for too much: refused with layer and field."""

import resource
import time

import numpy as np
import pytest

from netx_chains import write_chain
from netx_rules import NEURON
from neuromorphic.errors import FileFormatError
from neuromorphic.formats.netx import read_netx

T = 30
IMAGE = {"type": "input", "shape": [2, 6, 8]}
CONV = {"type": "conv", "shape": [3, 2, 3], "weight": np.full((3, 2, 3, 3), 2.0), "stride": [2, 2], "neuron": NEURON}
POOL = {"type": "pool", "shape": [2, 3, 4], "weight": np.full((1, 1, 2, 2), 64.0), "neuron": NEURON}
FLAT = {"type": "flatten", "shape": [96]}
LINE = {"type": "dense", "shape": [2], "weight": np.full((2, 96), 2.0), "neuron": NEURON}
SIGMA = {"type": "SDNN", "vThMant": 1}
CHAINS = {
    "no image": ([CONV], "layer 0: the size of its image is not known; a layer of type input with a shape must stand"),
    "flat image": ([IMAGE, FLAT, CONV], r"layer 2: reads an image, the layer before has shape \[96\]"),
    "nothing to flatten": ([FLAT], "layer 0: has nothing to flatten"),
    "flatten": ([IMAGE, FLAT | {"shape": [95]}, LINE], r"layer 1: shape must be of 96 values, got \[95\]"),
    "out shape": (
        [IMAGE, CONV | {"shape": [3, 2, 4]}],
        r"shape must be \[3, 2, 3\], as its windows say",
    ),
    "axes": ([IMAGE, CONV | {"weight": np.ones((3, 2, 3))}], r"weight must have 4 axes, got shape \[3, 2, 3\]"),
    "channels": ([IMAGE, CONV | {"weight": np.ones((3, 4, 3, 3))}], r"weight must have shape \[1 \* n, 2, rows"),
    "groups": ([IMAGE, CONV | {"groups": 2}], r"weight must have shape \[2 \* n, 1, rows"),
    "kernel": ([IMAGE, CONV | {"kernelSize": [3, 4]}], r"kernelSize must be \[3, 3\], as weight says"),
    "in": ([IMAGE, CONV | {"inChannels": 3}], "inChannels must be 2, as the layer before says, got 3"),
    "no window": ([IMAGE, CONV | {"dilation": [9, 1]}], r"no window fits its image \[6, 8\]: kernel \[3, 3\]"),
    "stride 0": ([IMAGE, CONV | {"stride": [0, 1]}], "stride must be whole numbers in 1..4096, got 0"),
    "three strides": ([IMAGE, CONV | {"stride": [1, 1, 1]}], "stride must be one or two numbers, got 3"),
    "far padding": ([IMAGE, CONV | {"padding": 1 << 40}], "padding must be whole numbers in 0..4096"),
    "wide": ([IMAGE, CONV | {"padding": 4096, "stride": 1, "shape": [3, 8196, 8198]}], "before have [0-9]+ units"),
    "bias": ([IMAGE, CONV | {"bias": np.ones(2)}], "bias must be one number or one for each of 3 channels, got 2"),
    "pool": ([IMAGE, POOL | {"weight": np.ones((2, 1, 2, 2))}], r"weight must have shape \[1, 1, rows, columns\]"),
    "odd pool": ([IMAGE | {"shape": [2, 7, 8]}, POOL], r"its kernel \[2, 2\] must divide the image \[7, 8\]"),
    "huge pool": ([IMAGE | {"shape": [1 << 22, 2, 2]}, POOL | {"shape": [1 << 22, 1, 1]}], "are more than|units"),
    "activation": ([LINE | {"neuron": SIGMA | {"activation": "tanh"}}], "activation is 'tanh'; lava-dl always takes"),
    "a sum before": (
        [IMAGE, {key: value for key, value in LINE.items() if key != "neuron"}, LINE | {"weight": np.ones((2, 2))}],
        "layer 2: reads a layer that only sums, which must be the last",
    ),
    "graded behind spikes": (
        [IMAGE, LINE | {"neuron": SIGMA}],
        "of type 'SDNN', and the layer before sends spikes",
    ),
    "graded bias": ([IMAGE | {"neuron": SIGMA, "bias": 3}], "layer 0: bias is 3; only 0 is read here: add it"),
    "input weight": (
        [IMAGE | {"neuron": NEURON, "weight": 0}],
        "weight must be whole numbers in 1..255, got 0",
    ),
    "a sum that is late": (
        [LINE | {"neuron": SIGMA | {"sigma_output": True}, "delay": 2}],
        "delay is 2; only 0 is",
    ),
    "exponent of an input": (
        [IMAGE | {"neuron": NEURON | {"wgtExp": 1}}],
        "wgtExp is 1; only 0 is read here",
    ),
    "sum of an input": ([IMAGE | {"neuron": SIGMA | {"sigma_output": True}}], "has sigma_output in an input layer"),
}


@pytest.mark.parametrize("what", CHAINS)
def test_chains_that_do_not_fit_are_refused_by_name(what, tmp_path, netx_here):
    layers, text = CHAINS[what]
    with pytest.raises(FileFormatError, match=text):
        read_netx(write_chain(tmp_path / "n.net", layers), num_steps=T)


def test_a_small_file_of_large_layers_takes_little_memory(tmp_path):
    """A hundred convolutions of one weight over 4 million pixels each: refused while they are counted."""
    one = {"type": "conv", "shape": [1, 2048, 2048], "weight": np.full((1, 1, 1, 1), 2.0), "neuron": NEURON}
    path = write_chain(tmp_path / "n.net", [{"type": "input", "shape": [1, 2048, 2048]}, *[one] * 100])
    before, started = peak_mib(), time.monotonic()
    with pytest.raises(FileFormatError, match="layer 4: this layer and those before have 20971520 units, at most"):
        read_netx(path, num_steps=T)
    assert peak_mib() - before < 500
    assert time.monotonic() - started < 20


def peak_mib():
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024
