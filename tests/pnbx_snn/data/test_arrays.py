"""A user's own arrays: read, checked, split, and trained from a configuration."""

import pickle
import zipfile

import numpy as np
import pytest
import torch

from pnbx_snn.data.array_files import read_headers
from pnbx_snn.data.arrays import ArraySizes, array_sizes, load_arrays, windows
from pnbx_snn.data.split import Sequences
from pnbx_snn.errors import ConfigError, DataError, DataWarning, PnbxValueError
from pnbx_snn.training.checkpoint import load_run
from pnbx_snn.training.config import make_config
from pnbx_snn.training.evaluate import evaluate
from pnbx_snn.training.run import train
from pnbx_snn.training.tasks import load_split, resolve

RNG = np.random.default_rng(0)
PARTS = ("train", "validation", "train_all", "test")
STATIC = {"x": RNG.random((60, 4)), "y": np.arange(60) % 3}
SEQUENCES = {"x": RNG.random((60, 5, 4)), "y": np.arange(60) % 3}
LENGTHS = RNG.integers(1, 6, 60)
RAGGED = {**SEQUENCES, "lengths": LENGTHS}


def saved(folder, arrays, *, as_folder=False):
    """Write arrays as numpy does; return the path."""
    if not as_folder:
        path = folder / "mine.npz"
        np.savez(path, **arrays)
        return path
    path = folder / "mine"
    path.mkdir(exist_ok=True)
    for name, array in arrays.items():
        np.save(path / f"{name}.npy", array)
    return path


def rows(split):
    lengths = [None] * len(split.labels) if split.lengths is None else split.lengths.tolist()
    values = split.images[:].flatten(1).tolist()
    return sorted((*x, y, n or 0) for x, y, n in zip(values, split.labels.tolist(), lengths, strict=True))


@pytest.mark.parametrize("as_folder", [False, True])
@pytest.mark.parametrize("arrays", [STATIC, SEQUENCES, RAGGED], ids=["static", "sequences", "ragged"])
def test_parts_are_disjoint_stratified_and_together_everything(tmp_path, arrays, as_folder):
    path = saved(tmp_path, arrays, as_folder=as_folder)
    parts = {part: load_arrays(path, part=part) for part in PARTS}
    assert {part: len(split.labels) for part, split in parts.items()} == {
        "train": 42, "validation": 6, "train_all": 48, "test": 12,
    }  # fmt: skip
    for split in parts.values():
        assert len(set(split.labels.bincount().tolist())) == 1
        assert split.images[:].dtype == torch.float32
        assert split.labels.dtype == torch.int64
    assert rows(parts["train_all"]) == sorted(rows(parts["train"]) + rows(parts["validation"]))
    x = arrays["x"].astype(np.float32)
    if "lengths" in arrays:
        x = x * (np.arange(5) < LENGTHS[:, None])[..., None]
    lengths = arrays.get("lengths", np.zeros(60, int)).tolist()
    everything = sorted(
        (*one, label, n)
        for one, label, n in zip(x.reshape(60, -1).tolist(), arrays["y"].tolist(), lengths, strict=True)
    )
    assert sorted(rows(parts["train_all"]) + rows(parts["test"])) == everything


def test_a_split_repeats_and_moves_with_its_own_seed_only(tmp_path):
    path = saved(tmp_path, STATIC)
    one, same, other = (load_arrays(path, part="test", split_seed=seed) for seed in (0, 0, 1))
    assert rows(one) == rows(same) != rows(other)
    assert len(load_arrays(path, part="test", test_share=0.4).labels) == 24


def test_parts_that_are_given_are_taken_as_they_are(tmp_path):
    given = {
        "x_train": STATIC["x"][:40],
        "y_train": STATIC["y"][:40],
        "x_test": STATIC["x"][40:],
        "y_test": STATIC["y"][40:],
    }
    path = saved(tmp_path, given)
    test = load_arrays(path, part="test")
    assert np.array_equal(test.images.numpy(), given["x_test"].astype(np.float32))
    assert np.array_equal(test.labels.numpy(), given["y_test"])
    assert (
        len(load_arrays(path, part="train").labels) == 40 - 3
    )  # validation is cut out of them: one of 13 or 14 in a class
    whole = {**given, "x_validation": STATIC["x"][:6], "y_validation": STATIC["y"][:6]}
    assert len(load_arrays(saved(tmp_path, whole), part="train").labels) == 40


