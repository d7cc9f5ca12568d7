"""Sequences of different lengths: what stands after a sample's last step changes nothing, anywhere."""

import numpy as np
import pytest
import torch

from neuromorphic import Recording, run, verify
from neuromorphic.compiler import compile_model, compile_run, run_samples
from neuromorphic.compiler.runs import measure_agreement
from neuromorphic.errors import CompileError, InputError
from neuromorphic.executors import EXECUTORS
from pnbx_snn import PNBX, SpikingClassifier
from pnbx_snn.data.catalog import load_split
from pnbx_snn.data.split import Sequences, Split
from pnbx_snn.errors import ConfigError, PnbxTypeError, PnbxValueError, ShapeError
from pnbx_snn.networks.cnn import SmallCNN
from pnbx_snn.networks.masks import normalised, own_steps
from pnbx_snn.training.checkpoint import load_run
from pnbx_snn.training.config import make_config, resolve
from pnbx_snn.training.distributed import Workers
from pnbx_snn.training.evaluate import evaluate
from pnbx_snn.training.run import initial_model, train
from pnbx_snn.training.trainer import Trainer

LENGTHS = torch.tensor([7, 1, 4, 12, 12, 3])
BATCH, STEPS, INPUTS = len(LENGTHS), 12, 5
SMALL = {"in_features": INPUTS, "num_classes": 3, "num_steps": 4, "d_hidden": 32, "d_ssm": 8, "d_rnn": 4, "rank": 4}
KINDS = {
    "default": {},
    "affine, two blocks": {"norm": "affine", "num_blocks": 2},
    "step": {"readout": "step", "quantize": True},
    "grid": {"quantize": True},
    "restless": {"quantize": True, "norm": "affine"},
    "spiking": {"rnn": "spiking", "ssm": "complex", "fast_weights": "delta"},
    "persistent": {"hippocampus": "persistent", "ssm": "real", "edges": "ternary"},
}
REST = 1e-6
"""Of logits of size 1. A product of real states is a float32 sum whose order depends on the size of the batch; spikes,
decisions of these sums, are the same here."""


def samples(fill):
    """[B, T, N], the same in the samples' own steps; ``fill`` in all others."""
    x = torch.randn(BATCH, STEPS, INPUTS, generator=torch.Generator().manual_seed(1))
    return torch.where((torch.arange(STEPS) < LENGTHS[:, None])[..., None], x, fill)


def network(kind="default", seed=0):
    torch.manual_seed(seed)
    model = PNBX(**SMALL, slots=6, **KINDS[kind])
    model.calibrate(samples(0.0), lengths=LENGTHS)
    return model


@pytest.mark.parametrize("kind", KINDS)
def test_padding_changes_no_bit(kind):
    """In training too: batch statistics, spikes and gradients are those with zeros in the padding."""
    for training in (False, True):
        expected = None
        for padding in (0.0, 100.0, torch.nan, -torch.inf):
            model = network(kind).train(training)
            logits, spikes = model.classify(samples(padding), lengths=LENGTHS)
            logits.square().sum().backward()
            gradients = [p.grad for p in model.parameters() if p.grad is not None]
            found = [logits, *spikes, *gradients, *model.buffers()]
            expected = expected or found
            assert all(torch.equal(one, other) for one, other in zip(found, expected, strict=True)), padding


@pytest.mark.parametrize("kind", KINDS)
def test_a_padded_sample_answers_as_it_does_alone(kind):
    """The definition: each sample cut to its own steps, one at a time."""
    model = network(kind).eval()
    logits, spikes = model.classify(samples(9.0), lengths=LENGTHS)
    for i, n in enumerate(LENGTHS.tolist()):
        alone, fired = model.classify(samples(9.0)[i : i + 1, :n])
        torch.testing.assert_close(logits[i : i + 1], alone, rtol=0, atol=REST)
        for layer, own in zip(spikes, fired, strict=True):
            assert torch.equal(layer[:n, i], own[:, 0])
            assert not layer[n:, i].any()


def test_equal_lengths_are_no_lengths():
    model, x = network().train(), samples(0.0)
    whole = torch.full((BATCH,), STEPS)
    torch.testing.assert_close(model.classify(x, lengths=whole)[0], model.classify(x)[0], rtol=0, atol=REST)


def test_the_mean_is_over_a_samples_own_steps():
    """Two samples with the same spikes in the first three steps, one of them 12 steps long: the short one's logits are
    those of three steps, four times what a mean over 12 would make of them."""
    model = network("affine, two blocks").eval()
    x = samples(0.0)[3:4].repeat(2, 1, 1)
    logits, spikes = model.classify(x, lengths=torch.tensor([3, 12]))
    by_hand = model.readout(spikes[-1][:3, 0].sum(0) / 3)
    torch.testing.assert_close(logits[0], by_hand, rtol=0, atol=REST)
    assert torch.equal(spikes[-1][:3, 0], spikes[-1][:3, 1])


