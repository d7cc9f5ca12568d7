"""netx files of others: read as lava-dl reads them, or refused with layer and field; and files nobody vouches for."""

import os
import random
import resource
import signal
import subprocess
import sys
import time

import h5py
import hypothesis.strategies as st
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings

from netx_rules import NEURON, netx_layers, slayer_file
from neuromorphic import LIF, Dense, run
from neuromorphic.errors import FileFormatError, NeuromorphicError, ProgramError
from neuromorphic.files import hdf5 as hdf5_files
from neuromorphic.formats.netx import read_netx

T = 30


def matrix(rows, columns, low=-60, high=80, step=2, seed=0):
    return step * np.random.default_rng(seed).integers(low, high, (rows, columns))


def assert_reads_as_netx(path, rate=0.3):
    """Every layer of the file is there and fires as by netx's rules."""
    program = read_netx(path, num_steps=T)
    spikes = (np.random.default_rng(1).random((T, 2, program.input.size)) < rate).astype(np.int32)
    recording = run(program, spikes)
    for sample in range(2):
        layers = netx_layers(path, spikes[:, sample])
        assert len(program.of_type(LIF)) == len(layers)
        for number, (fired, v) in enumerate(layers, start=1):
            np.testing.assert_array_equal(recording.variables[f"lif{number}.spikes"][:, sample], fired)
            np.testing.assert_array_equal(recording.variables[f"lif{number}.v"][-1, sample], v)
    assert recording.variables[f"lif{len(layers)}.spikes"].any()
    return program


def test_a_file_without_an_input_layer_keeps_its_first_layer(tmp_path):
    """slayer writes none: its layer 0 is a dense one, which was dropped."""
    path = slayer_file(tmp_path / "n.net", matrix(7, 12), matrix(5, 7, seed=1))
    program = assert_reads_as_netx(path)
    assert [op.name for op in program.ops] == ["input", "fc1", "lif1", "fc2", "lif2"]
    assert program.input.size == 12
    with_input = slayer_file(tmp_path / "i.net", matrix(7, 12), matrix(5, 7, seed=1), inputs=[3, 2, 2])
    assert read_netx(with_input, num_steps=T).sha256 == program.sha256


@pytest.mark.parametrize(
    ("weights", "matrices"),
    [
        (matrix(6, 9, -127, 128, step=1), 1),
        (matrix(6, 9, -127, 128), 1),
        (np.where(matrix(6, 9) > 0, 254, -3), 2),  # 254 was read as 254, and -3 as -4
        (np.where(matrix(6, 9) > 0, 30, -256), 2),  # slayer clamps to -256, which no shift of 127 reaches
        (np.where(matrix(6, 9) > 0, 255, 129), 2),
        (np.where(matrix(6, 9) > 0, 100, -128), 1),
        (np.where(matrix(6, 9) > 0, 253, -255), 2),
        (np.where(matrix(6, 9) > 0, 0, -256), 1),
    ],
)
def test_all_weights_of_the_format_are_exact(weights, matrices, tmp_path, netx_here):
    path = slayer_file(tmp_path / "n.net", {"weights": weights, "bias": np.full(6, 50)})
    program = assert_reads_as_netx(path)
    dense = program.of_type(Dense)
    assert len(dense) == matrices
    got = sum(op.weights.astype(int) << op.shift for op in dense)
    np.testing.assert_array_equal(got, weights)


def test_what_old_tools_write_is_read(tmp_path):
    """LOIHI for CUBA, fields of the surrogate gradient, one row after the other, an axonal delay of 0."""
    neuron = NEURON | {"type": "LOIHI", "wgtExp": 0, "theta": 12800, "tauRho": 0.5, "scaleRho": 1.0}
    flat = {"weight": matrix(7, 12).reshape(-1), "shape": [7, 1, 1], "delay": np.zeros(7)}
    layer = {"weights": matrix(7, 12), "neuron": neuron}
    path = slayer_file(tmp_path / "n.net", {**layer, **flat})
    plain = slayer_file(tmp_path / "plain.net", layer)
    assert read_netx(path, num_steps=T).sha256 == assert_reads_as_netx(plain).sha256


def test_what_slayer_or_lava_would_do_otherwise_is_said(tmp_path):
    path = slayer_file(tmp_path / "n.net", {"weights": matrix(7, 12), "bias": np.ones(7)})
    assert (
        list(read_netx(path, num_steps=T).metadata["assumptions"]) == []
    )  # slayer's first layer has its input at once
    layers = ({"weights": np.full((7, 600), 254)}, {"weights": matrix(3, 7), "bias": np.ones(3)})
    notes = read_netx(slayer_file(tmp_path / "m.net", *layers), num_steps=T).metadata["assumptions"]
    assert [note.split(";")[0] for note in notes] == [
        "lif1: its input can reach 152400",
        "lif2: biases count from the step in which a sample's first events arrive, as with reset_interval in lava-dl",
    ]


