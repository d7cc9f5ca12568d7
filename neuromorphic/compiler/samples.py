"""The samples of a training run, as the inputs that its program takes."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Literal, NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray

from neuromorphic.errors import CompileError
from neuromorphic.wording import counted
from pnbx_snn.data.catalog import load_split
from pnbx_snn.data.split import Split
from pnbx_snn.errors import PnbxError
from pnbx_snn.networks.classifier import SpikingClassifier
from pnbx_snn.networks.conv import SpikingConvNet
from pnbx_snn.networks.pnbx import PNBX
from pnbx_snn.training.checkpoint import load_run
from pnbx_snn.training.config import Config
from pnbx_snn.training.packed import load_packed

Compiled = PNBX | SpikingClassifier | SpikingConvNet
NETWORKS = (PNBX, SpikingClassifier, SpikingConvNet)
"""What is compiled as a whole, without a sample that shows how its modules are connected."""
Part = Literal["train", "validation", "test"]


class RunSamples(NamedTuple):
    """Samples of a run as its program takes them.

    Attributes
    ----------
    inputs : NDArray
        ``[T, B, N]``, or ``[B, N]`` where every step shows the same values; real values as float32, spikes as uint8.
    labels : NDArray
        ``[B]`` int64.
    lengths : NDArray or None
        ``[B]`` int64: steps that belong to each sample, for :func:`neuromorphic.run`; ``None``: all.
    total : int
        Samples of the whole part.
    """

    inputs: NDArray[np.float32] | NDArray[np.uint8]
    labels: NDArray[np.int64]
    lengths: NDArray[np.int64] | None
    total: int


def open_run(run: str | Path, part: Part, data: str | Path | None) -> tuple[Compiled, Config, Split]:
    """Load the network of a run or of a packed file, its configuration and a part of its data.

    A :class:`CompileError` if it cannot be read, is of a network that has no program, or its data are not there.
    """
    try:
        model, config = load_packed(run)[:2] if Path(run).is_file() else load_run(run)
        if not isinstance(model, NETWORKS):
            raise CompileError(
                f"{run}: a {type(model).__name__} cannot be compiled; what can is a PNBX ([pnbx] in the "
                "configuration), a SpikingClassifier ([model]) or a SpikingConvNet ([conv])"
            )
        section = config.data if data is None else config.data.model_copy(update={"folder": str(data)})
        return model, config, load_split(section, part)
    except PnbxError as error:
        raise CompileError(str(error)) from error


def encoded(model: Compiled, images: torch.Tensor) -> torch.Tensor:
    """Return the inputs of all steps, ``[T, B, N]``; an encoder that draws spikes draws the same ones each time."""
    seeded = {} if isinstance(model, PNBX) else {"generator": torch.Generator().manual_seed(0)}
    return model.encode(images, **seeded)


def run_samples(
    run: str | Path, *, part: Part = "test", samples: slice = slice(None), data: str | Path | None = None
) -> RunSamples:
    """Read samples of the data set that a run was trained on, as the inputs of its program.

    They are the inputs on which :func:`neuromorphic.compiler.compile_run` measures the agreement, to the bit: where an
    encoder draws spikes, a sample has the same ones whichever others are read with it.

    Parameters
    ----------
    run : str or Path
        A folder left by ``pnbx-snn train``, or a packed file of ``pnbx-snn pack``.
    part : {"test", "validation", "train"}
        Which part of the data.
    samples : slice
        Which samples of the part, in its order.
    data : str or Path, optional
        Folder of the data sets; ``None``: that of the run, else the environment variable ``PNBX_DATA``.

    Raises
    ------
    CompileError
        When the run or its data cannot be read, or the part has none of these samples.

    Examples
    --------
    >>> run_samples("no_such_run")
    Traceback (most recent call last):
    neuromorphic.errors.CompileError: no_such_run/checkpoint.safetensors: no such file
    """
    model, _, split = open_run(run, part, data)
    total = len(split.labels)
    labels, lengths = split.labels[samples], None if split.lengths is None else split.lengths[samples]
    if not len(labels):
        asked = ":".join("" if end is None else str(end) for end in (samples.start, samples.stop))
        raise CompileError(f"{run}: samples {asked} of its {part} part are none; it has {counted(total, 'sample')}")
    if getattr(model, "encoder", None) == "rate":  # what it draws for a sample depends on those before it
        inputs = encoded(model, split.images[:])[:, samples]
    else:
        inputs = encoded(model, split.images[samples])  # [T, B, N]
    first: Any = model.encoder if isinstance(model, PNBX) else model.layers[0]
    array = (inputs[0] if inputs.stride(0) == 0 else inputs).numpy()
    if first.linear.input_range == "spikes" and ((array == 0) | (array == 1)).all():
        array = array.astype(np.uint8)
    return RunSamples(array, labels.numpy(), None if lengths is None else lengths.numpy(), total)
