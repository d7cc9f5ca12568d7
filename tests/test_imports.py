"""What importing the library takes with it: nothing that costs seconds and few need."""

import subprocess
import sys

import pytest

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
    code = f"import sys, pnbx_snn; print(*sorted({COSTLY} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.split() == []


def test_training_comes_when_it_is_asked_for():
    import pnbx_snn
    from pnbx_snn.training import checkpoint, evaluate, run

    assert (pnbx_snn.train, pnbx_snn.load_run, pnbx_snn.evaluate) == (run.train, checkpoint.load_run, evaluate.evaluate)
    with pytest.raises(AttributeError, match="module 'pnbx_snn' has no attribute 'trian'"):
        _ = pnbx_snn.trian
