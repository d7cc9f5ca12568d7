"""Recordings of NIR: read as inputs, written from what a run leaves, in the files that nir itself reads and writes."""

import json

import h5py
import nir
import numpy as np
import pytest
from typer.testing import CliRunner

from neuromorphic import LIF, Dense, Input, Program, Readout, Recording, run
from neuromorphic.cli import app
from neuromorphic.compiler import to_nir
from neuromorphic.errors import InputError, StorageError
from neuromorphic.formats.nir_data import (
    array_of,
    events_of,
    grid_of,
    read_nir_data,
    recording_data,
    signal_of,
    write_nir_data,
)

DT = 1e-3


def network(num_steps=9, high=1):
    one = np.ones(4, dtype=np.int32)
    weights = np.array([[1, 1, 0], [0, -1, 1], [1, 0, 1], [1, 1, 1]], dtype=np.int8)
    ops = (
        Input("in", 3, high=high),
        Dense("fc", "in", weights),
        LIF("lif", ("fc",), 3686 * one, 64 * one, 0 * one, shift=6),
        Dense("out", "lif", weights.T[:2]),
        Readout("sum", ("out",), 0 * one[:2], shift=0),
    )
    return Program(ops, num_steps)


def spikes(num_steps=9, batch=5, size=3, seed=0):
    return (np.random.default_rng(seed).random((num_steps, batch, size)) < 0.4).astype(np.uint8)


def of_one(signal, node="in", name="spikes"):
    return nir.NIRGraphData({node: nir.NIRNodeData({name: signal})})


def call(*arguments):
    done = CliRunner().invoke(app, [str(argument) for argument in arguments], env={"COLUMNS": "300"})
    return done.exit_code, " ".join(done.output.replace("│", " ").split())


@pytest.mark.parametrize("dt", [1e-3, 1e-4, 0.1, 0.3, 1 / 3, 1e-6])
@pytest.mark.parametrize("num_steps", [1, 9, 250])
def test_there_and_back(dt, num_steps, tmp_path):
    """Through a file, on the grid and as events; nir's own conversions see the same steps."""
    x = spikes(num_steps)
    for signal in (grid_of(x, dt), events_of(x, dt)):
        write_nir_data(of_one(signal), tmp_path / "x.h5")
        for read in (read_nir_data, nir.read_data):
            back = signal_of(read(tmp_path / "x.h5"), "in")
            assert type(back) is type(signal)
            np.testing.assert_array_equal(array_of(back, dt), x)
    grid = events_of(x, dt).to_time_gridded(dt).data
    np.testing.assert_array_equal(grid.transpose(1, 0, 2), x)


def test_values_there_and_back():
    values = np.random.default_rng(0).integers(-3, 4, (7, 2, 5), dtype=np.int32)
    events = events_of(values, DT)
    assert isinstance(events, nir.ValuedEventData)
    np.testing.assert_array_equal(array_of(events, DT), values)
    np.testing.assert_array_equal(array_of(grid_of(values, DT), DT), values)


def test_events_of_others_fall_into_the_step_they_stand_at():
    """Times that are a product of a step and a rounded number: floor(0.7 / 0.1) is 6."""
    steps = np.arange(200)
    for dt in (0.1, 1e-3, 1e-4, 0.3):
        grid = nir.TimeGriddedData(np.ones((1, 200, 1), dtype=bool), dt)
        np.testing.assert_array_equal(array_of(grid.to_event(200), dt), np.ones((200, 1, 1)))
        events = nir.EventData(np.zeros((1, 200), dtype=int), (steps * dt)[None], 1, 200 * dt)
        np.testing.assert_array_equal(array_of(events, dt), np.ones((200, 1, 1)))


def test_events_in_one_step_are_counted_and_values_added():
    about = {"idx": np.array([[0, 0, 1]]), "time": np.array([[0.0, 0.5e-3, 0.1]]), "n_neurons": 2, "t_max": 0.101}
    assert array_of(nir.EventData(**about), DT)[[0, 100], 0].tolist() == [[2, 0], [0, 1]]
    valued = nir.ValuedEventData(value=np.array([[0.5, 0.25, -1.0]]), **about)
    assert array_of(valued, DT)[[0, 100], 0].tolist() == [[0.75, 0.0], [0.0, -1.0]]
    with pytest.raises(InputError, match=r"in: inputs must lie in 0\.\.1, got 0\.\.2"):
        run(network(), array_of(nir.EventData(**{**about, "n_neurons": 3}), DT)[:9])


