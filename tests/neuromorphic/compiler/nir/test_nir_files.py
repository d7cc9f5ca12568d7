"""What of NIR is refused, by name; and files that nobody vouches for."""

import re
import sys

import h5py
import hypothesis.strategies as st
import nir
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from typer.testing import CliRunner

import pnbx_extras
from neuromorphic import Program, run
from neuromorphic.cli import app
from neuromorphic.compiler import compile_nir
from neuromorphic.errors import CompileError
from neuromorphic.files import hdf5 as hdf5_files
from nir_nets import DT, M, graph_of, one_lif, parameters, rng_of


def flat(edges="x w, w n", **nodes):
    nodes = {"w": nir.Linear(np.ones((1, M))), "n": one_lif(), **nodes}
    return graph_of(edges, **nodes)


class Unheard(nir.NIRNode):
    def __init__(self):
        self.input_type = self.output_type = {"input": np.array([1])}
        self.metadata = {}


def inner_graph(**nodes):
    return nir.NIRGraph({"i": nir.Input(np.array([1])), **nodes}, [], type_check=False)


BIG = np.broadcast_to(np.float32(1.0), (2**13 + 1, 2**13))
REFUSED = {
    "unknown node": (flat(n=Unheard()), r"n \(Unheard\): has no integer operations here; what has is Output, Flatten"),
    "no graph": (nir.Linear(np.ones((1, 1))), "must be a nir.NIRGraph with nodes, got Linear"),
    "no input": (nir.NIRGraph({"n": one_lif()}, [], type_check=False), "exactly one Input, got 0"),
    "two inputs": (flat(y=nir.Input(np.array([M]))), r"exactly one Input, got 2: \['x', 'y'\]"),
    "into the input": (flat(edges="x w, w n, n x"), r"x \(Input\): n leads into it"),
    "nothing": (graph_of("x o", o=nir.Output(np.array([M]))), "the graph has neither neurons nor weights"),
    "missing node": (flat(edges="x w, w q"), r"edge \('w', 'q'\) names 'q', which is no node"),
    "bad edge": (nir.NIRGraph({"n": one_lif()}, [("n",)], type_check=False), "an edge must be"),
    "double edge": (flat(edges="x w, w n, w n"), "stands twice"),
    "same name": (
        graph_of(
            "x a.b, a.b n, x a_b, a_b n", **dict.fromkeys(("a.b", "a_b"), nir.Linear(np.ones((1, M)))), n=one_lif()
        ),
        "a_b: its operation would be named a_b, as that of a.b",
    ),
    "unconnected": (flat(m=one_lif()), r"m \(LIF\): nothing connects it with the input"),
    "linear loop": (
        flat(edges="x w, w n, w s, s s2, s2 s, s n", s=nir.Scale(np.ones(1)), s2=nir.Scale(np.ones(1))),
        "lies in a loop through s2 in which no neuron is",
    ),
    "loop of values": (
        flat(edges="x w, w n, n s, s n", n=nir.LI(np.full(1, 0.1), np.ones(1), np.zeros(1)), s=nir.Scale(np.ones(1))),
        r"n \(LI\): gets the values of n 1 step late, and only spikes can be delayed",
    ),
    "sub-graph ends": (
        flat(edges="x w, w n", n=inner_graph(a=one_lif())),
        "n: a sub-graph has exactly one Output, got 0",
    ),
    "shapes": (flat(w=nir.Linear(np.ones((2, M)))), r"n \(LIF\): takes an input of shape \[1\], gets \[2\]"),
    "input shapes": (flat(w=nir.Linear(np.ones((1, 5)))), r"w \(Linear\): takes an input of shape \[5\], gets \[12\]"),
    "no Flatten": (flat(x=nir.Input(np.array([3, 4]))), r"gets \[3, 4\]; a Flatten is missing"),
    "weight": (flat(w=nir.Linear(np.ones((1, 1, M)))), r"weight must be \[out, in\], got shape \[1, 1, 12\]"),
    "bias": (flat(w=nir.Affine(np.ones((1, M)), np.ones(2))), r"bias must have shape \[1\], got \[2\]"),
    "NaN": (
        flat(w=nir.Linear(np.full((1, M), np.nan))),
        r"w \(Linear\): weight holds NaN or infinity \(12 of 12 values\)",
    ),
    "infinite tau": (flat(n=one_lif(tau=np.full(1, np.inf))), "tau holds NaN or infinity"),
    "text": (flat(w=nir.Linear(np.array([["a"] * M]))), "weight must be numbers, got ndarray of <U1"),
    "objects": (
        flat(w=nir.Linear(np.array([[None] * M], dtype=object))),
        "weight must be numbers, got ndarray of object",
    ),
    "huge weight": (flat(w=nir.Linear(np.full((1, M), 1e35))), "weight holds 1e.35; numbers up to 1e.30 compile"),
    "products": (
        flat(edges="x w, w s, s n", w=nir.Linear(np.full((1, M), 1e20)), s=nir.Scale(np.full(1, 1e20))),
        "n, weights of x: a weight is 1e.40; weights must be finite and at most 1e.30",
    ),
    "negative tau": (flat(n=one_lif(tau=-np.ones(1))), "tau of neuron 0 is -1 s; it must be positive"),
    "small tau": (
        flat(n=one_lif(tau=np.full(1, 0.5 * DT))),
        "tau of neuron 0 is 0.0005 s, a decay of -1 a step of 0.001 s",
    ),
    "threshold": (
        flat(n=one_lif(v_threshold=np.zeros(1))),
        "n: threshold of neuron 0 is 0; only positive ones compile",
    ),
    "v_reset": (
        flat(n=one_lif(v_reset=np.ones(1) * 0.5)),
        "v_reset of neuron 0 is 0.5; a reset to zero compiles, or one to v_leak",
    ),
    "v_reset of IF": (flat(n=nir.IF(np.ones(1), np.ones(1), np.full(1, 0.5))), "v_reset of neuron 0 is 0.5"),
    "parameter shapes": (
        flat(n=nir.CubaLI(np.ones(1), np.ones(1), np.ones(1), np.ones(1), np.ones((3, 1)))),
        r"its parameters must have one shape, got \[\[1\], \[3, 1\]\]",
    ),
    "mechanism": (
        flat(n=one_lif(metadata={"reset_mechanism": "half"})),
        "must be 'zero', 'subtract', 'none' or 'zero_with_input', got 'half'",
    ),
    "late": (
        flat(n=one_lif(metadata={"reset_mechanism": "zero", "reset_delay": 7})),
        "reset_delay must be true or false",
    ),
    "part of a step": (
        flat(edges="x w, w d, d n", d=nir.Delay(np.full(1, 1.5 * DT))),
        "is 1.5 steps of dt = 0.001 s; whole",
    ),
    "negative delay": (flat(edges="x w, w d, d n", d=nir.Delay(np.full(1, -DT))), "is -1 steps"),
    "long delay": (flat(edges="x w, w d, d n", d=nir.Delay(np.full(1, 5.0))), r"5000 steps .* 0..4096"),
    "delays add up": (
        flat(edges="x w, w d, d e, e n", d=nir.Delay(np.full(1, 4.0)), e=nir.Delay(np.full(1, 4.0))),
        "its delays from x add up to 8000 steps",
    ),
    "conv input": (
        flat(x=nir.Input(np.array([2, 3, 4])), w=nir.Conv1d(4, np.ones((1, 3, 3)), 1, 0, 1, 1, np.zeros(1))),
        r"takes an input \[channels, length\]",
    ),
    "conv channels": (
        flat(x=nir.Input(np.array([2, 9])), w=nir.Conv1d(9, np.ones((1, 3, 3)), 1, 0, 1, 1, np.zeros(1))),
        "does not fit an input of shape",
    ),
    "conv kernel": (
        flat(x=nir.Input(np.array([1, 9])), w=nir.Conv1d(9, np.ones((1, 1, 3)), 1, 0, 9, 1, np.zeros(1))),
        r"a kernel that reaches \[19\] does not fit",
    ),
    "conv stride": (
        flat(x=nir.Input(np.array([1, 9])), w=nir.Conv1d(None, np.ones((1, 1, 3)), 0, 0, 1, 1, np.zeros(1))),
        "stride must lie in 1..",
    ),
    "conv padding": (
        flat(x=nir.Input(np.array([1, 9])), w=nir.Conv1d(9, np.ones((1, 1, 3)), 2, "same", 1, 1, np.zeros(1))),
        "padding 'same' needs stride 1",
    ),
    "pool": (flat(w=nir.AvgPool2d(np.array([2, 2]), np.array([1, 1]), np.array([0, 0]))), "takes an input"),
    "flatten": (flat(edges="x f, f w, w n", f=nir.Flatten(None, 3, -1)), r"start_dim must be an axis of \[12\], got 3"),
    "too many weights": (flat(w=nir.Linear(BIG)), r"weight must hold 1 to 67108864 numbers, got shape \[8193, 8192\]"),
    "too many unrolled": (
        flat(
            x=nir.Input(np.array([1, 128, 128])),
            w=nir.Conv2d(None, np.ones((1, 1, 3, 3)), 1, 1, 1, 1, np.zeros(1)),
            again=nir.Conv2d(None, np.ones((1, 1, 3, 3)), 1, 1, 1, 1, np.zeros(1)),
            n=nir.I(np.ones((1, 128, 128))),
            edges="x w, w again, again n",
        ),
        "its matrix of 16384 x 16384 weights from x is larger than 67108864",
    ),
    "bias too large": (
        flat(w=nir.Affine(np.full((1, M), 1e-9), np.ones(1)), n=nir.I(np.ones(1))),
        "needs a bias of .* units, a state holds 8388607",
    ),
    "sum too large": (
        graph_of("x w", w=nir.Affine(np.full((1, M), 1e-9), np.ones(1))),
        "its sum over 5 steps leaves 24 bits",
    ),
}


