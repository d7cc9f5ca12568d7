"""The rivals as classifiers that are trained like PNB-X: the same data, augmentation, teacher, optimiser and epochs."""

from typing import Annotated, Any, ClassVar, Literal, get_args

import torch
from annotated_types import Interval
from jaxtyping import Float, Int64
from torch import Tensor, nn

from pnbx_snn.checks import Share, check_sizes
from pnbx_snn.errors import PnbxValueError, ShapeError
from pnbx_snn.networks.base import Network
from pnbx_snn.networks.masks import own_steps, running_mean, zeroed
from pnbx_snn.training.kinds import SIZES, Kind, register
from pnbx_snn.training.settings import DataConfig
from studies.rivals.forms import EQUAL_PARAMETERS
from studies.rivals.recurrent import GRU, DiagonalStateSpaces
from studies.rivals.sizes import nearest
from studies.rivals.static import LeNet5, mlp
from studies.rivals.transformer import Transformer

Rival = Literal["mlp", "lenet5", "gru", "ssm", "transformer"]
SEQUENCES: tuple[Rival, ...] = ("gru", "ssm", "transformer")
Layers = Annotated[int, Interval(ge=1, le=64)]
COMMAND = "python -m studies.rivals"
LARGEST = 20_000
"""Above every width that is tried."""


