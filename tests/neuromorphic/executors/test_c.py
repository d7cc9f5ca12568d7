"""Programs in C: every bit, under all warnings and sanitizers, what the text holds, one clear error for each fault."""

import re
import subprocess
import tempfile
import time
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner

import same
from neuromorphic import LIF, Dense, Input, Program, Readout, run
from neuromorphic.cli import app
from neuromorphic.errors import CompileError, ExecutorError
from neuromorphic.executors import EXECUTORS
from neuromorphic.executors.c.compiler import find_compiler, findings
from neuromorphic.executors.c.network import to_c
from neuromorphic.executors.c.packing import packed
from neuromorphic.formats.c import write_c
from neuromorphic.ops import LI, OP_TYPES, Conv, Delay, FastWeights, Gate, Multiply, Scale
from programs import small_inputs, small_program
from random_networks import random_network
from random_programs import random_inputs
from ready import require

OPERATIONS = tuple(name for name in OP_TYPES if name not in ("Input", "Readout"))
STRICT = ("-std=c99", "-O1", "-pedantic", "-Wall", "-Wextra", "-Werror", "-fsanitize=undefined,address")
STRICT += ("-fno-sanitize-recover=all",)
ONE = np.ones(1, dtype=np.int32)


@pytest.fixture(autouse=True)
def _compiler(request):
    if "no_compiler" not in request.fixturenames:
        require("c")


@pytest.fixture
def no_compiler(monkeypatch, tmp_path):
    """Find no program at all."""
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.delenv("CC", raising=False)


def compiler_that_makes(folder, commands):
    """Return a compiler whose programs are these commands of a shell."""
    (folder / "program").write_text(f"#!/bin/sh\n{commands}\n")
    script = folder / "compiler"
    script.write_text(f'#!/bin/sh\nwhile [ "$1" != -o ]; do shift; done\ncp {folder}/program "$2"\nchmod +x "$2"\n')
    script.chmod(0o755)
    return str(script)


def of_weights(weights, *, low=0, high=1, bias=0):
    """Return a program of one product, whose sums a Readout stores."""
    weights = np.asarray(weights, dtype=np.int8)
    out, sources = weights.shape
    ops = (
        Input("x", sources, low=low, high=high),
        Dense("fc", "x", weights),
        Readout("y", ("fc",), bias=np.full(out, bias, dtype=np.int32), shift=0),
    )
    return Program(ops, num_steps=3)


@pytest.mark.parametrize("operation", OPERATIONS)
def test_no_warning_and_no_undefined_behaviour(operation):
    rng = np.random.default_rng([16, OPERATIONS.index(operation)])
    program = random_network(rng, kinds=(operation,), num_ops=3, num_steps=8)
    same.assert_equal(program, random_inputs(program, rng, 2), "c", flags=STRICT)


def test_programs_of_all_operations():
    for seed in range(6):
        rng = np.random.default_rng([17, seed])
        program = random_network(rng, kinds=OPERATIONS, num_ops=8, num_steps=6)
        same.assert_equal(program, random_inputs(program, rng, 3), "c", flags=STRICT)


@pytest.mark.parametrize("high", [1, 127])
def test_products_of_any_width_and_weights_at_their_ends(high):
    """Of 300 sources: more spikes than the fields of a word can count."""
    rng = np.random.default_rng(high)
    ops = [Input("x", 300, low=-high if high > 1 else 0, high=high)]
    for outputs in (1, 2, 3, 4, 5, 8, 9, 16, 17, 40):
        for name, choice in {"ternary": [-1, 0, 1], "ones": [1], "minus": [-1], "ends": [-127, 127, 0]}.items():
            weights = rng.choice(choice, size=(outputs, 300)).astype(np.int8)
            ops.append(Dense(f"{name}{outputs}", "x", weights))
            ops.append(Readout(f"y_{name}{outputs}", (ops[-1].name,), bias=np.zeros(outputs, dtype=np.int32), shift=0))
    inputs = np.ones((3, 5, 300), dtype=np.int32) * high
    inputs[:, 1] = 0
    inputs[:, 2, ::3] = ops[0].low
    inputs[1:, 3] *= rng.random((2, 300)) < 0.5
    inputs[:, 4] *= rng.random((3, 300)) < 0.02
    same.assert_equal(Program(tuple(ops), num_steps=3), inputs, "c", flags=STRICT)


