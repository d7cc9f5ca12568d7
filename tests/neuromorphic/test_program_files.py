"""Files of programs: their digest from the documents alone, old versions, and what an altered file may not do."""

import copy
import hashlib
import json
import pickle
import re
import struct
import time
import zipfile
from dataclasses import fields, replace
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

import old_files
from neuromorphic import LIF, Dense, Input, Program, Readout, Recording, prove, run
from neuromorphic.errors import FileFormatError, ProgramError, StorageError
from neuromorphic.files.container import complete_header, read_container, write_container
from neuromorphic.ops import OP_TYPES, Delay, FastWeights, Operation, Scale, Torus
from neuromorphic.program import FORMAT_VERSION, KIND, MAX_NAME, MAX_VALUES
from programs import small_inputs, small_program
from random_programs import random_program

PAGE = (Path(__file__).parents[2] / "docs" / "program-format.md").read_text()
FC = Dense("fc", "x", np.array([[1, -1], [0, 1], [2, 3]], dtype=np.int8))
OUT = Dense("out", "fc", np.array([[1, 0, -1]], dtype=np.int8))
METADATA = {"rate": 1e-7, "source": "example", "epochs": {2: 0.5, 10: 1.0}}


def example(metadata=METADATA):
    return Program((Input("x", 2, scale=0.5), FC, OUT), num_steps=4, metadata=metadata)


# The digest, computed anew from docs/program-format.md with nothing of the package.


def number(value: float) -> str:
    """JavaScript's text of a number: the fewest digits that give it back, laid out as ECMAScript says."""
    if value == 0:
        return "0"
    mantissa, exponent = next(text for p in range(17) if float(text := f"{abs(value):.{p}e}") == abs(value)).split("e")
    digits, n = mantissa.replace(".", "").rstrip("0"), int(exponent) + 1
    if 0 < n <= 21:
        text = digits + "0" * (n - len(digits)) if len(digits) <= n else digits[:n] + "." + digits[n:]
    elif -6 < n <= 0:
        text = "0." + "0" * -n + digits
    else:
        text = digits[0] + ("." + digits[1:] if digits[1:] else "") + "e" + ("+" if n > 0 else "-") + str(abs(n - 1))
    return ("-" if value < 0 else "") + text


def canonical(value) -> str:
    if isinstance(value, dict):
        keys = sorted(
            value, key=lambda key: struct.unpack(f">{len(key.encode('utf-16-be')) // 2}H", key.encode("utf-16-be"))
        )
        return "{" + ",".join(json.dumps(key, ensure_ascii=False) + ":" + canonical(value[key]) for key in keys) + "}"
    if isinstance(value, list):
        return "[" + ",".join(canonical(entry) for entry in value) + "]"
    if isinstance(value, str) or value is None or isinstance(value, bool):
        return json.dumps(value, ensure_ascii=False)
    return number(float(value))


def strangers_digest(path) -> str:
    with zipfile.ZipFile(path) as archive:
        header = json.loads(archive.read("header.json"))
        del header["sha256"]
        sha = hashlib.sha256(canonical(header).encode())
        for name in re.findall(r'"((?:[^"\\]|\\.)*)":\["', canonical(header["arrays"])):
            member = archive.read(f"{name}.npy")
            sha.update(name.encode() + member[10 + int.from_bytes(member[8:10], "little") :])
    return sha.hexdigest()


def test_the_example_of_the_page(tmp_path):
    """Its text and digest are the ones that the package writes and a stranger computes, and so is its Python."""
    (text,) = re.findall(r"```text\n(.*)\n```", PAGE)
    (digest,) = re.findall(r"^`([0-9a-f]{64})`", PAGE, re.MULTILINE)
    values = b"fc.weights" + bytes.fromhex("01ff00010203") + b"out.weights" + bytes.fromhex("06")
    assert hashlib.sha256(text.encode() + values).hexdigest() == digest
    assert example().sha256 == example().save(tmp_path / "p.npz") == strangers_digest(tmp_path / "p.npz") == digest
    (code,) = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    scope: dict = {}
    exec(code, scope)
    small_program().save(tmp_path / "q.npz")
    assert scope["digest"](tmp_path / "q.npz")
    assert f"`format_version` | {FORMAT_VERSION} (a recording: 2)" in PAGE
    assert f"at most 2^{MAX_VALUES.bit_length() - 1} values" in PAGE


