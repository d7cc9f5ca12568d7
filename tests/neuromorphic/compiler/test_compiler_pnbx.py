"""The PNB-X network as a program: every part, alone and together, against the network in float64; and on Lava."""

import re
from contextlib import nullcontext
from dataclasses import replace
from functools import cache

import numpy as np
import pytest
import torch

from lava_fixtures import assert_equal
from neuromorphic import Program, prove, run
from neuromorphic.compiler import compile_model, compile_run, measure_agreement
from neuromorphic.compiler.currents import scale_op
from neuromorphic.compiler.nir.export import to_nir
from neuromorphic.errors import CompileError, CompileWarning
from neuromorphic.ops import Slots
from pnbx_snn.networks.pnbx import PNBX
from pnbx_snn.neurons.messages import TorusMessages
from pnbx_snn.training.config import make_config
from pnbx_snn.training.run import train
from pnbx_snn.training.sparsity import Sparsifier, SparsityConfig, make_sparse
from random_graphs import OPERATIONS

T, B = 30, 48
SIZES = {"in_features": 6, "num_classes": 3, "d_hidden": 48, "d_ssm": 16, "d_rnn": 8, "rank": 6, "slots": 8}
OFF = {"ssm": "none", "rnn": "none", "fast_weights": "none", "hippocampus": "none", "messages": False, "glia": False}
VARIANTS = {
    "whole": {},
    "real SSM": {"ssm": "real"},
    "complex SSM": {"ssm": "complex"},
    "spiking micro-RNN": {"rnn": "spiking"},
    "delta rule": {"fast_weights": "delta"},
    "persistent memory": {"hippocampus": "persistent"},
    "no messages": {"messages": False},
    "learned edges": {},
    "no glia": {"glia": False},
    "no skip": {"skip": False},
    "affine norm": {"norm": "affine"},
    "two blocks": {"num_blocks": 2},
    "reset subtract": {"reset": "subtract"},
    "no reset": {"reset": "none"},
    "spikes in": {"input_range": "spikes"},
    "bare": OFF,
    "SSM alone": {**OFF, "ssm": "selective"},
    "min-GRU alone": {**OFF, "rnn": "min_gru"},
    "fast weights alone": {**OFF, "fast_weights": "hebbian"},
    "hippocampus alone": {**OFF, "hippocampus": "sequence"},
    "messages alone": {**OFF, "messages": True},
}
# What the rounding of states, gates and decays leaves. A spiking loop feeds every difference back into itself.
LEAST = {"spiking micro-RNN": 0.97, "two blocks": 0.985, "bare": 1.0}


@cache
def network(name):
    """A network of random weights that fires, in float64, and inputs for it."""
    changes = VARIANTS[name]
    torch.manual_seed(0)
    model = PNBX(num_steps=T, tau_max=30.0, competition="winner", threshold=0.4, **{**SIZES, **changes}).double()
    x = torch.rand(B, T, 6, dtype=torch.float64)
    if changes.get("input_range") == "spikes":
        x = (x < 0.3).double()
    model.calibrate(x)
    block = model.blocks[0]
    with torch.no_grad():
        block.membrane.leak.normal_()
        block.membrane.bias.normal_(0, 0.2)
        if block.glia is not None:
            for module in model.blocks:
                module.glia.update(*(torch.rand(module.glia.num_domains) for _ in range(2)))
        if changes.get("norm") == "affine":  # gains of both signs
            block.norm.weight.copy_(torch.randn(48).double())
            block.norm.bias.normal_(0, 0.2)
        if name == "learned edges":  # drawn last: the inputs stay those of the other networks
            block.membrane.messages = TorusMessages(48, kappa_shift=0, edges="ternary").double()
            block.membrane.messages.weight.normal_()
        if changes.get("hippocampus") == "persistent":
            block.hippocampus.update((torch.rand(T, B, 48) < 0.2).double())
    return model.eval(), model.encode(x)


@pytest.mark.parametrize("name", VARIANTS)
@torch.no_grad()
def test_a_program_fires_as_its_network(name):
    model, inputs = network(name)
    program = compile_model(model, num_steps=T)
    recording = run(program, inputs.numpy())
    output = model(inputs)
    names = ["encoder", *(f"block{i + 1}" for i in range(len(model.blocks)))]
    for layer, theirs in zip(names, output.spikes, strict=True):
        equal = float((recording.variables[f"{layer}.spikes"] == theirs.numpy()).mean())
        assert equal >= (0.9999 if layer == "encoder" else LEAST.get(name, 0.99)), layer
        assert 0.02 < theirs.mean() < 0.6
    assert sum(bound.can_saturate for bound in prove(program)) <= len(model.blocks)


