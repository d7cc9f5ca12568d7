"""A teacher's answers at each step: what the logits of a step are, the loss of them, and who has none."""

import pytest
import torch

from pnbx_snn.data.catalog import load_split
from pnbx_snn.errors import ConfigError, PnbxError
from pnbx_snn.networks.classifier import SpikingClassifier
from pnbx_snn.networks.cnn import SmallCNN
from pnbx_snn.networks.pnbx import PNBX
from pnbx_snn.training.config import make_config
from pnbx_snn.training.distributed import Workers
from pnbx_snn.training.losses import distillation, step_distillation
from pnbx_snn.training.run import initial_model, train
from pnbx_snn.training.trainer import Trainer

TINY = {"model": {"hidden": [6], "num_steps": 2}, "train": {"epochs": 1, "batch_size": 400, "threads": 1}}


@pytest.mark.parametrize("readout", ["mean", "step", "leaky", "last"])
@pytest.mark.parametrize("lengths", [None, [5, 2, 3]])
def test_logits_of_a_step_are_those_of_samples_that_end_there(readout, lengths):
    torch.manual_seed(0)
    model = PNBX(in_features=4, num_classes=3, d_hidden=32, d_ssm=4, d_rnn=4, rank=2, slots=3, readout=readout)
    x = torch.rand(3, 5, 4)
    model.calibrate(x)
    model.eval()
    given = None if lengths is None else torch.tensor(lengths)
    logits, spikes, steps = model.classify_steps(x, lengths=given)
    whole, layers = model.classify(x, lengths=given)
    assert torch.equal(logits, whole)
    assert all(torch.equal(*pair) for pair in zip(spikes, layers, strict=True))
    for t in range(1, 6):
        own = [b for b in range(3) if lengths is None or t <= lengths[b]]
        assert torch.allclose(steps[t - 1, own], model.classify(x[own, :t])[0], atol=1e-5), t


def test_a_classifier_answers_at_each_step_too():
    torch.manual_seed(0)
    model = SpikingClassifier(in_features=4, hidden=[8], num_classes=3, num_steps=5).eval()
    x = torch.rand(6, 4)
    model.calibrate(x)
    steps = model.classify_steps(x)[2]
    for t in range(1, 6):
        model.num_steps = t
        assert torch.allclose(steps[t - 1], model.classify(x)[0], atol=1e-6)


def test_the_loss_of_each_step_is_that_of_its_equation():
    generator = torch.Generator().manual_seed(0)
    ours, theirs = (torch.randn(6, 3, 4, generator=generator, dtype=torch.float64) for _ in range(2))
    expected = 0.0
    for b, length in enumerate([6, 3, 1]):
        counted = [t for t in range(1, length + 1) if t > 0.4 * length]
        parts = [distillation(ours[t - 1, [b]], theirs[t - 1, [b]], temperature=2.0) for t in counted]
        expected += sum(parts) / len(parts) / 3
    got = step_distillation(ours, theirs, temperature=2.0, from_share=0.4, lengths=torch.tensor([6, 3, 1]))
    assert got.item() == pytest.approx(expected.item())
    last = step_distillation(ours, theirs, from_share=0.9)
    assert last.item() == pytest.approx(distillation(ours[-1], theirs[-1]).item())
    with pytest.raises(PnbxError, match=r"same steps, samples and classes, got \[5, 3, 4\] and \[6, 3, 4\]"):
        step_distillation(ours, theirs[:5])
    with pytest.raises(PnbxError, match=r"from_share must be in \[0, 1\), got 1"):
        step_distillation(ours, theirs, from_share=1.0)


def test_a_teacher_teaches_each_step(tmp_path):
    train(make_config(TINY), tmp_path / "teacher")
    losses, kinds = {}, {"whole": {}, "steps": {"per_step": True, "from_share": 0.0}, "last": {"per_step": True}}
    for name, options in kinds.items():
        distill = {"teacher": str(tmp_path / "teacher"), "weight": 1.0, **options}
        losses[name] = train(make_config({**TINY, "distill": distill}), tmp_path / name)
    losses = {name: result.metrics["loss"] for name, result in losses.items()}
    assert losses["last"] == pytest.approx(losses["whole"], rel=1e-4)  # of two steps the second alone
    assert losses["steps"] != losses["last"]


def test_who_has_no_steps_is_named(tmp_path):
    with pytest.raises(ConfigError, match="distill.per_step needs a teacher, got distill.teacher = ''"):
        make_config({"distill": {"per_step": True}})
    config = make_config(
        {"cnn": {"channels": 1}, "train": {"batch_size": 900}, "distill": {"per_step": True, "teacher": "x"}}
    )
    with pytest.raises(ConfigError, match=r"per_step needs logits of each step, .* got SmallCNN"):
        Trainer(initial_model(config), config, load_split(config.data, "train"), Workers())
    with pytest.raises(PnbxError, match=r"SmallCNN.classify_steps: this \[cnn\] has no logits of steps"):
        SmallCNN(8, 8, 10).classify_steps(torch.zeros(1, 64))
