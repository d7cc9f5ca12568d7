"""Spoken digits: the real recordings where PNBX_DATA names them, made ones and broken ones, features, augmentation."""

import io
import math
import os
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from pnbx_snn.data import fsdd
from pnbx_snn.data.augment import augment_features
from pnbx_snn.data.fsdd import load_fsdd
from pnbx_snn.data.mel import log_mel, mel_filters
from pnbx_snn.errors import DataError, PnbxValueError, ShapeError

SPEAKERS = ["anna", "bert", "cleo", "dave", "emma", "finn"]


@pytest.fixture(scope="module")
def real():
    folder = os.environ.get("PNBX_DATA")
    if not folder or not (Path(folder) / "fsdd").is_dir():
        pytest.skip("PNBX_DATA names no folder with fsdd/")
    return Path(folder)


@pytest.fixture(scope="module")
def arrays():
    """Noise: 3,000 recordings in a shuffled order, of 200 to 800 samples, but the first ones of other lengths."""
    generator = np.random.default_rng(0)
    order = generator.permutation(3000)
    lengths = generator.integers(200, 800, 3000)
    lengths[:6] = [200, 279, 280, 5239, 5240, 9001]
    offsets = np.concatenate([[0], lengths.cumsum()])
    loudness = np.repeat(generator.uniform(10, 10_000, 3000), lengths)
    samples = (generator.uniform(-1, 1, offsets[-1]) * loudness).astype(np.int16)
    samples[: lengths[0]] = 0
    return {
        "samples": samples,
        "offsets": offsets,
        "digit": (order // 50 % 10).astype(np.int8),
        "speaker": (order // 500).astype(np.int8),
        "index": (order % 50).astype(np.int8),
        "speakers": np.array(SPEAKERS),
        "sample_rate": np.int32(8000),
    }


def write(folder, arrays, **changes):
    folder.mkdir(parents=True, exist_ok=True)
    contents = {name: value for name, value in (arrays | changes).items() if value is not None}
    np.savez(folder / "fsdd.npz", **contents)
    return folder


@pytest.fixture(scope="module")
def made(arrays, tmp_path_factory):
    return write(tmp_path_factory.mktemp("data") / "fsdd", arrays)


def test_real_official_split(real):
    test, train_all = load_fsdd(real, part="test"), load_fsdd(real / "fsdd", part="train_all")
    assert test.features.shape == (300, 64, 40)
    assert train_all.features.shape == (2700, 64, 40)
    for recordings, takes in ((test, 5), (train_all, 45)):
        assert recordings.features.dtype == torch.float32
        assert recordings.features.isfinite().all()
        assert torch.bincount(recordings.labels * 6 + recordings.speakers).tolist() == [takes] * 60
    # The nearest training recording mostly has the right digit, so features and labels belong together.
    nearest = torch.cdist(test.features.flatten(1), train_all.features.flatten(1)).argmin(dim=1)
    assert (train_all.labels[nearest] == test.labels).float().mean() > 0.8


def test_real_speakers(real):
    by_name = load_fsdd(real, part="test", held_out_speaker="theo")
    assert by_name.speakers.tolist() == [4] * 500
    assert torch.bincount(by_name.labels).tolist() == [50] * 10
    assert torch.equal(by_name.features, load_fsdd(real, part="test", held_out_speaker=4).features)


def rows(recordings):
    """Each recording as something to compare: its loudest and last value, class and speaker."""
    features = recordings.features.flatten(1)
    return sorted(
        zip(features.amax(dim=1).tolist(), features[:, 999].tolist(), recordings.labels.tolist(),
            recordings.speakers.tolist(), strict=True)
    )  # fmt: skip


@pytest.mark.parametrize(
    ("held_out", "counts"),
    [(None, [2400, 300, 2700, 300]), ("cleo", [2250, 250, 2500, 500]), (0, [2250, 250, 2500, 500])],
)
def test_parts_are_disjoint_and_together_everything(made, held_out, counts):
    train, validation, train_all, test = (
        load_fsdd(made, part=part, held_out_speaker=held_out, num_bands=20)
        for part in ("train", "validation", "train_all", "test")
    )
    assert [len(part.labels) for part in (train, validation, train_all, test)] == counts
    assert sorted(rows(train) + rows(validation)) == rows(train_all)
    everything = rows(train_all) + rows(test)
    assert len(set(everything)) == 3000
    if held_out is not None:
        number = SPEAKERS.index(held_out) if isinstance(held_out, str) else held_out
        assert test.speakers.unique().tolist() == [number]
        assert number not in train_all.speakers


def test_a_speaker_to_validate_on_is_in_no_other_part(made):
    speakers = {"held_out_speaker": "cleo", "validation_speaker": "anna", "num_bands": 4}
    found = {part: load_fsdd(made, part=part, **speakers).speakers for part in ("train", "validation", "train_all")}
    assert {part: len(numbers) for part, numbers in found.items()} == {
        "train": 2000,
        "validation": 500,
        "train_all": 2500,
    }
    assert set(found["validation"].tolist()).isdisjoint(found["train"].tolist())


def oracle_features(samples, num_frames, num_bands):
    """One recording, from the equations, in float64 and with no FFT."""
    window = np.sin(np.pi * np.arange(200) / 200) ** 2
    frequencies = np.arange(129)
    transform = np.exp(-2j * np.pi * np.outer(np.arange(200), frequencies) / 256)

    def mel(hz):
        return 2595 * np.log10(1 + hz / 700)

    edges = [700 * (10 ** (m / 2595) - 1) for m in np.linspace(mel(60), mel(3800), num_bands + 2)]
    weights = [
        [np.interp(31.25 * k, [low, peak, high], [0, 1, 0]) for k in frequencies]
        for low, peak, high in zip(edges, edges[1:], edges[2:], strict=False)
    ]
    rows = []
    for start in range(0, len(samples) - 199, 80):
        power = np.abs((samples[start : start + 200] / 32768 * window) @ transform) ** 2
        rows.append([math.log(1e-6 + np.dot(weight, power)) for weight in weights])
    rows = np.array(rows)
    mean, std = rows.mean(), max(rows.std(), 1e-3)
    padded = np.full((num_frames, num_bands), math.log(1e-6))
    surplus = len(rows) - num_frames
    if surplus >= 0:
        padded[:] = rows[surplus // 2 : surplus // 2 + num_frames]
    else:
        padded[-surplus // 2 : -surplus // 2 + len(rows)] = rows
    return np.maximum((padded - mean) / std, -1.5)


@pytest.mark.parametrize("num_bands", [40, 5])
def test_features_match_the_equations(made, arrays, num_bands):
    takes = arrays["index"]
    parts = {part: load_fsdd(made, part=part, num_bands=num_bands) for part in ("train_all", "test")}
    for k in (*range(6), 1500, 2999):
        part = "test" if takes[k] < 5 else "train_all"
        place = int(((takes[:k] < 5) == (takes[k] < 5)).sum())
        samples = arrays["samples"][arrays["offsets"][k] : arrays["offsets"][k + 1]]
        expected = oracle_features(samples.astype(np.float64), 64, num_bands)
        # float32 logs of sums over 129 frequencies, divided by a standard deviation that may be far below 1.
        np.testing.assert_allclose(parts[part].features[place].numpy(), expected, atol=2e-4, rtol=2e-5)
        assert parts[part].labels[place] == arrays["digit"][k]
        assert parts[part].speakers[place] == arrays["speaker"][k]


@pytest.mark.parametrize("num_frames", [1, 2, 64, 200])
def test_any_number_of_frames(made, num_frames):
    assert load_fsdd(made, part="test", num_frames=num_frames, num_bands=4).features.shape == (300, num_frames, 4)


@pytest.mark.parametrize("k", [4, 20, 77, 120])
def test_power_of_a_tone_has_a_closed_form(k):
    """A tone at frequency k of the spectrum: half its amplitude times the sum of the window, squared."""
    tone = 0.5 * torch.cos(2 * math.pi * k / 256 * torch.arange(200) + 0.3)
    power = log_mel(tone.unsqueeze(0), torch.eye(129)).exp()[0]
    assert power.argmax() == k
    # What the tone's mirror image adds: the window's tail 2 k bins away, under 0.3 % from k = 4 on.
    assert power[k].item() == pytest.approx((0.5 / 2 * 100) ** 2, rel=3e-3)


@given(st.integers(0, 39), st.floats(0, 6.28), st.floats(1e-2, 1))
def test_a_tone_lights_the_band_of_its_frequency(band, phase, amplitude):
    mel = torch.linspace(2595 * math.log10(1 + 60 / 700), 2595 * math.log10(1 + 3800 / 700), 42)[band + 1]
    hz = 700 * (10 ** (mel.item() / 2595) - 1)
    tone = amplitude * torch.cos(2 * math.pi * hz / 8000 * torch.arange(200) + phase)
    bands = log_mel(tone.unsqueeze(0), mel_filters(40))[0]
    # Low bands are as narrow as the window's own resolution of 80 Hz: there a neighbour may win.
    assert abs(int(bands.argmax()) - band) <= (1 if hz < 500 else 0)
    far = (torch.arange(40) - band).abs() > 8
    assert bands[far].max() < bands.max() - 5


def test_filters_are_triangles_that_add_up_to_one():
    filters = mel_filters(40)
    assert filters.min() == 0.0
    assert filters.max() <= 1.0
    between = filters.sum(dim=1)[(torch.arange(129) * 31.25 > 100) & (torch.arange(129) * 31.25 < 3600)]
    np.testing.assert_allclose(between.numpy(), 1.0, atol=1e-5)
    assert filters[:2].sum() == 0.0  # 0 and 31 Hz
    assert filters[122:].sum() == 0.0  # 3,812 Hz on


@pytest.mark.parametrize("num_bands", [-1, 0, 128, 1000])
def test_filter_errors(num_bands):
    with pytest.raises(PnbxValueError, match=f"num_bands must be at least 1, and each .*, got {num_bands}"):
        mel_filters(num_bands)


@pytest.mark.parametrize("inside", ["", "fsdd"])
def test_missing_file_is_named_and_how_to_get_it(tmp_path, inside):
    name = re.escape(str(tmp_path / "fsdd" / "fsdd.npz"))
    hint = re.escape(f"pnbx-snn download fsdd --data {tmp_path}")
    with pytest.raises(DataError, match=f"{name}: no such file; to get it: {hint}"):
        load_fsdd(tmp_path / inside, part="train")


def test_wrong_arguments(unchecked, made):
    with pytest.raises(PnbxValueError, match="part must be 'train', 'validation', 'train_all' or 'test', got 'all'"):
        load_fsdd(made, part="all")
    for speaker in ("zoe", 6, -1, True, ""):
        with pytest.raises(PnbxValueError, match=rf"must be one of anna, .*, finn or 0 to 5, got {speaker!r}"):
            load_fsdd(made, part="test", held_out_speaker=speaker)
    with pytest.raises(PnbxValueError, match="validation_speaker must be another than held_out_speaker, got 'anna'"):
        load_fsdd(made, part="test", held_out_speaker="anna", validation_speaker="anna")
    for num_frames in (0, 1001):
        with pytest.raises(PnbxValueError, match=rf"num_frames must be in \[1, 1000\], got {num_frames}"):
            load_fsdd(made, part="test", num_frames=num_frames)


def changed(array, place, value):
    result = array.copy()
    result[place] = value
    return result


@pytest.mark.parametrize(
    ("name", "change", "message"),
    [
        ("digit", lambda _: None, "must hold the arrays sample_rate, .* and no other"),
        ("more", lambda _: np.zeros(3), "must hold the arrays sample_rate, .* and no other"),
        ("digit", lambda a: a.astype(object), "digit: must hold numbers, got dtype .O .pickled"),
        ("digit", lambda a: a.astype(np.float32), "digit: has the wrong type float32"),
        ("digit", lambda a: a[:-1], r"digit: must have the shape \[3000\], got \[2999\]"),
        ("digit", lambda a: a.reshape(60, 50), r"digit: must have the shape \[3000\], got \[60, 50\]"),
        ("digit", lambda a: changed(a, 7, 10), "digit must be 0 to 9, got 0 to 10"),
        ("digit", lambda a: changed(a, 7, -1), "digit must be 0 to 9, got -1 to 9"),
        ("index", lambda a: changed(a, 7, 50), "index must be 0 to 49, got 0 to 50"),
        ("speaker", lambda a: changed(a, 7, 6), "speaker must be 0 to 5, got 0 to 6"),
        ("index", lambda a: changed(a, 7, (a[7] + 1) % 50), "each speaker must have said each digit 50 times"),
        ("samples", lambda a: a.astype(np.int32), "samples: has the wrong type int32"),
        ("samples", lambda a: a[:-1], "offsets must run from 0 to the .* samples"),
        ("offsets", lambda a: changed(a, 0, 1), "offsets must run from 0 to the .* samples, got 1 to"),
        ("offsets", lambda a: changed(a, 7, a[8] + 1), "a recording must have 200 to 80000 samples, got -1 to"),
        ("offsets", lambda a: changed(a, 7, a[6] + 199), "a recording must have 200 to 80000 samples, got 199 to"),
        ("sample_rate", lambda _: np.int32(16_000), "sample_rate must be 8000, got 16000"),
        ("speakers", lambda a: changed(a, 1, a[0]), "speakers must be 6 different names"),
        ("speakers", lambda a: np.array(["a" * 9000] * 6), "speakers: must have at most 131072 bytes"),
    ],
)  # fmt: skip
def test_wrong_contents(tmp_path, arrays, name, change, message):
    write(tmp_path, arrays, **{name: change(arrays.get(name))})
    with pytest.raises(DataError, match=message):
        load_fsdd(tmp_path, part="test")


def rezip(path, name, data):
    """Replace a member by these bytes, compressed."""
    with zipfile.ZipFile(path) as archive:
        contents = {member: archive.read(member) for member in archive.namelist()}
    contents[name] = data
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED, compresslevel=1) as archive:
        for member, content in contents.items():
            archive.writestr(member, content)


def npy_header(shape, dtype):
    file = io.BytesIO()
    np.lib.format.write_array_header_1_0(file, {"descr": dtype, "fortran_order": False, "shape": shape})
    return file.getvalue()


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("samples.npy", npy_header((2**50,), "<i2") + bytes(500), r"take .* bytes, got \d+"),
        ("samples.npy", npy_header((-1,), "<i2"), "samples: must be an array of numbers in numpy's format, got the"),
        ("samples.npy", npy_header((100,), "<i2") + bytes(500), "is cut short or altered: .100. of <i2 take 328 bytes"),
        ("samples.npy", b"no array", "samples: is no array of numpy.save"),
        ("samples.npy", b"\x93NUMPY\3\0" + bytes(90), "samples: must be an array of numbers in numpy's format"),
        ("samples.npy", b"\x93NUMPY\4\0" + bytes(90), "samples: is no array of numpy.save"),
        ("samples.npy", b"\x93NUMPY\1\0\x06\0[[[[[[", "samples: must be an array of numbers in numpy's format"),
        ("digit.npy", bytes(1 << 20), "digit: is no array of numpy.save"),
    ],
)
def test_arrays_that_lie(tmp_path, arrays, name, data, message):
    rezip(write(tmp_path, arrays) / "fsdd.npz", name, data)
    with pytest.raises(DataError, match=message):
        load_fsdd(tmp_path, part="test")


def test_a_bomb_is_not_decompressed(tmp_path, arrays, monkeypatch):
    monkeypatch.setitem(fsdd._ARRAYS, "samples", ("i", (-1,), 10_000_000))
    rezip(write(tmp_path, arrays) / "fsdd.npz", "samples.npy", npy_header((9_000_000,), "<i2") + bytes(18_000_000))
    read = []
    member_read = zipfile.ZipExtFile.read
    monkeypatch.setattr(zipfile.ZipExtFile, "read", lambda file, n: read.append(n) or member_read(file, n))
    with pytest.raises(DataError, match="samples: must have at most 10000000 bytes, got 18000000"):
        load_fsdd(tmp_path, part="test")
    assert 0 < sum(read) < 7 * 200  # headers alone


@pytest.mark.parametrize("change", [lambda data: data[:-30], lambda data: data[:5000], lambda _: b"", lambda _: b"PK"])
def test_cut_short(tmp_path, arrays, change):
    path = write(tmp_path, arrays) / "fsdd.npz"
    path.write_bytes(change(path.read_bytes()))
    with pytest.raises(DataError, match="is cut short, altered or no npz file"):
        load_fsdd(tmp_path, part="test")


def test_a_changed_byte_is_noticed(tmp_path, arrays):
    path = write(tmp_path, arrays) / "fsdd.npz"
    data = bytearray(path.read_bytes())
    data[100_000] ^= 1  # among the samples: only the checksum of the zip can tell
    path.write_bytes(data)
    with pytest.raises(DataError, match="is cut short, altered or no npz file .*CRC"):
        load_fsdd(tmp_path, part="test")


def test_neither_folders_nor_pipes_are_opened(tmp_path):
    os.mkfifo(tmp_path / "fsdd.npz")
    with pytest.raises(DataError, match="cannot be read: must be a regular file, is a"):
        load_fsdd(tmp_path, part="test")


def ramp(batch=2, num_frames=20, num_bands=7):
    """Features that tell their place: 100 · frame + band."""
    one = 100.0 * torch.arange(num_frames)[:, None] + torch.arange(num_bands)
    return one.expand(batch, -1, -1).contiguous()


PLAIN = {"max_shift": 0, "max_time_mask": 0, "max_band_mask": 0, "noise": 0.0}


@given(st.integers(0, 1000), st.integers(0, 20))
def test_shift_moves_frames_and_fills_from_the_edge(seed, max_shift):
    features = ramp(6)
    options = PLAIN | {"max_shift": max_shift}
    result = augment_features(features, generator=torch.Generator().manual_seed(seed), **options)
    for after in result:
        possible = [features[0, (np.arange(20) - shift).clip(0, 19)] for shift in range(-max_shift, max_shift + 1)]
        assert any(torch.equal(after, candidate) for candidate in possible)


@pytest.mark.parametrize(("name", "axis", "width"), [("max_time_mask", 2, 5), ("max_band_mask", 1, 3)])
def test_masks_are_stretches_of_the_mean(name, axis, width):
    features = ramp(500)
    options = PLAIN | {name: width, "num_masks": 1}
    result = augment_features(features, generator=torch.Generator().manual_seed(0), **options)
    masked = (result != features).all(dim=axis)
    assert torch.equal(masked, (result != features).any(dim=axis))
    np.testing.assert_allclose(result[result != features].numpy(), features[0].mean().item(), rtol=1e-6)
    lengths = masked.sum(dim=1)
    assert lengths.unique().tolist() == list(range(width + 1))
    assert ((masked[:, 1:] & ~masked[:, :-1]).sum(dim=1) + masked[:, 0] <= 1).all()  # each in one piece
    assert masked.any(dim=0).all()  # everywhere, the ends among them
    two = augment_features(features, generator=torch.Generator().manual_seed(0), **(options | {"num_masks": 2}))
    assert (two != features).all(dim=axis).sum(dim=1).max() > width


def test_noise_has_its_size():
    features = torch.zeros(50, 64, 40)
    options = PLAIN | {"noise": 0.3, "strength": 0.5}
    result = augment_features(features, generator=torch.Generator().manual_seed(0), **options)
    assert result.std().item() == pytest.approx(0.15, rel=0.02)
    assert result.mean().item() == pytest.approx(0.0, abs=0.002)


@given(st.integers(0, 1000), st.floats(0, 1))
def test_augmentation_stays_within_its_bounds(seed, strength):
    features = ramp()
    options = {"generator": torch.Generator().manual_seed(seed), "strength": strength, "noise": 0.0}
    result = augment_features(features, **options)
    assert features.min() <= result.min()
    assert result.max() <= features.max()
    moved = augment_features(features, num_masks=0, **options)
    frame = (moved[..., 0] / 100).round()  # [B, T]: where each frame comes from
    assert torch.equal(moved, 100 * frame.unsqueeze(2) + torch.arange(7))
    assert (frame[:, 10] - 10).abs().max() <= math.ceil(8 * strength)


def test_strength_zero_is_the_identity_bit_for_bit():
    features = torch.tensor([-0.0, -0.0, -0.0, 1e-42, 3.0, math.pi]).repeat(8).reshape(1, 6, 8)
    result = augment_features(
        features, generator=torch.Generator(), max_shift=2, max_time_mask=2, max_band_mask=2, strength=0.0
    )
    assert torch.equal(result.view(torch.int32), features.view(torch.int32))


@given(st.integers(0, 1000))
def test_augmentation_uses_its_generator_and_leaves_the_input_alone(seed):
    features = ramp()
    before, state = features.clone(), torch.get_rng_state()
    one, same = (augment_features(features, generator=torch.Generator().manual_seed(seed)) for _ in range(2))
    assert torch.equal(one, same)
    assert torch.equal(features, before)
    assert torch.equal(torch.get_rng_state(), state)
    other = features.clone()
    other[1] = 0.0
    assert torch.equal(augment_features(other, generator=torch.Generator().manual_seed(seed))[0], one[0])


def test_augmentation_errors(unchecked):
    features, generator = ramp(), torch.Generator()
    with pytest.raises(ShapeError, match=r"features must be \[B, T, F\], got \[20, 7\]"):
        augment_features(features[0], generator=generator)
    for name, value, limit in (("max_shift", 21, 20), ("max_time_mask", -1, 20), ("max_band_mask", 8, 7)):
        with pytest.raises(PnbxValueError, match=rf"{name} must be in \[0, {limit}\], got {value}"):
            augment_features(features, generator=generator, **{name: value})
    with pytest.raises(PnbxValueError, match="num_masks must be at least 0, got -1"):
        augment_features(features, generator=generator, num_masks=-1)
    for noise in (-0.1, math.inf, math.nan):
        with pytest.raises(PnbxValueError, match=f"noise must be finite and at least 0, got {noise}"):
            augment_features(features, generator=generator, noise=noise)
    for strength in (-0.1, 1.1, math.nan):
        with pytest.raises(PnbxValueError, match=rf"strength must be in \[0, 1\], got {strength}"):
            augment_features(features, generator=generator, strength=strength)
