"""What the package gave when ``tests/golden`` was made, it gives to the bit: programs, recordings, files, networks.

``tests/golden/make.py`` says how its files were made. A difference here is a changed number: a spike, a weight or a
byte of a file that somebody has. It is never mended by making the files anew.
"""

import gzip
import hashlib
import io
import json
import os
import tarfile
import warnings
import zipfile
from functools import cache
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest

import golden_nets
from neuromorphic import Program, Recording, run
from neuromorphic.compiler import compile_model, compile_nir, compile_run, save_nir, to_nir
from neuromorphic.executors.native import NativeNetwork
from neuromorphic.formats.netx import export_netx, read_netx

HERE = Path(__file__).parent / "golden"
EXPECTED = json.loads((HERE / "expected.json").read_text())
NAMES = tuple(EXPECTED["programs"])
NOT_COMPARED = ("versions", "agreement", "assumptions")
"""Metadata of a program that say what the machine measured, and sentences for people."""

pytestmark = pytest.mark.filterwarnings("ignore::neuromorphic.errors.CompileWarning")


def inside() -> SimpleNamespace:
    """What has no public name: the one place to change when modules move."""
    from neuromorphic.executors.onnx import files
    from pnbx_snn.training import checkpoint, packed

    return SimpleNamespace(
        load_onnx=files.load_onnx,
        run_onnx=files.run_onnx,
        save_onnx=files.save_onnx,
        load_run=checkpoint.load_run,
        load_packed=packed.load_packed,
        pack_run=packed.pack_run,
    )


@cache
def stored(name: str) -> Program:
    return Program.load(HERE / "programs" / f"{name}.npz")


@cache
def _arrays() -> dict[str, np.ndarray]:
    with tarfile.open(HERE / "arrays.tar.xz") as archive:
        return {
            member.name.removesuffix(".npy"): np.load(
                io.BytesIO(archive.extractfile(member).read()), allow_pickle=False
            )
            for member in archive
        }


def arrays_of(name: str) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Inputs and every variable of a program, in the program's order."""
    prefix = f"{name}/"
    found = {key.removeprefix(prefix): array for key, array in _arrays().items() if key.startswith(prefix)}
    return found.pop("inputs"), found


def assert_recorded(recording: Recording, expected: dict[str, np.ndarray]) -> None:
    assert list(recording.variables) == list(expected)
    for name, array in expected.items():
        got = recording.variables[name]
        assert (got.dtype, got.shape) == (array.dtype, array.shape), name
        np.testing.assert_array_equal(got, array, err_msg=name)


def assert_runs(program: Program, name: str, executor: str, **options) -> None:
    inputs, expected = arrays_of(name)
    assert_recorded(run(program, inputs, executor, **options), expected)


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def content(path: Path) -> tuple[dict, dict[str, np.ndarray]]:
    """Header and arrays of a program's file, read with nothing of the package."""
    with zipfile.ZipFile(path) as archive:
        names = [name for name in archive.namelist() if name.endswith(".npy")]
        arrays = {name: np.load(io.BytesIO(archive.read(name)), allow_pickle=False) for name in names}
        return json.loads(archive.read("header.json")), arrays


def known_options(config: dict, others: dict) -> dict:
    """Return a configuration without the keys that another one, which is older, does not have."""
    return {
        key: known_options(value, others[key]) if isinstance(value, dict) and isinstance(others[key], dict) else value
        for key, value in config.items()
        if key in others
    }


def described(data: bytes) -> tuple[dict, bytes]:
    """Return the description in a file of tensors, and the bytes behind its header: those of the tensors."""
    end = 8 + int.from_bytes(data[:8], "little")
    header = json.loads(data[8:end])
    _, _, description = header.pop("__metadata__")["pnbx_snn"].partition(" ")  # behind the digest
    return {**json.loads(description), "tensors": header}, data[end:]


def assert_same_program(got: Program, name: str, tmp_path: Path) -> None:
    """Compare all integers and fields of two programs, as files hold them."""
    got.save(tmp_path / "got.npz")
    (header, arrays), (wanted, expected) = content(tmp_path / "got.npz"), content(HERE / "programs" / f"{name}.npz")
    assert header["format_version"] == wanted["format_version"]
    body, theirs = header["body"], wanted["body"]
    assert body["num_steps"] == theirs["num_steps"]
    assert [(op["op"], op["name"]) for op in body["ops"]] == [(op["op"], op["name"]) for op in theirs["ops"]]
    for op, other in zip(body["ops"], theirs["ops"], strict=True):
        assert op == other
    assert list(arrays) == list(expected)
    for key, array in expected.items():
        assert arrays[key].dtype == array.dtype, key
        np.testing.assert_array_equal(arrays[key], array, err_msg=key)
    facts, others = (
        {key: value for key, value in each["metadata"].items() if key not in NOT_COMPARED} for each in (body, theirs)
    )
    if "config" in others:  # options that came later stand in a configuration too, at their defaults
        facts["config"] = known_options(facts["config"], others["config"])
    assert facts == others
    assert set(body["metadata"]) == set(theirs["metadata"])