@pytest.mark.parametrize("what", REFUSED)
def test_what_cannot_be_compiled_is_refused_by_name(what):
    graph, text = REFUSED[what]
    with pytest.raises(CompileError, match=text):
        compile_nir(graph, num_steps=5)


@pytest.mark.parametrize(
    ("options", "text"),
    [
        ({"num_steps": 0}, "num_steps must be an integer in 1.."),
        ({"dt": 0.0}, "dt must lie in 1e-12..1e.06 s, got 0 s"),
        ({"dt": float("nan")}, "dt must lie in 1e-12..1e.06 s, got nan s .as asked for."),
        ({"dt": "soon"}, "dt must be a number of seconds, got 'soon'"),
        ({"input_scale": -1.0}, "input_scale must lie in 1e-30..1e.30, got -1.0"),
        ({"input_scale": "one"}, "input_scale must be a number, got 'one'"),
        ({"input_range": 5}, "input_range must be .lowest, highest., got 5"),
        ({"input_range": (0.5, 3)}, "low must be an integer in"),
        ({"input_range": (1, 3)}, "low must be an integer in"),
    ],
)
def test_bad_options_are_refused(options, text):
    with pytest.raises(CompileError, match=text):
        compile_nir(flat(), **{"num_steps": 5, **options})


def test_a_missing_package_is_one_clear_error(monkeypatch):
    monkeypatch.setitem(sys.modules, "nir", None)
    with pytest.raises(CompileError, match=re.escape(f"not installed: {pnbx_extras.install('nir')}")):
        compile_nir("g.nir", num_steps=1)


