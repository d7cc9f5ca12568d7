"""Downloads, from a stand-in on this machine: no test here reaches a network."""

import gzip
import hashlib
import http.server
import io
import logging
import os
import socket
import threading
import urllib.error
import urllib.request
import wave
import zipfile
from pathlib import Path

import numpy as np
import pytest

from pnbx_snn.data import mnist as mnist_files
from pnbx_snn.data.catalog import download
from pnbx_snn.data.download import _open_https
from pnbx_snn.data.fsdd import SAMPLES_SHA256, SPEAKERS, load_fsdd
from pnbx_snn.data.mnist import load_mnist
from pnbx_snn.errors import DataError, PnbxValueError, StorageError

BASE = "https://mirror.invalid/"


class Mirror:
    """Answers from a dictionary and remembers what it was asked for."""

    def __init__(self, files):
        self.files = files
        self.asked = []

    def __call__(self, url):
        name = url.removeprefix(BASE)
        self.asked.append(name)
        if name not in self.files:
            raise urllib.error.HTTPError(url, 404, "Not Found", None, io.BytesIO())
        return io.BytesIO(self.files[name])


def get(name, folder, mirror, **options):
    return download(name, folder, base_url=BASE, open_url=mirror, **options)


def files_in(folder):
    return sorted(path.name for path in folder.rglob("*") if path.is_file())


@pytest.fixture(scope="module")
def small_mnist():
    """Four files with MNIST's shapes: black images, all of them zeros."""
    contents = {}
    for name, count in (("train", 60_000), ("t10k", 10_000)):
        header = np.array([count, 28, 28], dtype=">u4").tobytes()
        contents[f"{name}-images-idx3-ubyte"] = b"\0\0\x08\3" + header + bytes(count * 784)
        contents[f"{name}-labels-idx1-ubyte"] = b"\0\0\x08\1" + header[:4] + bytes(count)
    sums = {name: (len(data), hashlib.md5(data).hexdigest()) for name, data in contents.items()}
    return sums, {f"{name}.gz": gzip.compress(data, 1) for name, data in contents.items()}


@pytest.fixture
def mnist(small_mnist, monkeypatch):
    sums, files = small_mnist
    assert {name: size for name, (size, _) in sums.items()} == {n: s for n, (s, _) in mnist_files.FILES.items()}
    monkeypatch.setattr(mnist_files, "FILES", sums)
    return Mirror(dict(files))


def wav(samples, *, channels=1, rate=8_000, width=2):
    file = io.BytesIO()
    with wave.open(file, "wb") as out:
        out.setnchannels(channels)
        out.setsampwidth(width)
        out.setframerate(rate)
        out.writeframes(np.asarray(samples, dtype=np.int16).tobytes())
    return file.getvalue()


def number(take, speaker, digit):
    return (take * 6 + SPEAKERS.index(speaker)) * 10 + digit


@pytest.fixture(scope="module")
def recordings():
    """A wav file for each recording: its number, as often as 200 and its last digit."""
    return {
        f"x-master/recordings/{digit}_{speaker}_{take}.wav": wav([k := number(take, speaker, digit)] * (200 + k % 10))
        for take in range(50)
        for speaker in SPEAKERS
        for digit in range(10)
    }


def zipped(recordings, **changes):
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        for name, data in {"x-master/README.md": b"hello", "../../evil.sh": b"no", **recordings, **changes}.items():
            if data is not None:
                archive.writestr(name, data)
    return Mirror({"master.zip": file.getvalue()})


def test_mnist_arrives_and_is_not_fetched_twice(tmp_path, mnist):
    told = []
    paths = get("mnist", tmp_path / "new", mnist, progress=lambda *what: told.append(what))
    assert sorted(path.name for path in paths) == files_in(tmp_path) == sorted(mnist.files)
    assert len(mnist.asked) == 4
    assert [name for name, _, _ in told] == sorted((name for name, _, _ in told), key=mnist.asked.index)
    assert {name: size for name, size, _ in told} == {name: len(data) for name, data in mnist.files.items()}
    assert {total for _, _, total in told} == {None}  # a BytesIO does not say
    assert len(load_mnist(tmp_path / "new", part="test").labels) == 10_000
    assert get("mnist", tmp_path / "new", mnist) == paths
    assert len(mnist.asked) == 4


