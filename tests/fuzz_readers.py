"""Fuzz the readers of files that come from elsewhere: only their own errors may come out, and memory stays bounded.

    python tests/fuzz_readers.py --seconds 600

Files of programs, recordings, inputs, NIR graphs, netx networks, ONNX models, checkpoints, packed networks and metrics
are damaged in two ways: bytes flipped, cut or copied over; and values replaced by hostile ones, behind the checksum
(the file signed anew) or in the HDF5. Of an ONNX model these are the facts beside the graph and the sizes in it, of
inputs the header.
A crash prints the seed that made it.
"""

from __future__ import annotations

import argparse
import copy
import json
import logging
import random
import resource
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable
from itertools import pairwise
from pathlib import Path
from typing import Any

import h5py
import nir
import numpy as np
import onnx
import torch

from neuromorphic import Program, Recording, prove, run
from neuromorphic.compiler import compile_nir
from neuromorphic.errors import CompileWarning, NeuromorphicError
from neuromorphic.executors.onnx.files import run_onnx, save_onnx
from neuromorphic.executors.onnx.model import DIGEST, PREFIX, digest
from neuromorphic.files.arrays import read_inputs
from neuromorphic.files.container import read_container, write_container
from neuromorphic.formats.netx import read_netx
from neuromorphic.program import FORMAT_VERSION
from pnbx_snn.errors import PnbxError
from pnbx_snn.files.tensors import read_tensors, write_tensors
from pnbx_snn.training.checkpoint import (
    CHECKPOINT_NAME,
    CheckpointMeta,
    build_model,
    load_checkpoint,
    load_run,
    save_checkpoint,
)
from pnbx_snn.training.config import make_config
from pnbx_snn.training.packed import load_packed, pack_run
from pnbx_snn.training.run_log import read_metrics

sys.path.insert(0, str(Path(__file__).parent / "support"))
from netx_chains import random_chain, write_chain
from programs import small_inputs, small_program
from random_graphs import random_graph

HOSTILE: tuple[Any, ...] = (
    None, True, -1, 0, 1, 2**31, -(2**31), 2**63, 2**200, 1e308, float("nan"), float("inf"), "", "x",
    "../../etc/passwd", "\x00", "a" * 10_000, [], [[]], {}, {"a": 1}, ["fc"] * 1000, [2**40], [-1], "input", "readout",
    "float64", "object",
)  # fmt: skip
MAX_GROWTH_MIB = 512


def damaged(content: bytes, rng: random.Random) -> bytes:
    """Return bytes with a few of them flipped, cut or copied over."""
    data = bytearray(content)
    for _ in range(rng.choice((1, 1, 2, 5, 30))):
        kind, at = rng.random(), rng.randrange(max(len(data), 1))
        if kind < 0.5 and data:
            data[at] ^= 1 << rng.randrange(8)
        elif kind < 0.7:
            del data[at : at + rng.choice((1, 10, 1000))]
        elif kind < 0.9:
            start = rng.randrange(max(len(data), 1))
            data[at : at + 50] = data[start : start + rng.randrange(100)]
        else:
            data[at:at] = bytes(rng.randrange(256) for _ in range(rng.randrange(64)))
    return bytes(data)


def spoil(value: Any, rng: random.Random) -> Any:
    """Replace one place of a JSON value."""
    if isinstance(value, dict) and value and rng.random() < 0.9:
        key = rng.choice(sorted(value))
        kind = rng.random()
        if kind < 0.1:
            del value[key]
        elif kind < 0.2:
            value[str(rng.choice(HOSTILE))[:20]] = rng.choice(HOSTILE)
        else:
            value[key] = spoil(value[key], rng)
        return value
    if isinstance(value, list) and value and rng.random() < 0.9:
        at = rng.randrange(len(value))
        if rng.random() < 0.1:
            value.append(copy.deepcopy(value[at]))
        else:
            value[at] = spoil(value[at], rng)
        return value
    return rng.choice(HOSTILE)


