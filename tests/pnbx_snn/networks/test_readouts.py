"""The window of the encoder and the kinds of readout: pieces, streams and lengths give what a whole run gives."""

import pytest
import torch

from pnbx_snn import PNBX
from pnbx_snn.errors import PnbxValueError
from pnbx_snn.layers.window import Window

SIZES = {"in_features": 5, "num_classes": 3, "d_hidden": 32, "d_ssm": 8, "d_rnn": 8, "rank": 4, "slots": 4}


def network(**options):
    torch.manual_seed(0)
    model, x = PNBX(**SIZES, **options), torch.rand(6, 9, 5)
    model.calibrate(x)
    return model.eval(), x


@pytest.mark.parametrize("readout", ["mean", "leaky", "last", "step"])
def test_pieces_and_streams_end_where_the_whole_does(readout):
    model, x = network(readout=readout, window=3)
    steps = model.encode(x)
    whole = model(steps).logits
    whole = whole[-1] if readout == "step" else whole
    first = model(steps[:4])
    second = model(steps[4:], first.state).logits
    torch.testing.assert_close(second[-1] if readout == "step" else second, whole)
    state = None
    for x_t in steps:
        logits, state = model.stream(x_t, state)
    torch.testing.assert_close(logits, whole)


@pytest.mark.parametrize("readout", ["leaky", "last"])
def test_logits_are_those_after_a_samples_own_last_step(readout):
    model, x = network(readout=readout, window=2)
    lengths = torch.tensor([9, 3, 5, 2, 7, 9])
    logits, _ = model.classify(x, lengths=lengths)
    alone = [model.classify(x[b : b + 1, :n])[0] for b, n in enumerate(lengths.tolist())]
    torch.testing.assert_close(logits, torch.cat(alone))


def test_a_leaky_readout_is_the_sum_that_it_states():
    model, x = network(readout="leaky", beta_readout=0.8)
    output = model(model.encode(x))
    expected = torch.zeros(6, 3)
    for z in output.spikes[-1]:
        expected = 0.8 * expected + model.readout(z)
    torch.testing.assert_close(output.logits, expected)
    model.train()(model.encode(x)).logits.square().sum().backward()
    assert model.readout.leak.grad.abs().min() > 0


def test_dropout_silences_the_same_neurons_in_all_steps():
    model, x = network(readout="leaky", dropout=0.5, hippocampus="none")
    seen = []
    model.readout.register_forward_hook(lambda _, given, __: seen.append(given[0]))
    model.train()(model.encode(x))
    off = seen[0].sum(dim=0) == 0
    assert 0.3 < off.float().mean() < 0.95
    assert set(seen[0].unique().tolist()) == {0.0, 2.0}


def test_a_window_shows_the_newest_first_and_zeros_before_the_beginning():
    x = torch.arange(1.0, 7.0).reshape(3, 1, 2)
    shown, state = Window(2, 2)(x)
    assert shown[:, 0].tolist() == [[1, 2, 0, 0], [3, 4, 1, 2], [5, 6, 3, 4]]
    assert state.past[:, 0].tolist() == [[5, 6]]


def test_a_decay_out_of_range_is_refused():
    with pytest.raises(PnbxValueError, match=r"beta_readout must be in \(0, 1\), got 1"):
        PNBX(**SIZES, readout="leaky", beta_readout=1.0)