@torch.no_grad()
def test_logits_of_every_step():
    torch.manual_seed(0)
    model = PNBX(num_steps=T, readout="step", threshold=0.4, **{**SIZES, **OFF}).double().eval()
    x = torch.rand(B, T, 6, dtype=torch.float64)
    model.calibrate(x)
    model.eval()
    inputs = model.encode(x)
    program = compile_model(model, num_steps=T)
    recording, output = run(program, inputs.numpy()), model(inputs)
    np.testing.assert_array_equal(recording.variables["block1.spikes"], output.spikes[1].numpy())
    ours, theirs = recording.variables["readout_step.v"], output.logits.numpy()  # [T, B, C]
    unit = theirs.std() / ours.std()
    np.testing.assert_allclose(ours * unit, theirs, atol=2 * unit)
    np.testing.assert_array_equal(recording.variables["readout.y"], ours.cumsum(axis=0))
    agreement = measure_agreement(model, program, inputs, torch.zeros(B))
    assert (agreement["labels_equal"], agreement["spikes_equal"]) == (1.0, 1.0)


@torch.no_grad()
@pytest.mark.parametrize("readout", ["leaky", "last"])
def test_a_window_of_inputs_and_leaky_logits(readout):
    torch.manual_seed(0)
    options = {"readout": readout, "window": 3, "quantize": True, "threshold": 0.4}
    model = PNBX(num_steps=T, **options, **{**SIZES, **OFF}).double().eval()
    if readout == "leaky":
        model.readout.leak.uniform_(0.5, 3.0)  # each class forgets at a rate of its own
    x = torch.rand(B, T, 6, dtype=torch.float64)
    model.calibrate(x)
    inputs = model.eval().encode(x)
    program = compile_model(model, num_steps=T)
    recording, output = run(program, inputs.numpy()), model(inputs)
    np.testing.assert_array_equal(recording.variables["encoder.spikes"], output.spikes[0].numpy())
    np.testing.assert_array_equal(recording.variables["block1.spikes"], output.spikes[1].numpy())
    ours, theirs = recording.variables["readout.y"][-1], output.logits.numpy()  # [B, C]
    unit = theirs.std() / ours.std()
    np.testing.assert_allclose(ours * unit, theirs, atol=20 * unit)  # a shift rounds toward zero in each step
    assert measure_agreement(model, program, inputs, torch.zeros(B))["labels_equal"] == 1.0
    with pytest.raises(CompileError, match=f"readout: that of kind '{readout}' is no sum over time"):
        to_nir(model)
    model.readout.kind = "mean"
    with pytest.raises(CompileError, match="encoder: it sees 3 steps at once"):
        to_nir(model)


@pytest.mark.filterwarnings("ignore::neuromorphic.errors.CompileWarning")
@pytest.mark.parametrize("name", ["ssm", "rnn", "fast", "memory", "messages", "skip"])
def test_no_pathway_could_be_missing(name):
    """The measure can fail: with one pathway's current taken out, the spikes are others."""
    model, inputs = network("whole")
    program = compile_model(model, num_steps=T)
    current = {"ssm": "block1_ssm_C", "rnn": "block1_rnn_V", "fast": "block1_fast_Q", "memory": "block1_memory"}
    gone = current.get(name, f"block1_{name}")
    lif = program["block1"]
    left = replace(lif, sources=tuple(source for source in lif.sources if source != gone))
    assert len(left.sources) == len(lif.sources) - 1
    without = Program(tuple(left if op is lif else op for op in program.ops), num_steps=T)
    whole, less = (measure_agreement(model, p, inputs, torch.zeros(B)) for p in (program, without))
    assert 1 - less["spikes_equal"] > 5 * (1 - whole["spikes_equal"])


def test_every_operation_has_a_use():
    used = {type(op).__name__ for name in VARIANTS for op in compile_model(network(name)[0], num_steps=T).ops}
    used |= {type(op).__name__ for op in compile_model(network("whole")[0], num_steps=T, glia_period=5).ops}
    assert used == OPERATIONS


@pytest.mark.parametrize(
    ("name", "glia_period"),
    [
        ("whole", None),
        ("whole", 7),
        ("spiking micro-RNN", None),
        ("complex SSM", None),
        ("persistent memory", None),
        ("two blocks", None),
    ],
)
def test_the_network_on_lava(name, glia_period, lava_session):
    model, inputs = network(name)
    program = compile_model(model, num_steps=T, glia_period=glia_period)
    recording = assert_equal(program, inputs[:, :4].numpy(), lava_session)
    assert recording.variables["block1.spikes"].any()