@pytest.mark.parametrize("form", ["grid", "events"])
def test_a_recording_there_and_back(form, tmp_path):
    program, x = network(), spikes()
    recording = run(program, x)
    write_nir_data(recording_data(recording, DT, form), tmp_path / "r.h5")
    back = nir.read_data(tmp_path / "r.h5")
    kind = nir.EventData if form == "events" else nir.TimeGriddedData
    assert type(back.nodes["lif"].observables["spikes"]) is kind
    found = {f"{op}.{name}": array_of(s, DT) for op, node in back.nodes.items() for name, s in node.observables.items()}
    assert sorted(found) == sorted(recording.variables)
    for name, values in recording.variables.items():
        np.testing.assert_array_equal(found[name], values)
    back.check_nodes(to_nir(program, round_trip="close"))  # nir finds the nodes of the exported graph, of these sizes


@pytest.mark.parametrize("form", ["grid", "events"])
def test_the_command_reads_and_writes_them(form, tmp_path):
    program, x = network(), spikes()
    program.save(tmp_path / "p.npz")
    nir.write_data(tmp_path / "x.h5", of_one(grid_of(x, DT) if form == "grid" else events_of(x, DT)))
    p, inputs, output = tmp_path / "p.npz", tmp_path / "x.h5", tmp_path / "r.h5"
    code, text = call("run", p, inputs, "--dt", DT, "--nir-data", form, "--samples", "1:4", "-o", output)
    assert (code, f"recording: {output}" in text) == (0, True), text
    written = array_of(nir.read_data(output).nodes["lif"].observables["spikes"], DT)
    np.testing.assert_array_equal(written, run(program, x[:, 1:4]).variables["lif.spikes"])
    assert call("verify", p, inputs, "--executor", "numpy", "--dt", DT)[0] == 0
    code, text = call("run", p, inputs, "-o", output)
    assert (code, "a recording of NIR needs the seconds of a step: --dt" in text) == (2, True)
    code, text = call("run", p, inputs)
    if form == "events":
        assert (code, text) == (1, "error: events have times in seconds: say how long a step is (dt, --dt)")
    else:
        assert code == 0
    assert call("run", p, inputs, "--dt", "-1")[0] == 1


def test_a_program_from_nir_knows_its_step(tmp_path):
    graph = to_nir(network(), round_trip="close", dt=DT)
    nir.write(tmp_path / "g.nir", graph)
    assert call("compile", tmp_path / "g.nir", "--steps", 9, "-o", tmp_path / "p.npz")[0] == 0
    nir.write_data(tmp_path / "x.h5", of_one(events_of(spikes(), DT)))
    code, text = call("run", tmp_path / "p.npz", tmp_path / "x.h5", "-o", tmp_path / "r.nir", "--json")
    assert code == 0, text
    assert json.loads(text)["steps"] == 9
    nir.write_data(tmp_path / "x.h5", of_one(grid_of(spikes(), 2 * DT)))
    code, text = call("run", tmp_path / "p.npz", tmp_path / "x.h5")
    assert (code, text) == (1, "error: a step of the recording takes 0.002 s, one of the program 0.001 s")


def test_which_signal_is_the_input():
    grid = grid_of(spikes(), DT)
    two = nir.NIRNodeData({"spikes": grid, "v": grid})
    assert signal_of(of_one(grid, "whatever"), "in") is grid
    several = nir.NIRGraphData({"lif": two, "in": nir.NIRNodeData({"spikes": grid})})
    assert signal_of(several, "in") is grid
    for data, there in (
        (nir.NIRGraphData({"lif": two}), "lif.spikes, lif.v"),
        (nir.NIRGraphData({}), "none"),
        (nir.NIRGraphData({"a": two, "b": two}), "a.spikes, a.v, b.spikes, b.v"),
    ):
        with pytest.raises(InputError, match=f"^in: a recording for an input holds one signal, .* got {there}$"):
            signal_of(data, "in")


def events(**changed):
    about = {"idx": np.array([[0, 2, -1]]), "time": np.array([[0.0, 2e-3, np.inf]]), "n_neurons": 3, "t_max": 5e-3}
    return nir.EventData(**{**about, **changed})