@pytest.mark.parametrize("seed", range(10))
def test_a_stranger_computes_the_same_digest(tmp_path, seed):
    program = random_program(np.random.default_rng(seed))
    program = replace(program, metadata={"µ": [1e21, -1e-7, 2**60 + 1, True, None], "\U0001f600": '\x1f"\\', "ﬁ": 0.1})
    assert program.save(tmp_path / "p.npz") == strangers_digest(tmp_path / "p.npz")
    recording = Recording({"ä.v": np.zeros((2, 1, 3), dtype=np.int32), "b.v": np.ones((2, 1, 1), dtype=np.int32)}, "x")
    assert recording.save(tmp_path / "r.npz") == strangers_digest(tmp_path / "r.npz")


def test_a_stranger_writes_a_program(tmp_path):
    """Indented, keys in another order, 1 for 1.0, members deflated by nobody: what JavaScript would write."""
    operations = [
        {"op": "Input", "name": "x", "size": 2, "low": 0, "high": 1, "scale": 1},
        {"op": "Dense", "name": "größe", "source": "x", "shift": 0, "weights": {"ternary": [1, 2]}},
    ]
    header = {
        "kind": "pnbx-program",
        "format_version": 4,
        "body": {"ops": operations, "num_steps": 3, "metadata": {"author": "a stranger", "loss": 1e-9}},
        "arrays": {"größe.weights": ["uint8", [1]]},
    }
    values = bytes([0b0010])  # 1, -1
    header["sha256"] = hashlib.sha256(canonical(header).encode() + "größe.weights".encode() + values).hexdigest()
    npy = b"{'descr':'|u1','fortran_order':False,'shape':(1,)}\n"
    with zipfile.ZipFile(tmp_path / "p.npz", "w") as archive:
        archive.writestr("größe.weights.npy", b"\x93NUMPY\1\0" + len(npy).to_bytes(2, "little") + npy + values)
        archive.writestr("header.json", json.dumps(header, indent=4, ensure_ascii=False))
    program = Program.load(tmp_path / "p.npz")
    assert program["größe"].weights.tolist() == [[1, -1]]
    assert program.sha256 == header["sha256"]
    assert program.input.scale == 1.0


# What was saved is what is loaded.


@pytest.mark.parametrize(
    ("metadata", "kept"),
    [
        ({"epochs": {2: 0.5, 10: 0.9}}, {"epochs": {"2": 0.5, "10": 0.9}}),  # written, then failed its own SHA-256
        ({"shape": (3, (4, 5))}, {"shape": [3, [4, 5]]}),
        ({"loss": np.float32(0.5), "n": np.int64(3), "ok": np.True_}, {"loss": 0.5, "n": 3, "ok": True}),
        ({"seed": 2**64 - 1, "tiny": 5e-324, "whole": 1.0}, {"seed": 2**64 - 1, "tiny": 5e-324, "whole": 1.0}),
        ({"ü\U0001f600\n": ["\x00"]}, {"ü\U0001f600\n": ["\x00"]}),
    ],
)
def test_metadata_come_back_as_they_were_kept(tmp_path, metadata, kept):
    program = example(metadata)
    assert program.metadata == kept
    sha = program.save(tmp_path / "p.npz")
    loaded = Program.load(tmp_path / "p.npz")
    assert loaded.metadata == kept
    assert loaded.sha256 == sha == program.sha256
    recording = Recording({"lif.v": np.zeros((1, 1, 1), dtype=np.int32)}, "numpy", metadata)
    recording.save(tmp_path / "r.npz")
    assert Recording.load(tmp_path / "r.npz").metadata == kept