def test_sequences_end_to_end_are_the_padded_ones(tmp_path):
    """Nobody should have to pad: [sum(lengths), N] says the same as [S, T, N] with any numbers in the padding."""
    own = np.arange(5) < LENGTHS[:, None]
    flat = {"x": SEQUENCES["x"][own], "y": SEQUENCES["y"], "lengths": LENGTHS}
    noisy = {**RAGGED, "x": np.where(own[..., None], SEQUENCES["x"], np.nan)}
    splits = [load_arrays(saved(tmp_path, arrays), part="train_all") for arrays in (RAGGED, flat, noisy)]
    for split in splits[1:]:
        assert torch.equal(split.images[:], splits[0].images[:])
        assert torch.equal(split.lengths, splits[0].lengths)


@pytest.mark.parametrize("dtype", ["<f2", "<f4", ">f8", "|i1", "|u1", ">i4", "<u8", "|b1"])
@pytest.mark.parametrize("order", ["C", "F"])
def test_every_number_type_and_order_means_its_numbers(tmp_path, dtype, order):
    x = np.asarray(RNG.integers(0, 2, (20, 3, 2)), dtype=dtype, order=order)
    x[0, 0] = 1
    split = load_arrays(saved(tmp_path, {"x": x, "y": np.arange(20, dtype="|u1") % 2}), part="test", test_share=0.4)
    wanted = x.astype(np.float32).reshape(20, -1).tolist()
    assert all(row in wanted for row in split.images.flatten(1).tolist())
    assert array_sizes(tmp_path / "mine.npz") == ArraySizes(2, 3, 2)


def changed(**arrays):
    return {**STATIC, **arrays}


BAD = {
    "no labels": ({"x": STATIC["x"]}, "has x and no y for the train part"),
    "no samples": ({"x_test": STATIC["x"], "y_test": STATIC["y"]}, "has no samples to learn from: must hold x and y"),
    "twice": (changed(x_train=STATIC["x"]), "x and x_train are the same array"),
    "unknown": (changed(weights=STATIC["x"]), "unknown array 'weights'; known are x, y and lengths"),
    "axes": (changed(x=np.ones((60, 2, 2, 2))), r"must be \[S, N\] or \[S, T, N\], got \[60, 2, 2, 2\]; flatten"),
    "one step": (changed(x=np.ones((60, 1, 2))), r"sequences of one step: static samples are \[S, N\]"),
    "counts": (changed(y=np.arange(59) % 3), "x has 60 samples and y 59 labels"),
    "empty": (changed(x=np.ones((60, 0))), r"got \[60, 0\]"),
    "complex": (changed(x=np.ones((60, 2), complex)), "must hold numbers, got dtype <c16"),
    "text": (changed(y=np.array(["a", "b"] * 30)), "must hold numbers, got dtype <U1"),
    "float labels": (changed(y=np.arange(60) % 3 * 1.0), "y must be whole numbers from 0 .*np.unique"),
    "label -1": (changed(y=np.arange(60) % 3 - 1), "y must be 0 or more, got -1 at 0"),
    "labels from 1": (changed(y=np.arange(60) % 3 + 1), "every class from 0 to its largest, 3, got none of class 0"),
    "a hole": (changed(y=np.array([0, 1, 3] * 20)), "got none of class 2"),
    "one class": (changed(y=np.zeros(60, int)), r"at least two classes, got \[0\]"),
    "a rare class": (changed(y=np.r_[np.arange(58) % 2, 2, 2]), "class 2 has 2 samples in the training .*too few"),
    "new class": (changed(x_test=STATIC["x"], y_test=np.full(60, 5)), "y_test has class 5, y only 0 to 2"),
    "nan": (changed(x=np.where(np.arange(60) == 7, np.nan, 1.0)[:, None]), "got 1 of 60 that are not, .* in sample 7"),
    "too large": (changed(x=np.full((60, 2), 1e39)), "must be finite float32 numbers"),
    "all zero": (changed(x=np.zeros((60, 2))), "x is 0 everywhere"),
    "other width": (changed(x_test=np.ones((9, 3)), y_test=np.arange(9) % 3), "must have the same steps and values"),
    "length 0": ({**RAGGED, "lengths": np.zeros(60, int)}, r"lengths must be in 1\.\.5, got 0 at 0"),
    "length 6": ({**RAGGED, "lengths": np.full(60, 6)}, r"lengths must be in 1\.\.5, got 6 at 0"),
    "float lengths": ({**RAGGED, "lengths": np.full(60, 2.0)}, "lengths must be whole numbers, got dtype <f8"),
    "few lengths": ({**RAGGED, "lengths": np.full(59, 2)}, r"lengths must be \[60\] as y, got \[59\]"),
    "wrong sum": ({**STATIC, "lengths": np.full(60, 2)}, "x has 60 steps end to end and lengths add up to 120"),
    "one long": (
        {"x": np.ones((299, 2)), "y": np.arange(100) % 2, "lengths": np.r_[np.ones(99, int), 200]},
        r"mine.npz: sequences of 1 to 200 steps: padded to the longest they take 64 times their own size; cut",
    ),
    "some lengths": (
        {**RAGGED, "x_test": SEQUENCES["x"], "y_test": SEQUENCES["y"]},
        "lengths must be there for every part or for none",
    ),
}  # fmt: skip


