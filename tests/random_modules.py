"""Random small modules of torch, snnTorch, Norse and ``pnbx_snn``, with what is right about each, and with traps.

``random_case(seed)`` draws how a network is written (loops over time, batch first, a static input, hidden states,
sequences), its blocks, what its forward does at the end, and in half of the cases something that no program can follow.
"""

from __future__ import annotations

import inspect
from dataclasses import dataclass, field, replace
from typing import Any

import norse.torch as norse
import numpy as np
import snntorch
import torch
from torch import Tensor, nn
from torch.nn import functional
from torch.nn.utils import parametrizations

from module_endings import BAD, GOOD, Ending, HandNeuron
from module_equations import Array, Block, Layer, Neuron, simulated
from module_parts import DT, Draws, Maker, fill
from neuromorphic.compiler import compile_module

LOOPS = ("loop", "batch_first", "static")
ENTRIES = ("reversed", "doubled", "every second", "without the first", "two swapped", "always the first", "cut short")
FLOWS = ("times 1.7", "plus 0.3", "relu", "in place", "input times 0.5", "input plus 0.25", "through numpy")
STATES = ("starts", "states scaled", "states in place")
HIDDEN = ("mem in place", "mem assigned", "mem forgotten")
TWICE = ("layer twice", "neuron shared")
PARTS = (
    "hook masks",
    "hook before",
    "hook doubles",
    "forward patched",
    "weights move",
    "threshold moves",
    "hand neuron",
)
NUMBERS = ("more steps", "fewer steps")
OPTIONAL_STEPS = inspect.signature(compile_module).parameters["num_steps"].default is None


@dataclass
class Case:
    """A module, its sample, and what is right."""

    draws: Draws
    net: nn.Module
    sample: Tensor
    blocks: list[Block]
    heads: list[Block]  # what the network ends with: its last block, and a second one that some endings read
    neurons: list[nn.Module | None]  # of each block
    steps: Array  # [T, B, ...] as the network reads them
    shown: Array  # [T, B, N] or [B, N] as a program is to read the sample
    ending: Ending
    end: str  # spikes, linear, li, mem
    num_steps: int | None
    weight_bits: int
    trap: str  # "" where all parts are supported and nothing is wrong
    own: bool = False  # compare with the network's own run: its precision is part of it
    facts: dict[str, Any] = field(default_factory=dict)

    def names(self) -> list[str | None]:
        """Return what the operations of the blocks' neurons are to be called."""
        paths = {id(module): name for name, module in self.net.named_modules()}
        return [None if neuron is None else paths[id(neuron)].replace(".", "_") for neuron in self.neurons]


