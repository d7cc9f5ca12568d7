"""MNIST and spoken digits from their public mirrors, when asked and not otherwise; checked before they are kept."""

import gzip
import hashlib
import http.client
import io
import logging
import re
import urllib.error
import urllib.request
import wave
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any, Literal, cast

import numpy as np
from numpy.typing import NDArray

from pnbx_snn.data.files import reading
from pnbx_snn.data.fsdd import MAX_SECONDS, NUM_CLASSES, NUM_TAKES, SAMPLE_RATE_HZ, WINDOW, load_fsdd
from pnbx_snn.errors import DataError, PnbxValueError, StorageError
from pnbx_snn.storage import write_atomically

Name = Literal["mnist", "fsdd"]
Progress = Callable[[str, int, int | None], None]
"""Called with the file's name, the bytes so far and, where the server says so, all its bytes."""

BASE_URLS: dict[Name, str] = {
    "mnist": "https://ossci-datasets.s3.amazonaws.com/mnist/",
    "fsdd": "https://github.com/Jakobovski/free-spoken-digit-dataset/archive/refs/heads/",
}
TIMEOUT_S = 30.0

MNIST_FILES = {
    "train-images-idx3-ubyte": (16 + 60_000 * 784, "6bbc9ace898e44ae57da46a324031adb"),
    "train-labels-idx1-ubyte": (8 + 60_000, "a25bea736e30d166cdddb491f175f624"),
    "t10k-images-idx3-ubyte": (16 + 10_000 * 784, "2646ac647ad5339dbf082846283269ea"),
    "t10k-labels-idx1-ubyte": (8 + 10_000, "27ae3e4e09519cfbb04c329615203637"),
}
"""Bytes and md5 of the uncompressed files."""
MAX_MNIST_BYTES = 16 << 20

SPEAKERS = ("george", "jackson", "lucas", "nicolas", "theo", "yweweler")
FSDD_SHA256 = "fdca0267c79c5302792c8a6f91d69460ad462c73e1b765ac069d7bd7ff067ce4"
"""Of the samples and offsets of the recordings on which this project's numbers were measured."""
MAX_FSDD_BYTES = 64 << 20

_WAV = re.compile(r"[^/]+/recordings/([0-9])_([a-z]+)_([0-9]{1,2})\.wav", re.ASCII)
_MAX_WAV_BYTES = 2 * MAX_SECONDS * SAMPLE_RATE_HZ + 4096
_CHUNK = 1 << 16

_log = logging.getLogger(__name__)


def download(
    name: Name,
    folder: str | Path,
    *,
    progress: Progress | None = None,
    base_url: str | None = None,
    open_url: Callable[[str], io.BufferedIOBase] | None = None,
) -> list[Path]:
    """Put a data set into a folder, where :func:`pnbx_snn.data.mnist.load_mnist` or ``load_fsdd`` find it.

    Parameters
    ----------
    name
        ``"mnist"``: the four files of MNIST (12 MB) into ``folder/mnist``. ``"fsdd"``: the 3,000 spoken digits (a zip
        of 16 MB) as ``folder/fsdd/fsdd.npz``.
    folder
        Made if it is not there. Files in it that are right are kept, so a second call continues the first one.
    progress
        Told about every 64 KiB that arrives.
    base_url
        Another mirror, an ``https://`` address that ends in ``/``, with files of the same names.
    open_url
        Another way to open an address, for tests and for networks with rules of their own.

    Returns
    -------
    list of Path
        The files, whether downloaded or already there.

    Notes
    -----
    What arrives is not trusted: it has a largest size, and is checked in memory before a file is written, in one step.
    MNIST must have the known md5 sums. FSDD may change at its source: its files must be 50 takes of each digit by each
    of the six speakers, and a warning says if they are not those on which this project's numbers were measured.

    Raises
    ------
    DataError
        If the mirror cannot be reached, or what it sends is cut short, altered or something else; nothing is kept.
    StorageError
        If a file cannot be written.
    PnbxValueError
        If there is no data set of this name, or ``base_url`` is not an https address.

    References
    ----------
    LeCun, Cortes and Burges, MNIST (CC BY-SA 3.0), from the mirror that torchvision uses; Jackson et al. 2018, "Free
    Spoken Digit Dataset" (CC BY-SA 4.0).

    Examples
    --------
    >>> download("mnist", getfixture("tmp_path"), base_url="http://example.org/")
    Traceback (most recent call last):
    pnbx_snn.errors.PnbxValueError: download: base_url must start with https:// and end in /, got 'http://example.org/'
    """
    if name not in BASE_URLS:
        raise PnbxValueError(f"download: name must be 'mnist' or 'fsdd', got {name!r}")
    base_url = BASE_URLS[name] if base_url is None else base_url
    if not (base_url.startswith("https://") and base_url.endswith("/")):
        raise PnbxValueError(f"download: base_url must start with https:// and end in /, got {base_url!r}")
    target = Path(folder) / name
    try:
        target.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StorageError(f"{target}: the folder cannot be made ({error.strerror})") from error
    get = _Source(base_url, open_url or _open_https, progress)
    return [_mnist_file(file, target, get) for file in MNIST_FILES] if name == "mnist" else [_fsdd(target, get)]