# Files ----------------------------------------------------------------------------------------------------


def small_graph():
    rng = rng_of(0)
    p = parameters(rng, "LIF", 3)
    nodes = {"input": nir.Input(np.array([3])), "lif": nir.LIF(**p), "w_rec": nir.Linear(np.ones((3, 3)))}
    nodes["output"] = nir.Output(np.array([3]))
    rnn = nir.NIRGraph(nodes, [("input", "lif"), ("lif", "w_rec"), ("w_rec", "lif"), ("lif", "output")])
    return nir.NIRGraph(
        {
            "x": nir.Input(np.array([1, 4, 4])),
            "c": nir.Conv2d((4, 4), rng.normal(size=(2, 1, 2, 2)), 1, 0, 1, 1, np.zeros(2)),
            "f": nir.Flatten({"input": np.array([2, 3, 3])}, 0, -1),
            "w": nir.Affine(rng.normal(size=(3, 18)), np.zeros(3)),
            "rnn": rnn,
            "d": nir.Delay(np.full(3, 2e-3)),
            "li": nir.LI(np.full(3, 0.01), np.ones(3), np.zeros(3)),
            "out": nir.Output(np.array([3])),
        },
        [("x", "c"), ("c", "f"), ("f", "w"), ("w", "rnn"), ("rnn", "d"), ("d", "li"), ("li", "out")],
        metadata={"dt": DT},
    )


