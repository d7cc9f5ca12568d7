"""How the files in this folder were made: ``PYTHONPATH=.:tests OMP_NUM_THREADS=1 python tests/golden/make.py``.

They hold what the package gave on the day they were made: programs, what the reference computed of them, a trained
network, and files of other formats. ``tests/test_golden.py`` compares; nothing of it is made anew there. To make them
anew is to say that numbers may change, so it refuses to without ``--force``.

What is there:

``programs/``    every program, and ``old/`` in it those of older format versions
``recordings/``  a few recordings as files; ``arrays.tar.xz`` holds those of all programs, ``<program>/<variable>``, and
                 their inputs, ``<program>/inputs``
``trained/``     folders of runs, two epochs on the digits of scikit-learn
``files/``       netx, NIR and ONNX, compressed, and packed networks
``expected.json``  digests
"""

import gzip
import hashlib
import io
import json
import shutil
import sys
import tarfile
import tempfile
import warnings
from dataclasses import replace
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).parents[1] / "support"))
import golden_nets
import old_files
from neuromorphic import LIF, Dense, Input, Program, Readout, Recording, prove, run
from neuromorphic.errors import BoundError
from neuromorphic.files.container import write_container
from neuromorphic.integers.numbers import INT32_MAX, STATE_MAX
from neuromorphic.integers.resets import RESETS
from neuromorphic.ops import (
    LI,
    OP_TYPES,
    Delay,
    FastWeights,
    Gate,
    GatedState,
    HomeostaticLIF,
    Multiply,
    Resonator,
    Scale,
    Slots,
    Torus,
)
from programs import repeated_sources, small_program
from random_graphs import random_graph
from random_networks import random_network
from random_programs import random_inputs, random_program

HERE = Path(__file__).parent
T, B = 12, 2
EPOCHS = 2
RUNS = {
    "everything": {"tau_max": 8.0},
    "variants": {
        "ssm": "complex",
        "fast_weights": "delta",
        "hippocampus": "persistent",
        "edges": "ternary",
        "norm": "affine",
        "readout": "step",
        "quantize": True,
        "noise_sigma": 0.1,
        "dropout": 0.1,
    },
}
"""Trained networks; between them every pathway but a spiking micro-RNN, whose runs cannot be loaded; both read-outs."""
SIZES = {"d_hidden": 24, "num_steps": 4, "d_ssm": 6, "d_rnn": 4, "rank": 4, "slots": 4, "neurons_per_domain": 8}


def ints(rng, low, high, *shape):
    """Draw int32, the ends of the range among them."""
    drawn = rng.integers(low, high + 1, shape)
    ends = rng.choice([low, high], size=shape)
    return np.where(rng.random(shape) < 0.2, ends, drawn).astype(np.int32)


def weights(rng, rows, columns, peak=1):
    return rng.integers(-peak, peak + 1, (rows, columns)).astype(np.int8)


def control_of(rng, domains):
    control = np.zeros((domains, 4), dtype=np.int32)
    control[:, 0], control[:, 1] = rng.integers(0, 1 << 16, domains), rng.integers(-(1 << 16), 1 << 16, domains)
    control[:, 2], control[:, 3] = rng.integers(-(1 << 16), 1 << 16, domains), rng.integers(-9000, 9000, domains)
    return control


