import json
import os
import re
import resource
import sys
import time
from contextlib import contextmanager
from pathlib import Path
from typing import Literal, get_args, get_origin

import pytest
import safetensors.torch
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch import nn

from pnbx_snn.errors import CheckpointError, ConfigError, PnbxTypeError, StorageError
from pnbx_snn.files import tensors as storage
from pnbx_snn.files.atomic_write import locked_folder
from pnbx_snn.training.checkpoint import (
    CHECKPOINT_NAME,
    CheckpointMeta,
    build_model,
    load_checkpoint,
    load_run,
    read_meta,
    save_checkpoint,
    saved_config,
)
from pnbx_snn.training.config import make_config
from pnbx_snn.training.kinds import KINDS
from pnbx_snn.training.packed import load_packed, pack_run
from pnbx_snn.training.run_log import RunLog, read_metrics

CONFIG = make_config({"model": {"hidden": [6], "num_steps": 2, "learn_beta": True}})
META = CheckpointMeta(epoch=3, step=12, seed=7, config=CONFIG.model_dump())


def fresh(seed: int = 1) -> nn.Module:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 2))


def trained(seed: int = 0) -> tuple[nn.Module, torch.optim.Optimizer]:
    """A model and an optimiser with state in it: two parameter groups, two steps."""
    model = fresh(seed)
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW(
        [{"params": parameters[:2], "weight_decay": 0.1}, {"params": parameters[2:]}], lr=0.1, betas=(0.8, 0.9)
    )
    for _ in range(2):
        model(torch.randn(5, 3)).square().mean().backward()
        optimizer.step()
    return model, optimizer


def flat(value):
    if isinstance(value, dict):
        return {key: flat(entry) for key, entry in value.items()}
    if isinstance(value, list):
        return [flat(entry) for entry in value]
    return (str(value.dtype), value.tolist()) if isinstance(value, torch.Tensor) else value


