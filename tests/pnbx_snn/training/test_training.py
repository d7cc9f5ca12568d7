import json
import math
import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import pytest
import torch
from test_checkpoint import file_size_limit
from torch import nn

from pnbx_snn.data.digits import load_digits_split
from pnbx_snn.data.split import Split
from pnbx_snn.errors import CheckpointError, ConfigError, PnbxValueError, StorageError
from pnbx_snn.layers.delays import Delays
from pnbx_snn.networks.classifier import MIN_THRESHOLD, ClassifierOutput, SpikingClassifier
from pnbx_snn.training import monitor, optimizer, samples, trainer
from pnbx_snn.training import run as training
from pnbx_snn.training.checkpoint import CHECKPOINT_NAME, build_model, load_run, read_meta
from pnbx_snn.training.config import load_config, make_config
from pnbx_snn.training.distributed import Workers
from pnbx_snn.training.losses import rate_penalty
from pnbx_snn.training.run import evaluate, train
from pnbx_snn.training.run_log import RunLog, read_metrics
from pnbx_snn.training.samples import TrainingSamples

TINY = {"model": {"hidden": [6], "num_steps": 2}, "train": {"epochs": 6, "batch_size": 400, "threads": 1}}


def tiny(**sections):
    return make_config({name: {**TINY.get(name, {}), **sections.get(name, {})} for name in ("data", "model", "train")})


class Stop(Exception):  # noqa: N818
    """Ends a training from its progress callback, as Ctrl-C would."""


def stop_after(epoch: int):
    def progress(metrics):
        if metrics["epoch"] == epoch:
            raise Stop

    return progress


def weights(run: Path) -> dict[str, bytes]:
    return {name: tensor.numpy().tobytes() for name, tensor in load_run(run)[0].state_dict().items()}


def content(run: Path) -> bytes:
    return (run / CHECKPOINT_NAME).read_bytes()


# Same seed, same weights; interrupted or not.

ALL_RANDOM = {"model": {"encoder": "rate", "spike_grad": "stochastic_spike_operator", "learn_beta": True}}


@pytest.mark.parametrize("sections", [{}, ALL_RANDOM], ids=["direct", "everything that draws"])
def test_three_epochs_and_three_more_are_six_to_the_bit(tmp_path, sections):
    config = tiny(**sections)
    train(config, tmp_path / "straight")
    with pytest.raises(Stop):
        train(config, tmp_path / "resumed", progress=stop_after(3))
    assert read_meta(tmp_path / "resumed" / CHECKPOINT_NAME).epoch == 3
    torch.rand(7)  # the state of the global generator must not matter
    result = train(config, tmp_path / "resumed", resume=True)
    assert result.epoch == 6
    assert content(tmp_path / "resumed") == content(tmp_path / "straight")  # weights, optimiser, everything
    logs = [read_metrics(tmp_path / run / "metrics.jsonl") for run in ("resumed", "straight")]
    resumed, straight = [[{**row, "seconds": 0} for row in log] for log in logs]
    assert resumed == straight


def test_another_seed_gives_other_weights(tmp_path):
    for seed in (0, 1):
        train(tiny(train={"epochs": 1, "seed": seed}), tmp_path / str(seed))
    assert weights(tmp_path / "0") != weights(tmp_path / "1")


def test_each_epoch_draws_anew_and_each_purpose_for_itself(tmp_path, monkeypatch):
    seeds = []
    encode, shift = SpikingClassifier.encode, samples.shift_images

    def spy_encode(self, x, *, generator):
        seeds.append(generator.initial_seed())
        return encode(self, x, generator=generator)

    def spy_shift(images, side, *, generator, **options):
        seeds.append(generator.initial_seed())
        return shift(images, side, generator=generator, **options)

    monkeypatch.setattr(SpikingClassifier, "encode", spy_encode)
    monkeypatch.setattr(samples, "shift_images", spy_shift)
    monkeypatch.setattr(monitor.Monitor, "look", lambda *_, **__: None)  # it draws of a seed of its own
    train(tiny(model={"encoder": "rate"}, train={"epochs": 5, "batch_size": 2000}), tmp_path)
    assert len(seeds) == len(set(seeds)) == 10
    runs = [(run, epoch, rank) for epoch in range(50) for run in (0, 1) for rank in (0, 1)]
    assert len({seed for run in runs for seed in samples.epoch_seeds(*run)}) == 5 * len(runs)


