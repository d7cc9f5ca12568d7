"""Programs: what a constructor refuses, that a file holds the same program, and that a damaged file says so."""

import json
import zipfile
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from neuromorphic import LIF, Dense, Input, Program, Readout, run
from neuromorphic.errors import FileFormatError, InputError, ProgramError, StorageError
from neuromorphic.files.container import complete_header, read_container, write_container
from neuromorphic.files.ternary import pack_offset_binary, unpack_offset_binary
from neuromorphic.ops import Delay, Scale
from neuromorphic.program import FORMAT_VERSION, KIND
from programs import small_inputs, small_program

ONE = np.ones(2, dtype=np.int32)
FC = Dense("fc", "x", np.array([[1, 0, -1], [1, 1, 1]], dtype=np.int8))
LIF1 = LIF("lif", ("fc",), decay=3000 * ONE, threshold=5 * ONE, bias=0 * ONE, shift=0)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Input("x", 0), "x: size must be an integer in 1..16777216, got 0"),
        (lambda: Input("x", 3, scale=0.0), "x: scale must be a positive finite float, got 0.0"),
        (lambda: Dense("fc", "x", np.zeros((2, 2))), r"fc: weights must be a non-empty 2-dimensional integer array"),
        (lambda: Dense("fc", "x", np.full((1, 1), -128)), "fc: weights must lie in -127..127, got -128..-128"),
        (lambda: Dense("fc", "x", FC.weights, shift=17), "fc: shift must be an integer in 0..16, got 17"),
        (lambda: replace(LIF1, decay=5000 * ONE), r"lif: decay must lie in 0..4096, got 5000..5000"),
        (lambda: replace(LIF1, threshold=-1 * ONE), r"lif: threshold must lie in 0..8388607"),
        (lambda: replace(LIF1, bias=np.ones(3, dtype=np.int32)), "lif: decay, threshold and bias must have one length"),
        (lambda: replace(LIF1, reset="soft"), "lif: reset must be one of zero, subtract, .* got 'soft'"),
        (lambda: Program((FC,), 1), "fc: source 'x' is not an operation that stands before it"),
        (
            lambda: Program((Input("x", 2), FC), 1),
            "fc: source 'x' must give events or values of size 3, got events of size 2",
        ),
        (lambda: Program((Input("x", 3), FC, FC), 1), "fc: two operations have this name"),
        (lambda: Program((Input("x", 3), replace(LIF1, sources=("x",))), 1), "lif: source 'x' must give values"),
        (lambda: Program((Input("x", 3), FC, replace(LIF1, sources=())), 1), "lif: has no source"),
        (lambda: Program((Input("x", 3),), 0), "program: num_steps must be an integer in 1..2147483647, got 0"),
        (lambda: Program((), 1), "a program needs at least an Input"),
        (lambda: Program((Input("x", 3), Input("y", 3)), 1), "a program has exactly one Input, and it stands first"),
        (lambda: Program((Input("a/b", 3),), 1), "operation name must be letters, digits and underscores, got 'a/b'"),
    ],
)
def test_a_constructor_names_what_is_wrong(make, message):
    with pytest.raises(ProgramError, match=message):
        make()


def test_delays_that_only_read_each_other_are_refused():
    """Whoever looks for where their events come from would look for ever."""
    one = np.ones(3, dtype=np.int32)
    ops = (Input("x", 3), FC, Delay("a", "b", 3), Delay("b", "a", 3), Scale("s", "a", one), Scale("t", "x", one))
    joint = LIF("lif", ("s", "t"), one, one, one, shift=0)
    with pytest.raises(ProgramError, match="a: reads itself through delays alone"):
        Program((*ops, joint), 1)
    with pytest.raises(ProgramError, match="a: reads itself through delays alone"):
        Program((Input("x", 3), Delay("a", "a", 3), Scale("s", "a", one), Scale("t", "x", one), joint), 1)


def test_arrays_of_a_program_are_read_only():
    with pytest.raises(ValueError, match="read-only"):
        FC.weights[0, 0] = 0


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        (np.zeros((12, 4, 8), dtype=np.int32), r"input: inputs must be \[T, B, 9\] or \[B, 9\] .* got \[12, 4, 8\]"),
        (np.zeros((12, 0, 9), dtype=np.int32), r"got \[12, 0, 9\]"),
        (np.zeros(9, dtype=np.int32), r"got \[9\]"),
        (np.full((2, 9), 128), r"input: inputs must lie in -128..127, got 128..128"),
        (np.full((2, 9), np.nan), r"input: inputs hold NaN or infinity \(18 values\)"),
        (np.zeros((2, 9), dtype=complex), "inputs must be integers or floats, got dtype complex128"),
    ],
)
def test_inputs_that_do_not_fit_are_refused(inputs, message):
    with pytest.raises(InputError, match=message):
        small_program().prepare_inputs(inputs)


def test_a_constant_input_is_held():
    prepared = small_program().prepare_inputs(np.full((2, 9), 0.5, dtype=np.float32))
    assert prepared.shape == (12, 2, 9)
    assert (prepared == 64).all()


