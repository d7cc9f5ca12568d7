"""Programs on an emulated Cortex-M3 and M0: every bit, what is measured, and one clear error for what goes wrong."""

import shutil
import subprocess

import numpy as np
import pytest

import same
from neuromorphic import LIF, Dense, Input, Program, Readout, run, verify
from neuromorphic.errors import ExecutorError
from neuromorphic.executors.c.executor import FLAGS
from neuromorphic.executors.c.network import Network, to_c
from neuromorphic.executors.qemu import ENTRIES
from neuromorphic.executors.qemu.executor import FACTS, _emulate, build, counted
from neuromorphic.executors.qemu.firmware import BOARDS, HARNESS, SMALLEST
from neuromorphic.executors.qemu.tools import GCC
from pnbx_snn.data.digits import load_digits_split
from programs import small_inputs, small_program
from random_networks import random_network
from random_programs import random_inputs
from ready import require

CORES = tuple(BOARDS)


@pytest.fixture(autouse=True)
def _qemu(request):
    if "without_tools" not in request.fixturenames:
        require("qemu")


@pytest.fixture
def without_tools(monkeypatch):
    """Find neither GCC nor QEMU."""
    monkeypatch.setattr(shutil, "which", lambda name: None)


@pytest.mark.parametrize("core", CORES)
def test_random_programs_of_any_operation(core):
    for seed in range(4):
        rng = np.random.default_rng([7, seed])
        program = random_network(rng, num_ops=12)
        same.assert_equal(program, random_inputs(program, rng, 3), "qemu", core=core)


@pytest.mark.parametrize("core", CORES)
def test_digits_of_scikit_learn(core):
    """A network as large as the demo's, with random weights: every spike, membrane and label of 360 images."""
    rng = np.random.default_rng(0)

    def ternary(rows, columns):
        return rng.integers(-1, 2, (rows, columns)).astype(np.int8)

    def lif(name, source, size, threshold):
        one = np.ones(size, dtype=np.int32)
        return LIF(name, (source,), 3686 * one, threshold * one, rng.integers(-9, 99, size).astype(np.int32), shift=6)

    ops = (
        Input("pixels", 64, -128, 127, 1 / 127),
        Dense("fc1", "pixels", ternary(256, 64)),
        lif("lif1", "fc1", 256, 30_000),
        Dense("fc2", "lif1", ternary(128, 256)),
        lif("lif2", "fc2", 128, 500),
        Dense("fc3", "lif2", ternary(10, 128)),
        Readout("readout", ("fc3",), np.zeros(10, dtype=np.int32), shift=0),
    )
    program, images = Program(ops, num_steps=8), load_digits_split(part="test").images[:].numpy()
    comparison, expected, got = verify(program, images, "qemu", core=core)
    assert comparison.equal, str(comparison.first)
    assert (comparison.spikes_compared, len(images)) == (8 * 360 * (256 + 128), 360)
    assert 0.05 < expected.variables["lif2.spikes"].mean() < 0.5
    np.testing.assert_array_equal(got.labels(), expected.labels())
    facts = got.metadata
    assert 10_000 < facts["flash_bytes"] < 30_000
    assert 1_500 < facts["ram_bytes"] < 8_000
    assert 5_000 < facts["instructions_per_step"] <= facts["instructions_at_most"] < 200_000
    assert 0 < facts["stack_bytes"] < 1_024


HEADER = """
#include <stdint.h>
#define NETWORK_INPUTS 1
#define NETWORK_OUTPUTS 1
#define NETWORK_RECORDED 1
typedef int8_t network_input;
void network_reset(void);
void network_step(const network_input *in, int32_t *out);
void network_record(int32_t *to);
"""


def instructions(assembly, core, folder, steps=5, batch=3):
    """Return what is counted of a step of this assembly."""
    source = f"""
    #include "network.h"
    void network_reset(void) {{ }}
    void network_step(const network_input *in, int32_t *out) {{ __asm__ volatile("{assembly}" : : : "r3", "cc"); }}
    void network_record(int32_t *to) {{ to[0] = 0; }}
    """
    harness = HARNESS.replace("$BATCH", str(batch)).replace("$STEPS", str(steps))
    build(Network(source, HEADER, "int8_t", "", 0, 0), harness, core, folder, FLAGS)
    np.zeros(steps * batch, dtype=np.int8).tofile(folder / "inputs.bin")
    _emulate(folder, core, steps, batch, None)
    facts = counted(np.fromfile(folder / "outputs.bin", dtype="<i4")[-FACTS:], core, steps * batch)
    return facts["instructions_per_step"], facts["instructions_at_most"]


@pytest.mark.parametrize("core", CORES)
def test_every_instruction_is_counted(core, tmp_path):
    """Steps of so many instructions that do nothing, and a few for the call and the return."""
    found = [instructions(f".rept {nops}\\n nop\\n .endr", core, tmp_path) for nops in (0, 1, 100, 5000)]
    for nops, (mean, most) in zip((0, 1, 100, 5000), found, strict=True):
        assert nops <= mean <= nops + 8
        assert nops <= most <= nops + 8