@pytest.mark.parametrize(
    ("metadata", "message"),
    [
        ({"loss": float("nan")}, r'program: metadata\["loss"\] is nan, which JSON does not know; use None or a text'),
        ({"a": {1.5: 2}}, r'program: metadata\["a"\] has the key 1.5 of type float'),
        ({"a": [Path("x")]}, r'program: metadata\["a"\]\[0\] is of type PosixPath'),
        ([("a", 1)], "program: metadata must be a mapping, got list"),
        (None, "program: metadata must be a mapping, got NoneType"),
    ],
)
def test_metadata_that_no_file_can_hold_are_refused(tmp_path, metadata, message):
    with pytest.raises(ProgramError, match=message):
        example(metadata)
    if isinstance(metadata, dict):
        recording = Recording({"lif.v": np.zeros((1, 1, 1), dtype=np.int32)}, "numpy", metadata)
        with pytest.raises(StorageError, match=r"r\.npz: not written: body\[\"metadata\"\]"):
            recording.save(tmp_path / "r.npz")
        assert not list(tmp_path.iterdir())


def test_what_could_not_be_read_back_is_not_written(tmp_path):
    path = tmp_path / "p.npz"
    with pytest.raises(StorageError, match=r"not written: a header of 17\d+ bytes"):
        example({"text": "x" * (17 << 20)}).save(path)
    for array in (np.zeros((1, 1, 1), dtype=bool), np.zeros((1, 1, 1), dtype=np.float16)):
        with pytest.raises(StorageError, match=rf"not written: array 'lif.v' is {array.dtype}, files hold uint8"):
            Recording({"lif.v": array}, "numpy").save(path)
    for name in ("a/b", "a\0b", "", "x" * 5000):
        with pytest.raises(StorageError, match="not written: the name of an array must be text of 1 to 4096 bytes"):
            Recording({name: np.zeros((1, 1, 1), dtype=np.int32)}, "numpy").save(path)
    with pytest.raises(StorageError, match="not written: .* 1000 are read back"):
        write_container(path, KIND, 4, {}, {"a": np.zeros(1000, dtype=np.int32)}, max_bytes=1000)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["a", "x" * MAX_NAME, "größe", "層1", "_1", "\U0001d7d8" * MAX_NAME])
def test_the_longest_and_oddest_names_come_back(tmp_path, name):
    ops = (Input("x", 2), replace(FC, name=name) if name != "x" else FC)
    sha = Program(ops, num_steps=1).save(tmp_path / "p.npz")
    assert Program.load(tmp_path / "p.npz").sha256 == sha == strangers_digest(tmp_path / "p.npz")


def test_names_that_are_none():
    with pytest.raises(ProgramError, match="operation name must have at most 1000 letters, got 1001"):
        Input("x" * 1001, 1) and Program((Input("x" * 1001, 1),), 1)
    for name in ("", "_", "a b", "a.b", 3):
        with pytest.raises(ProgramError, match="operation name must be letters, digits and underscores"):
            Program((Input(name, 1),), 1)


def test_a_source_that_is_named_twice_is_added_twice():
    one = np.ones(1, dtype=np.int32)
    ops = (
        Input("x", 1, high=9),
        Dense("fc", "x", np.ones((1, 1), dtype=np.int8)),
        Readout("y", ("fc", "fc"), 0 * one, 0),
    )
    assert run(Program(ops, 1), np.array([[4]])).variables["y.y"][0, 0].tolist() == [8]


def test_the_last_read_out_gives_the_label():
    bias = np.zeros(2, dtype=np.int32)
    fc = Dense("fc", "x", np.eye(2, dtype=np.int8))
    twisted = Dense("not", "x", np.eye(2, dtype=np.int8)[::-1])
    ops = (Input("x", 2), fc, twisted, Readout("first", ("fc",), bias, 0), Readout("last", ("not",), bias, 0))
    assert run(Program(ops, 1), np.array([[1, 0]])).labels().tolist() == [1]


