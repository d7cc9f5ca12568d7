"""Every test runs with the tensor annotations of ``pnbx_snn`` checked, and may ask for Lava."""

import os

from hypothesis import settings
from jaxtyping import install_import_hook

install_import_hook("pnbx_snn", "beartype.beartype")
# A busy machine is no failure; CI draws the same examples every time, a user's machine new ones.
settings.register_profile("pnbx", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("pnbx")

from lava_fixtures import lava_processes, lava_python, lava_session  # noqa: E402, F401
