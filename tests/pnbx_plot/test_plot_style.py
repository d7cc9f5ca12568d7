"""The look of figures leaves what is not its own."""

import matplotlib as mpl
from matplotlib import pyplot as plt

from pnbx_plot import style


def test_a_backend_that_turns_interactive_drawing_on_is_left_on():
    """A notebook's does so with the first figure; turned off again, no later figure of the notebook is shown."""
    before = mpl.is_interactive()
    try:
        mpl.interactive(False)
        with style.use():
            mpl.interactive(True)
        assert mpl.is_interactive()
    finally:
        mpl.interactive(before)


def test_the_backend_in_use_is_loaded_before_another_stands_in_for_it(monkeypatch):
    """A notebook's, loaded only when it comes back, would not be set up: no figure of the notebook would be shown."""
    before, switched = mpl.get_backend(), []
    monkeypatch.setattr(plt, "switch_backend", switched.append)
    with style.without_display():
        assert switched == [before, "agg"]
    assert switched == [before, "agg", before]


def test_figures_of_the_user_stay_open():
    """`pnbx.train` draws for TensorBoard; a script's own figures are saved after it."""
    plt.close("all")
    mine = plt.figure()
    with style.without_display():
        plt.figure()
    assert plt.get_fignums() == [mine.number]
    plt.close(mine)
