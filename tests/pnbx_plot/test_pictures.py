"""Pictures: what is drawn where, torch and NumPy alike, on the Axes asked for; errors."""

import matplotlib as mpl
import numpy as np
import pytest
import torch

import pnbx_plot
from neuromorphic import Recording
from pnbx_plot import PlotError
from pnbx_plot.pixels import SpikeMarks
from pnbx_snn import plot

mpl.use("Agg")
from matplotlib import pyplot as plt


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def marks(ax):
    """The spikes drawn, as (step, neuron)."""
    [artist] = [artist for artist in ax.artists if isinstance(artist, SpikeMarks)]
    steps, neurons, _ = artist.spikes.events
    return sorted(zip(steps + artist.spikes.first_step, neurons, strict=True))


def pixels(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())


def random_spikes(steps, neurons, seed=0):
    return (np.random.default_rng(seed).random((steps, neurons)) < 0.2).astype(np.float32)


def rings(ax):
    return [line for line in ax.lines if line.get_gid() == "differences"]


def test_raster_draws_each_spike_at_its_step_and_neuron():
    spikes = random_spikes(8, 5)
    ax = plot.raster(spikes, title="layer 1")
    assert marks(ax) == sorted(map(tuple, np.argwhere(spikes)))
    assert ax.get_title() == f"layer 1: 5 neurons, firing rate {100 * spikes.mean():.1f} %"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "neuron")
    assert ax.get_xlim() == (-0.5, 7.5)
    assert ax.get_ylim() == (-0.5, 4.5)
    assert all(tick == int(tick) for tick in [*ax.get_xticks(), *ax.get_yticks()])


@pytest.mark.parametrize("ending", ["png", "pdf", "svg"])
@pytest.mark.parametrize("rate", [0.0, 0.001, 0.5])
def test_marks_stand_at_their_places_in_every_kind_of_file(tmp_path, ending, rate):
    """A pixel picture, shapes in a PDF or SVG, and an image in these where they are many."""
    spikes = (np.random.default_rng(0).random((300, 400)) < rate).astype(np.uint8)
    figure = plot.raster(spikes).figure
    plot.save(figure, tmp_path / f"raster.{ending}")
    size = (tmp_path / f"raster.{ending}").stat().st_size
    assert size > 4000
    if ending == "svg":
        text = (tmp_path / "raster.svg").read_text()
        assert ("<image" in text) == (rate == 0.5)
    if ending == "png":
        drawn = plt.imread(tmp_path / "raster.png")
        ink = np.abs(drawn[..., :3] - np.array(mpl.colors.to_rgb(plot.INK))).max(axis=-1) < 0.01
        assert (ink.sum() >= spikes.sum() / 2) if rate else not ink.any()


def test_a_pixel_picture_has_each_spike_where_its_axes_say():
    spikes = np.zeros((50, 30), dtype=np.uint8)
    spikes[10, 4] = spikes[40, 25] = 1
    ax = plot.raster(spikes)
    image = pixels(ax.figure)
    ink = np.abs(image[..., :3].astype(int) - np.round(255 * np.array(mpl.colors.to_rgb(plot.INK)))).max(axis=-1) < 3
    rows, columns = np.nonzero(ink)
    for step, neuron in ((10, 4), (40, 25)):
        x, y = ax.transData.transform((step, neuron))
        near = (abs(columns + 0.5 - x) <= 5) & (abs(len(image) - rows - 0.5 - y) <= 5)
        assert near.sum() >= 20
        rows, columns = rows[~near], columns[~near]
    assert len(rows) == 0


def test_time_in_milliseconds_and_rates_in_hertz():
    figure = plot.raster_layers({"lif": np.eye(20)}, dt=2e-3)
    raster, rate, histogram = figure.axes
    assert raster.get_xlim() == (-1.0, 39.0)
    assert raster.get_title() == "lif: 20 neurons, firing rate 25 Hz"
    assert rate.get_xlabel() == "time in ms"
    assert (rate.get_ylabel(), histogram.get_xlabel()) == ("rate, Hz", "rate, Hz")


def test_chosen_steps_neurons_and_sample():
    spikes = np.stack([np.zeros((20, 9)), random_spikes(20, 9)], axis=1)
    ax = plot.raster(spikes, sample=1, steps=(5, 15), neurons=[8, 2])
    assert ax.get_xlim() == (4.5, 14.5)
    chosen = spikes[5:15, 1][:, [8, 2]]
    assert marks(ax) == sorted((step + 5, neuron) for step, neuron in np.argwhere(chosen))
    pixels(ax.figure)
    assert [label.get_text() for label in ax.get_yticklabels()] == ["8", "2"]
    ax = plot.raster(spikes, sample=1, neurons=(3, 7))
    assert ax.get_title().startswith("4 neurons")