@pytest.mark.parametrize(
    ("signal", "dt", "message"),
    [
        (events(), 0.0, "dt must be a positive number of seconds, got 0.0"),
        (events(n_neurons=2), DT, "sample 0: an event of unit 2 at 0.002 s is not within 2 units and 0.005 s"),
        (events(t_max=1e-3), DT, "sample 0: an event of unit 2 at 0.002 s is not within 3 units and 0.001 s"),
        (events(time=np.array([[-1.0, 0, 0]])), DT, "an event of unit 0 at -1 s is not within"),
        (events(time=np.array([[np.nan, 0, 0]])), DT, "an event of unit 0 at nan s is not within"),
        (events(t_max=1e12), DT, "are 1e[+]15 steps; 1 step to 536870912 values"),
        (events(t_max=np.inf), DT, "are inf steps"),
        (events(t_max=np.nan), DT, "are inf steps"),
        (events(n_neurons=-3), DT, "and -3 units"),
        (events(idx=np.array([[0.5, 1, 2]])), DT, "events are .B, E.: whole indices, .*got float64"),
        (nir.TimeGriddedData(np.full((1, 2, 3), "a"), DT), DT, "a grid of NIR is numbers .B, T, N., got <U1"),
        (nir.TimeGriddedData(np.ones((1, 2, 3)), 0.1), DT, "a step of the recording takes 0.1 s, one of the program"),
    ],
)
def test_what_does_not_fit_is_refused(signal, dt, message):
    with pytest.raises(InputError, match=message):
        array_of(signal, dt)


def damaged(change, path):
    nir.write_data(path, of_one(events_of(spikes(), DT)))
    with h5py.File(path, "r+") as file:
        change(file, file["nodes/in/observables/spikes"])
    return path


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda file, signal: signal.attrs.pop("t_max"), "not a readable recording of NIR .KeyError: 't_max'"),
        (lambda file, signal: signal.attrs.update(__type__="Video"), "an observable is a Video"),
        (lambda file, signal: signal.attrs.update(n_neurons=np.arange(3)), r"is an attribute int64 \(3,\); one number"),
        (lambda file, signal: signal.pop("time"), "KeyError: 'time'"),
        (lambda file, signal: file["nodes/in"].attrs.update(__type__="NIRGraphData"), "those of a flat graph are"),
        (lambda file, signal: file.pop("nodes"), "holds no group 'nodes', as a NIR data file does"),
        (lambda file, signal: file["nodes"].create_dataset("x", data=np.ones(3)), "not a readable recording of NIR"),
        (
            lambda file, signal: file["nodes"].create_dataset("x", (1 << 28,), "i1", chunks=(1 << 20,)),
            "the file announces more than 134217728 array elements",
        ),
    ],
)
def test_damaged_files_are_refused(change, message, tmp_path):
    with pytest.raises(InputError, match=message):
        read_nir_data(damaged(change, tmp_path / "x.h5"))


def test_files_that_are_none(tmp_path):
    with pytest.raises(InputError, match=r"nothing.h5: no such file"):
        read_nir_data(tmp_path / "nothing.h5")
    (tmp_path / "x.h5").write_bytes(b"no HDF5")
    with pytest.raises(InputError, match="not an HDF5 file, which a NIR data file is"):
        read_nir_data(tmp_path / "x.h5")
    nir.write(tmp_path / "g.nir", to_nir(network(), round_trip="close"))
    with pytest.raises(InputError, match="holds no group 'nodes'"):
        read_nir_data(tmp_path / "g.nir")


def test_a_file_is_whole_or_not_there(tmp_path, monkeypatch):
    data = recording_data(Recording({"lif.spikes": spikes()}, "numpy"), DT)
    write_nir_data(data, tmp_path / "r.h5")
    before = (tmp_path / "r.h5").read_bytes()

    def broken(path, data):
        path.write_bytes(b"half")
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(nir, "write_data", broken)
    with pytest.raises(StorageError, match=r"r.h5: cannot be written \(No space left on device\)"):
        write_nir_data(data, tmp_path / "r.h5")
    assert (tmp_path / "r.h5").read_bytes() == before
    assert [path.name for path in tmp_path.iterdir()] == ["r.h5"]
