"""A feed-forward spiking classifier: layers of ternary product, batch norm and LIF, and a ternary readout."""

from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, Any, ClassVar, NamedTuple

import torch
from annotated_types import Gt, Interval, Len
from jaxtyping import Float, Int64
from torch import Tensor, nn

from pnbx_snn.checks import Size, Steps, Written, check_finite
from pnbx_snn.data.encoding import Encoder, encode
from pnbx_snn.errors import PnbxValueError, ShapeError
from pnbx_snn.layers.bitlinear import BitLinear, InputRange
from pnbx_snn.networks.base import Network
from pnbx_snn.networks.masks import normalised, running_mean
from pnbx_snn.neurons.cells import Primitive, Reset
from pnbx_snn.neurons.graded import Levels
from pnbx_snn.neurons.lif import LIF, LIFState
from pnbx_snn.quantization import WeightScale
from pnbx_snn.surrogate import SpikeGrad
from pnbx_snn.wording import counted

MIN_THRESHOLD = 0.01
"""A learned threshold stays above this: LIF neurons and compiled programs need it positive."""


class SpikingLayer(nn.Module):
    r"""Ternary product, batch norm over steps and samples, LIF neurons.

    .. math::

        I_t = \operatorname{BN}(\gamma \tilde W x_t), \qquad z_t = \operatorname{LIF}(I_t)

    Notes
    -----
    Shapes: input ``[T, B, N_in]``, spikes ``[T, B, N_out]``; ``linear`` maps ``N_in`` to ``N_out``, ``norm`` has
    ``N_out`` features.

    An input that is constant over time (a view with stride 0, as :func:`pnbx_snn.data.encoding.direct` returns) is
    multiplied and normalised once. The result is the same. In training, the running variance is then the unbiased
    estimate from ``B`` samples instead of ``T·B``: T copies of a sample are no T samples. So in one update it is
    larger by the factor :math:`\frac{B}{B-1} \cdot \frac{TB-1}{TB}`.

    Integer counterpart: the norm folds into each neuron's threshold and bias, so the weights stay ternary.

    Raises
    ------
    ShapeError
        If the three parts do not fit each other, or the batch norm is in training and has a single row to look at.

    References
    ----------
    Zheng et al. 2021, arXiv:2011.05280 (batch norm over time and batch).

    Examples
    --------
    >>> layer = SpikingLayer(BitLinear(4, 3), nn.BatchNorm1d(3), LIF(0.9))
    >>> spikes, state = layer(torch.ones(5, 2, 4))
    >>> spikes.shape, state.v.shape
    (torch.Size([5, 2, 3]), torch.Size([2, 3]))
    """

    def __init__(self, linear: BitLinear, norm: nn.BatchNorm1d, neuron: LIF) -> None:
        super().__init__()
        if norm.num_features != linear.out_features:
            raise ShapeError(
                f"SpikingLayer: norm must have the linear's {counted(linear.out_features, 'feature')}, "
                f"got {norm.num_features}"
            )
        self.linear, self.norm, self.neuron = linear, norm, neuron

    @property
    def num_neurons(self) -> int:
        """Neurons of the layer."""
        return self.linear.out_features

    def forward(
        self, x: Float[Tensor, "T B N_in"], state: LIFState | None = None
    ) -> tuple[Float[Tensor, "T B N_out"], LIFState]:
        """Run the layer over all steps, from ``state`` (``None``: zeros); see the class."""
        num_steps = x.shape[0]
        constant = num_steps > 1 and x.stride(0) == 0
        product = self.linear(x[:1] if constant else x)  # [1 or T, B, N_out]
        if self.norm.training and product[..., 0].numel() == 1:
            raise ShapeError(
                "SpikingLayer: batch norm in training needs at least 2 samples (or steps that differ), "
                f"got 1 for {counted(product.shape[2], 'neuron')}; use a larger batch or model.eval()"
            )
        current = normalised(self.norm, product)
        spikes, state = self.neuron(current.expand(num_steps, -1, -1), state)
        return spikes, state


class ClassifierOutput(NamedTuple):
    """What :class:`SpikingClassifier` returns: logits, and of each hidden layer all spikes and the last state."""

    logits: Float[Tensor, "B C"]
    spikes: tuple[Float[Tensor, "T B _"], ...]
    state: tuple[LIFState, ...]


