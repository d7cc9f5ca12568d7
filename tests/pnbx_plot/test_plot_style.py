"""The look of figures leaves what is not its own."""

import matplotlib as mpl

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
