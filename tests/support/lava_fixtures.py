"""Lava for tests. ``conftest.py`` imports these fixtures for every test.

Without a Python that has lava-nc these fixtures skip, saying so; with ``PNBX_REQUIRE_LAVA=1``, as in CI, they fail.
"""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from neuromorphic import run
from neuromorphic.errors import LavaNotFoundError
from neuromorphic.executors.lava.environment import LavaPython, find_lava_python
from neuromorphic.executors.lava.executor import LavaSession
from same import assert_same


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
    """Compare every bit with the reference; return the reference's recording."""
    expected = run(program, inputs)
    assert_same(expected, session.execute(program, program.prepare_inputs(inputs)))
    return expected
