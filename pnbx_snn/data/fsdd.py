"""Spoken digits (FSDD): recordings from one file, checked before use, as features of :mod:`pnbx_snn.data.mel`."""

import hashlib
import io
import itertools
import logging
import re
import wave
import zipfile
import zlib
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, Int64
from numpy.typing import NDArray
from torch import Tensor

from pnbx_snn.data.array_files import read_headers, read_named
from pnbx_snn.data.download import Mirror
from pnbx_snn.data.files import find_file
from pnbx_snn.data.mel import HOP, SAMPLE_RATE_HZ, WINDOW, log_mel, mel_filters
from pnbx_snn.data.split import Part, check_part
from pnbx_snn.errors import DataError, PnbxValueError
from pnbx_snn.files.atomic_write import write_atomically
from pnbx_snn.wording import counted

_log = logging.getLogger(__name__)

SILENCE = -1.5
"""Smallest feature. Nearest neighbours from ``"train"`` to ``"validation"``: 94.7 % right; 86.7 % without a floor."""

NUM_SPEAKERS, NUM_CLASSES, NUM_TAKES = 6, 10, 50
NUM_RECORDINGS = NUM_SPEAKERS * NUM_CLASSES * NUM_TAKES
FIRST_TRAIN, FIRST_VALIDATION = 5, 45
MAX_SECONDS = 10

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
SAMPLES_SHA256 = "fdca0267c79c5302792c8a6f91d69460ad462c73e1b765ac069d7bd7ff067ce4"
"""Of the samples and offsets of the recordings on which this project's numbers were measured."""
MAX_ZIP_BYTES = 64 << 20
_WAV = re.compile(r"[^/]+/recordings/([0-9]_[a-z]+_[0-9]{1,2}\.wav)", re.ASCII)
_MAX_WAV_BYTES = 2 * MAX_SECONDS * SAMPLE_RATE_HZ + 4096

_FRAMES_AT_ONCE = 16_384
_SMALL_BYTES = 1 << 17
_ARRAYS: dict[str, tuple[str, tuple[int, ...], int]] = {
    "sample_rate": ("iu", (), _SMALL_BYTES),
    "speakers": ("U", (NUM_SPEAKERS,), _SMALL_BYTES),
    "digit": ("iu", (NUM_RECORDINGS,), _SMALL_BYTES),
    "speaker": ("iu", (NUM_RECORDINGS,), _SMALL_BYTES),
    "index": ("iu", (NUM_RECORDINGS,), _SMALL_BYTES),
    "offsets": ("iu", (NUM_RECORDINGS + 1,), _SMALL_BYTES),
    "samples": ("i", (-1,), 2 * NUM_RECORDINGS * MAX_SECONDS * SAMPLE_RATE_HZ),
}
"""Kinds of type, shape (-1: any) and largest size of each array in the file."""


class Recordings(NamedTuple):
    """Features of spoken digits (a step is 10 ms, bands go from low to high), the digits, and who spoke (0 to 5)."""

    features: Float[Tensor, "n T F"]
    labels: Int64[Tensor, " n"]
    speakers: Int64[Tensor, " n"]


class Sounds(NamedTuple):
    """Recordings as they were made: ``samples[offsets[i]:offsets[i + 1]]`` is what ``speakers[i]`` said, a digit."""

    samples: NDArray[np.int16]
    offsets: NDArray[np.int64]
    labels: NDArray[np.int64]
    speakers: NDArray[np.int64]


class _Archive(NamedTuple):
    samples: NDArray[np.int16]
    offsets: NDArray[np.int64]
    digit: NDArray[np.int64]
    speaker: NDArray[np.int64]
    take: NDArray[np.int64]
    speakers: list[str]


