"""The devices that torch has here."""

from __future__ import annotations

import torch

from neuromorphic.errors import ExecutorError

KINDS = ("cpu", "cuda", "xpu", "mps")


def devices() -> list[tuple[str, str]]:
    """Return name and description of every device, ``("cuda:0", "NVIDIA H100")``."""
    found = [("cpu", torch.backends.cpu.get_cpu_capability())]
    for kind in ("cuda", "xpu"):
        module = getattr(torch, kind, None)
        if module is not None and module.is_available():
            found += [(f"{kind}:{i}", module.get_device_name(i)) for i in range(module.device_count())]
    if torch.backends.mps.is_available():
        found.append(("mps", "Apple GPU"))
    return found


def find_device(name: str) -> torch.device:
    """Return a device by its name.

    Raises
    ------
    ExecutorError
        When torch does not know it, or does not have it here; the message lists those that are.
    """
    have = [found for found, _ in devices()]
    try:
        device = torch.device(name)
    except RuntimeError as error:
        raise ExecutorError(f"torch: device must be one of {', '.join(have)}, got {name!r}") from error
    if device.type == "cpu" or name in have or f"{name}:0" in have:
        return device
    hint = {"cuda": "an NVIDIA GPU and a CUDA build of torch", "xpu": "an Intel GPU and an XPU build of torch"}
    needs = hint.get(device.type, "a build of torch that has it")
    raise ExecutorError(f"torch: device {name!r} is not here (it needs {needs}); there is {', '.join(have)}")