class SpikingClassifier(Network):
    r"""Feed-forward spiking classifier with ternary weights.

    .. math::

        z^0_t = x_t, \quad z^l_t = \operatorname{LIF}(\operatorname{BN}(\gamma_l \tilde W_l z^{l-1}_t)), \quad
        \text{logits} = \gamma_o \tilde W_o \, \frac{1}{T} \sum_t z^L_t + b

    Parameters
    ----------
    in_features, num_classes, hidden
        Inputs and classes, at least 1 each; neurons of each hidden layer, at least one layer.
    num_steps, encoder
        Steps ``T`` for which :meth:`encode` makes inputs (:meth:`forward` takes any number), and how:
        ``"direct"``, ``"rate"`` or ``"latency"``.
    beta, threshold, reset, primitive, spike_grad, learn_beta, learn_threshold
        Of every LIF neuron, see :class:`pnbx_snn.neurons.lif.LIF`. A learned one is learned per neuron.
    event_levels
        Of every LIF neuron, its ``levels``: 2 for spikes of 0 and 1, 3 or 4 for graded events.
    scale, input_range
        Scale of the ternary weights, ``"absmean"`` or ``"median"``; what the first layer sees: ``"int8"`` for values
        (then :meth:`calibrate` comes before the first call), ``"spikes"`` for 0 and 1.

    Notes
    -----
    Shapes: input ``[T, B, in_features]``, logits ``[B, num_classes]``.

    Raises
    ------
    PnbxValueError
        If ``hidden`` is empty, a size is below 1, an option is not one of those named, or the input is not finite.
    ShapeError
        If the input is not ``[T, B, in_features]``, is empty, or the state is not one for each hidden layer.

    Examples
    --------
    >>> model = SpikingClassifier(in_features=4, hidden=[16], num_classes=3, num_steps=5)
    >>> images = torch.rand(8, 4)
    >>> model.calibrate(images)
    >>> output = model(model.encode(images))
    >>> output.logits.shape, output.spikes[0].shape
    (torch.Size([8, 3]), torch.Size([5, 8, 16]))
    """

    section: ClassVar[str] = "model"
    is_ternary: ClassVar[bool] = True
    gives_steps = True

    def __init__(
        self,
        *,
        in_features: int,
        num_classes: int,
        hidden: Annotated[Sequence[int], Written(Annotated[tuple[Size, ...], Len(1, 64)])] = (256,),
        num_steps: Steps = 8,
        encoder: Encoder = "direct",
        beta: Annotated[float, Interval(ge=0, le=1)] = 0.9,
        threshold: Annotated[float, Gt(0)] = 1.0,
        reset: Reset = "zero",
        primitive: Primitive = "leaky",
        spike_grad: SpikeGrad = "atan",
        learn_beta: bool = False,
        learn_threshold: bool = False,
        scale: WeightScale = "absmean",
        input_range: InputRange = "int8",
        event_levels: Levels = 2,
    ) -> None:
        super().__init__()
        if len(hidden) == 0:
            raise PnbxValueError("SpikingClassifier: hidden must name at least one layer, got none")
        sizes = {"in_features": in_features, "num_classes": num_classes, "num_steps": num_steps}
        sizes |= {f"hidden[{i}]": size for i, size in enumerate(hidden)}
        for name, size in sizes.items():
            if size < 1:
                raise PnbxValueError(f"SpikingClassifier: {name} must be at least 1, got {size}")
        if encoder not in ("direct", "rate", "latency"):
            raise PnbxValueError(f"SpikingClassifier: encoder must be 'direct', 'rate' or 'latency', got {encoder!r}")
        self.in_features, self.num_steps = in_features, num_steps
        self.encoder: Encoder = encoder
        neurons: dict[str, Any] = {"reset": reset, "primitive": primitive, "spike_grad": spike_grad}
        neurons |= {"learn_beta": learn_beta, "learn_threshold": learn_threshold, "levels": event_levels}
        self.event_levels = event_levels
        self.layers = nn.ModuleList()
        for i, (n_in, n_out) in enumerate(pairwise([in_features, *hidden])):
            linear = BitLinear(n_in, n_out, scale=scale, input_range=input_range if i == 0 else "spikes")
            neuron = LIF(
                torch.full((n_out,), beta) if learn_beta else beta,
                threshold=torch.full((n_out,), threshold) if learn_threshold else threshold,
                **neurons,
            )
            self.layers.append(SpikingLayer(linear, nn.BatchNorm1d(n_out), neuron))
        self.readout = BitLinear(hidden[-1], num_classes, bias=True, scale=scale)

    def encode(self, x: Float[Tensor, "B N"], *, generator: torch.Generator | None = None) -> Float[Tensor, "T B N"]:
        """Encode values ``[B, in_features]`` (in [0, 1] for ``"rate"`` and ``"latency"``) over ``num_steps`` steps.

        Raises
        ------
        PnbxValueError
            If ``"rate"`` gets no generator, or the encoder refuses the values.
        """
        return encode("SpikingClassifier", self.encoder, x, self.num_steps, generator)

    @property
    def layer_names(self) -> list[str]:
        """``"layer 1"`` and so on."""
        return [f"layer {i}" for i in range(1, len(self.layers) + 1)]

    def calibrate(self, x: Float[Tensor, "*batch N"], *, lengths: Int64[Tensor, " B"] | None = None) -> None:
        """Measure the input scale of the first layer on typical values ``[..., in_features]``.

        With ``input_range="spikes"`` there is none; lengths are refused, all samples have the same steps. Raises what
        :meth:`pnbx_snn.layers.bitlinear.BitLinear.calibrate_input` does.
        """
        self.check_lengths(lengths)
        first: BitLinear = self.layers[0].linear  # type: ignore[assignment]  # ModuleList forgets the type
        if first.input_range == "int8":
            first.calibrate_input(x)

    def forward(self, x: Float[Tensor, "T B N"], state: tuple[LIFState, ...] | None = None) -> ClassifierOutput:
        """Run all steps of ``x``, from ``state`` (``None``: zeros).

        The logits are those of the steps in ``x``. Spikes and state continue exactly where the call before ended;
        the logits of a run in pieces are the mean of the pieces' logits, weighted by their steps.
        """
        self._check_input(x)
        states: tuple[LIFState | None, ...] = (None,) * len(self.layers) if state is None else state
        if len(states) != len(self.layers):
            raise ShapeError(
                f"SpikingClassifier: state must hold one LIFState for each of the {len(self.layers)} hidden layers, "
                f"got {len(states)}"
            )
        all_spikes, last_states = [], []
        for layer, before in zip(self.layers, states, strict=True):
            x, after = layer(x, before)  # [T, B, H_l]
            all_spikes.append(x)
            last_states.append(after)
        return ClassifierOutput(self.readout(x.mean(dim=0)), tuple(all_spikes), tuple(last_states))

    def classify(
        self,
        x: Float[Tensor, "B N"],
        *,
        generator: torch.Generator | None = None,
        lengths: Int64[Tensor, " B"] | None = None,
    ) -> tuple[Float[Tensor, "B C"], tuple[Float[Tensor, "T B _"], ...]]:
        """Encode values ``[B, in_features]`` and return logits and the spikes of every layer; lengths are refused."""
        self.check_lengths(lengths)
        output = self(self.encode(x, generator=generator))
        return output.logits, output.spikes

    def classify_steps(
        self,
        x: Float[Tensor, "B N"],
        *,
        generator: torch.Generator | None = None,
        lengths: Int64[Tensor, " B"] | None = None,
    ) -> tuple[Float[Tensor, "B C"], tuple[Float[Tensor, "T B _"], ...], Float[Tensor, "T B C"]]:
        """Return what :meth:`classify` does, and the logits of the mean spikes so far, of each step."""
        logits, spikes = self.classify(x, generator=generator, lengths=lengths)
        return logits, spikes, running_mean(self.readout(spikes[-1]))

    @torch.no_grad()
    def keep_in_range(self) -> None:
        """Clip learned decays to [0, 1], learned thresholds to 0.01 and more."""
        for layer in self.layers:
            neuron: LIF = layer.neuron  # type: ignore[assignment]  # ModuleList forgets the type
            if isinstance(neuron.beta, nn.Parameter):
                neuron.beta.clamp_(0.0, 1.0)
            if isinstance(neuron.threshold, nn.Parameter):
                neuron.threshold.clamp_(min=MIN_THRESHOLD)

    def _check_input(self, x: Tensor) -> None:
        if x.ndim != 3 or x.shape[2] != self.in_features:
            raise ShapeError(f"SpikingClassifier: input must be [T, B, {self.in_features}], got {list(x.shape)}")
        if x.numel() == 0:
            raise ShapeError(
                f"SpikingClassifier: input must have at least one step and one sample, got {list(x.shape)}"
            )
        check_finite("SpikingClassifier", "input", x)