@contextmanager
def file_size_limit(num_bytes: int):
    """Let every write beyond this size fail, as on a full disk (the error is another: "File too large")."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


def rewrite(path: Path, change) -> None:
    """Change the description of a checkpoint and make its sha256 right again: what another version would write."""
    tensors = safetensors.torch.load(path.read_bytes())
    description = storage.read_description(path)
    change(description)
    body = json.dumps(description)
    path.write_bytes(safetensors.torch.save(tensors, {"pnbx_snn": f"{storage._sha256(body, tensors)} {body}"}))


@pytest.fixture
def saved(tmp_path):
    model, optimizer = trained()
    path = tmp_path / CHECKPOINT_NAME
    save_checkpoint(path, model, meta=META, optimizer=optimizer)
    return path


def test_what_was_saved_is_what_is_loaded(saved):
    model, optimizer = trained()
    other, other_optimizer = trained(seed=1)
    meta = load_checkpoint(saved, other, optimizer=other_optimizer)
    assert flat(other.state_dict()) == flat(model.state_dict())
    assert flat(other_optimizer.state_dict()) == flat(optimizer.state_dict())
    assert isinstance(other_optimizer.param_groups[0]["betas"], tuple)
    assert meta == read_meta(saved)
    assert meta.model_copy(update={"versions": {}, "config": None}) == META.model_copy(update={"config": None})
    assert saved_config(saved) == CONFIG
    assert {"python", "torch", "pnbx-snn"} <= set(meta.versions)


def test_a_fresh_optimiser_takes_the_state_and_goes_on_alike(saved):
    model, optimizer = trained()
    other = trained(seed=1)[0]
    parameters = list(other.parameters())
    fresh = torch.optim.AdamW([{"params": parameters[:2]}, {"params": parameters[2:]}])
    load_checkpoint(saved, other, optimizer=fresh)
    x = torch.randn(5, 3)
    for m, o in ((model, optimizer), (other, fresh)):
        o.zero_grad()
        m(x).square().mean().backward()
        o.step()
    assert flat(model.state_dict()) == flat(other.state_dict())


class Odd(nn.Module):
    """Tensors that are hard to write: shared, a view, scalar, empty, of every type."""

    def __init__(self, dtype: torch.dtype) -> None:
        super().__init__()
        self.register_buffer("a", torch.arange(12).reshape(3, 4).to(dtype))
        self.register_buffer("b", self.a)
        self.register_buffer("t", self.a.T)
        self.register_buffer("one", torch.tensor(1).to(dtype))
        self.register_buffer("none", torch.zeros(0, 3).to(dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.bfloat16, torch.int64, torch.int8, torch.bool])
def test_all_kinds_of_tensors(tmp_path, dtype):
    model, other = Odd(dtype), Odd(dtype)
    for buffer in other.buffers():
        buffer.zero_()
    save_checkpoint(tmp_path / "c", model, meta=META)
    load_checkpoint(tmp_path / "c", other)
    assert flat(other.state_dict()) == flat(model.state_dict())


def test_load_run_gives_the_network_in_evaluation_mode_and_its_configuration(tmp_path):
    torch.manual_seed(3)
    model = build_model(CONFIG)
    model.calibrate(torch.rand(4, 64))
    save_checkpoint(tmp_path / CHECKPOINT_NAME, model, meta=META)
    torch.manual_seed(5)
    expected_draw = torch.rand(1)
    torch.manual_seed(5)
    loaded, config = load_run(tmp_path)
    assert torch.equal(torch.rand(1), expected_draw)  # the caller's generator was not touched
    assert config == CONFIG
    assert not loaded.training
    x = torch.rand(2, 5, 64)
    assert torch.equal(model.eval()(x).logits, loaded(x).logits)


@pytest.mark.parametrize("encoder", ["direct", "rate", "latency"])
def test_build_model_takes_every_key(encoder):
    values = {"hidden": [5, 4], "num_steps": 3, "encoder": encoder, "beta": 0.5, "threshold": 2.0, "reset": "subtract"}
    more = {"primitive": "lif_box", "spike_grad": "sigmoid", "learn_threshold": True, "scale": "median"}
    model = build_model(make_config({"model": values | more}))
    neuron, linear = model.layers[1].neuron, model.layers[0].linear
    assert [layer.linear.out_features for layer in model.layers] == [5, 4]
    assert (model.num_steps, model.encoder) == (3, encoder)
    assert (neuron.beta.item(), neuron.threshold.tolist(), neuron.reset) == (0.5, [2.0] * 4, "subtract")
    assert (neuron.primitive, neuron.threshold.requires_grad, neuron.beta.requires_grad) == ("lif_box", True, False)
    assert (linear.scale, linear.input_range) == ("median", "int8" if encoder == "direct" else "spikes")
    model.calibrate(torch.rand(2, 64))
    assert model(model.encode(torch.rand(2, 64), generator=torch.Generator())).logits.shape == (2, 10)


# What a crash must not do: lose the previous file.


@contextmanager
def failing(monkeypatch, owner, name, error):
    def fail(*_args, **_kwargs):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(owner, name, fail)
        yield


@pytest.mark.parametrize(
    ("owner", "name", "reason"),
    [(os, "fsync", "No space left on device"), (Path, "replace", "Input/output error")],
)
def test_a_failing_write_keeps_the_previous_checkpoint(saved, monkeypatch, owner, name, reason):
    before = saved.read_bytes()
    number = {"No space left on device": 28, "Input/output error": 5}[reason]
    message = (
        rf"checkpoint.safetensors: checkpoint could not be written \({reason}\); the previous checkpoint is untouched"
    )
    with failing(monkeypatch, owner, name, OSError(number, reason)), pytest.raises(StorageError, match=message):
        save_checkpoint(saved, trained(seed=1)[0], meta=META)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [CHECKPOINT_NAME]


def test_a_disk_that_fills_up_while_writing_keeps_the_previous_checkpoint(saved):
    before = saved.read_bytes()
    with file_size_limit(1000), pytest.raises(StorageError, match="the previous checkpoint is untouched"):
        save_checkpoint(saved, trained(seed=1)[0], meta=META)
    assert saved.read_bytes() == before
    assert [path.name for path in saved.parent.iterdir()] == [CHECKPOINT_NAME]


def test_what_a_kill_while_writing_leaves_behind_is_in_nobodys_way(saved):
    """The kill itself, in the middle of a write, is in test_training.py. What is an hour old has no writer any more."""
    abandoned, young = (saved.with_name(f".pnbx-{name}.tmp") for name in ("00", "11"))
    for path in (abandoned, young):
        path.write_bytes(b"half")
    os.utime(abandoned, (time.time() - 3700,) * 2)
    load_checkpoint(saved, fresh())
    save_checkpoint(saved, fresh(), meta=META)
    load_checkpoint(saved, fresh())
    assert {path.name for path in saved.parent.iterdir()} == {CHECKPOINT_NAME, young.name}


def test_places_that_cannot_be_written(tmp_path):
    model = nn.Linear(1, 1)
    with pytest.raises(StorageError, match=r"could not be written \(No such file.*there was no checkpoint before"):
        save_checkpoint(tmp_path / "missing" / "c", model, meta=META)
    (tmp_path / "folder").mkdir()
    with pytest.raises(StorageError, match=r"folder: checkpoint could not be written \(Is a directory\)"):
        save_checkpoint(tmp_path / "folder", model, meta=META)
    assert [path.name for path in tmp_path.iterdir()] == ["folder"]


# What a damaged or wrong file must not do: load, or raise something unclear.


def assert_refused(path: Path, message: str) -> None:
    model, optimizer = trained(seed=1)
    before = flat(model.state_dict()), flat(optimizer.state_dict())
    with pytest.raises(CheckpointError, match=message) as caught:
        load_checkpoint(path, model, optimizer=optimizer)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)
    assert (flat(model.state_dict()), flat(optimizer.state_dict())) == before


def test_missing_empty_folder_pipe(tmp_path):
    assert_refused(tmp_path / "c", "c: no such file")
    (tmp_path / "c").touch()
    assert_refused(tmp_path / "c", "c: is empty")
    assert_refused(tmp_path / "c" / "d", "d: no such file")
    assert_refused(tmp_path, "cannot be read: must be a regular file, is a folder")
    os.mkfifo(tmp_path / "pipe")
    assert_refused(tmp_path / "pipe", "cannot be read: must be a regular file, is a pipe")


def test_unreadable(saved, monkeypatch):
    with failing(monkeypatch, os, "open", PermissionError(13, "Permission denied")):
        assert_refused(saved, r"cannot be read \(Permission denied\)")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"\x89PNG\r\n\x1a\n" + b"\0" * 100, "is no checkpoint: it does not start as a safetensors file does"),
        (b"PK\x03\x04" + b"\0" * 100, "is no checkpoint"),  # what torch.save writes
        (b"abc", "is no checkpoint"),
        (b"\xff" * 8, "is no checkpoint: it does not start"),
        ((10**6).to_bytes(8, "little") + b"{}", "its header has 1000000 bytes, the file 10"),
        ((2).to_bytes(8, "little") + b"[]", "its header cannot be read"),
        ((2).to_bytes(8, "little") + b"{}", "is a safetensors file, but not a checkpoint of pnbx-snn"),
        ((60_000).to_bytes(8, "little") + b"[" * 60_000, "its header cannot be read"),
        (safetensors.torch.save({"a": torch.zeros(2)}), "is a safetensors file, but not a checkpoint of pnbx-snn"),
    ],
)
def test_wrong_files(tmp_path, content, message):
    (tmp_path / "c").write_bytes(content)
    assert_refused(tmp_path / "c", message)


def test_a_header_that_claims_to_be_huge_is_not_read(tmp_path):
    path = tmp_path / "c"
    with path.open("wb") as file:
        file.write((1 << 33).to_bytes(8, "little"))
        file.truncate(1 << 33)  # eight gibibytes, on paper
    assert_refused(path, "is no checkpoint")
    os.truncate(path, 1 << 40)
    assert_refused(path, "has 1099511627776 bytes, at most 17179869184 are read")


def test_every_truncation_is_refused(saved):
    content = saved.read_bytes()
    model = fresh()
    for length in [*range(1, len(content) - 1, 7), len(content) - 1]:
        saved.write_bytes(content[:length])
        with pytest.raises(CheckpointError, match="is cut short|is no checkpoint"):
            load_checkpoint(saved, model)
    with pytest.raises(CheckpointError, match=rf"its header speaks of {len(content)} bytes, the file has {length}"):
        read_meta(saved)  # which does not read the tensors
    saved.write_bytes(content + b"\0")
    assert_refused(saved, "is cut short or altered")


@given(st.data())
@settings(max_examples=100, suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None)
def test_no_changed_byte_goes_unnoticed(saved, data):
    """Every change is refused with a CheckpointError, or (a blank of the header) changes nothing at all."""
    path = saved.with_name("changed")
    content = bytearray(saved.read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    path.write_bytes(content)
    model = fresh()
    try:
        load_checkpoint(path, model)
    except CheckpointError as error:
        assert "\n" not in str(error)  # noqa: PT017
    else:
        assert flat(model.state_dict()) == flat(trained()[0].state_dict())
        assert read_meta(path) == read_meta(saved)


def test_an_altered_weight_is_named_as_such(saved):
    content = bytearray(saved.read_bytes())
    content[-1] ^= 1
    saved.write_bytes(content)
    assert_refused(saved, "is altered: its sha256 is not the one written into it")


def test_a_newer_format_says_so(saved):
    rewrite(saved, lambda description: description.update(format_version=3, meta="who knows"))
    assert_refused(saved, r"was written by a newer pnbx-snn \(format 3, this one reads up to 2\); update pnbx-snn")
    with pytest.raises(CheckpointError, match="was written by a newer pnbx-snn"):
        read_meta(saved)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: d.update(format_version="1"), "format_version must be a whole number, got '1'"),
        (lambda d: d.update(format_version=0), "format_version must be a whole number, got 0"),
        (lambda d: d.pop("format_version"), "its description cannot be read"),
        (lambda d: d.pop("meta"), "is altered: meta: input should be a valid dictionary"),
        (lambda d: d["meta"].update(epoch=-1), "is altered: meta.epoch: input should be greater than or equal to 0"),
        (lambda d: d["meta"].update(more=1), "is altered: meta.more: extra inputs are not permitted"),
        (lambda d: d.update(optimizer=None), "holds no optimiser state, so a training cannot go on from it"),
        (lambda d: d.update(optimizer=[]), "its optimiser state cannot be read"),
        (lambda d: d["optimizer"].pop("state"), "its optimiser state cannot be read"),
    ],
)
def test_descriptions_with_a_right_sha256_are_checked_too(saved, change, message):
    rewrite(saved, change)
    assert_refused(saved, re.escape(message))


def test_checkpoints_of_another_model_or_optimiser(saved):
    with pytest.raises(CheckpointError) as caught:
        load_checkpoint(saved, nn.Sequential(nn.Linear(3, 5), nn.BatchNorm1d(5), nn.Linear(5, 2)))
    assert "does not fit the model: model.0.weight is float32 [4, 3] in the file and float32 [5, 3]" in str(
        caught.value
    )
    assert str(caught.value).endswith("and 4 more")
    with pytest.raises(CheckpointError, match=r"model.0.weight is float32 \[4, 3\] in the file and float64"):
        load_checkpoint(saved, trained()[0].double())
    with pytest.raises(CheckpointError, match=r"model.2.bias is unknown to the model; model.2.weight is unknown"):
        load_checkpoint(saved, trained()[0][:2])
    with pytest.raises(CheckpointError, match=r"model.3.weight is missing; model.3.bias is missing"):
        load_checkpoint(saved, nn.Sequential(*trained()[0], nn.Linear(2, 2)))
    model = trained(seed=1)[0]
    before = flat(model.state_dict())
    with pytest.raises(CheckpointError, match="does not fit the optimiser"):
        load_checkpoint(saved, model, optimizer=torch.optim.AdamW(model.parameters()))
    assert flat(model.state_dict()) == before


def test_runs_that_cannot_be_rebuilt(tmp_path):
    with pytest.raises(CheckpointError, match=r"run/checkpoint.safetensors: no such file"):
        load_run(tmp_path / "run")
    path = tmp_path / CHECKPOINT_NAME
    save_checkpoint(path, nn.Linear(1, 1), meta=CheckpointMeta())
    with pytest.raises(CheckpointError, match="holds no configuration; only checkpoints of `pnbx-snn train` do"):
        load_run(tmp_path)
    save_checkpoint(path, nn.Linear(1, 1), meta=CheckpointMeta(config={"model": {"quantum": 1}}))
    with pytest.raises(ConfigError, match=r"checkpoint.safetensors: unknown key model.quantum"):
        load_run(tmp_path)
    save_checkpoint(path, nn.Linear(1, 1), meta=META)
    with pytest.raises(CheckpointError, match=r"does not fit the model: .* is missing"):
        load_run(tmp_path)


class Talkative(nn.Module):
    def get_extra_state(self):
        return "not a tensor"


def test_what_cannot_be_saved_without_pickle_is_refused(tmp_path):
    with pytest.raises(PnbxTypeError, match=r"the state of a model must be tensors, got _extra_state: str"):
        save_checkpoint(tmp_path / "c", Talkative(), meta=META)
    model = nn.Linear(1, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=torch.tensor(0.1))
    with pytest.raises(
        PnbxTypeError, match=r"c: the description of a checkpoint must be plain JSON \(Object of type Tensor"
    ):
        save_checkpoint(tmp_path / "c", model, meta=META, optimizer=optimizer)
    with pytest.raises(PnbxTypeError, match="must be plain JSON"):
        save_checkpoint(tmp_path / "c", model, meta=CheckpointMeta(config={"a": {"b": float("nan")}}))
    assert list(tmp_path.iterdir()) == []


def test_a_folder_is_held_by_one_process(tmp_path):
    held = pytest.raises(StorageError, match="cannot be locked; another training is running in it")
    with locked_folder(tmp_path / "a" / "b"), held:
        locked_folder(tmp_path / "a" / "b").__enter__()
    with locked_folder(tmp_path / "a" / "b"):
        pass
    (tmp_path / "file").touch()
    with pytest.raises(StorageError, match=r"file: the folder cannot be made or opened \(File exists\)"):
        locked_folder(tmp_path / "file").__enter__()


# What a configuration can say.
SMALL = {
    "model": {"hidden": [6], "num_steps": 2},
    "pnbx": {"d_hidden": 32, "d_ssm": 8, "d_rnn": 4, "rank": 3, "slots": 5, "num_blocks": 2},
    "cnn": {"channels": 2},
    "conv": {"channels": [2], "num_steps": 2},
}


GRADED = {"hippocampus": "none", "messages": False}
ALSO = {("pnbx", "event_levels"): GRADED, ("pnbx", "graded_blocks"): {**GRADED, "event_levels": 3}}
"""What else a key needs."""


def variants(annotation):
    if get_origin(annotation) is Literal:
        return get_args(annotation)
    return (False, True) if annotation is bool else ()


@pytest.mark.parametrize(
    ("section", "key", "value"),
    [
        (section, key, value)
        for section in SMALL
        for key, field in KINDS[section].section.model_fields.items()
        for value in variants(field.annotation)
    ],
)
def test_every_variant_of_a_network_is_saved_and_loaded(tmp_path, section, key, value):
    """``rnn = "spiking"`` trained and could not be loaded: its neurons look at their leak while they are built."""
    config = make_config({section: {**SMALL[section], **ALSO.get((section, key), {}), key: value}})
    model = build_model(config)
    save_checkpoint(tmp_path / CHECKPOINT_NAME, model, meta=CheckpointMeta(config=config.model_dump()))
    loaded, same = load_run(tmp_path)
    assert same == config
    assert all(torch.equal(tensor, loaded.state_dict()[name]) for name, tensor in model.state_dict().items())
    if model.is_ternary:
        pack_run(tmp_path, tmp_path / "packed")
        assert load_packed(tmp_path / "packed")[0].state_dict().keys() == model.state_dict().keys()


# What asks for more than the file holds.


@contextmanager
def memory_limit(num_bytes: int):
    """Let this process take so much more address space; beyond it torch says that it cannot allocate."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    now = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (now + num_bytes, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_AS, before)


