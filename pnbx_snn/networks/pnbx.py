"""The PNB-X network: an encoder, stacked BitBrain blocks and a ternary readout."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Annotated, Any, ClassVar, Literal, NamedTuple

import torch
from annotated_types import Ge, Gt, Interval
from jaxtyping import Float, Int64
from torch import Tensor, nn

from pnbx_snn.checks import Share, Size, Steps, check_input, check_option
from pnbx_snn.errors import PnbxValueError, ShapeError
from pnbx_snn.layers.bitlinear import BitLinear, InputRange
from pnbx_snn.layers.delays import MOST_STEPS, Delays, DelaysState
from pnbx_snn.layers.hippocampus import Competition
from pnbx_snn.layers.pathways import (
    FastWeightsRule,
    HippocampusScope,
    RNNKind,
    SSMKind,
    make_fast_weights,
    make_hippocampus,
    make_rnn,
    make_ssm,
)
from pnbx_snn.layers.stream_linear import StreamLinear
from pnbx_snn.layers.window import Window, WindowState
from pnbx_snn.networks.base import Network
from pnbx_snn.networks.block import BitBrain, BitBrainState
from pnbx_snn.networks.event_encoder import EventEncoder
from pnbx_snn.networks.input_streams import InputStreams
from pnbx_snn.networks.masks import own_steps, zeroed
from pnbx_snn.networks.readout import Readout, ReadoutKind
from pnbx_snn.neurons.cells import Reset
from pnbx_snn.neurons.glia import Glia
from pnbx_snn.neurons.graded import Levels, check_levels
from pnbx_snn.neurons.membrane import Membrane, MembraneState
from pnbx_snn.neurons.messages import Edges, TorusMessages
from pnbx_snn.neurons.noise import OUNoise
from pnbx_snn.quantization import DECAY_ONE, WeightScale
from pnbx_snn.surrogate import SpikeGrad
from pnbx_snn.wording import counted

Encoders = Literal["shared", "own"]


class PNBXState(NamedTuple):
    """What the network carries from one step to the next.

    Beside the neurons of the encoder and of each block: ``total`` ``[B, H]``, the spikes of the last block so far,
    summed in float64 (exact for longer than anybody waits), or with ``readout="leaky"`` and ``"last"`` the logits
    ``[B, C]``; the steps so far; with ``window`` above 1 and with ``input_delays`` the inputs before.
    """

    encoder: MembraneState
    blocks: tuple[BitBrainState, ...]
    total: Tensor
    num_steps: int
    window: WindowState | None = None
    delays: DelaysState | None = None


class PNBXOutput(NamedTuple):
    """What :class:`PNBX` returns.

    Logits ``[B, C]``, or ``[T, B, C]`` with ``readout="step"``; events of the encoder and spikes of each block; the
    state after the last step, ``None`` with ``keep_state=False``.
    """

    logits: Float[Tensor, "..."]
    spikes: tuple[Float[Tensor, "T B H"], ...]
    state: PNBXState | None


class PNBX(Network):
    r"""The PNB-X network.

    .. math::

        e = \operatorname{Encoder}(x), \qquad z^1 = \operatorname{BitBrain}_1(e), \quad
        z^l = \operatorname{BitBrain}_l(z^{l-1}), \qquad
        \text{logits} = \gamma_o \tilde W_o \tfrac{1}{T} \textstyle\sum_t z^L_t

    Parameters
    ----------
    in_features, num_classes
        Inputs and classes, at least 1 each. All sizes that follow default to those of the source document.
    d_hidden
        H, neurons of the encoder and of each block; a multiple of ``neurons_per_domain`` with glia, and the size of a
        torus with messages.
    num_steps, num_blocks
        Steps for which :meth:`encode` shows a static input, and BitBrain blocks, at least 1 each.
    ssm, d_ssm
        State-space pathway ``"selective"``, ``"real"``, ``"complex"`` or ``"none"``, and its S states.
    rnn, d_rnn
        Micro-RNN ``"min_gru"``, ``"spiking"`` or ``"none"``, and its R units.
    fast_weights, rank
        Rule ``"hebbian"``, ``"delta"`` or ``"none"``, and the rank r.
    hippocampus, slots, competition
        Scope ``"sequence"``, ``"persistent"`` or ``"none"``, the M slots, and ``"softmax"`` or ``"winner"``.
    messages, edges
        ``True``: neurons hear their eight neighbours on a torus, over ``"equal"`` edges or ``"ternary"`` ones: a
        learned weight in {-1, 0, 1} from each neighbour (8 H more parameters a block).
    glia, neurons_per_domain, rate_target
        ``True``: PID loops hold the firing rate of each domain at the target.
    noise_sigma, noise_tau
        OU noise on the membrane in training: standard deviation (0: none) and correlation time in steps.
    tau_max
        Longest initial time constant of SSM and min-GRU in steps, >= 2.
    beta_encoder, beta, threshold, reset, spike_grad
        Decay per step of the encoder, initial one of the membranes; the others are those of all of them.
    threshold_encoder
        Threshold of the encoder, 0 for that of the membranes.
    skip
        ``False``: a membrane hears its pathways only.
    norm
        ``"plain"``: batch norms only normalise, and the network has no parameter that the document does not count;
        ``"affine"``: they also learn gain and bias per neuron.
    scale
        Scale of the ternary weights, ``"absmean"`` or ``"median"``.
    input_range
        ``"int8"`` for values (then :meth:`calibrate` comes before the first call), ``"spikes"`` for 0 and 1.
    window
        Steps that the encoder sees at once, its own and those before it: a convolution over time, with
        ``window * in_features`` inputs. See :class:`pnbx_snn.layers.window.Window`.
    input_delays
        Longest of the delays that are learned, one for each input, 0 to 63 steps; 0: none. They come before the window.
        See :class:`pnbx_snn.layers.delays.Delays`.
    readout, dropout
        ``"mean"``: logits of the mean spikes; ``"leaky"``: those of a leaky integrator for each class after the last
        step, :math:`o_t = \lambda \odot o_{t-1} + \gamma_o \tilde W_o z^L_t`, whose decay is learned; ``"last"``: of
        the last step alone; ``"step"``: of every step. Dropout in training, in [0, 1).
    beta_readout
        Initial decay per step of a leaky readout, in (0, 1).
    event_levels, graded_blocks
        2: the encoder fires 0 or 1. 3 or 4: graded events of 0, 1, 2 or of 0, 1, 2, 4 (see
        :mod:`pnbx_snn.neurons.graded`), and with ``graded_blocks`` so do the blocks. Firing rates, which glia hold, are
        then shares of events that are not 0. A hippocampus takes spikes only; messages and the feedback of a spiking
        RNN do in blocks.
    quantize
        ``True``: gates come from the program's table, decays have its 12 fractional bits, and a hippocampus asks its
        best slot only (whatever ``competition`` says), so that the compiled program fires as the network was trained.
        ``False``: smooth gates and decays, which compiling rounds; of short or few inputs 5 to 40 % of the labels may
        then change.
    streams, encoders
        Values of each stream by its name, where the inputs of a step are several streams side by side. Each is divided
        by a scale of its own, the largest magnitude that :meth:`calibrate` saw in it, so that all use the whole range
        of 8 bits; :meth:`encode` does that, and a compiled program takes its result. ``"shared"``: every neuron of the
        encoder hears all streams; ``"own"``: each stream has an encoder of its own,
        :class:`pnbx_snn.layers.stream_linear.StreamLinear`.

    Notes
    -----
    Shapes: input ``[T, B, in_features]``. Everything recurrent is state: :meth:`stream` runs for ever in constant
    memory. With the reference sizes (784-2048-10, S 256, R 128, rank 32, 125 slots) the network counts 5,157,888
    numbers as the document counts them, see :func:`pnbx_snn.metrics.counts.parameter_table`.

    Raises
    ------
    PnbxValueError
        A size or option that is not allowed; the message of the part says which.
    ShapeError
        Input that is not ``[T, B, in_features]`` or a state for another number of blocks.

    References
    ----------
    Own, after "PNB-X vs Transformers" (2025-12-20); the parts cite theirs.

    Examples
    --------
    >>> model = PNBX(in_features=4, num_classes=3, num_steps=5, d_hidden=32, d_ssm=8, d_rnn=4, rank=4, slots=6)
    >>> images = torch.rand(8, 4)
    >>> model.calibrate(images)
    >>> output = model(model.encode(images))
    >>> output.logits.shape, [layer.shape for layer in output.spikes]
    (torch.Size([8, 3]), [torch.Size([5, 8, 32]), torch.Size([5, 8, 32])])
    >>> model = model.eval()
    >>> state = None
    >>> for x_t in model.encode(images):
    ...     logits, state = model.stream(x_t, state)
    """

    section: ClassVar[str] = "pnbx"
    is_ternary: ClassVar[bool] = True
    takes_lengths: ClassVar[bool] = True
    gives_steps = True

    def __init__(
        self,
        *,
        in_features: int,
        num_classes: int,
        d_hidden: Size = 2048,
        num_steps: Steps = 4,
        num_blocks: Annotated[int, Interval(ge=1, le=64)] = 1,
        ssm: SSMKind = "selective",
        d_ssm: Size = 256,
        rnn: RNNKind = "min_gru",
        d_rnn: Size = 128,
        fast_weights: FastWeightsRule = "hebbian",
        rank: Annotated[int, Interval(ge=1, le=4096)] = 32,
        hippocampus: HippocampusScope = "sequence",
        slots: Size = 125,
        competition: Competition = "softmax",
        messages: bool = True,
        edges: Edges = "equal",
        glia: bool = True,
        neurons_per_domain: Size = 16,
        rate_target: Annotated[float, Interval(gt=0, lt=1)] = 0.188,
        noise_sigma: Annotated[float, Interval(ge=0, le=100)] = 0.0,
        noise_tau: Annotated[float, Gt(0)] = 10.0,
        tau_max: Annotated[float, Ge(2)] = 1000.0,
        beta_encoder: Share = 0.5,
        beta: Annotated[float, Interval(gt=0, lt=1)] = 0.5,
        threshold_encoder: Annotated[float, Ge(0)] = 0.0,
        threshold: Annotated[float, Gt(0)] = 1.0,
        reset: Reset = "zero",
        spike_grad: SpikeGrad = "atan",
        skip: bool = True,
        norm: Literal["plain", "affine"] = "plain",
        scale: WeightScale = "absmean",
        input_range: InputRange = "int8",
        window: Annotated[int, Interval(ge=1, le=64)] = 1,
        input_delays: Annotated[int, Interval(ge=0, le=MOST_STEPS)] = 0,
        readout: ReadoutKind = "mean",
        beta_readout: Annotated[float, Interval(gt=0, lt=1)] = 0.9,
        dropout: Share = 0.0,
        event_levels: Levels = 2,
        graded_blocks: bool = False,
        quantize: bool = False,
        streams: Mapping[str, int] | None = None,
        encoders: Encoders = "shared",
    ) -> None:
        super().__init__()
        sizes = {"in_features": in_features, "num_classes": num_classes, "num_steps": num_steps}
        for name, size in (sizes | {"d_hidden": d_hidden, "num_blocks": num_blocks}).items():
            if size < 1:
                raise PnbxValueError(f"PNBX: {name} must be at least 1, got {size}")
        check_option("PNBX", "ssm", ssm, SSMKind)
        check_option("PNBX", "rnn", rnn, RNNKind)
        check_option("PNBX", "fast_weights", fast_weights, FastWeightsRule)
        check_option("PNBX", "hippocampus", hippocampus, HippocampusScope)
        check_option("PNBX", "edges", edges, Edges)
        check_option("PNBX", "encoders", encoders, Encoders)
        self.in_features, self.num_steps, self.d_hidden = in_features, num_steps, d_hidden
        self.quantize = quantize
        self.event_levels, self.graded_blocks = event_levels, graded_blocks
        if event_levels != 2 or graded_blocks:
            _check_graded(event_levels, graded_blocks, hippocampus, messages, rnn)
        affine = norm == "affine"
        if quantize:
            competition = "winner"
            beta_encoder = round(beta_encoder * DECAY_ONE) / DECAY_ONE
        neurons: dict[str, Any] = {"threshold": threshold, "reset": reset, "spike_grad": spike_grad}
        self.delays = Delays(in_features, max_delay=input_delays) if input_delays else None
        self.streams = InputStreams("PNBX", streams, in_features) if streams and input_range == "int8" else None
        self.window = Window(in_features, window) if window > 1 else None
        weights: dict[str, Any] = {"scale": scale, "input_range": input_range}
        linear: BitLinear | StreamLinear
        if encoders == "own" and streams:
            if window > 1:
                raise PnbxValueError(f"PNBX: encoders='own' hear one step at a time: window must be 1, got {window}")
            linear = StreamLinear(list(streams.values()), d_hidden, **weights)
        else:
            linear = BitLinear(window * in_features, d_hidden, **weights)
        fires = neurons | {"threshold": threshold_encoder or threshold}
        self.encoder = EventEncoder(
            linear, nn.BatchNorm1d(d_hidden, affine=affine), beta=beta_encoder, **fires, levels=event_levels
        )
        self.blocks = nn.ModuleList()
        neurons["levels"] = event_levels if graded_blocks else 2
        for _ in range(num_blocks):
            torus = TorusMessages(d_hidden, edges=edges) if messages else None
            self.blocks.append(
                BitBrain(
                    Membrane(d_hidden, beta=beta, messages=torus, quantize=quantize, **neurons),
                    ssm=make_ssm(ssm, d_hidden, d_ssm, scale, tau_max, quantize=quantize),
                    rnn=make_rnn(rnn, d_hidden, d_rnn, scale, tau_max, quantize=quantize),
                    fast_weights=make_fast_weights(fast_weights, d_hidden, rank, scale),
                    hippocampus=make_hippocampus(hippocampus, d_hidden, slots, competition, scale),
                    glia=Glia(d_hidden, neurons_per_domain=neurons_per_domain, target=rate_target) if glia else None,
                    noise=OUNoise(sigma=noise_sigma, tau_steps=noise_tau) if noise_sigma else None,
                    skip=skip,
                    norm=nn.BatchNorm1d(d_hidden, affine=affine),
                )
            )
        self.readout = Readout(
            d_hidden, num_classes, kind=readout, beta=beta_readout, dropout=dropout, scale=scale, quantize=quantize
        )

    @property
    def layer_names(self) -> list[str]:
        """``"encoder"``, ``"block 1"`` and so on."""
        return ["encoder", *(f"block {i}" for i in range(1, len(self.blocks) + 1))]

    @property
    def regulators(self) -> list[nn.Module]:
        """The glia of each block; none without glia."""
        return [block.glia for block in self.blocks if block.glia is not None]  # type: ignore[misc]

    def encode(
        self, x: Float[Tensor, "B *rest"], *, generator: torch.Generator | None = None
    ) -> Float[Tensor, "T B N"]:
        """Make the input of all steps: ``[B, N]`` is shown for ``num_steps``, a sequence ``[B, T, N]`` as it is.

        Streams are divided by their scales, see the class. Raises a :class:`ShapeError` if ``x`` is neither. Nothing is
        drawn, so a generator is not used.
        """
        return self._over_time(x if self.streams is None else self.streams(x))

    def _over_time(self, x: Float[Tensor, "B *rest"]) -> Float[Tensor, "T B N"]:
        if x.ndim == 2:
            return x.unsqueeze(0).expand(self.num_steps, -1, -1)
        if x.ndim == 3:
            return x.transpose(0, 1)
        raise ShapeError(f"PNBX.encode: x must be [B, N] or [B, T, N], got shape {list(x.shape)}")

    @torch.no_grad()
    def calibrate(
        self, x: Float[Tensor, "B *rest"], *, max_samples: int = 512, lengths: Int64[Tensor, " B"] | None = None
    ) -> None:
        """Measure the input scale, and scale the initial weights so that every part starts in a good range.

        The encoder's input scale covers all of ``x`` (``[B, N]`` or ``[B, T, N]``, for example the training set); the
        rest looks at the first ``max_samples``: see :meth:`pnbx_snn.networks.block.BitBrain.calibrate`. Logits start
        with a standard deviation of 1, the running statistics of the batch norms with those of these samples, so that
        a short training can be evaluated too. ``lengths`` as of :meth:`forward`.
        """
        own = None
        if self.streams is not None:
            self.streams.calibrate(x, lengths)
            x = self.streams(x)
        if lengths is not None:
            shown = self._over_time(x)  # [T, B, N]
            own = own_steps("PNBX.calibrate", lengths, len(shown), len(x))
            x = zeroed(shown, own).transpose(0, 1)
            own, lengths = own[:, :max_samples], lengths[:max_samples]
        if self.encoder.linear.input_range == "int8":
            seen = x if self.window is None else x.flatten(0, -2).abs().amax(0).repeat(self.window.num_steps)
            self.encoder.linear.calibrate_input(seen)
        generator = torch.Generator(x.device).manual_seed(0)
        with _learning_statistics(self):
            shown, _, _ = self._shown(self._over_time(x[:max_samples]), None)
            spikes = self.encoder(shown, threshold=self._encoder_threshold(), own=own)[0]
            for block in self.blocks:
                assert isinstance(block, BitBrain)
                block.calibrate(spikes, own=own)
                spikes, _ = block(spikes, generator=generator, keep_state=False, own=own)
            self.readout.calibrate(spikes, own, lengths)

    def forward(
        self,
        x: Float[Tensor, "T B N"],
        state: PNBXState | None = None,
        *,
        generator: torch.Generator | None = None,
        keep_state: bool = True,
        lengths: Int64[Tensor, " B"] | None = None,
    ) -> PNBXOutput:
        """Run all steps of ``x`` ``[T, B, in_features]``, see :meth:`encode`.

        With ``readout="mean"`` and ``"leaky"`` the logits are of all steps since the beginning, those before ``state``
        included, so a run in pieces ends with the logits of the whole.

        Parameters
        ----------
        x, state
            A state of ``None`` is the beginning of a sequence.
        generator : torch.Generator, optional
            Of the noise, needed in training if there is any.
        keep_state : bool
            ``False`` saves the making of the state, in training.
        lengths : Tensor, ``[B]``, optional
            Steps that belong to each sample, in 1..T; ``None``: all. What is in the steps after them changes nothing:
            they have no spikes and no part in batch statistics, and mean logits are of a sample's own steps. There is
            no state then, as the samples do not end together; ``readout="step"`` has logits of no meaning in them.
        """
        check_input("PNBX", "input", x, "[T, B, N]", self.in_features)
        own = None
        if lengths is not None:
            if state is not None:
                raise PnbxValueError("PNBX: lengths are those of whole samples, got a state of steps before them too")
            own = own_steps("PNBX", lengths, len(x), x.shape[1])
            x, keep_state = zeroed(x, own), False
        before = self._states(state)
        x, window, delays = self._shown(x, state)
        z, encoder = self.encoder(
            x, None if state is None else state.encoder, threshold=self._encoder_threshold(), own=own
        )
        spikes, blocks = [z], []
        for block, block_state in zip(self.blocks, before, strict=True):
            z, after = block(z, block_state, generator=generator, keep_state=keep_state, own=own)
            spikes.append(z)
            blocks.append(after)
        num_steps: int | Tensor = len(x) if lengths is None else lengths.unsqueeze(1)
        if state is not None:
            num_steps = num_steps + state.num_steps
        logits, total = self.readout.over_time(z, None if state is None else state.total, num_steps, lengths)
        if not keep_state:
            return PNBXOutput(logits, tuple(spikes), None)
        assert isinstance(num_steps, int)  # lengths keep no state
        return PNBXOutput(logits, tuple(spikes), PNBXState(encoder, tuple(blocks), total, num_steps, window, delays))

    def _shown(self, x: Tensor, state: PNBXState | None) -> tuple[Tensor, WindowState | None, DelaysState | None]:
        """Return what the encoder sees of the inputs, and what window and delays carry on."""
        window, delays = (None, None) if state is None else (state.window, state.delays)
        if self.delays is not None:
            x, delays = self.delays(x, delays)
        if self.window is not None:
            x, window = self.window(x, window)
        return x, window, delays

    def classify(
        self,
        x: Float[Tensor, "B *rest"],
        *,
        generator: torch.Generator | None = None,
        lengths: Int64[Tensor, " B"] | None = None,
    ) -> tuple[Float[Tensor, "B C"], tuple[Float[Tensor, "T B H"], ...]]:
        """Encode samples ``[B, N]`` or ``[B, T, N]``; return logits (their mean over the steps) and all spikes.

        With ``lengths`` ``[B]`` the steps are a sample's own, see :meth:`forward`.
        """
        output = self(self.encode(x), generator=generator, keep_state=False, lengths=lengths)
        return self.mean_logits(output.logits, lengths), output.spikes

    def classify_steps(
        self,
        x: Float[Tensor, "B *rest"],
        *,
        generator: torch.Generator | None = None,
        lengths: Int64[Tensor, " B"] | None = None,
    ) -> tuple[Float[Tensor, "B C"], tuple[Float[Tensor, "T B H"], ...], Float[Tensor, "T B C"]]:
        """Return what :meth:`classify` does, and the logits of each step.

        With ``readout="mean"`` and ``"step"`` they are those of the mean so far, with ``"leaky"`` and ``"last"`` those
        of the step.
        """
        logits, spikes = self.classify(x, generator=generator, lengths=lengths)
        return logits, spikes, self.readout.after_each_step(spikes[-1])

    def mean_logits(
        self, logits: Float[Tensor, "..."], lengths: Int64[Tensor, " B"] | None = None
    ) -> Float[Tensor, "B C"]:
        """Return the logits ``[B, C]`` of samples from those of :meth:`forward`: of every step, their mean."""
        if self.readout.kind != "step":
            return logits
        if lengths is None:
            return logits.mean(dim=0)
        own = own_steps("PNBX", lengths, *logits.shape[:2])
        return zeroed(logits, own).sum(dim=0) / lengths.unsqueeze(1)

    @torch.no_grad()
    def stream(self, x: Float[Tensor, "B N"], state: PNBXState | None = None) -> tuple[Float[Tensor, "B C"], PNBXState]:
        """One step of an endless input, in constant memory: ``x`` ``[B, in_features]``, logits ``[B, C]``.

        With ``readout="mean"`` the logits are of the mean since the beginning of ``state``, with ``"leaky"`` of its
        integrators, with ``"last"`` and ``"step"`` of this step. The same numbers as :meth:`forward` in evaluation
        mode, up to the rounding of sums; in training mode it raises a :class:`PnbxValueError`, as batch norm cannot
        take statistics of one step. Inside :func:`pnbx_snn.keep_ternary` weights are rounded once and not in every
        step, which is most of its time.
        """
        if self.training:
            raise PnbxValueError("PNBX.stream: the model must be in evaluation mode, got training; call model.eval()")
        check_input("PNBX.stream", "input", x, "[B, N]", self.in_features)
        shown, window, delays = self._shown(x.unsqueeze(0), state)
        events, encoder = self.encoder(
            shown, None if state is None else state.encoder, threshold=self._encoder_threshold()
        )
        z, blocks = events[0], []
        for block, block_state in zip(self.blocks, self._states(state), strict=True):
            z, after = block.step(z, block_state)  # type: ignore[operator]
            blocks.append(after)
        num_steps = 1 if state is None else state.num_steps + 1
        before = None if state is None else state.total
        logits, total = self.readout.over_time(z.unsqueeze(0), before, num_steps)
        logits = logits[0] if self.readout.kind == "step" else logits
        return logits, PNBXState(encoder, tuple(blocks), total, num_steps, window, delays)

    def adapt(self, spikes: Sequence[Float[Tensor, "*batch H"]]) -> None:
        """Let glia move the thresholds by what was fired; call it once per batch with the output's ``spikes``.

        A block's ``"encoder"`` loop watches the events it gets and its ``"membrane"`` loop its own spikes. Only the
        first block's encoder loop moves thresholds: events of later blocks are the spikes of the block before.
        """
        self.adapt_to(self.domain_rates(spikes))

    def domain_rates(self, spikes: Sequence[Float[Tensor, "*batch H"]]) -> Float[Tensor, "blocks loops domains"]:
        """Return what glia watches in ``spikes``, ``[blocks, 2, domains]``: rates of events and spikes; none: 0 blocks.

        Of samples with lengths, pass the spikes of their own steps. A batch that comes in pieces has the mean of their
        rates, weighted by their samples.
        """
        rates, fired = [], self.fired(spikes)
        for block, events, z in zip(self.blocks, fired[:-1], fired[1:], strict=True):
            glia: Any = block.glia
            if glia is not None:
                rates.append(torch.stack([glia.rates(events), glia.rates(z)]))
        return torch.stack(rates) if rates else spikes[0].new_zeros(0, 2, 0)

    def adapt_to(self, rates: Float[Tensor, "blocks loops domains"]) -> None:
        """Let glia move the thresholds by rates of :meth:`domain_rates`."""
        glia: Any
        for glia, (events, z) in zip(self.regulators, rates, strict=True):
            glia.update(events, z)

    def _encoder_threshold(self) -> Tensor | None:
        glia: Any = self.blocks[0].glia
        return None if glia is None else glia.thresholds(self.encoder.threshold, "encoder")

    def _states(self, state: PNBXState | None) -> tuple[BitBrainState | None, ...]:
        if state is None:
            return (None,) * len(self.blocks)
        if len(state.blocks) != len(self.blocks):
            raise ShapeError(f"PNBX: state must be of {counted(len(self.blocks), 'block')}, got {len(state.blocks)}")
        return state.blocks


def _check_graded(levels: int, in_blocks: bool, hippocampus: str, messages: bool, rnn: str) -> None:
    """Refuse what is defined for spikes of 0 and 1 only."""
    check_levels("PNBX", levels, "event_levels")
    if levels == 2:
        raise PnbxValueError("PNBX: graded_blocks=True needs event_levels 3 or 4, got 2")
    given = f"got event_levels={levels}"
    if hippocampus != "none":
        raise PnbxValueError(
            f'PNBX: the slots of a hippocampus take spikes, 0 or 1; use hippocampus="none" with graded events, {given} '
            f"and hippocampus={hippocampus!r}"
        )
    if in_blocks and messages:
        raise PnbxValueError(
            f"PNBX: messages are sums of spikes, 0 or 1; use messages=False with graded_blocks=True, {given}"
        )
    if in_blocks and rnn == "spiking":
        raise PnbxValueError(
            f'PNBX: the feedback of rnn="spiking" is of spikes, 0 or 1; use rnn="min_gru" or "none" with '
            f"graded_blocks=True, {given}"
        )


@contextmanager
def _learning_statistics(model: nn.Module) -> Iterator[None]:
    """Put a model in training mode, its batch norms' running statistics becoming those of the samples seen inside."""
    was_training = model.training
    momentum = {module: module.momentum for module in model.modules() if isinstance(module, nn.BatchNorm1d)}
    try:
        model.train()
        for norm in momentum:
            norm.momentum = 1.0
        yield
    finally:
        for norm, usual in momentum.items():
            norm.momentum = usual
        model.train(was_training)