class Net(nn.Module):
    """A network as scripts write it; ``how`` says which of the ways, and which trap."""

    def __init__(self, how: dict[str, Any], stages: list[list[nn.Module]], neurons: list[nn.Module | None]) -> None:
        super().__init__()
        self.how = how
        self.calls = how["calls"]
        if how["style"] in ("hidden loop", "norse loop"):
            chain = [m for stage, n in zip(stages, neurons, strict=True) for m in [*stage, *([] if n is None else [n])]]
            self.net = (nn.Sequential if how["style"] == "hidden loop" else norse.SequentialState)(*chain)
            return
        for k, (stage, neuron) in enumerate(zip(stages, neurons, strict=True)):
            self.add_module(f"fc{k}", stage[0] if len(stage) == 1 else nn.Sequential(*stage))
            if neuron is not None:
                self.add_module(f"lif{k}", neuron)

    def forward(self, x: Tensor) -> Any:
        how = self.how
        if how["style"] == "sequence":
            outs, p = self._sequence(x)
            return how["ending"].returned(outs, p)
        if how["style"] == "hidden loop":
            for part in self.net:
                if hasattr(part, "reset_mem"):
                    part.reset_mem()
        if how["moving"] is not None:
            parameter, first, _ = how["moving"]
            with torch.no_grad():
                parameter.copy_(first)
        steps = [x] * how["T"] if how["style"] == "static" else x.unbind(1 if how["style"] == "batch_first" else 0)
        steps = [steps[t] for t in how["order"]]
        self.states: list[Any] = [None] * len(self.calls)
        self.late: Tensor | None = None
        self.before: Tensor | None = None
        outs, second, total = [], [], None
        for x_t in steps:
            if how["cast"] is not None:
                x_t = x_t.to(how["cast"])
            if how["trap"] == "input times 0.5":
                x_t = x_t * 0.5
            if how["trap"] == "input plus 0.25":
                x_t = x_t + 0.25
            out, other = self._step(x_t)
            outs.append(out)
            second.append(other)
            total = out if total is None else total + out
            if how["moving"] is not None:
                with torch.no_grad():
                    how["moving"][0].mul_(how["moving"][2])
        return self._end(outs, second, total)

    def _end(self, outs: list[Tensor], second: list[Tensor], total: Tensor | None) -> Any:
        ending = self.how["ending"]
        if ending.shape == "acc":
            return total
        if ending.shape == "list":
            return outs
        if ending.shape == "tuple":
            return torch.stack(outs), self.states[-1]
        if ending.shape == "dict":
            return {"out": torch.stack(outs)}
        o = torch.stack(outs)
        return ending.returned(o, o if second[0] is None else torch.stack(second))

    def _sequence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h, p = x if self.how["cast"] is None else x.to(self.how["cast"]), None
        first, spikes = h, []
        for k in range(len(self.calls)):
            fc: Any = self.get_submodule(f"fc{k}")
            if any(isinstance(part, nn.BatchNorm1d) for part in fc.modules()):
                current = fc(h.flatten(0, 1)).reshape(*h.shape[:2], -1)
            else:
                current = fc(h)
            if k == len(self.calls) - 1 and self.how["second"] is not None:
                p = self.how["second"](h)
            if k == self.how["skip at"]:
                current = current + self.skip(first)
            current = self._between(k, current)
            h = current if self.calls[k] is None else self.get_submodule(f"lif{k}")(current)[0]
            h = self._after(k, h)
            spikes.append(h + spikes[-1] if k < len(self.how["residual"]) and self.how["residual"][k] else h)
            h = spikes[-1]
        return h, h if p is None else p

    def _between(self, k: int, current: Tensor) -> Tensor:
        if k != self.how["at"]:
            return current
        trap = self.how["trap"]
        if trap == "times 1.7":
            return current * 1.7
        if trap == "plus 0.3":
            return current + 0.3
        if trap == "relu":
            return functional.relu(current)
        if trap == "in place":
            return current.mul_(1.7)
        return current

    def _after(self, k: int, spikes: Tensor) -> Tensor:
        if k == self.how["at"] and self.how["trap"] == "through numpy":
            spikes.detach().numpy()[..., ::2] = 0.0
        return spikes.detach().clone() if self.how["detached"] else spikes

    def _step(self, x_t: Tensor) -> tuple[Tensor, Any]:
        how = self.how
        if how["style"] == "hidden loop":
            out = self.net(x_t)
            for k, neuron in enumerate(how["neurons"]):
                if k == how["at"] and how["trap"] == "mem in place":
                    neuron.mem.mul_(0.5)
                if k == how["at"] and how["trap"] == "mem assigned":
                    neuron.mem = neuron.mem * 0.5
                if k == how["at"] and how["trap"] == "mem forgotten":
                    neuron.mem = torch.zeros_like(neuron.mem)
            return out, None
        if how["style"] == "norse loop":
            out, self.states[0] = self.net(x_t, self.states[0])
            return out, None
        h, p, spikes = x_t, None, []
        for k, call in enumerate(self.calls):
            if k == len(self.calls) - 1 and how["second"] is not None:
                p = how["second"](h)
            current = self.get_submodule(f"fc{k}")(h)
            if k == how["at"] and how["trap"] == "layer twice":
                before = torch.zeros_like(h) if self.before is None else self.before
                current = current + self.get_submodule(f"fc{k}")(before)
                self.before = h
            if k == how["skip at"]:
                current = current + self.skip(x_t.flatten(1))
            if k == how["back at"]:
                if self.late is None:
                    self.late = x_t.new_zeros(len(x_t), self.back.in_features)
                current = current + self.back(self.late)
            current = self._between(k, current)
            h = current if call is None else self._called(k, call, current)
            h = self._after(k, h)
            if k == how["spiking"]:
                late = h
            spikes.append(h + spikes[-1] if k < len(how["residual"]) and how["residual"][k] else h)
            h = spikes[-1]
        if how["back at"] is not None:
            self.late = late.flatten(1)
        return h, p

    def _called(self, k: int, call: str, current: Tensor) -> Tensor:
        neuron, state = self.get_submodule(f"lif{k}"), self.states[k]
        at = k == self.how["at"]
        if call == "norse":
            out, self.states[k] = neuron(current, state)
            return out
        if call == "hand":
            neuron.v = 0.0 if state is None else neuron.v
            self.states[k] = True
            return neuron(current)
        count = int(call.split()[1])
        if state is None:
            zeros = [torch.zeros_like(current) for _ in range(count)]
            state = (*zeros[:-1], zeros[-1] + (self.how["start"] if at and self.how["trap"] == "starts" else 0.0))
        elif at and self.how["trap"] == "states scaled":
            state = (*state[:-1], state[-1] * 0.5)
        elif at and self.how["trap"] == "states in place":
            state[-1].mul_(0.5)
        returned = neuron(current, *state)
        self.states[k] = returned[-count:]
        return returned[-1] if k == self.how["membrane at"] else returned[0]


