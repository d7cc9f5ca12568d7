"""Membranes with threshold and spikes, one Axes or small panels; weights as mosaics, tiles and shades."""

import matplotlib as mpl
import numpy as np
import pytest
import torch

from neuromorphic import Recording
from pnbx_plot import PlotError
from pnbx_snn import plot

mpl.use("Agg")
from matplotlib import pyplot as plt


@pytest.fixture(autouse=True)
def close_figures():
    yield
    plt.close("all")


def test_membrane_draws_curves_threshold_and_spikes_above():
    v = np.array([[0.2, 0.1], [0.9, 0.3], [0.0, 0.5], [0.6, 0.0]])
    spikes = np.array([[0, 0], [0, 0], [1, 0], [0, 1]])
    ax = plot.membrane(v, threshold=1.0, spikes=spikes)
    curves = ax.get_lines()
    assert np.array_equal(np.stack([curve.get_ydata() for curve in curves[:2]], axis=1), v)
    assert curves[0].get_linestyle() != curves[1].get_linestyle()
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


def test_more_than_six_neurons_are_small_panels_with_one_scale():
    v = np.arange(40.0).reshape(5, 8)
    spikes = np.zeros((5, 8))
    spikes[3, 6] = 1
    ax = plot.membrane(v, threshold=np.arange(8.0), spikes=spikes, steps=(1, 5), dt=1e-3)
    panels = ax.child_axes
    assert [panel.texts[0].get_text().split()[-1] for panel in panels] == list("01234567")
    assert [list(panel.lines[0].get_ydata()) for panel in panels] == v[1:].T.tolist()
    assert [panel.lines[1].get_ydata()[0] for panel in panels] == list(range(8))
    assert len({panel.get_ylim() for panel in panels}) == 1
    assert [len(panel.collections[0].get_segments()) for panel in panels] == [0, 0, 0, 0, 0, 0, 1, 0]
    assert panels[6].collections[0].get_segments()[0][0][0] == 3.0
    assert ax.get_xlabel() == "time in ms"


def test_membranes_of_a_recording_are_of_the_neurons_that_spike_most():
    spikes = np.zeros((10, 2, 9), dtype=np.uint8)
    for neuron in range(9):
        spikes[:neuron, 1, neuron] = 1
    v = np.arange(180, dtype=np.int32).reshape(10, 2, 9)
    told = Recording({"lif.spikes": spikes, "lif.v": v, "readout.y": v}, "numpy")
    ax = plot.membrane(told, sample=1)
    labels = [text.get_text() for text in ax.get_legend().get_texts()]
    assert labels == [*(f"neuron {neuron}" for neuron in range(3, 9)), "spike"]
    assert list(ax.lines[0].get_ydata()) == v[:, 1, 3].tolist()
    assert ax.get_title() == "lif"
    one = plot.membrane(told, sample=0, layer="lif", neurons=[4])
    assert list(one.lines[0].get_ydata()) == v[:, 0, 4].tolist()


def test_membrane_errors():
    with pytest.raises(PlotError, match=r"v must be numbers \[T\], \[T, N\] or \[T, B, N\] and not empty"):
        plot.membrane(np.ones(()))
    with pytest.raises(PlotError, match=r"spikes must have the shape of v, \[3, 1\], got \[4, 1\]"):
        plot.membrane(np.ones(3), spikes=np.ones(4))
    with pytest.raises(PlotError, match=r"threshold must be one number or one for each of 2 neurons, got 3"):
        plot.membrane(torch.ones(3, 2), threshold=torch.ones(3))
    with pytest.raises(PlotError, match="at most 60 neurons can be drawn, got 61"):
        plot.membrane(np.ones((3, 61)))
    spikes = np.zeros((2, 1, 1), dtype=np.uint8)
    with pytest.raises(PlotError, match="layer= must name one of a, got b"):
        plot.membrane(Recording({"a.spikes": spikes, "a.v": spikes}, "numpy"), layer="b")
    threshold = torch.tensor(0.75, requires_grad=True)
    assert plot.membrane(torch.eye(4), threshold=threshold).lines[-1].get_ydata()[0] == 0.75


def test_a_ternary_matrix_is_a_mosaic_with_its_shares():
    weight = np.array([[1, 0, -1], [1, 1, 0]]) * 0.25
    ax = plot.weights(torch.tensor(weight), title="fc")
    assert ax.get_title() == "fc: 2 × 3 weights: -1 16.7 %, 0 33.3 %, 1 50.0 %, times 0.25"
    [image] = ax.images
    assert np.array_equal(image.get_array(), weight)
    assert (image.norm.vmin, image.norm.vmax) == (-0.25, 0.25)
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["-1", "0", "1"]
    ax.figure.canvas.draw()
    rgb = [image.cmap(image.norm(value))[:3] for value in (-0.25, 0.0, 0.25)]
    grey = [np.dot(color, (0.299, 0.587, 0.114)) for color in rgb]
    assert grey[1] > grey[0] + 0.3 > grey[2] + 0.45  # told apart in black and white


def test_kernels_are_tiles():
    kernels = np.random.default_rng(0).choice([-1, 0, 1], (3, 2, 2, 2))
    ax = plot.weights(kernels)
    picture = ax.images[0].get_array()
    assert picture.shape == (3 * 3 - 1, 2 * 3 - 1)
    assert np.array_equal(picture[3:5, 3:5], kernels[1, 1])
    assert np.ma.getmaskarray(picture)[2].all()
    single = plot.weights(np.ones((12, 1, 5, 5))).images[0].get_array()
    assert single.shape == (3 * 6 - 1, 5 * 6 - 1)


def test_other_weights_are_shades_with_a_scale():
    ax = plot.weights(np.array([[0.5, -1.5], [0.2, 0.0]]))
    assert ax.get_title() == "2 × 2 weights, from -1.5 to 0.5"
    assert len(ax.figure.axes) == 2
    assert plot.weights(np.zeros((2, 2))).get_title() == "2 × 2 weights: -1 0.0 %, 0 100.0 %, 1 0.0 %"
    with pytest.raises(PlotError, match=r"weight must be finite, \[out, in\] or .* got shape \[3\]"):
        plot.weights(np.ones(3))
    with pytest.raises(PlotError, match="must be finite"):
        plot.weights(np.array([[np.nan]]))