def load_fsdd(
    folder: str | Path,
    *,
    part: Part,
    held_out_speaker: str | int | None = None,
    validation_speaker: str | int | None = None,
    num_frames: int = 64,
    num_bands: int = 40,
) -> Recordings:
    """Load a part of the 3,000 spoken digits of FSDD as log-mel features. Nothing is downloaded.

    The features of :func:`pnbx_snn.data.mel.log_mel` are, for each recording, shifted and scaled to mean 0 and standard
    deviation 1 over all its frames and bands, and what is below :data:`SILENCE` is raised to it: how silent silence was
    says nothing of the digit. The two numbers come from the whole recording, before it is cut or padded: a device that
    must answer while somebody speaks has to estimate them from what it has heard so far.

    The file is not trusted: the names, types, shapes and sizes of its arrays are checked before they are decompressed,
    pickled objects are never read, and each speaker must have said each digit 50 times.

    Parameters
    ----------
    folder
        Where ``fsdd.npz`` is, or the folder above if that one is called ``fsdd``.
    part
        Without ``held_out_speaker`` the official split by the number of the take (0 to 49 of each speaker and digit):
        ``"test"`` is takes 0-4 (300 recordings), ``"train_all"`` 5-49 (2,700), which is ``"train"`` 5-44 (2,400) and
        ``"validation"`` 45-49 (300). With it, ``"test"`` is everything by that speaker (500) and the other parts
        everything by the others: ``"train_all"`` (2,500) is ``"train"`` 0-44 (2,250) and ``"validation"`` 45-49 (250).
        ``"test"`` is for the last measurement and never for choosing.
    held_out_speaker
        Name or number of the speaker whom training must not hear.
    validation_speaker
        Another one: ``"validation"`` is then everything by that speaker and ``"train"`` everything by the speakers
        that are left, so that choices for unheard speakers are made on one who is unheard too.
    num_frames, num_bands
        Steps of 10 ms: longer recordings lose as much at both ends, shorter ones get silence at both ends. Mel bands.

    Raises
    ------
    DataError
        If the file is missing (the message says how to get it), cut short, altered or something else.
    PnbxValueError
        If the part or the speaker does not exist, or ``num_frames`` or ``num_bands`` is out of range.

    References
    ----------
    Jackson, Souza, Flaks, Pan, Nicolas and Thite 2018, "Free Spoken Digit Dataset" (CC BY-SA 4.0), whose README
    defines the official split.

    Examples
    --------
    >>> load_fsdd("nowhere", part="test")
    Traceback (most recent call last):
    pnbx_snn.errors.DataError: nowhere/fsdd/fsdd.npz: no such file; to get it: pnbx-snn download fsdd --data nowhere...
    """
    check_part("load_fsdd", part)
    if not 1 <= num_frames <= 100 * MAX_SECONDS:
        raise PnbxValueError(f"load_fsdd: num_frames must be in [1, {100 * MAX_SECONDS}], got {num_frames}")
    mel_filters(num_bands)  # refuses a wrong number before the file is read
    archive = _read_archive(find_file(Path(folder), "fsdd", "fsdd.npz"))
    chosen = np.flatnonzero(_in_part(archive, part, held_out_speaker, validation_speaker))
    return Recordings(
        features=_features(archive, chosen, num_frames, num_bands),
        labels=torch.from_numpy(archive.digit[chosen]),
        speakers=torch.from_numpy(archive.speaker[chosen]),
    )


def load_sounds(folder: str | Path, *, part: Part, held_out_speaker: str | int | None = None) -> Sounds:
    """Load the recordings of a part themselves, 8,000 samples a second; arguments as of :func:`load_fsdd`."""
    check_part("load_sounds", part)
    archive = _read_archive(find_file(Path(folder), "fsdd", "fsdd.npz"))
    chosen = np.flatnonzero(_in_part(archive, part, held_out_speaker, None))
    begin, end = archive.offsets[:-1][chosen], archive.offsets[1:][chosen]
    samples = np.concatenate([archive.samples[a:b] for a, b in zip(begin, end, strict=True)])
    offsets = np.concatenate([[0], np.cumsum(end - begin)])
    return Sounds(samples, offsets, archive.digit[chosen], archive.speaker[chosen])


def _in_part(
    archive: _Archive, part: Part, held_out_speaker: str | int | None, validation_speaker: str | int | None
) -> NDArray[np.bool_]:
    """Return which recordings belong to a part."""
    test = archive.take < FIRST_TRAIN
    late = archive.take >= FIRST_VALIDATION
    if held_out_speaker is not None:
        test = archive.speaker == _speaker(archive, "held_out_speaker", held_out_speaker)
    if validation_speaker is not None:
        late = archive.speaker == _speaker(archive, "validation_speaker", validation_speaker)
        if (test & late).any() and held_out_speaker is not None:
            raise PnbxValueError(
                f"load_fsdd: validation_speaker must be another than held_out_speaker, got {validation_speaker!r} twice"
            )
    parts = {"test": test, "train_all": ~test, "train": ~test & ~late, "validation": ~test & late}
    return parts[part]


