"""Lava for tests. ``conftest.py`` imports these fixtures for every test.

Without a Python that has lava-nc these fixtures skip, saying so; with ``PNBX_REQUIRE_LAVA=1``, as in CI, they fail.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import numpy as np
import pytest

from neuromorphic import compare, run
from neuromorphic.errors import LavaNotFoundError
from neuromorphic.executors.lava.environment import LavaPython, find_lava_python
from neuromorphic.executors.lava.executor import LavaSession


@pytest.fixture(scope="session")
def lava_python() -> LavaPython:
    try:
        return find_lava_python()
    except LavaNotFoundError as error:
        if os.environ.get("PNBX_REQUIRE_LAVA") == "1":
            pytest.fail(f"PNBX_REQUIRE_LAVA is set, but {error}")
        pytest.skip(str(error))


@pytest.fixture(scope="session")
def lava_session(lava_python: LavaPython) -> Iterator[LavaSession]:
    """Lava's models in one process: a side process for all tests."""
    with LavaSession(python=lava_python.path, runtime="in_process") as session:
        yield session


@pytest.fixture(scope="session")
def lava_processes(lava_python: LavaPython) -> Iterator[LavaSession]:
    """Lava's own runtime, a process each: a side process for all tests."""
    with LavaSession(python=lava_python.path, runtime="processes") as session:
        yield session


def assert_equal(program, inputs, session):
    """Compare variable by variable, dtype and shape included; return the reference's recording."""
    expected = run(program, inputs)
    got = session.execute(program, program.prepare_inputs(inputs))
    assert list(got.variables) == list(expected.variables)
    assert compare(expected, got).first is None, str(compare(expected, got).first)
    for name, array in expected.variables.items():
        assert got.variables[name].dtype == array.dtype
        np.testing.assert_array_equal(got.variables[name], array)
    return expected
