"""Every spike is in the picture, at every size: in boxes, in pixels, dense and as events."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pnbx_plot.arrays import Events
from pnbx_plot.grid import Spikes, boxes, counts, shades


def random_spikes(steps, neurons, rate=0.2, seed=0):
    return (np.random.default_rng(seed).random((steps, neurons)) < rate).astype(np.uint8)


def as_events(array):
    steps, neurons = np.nonzero(array)
    order = np.random.default_rng(1).permutation(len(steps))
    return Events(steps[order], neurons[order], array.shape, array[steps, neurons][order])


@given(st.integers(1, 300), st.integers(1, 200), st.data())
def test_boxes_hold_every_seen_cell_once_and_every_box_is_shown(count, pixels, data):
    low = data.draw(st.floats(-20, count - 1)) if count > 1 else -0.5
    high = low + data.draw(st.floats(1, count + 30))
    starts, place = boxes(low, high, count, pixels)
    centres = np.arange(count)
    seen = centres[(centres >= low + 1e-6) & (centres < high - 1e-6)]
    if len(seen):
        assert starts[0] <= seen[0]
        assert starts[-1] > seen[-1]
    assert (np.diff(starts) > 0).all() or not len(seen)
    assert len(place) == pixels
    whole = high - low >= pixels  # several cells a pixel: every box has one
    assert not whole or set(place[place >= 0]) == set(range(len(starts) - 1))
    assert place.max() < max(1, len(starts) - 1)


@pytest.mark.parametrize("shape", [(1, 1), (8, 3), (3, 700), (500, 2), (640, 480), (1000, 2000)])
def test_every_single_spike_is_drawn(shape):
    for step, neuron in {(0, 0), (shape[0] - 1, shape[1] - 1), (shape[0] // 2, shape[1] // 3)}:
        spikes = np.zeros(shape, dtype=np.uint8)
        spikes[step, neuron] = 1
        shade = shades(Spikes(spikes), (-0.5, shape[0] - 0.5), (-0.5, shape[1] - 0.5), 620, 300)
        assert shade.max() == 1.0
        row, column = (axis.mean() for axis in np.nonzero(shade))
        assert abs((column + 0.5) / 620 * shape[0] - 0.5 - step) < max(0.5, 2 * shape[0] / 620)
        assert abs((row + 0.5) / 300 * shape[1] - 0.5 - neuron) < max(0.5, 2 * shape[1] / 300)


def test_a_lone_spike_among_ten_thousand_million_is_a_dot_of_three_by_three():
    events = Events(np.array([31_234]), np.array([77_777]), (100_000, 100_000))
    shade = shades(Spikes(events), (-0.5, 99_999.5), (-0.5, 99_999.5), 600, 300)
    assert (shade == 1.0).sum() == 9
    assert (shade > 0).sum() == 9


def test_dense_rasters_show_how_dense():
    """Half of the neurons spike in 40 % of the steps, the others in 10 %: darker, and neither white nor black."""
    spikes = random_spikes(4000, 2000, 0.1)
    spikes[:, :1000] = random_spikes(4000, 1000, 0.4)
    shade = shades(Spikes(spikes), (-0.5, 3999.5), (-0.5, 1999.5), 400, 200)
    dark, light = shade[:100].mean(), shade[100:].mean()
    assert 0.4 < light < dark - 0.2 < 0.8
    everything = shades(Spikes(np.ones((4000, 2000))), (-0.5, 3999.5), (-0.5, 1999.5), 400, 200)
    assert (everything == 1.0).all()


def test_marks_of_one_size_with_gaps_where_cells_are_large():
    shade = shades(Spikes(np.ones((3, 2))), (-0.5, 2.5), (-0.5, 1.5), 60, 30)
    assert sorted(set(shade.ravel())) == [0.0, 1.0]
    assert shade[:, 10].sum() == 2 * 12
    assert shade[7].sum() == 3 * 11
    narrow = shades(Spikes(np.ones((40, 20))), (-0.5, 39.5), (-0.5, 19.5), 60, 30)
    assert narrow.sum() == 40 * 20  # cells of 1.5 pixels: one pixel each, never two


def test_a_view_shows_what_is_inside_it():
    spikes = np.zeros((100, 50), dtype=np.uint8)
    spikes[40, 20] = spikes[90, 20] = 1
    shade = shades(Spikes(spikes), (35.5, 45.5), (15.5, 25.5), 100, 100)
    rows, columns = np.nonzero(shade)
    assert (columns // 10 == 4).all()
    assert (rows // 10 == 4).all()
    assert len(rows) > 0


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 20), st.integers(1, 20))
def test_events_and_dense_arrays_give_the_same_counts_and_pixels(steps, neurons, wide, high):
    dense = random_spikes(steps, neurons, 0.3)
    rows = np.unique(np.linspace(0, steps, wide + 1).astype(int))
    columns = np.unique(np.linspace(0, neurons, high + 1).astype(int))
    one, other = (counts(Spikes(values), rows, columns) for values in (dense, as_events(dense)))
    assert np.array_equal(one, other)
    assert one.sum() == dense.sum()
    view = ((-0.5, steps - 0.5), (-0.5, neurons - 0.5), 37, 23)
    assert np.array_equal(shades(Spikes(dense), *view), shades(Spikes(as_events(dense)), *view))


def test_rates_and_cuts_are_the_same_of_events_and_dense_arrays():
    dense = random_spikes(30, 12) * np.array([1, 2, 1, 1, 0, 1, 1, 1, 1, 1, 1, 3], dtype=np.uint8)
    for values in (dense, as_events(dense)):
        spikes = Spikes(values)
        assert spikes.count == np.count_nonzero(dense)
        assert np.allclose(spikes.rate_of_steps(), (dense != 0).mean(axis=1))
        assert np.allclose(spikes.rate_of_neurons(), (dense != 0).mean(axis=0))
        part = spikes.cut((5, 20), np.array([3, 1, 11]))
        assert part.shape == (15, 3)
        assert part.first_step == 5
        cut = dense[5:20, [3, 1, 11]]
        for got, expected in zip(part.events, (*np.nonzero(cut), cut[cut != 0]), strict=True):
            assert np.array_equal(got, expected)