# Old files.


def test_files_of_earlier_versions_are_read_as_they_were(tmp_path):
    path = tmp_path / "p.npz"
    programs = []
    for content in (old_files.PROGRAM_2, old_files.PROGRAM_3):
        path.write_bytes(content)
        programs.append(Program.load(path))
        assert programs[-1].metadata == {"source": "old", "rate": 1e-07, "ünit": "µs", "none": None, "shape": [3, 4]}
    assert programs[0].sha256 == programs[1].sha256
    assert programs[1]["fc"].weights.tolist() == [[1, 0, -1], [1, 1, 1]]
    assert programs[1].input == Input("x", 3, -8, 7, 0.125)
    path.write_bytes(old_files.RECORDING_1)
    recording = Recording.load(path)
    again = run(programs[1], np.array([[7, -8, 3]], dtype=np.int32))
    assert all(np.array_equal(again.variables[name], array) for name, array in recording.variables.items())
    assert recording.metadata == {"seconds": 0.5, "epochs": {"2": 1, "10": 2}}
    path.write_bytes(old_files.PROGRAM_3_INTEGER_KEYS)
    assert Program.load(path).metadata == {"epochs": {"2": 0.5, "10": 0.9}}


def test_an_altered_old_file_is_still_refused(tmp_path):
    with zipfile.ZipFile(tmp_path / "q.npz", "w") as new:
        (tmp_path / "p.npz").write_bytes(old_files.PROGRAM_3)
        with zipfile.ZipFile(tmp_path / "p.npz") as old:
            for name in old.namelist():
                new.writestr(name, old.read(name).replace(b'"shift":2', b'"shift":3'))
    with pytest.raises(FileFormatError, match="does not match its SHA-256"):
        Program.load(tmp_path / "q.npz")


# Altered files.


def rewritten(path, change):
    """Write a file whose header, a dict, was changed and signed anew by a stranger."""
    with zipfile.ZipFile(path) as archive:
        members = {name: archive.read(name) for name in archive.namelist()}
    header = json.loads(members.pop("header.json"))
    del header["sha256"]
    header = change(header) or header
    sha = hashlib.sha256(canonical(header).encode())
    for name in header.get("arrays", {}):
        member = members[f"{name}.npy"]
        sha.update(name.encode() + member[10 + int.from_bytes(member[8:10], "little") :])
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("header.json", json.dumps({**header, "sha256": sha.hexdigest()}))
        for name, content in members.items():
            archive.writestr(name, content)


@pytest.mark.parametrize("version", [-5, 0, True, 4.0, "4", None, [4]])
def test_format_versions_that_are_none(tmp_path, version):
    example().save(tmp_path / "p.npz")
    rewritten(tmp_path / "p.npz", lambda header: {**header, "format_version": version})
    with pytest.raises(FileFormatError, match="format_version must be a whole number of 1 or more, got"):
        Program.load(tmp_path / "p.npz")


@pytest.mark.parametrize("metadata", [[], [["a", 1]], "text", 3, None])
def test_metadata_that_are_no_mapping(tmp_path, metadata):
    """A raw exception once."""
    example().save(tmp_path / "p.npz")
    rewritten(tmp_path / "p.npz", lambda header: header["body"].update(metadata=metadata))
    with pytest.raises(FileFormatError, match="not a usable program .program: metadata must be a mapping"):
        Program.load(tmp_path / "p.npz")
    recording = Recording({"lif.v": np.zeros((1, 1, 1), dtype=np.int32)}, "numpy")
    recording.save(tmp_path / "r.npz")
    rewritten(tmp_path / "r.npz", lambda header: header["body"].update(metadata=metadata))
    with pytest.raises(FileFormatError, match="not a usable recording .*metadata a mapping"):
        Recording.load(tmp_path / "r.npz")


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda b: b.update(order=["lif.v", "lif.v"]), "order must name every array once"),
        (lambda b: b.update(order=[]), "order must name every array once"),
        (lambda b: b.update(executor=["numpy"]), "executor be text"),
        (lambda b: b.pop("order"), "not a usable recording"),
        (lambda b: b.update(order=[1, "a"]), "not a usable recording"),
    ],
)
def test_a_recording_with_a_wrong_body(tmp_path, change, message):
    Recording({"lif.v": np.zeros((1, 1, 1), dtype=np.int32)}, "numpy").save(tmp_path / "r.npz")
    rewritten(tmp_path / "r.npz", lambda header: change(header["body"]) and None)
    with pytest.raises(FileFormatError, match=message):
        Recording.load(tmp_path / "r.npz")


