"""Closed forms: parameters, state, and operations of a step, of PNB-X and of a Transformer, from their sizes alone.

What :mod:`studies.counted.operations` counts on a network must equal these; tests hold both together.
"""

from __future__ import annotations

from typing import Literal, NamedTuple

from pnbx_snn.layers.hippocampus import Hippocampus
from pnbx_snn.layers.rnn import MinGRU, SpikingRNN
from pnbx_snn.layers.ssm import LTISSM, SelectiveSSM
from pnbx_snn.networks.block import BitBrain
from pnbx_snn.networks.pnbx import PNBX

Kind = Literal["additions from events", "additions from values", "multiply-accumulates", "elementwise"]
KINDS: tuple[Kind, ...] = ("additions from events", "additions from values", "multiply-accumulates", "elementwise")


class Sizes(NamedTuple):
    """Sizes and kinds of a PNB-X network, in the letters of the source document.

    Parameters
    ----------
    d_in, H, d_out
        Inputs, neurons, classes.
    S, R, r, M
        States, micro-RNN units, rank, memory slots; 0 where the part is not there.
    blocks
        BitBrain blocks.
    ssm, rnn, fast_weights, hippocampus
        Kinds as a configuration names them; ``hippocampus``: scope and competition, ``"sequence, softmax"``.
    messages, edges, glia, skip
        What else there is; ``edges``: learned ones.
    per_domain
        Neurons of a domain of glia.
    affine
        Batch norms learn a gain and a bias.
    """

    d_in: int = 784
    H: int = 2048
    d_out: int = 10
    S: int = 256
    R: int = 128
    r: int = 32
    M: int = 125
    blocks: int = 1
    ssm: str = "selective"
    rnn: str = "min_gru"
    fast_weights: str = "hebbian"
    hippocampus: str = "sequence, softmax"
    messages: bool = True
    edges: bool = False
    glia: bool = True
    skip: bool = True
    per_domain: int = 16
    affine: bool = False


REFERENCE = Sizes()
"""784-2048-10 with S 256, R 128, rank 32, 125 slots: the configuration of the document."""


def sizes_of(model: PNBX) -> Sizes:
    """Return the sizes of a network.

    Examples
    --------
    >>> model = PNBX(in_features=4, num_classes=3, num_steps=2, d_hidden=32, d_ssm=8, d_rnn=4, rank=5, slots=6)
    >>> sizes_of(model)[:8]
    (4, 32, 3, 8, 4, 5, 6, 1)
    """
    block = model.blocks[0]
    assert isinstance(block, BitBrain)
    ssm, rnn, fast, memory = block.ssm, block.rnn, block.fast_weights, block.hippocampus
    kinds = {SelectiveSSM: "selective", MinGRU: "min_gru", SpikingRNN: "spiking", type(None): "none"}
    messages = block.membrane.messages
    return Sizes(
        d_in=model.in_features,
        H=model.d_hidden,
        d_out=model.readout.out_features,
        S=_number(ssm, "d_ssm"),
        R=_number(rnn, "d_rnn"),
        r=_number(fast, "rank"),
        M=_number(memory, "slots"),
        blocks=len(model.blocks),
        ssm=ssm.kind if isinstance(ssm, LTISSM) else kinds[type(ssm)],
        rnn=kinds[type(rnn)],
        fast_weights=str(getattr(fast, "rule", "none")),
        hippocampus=f"{memory.scope}, {memory.competition}" if isinstance(memory, Hippocampus) else "none",
        messages=messages is not None,
        edges=messages is not None and any(True for _ in messages.parameters()),
        glia=block.glia is not None,
        skip=block.skip,
        per_domain=16 if block.glia is None else block.d_hidden // block.glia.num_domains,
        affine=model.encoder.norm.affine,
    )


def _number(part: object, name: str) -> int:
    return 0 if part is None else int(getattr(part, name))