@pytest.mark.parametrize("high", [1, 100])
def test_convolutions_of_any_shape_and_number_of_outputs(high):
    """Of spikes, eight outputs and more add words of weights, if a window holds at most 127 of them."""
    rng = np.random.default_rng(high)
    ops = [Input("x", 4 * 6 * 7, low=1 - high, high=high)]
    for outputs in (2, 8, 12, 24):
        for kernel, stride, padding, dilation, groups in (
            ((3, 3), (1, 1), (1, 1), (1, 1), 1),
            ((2, 4), (2, 3), (0, 2), (1, 1), 1),
            ((3, 2), (1, 2), (2, 0), (2, 1), 2),
            ((6, 7), (1, 1), (0, 0), (1, 1), 1),
        ):
            for weights in ([-1, 0, 1], [1], [-127, 5]):
                shape = (outputs, 4 // groups, *kernel)
                drawn = rng.choice(weights, size=shape).astype(np.int8)
                ops.append(Conv(f"c{len(ops)}", "x", drawn, (4, 6, 7), stride, padding, dilation, groups))
                size = ops[-1].size
                ops.append(LI(f"v{len(ops)}", (ops[-1].name,), np.zeros(size, dtype=int), np.zeros(size, dtype=int)))
    inputs = rng.choice([1 - high, 0, high], size=(2, 3, 4 * 6 * 7)).astype(np.int32)
    inputs[0, 0], inputs[1, 0] = high, 1 - high
    program = Program(tuple(ops), num_steps=2)
    words = to_c(program, record=[f"{op.name}.v" for op in ops if isinstance(op, LI)]).source.count("0x03030303u;")
    assert words == (4 * 2 * 2 * 2 if high == 1 else 0)  # statements, kernels, choices of weights, 8 and 24 outputs
    same.assert_equal(program, inputs, "c", flags=STRICT)


@pytest.mark.parametrize("sign", [1, -1])
def test_two_weights_share_a_register_up_to_the_ends_of_sixteen_bits(sign):
    for high in (127, 128):  # sums of 32,766, and of 33,024, which no longer pair
        program = of_weights(np.full((32, 258), sign), low=0, high=high)
        assert ("pairs" in to_c(program).source) == (high == 127)
        inputs = np.full((2, 2, 258), high, dtype=np.int32)
        inputs[:, 1, ::2] = 0
        same.assert_equal(program, inputs, "c", flags=STRICT)


@pytest.mark.parametrize("rule", ["hebbian", "delta"])
def test_an_old_state_is_read_to_the_end_before_the_new_one_takes_its_place(rule):
    """Of fast weights: the old key is needed for the matrix, and the new one for what is read of it."""
    rng = np.random.default_rng(3)
    ops = (
        Input("x", 9, low=-128, high=127),
        Dense("fc", "x", rng.integers(-9, 10, (7, 9)).astype(np.int8)),
        FastWeights("fast", "fc", 7, decay=4000, rate_bits=0, frac=12, rule=rule),
        Delay("later", "spikes", 7, 3),
        Dense("back", "later", rng.integers(-1, 2, (7, 7)).astype(np.int8)),
        LIF("spikes", ("fast", "back"), np.full(7, 4000), np.full(7, 900), np.zeros(7, dtype=int), shift=0),
        Readout("y", ("fast",), bias=np.zeros(7, dtype=int), shift=0),
    )
    inputs = rng.integers(-128, 128, (9, 2, 9)).astype(np.int32)
    expected = same.assert_equal(Program(ops, num_steps=9), inputs, "c", flags=STRICT)
    assert (expected.variables["fast.F"][-1] != 0).all()


def test_weights_lie_in_the_fields_that_are_said():
    weights = np.array([[1, -1], [0, 1], [-1, 0], [1, 1], [0, 0]], dtype=np.int8)
    p = packed(weights)
    assert (p.bits, p.word_bits, p.words.shape) == (2, 16, (1, 2))
    fields = p.words[0][:, None] >> (2 * np.arange(8)) & 3
    np.testing.assert_array_equal(fields[:, :5].astype(int) - 1, weights.T)
    assert (fields[:, 5:] == 1).all()  # which adds nothing
    apart = packed(weights, parts=2).words[0][:, None] >> (2 * np.arange(8)) & 3
    np.testing.assert_array_equal(apart, fields[:, [0, 4, 1, 5, 2, 6, 3, 7]])
    assert packed(np.full((9, 3), -127, dtype=np.int8)).words.shape == (3, 3)


def test_the_text_holds_integers_and_static_memory_only():
    for seed in range(12):
        program = random_network(np.random.default_rng([18, seed]), kinds=OPERATIONS, num_ops=5)
        network = to_c(program)
        for text in (network.source, network.header):
            code = re.sub(r"/\*.*?\*/", "", text, flags=re.DOTALL)
            assert not re.search(r"\b(float|double|malloc|calloc|alloca|printf|memset|memcpy)\b", code)
            assert set(re.findall(r"#include (\S+)", code)) <= {"<stdint.h>", '"network.h"'}
            assert text.isascii()
        assert to_c(program).source == network.source
        assert to_c(program).header == network.header


def test_sizes_are_those_that_the_compiler_finds(tmp_path):
    for seed in range(3):
        network = write_c(random_network(np.random.default_rng([19, seed]), kinds=OPERATIONS), tmp_path)
        constants = re.findall(r"^static const \w+ (\w+)\[", network.source, re.MULTILINE)
        variables = re.findall(r"^static \w+ (\w+)\[", network.source, re.MULTILINE)
        variables += re.findall(r"^} (\w+);", network.source, re.MULTILINE)
        sums = (" + ".join(f"sizeof {name}" for name in names) for names in (constants, variables))
        shown = "; ".join(f'printf("%d ", (int)({each}))' for each in sums)
        main = f'#include <stdio.h>\n#include "network.c"\nint main(void) {{ {shown}; return 0; }}\n'
        (tmp_path / "sizes.c").write_text(main)
        subprocess.run([*find_compiler(), "sizes.c"], cwd=tmp_path, check=True)
        done = subprocess.run(["./a.out"], cwd=tmp_path, check=True, capture_output=True, text=True)
        assert [network.constant_bytes, network.state_bytes] == [int(n) for n in done.stdout.split()]
        assert f"{network.constant_bytes:,} bytes of constants" in network.header
        assert f"{network.state_bytes:,} bytes of static memory" in network.header


def test_arrays_share_memory_that_are_needed_at_different_times():
    layers = [Input("x", 64), Dense("fc0", "x", np.ones((100, 64), dtype=np.int8))]
    for i in range(6):
        many = {"decay": np.full(100, 4000), "threshold": np.full(100, 99), "bias": np.zeros(100, dtype=int)}
        layers.append(LIF(f"lif{i}", (f"fc{i}",), **many, shift=0))
        layers.append(Dense(f"fc{i + 1}", f"lif{i}", np.ones((100, 100), dtype=np.int8)))
    layers.append(Readout("y", ("fc6",), bias=np.zeros(100, dtype=int), shift=0))
    lasting = 4 * 100 * 7 + 100 + 64 + 64 + 4 + 1  # membranes and sums; the input, its list and its product
    assert to_c(Program(tuple(layers), 4)).state_bytes < lasting + 350  # one value and one list, not six


def test_ternary_weights_take_two_bits():
    rng = np.random.default_rng(0)
    network = to_c(of_weights(rng.integers(-1, 2, (64, 100))))
    assert network.constant_bytes == 64 * 100 // 4
    assert to_c(of_weights(rng.integers(-127, 128, (64, 100)))).constant_bytes == 64 * 100


def test_what_no_output_depends_on_is_left_out():
    program = small_program()
    unread = Dense("unread", program.ops[0].name, np.ones((7, program.input.size), dtype=np.int8))
    ops = (*program.ops, unread)
    assert to_c(Program(ops, program.num_steps)).source == to_c(program).source


FEEDER = """
#include <stdio.h>
#include "network.h"

static network_input in[NETWORK_INPUTS];
static int32_t out[NETWORK_OUTPUTS];

int main(void)
{
    int command, value;
    while ((command = getchar()) != EOF) { /* r: reset; s and the inputs: a step */
        if (command == 'r')
            network_reset();
        if (command != 's')
            continue;
        for (int i = 0; i < NETWORK_INPUTS; i++) {
            if (scanf("%d", &value) != 1)
                return 1;
            in[i] = (network_input)value;
        }
        network_step(in, out);
        for (int i = 0; i < NETWORK_OUTPUTS; i++)
            printf("%ld ", (long)out[i]);
    }
    return 0;
}
"""


def test_a_network_is_fed_one_step_at_a_time(tmp_path):
    program, inputs = small_program(), small_inputs()
    write_c(program, tmp_path)
    (tmp_path / "feeder.c").write_text(FEEDER)
    compiled = [*find_compiler(), *STRICT, "feeder.c", "network.c", "-o", "feeder"]
    subprocess.run(compiled, cwd=tmp_path, check=True, capture_output=True)
    codes = program.prepare_inputs(inputs)
    order = [(b, t) for b in range(codes.shape[1]) for t in range(len(codes))]
    said = "".join(f"{'r' if t == 0 else ''}s {' '.join(map(str, codes[t, b]))}\n" for b, t in order)
    done = subprocess.run(["./feeder"], cwd=tmp_path, input=said, text=True, capture_output=True, check=True)
    sums = next(array for name, array in reversed(run(program, inputs).variables.items()) if name.endswith(".y"))
    expected = np.concatenate([sums[t, b] for b, t in order])
    np.testing.assert_array_equal(np.array(done.stdout.split(), dtype=np.int64), expected)


def test_the_example_compiles_and_runs(tmp_path):
    network = write_c(small_program(), tmp_path / "made" / "here")
    folder = tmp_path / "made" / "here"
    assert sorted(path.name for path in folder.iterdir()) == ["main.c", "network.c", "network.h"]
    assert (folder / "network.c").read_text() == network.source
    subprocess.run([*find_compiler(), *STRICT, "main.c", "network.c"], cwd=folder, check=True, capture_output=True)
    done = subprocess.run(["./a.out"], cwd=folder, capture_output=True, text=True, check=True)
    zeros = np.zeros((1, small_program().input.size), dtype=np.int8)
    label = int(run(small_program(), zeros).labels()[0])
    assert done.stdout.splitlines()[-1] == f"largest: {label}"


def test_the_command_writes_the_files_and_says_their_sizes(tmp_path):
    small_program().save(tmp_path / "p.npz")
    network = to_c(small_program())
    done = CliRunner().invoke(app, ["export", str(tmp_path / "p.npz"), "--to", "c"], env={"COLUMNS": "300"})
    assert done.exit_code == 0
    assert f"p: network.c, network.h, main.c; {network.constant_bytes:,} bytes of constants" in done.output
    assert f"{network.state_bytes:,} bytes of static RAM" in done.output
    assert (tmp_path / "p" / "network.h").read_text() == network.header
    more = ["export", str(tmp_path / "p.npz"), "--to", "c", "--steps", "2147483647", "-o", str(tmp_path / "more")]
    assert CliRunner().invoke(app, more).exit_code == 0
    assert "#define NETWORK_STEPS 2147483647" in (tmp_path / "more" / "network.h").read_text()


def test_a_step_of_the_same_input_gives_the_same_sums_and_a_reset_starts_anew():
    """Products of an input that stays are not computed again: also not of zeros, which a network starts with."""
    ops = (
        Input("x", 2, low=-5, high=5),
        Dense("fc", "x", np.array([[1, 1]], dtype=np.int8)),
        Gate("gate", "fc", offset=300 * ONE),
        Scale("far", "fc", factor=3 * ONE),
        LIF("lif", ("far",), decay=2048 * ONE, threshold=20 * ONE, bias=ONE, shift=1),
        Dense("out", "lif", np.array([[2]], dtype=np.int8)),
        Readout("y", ("out", "far"), bias=ONE, shift=0),
    )
    program = Program(ops, num_steps=6)
    inputs = np.array([[0, 0], [0, 0], [1, 2], [1, 2], [2, 1], [0, 0]], dtype=np.int32)[:, None, :]
    inputs = np.concatenate([inputs, inputs[::-1], inputs * 0], axis=1)
    same.assert_equal(program, inputs, "c", flags=STRICT)


@pytest.mark.parametrize("name", ["3", "int8", "x1", "for", "größe", "a_b", "network", "a" * 999])
def test_any_name_of_an_operation_is_a_name_in_c(name):
    ops = (
        Input(f"{name}_", 3),
        Dense("a", f"{name}_", np.eye(3, dtype=np.int8)),
        LIF(
            name, ("a",), decay=np.full(3, 4000), threshold=np.zeros(3, dtype=int), bias=np.zeros(3, dtype=int), shift=0
        ),
        Delay("t", name, 3, 2),
        Dense("a_value", "t", np.eye(3, dtype=np.int8)),
        Readout("a_b_value", ("a_value",), bias=np.zeros(3, dtype=int), shift=0),
    )
    program = Program(ops, num_steps=4)
    same.assert_equal(program, np.ones((4, 1, 3), dtype=np.int32), "c", flags=STRICT)


def test_only_what_is_asked_for_is_recorded():
    program, inputs = small_program(), small_inputs()
    names = [name for name in run(program, inputs).variables if name.endswith(".v")][:1]
    recording = run(program, inputs, "c", record=names)
    assert list(recording.variables) == names
    with pytest.raises(ExecutorError, match="c: there is no variable 'nothing.v'"):
        run(program, inputs, "c", record=["nothing.v"])


def test_steps_beyond_the_program_are_proven_first():
    program = small_program()
    longer = np.repeat(small_inputs()[None] if small_inputs().ndim == 2 else small_inputs()[:1], 200, axis=0)
    same.assert_equal(program, longer, "c")


def test_progress_and_an_interruption(monkeypatch, tmp_path):
    monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
    seen = []
    run(small_program(), small_inputs(), "c", progress=lambda done, total: seen.append((done, total)))
    assert seen[-1][0] == seen[-1][1] == len(seen) * seen[0][0]

    def stop(done, total):
        raise KeyboardInterrupt

    made = tmp_path / "made"
    made.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(made))
    monkeypatch.setenv("CC", compiler_that_makes(tmp_path, "echo 1; exec sleep 60"))
    started = time.monotonic()
    with pytest.raises(KeyboardInterrupt):
        run(small_program(), small_inputs(), "c", progress=stop)
    assert time.monotonic() - started < 30  # it was ended
    assert list(made.iterdir()) == []


