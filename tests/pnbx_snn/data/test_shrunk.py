import numpy as np
import pytest
import torch

from neuromorphic.compiler.samples import run_samples
from pnbx_snn.data import catalog
from pnbx_snn.data.catalog import augment, in_size, load_split
from pnbx_snn.data.shrunk import Shrunk, before_shrinking, shrink
from pnbx_snn.data.split import Split
from pnbx_snn.errors import ConfigError
from pnbx_snn.networks.cnn import SmallCNN
from pnbx_snn.training.config import make_config
from pnbx_snn.training.run import train
from pnbx_snn.training.settings import DataConfig

WHOLE = torch.rand(24, 784, generator=torch.Generator().manual_seed(0))
SMALL = {"name": "mnist", "side": 16, "part": "train"}


@pytest.fixture(autouse=True)
def mnist(monkeypatch):
    """Put random pictures in place of MNIST's."""
    monkeypatch.setattr(catalog, "load_mnist", lambda folder, part: Split(WHOLE.clone(), torch.arange(24) % 10))
    monkeypatch.setenv("PNBX_DATA", "nowhere")


def triangle(old, new):
    """Return the weights of antialiased bilinear resampling, ``[new, old]``, from their definition."""
    scale = old / new
    centres = (np.arange(new) + 0.5) * scale
    weights = np.maximum(0, 1 - np.abs(np.arange(old) + 0.5 - centres[:, None]) / scale)
    return weights / weights.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("side", [16, 7, 28])
def test_a_pixel_is_the_weighted_mean_of_those_it_covers(side):
    weights = triangle(28, side)
    expected = weights @ WHOLE.double().numpy().reshape(-1, 28, 28) @ weights.T
    np.testing.assert_allclose(shrink(WHOLE, 28, side).reshape(-1, side, side), expected, atol=1e-6)
    np.testing.assert_allclose(shrink(WHOLE.reshape(-1, 28, 28), 28, side), expected, atol=1e-6)


@pytest.mark.parametrize(
    ("name", "shape"), [("mnist", [24, 256]), ("mnist_rows", [24, 16, 16]), ("mnist_pixels", [24, 256, 1])]
)
def test_parts_are_shrunk_and_those_to_learn_from_keep_what_they_were(name, shape):
    data = DataConfig(name=name, side=16)
    assert [data.num_steps, data.in_features] == ([1, 256] if name == "mnist" else shape[1:])
    test, learned = load_split(data, "test").images, load_split(data, "train").images
    assert isinstance(test, torch.Tensor)
    assert isinstance(learned, Shrunk)
    assert [*test.shape] == [*learned.shape] == shape
    assert torch.equal(test, learned[:])
    assert torch.equal(before_shrinking(learned).flatten(1), WHOLE)
    assert before_shrinking(test) is test
    generator = torch.Generator().manual_seed(1)
    changed = in_size(augment(before_shrinking(learned)[:], data, strength=0.5, generator=generator), data, 16)
    distorted = catalog.affine_elastic(WHOLE, 28, generator=torch.Generator().manual_seed(1), strength=0.5)
    assert torch.equal(changed.flatten(1), shrink(distorted, 28, 16))


@pytest.mark.parametrize("strength", [0.0, 0.4])
def test_networks_learn_what_was_augmented_before_it_was_shrunk(tmp_path, monkeypatch, strength):
    seen = []
    real = catalog.affine_elastic
    monkeypatch.setattr(catalog, "affine_elastic", lambda x, *a, **k: seen.append(x.shape[1]) or real(x, *a, **k))
    values = {"data": SMALL, "conv": {"channels": [2], "num_steps": 1}, "augment": {"strength": strength}}
    run = train(make_config(values | {"train": {"epochs": 2, "batch_size": 12, "threads": 1}}), tmp_path / "run")
    assert set(seen) == ({784} if strength else set())
    assert run.model.in_features == 256
    inputs = run_samples(tmp_path / "run", part="test").inputs
    assert np.array_equal(inputs.reshape(24, 256), shrink(WHOLE, 28, 16).numpy())
    assert run_samples(tmp_path / "run", part="train", samples=slice(2)).inputs.shape[-2:] == (2, 256)


def test_other_data_are_not_shrunk():
    with pytest.raises(
        ConfigError, match=r"data.side is for data.name = 'mnist' or 'mnist_rows' or 'mnist_pixels', got .*'digits'"
    ):
        make_config({"data": {"name": "digits", "side": 16}})
    with pytest.raises(ConfigError, match=r"data.side must be a whole number in \[4, 28\], got 30"):
        make_config({"data": {"name": "mnist", "side": 30}})
    assert load_split(DataConfig(name="mnist"), "train").images.shape == (24, 784)


@pytest.mark.parametrize("strength", [0.0, 0.4])
def test_a_teacher_sees_pictures_as_large_as_those_it_learned_from(tmp_path, monkeypatch, strength):
    brief = {"epochs": 1, "batch_size": 12, "threads": 1}
    teacher = {"data": SMALL | {"side": 28}, "cnn": {"channels": 2}, "train": brief}
    train(make_config(teacher), tmp_path / "teacher")
    seen, classify = set(), SmallCNN.classify
    monkeypatch.setattr(SmallCNN, "classify", lambda self, x, **k: seen.add(x.shape[1]) or classify(self, x, **k))
    student = {"data": SMALL, "conv": {"channels": [2], "num_steps": 1}, "augment": {"strength": strength}}
    config = make_config(student | {"distill": {"teacher": str(tmp_path / "teacher")}, "train": brief})
    assert train(config, tmp_path / "student").model.in_features == 256
    assert seen == {784}