@pytest.mark.parametrize(
    "network",
    [
        {"model": {"hidden": [65536, 65536, 65536]}},
        {"model": {"hidden": [65536] * 64, "learn_beta": True}},
        {"pnbx": {"d_hidden": 65536, "d_ssm": 65536, "slots": 65536, "rank": 4096}},
        {"pnbx": {"d_hidden": 65536, "num_blocks": 64, "rnn": "spiking", "d_rnn": 65536}},
    ],
)
def test_a_small_checkpoint_of_a_large_network(tmp_path, network):
    """Three hidden layers of 65,536 in 1.2 kB took 17 GB before they were compared with the file."""
    path = tmp_path / CHECKPOINT_NAME
    save_checkpoint(path, nn.Linear(2, 1), meta=CheckpointMeta(config=make_config(network).model_dump()))
    assert path.stat().st_size < 4000
    description = {"kind": "packed network", "config": make_config(network).model_dump()}
    storage.write_tensors(tmp_path / "packed", {"a": torch.zeros(1)}, description)
    with memory_limit(512 << 20):
        with pytest.raises(CheckpointError, match="does not fit the model: model.* is missing"):
            load_run(tmp_path)
        with pytest.raises(CheckpointError, match="is missing|does not fit its configuration"):
            load_packed(tmp_path / "packed")