def test_a_silent_layer_and_few_spikes_say_so():
    ax = plot.raster(np.zeros((4, 3)))
    assert marks(ax) == []
    assert ax.get_title() == "3 neurons, no spikes"
    lone = plot.Events(np.array([5]), np.array([7]), (100_000, 100_000))
    assert plot.raster(lone).get_title() == "100,000 neurons, 1 spike"


def recording(spikes, executor="numpy"):
    names = {f"{name}.spikes": values for name, values in spikes.items()}
    return Recording({**names, "lif1.v": spikes["lif1"].astype(np.int32) * 7}, executor)


def test_differences_are_ringed_counted_and_named():
    ours = {"lif1": random_spikes(20, 1, 30)[:, None] * np.ones((20, 2, 30)), "lif2": np.zeros((20, 2, 4))}
    ours = {name: values.astype(np.uint8) for name, values in ours.items()}
    theirs = {name: values.copy() for name, values in ours.items()}
    theirs["lif1"][12, 1, 7] ^= 1
    theirs["lif1"][3, 0, 0] ^= 1  # another sample
    figure = plot.raster_layers(recording(ours), recording(theirs, "lava"), sample=1, title="two runs")
    first, counts, _, second, *_ = figure.axes
    assert figure.get_suptitle() == "two runs: 1 spike differs (ringed; red: only in the second run)"
    assert "1 of 600 differs, first at step 12, neuron 7" in first.get_title()
    assert second.get_title() == "lif2: 4 neurons, no spikes; none of 80 values differs"
    assert [list(map(float, line.get_xydata()[0])) for line in rings(first)] == [[12.0, 7.0]] * 2
    assert rings(second) == []
    assert counts.get_ylabel() == "differ"


def test_close_differences_share_a_ring_and_very_many_are_drawn_pale():
    ours = random_spikes(1000, 2000)
    few, many = ours.copy(), ours.copy()
    few[500, 1000:1003] = 1 - few[500, 1000:1003]
    ax = plot.raster(ours, few)
    assert [len(line.get_xdata()) for line in rings(ax)] == [1, 1]
    places = np.random.default_rng(0).integers(0, ours.size, 10_000)
    many.ravel()[places] = 1 - many.ravel()[places]
    ax = plot.raster(ours, many)
    assert [len(line.get_xdata()) for line in rings(ax)] == [1, 1]
    figure = plot.raster_layers(ours, many)
    assert figure.get_suptitle().endswith("spikes differ (red; the first is ringed)")
    spikes, different = ax.artists
    assert (spikes.get_alpha(), different.spikes.count) == (0.3, len(np.unique(places)))


def test_layers_share_the_time_axis_in_the_order_given():
    layers = {"layer 1": random_spikes(6, 20), "layer 2": random_spikes(6, 3)}
    figure = plot.raster_layers(layers, input=np.linspace(0, 1, 12).reshape(6, 2), title="image 7", rates=False)
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[0] == "input: 2 values, from 0 (white) to 1 (black)"
    assert [title.split(":")[0] for title in titles[1:]] == ["layer 1", "layer 2"]
    assert {ax.get_xlim() for ax in figure.axes} == {(-0.5, 5.5)}
    assert [ax.get_xlabel() for ax in figure.axes] == ["", "", "step"]
    assert figure.get_suptitle() == "image 7"
    places = [ax.get_position().y0 for ax in figure.axes]
    assert places == sorted(places, reverse=True)


def test_rates_stand_under_and_beside_their_raster():
    spikes = np.zeros((10, 4))
    spikes[:, 0], spikes[2, :] = 1, 1
    raster, rate, histogram = plot.raster_layers(spikes).figure.axes
    assert list(rate.patches[0].get_data().values) == [25.0, 25.0, 100.0, *[25.0] * 7]
    heights = {round(bar.get_x() + bar.get_width() / 2): bar.get_height() for bar in histogram.patches}
    assert {place: count for place, count in heights.items() if count} == {10: 3, 100: 1}
    figure = raster.figure
    figure.canvas.draw()
    assert rate.get_position().y1 <= raster.get_position().y0
    assert histogram.get_position().x0 >= raster.get_position().x1


