"""Random layers and neurons of torch, snnTorch, Norse and ``pnbx_snn``, as modules and as equations.

Every decision has a name and a generator of its own, seeded by the case's number and that name, and its first option is
the plainest: forcing one decision leaves all others as they were, so that a case can be shrunk.
"""

from __future__ import annotations

import zlib
from typing import Any

import norse.torch as norse
import numpy as np
import snntorch
import torch
from torch import nn
from torch.nn import functional

import pnbx_snn
from module_equations import Array, Layer, Neuron

DT = 1e-3


class Draws:
    """Decisions by name; ``forced`` maps names to the index of an option."""

    def __init__(self, seed: int, forced: dict[str, int] | None = None) -> None:
        self.seed, self.forced = seed, dict(forced or {})
        self.taken: dict[str, tuple[int, Any]] = {}

    def rng(self, name: str) -> np.random.Generator:
        return np.random.default_rng([self.seed, zlib.crc32(name.encode())])

    def choice(self, name: str, *options: Any, p: list[float] | None = None) -> Any:
        index = self.forced.get(name, -1)
        if index >= len(options) or index < 0:
            weights = None if p is None else np.array(p) / sum(p)
            index = int(self.rng(name).choice(len(options), p=weights))
        self.taken[name] = (index, options[index])
        return options[index]

    def uniform(self, name: str, low: float, high: float, size: Any = None) -> Any:
        return self.rng(name).uniform(low, high, size)

    def normal(self, name: str, size: Any) -> Array:
        return self.rng(name).normal(size=size)