def test_the_global_generator_is_left_alone(tmp_path):
    torch.manual_seed(123)  # not the state that an earlier training would have left behind
    before = torch.get_rng_state()
    train(tiny(train={"epochs": 1}), tmp_path)
    assert torch.equal(torch.get_rng_state(), before)


def test_checkpoints_come_every_so_often_and_at_the_end(tmp_path):
    saved = []
    path = tmp_path / CHECKPOINT_NAME
    train(
        tiny(train={"epochs": 5, "checkpoint_every": 2}),
        tmp_path,
        progress=lambda _: saved.append(read_meta(path).epoch if path.exists() else 0),
    )
    assert saved == [0, 2, 2, 4, 5]


KILLED = """
    import os, sys
    from pathlib import Path
    from pnbx_snn.training.config import load_config
    from pnbx_snn.training.run import train

    where, config, out = sys.argv[1:]
    if where == "mid-epoch":
        from pnbx_snn.training import trainer
        steps, original = [], trainer.rate_penalty
        def kill(spikes, *, target):
            steps.append(1)
            if len(steps) == 14:  # three batches an epoch: in the middle of the fifth
                os.kill(os.getpid(), 9)
            return original(spikes, target=target)
        trainer.rate_penalty = kill
    else:
        original = Path.replace
        def kill(self, target):
            if Path(target).name == "checkpoint.safetensors":
                writes.append(1)
                if len(writes) == 3:  # the new file is complete and not yet in place
                    os.kill(os.getpid(), 9)
            return original(self, target)
        writes = []
        Path.replace = kill
    train(load_config(config), out)
"""


def test_a_killed_training_goes_on_to_the_same_weights(tmp_path):
    config_path = tmp_path / "c.toml"
    config_path.write_text("[model]\nhidden = [6]\nnum_steps = 2\n[train]\nepochs = 6\nbatch_size = 400\nthreads = 1\n")
    script = textwrap.dedent(KILLED)
    environment = {**os.environ, "PYTHONPATH": str(Path(training.__file__).parents[1])}
    children = {
        where: subprocess.Popen([sys.executable, "-c", script, where, config_path, tmp_path / where], env=environment)
        for where in ("mid-epoch", "mid-write")
    }
    config = load_config(config_path)
    train(config, tmp_path / "straight")
    for where, epoch in (("mid-epoch", 4), ("mid-write", 2)):
        run = tmp_path / where
        assert children[where].wait(timeout=120) == -signal.SIGKILL
        assert read_meta(run / CHECKPOINT_NAME).epoch == epoch
        left = list(run.glob(".pnbx-*.tmp"))
        assert len(left) == (where == "mid-write")
        for path in left:
            os.utime(path, (0, 0))  # what is an hour old has no writer any more
        train(config, run, resume=True)
        assert content(run) == content(tmp_path / "straight")
        assert [row["epoch"] for row in read_metrics(run / "metrics.jsonl")] == [1, 2, 3, 4, 5, 6]
        assert not list(run.glob(".pnbx-*.tmp"))


def test_a_training_killed_before_its_first_checkpoint_starts_anew(tmp_path):
    config = tiny(train={"epochs": 2, "checkpoint_every": 2})
    train(config, tmp_path / "straight")
    with pytest.raises(Stop):
        train(config, tmp_path / "run", progress=stop_after(1))
    assert not (tmp_path / "run" / CHECKPOINT_NAME).exists()
    train(config, tmp_path / "run", resume=True)
    assert content(tmp_path / "run") == content(tmp_path / "straight")
    assert len(read_metrics(tmp_path / "run" / "metrics.jsonl")) == 2


def test_resuming_a_finished_run_changes_nothing(tmp_path):
    config = tiny(train={"epochs": 1})
    train(config, tmp_path)
    before = content(tmp_path)
    result = train(config, tmp_path, resume=True)
    assert (result.epoch, result.metrics) == (1, None)
    assert content(tmp_path) == before
    assert len(read_metrics(tmp_path / "metrics.jsonl")) == 1