class _Source:
    """Reads whole files of one mirror, of bounded size."""

    def __init__(self, base_url: str, open_url: Callable[[str], io.BufferedIOBase], progress: Progress | None) -> None:
        self.base_url = base_url
        self.open_url = open_url
        self.progress = progress

    def __call__(self, file: str, limit: int) -> bytes:
        url = self.base_url + file
        data = bytearray()
        try:
            with self.open_url(url) as response:
                total = getattr(response, "length", None)  # an HTTPResponse has it, None where the server does not say
                while chunk := response.read(_CHUNK):
                    data += chunk
                    if len(data) > limit:
                        raise DataError(f"{url}: must have at most {limit} bytes, sends more")
                    if self.progress is not None:
                        self.progress(file, len(data), total)
        except urllib.error.HTTPError as error:
            error.close()
            raise DataError(f"{url}: cannot be downloaded (the server says {error.code} {error.reason})") from error
        except (OSError, http.client.HTTPException) as error:
            reason = getattr(error, "reason", None) or error
            raise DataError(f"{url}: cannot be downloaded ({reason}); is there a network?") from error
        if total is not None and len(data) != total:
            raise DataError(f"{url}: is cut short: the server promised {total} bytes and sent {len(data)}")
        return bytes(data)


class _HttpsRedirects(urllib.request.HTTPRedirectHandler):
    """Follows redirects to https only; the standard library would also go to http and ftp."""

    def redirect_request(
        self, req: urllib.request.Request, fp: Any, code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        if not newurl.startswith("https://"):
            raise urllib.error.URLError(f"redirects to {newurl}, which is not https")
        return super().redirect_request(req, fp, code, msg, headers, newurl)


def _open_https(url: str) -> io.BufferedIOBase:
    opener = urllib.request.build_opener(_HttpsRedirects())
    return cast(http.client.HTTPResponse, opener.open(url, timeout=TIMEOUT_S))


def _mnist_file(name: str, folder: Path, get: _Source) -> Path:
    num_bytes, md5 = MNIST_FILES[name]
    plain, path = folder / name, folder / f"{name}.gz"
    if plain.exists():
        if not _is_mnist(plain, num_bytes, md5):
            raise DataError(f"{plain}: is not MNIST's (its md5 must be {md5}); move it away to have it downloaded")
        return plain
    if path.exists() and _is_mnist(path, num_bytes, md5):
        return path
    data = get(path.name, MAX_MNIST_BYTES)
    try:
        with gzip.open(io.BytesIO(data)) as file:
            got = _md5(file, num_bytes)
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{get.base_url}{path.name}: is cut short, altered or no gzip file ({error})") from error
    if got != md5:
        raise DataError(f"{get.base_url}{path.name}: is not MNIST's: its md5 uncompressed must be {md5}, is {got}")
    write_atomically(path, data, what="data file")
    return path


def _is_mnist(path: Path, num_bytes: int, md5: str) -> bool:
    try:
        with reading(path, "gzip"), gzip.open(path) if path.suffix == ".gz" else path.open("rb") as file:
            return _md5(file, num_bytes) == md5
    except DataError as problem:
        _log.info("%s", problem)
        return False


def _md5(file: io.BufferedIOBase, num_bytes: int) -> str:
    """Return the md5 of at most this many bytes and one more, which makes a longer file a wrong one."""
    return hashlib.md5(file.read(num_bytes + 1), usedforsecurity=False).hexdigest()


def _fsdd(folder: Path, get: _Source) -> Path:
    path = folder / "fsdd.npz"
    if path.exists():
        try:
            load_fsdd(folder.parent, part="test")
        except DataError as problem:
            _log.warning("%s; it is replaced", problem)
        else:
            return path
    url = f"{get.base_url}master.zip"
    samples, offsets = _fsdd_samples(url, get("master.zip", MAX_FSDD_BYTES))
    if hashlib.sha256(samples.tobytes() + offsets.tobytes()).hexdigest() != FSDD_SHA256:
        _log.warning("%s: its recordings are not those on which the numbers in this project were measured", url)
    take, speaker, digit = np.indices((NUM_TAKES, len(SPEAKERS), NUM_CLASSES), dtype=np.int8).reshape(3, -1)
    file = io.BytesIO()
    np.savez_compressed(
        file,
        samples=samples,
        offsets=offsets,
        digit=digit,
        speaker=speaker,
        index=take,
        speakers=np.array(SPEAKERS),
        sample_rate=np.int32(SAMPLE_RATE_HZ),
    )
    write_atomically(path, file.getvalue(), what="data file")
    return path


def _fsdd_samples(url: str, data: bytes) -> tuple[NDArray[np.int16], NDArray[np.int64]]:
    """Return all recordings end to end, ordered by take, speaker and digit, and where each begins."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members: dict[tuple[int, str, int], zipfile.ZipInfo] = {}
            for member in archive.infolist():
                # Nothing is unpacked to a path of the archive's choosing: names are only compared.
                if match := _WAV.fullmatch(member.filename):
                    members[int(match[3]), match[2], int(match[1])] = member
            wanted = [
                (take, speaker, digit) for take in range(NUM_TAKES) for speaker in SPEAKERS for digit in range(10)
            ]
            if missing := [
                f"{digit}_{speaker}_{take}.wav"
                for take, speaker, digit in wanted
                if (take, speaker, digit) not in members
            ]:
                raise DataError(f"{url}: lacks {len(missing)} of {len(wanted)} recordings, the first {missing[0]}")
            waves = [_read_wav(url, archive, members[key]) for key in wanted]
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
