"""Sparse training: shares of zeros that are exact, what each rule drops and grows, resuming, files, what is refused."""

import re

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_pnbx_training import Stop, tiny
from torch import nn

from pnbx_snn import BitLinear
from pnbx_snn.errors import CheckpointError, ConfigError
from pnbx_snn.files.tensors import read_tensors, write_tensors
from pnbx_snn.quantization import ternarize
from pnbx_snn.training.checkpoint import CHECKPOINT_NAME, CheckpointMeta, build_model, load_run, save_checkpoint
from pnbx_snn.training.config import make_config
from pnbx_snn.training.packed import load_packed, pack_run
from pnbx_snn.training.run import train
from pnbx_snn.training.run_log import read_metrics
from pnbx_snn.training.sparsity import Sparsifier, SparsityConfig, allocate, make_sparse, sparse_matrices

SPARSE = {"zeros": 0.85, "allocation": "uniform", "every": 3, "start": 0.2, "end": 0.5, "until": 0.7}


def network(**settings):
    torch.manual_seed(0)
    model = nn.ModuleDict({"one": BitLinear(30, 20), "two": BitLinear(20, 7)})
    return model, SparsityConfig(**{"zeros": 0.8, "allocation": "uniform", "every": 2, **settings})


def zeros(layer):
    return int((layer.ternary_weight() == 0).sum())


def steps(model, settings, numbers, num_steps=20, moved=0.0):
    """Steps of a training whose gradients are drawn by their number; latent weights may move by them."""
    rule = Sparsifier(model, settings, num_steps=num_steps, seed=3)
    for step in numbers:
        generator = torch.Generator().manual_seed(step)
        for parameter in model.parameters():
            parameter.grad = torch.randn(parameter.shape, generator=generator)
            parameter.data -= moved * parameter.grad
        rule.after_step(step)


@pytest.mark.parametrize("rule", ["set", "rigl", "magnitude"])
def test_the_share_of_zeros_rises_to_the_target_and_stays(rule):
    model, settings = network(rule=rule, start=0.2, end=0.6, until=0.8)
    make_sparse(model, settings)
    before = zeros(model["one"])
    steps(model, settings, range(1, 5), moved=0.01)  # up to the start: what a dense layer rounds to 0
    assert torch.equal(model["one"].ternary_weight() != 0, ternarize(model["one"].weight)[0] != 0)
    share = zeros(model["one"]) / 600
    assert zeros(model["one"]) != before
    for step in (6, 8, 10, 12):  # updates of "magnitude" are in between too: each rounds, to a whole connection
        steps(model, settings, [step - 1, step], moved=0.01)
        wanted = 0.8 + (share - 0.8) * (1 - (step - 4) / 8) ** 3
        assert abs(zeros(model["one"]) - 600 * wanted) <= 1.5
    assert [zeros(model["one"]), zeros(model["two"])] == [480, 112]
    steps(model, settings, range(13, 17), moved=0.01)
    masks = [matrix.mask.clone() for matrix in sparse_matrices(model).values()]
    steps(model, settings, range(17, 21), moved=0.1)
    same = [torch.equal(a, m.mask) for a, m in zip(masks, sparse_matrices(model).values(), strict=True)]
    assert same == [rule != "magnitude"] * 2
    assert [zeros(model["one"]), zeros(model["two"])] == [480, 112]


@pytest.mark.parametrize("rule", ["set", "rigl"])
def test_the_smallest_go_and_others_grow(rule):
    model, settings = network(rule=rule, drop=0.25, end=0.0, until=1.0)
    layer = make_sparse(model, settings)["one"]
    steps(model, settings, [2], moved=1e-3)
    layer.weight.data.mul_(torch.linspace(0.99, 1.01, 600).reshape(20, 30))  # no two magnitudes are equal
    weight, mask = layer.weight.detach().clone(), layer.mask.clone()
    steps(model, settings, [10])
    kept, grown = layer.mask & mask & (layer.weight == weight), layer.mask & (layer.weight != weight)
    gradient = layer.weight.grad
    # At half the time half the share is exchanged: 0.125 of 120.
    assert (int(kept.sum()), int(grown.sum())) == (105, 15)
    assert weight[kept].abs().min() >= weight[mask & ~kept].abs().max()
    assert layer.weight[grown].abs().unique().tolist() == [weight[kept].abs().min().item()]
    if rule == "rigl":
        assert gradient[grown].abs().min() > gradient[~layer.mask].abs().max()
        assert torch.equal(layer.weight[grown].sign(), -gradient[grown].sign())
    layer.weight.data.copy_(weight)
    layer.mask.copy_(mask)
    after = grown.clone()
    steps(model, settings, [10])
    assert torch.equal(layer.mask & (layer.weight != weight), after)  # what is drawn depends on seed and step alone


def test_magnitude_takes_back_what_grew_outside_the_mask():
    model, settings = network(rule="magnitude", end=0.0)
    layer = make_sparse(model, settings)["one"]
    steps(model, settings, [2])
    place = tuple((~layer.mask).nonzero()[0].tolist())
    layer(torch.ones(1, 30)).sum().backward()
    assert layer.weight.grad[place] != 0  # the straight-through gradient reaches it
    layer.weight.data[place] = -9.0
    steps(model, settings, [3])
    assert layer.ternary_weight()[place] == -1
    assert layer.weight[layer.mask].abs().min() >= layer.weight[~layer.mask].abs().max()
    layer.weight.data.mul_(layer.mask.logical_not())  # what an average of the weights may do, too
    before = int(layer.mask.sum())
    Sparsifier(model, settings, num_steps=20, seed=3).rank_again()
    assert int(layer.mask.sum()) == before
    assert layer.weight[layer.mask].abs().min() >= layer.weight[~layer.mask].abs().max()


