"""Networks that lava-dl publishes, and what slayer, Loihi and Loihi 2 made of them: nothing differs.

Small excerpts are kept with the examples. With ``PNBX_LAVA_DL``, a clone of lava-dl, all of them are read.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from netx_chains import CUBA, SDNN, write_chain
from neuromorphic import run
from neuromorphic.formats.netx import read_netx
from published_netx import Table

DATA = Path(__file__).parents[3] / "examples/data/lava_dl"


@pytest.fixture(scope="module")
def excerpts():
    with np.load(DATA / "excerpts.npz") as arrays:
        return dict(arrays)


def bits(packed, size):
    return np.unpackbits(packed, axis=1, count=size)


def test_tiny_net_fires_as_slayers(excerpts):
    program = read_netx(DATA / "tiny.net", num_steps=15)
    got = run(program, excerpts["tiny_image"].astype(int)[np.newaxis] - 34).spikes()
    for layer, name, spikes in (("lif0", "tiny_input", 6783), ("lif2", "tiny_output", 92)):
        wanted = bits(excerpts[name], program[layer].size)
        assert wanted.sum() == spikes
        np.testing.assert_array_equal(got[layer][:, 0], wanted)


def test_a_dense_layer_fires_as_slayers(excerpts, tmp_path):
    weights = excerpts["dense_weight"].astype(np.float32)
    neuron = CUBA | {"vDecay": 415, "vThMant": 6}
    path = write_chain(tmp_path / "d.net", [{"type": "dense", "shape": [256], "weight": weights, "neuron": neuron}])
    got = run(read_netx(path, num_steps=2000, layer_steps=1), bits(excerpts["dense_in"], 200)[:, np.newaxis])
    wanted = bits(excerpts["dense_out"], 256)
    assert wanted.sum() == 1826
    np.testing.assert_array_equal(got.spikes()["lif1"][:, 0], wanted)


def test_sigma_delta_layers_add_up_as_on_loihi_2(excerpts, tmp_path):
    windows = {1: ([2, 2], [0, 0], [24, 16, 16]), 2: ([2, 2], [0, 0], [36, 7, 7]), 3: ([2, 2], [1, 1], [64, 4, 4]),
               4: ([1, 1], [0, 0], [64, 2, 2])}  # fmt: skip
    layers = [{"type": "input", "shape": [3, 33, 33]}]
    for number, (stride, padding, shape) in windows.items():
        layer = {"type": "conv", "shape": shape, "stride": stride, "padding": padding}
        layers.append(layer | {"weight": excerpts[f"sdnn_weight{number}"], "bias": excerpts[f"sdnn_bias{number}"]})
    for layer, threshold in zip(layers, excerpts["sdnn_vth"], strict=True):
        layer["neuron"] = SDNN | {"vThMant": int(threshold)}
    program = read_netx(write_chain(tmp_path / "s.net", layers), num_steps=8, layer_steps=1)
    got = run(program, excerpts["sdnn_image"].astype(int)[np.newaxis])
    for number in windows:
        wanted = excerpts[f"sdnn_sigma{number}"]
        assert np.count_nonzero(wanted) > 900
        np.testing.assert_array_equal(got.variables[f"sigma{number}.s"][:, 0], wanted)


def test_a_convolution_fires_as_loihi_does(excerpts, tmp_path):
    """A sample takes 17 steps, and its first is step 4 of what the layer hears; before, the layer has its biases."""
    layers = [
        {"type": "input", "shape": [64, 4, 22]},
        {"type": "conv", "shape": [64, 2, 20], "weight": excerpts["lif_weight"], "bias": excerpts["lif_bias"],
         "neuron": CUBA | {"vDecay": 1024, "vThMant": 25}},
    ]  # fmt: skip
    path = write_chain(tmp_path / "c.net", layers)
    heard, wanted = bits(excerpts["lif_in"], 5632), bits(excerpts["lif_out"], 2560)
    compared = 0
    for start, stop, layer_steps in ((0, 4, 1), (4, 21, 0), (21, 23, 0)):
        first, last = (0, 5) if layer_steps else (start + 1, stop + 1)
        program = read_netx(path, num_steps=17, layer_steps=layer_steps)
        x = heard[start : start + last - first]
        recording = run(program, x[:, np.newaxis])
        spikes, v = recording.variables["lif1.spikes"][:, 0], recording.variables["lif1.v"][:, 0, ::8]
        np.testing.assert_array_equal(spikes, wanted[first:last])
        there, quiet = excerpts["lif_v"][first:last], spikes[:, ::8] == 0
        np.testing.assert_array_equal(v[quiet], there[quiet])
        assert (there[~quiet] == 128).all()
        compared += int(spikes.sum())
    assert compared == wanted.sum() == 6770


@pytest.mark.slow
def test_all_published_networks():
    if "PNBX_LAVA_DL" not in os.environ:
        pytest.skip("PNBX_LAVA_DL names no clone of lava-dl")
    table = Table(os.environ["PNBX_LAVA_DL"])
    for part in (table.tiny, table.dense, table.pilotnet_lif, table.pilotnet_sdnn):
        part()
    assert [row for row in table.rows if row[-1]] == []
    assert sum(row[-2] for row in table.rows) > 2_000_000