def test_saving_and_loading_is_the_identity(tmp_path):
    program = small_program()
    sha = program.save(tmp_path / "p.npz")
    loaded = Program.load(tmp_path / "p.npz")
    assert loaded.sha256 == sha == program.sha256
    a, b = run(program, small_inputs()), run(loaded, small_inputs())
    assert all(np.array_equal(a.variables[k], b.variables[k]) for k in a.variables)
    loaded.save(tmp_path / "q.npz")
    assert (tmp_path / "p.npz").read_bytes() == (tmp_path / "q.npz").read_bytes()


def test_numpy_alone_can_read_the_file(tmp_path):
    program = small_program()
    program.save(tmp_path / "p.npz")
    with np.load(tmp_path / "p.npz", allow_pickle=False) as archive:
        packed = archive["lif1_synapses.weights"]
        assert np.array_equal(archive["lif1.threshold"], program["lif1"].threshold)
    weights = program["lif1_synapses"].weights
    assert packed.size == -(-weights.size // 4)
    fields = np.stack([(packed >> shift) & 3 for shift in (0, 2, 4, 6)], axis=1).reshape(-1)[: weights.size]
    assert np.array_equal(fields.reshape(weights.shape).astype(np.int8) - 1, weights)


def test_a_file_of_version_2_is_read(tmp_path):
    program = small_program()
    program.save(tmp_path / "p.npz")
    body, arrays, _ = read_container(tmp_path / "p.npz", KIND, FORMAT_VERSION)
    for entry in body["ops"]:
        for field in ("weights", "edges", "keys"):
            if isinstance(entry.get(field), dict):
                del entry[field]
                arrays[f"{entry['name']}.{field}"] = getattr(program[entry["name"]], field)
    write_container(tmp_path / "old.npz", KIND, 2, body, arrays)
    assert any(array.dtype == np.int8 for array in arrays.values())
    assert Program.load(tmp_path / "old.npz").sha256 == program.sha256


@given(st.lists(st.integers(-1, 1), min_size=1, max_size=40))
def test_packing_is_the_identity(values):
    array = np.array([values], dtype=np.int8)
    assert np.array_equal(unpack_offset_binary("w", pack_offset_binary(array), array.shape), array)


@pytest.mark.parametrize(
    ("packed", "shape", "message"),
    [
        ([3], (1,), "w: ternary values are 0, 1 or 2 in two bits, got 3"),
        ([4], (1,), "w: bits beyond the last of 1 ternary values must be 0"),
        ([0, 0], (4,), r"w: \[4\] ternary values must be uint8\[1\], got uint8\[2\]"),
        ([0], (1 << 40, 1 << 40), "ternary values must be uint8"),
    ],
)
def test_bytes_that_are_no_ternary_values_are_refused(packed, shape, message):
    with pytest.raises(ProgramError, match=message):
        unpack_offset_binary("w", np.array(packed, dtype=np.uint8), shape)


def test_every_truncation_is_refused(tmp_path):
    small_program().save(tmp_path / "p.npz")
    whole = (tmp_path / "p.npz").read_bytes()
    for length in range(0, len(whole), 97):
        (tmp_path / "cut.npz").write_bytes(whole[:length])
        with pytest.raises(FileFormatError, match=r"cut\.npz: "):
            Program.load(tmp_path / "cut.npz")


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_any_altered_byte_is_refused_or_harmless(tmp_path, data):
    """A changed byte either gives one clear error or sits where a zip file keeps nothing of ours."""
    program = small_program()
    program.save(tmp_path / "p.npz")
    content = bytearray((tmp_path / "p.npz").read_bytes())
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    (tmp_path / "altered.npz").write_bytes(bytes(content))
    try:
        loaded = Program.load(tmp_path / "altered.npz")
    except FileFormatError:
        return
    assert loaded.sha256 == program.sha256


def test_a_member_said_to_be_encrypted_is_refused(tmp_path):
    small_program().save(tmp_path / "p.npz")
    content = bytearray((tmp_path / "p.npz").read_bytes())
    content[content.rindex(b"PK\x01\x02") + 8] ^= 1  # a flag of the last member
    (tmp_path / "altered.npz").write_bytes(bytes(content))
    with pytest.raises(FileFormatError, match="encrypted"):
        Program.load(tmp_path / "altered.npz")


def _rewrite(path, change):
    """Write a file whose header was changed and signed anew: only the checks behind the hash can refuse it."""
    body, arrays, _ = read_container(path, KIND, FORMAT_VERSION)
    change(body, arrays)
    write_container(path, KIND, FORMAT_VERSION, body, arrays)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b, a: b["ops"][1].update(source="nothing"), "source 'nothing' is not an operation"),
        (lambda b, a: b["ops"][0].update(op="Conv"), "not a usable program"),
        (lambda b, a: b["ops"][2].update(color="red"), "not a usable program"),
        (lambda b, a: b.pop("num_steps"), "not a usable program"),
        (lambda b, a: a.update({"lif1.decay": a["lif1.decay"] + np.int32(9000)}), "decay must lie in 0..4096"),
        (lambda b, a: a.pop("lif1.decay"), "not a usable program"),
        (lambda b, a: b["ops"][1]["weights"].update(ternary=[9, -1]), r"a shape must be whole numbers of 1 or more"),
        (lambda b, a: b["ops"][1].update(weights={}), "not a usable program"),
        (lambda b, a: a.update(extra=np.zeros(3, dtype=np.int8)), "arrays that no operation uses: extra"),
    ],
)
def test_a_signed_file_with_a_wrong_body_is_refused(tmp_path, change, message):
    path = tmp_path / "p.npz"
    small_program().save(path)
    _rewrite(path, change)
    with pytest.raises(FileFormatError, match=message):
        Program.load(path)