def test_no_compiler(no_compiler):
    with pytest.raises(ExecutorError, match=r"c: no C compiler found \(cc, gcc, clang\); install one .* CC"):
        run(small_program(), small_inputs(), "c")
    assert not EXECUTORS["c"].ready
    assert "no C compiler found" in findings()[0].detail


def test_a_compiler_that_is_named_but_not_there(monkeypatch):
    monkeypatch.setenv("CC", "nowhere-cc -O9")
    with pytest.raises(
        ExecutorError, match="environment variable CC is 'nowhere-cc -O9', and 'nowhere-cc' is no program"
    ):
        run(small_program(), small_inputs(), "c")
    monkeypatch.setenv("CC", "cc 'x")
    with pytest.raises(ExecutorError, match=r"environment variable CC is \"cc 'x\": No closing quotation"):
        find_compiler()


def test_a_compiler_that_fails(monkeypatch, tmp_path):
    script = tmp_path / "broken"
    script.write_text('#!/bin/sh\nfor i in $(seq 40); do echo "error $i" >&2; done\nexit 3\n')
    script.chmod(0o755)
    monkeypatch.setenv("CC", f"{script} -v")
    with pytest.raises(ExecutorError, match=r"broken -v failed with status 3:\nerror 1\n") as caught:
        run(small_program(), small_inputs(), "c")
    assert len(str(caught.value).splitlines()) == 13


