"""A trained network to an integer program. The only place here that sees torch and ``pnbx_snn``."""

from neuromorphic.compiler.layers import compile_layers
from neuromorphic.compiler.runs import compile_model, compile_run, measure_agreement

__all__ = ["compile_layers", "compile_model", "compile_run", "measure_agreement"]