def test_a_recording_of_other_shapes(tmp_path):
    Recording({"lif.v": np.zeros((1, 1), dtype=np.int32)}, "numpy").save(tmp_path / "r.npz")
    with pytest.raises(FileFormatError, match=r"variables must be \[T, B, N\], got \[\[1, 1\]\]"):
        Recording.load(tmp_path / "r.npz")


def test_json_beyond_json(tmp_path):
    """1e999 is infinite to Python, and a key that is there twice is another one to every reader."""
    for old, new in (
        (b'"rate":1e-07', b'"rate":1e999'),
        (b'"rate":1e-07', b'"rate":NaN  '),
        (b'"rate":', b'"source":'),
    ):
        example().save(tmp_path / "p.npz")
        with zipfile.ZipFile(tmp_path / "p.npz") as archive:
            members = {name: archive.read(name) for name in archive.namelist()}
        assert old in members["header.json"]
        with zipfile.ZipFile(tmp_path / "p.npz", "w") as archive:
            for name, content in members.items():
                archive.writestr(name, content.replace(old, new))
        with pytest.raises(
            FileFormatError, match="not a readable pnbx-program file.*(JSON does not know|is there twice)"
        ):
            Program.load(tmp_path / "p.npz")


def zip_again(path, change):
    with zipfile.ZipFile(path) as archive:
        members = [(name, archive.read(name)) for name in archive.namelist()]
    with zipfile.ZipFile(path, "w") as archive:
        change(archive, members)
        for name, content in members:
            archive.writestr(name, content)


def test_bytes_that_are_no_part_of_the_format(tmp_path):
    path = tmp_path / "p.npz"
    example().save(path)
    whole = path.read_bytes()
    end = whole.rindex(b"PK\5\6")
    first = whole.index(b"PK\1\2")
    gap = struct.unpack("<I", whole[end + 16 : end + 20])[0] + 5
    spread = whole[:first] + b"extra" + whole[first : end + 16] + struct.pack("<I", gap) + whole[end + 20 :]
    for content, message in (
        (whole + b"\0", "has bytes after the end of its archive"),
        (whole + whole, "member header.json does not begin where the one before it ends"),
        (b"#!/bin/sh\n" + whole, "does not begin where the one before it ends"),
        (whole[:-2] + b"\5\0extra", "has bytes after the end of its archive"),
        (spread, "has bytes between its members and the end of its archive"),
        (whole[:end] + b"extra" + whole[end:], "does not begin where|between its members|not a readable"),
    ):
        path.write_bytes(content)
        with pytest.raises(FileFormatError, match=message):
            Program.load(path)


@pytest.mark.filterwarnings("ignore:Duplicate name")
def test_duplicate_and_longer_members(tmp_path):
    path = tmp_path / "p.npz"
    for change, message in (
        (lambda archive, members: members.append(members[1]), "members do not match the header"),
        (lambda archive, members: members.append(members[0]), "members do not match the header"),
        (lambda archive, members: members.append(("more", b"")), "members do not match the header"),
        (
            lambda archive, members: members.append((members[1][0], members.pop(1)[1] + b"more")),
            "is not a usable .npy array: it goes on after its array",
        ),
        (
            lambda archive, members: members.append((members[1][0], members.pop(1)[1][:-1])),
            "is not a usable .npy array: it is cut short",
        ),
    ):
        example().save(path)
        zip_again(path, change)
        with pytest.raises(FileFormatError, match=message):
            Program.load(path)