def test_a_compiled_network_that_fails(monkeypatch, tmp_path):
    monkeypatch.setenv("CC", compiler_that_makes(tmp_path, "echo lost >&2; exit 9"))
    with pytest.raises(ExecutorError, match="c: the compiled network ended with status 9\nlost"):
        run(small_program(), small_inputs(), "c")


def test_a_primitive_without_a_rule_is_refused_by_name(monkeypatch):
    from neuromorphic.executors.c import elements  # which looks rules up

    monkeypatch.setattr(elements, "RULES", {name: rule for name, rule in elements.RULES.items() if name != "where"})
    with pytest.raises(CompileError, match="C has no rule for the primitive 'where'"):
        to_c(small_program())


def test_a_folder_that_cannot_be_made(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="cannot be written"):
        write_c(small_program(), Path(tmp_path / "file"))


def of_channels(rng):
    """Return a convolutional program whose neurons have one threshold and one bias for each of five channels."""
    thresholds, biases = (np.repeat(rng.integers(1, 90000, 5), 144).astype(np.int32) for _ in range(2))
    weights = rng.integers(-1, 2, (5, 1, 3, 3)).astype(np.int8)
    ops = (
        Input("x", 144, low=-128, high=127),
        Conv("conv", "x", weights, input_shape=(1, 12, 12), padding=(1, 1)),
        LIF("lif", ("conv",), np.full(720, 3000, dtype=np.int32), thresholds, biases, shift=6, reset="subtract"),
        Dense("fc", "lif", rng.integers(-1, 2, (3, 720)).astype(np.int8)),
        Readout("readout", ("fc",), bias=np.zeros(3, dtype=np.int32), shift=0),
    )
    return Program(ops, num_steps=6)


