"""``reset``: forget the hidden state of every neuron of a network."""

import snntorch
from torch import nn


def reset(net: nn.Module) -> None:
    """Set the hidden state of every snnTorch neuron in a network, at any depth, to zero, cut off from the graph.

    For neurons with ``init_hidden=True``, before each new sequence; :class:`~pnbx_snn.neurons.leaky.Leaky` is one of
    them. Layers with explicit state (:class:`~pnbx_snn.neurons.lif.LIF` and all others here) have nothing to reset:
    leave their state out. What is learned or adapted over sequences (glia, a persistent hippocampus) stays.
    ``snntorch.utils.reset`` reaches direct children only, and clears the neurons of every other network too.

    Examples
    --------
    >>> import torch, pnbx_snn
    >>> net = nn.Sequential(nn.Sequential(pnbx_snn.Leaky(beta=0.9, init_hidden=True)))
    >>> spikes = net(torch.ones(1, 2))
    >>> reset(net)
    >>> net[0][0].mem.tolist()
    [[0.0, 0.0]]
    """
    for module in net.modules():
        if isinstance(module, snntorch.SpikingNeuron) and hasattr(module, "reset_mem"):
            module.reset_mem()
