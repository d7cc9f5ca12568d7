"""Every test runs with the tensor annotations of ``pnbx_snn`` checked."""

from jaxtyping import install_import_hook

install_import_hook("pnbx_snn", "beartype.beartype")