@pytest.mark.parametrize(("arrays", "message"), BAD.values(), ids=BAD)
def test_what_does_not_fit_is_one_error_that_says_so(tmp_path, arrays, message):
    with pytest.raises(DataError, match=message):
        load_arrays(saved(tmp_path, arrays), part="train")


def test_spikes_must_be_spikes(tmp_path):
    with pytest.raises(DataError, match="must be 0 or 1 everywhere with data.values = 'spikes', got 0"):
        load_arrays(saved(tmp_path, STATIC), part="train", values="spikes")


def test_nothing_is_unpickled(tmp_path):
    class Bomb:
        def __reduce__(self):
            return (pytest.fail, ("unpickled",))

    objects = np.array([Bomb()] * 60, dtype=object)
    path = tmp_path / "mine.npz"
    np.savez(path, x=STATIC["x"], y=objects)
    with pytest.raises(DataError, match="pickled Python objects are never read"):
        load_arrays(path, part="train")
    folder = saved(tmp_path, STATIC, as_folder=True)
    (folder / "y.npy").write_bytes(pickle.dumps([1]))
    with pytest.raises(DataError, match=r"y.npy: is no array of numpy.save"):
        load_arrays(folder, part="train")


def header(text):
    text = text.encode()
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


DAMAGED = {
    "huge": header("{'descr': '<f8', 'fortran_order': False, 'shape': (99999999999, 4), }\n"),
    "code": header("__import__('os').system('true')"),
    "nested": header("(" * 2000),
    "negative": header("{'descr': '<f8', 'fortran_order': False, 'shape': (-1, 4), }\n"),
    "void": header("{'descr': '|V8', 'fortran_order': False, 'shape': (60,), }\n") + bytes(480),
    "cut": b"\x93NUMPY\x01",
    "nothing": b"",
    "long header": b"\x93NUMPY\x02\x00" + (1 << 30).to_bytes(4, "little"),
}


@pytest.mark.parametrize("data", DAMAGED.values(), ids=DAMAGED)
@pytest.mark.parametrize("as_folder", [False, True])
def test_damaged_arrays_are_refused_before_memory_is_taken(tmp_path, data, as_folder):
    path = saved(tmp_path, STATIC, as_folder=as_folder)
    if as_folder:
        (path / "x.npy").write_bytes(data)
    else:
        with zipfile.ZipFile(path, "w") as archive:
            archive.writestr("x.npy", data)
    with pytest.raises(DataError, match="mine"):
        load_arrays(path, part="train")


def test_every_byte_of_a_file_may_be_damaged(tmp_path):
    """Whatever a changed byte does, it is a DataError or the arrays themselves (a byte that says nothing)."""
    path = saved(tmp_path, {"x": STATIC["x"][:9], "y": STATIC["y"][:9]})
    good, reference = path.read_bytes(), rows(load_arrays(path, part="train"))
    refused = 0
    for place in range(0, len(good), 3):
        path.write_bytes(good[:place] + bytes([good[place] ^ 0xFF]) + good[place + 1 :])
        try:
            found = rows(load_arrays(path, part="train"))
        except DataError:
            refused += 1
        else:
            assert found == reference, place
    assert refused > len(good) / 3 * 0.6
    for length in range(0, len(good), 50):
        path.write_bytes(good[:length])
        with pytest.raises(DataError):
            load_arrays(path, part="train")


def test_other_files_are_refused(tmp_path):
    with pytest.raises(DataError, match=r"no such file or folder; data.path names a .npz"):
        read_headers(tmp_path / "nowhere.npz")
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match="holds no .npy file"):
        read_headers(tmp_path / "empty")
    np.save(tmp_path / "x.npy", STATIC["x"])
    with pytest.raises(DataError, match="no npz file"):
        read_headers(tmp_path / "x.npy")
    with pytest.raises(DataError, match="must be a regular file, is a device"):
        read_headers(type(tmp_path)("/dev/zero"))
    with zipfile.ZipFile(tmp_path / "mine.npz", "w") as archive:
        archive.writestr("note.txt", "hello")
    with pytest.raises(DataError, match="holds 'note.txt'"):
        read_headers(tmp_path / "mine.npz")


def test_a_column_that_8_bits_would_lose_is_a_warning(tmp_path):
    x = STATIC["x"] * [1, 1000, 1, 0]  # the last column is 0 everywhere: nothing is lost there
    with pytest.warns(DataWarning, match="columns 0, 2 of x are so small"):
        load_arrays(saved(tmp_path, {**STATIC, "x": x}), part="train")


