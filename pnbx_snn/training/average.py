"""The average of the weights over the steps of a training, which is evaluated and saved in place of the last ones."""

import torch
from torch import Tensor, nn

from pnbx_snn.errors import PnbxValueError
from pnbx_snn.files.tensors import Tensors


class Average:
    r"""An exponential moving average of all parameters of a network, latent weights included.

    .. math::

        \bar w_n = d_n \bar w_{n-1} + (1 - d_n) w_n, \qquad d_n = \min\left(d, \frac{1 + n}{10 + n}\right)

    after the step :math:`n = 1, 2, \dots` of the optimiser, from :math:`\bar w_0 = w_0`. The smaller decay of the first
    steps lets the average forget the initial weights. Ternary layers round the averaged latent weights.

    Between :meth:`put_in` and :meth:`take_out` the network holds the average; what is in it then may be measured and
    saved, and what happens to it leaves the training as it was. Buffers are those of the network in training: batch
    norm's statistics do not fit the average before :func:`pnbx_snn.training.reestimate.reestimate` measures them.

    Parameters
    ----------
    model
        The network in training.
    decay
        :math:`d` per step, in (0, 1): 0.999 averages over about the last 1000 steps.

    Raises
    ------
    PnbxValueError
        If the decay is not in (0, 1).

    References
    ----------
    Polyak and Juditsky 1992, doi:10.1137/0330046; Tarvainen and Valpola 2017, arXiv:1703.01780 (exponential, with a
    smaller decay at first); Izmailov et al. 2018, arXiv:1803.05407 (batch norm measured anew).

    Examples
    --------
    >>> model = nn.Linear(1, 1, bias=False)
    >>> _ = nn.init.zeros_(model.weight)
    >>> average = Average(model, 0.5)
    >>> _ = nn.init.ones_(model.weight)
    >>> average.update(20)
    >>> average.put_in()
    >>> model.weight.item()
    0.5
    >>> average.take_out()
    >>> model.weight.item()
    1.0
    """

    def __init__(self, model: nn.Module, decay: float) -> None:
        if not 0 < decay < 1:
            raise PnbxValueError(f"Average: decay must be in (0, 1), got {decay}")
        self._model, self._decay = model, decay
        self._values = [parameter.detach().clone() for parameter in model.parameters()]
        self._trained: Tensors = {}

    @torch.no_grad()
    def update(self, step: int) -> None:
        """Take the parameters after a step of the optimiser into the average; steps count from 1."""
        decay = min(self._decay, (1 + step) / (10 + step))
        torch._foreach_lerp_(self._values, self._parameters(), 1 - decay)

    def put_in(self) -> None:
        """Let the network hold the average; its own state is kept."""
        self._trained = {name: tensor.detach().clone() for name, tensor in self._model.state_dict().items()}
        with torch.no_grad():
            torch._foreach_copy_(self._parameters(), self._values)

    def take_out(self) -> None:
        """Let the network hold the state in which it is trained."""
        self._model.load_state_dict(self._trained)
        self._trained = {}

    def trained_state(self) -> Tensors:
        """Return, while the network holds the average, the state in which it is trained; it may be written into."""
        return self._trained

    def restore(self) -> None:
        """Take what the network holds now as the average, and let it hold the :meth:`trained_state` again."""
        with torch.no_grad():
            torch._foreach_copy_(self._values, self._parameters())
        self.take_out()

    def _parameters(self) -> list[Tensor]:
        return [parameter.detach() for parameter in self._model.parameters()]
