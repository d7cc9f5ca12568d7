"""The BitBrain block and the PNB-X network: wiring, stream = sequence, memory, counts, calibration, glia, errors."""

import copy
import itertools
from functools import cache

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn

from pnbx_snn.errors import PnbxValueError, ShapeError
from pnbx_snn.layers.fast_weights import FastWeights
from pnbx_snn.layers.hippocampus import Hippocampus
from pnbx_snn.layers.rnn import MinGRU, SpikingRNN
from pnbx_snn.layers.ssm import LTISSM, SelectiveSSM
from pnbx_snn.metrics.counts import REFERENCE, parameter_table
from pnbx_snn.networks.block import BitBrain
from pnbx_snn.networks.pnbx import PNBX
from pnbx_snn.neurons.glia import Glia
from pnbx_snn.neurons.membrane import Membrane
from pnbx_snn.neurons.messages import TorusMessages
from pnbx_snn.neurons.noise import OUNoise

SIZES = {"in_features": 6, "num_classes": 3, "num_steps": 5, "d_hidden": 32}
PARTS = {"d_ssm": 5, "d_rnn": 4, "rank": 3, "slots": 6}
VARIANTS = {
    "reference": {},
    "lti and spiking": {"ssm": "complex", "rnn": "spiking", "fast_weights": "delta"},
    "persistent, winner": {"hippocampus": "persistent", "competition": "winner", "ssm": "real"},
    "winner, subtract": {"competition": "winner", "reset": "subtract", "norm": "affine"},
    "two blocks": {"num_blocks": 2},
    "learned edges": {"edges": "ternary"},
    "learned edges, spiking": {"edges": "ternary", "rnn": "spiking"},
    "bare": {
        "ssm": "none", "rnn": "none", "fast_weights": "none", "hippocampus": "none", "messages": False, "glia": False,
    },
}  # fmt: skip


def draw_events(T, B, H, *, seed=0, dtype=torch.float64):
    return (torch.rand(T, B, H, generator=torch.Generator().manual_seed(seed)) < 0.25).to(dtype)


def make(seed=0, **options):
    """A PNB-X network in float64, calibrated, in evaluation mode, with norms that have seen something; a copy."""
    return copy.deepcopy(made(seed, tuple(sorted(options.items()))))


