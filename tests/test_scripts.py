"""The scripts of this folder start as a user would start them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

HERE = Path(__file__).parent


@pytest.mark.parametrize("name", ["check_wheel", "fuzz_modules", "fuzz_readers", "published_netx"])
def test_a_script_finds_the_packages(name):
    """And not the folders of tests beside it that have the same names."""
    environment = {key: value for key, value in os.environ.items() if key != "PYTHONPATH"}
    command = [sys.executable, str(HERE / f"{name}.py"), "--help"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stderr
    assert "usage:" in done.stdout