def altered(change):
    return lambda description: change(description["optimizer"])


@pytest.mark.parametrize(
    "change",
    [
        lambda o: o["param_groups"][0].update(lr="fast"),
        lambda o: o["param_groups"][0].update(lr=float("inf")),
        lambda o: o["param_groups"][0].update(betas=[0.9]),
        lambda o: o["param_groups"][0].update(betas=None),
        lambda o: o["param_groups"][0].pop("eps"),
        lambda o: o["param_groups"][0].update(params=[0, 1, 2, 3, 4]),
        lambda o: o["param_groups"][0].update(params="01"),
        lambda o: o["param_groups"].append({}),
        lambda o: o.update(param_groups=[1]),
        lambda o: o.update(param_groups=None),
        lambda o: o["state"].update({"0": None}),
        lambda o: o["state"].update({"x": {}}),
        lambda o: o["state"].pop("0"),
        lambda o: o.pop("layout"),
        lambda o: o.update(layout=7),
    ],
)
def test_an_altered_optimiser_state_is_one_error(saved, change):
    rewrite(saved, altered(change))
    assert_refused(saved, "optimiser")


@pytest.mark.parametrize(
    "change",
    [
        lambda t: t.update({"optimizer.0.exp_avg": torch.zeros(2, 2)}),
        lambda t: t.update({"optimizer.0.step": torch.zeros(3)}),
        lambda t: t.pop("optimizer.0.exp_avg_sq"),
        lambda t: t.update({"optimizer.99.exp_avg": torch.zeros(1)}),
        lambda t: t.update({"optimizer.0.exp_avg": torch.zeros(4, 3, dtype=torch.bool)}),
    ],
)
def test_altered_tensors_of_an_optimiser_are_one_error(saved, change):
    """Some were noticed by torch in the first step, after the model had been changed."""
    description, tensors = storage.read_tensors(saved)
    change(tensors)
    storage.write_tensors(saved, tensors, description)
    try:
        assert_refused(saved, "optimiser")
    except pytest.fail.Exception:  # torch casts some of them to what they should be
        model, optimizer = trained(seed=1)
        load_checkpoint(saved, model, optimizer=optimizer)
        optimizer.step()


