"""NeuroBench's metrics of a trained network, taken by the ``neurobench`` package itself.

NeuroBench looks for ``nn.Linear`` layers and for activations; ours are ternary matrices that compute in other ways. So
it is shown a stand-in for each: every ternary matrix as an ``nn.Linear`` of -1, 0 and 1 whose inputs are those of the
real one, and every layer of spikes as an activation. What it counts from them are its own numbers.
"""

import io
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from typing import Any

import torch
from torch import Tensor, nn

from pnbx_snn.data.split import Split
from pnbx_snn.errors import PnbxError, PnbxTypeError
from pnbx_snn.layers.bitconv import BitConv2d
from pnbx_snn.layers.hippocampus import Hippocampus
from pnbx_snn.layers.rnn import SpikingRNN
from pnbx_snn.layers.ternary_layer import TernaryLayer
from pnbx_snn.networks.base import Network
from pnbx_snn.quantization import keep_ternary, quantize_int8
from pnbx_snn.training.packed import pack_sign_bits


class TernaryMatrix(nn.Linear):
    """A ternary matrix as NeuroBench sees it: packed at two bits a weight in its buffers, -1, 0 and 1 in ``weight``.

    ``weight`` is no parameter, so that the footprint is that of the packed network; it is float64, so that sums over
    many samples stay whole numbers.
    """

    def __init__(self, ternary: Tensor, gamma: Tensor) -> None:
        nn.Module.__init__(self)
        self.out_features, self.in_features = ternary.shape
        self.bias = None  # type: ignore[assignment]
        self.weight = ternary.detach().double()
        self.register_buffer("codes", pack_sign_bits(ternary.detach().to(torch.int8)))
        self.register_buffer("gamma", gamma.detach().clone())


class PackedNetwork(nn.Module):
    """The tensors of a packed network: what NeuroBench takes footprint and connection sparsity from."""

    def __init__(self, model: Network) -> None:
        super().__init__()
        self.matrices = nn.ModuleList()
        others = dict(model.state_dict())
        for name, module in matrices_of(model).items():
            ternary, gamma = module.rounded()
            self.matrices.append(TernaryMatrix(ternary, gamma))
            del others[f"{name}.{'K' if isinstance(module, Hippocampus) else 'weight'}"]
        # Everything that is not packed: batch norms, leaks, biases, thresholds, the state of glia.
        self.others = nn.Module()
        for name, tensor in others.items():
            self.others.register_buffer(name.replace(".", "_"), tensor)


def matrices_of(model: Network) -> dict[str, TernaryLayer | Hippocampus]:
    """Return the ternary matrices that read something, by name; the edges of messages are no matrix."""
    return {name: module for name, module in model.named_modules() if isinstance(module, (TernaryLayer, Hippocampus))}


def values_read(matrix: nn.Module, x: Tensor) -> Tensor:
    """Return what a ternary matrix multiplies when it is given ``x``."""
    if isinstance(matrix, TernaryLayer) and matrix.input_range == "int8":
        return quantize_int8(x, matrix.input_scale)
    return x


def slots_answering(memory: Hippocampus, x: Tensor) -> Tensor:
    """Return what a hippocampus reads its slots with: how much each of them answers."""
    return memory._ask(x)[1]