def test_a_changed_weight_in_an_intact_archive_is_refused(tmp_path):
    """Zip's own checksums are right here: only the SHA-256 can see it."""
    small_program().save(tmp_path / "p.npz")
    with zipfile.ZipFile(tmp_path / "p.npz") as old, zipfile.ZipFile(tmp_path / "q.npz", "w") as new:
        for name in old.namelist():
            content = bytearray(old.read(name))
            if name == "lif1_synapses.weights.npy":
                content[-1] = 1 if content[-1] == 0 else 0
            new.writestr(name, bytes(content))
    with pytest.raises(FileFormatError, match="content does not match its SHA-256; the file was altered or damaged"):
        Program.load(tmp_path / "q.npz")


def test_a_newer_version_says_upgrade(tmp_path):
    write_container(tmp_path / "p.npz", KIND, FORMAT_VERSION + 1, {}, {})
    with pytest.raises(FileFormatError, match="format version 5, this version of the package reads up to 4; upgrade"):
        Program.load(tmp_path / "p.npz")


def test_another_kind_is_named(tmp_path):
    write_container(tmp_path / "p.npz", "pnbx-recording", 1, {}, {})
    with pytest.raises(FileFormatError, match="expected a file of kind 'pnbx-program', got 'pnbx-recording'"):
        Program.load(tmp_path / "p.npz")


@pytest.mark.parametrize("content", [b"", b"PK\x05\x06" + bytes(18), b"not a zip", b"\x93NUMPY"])
def test_what_is_no_program_is_refused(tmp_path, content):
    (tmp_path / "p.npz").write_bytes(content)
    with pytest.raises(FileFormatError, match="not a readable pnbx-program file, truncated or altered"):
        Program.load(tmp_path / "p.npz")


def test_a_missing_file_and_a_folder_are_refused(tmp_path):
    with pytest.raises(FileFormatError, match="no such file"):
        Program.load(tmp_path / "none.npz")
    with pytest.raises(FileFormatError, match="cannot be read"):
        Program.load(tmp_path)


def test_a_small_file_cannot_ask_for_much_memory(tmp_path):
    """Announced sizes are held against the file's length; compressed members are not read at all."""
    arrays = {"fc.weights": np.zeros((4, 4), dtype=np.int8)}
    header = complete_header(KIND, 1, {}, arrays)
    header["arrays"]["fc.weights"][1] = [1 << 40, 1 << 20]
    with zipfile.ZipFile(tmp_path / "huge.npz", "w") as archive:
        archive.writestr("header.json", json.dumps(header))
        archive.writestr("fc.weights.npy", b"\x93NUMPY\x01\x00v\x00" + b"{'descr': '|i1'}".ljust(118))
    with pytest.raises(FileFormatError, match=r"huge\.npz"):
        Program.load(tmp_path / "huge.npz")
    with zipfile.ZipFile(tmp_path / "bomb.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("header.json", " " * 10_000_000)
    with pytest.raises(FileFormatError, match="is compressed; only uncompressed members are read"):
        Program.load(tmp_path / "bomb.npz")


def test_object_arrays_are_never_unpickled(tmp_path):
    path = tmp_path / "p.npz"
    np.savez(path, **{"fc.weights": np.array([{"a": 1}], dtype=object)}, allow_pickle=True)
    with pytest.raises(FileFormatError):
        Program.load(path)


def test_a_full_disk_keeps_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "p.npz"
    small_program().save(path)
    before = path.read_bytes()

    def no_space(descriptor):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("neuromorphic.files.container.os.fsync", no_space)
    with pytest.raises(StorageError, match=r"p\.npz: cannot be written \(No space left on device\); a file already"):
        small_program(seed=5).save(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


def test_weight_bytes_are_two_bits_for_ternary_and_eight_otherwise():
    assert Dense("a", "x", np.ones((3, 5), dtype=np.int8)).weight_bytes == 4
    assert Dense("a", "x", np.full((3, 5), 7, dtype=np.int8)).weight_bytes == 15


def test_a_readout_has_one_length():
    with pytest.raises(ProgramError, match="r: source 'fc' must give values of size 3, got values of size 2"):
        Program((Input("x", 3), FC, Readout("r", ("fc",), bias=np.zeros(3, dtype=np.int32), shift=0)), 1)
