"""A trained network to an integer program. The only place here that sees torch and ``pnbx_snn``.

Importing it raises a :class:`~neuromorphic.errors.MissingPackageError` where torch is not installed.
"""

import pnbx_extras
from neuromorphic.errors import MissingPackageError

if _missing := pnbx_extras.missing("train", "neuromorphic.compiler"):
    raise MissingPackageError(_missing)

from neuromorphic.compiler.dispatch import compile  # noqa: A004
from neuromorphic.compiler.layers import compile_layers
from neuromorphic.compiler.modules.graphs import graph_of
from neuromorphic.compiler.modules.programs import compile_module
from neuromorphic.compiler.nir.export import save_nir, to_nir
from neuromorphic.compiler.nir.graphs import compile_nir
from neuromorphic.compiler.runs import compile_model, compile_run, measure_agreement
from neuromorphic.compiler.samples import RunSamples, run_samples

__all__ = [
    "RunSamples",
    "compile",
    "compile_layers",
    "compile_model",
    "compile_module",
    "compile_nir",
    "compile_run",
    "graph_of",
    "measure_agreement",
    "run_samples",
    "save_nir",
    "to_nir",
]
