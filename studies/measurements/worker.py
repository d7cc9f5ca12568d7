"""A process that steps one torch network when it is asked to; the requests are those of the native executor's process.

python -m studies.measurements.worker "Transformer, equal" "int8, int8 KV"

``python -m studies.measurements.native_stepping`` describes them. The first answer also says how many seconds it
took to make the network and run its first steps, a compiler's included; or why the form cannot be had, and is the last.
"""

import contextlib
import ctypes
import gc
import json
import os
import resource
import sys
import time
from pathlib import Path
from typing import Any

import torch

from studies.measurements.models import Runtimes, Stepped
from studies.rivals.other_forms import UnavailableError


def resident_bytes() -> int:
    """Return what the system holds in memory for this process (Linux), free pages given back where glibc can."""
    gc.collect()
    with contextlib.suppress(AttributeError):  # not glibc
        ctypes.CDLL(None).malloc_trim(ctypes.c_size_t(0))
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


def _processor_seconds() -> float:
    children = resource.getrusage(resource.RUSAGE_CHILDREN)
    return time.process_time() + children.ru_utime + children.ru_stime


def _used(name: str, form: str, runtimes: Runtimes, *, small: bool) -> Stepped:
    stepped = Stepped(name, form, small=small, runtimes=runtimes)
    stepped.fill(4)
    stepped.steps(2)
    return stepped


def main(name: str, form: str, *, runtimes: Runtimes | None = None) -> None:
    """Answer requests until there are no more; ``runtimes`` see :func:`studies.measurements.models.formed`."""
    torch.set_num_threads(1)
    try:
        _used(name, form, runtimes or {}, small=True)
        empty = resident_bytes()
        started = _processor_seconds()
        stepped = _used(name, form, runtimes or {}, small=False)
        made = _processor_seconds() - started
    except UnavailableError as error:
        _say({"unavailable": str(error)})
        return
    _say({"ready": True, "make_s": made})
    for line in sys.stdin:
        request: dict[str, Any] = json.loads(line)
        do = request.pop("do")
        if do == "memory":
            resident = resident_bytes() - empty
            file = stepped.file_bytes()
            _say({"resident": resident, "state": stepped.state_bytes(), "weights": file, "file": file})
        else:
            _say(getattr(stepped, do)(**request))


def _say(answer: dict[str, Any]) -> None:
    sys.stdout.write(json.dumps(answer) + "\n")
    sys.stdout.flush()


if __name__ == "__main__":
    main(*sys.argv[1:])
