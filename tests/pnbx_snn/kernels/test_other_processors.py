"""The kernels of training compiled for narrower vectors: random shapes against the definitions again."""

import os
import platform
import subprocess
import sys
from pathlib import Path

import pytest

binding = pytest.importorskip("llvmlite.binding")
pytest.importorskip("numba")
FOLDER = Path(__file__).parent
TESTS = (
    "any_shape_and_layout",
    "kernels_equal_the_loop",
    "bit_for_bit_those",
    "finite_differences",
    "sums_equal_integers",
    "gradients_are_those_of_the_formulas",
    "sums_by_tables_equal",
)
"""Tests of this folder that draw shapes and densities: LIF, scans, gated scans, ternary products."""
HERE = binding.get_host_cpu_features()


def narrower_than(features):
    """Return processors with narrower vectors than this one, on which these tests run by themselves."""
    with_avx2 = [("haswell", "+avx,+avx2,+bmi,+bmi2,+fma,+lzcnt,+popcnt")] if features.get("avx512f") else []
    return [("nehalem", ""), *with_avx2]


@pytest.mark.slow
@pytest.mark.skipif(platform.machine() not in ("x86_64", "AMD64"), reason="names an x86 processor")
@pytest.mark.parametrize(("processor", "features"), narrower_than(HERE))
def test_kernels_without_avx512_and_without_avx(processor, features):
    """Types are checked where these tests run for this processor; files without such a test are not imported."""
    environment = {**os.environ, "NUMBA_CPU_NAME": processor, "NUMBA_CPU_FEATURES": features, "JAXTYPING_DISABLE": "1"}
    files = [str(path) for path in FOLDER.glob("test_*_kernels.py") if any(name in path.read_text() for name in TESTS)]
    command = [sys.executable, "-m", "pytest", "-q", "-x", "-p", "no:cacheprovider", "-p", "no:xdist", *files]
    done = subprocess.run(
        [*command, "-k", " or ".join(TESTS)], capture_output=True, text=True, env=environment, check=False
    )
    assert done.returncode == 0, done.stdout[-3000:] + done.stderr[-2000:]
    assert "skipped" not in done.stdout.splitlines()[-1]
