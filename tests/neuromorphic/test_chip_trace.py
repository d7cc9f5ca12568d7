"""A recording of one neuron on a Loihi 2 chip, reproduced.

The trace is from the repository of the NIR paper (Pedersen et al. 2024, paper/01_lif, BSD-3-Clause); its parameters are
those that paper's converter computes: weight 10, du 4095, dv 163, threshold 25. The chip reads 128 as the voltage of a
step in which it spiked (a code, not a voltage), so those four rows are left out of the comparison of voltages.
"""

import os
from pathlib import Path

import numpy as np
import pytest

from neuromorphic import LIF, Dense, Input, Program, run
from neuromorphic.executors.lava.mapping import lava_mapping, stock_lif_arguments

SPIKE_STEPS = [461, 511, 711, 761]


@pytest.fixture(scope="module")
def trace():
    """Input, voltage and spikes of the chip, a row for each step."""
    folder = os.environ.get("PNBX_DATA")
    if not folder or not (Path(folder) / "loihi").is_dir():
        pytest.skip("PNBX_DATA names no folder with loihi/lif_lava_loihi_fixed.csv")
    rows = np.loadtxt(Path(folder) / "loihi" / "lif_lava_loihi_fixed.csv", delimiter=",")
    assert rows.shape == (1000, 3)
    return rows.astype(np.int32)


@pytest.fixture(scope="module")
def neuron():
    def one(value):
        return np.array([value], dtype=np.int32)

    synapse = Dense("synapse", "x", np.array([[10]], dtype=np.int8))
    lif = LIF("lif", ("synapse",), decay=one(4096 - 163), threshold=one(25 << 6), bias=one(0), shift=6)
    return Program((Input("x", 1), synapse, lif), num_steps=1000)


def check(recording, trace):
    """Compare a recording with the chip, which is one step late: a synapse takes a step there."""
    spikes = np.concatenate([[0], recording.variables["lif.spikes"][:-1, 0, 0]])
    voltages = np.concatenate([[0], recording.variables["lif.v"][:-1, 0, 0]])
    chip_voltages, chip_spikes = trace[:, 1], trace[:, 2]
    assert np.flatnonzero(chip_spikes).tolist() == SPIKE_STEPS
    assert np.flatnonzero(spikes).tolist() == SPIKE_STEPS
    silent = chip_spikes == 0
    assert int(silent.sum()) == 996
    assert int((voltages[silent] == chip_voltages[silent]).sum()) == 996
    assert len(np.unique(chip_voltages[silent])) > 100
    assert (chip_voltages[~silent] == 128).all()


def test_the_neuron_is_lavas_own(neuron):
    assert [placement.process for placement in lava_mapping(neuron)] == ["RingBuffer", "Dense", "LIFReset"]
    arguments = stock_lif_arguments(neuron["lif"])
    assert (arguments["du"], arguments["dv"], arguments["vth"]) == (4095, 163, 25)


def test_reference_reproduces_the_chip(neuron, trace):
    check(run(neuron, trace[:, :1, np.newaxis]), trace)


@pytest.mark.lava
@pytest.mark.parametrize("runtime", ["lava_session", "lava_processes"])
def test_lava_reproduces_the_chip(neuron, trace, runtime, request):
    session = request.getfixturevalue(runtime)
    check(session.execute(neuron, neuron.prepare_inputs(trace[:, :1, np.newaxis])), trace)


@pytest.mark.parametrize("change", [{"decay": 4096 - 162}, {"decay": 4096 - 164}, {"threshold": 26 << 6}])
def test_nearby_parameters_do_not(neuron, trace, change):
    lif = neuron["lif"]
    arguments = {"decay": lif.decay, "threshold": lif.threshold, "bias": lif.bias, "shift": 6}
    arguments |= {name: np.array([value], dtype=np.int32) for name, value in change.items()}
    other = Program((*neuron.ops[:2], LIF("lif", ("synapse",), **arguments)), num_steps=1000)
    with pytest.raises(AssertionError):
        check(run(other, trace[:, :1, np.newaxis]), trace)
