"""Packed networks: two bits a weight, the same network back, damaged files, the command line."""

import json
from dataclasses import replace

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from test_pnbx_training import tiny
from typer.testing import CliRunner

from pnbx_snn.cli import app
from pnbx_snn.data.catalog import load_split
from pnbx_snn.errors import CheckpointError, PnbxTypeError
from pnbx_snn.files.tensors import read_tensors, write_tensors
from pnbx_snn.files.zero_runs import fits_runs, pack_runs, unpack_runs
from pnbx_snn.quantization import ternarize
from pnbx_snn.training.checkpoint import load_run
from pnbx_snn.training.config import make_config
from pnbx_snn.training.packed import load_packed, pack_run, pack_sign_bits, unpack_sign_bits
from pnbx_snn.training.run import evaluate, train


@given(st.lists(st.sampled_from([-1, 0, 1]), min_size=1, max_size=70))
def test_unpacking_undoes_packing(values):
    ternary = torch.tensor(values, dtype=torch.int8)
    codes = pack_sign_bits(ternary)
    assert len(codes) == -(-len(values) // 4)
    assert torch.equal(unpack_sign_bits(codes, ternary.shape), ternary)


def test_what_is_not_ternary_is_refused():
    with pytest.raises(PnbxTypeError, match="values must be -1, 0 and 1, got 2"):
        pack_sign_bits(torch.tensor([0, 2], dtype=torch.int8))
    with pytest.raises(CheckpointError, match="code 11"):
        unpack_sign_bits(torch.tensor([3], dtype=torch.uint8), torch.Size([4]))
    with pytest.raises(CheckpointError, match=r"shape \[9\] must be 3 bytes, got torch.uint8 \[2\]"):
        unpack_sign_bits(torch.zeros(2, dtype=torch.uint8), torch.Size([9]))


@given(st.integers(0, 300), st.sampled_from([0.0, 0.3, 0.9, 0.97]), st.integers(0, 99), st.integers(0, 10**6))
def test_runs_of_zeros_come_back_and_altered_ones_are_an_error_or_others(size, share, seed, where):
    rng = np.random.default_rng(seed)
    ternary = np.where(rng.random(size) < share, 0, rng.choice([-1, 1], size)).astype(np.int8)
    if not fits_runs(ternary):
        with pytest.raises(PnbxTypeError, match="one in 1024 must not be 0"):
            pack_runs(ternary)
        return
    packed = pack_runs(ternary)
    assert np.array_equal(unpack_runs(packed, size), ternary)
    least, places = min_bits(ternary)
    assert len(packed) == 5 + -(-least // 8)
    assert places == np.count_nonzero(ternary)
    packed[where % len(packed)] ^= 1 << (where % 8)
    try:
        changed = unpack_runs(packed, size)
    except CheckpointError:
        return
    assert changed.shape == (size,)
    assert np.abs(changed).max(initial=0) <= 1


def min_bits(ternary):
    """The definition, run by run: the fewest bits of all k, and how many weights are not 0."""
    gaps, gap = [], 0
    for value in ternary:
        gap = gap + 1 if value == 0 else gaps.append(gap) or 0
    return min(sum(2 + k + (gap >> k) for gap in gaps) for k in range(16)), len(gaps)


def test_runs_of_zeros_take_no_memory_that_their_bytes_do_not_back():
    few = pack_runs(np.array([0, 1, -1], dtype=np.int8))
    for size, text in ((1 << 40, "one in 1024 is not 0, got 2"), (1, "do not fit")):
        with pytest.raises(CheckpointError, match=text):
            unpack_runs(few, size)
    with pytest.raises(CheckpointError, match="do not fit"):
        unpack_runs(np.concatenate([few, np.zeros(9, np.uint8)]), 3)
    with pytest.raises(CheckpointError, match="must be at least 5 bytes, got int32"):
        unpack_runs(few.astype(np.int32), 3)


@pytest.fixture(scope="module", params=["pnbx", "median", "edges", "classifier"])
def run(request, tmp_path_factory):
    folder = tmp_path_factory.mktemp(request.param) / "run"
    config = {
        "pnbx": tiny(data={"folder": "/home/somebody"}, train={"epochs": 2}),
        "median": tiny(pnbx={"scale": "median", "hippocampus": "persistent", "norm": "affine"}, train={"epochs": 1}),
        "edges": tiny(pnbx={"edges": "ternary"}, train={"epochs": 2, "learning_rate": 2e-2}),
        "classifier": make_config({"train": {"epochs": 1, "threads": 1}}),
    }[request.param]
    train(config, folder)
    return folder


def test_the_network_comes_back(run, tmp_path):
    path = tmp_path / "a.safetensors"
    size = pack_run(run, path, measured={"accuracy": 0.5})
    model, config = load_run(run)
    packed, same, measured = load_packed(path)
    anywhere = replace(config, data=config.data.model_copy(update={"folder": ""}))
    assert (same, measured, path.stat().st_size) == (anywhere, {"accuracy": 0.5}, size)
    assert b"somebody" not in path.read_bytes()
    for (name, before), after in zip(model.named_parameters(), packed.parameters(), strict=True):
        if name.endswith((".weight", ".K")) and before.ndim == 2:
            scale = (config.pnbx or config.model).scale
            (a, gamma), (b, again) = ternarize(before, scale=scale), ternarize(after, scale=scale)
            assert torch.equal(a, b)
            assert again.item() == pytest.approx(gamma.item(), rel=1e-5)  # a float32 mean of equal numbers
        else:
            assert torch.equal(before, after)
    if config.pnbx and config.pnbx.edges == "ternary":
        ours, theirs = (network.blocks[0].membrane.messages.ternary_edges() for network in (packed, model))
        assert torch.equal(ours, theirs)
        assert {*ours.unique().tolist()} >= {0.0, 1.0}  # something was learned
    x = load_split(config.data, "validation").images
    with torch.no_grad():
        (ours, spikes), (theirs, others) = packed.classify(x), model.classify(x)
    # A scale that is off by its last bit may move a spike that lies on its threshold.
    assert (spikes[0] != others[0]).float().mean() < 1e-4
    assert (ours.argmax(1) == theirs.argmax(1)).float().mean() > 0.99
    assert packed.training is False


def test_it_is_two_bits_a_weight(run, tmp_path):
    pack_run(run, tmp_path / "a.safetensors", coding="bits2")
    _, tensors = read_tensors(tmp_path / "a.safetensors")
    codes = sum(t.numel() for name, t in tensors.items() if name.endswith(".codes"))
    model, _ = load_run(run)
    weights = sum(p.numel() for name, p in model.named_parameters() if p.ndim == 2)
    assert weights / 4 <= codes < weights / 4 + 20
    assert not any(t.ndim == 2 and t.dtype == torch.float32 and "glia" not in n and "fast" not in n
                   for n, t in tensors.items())  # fmt: skip


def test_damaged_files_are_one_clear_error(run, tmp_path):
    path = tmp_path / "a.safetensors"
    pack_run(run, path, coding="bits2")
    whole = path.read_bytes()
    for damaged in (whole[: len(whole) // 2], whole[:-1], whole[:-20] + b"x" * 20, b"", b"hello"):
        path.write_bytes(damaged)
        with pytest.raises(CheckpointError):
            load_packed(path)
    path.write_bytes(whole)
    description, tensors = read_tensors(path)
    name = next(n for n in tensors if n.endswith(".codes"))
    for change, text in (
        ({name: None}, "is missing"),
        ({name: tensors[name][:-1]}, "bytes, got"),
        ({name.replace(".codes", ".gamma"): torch.tensor(-1.0)}, "one number above 0"),
        ({"extra": torch.zeros(1)}, "does not fit its configuration: extra"),
    ):
        changed = {n: t for n, t in {**tensors, **change}.items() if t is not None}
        write_tensors(path, changed, {k: v for k, v in description.items() if k != "format_version"})
        with pytest.raises(CheckpointError, match=text):
            load_packed(path)
    write_tensors(path, tensors, {"kind": "something else"})
    with pytest.raises(CheckpointError, match="is no packed network"):
        load_packed(path)


def test_a_teacher_is_not_packed(tmp_path):
    train(make_config({"cnn": {"channels": 2}, "train": {"epochs": 1, "threads": 1}}), tmp_path / "run")
    with pytest.raises(PnbxTypeError, match="has no ternary weights to pack"):
        pack_run(tmp_path / "run", tmp_path / "a.safetensors")


def test_the_command_line_takes_the_file_in_place_of_the_run(run, tmp_path):
    runner, path = CliRunner(), str(tmp_path / "a.safetensors")
    done = runner.invoke(app, ["pack", str(run), "-o", path])
    assert done.exit_code == 0, done.output
    assert "test accuracy" in done.stdout
    expected = evaluate(load_packed(path)[0], load_split(load_run(run)[1].data, "test"))
    measured = json.loads(runner.invoke(app, ["eval", path, "--json"]).stdout)
    assert measured["accuracy"] == expected["accuracy"]
    assert runner.invoke(app, ["info", path]).exit_code == 0