def spoiled_file(path: Path, kind: str, body: Any, arrays: dict[str, Any], rng: random.Random) -> None:
    """Write a signed file with hostile content."""
    body, arrays = copy.deepcopy(body), dict(arrays)
    for _ in range(rng.choice((1, 1, 2, 4))):
        if arrays and rng.random() < 0.3:
            name = rng.choice(sorted(arrays))
            array = arrays[name]
            choices: list[Callable[[], Any]] = [
                lambda a=array: a[:0],
                lambda a=array: a.astype(np.float64) * np.nan,
                lambda a=array: np.concatenate((a, a)),
                lambda a=array: a.reshape(-1),
                lambda a=array: np.full_like(a, np.iinfo(a.dtype).max if a.dtype.kind in "iu" else np.inf),
                lambda a=array: np.full(a.shape, 2**33, dtype=np.int64),
            ]
            arrays[name] = rng.choice(choices)()
        else:
            body = spoil(body, rng)
    write_container(path, kind, rng.choice((-5, True, 1, 2, 3, 4, 4, 4)), body, arrays)


def spoiled_graph(path: Path, content: bytes, rng: random.Random) -> None:
    """Write a NIR graph in which a few groups, names and arrays are others."""
    path.write_bytes(content)
    with h5py.File(path, "r+") as file:
        for _ in range(rng.choice((1, 1, 2, 4))):
            names: list[str] = []
            file.visit(names.append)
            if not names:
                return
            name = rng.choice(names)
            old = file[name]
            kind = rng.random()
            if kind < 0.2 or not isinstance(old, h5py.Dataset):
                if rng.random() < 0.5 and f"{name}_twice" not in file:
                    file[f"{name}_twice"] = old
                else:
                    del file[name]
                continue
            value = old[()]
            del file[name]
            array = np.asarray(value)
            if array.dtype.kind in "fiu":
                worse: list[Any] = [
                    array * np.nan,
                    array * 0,
                    -array,
                    array + 1e30,
                    array[..., np.newaxis],
                    np.zeros(0),
                ]
                with np.errstate(invalid="ignore"):
                    short = array.astype(np.int8)
                file[name] = rng.choice([*worse, np.ones((3, 2)), "text", short, 2.0**60])
            else:
                file[name] = rng.choice(["", "LIF", "Input", "NIRGraph", "Conv2d", "input", "a" * 5000, 3.5])


def spoiled_model(path: Path, content: bytes, rng: random.Random) -> None:
    """Write a signed ONNX model with hostile facts."""
    model = onnx.load_model_from_string(content)
    facts = {item.key: item for item in model.metadata_props}
    for _ in range(rng.choice((1, 1, 2, 4))):
        item = facts[rng.choice(sorted(facts))]
        try:
            item.value = json.dumps(spoil(json.loads(item.value), rng))
        except json.JSONDecodeError:
            item.value = str(rng.choice(HOSTILE))
    for value in (*model.graph.input, *model.graph.output):
        if rng.random() < 0.1 and len(value.type.tensor_type.shape.dim) > 1:
            value.type.tensor_type.shape.dim[1].dim_value = rng.choice((0, 1, 3, 1 << 20, 1 << 31, 1 << 62))
    facts[PREFIX + DIGEST].value = digest(model)
    path.write_bytes(model.SerializeToString())


HEADERS = (
    "{'descr': %s, 'fortran_order': %s, 'shape': %s, }",
    "{'descr': %s, 'shape': %s, 'fortran_order': %s}",
    "(%s, %s, %s",
    "%s\n  %s\n %s",
    "{'shape': %s, 'shape': %s, 'descr': %s, }",
    '"""%s%s%s',
)
WORDS = (
    *(
        "'<i4'",
        "'|i1'",
        "'>f8'",
        "'|O'",
        "'V9999999999'",
        "[('a', '<i4')]",
        "True",
        "False",
        "1e999",
        "(2, 9)",
        "(18,)",
    ),
    *("()", "(99999999999999999999,)", "(0, 9999999999)", "(-1,)", "(4294967296, 4294967296)", "(" + "9," * 60 + ")"),
    *("(" * 2000, "", "__import__('os')", "'\\x00'", "(2L, 9L)"),
)


def spoiled_inputs(path: Path, content: bytes, rng: random.Random) -> None:
    """Write an array whose header says something else."""
    header = (rng.choice(HEADERS) % tuple(rng.choice(WORDS) for _ in range(3))).encode("latin1")
    version = rng.choice(((1, 0), (2, 0), (3, 0), (9, 9)))
    length = len(header).to_bytes(2 if version == (1, 0) else 4, "little")
    path.write_bytes(b"\x93NUMPY" + bytes(version) + length + header + content[128:])


