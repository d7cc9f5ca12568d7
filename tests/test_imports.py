"""What importing the library takes with it: nothing that costs seconds and few need."""

import subprocess
import sys

import pytest


@pytest.mark.parametrize("module", ["torch._dynamo", "torch._inductor", "triton", "numba", "norse", "matplotlib", "tonic"])
def test_import_leaves_out(module):
    """torch.compiler.assume_constant_result imported torch._dynamo: 3 s more than torch itself."""
    code = f"import sys, pnbx_snn; sys.exit({module!r} in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