@pytest.fixture(scope="module")
def written(tmp_path_factory):
    path = tmp_path_factory.mktemp("nir") / "g.nir"
    nir.write(path, small_graph())
    return path


def test_a_file_is_its_graph(written):
    assert compile_nir(written, num_steps=9).sha256 == compile_nir(small_graph(), num_steps=9).sha256


def damage(path, change):
    with h5py.File(path, "r+") as file:
        change(file)


def replace(name, **options):
    def change(file):
        del file[name]
        file.create_dataset(name, **options)

    return change


def link(name, target):
    def change(file):
        del file[name]
        file[name] = target

    return change


def circle(file):
    file["node/nodes/w/again"] = file["node/nodes"]


W = "node/nodes/w/weight"
DAMAGED = {
    "announced": (replace(W, shape=(1 << 20, 1 << 10), dtype="f4", chunks=(64, 64)), "announces more than 134217728"),
    "chunks": (
        replace(W, shape=(3, 18), maxshape=(None, None), dtype="f8", chunks=(1 << 14, 1 << 14)),
        "announces more",
    ),
    "many": (
        lambda f: [
            f.create_dataset(f"node/metadata/m{i}", shape=(1 << 26,), dtype="f4", chunks=(64,)) for i in range(3)
        ],
        "announces more than",
    ),
    "objects": (replace(W, shape=(2,), dtype=h5py.vlen_dtype(np.int32)), "holds object; numbers and text are what"),
    "compound": (replace(W, shape=(2,), dtype=np.dtype([("a", "f4")])), "numbers and text are what"),
    "empty": (replace(W, dtype="f4"), "is an empty array"),
    "external link": (link(W, h5py.ExternalLink("/etc/passwd", "/")), "is a link to another place or file"),
    "soft link": (link(W, h5py.SoftLink("/node")), "is a link to another place or file"),
    "circle": (circle, "groups are nested deeper than 32|more than 65536"),
    "virtual": (
        lambda f: (f.__delitem__(W), f.create_virtual_dataset(W, h5py.VirtualLayout((3, 18), "f8"))),
        "keeps its data in another file",
    ),
    "external": (
        replace(W, shape=(3,), dtype="f8", external=[("/etc/passwd", 0, 24)]),
        "keeps its data in another file",
    ),
    "type": (replace("node/nodes/w/type", data="LSTM"), "not a readable NIR file"),
    "unknown field": (lambda f: f.create_dataset("node/nodes/w/more", data=1.0), "not a readable NIR file"),
    "missing field": (lambda f: f.__delitem__("node/nodes/w/bias"), "not a readable NIR file"),
    "root": (replace("node/type", data="LIF"), "holds a 'LIF'; only a NIRGraph can be compiled"),
    "no node": (lambda f: f.__delitem__("node"), "holds no group 'node'"),
    "edges": (
        replace("node/edges", data=["a", "b"], dtype=h5py.string_dtype()),
        "only edges .E, 2. hold more than one",
    ),
    "triples": (
        replace("node/edges", data=[["a", "b", "c"]], dtype=h5py.string_dtype()),
        "edges must be pairs of names",
    ),
    "no text": (replace("node/edges", data=np.ones((2, 2))), "not a readable NIR file|an edge must be"),
    "long names": (
        replace("node/edges", data=[["a" * 9999, "b"]], dtype=h5py.string_dtype()),
        "at most 4096 characters",
    ),
    "long text": (replace("node/type", data=np.array(b"a" * 9999)), "holds text of 9999 bytes; at most 4096"),
    "NaN": (replace(W, data=np.full((3, 18), np.nan)), "weight holds NaN or infinity"),
    "dt": (replace("node/metadata/dt", data=-1.0), "dt must lie in .* got -1 s .the graph's own."),
}


@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.parametrize("what", DAMAGED)
def test_files_that_nobody_vouches_for(what, written, tmp_path):
    change, text = DAMAGED[what]
    path = tmp_path / "g.nir"
    path.write_bytes(written.read_bytes())
    damage(path, change)
    with pytest.raises(CompileError, match=text):
        compile_nir(path, num_steps=5)