def unpacked(name: str, tmp_path: Path) -> Path:
    path = tmp_path / name
    path.write_bytes(gzip.decompress((HERE / "files" / f"{name}.gz").read_bytes()))
    return path


# Programs ----------------------------------------------------------------------------------------------------------


def test_the_files_hold_what_they_should():
    assert len(NAMES) > 80
    linear = {"Input", "Dense", "Scale", "Delay", "Gate", "Multiply", "LI", "GatedState", "Resonator"}
    others = {"LIF", "HomeostaticLIF", "Readout", "Torus", "FastWeights", "Slots"}
    assert {type(op).__name__ for name in NAMES for op in stored(name).ops} == linear | others
    ops = [op for name in NAMES for op in stored(name).ops]
    for kind in ("LIF", "HomeostaticLIF"):
        assert len({op.reset for op in ops if type(op).__name__ == kind}) == 7
    assert {op.rule for op in ops if type(op).__name__ == "FastWeights"} == {"hebbian", "delta"}
    memories = [op for op in ops if type(op).__name__ == "Slots"]
    assert {(op.plastic, op.fast is None) for op in memories} == {(p, f) for p in (True, False) for f in (True, False)}
    assert {op.edges is None for op in ops if type(op).__name__ == "Torus"} == {True, False}
    assert {op.is_ternary for op in ops if type(op).__name__ == "Dense"} == {True, False}
    assert {path.stem for path in (HERE / "programs").glob("*.npz")} == set(NAMES)
    limit = (1 << 23) - 1
    ends = [max(int(array.max()), -int(array.min())) for key, array in _arrays().items() if key.endswith(".v")]
    assert max(ends) == limit
    assert sum(end == limit for end in ends) > 20


@pytest.mark.parametrize("name", NAMES)
def test_a_program_is_read_written_and_run_as_before(name, tmp_path):
    program, path = stored(name), HERE / "programs" / f"{name}.npz"
    told = EXPECTED["programs"][name]
    assert sha(path) == told["file"]
    assert program.sha256 == told["sha256"]
    assert program.save(tmp_path / "again.npz") == told["sha256"]
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()
    assert_runs(program, name, "numpy")
    assert_runs(program, name, "native")


OTHERS = (
    "reset_subtract_snntorch",
    "shifts",
    "states",
    "fast_weights",
    "slots",
    "torus",
    "loops",
    "ends",
    "pnbx_live_glia",
)


@pytest.mark.parametrize("name", [*OTHERS, "demo", "trained_variants", "long"])
def test_torch_gives_the_same(name):
    assert_runs(stored(name), name, "torch")


@pytest.mark.parametrize("name", OTHERS)
def test_onnxruntime_gives_the_same(name):
    assert_runs(stored(name), name, "onnxruntime")


@pytest.mark.parametrize("name", ["reset_zero", "slots", "torus"])
def test_openvino_gives_the_same(name):
    assert_runs(stored(name), name, "openvino")


@pytest.mark.parametrize("name", ["demo", "trained_everything", "states", "loops"])
def test_a_streaming_network_gives_the_same(name):
    inputs, expected = arrays_of(name)
    network = NativeNetwork.from_file(HERE / "programs" / f"{name}.npz", batch=inputs.shape[1])
    last = [key for key in expected if key.endswith(".y")][-1]
    for x, sums in zip(inputs, expected[last], strict=True):
        np.testing.assert_array_equal(network.step(x), sums)


@pytest.mark.parametrize("name", EXPECTED["recordings"])
def test_a_recording_is_read_and_written_as_before(name, tmp_path):
    path, told = HERE / "recordings" / f"{name}.npz", EXPECTED["recordings"][name]
    recording = Recording.load(path)
    assert sha(path) == told["file"]
    assert_recorded(recording, arrays_of(name)[1])
    assert recording.save(tmp_path / "again.npz") == told["sha256"]
    assert (tmp_path / "again.npz").read_bytes() == path.read_bytes()