def parameters(n: Sizes = REFERENCE) -> dict[str, int]:
    """Return the numbers of each part as the document counts them (section 2.1), without a network.

    Examples
    --------
    >>> sum(parameters().values())
    5157888
    """
    matrices_ssm = {"selective": 4, "real": 2, "complex": 2, "none": 0}[n.ssm]
    rates = {"real": 1, "complex": 2}.get(n.ssm, 0)
    return {
        "encoder": n.d_in * n.H,
        "ssm": n.blocks * (matrices_ssm * n.H * n.S + rates * n.S),
        "rnn": n.blocks * 3 * n.H * n.R,
        "membrane": n.blocks * 2 * n.H,
        "messages": n.blocks * 8 * n.H * n.edges,
        "fast_weights": n.blocks * 2 * n.H * n.r,
        "readout": n.H * n.d_out,
        "glia": n.blocks * 8 * (n.H // n.per_domain) * n.glia,
        "hippocampus": n.blocks * 2 * n.M * n.H,
        "norm": (1 + n.blocks) * 2 * n.H * n.affine,
    }


def state_bytes(n: Sizes = REFERENCE) -> dict[str, int]:
    """Return the bytes that one stream keeps from step to step in torch (float32; the running sum in float64).

    Examples
    --------
    >>> state_bytes()["hippocampus"], sum(state_bytes().values())
    (1024000, 1078912)
    """
    return {
        "encoder": 2 * 4 * n.H,  # potential and spikes
        "ssm": n.blocks * n.S * (8 if n.ssm == "complex" else 4),
        "rnn": n.blocks * 4 * (n.R + n.H if n.rnn == "spiking" else n.R),
        "fast_weights": n.blocks * 4 * (n.r * n.r + n.r),
        "hippocampus": n.blocks * 4 * n.M * n.H * n.hippocampus.startswith("sequence"),
        "membrane": n.blocks * 2 * 4 * n.H,
        "readout": 8 * n.H,  # running sum of the spikes
    }


class Operations(NamedTuple):
    """Operations of one step of one sample.

    Parameters
    ----------
    part, name
        Whose they are.
    kind
        See :data:`KINDS`. An addition is one ternary weight met by one input: added, subtracted, or (a zero weight, a
        silent input) skipped. Elementwise: one multiplication, addition, comparison or table look-up of a number.
    dense
        If nothing were skipped.
    executed
        On data; ``None``: not counted.
    density
        Share of the inputs that are not 0, on data; ``None``: not counted.
    """

    part: str
    name: str
    kind: Kind
    dense: float | int
    executed: float | int | None = None
    density: float | int | None = None


def operations(n: Sizes = REFERENCE) -> list[Operations]:
    """Return all operations of one step, without skipping.

    Examples
    --------
    >>> {kind: sum(row.dense for row in operations() if row.kind == kind) for kind in KINDS}["additions from events"]
    2418688
    """
    rows = [Operations("encoder", "W_in", "additions from values", n.d_in * n.H)]
    rows += [Operations("encoder", "LIF", "elementwise", 4 * n.H)]  # decay, add, compare, reset
    for number in range(n.blocks):
        block = "" if n.blocks == 1 else f"{number + 1}."
        rows += [row._replace(name=block + row.name) for row in _block(n)]
    rows += [Operations("readout", "mean", "elementwise", n.H)]
    return [*rows, Operations("readout", "W_o", "additions from values", n.d_out * n.H)]


def _block(n: Sizes) -> list[Operations]:
    rows: list[Operations] = []

    def events(part: str, names: str, size: int) -> None:
        rows.extend(Operations(part, name, "additions from events", n.H * size) for name in names)

    def values(part: str, name: str, size: int) -> None:
        rows.append(Operations(part, name, "additions from values", n.H * size))

    def elementwise(part: str, count: int) -> None:
        rows.append(Operations(part, "state", "elementwise", count))

    if n.ssm != "none":
        events("ssm", "ABD" if n.ssm == "selective" else "B", n.S)
        values("ssm", "C", n.S)
        # selective: two gates, 1 - f, two products, a sum, an output gate; real: two products, a sum; complex: pairs.
        elementwise("ssm", {"selective": 7, "real": 3, "complex": 8}[n.ssm] * n.S)
    if n.rnn != "none":
        events("rnn", "UW", n.R)
        rows.append(
            Operations(
                "rnn", "V", "additions from events" if n.rnn == "spiking" else "additions from values", n.H * n.R
            )
        )
        elementwise("rnn", 5 * n.R)  # gate, 1 - g, two products, a sum; spiking: a sum, decay, add, compare, reset
    if n.fast_weights != "none":
        events("fast_weights", "P", n.r)
        values("fast_weights", "Q", n.r)
        products = 3 if n.fast_weights == "delta" else 2  # write, read, and the prediction that a delta rule corrects
        rows.append(Operations("fast_weights", "F", "multiply-accumulates", products * n.r * n.r))
        elementwise("fast_weights", n.r * n.r + n.r)  # the decay, the clip
    if n.hippocampus != "none":
        scope, competition = n.hippocampus.split(", ")
        events("hippocampus", "K", n.M)
        rows[-1] = rows[-1]._replace(name="K, asked")
        values("hippocampus", "K, recalled", n.M)
        fast = competition == "softmax" or scope == "persistent"
        if fast:
            rows.append(Operations("hippocampus", "E, recalled", "multiply-accumulates", n.M * n.H))
        written = scope == "sequence"
        # A softmax weighs all slots in the read and the write; a winner reads and writes one row. All slots fade.
        elementwise(
            "hippocampus", 3 * n.M + written * (n.M * n.H + (n.M * n.H if competition == "softmax" else 2 * n.H))
        )
    pathways = sum(kind != "none" for kind in (n.ssm, n.rnn, n.fast_weights, n.hippocampus))
    # Sum of the pathways, bias, 1 - beta; decay, add, compare, reset; eight neighbours, shift, add.
    rows.append(Operations("membrane", "LIF", "elementwise", n.H * (pathways + 6 + 9 * n.messages)))
    return rows


class TransformerSizes(NamedTuple):
    """Sizes of a decoder-only Transformer without biases, see :class:`studies.rivals.Transformer`."""

    d: int = 512
    heads: int = 8
    layers: int = 6
    d_ff: int = 2048
    positions: int = 784
    tokens: int = 10
    classes: int = 0
    """Rows of a readout of its own; 0: the embedding is read (tied)."""


DOCUMENT = TransformerSizes()
EQUAL = TransformerSizes(d=256, heads=4, layers=6, d_ff=1078, positions=784, tokens=256, classes=10)


def transformer_parameters(n: TransformerSizes = DOCUMENT) -> int:
    """Return the number of parameters: products, norms, positions, embedding.

    Examples
    --------
    >>> transformer_parameters(), transformer_parameters(EQUAL)
    (19293184, 5159424)
    """
    layer = 4 * n.d * n.d + 2 * n.d * n.d_ff + 4 * n.d
    return n.layers * layer + (n.positions + n.tokens + n.classes) * n.d


def transformer_macs(length: int, n: TransformerSizes = DOCUMENT, *, causal: bool, softmax: bool = False) -> int:
    """Return the multiply-accumulates of the layers over a whole sequence (without the readout).

    Parameters
    ----------
    length
        Tokens, L.
    n
        Sizes.
    causal
        ``True``: token t attends to t tokens, L (L + 1) / 2 pairs; ``False``: all L² pairs, as the document has it.
    softmax
        ``True``: one more operation for each score, as the document counts.

    Examples
    --------
    >>> transformer_macs(784, causal=False, softmax=True)  # 18,874,368 L + 6,192 L^2
    18603454464
    """
    pairs = length * (length + 1) // 2 if causal else length * length
    return n.layers * (length * (4 * n.d * n.d + 2 * n.d * n.d_ff) + pairs * (2 * n.d + n.heads * softmax))


def transformer_step_macs(position: int, n: TransformerSizes = DOCUMENT) -> int:
    """Return the multiply-accumulates of decoding one token that attends to ``position`` tokens, readout included.

    Examples
    --------
    >>> transformer_step_macs(1) - transformer_step_macs(0) == 6 * 2 * 512
    True
    """
    layers = n.layers * (4 * n.d * n.d + 2 * n.d * n.d_ff + 2 * n.d * position)
    return layers + (n.classes or n.tokens) * n.d


def cache_bytes(length: int, n: TransformerSizes = DOCUMENT, *, bytes_per_number: float | int = 4) -> int:
    """Return the bytes of keys and values of ``length`` tokens (int8: one byte; its scales are not counted).

    Examples
    --------
    >>> cache_bytes(1), cache_bytes(1, EQUAL, bytes_per_number=1)
    (24576, 3072)
    """
    return int(2 * n.layers * n.d * length * bytes_per_number)
