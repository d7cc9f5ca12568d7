"""Firing rates, measured and penalised. For the class loss use ``torch.nn.functional.cross_entropy`` on the logits."""

from collections.abc import Sequence

import torch
from jaxtyping import Float
from torch import Tensor

from pnbx_snn.errors import PnbxValueError


def _check(where: str, spikes: Sequence[Tensor]) -> None:
    if len(spikes) == 0 or any(layer.numel() == 0 for layer in spikes):
        shapes = [list(layer.shape) for layer in spikes]
        raise PnbxValueError(f"{where}: spikes must be at least one tensor, none of them empty, got shapes {shapes}")


def firing_rate(spikes: Sequence[Float[Tensor, "..."]]) -> float:
    r"""Return how often a neuron spikes per step, over all layers: 0 (silent) to 1 (every neuron at every step).

    .. math::

        r = \frac{\sum_l \sum_{t,b,n} z^l_{tbn}}{\sum_l T B N_l}

    with one tensor ``[T, B, N_l]`` for each layer, so that a layer counts by its number of neurons.

    Raises
    ------
    PnbxValueError
        If there is no layer or one is empty.

    Examples
    --------
    >>> firing_rate([torch.tensor([[[0.0, 1.0]]]), torch.tensor([[[1.0, 0.0, 0.0, 0.0]]])])
    0.3333333333333333
    """
    _check("firing_rate", spikes)
    # float64: a sum in half precision overflows.
    return sum(layer.sum(dtype=torch.float64).item() for layer in spikes) / sum(layer.numel() for layer in spikes)


def rate_penalty(spikes: Sequence[Float[Tensor, "..."]], *, target: float = 0.188) -> Float[Tensor, ""]:
    r"""Return how far the layers' firing rates are from a target, as a scalar tensor.

    .. math::

        \frac{1}{L} \sum_l \left(\bar z^l - r^*\right)^2

    with :math:`\bar z^l` the mean over steps, samples and neurons of layer ``l``, ``[T, B, N_l]`` with the surrogate's
    gradient. Add it to the loss times a weight of 1 to 20. Each layer counts the same, whatever its size.

    Raises
    ------
    PnbxValueError
        If there is no layer, one is empty, or the target is outside [0, 1].

    References
    ----------
    Own; compare ``snntorch.functional.reg.l1_rate_sparsity``, whose target is 0.

    Examples
    --------
    >>> round(rate_penalty([torch.ones(2, 1, 3), torch.zeros(2, 1, 5)], target=0.5).item(), 6)
    0.25
    """
    _check("rate_penalty", spikes)
    if not 0.0 <= target <= 1.0:
        raise PnbxValueError(f"rate_penalty: target must be in [0, 1], got {target}")
    return torch.stack([(layer.mean() - target).square() for layer in spikes]).mean()


def distillation(
    logits: Float[Tensor, "B C"], teacher: Float[Tensor, "B C"], *, temperature: float = 4.0
) -> Float[Tensor, ""]:
    r"""Return the divergence of a student's softened answers ``[B, C]`` from a teacher's, 0 where both agree.

    .. math::

        \tau^2 \, \frac{1}{B} \sum_b \mathrm{KL}\left(\operatorname{softmax}(y^{teacher}_b/\tau) \,\|\,
        \operatorname{softmax}(y_b/\tau)\right)

    The factor :math:`\tau^2` keeps the size of the gradient the same at every temperature :math:`\tau`; no gradient
    goes to the teacher.

    Raises
    ------
    PnbxValueError
        If the temperature is not > 0.

    References
    ----------
    Hinton, Vinyals and Dean 2015, arXiv:1503.02531.

    Examples
    --------
    >>> distillation(torch.tensor([[1.0, 2.0]]), torch.tensor([[3.0, 4.0]])).item()
    0.0
    """
    if not temperature > 0:
        raise PnbxValueError(f"distillation: temperature must be > 0, got {temperature}")
    ours = torch.log_softmax(logits / temperature, dim=1)
    theirs = torch.log_softmax(teacher.detach() / temperature, dim=1)
    return temperature**2 * torch.nn.functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)