def test_mnist_continues_with_what_is_missing_or_broken(tmp_path, mnist):
    folder = tmp_path / "mnist"
    folder.mkdir()
    plain = folder / "train-labels-idx1-ubyte"
    plain.write_bytes(gzip.decompress(mnist.files["train-labels-idx1-ubyte.gz"]))
    (folder / "t10k-labels-idx1-ubyte.gz").write_bytes(mnist.files["t10k-labels-idx1-ubyte.gz"][:-3])
    (folder / "t10k-images-idx3-ubyte.gz").write_bytes(mnist.files["t10k-images-idx3-ubyte.gz"])
    assert plain in get("mnist", tmp_path, mnist)
    assert mnist.asked == ["train-images-idx3-ubyte.gz", "t10k-labels-idx1-ubyte.gz"]
    plain.write_bytes(plain.read_bytes()[:-1] + b"\1")
    with pytest.raises(DataError, match="train-labels-idx1-ubyte: is not MNIST's .* move it away"):
        get("mnist", tmp_path, mnist)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda data: data[:-3], "is cut short, altered or no gzip file"),
        (lambda _: b"<html>", "is cut short, altered or no gzip file"),
        (lambda _: gzip.compress(b"something else"), "is not MNIST's: its md5 uncompressed must be"),
        (lambda data: gzip.compress(gzip.decompress(data) + b"\0", 1), "is not MNIST's"),
        (
            lambda _: bytes(mnist_files.MAX_FILE_BYTES + 1),
            f"must have at most {mnist_files.MAX_FILE_BYTES} bytes, sends more",
        ),
    ],
)
def test_wrong_mnist_leaves_nothing(tmp_path, mnist, change, message):
    first = "train-images-idx3-ubyte.gz"
    mnist.files[first] = change(mnist.files[first])
    with pytest.raises(DataError, match=f"{BASE}{first}: {message}"):
        get("mnist", tmp_path, mnist)
    assert files_in(tmp_path) == []


def test_server_says_no(tmp_path, mnist):
    mnist.files.clear()
    with pytest.raises(DataError, match=r"cannot be downloaded \(the server says 404 Not Found\)"):
        get("mnist", tmp_path, mnist)