def test_statistics_and_rates_are_those_of_own_steps():
    x = torch.randn(STEPS, BATCH, 3)
    own = own_steps("here", LENGTHS, STEPS, BATCH)
    one, other = torch.nn.BatchNorm1d(3), torch.nn.BatchNorm1d(3)
    y, rows = normalised(one, x, own), other(x[own])
    assert torch.equal(y[own], rows)
    assert not y[~own].any()
    assert torch.equal(one.running_mean, other.running_mean)
    assert torch.equal(one.running_var, other.running_var)
    model = network().eval()
    _, spikes = model.classify(samples(0.0), lengths=LENGTHS)
    rates = model.domain_rates([layer[own] for layer in spikes])
    by_hand = spikes[0].sum() / (int(LENGTHS.sum()) * 32)
    torch.testing.assert_close(rates[0, 0].mean(), by_hand)


def test_evaluation_counts_own_steps():
    model = network()
    labels = torch.arange(BATCH) % 3
    split = Split(Sequences(samples(5.0), LENGTHS), labels)
    measured = evaluate(model, split, batch_size=4)
    model.eval()
    with torch.no_grad():
        alone = [model.classify(samples(0.0)[i : i + 1, :n]) for i, n in enumerate(LENGTHS.tolist())]
    right = sum(int(logits.argmax()) == int(label) for (logits, _), label in zip(alone, labels, strict=True))
    assert measured["accuracy"] == right / BATCH
    fired = sum(float(spikes[0].sum()) for _, spikes in alone)
    assert measured["firing_rate_layers"][0] == pytest.approx(fired / (int(LENGTHS.sum()) * 32), abs=1e-12)


def test_lengths_that_do_not_fit_are_refused(unchecked):
    model, x = network().eval(), samples(0.0)
    with pytest.raises(ShapeError, match=r"PNBX: lengths must be \[6\], one for each sample, got \[5\]"):
        model.classify(x, lengths=LENGTHS[:5])
    with pytest.raises(PnbxValueError, match=r"PNBX: lengths must be in 1\.\.12, the steps there are, got 1 to 13"):
        model.classify(x, lengths=LENGTHS.clamp(max=12) + (LENGTHS == 12))
    with pytest.raises(PnbxValueError, match=r"in 1\.\.12, the steps there are, got 0 to 11"):
        model.classify(x, lengths=LENGTHS - 1)
    state = model(model.encode(x)).state
    with pytest.raises(PnbxValueError, match="lengths are those of whole samples, got a state"):
        model(model.encode(x), state, lengths=LENGTHS)
    assert model(model.encode(x), lengths=LENGTHS).state is None


def restless():
    """A network whose neurons go on firing without input, so that its running sums go on too."""
    model = network("restless").eval()
    with torch.no_grad():
        for norm in (model.encoder.norm, model.blocks[0].norm):
            norm.bias.normal_(0.5, 1.0, generator=torch.Generator().manual_seed(5))
    return model


@pytest.mark.parametrize("executor", [name for name, entry in EXECUTORS.items() if "LIF" not in entry.lacks])
def test_padding_changes_no_label_on_any_executor(executor, request):
    if executor == "lava":
        request.getfixturevalue("lava_python")
    program = compile_model(restless(), num_steps=STEPS)
    x = samples(torch.nan).transpose(0, 1).numpy()
    comparison, _, got = verify(program, x, executor, lengths=LENGTHS.numpy())
    assert comparison.equal
    assert got.lengths.tolist() == LENGTHS.tolist()
    # The sample alone, on the reference: its label is the read-out of its last step.
    alone = [run(program, x[:n, i : i + 1]).labels()[0] for i, n in enumerate(LENGTHS.tolist())]
    assert got.labels().tolist() == alone
    assert (np.argmax(got.variables["readout.y"][-1], axis=1) != alone).any()  # after the last step labels would differ
    other = run(program, samples(0.3).transpose(0, 1).numpy(), executor, lengths=LENGTHS.numpy())
    assert other.labels().tolist() == alone


def test_a_recording_keeps_its_lengths(tmp_path):
    program = compile_model(restless(), num_steps=STEPS)
    recording = run(program, samples(0.0).transpose(0, 1).numpy(), lengths=LENGTHS.tolist())
    recording.save(tmp_path / "r.npz")
    again = Recording.load(tmp_path / "r.npz")
    assert (
        again.labels().tolist()
        == recording.labels().tolist()
        != np.argmax(again.variables["readout.y"][-1], axis=1).tolist()
    )
    broken = Recording(recording.variables, "numpy", {"lengths": [99] * BATCH})
    with pytest.raises(ValueError, match=r"must be 6 whole numbers in 1\.\.12"):
        broken.labels()


