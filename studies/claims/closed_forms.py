"""Closed forms of the document's networks: parameters, state, and operations of a step, from their sizes alone.

What :mod:`pnbx_snn.metrics` counts on a network must equal these; tests hold both together.
"""

from __future__ import annotations

from typing import NamedTuple

from pnbx_snn.metrics.operations import Operations


class Sizes(NamedTuple):
    """Sizes of a PNB-X network of one block with every part, in the letters of the source document."""

    d_in: int = 784
    H: int = 2048
    d_out: int = 10
    S: int = 256
    R: int = 128
    r: int = 32
    M: int = 125


REFERENCE = Sizes()
"""784-2048-10 with S 256, R 128, rank 32, 125 slots: the configuration of the document."""


def parameters(n: Sizes = REFERENCE) -> dict[str, int]:
    """Return the numbers of each part as the document counts them (section 2.1), without a network.

    Examples
    --------
    >>> sum(parameters().values())
    5157888
    """
    return {
        "encoder": n.d_in * n.H,
        "ssm": 4 * n.H * n.S,
        "rnn": 3 * n.H * n.R,
        "membrane": 2 * n.H,
        "fast_weights": 2 * n.H * n.r,
        "readout": n.H * n.d_out,
        "glia": 8 * (n.H // 16),
        "hippocampus": 2 * n.M * n.H,
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
        "ssm": 4 * n.S,
        "rnn": 4 * n.R,
        "fast_weights": 4 * (n.r * n.r + n.r),
        "hippocampus": 4 * n.M * n.H,
        "membrane": 2 * 4 * n.H,
        "readout": 8 * n.H,  # running sum of the spikes
    }


def operations(n: Sizes = REFERENCE, *, winner: bool = False) -> list[Operations]:
    """Return all operations of one step, without skipping.

    With ``winner`` one memory slot answers, as in a compiled program; otherwise a softmax weighs all of them.

    Examples
    --------
    >>> sum(row.dense for row in operations() if row.kind == "additions from events")
    2418688
    """
    events = {"ssm": ("ABD", n.S), "rnn": ("UW", n.R), "fast_weights": ("P", n.r)}
    rows = [Operations(part, m, "additions from events", n.H * size) for part, (ms, size) in events.items() for m in ms]
    rows.append(Operations("hippocampus", "K, asked", "additions from events", n.M * n.H))
    values = {
        ("encoder", "W_in"): n.d_in, ("ssm", "C"): n.S, ("rnn", "V"): n.R, ("fast_weights", "Q"): n.r,
        ("hippocampus", "K, recalled"): n.M, ("readout", "W_o"): n.d_out,
    }  # fmt: skip
    rows += [Operations(*place, "additions from values", n.H * size) for place, size in values.items()]
    rows.append(Operations("fast_weights", "F", "multiply-accumulates", 2 * n.r * n.r))  # write, read
    if not winner:
        rows.append(Operations("hippocampus", "E, recalled", "multiply-accumulates", n.M * n.H))
    elementwise = {
        ("encoder", "LIF"): 4 * n.H,  # decay, add, compare, reset
        ("ssm", "state"): 7 * n.S,  # two gates, 1 - f, two products, a sum, an output gate
        ("rnn", "state"): 5 * n.R,  # gate, 1 - g, two products, a sum
        ("fast_weights", "state"): n.r * n.r + n.r,  # the decay, the clip
        # A softmax weighs all slots in the read and the write; a winner reads and writes one row. All slots fade.
        ("hippocampus", "state"): 3 * n.M + n.M * n.H + (2 * n.H if winner else n.M * n.H),
        # Four pathways, bias, 1 - beta; decay, add, compare, reset; eight neighbours, shift, add.
        ("membrane", "LIF"): 19 * n.H,
        ("readout", "mean"): n.H,
    }
    rows += [Operations(*place, "elementwise", number) for place, number in elementwise.items()]
    order = list(state_bytes(n))  # from the input to the read-out
    return sorted(rows, key=lambda row: order.index(row.part))


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