def test_an_optimiser_without_state_and_one_with_a_patched_step(tmp_path):
    model = fresh()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    save_checkpoint(tmp_path / "c", model, meta=META, optimizer=optimizer)
    torch.optim.lr_scheduler.LambdaLR(optimizer, lambda epoch: 1.0)  # which wraps the optimiser's step
    load_checkpoint(tmp_path / "c", model, optimizer=optimizer)


def test_a_folder_is_not_held_where_the_system_cannot(tmp_path, monkeypatch, caplog):
    """Windows has no fcntl; importing pnbx_snn failed there."""
    monkeypatch.setitem(sys.modules, "fcntl", None)
    with locked_folder(tmp_path / "run"), locked_folder(tmp_path / "run"):
        assert (tmp_path / "run").is_dir()
    assert "cannot be locked on this system" in caplog.text


def test_metrics_that_no_training_wrote(tmp_path, caplog):
    """1e999 as an epoch was an OverflowError."""
    path = tmp_path / "metrics.jsonl"
    path.write_text(
        '{"epoch": 1e999}\n{"epoch": true}\n{"epoch": 1.5}\n[]\n7\n{"loss": 1}\n' + "[" * 9999 + '\n{"epoch": 2}\n'
    )
    assert read_metrics(path) == [{"epoch": 2}]
    assert "line 1 is not the metrics of an epoch and is left out" in caplog.text
    with RunLog(tmp_path, last_epoch=5):
        assert read_metrics(path) == [{"epoch": 2}]