def test_rates_and_differences_of_very_many_steps_are_taken_together_in_equal_parts():
    ours = np.zeros((2500, 3), dtype=np.uint8)
    theirs = ours.copy()
    theirs[2400:2450, 1] = 1
    _, differ, _ = plot.raster_layers(ours, theirs).axes
    values, edges, _ = differ.patches[0].get_data()
    assert differ.get_ylabel() == "differ, in 3 steps"
    assert list(np.diff(edges)) == [3] * 833 + [1]
    assert list(values) == [0] * 800 + [3] * 16 + [2] + [0] * 17
    _, rate, _ = plot.raster_layers(theirs).axes
    assert rate.patches[0].get_data().values[[799, 800, 816]] == pytest.approx([0.0, 100 / 3, 200 / 9])


@pytest.mark.parametrize(
    ("values", "shape", "title"),
    [
        (np.tile(np.arange(64) / 63, (6, 1)), None, "input: image of 8 × 8, the same in every step, from 0 (white)"),
        (np.tile(np.arange(18) / 17, (6, 1)), (3, 6), "input: image of 3 × 6, the same in every step, from 0 (white)"),
        (np.tile([0.25, 0.75], (6, 1)), None, "input: 2 values, constant, from 0.25 (white) to 0.75 (black)"),
        (random_spikes(6, 4), None, "input: 4 channels, "),
        (random_spikes(6, 4) - random_spikes(6, 4, 1), None, "input: 4 pixels, "),
        (random_spikes(6, 2 * 9), (2, 3, 3), "input: 9 pixels, "),
        (random_spikes(6, 18).reshape(6, 1, 2, 3, 3), None, "input: 9 pixels, "),
    ],
    ids=["square image", "told image", "constant", "spikes", "signed events", "two channels", "shaped events"],
)
def test_inputs_are_drawn_as_what_they_are(values, shape, title):
    figure = plot.raster_layers({"lif": random_spikes(6, 3)}, input=values, input_shape=shape)
    ax = figure.axes[0]
    said = ax.get_title() or ax.get_title(loc="left")
    assert said.startswith(title)
    image = "image" in title
    assert (ax.get_aspect() == 1.0) == image
    if "events" in said:
        colors = [artist.color for artist in ax.artists]
        assert colors == [mpl.colors.to_rgb(plot.INK), mpl.colors.to_rgb(plot.ACCENT)]
        on = (values > 0).sum() if (values < 0).any() else values.reshape(6, 2, 9)[:, 1].sum()
        assert f"{int(on)} on event" in said
        assert ax.artists[0].spikes.count == on


@pytest.mark.parametrize(
    "draw",
    [
        plot.raster,
        lambda spikes, **options: plot.membrane(spikes, threshold=0.5, spikes=spikes, **options),
        lambda spikes, **options: plot.raster_layers({"a": spikes}, input=spikes),
        lambda spikes, **options: plot.weights(spikes),
    ],
    ids=["raster", "membrane", "raster_layers", "weights"],
)
def test_torch_and_numpy_give_the_same_picture(draw):
    spikes = random_spikes(9, 4)
    of_numpy, of_torch = (getattr(drawn, "figure", drawn) for drawn in (draw(spikes), draw(torch.tensor(spikes))))
    assert np.array_equal(pixels(of_numpy), pixels(of_torch))
    draw(torch.tensor(spikes, requires_grad=True))


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float64, torch.bool, torch.int8])
@pytest.mark.parametrize("form", ["whole", "list", "in a graph", "sparse"])
def test_tensors_of_every_kind(dtype, form):
    """NumPy has no bfloat16, and refuses what requires a gradient: in torch's words, before."""
    spikes = torch.eye(4, dtype=dtype)
    if form == "list":
        spikes = list(spikes)
    elif form == "in a graph":
        if not dtype.is_floating_point:
            return
        spikes = [row.requires_grad_() for row in spikes]
    elif form == "sparse":
        spikes = spikes.to_sparse()
    ax = plot.raster(spikes)
    assert ax.get_title() == "4 neurons, firing rate 25.0 %"
    assert marks(ax) == [(i, i) for i in range(4)]