def test_members_that_share_their_bytes(tmp_path):
    """A zip whose entries all point at one place holds more than its size: the oldest bomb there is."""
    path = tmp_path / "p.npz"
    example().save(path)
    content = bytearray(path.read_bytes())
    at = [match.start() for match in re.finditer(re.escape(b"PK\1\2"), bytes(content))]
    content[at[2] + 42 : at[2] + 46] = content[at[1] + 42 : at[1] + 46]
    path.write_bytes(bytes(content))
    with pytest.raises(FileFormatError, match="does not begin where the one before it ends"):
        Program.load(path)


@pytest.mark.parametrize(
    "header",
    [
        "(" * 3000,  # a MemoryError of Python's parser
        "  x\n y",  # IndentationError
        "'''",  # TokenError
        "{'descr': '|u1', 'fortran_order': False, 'shape': (1e999,), }",  # OverflowError
        "{'descr': '|O', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': [('a', '|u1')], 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '|u1', 'descr': '|u1', 'fortran_order': False, 'shape': (1,), }",
        "{'descr': '|u1', 'fortran_order': True, 'shape': (1,), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (" + "1," * 40 + "), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (-1,), }",
        "{'descr': '|u1', 'fortran_order': False, 'shape': (99999999999999999999999999,), }",
        "",
    ],
)
def test_headers_of_arrays_are_not_evaluated(tmp_path, header):
    example().save(tmp_path / "p.npz")
    npy = b"\x93NUMPY\1\0" + len(header).to_bytes(2, "little") + header.encode() + b"\x06"
    zip_again(tmp_path / "p.npz", lambda archive, members: members.append((members.pop(2)[0], npy)))
    with pytest.raises(FileFormatError, match=r"member out.weights.npy is not a usable|array out.weights should be"):
        Program.load(tmp_path / "p.npz")


