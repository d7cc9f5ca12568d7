"""Batch norm statistics measured anew, on samples as they are when the network is used."""

from collections.abc import Iterable

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from pnbx_snn.networks.base import Network
from pnbx_snn.quantization import keep_ternary

Batch = tuple[Tensor, Tensor | None]
"""Samples and their lengths, ``None`` if all have as many steps."""


def batch_norms(model: nn.Module) -> list[_BatchNorm]:
    """Return the batch norms of a network that have running statistics."""
    return [module for module in model.modules() if isinstance(module, _BatchNorm) and module.track_running_stats]


def reestimate(model: Network, batches: Iterable[Batch], *, generator: torch.Generator | None = None) -> None:
    r"""Set the running statistics of all batch norms to their means over some batches.

    .. math::

        \hat\mu = \frac{1}{n} \sum_{i=1}^{n} \mu_i, \qquad \hat\sigma^2 = \frac{1}{n} \sum_{i=1}^{n} \sigma_i^2

    with the mean and the unbiased variance of each batch. A norm sees what the layers before it make of the batch
    normalised by its own statistics, so one pass is enough. Everything else is in evaluation mode: no dropout, no
    noise. The training's own statistics are moving averages over some ten batches, of samples that were changed and of
    weights that went on changing.

    Parameters
    ----------
    model
        A calibrated network; without batch norms, or without batches, nothing happens.
    batches
        Samples as the network will see them, and their lengths.
    generator
        Of an encoder that draws spikes.

    References
    ----------
    Izmailov et al. 2018, arXiv:1803.05407, section 3.2.
    """
    norms = batch_norms(model)
    if not norms:
        return
    was_training, momenta = model.training, [norm.momentum for norm in norms]
    model.eval()
    try:
        with torch.no_grad(), keep_ternary(model):
            for number, (images, lengths) in enumerate(batches):
                if number == 0:
                    for norm in norms:
                        norm.reset_running_stats()
                        norm.momentum = None  # the mean of all batches
                        norm.train()
                model.classify(images, generator=generator, lengths=lengths)
    finally:
        for norm, momentum in zip(norms, momenta, strict=True):
            norm.momentum = momentum
        model.train(was_training)