def spoiled_checkpoint(path: Path, content: bytes, rng: random.Random) -> None:
    """Write a signed checkpoint with hostile descriptions or tensors."""
    path.write_bytes(content)
    description, tensors = read_tensors(path)
    for _ in range(rng.choice((1, 1, 2, 4))):
        name = rng.choice(sorted(tensors))
        if rng.random() < 0.3:
            tensor = tensors[name]
            choices = [tensor[..., None], tensor.double(), tensor.reshape(-1)[:0], tensor * float("nan"), tensor.bool()]
            tensors[name] = rng.choice(choices)
        elif rng.random() < 0.2:
            del tensors[name]
        else:
            description = spoil(description, rng)
    if not isinstance(description, dict):
        raise TypeError("a description is a mapping")
    description.pop("format_version", None)
    write_tensors(path, tensors, description)


def spoiled_metrics(path: Path, content: bytes, rng: random.Random) -> None:
    """Write lines that no training writes."""
    odd = (b'{"epoch": 1e999}', b'{"epoch": -1e999, "loss": NaN}', b"[]", b"{}", b"[" * 9000)
    lines = [*content.splitlines(), *rng.choices(odd, k=3)]
    lines += [json.dumps(spoil({"epoch": 3, "loss": 1.0}, rng)).encode()]
    rng.shuffle(lines)
    path.write_bytes(b"\n".join(lines))


CONFIG = make_config({"model": {"hidden": [6], "num_steps": 2, "learn_beta": True}})


def read_checkpoint(path: Path) -> None:
    """Rebuild the network, and let its optimiser go on."""
    model = build_model(CONFIG)
    optimizer = torch.optim.AdamW(model.parameters())
    for read in (
        lambda: load_run(path.parent),
        lambda: load_checkpoint(path, model, optimizer=optimizer),
    ):
        read()
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()


def saved_networks(folder: Path) -> tuple[bytes, bytes]:
    """Return a checkpoint with an optimiser's state, and a packed network."""
    model = build_model(CONFIG)
    model.calibrate(torch.rand(4, 64))
    optimizer = torch.optim.AdamW(model.parameters())
    for parameter in model.parameters():
        parameter.grad = torch.zeros_like(parameter)
    optimizer.step()
    save_checkpoint(
        folder / CHECKPOINT_NAME, model, meta=CheckpointMeta(config=CONFIG.model_dump()), optimizer=optimizer
    )
    pack_run(folder, folder / "packed.safetensors")
    return (folder / CHECKPOINT_NAME).read_bytes(), (folder / "packed.safetensors").read_bytes()


SPOILERS = {
    "nir": spoiled_graph,
    "onnx": spoiled_model,
    "npy": spoiled_inputs,
    "safetensors": spoiled_checkpoint,
    "jsonl": spoiled_metrics,
}
"""How a file of each ending is spoiled; programs and recordings are :func:`spoiled_file`."""


def read_graph(path: Path) -> None:
    """Compile a graph and run it if it is small."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", CompileWarning)  # neurons that cannot fire are no damage
        program = compile_nir(path, num_steps=4)
    if program.input.size < 100:
        run(program, np.zeros((4, 1, program.input.size), dtype=np.int32))


def read_network(path: Path) -> None:
    """Read a netx file and run it if it is small."""
    program = read_netx(path, num_steps=4)
    if program.input.size < 200:
        run(program, np.zeros((4, 1, program.input.size), dtype=np.int32))


def nir_graph() -> Any:
    """Return a graph with a loop, a sub-graph's worth of nodes, and metadata."""
    rng = np.random.default_rng(0)
    lif = {
        name: np.full(5, value) for name, value in (("tau", 1e-2), ("r", 10.0), ("v_leak", 0.0), ("v_threshold", 1.0))
    }
    nodes = {
        "input": nir.Input(np.array([1, 6, 6])),
        "conv": nir.Conv2d((6, 6), rng.normal(size=(2, 1, 3, 3)), 1, 0, 1, 1, np.zeros(2)),
        "pool": nir.SumPool2d(np.array([2, 2]), np.array([2, 2]), np.array([0, 0])),
        "flat": nir.Flatten({"input": np.array([2, 2, 2])}, 0, 2),
        "fc": nir.Affine(rng.normal(size=(5, 8)), np.zeros(5)),
        "lif": nir.LIF(**lif, metadata={"reset_mechanism": "subtract", "reset_delay": True, "primitive": "leaky"}),
        "loop": nir.Linear(rng.normal(size=(5, 5))),
        "out": nir.Output(np.array([5])),
    }
    order = ["input", "conv", "pool", "flat", "fc", "lif", "out"]
    edges = [*pairwise(order), ("lif", "loop"), ("loop", "lif")]
    return nir.NIRGraph(nodes=nodes, edges=edges, metadata={"dt": 1e-3})


