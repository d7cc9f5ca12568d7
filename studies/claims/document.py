"""The source document's formulas, done right: every figure it prints can be computed again from these.

Letters and sizes are those of "PNB-X vs Transformers" (2025-12-20). MB are 10^6 bytes, G are 10^9 multiply-accumulates
(the document calls them FLOPs). Nothing here is measured.
"""

from __future__ import annotations

import math

from scipy.stats import binomtest  # type: ignore[import-untyped]

from pnbx_snn.metrics.energy import HOROWITZ_45, JOUPPI_7, Table
from studies.claims.closed_forms import DOCUMENT, EQUAL, REFERENCE, TransformerSizes, cache_bytes, parameters
from studies.claims.closed_forms import transformer_macs as _macs
from studies.claims.closed_forms import transformer_parameters as _transformer_parameters

MB = 1e6
SAID_MEASURED_MB = 12.1
"""What the document says was measured of PNB-X, without a source."""
SAID_MLP_MB = 100.5
SAID_TRANSFORMER_MB = 115.22
ACTIVITY = 0.188
NEIGHBOURS, FEATURES = 8, 128
"""Of its message passing: 8 neighbours, 128 features each."""
LENGTHS = (256, 512, 1024, 2048, 4096, 8192)


def total_parameters() -> int:
    """Return the sum of section 2.1."""
    return sum(parameters().values())


def transformer_parameters(n: TransformerSizes = DOCUMENT) -> int:
    """Return the sum of section 2.2."""
    return _transformer_parameters(n)


def block_parameters() -> int:
    """Return the parameters of one BitBrain block: SSM, micro-RNN, membrane, fast weights."""
    found = parameters()
    return found["ssm"] + found["rnn"] + found["membrane"] + found["fast_weights"]


def six_block_parameters() -> int:
    """Return what PNB-X would have with the six layers that section 3.1 gives its state."""
    return total_parameters() + 5 * block_parameters()


def weights_mb(bits: float | int, number: int | None = None) -> float:
    """Return MB of that many weights (the document's: all of PNB-X)."""
    return (total_parameters() if number is None else number) * bits / 8 / MB


def state_terms(layers: int = 6) -> dict[str, int]:
    """Return the bytes of section 3.1 b), batch 1, for the number of layers it takes (6) or has elsewhere (1)."""
    n = REFERENCE
    return {"ssm": n.S * layers * 4, "rnn": n.R * layers * 4, "membrane": n.H * 4, "buffers": n.H * 4 * 2}


def omitted_state_bytes() -> dict[str, int]:
    """Return fp32 bytes of what the document names and leaves out of its state: the numbers are its own."""
    n = REFERENCE
    return {
        "fast weights": parameters()["fast_weights"] * 4,
        "hippocampus": parameters()["hippocampus"] * 4,
        "message features": n.H * FEATURES * 4,
        "noise": n.H * 4,
    }


def inference_mb() -> float:
    """Return section 3.1's total: int8 weights, state, scales."""
    return weights_mb(8) + sum(state_terms().values()) / MB + 48 / MB


def transformer_weights_mb() -> float:
    """Return its fp32 weights."""
    return weights_mb(32, transformer_parameters())


def scores_mb(length: int = 784) -> float:
    """Return the attention scores that section 3.2 counts: L x L x heads x 4 bytes."""
    return length * length * DOCUMENT.heads * 4 / MB


def transformer_mb(length: int, *, scores: bool = False) -> float:
    """Return section 6.1's Transformer: fp32 weights and keys and values; with section 3.2's scores if asked."""
    return transformer_weights_mb() + cache_bytes(length) / MB + scores * scores_mb(length)


def decoding_mb(length: int = 784) -> float:
    """Return what decoding with a cache takes: scores are 1 x L x heads then."""
    return transformer_mb(length) + (length * DOCUMENT.heads * 4 + DOCUMENT.d_ff * 4) / MB


def saving(ours: float, theirs: float) -> float:
    """Return how many per cent less ``ours`` is."""
    return 100 * (1 - ours / theirs)


def cache_equals_weights() -> float:
    """Return the length at which keys and values are as large as the fp32 weights."""
    return transformer_parameters() * 4 / cache_bytes(1)


def step_terms() -> dict[str, int]:
    """Return the multiply-accumulates of section 4.1, for a step."""
    n = REFERENCE
    return {
        "encoder": n.d_in * n.H,
        "ssm": n.S * n.S + n.S * n.H,
        "rnn": n.R * n.H,
        "membrane": n.H,
        "messages": n.H * NEIGHBOURS * FEATURES,
    }