def test_of_what_is_equal_within_a_channel_one_is_in_flash():
    rng = np.random.default_rng(0)
    for _ in range(4):
        program = of_channels(rng)
        assert to_c(program).constant_bytes < 800  # 720 are the matrix; one of each for a neuron would be 5,760 more
        same.assert_equal(program, random_inputs(program, rng, 2), "c")


def of_gates(offset):
    """Return a program that reads gates of ``1 + offset`` out, where its input is 1."""
    ops = (
        Input("x", 1),
        Dense("fc", "x", np.ones((offset.size, 1), dtype=np.int8)),
        Gate("gate", "fc", offset),
        Scale("one", "fc", factor=np.full(offset.size, 4096, dtype=np.int32)),
        Multiply("told", "one", "gate", offset.size),
        Readout("y", ("told",), bias=np.zeros(offset.size, dtype=np.int32), shift=0),
    )
    return Program(ops, num_steps=1)


def test_a_sigmoid_is_stored_where_it_differs_and_is_right_at_every_place():
    assert 2 * 2308 <= to_c(of_gates(ONE)).constant_bytes < 2 * 2308 + 64
    every = of_gates(np.arange(-5000, 5001, dtype=np.int32))
    same.assert_equal(every, np.array([0, 1], dtype=np.int32).reshape(1, 2, 1), "c", flags=STRICT)