def test_no_file_and_no_hdf5(tmp_path, monkeypatch, written):
    with pytest.raises(CompileError, match="no such file"):
        compile_nir(tmp_path / "none.nir", num_steps=5)
    with pytest.raises(CompileError, match="must be a regular file, is a folder"):
        compile_nir(str(tmp_path), num_steps=5)
    (tmp_path / "text.nir").write_text("no HDF5")
    with pytest.raises(CompileError, match="not an HDF5 file"):
        compile_nir(tmp_path / "text.nir", num_steps=5)
    monkeypatch.setattr(hdf5_files, "MAX_FILE_BYTES", 100)
    with pytest.raises(CompileError, match="at most 100 are read"):
        compile_nir(written, num_steps=5)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data())
def test_a_damaged_file_raises_only_compile_errors(data, written, tmp_path):
    content = bytearray(written.read_bytes())
    if data.draw(st.booleans()):
        del content[data.draw(st.integers(0, len(content) - 1)) :]
    for _ in range(data.draw(st.integers(0, 8)) if content else 0):
        content[data.draw(st.integers(0, len(content) - 1))] ^= 1 << data.draw(st.integers(0, 7))
    path = tmp_path / "damaged.nir"
    path.write_bytes(content)
    hdf5_files.TIME_LIMIT_S, limit = 15.0, hdf5_files.TIME_LIMIT_S  # a few damages make HDF5 turn in circles
    try:
        program = compile_nir(path, num_steps=3)
    except CompileError as error:
        assert str(error)  # noqa: PT017 - either outcome is right, any other exception is not
    else:
        run(program, np.zeros((3, 1, program.input.size), dtype=np.int8))
    finally:
        hdf5_files.TIME_LIMIT_S = limit


def test_the_command_compiles_a_file(written, tmp_path):
    out = tmp_path / "p.npz"
    done = CliRunner().invoke(app, ["compile", str(written), "-o", str(out), "--steps", "9", "--dt", "0.002"])
    assert done.exit_code == 0, done.output
    program = Program.load(out)
    assert (program.num_steps, program.metadata["dt"]) == (9, 0.002)
    text = " ".join(done.output.split())
    for sentence in program.metadata["assumptions"]:
        assert sentence in text
    assert CliRunner().invoke(app, ["compile", str(tmp_path / "none.h5"), "-o", str(out)]).exit_code == 1


HOSTILE = [
    0.0,
    -1.0,
    0.5,
    1.0,
    3.0,
    1e-3,
    1e-45,
    1e-300,
    5e-324,
    1e38,
    1e300,
    2.0**62,
    np.nan,
    np.inf,
    "same",
    None,
    True,
]


@pytest.mark.filterwarnings("ignore::neuromorphic.errors.CompileWarning")
@settings(max_examples=150, deadline=None)
@given(data=st.data())
def test_hostile_parameters_raise_only_compile_errors(data):
    """Warnings are errors here, so neither may a number overflow unseen."""
    graph = small_graph()
    for _ in range(data.draw(st.integers(1, 3))):
        owner = graph.nodes["rnn"] if data.draw(st.booleans()) else graph
        node = owner.nodes[data.draw(st.sampled_from(sorted(owner.nodes)))]
        field = data.draw(st.sampled_from(sorted(set(vars(node)) - {"nodes", "edges"})))
        value, old = data.draw(st.sampled_from(HOSTILE)), getattr(node, field)
        shape = data.draw(st.sampled_from([np.shape(old), (), (0,), (1,), (2, 2)]))
        new = np.full(shape, value) if data.draw(st.booleans()) else value
        setattr(node, field, {next(iter(old)): new} if isinstance(old, dict) and old else new)
    options = {
        "dt": data.draw(st.sampled_from([None, 1e-3, 1e-300, 1e300, 5e-324])),
        "num_steps": data.draw(st.sampled_from([1, 3, 10**6])),
        "input_scale": data.draw(st.sampled_from([None, 0.1, 1e-300, 1e300])),
    }
    try:
        program = compile_nir(graph, **options)
    except CompileError as error:
        assert str(error)  # noqa: PT017 - either outcome is right, any other exception is not
    else:
        run(program, np.zeros((3, 1, program.input.size), dtype=np.int8))
