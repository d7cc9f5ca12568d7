"""The BitBrain block: pathways that read events in parallel, and a membrane that turns their currents into spikes."""

from typing import Any, NamedTuple

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized

from pnbx_snn.checks import check_input
from pnbx_snn.errors import PnbxValueError
from pnbx_snn.layers.bitlinear import BitLinear
from pnbx_snn.layers.rnn import SpikingRNN
from pnbx_snn.networks.masks import normalised, zeroed
from pnbx_snn.neurons.glia import Glia
from pnbx_snn.neurons.membrane import Membrane, MembraneState
from pnbx_snn.neurons.noise import OUNoise, OUState

PATHWAYS = ("ssm", "rnn", "fast_weights", "hippocampus")


class BitBrainState(NamedTuple):
    """What a block carries from one step to the next; a pathway that is left out has ``None``.

    Each pathway's state is of its own type; the membrane's is ``[B, H]`` twice; noise has one in training.
    """

    ssm: Any
    rnn: Any
    fast_weights: Any
    hippocampus: Any
    membrane: MembraneState
    noise: OUState | None


class BitBrain(nn.Module):
    r"""Events in, spikes out: pathways in parallel, their currents summed, normalised and given to a membrane.

    .. math::

        I_t = \operatorname{BN}\Big(e_t + \sum_p c^p_t\Big), \qquad z_t = \operatorname{Membrane}(I_t)

    where pathway :math:`p` maps events to a current, ``c, state = pathway(e, state)``. No dense matrix stands inside a
    non-linear recurrence, so all currents are known for all steps before the membrane runs. The one exception is a
    ``SpikingRNN``, which hears the block's own spikes one step late: then interneurons and membrane advance together,
    step by step, and its current comes after the norm (it is not known when the statistics are taken).

    Parameters
    ----------
    membrane
        The H neurons of the block.
    ssm, rnn, fast_weights, hippocampus
        Pathways with H events and H currents; ``None`` leaves one out. Any module with the interface will do.
    glia, noise
        Moves the membrane's thresholds (``None``: they are its own); added to the membrane in training.
    skip, norm
        Add the events themselves to the current; batch norm of H features over steps and samples, if any.

    Notes
    -----
    Shapes: events and spikes ``[T, B, H]``, so blocks stack.

    Integer counterpart: the norm, the leak and glia's thresholds fold into threshold and bias of each neuron; each
    pathway compiles to ops of its own.

    Raises
    ------
    PnbxValueError
        If nothing drives the membrane (no pathway and no skip), a part is for another number of neurons, or noise in
        training gets no generator.
    ShapeError
        If events are not ``[T, B, H]``.

    References
    ----------
    Own; the parts cite theirs. Calibration: Mishkin and Matas 2016, arXiv:1511.06422 (LSUV).

    Examples
    --------
    >>> from pnbx_snn.layers.ssm import SelectiveSSM
    >>> block = BitBrain(Membrane(16), ssm=SelectiveSSM(16, 8), norm=nn.BatchNorm1d(16, affine=False))
    >>> events = (torch.rand(10, 4, 16) < 0.2).float()  # [T, B, H]
    >>> spikes, state = block(events)
    >>> spikes.shape, state.ssm.s.shape, state.rnn
    (torch.Size([10, 4, 16]), torch.Size([4, 8]), None)
    """

    def __init__(
        self,
        membrane: Membrane,
        *,
        ssm: nn.Module | None = None,
        rnn: nn.Module | None = None,
        fast_weights: nn.Module | None = None,
        hippocampus: nn.Module | None = None,
        glia: Glia | None = None,
        noise: OUNoise | None = None,
        skip: bool = True,
        norm: nn.BatchNorm1d | None = None,
    ) -> None:
        super().__init__()
        self.d_hidden = membrane.num_neurons
        pathways = {"ssm": ssm, "rnn": rnn, "fast_weights": fast_weights, "hippocampus": hippocampus}
        if not skip and not any(pathways.values()):
            raise PnbxValueError("BitBrain: the membrane needs at least one pathway or skip=True, got neither")
        size_names = ("d_hidden", "num_neurons", "num_features")
        for name, part in {**pathways, "glia": glia, "norm": norm}.items():
            size = next((getattr(part, key) for key in size_names if hasattr(part, key)), None)
            if part is not None and size != self.d_hidden:
                raise PnbxValueError(f"BitBrain: {name} must be for the membrane's {self.d_hidden} neurons, got {size}")
        self.ssm, self.rnn, self.fast_weights, self.hippocampus = ssm, rnn, fast_weights, hippocampus
        self.membrane, self.glia, self.noise, self.norm = membrane, glia, noise, norm
        self.skip = skip

    @property
    def pathways(self) -> dict[str, nn.Module]:
        """The pathways that are there, by name."""
        named = ((name, getattr(self, name)) for name in PATHWAYS)
        return {name: pathway for name, pathway in named if pathway is not None}

    def step(
        self,
        events: Float[Tensor, "B H"],
        state: BitBrainState | None = None,
        *,
        generator: torch.Generator | None = None,
    ) -> tuple[Float[Tensor, "B H"], BitBrainState]:
        """One step, the definition: ``events`` and spikes ``[B, H]``; otherwise as :meth:`forward`."""
        check_input("BitBrain", "events", events, "[B, H]", self.d_hidden)
        states = dict.fromkeys(BitBrainState._fields) if state is None else state._asdict()
        current = events if self.skip else torch.zeros_like(events)
        feedback: Tensor | float = 0.0
        for name, pathway in self.pathways.items():
            part, states[name] = pathway.step(events, states[name])  # type: ignore[operator]
            if isinstance(pathway, SpikingRNN):
                feedback = part
            else:
                current = current + part
        current = self._normalise(current) + feedback
        noise = None
        if self.noise is not None and self.training:
            noise, states["noise"] = self.noise.step(current, states["noise"], generator=self._generator(generator))
        spikes, states["membrane"] = self.membrane.step(
            current, states["membrane"], threshold=self.threshold(), noise=noise
        )
        if isinstance(self.rnn, SpikingRNN):
            heard: Any = states["rnn"]
            states["rnn"] = heard._replace(z=spikes)
        return spikes, BitBrainState(**states)

    def forward(
        self,
        events: Float[Tensor, "T B H"],
        state: BitBrainState | None = None,
        *,
        generator: torch.Generator | None = None,
        keep_state: bool = True,
        own: Bool[Tensor, "T B"] | None = None,
    ) -> tuple[Float[Tensor, "T B H"], BitBrainState | None]:
        """All steps of a sequence: events (0 or 1) and spikes ``[T, B, H]``.

        Parameters
        ----------
        events, state
            A state of ``None`` is the beginning of a sequence.
        generator : torch.Generator, optional
            Of the noise; needed in training if the block has noise.
        keep_state : bool
            ``False``: return ``None`` in place of the state, so that a hippocampus saves the making of
            ``B x slots x H`` numbers.
        own : Tensor, ``[T, B]`` bool, optional
            Which steps are the samples' own, the first ones of each; ``None``: all. The norm looks at no others, and
            there are no spikes in them. No step sees a later one, so what is in them changes no spike.
        """
        check_input("BitBrain", "events", events, "[T, B, H]", self.d_hidden)
        states = dict.fromkeys(BitBrainState._fields) if state is None else state._asdict()
        current = events.clone() if self.skip else torch.zeros_like(events)
        for name, pathway in self.pathways.items():
            if isinstance(pathway, SpikingRNN):
                continue
            options = {"keep_state": keep_state} if name == "hippocampus" else {}
            part, states[name] = pathway(events, states[name], **options)
            current += part  # in place: a new tensor for each pathway costs more than the sum
        current = self._normalise(current, own)
        noise = None
        if self.noise is not None and self.training:
            noise, states["noise"] = self.noise(current, states["noise"], generator=self._generator(generator))
        if isinstance(self.rnn, SpikingRNN):
            spikes = self._run_with_feedback(events, current, noise, states)
        else:
            spikes, states["membrane"] = self.membrane(
                current, states["membrane"], threshold=self.threshold(), noise=noise
            )
        return zeroed(spikes, own), BitBrainState(**states) if keep_state else None

    def threshold(self) -> Float[Tensor, " H"] | None:
        """Thresholds that glia sets, ``[H]``; ``None`` without glia."""
        return None if self.glia is None else self.glia.thresholds(self.membrane.threshold, "membrane")

    @torch.no_grad()
    def calibrate(
        self, events: Float[Tensor, "T B H"], *, gain: float = 0.5, own: Bool[Tensor, "T B"] | None = None
    ) -> None:
        """Scale the initial weights so that no pathway drowns or is drowned.

        The sums of the events ``[T, B, H]`` in every matrix that reads them get a root mean square of 1, and the
        current of each pathway one of ``gain`` > 0, where events have about 0.4. Ternary values do not change, only
        their scale. Call it once, before training, on events as they will be; ``own`` as of :meth:`forward`.
        """
        seen = slice(None) if own is None else own
        check_input("BitBrain", "events", events, "[T, B, H]", self.d_hidden)
        if not gain > 0:
            raise PnbxValueError(f"BitBrain.calibrate: gain must be > 0, got {gain}")
        for pathway in self.pathways.values():
            readout = getattr(pathway, "readout", None)
            if readout is None:
                continue
            for matrix in pathway.children():
                if isinstance(matrix, BitLinear) and matrix is not readout:
                    _rescale(matrix, matrix(events)[seen], 1.0)
            _rescale(readout, pathway(events, None)[0][seen], gain)

    def _run_with_feedback(
        self, events: Tensor, current: Tensor, noise: Tensor | None, states: dict[str, Any]
    ) -> Tensor:
        """Advance spiking interneurons and membrane together; return the spikes and leave both states in ``states``."""
        assert self.rnn is not None
        threshold = self.threshold()
        spikes: list[Tensor] = []

        def driven(part: Tensor) -> Tensor:
            t = len(spikes)
            z, states["membrane"] = self.membrane.step(
                current[t] + part, states["membrane"], threshold=threshold, noise=None if noise is None else noise[t]
            )
            spikes.append(z)
            return z

        _, states["rnn"] = self.rnn(events, states["rnn"], driven=driven)
        return torch.stack(spikes)

    def _normalise(self, current: Tensor, own: Tensor | None = None) -> Tensor:
        return current if self.norm is None else normalised(self.norm, current, own)

    def _generator(self, generator: torch.Generator | None) -> torch.Generator:
        if generator is None:
            raise PnbxValueError("BitBrain: a block with noise needs a generator in training, got None")
        return generator

    def extra_repr(self) -> str:
        """Show the options in ``print(block)``."""
        return f"d_hidden={self.d_hidden}, skip={self.skip}"


def _rescale(matrix: BitLinear, output: Tensor, wanted: float) -> None:
    size = output.square().mean().sqrt()
    if size > 0 and is_parametrized(matrix, "weight"):
        matrix.weight = matrix.weight * (wanted / size)  # type: ignore[assignment]  # it takes it apart
    elif size > 0:
        matrix.weight.mul_(wanted / size)