def read_program(path: Path) -> None:
    """Load a program, prove it and run it if it is small."""
    program = Program.load(path)
    prove(program)
    if program.input.size < 100 and program.num_steps < 100:
        run(program, np.zeros((2, 1, program.input.size), dtype=np.int32))


def read_model(path: Path) -> None:
    """Run an ONNX model."""
    run_onnx(path, small_inputs())


def fuzz(seconds: float, seed: int, folder: Path) -> Counter[str]:
    """Damage and read files until the time is over; return what came out."""
    program = small_program()
    recording = run(program, small_inputs())
    sources: list[tuple[str, str, Callable[[Path], Any], bytes, Any, dict[str, Any]]] = []
    for name, made in (("program", program), ("graph", random_graph(np.random.default_rng(3)))):
        made.save(folder / "p.npz")
        body, arrays, _ = read_container(folder / "p.npz", "pnbx-program", FORMAT_VERSION)
        sources.append((name, "pnbx-program", read_program, (folder / "p.npz").read_bytes(), body, arrays))
    recording.save(folder / "r.npz")
    body, arrays, _ = read_container(folder / "r.npz", "pnbx-recording", 2)
    sources.append(("recording", "pnbx-recording", Recording.load, (folder / "r.npz").read_bytes(), body, arrays))
    nir.write(folder / "g.nir", nir_graph())
    read_graph(folder / "g.nir")
    sources.append(("NIR", "nir", read_graph, (folder / "g.nir").read_bytes(), None, {}))
    write_chain(folder / "g.net", random_chain(np.random.default_rng(1), pools=True, encoder=True, delays=True))
    read_network(folder / "g.net")
    sources.append(("netx", "nir", read_network, (folder / "g.net").read_bytes(), None, {}))  # HDF5, as NIR
    save_onnx(program, folder / "m.onnx")
    sources.append(("ONNX", "onnx", read_model, (folder / "m.onnx").read_bytes(), None, {}))
    np.save(folder / "i.npy", small_inputs())
    sources.append(("inputs", "npy", read_inputs, (folder / "i.npy").read_bytes(), None, {}))
    checkpoint, packed = saved_networks(folder)
    sources.append(("checkpoint", "safetensors", read_checkpoint, checkpoint, None, {}))
    sources.append(("packed", "safetensors", load_packed, packed, None, {}))
    sources.append(
        ("metrics", "jsonl", read_metrics, b'{"epoch": 1, "loss": 2.0}\n{"epoch": 2, "loss": 1.0}\n', None, {})
    )
    counts: Counter[str] = Counter()
    start, before = time.monotonic(), _peak_mib()
    while time.monotonic() - start < seconds:
        rng = random.Random(seed)
        name, kind, read, content, body, arrays = rng.choice(sources)
        path = folder / (CHECKPOINT_NAME if kind == "safetensors" else f"fuzzed.{kind if kind in SPOILERS else 'npz'}")
        try:
            if rng.random() < 0.4:
                path.write_bytes(damaged(content, rng))
            elif kind in SPOILERS:
                SPOILERS[kind](path, content, rng)
            else:
                spoiled_file(path, kind, body, arrays, rng)
        except (NeuromorphicError, PnbxError, TypeError, ValueError, OverflowError):
            counts["not writable"] += 1  # our own writer refuses, so such a file must be made otherwise
            seed += 1
            continue
        try:
            read(path)
            counts[f"{name} accepted"] += 1
        except (NeuromorphicError, PnbxError):
            counts[f"{name} refused"] += 1
        except BaseException:
            sys.stderr.write(f"seed {seed}: a {name} file made the reader fail otherwise\n")
            raise
        if _peak_mib() - before > MAX_GROWTH_MIB:
            raise MemoryError(f"seed {seed}: a {name} file made the reader take {_peak_mib() - before:.0f} MiB")
        seed += 1
    counts["MiB more than before"] = round(_peak_mib() - before)
    return counts


def _peak_mib() -> float:
    """Return the most that this process, or one that reads a graph for it, has taken."""
    return max(resource.getrusage(who).ru_maxrss for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seconds", type=float, default=600)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    logging.disable()  # of lines that are left out
    with tempfile.TemporaryDirectory() as folder:
        sys.stdout.write(f"{dict(fuzz(options.seconds, options.seed, Path(folder)))}\n")


if __name__ == "__main__":
    main()