class Baseline(Network):
    r"""A network in floating point, without spikes, as wide as it takes to have a wanted number of parameters.

    A sequence model answers with the mean of its logits over all steps, as PNB-X does.

    Parameters
    ----------
    num_steps, in_features, num_classes
        Of a sample ``[T, N]`` (``num_steps`` is 1 for a static one) and its labels.
    kind
        ``"mlp"``: two hidden layers of equal width, ReLU; a sequence enters as one vector. ``"lenet5"``: images of
        28 x 28 only. ``"gru"``, ``"ssm"`` (:class:`~studies.rivals.DiagonalStateSpaces`, inner width
        :math:`2d`), ``"transformer"`` (causal, norms before each part, learned positions, inner width
        :math:`4d`): layers of width d.
    parameters
        The width is the one whose number of parameters is nearest. 0: that of the PNB-X reference, 5,157,888; LeNet-5
        has its own 61,706 and takes nothing else.
    num_layers
        Of a sequence model.
    num_heads
        Of a Transformer; its width is a multiple.
    dropout
        In [0, 1); before the readout, in ``"mlp"`` after each hidden layer.

    Notes
    -----
    Shapes: input ``[B, N]`` or ``[B, T, N]``, logits ``[B, C]``. It has the interface of the networks that are trained:
    ``calibrate`` (nothing to do) and ``classify``.

    Raises
    ------
    PnbxValueError
        An unknown kind, a size below 1, dropout outside [0, 1), something that LeNet-5 does not take.
    ShapeError
        A sample that is not ``[T, N]``.

    Examples
    --------
    >>> import torch
    >>> model = Baseline(28, 28, 10, kind="gru", parameters=20_000)
    >>> model(torch.rand(2, 28, 28)).shape, sum(p.numel() for p in model.parameters())
    (torch.Size([2, 10]), 20251)
    """

    section: ClassVar[str] = "baseline"

    @property
    def takes_lengths(self) -> bool:  # type: ignore[override]
        """Sequence models do: none of them lets a step see later ones."""
        return self.kind in SEQUENCES

    def __init__(
        self,
        num_steps: int,
        in_features: int,
        num_classes: int,
        *,
        kind: Rival = "mlp",
        parameters: Annotated[int, Interval(ge=0, le=10**9)] = 0,
        num_layers: Layers = 2,
        num_heads: Layers = 4,
        dropout: Share = 0.0,
    ) -> None:
        super().__init__()
        if kind not in get_args(Rival):
            raise PnbxValueError(f"Baseline: kind must be one of {', '.join(get_args(Rival))}, got {kind!r}")
        check_sizes("Baseline", num_steps=num_steps, in_features=in_features, num_classes=num_classes)
        check_sizes("Baseline", num_layers=num_layers, num_heads=num_heads)
        if parameters < 0 or not 0 <= dropout < 1:
            raise PnbxValueError(
                f"Baseline: parameters must be 0 or more and dropout in [0, 1), got {parameters} and {dropout}"
            )
        self.gives_steps = kind in SEQUENCES
        self.kind, self.num_steps, self.in_features = kind, num_steps, in_features
        if kind == "lenet5":
            sizes = [num_steps * in_features, num_classes, parameters, dropout]
            if sizes != [784, 10, 0, 0]:
                raise PnbxValueError(
                    "Baseline: lenet5 takes 784 values, 10 classes, parameters = 0 and dropout = 0, "
                    f"got {', '.join(map(str, sizes))}"
                )
            self.net: nn.Module = LeNet5()
            return

        def make(size: int) -> nn.Module:
            if kind == "mlp":
                return mlp(num_steps * in_features, size, size, num_classes, dropout=dropout)
            inputs: dict[str, Any] = {"in_features": in_features, "num_classes": num_classes}
            if kind == "gru":
                return GRU(**inputs, d_model=size, d_hidden=size, num_layers=num_layers)
            if kind == "ssm":
                return DiagonalStateSpaces(
                    **inputs, d_model=size, d_state=size, num_layers=num_layers, d_ff=2 * size, tau_max=2.0 * num_steps
                )
            return Transformer(
                **inputs,
                d_model=num_heads * size,
                num_heads=num_heads,
                num_layers=num_layers,
                d_ff=4 * num_heads * size,
                num_positions=num_steps,
                norm="before",
            )

        self.net = nearest(make, parameters or EQUAL_PARAMETERS, LARGEST)
        if isinstance(self.net, GRU | DiagonalStateSpaces | Transformer):
            self.net.readout = nn.Sequential(nn.Dropout(dropout), self.net.readout)  # type: ignore[assignment]

    def forward(self, x: Float[Tensor, "B *shape"], lengths: Int64[Tensor, " B"] | None = None) -> Float[Tensor, "B C"]:
        """Return the logits of samples ``[B, N]`` or ``[B, T, N]``, with ``lengths`` the mean over their own steps."""
        if self.kind in SEQUENCES:
            return self._mean(self._every(x, lengths), lengths)
        logits: Tensor = self.net(self._steps(x, lengths).flatten(1))
        return logits

    def classify_steps(
        self,
        x: Float[Tensor, "B *shape"],
        *,
        generator: torch.Generator | None = None,
        lengths: Int64[Tensor, " B"] | None = None,
    ) -> tuple[Float[Tensor, "B C"], tuple[()], Float[Tensor, "T B C"]]:
        """Return the logits of a sequence model, no spikes, and the logits of each step: the mean so far."""
        self.check_lengths(lengths)
        if not self.gives_steps:
            super().classify_steps(x)
        every = self._every(x, lengths)
        return self._mean(every, lengths), (), running_mean(every)

    def _mean(self, every: Tensor, lengths: Tensor | None) -> Tensor:
        if lengths is None:
            return every.mean(dim=0)
        own = own_steps("Baseline", lengths, *every.shape[:2])
        return zeroed(every, own).sum(dim=0) / lengths.unsqueeze(1)

    def _every(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """Return the logits ``[T, B, C]`` of a sequence model."""
        every: Tensor = self.net(self._steps(x, lengths).transpose(0, 1))[0]
        return every

    def _steps(self, x: Tensor, lengths: Tensor | None) -> Tensor:
        """Return samples as ``[B, T, N]``, after checking that they are."""
        steps = x.reshape(len(x), -1, x.shape[-1])
        whole = steps.shape[1] == self.num_steps or (lengths is not None and steps.shape[1] <= self.num_steps)
        if not whole or steps.shape[2] != self.in_features:
            raise ShapeError(
                f"Baseline: a sample must be {self.num_steps} steps of {self.in_features}, got shape {list(x.shape)}"
            )
        return steps

    def classify(
        self,
        x: Float[Tensor, "B *shape"],
        *,
        generator: torch.Generator | None = None,
        lengths: Int64[Tensor, " B"] | None = None,
    ) -> tuple[Float[Tensor, "B C"], tuple[Float[Tensor, "T B _"], ...]]:
        """Return the logits and no spikes; see :meth:`forward`."""
        self.check_lengths(lengths)
        return self(x, lengths), ()


def _fits(data: DataConfig, options: Any) -> None:
    """Raise unless a rival can read these samples."""
    kind = options.kind
    if kind in SEQUENCES and data.is_resolved and data.num_steps == 1:
        raise ValueError(
            f"baseline.kind = {kind!r} reads sequences: data.name must be 'mnist_rows' or 'fsdd', or 'arrays' with "
            f"sequences, got {data.name!r}"
        )
    if kind != "lenet5":
        return
    if data.name not in ("mnist", "mnist_rows"):
        raise ValueError(
            f"baseline.kind = 'lenet5' reads images of 28 x 28: data.name must be 'mnist' or 'mnist_rows', "
            f"got {data.name!r}"
        )
    for key in ("parameters", "dropout"):
        if getattr(options, key):
            raise ValueError(f"baseline.{key} must be 0 with kind = 'lenet5', got {getattr(options, key)}")


register(
    Kind(
        Baseline,
        SIZES | {"num_steps": lambda data, _: data.num_steps},
        reads=("sequences", "arrays"),
        check=_fits,
        command=COMMAND,
    )
)
