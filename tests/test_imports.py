"""What importing the library takes with it: nothing that costs seconds and few need."""

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import pnbx_snn
from pnbx_snn import plot
from pnbx_snn.neurons.lif import LIF
from pnbx_snn.training import checkpoint, evaluate, run

COSTLY = {
    "torch._dynamo",
    "torch._inductor",
    "triton",
    "numba",
    "norse",
    "matplotlib",
    "tonic",
    "accelerate",
    "pydantic",
}


def test_import_leaves_out_what_takes_seconds():
    """torch.compiler.assume_constant_result imported torch._dynamo: 3 s more than torch itself."""
    code = f"""
import sys, pnbx_snn
late = {{"torch", "numpy"}} & set(sys.modules)
for name in set(pnbx_snn.__all__) - {{"train", "load_run", "evaluate"}}:
    getattr(pnbx_snn, name)
print(*sorted({COSTLY} & set(sys.modules) | late))
"""
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.split() == []


def test_names_are_found_where_they_are_written_for_type_checkers():
    source = ast.parse(Path(pnbx_snn.__file__).read_text())
    block = next(node for node in source.body if isinstance(node, ast.If))
    written = {name.name: node.module for node in block.body for name in node.names}
    assert written.pop("plot") == "pnbx_snn"
    assert written == {name: f"pnbx_snn.{module}" for name, module in pnbx_snn._HOMES.items()}
    assert set(pnbx_snn.__all__) == {*written, "plot", "__version__"} <= set(dir(pnbx_snn))
    assert pnbx_snn.plot is plot
    assert pnbx_snn.LIF is LIF


def test_training_comes_when_it_is_asked_for():
    assert (pnbx_snn.train, pnbx_snn.load_run, pnbx_snn.evaluate) == (run.train, checkpoint.load_run, evaluate.evaluate)
    with pytest.raises(AttributeError, match="module 'pnbx_snn' has no attribute 'trian'"):
        _ = pnbx_snn.trian
