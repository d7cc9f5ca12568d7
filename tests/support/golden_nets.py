"""Networks whose every number comes from a seeded NumPy generator, for files that must stay as they are.

No weight is drawn by torch: its generators may change between versions.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable
from typing import Any

import norse.torch as norse
import numpy as np
import snntorch
import torch
from torch import nn

import pnbx_snn
from neuromorphic import Program
from neuromorphic.compiler import compile_layers, compile_model, compile_module

T, B, N_IN, N, N_OUT = 12, 3, 10, 14, 4


def normal(seed: int, *shape: int, scale: float = 1.0) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(seed).normal(0, scale, shape))


def spikes(seed: int = 1, *shape: int, rate: float = 0.3) -> torch.Tensor:
    drawn = np.random.default_rng(seed).random(shape or (T, B, N_IN)) < rate
    return torch.from_numpy(drawn.astype(np.float64))


def fires(x: torch.Tensor) -> torch.Tensor:
    return (x > 0).to(x.dtype)


def with_numbers(module: nn.Module, seed: int, *, weight_scale: float = 0.5) -> nn.Module:
    """Put numbers of NumPy into every tensor of a network, each drawn from the seed and the tensor's own name."""
    module = module.double()
    with torch.no_grad():
        for name, tensor in module.state_dict().items():
            rng = np.random.default_rng([seed, zlib.crc32(name.encode())])
            last = name.rsplit(".", 1)[-1]
            if not tensor.is_floating_point() or last in ("input_scale", "threshold", "beta", "alpha"):
                continue
            shape = tuple(tensor.shape)
            if last == "running_var":
                drawn = rng.uniform(0.5, 1.5, shape)
            elif last == "running_mean":
                drawn = rng.normal(0, 0.2, shape)
            elif last == "a0":
                drawn = rng.uniform(0.4, 3.4, shape)
            elif last in ("c0", "log_rate"):
                drawn = rng.uniform(-3.4, -0.5, shape)
            elif last == "omega":
                drawn = rng.uniform(0.2, 3.1, shape)
            elif last == "fast":
                drawn = rng.uniform(0, 0.2, shape)
            elif last == "state":  # of glia: average, integral, error, offset of two loops
                low, high = np.array([0, -1, -0.2, -0.8] * 2), np.array([0.5, 1, 0.3, 0.8] * 2)
                drawn = rng.uniform(low, high, shape)
            elif tensor.ndim == 1:
                drawn = rng.normal(0, 0.3, shape) + (1.0 if name.endswith("norm.weight") else 0.0)
            else:
                drawn = rng.normal(0, weight_scale, shape)
            tensor.copy_(torch.from_numpy(np.asarray(drawn)))
    return module.eval()


# Networks of snnTorch, Norse and pnbx_snn layers -------------------------------------------------------------------


