"""One function for everything that can be compiled."""

from __future__ import annotations

import inspect
import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor, nn

from neuromorphic.compiler.layers import compile_layers
from neuromorphic.compiler.modules.programs import compile_module
from neuromorphic.compiler.nir.graphs import compile_nir
from neuromorphic.compiler.runs import compile_model, compile_run
from neuromorphic.compiler.samples import NETWORKS
from neuromorphic.errors import CompileError
from neuromorphic.formats.netx import read_netx
from neuromorphic.formats.xylo import read_xylo
from neuromorphic.program import Program


def compile(x: Any, sample: Tensor | None = None, **options: Any) -> Program:  # noqa: A001 (as re.compile is called)
    """Compile a trained network, whatever it is written in, to an integer program.

    Parameters
    ----------
    x
        What to compile, with the function that does it, whose options it takes:

        - the folder of a run of ``pnbx-snn train``, or the ``.safetensors`` file of ``pnbx-snn pack``:
          :func:`~neuromorphic.compiler.compile_run`, ``part``, ``data``;
        - a :class:`pnbx_snn.PNBX`, :class:`pnbx_snn.SpikingClassifier` or :class:`pnbx_snn.SpikingConvNet`:
          :func:`~neuromorphic.compiler.compile_model`, ``num_steps``, ``glia_period``;
        - any other ``nn.Module``, of snnTorch, Norse or ``pnbx_snn``, with a ``sample``:
          :func:`~neuromorphic.compiler.compile_module`, ``num_steps``, ``dt``, ``input_scale``, ``weight_bits``;
        - a ``nir.NIRGraph`` or a ``.nir`` or ``.h5`` file: :func:`~neuromorphic.compiler.compile_nir`, ``num_steps``,
          ``dt``, ``input_scale``, ``weight_bits``, ``reset``;
        - a ``.net`` file of lava-dl: :func:`~neuromorphic.formats.netx.read_netx`, ``num_steps``,
          ``layer_steps``;
        - a ``.json`` file of Xylo: :func:`~neuromorphic.formats.xylo.read_xylo`, ``num_steps``;
        - a sequence of ``(linear, norm, neuron)``: :func:`~neuromorphic.compiler.compile_layers`, ``readout``,
          ``num_steps``.
    sample : Tensor, optional
        Of a module: what it is called with, such as ``[T, B, N]``. The program is compared with the network on it.
    **options
        Of the function that compiles it.

    Returns
    -------
    Program
        Bit for bit the same on every executor. ``metadata["assumptions"]`` says what was assumed, and
        ``metadata["agreement"]``, of a run or a module, how near it is to the network.

    Raises
    ------
    CompileError
        When it cannot be compiled, or an option is not one of what is compiled.

    Examples
    --------
    >>> import pnbx_snn, torch
    >>> _ = torch.manual_seed(0)
    >>> net = torch.nn.Sequential(torch.nn.Linear(4, 3), pnbx_snn.LIF(beta=0.9))
    >>> program = compile(net, (torch.rand(10, 2, 4) < 0.5).float())
    >>> [type(op).__name__ for op in program.ops]
    ['Input', 'Dense', 'LIF']
    """
    what, compiler = _compiler_of(x)
    given = options if sample is None else {"sample": sample, **options}
    allowed = list(inspect.signature(compiler).parameters.values())[1:]
    names = [option.name for option in allowed]
    for name in given:
        if name not in names:
            raise CompileError(f"compile: {name} is no option of {what}, which takes {', '.join(names)}")
    missing = [option.name for option in allowed if option.default is option.empty and option.name not in given]
    if missing:
        raise CompileError(f"compile: {what} needs {' and '.join(missing)}")
    return compiler(x, **given)


def _compiler_of(x: Any) -> tuple[str, Callable[..., Program]]:
    """Return what it is, in words, and the function that compiles it."""
    if isinstance(x, (str, os.PathLike)):
        return _reader_of(Path(x))
    if isinstance(x, NETWORKS):
        return f"a {type(x).__name__}", compile_model
    if isinstance(x, nn.Module):
        return f"the module {type(x).__name__}", compile_module
    if "nir" in sys.modules and isinstance(x, sys.modules["nir"].NIRGraph):
        return "a NIR graph", compile_nir
    if isinstance(x, Program):
        raise CompileError("compile: already a program, which runs as it is")
    if isinstance(x, (list, tuple)):
        return "a sequence of layers", compile_layers
    raise CompileError(
        "compile: takes the folder of a run, a .safetensors, .nir, .h5, .net or .json file, an nn.Module, a "
        f"nir.NIRGraph or a sequence of (linear, norm, neuron), got {type(x).__name__}"
    )


def _reader_of(path: Path) -> tuple[str, Callable[..., Program]]:
    suffix = path.suffix.lower()
    if path.is_dir() or suffix in ("", ".safetensors"):
        return f"the run {path}", compile_run
    if suffix in (".nir", ".h5"):
        return f"the NIR graph {path}", compile_nir
    if suffix == ".net":
        return f"the netx file {path}", read_netx
    if suffix == ".json":
        return f"the specification of Xylo {path}", read_xylo
    if suffix == ".npz":
        raise CompileError(f"compile: {path} is already a program: neuromorphic.load reads it")
    raise CompileError(
        f"compile: {path} must be the folder of a run or a .safetensors, .nir, .h5, .net or .json file, got {suffix!r}"
    )
