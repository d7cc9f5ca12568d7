"""The ``neuromorphic`` command: compile a trained run, look at a program, run it, verify it, set up Lava."""

from neuromorphic.cli import compiling, machine, pictures, programs, running, samples  # noqa: F401 (they register)
from neuromorphic.cli.app import app, main

__all__ = ["app", "main"]