def test_more_than_the_counter_holds_is_not_counted(tmp_path):
    def turns(high):  # of two instructions
        return instructions(f"movw r3, 0\\n movt r3, {high}\\n 1: subs r3, 1\\n bne 1b", "cortex-m3", tmp_path, 1, 1)

    assert turns(79)[0] == pytest.approx(2 * (79 << 16), abs=20)  # 10,354,688
    assert turns(81) == (None, None)


def test_the_c_needs_no_library_but_the_compilers_own(tmp_path):
    """Of random programs: what is left open is arithmetic of 64 bits and divisions of the M0, and copying memory."""
    allowed = {"memset", "memcpy", "memmove"}
    for seed in range(4):
        network = to_c(random_network(np.random.default_rng([9, seed]), num_ops=4), record=())
        for core in CORES:
            build(network, SMALLEST, core, tmp_path, FLAGS)
            command = [GCC, f"-mcpu={core}", "-mthumb", "-ffreestanding", *FLAGS, "-c", "network.c"]
            subprocess.run(command, cwd=tmp_path, check=True)
            told = subprocess.run(["arm-none-eabi-nm", "-u", "network.o"], cwd=tmp_path, capture_output=True, text=True)
            names = {line.split()[-1] for line in told.stdout.splitlines()}
            assert {name for name in names - allowed if not name.startswith(("__aeabi_", "__gnu_thumb1_"))} == set()


def test_only_what_is_asked_for_is_recorded():
    program, inputs = small_program(), small_inputs()
    expected, got = run(program, inputs), run(program, inputs, "qemu", record=["readout.y"])
    assert list(got.variables) == ["readout.y"]
    np.testing.assert_array_equal(got.labels(), expected.labels())
    done = []
    run(program, inputs, "qemu", progress=lambda *of: done.append(of))
    assert done == [] or (done == sorted(done) and done[-1][1] == 4 * 12)


def large(size):
    """Return a program whose membranes take four bytes each."""
    one = np.ones(size, dtype=np.int32)
    fc = Dense("fc", "x", np.ones((size, 4), dtype=np.int8))
    return Program((Input("x", 4), fc, LIF("lif", ("fc",), 4095 * one, 9 * one, one, shift=0)), num_steps=3)


def test_a_program_that_the_board_does_not_hold_is_refused():
    x = np.ones((1, 4), dtype=np.int8)
    assert run(large(4000), x, "qemu").metadata["ram_bytes"] > 16 << 10
    same.assert_equal(large(1200), x, "qemu", core="cortex-m0")  # in two runs, each of which records one variable
    with pytest.raises(
        ExecutorError, match=r"^qemu: the network needs [0-9,]+ bytes of RAM more than this core's board"
    ):
        run(large(4000), x, "qemu", core="cortex-m0")
    wide = Dense("fc", "x", np.random.default_rng(0).integers(-127, 128, (300, 1000)).astype(np.int8))
    one = np.ones(300, dtype=np.int32)
    program = Program((Input("x", 1000), wide, LIF("lif", ("fc",), 4095 * one, 9 * one, one, shift=0)), num_steps=3)
    with pytest.raises(ExecutorError, match=r"bytes of flash more"):
        run(program, np.ones((1, 1000), dtype=np.int8), "qemu", core="cortex-m0")


def test_what_goes_wrong_is_told(monkeypatch):
    program, inputs = small_program(), small_inputs()
    with pytest.raises(ExecutorError, match=r"^qemu: core must be one of cortex-m3, cortex-m0, got 'z80'$"):
        run(program, inputs, "qemu", core="z80")
    with pytest.raises(ExecutorError, match=r"(?s)^qemu: arm-none-eabi-gcc failed with status 1:\n.*-std=c07"):
        run(program, inputs, "qemu", flags=("-std=c07",))
    monkeypatch.setattr(
        "neuromorphic.executors.qemu.executor.HARNESS",
        HARNESS.replace("network_step(given", "((void (*)(const void *, void *))0x90000001)(given"),
    )
    with pytest.raises(ExecutorError, match=r"^qemu: the network on a cortex-m3 ended in a fault of the processor"):
        run(program, inputs, "qemu")


def test_without_the_tools_the_command_that_installs_them_is_named(without_tools):
    (entry,) = ENTRIES
    assert not entry.ready
    assert [finding.detail for finding in entry.interpreters()] == ["no arm-none-eabi-gcc and no qemu-system-arm"]
    with pytest.raises(
        ExecutorError, match=r"^executor 'qemu' needs arm-none-eabi-gcc, .*: apt install .*qemu-system-arm$"
    ):
        run(small_program(), small_inputs(), "qemu")
