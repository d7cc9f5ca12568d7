"""A spiking convolutional classifier: ternary convolutions, batch norm, LIF and max pools, a ternary readout."""

import math
from collections.abc import Sequence
from itertools import pairwise
from typing import Annotated, ClassVar

import torch
from annotated_types import Gt, Interval, Len
from jaxtyping import Float, Int64
from torch import Tensor, nn
from torch.nn.functional import max_pool2d

from pnbx_snn.checks import Size, Steps, Written, check_finite
from pnbx_snn.data.encoding import Encoder, encode
from pnbx_snn.errors import PnbxValueError, ShapeError
from pnbx_snn.layers.bitconv import BitConv2d
from pnbx_snn.layers.bitlinear import BitLinear, InputRange
from pnbx_snn.networks.base import Network
from pnbx_snn.networks.classifier import ClassifierOutput
from pnbx_snn.neurons.cells import Primitive, Reset
from pnbx_snn.neurons.graded import Levels
from pnbx_snn.neurons.lif import LIF, LIFState
from pnbx_snn.quantization import WeightScale
from pnbx_snn.surrogate import SpikeGrad


class SpikingConvLayer(nn.Module):
    r"""Ternary convolution, batch norm over steps, samples and places, LIF neurons, and a max pool of their spikes.

    Parameters
    ----------
    linear, norm, neuron
        A convolution that leaves the size of an image as it is, a norm of its channels, and the neurons behind it.
    size
        Height and width of the images.
    pool
        Side of the windows of the max pool; 1: none. A border that fills no window is left out.

    Notes
    -----
    Shapes: input ``[T, B, C * H * W]``, in the order channel, row, column; spikes of all neurons ``[T, B, N]``, and
    what :meth:`pooled` passes on. An input that is constant over time is convolved once, as in
    :class:`pnbx_snn.networks.classifier.SpikingLayer`.

    Integer counterpart: a ``Conv`` whose weights stay ternary and shared, the norm folded into thresholds and biases of
    each channel; the largest of spikes is their OR, a ``SpikePool``, that of graded events a ``MaxPool``.

    Examples
    --------
    >>> layer = SpikingConvLayer(BitConv2d(1, 4, 3, padding=1), nn.BatchNorm2d(4), LIF(0.9), (8, 8), pool=2)
    >>> spikes, state = layer(torch.ones(5, 2, 64))
    >>> spikes.shape, layer.pooled(spikes).shape
    (torch.Size([5, 2, 256]), torch.Size([5, 2, 64]))
    """

    def __init__(
        self, linear: BitConv2d, norm: nn.BatchNorm2d, neuron: LIF, size: tuple[int, int], *, pool: int = 1
    ) -> None:
        super().__init__()
        self.linear, self.norm, self.neuron, self.size, self.pool = linear, norm, neuron, size, pool

    @property
    def num_neurons(self) -> int:
        """Neurons of all channels."""
        return self.linear.out_channels * math.prod(self.size)

    @property
    def input_shape(self) -> tuple[int, int, int]:
        """Channels, height and width of what it reads."""
        return (self.linear.in_channels, *self.size)

    def forward(
        self, x: Float[Tensor, "T B N_in"], state: LIFState | None = None
    ) -> tuple[Float[Tensor, "T B N"], LIFState]:
        """Run the layer over all steps, from ``state`` (``None``: zeros); see the class."""
        num_steps, batch = x.shape[:2]
        constant = num_steps > 1 and x.stride(0) == 0
        images = (x[:1] if constant else x).reshape(-1, *self.input_shape)
        current = self.norm(self.linear(images)).reshape(-1, batch, self.num_neurons)
        spikes, state = self.neuron(current.expand(num_steps, -1, -1), state)
        return spikes, state

    def pooled(self, spikes: Float[Tensor, "T B N"]) -> Float[Tensor, "T B N_out"]:
        """Return the largest event of every window: 1 where it holds a spike."""
        if self.pool == 1:
            return spikes
        images = spikes.reshape(-1, self.linear.out_channels, *self.size)
        return max_pool2d(images, self.pool).reshape(*spikes.shape[:2], -1)


