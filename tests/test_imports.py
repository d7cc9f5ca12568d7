"""What importing the library takes with it: nothing that costs seconds and few need."""

import subprocess
import sys

COSTLY = {"torch._dynamo", "torch._inductor", "triton", "numba", "norse", "matplotlib", "tonic"}


def test_import_leaves_out_what_takes_seconds():
    """torch.compiler.assume_constant_result imported torch._dynamo: 3 s more than torch itself."""
    code = f"import sys, pnbx_snn; print(*sorted({COSTLY} & set(sys.modules)))"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.split() == []
