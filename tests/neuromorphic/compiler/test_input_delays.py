"""Learned delays before the encoder of PNB-X: of one length each, the same streamed, and exact in a program."""

import numpy as np
import pytest
import torch

from neuromorphic import run
from neuromorphic.compiler import compile_model
from neuromorphic.compiler.nir.export import to_nir
from neuromorphic.errors import CompileError
from neuromorphic.ops import Delays
from pnbx_snn.metrics.counts import parameter_table
from pnbx_snn.networks.pnbx import PNBX
from pnbx_snn.training.config import make_config

T, B, N = 14, 3, 6
SIZES = {"d_hidden": 32, "d_ssm": 8, "d_rnn": 4, "rank": 4, "slots": 4, "glia": False, "quantize": True}


def network(input_range="int8", **options):
    torch.manual_seed(0)
    model = PNBX(
        in_features=N, num_classes=3, input_range=input_range, input_delays=9, threshold=0.4, **SIZES, **options
    )
    x = torch.rand(B, T, N)
    x = (x < 0.3).float() if input_range == "spikes" else x - 0.5
    model.double().calibrate(x.double())
    return model.eval(), x.double()


@pytest.mark.parametrize("executor", ["numpy", "native"])
@pytest.mark.parametrize(("input_range", "options"), [("spikes", {}), ("int8", {}), ("int8", {"window": 3})])
@torch.no_grad()
def test_a_program_delays_as_the_network(executor, input_range, options):
    model, x = network(input_range, **options)
    assert len(set(model.delays.steps.tolist())) > 2
    program = compile_model(model, num_steps=T)
    (late,) = program.of_type(Delays)
    assert late.steps.tolist() == model.delays.steps.tolist()
    recording, output = run(program, model.encode(x).numpy(), executor), model(model.encode(x))
    np.testing.assert_array_equal(recording.variables["encoder.spikes"], output.spikes[0].numpy())
    assert (recording.variables["block1.spikes"] == output.spikes[1].numpy()).mean() > 0.995  # its states are rounded
    assert 0.02 < output.spikes[1].mean() < 0.9
    recorded = recording.variables["readout.y"][-1].argmax(axis=1)
    assert recorded.tolist() == output.logits.argmax(dim=1).tolist()


@torch.no_grad()
def test_delays_are_those_of_the_equation_and_of_a_stream():
    """The slow oracle: every input moved by hand, into a network without delays."""
    model, x = network()
    plain = PNBX(in_features=N, num_classes=3, input_range="int8", threshold=0.4, **SIZES).double()
    plain.load_state_dict({k: v for k, v in model.state_dict().items() if not k.startswith("delays")})
    moved = torch.zeros_like(x)
    for channel, steps in enumerate(model.delays.steps.tolist()):
        moved[:, steps:, channel] = x[:, : T - steps, channel]
    output = model(model.encode(x))
    expected = plain.eval()(plain.encode(moved))
    assert torch.equal(output.spikes[1], expected.spikes[1])
    assert torch.equal(output.logits, expected.logits)
    state = None
    for step in model.encode(x):
        logits, state = model.stream(step, state)
    torch.testing.assert_close(logits, output.logits)
    first = model(model.encode(x)[:5])
    rest = model(model.encode(x)[5:], first.state)
    assert torch.equal(torch.cat([first.spikes[1], rest.spikes[1]]), output.spikes[1])


def test_lengths_are_learned():
    model, x = network("spikes")
    model.train()
    model(model.encode(x)).logits.square().sum().backward()
    gradient = model.delays.fraction.grad
    assert gradient.isfinite().all()
    assert (gradient != 0).sum() > 2
    counted = {row.part: row.total for row in parameter_table(model)}
    assert counted["delays"] == N
    assert sum(p.numel() for p in model.parameters()) == sum(row.by_gradient for row in parameter_table(model))


def test_what_is_refused():
    model, _ = network()
    with pytest.raises(CompileError, match="encoder: its input is delayed; one with input_delays = 0 can be exported"):
        to_nir(model)
    with pytest.raises(ValueError, match=r"pnbx.input_delays must be a whole number in \[0, 63\], got 64"):
        make_config({"pnbx": {"input_delays": 64}})
