"""The ``neuromorphic`` command: compile a trained run, look at a program, run it, verify it, set up Lava."""

from neuromorphic.cli import machine, pictures, programs, running  # noqa: F401 (in this order in --help)
from neuromorphic.cli.app import app, main

__all__ = ["app", "main"]