@given(st.floats(0.05, 0.99), st.sampled_from(["uniform", "erk"]))
def test_allocation(share, allocation):
    shapes = {"a": torch.Size([64, 64]), "b": torch.Size([10, 64]), "c": torch.Size([3, 5])}
    kept = allocate(shapes, SparsityConfig(zeros=share, allocation=allocation))
    sizes = {name: shape.numel() for name, shape in shapes.items()}
    assert all(1 <= kept[name] <= sizes[name] for name in kept)
    if allocation == "uniform":
        assert all(kept[name] == max(1, round((1 - share) * sizes[name])) for name in kept)
    else:
        assert sum(kept.values()) == round((1 - share) * sum(sizes.values()))
        assert kept["b"] / sizes["b"] >= kept["a"] / sizes["a"] - 1e-2  # the smaller the denser


def test_inside_a_mask_weights_are_signs():
    weight = torch.tensor([[0.5, -0.1, 0.0], [2.0, -3.0, 0.2]], requires_grad=True)
    mask = torch.tensor([[True, True, True], [False, True, False]])
    ternary, gamma = ternarize(weight, mask=mask)
    assert ternary.tolist() == [[1, -1, 1], [0, -1, 0]]
    assert gamma.item() == pytest.approx(3.6 / 4)
    (gamma * ternary).sum().backward()
    assert torch.equal(weight.grad, torch.ones(2, 3))
    assert ternarize(weight, scale="median", mask=mask)[1] == 0.1


def test_a_sparse_training_resumes_to_the_same_bits(tmp_path):
    config = make_config(
        {
            "model": {"hidden": [24], "num_steps": 2},
            "sparsity": {**SPARSE, "rule": "rigl", "leave": ["readout"]},
            "train": {"epochs": 2, "batch_size": 256, "threads": 1},
        }
    )
    result = train(config, tmp_path / "straight")

    def stop(metrics):
        raise Stop

    with pytest.raises(Stop):
        train(config, tmp_path / "resumed", progress=stop)
    resumed = train(config, tmp_path / "resumed", resume=True)
    for (name, a), b in zip(result.model.state_dict().items(), resumed.model.state_dict().values(), strict=True):
        assert torch.equal(a, b), name
    model, _ = load_run(tmp_path / "straight")
    assert list(sparse_matrices(model)) == ["layers.0.linear"]
    assert zeros(model.layers[0].linear) == 24 * 64 - round(0.15 * 24 * 64)
    lines = read_metrics(tmp_path / "straight" / "metrics.jsonl")
    assert lines[-1]["zero_fraction_layers"] == {"layers.0.linear": 1 - 230 / 1536}
    assert lines[0]["zero_fraction"] < lines[-1]["zero_fraction"]


@pytest.mark.parametrize("scale", ["absmean", "median"])
def test_a_sparse_network_is_packed_as_it_is(tmp_path, scale):
    config = tiny(pnbx={"scale": scale}, sparsity=SPARSE)
    model = build_model(config).eval()
    steps(model, config.sparsity, range(1, 15))
    model.calibrate(torch.rand(20, 64))
    save_checkpoint(tmp_path / CHECKPOINT_NAME, model, meta=CheckpointMeta(config=config.model_dump()))
    path = tmp_path / "a.safetensors"
    sizes = {coding: pack_run(tmp_path, path, coding=coding) for coding in ("bits2", "runs")}
    packed, same, _ = load_packed(path)
    assert sizes["runs"] < sizes["bits2"]
    assert same.sparsity == config.sparsity
    matrices = sparse_matrices(model)
    assert len(matrices) == 12
    for name, matrix in sparse_matrices(packed).items():
        assert torch.equal(matrix.mask, matrices[name].mask)
        assert int(matrix.mask.sum()) == round(0.15 * matrix.mask.numel())
        (a, gamma), (b, again) = matrix.rounded(), matrices[name].rounded()
        assert torch.equal(a, b)
        assert again.item() == pytest.approx(gamma.item(), rel=1e-5)

    description, tensors = read_tensors(path)
    assert description["format_version"] == 2  # older versions say that it is of a newer one
    name = next(n for n in tensors if n.endswith(".runs"))
    for change, text in (
        ({name: tensors[name][:-1]}, "do not fit|they hold"),
        ({name: tensors[name][:3]}, "must be at least 5 bytes"),
        ({name: tensors[name].float()}, "must be at least 5 bytes"),
        ({name: None}, "is missing"),
        ({name: torch.cat((tensors[name][:1], tensors[name][1:] * 0))}, "do not fit"),
    ):
        changed = {n: t for n, t in {**tensors, **change}.items() if t is not None}
        write_tensors(path, changed, {k: v for k, v in description.items() if k != "format_version"})
        with pytest.raises(CheckpointError, match=f"{re.escape(str(path))}: is altered.*({text})"):
            load_packed(path)


def test_what_is_refused():
    model, settings = network(leave=["three"])
    with pytest.raises(ConfigError, match="no ternary matrix is named 'three', got one, two"):
        make_sparse(model, settings)
    with pytest.raises(ConfigError, match="leaves every ternary matrix"):
        make_sparse(model, SparsityConfig(zeros=0.5, leave=("one", "two")))
    with pytest.raises(ConfigError, match=r"start, end and until must not fall, got 0.0, 0.9, 0.75"):
        make_sparse(model, SparsityConfig(zeros=0.5, end=0.9))
    with pytest.raises(ConfigError, match="a Linear has no ternary matrices"):
        make_sparse(nn.Linear(2, 2), SparsityConfig(zeros=0.5))
    assert make_sparse(nn.Linear(2, 2), SparsityConfig()) is not None
    assert "mask" not in " ".join(make_sparse(model, SparsityConfig()).state_dict())
