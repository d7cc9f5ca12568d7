"""How a claim about a library is checked: by doing it, or by a search of its source where the claim is a "no"."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

import neuromorphic
import pnbx_snn as pnbx
from neuromorphic.compiler import graph_of
from neuromorphic.executors import EXECUTORS
from studies.bench.lif_rivals import NEURONS

PEERS = {
    "PNB-X": "pnbx_snn",
    "snnTorch 1.0": "snntorch",
    "Norse 1.1": "norse",
    "SpikingJelly 2.0": "spikingjelly",
    "lava-dl 0.6": "lava.lib.dl.slayer",
}
"""Columns of the table, and the package of each."""
Check = Callable[[str], bool]


def installed(package: str) -> bool:
    """Say whether a package can be found."""
    try:
        return find_spec(package) is not None
    except ModuleNotFoundError:  # of the package that it lies in
        return False


def part(peer: str, name: str = "") -> Any:
    """Import a library, or a module of it."""
    return import_module(f"{PEERS[peer]}.{name}" if name else PEERS[peer])


def says(peer: str, pattern: str, suffix: str = "py") -> int:
    """Count a regular expression in a library's source, without its tests and examples."""
    folders = find_spec(PEERS[peer]).submodule_search_locations  # type: ignore[union-attr]
    files = [file for folder in folders or () for file in Path(folder).rglob(f"*.{suffix}")]
    texts = [file.read_text(errors="replace") for file in files if not {"test", "examples"} & set(file.parts)]
    return sum(len(re.findall(pattern, text, re.IGNORECASE)) for text in texts)


def no(pattern: str) -> Check:
    """Return the check that a library's source does not have a pattern."""
    return lambda peer: not says(peer, pattern)


def has(module: str, *names: str) -> Check:
    """Return the check that a module can be imported and has these names."""
    return lambda peer: all(hasattr(part(peer, module), name) for name in names)


def spikes(peer: str, current: Tensor) -> Tensor:
    """Run a layer of each library's plainest neuron over ``[T, B, N]``."""
    if peer.startswith("lava-dl"):
        lif = part(peer).neuron.cuba.Neuron(threshold=1.0, current_decay=1.0, voltage_decay=0.1)
        out: Tensor = lif(current.permute(1, 2, 0)).permute(2, 0, 1)
        return out
    return NEURONS["PNB-X LIF" if peer == "PNB-X" else peer.split()[0]]("cpu")(current)


def trains(peer: str) -> bool:
    """Check that spikes are 0 or 1 and that a gradient goes through them."""
    current = torch.rand(20, 2, 3, requires_grad=True)
    z = spikes(peer, current)
    (gradient,) = torch.autograd.grad(z.sum(), current)
    return set(z.flatten().tolist()) == {0.0, 1.0} and bool(gradient.any())


def graph_size(peer: str, num_steps: int) -> int:
    """Count the nodes of the backward graph: with one operator for all steps it does not grow with the steps."""
    seen, waiting = set(), [spikes(peer, torch.rand(num_steps, 2, 3, requires_grad=True)).grad_fn]
    while waiting:
        node = waiting.pop()
        if node is not None and node not in seen:
            seen.add(node)
            waiting += [following for following, _ in node.next_functions]
    return len(seen)


def one_operator(peer: str) -> bool:
    """Check that a whole sequence is one operator."""
    return graph_size(peer, 8) == graph_size(peer, 16)


def ternary(peer: str) -> bool:
    """Check that our weights in training, which are what single spikes read, are -1, 0 and 1 times one number."""
    weights: Tensor = pnbx.BitLinear(64, 64)(torch.eye(64))
    return weights.requires_grad and set((weights / weights.max()).flatten().tolist()) == {-1.0, 0.0, 1.0}


def neurons(number: int) -> Check:
    """Return the check that a library exports so many spiking neurons, by the names that each uses for them."""

    def check(peer: str) -> bool:
        library = peer.split()[0]
        if library == "lava-dl":
            names = [name for name, module in vars(part(peer, "neuron")).items() if hasattr(module, "Neuron")]
        elif library == "Norse":
            names = [name.replace("Recurrent", "") for name in dir(part(peer, "torch")) if name.endswith("Cell")]
        elif library == "SpikingJelly":
            names = [name for name in dir(part(peer, "activation_based.neuron")) if name.endswith("Node")]
        else:
            kinds = [kind for kind in vars(part(peer)).values() if isinstance(kind, type)]
            names = [kind.__name__ for kind in kinds if issubclass(kind, nn.Module) and kind.__name__ != "GradedSpikes"]
        no_neurons = r"Base|NonSpiking|Simple|^LIF$|^SpikingNeuron$|^LI(Box|Linear)?Cell$|Regularization|^SNN|^base$"
        return len({name for name in names if not re.search(no_neurons, name)}) == number

    return check


def nir_both_ways(peer: str) -> bool:
    """Check that a layer goes to a NIR graph and comes back with its weights."""
    linear, x = nn.Linear(8, 3), torch.rand(4, 8)
    if peer == "PNB-X":
        graph = graph_of(nn.Sequential(linear, pnbx.Leaky(beta=0.9, init_hidden=True)), x)
        return len(neuromorphic.compile(graph, num_steps=5).ops) > 1
    if peer.startswith("snnTorch"):
        vectors = {"beta": torch.full((3,), 0.9), "threshold": torch.ones(3)}  # with nir 1.0.8 numbers are refused
        net = nn.Sequential(linear, part(peer).Leaky(**vectors, init_hidden=True))
        back = part(peer, "import_nir").import_from_nir(part(peer, "export_nir").export_to_nir(net, x, ignore_dims=[0]))
    elif peer.startswith("Norse"):
        net = part(peer, "torch").SequentialState(linear, part(peer, "torch").LIFBoxCell())
        utils = "torch.utils."
        back = part(peer, utils + "import_nir").from_nir(part(peer, utils + "export_nir").to_nir(net, x))
    else:
        exchange, lif = part(peer, "activation_based.nir_exchange"), part(peer, "activation_based.neuron").LIFNode()
        back = exchange.import_from_nir(exchange.export_to_nir(nn.Sequential(linear, lif), x))
    return any(torch.equal(value, linear.weight) for value in back.state_dict().values())


def same_everywhere(peer: str) -> bool:
    """Check that there are nine executors, and that two of them give the same spikes."""
    program = neuromorphic.compile(
        nn.Sequential(nn.Linear(8, 3), pnbx.Leaky(beta=0.9, init_hidden=True)), torch.rand(4, 8)
    )
    return len(EXECUTORS) == 9 and neuromorphic.verify(program, torch.rand(4, 8).numpy(), "torch")[0].equal


def released(peer: str) -> bool:
    """Check that the installed version is the one in the head of the table."""
    return version(peer.split()[0]).startswith(peer.split()[1])
