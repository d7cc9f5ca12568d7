"""What the code is compiled for: the processor, and how much one of its registers holds.

``NUMBA_CPU_NAME`` and ``NUMBA_CPU_FEATURES`` name another processor, as they do for numba itself.
"""

from __future__ import annotations

import os
from typing import Any

import llvmlite.binding

llvm: Any = llvmlite.binding  # what it says of its types changes from version to version


def _host_features() -> str:
    try:
        return str(llvm.get_host_cpu_features().flatten())
    except RuntimeError:  # LLVM does not know them on this platform
        return ""


def _features() -> str:
    asked = os.environ.get("NUMBA_CPU_FEATURES")
    if asked is not None:
        return asked
    return "" if NAME.lower() == "generic" else _host_features()


NAME: str = os.environ.get("NUMBA_CPU_NAME") or str(llvm.get_host_cpu_name())
FEATURES: str = _features()
_HAS = frozenset(FEATURES.split(","))
HAS_AVX2 = "+avx2" in _HAS
HAS_VNNI = {"+avx512bw", "+avx512vnni"} <= _HAS
HAS_AVX512 = "+avx512bw" in _HAS
HAS_BMI2 = "+bmi2" in _HAS
HAS_GFNI = {"+avx512vbmi", "+gfni"} <= _HAS
LANES = 8 if "+avx512f" in _HAS else 4
"""Words of 64 bits that one register holds."""