@pytest.mark.parametrize("name", EXPECTED["old"])
def test_files_of_older_formats_are_read_as_before(name, tmp_path):
    told = EXPECTED["old"][name]
    loaded = (Recording if "recording" in name else Program).load(HERE / "programs" / "old" / f"{name}.npz")
    assert loaded.save(tmp_path / "again.npz") == told["sha256"]
    assert sha(tmp_path / "again.npz") == told["file"]
    same = {"written_1": "chain", "written_2": "reset_subtract", "written_3": "reset_subtract"}.get(name)
    if same:
        assert_same_program(loaded, same, tmp_path)
        assert_runs(loaded, same, "numpy")


# Networks that are compiled ----------------------------------------------------------------------------------------


UNROLLED = {"module_images": [], "nir_images": ["a.v"]}
"""Programs whose convolutions were unrolled when the files were made, and the variables that count in other units now:
a neuron at the border, which has fewer weights, has the unit of its channel."""


def assert_same_but_unrolled(got: Program, name: str) -> None:
    """Compare the recordings of a program that shares the weights of a convolution with the stored ones."""
    assert {"Conv", "SumPool"} <= {type(op).__name__ for op in got.ops}
    inputs, expected = arrays_of(name)
    recording = run(got, inputs)
    assert list(recording.variables) == list(expected)
    for variable, array in expected.items():
        if variable not in UNROLLED[name]:
            np.testing.assert_array_equal(recording.variables[variable], array, err_msg=variable)


@pytest.mark.parametrize("name", golden_nets.COMPILED)
def test_a_network_compiles_to_the_same_program(name, tmp_path):
    program = golden_nets.COMPILED[name]()
    if name in UNROLLED:
        assert_same_but_unrolled(program, name)
    else:
        assert_same_program(program, name, tmp_path)


@pytest.mark.parametrize("live", [False, True])
@pytest.mark.parametrize("name", ["everything", "variants"])
def test_a_run_compiles_to_the_same_program(name, live, tmp_path):
    program = compile_run(HERE / "trained" / name, glia_period=2 if live else None)
    assert_same_program(program, f"trained_{name}{'_live' if live else ''}", tmp_path)


def digests(path: Path) -> dict[str, str]:
    """Digest of every tensor of a safetensors file, read with nothing of the package."""
    whole = path.read_bytes()
    start = 8 + int.from_bytes(whole[:8], "little")
    entries = json.loads(whole[8:start])
    entries.pop("__metadata__", None)
    found = {}
    for name, entry in entries.items():
        first, last = (start + offset for offset in entry["data_offsets"])
        found[name] = hashlib.sha256(f"{entry['dtype']} {entry['shape']} ".encode() + whole[first:last]).hexdigest()
    return found


def digest(tensor) -> str:
    array = tensor.detach().numpy()
    dtype = {"float32": "F32", "int64": "I64", "uint8": "U8"}[array.dtype.name]
    return hashlib.sha256(f"{dtype} {list(array.shape)} ".encode() + np.ascontiguousarray(array).tobytes()).hexdigest()


@pytest.mark.parametrize("name", EXPECTED["tensors"])
def test_tensors_are_the_same_in_files(name):
    assert digests(HERE / name) == EXPECTED["tensors"][name]


@pytest.mark.parametrize("name", ["everything", "variants"])
def test_a_checkpoint_gives_the_same_network(name):
    model, config = inside().load_run(HERE / "trained" / name)
    expected = EXPECTED["tensors"][f"trained/{name}/checkpoint.safetensors"]
    got = {f"model.{key}": digest(tensor) for key, tensor in model.state_dict().items()}
    assert got == {key: value for key, value in expected.items() if key.startswith("model.")}
    assert config.train.epochs == 2


@pytest.mark.parametrize("name", ["everything", "variants"])
def test_a_packed_file_is_written_and_read_as_before(name, tmp_path):
    path = HERE / "files" / f"{name}.packed.safetensors"
    again = tmp_path / "a.safetensors"
    inside().pack_run(HERE / "trained" / name, again, coding="bits2", measured={"accuracy": 0.5})
    (ours, got), (theirs, wanted) = described(again.read_bytes()), described(path.read_bytes())
    assert known_options(ours, theirs) == theirs
    assert got == wanted
    model, _, measured = inside().load_packed(path)
    assert measured == {"accuracy": 0.5}
    trained, packed = (
        EXPECTED["tensors"][key] for key in (f"trained/{name}/checkpoint.safetensors", f"files/{path.name}")
    )
    kept = {key: digest(tensor) for key, tensor in model.state_dict().items() if key in packed}
    assert kept == {key: packed[key] for key in kept}
    assert all(trained[f"model.{key}"] == value for key, value in kept.items())
    assert_same_program(compile_model(model), f"packed_{name}", tmp_path)


# Files of other formats --------------------------------------------------------------------------------------------