@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_no_altered_byte_gives_another_program(tmp_path, data):
    example().save(tmp_path / "p.npz")
    content = bytearray((tmp_path / "p.npz").read_bytes())
    for _ in range(data.draw(st.integers(1, 3))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    (tmp_path / "q.npz").write_bytes(bytes(content))
    try:
        assert Program.load(tmp_path / "q.npz").sha256 == example().sha256
    except FileFormatError as error:
        assert "\n" not in str(error)  # noqa: PT017


# Sizes that nothing backs.


def delays(count, size, steps=1):
    chain = [Input("x", size)]
    for i in range(count):
        chain.append(Delay(f"d{i}", chain[-1].name, size, steps))
    return tuple(chain)


@pytest.mark.parametrize(
    ("ops", "name"),
    [
        (delays(40, 1 << 24), "x: holds 16777216 of 1358954496|d0: holds 33554432 of 1358954496"),  # took 10.5 GB
        (delays(1, 1 << 16, 4096), "d0: holds 268500992 of 268566528 values"),
        ((Input("x", 9), Torus("t", "x", 1 << 20, 1 << 20)), "must give events of size 1099511627776"),
        (
            (
                Input("x", 4096),
                Scale("s", "x", np.ones(4096, dtype=np.int32)),
                *(FastWeights(f"f{i}", "s", 4096, 4000, 4, 10) for i in range(9)),
            ),
            "f0: holds 16785408 of",
        ),
    ],
)
def test_small_programs_that_take_large_memory(ops, name):
    with pytest.raises(ProgramError, match=name):
        Program(ops, num_steps=1)


def test_a_file_that_asks_for_much_is_refused_before_it_gets_it(tmp_path):
    example().save(tmp_path / "p.npz")

    def change(header):
        header["body"]["ops"] = [{"op": "Input", "name": "x", "size": 1 << 24, "low": 0, "high": 1, "scale": 1}]
        chain = [{"op": "Delay", "name": f"d{i}", "source": "x", "size": 1 << 24, "steps": 1} for i in range(40)]
        header["body"]["ops"] += chain
        return {**header, "arrays": {}}

    rewritten(tmp_path / "p.npz", change)
    zip_again(tmp_path / "p.npz", lambda archive, members: members.__delitem__(slice(1, None)))
    with pytest.raises(
        FileFormatError, match="holds 33554432 of 1358954496 values that the program takes for one sample"
    ):
        Program.load(tmp_path / "p.npz")


def test_what_is_sensible_is_far_below_the_budget():
    """The reference network's 2,048 neurons take 0.03 % of it for their spikes, membranes and currents."""
    one = np.ones(2048, dtype=np.int32)
    fc = Dense("fc", "x", np.ones((2048, 784), dtype=np.int8))
    Program((Input("x", 784), fc, LIF("lif", ("fc",), one, one, one, shift=0), Delay("d", "lif", 2048, 4096)), 4)
    Program(delays(3, 1 << 24), num_steps=1)


def test_long_chains_of_delays_take_linear_time():
    """1,000 delays took 7.8 s, 2,000 more than 90 s: each was followed through all before it, name by name."""
    ops = delays(20_000, 1)
    started = time.monotonic()
    program = Program(ops, num_steps=1)
    assert program.undelayed("d19999") == (program.input, 20_000)
    assert program.undelayed("x") == (program.input, 0)
    assert [program[f"d{i}"].steps for i in range(20_000)] == [1] * 20_000
    assert prove(program) == []
    assert time.monotonic() - started < 5
    # A loop through a neuron, its delays in the order in which they must be followed backwards.
    one = np.ones(1, dtype=np.int32)
    back = tuple(Delay(f"d{i}", f"d{i + 1}" if i < 1999 else "lif", 1, 1) for i in range(2000))
    ends = (Scale("s", "d0", one), Scale("t", "x", one), LIF("lif", ("s", "t"), one, one, one, shift=0))
    program = Program((Input("x", 1), *back, *ends), num_steps=1)
    assert program.undelayed("d0") == (program["lif"], 2000)
    assert time.monotonic() - started < 5


# Arrays stay as they are.


@pytest.mark.parametrize("again", [lambda p: pickle.loads(pickle.dumps(p)), copy.deepcopy, copy.copy])
def test_copies_of_a_program_are_read_only(again):
    program = again(random_program(np.random.default_rng(1)))
    operations = [*program.ops, again(small_program()["lif1"]), again(Scale("s", "x", np.ones(2, dtype=np.int32)))]
    arrays = [getattr(op, f.name) for op in operations for f in fields(op)]
    arrays = [array for array in arrays if isinstance(array, np.ndarray)]
    assert arrays
    assert not any(array.flags.writeable for array in arrays)
    assert again(small_program()).sha256 == small_program().sha256
    again(small_program())
    assert np.array_equal(
        run(again(small_program()), small_inputs()).labels(), run(small_program(), small_inputs()).labels()
    )


def test_every_operation_with_arrays_restores_them_read_only():
    for cls in OP_TYPES.values():
        has_arrays = any("NDArray" in str(f.type) for f in fields(cls))
        assert not has_arrays or cls.__setstate__ is Operation.__setstate__, cls


def test_the_header_of_a_container_is_what_is_written(tmp_path):
    header = complete_header(KIND, FORMAT_VERSION, {"a": (1,)}, {})
    assert header["body"] == {"a": [1]}
    with pytest.raises(ValueError, match=r'body\["a"\] is nan'):
        complete_header(KIND, FORMAT_VERSION, {"a": float("nan")}, {})
    assert write_container(tmp_path / "c.npz", KIND, FORMAT_VERSION, {"a": (1,)}, {}) == header["sha256"]
    assert read_container(tmp_path / "c.npz", KIND, FORMAT_VERSION)[2] == header["sha256"]