def neurobench(model: Network, split: Split, *, batch_size: int = 64, seed: int = 0) -> dict[str, Any]:
    """Measure a calibrated network with ternary weights by NeuroBench; it is left in evaluation mode.

    The numbers depend on ``batch_size`` by rounding only; ``seed`` is that of rate-coded inputs.

    Returns
    -------
    dict
        ``footprint`` (bytes of the packed network), ``footprint_float32`` (of the same network as it is trained),
        ``connection_sparsity`` (share of zeros among the ternary weights), ``activation_sparsity`` (share of the steps
        in which a neuron is silent), ``synaptic_operations`` of a sample (``Effective_ACs`` from events,
        ``Effective_MACs`` from other values, ``Dense`` if nothing were zero), ``accuracy``, ``n`` and ``neurobench``,
        its version.

    Notes
    -----
    A synaptic operation is a nonzero weight met by a nonzero input. Counted are all ternary matrices, the hippocampus
    twice (asking and recalling). An input that is constant over the steps is multiplied once, and so is the read-out of
    the mean spikes. NeuroBench has no metric for what is no layer of weights: leaks and gates, fast weights (an outer
    product that is written and read), messages between neighbours, batch norm (which folds away).

    Raises
    ------
    PnbxError
        If NeuroBench is not installed.
    PnbxTypeError
        If the network has no ternary weights, or a spiking micro-RNN, whose loop NeuroBench cannot see.

    References
    ----------
    Yik et al. 2025, "The neurobench framework for benchmarking neuromorphic computing algorithms and systems",
    Nature Communications 16, 1545; arXiv:2304.04640.
    """
    if not model.is_ternary:
        raise PnbxTypeError(
            f"neurobench: a [{model.section}] has no ternary weights; neurobench.models.TorchModel takes it as it is"
        )
    if any(isinstance(module, BitConv2d) for module in model.modules()):
        raise PnbxTypeError("neurobench: ternary convolutions are not counted; `pnbx-snn analyze` counts them")
    split = split.of_equal_lengths("neurobench")
    if any(isinstance(module, SpikingRNN) for module in model.modules()):
        raise PnbxTypeError("neurobench: the loop of rnn = 'spiking' runs outside of layers, unseen by NeuroBench")
    try:
        from neurobench import __version__
        from neurobench.benchmarks import Benchmark
        from neurobench.metrics.static import ConnectionSparsity, Footprint
        from neurobench.metrics.workload import ActivationSparsity, ClassificationAccuracy, SynapticOperations
    except ImportError as error:
        raise PnbxError(
            f"neurobench: NeuroBench is not installed ({error}): pip install --no-deps neurobench (it asks for "
            "torchaudio, which nothing here needs)"
        ) from error
    model.eval()
    wrapped = _wrap(model, seed)
    loader: Any = torch.utils.data.DataLoader(
        range(len(split.labels)),  # type: ignore[arg-type]  # samples are read when they are asked for
        batch_size=batch_size,
        collate_fn=lambda numbers: (split.images[torch.tensor(numbers)], split.labels[numbers]),
    )
    static, workload = [Footprint, ConnectionSparsity], [ActivationSparsity, SynapticOperations, ClassificationAccuracy]
    benchmark = Benchmark(wrapped, loader, [], [], [static, workload])
    # It prints what goes wrong in a metric and returns 0: what it says is read instead of shown.
    said = io.StringIO()
    try:
        with torch.no_grad(), keep_ternary(model), redirect_stdout(said), redirect_stderr(io.StringIO()):
            found = benchmark.run(quiet=False)
    finally:
        wrapped.cleanup_hooks()
    failures = [line for line in said.getvalue().splitlines() if line.startswith("Error running")]
    if failures:
        raise PnbxError(f"neurobench: {failures[0]}")
    wrapped.net = model
    return {
        "footprint": found["Footprint"],
        "footprint_float32": Footprint()(wrapped),
        "connection_sparsity": found["ConnectionSparsity"],
        "activation_sparsity": found["ActivationSparsity"],
        "synaptic_operations": dict(found["SynapticOperations"]),
        "accuracy": found["ClassificationAccuracy"],
        "n": len(split.labels),
        "neurobench": __version__,
    }


def _wrap(model: Network, seed: int) -> Any:
    """Return the network as a ``NeuroBenchModel``."""
    from neurobench.hooks.layer import LayerHook
    from neurobench.hooks.neuron import NeuronHook
    from neurobench.models import NeuroBenchModel

    device = next(model.parameters()).device
    generator = torch.Generator(device).manual_seed(seed)

    class Inputs(LayerHook):  # type: ignore[misc]
        """What a real matrix multiplies, counted on its stand-in."""

        def __init__(self, module: nn.Module, layer: TernaryMatrix, read: Callable[..., Tensor] = values_read) -> None:
            super().__init__(None)
            self.module, self.layer, self.read = module, layer, read
            self.register_hook()

        def register_hook(self) -> None:
            self.hook = self.module.register_forward_pre_hook(self.hook_fn)

        def hook_fn(self, module: nn.Module, given: tuple[Any, ...]) -> None:
            self.inputs.append((self.read(module, given[0]).double(),))

    class Wrapped(NeuroBenchModel):  # type: ignore[misc]
        def __init__(self) -> None:
            super().__init__()
            self.net: nn.Module = PackedNetwork(model)

        def __net__(self) -> nn.Module:
            return self.net

        def __call__(self, batch: Tensor) -> Tensor:
            logits, spikes = model.classify(batch.to(device), generator=generator)
            self.activation_hooks[0].activation_outputs.extend(spikes)
            return logits.argmax(dim=1)

        def register_hooks(self) -> None:
            self.activation_hooks.append(NeuronHook(None, "spikes"))
            for module, layer in zip(matrices_of(model).values(), self.net.matrices, strict=True):  # type: ignore[arg-type]
                self.connection_hooks.append(Inputs(module, layer))
                if isinstance(module, Hippocampus):
                    ternary, gamma = module.rounded()
                    self.connection_hooks.append(Inputs(module, TernaryMatrix(ternary.T, gamma), slots_answering))

    return Wrapped()
