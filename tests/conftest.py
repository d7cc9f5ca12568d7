"""Every test runs with the tensor annotations of ``pnbx_snn`` checked, and may ask for Lava."""

from jaxtyping import install_import_hook

install_import_hook("pnbx_snn", "beartype.beartype")

from lava_fixtures import lava_processes, lava_python, lava_session  # noqa: E402, F401