def test_netx_is_read_and_written_as_before(tmp_path):
    path = unpacked("chain.net", tmp_path)
    program = read_netx(path, num_steps=stored("chain").num_steps)
    assert_same_program(program, "netx_chain", tmp_path)
    again = export_netx(stored("chain"), tmp_path / "again.net")
    assert_same_program(read_netx(again, num_steps=program.num_steps), "netx_chain", tmp_path)
    assert_same_hdf5(again, path)


@pytest.mark.parametrize("name", ["loop", "images", "portable", "integer"])
def test_nir_is_read_as_before(name, tmp_path):
    program = compile_nir(unpacked(f"{name}.nir", tmp_path), num_steps=stored(f"nir_{name}").num_steps)
    if f"nir_{name}" in UNROLLED:
        assert_same_but_unrolled(program, f"nir_{name}")
    else:
        assert_same_program(program, f"nir_{name}", tmp_path)


@pytest.mark.parametrize(("form", "name"), [("portable", "chain"), ("integer", "loops")])
def test_nir_is_written_as_before(form, name, tmp_path):
    save_nir(to_nir(stored(name), round_trip="close", form=form), tmp_path / "again.nir")
    assert_same_hdf5(tmp_path / "again.nir", unpacked(f"{form}.nir", tmp_path))


def assert_same_hdf5(got: Path, expected: Path) -> None:
    import h5py

    def leaves(path):
        found = {}
        with h5py.File(path) as file:
            file.visititems(lambda name, item: found.update({name: item[()]}) if hasattr(item, "shape") else None)
        return {name: value for name, value in found.items() if name != "version"}  # the writer's

    ours, theirs = leaves(got), leaves(expected)
    assert sorted(ours) == sorted(theirs)
    for name, value in theirs.items():
        assert np.asarray(ours[name]).dtype == np.asarray(value).dtype, name
        np.testing.assert_array_equal(ours[name], value, err_msg=name)


ONNX = ("slots.step.int8", "loops.scan.float32", "graph_3.scan.int8", "pnbx_learned_edges.step.float32")


@pytest.mark.parametrize("file", ONNX)
def test_an_onnx_model_runs_as_before_and_is_written_to_run_so(file, tmp_path):
    name, form, products = file.split(".")
    inputs, expected = arrays_of(name)
    old = unpacked(f"{file}.onnx", tmp_path)
    assert_recorded(inside().run_onnx(old, inputs), expected)
    new = inside().save_onnx(stored(name), tmp_path / "new.onnx", form=form, products=products)
    assert_recorded(inside().run_onnx(new, inputs), expected)
    ours, theirs = (inside().load_onnx(path) for path in (new, old))
    facts, others = ({p.key: p.value for p in model.metadata_props} for model in (ours, theirs))
    assert set(facts) == set(others)
    assert {key for key in facts if facts[key] != others[key]} <= {"pnbx.sha256"}  # nodes may stand in another order
    for ports in ("input", "output"):
        assert [*map(str, getattr(ours.graph, ports))] == [*map(str, getattr(theirs.graph, ports))]


def test_an_onnx_model_of_images_answers_as_before(tmp_path):
    import onnxruntime

    inputs, expected = arrays_of("trained_variants")
    sums = expected["readout.y"][-1]
    new = tmp_path / "new.onnx"
    inside().save_onnx(stored("trained_variants"), new, form="image", products="int8")
    for path in (unpacked("trained_variants.image.int8.onnx", tmp_path), new):
        session = onnxruntime.InferenceSession(path.read_bytes(), providers=["CPUExecutionProvider"])
        names = [value.name for value in session.get_outputs()]
        got = dict(zip(names, session.run(None, {"x": inputs[0]}), strict=True))
        assert set(got) == {"readout.y", "labels"}
        np.testing.assert_array_equal(got["readout.y"], sums)
        np.testing.assert_array_equal(got["labels"], sums.argmax(axis=1))


# What they are made by ---------------------------------------------------------------------------------------------


@pytest.mark.skipif("PNBX_GOLDEN_TRAINING" not in os.environ, reason="weights to the bit are those of one machine")
@pytest.mark.parametrize("name", ["everything", "variants"])
def test_training_ends_with_the_same_weights(name, tmp_path):
    """``PNBX_GOLDEN_TRAINING=1 OMP_NUM_THREADS=1``, on the machine and with the torch that made the files."""
    from pnbx_snn.training.config import load_config
    from pnbx_snn.training.run import train

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        train(load_config(HERE / "trained" / name / "config.toml"), tmp_path / "run")
    path = f"trained/{name}/checkpoint.safetensors"
    assert digests(tmp_path / "run" / "checkpoint.safetensors") == EXPECTED["tensors"][path]
