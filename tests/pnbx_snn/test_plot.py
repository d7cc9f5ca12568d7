"""Pictures: what is drawn where, torch and NumPy alike, on the Axes asked for; errors."""

import matplotlib as mpl
import numpy as np
import pytest
import torch

from pnbx_snn import plot
from pnbx_snn.errors import PnbxValueError, ShapeError

mpl.use("Agg")
from matplotlib import pyplot as plt


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def boxes(ax):
    """The centres of the spikes drawn, as (step, neuron)."""
    [collection] = ax.collections
    return sorted(tuple(np.round(path.vertices[:4].mean(axis=0), 6)) for path in collection.get_paths())


def pixels(figure):
    figure.canvas.draw()
    return np.asarray(figure.canvas.buffer_rgba())


def random_spikes(steps, neurons, seed=0):
    return (np.random.default_rng(seed).random((steps, neurons)) < 0.2).astype(np.float32)


def test_raster_draws_each_spike_at_its_step_and_neuron():
    spikes = random_spikes(8, 5)
    ax = plot.raster(spikes, title="layer 1")
    assert boxes(ax) == sorted((float(t), float(n)) for t, n in np.argwhere(spikes))
    assert ax.get_title() == f"layer 1: 5 neurons, firing rate {100 * spikes.mean():.1f} %"
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "neuron")
    assert ax.get_xlim() == (-0.5, 7.5)
    assert ax.get_ylim() == (-0.5, 4.5)
    assert all(tick == int(tick) for tick in [*ax.get_xticks(), *ax.get_yticks()])


def test_a_layer_of_thousands_is_not_drawn_as_if_all_of_it_fired():
    spikes = random_spikes(4, 2047)
    spikes[0, :300] = 1
    ax = plot.raster(spikes)
    [image] = ax.images
    shares = image.get_array()  # [group, step]
    assert shares.shape == (410, 4)
    assert np.allclose(shares[3], spikes[:, 15:20].mean(axis=1))
    assert np.allclose(shares[-1], spikes[:, 2045:].mean(axis=1))  # what is left over
    assert image.get_extent()[2:] == [-0.5, 2049.5]
    assert ax.get_ylim() == (-0.5, 2046.5)
    inside = pixels(ax.figure)[100:200, 200:400, :3]
    assert inside.mean() > 128


