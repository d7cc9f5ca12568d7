"""Programs on torch's devices: cpu, cuda, xpu."""

from __future__ import annotations

from neuromorphic.executors.entry import Entry, Option


def _devices() -> list[tuple[str, str]]:
    from neuromorphic.executors.torch.devices import devices

    return devices()


ENTRIES = (
    Entry(
        name="torch",
        purpose="the same program in torch's operations, all samples at once",
        module="neuromorphic.executors.torch.executor",
        needs=("torch",),
        options=(Option("device", "--device", str, "cpu, cuda, cuda:1, xpu"),),
        devices=_devices,
        device_state="ready ({})",
    ),
)
