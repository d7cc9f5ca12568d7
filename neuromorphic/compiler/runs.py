"""Whole trained networks: compile one, and measure how far its program is from it."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from neuromorphic.compiler.answers import answers, one_thread
from neuromorphic.compiler.layers import compile_layers, images_of, layers_of, origin_of
from neuromorphic.compiler.pnbx import compile_pnbx
from neuromorphic.compiler.samples import Compiled, Part, encoded, open_run
from neuromorphic.errors import CompileError, CompileWarning, warn_user
from neuromorphic.ops import LIF
from neuromorphic.program import Program
from pnbx_snn.networks.classifier import SpikingClassifier
from pnbx_snn.networks.conv import SpikingConvNet
from pnbx_snn.networks.masks import own_steps
from pnbx_snn.networks.pnbx import PNBX

SMOOTH = (
    "the network was made with quantize=False: its gates, its decays and the softmax of its hippocampus become the "
    "program's here and were not in training; neuromorphic.compiler.measure_agreement says how often labels change"
)
Progress = Callable[[int, int], None]
BATCH = 128
"""Samples that are compared at a time: slots of a hippocampus take memory for each."""

MIN_LABELS_EQUAL = 0.99
"""Fraction of equal labels below which a program is compiled with a warning."""


def compile_model(model: nn.Module, *, num_steps: int | None = None, glia_period: int | None = None) -> Program:
    """Compile a trained network.

    Parameters
    ----------
    model : pnbx_snn.PNBX, pnbx_snn.SpikingClassifier or pnbx_snn.SpikingConvNet
        Trained, its input scale calibrated.
    num_steps : int, optional
        Steps of a sample, for the bounds; ``None``: those the model shows a static input for.
    glia_period : int, optional
        Of a :class:`pnbx_snn.PNBX`: glia go on moving the thresholds of each sample after every so many of its steps;
        ``None``: thresholds are frozen as training left them.

    Returns
    -------
    Program
        Of a :class:`pnbx_snn.PNBX`: ``input``, ``encoder``, ``block1``, ..., ``readout``, and the operations of each
        pathway by name. With ``readout="step"`` also ``readout_step``, an ``LI`` without memory: the logits of each
        step, which ``readout`` adds up. Of the others: as :func:`compile_layers` names them.

    Raises
    ------
    CompileError
        When the network, or a part of it, cannot be compiled; the message names it, the reason and what can be.

    Notes
    -----
    The softmax of a hippocampus becomes winner-take-all; how much that changes is part of the measured agreement.
    """
    with one_thread():
        return _compiled(model, num_steps, glia_period)


def _compiled(model: nn.Module, num_steps: int | None, glia_period: int | None) -> Program:
    if isinstance(model, PNBX):
        program = compile_pnbx(model, model.num_steps if num_steps is None else num_steps, glia_period)
        return program if model.quantize else _with_assumption(program, SMOOTH)
    if isinstance(model, SpikingClassifier | SpikingConvNet):
        kind = type(model).__name__
        if glia_period is not None:
            raise CompileError(f"{kind}: has no glia that could stay alive; a pnbx_snn.PNBX has")
        options: dict[str, Any] = {"num_steps": model.num_steps, "metadata": origin_of(f"pnbx_snn.{kind}")}
        program = compile_layers(layers_of(model), model.readout, **options, **images_of(model))
        return program if num_steps is None else replace(program, num_steps=num_steps)
    raise CompileError(
        f"{type(model).__name__} cannot be compiled as a whole; compile a pnbx_snn.PNBX, SpikingClassifier or "
        "SpikingConvNet, or hand its layers to compile_layers"
    )


def measure_agreement(
    model: Compiled,
    program: Program,
    inputs: torch.Tensor,
    labels: torch.Tensor,
    progress: Progress | None = None,
    *,
    lengths: torch.Tensor | None = None,
) -> dict[str, Any]:
    """Measure how far the program's answers are from the network's on the same inputs.

    Parameters
    ----------
    inputs : Tensor
        ``[T, B, N]`` as the network sees them: real currents or spikes.
    labels : Tensor
        ``[B]``.
    progress : callable, optional
        Called with (samples compared, samples in all).
    lengths : Tensor, optional
        ``[B]``, steps that belong to each sample: nothing after them is compared. Of a :class:`pnbx_snn.PNBX` only.

    Returns
    -------
    dict
        ``samples``, ``accuracy_network``, ``accuracy_program``, ``labels_equal`` (fraction), ``spikes_equal`` (fraction
        of all neuron-steps), ``firing_rate`` of the program.

    Warns
    -----
    CompileWarning
        When fewer than 99 % of the labels are equal; the message says what helps.
    """
    model.eval()
    if lengths is not None and not isinstance(model, PNBX):
        raise CompileError(f"measure_agreement: lengths are for a pnbx_snn.PNBX, got a {type(model).__name__}")
    where, layers = "measure_agreement", spiking_layers(program)
    beside_torch = max(1, torch.get_num_threads() - 1)
    options = {"num_steps": len(inputs), "samples": len(labels), "batch": BATCH, "threads": beside_torch}
    answer = answers(program, layers, **options)
    right_network = right_program = labels_equal = spikes_equal = fired = total = 0
    with one_thread(), ThreadPoolExecutor(1, "network") as beside:
        for first in range(0, len(labels), BATCH):
            shown, truth = inputs[:, first : first + BATCH], labels[first : first + BATCH].cpu().numpy()
            steps = None if lengths is None else lengths[first : first + BATCH]
            asked = beside.submit(_network_answers, model, shown, steps)
            recording = answer(shown.cpu().numpy(), None if steps is None else steps.cpu().numpy())
            own = slice(None) if steps is None else own_steps(where, steps, *shown.shape[:2]).cpu().numpy()
            network_labels, network_spikes = asked.result()
            program_labels = recording.labels()
            right_network += int((network_labels == truth).sum())
            right_program += int((program_labels == truth).sum())
            labels_equal += int((network_labels == program_labels).sum())
            spikes = recording.spikes()
            for ours, theirs in zip(layers, network_spikes, strict=True):
                fires = spikes[ours][own]
                spikes_equal += int(np.count_nonzero(fires == theirs[own]))
                fired, total = fired + int(np.count_nonzero(fires)), total + fires.size
            if progress is not None:
                progress(min(first + BATCH, len(labels)), len(labels))
    agreement = {
        "samples": len(labels),
        "accuracy_network": right_network / len(labels),
        "accuracy_program": right_program / len(labels),
        "labels_equal": labels_equal / len(labels),
        "spikes_equal": spikes_equal / total,
        "firing_rate": fired / total,
    }
    sentence = too_few_equal(model, agreement["labels_equal"])
    if sentence:
        warn_user(sentence, CompileWarning)
    return agreement


def _network_answers(
    model: Compiled, shown: torch.Tensor, lengths: torch.Tensor | None
) -> tuple[NDArray[np.int64], list[NDArray[np.float32]]]:
    """Return a network's labels ``[B]`` and the spikes of its layers ``[T, B, N]``."""
    with torch.no_grad():
        if isinstance(model, PNBX):
            output: Any = model(shown, lengths=lengths, keep_state=False)
            logits = model.mean_logits(output.logits, lengths)
        else:
            output = model(shown)
            logits = output.logits
    return logits.argmax(dim=1).cpu().numpy(), [spikes.cpu().numpy() for spikes in output.spikes]


