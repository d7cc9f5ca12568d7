"""Random small modules of torch, snnTorch, Norse and ``pnbx_snn``, with what is right about each, and with traps.

``random_case(seed)`` draws how a network is written (loops over time, batch first, a static input, hidden states,
sequences), its blocks, what its forward does at the end, and in half of the cases something that no program can follow.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import norse.torch as norse
import numpy as np
import snntorch
from torch import Tensor, manual_seed, nn

from module_endings import BAD, GOOD, Ending
from module_equations import Array, Block, Layer, Neuron, simulated
from module_parts import DT, Draws, Maker, fill, fires
from random_nets import Ended, Net
from random_traps import LOOPS, order, set_trap, traps_of, twisted


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
    weight_bits: int | None
    trap: str  # "" where all parts are supported and nothing is wrong
    own: bool = False  # compare with the network's own run: its precision is part of it
    facts: dict[str, Any] = field(default_factory=dict)

    def names(self) -> list[str | None]:
        """Return what the operations of the blocks' neurons are to be called."""
        paths = {id(module): name for name, module in self.net.named_modules()}
        return [None if neuron is None else paths[id(neuron)].replace(".", "_") for neuron in self.neurons]


def _input(draws: Draws, shape: tuple[int, ...]) -> tuple[Array, str]:
    kind = draws.choice(
        "input", "spikes", "counts", "signed", "pixels", "fractions", "gray", "normal", "tiny", "large", "offset",
        "outlier", "zeros", p=[0.45, 0.08, 0.05, 0.05, 0.08, 0.05, 0.07, 0.04, 0.04, 0.04, 0.04, 0.01],
    )  # fmt: skip
    rng = draws.rng("input values")
    u = rng.random(shape)
    made = {
        "spikes": (u < 0.35) * 1.0, "counts": np.floor(u * 6), "signed": np.floor(u * 7) - 3,
        "pixels": np.floor(u * 256), "fractions": u, "gray": np.floor(u * 256) / 255, "normal": rng.normal(size=shape),
        "tiny": rng.normal(size=shape) * 1e-3, "large": rng.normal(size=shape) * 1e4, "offset": 5 + u,
        "outlier": np.where(u > 0.99, 300.0, u), "zeros": u * 0.0,
    }[kind]  # fmt: skip
    return made, kind


def random_case(seed: int, forced: dict[str, int] | None = None) -> Case:
    """Draw a case; the same seed gives the same one."""
    d = Draws(seed, forced)
    manual_seed(seed)
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

    traps = traps_of(style, end, T)
    genre = d.choice("trap kind", "none", "ending", "other", p=[0.5, 0.22, 0.28])
    classes = d.choice("classes", 3, 2, 5)
    heads_fit = end == "linear" and style in (*LOOPS, "sequence")
    good = [n for n, e in GOOD.items() if (e.read == "sum" or end in ("li", "mem"))]
    if style in ("sequence", "one step"):
        good = [n for n in good if GOOD[n].shape == "stack"]
    if style == "one step":
        good.remove("batch first")
    bad = [n for n, e in BAD.items() if (e.heads == 1 or heads_fit) and not (n == "last step" and end in ("li", "mem"))]
    if classes == B:  # a transposed view, which is told apart by nothing
        bad.remove("samples among classes")
    ending = GOOD[d.choice("ending", *good)]
    trap = ""
    if genre == "ending":
        ending = BAD[d.choice("bad ending", *bad)]
        trap = f"ending: {ending.name}"
    elif genre == "other":
        trap = d.choice("trap", *traps)

    # ---- blocks
    depth = d.choice("blocks", 1, 2, 3, p=[0.35, 0.45, 0.2])
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
        fits = fits and k > 0 and k < depth - 1 and not blocks[k].residual and shapes[-1][1:] == gives[1:]
        blocks[k].beside = bool(fits and d.choice(f"{name} beside", False, True, p=[0.5, 0.5]))
        if blocks[k].beside:
            gives = (gives[0] + shapes[-1][0], *gives[1:])
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
    if style in LOOPS and T > 1 and d.choice("back", False, True, p=[0.8, 0.2]):
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
        "style": style, "trap": trap, "at": at, "T": T, "order": order(trap, T), "ending": ending, "calls": calls,
        "cast": None, "moving": None, "second": second, "skip at": skip_at, "back at": back_at, "spiking": spiking,
        "residual": [block.residual for block in blocks], "beside": [block.beside for block in blocks],
        "detached": False,
        "membrane at": depth if end == "mem" else None, "start": 0.0, "neurons": neurons,
        "blocks": blocks,
    }  # fmt: skip
    trap = set_trap(d, trap, how, blocks[at], stages[at], neurons, calls, at)
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
    twist, sample, own = twisted(d, m, style, what, how, net, stages, calls, sample)
    net.train(twist == "train mode")
    steps = plain[how["order"]]
    steps = steps * 0.5 if trap == "input times 0.5" else steps + 0.25 if trap == "input plus 0.25" else steps
    shown = values.reshape(*values.shape[: 1 if style in ("static", "one step") else 2], -1)
    right = T if d.choice("num_steps", True, False, p=[0.8, 0.2]) else None
    num_steps = {"more steps": T + 4, "fewer steps": max(1, T - 3) if T > 1 else 9}.get(trap, right)
    bits = d.choice("weight_bits", 8, 15, None)
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
        reset = d.choice("read-out reset", "none", "subtract", "zero", p=[0.7, 0.15, 0.15])
        options = {"beta": beta, "threshold": theta, "reset": reset, "delay": True}
        module = snntorch.Leaky(m.tensor(beta), threshold=m.tensor(theta), reset_mechanism=reset, spike_grad=fires)
        module = module.to(m.dtype)
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
