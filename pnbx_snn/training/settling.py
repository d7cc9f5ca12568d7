"""Regulators of a trained network, glia above all, come to rest on samples as they are."""

from collections.abc import Iterable

import torch
from torch import Tensor

from pnbx_snn.networks.base import Network
from pnbx_snn.networks.masks import own_steps
from pnbx_snn.training.reestimate import Batch


def settle(model: Network, batches: Iterable[Batch]) -> None:
    """Let regulators settle in evaluation mode, the state in which the network is used; then it is in training mode.

    Without regulators nothing is drawn from ``batches``, samples and their lengths.
    """
    if not model.regulators:
        return
    model.eval()
    for regulator in model.regulators:
        regulator.train()
    for images, lengths in batches:
        with torch.no_grad():
            _, spikes = model.classify(images, lengths=lengths)
        model.adapt_to(model.domain_rates(in_own_steps(spikes, lengths)))
    model.train()


def in_own_steps(spikes: tuple[Tensor, ...], lengths: Tensor | None) -> tuple[Tensor, ...]:
    """Return the spikes of which rates are taken: those of the samples' own steps, ``[steps, N]``."""
    if lengths is None or not spikes:
        return spikes
    own = own_steps("training", lengths, *spikes[0].shape[:2])
    return tuple(layer[own] for layer in spikes)