def _speaker(archive: _Archive, name: str, speaker: str | int) -> int:
    """Return a speaker's number; a :class:`PnbxValueError` for one that is unknown."""
    known = dict(enumerate(archive.speakers)) | {name: name for name in archive.speakers}
    if speaker not in known or isinstance(speaker, bool):
        names = ", ".join(archive.speakers)
        raise PnbxValueError(f"load_fsdd: {name} must be one of {names} or 0 to {NUM_SPEAKERS - 1}, got {speaker!r}")
    return archive.speakers.index(known[speaker])


def _features(archive: _Archive, chosen: NDArray[np.int64], num_frames: int, num_bands: int) -> Float[Tensor, "n T F"]:
    filters = mel_filters(num_bands)
    samples = torch.from_numpy(archive.samples)
    offsets = torch.from_numpy(archive.offsets)
    quiet = log_mel(torch.zeros(1, WINDOW), filters)[0, 0]
    features = torch.empty(len(chosen), num_frames, num_bands)
    starts, counts = offsets[:-1][chosen], (offsets.diff()[chosen] - WINDOW) // HOP + 1
    # All frames of the chosen recordings, one recording after the other.
    owner = torch.repeat_interleave(torch.arange(len(chosen)), counts)
    number = torch.arange(len(owner)) - torch.repeat_interleave(counts.cumsum(0) - counts, counts)
    first = starts[owner] + HOP * number  # [M]
    windows = samples.unfold(0, WINDOW, 1)  # a view
    groups = torch.split(first, _FRAMES_AT_ONCE)
    bands = torch.cat([log_mel(windows[group] / 32768.0, filters) for group in groups])  # [M, F]
    for position, recording in enumerate(torch.split(bands, counts.tolist())):
        mean, std = recording.mean(), recording.std(correction=0).clamp_(min=1e-3)
        surplus = len(recording) - num_frames
        cut = recording[max(0, surplus // 2) :][:num_frames]
        before = max(0, -surplus // 2)
        features[position] = (quiet - mean) / std
        features[position, before : before + len(cut)] = (cut - mean) / std
    return features.clamp_(min=SILENCE)


def _read_archive(path: Path) -> _Archive:
    headers = read_headers(path, kinds="fiubU")
    if headers.keys() != _ARRAYS.keys():
        raise DataError(f"{path}: must hold the arrays {', '.join(_ARRAYS)} and no other")
    for name, (kinds, shape, max_bytes) in _ARRAYS.items():
        got, dtype, num_bytes = headers[name].shape, headers[name].dtype, headers[name].num_bytes
        if dtype.kind not in kinds or (name == "samples" and dtype.itemsize != 2):
            raise DataError(f"{path}: {name}: has the wrong type {dtype}")
        if len(got) != len(shape) or any(want not in (-1, size) for want, size in zip(shape, got, strict=True)):
            raise DataError(f"{path}: {name}: must have the shape {list(shape)}, got {list(got)}")
        if num_bytes > max_bytes:
            raise DataError(f"{path}: {name}: must have at most {max_bytes} bytes, got {num_bytes}")
    arrays = {name: read_named(path, header) for name, header in headers.items()}
    offsets, digit, speaker, take = (arrays[name].astype(np.int64) for name in ("offsets", "digit", "speaker", "index"))
    samples, speakers = arrays["samples"].copy(), arrays["speakers"].tolist()  # torch wants memory that can be written
    checked = _Archive(samples, offsets, digit, speaker, take, speakers)
    if (rate := arrays["sample_rate"].item()) != SAMPLE_RATE_HZ:
        raise DataError(f"{path}: sample_rate must be {SAMPLE_RATE_HZ}, got {rate}")
    _check_contents(path, checked)
    return checked


def _check_contents(path: Path, archive: _Archive) -> None:
    if archive.offsets[0] != 0 or archive.offsets[-1] != len(archive.samples):
        raise DataError(
            f"{path}: offsets must run from 0 to the {counted(len(archive.samples), 'sample')}, "
            f"got {archive.offsets[0]} to {archive.offsets[-1]}"
        )
    for what, values, low, high, unit in (
        ("a recording must have", np.diff(archive.offsets), WINDOW, MAX_SECONDS * SAMPLE_RATE_HZ, " samples"),
        ("digit must be", archive.digit, 0, NUM_CLASSES - 1, ""),
        ("speaker must be", archive.speaker, 0, NUM_SPEAKERS - 1, ""),
        ("index must be", archive.take, 0, NUM_TAKES - 1, ""),
    ):
        if values.min() < low or values.max() > high:
            raise DataError(f"{path}: {what} {low} to {high}{unit}, got {values.min()} to {values.max()}")
    number = (archive.speaker * NUM_CLASSES + archive.digit) * NUM_TAKES + archive.take
    if len(np.unique(number)) != NUM_RECORDINGS:
        raise DataError(f"{path}: each speaker must have said each digit {NUM_TAKES} times, each with its own index")
    if len(set(archive.speakers)) != NUM_SPEAKERS or not all(archive.speakers):
        raise DataError(f"{path}: speakers must be {NUM_SPEAKERS} different names, got {archive.speakers}")


def download_fsdd(folder: Path, mirror: Mirror) -> list[Path]:
    """Build ``fsdd.npz`` in a folder from the wav files of a mirror's ``master.zip``, unless a right one is there.

    The recordings may change at their source: they must be 50 takes of each digit by each of the six speakers, and a
    warning says if they are not those on which this project's numbers were measured.
    """
    path = folder / "fsdd.npz"
    if path.exists():
        try:
            _read_archive(path)
        except DataError as problem:
            _log.warning("%s; it is replaced", problem)
        else:
            return [path]
    url = f"{mirror.base_url}master.zip"
    samples, offsets = _wav_samples(url, mirror.read("master.zip", max_bytes=MAX_ZIP_BYTES))
    if hashlib.sha256(samples.tobytes() + offsets.tobytes()).hexdigest() != SAMPLES_SHA256:
        _log.warning("%s: its recordings are not those on which the numbers in this project were measured", url)
    take, speaker, digit = np.indices((NUM_TAKES, len(SPEAKERS), NUM_CLASSES), dtype=np.int8).reshape(3, -1)
    file, rate = io.BytesIO(), np.int32(SAMPLE_RATE_HZ)
    np.savez_compressed(
        file, samples=samples, offsets=offsets, digit=digit, speaker=speaker, index=take,
        speakers=np.array(SPEAKERS), sample_rate=rate,
    )  # fmt: skip
    write_atomically(path, file.getvalue(), what="data file")
    return [path]


def _wav_samples(url: str, data: bytes) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Return all recordings end to end, ordered by take, speaker and digit, and where each begins."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            # Nothing is unpacked to a path of the archive's choosing: names are only compared.
            found = {match[1]: member for member in archive.infolist() if (match := _WAV.fullmatch(member.filename))}
            orders = itertools.product(range(NUM_TAKES), SPEAKERS, range(NUM_CLASSES))
            names = [f"{digit}_{speaker}_{take}.wav" for take, speaker, digit in orders]
            if missing := [name for name in names if name not in found]:
                raise DataError(f"{url}: lacks {len(missing)} of {len(names)} recordings, the first {missing[0]}")
            waves = [_read_wav(url, archive, found[name]) for name in names]
    except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError, RuntimeError, OSError) as error:
        raise DataError(f"{url}: is cut short, altered or no zip file ({error})") from error
    return np.concatenate(waves), np.cumsum([0, *(len(one) for one in waves)], dtype=np.int64)


def _read_wav(url: str, archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> NDArray[np.int16]:
    where = f"{url}: {member.filename}"
    if member.file_size > _MAX_WAV_BYTES:
        raise DataError(f"{where}: must have at most {_MAX_WAV_BYTES} bytes, got {member.file_size}")
    try:
        with wave.open(io.BytesIO(archive.read(member)), "rb") as file:
            got = (file.getnchannels(), file.getsampwidth(), file.getframerate())
            samples = file.readframes(file.getnframes())
    except (wave.Error, EOFError) as error:
        raise DataError(f"{where}: is no WAV file ({error})") from error
    if got != (1, 2, SAMPLE_RATE_HZ):
        raise DataError(
            f"{where}: must be one channel of 2 bytes at {SAMPLE_RATE_HZ} Hz, got {got[0]} of {got[1]} at {got[2]}"
        )
    result = np.frombuffer(samples[: len(samples) // 2 * 2], dtype="<i2").astype(np.int16)
    if not WINDOW <= len(result) <= MAX_SECONDS * SAMPLE_RATE_HZ:
        raise DataError(f"{where}: must have {WINDOW} to {MAX_SECONDS * SAMPLE_RATE_HZ} samples, got {len(result)}")
    return result