def test_windows_see_their_past_only():
    x = torch.arange(1.0, 7).reshape(1, 3, 2)  # steps (1, 2), (3, 4), (5, 6)
    assert windows(x, 2).tolist() == [[[0, 1, 0, 2], [1, 3, 2, 4], [3, 5, 4, 6]]]
    assert torch.equal(windows(x, 1), x)
    with pytest.raises(PnbxValueError, match="at least 1, got 0"):
        windows(x, 0)


def test_a_split_forgets_no_length(tmp_path):
    split = load_arrays(saved(tmp_path, RAGGED), part="train")
    assert isinstance(split.images, Sequences)
    assert split.first(7).lengths.tolist() == split.lengths[:7].tolist()
    with pytest.raises(PnbxValueError, match="neurobench: samples must all have the same number of steps, got 1 to 5"):
        split.of_equal_lengths("neurobench")


SMALL = {"d_hidden": 32, "num_steps": 3, "d_ssm": 4, "d_rnn": 4, "rank": 2, "slots": 3}


def configured(path, **data):
    return make_config(
        {
            "data": {"name": "arrays", "path": str(path), "part": "train", **data},
            "pnbx": SMALL,
            "train": {"epochs": 1, "batch_size": 14, "threads": 1},
        }
    )


@pytest.mark.parametrize("arrays", [STATIC, SEQUENCES], ids=["static", "sequences"])
def test_train_and_load_from_a_configuration(tmp_path, arrays):
    config = configured(saved(tmp_path, arrays))
    result = train(config, tmp_path / "run")
    model, learned = load_run(tmp_path / "run")
    assert learned == resolve(config)
    assert (learned.pnbx.norm, learned.pnbx.tau_max) == ("affine", 3.0 if arrays is STATIC else 5.0)
    assert learned.pnbx.quantize  # what is trained is what is compiled
    assert (learned.data.features, learned.data.classes) == (4, 3)
    assert learned.data.steps == (1 if arrays is STATIC else 5)
    split = load_split(learned.data, "validation")
    assert evaluate(model, split)["accuracy"] == result.metrics["accuracy_validation"]


def test_sizes_are_those_of_the_training_from_then_on(tmp_path):
    config = resolve(configured(saved(tmp_path, STATIC), window=1))
    saved(tmp_path, {"x": RNG.random((30, 5)), "y": np.arange(30) % 3})
    with pytest.raises(
        DataError, match="made for static samples of 4 values and 3 classes, the arrays have .* 5 values"
    ):
        load_split(config.data, "test")
    with pytest.raises(ConfigError, match="data.features is 4 and .* has 5"):
        resolve(config)


def test_a_configuration_that_does_not_fit_is_refused(tmp_path):
    path = str(saved(tmp_path, SEQUENCES))
    data = {"name": "arrays", "path": path}
    with pytest.raises(ConfigError, match=r"needs data.path: a .npz, or a folder of .npy"):
        make_config({"data": {"name": "arrays"}})
    with pytest.raises(ConfigError, match="data.path is for data.name = 'arrays'"):
        make_config({"data": {"path": path}})
    with pytest.raises(ConfigError, match=r"\[cnn\] needs images of a known size"):
        make_config({"data": data, "cnn": {}})
    with pytest.raises(ConfigError, match="augment.strength distorts images and spoken digits"):
        make_config({"data": data, "pnbx": SMALL, "augment": {"strength": 0.5}})
    with pytest.raises(ConfigError, match=r"holds sequences and needs \[pnbx\].*, got \[model\]"):
        resolve(make_config({"data": data}))
    with pytest.raises(ConfigError, match="data.features is not known before the arrays are looked at"):
        _ = make_config({"data": data, "pnbx": SMALL}).data.in_features
    static = {**data, "path": str(saved(tmp_path, STATIC)), "window": 3}
    with pytest.raises(ConfigError, match="data.window is for sequences: must be 1 for static samples, got 3"):
        resolve(make_config({"data": static, "pnbx": SMALL}))


def test_what_a_configuration_names_is_not_changed(tmp_path):
    """Keys that are left out get what suits few inputs; what somebody wrote stays."""
    config = configured(saved(tmp_path, STATIC))
    named = make_config({**config.model_dump(), "pnbx": {**SMALL, "norm": "plain", "tau_max": 99.0, "quantize": False}})
    assert (resolve(named).pnbx.norm, resolve(named).pnbx.tau_max) == ("plain", 99.0)
    assert not resolve(named).pnbx.quantize
    assert resolve(resolve(config)) == resolve(config)


def test_a_folder_for_the_data_finds_a_relative_path(tmp_path):
    saved(tmp_path, STATIC)
    assert resolve(configured("mine.npz", folder=str(tmp_path))).data.classes == 3