@cache
def made(seed, options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = PNBX(**SIZES, **{**PARTS, **dict(options)}).double()
        x = torch.rand(16, 7, SIZES["in_features"], dtype=torch.float64)
        model.calibrate(x)
        for _ in range(60):
            output = model(model.encode(x), generator=torch.Generator().manual_seed(1))
            model.adapt(output.spikes)
    return model.eval()


def sequence(T, B=3, *, seed=0):
    return torch.rand(T, B, SIZES["in_features"], generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


# Wiring


def test_the_membrane_gets_the_sum_of_what_the_parts_say():
    torch.manual_seed(0)
    parts = {
        "ssm": SelectiveSSM(18, 5),
        "rnn": MinGRU(18, 4),
        "fast_weights": FastWeights(18, 3),
        "hippocampus": Hippocampus(18, 6),
    }
    norm = nn.BatchNorm1d(18)
    block = BitBrain(Membrane(18, messages=TorusMessages(18)), **parts, norm=norm).double().eval()
    norm.running_mean.uniform_(-1, 1)
    norm.running_var.uniform_(0.5, 2)
    events = draw_events(9, 2, 18)
    total = events + sum(part(events, None)[0] for part in parts.values())
    current = (total - norm.running_mean) / (norm.running_var + norm.eps).sqrt()
    expected, _ = block.membrane(current)
    spikes, state = block(events)
    assert torch.equal(spikes, expected)
    assert 0.02 < spikes.mean() < 0.9
    assert [name for name in state._fields if getattr(state, name) is None] == ["noise"]


@pytest.mark.parametrize("left_out", ["ssm", "rnn", "fast_weights", "hippocampus", "skip", "messages"])
def test_every_part_can_be_left_out_and_matters(left_out):
    whole = make()
    x = sequence(30)
    block = whole.blocks[0]
    before = whole(x).spikes[1]
    if left_out == "skip":
        block.skip = False
    elif left_out == "messages":
        block.membrane.messages = None
    else:
        setattr(block, left_out, None)
    assert not torch.equal(whole(x).spikes[1], before)


def test_noise_is_for_training_and_needs_a_generator():
    model = make(noise_sigma=0.5)
    x = sequence(5)
    assert torch.equal(model(x).logits, model(x).logits)
    model.train()
    with pytest.raises(PnbxValueError, match="needs a generator"):
        model(x)
    first, second = (model(x, generator=torch.Generator().manual_seed(i)).spikes[1] for i in (0, 1))
    assert not torch.equal(first, second)


# Stream = sequence


@pytest.mark.parametrize("name", VARIANTS)
def test_streaming_equals_the_whole_sequence(name):
    model = make(**VARIANTS[name])
    x = sequence(40)
    output = model(x)
    state, events = None, []
    for x_t in x:
        logits, state = model.stream(x_t, state)
        events.append([state.encoder.z, *(block.membrane.z for block in state.blocks)])
    for ours, streamed in zip(output.spikes, zip(*events, strict=True), strict=True):
        assert torch.equal(torch.stack(streamed), ours)
        assert 0.01 < ours.mean() < 0.95
    assert (logits - output.logits).abs().max() < 1e-12  # float64 sums in another order
    assert state.num_steps == 40


@given(cut=st.integers(1, 11), name=st.sampled_from(sorted(VARIANTS)))
@settings(max_examples=15)
def test_two_halves_with_state_are_one_run(cut, name):
    model = make(**VARIANTS[name])
    x = sequence(12)
    whole = model(x)
    first = model(x[:cut])
    second = model(x[cut:], first.state)
    for a, b, c in zip(first.spikes, second.spikes, whole.spikes, strict=True):
        assert torch.equal(torch.cat([a, b]), c)
    assert (second.logits - whole.logits).abs().max() < 1e-12


@given(t=st.integers(1, 11), name=st.sampled_from(sorted(VARIANTS)))
@settings(max_examples=15)
def test_the_future_and_other_samples_do_not_matter(t, name):
    model = make(**VARIANTS[name])
    x = sequence(12)
    changed = x.clone()
    changed[t:, 1] = 1 - changed[t:, 1]
    for a, b in zip(model(x).spikes, model(changed).spikes, strict=True):
        assert torch.equal(a[:t], b[:t])
        assert torch.equal(a[:, [0, 2]], b[:, [0, 2]])


def test_readout_of_every_step():
    model = make(readout="step")
    x = sequence(6)
    logits = model(x).logits
    assert logits.shape == (6, 3, 3)
    state = None
    for t, x_t in enumerate(x):
        now, state = model.stream(x_t, state)
        assert (now - logits[t]).abs().max() < 1e-12


def test_static_input_is_a_constant_sequence():
    model = make()
    images = sequence(1)[0]
    shown = model(model.encode(images))
    written_out = model(images.repeat(SIZES["num_steps"], 1, 1))
    assert torch.equal(shown.spikes[1], written_out.spikes[1])


# Counts


def test_the_reference_counts_what_the_document_counts():
    with torch.device("meta"):
        model = PNBX(in_features=784, num_classes=10, num_steps=4, d_hidden=2048)
    rows = parameter_table(model)
    assert {row.part: row.total for row in rows if row.total} == REFERENCE
    assert sum(row.total for row in rows) == sum(REFERENCE.values()) == 5_157_888
    assert sum(row.by_gradient for row in rows) == 4_900_864 == sum(p.numel() for p in model.parameters())


def test_learned_edges_are_eight_numbers_a_neuron():
    with torch.device("meta"):
        model = PNBX(in_features=784, num_classes=10, num_steps=4, d_hidden=2048, edges="ternary")
    rows = {row.part: row.total for row in parameter_table(model)}
    assert {part: total for part, total in rows.items() if total} == {**REFERENCE, "messages": 8 * 2048}


def test_learned_edges_start_as_equal_ones():
    x, model = sequence(20), make(edges="ternary")
    learned = model(x).logits
    model.blocks[0].membrane.messages = TorusMessages(SIZES["d_hidden"])
    assert torch.equal(model(x).logits, learned)


def test_the_table_counts_every_parameter_of_any_network():
    for options in VARIANTS.values():
        model = make(**options)
        assert sum(row.by_gradient for row in parameter_table(model)) == sum(p.numel() for p in model.parameters())


# Calibration


@pytest.mark.parametrize("rnn", ["min_gru", "spiking"])
def test_calibration_sets_the_size_of_every_current(rnn):
    torch.manual_seed(0)
    block = BitBrain(Membrane(64), ssm=LTISSM(64, 16), rnn=MinGRU(64, 8) if rnn == "min_gru" else SpikingRNN(64, 8),
                     fast_weights=FastWeights(64, 8)).double()  # fmt: skip
    events = draw_events(30, 8, 64)
    ternary = {name: module.ternary_weight() for name, module in block.named_modules() if hasattr(module, "gamma")}
    block.calibrate(events, gain=0.5)
    for pathway in block.pathways.values():
        # Spiking interneurons hear what their current does, so theirs is only about right.
        close = 0.3 if isinstance(pathway, SpikingRNN) else 1e-6
        assert pathway(events, None)[0].square().mean().sqrt().item() == pytest.approx(0.5, rel=close)
    for name, module in block.named_modules():
        if name in ternary:
            assert torch.equal(module.ternary_weight(), ternary[name])


def test_after_calibration_evaluation_is_near_training():
    torch.manual_seed(0)
    model = PNBX(**SIZES, **PARTS).eval()
    x = torch.rand(256, SIZES["in_features"])
    model.calibrate(x)
    assert not model.training
    assert {norm.momentum for norm in model.modules() if isinstance(norm, nn.BatchNorm1d)} == {0.1}
    evaluated = [layer.mean().item() for layer in model(model.encode(x)).spikes]
    trained = [layer.mean().item() for layer in model.train()(model.encode(x)).spikes]
    assert evaluated == pytest.approx(trained, rel=0.1)
    assert min(evaluated) > 0.005


def test_a_calibration_that_fails_leaves_mode_and_momentum(monkeypatch):
    model = PNBX(**SIZES, **PARTS).eval()
    inside = []

    def fail(self, events, **options):
        inside.extend(norm.momentum for norm in model.modules() if isinstance(norm, nn.BatchNorm1d))
        raise RuntimeError

    monkeypatch.setattr(BitBrain, "calibrate", fail)
    with pytest.raises(RuntimeError):
        model.calibrate(torch.rand(8, SIZES["in_features"]))
    assert set(inside) == {1.0}
    assert {norm.momentum for norm in model.modules() if isinstance(norm, nn.BatchNorm1d)} == {0.1}
    assert not any(module.training for module in model.modules())


# Glia


def test_glia_pulls_both_layers_to_the_target():
    torch.manual_seed(0)
    model = PNBX(**SIZES, **PARTS, rate_target=0.3)
    x = torch.rand(64, 10, SIZES["in_features"])
    model.calibrate(x)
    for _ in range(40):
        output = model(model.encode(x), keep_state=False)
        model.adapt(output.spikes)
    assert [layer.mean().item() for layer in output.spikes] == pytest.approx([0.3, 0.3], abs=0.01)
    frozen = model.blocks[0].glia.state.clone()
    model.eval()
    model.adapt(model(model.encode(x)).spikes)
    assert torch.equal(model.blocks[0].glia.state, frozen)


# Gradients


@pytest.mark.parametrize("name", VARIANTS)
def test_every_parameter_gets_a_gradient(name):
    model = make(**VARIANTS[name]).train()
    model.classify(torch.rand(8, 9, SIZES["in_features"], dtype=torch.float64))[0].square().sum().backward()
    silent = [n for n, p in model.named_parameters() if p.grad is None or not bool(p.grad.abs().sum() > 0)]
    assert silent == []


def test_nothing_of_the_sequence_stays_alive_in_the_state():
    """The state's tensors are copies: a view of [T, B, H] would hold the whole sequence."""
    state = make()(sequence(50)).state
    parts = itertools.chain(*(part for part in state.blocks[0] if part is not None))
    tensors = [*state.encoder, *parts, state.total]
    assert len(tensors) == 2 + 1 + 1 + 2 + 1 + 2 + 1
    for tensor in tensors:
        assert tensor.untyped_storage().nbytes() == tensor.numel() * tensor.element_size()


# Errors


def test_errors_name_value_and_rule(unchecked):
    cases = [
        (lambda: PNBX(**{**SIZES, "d_hidden": 40}, glia=True), "multiple of neurons_per_domain"),
        (lambda: PNBX(**{**SIZES, "d_hidden": 34}, glia=False), "rows \\* columns"),
        (lambda: PNBX(**SIZES, ssm="s4"), "ssm must be one of selective, real, complex, none, got 's4'"),
        (lambda: PNBX(**SIZES, edges="learned"), "PNBX: edges must be one of equal, ternary, got 'learned'"),
        (lambda: PNBX(**SIZES, rank=-1), "rank must be at least 1, got 32 and -1"),
        (lambda: PNBX(**SIZES, dropout=1.0), r"dropout must be in \[0, 1\), got 1.0"),
        (lambda: BitBrain(Membrane(9), skip=False), "at least one pathway or skip=True"),
        (lambda: BitBrain(Membrane(9), ssm=SelectiveSSM(8, 2)), "ssm must be for the membrane's 9 neurons, got 8"),
        (lambda: BitBrain(Membrane(32), glia=Glia(16)), "glia must be for the membrane's 32 neurons, got 16"),
        (lambda: make().train().stream(torch.rand(2, 6).double()), "evaluation mode"),
    ]
    for call, text in cases:
        with pytest.raises(PnbxValueError, match=text):
            call()
    model = make()
    for x in (torch.rand(2, 6), torch.rand(4, 2, 5), torch.rand(0, 2, 6)):
        with pytest.raises(ShapeError, match=r"input must be \[T, B, N\] with N = 6"):
            model(x.double())
    with pytest.raises(ShapeError, match=r"x must be \[B, N\] or \[B, T, N\]"):
        model.encode(torch.rand(2))
    assert OUNoise(sigma=0.1, rho=0.5).sigma == 0.1
