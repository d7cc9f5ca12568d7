"""How many numbers a network holds, by part; those of a PNB-X network beside what the source document says."""

from typing import Any, NamedTuple

from torch import nn

from pnbx_snn.layers.hippocampus import Hippocampus
from pnbx_snn.layers.ternary_layer import TernaryLayer
from pnbx_snn.networks.block import BitBrain
from pnbx_snn.networks.pnbx import PNBX
from pnbx_snn.neurons.messages import TorusMessages

REFERENCE = {
    "encoder": 1_605_632,
    "ssm": 2_097_152,
    "rnn": 786_432,
    "membrane": 4_096,
    "fast_weights": 131_072,
    "readout": 20_480,
    "glia": 1_024,
    "hippocampus": 512_000,
}
"""Section 2.1 of the document, for 784-2048-10 with S 256, R 128, rank 32; they sum to 5,157,888."""


class PartCount(NamedTuple):
    """Numbers of one part of a network, named as in the configuration; the formula is in the letters of the document.

    ``by_gradient`` are parameters that the gradient trains; ``by_rule`` are numbers that the document counts and that
    change by a rule of their own: glia's controllers, and the fast half of a hippocampus, which is state. ``document``
    is what the document says for its configuration.
    """

    part: str
    formula: str
    by_gradient: int
    by_rule: int
    document: int

    @property
    def total(self) -> int:
        """As the document counts."""
        return self.by_gradient + self.by_rule


def parameter_table(model: PNBX) -> list[PartCount]:
    """Count the numbers of a network by part, as the source document does.

    Besides the parts of the document there are three that it does not count: ``"messages"`` for learned edges,
    ``"norm"`` for gain and bias of ``norm="affine"``, which fold into thresholds and biases at compile time, and
    ``"delays"`` of the inputs. A part that the network does not have counts 0.

    Examples
    --------
    >>> import torch
    >>> with torch.device("meta"):  # shapes only
    ...     model = PNBX(in_features=784, num_classes=10, num_steps=4, d_hidden=2048)
    >>> rows = parameter_table(model)
    >>> sum(row.total for row in rows), sum(row.by_gradient for row in rows), sum(row.document for row in rows)
    (5157888, 4900864, 5157888)
    """
    formulas = {
        "encoder": "d_in H",
        "ssm": "4 H S",
        "rnn": "3 H R",
        "membrane": "2 H",
        "messages": "8 H",
        "fast_weights": "2 H r",
        "readout": "H d_out",
        "glia": "8 H / 16",
        "hippocampus": "2 M H",
        "norm": "",
        "delays": "d_in",
    }
    gradient, rule = dict.fromkeys(formulas, 0), dict.fromkeys(formulas, 0)
    gradient["encoder"] = _parameters(model.encoder.linear)
    gradient["norm"] = _parameters(model.encoder.norm)
    gradient["delays"] = _parameters(model.delays)
    gradient["readout"] = _parameters(model.readout)
    for block in model.blocks:
        assert isinstance(block, BitBrain)
        for name, part in {**block.pathways, "membrane": block.membrane, "norm": block.norm}.items():
            gradient[name] += _parameters(part)
        gradient["membrane"] -= _parameters(block.membrane.messages)
        gradient["messages"] += _parameters(block.membrane.messages)
        if block.glia is not None:
            rule["glia"] += block.glia.state.numel()
        if block.hippocampus is not None:
            rule["hippocampus"] += _parameters(block.hippocampus)  # E has the shape of K
    return [PartCount(name, formulas[name], gradient[name], rule[name], REFERENCE.get(name, 0)) for name in formulas]


def parameter_parts(model: nn.Module) -> list[dict[str, Any]]:
    """Return name and parameters of each part, and for ternary weights their number, bytes, zeros and scale."""
    parts: list[dict[str, Any]] = []
    for name, module in model.named_modules():
        own = list(module.parameters(recurse=False))
        if not own:
            continue
        part: dict[str, Any] = {"name": name, "parameters": sum(parameter.numel() for parameter in own)}
        if isinstance(module, TernaryLayer | Hippocampus | TorusMessages):
            rounded = module.rounded()
            assert rounded is not None  # it has parameters of its own
            weight, gamma = rounded
            part |= {
                "weights": weight.numel(),
                "weight_bytes": (weight.numel() + 3) // 4,  # four weights in a byte
                "zeros": int((weight == 0).sum()),
                # Edges are rounded by a scale of their own, but what multiplies them is kappa / 8.
                "gamma": 2.0 ** -(module.kappa_shift + 3) if isinstance(module, TorusMessages) else gamma.item(),
            }
        parts.append(part)
    return parts


def _parameters(module: nn.Module | None) -> int:
    return 0 if module is None else sum(parameter.numel() for parameter in module.parameters())
