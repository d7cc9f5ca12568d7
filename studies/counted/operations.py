"""Operations of a network, counted while it runs on data: what is added, and what silent inputs and zeros spare."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn

from pnbx_snn.data.split import Split
from pnbx_snn.errors import PnbxTypeError, PnbxValueError
from pnbx_snn.layers.bitlinear import BitLinear
from pnbx_snn.layers.hippocampus import Hippocampus
from pnbx_snn.layers.rnn import SpikingRNN
from pnbx_snn.metrics.neurobench import matrices_of
from pnbx_snn.networks.base import Network
from pnbx_snn.networks.block import BitBrain
from pnbx_snn.networks.classifier import SpikingClassifier, SpikingLayer
from pnbx_snn.networks.pnbx import PNBX
from pnbx_snn.neurons.lif import LIFState
from pnbx_snn.quantization import keep_ternary, quantize_int8
from studies.claims.closed_forms import KINDS, Kind, Operations, operations, sizes_of


class Additions(NamedTuple):
    """Additions of ternary weights.

    Parameters
    ----------
    dense
        Weights met by inputs: if nothing were skipped.
    executed
        Weights of -1 or 1 met by an input that is not 0.
    """

    dense: float
    executed: float

    @property
    def skipped(self) -> float:
        """What is not done."""
        return self.dense - self.executed


def additions(weights: Tensor, inputs: Tensor) -> Additions:
    """Count the additions of a ternary product.

    Parameters
    ----------
    weights : Tensor, ``[out, in]``
        -1, 0 and 1.
    inputs : Tensor, ``[..., in]``
        Whatever it multiplies; 0 costs nothing.

    Raises
    ------
    PnbxValueError
        If the sizes do not fit.

    Examples
    --------
    >>> additions(torch.tensor([[1, 0], [-1, 1]]), torch.tensor([[1, 0], [1, 1]]))
    Additions(dense=8.0, executed=5.0)
    """
    if weights.ndim != 2 or inputs.shape[-1] != weights.shape[1]:
        raise PnbxValueError(
            f"additions: inputs must be [..., in] for weights [out, in], got {list(inputs.shape)} and "
            f"{list(weights.shape)}"
        )
    rows = inputs.reshape(-1, inputs.shape[-1])
    met = (rows != 0).sum(dim=0, dtype=torch.float64)  # [in]
    present = (weights != 0).sum(dim=0, dtype=torch.float64)  # [in]
    return Additions(float(len(rows) * weights.numel()), float(met @ present))


class Counted(NamedTuple):
    """What :func:`count_operations` counted.

    Parameters
    ----------
    rows
        Operations of one step of one sample, by matrix; ``executed`` is the mean over the samples and steps.
    samples, steps
        How many it saw, and steps of a sample.
    rates
        Spikes per neuron and step, by layer.
    input_density
        Share of the inputs that are not 0 after quantisation.
    """

    rows: list[Operations]
    samples: int
    steps: int
    rates: list[float]
    input_density: float


@torch.no_grad()
def count_operations(model: Network, split: Split, *, batch_size: int = 64, seed: int = 0) -> Counted:
    """Run a network on samples and count.

    Parameters
    ----------
    model
        A calibrated network with ternary weights; the mode it was in comes back.
    split
        Samples and classes; the classes are not looked at.
    batch_size
        Samples at a time; the numbers do not depend on it.
    seed
        Of rate-coded inputs.

    Returns
    -------
    Counted
        ``dense`` of each row equals :func:`studies.claims.closed_forms.operations`. An input that is constant over
        the steps is multiplied once a sample, and the mean spikes are read once: those rows are an n-th of a step's.

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
    was_training = model.training
    model.eval()
    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)
    tally = _Tally()
    spikes_sum: list[float] = []
    steps = neurons = 0
    try:
        with keep_ternary(model), _watched(model, tally):
            for first in range(0, len(split.labels), batch_size):
                x = split.images[first : first + batch_size].to(device)
                _, spikes = model.classify(x, generator=generator)
                steps = len(spikes[0])
                sums = [float(layer.sum(dtype=torch.float64)) / layer[0, 0].numel() for layer in spikes]
                spikes_sum = [a + b for a, b in zip(spikes_sum or [0.0] * len(sums), sums, strict=True)]
                neurons = len(sums)
    finally:
        model.train(was_training)
    assert neurons
    places = len(split.labels) * steps
    rows = []
    for key, row in tally.rows.items():
        active, seen = tally.active[key]
        executed = (row.executed or 0.0) / places
        rows.append(row._replace(dense=row.dense / places, executed=executed, density=active / seen))
    rows += [row for row in _others(model) if row.kind in KINDS[2:]]
    density = tally.inputs[0] / max(tally.inputs[1], 1.0)
    return Counted(rows, len(split.labels), steps, [total / places for total in spikes_sum], density)


class _Tally:
    """Sums over batches, by matrix."""

    def __init__(self) -> None:
        self.rows: dict[str, Operations] = {}
        self.active: dict[str, tuple[float, int]] = {}
        self.inputs = (0.0, 0.0)

    def add(self, part: str, name: str, kind: Kind, weights: Tensor, inputs: Tensor) -> None:
        found = additions(weights, inputs)
        key = f"{part}.{name}"
        before = self.rows.get(key, Operations(part, name, kind, 0.0, 0.0))
        executed = (before.executed or 0.0) + found.executed
        self.rows[key] = before._replace(dense=before.dense + found.dense, executed=executed)
        active, seen = self.active.get(key, (0.0, 0))
        self.active[key] = (active + float((inputs != 0).sum()), seen + inputs.numel())


