"""README's table of what PNB-X does beside other libraries, with the check of every cell.

A check takes the name of a library and returns whether its cell holds. Cells whose check is ``None`` say what nothing
here can show, such as runs on a chip; they follow the libraries' own pages.
"""

from __future__ import annotations

from importlib.util import find_spec
from typing import NamedTuple

from neuromorphic.executors import EXECUTORS
from neuromorphic.formats import FORMATS
from pnbx_snn.data.events import SENSORS
from studies.peers.check import (
    PEERS,
    Check,
    has,
    installed,
    neurons,
    nir_both_ways,
    no,
    one_operator,
    part,
    released,
    same_everywhere,
    says,
    ternary,
    trains,
)

OTHER_TARGETS = r"microcontroller|onnx\.(export|helper)|xylo"


class Row(NamedTuple):
    """A row: what it asks, the cells in the order of :data:`PEERS`, and their checks, one for all or one each."""

    title: str
    cells: tuple[str, ...]
    checks: Check | tuple[Check | None, ...]


ROWS = (
    Row("trains with surrogate gradients", ("yes",) * 5, trains),
    Row(
        "ternary weights in training",
        ("yes", "no", "no", "no, ternary spikes", "no, 8 bits"),
        (ternary, no("ternary"), no("ternary"), no(r"ternary\w*(linear|conv|weight)"), no("ternary")),
    ),
    Row(
        "spiking neuron models",
        ("3, those of two libraries by `lift`", "13", "12", "31", "7"),
        (has("", "LIF", "Leaky", "ShiftLIF", "lift"), neurons(13), neurons(12), neurons(31), neurons(7)),
    ),
    Row(
        "a whole sequence as one operator",
        (
            "yes; on GPUs by Triton, not measured yet",
            "only without resets",
            "no",
            "on GPUs, CUDA or Triton",
            "CUDA",
        ),
        (
            lambda peer: one_operator(peer) and says(peer, r"triton\.jit") > 0,
            lambda peer: not one_operator(peer) and hasattr(part(peer), "LeakyParallel"),
            lambda peer: not one_operator(peer),
            lambda peer: says(peer, "__global__", "cuh") > 0 and says(peer, r"triton\.jit") > 0,
            lambda peer: one_operator(peer) and says(peer, "__global__", "cu") > 0,
        ),
    ),
    Row(
        "memory beyond neurons",
        ("state space, fast weights, hippocampus", "state-space neurons", "no", "attention", "no"),
        (
            has("", "SelectiveSSM", "FastWeights", "Hippocampus"),
            has("", "StateLeaky", "AssociativeLeaky"),
            no(r"\bSSM\b|fast.weight|hippocamp|attention"),
            has("activation_based.layer", "SpikingSelfAttention"),
            no(r"\bSSM\b|fast.weight|hippocamp|attention"),
        ),
    ),
    Row(
        "ready-made vision networks",
        ("a small CNN", "no", "VGG, MobileNet", "ResNets, VGG, Transformers", "YOLO"),
        (
            has("", "SpikingConvNet"),
            no("resnet|vgg|yolo|mobilenet"),
            has("torch", "VGG", "MobileNetV2"),
            lambda peer: all(  # without importing them: they import torchvision
                find_spec(f"{PEERS[peer]}.activation_based.model.{name}")
                for name in ("sew_resnet", "spiking_vgg", "spikformer")
            ),
            has("object_detection", "models"),
        ),
    ),
    Row(
        "converts networks without spikes",
        ("no", "no", "no", "yes", "yes"),
        (
            no("ann2snn"),
            no("ann2snn|ann.to.snn"),
            no("ann2snn|ann.to.snn"),
            has("activation_based.ann2snn", "Converter"),
            lambda peer: installed("lava.lib.dl.bootstrap"),
        ),
    ),
    Row("NIR, written and read", ("yes", "yes", "yes", "yes", "no"), (nir_both_ways,) * 4 + (no(r"\bnir\b"),)),
    Row(
        "one integer program with the same spikes on several back ends",
        ("9, compared by `verify`", "no", "no", "no", "Lava, Loihi"),
        (same_everywhere, *(no("onnxruntime|fixed_pt"),) * 3, None),
    ),
    Row(
        "runs on the Lava simulator",
        ("yes", "no", "no", "by lava-dl", "yes"),
        (
            lambda peer: "lava" in EXECUTORS,
            no(r"\blava\b"),
            no(r"\blava\b"),
            lambda peer: says(peer, r"def to_lava_blocks\b") > 0,  # importing it needs lava
            lambda peer: installed("lava.lib.dl.netx"),
        ),
    ),
    Row("runs on Loihi chips", ("no", "no", "no", "by lava-dl", "with Intel's library"), (None,) * 5),
    Row(
        "C for microcontrollers, exact ONNX, Xylo",
        ("yes, emulated", "no", "no", "no; Lynxi", "no"),
        (
            lambda peer: {"c", "onnx", "xylo"} <= set(FORMATS),
            *(no(OTHER_TARGETS),) * 2,
            lambda peer: no(OTHER_TARGETS)(peer) and says(peer, "lynxi") > 0,
            no(OTHER_TARGETS),
        ),
    ),
    Row(
        "adapts without gradients",
        (
            "firing rate held by glia",
            "STDP",
            "STDP, adaptive thresholds",
            "STDP, online learning",
            "adaptive thresholds",
        ),
        (
            has("", "Glia"),
            has("functional.stdp_learner", "STDPLearner"),
            lambda peer: (
                hasattr(part(peer, "torch.functional.stdp"), "stdp_step_linear")
                and hasattr(part(peer, "torch"), "LSNNCell")
            ),
            lambda peer: (
                part(peer, "activation_based.learning").STDPLearner
                and part(peer, "activation_based.neuron").OTTTLIFNode
            ),
            has("neuron", "alif"),
        ),
    ),
    Row(
        "neuromorphic data sets",
        ("4, by Tonic", "by Tonic", "1", "12", "1"),
        (
            lambda peer: len(SENSORS) == 4,
            lambda peer: says(peer, "recommend using the Tonic") == 1,
            lambda peer: says(peer, r"class Spiking\w+Dataset\(") == 1,
            lambda peer: says(peer, r"class \w+\(NeuromorphicDatasetFolder\)") == 12,
            lambda peer: says(peer, r"class Prophesee\w+\(") == 1,
        ),
    ),
    Row(
        "latest release",
        ("not on PyPI yet", "June 2026", "March 2024", "October 2026", "August 2024; archived in 2026"),
        (None, *(released,) * 4),
    ),
)
"""README's table."""


def check(row: Row, peer: str) -> str:
    """Return "checked", "wrong", "stated" (nothing to do here would show it) or "not installed"."""
    checks = row.checks if isinstance(row.checks, tuple) else (row.checks,) * len(PEERS)
    claim = checks[list(PEERS).index(peer)]
    if claim is None:
        return "stated"
    if not installed(PEERS[peer]):
        return "not installed"
    return "checked" if claim(peer) else "wrong"


def markdown() -> str:
    """Return the table as README has it."""
    lines = [("", *PEERS), ("---",) * (1 + len(PEERS)), *((row.title, *row.cells) for row in ROWS)]
    return "".join(f"| {' | '.join(cells)} |\n" for cells in lines)