@pytest.mark.parametrize("shape", [(1, 1), (3, 700), (500, 2), (64, 64)])
def test_a_single_spike_can_be_seen_at_any_size(shape):
    spikes = np.zeros(shape)
    ax = plot.raster(spikes)
    blank = pixels(ax.figure).copy()
    spikes[shape[0] // 2, shape[1] // 2] = 1
    plot.raster(spikes, ax=ax)
    darkest = 255 * 3 - pixels(ax.figure)[..., :3].astype(int).sum(axis=-1)
    different = (pixels(ax.figure) != blank).any(axis=-1)
    inside = ax.get_window_extent()
    height = pixels(ax.figure).shape[0]
    rows = slice(height - int(inside.y1) + 1, height - int(inside.y0) - 1)
    columns = slice(int(inside.x0) + 2, int(inside.x1))
    assert different[rows, columns].any()
    assert darkest[rows, columns][different[rows, columns]].max() > 200


def test_a_silent_layer_is_drawn_empty():
    ax = plot.raster(np.zeros((4, 3)))
    assert boxes(ax) == []
    assert ax.get_title() == "3 neurons, firing rate 0.0 %"


@pytest.mark.parametrize(
    "draw",
    [
        plot.raster,
        lambda spikes, **options: plot.membrane(spikes, threshold=0.5, spikes=spikes, **options),
        lambda spikes, **options: plot.raster_layers({"a": spikes}, input=spikes),
    ],
    ids=["raster", "membrane", "raster_layers"],
)
def test_torch_and_numpy_give_the_same_picture(draw):
    spikes = random_spikes(9, 4)
    of_numpy, of_torch = (getattr(drawn, "figure", drawn) for drawn in (draw(spikes), draw(torch.tensor(spikes))))
    assert np.array_equal(pixels(of_numpy), pixels(of_torch))
    draw(torch.tensor(spikes, requires_grad=True))
    draw(spikes.astype(bool)) if draw is plot.raster else None


@pytest.mark.parametrize(
    "draw",
    [
        lambda ax: plot.raster(np.eye(3), ax=ax),
        lambda ax: plot.membrane(np.ones(3), ax=ax),
        lambda ax: plot.training([EPOCH], ax=ax),
    ],
    ids=["raster", "membrane", "training"],
)
def test_ax_is_used_and_returned(draw):
    _, ax = plt.subplots()
    before = plt.get_fignums()
    assert draw(ax) is ax
    assert plt.get_fignums() == before
    assert draw(None) is not ax


def test_layers_share_the_time_axis_in_the_order_given():
    layers = {"layer 1": random_spikes(6, 20), "layer 2": random_spikes(6, 3)}
    figure = plot.raster_layers(layers, input=np.linspace(0, 1, 12).reshape(6, 2), title="image 7")
    titles = [ax.get_title() for ax in figure.axes]
    assert titles[0] == "input: 2 values, from 0 (white) to 1 (black)"
    assert [title.split(":")[0] for title in titles[1:]] == ["layer 1", "layer 2"]
    assert {ax.get_xlim() for ax in figure.axes} == {(-0.5, 5.5)}
    assert [ax.get_xlabel() for ax in figure.axes] == ["", "", "step"]
    assert figure.get_suptitle() == "image 7"
    places = [ax.get_position().y0 for ax in figure.axes]
    assert places == sorted(places, reverse=True)


def test_constant_and_spiking_inputs_are_told_apart():
    layer = {"layer 1": random_spikes(6, 3)}
    constant = plot.raster_layers(layer, input=np.tile([0.25, 0.75], (6, 1)))
    assert constant.axes[0].get_title() == "input: 2 values, constant over time, from 0.25 (white) to 0.75 (black)"
    spiking = plot.raster_layers(layer, input=random_spikes(6, 4))
    assert spiking.axes[0].get_title().startswith("input: 4 neurons, firing rate")


def test_membrane_draws_curves_threshold_and_spikes_above():
    v = np.array([[0.2, 0.1], [0.9, 0.3], [0.0, 0.5], [0.6, 0.0]])
    spikes = np.array([[0, 0], [0, 0], [1, 0], [0, 1]])
    ax = plot.membrane(v, threshold=1.0, spikes=spikes)
    curves = ax.get_lines()
    assert np.array_equal(np.stack([curve.get_ydata() for curve in curves[:2]], axis=1), v)
    assert curves[2].get_ydata() == [1.0, 1.0]
    ticks = [collection.get_segments() for collection in ax.collections]
    assert [[segment[0][0] for segment in neuron] for neuron in ticks] == [[2.0], [3.0]]
    assert all(segment[:, 1].min() > 1.0 for neuron in ticks for segment in neuron)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == ["neuron 0", "neuron 1", "threshold", "spike"]
    assert (ax.get_xlabel(), ax.get_ylabel()) == ("step", "membrane potential v")


def test_membrane_of_one_quiet_neuron_needs_no_legend():
    ax = plot.membrane(torch.zeros(5), spikes=torch.zeros(5))
    assert ax.get_xlim() == (-0.5, 4.5)
    assert plot.membrane(torch.zeros(5)).get_legend() is None


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


def test_training_without_validation():
    ax = plot.training([{key: value for key, value in EPOCH.items() if key != "accuracy_validation"}])
    assert [line.get_label() for line in ax.get_lines()] == ["accuracy, train", "firing rate"]
    assert ax.get_title() == "accuracy 50.0 % (train) after 1 epoch"


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16, torch.float32, torch.float64, torch.bool, torch.int8])
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
    assert plot.raster(spikes).get_title() == "4 neurons, firing rate 25.0 %"
    plot.raster_layers({"layer": spikes}, input=spikes)
    ax = plot.membrane(spikes, spikes=spikes, threshold=torch.tensor(0.75, requires_grad=True))
    assert [line.get_ydata()[0] for line in ax.lines].count(0.75) == 1
    plt.close("all")


def test_a_threshold_per_neuron_is_no_line():
    with pytest.raises(ShapeError, match=r"plot.membrane: threshold must be one number, got shape \[2\]"):
        plot.membrane(torch.ones(3, 2), threshold=torch.ones(2))


def test_errors():
    with pytest.raises(ShapeError, match=r"plot.raster: spikes must be \[T, N\] and not empty, got shape \[3\]"):
        plot.raster(np.ones(3))
    with pytest.raises(ShapeError, match=r"got shape \[0, 3\]"):
        plot.raster(np.ones((0, 3)))
    with pytest.raises(PnbxValueError, match="layers must name at least one layer, got none"):
        plot.raster_layers({})
    with pytest.raises(ShapeError, match=r"same number of steps, got {'a': 3, 'b': 4, 'input': 5}"):
        plot.raster_layers({"a": np.eye(3), "b": np.eye(4)}, input=np.eye(5))
    with pytest.raises(ShapeError, match=r"plot.membrane: v must be \[T\] or \[T, N\] and not empty"):
        plot.membrane(np.ones((2, 2, 2)))
    with pytest.raises(ShapeError, match=r"spikes must have the shape of v, \[3\], got \[4\]"):
        plot.membrane(np.ones(3), spikes=np.ones(4))
    with pytest.raises(PnbxValueError, match="metrics must hold at least one epoch, got none"):
        plot.training([])
    with pytest.raises(PnbxValueError, match=r"each epoch must have \['firing_rate', 'loss'\], got the keys"):
        plot.training([{"epoch": 1, "accuracy_train": 0.1}])
    assert plt.get_fignums() == []  # an error leaves no figure behind
