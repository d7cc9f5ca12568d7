"""What no program can follow, put into a random network and its equations; and what changes nothing at all."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn.utils import parametrizations

from module_endings import HandNeuron
from module_equations import Block, Neuron
from module_parts import Draws, Maker

LOOPS = ("loop", "batch_first", "static")
ENTRIES = ("reversed", "doubled", "every second", "without the first", "two swapped", "always the first", "cut short")
FLOWS = ("times 1.7", "plus 0.3", "relu", "in place", "input times 0.5", "input plus 0.25", "through numpy")
STATES = ("starts", "states scaled", "states in place")
HIDDEN = ("mem in place", "mem assigned", "mem forgotten")
TWICE = ("layer twice", "neuron shared")
PARTS = (
    "hook masks",
    "hook before",
    "hook doubles",
    "forward patched",
    "weights move",
    "threshold moves",
    "hand neuron",
)
NUMBERS = ("more steps", "fewer steps")


def order(trap: str, num_steps: int) -> list[int]:
    order = list(range(num_steps))
    if trap == "reversed":
        return order[::-1]
    if trap == "doubled":
        return [t for t in order for _ in range(2)]
    if trap == "every second":
        return order[::2]
    if trap == "without the first":
        return order[1:]
    if trap == "two swapped":
        return [1, 0, *order[2:]]
    if trap == "always the first":
        return [0] * num_steps
    return order[: max(1, 2 * num_steps // 3)] if trap == "cut short" else order


def traps_of(style: str, end: str, num_steps: int) -> list[str]:
    """Return what can go wrong with a network of this style, beside its ending."""
    looped = style in (*LOOPS, "hidden loop", "norse loop")
    traps = [*(NUMBERS if num_steps > 1 else ()), *PARTS[:4]]
    if looped:
        traps += ["input times 0.5", "input plus 0.25", "weights move"]
        traps += ENTRIES if num_steps > 2 and style != "static" else []
    if style in LOOPS:
        traps += [*FLOWS[:4], "through numpy", *STATES, "threshold moves", "hand neuron", *TWICE]
    if style == "sequence":
        traps += [*FLOWS[:4], "through numpy"]
    if style == "hidden loop":
        traps += [*HIDDEN, "threshold moves"]
    return traps


def _weighted(stage: list[nn.Module]) -> Any:
    return next(
        module for module in stage if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)) or hasattr(module, "gamma")
    )


def set_trap(
    d: Draws, trap: str, how: dict[str, Any], block: Block, stage: list[nn.Module], neurons: Any, calls: Any, at: int
) -> str:
    """Put a trap into equations and modules; return its name, or none where it does not fit this network."""
    neuron, equations = neurons[at], block.neuron
    assert equations is not None
    states = calls[at].startswith("states")
    theta = float(np.mean(equations.options["threshold"]))
    if trap in ("times 1.7", "in place"):
        block.between = (1.7, 0.0)
    elif trap == "plus 0.3":
        block.between = (1.0, 0.3)
    elif trap == "relu":
        block.relu = True
    elif trap in ("through numpy", "hook masks"):
        if equations.recurrent is not None or block.layer.weight.ndim > 2:
            return _instead("hook doubles", d, how, block, stage, neurons, calls, at)
        kept = np.ones(len(block.layer.weight))
        kept[::2] = 0.0
        if trap == "through numpy":
            equations.mask_behind = kept
        else:
            equations.mask, mask = kept, torch.tensor(kept)
            neuron.register_forward_hook(lambda _m, _i, out: _masked(out, mask))
    elif trap in STATES:
        if not states:
            return _instead("hook before", d, how, block, stage, neurons, calls, at)
        if trap == "starts":
            how["start"] = equations.start = 0.7 * theta
        else:
            equations.keep = 0.5
    elif trap in HIDDEN:
        equations.keep, equations.forget = (1.0, True) if trap == "mem forgotten" else (0.5, False)
    elif trap == "hook before":
        block.between = (1.0, 0.3 * theta)
        neuron.register_forward_pre_hook(lambda _m, given: (given[0] + 0.3 * theta, *given[1:]))
    elif trap == "hook doubles":
        block.layer.gain = 2.0
        _weighted(stage).register_forward_hook(lambda _m, _i, out: out * 2.0)
    elif trap == "forward patched":
        block.layer.gain = 2.0
        module = _weighted(stage)
        module.forward = lambda x: 2.0 * type(module).forward(module, x)
    elif trap == "weights move":
        module = _weighted(stage)
        if hasattr(module, "gamma"):
            return _instead("hook before", d, how, block, stage, neurons, calls, at)
        block.layer.drift = 0.93
        how["moving"] = (module.weight, module.weight.detach().clone(), 0.93)
    elif trap == "threshold moves":
        if calls[at].startswith("norse") or not isinstance(getattr(neuron, "threshold", None), Tensor):
            return _instead("hook before", d, how, block, stage, neurons, calls, at)
        equations.drift = 1.1
        how["moving"] = (neuron.threshold, neuron.threshold.detach().clone(), 1.1)
    elif trap == "layer twice":
        block.twice = True
    elif trap == "neuron shared":
        k, one = 1 - min(at, 1), min(at, 1)
        fits = len([n for n in neurons if n is not None]) > 1 and equations.recurrent is None
        if at > 1 or not fits or calls[one] != calls[k] or any(np.ndim(v) for v in equations.options.values()):
            return _instead("hook doubles", d, how, block, stage, neurons, calls, at)
        neurons[k], other = neurons[one], how["blocks"][k]
        other.neuron = replace(equations)
    elif trap == "hand neuron":
        neurons[at] = HandNeuron(theta)
        calls[at] = "hand"
        block.neuron = Neuron("hand", {"threshold": theta})
    return trap


def _instead(trap: str, *arguments: Any) -> str:
    d, *rest = arguments
    return set_trap(d, trap, *rest)


def _masked(out: Any, mask: Tensor) -> Any:
    first = out if isinstance(out, Tensor) else out[0]
    hidden = first * mask.to(first.dtype)
    return hidden if isinstance(out, Tensor) else (hidden, *out[1:])


def twisted(
    d: Draws,
    m: Maker,
    style: str,
    what: str,
    how: dict[str, Any],
    net: nn.Module,
    stages: Any,
    calls: Any,
    sample: Tensor,
) -> tuple[str, Tensor, bool]:
    """Change something that changes nothing: dtypes, modes, gradients, parametrizations."""
    twist = d.choice(
        "twist", "none", "train mode", "ints", "weight norm", "detached", "needs grad", "bfloat16",
        p=[0.6, 0.08, 0.1, 0.06, 0.06, 0.05, 0.05],
    )  # fmt: skip
    if twist == "ints" and what in ("spikes", "counts", "signed", "pixels", "zeros") and style != "one step":
        how["cast"] = m.dtype
        kinds = [torch.int64, torch.uint8] if what != "signed" else [torch.int64, torch.int8]
        return twist, sample.to(d.choice("int", *kinds, *([torch.bool] if what == "spikes" else []))), False
    if twist == "weight norm" and how["moving"] is None and how["trap"] != "forward patched":
        module = next((s for stage in stages for s in stage if type(s) is nn.Linear), None)
        if module is not None and bool((module.weight.norm(dim=1) > 0).all()):
            parametrizations.weight_norm(module)
            return twist, sample, False
    if twist == "detached":
        how["detached"] = how["trap"] != "through numpy"
        return twist, sample, False
    if twist == "needs grad":
        return twist, sample.requires_grad_(), False
    if (
        twist == "bfloat16"
        and "through numpy" not in how["trap"]
        and not any(call and call.startswith("norse") for call in calls)
        and how["cast"] is None
    ):
        net.to(torch.bfloat16)
        return twist, sample.to(torch.bfloat16), True
    return ("train mode" if twist == "train mode" else "none"), sample, False
