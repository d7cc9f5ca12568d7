"""Operations of a network, counted while it runs on data: what is added, and what silent inputs and zeros spare."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any, Literal, NamedTuple, get_args

import torch
from torch import Tensor, nn
from torch.nn.functional import conv2d

from pnbx_snn.data.split import Split
from pnbx_snn.errors import PnbxTypeError, PnbxValueError
from pnbx_snn.layers.bitconv import BitConv2d
from pnbx_snn.layers.hippocampus import Hippocampus
from pnbx_snn.layers.rnn import SpikingRNN
from pnbx_snn.layers.ssm import LTISSM
from pnbx_snn.metrics.neurobench import matrices_of, slots_answering, values_read
from pnbx_snn.networks.base import Network
from pnbx_snn.networks.pnbx import PNBX
from pnbx_snn.neurons.lif import LIFState
from pnbx_snn.training.evaluate import evaluating

Kind = Literal["additions from events", "additions from values", "multiply-accumulates", "elementwise"]
KINDS: tuple[Kind, ...] = get_args(Kind)
FROM_VALUES = ("C", "V", "Q", "readout")
"""Matrices that read states or means; all others read events, or what a sample has, at the first layer."""


class Operations(NamedTuple):
    """Operations of one step of one sample.

    An addition is one ternary weight met by one input: added, subtracted, or (a zero weight, a silent input) skipped. A
    graded event is a power of two, 1, 2 or 4: whatever its size, it costs one addition, of the shifted weight.
    Elementwise: one multiplication, addition, comparison or table look-up of a number.

    Parameters
    ----------
    part, name, kind
        Whose they are; see :data:`KINDS`.
    dense
        If nothing were skipped.
    executed, density
        On data: operations, and the share of the inputs that are not 0; ``None``: not counted.
    """

    part: str
    name: str
    kind: Kind
    dense: float | int
    executed: float | int | None = None
    density: float | int | None = None


def additions(weights: Tensor, inputs: Tensor) -> tuple[float, float]:
    """Count the additions of ternary weights ``[out, in]`` times inputs ``[..., in]``: all, and those without a 0.

    A :class:`PnbxValueError` if the sizes do not fit.

    Examples
    --------
    >>> additions(torch.tensor([[1, 0], [-1, 1]]), torch.tensor([[1, 0], [1, 1]]))
    (8.0, 5.0)
    """
    if weights.ndim != 2 or inputs.shape[-1] != weights.shape[1]:
        raise PnbxValueError(
            f"additions: inputs must be [..., in] for weights [out, in], got {list(inputs.shape)} and "
            f"{list(weights.shape)}"
        )
    rows = inputs.reshape(-1, inputs.shape[-1])
    met = (rows != 0).sum(dim=0, dtype=torch.float64)  # [in]
    present = (weights != 0).sum(dim=0, dtype=torch.float64)  # [in]
    return float(len(rows) * weights.numel()), float(met @ present)


def convolution_additions(layer: BitConv2d, weights: Tensor, inputs: Tensor) -> tuple[float, float]:
    """Count the additions of a ternary convolution of images ``[..., C, H, W]``: all, and those without a 0.

    Zeros around an image count as zeros that are skipped.

    Examples
    --------
    >>> layer = BitConv2d(1, 1, 2)
    >>> convolution_additions(layer, torch.tensor([[[[1, 0], [0, -1]]]]), torch.ones(1, 2, 2))
    (4.0, 2.0)
    """
    images = (inputs != 0).double().reshape(-1, *inputs.shape[-3:])
    met = conv2d(images, (weights != 0).double(), None, layer.stride, layer.padding, layer.dilation, layer.groups)
    return float(met.numel() * weights[0].numel()), float(met.sum())


class Counted(NamedTuple):
    """What :func:`count_operations` counted: operations of one step of one sample, by matrix, as means over the data.

    ``input_density`` is the share of the inputs that are not 0 after quantisation.
    """

    rows: list[Operations]
    samples: int
    steps: int
    input_density: float


def count_operations(model: Network, split: Split, *, batch_size: int = 64, seed: int = 0) -> Counted:
    """Run a calibrated network with ternary weights on samples and count; the mode it was in comes back.

    An input that is constant over the steps is multiplied once a sample, and the mean spikes are read once: those rows
    are an n-th of a step's. The numbers do not depend on ``batch_size``; ``seed`` is that of rate-coded inputs.

    Raises
    ------
    PnbxTypeError
        If the network has no ternary weights.
    PnbxValueError
        If there are no samples.
    """
    if not model.is_ternary:
        raise PnbxTypeError(f"count_operations: a [{model.section}] has no ternary weights and no events to count")
    split = split.of_equal_lengths("count_operations")
    if len(split.labels) == 0:
        raise PnbxValueError("count_operations: split must have at least one sample, got none")
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    tally: dict[tuple[str, str, Kind], list[float]] = {}  # dense, executed, inputs that are not 0, inputs
    steps = 0
    with evaluating(model), _watched(model, tally):
        for first in range(0, len(split.labels), batch_size):
            x = split.images[first : first + batch_size].to(device)
            steps = len(model.classify(x, generator=generator)[1][0])
    places = len(split.labels) * steps
    rows = [
        Operations(*key, dense / places, executed / places, active / seen)
        for key, (dense, executed, active, seen) in tally.items()
    ]
    (density,) = (row.density for row in rows if row.name in ("W_in", "W") and row.part in ("encoder", "layer 1"))
    return Counted([*rows, *_without_matrices(model)], len(split.labels), steps, float(density or 0.0))


def _without_matrices(model: nn.Module) -> list[Operations]:
    """Return the operations of states and neurons, which do not depend on the data."""
    if not isinstance(model, PNBX):
        layers: Any = model.layers
        readout: Any = model.readout
        rows = [
            Operations(f"layer {i}", "LIF", "elementwise", (4 + _of_levels(layer.neuron)) * layer.num_neurons)
            for i, layer in enumerate(layers, start=1)
        ]
        return [*rows, Operations("readout", "mean", "elementwise", readout.in_features)]
    H = model.d_hidden
    each = 4 + _of_levels(model.encoder)  # decay, add, compare, reset
    rows = [Operations("encoder", "LIF", "elementwise", each * H)]
    for number, block in enumerate(model.blocks, start=1):
        prefix = "" if len(model.blocks) == 1 else f"{number}."
        rows += [row._replace(name=prefix + row.name) for row in _of_block(block)]
    return [*rows, Operations("readout", "mean", "elementwise", H)]


def _of_levels(neurons: Any) -> int:
    """Return what graded events take besides, for each neuron: a comparison and an addition a level."""
    return 2 * (getattr(neurons, "levels", 2) - 2)


def _of_block(block: Any) -> Iterator[Operations]:
    H, ssm, rnn, fast, memory = block.d_hidden, block.ssm, block.rnn, block.fast_weights, block.hippocampus
    if ssm is not None:
        # selective: two gates, 1 - f, two products, a sum, an output gate; real: two products, a sum; complex: pairs.
        each = {"real": 3, "complex": 8}[ssm.kind] if isinstance(ssm, LTISSM) else 7
        yield Operations("ssm", "state", "elementwise", each * ssm.d_ssm)
    if rnn is not None:
        # Gate, 1 - g, two products, a sum; spiking: a sum, decay, add, compare, reset.
        yield Operations("rnn", "state", "elementwise", 5 * rnn.d_rnn)
    if fast is not None:
        products = 3 if fast.rule == "delta" else 2  # write, read, and the prediction that a delta rule corrects
        yield Operations("fast_weights", "F", "multiply-accumulates", products * fast.rank**2)
        yield Operations("fast_weights", "state", "elementwise", fast.rank**2 + fast.rank)  # the decay, the clip
    if memory is not None:
        M, written, weighted = memory.slots, memory.scope == "sequence", memory.competition == "softmax"
        if weighted or not written:
            yield Operations("hippocampus", "E, recalled", "multiply-accumulates", M * H)
        # A softmax weighs all slots in the read and the write; a winner reads and writes one row. All slots fade.
        write = M * H + (M * H if weighted else 2 * H)
        yield Operations("hippocampus", "state", "elementwise", 3 * M + written * write)
    # Sum of the pathways, bias, 1 - beta; decay, add, compare, reset; eight neighbours, shift, add.
    each = len(block.pathways) + 6 + 9 * (block.membrane.messages is not None) + _of_levels(block.membrane)
    yield Operations("membrane", "LIF", "elementwise", each * H)


def _place(name: str, num_blocks: int) -> tuple[str, str]:
    """Return part and name of a matrix: ``("ssm", "A")`` for ``"blocks.0.ssm.A"``."""
    words = name.split(".")
    if words[0] in ("encoder", "readout"):
        return words[0], "W_in" if words[0] == "encoder" else "W_o"
    if words[0] == "layers":
        return f"layer {int(words[1]) + 1}", "W"
    prefix = "" if num_blocks == 1 else f"{int(words[1]) + 1}."
    return words[2], prefix + (words[3] if len(words) > 3 else "K")


@contextmanager
def _watched(model: nn.Module, tally: dict[tuple[str, str, Kind], list[float]]) -> Iterator[None]:
    """Add what every ternary matrix reads to a tally."""

    def add(part: str, name: str, kind: Kind, weights: Tensor, inputs: Tensor, layer: Any = None) -> None:
        if isinstance(layer, BitConv2d):
            counted = convolution_additions(layer, weights, inputs)
        else:
            counted = additions(weights, inputs)
        found = *counted, float((inputs != 0).sum()), float(inputs.numel())
        tally[part, name, kind] = [a + b for a, b in zip(tally.get((part, name, kind), [0.0] * 4), found, strict=True)]

    def asked(part: str, matrix: str, ternary: Tensor, memory: Any, given: Any) -> None:
        add(part, f"{matrix}, asked", "additions from events", ternary, given[0])
        add(part, f"{matrix}, recalled", "additions from values", ternary.T, slots_answering(memory, given[0]))

    def read(part: str, matrix: str, kind: Kind, ternary: Tensor, layer: Any, given: Any) -> None:
        add(part, matrix, kind, ternary, values_read(layer, given[0]), layer)

    num_blocks = len(model.blocks) if isinstance(model, PNBX) else 1
    loops = {name: module for name, module in model.named_modules() if isinstance(module, SpikingRNN)}
    with ExitStack() as undo:
        for name, module in matrices_of(model).items():  # type: ignore[arg-type]
            ternary, (part, matrix) = module.rounded()[0], _place(name, num_blocks)
            if isinstance(module, Hippocampus):
                undo.callback(module.register_forward_pre_hook(partial(asked, part, matrix, ternary)).remove)
            elif name.rpartition(".")[0] not in loops or matrix[-1] == "W":
                spikes = module.input_range == "spikes" and name.rpartition(".")[2] not in FROM_VALUES
                kind: Kind = "additions from events" if spikes else "additions from values"
                undo.callback(module.register_forward_pre_hook(partial(read, part, matrix, kind, ternary)).remove)
        for name, rnn in loops.items():
            _watch_loop(add, rnn, _place(f"{name}.", num_blocks)[1], undo)
        yield


def _watch_loop(add: Callable[..., None], rnn: SpikingRNN, prefix: str, undo: ExitStack) -> None:
    """Count U and V of spiking interneurons, which are multiplied inside their loop, beyond hooks."""
    advance = rnn._advance

    def counted(drive: Tensor, state: Any, U: Any, V: Any) -> Any:
        add("rnn", prefix + "U", "additions from events", U.ternary, state.z)
        fired, _ = rnn.lif.step(drive + U.product(state.z.to(drive.dtype)), LIFState(state.v))
        add("rnn", prefix + "V", "additions from events", V.ternary, fired)
        return advance(drive, state, U, V)

    rnn.__dict__["_advance"] = counted
    undo.callback(rnn.__dict__.pop, "_advance", None)


def totals(rows: Sequence[Operations]) -> dict[Kind, tuple[float | int, float | int]]:
    """Return dense and executed operations of a step by kind; what was not counted on data is executed whole."""
    found: dict[Kind, tuple[float | int, float | int]] = {}
    for kind in KINDS:
        of = [row for row in rows if row.kind == kind]
        executed = sum(row.dense if row.executed is None else row.executed for row in of)
        found[kind] = (sum(row.dense for row in of), executed)
    return found


def skipped_share(rows: Sequence[Operations]) -> float:
    """Return the share of the ternary additions that silent inputs and zero weights spare."""
    dense, executed = (sum(totals(rows)[kind][i] for kind in KINDS[:2]) for i in (0, 1))
    return 1 - executed / dense if dense else 0.0