def test_recordings_mappings_and_arrays_are_alike():
    spikes = {"lif1": random_spikes(7, 5)[:, None].astype(np.uint8), "lif2": random_spikes(7, 3, 1)[:, None]}
    of_recording = plot.raster_layers(recording(spikes))
    assert np.array_equal(pixels(of_recording), pixels(plot.raster_layers(spikes)))
    assert marks(plot.raster(recording(spikes), layer="lif2")) == marks(plot.raster(spikes["lif2"]))
    with pytest.raises(PlotError, match=r"plot.raster: layer= must name one of lif1, lif2; plot.raster_layers draws"):
        plot.raster(spikes)
    with pytest.raises(PlotError, match=r"layer must be one of lif1, lif2, got 'lif3'"):
        plot.raster(spikes, layer="lif3")
    only = plot.raster_layers(spikes, only=["lif2"], rates=False)
    assert [ax.get_title().split(":")[0] for ax in only.axes] == ["lif2"]


def test_steps_that_are_no_sample_of_a_recording_are_left_out():
    told = Recording({"lif.spikes": np.ones((9, 2, 3), dtype=np.uint8)}, "numpy", {"lengths": [9, 4]})
    assert plot.raster(told, sample=1).get_xlim() == (-0.5, 3.5)
    figure = plot.raster_layers(told, sample=1, input=np.random.default_rng(0).random((9, 2, 5)))
    assert figure.axes[0].get_xlim() == (-0.5, 3.5)


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: plot.raster(np.eye(3), ax=ax),
        lambda ax: plot.membrane(np.ones(3), ax=ax),
        lambda ax: plot.membrane(np.ones((3, 9)), ax=ax),
        lambda ax: plot.weights(np.eye(3), ax=ax),
        lambda ax: plot.training([EPOCH], ax=ax),
    ],
    ids=["raster", "membrane", "panels", "weights", "training"],
)
def test_ax_is_used_and_returned(draw):
    _, ax = plt.subplots()
    before = plt.get_fignums()
    assert draw(ax) is ax
    assert plt.get_fignums() == before
    assert draw(None) is not ax


EPOCH = {"epoch": 1, "loss": 2.0, "accuracy_train": 0.5, "accuracy_validation": 0.4, "firing_rate": 0.2, "seconds": 3}


def test_training_draws_percent_on_the_left_and_loss_on_the_right():
    ax = plot.training([EPOCH, EPOCH | {"epoch": 2, "loss": 1.0, "accuracy_validation": 0.985}])
    left = {line.get_label(): list(line.get_ydata()) for line in ax.get_lines()}
    assert left == {
        "accuracy, train": [50.0, 50.0],
        "accuracy, validation": [40.0, 98.5],
        "firing rate": [20.0, 20.0],
    }
    [right] = [other for other in ax.figure.axes if other is not ax]
    assert list(right.get_lines()[0].get_ydata()) == [2.0, 1.0]
    assert ax.get_title() == "accuracy 98.5 % (validation) after 2 epochs"
    assert len(ax.get_legend().get_texts()) == 4
    looks = [(line.get_linestyle(), line.get_marker()) for line in [*ax.get_lines(), *right.get_lines()]]
    assert len({look[0] for look in looks}) == len({look[1] for look in looks}) == 4


def test_training_without_validation():
    ax = plot.training([{key: value for key, value in EPOCH.items() if key != "accuracy_validation"}])
    assert [line.get_label() for line in ax.get_lines()] == ["accuracy, train", "firing rate"]
    assert ax.get_title() == "accuracy 50.0 % (train) after 1 epoch"


def test_the_front_of_two_costs():
    costs = {"bytes": [100, 200, 300, 400], "operations": [9, 5, 7, 1]}
    accuracy = [0.9, 0.95, 0.99, 0.8]
    figure = plot.pareto(costs, accuracy, front=[0, 1, 2, 3], names=list("abcd"), lines={"bytes": {"bound": 250.0}})
    left, right = figure.axes
    assert (left.get_xlabel(), left.get_ylabel(), right.get_ylabel()) == ("bytes", "errors, %", "")
    steps = [[round(y, 6) for y in ax.get_lines()[0].get_ydata()] for ax in (left, right)]
    assert steps == [[10.0, 5.0, 1.0], [20.0, 5.0, 1.0]]  # d costs more bytes than a and errs more
    assert [text.get_text() for text in right.texts] == ["d", "b", "c"]
    assert [list(line.get_xdata()) for line in left.get_lines()[1:]] == [[250.0, 250.0]]
    assert len(right.get_lines()) == 1
    assert plot.pareto({"bytes": [1]}, [1.0], front=[0]).axes[0].get_lines()[0].get_ydata()[0] == 0.01


