"""The kernels of training compiled for narrower vectors: random shapes against the definitions again."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("numba")
FOLDER = Path(__file__).parent
TESTS = {
    "test_lif_kernels.py": "any_shape_and_layout or every_surrogate",
    "test_scan_kernels.py": "kernels_equal_the_loop",
    "test_gated_scan_kernels.py": "bit_for_bit or finite_differences",
    "test_ternary_kernels.py": "sums_equal_integers or gradients_are_those_of_the_formulas or sums_by_tables_equal",
}
"""Files, and which of their tests: those that draw shapes and densities."""


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names an x86 processor")
@pytest.mark.parametrize(
    ("processor", "features"), [("nehalem", ""), ("haswell", "+avx,+avx2,+bmi,+bmi2,+fma,+lzcnt,+popcnt")]
)
def test_kernels_without_avx512_and_without_avx(processor, features):
    environment = {**os.environ, "NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": features}
    for file, names in TESTS.items():
        command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist"]
        done = subprocess.run(
            [*command, str(FOLDER / file), "-k", names], capture_output=True, text=True, env=environment
        )
        assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
        assert "skipped" not in done.stdout.splitlines()[-1]
