"""One function compiles everything: each kind by its own compiler, and an option that does not fit is named."""

import nir
import numpy as np
import pytest
import torch
from torch import nn

import neuromorphic
import pnbx_snn
from neuromorphic import LIF, Dense, Input, Program
from neuromorphic.compiler import compile_layers, compile_model, compile_module, compile_nir
from neuromorphic.errors import CompileError, CompileWarning
from neuromorphic.formats.netx import export_netx, read_netx
from pnbx_snn import BitLinear, SpikingClassifier
from programs import small_program

ONE = np.ones(2)
GRAPH = nir.NIRGraph.from_list(
    nir.Linear(np.array([[0.75, 0.5], [0.25, 1.0]])),
    nir.LIF(tau=2e-4 * ONE, r=2 * ONE, v_leak=0 * ONE, v_threshold=ONE),
)


def chain():
    ones = np.ones(2, dtype=np.int32)
    fc = Dense("fc", "x", np.array([[1, 0], [-1, 1]], dtype=np.int8))
    return Program((Input("x", 2), fc, LIF("lif", ("fc",), 3500 * ones, 64 * ones, 0 * ones, shift=6)), num_steps=9)


def layers(threshold=1.0):
    torch.manual_seed(0)
    return [(BitLinear(3, 4), None, pnbx_snn.LIF(0.9, threshold=threshold))]


def module():
    return nn.Sequential(*(part for part in layers()[0] if part is not None))


def classifier():
    torch.manual_seed(0)
    model = SpikingClassifier(in_features=4, hidden=[8], num_classes=3, num_steps=5)
    model.calibrate(torch.rand(8, 4))
    return model.eval()


SAMPLE = (torch.rand(10, 2, 3, generator=torch.Generator().manual_seed(0)) < 0.5).float()


def test_each_kind_has_its_compiler(tmp_path):
    nir.write(tmp_path / "g.nir", GRAPH)
    nir.write(tmp_path / "g.H5", GRAPH)
    export_netx(chain(), tmp_path / "chain.net")
    made = {
        "module": (neuromorphic.compile(module(), SAMPLE), compile_module(module(), SAMPLE)),
        "network": (neuromorphic.compile(classifier()), compile_model(classifier())),
        "layers": (neuromorphic.compile(layers(), num_steps=7), compile_layers(layers(), num_steps=7)),
        "graph": (neuromorphic.compile(GRAPH, num_steps=7), compile_nir(GRAPH, num_steps=7)),
        "nir file": (neuromorphic.compile(str(tmp_path / "g.nir"), num_steps=7), compile_nir(GRAPH, num_steps=7)),
        "hdf5 file": (neuromorphic.compile(tmp_path / "g.H5", num_steps=7), compile_nir(GRAPH, num_steps=7)),
        "netx file": (
            neuromorphic.compile(tmp_path / "chain.net", num_steps=9),
            read_netx(tmp_path / "chain.net", num_steps=9),
        ),
    }
    for what, (got, expected) in made.items():
        assert got.sha256 == expected.sha256, what
    assert len({got.sha256 for got, _ in made.values()}) == 5
    with pytest.raises(CompileError, match="checkpoint.safetensors: no such file"):
        neuromorphic.compile(tmp_path, part="test")


@pytest.mark.parametrize(
    ("x", "options", "message"),
    [
        ("runs/digits", {"num_steps": 3}, "num_steps is no option of the run runs/digits, which takes part, data, gl"),
        ("runs/digits", {"sample": SAMPLE}, "sample is no option of the run runs/digits"),
        ("g.nir", {"part": "test"}, "part is no option of the NIR graph g.nir, which takes num_steps, dt, input_scale"),
        ("g.nir", {}, "the NIR graph g.nir needs num_steps"),
        ("g.net", {"num_steps": 3, "dt": 1e-3}, "dt is no option of the netx file g.net, which takes num_steps"),
        (nn.Linear(3, 3), {}, "the module Linear needs sample"),
        (
            nn.Linear(3, 3),
            {"sample": SAMPLE, "reset": "zero"},
            "reset is no option of the module Linear, which takes sa",
        ),
        (classifier(), {"sample": SAMPLE}, "sample is no option of a SpikingClassifier, which takes num_steps, glia_"),
        (GRAPH, {"glia_period": 3}, "glia_period is no option of a NIR graph"),
        ([], {}, "a sequence of layers needs num_steps"),
        ("p.npz", {}, r"p.npz is already a program: neuromorphic.load reads it"),
        (small_program(), {}, "already a program"),
        ("p.onnx", {}, r"p.onnx must be the folder of a run or a .safetensors, .* or .json file, got '.onnx'"),
        (3, {}, r"takes the folder of a run, .* or a sequence of \(linear, norm, neuron\), got int"),
    ],
)
def test_what_does_not_fit_is_named(x, options, message):
    with pytest.raises(CompileError, match=f"^compile: .*{message}"):
        neuromorphic.compile(x, **options)


def test_a_folder_with_a_dot_in_its_name_is_a_run(tmp_path):
    (tmp_path / "run.2").mkdir()
    with pytest.raises(CompileError, match="checkpoint.safetensors: no such file"):
        neuromorphic.compile(tmp_path / "run.2")


def test_a_warning_points_to_the_line_that_asked():
    for compiler in (neuromorphic.compile, compile_layers):
        with pytest.warns(CompileWarning, match="none of its neurons can fire") as given:
            compiler(layers(threshold=1e6), num_steps=5)
        assert given[0].filename == __file__


def test_load_reads_a_program(tmp_path):
    small_program().save(tmp_path / "p.npz")
    assert neuromorphic.load(tmp_path / "p.npz").sha256 == small_program().sha256
