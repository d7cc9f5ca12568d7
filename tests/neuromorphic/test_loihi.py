"""What a Loihi 2 would refuse and cost, counted by hand."""

import numpy as np
import pytest

from neuromorphic import LIF, Dense, Input, Program, Readout
from neuromorphic.loihi import ASSUMPTIONS, check_loihi, dendrite_peaks, estimate_loihi
from neuromorphic.ops import Conv, SumPool


def program(*, inputs=4, neurons=3, weight=1, threshold=64, high=1, shift=6):
    one = np.ones(neurons, dtype=np.int32)
    weights = np.full((neurons, inputs), weight, dtype=np.int8)
    ops = (
        Input("x", inputs, high=high),
        Dense("fc", "x", weights),
        LIF("lif", ("fc",), 3000 * one, threshold * one, 0 * one, shift=shift),
    )
    return Program(ops, num_steps=5)


def test_a_program_of_stock_processes_within_the_ranges_passes():
    assert check_loihi(program()) == []


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"threshold": 65}, "no stock process: threshold is not a multiple of 64"),
        ({"inputs": 300, "weight": 127}, "its input can reach 38100, a dendrite holds 32767"),
        ({"high": 20_000, "inputs": 2, "shift": 6}, "its input can reach 40000, a dendrite holds 32767"),
        ({"inputs": 300, "weight": 1, "shift": 13}, "its input can reach 38400, a dendrite holds 32767"),
    ],
)
def test_what_a_chip_would_do_otherwise_is_named(changes, problem):
    (finding,) = check_loihi(program(**changes))
    assert (finding.op, finding.problem) == ("lif", problem)


def test_the_edge_of_a_dendrite_is_allowed():
    edge = program(inputs=1, high=32767)
    assert dendrite_peaks(edge) == {"lif": 32767}
    assert check_loihi(edge) == []
    assert len(check_loihi(program(inputs=1, high=32768))) == 1


def test_an_own_process_is_a_finding():
    p = program()
    ops = (*p.ops, Dense("out", "lif", np.ones((2, 3), dtype=np.int8)))
    ops += (Readout("readout", ("out",), np.zeros(2, dtype=np.int32), shift=0),)
    assert [finding.op for finding in check_loihi(Program(ops, num_steps=5))] == ["readout"]


def test_costs_counted_by_hand():
    # 3 neurons, 4 inputs, all weights 1: 12 synapses of 2 bits.
    (cost,) = estimate_loihi(program(), {"lif": 0.5})
    assert (cost.neurons, cost.fan_in, cost.axons, cost.synapse_bytes, cost.cores) == (3, 4, 4, 3, 1)
    assert (cost.spikes_per_step, cost.synops_per_step) == (1.5, 6.0)
    # 10,000 neurons do not fit into one core, nor do 5,000 input axons.
    assert estimate_loihi(program(neurons=10_000))[0].cores == 2
    assert estimate_loihi(program(inputs=5_000))[0].cores == 2
    # 8-bit weights: 4096 x 3000 bytes are 12.3 MB, of which a core holds 128 KiB.
    assert estimate_loihi(program(inputs=4096, neurons=3000, weight=5))[0].cores == -(-4096 * 3000 // 131072)


def test_a_sparse_matrix_takes_less():
    one = np.ones(64, dtype=np.int32)
    weights = np.zeros((64, 64), dtype=np.int8)
    weights[0, :10] = 1
    ops = (Input("x", 64), Dense("fc", "x", weights), LIF("lif", ("fc",), 3000 * one, 64 * one, 0 * one, shift=6))
    (cost,) = estimate_loihi(Program(ops, num_steps=5))
    assert cost.synapse_bytes == 10  # 10 synapses of 2 bits and an index of 6
    assert cost.fan_in == 10


def test_the_assumptions_are_said():
    assert len(ASSUMPTIONS) >= 5


def test_a_convolution_is_stored_once_and_counted_by_its_synapses():
    # 2 kernels of 3 x 3, one weight of each 0, over 4 x 4 pixels with a margin: 4 corners, 8 edges, 4 inner windows.
    weights = np.full((2, 1, 3, 3), -1, dtype=np.int8)
    weights[:, :, 1, 1] = 0
    one = np.ones(32, dtype=np.int32)
    conv = Conv("conv", "x", weights, (1, 4, 4), padding=(1, 1))
    ops = (Input("x", 16), conv, LIF("lif", ("conv",), 3000 * one, 64 * one, 0 * one, shift=6))
    (cost,) = estimate_loihi(Program(ops, num_steps=5), {"lif": 0.5})
    assert (cost.neurons, cost.fan_in, cost.axons, cost.synapse_bytes) == (32, 8, 16, 5)  # 18 weights of 2 bits
    assert cost.synops_per_step == 0.5 * 2 * (4 * 3 + 8 * 5 + 4 * 8)
    pooled = (*ops, SumPool("pool", "lif", (2, 4, 4), (2, 2), (2, 2)))
    pooled += (LIF("last", ("pool",), one[:8], 64 * one[:8], 0 * one[:8], shift=6),)
    last = estimate_loihi(Program(pooled, num_steps=5), {"lif": 0.5})[1]
    assert (last.neurons, last.fan_in, last.synapse_bytes, last.synops_per_step) == (8, 4, 2, 16.0)
    assert check_loihi(Program(pooled, num_steps=5)) == []


def test_a_convolution_that_must_wait_is_a_finding():
    one = np.ones(16, dtype=np.int32)
    ops = [Input("x", 16), Conv("conv", "x", np.ones((1, 1, 1, 1), np.int8), (1, 4, 4))]
    ops += [Dense("fc", "x", np.eye(16, dtype=np.int8)), LIF("lif", ("fc",), one, 64 * one, one * 0, shift=6)]
    ops += [Dense("on", "lif", np.eye(16, dtype=np.int8)), LIF("end", ("on", "conv"), one, 64 * one, one * 0, shift=6)]
    (finding,) = check_loihi(Program(tuple(ops), num_steps=5))
    assert (finding.op, finding.problem) == ("conv", "must wait 1 step, such a synapse waits 0 at most")