class Ended(nn.Module):
    """Modules in a row that make one step, and an ending."""

    def __init__(self, chain: list[nn.Module], ending: Ending) -> None:
        super().__init__()
        self.net, self.ending = nn.Sequential(*chain), ending

    def forward(self, x: Tensor) -> Any:
        out = self.net(x)[None]
        return self.ending.returned(out, out)


def _input(draws: Draws, shape: tuple[int, ...]) -> tuple[Array, str]:
    kind = draws.choice(
        "input", "spikes", "counts", "signed", "pixels", "fractions", "gray", "normal", "tiny", "large", "offset",
        "outlier", "zeros", p=[0.45, 0.08, 0.05, 0.05, 0.08, 0.05, 0.07, 0.04, 0.04, 0.04, 0.04, 0.01],
    )  # fmt: skip
    rng = draws.rng("input values")
    u = rng.random(shape)
    made = {
        "spikes": (u < 0.35) * 1.0, "counts": np.floor(u * 6), "signed": np.floor(u * 7) - 3, "pixels": np.floor(u * 256),
        "fractions": u, "gray": np.floor(u * 256) / 255, "normal": rng.normal(size=shape),
        "tiny": rng.normal(size=shape) * 1e-3, "large": rng.normal(size=shape) * 1e4, "offset": 5 + u,
        "outlier": np.where(u > 0.99, 300.0, u), "zeros": u * 0.0,
    }[kind]  # fmt: skip
    return made, kind