def layer(neuron=None, **changes):
    """Return a layer with other fields; ``None`` leaves a neuron's field out."""
    fields = {key: value for key, value in (NEURON | (neuron or {})).items() if value is not None}
    return {"weights": matrix(7, 12), "neuron": fields, **changes}


W = matrix(7, 12).astype(float)
REFUSED = {
    "delay": (layer(delay=np.arange(57, 64)), "layer 0: delay must be whole numbers in 0..62, got 63"),
    "half delay": (layer(delay=2.5), "layer 0: delay must be whole numbers in 0..62, got 2.5"),
    "delays of inputs": (layer(delay=np.zeros(12)), "delay must be one number or one for each of 7 channels, got 12"),
    "refDelay": (layer({"refDelay": 3}), "layer 0, neuron: refDelay is 3; only 1 is read here"),
    "graded": (layer({"gradedSpike": True}), "layer 0, neuron: gradedSpike is True; only 0 is read here: spikes that"),
    "message": (layer({"messageBits": 16}), "neuron: messageBits is 16; only 0"),
    "wgtExp": (layer({"wgtExp": 8}), "neuron: wgtExp must be whole numbers in 0..7, got 8"),
    "norm": (layer({"weight_exp": [7.0]}), "neuron: weight_exp must be whole numbers in -6..6, got 7.0"),
    "current": (layer({"iDecay": 4097}), "iDecay must be whole numbers in 0..4096, got 4097"),
    "kind": (layer({"type": "RF"}), "neuron: is of type 'RF'; CUBA, LOIHI and SDNN are read"),
    "no kind": (layer({"type": None}), "neuron: type must be text, got nothing"),
    "decay of each": (layer({"vDecay": np.full(6, 5)}), "vDecay must be one number or one for each of 7 .* got 6"),
    "decay": (layer({"vDecay": 4097}), "vDecay must be whole numbers in 0..4096, got 4097"),
    "threshold": (layer({"vThMant": 1 << 18}), "vThMant must be whole numbers in 0..262143, got 262144"),
    "half threshold": (layer({"vThMant": 80.5}), "vThMant must be whole numbers in .* got 80.5"),
    "no threshold": (layer({"vThMant": None}), "neuron: vThMant must be numbers, got nothing"),
    "unheard": (layer({"adaptation": 3}), "neuron: adaptation is not read here; known are gradedSpike, iDecay"),
    "no neurons": (layer(bias=np.ones(7)) | {"neuron": None}, "layer 0: only sums, and has a bias"),
    "half": (layer(weight=np.where(W > 0, 0.5, W)), "layer 0: weight must be whole numbers in -256..255, got 0.5"),
    "NaN": (layer(weight=np.where(W > 0, np.nan, W)), "weight must be whole numbers .* got nan"),
    "infinite": (layer(weight=np.where(W > 0, np.inf, W)), "weight must be whole numbers .* got inf"),
    "256": (layer(weight=np.where(W > 0, 256, W)), "weight must be whole numbers in -256..255, got 256"),
    "255": (layer(weight=np.where(W > 0, 255, W)), "weights reach 255, netx holds -256..254"),
    "-258": (layer(weight=np.where(W > 0, W, -258)), "weight must be whole numbers in -256..255, got -258"),
    "256 alone": (layer(weight=np.full((7, 12), 256)), "weight must be whole numbers in -256..255, got 256"),
    "huge": (layer(weight=np.full((7, 12), 2.0**40)), "weight must be whole numbers"),
    "text": (layer(weight="heavy"), "layer 0: weight must be numbers"),
    "complex": (layer(weight=W.astype(complex)), "weight: holds complex128"),
    "no weights": (layer(weight=np.zeros((0, 12))), "weight must be numbers"),
    "rows": (layer(shape=[5]), r"weight must have shape \[5, in\], as shape says, got \[7, 12\]"),
    "in": (layer(inFeatures=5), "layer 0: inFeatures must be 12, as weight says, got 5"),
    "out": (layer(outFeatures=1), "outFeatures must be 7, as weight says, got 1"),
    "bias": (layer(bias=np.full(7, 0.37)), "bias must be whole numbers in -4096..4095, got 0.37"),
    "large bias": (layer(bias=np.full(7, 5000)), "bias must be whole numbers in -4096..4095, got 5000"),
    "bias shape": (layer(bias=np.ones(3)), "bias must be one number or one for each of 7 channels, got 3"),
    "recurrent": (layer(weight_rec=np.ones((7, 7))), "layer 0: weight_rec is not read here; known are bias, delay"),
    "recurrent type": (
        layer(type="dense_rec"),
        "layer 0: is of type 'dense_rec'; input, dense, conv, pool, flatten are",
    ),
    "average": (layer(type="average"), "layer 0: is of type 'average'; input, dense, conv, pool, flatten are read"),
    "conv": (layer(type="conv"), "layer 0: inFeatures is not read here; known are bias, delay, dilation, groups"),
    "numbers": (layer(type=3), "layer 0: type must be text, got ndarray|got int64"),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_is_not_read_is_refused_by_name(what, tmp_path, netx_here):
    fields, text = REFUSED[what]
    path = slayer_file(tmp_path / "n.net", fields)
    with pytest.raises(FileFormatError, match=text):
        read_netx(path, num_steps=T)


def changed(change):
    def make(path):
        slayer_file(path, matrix(7, 12), matrix(5, 7), inputs=12)
        with h5py.File(path, "r+") as file:
            change(file)

    return make


def replaced(name, **options):
    def change(file):
        del file[name]
        file.create_dataset(name, **options)

    return changed(change)


def linked(name, target):
    def change(file):
        del file[name]
        file[name] = target

    return changed(change)


def external_neurons(file):
    """Link the neurons of a layer to those of another file, which is there and right."""
    with h5py.File(file.filename + ".other", "w") as other:
        file.copy("layer/1/neuron", other, "neuron")
    del file["layer/1/neuron"]
    file["layer/1/neuron"] = h5py.ExternalLink(file.filename + ".other", "/neuron")


def graded_input(file):
    file["layer/0/neuron/type"], file["layer/0/neuron/vThMant"] = "SDNN", 1


WEIGHT = "layer/1/weight"
HOSTILE = {
    "bomb": (
        replaced(WEIGHT, shape=(1 << 13, 1 << 13), dtype="f4", fillvalue=1.0, compression="gzip"),
        "is compressed",
    ),
    "filter": (replaced(WEIGHT, data=np.ones((7, 12)), shuffle=True), "is compressed or filtered; write it without"),
    "unwritten": (replaced(WEIGHT, shape=(1 << 13, 1 << 12), dtype="f4"), "announces .* bytes that the file does not"),
    "chunks": (
        replaced(WEIGHT, shape=(7, 12), chunks=(7, 6), dtype="f4"),
        "announces 336 bytes that the file does not",
    ),
    "twice": (changed(lambda f: [f.__setitem__(f"more/{i}", f[WEIGHT]) for i in range(200)]), "announces 336 bytes"),
    "external link": (changed(external_neurons), "/layer/1/neuron: is a link to another place or file"),
    "soft link": (linked(WEIGHT, h5py.SoftLink("/layer/2/weight")), "is a link to another place or file"),
    "external": (replaced(WEIGHT, shape=(3,), dtype="f8", external=[("/etc/passwd", 0, 24)]), "data in another file"),
    "circle": (changed(lambda f: f.__setitem__("layer/1/again", f["layer"])), "nested deeper|more than 65536"),
    "objects": (replaced(WEIGHT, shape=(2,), dtype=h5py.vlen_dtype(np.int32)), "holds object; numbers and text"),
    "texts": (replaced("layer/1/type", data=[b"dense", b"conv"]), r"holds text of shape \[2\]; one text is read"),
    "shape": (
        replaced("layer/0/shape", data=[3, 5]),
        "its weights read 12 values, the layer before",
    ),
    "large input": (replaced("layer/0/shape", data=[1 << 24] * 3), "this layer and those before have [0-9]+ units"),
    "many axes": (replaced("layer/0/shape", data=[2] * 5), "shape must be one to three numbers, got 5"),
    "names": (changed(lambda f: f.move("layer/2", "layer/3")), "layers must be named 0, 1, 2, .* got .*'3'"),
    "no layers": (changed(lambda f: (f.__delitem__("layer"), f.create_group("layer"))), "layers must be named"),
    "only an input": (changed(lambda f: [f.__delitem__(f"layer/{i}") for i in (1, 2)]), "an input and no layer"),
    "no layer": (changed(lambda f: f.move("layer", "layers")), "holds no group 'layer', as a netx file does"),
    "a dataset": (replaced("layer/1", data=3.0), "layer 1: must be a group of fields"),
    "graded input": (changed(graded_input), "neuron: is of type 'CUBA', and the layer before sends graded spikes"),
    "input late": (replaced("layer/2/type", data=b"input"), "layer 2: is of type 'input'"),
    "sizes": (replaced("layer/2/weight", data=np.ones((5, 6))), "inFeatures must be 6|the layer before has 7"),
}


@pytest.mark.parametrize("what", HOSTILE)
def test_files_that_nobody_vouches_for(what, tmp_path, netx_here):
    make, text = HOSTILE[what]
    path = tmp_path / "n.net"
    make(path)
    with pytest.raises(FileFormatError, match=text):
        read_netx(path, num_steps=T)


@pytest.mark.parametrize(
    ("make", "text"),
    [
        (lambda path: path.write_bytes(b"no HDF5"), "not an HDF5 file, which a netx file is"),
        (lambda path: None, "no such file"),
        (lambda path: path.mkdir(), "must be a regular file, is a folder"),
        (os.mkfifo, "must be a regular file, is a pipe"),  # opening it would wait for ever
        (lambda path: path.symlink_to("/dev/zero"), "must be a regular file, is a device"),
    ],
)
def test_what_is_no_file_of_this_kind(make, text, tmp_path):
    make(tmp_path / "n.net")
    with pytest.raises(FileFormatError, match=text):
        read_netx(tmp_path / "n.net", num_steps=T)


def test_a_bomb_takes_no_memory(tmp_path):
    """8 kB that unpack to 256 MiB: refused before they are unpacked, here and in the process that reads."""
    HOSTILE["bomb"][0](tmp_path / "n.net")
    assert (tmp_path / "n.net").stat().st_size < 32_000
    before = _peak_mib()
    with pytest.raises(FileFormatError, match="is compressed"):
        read_netx(tmp_path / "n.net", num_steps=T)
    assert _peak_mib() - before < 200


def _peak_mib():
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024


def test_steps_are_the_callers_business(tmp_path):
    path = slayer_file(tmp_path / "n.net", matrix(7, 12))
    with pytest.raises(ProgramError, match="num_steps"):
        read_netx(path, num_steps=0)


def test_one_changed_byte_does_not_hang_the_reader(tmp_path, monkeypatch):
    """A heap of strings that says it is 256 bytes longer than it is makes HDF5 1.14 and 2.0 turn in circles."""
    path = slayer_file(tmp_path / "n.net", matrix(7, 12))
    content = bytearray(path.read_bytes())
    content[content.index(b"GCOL") + 9] += 1
    path.write_bytes(content)
    monkeypatch.setattr(hdf5_files, "TIME_LIMIT_S", 3.0)
    started = time.monotonic()
    with pytest.raises(FileFormatError, match="not a readable netx file"):
        read_netx(path, num_steps=T)
    assert time.monotonic() - started < 30


def test_the_reader_is_ended_at_the_time_limit(tmp_path, monkeypatch):
    slow = tmp_path / "reader.py"
    slow.write_text(f"import os, time\nopen({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\ntime.sleep(600)\n")
    monkeypatch.setattr(hdf5_files, "READER", slow)
    monkeypatch.setattr(hdf5_files, "TIME_LIMIT_S", 3.0)
    path = slayer_file(tmp_path / "n.net", matrix(7, 12))
    with pytest.raises(FileFormatError, match=r"n\.net: not a readable netx file \(not read within 3 s\)"):
        read_netx(path, num_steps=T)
    with pytest.raises(ProcessLookupError):
        os.kill(int((tmp_path / "pid").read_text()), 0)


def test_a_reader_that_nobody_ends_ends_itself(tmp_path):
    """Its parent was killed: HDF5 would turn in circles for ever."""
    code = "import sys, time; sys.path[:0] = [sys.argv[1]]; import hdf5_reader as r; r.limit_itself(1); time.sleep(60)"
    command = [sys.executable, "-c", code, str(hdf5_files.READER.parent)]
    assert subprocess.run(command, timeout=50, check=False).returncode == -signal.SIGALRM


@settings(max_examples=10, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(seed=st.integers(0, 2**32))
def test_a_damaged_file_raises_only_our_errors(seed, tmp_path):
    rng = random.Random(seed)
    path = slayer_file(tmp_path / "n.net", matrix(7, 12), matrix(5, 7))
    content = bytearray(path.read_bytes())
    if rng.random() < 0.2:
        del content[rng.randrange(len(content)) :]
    else:
        for _ in range(rng.randrange(1, 12)):
            content[rng.randrange(len(content))] ^= 1 << rng.randrange(8)
    path.write_bytes(content)
    limit, hdf5_files.TIME_LIMIT_S = hdf5_files.TIME_LIMIT_S, 15.0
    try:
        program = read_netx(path, num_steps=3)
        run(program, np.zeros((3, 1, program.input.size), dtype=np.int8))
    except NeuromorphicError as error:
        assert str(error)  # noqa: PT017 - either outcome is right, any other exception is not
    finally:
        hdf5_files.TIME_LIMIT_S = limit
