"""What a program is, in a few lines: ``repr(program)``, and what the commands say of its agreement."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from neuromorphic.ops import Input, Operation
from neuromorphic.wording import counted, some_of


def described(ops: Sequence[Operation], num_steps: int, metadata: Mapping[str, Any]) -> str:
    """Return a program in three or four lines: its size, its input, its operations, and how well it agrees."""
    port = ops[0]
    assert isinstance(port, Input)
    weight_bytes = counted(sum(op.weight_bytes for op in ops), "byte")
    unit = "" if port.scale == 1.0 else f" units of {port.scale:.6g}"
    lines = [
        f"Program: {counted(len(ops), 'operation')}, {counted(num_steps, 'step')}, {weight_bytes} of weights",
        f"input: {port.name} {port.size}, {port.low}..{port.high}{unit}",
    ]
    if len(ops) > 1:
        lines.append(f"operations: {some_of([f'{type(op).__name__} {op.name} {op.size}' for op in ops[1:]])}")
    agrees = agreement(metadata)
    return "\n".join([*lines, agrees] if agrees else lines)


def agreement(metadata: Mapping[str, Any]) -> str:
    """Return how well a program agrees with its network, as its metadata say; ``""`` where they do not.

    Examples
    --------
    >>> agreement({"agreement": {"samples": 1, "part": "test", "labels_equal": 1.0, "spikes_equal": 0.99993}})
    'agreement with the network on 1 test sample: labels 100.00 %, spikes 99.993 %'
    """
    found = metadata.get("agreement")
    if not isinstance(found, dict) or type(found.get("samples")) is not int:
        return ""
    digits = {"labels": 2, "spikes": 3}
    shares = {name: found.get(f"{name}_equal") for name in digits}
    told = [
        f"{name} {100 * part:.{digits[name]}f} %" for name, part in shares.items() if isinstance(part, (int, float))
    ]
    on = counted(found["samples"], f"{found.get('part', '')} sample".strip())
    return f"agreement with the network on {on}: {', '.join(told)}" if told else ""