class Maker:
    """Draws the parts of one network, as equations and as torch modules."""

    def __init__(self, draws: Draws) -> None:
        self.d = draws
        self.dtype = draws.choice("dtype", torch.float64, torch.float32, p=[0.6, 0.4])
        self.stress = draws.choice(
            "stress", "none", "rows", "huge", "tiny", "beta", "norm", "fine", p=[0.5, 0.15, 0.1, 0.05, 0.08, 0.08, 0.04]
        )
        self.exact = draws.choice("weights", "dyadic", "any", p=[0.35, 0.65]) == "dyadic"

    def real(self, array: Any) -> Array:
        """Round to the network's precision."""
        kind = np.float64 if self.dtype == torch.float64 else np.float32
        return np.asarray(array, dtype=kind).astype(np.float64)

    def tensor(self, array: Any) -> torch.Tensor:
        return torch.tensor(np.asarray(array), dtype=self.dtype)

    # ---- neurons

    def neuron(self, name: str, kind: str, shape: tuple[int, ...], rows: Array) -> tuple[Neuron, nn.Module, float, str]:
        """Return equations, module, the drive that makes it fire now and then, and how it is called."""
        d = self.d
        per = (shape[0], *(1,) * (len(shape) - 1))
        vector = d.choice(f"{name} per neuron", False, True, p=[0.6, 0.4]) or self.stress == "rows"
        size: Any = per if vector else ()
        lows = (0.0, 1.0, 4e-4, 0.9995, 0.99) if self.stress == "beta" else (None,)
        low = d.choice(f"{name} beta", *lows)
        grid = self.exact and low is None
        beta = (
            np.rint(d.uniform(f"{name} betas", 0.3, 0.97, size) * 64) / 64
            if grid
            else (d.uniform(f"{name} betas", 0.3, 0.97, size) if low is None else np.full(size, low))
        )
        base = d.choice(f"{name} threshold", 1.0, 0.37, 13.0)
        if self.stress == "tiny":
            base *= d.choice(f"{name} tiny", 1e-3, 1e-6)
        theta = np.full(size, base) * (d.uniform(f"{name} thetas", 0.7, 1.4, size) if vector and not grid else 1.0)
        theta = self.real(theta * (rows.reshape(per) if self.stress == "rows" else 1.0))
        make = self._norse if kind.startswith("norse") else self._pnbx if kind == "pnbx" else self._snntorch
        equations, module, call = make(name, kind, shape, self.real(beta), theta, rows)
        b = float(np.mean(beta))
        gain = np.sqrt(max(1 - b * b, 0.01))
        if kind.startswith("norse") or equations.kind == "box":
            gain /= max(1 - b, 1e-3)
        if "alpha" in equations.options:
            gain *= 0.5
        if "syn" in equations.options:
            gain *= 0.6
        return equations, module, base * gain * d.uniform(f"{name} drive", 0.6, 1.8), call

    def _snntorch(self, name: str, kind: str, shape: tuple[int, ...], beta: Array, theta: Array, rows: Array) -> Any:
        d = self.d
        reset = d.choice(f"{name} reset", "subtract", "zero", "none", p=[0.5, 0.35, 0.15])
        late = d.choice(f"{name} delay", True, False)
        hidden = kind == "snn hidden"
        kinds = ["Leaky", "pnbx Leaky", "Synaptic"] + (["RLeaky", "RSynaptic"] if len(shape) == 1 else [])
        which = d.choice(f"{name} class", *kinds, p=[0.4, 0.2, 0.15] + [0.15, 0.1] * (len(kinds) > 3))
        if which == "RSynaptic":
            late = True  # snnTorch cannot run the other
        options = {"beta": beta, "threshold": theta, "reset": reset, "delay": late}
        given: dict[str, Any] = {
            "threshold": self.tensor(theta), "reset_mechanism": reset, "reset_delay": late, "init_hidden": hidden,
            "spike_grad": fires,
        }  # fmt: skip
        equations = Neuron("leaky", options)
        first: list[Any] = [self.tensor(beta)]
        if "Synaptic" in which:
            alpha = self.real(d.uniform(f"{name} alpha", 0.1, 0.9))
            options["alpha"] = alpha
            first = [self.tensor(alpha), *first]
        if which.startswith("R"):
            n = shape[0]
            wires = d.choice(f"{name} wires", "all", "one", "each")
            scale = 0.3 * float(np.median(theta / rows)) * rows
            if wires == "all":
                given["linear_features"] = n
                equations.recurrent = self.real(d.normal(f"{name} recurrent", (n, n)) * scale[:, None] / np.sqrt(n))
                equations.recurrent_bias = self.real(d.normal(f"{name} recurrent bias", n) * scale * 0.1)
            else:
                v = d.normal(f"{name} V", () if wires == "one" and self.stress != "rows" else (n,)) * 0.3
                equations.recurrent = self.real(v * (scale / 0.3 if np.ndim(v) else float(scale[0]) / 0.3))
                given |= {"all_to_all": False, "V": self.tensor(equations.recurrent)}
        module = (pnbx_snn.Leaky if which == "pnbx Leaky" else getattr(snntorch, which))(*first, **given)
        if which.startswith("R") and wires == "all":
            fill(module.recurrent, equations.recurrent, equations.recurrent_bias)
        states = {"Leaky": 1, "pnbx Leaky": 1, "RSynaptic": 3}.get(which, 2)
        return equations, module.to(self.dtype), "hidden" if hidden else f"states {states}"

    def _norse(self, name: str, kind: str, shape: tuple[int, ...], beta: Array, theta: Array, rows: Array) -> Any:
        d = self.d
        sequence = kind == "norse sequence"
        kinds = ["LIFBoxCell", "LIFCell"] + (["LIFRecurrentCell"] if len(shape) == 1 else [])
        which = d.choice(f"{name} class", *(["LIF", "LIFRecurrent"] if sequence else kinds))
        rate = np.maximum(1.0 - beta, 4e-4)  # a rate of 0 would be deaf
        leak = d.choice(f"{name} leak", 0.0, 0.25, p=[0.8, 0.2]) * float(np.min(theta))
        tau = self.real(rate / DT)
        mem = self.real(DT * tau)
        options: dict[str, Any] = {"mem": mem, "threshold": theta, "reset": "zero", "leak": leak, "to": leak}
        given: dict[str, Any] = {
            "tau_mem_inv": self.tensor(tau), "v_th": self.tensor(theta), "v_leak": self.tensor(leak),
            "v_reset": self.tensor(leak),
        }  # fmt: skip
        equations = Neuron("box", options)
        if which == "LIFBoxCell":
            wanted = d.choice(f"{name} reset", "zero", "subtract", p=[0.6, 0.4])
            options["reset"] = wanted if leak == 0 else "zero"  # a program subtracts what lies above the leak
            given["reset_method"] = {
                "zero": norse.functional.reset.reset_value, "subtract": norse.functional.reset.reset_subtract
            }[options["reset"]]  # fmt: skip
            return equations, norse.LIFBoxCell(norse.LIFBoxParameters(**given)), "norse"
        syn = self.real(d.uniform(f"{name} syn", 0.1, 0.9) / DT)
        options["syn"] = self.real(DT * syn)
        p = norse.LIFParameters(tau_syn_inv=self.tensor(syn), **given)
        if "Recurrent" not in which:
            return equations, getattr(norse, which)(p), "norse sequence" if sequence else "norse"
        n = shape[0]
        equations.inputs = self.real(
            np.eye(n) if self.stress == "rows" else d.normal(f"{name} own", (n, n)) / np.sqrt(n)
        )
        scale = 0.2 * rows * float(np.median(theta / rows))
        recurrent = d.normal(f"{name} recurrent", (n, n)) * scale[:, None] / np.sqrt(n)
        equations.recurrent = self.real(recurrent * (1 - np.eye(n)))
        module = getattr(norse, which)(n, n, p).to(self.dtype)
        with torch.no_grad():
            module.input_weights.copy_(self.tensor(equations.inputs))
            module.recurrent_weights.copy_(self.tensor(equations.recurrent))
        return equations, module, "norse sequence" if sequence else "norse"

    def _pnbx(self, name: str, kind: str, shape: tuple[int, ...], beta: Array, theta: Array, rows: Array) -> Any:
        d = self.d
        reset = d.choice(f"{name} reset", "zero", "subtract", "none", p=[0.5, 0.35, 0.15])
        primitive = d.choice(f"{name} primitive", "leaky", "lif_box")
        module = pnbx_snn.LIF(self.tensor(beta), threshold=self.tensor(theta), reset=reset, primitive=primitive)
        if primitive == "leaky":
            equations = Neuron("leaky", {"beta": beta, "threshold": theta, "reset": reset, "delay": False})
        else:
            equations = Neuron("box", {"mem": 1.0 - beta, "threshold": theta, "reset": reset})
        return equations, module.to(self.dtype), "sequence"

    # ---- layers

    def layer(
        self,
        name: str,
        shape: tuple[int, ...],
        out: int,
        drive: float,
        rows: Array,
        rms: float,
        *,
        plain: bool = False,
        conv: bool = False,
        largest: float = 0.0,
    ) -> tuple[Layer, list[nn.Module], tuple[int, ...]]:
        """Return equations, modules, and the shape that comes out, without axes of time and batch."""
        d = self.d
        modules: list[nn.Module] = []
        made = Layer("linear", np.zeros(0))
        conv = len(shape) > 1 and conv and d.choice(f"{name} conv", False, True, p=[0.2, 0.8])
        if conv:
            lead, kernel = len(shape) - 1, d.choice(f"{name} kernel", 1, 3, 2)
            made.kind = f"conv{lead}d"
            if lead == 2 and shape[1] >= 6 and d.choice(f"{name} pool", False, True):
                made.pool = self._pool(f"{name} pooling", modules)
                shape = (shape[0], shape[1] // 2, shape[2] // 2)
            kernel = min(kernel, *shape[1:])
            made.stride = d.choice(f"{name} stride", 1, 2)
            made.padding = d.choice(f"{name} padding", 0, 1) if kernel > 1 else 0
            made.groups = 2 if shape[0] % 2 == 0 and out % 2 == 0 and d.choice(f"{name} groups", False, True) else 1
            size: tuple[int, ...] = (out, shape[0] // made.groups, *(kernel,) * lead)
            sides = [(side + 2 * made.padding - kernel) // made.stride + 1 for side in shape[1:]]
            shape_out = (out, *sides)
        else:
            if len(shape) > 1:
                made.flatten = True
                modules.append(nn.Flatten())
            size, shape_out = (out, int(np.prod(shape))), (out,)
            if not plain and self.stress == "none" and d.choice(f"{name} ternary", False, True, p=[0.85, 0.15]):
                made.kind = "bitlinear"
                if largest > 0:
                    made.input_scale = float(self.real(largest / 127))
        fan = int(np.prod(size[1:]))
        w = d.normal(f"{name} weights", size)
        if self.stress == "huge" and not plain:
            w.reshape(out, -1)[0, 0] = d.choice(f"{name} huge", 100.0, 600.0)
        w *= drive / max(rms * np.sqrt(fan), 1e-12)
        bias = d.normal(f"{name} bias", out) * drive * 0.2 if d.choice(f"{name} biased", True, False) else None
        if self.exact and made.kind != "bitlinear":
            unit = 2.0 ** np.floor(np.log2(np.abs(w).max() / 60))
            w, bias = np.rint(w / unit) * unit, None if bias is None else np.rint(bias / unit) * unit
        if made.kind != "bitlinear":
            w = w * rows.reshape(-1, *(1,) * (w.ndim - 1))
            bias = None if bias is None else bias * rows
        made.weight, made.bias = self.real(w), None if bias is None else self.real(bias)
        kinds = {"linear": nn.Linear, "conv1d": nn.Conv1d, "conv2d": nn.Conv2d, "bitlinear": pnbx_snn.BitLinear}
        if conv:
            module: Any = kinds[made.kind](
                size[1] * made.groups, out, size[2], stride=made.stride, padding=made.padding, groups=made.groups
            )
        elif made.input_scale is not None:
            module = pnbx_snn.BitLinear(size[1], out, bias=made.bias is not None, input_range="int8")
        else:
            module = kinds[made.kind](size[1], out, bias=made.bias is not None)
        module = module.to(self.dtype)
        if made.input_scale is not None:
            module.input_scale.fill_(made.input_scale)
        fill(module, made.weight, made.bias)
        modules.append(module)
        if (
            not plain
            and self.stress != "rows"
            and (self.stress == "norm" or d.choice(f"{name} norm", False, True, p=[0.75, 0.25]))
        ):
            self._norm(name, made, modules, out, drive, conv, len(shape_out))
        if made.kind == "conv2d" and min(shape_out[1:]) >= 2 and d.choice(f"{name} behind", False, True, p=[0.6, 0.4]):
            made.behind = self._pool(f"{name} pooling behind", modules)
            shape_out = (out, shape_out[1] // 2, shape_out[2] // 2)
        if not plain and d.choice(f"{name} dropout", False, True, p=[0.85, 0.15]):
            modules.append(nn.Dropout(0.3))
        return made, modules, shape_out

    def _pool(self, name: str, modules: list[nn.Module]) -> str:
        """Add a pool of 2 x 2, as a module or a function; return what it takes of a window."""
        kind = self.d.choice(name, "mean", "max")
        modules.append({"mean": nn.AvgPool2d, "max": nn.MaxPool2d}[kind](2))
        if self.d.choice(f"{name} called", "module", "function") == "function":
            modules[-1] = Called({"mean": functional.avg_pool2d, "max": functional.max_pool2d}[kind])
        return str(kind)

    def _norm(
        self, name: str, made: Layer, modules: list[nn.Module], out: int, drive: float, conv: bool, axes: int
    ) -> None:
        d = self.d
        if made.kind == "bitlinear":
            std = float(np.abs(made.weight).mean()) * np.sqrt(made.weight[0].size) * 0.5 + 1e-12
        else:
            std = float(np.abs(made.weight).reshape(out, -1).sum(axis=1).mean()) * 0.5 + 1e-12
        gain = (
            drive * d.uniform(f"{name} norm gain", 0.5, 1.5, out) * d.rng(f"{name} norm sign").choice([-1.0, 1.0], out)
        )
        if self.stress == "norm":
            gain = gain * 10 ** d.uniform(f"{name} norm wild", -3.0, 0.7, out)
        made.norm = {
            "mean": self.real(d.normal(f"{name} norm mean", out) * std * 0.5),
            "var": self.real((std * d.uniform(f"{name} norm var", 0.5, 1.5, out)) ** 2),
            "gain": self.real(gain),
            "bias": self.real(d.normal(f"{name} norm bias", out) * drive * 0.3),
        }
        module = (nn.BatchNorm2d if axes == 3 else nn.BatchNorm1d)(out).to(self.dtype)
        with torch.no_grad():
            for key, to in (
                ("mean", module.running_mean),
                ("var", module.running_var),
                ("gain", module.weight),
                ("bias", module.bias),
            ):
                to.copy_(self.tensor(made.norm[key]))
        modules.append(module)


class Called(nn.Module):
    """A function of torch in the forward of a module."""

    def __init__(self, function: Any) -> None:
        super().__init__()
        self.function, self.nothing = function, nn.Identity()

    def forward(self, x: torch.Tensor) -> Any:
        return self.nothing(self.function(x, 2))


def fires(x: torch.Tensor) -> torch.Tensor:
    """Compare without a surrogate, in the dtype of the membrane."""
    return (x > 0).to(x.dtype)


def fill(module: Any, weight: Array, bias: Array | None) -> None:
    with torch.no_grad():
        module.weight.copy_(torch.as_tensor(weight))
        if module.bias is not None:
            module.bias.copy_(torch.zeros(len(weight)) if bias is None else torch.as_tensor(bias))
