"""weight_norm, spectral_norm and orthogonal, in torch's new and old form, on the ternary layers."""

import pytest
import torch
from torch import nn
from torch.nn.utils import parametrizations

from pnbx_snn import BitBrain, BitLinear, Membrane, SelectiveSSM, SpikingRNN, keep_ternary

NEW = {name: getattr(parametrizations, name) for name in ("weight_norm", "spectral_norm", "orthogonal")}
OLD = {"old weight_norm": nn.utils.weight_norm, "old spectral_norm": nn.utils.spectral_norm}
pytestmark = pytest.mark.filterwarnings("ignore:.*weight_norm.* is deprecated:FutureWarning")


@pytest.fixture(autouse=True)
def _seed():
    torch.manual_seed(0)


@pytest.mark.parametrize("size", [8, 512])  # the larger one goes by an operator of its own
@pytest.mark.parametrize("name", [*NEW, *OLD])
def test_a_bitlinear_rounds_what_the_parametrization_makes(name, size):
    layer = {**NEW, **OLD}[name](BitLinear(size, size))
    x = (torch.rand(256, size) < 0.3).float()
    layer(x).square().sum().backward()
    assert all(p.grad is not None and p.grad.abs().max() > 0 for p in layer.parameters())
    torch.optim.SGD(layer.parameters(), lr=0.1).step()
    layer.eval()
    answer = layer(x)
    torch.testing.assert_close(answer, layer.gamma() * x @ layer.ternary_weight().float().T, rtol=1e-5, atol=1e-5)
    with keep_ternary(layer):
        assert torch.equal(layer(x), answer)


@pytest.mark.parametrize("name", [*NEW, *OLD])
def test_a_spiking_rnn_learns_through_it(name):
    """It rounds its matrices once for all steps, without calling them: the old form makes the weight in that call."""
    rnn = SpikingRNN(8, 4, threshold=0.3)
    for matrix in (rnn.W, rnn.U, rnn.V):
        {**NEW, **OLD}[name](matrix)
    events = (torch.rand(6, 2, 8) < 0.4).float()
    optimizer = torch.optim.SGD(rnn.parameters(), lr=0.1)
    for _ in range(2):
        optimizer.zero_grad()
        rnn(events)[0].square().sum().backward()
        assert all(p.grad is not None for p in rnn.parameters())
        optimizer.step()
    rnn.eval()
    whole, state = rnn(events)[0], None
    for e, expected in zip(events, whole, strict=True):
        current, state = rnn.step(e, state)
        torch.testing.assert_close(current, expected)


def test_calibration_reaches_through_weight_norm():
    """Scaling the product of the parametrization in place changed nothing."""
    ssm = SelectiveSSM(8, 4)
    block, events = BitBrain(Membrane(8), ssm=ssm), (torch.rand(6, 2, 8) < 0.4).float()
    for matrix in (ssm.A, ssm.B, ssm.C, ssm.D):
        parametrizations.weight_norm(matrix)
    block.calibrate(events, gain=0.5)
    assert ssm(events)[0].square().mean().sqrt().item() == pytest.approx(0.5, rel=1e-4)
