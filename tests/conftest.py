"""Every test runs with the tensor annotations of ``pnbx_snn`` checked, and may ask for Lava."""

import gc
import os
import sys

# Small matrices: a second thread gains nothing, and on a busy machine the two wait for each other (tests of seconds
# took minutes). Before anything imports torch.
os.environ.setdefault("OMP_NUM_THREADS", "1")

import jaxtyping
import pytest
from hypothesis import settings

import type_checks

type_checks.check("pnbx_snn")
# A busy machine is no failure; CI draws the same examples every time, a user's machine new ones.
settings.register_profile("pnbx", deadline=None, derandomize="CI" in os.environ)
settings.load_profile("pnbx")

from lava_fixtures import lava_processes, lava_python, lava_session  # noqa: E402, F401
from netx_rules import netx_here  # noqa: E402, F401
from ready import require  # noqa: E402


def pytest_collection_modifyitems(items):
    """Begin with what takes longest: two workers then end together."""
    items.sort(key=lambda item: item.get_closest_marker("slow") is None)


def pytest_collection_finish():
    """Take what is loaded for no garbage: to look through torch for it took a quarter of the tests' time."""
    gc.collect()
    gc.freeze()


def pytest_runtest_setup(item):
    """Check all calls anew; ask for the executor that is a parameter of a test, before it runs."""
    type_checks.begin_test()
    executor = item.callspec.params.get("executor") if hasattr(item, "callspec") else None
    if executor in ("c", "qemu"):
        require(executor)


@pytest.fixture(autouse=True)
def no_figure_stays_open():
    """Close what a test drew: matplotlib warns of more than 20 open figures, in whichever test comes next."""
    yield
    if "matplotlib.pyplot" in sys.modules:
        sys.modules["matplotlib.pyplot"].close("all")


@pytest.fixture(autouse=True)
def no_raster_of_every_training(request, monkeypatch):
    """Leave the raster that TensorBoard gets at the end to the tests of it: a tiny training takes no longer."""
    monitor = sys.modules.get("pnbx_snn.training.monitor")
    if monitor and request.path.name != "test_monitor.py":
        monkeypatch.setattr(monitor.Monitor, "_draw", lambda *_: None)


@pytest.fixture
def unchecked():
    """Let wrong types and shapes reach the library's own checks."""
    jaxtyping.config.update("jaxtyping_disable", True)
    yield
    jaxtyping.config.update("jaxtyping_disable", False)
