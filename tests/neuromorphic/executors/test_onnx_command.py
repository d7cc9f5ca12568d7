"""ONNX on the command line: what a machine has, what is missing, and one clear message for each."""

import json
import re
import sys

import numpy as np
import openvino as ov
import pytest
from typer.testing import CliRunner

import neuromorphic.executors.lava.environment as interpreter
import neuromorphic.executors.onnx.openvino as openvino_executor
import pnbx_extras
from neuromorphic import verify
from neuromorphic.cli import app
from neuromorphic.errors import ExecutorError
from neuromorphic.executors import get_executor
from neuromorphic.executors.onnx.model import to_onnx
from neuromorphic.executors.onnx.openvino import SETTINGS
from programs import small_inputs, small_program

GPU = ("GPU", "Intel(R) Arc(TM) A770 Graphics", ("FP32", "FP16", "INT8", "GPU_HW_MATMUL"))


@pytest.fixture
def files(tmp_path):
    small_program().save(tmp_path / "program.npz")
    np.save(tmp_path / "inputs.npy", small_inputs())
    return tmp_path


def call(*arguments):
    done = CliRunner().invoke(app, [str(a) for a in arguments])
    return done.exit_code, " ".join(done.output.split())


@pytest.fixture
def without(monkeypatch):
    """Hide a package, and what has imported it."""

    def hide(package):
        for name in [
            n for n in sys.modules if n.startswith(("neuromorphic.executors.onnx.", "neuromorphic.formats.onnx."))
        ]:
            monkeypatch.delitem(sys.modules, name)
        monkeypatch.setitem(sys.modules, package, None)

    return hide


@pytest.mark.parametrize(
    ("executor", "package"), [("onnxruntime", "onnxruntime"), ("openvino", "openvino"), ("openvino", "onnx")]
)
def test_a_missing_package_is_named_with_the_line_that_installs_it(executor, package, without):
    without(package)
    with pytest.raises(ExecutorError, match=re.escape(f"'{executor}' needs {package}: {pnbx_extras.install('onnx')}")):
        get_executor(executor)


def test_a_runtime_that_does_not_load_is_one_message(without, monkeypatch, tmp_path):
    without("openvino")
    monkeypatch.delitem(sys.modules, "openvino")
    (tmp_path / "openvino.py").write_text("raise ImportError('libopenvino.so: version too old')")
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(ExecutorError, match="'openvino' cannot load what it needs, perhaps too old: libopenvino.so"):
        get_executor("openvino")


def test_an_export_without_onnx_says_what_to_install(files, without):
    without("onnx")
    code, text = call("export", files / "program.npz", "--to", "onnx")
    assert code == 1
    assert f"--to onnx needs onnx: {pnbx_extras.install('onnx')}" in text
    assert not (files / "program.onnx").exists()


def test_the_doctor_lists_devices_and_what_nobody_measured(monkeypatch):
    monkeypatch.setattr(interpreter, "doctor", list)
    code, text = call("doctor")
    assert "executor onnxruntime, --device cpu: ready" in text
    assert "executor openvino, --device CPU: ready (" in text
    assert "XMX (int8): not measured; to find out: neuromorphic verify PROGRAM INPUTS --executor openvino" in text
    assert code == 1  # no Lava
    monkeypatch.setattr(openvino_executor, "openvino_devices", lambda: [GPU])
    _, text = call("doctor")
    assert (
        "openvino, --device GPU: there, never checked: verify first "
        "(Intel(R) Arc(TM) A770 Graphics; int8, XMX, not measured)" in text
    )


def test_the_doctor_says_what_is_not_installed(monkeypatch, without):
    monkeypatch.setattr(interpreter, "doctor", list)
    without("openvino")
    _, text = call("doctor")
    assert f"executor openvino: missing; {pnbx_extras.install('onnx')}" in text
    _, text = call("doctor", "--json")
    facts = json.loads(text)
    assert facts["openvino"] is None
    assert facts["onnxruntime"][0] == ["cpu", "ready"]


@pytest.mark.parametrize("executor", ["onnxruntime", "openvino"])
def test_verify_runs_and_a_missing_device_lists_those_that_are_here(files, executor):
    verified = ("verify", files / "program.npz", files / "inputs.npy", "--executor", executor)
    code, text = call(*verified, "--device", "cpu", "--threads", 1)
    assert code == 0
    assert f"{executor} against numpy: 0 of" in text
    code, text = call(*verified, "--device", "npu7")
    assert code == 1
    assert "device must be one of" in text
    assert "cpu" in text.lower()
    assert "got 'npu7'" in text.lower()


def test_openvino_is_told_not_to_round(monkeypatch):
    asked, real = [], ov.Core.compile_model

    def compile_model(self, model, device, settings):
        asked.append(settings)
        return real(self, model, device, settings)

    monkeypatch.setattr(ov.Core, "compile_model", compile_model)
    verify(small_program(), small_inputs(), "openvino")
    assert asked[0].items() >= SETTINGS.items()
    network = real(ov.Core(), ov.Core().read_model(to_onnx(small_program()).SerializeToString()), "CPU", asked[0])
    assert network.get_property("DYNAMIC_QUANTIZATION_GROUP_SIZE") == 0
    assert network.get_property("INFERENCE_PRECISION_HINT").get_type_name() == "f32"


def test_an_openvino_that_rounds_is_refused(monkeypatch):
    monkeypatch.setattr(ov, "__version__", "2025.3.0-19807-44526285f24-releases/2025/3")
    with pytest.raises(ExecutorError, match=r"release 2025.3.0.* rounds what must be exact; 2025.4 or newer does not"):
        verify(small_program(), small_inputs(), "openvino")


def test_openvino_chooses_a_device_itself():
    comparison, _, recording = verify(small_program(), small_inputs(), "openvino", device="AUTO")
    assert comparison.equal
    assert recording.metadata["runs_on"] == ["CPU"]