@pytest.mark.filterwarnings("ignore::neuromorphic.errors.CompileWarning")
def test_softmax_becomes_winner_take_all_and_the_difference_is_measured():
    model, inputs = network("whole")
    model.blocks[0].hippocampus.competition = "softmax"
    try:
        program = compile_model(model, num_steps=T)
        agreement = measure_agreement(model, program, inputs, torch.zeros(B))
    finally:
        model.blocks[0].hippocampus.competition = "winner"
    assert isinstance(program["block1_memory"], Slots)
    assert 0.8 < agreement["spikes_equal"] < 0.99


def test_a_sparse_network_is_a_program_of_as_many_zeros():
    model = PNBX(in_features=6, num_classes=3, num_steps=4, d_hidden=48, d_ssm=16, d_rnn=8, rank=4, slots=4).eval()
    settings = SparsityConfig(zeros=0.9, allocation="uniform", leave=("readout",))
    make_sparse(model, settings)
    Sparsifier(model, settings, num_steps=1, seed=0).after_step(1)
    model.calibrate(torch.rand(8, 6))
    program = compile_model(model)
    arrays = [getattr(op, "weights", getattr(op, "keys", None)) for op in program.ops]
    ternary = [array for array in arrays if array is not None and array.dtype == np.int8]
    kept = sorted(np.count_nonzero(array) / array.size for array in ternary)
    assert len(kept) == 12
    assert kept[:11] == pytest.approx([0.1] * 11, abs=0.5 / 200)
    assert kept[11] > 0.5


def test_a_program_survives_its_file(tmp_path):
    model, inputs = network("persistent memory")
    program = compile_model(model, num_steps=T)
    program.save(tmp_path / "p.npz")
    loaded = Program.load(tmp_path / "p.npz")
    assert loaded.sha256 == program.sha256
    expected, got = (run(p, inputs[:, :2].numpy()) for p in (program, loaded))
    for name, array in expected.variables.items():
        np.testing.assert_array_equal(array, got.variables[name])


@pytest.mark.parametrize("grid", [True, False])
def test_a_run_is_compiled_with_its_agreement(tmp_path, grid):
    """What is trained on the program's grid is what is compiled; what is not says so, with the remedy."""
    config = make_config(
        {
            "pnbx": {"d_hidden": 32, "num_steps": 2, "d_ssm": 4, "d_rnn": 4, "rank": 4, "slots": 4, "quantize": grid},
            "train": {"epochs": 2},
        }
    )
    train(config, tmp_path / "run")
    remedy = "the network's label for [0-9.]+ % of the samples .fewer than 99 %.: train it with quantize=True"
    with nullcontext() if grid else pytest.warns(CompileWarning, match=remedy):
        program = compile_run(tmp_path / "run")
    assert ("assumptions" in program.metadata) == (not grid)
    if not grid:
        assert re.match("the program gives " + remedy, program.metadata["assumptions"][-1])
        return
    agreement = program.metadata["agreement"]
    assert (agreement["part"], agreement["samples"]) == ("validation", 180)
    assert agreement["spikes_equal"] > 0.9
    assert compile_run(tmp_path / "run", part="test").metadata["agreement"]["samples"] == 360


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda m: m.encoder.linear.input_scale.zero_(), "encoder: its input scale is not calibrated"),
        (lambda m: m.blocks[0].norm.running_var.fill_(float("nan")), "block1: BatchNorm hold NaN or infinity"),
        (lambda m: m.blocks[0].norm.running_var.fill_(1e20), "block1: no number of fractional bits fits"),
        (lambda m: m.blocks[0].ssm.A.weight.fill_(float("inf")), "block1_ssm_A"),
        (lambda m: setattr(m.blocks[0], "ssm", torch.nn.Linear(48, 48)), "a pathway of type Linear cannot be compiled"),
    ],
)
@torch.no_grad()
def test_what_cannot_be_compiled_is_refused_by_name(spoil, message):
    model = PNBX(num_steps=3, **SIZES)
    model.calibrate(torch.rand(8, 6))
    spoil(model)
    with pytest.raises(CompileError, match=message):
        compile_model(model)


@pytest.mark.parametrize("factor", [1e-9, 0.37, 1.0, 4000.7, 2.0**30, 0.0])
def test_factors_keep_twenty_bits(factor):
    for shift in (0, 5):
        op = scale_op("s", "x", factor, 2, shift=shift)
        np.testing.assert_allclose(op.factor / 2.0 ** (op.shift - shift), factor, rtol=2.0**-19, atol=2.0**-40)


def test_a_factor_beyond_32_bits_is_refused():
    with pytest.raises(CompileError, match="s: a factor of 8.59e"):
        scale_op("s", "x", 2.0**33, 1)
