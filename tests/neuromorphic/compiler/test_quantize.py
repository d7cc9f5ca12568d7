"""Training on the program's grid: gates from its table, its decays, one winner; and what is left of a difference."""

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from neuromorphic.compiler import compile_model, measure_agreement
from pnbx_snn.layers.rnn import MinGRU
from pnbx_snn.layers.ssm import LTISSM, SelectiveSSM
from pnbx_snn.networks.pnbx import PNBX
from pnbx_snn.neurons.membrane import Membrane
from pnbx_snn.quantization import round_decay, table_sigmoid
from steps import gate

SIZES = {"in_features": 6, "num_classes": 3, "num_steps": 30, "d_hidden": 48, "d_ssm": 16, "d_rnn": 8, "rank": 6}


@given(st.lists(st.integers(-6000, 6000), min_size=1, max_size=20), st.integers(-3000, 3000))
def test_the_table_is_the_programs(indices, offset):
    x = torch.tensor(indices, dtype=torch.float64) / 256
    looked_up = table_sigmoid(x, torch.full((len(indices),), offset / 256, dtype=torch.float64))
    shifts = np.full(len(indices), offset, dtype=np.int32)
    assert (4096 * looked_up).tolist() == gate(np.array([indices], dtype=np.int32), shifts)[0].tolist()


def test_what_is_left_of_an_index_is_cut_off_toward_zero():
    x = torch.tensor([100.9, -100.9]) / 256
    assert table_sigmoid(x).tolist() == table_sigmoid(torch.tensor([100.0, -100.0]) / 256).tolist()


def test_gradients_are_those_of_the_smooth_functions():
    x = torch.linspace(-9, 9, 50, dtype=torch.float64, requires_grad=True)
    (got,) = torch.autograd.grad(table_sigmoid(x, 0.3).sum(), x)
    (smooth,) = torch.autograd.grad(torch.sigmoid(x + 0.3).sum(), x)
    assert torch.equal(got, smooth)
    (ones,) = torch.autograd.grad(round_decay(x).sum(), x)
    assert torch.equal(ones, torch.ones_like(x))


@pytest.mark.parametrize("part", [SelectiveSSM, MinGRU, lambda *sizes, **o: LTISSM(*sizes, **o)])
def test_a_part_on_the_grid_stays_close_and_learns(part):
    torch.manual_seed(0)
    smooth, rounded = part(16, 8), part(16, 8, quantize=True)
    rounded.load_state_dict(smooth.state_dict())
    events = (torch.rand(20, 4, 16) < 0.3).float()
    (expected, _), (got, state) = smooth(events), rounded(events)
    assert not torch.equal(expected, got)
    assert torch.allclose(expected, got, atol=0.05)
    (step, _) = rounded.step(events[0])
    assert torch.allclose(step, got[0], atol=1e-6)
    got.sum().backward()
    assert all(parameter.grad is not None for parameter in rounded.parameters())
    assert state.s.shape == (4, 8)


def test_decays_of_a_membrane_are_whole_multiples():
    membrane = Membrane(5, beta=0.7, quantize=True)
    scaled = membrane.beta * 4096
    assert torch.equal(scaled, scaled.round())
    membrane.drive(torch.ones(2, 5)).sum().backward()
    assert membrane.leak.grad.abs().min() > 0


@pytest.mark.filterwarnings("ignore::neuromorphic.errors.CompileWarning")
@pytest.mark.parametrize("changes", [{}, {"ssm": "real"}, {"ssm": "complex"}, {"num_blocks": 2}])
def test_a_program_fires_as_a_network_that_knew_its_grid(changes):
    agreements = []
    for quantize in (False, True):
        torch.manual_seed(0)
        model = PNBX(tau_max=30.0, threshold=0.4, quantize=quantize, slots=8, **{**SIZES, **changes}).double()
        x = torch.rand(48, 30, 6, dtype=torch.float64)
        model.calibrate(x)
        with torch.no_grad():
            model.blocks[0].membrane.leak.normal_()
        inputs = model.eval().encode(x)
        agreements.append(measure_agreement(model, compile_model(model, num_steps=30), inputs, torch.zeros(48)))
    smooth, rounded = (1 - agreement["spikes_equal"] for agreement in agreements)
    assert rounded < smooth / 10
    assert rounded < (0.002 if "num_blocks" in changes else 0.0008)


def test_the_hippocampus_of_the_grid_has_one_winner():
    assert PNBX(slots=4, quantize=True, **SIZES).blocks[0].hippocampus.competition == "winner"