def too_few_equal(model: Compiled, labels_equal: float) -> str:
    """Return a sentence where fewer than 99 % of the labels are equal that says what helps, else ``""``."""
    if labels_equal >= MIN_LABELS_EQUAL:
        return ""
    remedy = "its decays have 12 fractional bits and its inputs 8; more samples tell whether the difference lasts"
    if isinstance(model, PNBX) and not model.quantize:
        remedy = "train it with quantize=True ([pnbx] quantize = true): then what is trained is what is compiled"
    return (
        f"the program gives the network's label for {100 * labels_equal:.2f} % of the samples (fewer than "
        f"{100 * MIN_LABELS_EQUAL:.0f} %): {remedy}"
    )


def spiking_layers(program: Program) -> list[str]:
    """Return the names of the ``LIF`` that are layers of the network; the interneurons of a block are not."""
    return [op.name for op in program.of_type(LIF) if not op.name.endswith("_rnn")]


def compile_run(
    run_dir: str | Path,
    *,
    part: Part = "validation",
    data: str | Path | None = None,
    glia_period: int | None = None,
    progress: Progress | None = None,
) -> Program:
    """Compile the network of a training run and store how well the program agrees with it.

    Parameters
    ----------
    run_dir : str or Path
        A folder left by ``pnbx-snn train``, or a packed file of ``pnbx-snn pack``.
    part
        The samples on which the agreement is measured: ``"validation"``, ``"train"``, or ``"test"`` for the last
        measurement.
    data : str or Path, optional
        Folder of the data sets; ``None``: that of the run, else the environment variable ``PNBX_DATA``.
    glia_period, progress
        As in :func:`compile_model` and :func:`measure_agreement`. The thresholds of the trained network are frozen.

    Returns
    -------
    Program
        With ``metadata["agreement"]`` and ``metadata["run"]``; where fewer than 99 % of the labels are equal, a
        sentence in ``metadata["assumptions"]``, which is also a :class:`neuromorphic.errors.CompileWarning`.

    Raises
    ------
    CompileError
        When the run cannot be read or the network not be compiled.
    """
    model, config, split = open_run(run_dir, part, data)
    inputs = encoded(model, split.images[:])
    program = compile_model(model, num_steps=len(inputs), glia_period=glia_period)
    measured = measure_agreement(model, program, inputs, split.labels, progress, lengths=split.lengths)
    about = {"run": Path(run_dir).name, "config": config.model_dump(), "agreement": {"part": part, **measured}}
    sentence = too_few_equal(model, measured["labels_equal"])
    compared = replace(program, metadata={**program.metadata, **about})
    return _with_assumption(compared, sentence) if sentence else compared


def _with_assumption(program: Program, sentence: str) -> Program:
    """Return a program with one more sentence in its assumptions."""
    assumptions = [*program.metadata.get("assumptions", ()), sentence]
    return replace(program, metadata={**program.metadata, "assumptions": assumptions})
