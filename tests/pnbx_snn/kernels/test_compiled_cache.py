"""numba's cache on disk, cut or altered, and numba told to compile nothing: no traceback, the same numbers."""

import importlib.util
import logging
import os
import subprocess
import sys
from pathlib import Path

import numba
import pytest
from numba.core import caching

from pnbx_snn.kernels.cpu.compiled import SAID, _compile, say_compiling

LOGGER = "pnbx_snn.kernels.cpu.compiled"
SOURCE = """
def make():
    STAMP = 1
    def add(x):
        return x + STAMP
    return add
"""


@pytest.fixture
def compiled(tmp_path, monkeypatch):
    """Compile a function as the package does, with the cache in a folder of its own."""
    monkeypatch.setenv("NUMBA_CACHE_DIR", str(tmp_path / "cache"))
    numba.config.reload_config()  # it does so by itself at the next compilation after a change
    (tmp_path / "source.py").write_text(SOURCE)
    spec = importlib.util.spec_from_file_location("source", tmp_path / "source.py")
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, "source", module)  # what is stored names the module that it is from
    spec.loader.exec_module(module)
    return lambda: _compile(module.make(), "add")


def hits(kernel):
    assert kernel(2) == 3
    return sum(kernel.stats.cache_hits.values())


DAMAGE = {
    "cut": lambda content: content[: len(content) // 2],
    "cut in the version": lambda content: content[:3],
    "empty": lambda content: b"",
    "garbage": lambda content: b"\x80\x05garbage" + content[10:],
    "another module": lambda content: b"cnowhere\nnothing\n.",
}


@pytest.mark.parametrize("suffix", ["nbi", "nbc"])
@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_cache_is_compiled_anew(damage, suffix, compiled, tmp_path):
    assert hits(compiled()) == 0
    assert hits(compiled()) == 1
    (path,) = (tmp_path / "cache").rglob(f"*.{suffix}")
    path.write_bytes(DAMAGE[damage](path.read_bytes()))
    assert hits(compiled()) == 0
    assert hits(compiled()) == 1  # and is whole again


def test_what_is_compiled_is_said_once(compiled, caplog):
    caplog.set_level(logging.INFO)
    say_compiling.cache_clear()
    assert hits(compiled()) == 0
    assert [record.getMessage() for record in caplog.records if record.name == LOGGER] == [SAID]
    say_compiling.cache_clear()
    assert hits(compiled()) == 1
    assert [record.name for record in caplog.records].count(LOGGER) == 1


def full_disk(*_):
    raise OSError(28, "No space left on device")


def test_a_cache_that_cannot_be_written(compiled, tmp_path, monkeypatch):
    monkeypatch.setattr(caching.IndexDataCacheFile, "_save_data", full_disk)
    assert hits(compiled()) == 0


def test_a_damaged_cache_that_cannot_be_written(compiled, tmp_path, monkeypatch):
    assert hits(compiled()) == 0
    (path,) = (tmp_path / "cache").rglob("*.nbi")
    path.write_bytes(b"")
    monkeypatch.setattr(caching.IndexDataCacheFile, "_save_index", full_disk)
    assert hits(compiled()) == 0


def without_jit(code):
    root = Path(__file__).parents[3]
    environment = {
        **os.environ,
        "NUMBA_DISABLE_JIT": "1",
        "PYTHONPATH": f"{root}{os.pathsep}{root / 'tests' / 'support'}",
    }
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, env=environment, timeout=250)


def test_training_falls_back_on_torch():
    done = without_jit(
        "import torch\n"
        "from pnbx_snn import SpikingClassifier\n"
        "model = SpikingClassifier(in_features=4, hidden=[8], num_classes=3, num_steps=5)\n"
        "model.calibrate(images := torch.rand(6, 4))\n"
        "model(model.encode(images)).logits.sum().backward()\n"
        "print(all(parameter.grad is not None for parameter in model.parameters()))\n"
    )
    assert done.stdout == "True\n", done.stderr
