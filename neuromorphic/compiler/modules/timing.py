"""The steps of a network: how many its sample runs, and which rows of the sample are read in each.

A row of a sample is what a module reads of one sample in one step: all its features. The trace says which rows each
call read, so no axis is guessed: ``[T, B, N]``, ``[B, T, N]``, ``[B, N]`` shown for many steps and single images are
told apart by how the network reads them.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import torch
from torch import Tensor, nn

from neuromorphic.compiler.modules.neurons import (
    NORSE_CELLS,
    NORSE_SEQUENCES,
    OWN_SEQUENCES,
    SHIFTING,
    SNNTORCH,
    is_norse,
)
from neuromorphic.compiler.modules.trace import Leaf, Trace
from neuromorphic.errors import CompileError
from neuromorphic.wording import counted


@dataclass(frozen=True)
class Timing:
    """``rows[t, b]`` is the row of the sample that sample ``b`` shows in step ``t``."""

    rows: Tensor  # [T, B]

    @property
    def num_steps(self) -> int:
        """Steps that the network runs on the sample."""
        return self.rows.shape[0]

    @property
    def batch(self) -> int:
        """Samples that it runs at once."""
        return self.rows.shape[1]

    def shown(self, sample: Tensor, width: int) -> Tensor:
        """Return what the program is shown, ``[T, B, width]``."""
        return sample.reshape(-1, width)[self.rows]


def is_sequence(module: nn.Module) -> bool:
    """Return whether a module with a state takes all its steps in one call."""
    return isinstance(module, OWN_SEQUENCES) or is_norse(module, NORSE_SEQUENCES)


def is_neuron(module: nn.Module) -> bool:
    """Return whether a module has a state."""
    return is_sequence(module) or isinstance(module, (*SNNTORCH, *SHIFTING)) or is_norse(module, NORSE_CELLS)


def timing_of(found: Trace, sample: Tensor) -> Timing:
    """Return the steps of a network, whose modules must read all steps of the sample once each and in order."""
    neurons = [leaf for leaf in found.leaves.values() if is_neuron(leaf.module)]
    steps = {}
    for leaf in neurons:
        steps[leaf.name] = sum(shape[0] for shape in leaf.shapes) if is_sequence(leaf.module) else leaf.calls
    if len(set(steps.values())) > 1:
        counts = ", ".join(f"{found.leaves[name].where}: {count}" for name, count in steps.items())
        raise CompileError(
            f"neurons run different numbers of steps ({counts}); in a program all of them run in every step, so call "
            "each once in every step of the sample"
        )
    assert found.input_features is not None
    readers = [leaf for leaf in found.leaves.values() if leaf.input_rows]
    num_steps = next(iter(steps.values()), max(leaf.calls for leaf in readers))
    total = sample.numel() // math.prod(found.input_features)
    batches = {rows // num_steps for rows in (sum(leaf.rows) for leaf in neurons)}
    batch = batches.pop() if len(batches) == 1 else readers[0].rows[0]
    timings = [Timing(_rows(leaf, num_steps, batch, total)) for leaf in readers]
    for leaf, timing in zip(readers, timings, strict=True):
        if not torch.equal(timing.rows, timings[0].rows):
            raise CompileError(
                f"{leaf.where}: reads other steps of the sample than {readers[0].where} does; a graph shows its input "
                "to all modules at once"
            )
    return timings[0]


def _rows(leaf: Leaf, num_steps: int, batch: int, total: int) -> Tensor:
    """Return the rows that a module reads of the sample, ``[T, B]``."""
    read = leaf.input_rows
    if len(read) == 1 and len(read[0]) == num_steps * batch and num_steps > 1:  # all steps in one call
        read = list(read[0].reshape(num_steps, batch))
    if len(read) == 1:
        read = read * num_steps
    if len(read) != num_steps or any(len(rows) != batch for rows in read):
        raise CompileError(
            f"{leaf.where}: is called {counted(len(leaf.input_rows), 'time')} with "
            f"{counted(len(leaf.input_rows[0]), 'row')} of the sample, "
            f"while the neurons run {counted(num_steps, 'step')} of {counted(batch, 'sample')}; read one step "
            "in each call, or all in one"
        )
    rows = torch.stack(read)
    if (rows == rows[0]).all():
        if num_steps > 1 and not torch.equal(rows[0].sort().values, torch.arange(total)):
            raise CompileError(
                f"{leaf.where}: reads the same {batch} of the sample's {total} rows in every step; hand the network "
                "what it shows in every step, [B, ...], or let it read one step after the other"
            )
        if not torch.equal(rows[0], torch.arange(total)):
            raise CompileError(f"{leaf.where}: reads {batch} of the sample's {total} rows, or in another order")
        return rows
    apart = rows.diff(dim=0)
    order = bool((apart == apart[0, 0]).all()) and int(apart[0, 0]) > 0
    if not order or not torch.equal(rows.reshape(-1).sort().values, torch.arange(total)):
        raise CompileError(
            f"{leaf.where}: reads the sample's steps in another order, more than once or not all of them; a program is "
            "shown every step once and in order: change the sample instead, such as sample.flip(0) or sample[::2]"
        )
    return rows
