"""What a training does to weights beside the steps of its optimiser: float first, freezing, an average."""

from typing import Any

from torch import nn

from pnbx_snn.files.tensors import Tensors
from pnbx_snn.quantization import WeightsInUse, use_weights
from pnbx_snn.training.average import Average
from pnbx_snn.training.flips import FlipFreezer
from pnbx_snn.training.settings import TrainConfig


class Recipe:
    """The options of ``[train]`` that act around each step; those that are off do nothing and hold nothing.

    Parameters
    ----------
    model
        The network to train. It has the weights of the first step at once, so that it is calibrated with them.
    settings
        ``average``, ``float_share`` and ``freeze_flips`` are read.
    num_steps
        Steps of the optimiser in the whole training, counted from 1.
    """

    def __init__(self, model: nn.Module, settings: TrainConfig, num_steps: int) -> None:
        self._model, self._settings, self._num_steps = model, settings, num_steps
        self._float_steps = round(settings.float_share * num_steps)
        self.average: Average | None = None
        self.freezer: FlipFreezer | None = None
        self.before_step(1)

    def start(self) -> None:
        """Look at the weights from which the training starts."""
        settings = self._settings
        if settings.average:
            self.average = Average(self._model, settings.average)
        if settings.freeze_flips:
            first = max(self._num_steps // 2, self._float_steps) + 1
            self.freezer = FlipFreezer(self._model, settings.freeze_flips, first=first, last=self._num_steps)

    def before_step(self, step: int) -> None:
        """Let the network have the weights of this step: latent ones at first, then ternary ones."""
        self._weights: WeightsInUse = "float" if step <= self._float_steps else "ternary"
        use_weights(self._model, self._weights)

    def after_step(self, step: int) -> None:
        """Freeze what flips, and take the weights into their average."""
        if self.freezer is not None:
            self.freezer.update(step)
        if self.average is not None:
            self.average.update(step)

    def metrics(self) -> dict[str, Any]:
        """Return what an epoch's metrics say of the options that are on."""
        found: dict[str, Any] = {"weights": self._weights} if self._float_steps else {}
        return found if self.freezer is None else {**found, "frozen_weights": self.freezer.share()}

    def state(self) -> Tensors:
        """Return what a training needs to go on, to be read or written into; with an average, while it is put in."""
        found: Tensors = {} if self.freezer is None else {f"flips.{k}": x for k, x in self.freezer.state().items()}
        if self.average is not None:
            found |= {f"model.{k}": x for k, x in self.average.trained_state().items()}
        return found