def test_a_run_refuses_lengths_that_do_not_fit():
    program = compile_model(network().eval(), num_steps=STEPS)
    x = samples(0.0).transpose(0, 1).numpy()
    with pytest.raises(
        InputError, match=r"lengths must be whole numbers \[6\], one for each sample, got float64 \[6\]"
    ):
        run(program, x, lengths=np.ones(6))
    with pytest.raises(InputError, match=r"lengths must be in 1\.\.12, the steps of the inputs, got 0\.\.13"):
        run(program, x, lengths=[0, 13, 1, 1, 1, 1])


@pytest.mark.parametrize("kind", ["grid", "step"])
def test_agreement_is_of_own_steps(kind):
    model = network(kind).eval()
    program = compile_model(model, num_steps=STEPS)
    labels = torch.arange(BATCH) % 3
    measured = [
        measure_agreement(model, program, samples(fill).transpose(0, 1), labels, lengths=LENGTHS)
        for fill in (0.0, torch.nan)
    ]
    assert measured[0] == measured[1]
    assert measured[0]["spikes_equal"] > 0.99
    recording = run(program, samples(0.0).transpose(0, 1).numpy(), lengths=LENGTHS.numpy())
    own = own_steps("here", LENGTHS, STEPS, BATCH).numpy()
    fired = sum(recording.spikes()[name][own].sum() for name in ("encoder", "block1"))
    assert measured[0]["firing_rate"] == pytest.approx(fired / (2 * own.sum() * 32))
    classifier = SpikingClassifier(in_features=2, hidden=[4], num_classes=2, num_steps=2)
    classifier.calibrate(torch.ones(1, 2))
    with pytest.raises(CompileError, match=r"lengths are for a pnbx_snn.PNBX, got a SpikingClassifier"):
        measure_agreement(classifier, program, samples(0.0), labels, lengths=LENGTHS)


def ragged_file(folder, fill):
    """A task that needs the padding to be ignored: is the mean of a sample's own steps above 0?"""
    rng = np.random.default_rng(0)
    lengths = rng.integers(3, 13, 240)
    x = rng.standard_normal((240, 12, 3)).astype(np.float32)
    y = rng.integers(0, 2, 240)
    x += np.where(y, 1.0, -1.0)[:, None, None].astype(np.float32)
    x[np.arange(12) >= lengths[:, None]] = fill
    path = folder / f"ragged_{fill}.npz"
    np.savez(path, x=x, y=y, lengths=lengths)
    return path


def configured(path, **changes):
    return make_config(
        {
            "data": {"name": "arrays", "path": str(path), "part": "train"},
            "pnbx": {"d_hidden": 32, "d_ssm": 8, "d_rnn": 4, "rank": 4, "slots": 6, "quantize": True},
            "train": {"epochs": 3, "batch_size": 32, "threads": 1, "settle": 4, "accumulate": 2, "learning_rate": 0.02},
            **changes,
        }
    )  # fmt: skip


def test_training_evaluation_and_the_compiled_program_do_not_see_the_padding(tmp_path):
    weights = []
    for fill in (0.0, np.nan):
        config = configured(ragged_file(tmp_path, fill))
        result = train(config, tmp_path / f"run_{fill}")
        weights.append(list(result.model.state_dict().values()))
    assert all(torch.equal(one, other) for one, other in zip(*weights, strict=True))
    model, learned = load_run(tmp_path / "run_nan")
    test = load_split(learned.data, "test")
    accuracy = evaluate(model, test)["accuracy"]
    assert accuracy > 0.9
    program = compile_run(tmp_path / "run_nan", part="test")
    agreement = program.metadata["agreement"]
    assert agreement["labels_equal"] == 1.0
    assert agreement["accuracy_program"] == accuracy
    found = run_samples(tmp_path / "run_nan", part="test")
    assert found.lengths.tolist() == test.lengths.tolist()
    assert np.mean(run(program, found.inputs, lengths=found.lengths).labels() == found.labels) == accuracy


def test_only_a_network_that_knows_lengths_is_trained_on_them(tmp_path):
    config, other = resolve(configured(ragged_file(tmp_path, 0.0))), SmallCNN(12, 5, 3, channels=1)
    data = load_split(config.data, "train")
    message = r"data: samples of 3 to 12 steps need \[pnbx\], also as a teacher, got SmallCNN"
    with pytest.raises(ConfigError, match=message), Workers() as workers:
        Trainer(other, config, data, workers)
    with pytest.raises(ConfigError, match=message), Workers() as workers:
        Trainer(initial_model(config), config, data, workers, teacher=other)
    message = "SmallCNN: samples must all have the same number of steps, got lengths of 3 to 12"
    with pytest.raises(PnbxTypeError, match=message):
        evaluate(other, data)