def test_errors():
    with pytest.raises(PlotError, match=r"plot.raster: spikes must be numbers \[T, N\] or \[T, B, N\] and not empty"):
        plot.raster(np.ones(3))
    with pytest.raises(PlotError, match=r"got float64 of shape \[0, 3\]"):
        plot.raster(np.ones((0, 3)))
    with pytest.raises(PlotError, match=r"sample must be in 0..3 for spikes, got 4"):
        plot.raster(np.ones((5, 4, 3)), sample=4)
    with pytest.raises(PlotError, match=r"steps must be a:b with 0 <= a < b and a < 5, got \(5, 9\)"):
        plot.raster(np.ones((5, 3)), steps=(5, 9))
    with pytest.raises(PlotError, match=r"neurons must be in 0..2, got \[1, 3\]"):
        plot.raster(np.ones((5, 3)), neurons=[1, 3])
    with pytest.raises(PlotError, match="dt must be the seconds of a step, above 0, got 0"):
        plot.raster(np.ones((5, 3)), dt=0)
    with pytest.raises(PlotError, match="layers must name at least one layer, got none"):
        plot.raster_layers({})
    with pytest.raises(PlotError, match=r"same number of steps, got {'a': 3, 'b': 4, 'input': 5}"):
        plot.raster_layers({"a": np.eye(3), "b": np.eye(4)}, input=np.eye(5))
    with pytest.raises(PlotError, match=r"layers must be among a, got b"):
        plot.raster_layers({"a": np.eye(3)}, only=["b"])
    with pytest.raises(PlotError, match=r"must have the same layers, a, got b"):
        plot.raster_layers({"a": np.eye(3)}, {"b": np.eye(3)})
    with pytest.raises(PlotError, match=r"a: two rasters must have one shape, got \[3, 3\] and \[3, 4\]"):
        plot.raster_layers({"a": np.eye(3)}, {"a": np.ones((3, 4))})
    with pytest.raises(PlotError, match=r"input_shape \(2, 2\) does not hold the 3 values"):
        plot.raster_layers({"a": np.eye(3)}, input=np.eye(3), input_shape=(2, 2))
    with pytest.raises(PlotError, match=r"holds no spikes, only readout.y"):
        plot.raster_layers(Recording({"readout.y": np.zeros((3, 1, 2), dtype=np.int32)}, "numpy"))
    with pytest.raises(PlotError, match=r"end in .png, .pdf, .svg, .jpg or .webp"):
        plot.save(plot.raster(np.eye(3)).figure, "raster.bmp")
    plt.close("all")
    with pytest.raises(PlotError, match="metrics must hold at least one epoch, got none"):
        plot.training([])
    with pytest.raises(PlotError, match=r"each epoch must have \['firing_rate', 'loss'\], got the keys"):
        plot.training([{"epoch": 1, "accuracy_train": 0.1}])
    with pytest.raises(PlotError, match=r"bytes must be 2 numbers above 0, got \[0, 1\]"):
        plot.pareto({"bytes": [0, 1]}, [0.1, 0.2], front=[])
    with pytest.raises(PlotError, match="needs a cost and a network, got 0 and 1"):
        plot.pareto({}, [0.1], front=[])
    assert plt.get_fignums() == []  # an error leaves no figure behind


def test_a_notebook_stays_interactive_where_its_first_figure_is_made_in_the_style():
    """The backend of notebooks turns this on when it is loaded; turned off again, no later figure was shown."""
    assert not mpl.is_interactive()
    try:
        with plot.style.use():
            mpl.interactive(True)
        assert mpl.is_interactive()
    finally:
        mpl.interactive(False)


def test_the_style_ends_where_it_is_left():
    before = mpl.rcParams["axes.spines.top"], mpl.rcParams["font.size"]
    with plot.style.use(small=True):
        assert (mpl.rcParams["axes.spines.top"], mpl.rcParams["font.size"]) == (False, 8.0)
        looks = list(mpl.rcParams["axes.prop_cycle"])
        assert len({look["color"] for look in looks}) == len({str(look["linestyle"]) for look in looks}) == 6
    assert (mpl.rcParams["axes.spines.top"], mpl.rcParams["font.size"]) == before


def test_names_are_those_of_pnbx_plot():
    assert plot.__all__ == pnbx_plot.__all__
    assert all(getattr(plot, name) is getattr(pnbx_plot, name) for name in plot.__all__)
