"""The same C on an emulated microcontroller: a Cortex-M3 or M0 of QEMU, without any library."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

from neuromorphic.executors.entry import Entry, Finding, Option

if TYPE_CHECKING:
    from neuromorphic.program import Program


def _tools() -> list[Finding]:
    from neuromorphic.executors.qemu.tools import findings

    return findings()


def _check(program: Program) -> None:
    from neuromorphic.executors.qemu.firmware import check_size

    check_size(program)


ENTRIES = (
    Entry(
        name="qemu",
        purpose="that C on an emulated microcontroller, with its instructions counted",
        module="neuromorphic.executors.qemu.executor",
        setup="apt install --no-install-recommends gcc-arm-none-eabi qemu-system-arm",
        interpreters=_tools,
        check=_check,
        few=16,
        looks_for="GCC for Arm and QEMU",
        options=(
            Option(
                "core",
                "--core",
                Literal["cortex-m3", "cortex-m0"],
                "cortex-m3 (default; 4 MiB of flash, 4 MiB of RAM) or cortex-m0 (256 KiB, 16 KiB)",
            ),
        ),
    ),
)