def _order(trap: str, num_steps: int) -> list[int]:
    order = list(range(num_steps))
    if trap == "reversed":
        return order[::-1]
    if trap == "doubled":
        return [t for t in order for _ in range(2)]
    if trap == "every second":
        return order[::2]
    if trap == "without the first":
        return order[1:]
    if trap == "two swapped":
        return [1, 0, *order[2:]]
    if trap == "always the first":
        return [0] * num_steps
    return order[: max(1, 2 * num_steps // 3)] if trap == "cut short" else order


def _traps(style: str, end: str, num_steps: int) -> list[str]:
    """Return what can go wrong with a network of this style, beside its ending."""
    looped = style in (*LOOPS, "hidden loop", "norse loop")
    traps = list(NUMBERS) + [part for part in PARTS[:4]]
    if looped:
        traps += ["input times 0.5", "input plus 0.25", "weights move"]
        traps += ENTRIES if num_steps > 2 and style != "static" else []
    if style in LOOPS:
        traps += [*FLOWS[:4], "through numpy", *STATES, "threshold moves", "hand neuron", *TWICE]
    if style == "sequence":
        traps += [*FLOWS[:4], "through numpy"]
    if style == "hidden loop":
        traps += [*HIDDEN, "threshold moves"]
    return traps


def random_case(seed: int, forced: dict[str, int] | None = None) -> Case:
    """Draw a case; the same seed gives the same one."""
    d = Draws(seed, forced)
    torch.manual_seed(seed)
    m = Maker(d)
    style = d.choice(
        "style", "loop", "batch_first", "static", "hidden loop", "norse loop", "sequence", "one step",
        p=[0.3, 0.12, 0.13, 0.14, 0.09, 0.15, 0.07],
    )  # fmt: skip
    T = 1 if style == "one step" else d.choice("T", 12, 1, 5, 20, 40, p=[0.4, 0.08, 0.2, 0.24, 0.08])
    B = d.choice("B", 3, 1, 2, 6)
    kinds = ("flat",) if style == "sequence" or m.stress == "rows" else ("flat", "image", "line")
    kind = d.choice("features", *kinds, p=[0.65, 0.25, 0.1][: len(kinds)])
    shape: tuple[int, ...] = (d.choice("inputs", 6, 1, 3, 8, 12),)
    if kind == "image":
        shape = (d.choice("channels", 1, 2), side := d.choice("side", 6, 4, 8), side)
    elif kind == "line":
        shape = (d.choice("channels", 1, 2), d.choice("side", 6, 9))
    values, what = _input(d, (B, *shape) if style in ("static", "one step") else (T, B, *shape))
    values = m.real(values)
    ends = {"loop": 4, "batch_first": 4, "static": 4, "norse loop": 3, "sequence": 3}.get(style, 2)
    end = d.choice("end", *("spikes", "linear", "li", "mem")[:ends], p=[0.45, 0.3, 0.13, 0.12][:ends])

    traps = _traps(style, end, T)
    genre = d.choice("trap kind", "none", "ending", "other", p=[0.5, 0.22, 0.28])
    heads_fit = end == "linear" and style in (*LOOPS, "sequence")
    good = [n for n, e in GOOD.items() if (e.read == "sum" or end in ("li", "mem"))]
    if style in ("sequence", "one step"):
        good = [n for n in good if GOOD[n].shape == "stack"]
    if style == "one step":
        good.remove("batch first")
    bad = [n for n, e in BAD.items() if (e.heads == 1 or heads_fit) and not (n == "last step" and end in ("li", "mem"))]
    ending = GOOD[d.choice("ending", *good)]
    trap = ""
    if genre == "ending":
        ending = BAD[d.choice("bad ending", *bad)]
        trap = f"ending: {ending.name}"
    elif genre == "other":
        trap = d.choice("trap", *traps)

    # ---- blocks
    depth = d.choice("blocks", 1, 2, 3, p=[0.35, 0.45, 0.2])
    classes = d.choice("classes", 3, 2, 5)
    stages, neurons, calls, blocks, shapes = [], [], [], [], []
    rms = float(np.sqrt(np.mean(values * values))) or 1.0
    now = shape
    seen = values[None] if style in ("static", "one step") else values
    plain = np.repeat(seen, T, axis=0) if style == "static" else seen
    for k in range(depth):
        last = k == depth - 1 and end == "spikes"
        name = f"block {k}"
        conv = len(now) > 1 and not last
        out = classes if last else d.choice(f"{name} size", 6, 4, 8) if not conv else d.choice(f"{name} channels", 2, 3)
        rows = 10.0 ** d.uniform(f"{name} rows", -3, 3, out) if m.stress == "rows" else np.ones(out)
        family = {
            "hidden loop": "snn hidden", "one step": "snn hidden", "norse loop": "norse",
            "sequence": d.choice(f"{name} family", "pnbx", "norse sequence") if style == "sequence" else "",
        }.get(style) or d.choice(f"{name} family", "snn", "norse", p=[0.75, 0.25])  # fmt: skip
        if family.startswith("norse") and (m.stress == "rows" and style == "sequence"):
            family = "pnbx"
        largest = 0.0 if k or what in ("spikes", "zeros") else float(np.abs(values).max())
        largest *= d.choice("int8", 0.0, 1.0)
        layer, modules, gives = m.layer(name, now, out, 1.0, rows, rms, conv=conv, largest=largest)
        equations, neuron, drive, call = m.neuron(name, family, gives, rows)
        _drive(m, layer, modules, drive)
        blocks.append(Block(layer, equations))
        for _ in range(3):  # brought to fire now and then
            if simulated(blocks, plain).given[k].mean() < 0.04:
                _drive(m, layer, modules, 2.0)
        stages.append(modules)
        neurons.append(neuron)
        calls.append({"norse": "norse"}.get(call, call))
        same = k > 0 and blocks[k - 1].layer.weight.shape[0] == out and shapes[-1] == gives
        fits = style in (*LOOPS, "sequence") and (k < depth - 1 or end != "spikes")
        blocks[k].residual = bool(same and fits and d.choice(f"{name} residual", False, True, p=[0.7, 0.3]))
        shapes.append(gives)
        rms, now = 0.55, gives
    skip_at = back_at = None
    skip = back = None
    if style in (*LOOPS, "sequence") and depth > 1 and d.choice("skip", False, True, p=[0.75, 0.25]):
        skip_at = depth - 1
        skip = _beside(m, "skip", int(np.prod(shape)), blocks[skip_at], stages[skip_at], rms_in(values))
        blocks[skip_at].skip = skip[0] if skip else None
        skip_at = skip_at if skip else None
    spiking = depth - 1
    if style in LOOPS and d.choice("back", False, True, p=[0.8, 0.2]):
        back_at = 0
        back = _beside(m, "back", int(np.prod(now)), blocks[0], stages[0], 0.55)
        blocks[0].back = back[0] if back else None
        back_at = 0 if back else None
    second = None
    heads = []
    if end != "spikes":
        _read_out(m, d, style, end, now, classes, stages, neurons, calls, blocks)
        heads = [blocks[-1]]
        if ending.heads == 2:
            layer, modules, _ = m.layer("second", now, classes, 1.0, np.ones(classes), 0.55, plain=True)
            heads.append(Block(layer, None))
            second = nn.Sequential(*modules) if len(modules) > 1 else modules[0]

    # ---- traps of parts, twists, and the module
    at = d.choice("trap at", *range(depth))
    how: dict[str, Any] = {
        "style": style, "trap": trap, "at": at, "T": T, "order": _order(trap, T), "ending": ending, "calls": calls,
        "cast": None, "moving": None, "second": second, "skip at": skip_at, "back at": back_at, "spiking": spiking,
        "residual": [block.residual for block in blocks], "detached": False, "membrane at": depth if end == "mem" else None, "start": 0.0, "neurons": neurons,
        "blocks": blocks,
    }  # fmt: skip
    trap = _set_trap(d, trap, how, blocks[at], stages[at], neurons, calls, at)
    how["trap"] = trap
    net: nn.Module
    if style == "one step":
        chain = [p for stage, n in zip(stages, neurons, strict=True) for p in [*stage, *([] if n is None else [n])]]
        net = nn.Sequential(*chain) if ending.name == "raw" else Ended(chain, ending)
    else:
        net = Net(how, stages, neurons)
        for name, extra in (("skip", skip), ("back", back)):
            if extra:
                net.add_module(name, extra[1])
        if second is not None:
            net.add_module("out2", second)
    sample = m.tensor(values)
    if style == "batch_first":
        sample = sample.transpose(0, 1).contiguous()
    twist, sample, own = _twist(d, m, style, what, how, net, stages, calls, sample)
    net.train(twist == "train mode")
    steps = plain[how["order"]]
    steps = steps * 0.5 if trap == "input times 0.5" else steps + 0.25 if trap == "input plus 0.25" else steps
    shown = values.reshape(*values.shape[: 1 if style in ("static", "one step") else 2], -1)
    right = T if d.choice("num_steps", True, False, p=[0.8, 0.2]) or not OPTIONAL_STEPS else None
    num_steps = {"more steps": T + 4, "fewer steps": max(1, T - 3) if T > 1 else 9}.get(trap, right)
    bits = d.choice("weight_bits", 8, 15)
    facts = {"style": style, "input": what, "twist": twist, "stress": m.stress, "T": T, "B": B, "spiking": spiking}
    return Case(d, net, sample, blocks, heads, neurons, steps, shown, ending, end, num_steps, bits, trap, own, facts)


def rms_in(values: Array) -> float:
    return float(np.sqrt(np.mean(values * values))) or 1.0


def _drive(m: Maker, layer: Layer, modules: list[nn.Module], drive: float) -> None:
    """Scale a layer that was drawn for a drive of 1 to another; by its norm where it has one."""
    if layer.norm is not None:
        layer.norm["gain"], layer.norm["bias"] = m.real(layer.norm["gain"] * drive), m.real(layer.norm["bias"] * drive)
        norm = next(module for module in modules if isinstance(module, (nn.BatchNorm1d, nn.BatchNorm2d)))
        fill(norm, layer.norm["gain"], layer.norm["bias"])
        return
    factor = 2.0 ** np.rint(np.log2(drive)) if m.exact else drive
    layer.weight = m.real(layer.weight * factor)
    layer.bias = None if layer.bias is None else m.real(layer.bias * factor)
    fill(next(module for module in modules if hasattr(module, "weight")), layer.weight, layer.bias)


def _beside(
    m: Maker, name: str, inputs: int, block: Block, stage: list[nn.Module], rms: float
) -> tuple[Layer, nn.Module] | None:
    """Return a linear layer that adds to a block's current, as strong as its own; none where that is an image."""
    weight = block.layer.weight
    if weight.ndim > 2 or block.layer.norm is not None:
        return None
    scale = (
        np.abs(weight).mean(axis=1)
        * np.sqrt(weight.shape[1] / inputs)
        * 0.5
        / max(rms, 1e-9)
        * (1.0 if name == "back" else rms)
    )
    if name == "back":
        scale = scale * 0.5
    w = m.d.normal(f"{name} weights", (len(weight), inputs)) * scale[:, None]
    if m.exact:
        unit = 2.0 ** np.floor(np.log2(np.abs(w).max() / 60))
        w = np.rint(w / unit) * unit
    layer = Layer("linear", m.real(w), flatten=True)
    module = nn.Linear(inputs, len(weight), bias=False).to(m.dtype)
    fill(module, layer.weight, None)
    return layer, module


def _read_out(
    m: Maker, d: Draws, style: str, end: str, now: tuple[int, ...], classes: int, stages: Any, neurons: Any, calls: Any,
    blocks: Any,
) -> None:  # fmt: skip
    """Add a linear read-out, and integrators behind it where the network ends in their membranes."""
    layer, modules, _ = m.layer("read-out", now, classes, 1.0, np.ones(classes), 0.55, plain=True)
    stages.append(modules)
    if end == "linear":
        neurons.append(None)
        calls.append(None)
        blocks.append(Block(layer, None))
        return
    if end == "mem":
        beta = m.real(d.uniform("read-out beta", 0.5, 0.97))
        theta = m.real(d.choice("read-out threshold", 1.0, 0.2, 50.0))
        options = {"beta": beta, "threshold": theta, "reset": "none", "delay": True}
        module = snntorch.Leaky(m.tensor(beta), threshold=m.tensor(theta), reset_mechanism="none").to(m.dtype)
        neurons.append(module)
        calls.append("states 1")
        blocks.append(Block(layer, Neuron("leaky", options)))
        return
    tau = m.real(d.uniform("read-out rate", 0.03, 0.5) / DT)
    options = {"mem": m.real(DT * tau)}
    syn = m.real(d.uniform("read-out syn", 0.1, 0.9) / DT)
    box = style != "sequence" and d.choice("read-out box", True, False)
    if box:
        module = norse.LIBoxCell(norse.LIBoxParameters(tau_mem_inv=m.tensor(tau)))
    else:
        options["syn"] = m.real(DT * syn)
        p = norse.LIParameters(tau_syn_inv=m.tensor(syn), tau_mem_inv=m.tensor(tau))
        module = norse.LI(p) if style == "sequence" else norse.LICell(p)
    neurons.append(module)
    calls.append("norse sequence" if style == "sequence" else "norse")
    blocks.append(Block(layer, Neuron("box", options)))


def _weighted(stage: list[nn.Module]) -> Any:
    return next(
        module for module in stage if isinstance(module, (nn.Linear, nn.Conv1d, nn.Conv2d)) or hasattr(module, "gamma")
    )


def _set_trap(
    d: Draws, trap: str, how: dict[str, Any], block: Block, stage: list[nn.Module], neurons: Any, calls: Any, at: int
) -> str:
    """Put a trap into equations and modules; return its name, or none where it does not fit this network."""
    neuron, equations = neurons[at], block.neuron
    assert equations is not None
    states = calls[at].startswith("states")
    theta = float(np.mean(equations.options["threshold"]))
    if trap in ("times 1.7", "in place"):
        block.between = (1.7, 0.0)
    elif trap == "plus 0.3":
        block.between = (1.0, 0.3)
    elif trap == "relu":
        block.relu = True
    elif trap in ("through numpy", "hook masks"):
        if equations.recurrent is not None or block.layer.weight.ndim > 2:
            return _instead("hook doubles", d, how, block, stage, neurons, calls, at)
        kept = np.ones(len(block.layer.weight))
        kept[::2] = 0.0
        if trap == "through numpy":
            equations.mask_behind = kept
        else:
            equations.mask, mask = kept, torch.tensor(kept)
            neuron.register_forward_hook(lambda _m, _i, out: _masked(out, mask))
    elif trap in STATES:
        if not states:
            return _instead("hook before", d, how, block, stage, neurons, calls, at)
        if trap == "starts":
            how["start"] = equations.start = 0.7 * theta
        else:
            equations.keep = 0.5
    elif trap in HIDDEN:
        equations.keep, equations.forget = (1.0, True) if trap == "mem forgotten" else (0.5, False)
    elif trap == "hook before":
        block.between = (1.0, 0.3 * theta)
        neuron.register_forward_pre_hook(lambda _m, given: (given[0] + 0.3 * theta, *given[1:]))
    elif trap == "hook doubles":
        block.layer.gain = 2.0
        _weighted(stage).register_forward_hook(lambda _m, _i, out: out * 2.0)
    elif trap == "forward patched":
        block.layer.gain = 2.0
        module = _weighted(stage)
        module.forward = lambda x: 2.0 * type(module).forward(module, x)
    elif trap == "weights move":
        module = _weighted(stage)
        if hasattr(module, "gamma"):
            return _instead("hook before", d, how, block, stage, neurons, calls, at)
        block.layer.drift = 0.93
        how["moving"] = (module.weight, module.weight.detach().clone(), 0.93)
    elif trap == "threshold moves":
        if calls[at].startswith("norse") or not isinstance(getattr(neuron, "threshold", None), Tensor):
            return _instead("hook before", d, how, block, stage, neurons, calls, at)
        equations.drift = 1.1
        how["moving"] = (neuron.threshold, neuron.threshold.detach().clone(), 1.1)
    elif trap == "layer twice":
        block.twice = True
    elif trap == "neuron shared":
        k, one = 1 - min(at, 1), min(at, 1)
        fits = len([n for n in neurons if n is not None]) > 1 and equations.recurrent is None
        if at > 1 or not fits or calls[one] != calls[k] or any(np.ndim(v) for v in equations.options.values()):
            return _instead("hook doubles", d, how, block, stage, neurons, calls, at)
        neurons[k], other = neurons[one], how["blocks"][k]
        other.neuron = replace(equations)
    elif trap == "hand neuron":
        neurons[at] = HandNeuron(theta)
        calls[at] = "hand"
        block.neuron = Neuron("hand", {"threshold": theta})
    return trap


def _instead(trap: str, *arguments: Any) -> str:
    d, *rest = arguments
    return _set_trap(d, trap, *rest)


def _masked(out: Any, mask: Tensor) -> Any:
    first = out if isinstance(out, Tensor) else out[0]
    hidden = first * mask.to(first.dtype)
    return hidden if isinstance(out, Tensor) else (hidden, *out[1:])


def _twist(
    d: Draws,
    m: Maker,
    style: str,
    what: str,
    how: dict[str, Any],
    net: nn.Module,
    stages: Any,
    calls: Any,
    sample: Tensor,
) -> tuple[str, Tensor, bool]:
    """Change something that changes nothing: dtypes, modes, gradients, parametrizations."""
    twist = d.choice(
        "twist", "none", "train mode", "ints", "weight norm", "detached", "needs grad", "bfloat16",
        p=[0.6, 0.08, 0.1, 0.06, 0.06, 0.05, 0.05],
    )  # fmt: skip
    if twist == "ints" and what in ("spikes", "counts", "signed", "pixels", "zeros") and style != "one step":
        how["cast"] = m.dtype
        kinds = [torch.int64, torch.uint8] if what != "signed" else [torch.int64, torch.int8]
        return twist, sample.to(d.choice("int", *kinds, *([torch.bool] if what == "spikes" else []))), False
    if twist == "weight norm" and how["moving"] is None and how["trap"] != "forward patched":
        module = next((s for stage in stages for s in stage if type(s) is nn.Linear), None)
        if module is not None and bool((module.weight.norm(dim=1) > 0).all()):
            parametrizations.weight_norm(module)
            return twist, sample, False
    if twist == "detached":
        how["detached"] = how["trap"] != "through numpy"
        return twist, sample, False
    if twist == "needs grad":
        return twist, sample.requires_grad_(), False
    if twist == "bfloat16" and not any(call and call.startswith("norse") for call in calls) and how["cast"] is None:
        net.to(torch.bfloat16)
        return twist, sample.to(torch.bfloat16), True
    return ("train mode" if twist == "train mode" else "none"), sample, False
