"""The ``pnbx-snn`` command: train a spiking classifier, measure it, look at it.

A command imports torch, and what stands on it, only after its arguments are known to be right.
"""

from pnbx_snn.cli import training, search, watch, pictures, measuring, files  # noqa: F401, I001 (in this order in --help)
from pnbx_snn.cli.app import app, main

__all__ = ["app", "main"]