def test_no_network(tmp_path, monkeypatch):
    for name in ("https_proxy", "HTTPS_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # bound and not listening: refuses
        base = f"https://127.0.0.1:{closed.getsockname()[1]}/"
        with pytest.raises(DataError, match=r"cannot be downloaded \(.*refused.*\); is there a network\?"):
            download("fsdd", tmp_path, base_url=base)
    assert files_in(tmp_path) == []


@pytest.fixture
def server():
    """A web server on this machine that promises 100 bytes, sends 50 and hangs up; /moved leads to plain http."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self):
            if self.path.startswith("/moved"):
                self.send_response(302)
                self.send_header("Location", "http://127.0.0.1:9/")
                self.end_headers()
                return
            self.send_response(200)
            self.send_header("Content-Length", "100")
            self.end_headers()
            self.wfile.write(bytes(50))

        def log_message(self, *_):
            pass

    with http.server.HTTPServer(("127.0.0.1", 0), Handler) as httpd:
        thread = threading.Thread(target=httpd.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{httpd.server_port}/"
        httpd.shutdown()
        thread.join()


def test_a_connection_that_breaks_off(tmp_path, server):
    def open_url(url):
        return urllib.request.build_opener(urllib.request.ProxyHandler({})).open(url.replace(BASE, server), timeout=5)

    with pytest.raises(DataError, match="is cut short: the server promised 100 bytes and sent 50|IncompleteRead"):
        get("fsdd", tmp_path, open_url)
    assert files_in(tmp_path) == []


def test_no_redirect_away_from_https(tmp_path, server, monkeypatch):
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(DataError, match="redirects to http://127.0.0.1:9/, which is not https"):
        get("fsdd", tmp_path, lambda _: _open_https(f"{server}moved"))


def test_fsdd_is_built_from_its_wav_files(tmp_path, recordings, caplog):
    mirror = zipped(recordings)
    assert get("fsdd", tmp_path, mirror) == [tmp_path / "fsdd" / "fsdd.npz"]
    assert files_in(tmp_path) == ["fsdd.npz"]
    with np.load(tmp_path / "fsdd" / "fsdd.npz") as arrays:
        for k in (0, 9, 10, 1234, 2999):
            samples = arrays["samples"][arrays["offsets"][k] : arrays["offsets"][k + 1]]
            assert samples.tolist() == [k] * (200 + k % 10)
            speaker = arrays["speakers"][arrays["speaker"][k]]
            assert number(int(arrays["index"][k]), speaker, int(arrays["digit"][k])) == k
    assert len(load_fsdd(tmp_path, part="test").labels) == 300
    # Not the real recordings, and it says so; the second call finds the file right.
    assert [record.levelno for record in caplog.records] == [logging.WARNING]
    assert "are not those on which" in caplog.text
    get("fsdd", tmp_path, mirror)
    assert mirror.asked == ["master.zip"]


def test_a_broken_fsdd_is_replaced(tmp_path, recordings):
    (tmp_path / "fsdd").mkdir()
    (tmp_path / "fsdd" / "fsdd.npz").write_bytes(b"broken")
    get("fsdd", tmp_path, zipped(recordings))
    assert len(load_fsdd(tmp_path, part="test").labels) == 300


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (None, "lacks 1 of 3000 recordings, the first 7_theo_3.wav"),
        (b"RIFF", "7_theo_3.wav: is no WAV file"),
        (wav([0] * 400, channels=2), "7_theo_3.wav: must be one channel of 2 bytes at 8000 Hz, got 2 of 2 at 8000"),
        (wav([0] * 400, rate=44_100), "must be one channel of 2 bytes at 8000 Hz, got 1 of 2 at 44100"),
        (wav([0] * 400, width=1), "must be one channel of 2 bytes at 8000 Hz, got 1 of 1 at 8000"),
        (wav([0] * 90_000), "7_theo_3.wav: must have at most 164096 bytes, got 180044"),
    ],
)
def test_wrong_recordings(tmp_path, recordings, data, message):
    with pytest.raises(DataError, match=message):
        get("fsdd", tmp_path, zipped(recordings, **{"x-master/recordings/7_theo_3.wav": data}))
    assert files_in(tmp_path) == []


def test_a_built_file_that_could_not_be_loaded_is_not_kept(tmp_path, recordings):
    short = {"x-master/recordings/7_theo_3.wav": wav([0] * 10)}
    with pytest.raises(DataError, match="7_theo_3.wav: must have 200 to 80000 samples, got 10"):
        get("fsdd", tmp_path, zipped(recordings, **short))
    assert files_in(tmp_path) == []


@pytest.mark.parametrize("data", [b"<html>", b"", b"PK\5\6" + bytes(18)])
def test_wrong_zip(tmp_path, data):
    with pytest.raises(DataError, match="is cut short, altered or no zip file|lacks 3000 of 3000"):
        get("fsdd", tmp_path, Mirror({"master.zip": data}))


def test_where_it_cannot_write(tmp_path, mnist):
    (tmp_path / "mnist").write_text("a file")
    with pytest.raises(StorageError, match="mnist: the folder cannot be made"):
        get("mnist", tmp_path, mnist)
    assert mnist.asked == []


def test_unknown_names_and_addresses(unchecked, tmp_path):
    with pytest.raises(PnbxValueError, match="name must be 'mnist' or 'fsdd', got 'cifar'"):
        download("cifar", tmp_path)
    for base in ("http://example.org/", "file:///etc/", "https://example.org"):
        with pytest.raises(PnbxValueError, match="base_url must start with https:// and end in /"):
            download("mnist", tmp_path, base_url=base)


def test_the_real_recordings_have_the_sum_that_is_expected():
    folder = os.environ.get("PNBX_DATA")
    if not folder or not (Path(folder) / "fsdd").is_dir():
        pytest.skip("PNBX_DATA names no folder with fsdd/")
    with np.load(Path(folder) / "fsdd" / "fsdd.npz") as arrays:
        digest = hashlib.sha256(arrays["samples"].tobytes() + arrays["offsets"].tobytes()).hexdigest()
    assert digest == SAMPLES_SHA256