class Loop(nn.Module):
    """Layers and neurons in a loop over time; returns the spikes of the last, or what a read-out makes of them."""

    def __init__(self, *parts: tuple[nn.Module, nn.Module], readout: nn.Module | None = None) -> None:
        super().__init__()
        self.layers = nn.ModuleList(layer for layer, _ in parts)
        self.neurons = nn.ModuleList(neuron for _, neuron in parts)
        self.readout = readout
        self.states = tuple(
            {"Leaky": 1, "Synaptic": 2, "RLeaky": 2, "RSynaptic": 3}.get(type(neuron).__name__, 0)
            for neuron in self.neurons
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for neuron, states in zip(self.neurons, self.states, strict=True):
            if states:
                neuron.reset_mem()
        kept: list[Any] = [states * (None,) for states in self.states]
        outputs = []
        for t in range(len(x)):
            h = x[t]
            for i, (layer, neuron) in enumerate(zip(self.layers, self.neurons, strict=True)):
                if self.states[i]:
                    returned = neuron(layer(h), *kept[i])
                    h, kept[i] = returned[0], returned[-self.states[i] :]
                else:
                    h, kept[i] = neuron(layer(h), kept[i] or None)
            outputs.append(h if self.readout is None else self.readout(h))
        return torch.stack(outputs)


def dyadic(seed: int, rows: int, columns: int, *, bias: float = 0.0) -> nn.Linear:
    """A layer whose weights are multiples of 1/64, which 8 bits hold exactly."""
    layer = nn.Linear(columns, rows).double()
    with torch.no_grad():
        layer.weight.copy_((normal(seed, rows, columns, scale=0.5) * 64).round().clamp(-127, 127) / 64)
        layer.bias.copy_((normal(seed + 1, rows, scale=0.1) * 64).round() / 64 + bias)
    return layer


def fine(seed: int, rows: int, columns: int) -> nn.Linear:
    """A layer of any weights."""
    layer = nn.Linear(columns, rows).double()
    with torch.no_grad():
        layer.weight.copy_(normal(seed, rows, columns, scale=0.4))
        layer.bias.copy_(normal(seed + 1, rows, scale=0.05))
    return layer


def leaky(beta: float = 0.875, **options: Any) -> nn.Module:
    return snntorch.Leaky(beta, spike_grad=fires, **options)


def _snn(reset: str, delay: bool) -> nn.Module:
    def neuron() -> nn.Module:
        return leaky(reset_mechanism=reset, reset_delay=delay)

    return Loop((dyadic(2, N, N_IN), neuron()), (dyadic(4, N_OUT, N, bias=0.2), neuron()))


def _recurrent(kind: str) -> nn.Module:
    options = {"reset_mechanism": "zero", "reset_delay": kind == "RSynaptic", "spike_grad": fires}
    beta = torch.from_numpy(np.random.default_rng(3).uniform(0.7, 0.95, N))
    if kind == "RLeaky":
        neuron = snntorch.RLeaky(beta, all_to_all=False, V=torch.full((N,), -0.25, dtype=torch.float64), **options)
    elif kind == "RSynaptic":
        neuron = snntorch.RSynaptic(0.5, beta, linear_features=N, **options).double()
        with torch.no_grad():
            neuron.recurrent.weight.copy_((normal(7, N, N, scale=0.1) * 64).round() / 64)
            neuron.recurrent.bias.zero_()
    else:
        neuron = snntorch.Synaptic(0.5, beta, **options)
    return Loop((dyadic(5, N, N_IN), neuron))


class Norse(nn.Module):
    def __init__(self, *modules: nn.Module) -> None:
        super().__init__()
        self.net = norse.SequentialState(*modules)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        state, found = None, []
        for t in range(len(x)):
            out, state = self.net(x[t], state)
            found.append(out)
        return torch.stack(found)


def _norse(kind: str) -> nn.Module:
    theta = torch.from_numpy(np.random.default_rng(4).uniform(0.2, 0.5, N))
    rate = torch.tensor(125.0, dtype=torch.float64)
    if kind == "LIFBoxCell":
        reset = norse.functional.reset.reset_subtract
        cell = norse.LIFBoxCell(norse.LIFBoxParameters(tau_mem_inv=rate, v_th=theta, reset_method=reset))
        return Norse(dyadic(8, N, N_IN), cell)
    if kind == "IAFCell":
        return Norse(dyadic(9, N, N_IN), norse.IAFCell(norse.IAFParameters(v_th=theta)))
    p = norse.LIFParameters(tau_mem_inv=rate, v_th=theta / 4)
    if kind == "LIFCell":
        return Norse(dyadic(10, N, N_IN), norse.LIFCell(p), dyadic(11, N_OUT, N))
    cell = norse.LIFRecurrentCell(N, N, p).double()
    with torch.no_grad():
        cell.input_weights.copy_(torch.eye(N, dtype=torch.float64) / 2)
        cell.recurrent_weights.copy_((normal(12, N, N, scale=0.03) * 64).round() / 64)
    return Norse(dyadic(13, N, N_IN), cell)


def _ternary() -> nn.Module:
    def linear(seed: int, rows: int, columns: int) -> nn.Module:
        layer = pnbx_snn.BitLinear(columns, rows).double()
        with torch.no_grad():
            layer.weight.copy_(normal(seed, rows, columns))
        return layer

    return Loop((linear(14, N, N_IN), leaky()), (linear(15, N, N), leaky()), readout=linear(16, N_OUT, N))


class Images(nn.Module):
    """A convolution, a pool and a layer over frames."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(1, 2, 3, padding=1).double()
        self.one, self.pool, self.fc, self.two = leaky(0.75), nn.AvgPool2d(2), dyadic(18, N_OUT, 18), leaky(0.75)
        with torch.no_grad():
            self.conv.weight.copy_((normal(17, 2, 1, 3, 3) * 32).round() / 32)
            self.conv.bias.copy_(torch.tensor([0.25, -0.125]))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        first, second, found = self.one.reset_mem(), self.two.reset_mem(), []
        for t in range(len(x)):
            h, first = self.one(self.conv(x[t]), first)
            h, second = self.two(self.fc(self.pool(h).flatten(1)), second)
            found.append(h)
        return torch.stack(found)


def _values() -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(5).uniform(-1, 1, (T, B, N_IN)))


Build = Callable[[], Program]
MODULES: dict[str, Build] = {
    **{
        f"snntorch_{reset}_{'late' if late else 'same'}": lambda reset=reset, late=late: compile_module(
            _snn(reset, late), spikes()
        )
        for reset in ("subtract", "zero", "none")
        for late in ((True, False) if reset != "none" else (True,))
    },
    **{
        f"snntorch_{kind}": lambda kind=kind: compile_module(_recurrent(kind), spikes(2))
        for kind in ("Synaptic", "RLeaky", "RSynaptic")
    },
    **{
        f"norse_{kind}": lambda kind=kind: compile_module(_norse(kind), spikes(3))
        for kind in ("LIFBoxCell", "LIFCell", "LIFRecurrentCell", "IAFCell")
    },
    "ternary_layers": lambda: compile_module(_ternary(), spikes(4)),
    "values_in": lambda: compile_module(Loop((dyadic(20, N, N_IN), leaky(0.5))), _values()),
    "weights_of_8_bits": lambda: compile_module(Loop((fine(22, N, N_IN), leaky())), spikes(5), weight_bits=8),
    "weights_of_15_bits": lambda: compile_module(Loop((fine(22, N, N_IN), leaky())), spikes(5), weight_bits=15),
    "images": lambda: compile_module(Images(), spikes(6, T, B, 1, 6, 6)),
}
"""Programs of modules that were not written for this package."""


# Whole networks of pnbx_snn ----------------------------------------------------------------------------------------

OFF = {"ssm": "none", "rnn": "none", "fast_weights": "none", "hippocampus": "none", "messages": False, "glia": False}
VARIANTS: dict[str, dict[str, Any]] = {
    "whole": {},
    "quantized": {"quantize": True},
    "live_glia": {},
    "real_ssm": {"ssm": "real"},
    "complex_ssm": {"ssm": "complex", "readout": "step"},
    "spiking_rnn": {"rnn": "spiking"},
    "delta_rule": {"fast_weights": "delta", "scale": "median"},
    "persistent": {"hippocampus": "persistent"},
    "learned_edges": {"edges": "ternary", "norm": "affine"},
    "two_blocks": {"num_blocks": 2, "skip": False, "d_hidden": 16},
    "subtract": {**OFF, "reset": "subtract", "rnn": "spiking"},
    "no_reset": {**OFF, "reset": "none", "ssm": "selective", "readout": "step"},
    "spikes_in": {**OFF, "input_range": "spikes", "messages": True},
}
SIZES = {"in_features": 6, "num_classes": 3, "d_hidden": 24, "d_ssm": 6, "d_rnn": 4, "rank": 4, "slots": 4}


def pnbx_program(name: str) -> Program:
    """Compile a PNB-X network of random numbers."""
    changes = VARIANTS[name]
    model = pnbx_snn.PNBX(
        num_steps=T, tau_max=30.0, competition="winner", threshold=0.4, neurons_per_domain=8, **{**SIZES, **changes}
    )
    with_numbers(model, 30 + list(VARIANTS).index(name))
    if changes.get("input_range") != "spikes":
        model.calibrate(torch.from_numpy(np.random.default_rng(8).random((8, 6))))
    return compile_model(model.eval(), num_steps=T, glia_period=3 if name == "live_glia" else None)


CLASSIFIERS: dict[str, dict[str, Any]] = {
    "leaky_subtract": {"reset": "subtract", "learn_beta": True},
    "leaky_none": {"reset": "none", "encoder": "rate"},
    "box_zero": {"threshold": 0.1, "primitive": "lif_box", "scale": "median"},
    "box_subtract": {
        "threshold": 0.1,
        "primitive": "lif_box",
        "reset": "subtract",
        "learn_threshold": True,
        "encoder": "latency",
    },
}


def classifier_program(name: str) -> Program:
    """Compile a feed-forward network of random numbers."""
    changes = {"beta": 0.8, "threshold": 0.5, **CLASSIFIERS[name]}
    direct = changes.get("encoder", "direct") == "direct"
    model = pnbx_snn.SpikingClassifier(
        in_features=6,
        hidden=[10, 8],
        num_classes=3,
        num_steps=T,
        input_range="int8" if direct else "spikes",
        **changes,
    )
    with_numbers(model, 60 + list(CLASSIFIERS).index(name))
    if direct:
        model.calibrate(torch.from_numpy(np.random.default_rng(9).random((8, 6))))
    return compile_model(model.eval())


def layers_program() -> Program:
    """Compile layers that are not ternary, with a batch norm."""
    norm = with_numbers(nn.BatchNorm1d(N), 70)
    layers = [
        (fine(72, N, N_IN), norm, pnbx_snn.LIF(0.9)),
        (dyadic(74, N, N), None, pnbx_snn.LIF(0.75, reset="subtract")),
    ]
    return compile_layers(layers, fine(76, N_OUT, N), num_steps=T, input_scale=1 / 64)


COMPILED: dict[str, Build] = {
    **{f"module_{name}": build for name, build in MODULES.items()},
    **{f"pnbx_{name}": lambda name=name: pnbx_program(name) for name in VARIANTS},
    **{f"classifier_{name}": lambda name=name: classifier_program(name) for name in CLASSIFIERS},
    "layers": layers_program,
}
"""Everything here that compiles to a program, by the name of that program's file."""
