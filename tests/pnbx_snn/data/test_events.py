"""Event data: files in the real formats, made here, through Tonic to spikes; and from a configuration to a program."""

import json
import sys
from fractions import Fraction

import h5py
import numpy as np
import pytest
import torch
from typer.testing import CliRunner

from event_files import heidelberg_set, write_nmnist
from neuromorphic import verify
from neuromorphic.compiler import compile_run
from pnbx_snn.cli import app
from pnbx_snn.data.catalog import load_split
from pnbx_snn.data.events import SENSORS, Sensor, bin_events, load_events
from pnbx_snn.errors import ConfigError, DataError, PnbxError
from pnbx_snn.training.checkpoint import build_model, load_run
from pnbx_snn.training.config import make_config, to_toml

STEP_US = 10_000


# Binning


def test_events_become_spikes_as_the_equation_says():
    """The slow oracle: one event after the other."""
    random = np.random.default_rng(0)
    sensor = Sensor(9, 7, 2, 2, "", ("", "", ""))
    x, y, p = (random.integers(0, limit, 300) for limit in (9, 7, 2))
    t = random.integers(0, 1200, 300)
    for pool in (1, 2, 4, 9):
        wide, high = -(-9 // pool), -(-7 // pool)
        expected = np.zeros((10, 2, high, wide), np.float32)
        for event in range(300):
            if t[event] < 1000:
                expected[t[event] // 100, p[event], y[event] // pool, x[event] // pool] = 1
        got = bin_events(t, x, y, p, sensor=sensor, num_steps=10, step_us=100.0, pool=pool)
        assert np.array_equal(got, expected.reshape(10, -1))
        assert got.shape[1] == sensor.num_inputs(pool)


@pytest.mark.parametrize(
    ("t", "x", "message"),
    [
        ([0], [4], r"an event's x must be in \[0, 3\], got 4"),
        ([0], [-1], r"an event's x must be in \[0, 3\], got -1"),
        ([-5], [0], "an event's time must be at least 0 us, got -5"),
    ],
)
def test_an_event_outside_the_sensor(t, x, message):
    with pytest.raises(DataError, match=message):
        bin_events(np.array(t), np.array(x), sensor=Sensor(4, 1, 1, 2, "", ("", "", "")), num_steps=3, step_us=10.0)


@pytest.mark.parametrize(
    ("step_ms", "t_us", "step"),
    [
        (16.1, 16_100, 1),  # 1000 * 16.1 is 16100.000000000002: step 0
        (16.1, 16_099, 0),
        (0.1, 300, 3),
        (4.35, 4_350, 1),
        (1.001, 3_003, 3),
        (0.0003, 3, 10),
        (1e-3, 7, 7),
        (16.1, 48_300.0, 3),
        (16.1, 48_299.99999999999, 2),
        (1 / 3, 1000, 3),  # written 0.3333333333333333: three of them end just before 1000 us
    ],
)
def test_steps_are_as_long_as_they_are_written(step_ms, t_us, step):
    sensor = Sensor(1, 1, 1, 2, "", ("", "", ""))
    options = {"sensor": sensor, "num_steps": 12, "step_us": 1000 * Fraction(str(step_ms))}
    spikes = bin_events(np.array([t_us]), np.array([0]), **options)
    assert np.flatnonzero(spikes).tolist() == [step]


def test_a_whole_raster_of_borders():
    """Event k at k * 16.1 ms belongs to step k: of 200, floats put 24 into the step before."""
    t_us = np.arange(200) * 16_100
    sensor = Sensor(1, 1, 1, 2, "", ("", "", ""))
    for times in (t_us, t_us.astype(float), t_us.astype(np.uint32)):
        spikes = bin_events(times, 0 * t_us, sensor=sensor, num_steps=200, step_us=16_100.0)
        assert spikes.all()
    before = bin_events(t_us[1:] - 1, 0 * t_us[1:], sensor=sensor, num_steps=200, step_us=Fraction(16_100))
    assert np.flatnonzero(before).tolist() == list(range(199))


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_time_that_is_no_number(bad):
    with pytest.raises(DataError, match=f"an event's time must be a number, got {bad}"):
        bin_events(
            np.array([0.0, bad]), np.array([0, 0]), sensor=Sensor(4, 1, 1, 2, "", ("",) * 3), num_steps=3, step_us=1.0
        )


# The four formats


def test_shd_files(tmp_path):
    recordings, labels = heidelberg_set(tmp_path)
    heidelberg_set(tmp_path, "test", 6)
    assert len(load_events(tmp_path, "shd", part="test", num_steps=20)[1]) == 6
    frames, all_labels = load_events(tmp_path, "shd", part="train_all", num_steps=20, pool=7)
    assert frames.shape == (20, 20, 100)
    assert all_labels.tolist() == labels.tolist()
    got = frames[torch.tensor([3, 0])]
    for row, number in enumerate((3, 0)):
        times, units = recordings[number]
        microseconds = (np.asarray(times, np.float16).astype(np.float64) * 1e6).astype(np.int64)
        expected = torch.zeros(20, 100)
        expected[microseconds // STEP_US, units // 7] = 1
        assert torch.equal(got[row], expected)
    assert torch.equal(frames[2:4][1], got[0])
    validation, held_out = load_events(tmp_path, "shd", part="validation", num_steps=20, pool=7)
    train, learned = load_events(tmp_path, "shd", part="train", num_steps=20, pool=7)
    assert (len(train), len(validation)) == (18, 2)
    assert torch.equal(validation[:], frames[torch.tensor([9, 19])])
    assert torch.equal(train[17:], frames[18:19])
    assert held_out.tolist() + learned.tolist() == [labels[9], labels[19], *np.delete(labels, [9, 19])]


def test_ssc_has_a_validation_file_of_its_own(tmp_path):
    for part, num in (("train", 12), ("valid", 4), ("test", 2)):
        heidelberg_set(tmp_path, part, num, "SSC")
    sizes = {part: load_events(tmp_path, "ssc", part=part, num_steps=5)[0].shape[0] for part in PARTS}
    assert sizes == {"train": 12, "validation": 4, "train_all": 16, "test": 2}
    both, valid = (load_events(tmp_path, "ssc", part=part, num_steps=20)[0] for part in ("train_all", "validation"))
    assert torch.equal(both[12:], valid[:])


PARTS = ("train", "validation", "train_all", "test")


def test_nmnist_files(tmp_path):
    for digit in (0, 7):
        for number in range(6):
            events = [(5, 3, 0, 0), (33, 33, 1, 1000 * number), (number, 0, 1, 5_000_000)]
            write_nmnist(tmp_path / "NMNIST" / "Train" / str(digit) / f"{number:05}.bin", events)
    frames, labels = load_events(tmp_path, "nmnist", part="train_all", num_steps=6, step_ms=1.0)
    assert frames.shape == (12, 6, 2 * 34 * 34)
    assert labels.tolist() == [0] * 6 + [7] * 6
    for number, recording in enumerate(frames[:6]):
        assert recording.nonzero().tolist() == sorted([[0, 3 * 34 + 5], [number, 34 * 34 + 33 * 34 + 33]])


def test_dvs_gesture_files_come_in_the_order_of_their_names(tmp_path):
    for folder, classes in (("user02_lab", (3,)), ("user01_led", (10, 2))):
        for label in classes:
            path = tmp_path / "DVSGesture" / "ibmGestureTrain" / folder / f"{label}.npy"
            path.parent.mkdir(parents=True, exist_ok=True)
            np.save(path, np.array([[127, 0, 1, 0], [0, label, 0, 30]], np.int64))  # x, y, p, ms
    frames, labels = load_events(tmp_path, "dvs_gesture", part="train_all", num_steps=4, pool=64)
    assert labels.tolist() == [10, 2, 3]
    assert frames.shape == (3, 4, 2 * 2 * 2)
    assert frames[1:2].nonzero().tolist() == [[0, 0, 5], [0, 3, 0]]


# What goes wrong


def test_missing_files_say_how_to_get_them(tmp_path, monkeypatch):
    monkeypatch.setattr("urllib.request.urlopen", None)  # nobody may go and fetch them
    expected = (
        r"SHD/shd_train.h5: no such file; to get it: python -c \"import tonic; tonic.datasets.SHD\('.*', train=True\)\""
    )
    with pytest.raises(DataError, match=expected):
        load_events(tmp_path, "shd", part="train", num_steps=5)
    with pytest.raises(DataError, match=r"SSC/ssc_valid.h5: no such file; .*tonic.datasets.SSC\('.*', split='valid'\)"):
        load_events(tmp_path, "ssc", part="validation", num_steps=5)
    with pytest.raises(DataError, match="NMNIST/Test: no such folder; "):
        load_events(tmp_path, "nmnist", part="test", num_steps=5)
    monkeypatch.delenv("PNBX_DATA", raising=False)
    with pytest.raises(DataError, match="data.name = 'shd' needs the folder where Tonic put it: --data DIR"):
        load_split(make_config({"data": {"name": "shd"}, "pnbx": {}}).data, "train")


def test_a_missing_tonic_names_the_extra(tmp_path, monkeypatch):
    heidelberg_set(tmp_path)
    monkeypatch.setitem(sys.modules, "tonic", None)
    with pytest.raises(DataError, match=r"Tonic, which is not installed .*: pip install .*\[events\]'"):
        load_events(tmp_path, "shd", part="train", num_steps=5)


def test_events_at_the_border_of_a_step_in_a_file(tmp_path):
    """16.1 ms a step from a configuration: the event at 48,300 us of an N-MNIST recording is in step 3."""
    write_nmnist(tmp_path / "NMNIST" / "Train" / "0" / "00001.bin", [(0, 0, 0, 48_300), (1, 0, 0, 16_100)])
    frames, _ = load_events(tmp_path, "nmnist", part="train_all", num_steps=5, step_ms=16.1)
    assert frames[0:1][0].nonzero()[:, 0].tolist() == [1, 3]


def test_an_old_tonic_is_named_and_not_the_file(tmp_path, monkeypatch):
    """Tonic 1.6 with NumPy 2 computes microseconds in float16: every file looked cut short."""
    heidelberg_set(tmp_path)
    versions = {"tonic": "1.6.0", "numpy": "2.4.6"}
    monkeypatch.setattr("pnbx_snn.data.events.version", versions.__getitem__)
    with pytest.raises(DataError, match=r"Tonic 1.6.0 cannot read events with NumPy 2.4.6; the file is not at fault"):
        load_events(tmp_path, "shd", part="train", num_steps=5)
    versions["numpy"] = "1.26.4"
    load_events(tmp_path, "shd", part="train", num_steps=5)


def test_tonic_needs_no_torchvision():
    import tonic

    assert tonic.datasets.SHD
    assert "torchvision" not in sys.modules


def damage(kind, path):
    if kind == "cut short":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif kind == "something else":
        path.write_bytes(b"no hdf5 at all")
    else:
        with h5py.File(path, "a") as file:
            if kind == "no times":
                del file["spikes/times"]
            elif kind == "a time that is no number":
                file["spikes/times"][0] = np.array([np.nan], np.float16)
            elif kind == "a channel too many":
                file["spikes/units"][0] = np.full(60, 700, np.uint16)
            elif kind == "a class too many":
                file["labels"][0] = 20


@pytest.mark.parametrize(
    "kind",
    ["cut short", "something else", "no times", "a time that is no number", "a channel too many", "a class too many"],
)
def test_a_damaged_file_is_named(tmp_path, kind):
    heidelberg_set(tmp_path)
    damage(kind, tmp_path / "SHD" / "shd_train.h5")
    with pytest.raises(DataError, match="SHD"):
        load_events(tmp_path, "shd", part="train_all", num_steps=5)[0][:1]


@pytest.mark.parametrize("content", [b"1234567", bytes([40, 0, 0, 0, 0])])
def test_a_damaged_nmnist_recording_is_named(tmp_path, content):
    path = tmp_path / "NMNIST" / "Train" / "0" / "00000.bin"
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
    with pytest.raises(DataError, match="Train/0/00000.bin"):
        load_events(tmp_path, "nmnist", part="train_all", num_steps=5)[0][:1]


@pytest.mark.parametrize("array", [np.zeros((3, 2)), np.array([{}], object)])
def test_a_damaged_gesture_is_named(tmp_path, array):
    path = tmp_path / "DVSGesture" / "ibmGestureTrain" / "user01_led" / "3.npy"
    path.parent.mkdir(parents=True)
    np.save(path, array, allow_pickle=True)
    with pytest.raises(DataError, match="user01_led/3.npy"):
        load_events(tmp_path, "dvs_gesture", part="train_all", num_steps=5)[0][:1]


def test_too_few_recordings_for_a_part(tmp_path):
    heidelberg_set(tmp_path, num=5)
    with pytest.raises(DataError, match="has no recordings for the part 'validation'"):
        load_events(tmp_path, "shd", part="validation", num_steps=5)


@pytest.mark.parametrize(
    ("sections", "message"),
    [
        ({"model": {}}, r"is sequences of spikes and needs \[pnbx\], got \[model\]"),
        ({"cnn": {}}, r"is sequences of spikes and needs \[pnbx\], got \[cnn\]"),
        ({"pnbx": {}, "augment": {"strength": 0.5}}, r"augment.strength changes values .*: must be 0, got 0.5"),
        ({"pnbx": {}, "augment": {"input_noise": 0.1}}, r"augment.input_noise changes values"),
    ],
)
def test_configurations_that_do_not_fit_events(sections, message):
    with pytest.raises(ConfigError, match=message):
        make_config({"data": {"name": "shd"}, **sections})


def test_arguments_out_of_range(tmp_path, unchecked):
    with pytest.raises(PnbxError, match="name must be one of shd, ssc, nmnist, dvs_gesture, got 'shhd'"):
        load_events(tmp_path, "shhd", part="test", num_steps=5)
    with pytest.raises(PnbxError, match="at least 1 and step_ms above 0 and finite, got 0, 1 and 10.0"):
        load_events(tmp_path, "shd", part="test", num_steps=0)


# The whole road


@pytest.mark.parametrize("name", SENSORS)
def test_the_network_fits_the_sensor(name):
    config = make_config(
        {"data": {"name": name, "pool": 16}, "pnbx": {"d_hidden": 64, "d_ssm": 4, "d_rnn": 4, "slots": 4}}
    )
    with torch.device("meta"):
        model = build_model(config)
    assert model.in_features == SENSORS[name].num_inputs(16) == config.data.in_features
    assert model.encoder.linear.input_range == "spikes"
    assert model.readout.out_features == SENSORS[name].num_classes


def test_from_a_configuration_to_a_program(tmp_path):
    heidelberg_set(tmp_path / "data", num=60)
    heidelberg_set(tmp_path / "data", "test", 10)
    sizes = {"d_hidden": 64, "d_ssm": 8, "d_rnn": 8, "rank": 4, "slots": 4, "tau_max": 16.0}
    data = {"name": "shd", "part": "train", "num_frames": 20, "pool": 10}
    learning = {"epochs": 6, "batch_size": 18, "threads": 1, "rate_weight": 0.0, "learning_rate": 1e-2, "settle": 4}
    config = make_config({"data": data, "pnbx": sizes, "augment": {"input_dropout": 0.1}, "train": learning})
    (tmp_path / "c.toml").write_text(to_toml(config))
    runner, folder, where = CliRunner(), str(tmp_path / "run"), ["--data", str(tmp_path / "data")]
    trained = runner.invoke(app, ["train", str(tmp_path / "c.toml"), "--out", folder, *where])
    assert trained.exit_code == 0, trained.output
    measured = json.loads(runner.invoke(app, ["eval", folder, "--json", *where]).stdout)
    assert measured["n"] == 10
    assert measured["accuracy"] > 0.8  # low against high channels
    program = compile_run(tmp_path / "run", part="test", data=tmp_path / "data")
    assert program.metadata["agreement"]["part"] == "test"
    frames = load_split(load_run(tmp_path / "run")[1].data.model_copy(update={"folder": where[1]}), "test").images
    inputs = program.prepare_inputs(frames[:3].transpose(0, 1).numpy())
    assert set(np.unique(inputs)) == {0, 1}  # events enter the program as they are
    comparison, expected, _ = verify(program, inputs, executor="native")
    assert comparison.equal
    assert expected.variables