def homeostatic(rng, name, source, size, **changes):
    """Neurons whose thresholds move after every other step."""
    fields = {
        "decay": ints(rng, 0, 4096, size),
        "threshold": ints(rng, 0, 3000, size),
        "bias": ints(rng, -200, 200, size),
        "shift": 5,
        "control": control_of(rng, size // 4),
        "period": 2,
        "target": 12321,
        "rate_gain": 1611,
        "gains": (5000, 700, 300),
        "integral_limits": (-(1 << 20), 1 << 20),
        "offset_limits": (-(3 << 16), 3 << 16),
    }
    return HomeostaticLIF(name, (source,), **{**fields, **changes})


def resets(reset):
    """Each kind of neuron with a reset: usual currents, and such that saturate at 24 bits."""
    rng, n = np.random.default_rng(RESETS.index(reset)), 8
    ops = [
        Input("x", 6, low=-128, high=127),
        Dense("fc", "x", weights(rng, n, 6)),
        Dense("big", "x", weights(rng, n, 6, 127), 8),
    ]
    usual = {"decay": ints(rng, 0, 4096, n), "threshold": ints(rng, 0, 9000, n), "bias": ints(rng, -999, 999, n)}
    ends = np.array([STATE_MAX, STATE_MAX, STATE_MAX - 1, 0, 0, 1 << 22, 5000, STATE_MAX], dtype=np.int32)
    bias = np.array([STATE_MAX, -STATE_MAX, 0, STATE_MAX, -STATE_MAX, 0, 1, 77], dtype=np.int32)
    decay = np.array([4096, 4096, 4096, 4095, 1, 0, 2048, 4096], dtype=np.int32)
    ops += [
        LIF("lif", ("fc",), **usual, shift=5, reset=reset),
        homeostatic(rng, "alive", "fc", n, reset=reset),
        LIF("ends", ("big", "fc"), decay=decay, threshold=ends, bias=bias, shift=3, reset=reset),
        homeostatic(rng, "alive_ends", "big", n, reset=reset, decay=decay, threshold=ends, bias=bias, shift=3),
        Dense("out", "alive", weights(rng, 3, n, 5)),
        Readout("readout", ("out",), bias=ints(rng, -70, 70, 3), shift=4),
    ]
    return Program(tuple(ops), num_steps=T)


def shifts():
    """The largest shifts and factors there are."""
    rng, n, one = np.random.default_rng(1), 6, np.ones(6, dtype=np.int32)
    ops = [
        Input("x", n, low=-(1 << 15), high=1 << 15, scale=0.125),
        Scale("down", "x", np.array([INT32_MAX, -INT32_MAX, 1, -1, 3 << 28, 12345], dtype=np.int32), 40),
        Scale("gone", "x", INT32_MAX * one, 47),
        Scale("same", "x", ints(rng, -1000, 1000, n), 0),
        Dense("up", "down", np.eye(n, dtype=np.int8), 16),
        LIF("lif", ("up",), 4096 * one, 1000 * one, 0 * one, shift=0, reset="subtract"),
        LIF(
            "fine",
            ("down", "gone"),
            4000 * one,
            ints(rng, 0, STATE_MAX, n),
            ints(rng, -STATE_MAX, STATE_MAX, n),
            shift=16,
        ),
        LI("li", ("down",), ints(rng, 0, 4096, n), ints(rng, -STATE_MAX, STATE_MAX, n), shift=16),
        LI("li_same", ("down", "gone", "down"), 4096 * one, 0 * one),
        Gate("gate", "down", ints(rng, -STATE_MAX, STATE_MAX, n)),
        Gate("near", "down", ints(rng, -2100, 2100, n)),
        Multiply("most", "same", "gate", n, 16),
        Multiply("least", "same", "near", n),
        GatedState("kept", "most", "near", n),
        GatedState("wide", "same", "near", n),
        Dense("out", "fine", weights(rng, 3, n)),
        Readout("readout", ("out",), bias=np.array([0, -3, 9], dtype=np.int32), shift=16),
        Readout("same_sum", ("kept",), bias=0 * one, shift=0),
    ]
    return Program(tuple(ops), num_steps=T)


def states():
    """Gates, linear states and oscillators, some that do not decay, some at their ends."""
    rng, n = np.random.default_rng(2), 8
    circle = np.array([4096, 0, -4096, 0, 2896, -2896, 4000, 1], dtype=np.int32)
    sine = np.array([0, 4096, 0, -4096, 2896, 2896, 17, -1], dtype=np.int32)
    ops = [
        Input("x", 5, low=-100, high=127),
        Dense("v", "x", weights(rng, n, 5, 127)),
        Dense("big", "x", weights(rng, n, 5, 127), 7),
        Gate("keep", "v", ints(rng, -4000, 4000, n)),
        Multiply("weighed", "v", "keep", n, 3),
        GatedState("gated", "weighed", "keep", n),
        GatedState("gated_big", "big", "keep", n),
        Resonator("turning", "v", circle, sine),
        Resonator("ends", "big", circle, sine),
        LI("sum", ("v", "gated"), ints(rng, 0, 4096, n), ints(rng, -99, 99, n), 4),
        LI("sum_ends", ("big",), 4096 * np.ones(n, dtype=np.int32), ints(rng, -STATE_MAX, STATE_MAX, n), 2),
        Dense("mixed", "turning", weights(rng, n, n)),
        LIF("lif", ("mixed", "gated"), ints(rng, 0, 4096, n), ints(rng, 0, 90000, n), ints(rng, 0, 900, n), 3),
        Dense("out", "lif", weights(rng, 3, n, 9)),
        Readout("readout", ("out",), bias=np.zeros(3, dtype=np.int32), shift=3),
    ]
    return Program(tuple(ops), num_steps=2 * T)


def fast_weights():
    """Both rules, with decays, rates and fractions from one end to the other."""
    rng, n = np.random.default_rng(3), 4
    ops = [Input("x", 6), Dense("v", "x", weights(rng, n, 6)), Scale("key", "v", 1500 * np.ones(n, dtype=np.int32))]
    for rule in ("hebbian", "delta"):
        for i, (decay, rate_bits, frac) in enumerate(
            ((4096, 0, 22), (4000, 4, 16), (2048, 5, 7), (0, 12, 12), (4095, 1, 20))
        ):
            ops.append(FastWeights(f"{rule}{i}", "key", n, decay, rate_bits, frac, rule))
    return Program(tuple(ops), num_steps=T)


def slots():
    """Plastic or not, with a fast half at the start or without, equal similarities among them."""
    rng, n = np.random.default_rng(4), 10
    keys = weights(rng, 4, n)
    keys[2] = keys[1]  # two slots that are equally near
    fast = ints(rng, 0, 1 << 22, 4, n)
    ops = [Input("x", n), Delay("late", "x", n, 2)]
    for plastic in (True, False):
        for start in (None, fast):
            name = f"{'plastic' if plastic else 'still'}_{'zeros' if start is None else 'started'}"
            ops.append(Slots(name, "x", keys, 300, 12, fast=start, plastic=plastic))
    ops += [
        Slots("soon", "late", keys, -STATE_MAX // 64, 22, decay_bits=2, rate_bits=1, fast=fast),
        Slots("slow", "late", keys[:1], 4999, 0, decay_bits=12, rate_bits=12),
    ]
    return Program(tuple(ops), num_steps=2 * T)


def torus():
    """With edges and without, of spikes, graded events and delayed ones, in a loop."""
    rng, n = np.random.default_rng(5), 15
    one = np.ones(n, dtype=np.int32)
    edges = rng.integers(-1, 2, (8, n)).astype(np.int8)
    ops = [
        Input("x", n, low=-3, high=9),
        Delay("back", "lif", n, 1),
        Torus("graded", "x", 3, 5),
        Torus("weighed", "x", 5, 3, edges),
        Torus("looped", "back", 3, 5, edges),
        Torus("plain", "back", 5, 3),
        LIF("lif", ("graded", "looped", "plain"), 3000 * one, 400 * one, ints(rng, -20, 50, n), 4, "subtract_snntorch"),
        Delay("longer", "lif", n, 5),
        Torus("after", "longer", 3, 5),
        LI("li", ("weighed", "after"), 3900 * one, 0 * one, 3),
    ]
    return Program(tuple(ops), num_steps=T)


def loops():
    """Delays of delays, before and after what they read, and skips."""
    rng, n = np.random.default_rng(6), 7
    usual = {"decay": ints(rng, 2000, 4096, n), "threshold": ints(rng, 50, 400, n), "bias": ints(rng, -9, 30, n)}
    ops = [
        Input("x", 5),
        Delay("d3", "d2", n, 3),
        Delay("d2", "two", n, 1),
        Dense("in", "x", weights(rng, n, 5)),
        Dense("again", "d3", weights(rng, n, n)),
        LIF("one", ("in", "again"), **usual, shift=6, reset="zero_with_input"),
        Delay("one_late", "one", n, 2),
        Dense("forward", "one_late", weights(rng, n, n, 3), 2),
        Dense("skip", "x", weights(rng, n, 5, 100)),
        LIF("two", ("forward", "skip", "in"), **usual, shift=4, reset="subtract_delayed"),
        Dense("out", "two", weights(rng, 3, n)),
        Dense("out_late", "d2", weights(rng, 3, n)),
        Readout("first", ("out",), bias=ints(rng, -5, 5, 3), shift=2),
        Readout("last", ("out", "out_late"), bias=ints(rng, -5, 5, 3), shift=0),
    ]
    return Program(tuple(ops), num_steps=2 * T)


def chain():
    """Stock neurons of Lava in a chain: what netx holds."""
    rng = np.random.default_rng(7)

    def lif(name, source, size, threshold):
        one = np.ones(size, dtype=np.int32)
        bias = (64 * rng.integers(-2, 3, size)).astype(np.int32)
        return LIF(name, (source,), 3500 * one, threshold * 64 * one, bias, shift=6)

    ops = [Input("x", 12), Dense("a", "x", weights(rng, 10, 12)), lif("one", "a", 10, 2)]
    ops += [Dense("b", "one", weights(rng, 8, 10, 100)), lif("two", "b", 8, 90)]
    ops += [Dense("c", "two", weights(rng, 3, 8)), Readout("sum", ("c",), np.zeros(3, dtype=np.int32), shift=6)]
    return Program(tuple(ops), num_steps=2 * T)


def long():
    """Few neurons over many steps: slow states drift."""
    rng, n = np.random.default_rng(8), 4
    ops = [
        Input("x", 3),
        Dense("fc", "x", weights(rng, n, 3)),
        homeostatic(rng, "alive", "fc", n, gains=(40_000, 9000, 1 << 20)),
    ]
    ops += [Slots("memory", "alive", weights(rng, 2, n), 99, 14, decay_bits=9, rate_bits=5)]
    ops += [Dense("out", "alive", weights(rng, 2, n)), Readout("sum", ("out",), np.zeros(2, dtype=np.int32), 0)]
    return Program(tuple(ops), num_steps=400)


def ends():
    """Inputs that are held drive every state to its end and keep it there."""
    rng, n = np.random.default_rng(11), 4
    one = np.ones(n, dtype=np.int32)
    sign = np.array([[1], [1], [-1], [1]], dtype=np.int8)
    ops = [
        Input("x", 1, low=-(1 << 15), high=1 << 15),
        Dense("v", "x", sign, 8),
        Scale("key", "x_wide", one),
        Resonator("slow", "v", np.array([4090, 4090, 4095, 4000], np.int32), np.array([200, -200, 90, 800], np.int32)),
        FastWeights("delta", "key", n, 4096, 0, 12, "delta"),
        FastWeights("delta_fine", "key", n, 4096, 0, 22, "delta"),
        FastWeights("hebbian", "key", n, 4096, 0, 20),
        Gate("open", "key", one * 0),
        GatedState("held", "slow", "open", n),
        GatedState("held_v", "v", "open", n),
        LI("li", ("v", "slow"), ints(rng, 4000, 4096, n), one, 1),
        LIF("lif", ("v", "held"), ints(rng, 4000, 4096, n), STATE_MAX - one, one, 2, "subtract"),
        Dense("out", "v", np.eye(n, dtype=np.int8)),
        Readout("readout", ("out",), bias=0 * one, shift=0),
    ]
    ops.insert(2, Dense("x_wide", "x", sign))
    return Program(tuple(ops), num_steps=2 * T)


def every_program():
    """Yield names and programs that no network stands behind."""
    for reset in RESETS:
        yield f"reset_{reset}", resets(reset)
    for made in (shifts, states, fast_weights, slots, torus, loops, ends, chain, long):
        yield made.__name__, made()
    yield "small", small_program()
    yield "repeated", repeated_sources(("s", "b", "s", "b"))[0]
    for seed in range(14):
        yield f"graph_{seed}", random_graph(np.random.default_rng(100 + seed), num_steps=T, max_ops=16, max_width=9)
    for seed in (0, 2, 3, 4, 6):
        yield f"network_{seed}", random_network(np.random.default_rng(200 + seed), num_steps=6, num_ops=3)
    for seed in range(5):
        yield f"layers_{seed}", random_program(np.random.default_rng(300 + seed), num_steps=T, max_width=12)


def inputs_of(name, program):
    seed = int.from_bytes(hashlib.sha256(name.encode()).digest()[:4], "little")
    batch = 1 if name == "long" else B
    if name == "ends":
        held = np.array([[program.input.high], [program.input.low]], dtype=np.int32)
        return np.broadcast_to(held, (program.num_steps, batch, 1)).copy()
    return random_inputs(program, np.random.default_rng(seed), batch)


def demo_images():
    """The first images of the demo's test."""
    from pnbx_snn.data.digits import load_digits_split

    return load_digits_split(part="test").images[:4].numpy()


def train_runs(folder):
    """Train the networks whose checkpoints are kept, and the demo's."""
    from pnbx_snn.training.config import load_config, make_config
    from pnbx_snn.training.run import train

    for name, changes in RUNS.items():
        config = {
            "pnbx": {**SIZES, **changes},
            "train": {"epochs": EPOCHS, "batch_size": 128, "threads": 1, "settle": 2, "seed": 3},
        }
        train(make_config(config), folder / name)
    train(load_config("digits"), folder / "demo")


def nir_graphs():
    """Graphs with weights of NumPy: a loop, delays and synapses; images; layers."""
    import nir

    rng, n, m, dt = np.random.default_rng(9), 9, 8, 1e-3
    tau, one = rng.uniform(3e-3, 20e-3, n), np.ones(n)

    def graph(edges, size, **nodes):
        nodes = {"x": nir.Input(np.atleast_1d(size)), **nodes}
        pairs = [tuple(edge.split()) for edge in edges.split(", ")]
        return nir.NIRGraph(nodes, pairs, metadata={"dt": dt}, type_check=False)

    lif = {
        "tau": tau,
        "r": rng.uniform(4, 9, n),
        "v_leak": rng.uniform(-0.1, 0.1, n),
        "v_threshold": rng.uniform(0.6, 1.4, n),
    }
    cuba = {"tau_syn": 4e-3 * one, "tau_mem": tau, "r": 6 * one, "v_leak": 0 * one, "w_in": one, "v_threshold": one}
    yield (
        "loop",
        graph(
            "x w, w a, a v, v a, a d, d u, u b, b o, o y",
            m,
            w=nir.Affine(rng.normal(0, 0.4, (n, m)), rng.normal(0, 0.05, n)),
            a=nir.LIF(**lif),
            v=nir.Linear(rng.normal(0, 0.1, (n, n))),
            d=nir.Delay(3 * dt * one),
            u=nir.Linear(rng.integers(-1, 2, (n, n)) * 0.3),
            b=nir.CubaLIF(**cuba),
            o=nir.Linear(rng.normal(0, 0.4, (3, n))),
            y=nir.LI(tau=5e-3 * np.ones(3), r=np.ones(3), v_leak=np.zeros(3)),
        ),
    )
    yield (
        "images",
        graph(
            "x c, c a, a p, p f, f w, w b, b s, s out",
            [1, 6, 6],
            c=nir.Conv2d((6, 6), rng.normal(0, 0.5, (2, 1, 3, 3)), 1, 1, 1, 1, rng.normal(0, 0.1, 2)),
            a=nir.IF(r=np.full((2, 6, 6), 1 / dt), v_threshold=np.full((2, 6, 6), 1.5)),
            p=nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
            f=nir.Flatten({"input": np.array([2, 3, 3])}, 0, -1),
            w=nir.Linear(rng.normal(0, 0.5, (5, 18))),
            b=nir.LIF(tau=np.full(5, 8e-3), r=np.full(5, 8.0), v_leak=np.zeros(5), v_threshold=np.ones(5)),
            s=nir.Linear(rng.normal(0, 0.5, (3, 5))),
            out=nir.Output(np.array([3])),
        ),
    )


def sha_of_tensors(path):
    """Digest of a safetensors file's tensors, read with nothing of the package."""
    content = path.read_bytes()
    size = int.from_bytes(content[:8], "little")
    entries = json.loads(content[8 : 8 + size])
    entries.pop("__metadata__", None)
    found = {}
    for name, entry in sorted(entries.items()):
        first, last = (8 + size + offset for offset in entry["data_offsets"])
        found[name] = hashlib.sha256(f"{entry['dtype']} {entry['shape']} ".encode() + content[first:last]).hexdigest()
    return found


def write_old(folder):
    """Write programs and a recording as earlier versions did."""
    for name in ("PROGRAM_2", "PROGRAM_3", "PROGRAM_3_INTEGER_KEYS", "RECORDING_1"):
        (folder / f"{name.lower()}.npz").write_bytes(getattr(old_files, name))
    program = resets("subtract")
    body, arrays = program._content()
    write_container(folder / "written_3.npz", "pnbx-program", 3, body, arrays)
    plain = {f"{op.name}.weights": op.weights for op in program.of_type(Dense)}  # not yet at two bits
    ops = [{k: v for k, v in entry.items() if k != "weights"} for entry in body["ops"]]
    write_container(folder / "written_2.npz", "pnbx-program", 2, {**body, "ops": ops}, {**arrays, **plain})
    stock = chain()
    body, arrays = stock._content()
    plain = {f"{op.name}.weights": op.weights for op in stock.of_type(Dense)}
    ops = [{k: v for k, v in entry.items() if k != "weights"} for entry in body["ops"]]
    write_container(folder / "written_1.npz", "pnbx-program", 1, {**body, "ops": ops}, {**arrays, **plain})
    recording = run(stock, inputs_of("chain", stock))
    order = list(recording.variables)
    body = {"executor": "numpy", "metadata": {"seconds": 0.5}, "order": order}
    write_container(folder / "written_recording_1.npz", "pnbx-recording", 1, body, recording.variables)


def write_arrays(path, arrays):
    """Write arrays as ``.npy`` files in one archive; of equal arrays, equal bytes."""
    with tarfile.open(path, "w:xz", preset=9, format=tarfile.USTAR_FORMAT) as archive:
        for name, array in arrays.items():
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.ascontiguousarray(array), version=(1, 0), allow_pickle=False)
            member = tarfile.TarInfo(f"{name}.npy")
            member.size = buffer.tell()
            buffer.seek(0)
            archive.addfile(member, buffer)


def compress(folder):
    """Replace files of other formats, which are mostly zeros, by compressed ones."""
    for path in sorted(folder.iterdir()):
        if path.suffix in (".nir", ".net", ".onnx"):
            path.with_name(f"{path.name}.gz").write_bytes(gzip.compress(path.read_bytes(), mtime=0))
            path.unlink()


def main():
    if (HERE / "expected.json").exists() and "--force" not in sys.argv[1:]:
        print(f"{HERE / 'expected.json'} is there: numbers that must not change; --force makes them anew")  # noqa: T201
        return 1
    from neuromorphic.compiler import compile_model, compile_nir, compile_run, save_nir, to_nir
    from neuromorphic.executors.onnx.files import save_onnx
    from neuromorphic.formats.netx import export_netx, read_netx
    from pnbx_snn.training.packed import load_packed, pack_run

    warnings.simplefilter("ignore")
    for name in ("programs", "programs/old", "recordings", "trained", "files"):
        shutil.rmtree(HERE / name, ignore_errors=True)
        (HERE / name).mkdir()
    programs, inputs = dict(every_program()), {}
    seen = {type(op).__name__ for program in programs.values() for op in program.ops}
    assert seen == set(OP_TYPES), set(OP_TYPES) - seen
    programs |= {name: build() for name, build in golden_nets.COMPILED.items()}

    with tempfile.TemporaryDirectory() as folder:
        train_runs(Path(folder))
        for name in RUNS:
            (HERE / "trained" / name).mkdir()
            for file in ("checkpoint.safetensors", "config.toml"):
                shutil.copyfile(Path(folder) / name / file, HERE / "trained" / name / file)
            programs[f"trained_{name}"] = compile_run(HERE / "trained" / name)
            programs[f"trained_{name}_live"] = compile_run(HERE / "trained" / name, glia_period=2)
            packed = HERE / "files" / f"{name}.packed.safetensors"
            pack_run(HERE / "trained" / name, packed, measured={"accuracy": 0.5})
            programs[f"packed_{name}"] = compile_model(load_packed(packed)[0])
        programs["demo"] = compile_run(Path(folder) / "demo")
    images = demo_images()
    for name in [name for name in programs if name.startswith(("demo", "trained", "packed"))]:
        inputs[name] = programs[name].prepare_inputs(images[: 2 if name == "demo" else 4])

    export_netx(programs["chain"], HERE / "files" / "chain.net")
    programs["netx_chain"] = read_netx(HERE / "files" / "chain.net", num_steps=programs["chain"].num_steps)
    for name, graph in nir_graphs():
        save_nir(graph, HERE / "files" / f"{name}.nir")
    for form in ("portable", "integer"):
        graph = to_nir(programs["loops" if form == "integer" else "chain"], round_trip="close", form=form)
        save_nir(graph, HERE / "files" / f"{form}.nir")
    for path in sorted((HERE / "files").glob("*.nir")):
        programs[f"nir_{path.stem}"] = compile_nir(path, num_steps=2 * T)

    arrays, expected = {}, {"programs": {}, "recordings": {}, "tensors": {}, "old": {}}
    for name, program in programs.items():
        try:
            prove(program)
        except BoundError as error:
            raise SystemExit(f"{name}: {error}") from error
        x = inputs.get(name)
        x = program.prepare_inputs(inputs_of(name, program) if x is None else x)
        program.save(HERE / "programs" / f"{name}.npz")
        recording = replace(run(program, x), metadata={"seconds": 0.25})
        arrays |= {f"{name}/inputs": x, **{f"{name}/{key}": array for key, array in recording.variables.items()}}
        file_sha = hashlib.sha256((HERE / "programs" / f"{name}.npz").read_bytes()).hexdigest()
        expected["programs"][name] = {"sha256": program.sha256, "file": file_sha}
        if name in ("small", "loops", "slots"):
            path = HERE / "recordings" / f"{name}.npz"
            sha = Recording(recording.variables, "numpy", recording.metadata).save(path)
            expected["recordings"][name] = {"sha256": sha, "file": hashlib.sha256(path.read_bytes()).hexdigest()}
    write_arrays(HERE / "arrays.tar.xz", arrays)

    for name, form, products in (
        ("slots", "step", "int8"),
        ("loops", "scan", "float32"),
        ("graph_3", "scan", "int8"),
        ("pnbx_learned_edges", "step", "float32"),
        ("trained_variants", "image", "int8"),
    ):
        save_onnx(programs[name], HERE / "files" / f"{name}.{form}.{products}.onnx", form=form, products=products)
    compress(HERE / "files")
    write_old(HERE / "programs" / "old")
    for path in sorted((HERE / "programs" / "old").glob("*.npz")):
        loaded = (Recording if "recording" in path.name else Program).load(path)
        with tempfile.TemporaryDirectory() as folder:
            sha = loaded.save(Path(folder) / "again.npz")
            again = hashlib.sha256((Path(folder) / "again.npz").read_bytes()).hexdigest()
        expected["old"][path.stem] = {"sha256": sha, "file": again}
    for path in sorted([*(HERE / "trained").glob("*/*.safetensors"), *(HERE / "files").glob("*.safetensors")]):
        expected["tensors"][path.relative_to(HERE).as_posix()] = sha_of_tensors(path)
    (HERE / "expected.json").write_text(json.dumps(expected, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
