"""How far a program is from the snnTorch or Norse network it was compiled from: spikes, counted on a sample."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import ExitStack
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from neuromorphic.compiler.module_tensors import tensors_of
from neuromorphic.execution import run
from neuromorphic.program import Program


def spikes_agreement(
    module: nn.Module, sample: Tensor, program: Program, neurons: Mapping[str, nn.Module]
) -> dict[str, Any] | None:
    """Run a network and its program on the same sample and count equal spikes.

    Parameters
    ----------
    module : nn.Module
        The network, in evaluation mode and without hidden state.
    sample : Tensor
        What it is called with, ``[T, B, ...]``, or ``[B, ...]`` where it shows its input for several steps.
    program : Program
        Its program.
    neurons : mapping of str to nn.Module
        Modules that spike, by the name of their operation.

    Returns
    -------
    dict or None
        ``steps``, ``samples``, ``spikes_equal`` (fraction of all neuron-steps) and ``layers`` (the same of each);
        ``None`` where the calls of the neurons do not add up to one spike per step, sample and neuron.
    """
    seen: dict[str, list[Tensor]] = {name: [] for name in neurons}
    with ExitStack() as hooks, torch.no_grad():
        for name, neuron in neurons.items():

            def note(_: nn.Module, args: Any, kwargs: Any, returned: Any, name: str = name) -> None:
                seen[name].append(next(tensors_of(returned)).detach().clone())

            hooks.callback(neuron.register_forward_hook(note, with_kwargs=True).remove)
        module(sample)
    lead = 2 if math.prod(sample.shape[2:]) == program.input.size else 1  # axes before the features
    batch = sample.shape[lead - 1]
    theirs = {name: _spikes(calls, batch, program[name].size) for name, calls in seen.items()}
    steps = {None if spikes is None else len(spikes) for spikes in theirs.values()}
    num_steps = next(iter(steps)) if len(steps) == 1 else None
    if num_steps is None or (lead == 2 and num_steps != sample.shape[0]):
        return None
    shown = sample.detach().cpu().numpy().reshape(*sample.shape[:lead], -1)
    if lead == 1:
        shown = np.broadcast_to(shown, (num_steps, *shown.shape))
    if program.input.scale == 1.0 and np.array_equal(shown, np.rint(shown)):
        shown = shown.astype(np.int32)
    ours = run(program, shown).spikes()
    equal = {name: ours[name] == (spikes > 0) for name, spikes in theirs.items() if spikes is not None}
    return {
        "steps": num_steps,
        "samples": batch,
        "spikes_equal": float(np.concatenate([array.ravel() for array in equal.values()]).mean()),
        "layers": {name: float(array.mean()) for name, array in equal.items()},
    }


def _spikes(calls: list[Tensor], batch: int, size: int) -> np.ndarray[Any, Any] | None:
    """Return ``[T, B, N]`` of what a module gave in its calls: whole sequences or single steps."""
    flat = torch.cat([call.reshape(-1, size) for call in calls if call.numel() % size == 0])
    return flat.reshape(-1, batch, size).cpu().numpy() if flat.numel() % (batch * size) == 0 else None
