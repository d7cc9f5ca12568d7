"""Joules of an NVIDIA GPU, *measured* by its own counter (NVML); where there is none, a sentence that says so."""

from __future__ import annotations

import ctypes
import time
from collections.abc import Callable
from typing import Any, NamedTuple

import torch

from pnbx_snn.errors import PnbxError
from studies.measurements.record import row

LIBRARY = "libnvidia-ml.so.1"
SUPPORTED = "Volta or newer"


class Counter:
    """The energy counter of one GPU.

    Parameters
    ----------
    index
        Number of the GPU.
    """

    def __init__(self, index: int = 0) -> None:
        try:
            self._nvml: Any = ctypes.CDLL(LIBRARY)
        except OSError as error:
            raise PnbxError(f"no NVIDIA device (its library {LIBRARY} is not here)") from error
        self._device = ctypes.c_void_p()
        self._check(self._nvml.nvmlInit_v2(), "no NVIDIA device: NVML does not start")
        found = self._nvml.nvmlDeviceGetHandleByIndex_v2(ctypes.c_uint(index), ctypes.byref(self._device))
        self._check(found, f"no NVIDIA device number {index}")
        name = ctypes.create_string_buffer(96)
        self._check(self._nvml.nvmlDeviceGetName(self._device, name, ctypes.c_uint(96)), "the device has no name")
        self.name = name.value.decode()
        self.joules()

    def joules(self) -> float:
        """Return the joules since the driver was loaded."""
        millijoules = ctypes.c_ulonglong()
        code = self._nvml.nvmlDeviceGetTotalEnergyConsumption(self._device, ctypes.byref(millijoules))
        self._check(code, f"{getattr(self, 'name', 'the device')} has no energy counter (it needs {SUPPORTED})")
        return millijoules.value / 1000

    @staticmethod
    def _check(code: int, what: str) -> None:
        if code:
            raise PnbxError(f"{what} (NVML error {code})")


class Energy(NamedTuple):
    """Energy of some work, the idle power taken off.

    Parameters
    ----------
    joules, idle_watts, seconds
        For all ``calls``; watts before the work.
    calls
        How often the work was done.
    """

    joules: float
    idle_watts: float
    seconds: float
    calls: int


def measure_energy(counter: Counter, work: Callable[[], object], *, seconds: float = 10.0) -> Energy:
    """Repeat work for some seconds and read the counter before and after; the idle power is measured first.

    Parameters
    ----------
    counter
        Of the GPU that the work runs on.
    work
        Ends when the GPU has done it (synchronised).
    seconds
        The counter moves every few hundredths of a second: below some seconds its steps show.
    """
    work()
    start, idle = time.perf_counter(), counter.joules()
    time.sleep(seconds / 2)
    idle_watts = (counter.joules() - idle) / (time.perf_counter() - start)
    calls, start, before = 0, time.perf_counter(), counter.joules()
    while time.perf_counter() - start < seconds:
        work()
        calls += 1
    spent, passed = counter.joules() - before, time.perf_counter() - start
    return Energy(spent - idle_watts * passed, idle_watts, passed, calls)


def gpu_rows(*, seconds: float = 10.0, length: int = 784, batch: int = 32) -> list[dict[str, Any]] | str:
    """Measure joules a token on the first GPU, of PNB-X and a Transformer of its size, whole sequences in fp32.

    Returns
    -------
    list of dict, or str
        Rows as ``measurements.json`` has them; or why nothing was measured.
    """
    try:
        counter = Counter()
    except PnbxError as error:
        return str(error)
    if not torch.cuda.is_available():
        return f"{counter.name} is there, but this torch has no CUDA"
    from studies.measurements.reference import settled_reference
    from studies.rivals import equal_transformer

    device = torch.device("cuda")
    torch.manual_seed(0)
    model, rival = settled_reference().to(device), equal_transformer().eval().to(device)
    pixels = torch.rand(length, batch, 784, device=device)
    tokens = torch.randint(256, (length, batch), device=device)

    @torch.no_grad()
    def ours() -> None:
        model(pixels, keep_state=False)
        torch.cuda.synchronize()

    @torch.no_grad()
    def theirs() -> None:
        rival(tokens)
        torch.cuda.synchronize()

    rows = []
    for name, work in (("PNB-X, torch", ours), ("Transformer, equal", theirs)):
        found = measure_energy(counter, work, seconds=seconds)
        value = found.joules / (found.calls * length * batch)
        rows.append(row("gpu_joules_token", name, "fp32", length, value, "J"))
    return rows