# What a training does.


def test_it_learns_and_leaves_what_it_promises(tmp_path):
    config = make_config(
        {"data": {"part": "train"}, "model": {"hidden": [64], "num_steps": 4}, "train": {"epochs": 8, "threads": 1}}
    )
    seen = []
    result = train(config, tmp_path / "run", progress=seen.append)
    assert {path.name for path in (tmp_path / "run").iterdir()} == {
        CHECKPOINT_NAME,
        "config.toml",
        "metrics.jsonl",
        "tensorboard",
    }
    assert load_config(tmp_path / "run" / "config.toml") == config
    assert read_metrics(tmp_path / "run" / "metrics.jsonl") == seen
    assert result.metrics == seen[-1]
    assert list(seen[0]) == [
        "epoch",
        "loss",
        "accuracy_train",
        "firing_rate",
        "firing_rate_layers",
        "learning_rate",
        "accuracy_validation",
        "seconds",
    ]
    assert seen[-1]["loss"] < seen[0]["loss"]
    assert seen[-1]["accuracy_validation"] > 0.8
    # The saved network is the one that was measured.
    model, _ = load_run(tmp_path / "run")
    assert evaluate(model, load_digits_split(part="validation"))["accuracy"] == seen[-1]["accuracy_validation"]
    meta = read_meta(result.checkpoint)
    assert (meta.epoch, meta.step, meta.seed) == (8, 8 * (1257 // 64), 0)
    assert not result.model.training


def test_all_training_data_leave_nothing_to_validate_on(tmp_path, monkeypatch):
    parts = []
    load = training.load_split
    monkeypatch.setattr(training, "load_split", lambda config, part: parts.append(part) or load(config, part))
    result = train(tiny(train={"epochs": 1}), tmp_path)
    assert result.metrics["accuracy_validation"] is None
    assert parts == ["train_all"]  # and test images are never looked at


def test_learning_rate_and_augmentation_follow_their_schedules(tmp_path, monkeypatch):
    rates, shares = [], []
    step, shift = torch.optim.AdamW.step, samples.shift_images

    def spy_step(self, *args):
        rates.append([group["lr"] for group in self.param_groups])
        return step(self, *args)

    def spy_shift(images, side, *, probability, **options):
        shares.append(probability)
        return shift(images, side, probability=probability, **options)

    monkeypatch.setattr(torch.optim.AdamW, "step", spy_step)
    monkeypatch.setattr(samples, "shift_images", spy_shift)
    result = train(tiny(train={"epochs": 4, "learning_rate": 0.1, "batch_size": 700}), tmp_path)  # two batches an epoch
    expected = [0.05 * (1 + math.cos(math.pi * i / 8)) for i in range(8)]
    assert rates == [[pytest.approx(rate, rel=1e-12)] * 2 for rate in expected]
    assert shares == pytest.approx([0.5, 0.5, 0.5, 0.5, 0.25, 0.25, 0, 0])
    assert result.metrics["learning_rate"] == pytest.approx(0, abs=1e-17)


def test_only_weight_matrices_decay():
    model = build_model(tiny(model={"learn_beta": True, "learn_threshold": True}))
    decaying, others = optimizer.adamw(model, tiny().train).param_groups
    names = {id(parameter): name for name, parameter in model.named_parameters()}
    assert {names[id(p)] for p in decaying["params"]} == {"layers.0.linear.weight", "readout.weight"}
    assert len(decaying["params"]) + len(others["params"]) == len(names)
    assert (decaying["weight_decay"], others["weight_decay"]) == (0.01, 0.0)


def test_the_loss_is_the_one_of_the_configuration(tmp_path):
    config = tiny(
        train={"epochs": 1, "batch_size": 2000, "max_shift": 0, "label_smoothing": 0.2, "rate_target": 0.5}
        | {"rate_weight": 3.0}
    )
    result = train(config, tmp_path)
    data = load_digits_split(part="train_all")
    torch.manual_seed(samples.epoch_seeds(0, epoch=0)[0])
    model = build_model(config)
    model.calibrate(data.images)
    output = model(model.encode(data.images))
    smooth = 0.8 * nn.functional.one_hot(data.labels, 10) + 0.02
    entropy = -(smooth * output.logits.log_softmax(dim=1)).sum(dim=1).mean()
    expected = entropy + 3.0 * rate_penalty(output.spikes, target=0.5)
    assert result.metrics["loss"] == pytest.approx(expected.item(), rel=1e-5)  # float32 sums in another order


def test_batches_take_every_sample_once_and_none_is_small(tmp_path, monkeypatch):
    sizes, seen = [], []
    shift = samples.shift_images

    def spy(images, side, **options):
        sizes.append(len(images))
        seen.extend(image.numpy().tobytes() for image in images)
        return shift(images, side, **options)

    monkeypatch.setattr(samples, "shift_images", spy)
    train(tiny(train={"epochs": 1, "batch_size": 64, "max_shift": 0}), tmp_path)
    assert set(sizes) == {65, 66}
    images = load_digits_split(part="train_all").images
    assert sorted(seen) == sorted(image.numpy().tobytes() for image in images)


def test_learned_neurons_stay_in_their_range():
    config = tiny(model={"learn_beta": True, "learn_threshold": True}, train={"learning_rate": 1e-6})
    run = trainer.Trainer(training.initial_model(config), config, load_digits_split(part="train"), Workers())
    neuron = run.model.layers[0].neuron
    with torch.no_grad():
        neuron.beta.copy_(torch.tensor([-0.5, 0.0, 0.5, 0.9, 1.0, 1.5]))
        neuron.threshold.copy_(torch.tensor([-1.0, 0.0, 0.5, 1.0, 2.0, 3.0]))
    run.train_epoch(1)
    # Three steps of at most 1e-6 each.
    assert neuron.beta.tolist() == pytest.approx([0, 0, 0.5, 0.9, 1, 1], abs=1e-5)
    assert neuron.threshold.tolist() == pytest.approx([MIN_THRESHOLD] * 2 + [0.5, 1, 2, 3], abs=1e-5)
    assert 0 <= neuron.beta.min() <= neuron.beta.max() <= 1
    assert not torch.equal(neuron.beta, neuron.beta.round(decimals=1))  # they did learn


def test_delays_narrow_from_epoch_to_epoch_and_learn():
    config = tiny(model={"num_steps": 6})
    model = training.initial_model(config)
    model.delays = Delays(6, max_delay=8)  # in the network by a hook, as a network of one's own has them
    model.layers[0].register_forward_hook(lambda _, __, out: (model.delays(out[0])[0], out[1]))
    run = trainer.Trainer(model, config, load_digits_split(part="train"), Workers())
    before, widths = model.delays.lengths.detach().clone(), []
    for epoch in (1, 2, 4):
        run.train_epoch(epoch)
        widths.append(model.delays.sigma)
    assert widths == pytest.approx([2.0, 2.0 * 0.125 ** (1 / 3), 0.25])
    assert (model.delays.lengths != before).all()


def test_the_number_of_threads_is_put_back(tmp_path):
    before = torch.get_num_threads()
    inside = []
    config = tiny(train={"epochs": 1, "threads": before + 1})
    train(config, tmp_path, progress=lambda _: inside.append(torch.get_num_threads()))
    assert (inside, torch.get_num_threads()) == ([before + 1], before)


# What goes wrong loses nothing.


def test_a_folder_with_a_checkpoint_is_not_overwritten(tmp_path):
    train(tiny(train={"epochs": 1}), tmp_path)
    before = content(tmp_path)
    with pytest.raises(CheckpointError, match=r"holds a checkpoint already \(epoch 1\); resume it"):
        train(tiny(train={"epochs": 1}), tmp_path)
    (tmp_path / CHECKPOINT_NAME).write_bytes(b"damaged, but perhaps dear to somebody")
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        train(tiny(train={"epochs": 1}), tmp_path)
    with pytest.raises(CheckpointError, match="is no checkpoint"):
        train(tiny(train={"epochs": 1}), tmp_path, resume=True)
    assert content(tmp_path) == b"damaged, but perhaps dear to somebody" != before


def test_resuming_with_another_configuration_is_refused(tmp_path):
    train(tiny(train={"epochs": 1}), tmp_path)
    before = content(tmp_path), (tmp_path / "config.toml").read_text(), (tmp_path / "metrics.jsonl").read_text()
    with pytest.raises(ConfigError) as caught:
        train(tiny(train={"epochs": 2, "seed": 5}, model={"beta": 0.5}), tmp_path, resume=True)
    assert str(caught.value) == (
        f"{tmp_path}: a run is resumed with its own configuration, got model.beta: saved 0.9, now 0.5; "
        "train.epochs: saved 1, now 2; train.seed: saved 0, now 5 (learning rate and augmentation depend on "
        "train.epochs, so more epochs are another training)"
    )
    with pytest.raises(ConfigError, match=r"got train.seed: saved 0, now 5$"):
        train(tiny(train={"epochs": 1, "seed": 5}), tmp_path, resume=True)
    after = content(tmp_path), (tmp_path / "config.toml").read_text(), (tmp_path / "metrics.jsonl").read_text()
    assert after == before


def test_nothing_to_resume(tmp_path):
    with pytest.raises(CheckpointError, match="missing: no such folder, so there is nothing to resume"):
        train(tiny(), tmp_path / "missing", resume=True)
    assert not (tmp_path / "missing").exists()


def test_one_training_at_a_time(tmp_path):
    def second(_metrics):
        train(tiny(train={"epochs": 1}), tmp_path, resume=True)

    with pytest.raises(StorageError, match="cannot be locked; another training is running in it"):
        train(tiny(train={"epochs": 1}), tmp_path, progress=second)
    assert read_meta(tmp_path / CHECKPOINT_NAME).epoch == 1


def test_a_loss_that_is_not_finite_names_the_place_and_keeps_the_checkpoint(tmp_path, monkeypatch):
    with pytest.raises(Stop):
        train(tiny(), tmp_path, progress=stop_after(2))
    before = content(tmp_path)
    monkeypatch.setattr(trainer, "rate_penalty", lambda spikes, *, target: torch.tensor(math.nan))
    message = r"the loss must be finite, got nan in epoch 3, batch 1 of 3 \(step 7\); a smaller train.learning_rate"
    with pytest.raises(PnbxValueError, match=message):
        train(tiny(), tmp_path, resume=True)
    assert content(tmp_path) == before


def broken_gradient(self, loss):
    """A backward pass that leaves NaN in one layer, as an overflowing surrogate did; the loss is finite."""
    loss.backward()
    parameter = next(p for p in self.watched.parameters() if p.ndim == 2)
    parameter.grad[0, 0] = math.nan


def test_a_gradient_that_is_not_finite_names_the_layer_and_keeps_the_checkpoint(tmp_path, monkeypatch):
    """Weights of NaN are silent neurons: "loss 2.338 accuracy 10.2 %", exit 0, over the good checkpoint, before."""
    with pytest.raises(Stop):
        train(tiny(), tmp_path, progress=stop_after(2))
    before = content(tmp_path)
    prepare = Workers.prepare

    def watching(self, learner, optimizer):
        self.watched = learner.model
        return prepare(self, learner, optimizer)

    monkeypatch.setattr(Workers, "prepare", watching)
    monkeypatch.setattr(Workers, "backward", broken_gradient)
    message = (
        r"the gradient of layers.0.linear.weight must be finite, got 1 of \d+ numbers that are not, in epoch 3, "
        r"batch 1 of 3 \(step 7\); a smaller train.learning_rate or a train.clip_norm may help"
    )
    with pytest.raises(PnbxValueError, match=message):
        train(tiny(), tmp_path, resume=True)
    assert content(tmp_path) == before


def test_a_scaled_loss_may_overflow_some_times_but_not_for_ever(tmp_path, monkeypatch):
    """fp16 needs a GPU: here the first process computes in float32, and its optimiser says that it left out steps."""
    workers = Workers("no")
    workers.mixed_precision = "fp16"
    config = tiny()
    run = trainer.Trainer(training.initial_model(config), config, load_digits_split(part="train"), workers)
    broken = next(p for p in run.model.parameters() if p.ndim == 2)

    class LeftOut:
        step_was_skipped = True

        def step(self):
            pass

    run.stepper = LeftOut()
    broken.grad = torch.full_like(broken, math.inf)
    for _ in range(trainer.MOST_SKIPPED):
        run._step(1.0, 1, 0)
    with pytest.raises(PnbxValueError, match="the gradient of layers.0.linear.weight must be finite"):
        run._step(1.0, 1, 0)
    LeftOut.step_was_skipped = False
    run._skipped = trainer.MOST_SKIPPED - 1
    run._step(1.0, 1, 0)
    run._step(1.0, 1, 0)


def test_a_weight_that_is_not_finite_names_the_layer_and_keeps_the_checkpoint(tmp_path, monkeypatch):
    with pytest.raises(Stop):
        train(tiny(), tmp_path, progress=stop_after(2))
    before = content(tmp_path)
    step = torch.optim.AdamW.step

    def overflowing(self, *arguments, **options):
        step(self, *arguments, **options)
        self.param_groups[0]["params"][0].data[0, :2] = math.inf

    monkeypatch.setattr(torch.optim.AdamW, "step", overflowing)
    with pytest.raises(PnbxValueError, match=r"layers.0.linear.weight must be finite, got 2 of .*epoch 3, batch 1"):
        train(tiny(), tmp_path, resume=True)
    assert content(tmp_path) == before


def test_a_statistic_that_is_not_finite_is_not_saved(tmp_path, monkeypatch):
    with pytest.raises(Stop):
        train(tiny(), tmp_path, progress=stop_after(2))
    before = content(tmp_path)
    settle = trainer.Trainer.train_epoch

    def spoiled(self, epoch, **told):
        metrics = settle(self, epoch, **told)
        next(b for b in self.model.buffers() if b.is_floating_point() and b.ndim).fill_(math.nan)
        return metrics

    monkeypatch.setattr(trainer.Trainer, "train_epoch", spoiled)
    with pytest.raises(PnbxValueError, match=r"must be finite, got .* after epoch 3; nothing was saved"):
        train(tiny(), tmp_path, resume=True)
    assert content(tmp_path) == before


def test_a_number_in_single_precision_that_squares_to_infinity_is_finite():
    optimizer.check_finite(
        [("a", torch.full((2,), 3e38)), ("b", None), ("c", torch.tensor([], dtype=torch.float64))], ""
    )
    optimizer.check_finite([("d", torch.tensor(1e300, dtype=torch.float64)), ("e", torch.tensor([1, 2]))], "")
    with pytest.raises(PnbxValueError, match="the f must be finite, got 1 of 2 numbers that are not, here"):
        optimizer.check_finite([("f", torch.tensor([1.0, -math.inf]))], "here")


@pytest.mark.parametrize("what", ["checkpoint", "log"])
def test_a_disk_that_fills_up_during_training(tmp_path, what):
    config = tiny()
    train(config, tmp_path / "straight")
    run = tmp_path / "run"
    with pytest.raises(Stop):
        train(config, run, progress=stop_after(4))  # a log longer than the configuration
    saved, log = content(run), (run / "metrics.jsonl").read_bytes()
    limit = 3000 if what == "checkpoint" else max(len(log), len((run / "config.toml").read_bytes())) + 20
    with file_size_limit(limit), pytest.raises(StorageError, match=f"{what} could not be written .*untouched"):
        train(config, run, resume=True)
    assert content(run) == saved
    assert (run / "metrics.jsonl").read_bytes().startswith(log)
    train(config, run, resume=True)  # somebody made room
    assert content(run) == content(tmp_path / "straight")


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match="the folder cannot be made or opened"):
        train(tiny(), tmp_path / "file" / "run")


# Measuring.


class Half(SpikingClassifier):
    """Right for even labels; the first layer never spikes, the second, twice as large, at every other step."""

    def forward(self, x, state=None):
        assert not self.training
        labels = x[0, :, 0].long()
        logits = nn.functional.one_hot(labels - labels % 2, 10).float()
        spikes = torch.zeros(4, len(labels), 3), torch.zeros(4, len(labels), 6)
        spikes[1][::2] = 1
        return ClassifierOutput(logits, spikes, ())


def test_evaluate_counts_what_it_says():
    labels = torch.tensor([0, 1, 2, 3, 4])
    split = Split(labels[:, None].float(), labels)
    model = Half(in_features=1, hidden=[3, 6], num_classes=10, num_steps=4)
    assert evaluate(model, split, batch_size=2) == {
        "accuracy": 0.6,
        "firing_rate": pytest.approx(1 / 3),
        "firing_rate_layers": [0.0, 0.5],
        "n": 5,
    }
    assert model.training


def test_evaluate_is_repeatable_and_does_not_depend_on_the_batch():
    model, split = build_model(tiny(model={"encoder": "rate"})).train(), load_digits_split(part="validation")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    first = evaluate(model, split)
    assert evaluate(model, split) == first
    assert model.training
    assert all(torch.equal(tensor, before[name]) for name, tensor in model.state_dict().items())
    model = build_model(tiny())
    model.calibrate(split.images)
    assert evaluate(model, split, batch_size=7) == evaluate(model, split)


def test_evaluate_of_nothing():
    split = Split(torch.zeros(0, 64), torch.zeros(0, dtype=torch.int64))
    with pytest.raises(PnbxValueError, match="split must have at least one sample, got none"):
        evaluate(build_model(tiny()), split)


# The log.


def test_a_torn_log_is_mended(tmp_path, caplog):
    path = tmp_path / "metrics.jsonl"
    rows = [{"epoch": epoch, "loss": 1 / epoch} for epoch in (1, 2, 3)]
    whole = "".join(json.dumps(row) + "\n" for row in rows)
    for text in (whole[:-9], whole[:-1], whole + '{"epoch": 4, "l', whole + "\x00\x00\n", whole + "7\n"):
        path.write_text(text)
        with RunLog(tmp_path, last_epoch=2) as log:
            log.write({"epoch": 3, "loss": 5.0})
        assert read_metrics(path) == [*rows[:2], {"epoch": 3, "loss": 5.0}]
        assert len(path.read_text().splitlines()) == 3
    assert "line 4 is not the metrics of an epoch and is left out" in caplog.text


def test_tensorboard_has_the_curves(tmp_path):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    with pytest.raises(Stop):
        train(tiny(train={"epochs": 3}, data={"part": "train"}), tmp_path, progress=stop_after(2))
    time.sleep(1.1)  # TensorBoard orders files by name: second of the start, then a number, of which 10 sorts before 9
    train(tiny(train={"epochs": 3}, data={"part": "train"}), tmp_path, resume=True)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert {tag for tag in events.Tags()["scalars"] if "weights" not in tag} == {
        "loss",
        "accuracy_train",
        "accuracy_validation",
        "firing_rate",
        "learning_rate",
    }
    losses = {event.step: event.value for event in events.Scalars("loss")}
    assert losses == pytest.approx({row["epoch"]: row["loss"] for row in read_metrics(tmp_path / "metrics.jsonl")})


def test_no_log(tmp_path):
    with pytest.raises(CheckpointError, match=r"metrics.jsonl: no such file; `pnbx-snn train` writes it"):
        read_metrics(tmp_path / "metrics.jsonl")


def test_samples_made_ahead_are_those_made_in_turn(monkeypatch):
    """Shifted, turned and noisy digits in batches of two pieces: the same weights to the bit."""
    options = {"epochs": 2, "batch_size": 200, "accumulate": 2, "max_shift": 1, "shift_share": 0.5, "threads": 1}
    config = make_config(
        {"model": {"hidden": [16], "num_steps": 3}, "augment": {"strength": 1.0, "input_noise": 0.1}, "train": options}
    )

    def in_turn(self, batches, epoch, draws):
        for batch in batches:
            pieces = batch.tensor_split(self.config.train.accumulate)
            yield [self._changed(piece, epoch, draws) for piece in pieces]

    weights = []
    for _ in range(2):
        run = trainer.Trainer(training.initial_model(config), config, load_digits_split(part="train"), Workers())
        for epoch in (1, 2):
            run.train_epoch(epoch)
        weights.append([weight.clone() for weight in run.model.state_dict().values()])
        monkeypatch.setattr(TrainingSamples, "_prepared", in_turn)
    assert all(torch.equal(ahead, turn) for ahead, turn in zip(*weights, strict=True))
