"""Firing rates, measured and penalised. For the class loss use ``torch.nn.functional.cross_entropy`` on the logits."""

from collections.abc import Sequence

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from pnbx_snn.errors import PnbxValueError, ShapeError
from pnbx_snn.networks.masks import own_steps


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
    ours, theirs = _softened(logits, teacher, temperature)
    return temperature**2 * torch.nn.functional.kl_div(ours, theirs, reduction="batchmean", log_target=True)


def _softened(logits: Tensor, teacher: Tensor, temperature: float) -> tuple[Tensor, Tensor]:
    """Return the logarithms of both answers ``[B, C]`` at a temperature."""
    if not temperature > 0:
        raise PnbxValueError(f"distillation: temperature must be > 0, got {temperature}")
    return torch.log_softmax(logits / temperature, dim=1), torch.log_softmax(teacher.detach() / temperature, dim=1)


def step_distillation(
    logits: Float[Tensor, "T B C"],
    teacher: Float[Tensor, "..."],
    *,
    temperature: float = 4.0,
    from_share: float = 0.5,
    lengths: Int64[Tensor, " B"] | None = None,
) -> Float[Tensor, ""]:
    r"""Return the divergence of a student's answers at each step from a teacher's, 0 where both agree.

    .. math::

        \tau^2 \, \frac{1}{B} \sum_b \frac{1}{|S_b|} \sum_{t \in S_b} \mathrm{KL}\left(
        \operatorname{softmax}(y^{teacher}_{tb}/\tau) \,\|\, \operatorname{softmax}(y_{tb}/\tau)\right), \qquad
        S_b = \{t : s T_b < t \le T_b\}

    with steps counted from 1 and :math:`T_b` those of the sample (``lengths``, or all): the first share :math:`s` of
    them, in which neither has seen enough, does not count. It is :func:`distillation` for the last step alone, and the
    mean of that over more.

    Raises
    ------
    PnbxValueError
        If the temperature is not > 0 or ``from_share`` is not in [0, 1).
    ShapeError
        If the two have different steps, samples or classes.

    References
    ----------
    Hinton, Vinyals and Dean 2015, arXiv:1503.02531; each step a sample of its own: own.

    Examples
    --------
    >>> steps = torch.tensor([[[1.0, 2.0]], [[0.0, 3.0]]])
    >>> wrong_at_first = torch.tensor([[[5.0, 0.0]], [[0.0, 3.0]]])
    >>> step_distillation(steps, wrong_at_first, from_share=0.5).item()
    0.0
    """
    if not 0 <= from_share < 1:
        raise PnbxValueError(f"step_distillation: from_share must be in [0, 1), got {from_share}")
    if logits.shape != teacher.shape:
        raise ShapeError(
            f"step_distillation: teacher and student must have the same steps, samples and classes, got "
            f"{list(teacher.shape)} and {list(logits.shape)}"
        )
    num_steps, batch, _ = logits.shape
    if lengths is None:
        lengths = torch.full((batch,), num_steps, device=logits.device)
    own = own_steps("step_distillation", lengths, num_steps, batch)
    number = torch.arange(1, num_steps + 1, device=logits.device).unsqueeze(1)
    counted = own & (number > from_share * lengths)  # [T, B], the last own step of each sample always
    share = (1 / counted.sum(dim=0)).expand(num_steps, -1)[counted] / batch
    ours, theirs = _softened(logits[counted], teacher[counted], temperature)  # [rows, C]
    rows = torch.nn.functional.kl_div(ours, theirs, reduction="none", log_target=True).sum(dim=1)
    return temperature**2 * (share * rows).sum()