def _others(model: Network) -> list[Operations]:
    """Operations that do not depend on the data."""
    if isinstance(model, PNBX):
        return operations(sizes_of(model))
    assert isinstance(model, SpikingClassifier)
    rows = []
    for number, layer in enumerate(model.layers, start=1):
        assert isinstance(layer, SpikingLayer)
        rows.append(Operations(f"layer {number}", "LIF", "elementwise", 4 * layer.linear.out_features))
    return [*rows, Operations("readout", "mean", "elementwise", model.readout.in_features)]


PLACES = {"encoder.linear": ("encoder", "W_in"), "readout": ("readout", "W_o")}


def _place(name: str, num_blocks: int) -> tuple[str, str]:
    """Return part and name of a matrix as :func:`operations` calls them."""
    if name in PLACES:
        return PLACES[name]
    words = name.split(".")
    if words[0] == "layers":
        return f"layer {int(words[1]) + 1}", "W"
    block = "" if num_blocks == 1 else f"{int(words[1]) + 1}."
    return words[2], block + (words[3] if len(words) > 3 else "K")


@contextmanager
def _watched(model: Network, tally: _Tally) -> Iterator[None]:
    """Tell a tally what every ternary matrix reads."""
    handles: list[Any] = []
    num_blocks = len(model.blocks) if isinstance(model, PNBX) else 1
    undo: list[Callable[[], None]] = []
    loops = {id(m) for rnn in model.modules() if isinstance(rnn, SpikingRNN) for m in (rnn.U, rnn.V)}
    events_only = {"A", "B", "D", "U", "W", "P", "K"}
    for name, module in matrices_of(model).items():
        if id(module) in loops:
            continue
        part, matrix = _place(name, num_blocks)
        ternary = module.rounded()[0]
        if isinstance(module, Hippocampus):
            handles.append(module.register_forward_pre_hook(_memory_hook(tally, matrix, ternary)))
            continue
        from_events = module.input_range == "spikes" and (
            matrix.split(".")[-1] in events_only or (part.startswith("layer") and not name.startswith("layers.0"))
        )
        from_events = from_events or (part in ("layer 1", "encoder") and module.input_range == "spikes")
        kind: Kind = "additions from events" if from_events else "additions from values"
        handles.append(module.register_forward_pre_hook(_matrix_hook(tally, part, matrix, kind, module, ternary)))
    for number, block in enumerate(model.blocks if isinstance(model, PNBX) else ()):
        assert isinstance(block, BitBrain)
        if isinstance(block.rnn, SpikingRNN):
            undo.append(_watch_loop(tally, block.rnn, "" if num_blocks == 1 else f"{number + 1}."))
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()
        for function in undo:
            function()


def _matrix_hook(
    tally: _Tally, part: str, name: str, kind: Kind, module: BitLinear, ternary: Tensor
) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    first = part in ("encoder", "layer 1")

    def hook(_: nn.Module, given: tuple[Any, ...]) -> None:
        x = quantize_int8(given[0], module.input_scale) if module.input_range == "int8" else given[0]
        tally.add(part, name, kind, ternary, x)
        if first:
            tally.inputs = (tally.inputs[0] + float((x != 0).sum()), tally.inputs[1] + x.numel())

    return hook


def _memory_hook(tally: _Tally, name: str, ternary: Tensor) -> Callable[[nn.Module, tuple[Any, ...]], None]:
    def hook(module: nn.Module, given: tuple[Any, ...]) -> None:
        assert isinstance(module, Hippocampus)
        tally.add("hippocampus", f"{name}, asked", "additions from events", ternary, given[0])
        answers = module._ask(given[0])[1]
        tally.add("hippocampus", f"{name}, recalled", "additions from values", ternary.T, answers)

    return hook


def _watch_loop(tally: _Tally, rnn: SpikingRNN, prefix: str) -> Callable[[], None]:
    """Count U and V of spiking interneurons, which are multiplied inside their loop, beyond hooks."""
    advance = rnn._advance

    def counted(drive: Tensor, state: Any, U: Any, V: Any) -> Any:
        tally.add("rnn", prefix + "U", "additions from events", U.ternary, state.z)
        fired, _ = rnn.lif.step(drive + U.product(state.z.to(drive.dtype)), LIFState(state.v))
        tally.add("rnn", prefix + "V", "additions from events", V.ternary, fired)
        return advance(drive, state, U, V)

    rnn.__dict__["_advance"] = counted
    return lambda: rnn.__dict__.pop("_advance", None)


def totals(rows: list[Operations]) -> dict[Kind, tuple[float | int, float | int]]:
    """Return dense and executed operations of a step by kind; what was not counted on data is executed whole.

    Examples
    --------
    >>> totals([Operations("ssm", "A", "additions from events", 10, 4)])["additions from events"]
    (10, 4)
    """
    found: dict[Kind, tuple[float | int, float | int]] = {}
    for kind in KINDS:
        of = [row for row in rows if row.kind == kind]
        executed = sum(row.dense if row.executed is None else row.executed for row in of)
        found[kind] = (sum(row.dense for row in of), executed)
    return found