class SpikingConvNet(Network):
    r"""Spiking convolutional classifier with ternary weights, of pictures with one channel.

    .. math::

        z^l_t = \operatorname{LIF}(\operatorname{BN}(\gamma_l \tilde W_l \star p^{l-1}_t)), \quad
        p^l_t = \operatorname{maxpool}(z^l_t), \quad
        \text{logits} = \gamma_o \tilde W_o \, \frac{1}{T} \sum_t p^L_t + b, \qquad p^0_t = x_t

    Parameters
    ----------
    height, width, num_classes
        Of the picture that a sample is, and how many classes there are.
    channels
        Of each layer, at least one layer.
    kernel_size, pool
        Odd side of all kernels, with zeros around the image so that its size stays; side of the windows of the max pool
        behind every layer, 1 for none.
    num_steps, encoder, beta, threshold, reset, primitive, spike_grad, scale, input_range, event_levels
        As of :class:`pnbx_snn.networks.classifier.SpikingClassifier`.

    Notes
    -----
    Shapes: input ``[T, B, height * width]``, logits ``[B, num_classes]``, spikes of layer l
    ``[T, B, channels[l] * H_l * W_l]``.

    Raises
    ------
    PnbxValueError
        If a size is not one that is allowed, or the pools leave nothing of the picture.
    ShapeError
        If the input is not ``[T, B, height * width]``.

    Examples
    --------
    >>> model = SpikingConvNet(8, 8, 3, channels=[4, 8], num_steps=5)
    >>> images = torch.rand(6, 64)
    >>> model.calibrate(images)
    >>> model(model.encode(images)).logits.shape
    torch.Size([6, 3])
    """

    section: ClassVar[str] = "conv"
    is_ternary: ClassVar[bool] = True

    def __init__(
        self,
        height: int,
        width: int,
        num_classes: int,
        *,
        channels: Annotated[Sequence[int], Written(Annotated[tuple[Size, ...], Len(1, 64)])] = (16, 32),
        kernel_size: Annotated[int, Interval(ge=1, le=63)] = 3,
        pool: Annotated[int, Interval(ge=1, le=64)] = 2,
        num_steps: Steps = 8,
        encoder: Encoder = "direct",
        beta: Annotated[float, Interval(ge=0, le=1)] = 0.9,
        threshold: Annotated[float, Gt(0)] = 1.0,
        reset: Reset = "zero",
        primitive: Primitive = "leaky",
        spike_grad: SpikeGrad = "atan",
        scale: WeightScale = "absmean",
        input_range: InputRange = "int8",
        event_levels: Levels = 2,
    ) -> None:
        super().__init__()
        sizes = {"height": height, "width": width, "num_classes": num_classes, "num_steps": num_steps, "pool": pool}
        sizes |= {"len(channels)": len(channels), **{f"channels[{i}]": n for i, n in enumerate(channels)}}
        for name, size in sizes.items():
            if size < 1:
                raise PnbxValueError(f"SpikingConvNet: {name} must be at least 1, got {size}")
        if kernel_size % 2 == 0 or kernel_size < 1:
            raise PnbxValueError(f"SpikingConvNet: kernel_size must be odd, got {kernel_size}")
        if encoder not in ("direct", "rate", "latency"):
            raise PnbxValueError(f"SpikingConvNet: encoder must be 'direct', 'rate' or 'latency', got {encoder!r}")
        self.num_steps, self.in_features = num_steps, height * width
        self.encoder: Encoder = encoder
        self.event_levels = event_levels
        self.layers = nn.ModuleList()
        for i, (n_in, n_out) in enumerate(pairwise([1, *channels])):
            if min(height, width) < pool:
                raise PnbxValueError(
                    f"SpikingConvNet: {len(channels)} pools of {pool} x {pool} leave nothing of the picture after {i}; "
                    "use fewer channels or pool=1"
                )
            reads = input_range if i == 0 else "spikes"
            conv = BitConv2d(n_in, n_out, kernel_size, padding=kernel_size // 2, scale=scale, input_range=reads)
            neuron = LIF(
                beta,
                threshold=threshold,
                reset=reset,
                primitive=primitive,
                spike_grad=spike_grad,
                levels=event_levels,
            )
            self.layers.append(SpikingConvLayer(conv, nn.BatchNorm2d(n_out), neuron, (height, width), pool=pool))
            height, width = height // pool, width // pool
        self.readout = BitLinear(channels[-1] * height * width, num_classes, bias=True, scale=scale)

    def encode(self, x: Float[Tensor, "B N"], *, generator: torch.Generator | None = None) -> Float[Tensor, "T B N"]:
        """Encode pictures ``[B, height * width]`` over ``num_steps`` steps, as a ``SpikingClassifier`` does."""
        return encode("SpikingConvNet", self.encoder, x, self.num_steps, generator)

    @property
    def layer_names(self) -> list[str]:
        """``"layer 1"`` and so on."""
        return [f"layer {i}" for i in range(1, len(self.layers) + 1)]

    def calibrate(self, x: Float[Tensor, "*batch N"], *, lengths: Int64[Tensor, " B"] | None = None) -> None:
        """Measure the input scale of the first layer on typical pictures; with spikes as inputs there is none."""
        self.check_lengths(lengths)
        first: SpikingConvLayer = self.layers[0]  # type: ignore[assignment]  # ModuleList forgets the type
        if first.linear.input_range == "int8":
            first.linear.calibrate_input(x.reshape(-1, *first.input_shape))

    def forward(self, x: Float[Tensor, "T B N"], state: tuple[LIFState, ...] | None = None) -> ClassifierOutput:
        """Run all steps of ``x``, from ``state`` (``None``: zeros); the logits are those of the steps in ``x``."""
        if x.ndim != 3 or x.shape[2] != self.in_features or x.numel() == 0:
            raise ShapeError(f"SpikingConvNet: input must be [T, B, {self.in_features}], got {list(x.shape)}")
        check_finite("SpikingConvNet", "input", x)
        states: tuple[LIFState | None, ...] = (None,) * len(self.layers) if state is None else state
        if len(states) != len(self.layers):
            raise ShapeError(
                f"SpikingConvNet: state must hold one LIFState for each of the {len(self.layers)} layers, "
                f"got {len(states)}"
            )
        all_spikes, last_states = [], []
        for layer, before in zip(self.layers, states, strict=True):
            spikes, after = layer(x, before)
            x = layer.pooled(spikes)  # type: ignore[operator]  # ModuleList forgets the type
            all_spikes.append(spikes)
            last_states.append(after)
        return ClassifierOutput(self.readout(x.mean(dim=0)), tuple(all_spikes), tuple(last_states))

    def classify(
        self,
        x: Float[Tensor, "B N"],
        *,
        generator: torch.Generator | None = None,
        lengths: Int64[Tensor, " B"] | None = None,
    ) -> tuple[Float[Tensor, "B C"], tuple[Float[Tensor, "T B _"], ...]]:
        """Encode pictures ``[B, height * width]``; return logits and the spikes of every layer; lengths are refused."""
        self.check_lengths(lengths)
        output = self(self.encode(x, generator=generator))
        return output.logits, output.spikes
