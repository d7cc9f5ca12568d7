"""Executors that a machine may lack: their tests are skipped with the reason, and fail where it says they must run."""

import os
from functools import cache

import pytest

from neuromorphic.executors import EXECUTORS


@cache
def missing(name):
    """Return why an executor does not run here, or an empty text."""
    entry = EXECUTORS[name]
    if entry.ready:
        return ""
    found = "; ".join(finding.detail for finding in (entry.interpreters() if entry.interpreters else ()))
    return f"executor {name} is not ready here ({found}): {entry.remedy}"


def require(name):
    """Skip a test whose executor is not here; with ``PNBX_REQUIRE_QEMU=1`` (of the executor qemu), as in CI, fail."""
    why = missing(name)
    if why and os.environ.get(f"PNBX_REQUIRE_{name.upper()}") == "1":
        pytest.fail(f"PNBX_REQUIRE_{name.upper()} is set, but {why}")
    if why:
        pytest.skip(why)