def step_macs() -> int:
    """Return section 4.1's total of a step."""
    return sum(step_terms().values())


def whole_step_macs() -> int:
    """Return a step in which every weight that section 2.1 lists is used once, messages as the document has them."""
    n, listed = REFERENCE, parameters()
    matrices = sum(listed[part] for part in ("encoder", "ssm", "rnn", "fast_weights", "readout", "hippocampus"))
    return matrices + n.H + step_terms()["messages"] + 2 * n.r * n.r


def pnbx_g(length: int) -> float:
    """Return section 6.2's PNB-X: L steps of section 4.1, in G."""
    return length * step_macs() / 1e9


def transformer_g(length: int, n: TransformerSizes = DOCUMENT, *, causal: bool = False) -> float:
    """Return section 4.2's Transformer over L tokens, in G; softmax costs one operation a score."""
    return _macs(length, n, causal=causal, softmax=True) / 1e9


def operations_ratio(length: int, *, causal: bool = False) -> float:
    """Return the Transformer's operations over PNB-X's, both by the document's formulas."""
    return transformer_g(length, causal=causal) / pnbx_g(length)


def equal_ratio(length: int, *, causal: bool = True) -> float:
    """Return the same at equal parameters, PNB-X using every weight once."""
    return transformer_g(length, EQUAL, causal=causal) / (length * whole_step_macs() / 1e9)


def first_ratio(times: float | int) -> int:
    """Return the first length at which :func:`operations_ratio` reaches ``times``.

    Examples
    --------
    >>> first_ratio(10)
    4311
    """
    linear, square = transformer_g(1) * 1e9, 0
    square = DOCUMENT.layers * (2 * DOCUMENT.d + DOCUMENT.heads)
    linear = transformer_g(1) * 1e9 - square
    return math.ceil((times * step_macs() - linear) / square)


def quadratic_share(length: int = 784) -> float:
    """Return which part of the Transformer's operations grows with the square of the length."""
    square = DOCUMENT.layers * (2 * DOCUMENT.d + DOCUMENT.heads) * length * length
    return square / (transformer_g(length) * 1e9)


def energy_mj(*, activity_on: str = "everything", pico: float | int = 0.05) -> float:
    """Return section 5.2's energy of PNB-X for 784 steps, in mJ.

    Parameters
    ----------
    activity_on
        ``"everything"``, as the document has it; ``"messages"``: only where the inputs are spikes; ``"nothing"``.
    pico
        pJ an operation.
    """
    terms = step_terms()
    sparse = {"everything": sum(terms.values()), "messages": terms["messages"], "nothing": 0}[activity_on]
    work = sum(terms.values()) - sparse * (1 - ACTIVITY)
    return 784 * work * pico * 1e-12 * 1e3


def transformer_mj(pico: float | int = 1.0) -> float:
    """Return section 5.2's energy of the Transformer at L = 784, in mJ."""
    return transformer_g(784) * 1e9 * pico * 1e-12 * 1e3


def mac_ratio(table: Table = HOROWITZ_45, wide: str = "fp32") -> float:
    """Return the energy of a floating-point MAC over an int8 one (8-bit sum, as the document must mean)."""
    energies = table.operations
    return (energies[f"{wide} multiply"] + energies[f"{wide} add"]) / (energies["int8 multiply"] + energies["int8 add"])


def mac_pj(kind: str, table: Table = JOUPPI_7) -> float:
    """Return pJ of a MAC; an int8 product is summed in 32 bits."""
    summed = "int32 add" if kind == "int8" else f"{kind} add"
    return table.operations[f"{kind} multiply"] + table.operations[summed]


def traffic_mj(bits: int, table: Table = HOROWITZ_45) -> float:
    """Return the energy of reading all weights from 1 MB SRAM in each of 784 steps, in mJ."""
    return 784 * weights_mb(bits) * MB / 8 * table.access["SRAM 1 MB"][1] * 1e-12 * 1e3


def wilson(correct: int, of: int) -> tuple[float, float]:
    """Return Wilson's 95 % interval of a share.

    Examples
    --------
    >>> [round(100 * end, 2) for end in wilson(9915, 10_000)]
    [98.95, 99.31]
    """
    low, high = binomtest(correct, of).proportion_ci(method="wilson")
    return float(low), float(high)


def equal_memory_mb(length: int, *, weight_bits: int = 8, cache_bytes_per_number: int = 1) -> float:
    """Return the equal-parameter Transformer's weights and cache, in MB."""
    cache = cache_bytes(length, EQUAL, bytes_per_number=cache_bytes_per_number)
    return weights_mb(weight_bits, transformer_parameters(EQUAL)) + cache / MB
