"""Sections 4 to 6 of the source document: operations, energy, scaling."""

from __future__ import annotations

from pnbx_snn.metrics.energy import HOROWITZ_45, JOUPPI_7
from studies.claims import document as doc
from studies.claims.claims import Claim
from studies.claims.closed_forms import DOCUMENT, REFERENCE

C = Claim
MEASURE = "python -m studies.measurements FOLDER"
COUNT = "pnbx-snn analyze RUN"
_D = DOCUMENT
_FULL = doc.whole_step_macs() / 1e6
_STATIC = doc.transformer_g(784) * 1e9 / doc.step_macs()
_PIXEL = (doc.step_macs() - REFERENCE.d_in * REFERENCE.H + REFERENCE.H) * 784 / 1e9


def _million(value: float | int) -> float:
    return value / 1e6


OPERATIONS = (
    C("K01", "4.1", "BitLinear", "1.6 M", lambda: _million(doc.step_terms()["encoder"]), counted="operations encoder"),
    C("K02", "4.1", "SSM: d_ssm² + d_ssm d_model", "590 K", lambda: doc.step_terms()["ssm"] / 1e3, judged="misleading",
      reason="C and D are never charged, A is another matrix than in 2.1, and d_model is the Transformer's",
      contradictions=("X8", "X47"), counted="operations ssm"),
    C("K03", "4.1", "micro-RNN", "262 K", lambda: doc.step_terms()["rnn"] / 1e3, judged="misleading",
      reason="one of three matrices", contradictions=("X9",), counted="operations rnn"),
    C("K04", "4.1", "membrane and spikes", "2 K", lambda: doc.step_terms()["membrane"] / 1e3,
      counted="operations membrane"),
    C("K05", "4.1", "messages: N k d", "2.1 M", lambda: _million(doc.step_terms()["messages"]), judged="misleading",
      reason="the largest cost has no parameters, no state and no equation", contradictions=("X10",),
      counted="operations messages"),
    C("K06", "4.1", "a step", "4.55 M", lambda: _million(doc.step_macs()), judged="misleading",
      reason=f"{_FULL:.2f} M if every listed weight is used once; multiply-accumulates, not FLOPs",
      contradictions=("X11", "X13"), counted="operations", measured="latency 784"),
    C("K07", "4.1", "linear in L", judged="right", measured="total time fit", check=MEASURE),
    C("K08", "4.2", "Q, K, V of a layer at L = 784", "613 M", lambda: _million(3 * 784 * _D.d**2),
      reason="cut off", contradictions=("X14",)),
    C("K09", "4.2", "scores", "314 M", lambda: _million(784**2 * _D.d), reason="cut off", contradictions=("X14",)),
    C("K10", "4.2", "softmax and values", "319 M", lambda: _million(784**2 * (_D.heads + _D.d)), reason="cut off",
      contradictions=("X14",)),
    C("K11", "4.2", "output projection", "204 M", lambda: _million(784 * _D.d**2), reason="cut off",
      contradictions=("X14",)),
    C("K12", "4.2", "attention of a layer", "1,450 M",
      lambda: _million(4 * 784 * _D.d**2 + 784**2 * (2 * _D.d + _D.heads)), reason="a sum of figures cut off",
      contradictions=("X14",)),
    C("K13", "4.2", "feed-forward part", "1,644 M", lambda: _million(2 * 784 * _D.d * _D.d_ff)),
    C("K14", "4.2", "a layer", "3,094 M", lambda: 1e3 * doc.transformer_g(784) / _D.layers,
      reason="a sum of figures cut off", contradictions=("X14",)),
    C("K14b", "4.2", "six layers", "18,564 M", lambda: 1e3 * doc.transformer_g(784),
      reason="a sum of figures cut off", contradictions=("X14",)),
    C("K15", "4.2", "attention has a quadratic term", judged="right", measured="total time fit", check=MEASURE),
    C("K16", "4.3", "PNB-X at L = 784", "3.57 G", lambda: doc.pnbx_g(784), judged="misleading",
      reason=f"reads the whole image in each of 784 steps; one step would do ({_STATIC:,.0f} times less than the "
      f"Transformer), or one pixel a step ({_PIXEL:.2f} G)", contradictions=("X12", "X13"), counted="operations"),
    C("K17", "4.3", "the Transformer at L = 784", "18.56 G", lambda: doc.transformer_g(784), judged="misleading",
      reason=f"multiply-accumulates, twice as many FLOPs; causal: {doc.transformer_g(784, causal=True):.2f} G",
      contradictions=("X13", "X14")),
    C("K18", "4.3", "PNB-X is faster at L = 784", "5.2 times", lambda: doc.operations_ratio(784), judged="misleading",
      reason=f"a ratio of operations, not of time; at equal parameters {doc.equal_ratio(784):.2f} (causal) to "
      f"{doc.equal_ratio(784, causal=False):.2f}", contradictions=("X16", "X45"), measured="total time ratio 784",
      check=MEASURE),
    C("K19", "4.3", "from L = 2048 quadratic against linear", judged="right", measured="total time ratio 2048",
      check=MEASURE),
    C("K20", "4.3", "the advantage shows for L above", "1024 tokens", judged="unsupported",
      reason="one of four thresholds", contradictions=("X43",), measured="latency ratio 1024", check=MEASURE),
)  # fmt: skip

_INT8, _FP32 = doc.mac_pj("int8"), doc.mac_pj("fp32")
_WHERE_SPIKES = doc.energy_mj(activity_on="messages")
_GAIN = doc.transformer_mj() / _WHERE_SPIKES

ENERGY = (
    C("G01", "5.1", "INT8 against FP32 MAC", "10 to 20 times", doc.mac_ratio, judged="misleading",
      reason="compares precisions, not networks", contradictions=("X41",), modelled="mac ratio"),
    C("G02", "5.1", "weights are quantised before", judged="right"),
    C("G03", "5.1", "what sparsity buys", "5 times", lambda: 1 / doc.ACTIVITY, judged="misleading",
      reason="only where inputs are spikes", contradictions=("X26",), counted="skipped", check=COUNT),
    C("G04", "5.1", "memory access", "16 times", lambda: 32 / 2, judged="misleading",
      reason="of 2-bit weights; everything else is of int8 ones, 4 times", contradictions=("X28",),
      counted="packing 2 bits"),
    C("G05", "5.2", "INT8 at 7 nm", "0.05 pJ", lambda: doc.mac_pj("int8"),
      reason=f"no source; 7 nm: {_INT8:.2f} pJ with its 32-bit sum, 45 nm: {doc.mac_pj('int8', HOROWITZ_45):.2f} pJ",
      contradictions=("X30",), modelled="mac pj"),
    C("G05b", "5.2", "FP32 at 7 nm", "1.0 pJ", lambda: doc.mac_pj("fp32"),
      reason=f"no source; 7 nm: {_FP32:.2f} pJ, 45 nm (the paper cited): {doc.mac_pj('fp32', HOROWITZ_45):.1f} pJ",
      contradictions=("X30",), modelled="mac pj"),
    C("G06", "5.2", "PNB-X, 784 steps", "0.034 mJ", lambda: doc.energy_mj(activity_on="messages"),
      reason=f"sparsity multiplies operations whose inputs are no spikes; and reading the weights alone takes "
      f"{doc.traffic_mj(2, JOUPPI_7):.1f} (2 bits, 7 nm) to {doc.traffic_mj(8):.1f} mJ (int8, 45 nm) from SRAM",
      contradictions=("X26", "X27"), modelled="energy pnbx 784", check=COUNT),
    C("G07", "5.2", "the Transformer, L = 784", "18.56 mJ", doc.transformer_mj, judged="misleading",
      reason="no memory traffic; a coefficient without a source", contradictions=("X27", "X30"),
      modelled="energy transformer 784"),
    C("G08", "5.2", "gain", "546 times", lambda: _GAIN,
      reason=f"20 of it is precision, {1 / doc.ACTIVITY:.1f} sparsity where there is none; from unrounded figures "
      f"{doc.transformer_mj() / doc.energy_mj():.0f}; at one precision {doc.operations_ratio(784):.1f}",
      contradictions=("X24", "X25", "X26"), modelled="energy ratio", measured="gpu joules"),
)  # fmt: skip


def _operation_rows() -> tuple[Claim, ...]:
    """Table 6.2."""
    printed = {256: ("1.16", "2.45", "2.1"), 512: ("2.33", "5.89", "2.5"), 1024: ("4.66", "15.32", "3.3")}
    printed |= {2048: ("9.32", "48.67", "5.2"), 4096: ("18.64", "172.8", "9.3"), 8192: ("37.28", "653.9", "17.5")}
    rows: list[Claim] = []
    for number, (length, (ours, theirs, ratio)) in enumerate(printed.items(), start=8):
        at, off = f"L{number:02}", float(theirs) / doc.transformer_g(length) - 1
        rows.append(C(at, "6.2", f"operations of PNB-X, L = {length:,}", f"{ours} G",
                      lambda length=length: doc.pnbx_g(length), reason="cut off"))  # type: ignore[misc]  # fmt: skip
        rows.append(
            C(f"{at}b", "6.2", f"operations of the Transformer, L = {length:,}", f"{theirs} G",
              lambda length=length: doc.transformer_g(length),  # type: ignore[misc]
              reason=f"{off:+.0%} against section 4.2's own formula", contradictions=("X15",))
        )  # fmt: skip
        rows.append(
            C(f"{at}c", "6.2", f"ratio of operations, L = {length:,}", f"{ratio} times",
              lambda length=length: doc.operations_ratio(length),  # type: ignore[misc]
              reason=f"from a column that follows no formula; at equal parameters, causal: "
              f"{doc.equal_ratio(length):.2f}",
              contradictions=("X15",), measured=f"total time ratio {length}", check=MEASURE)
        )  # fmt: skip
    return tuple(rows)


_SLOPE = (doc.operations_ratio(8192) - doc.operations_ratio(256)) / (8192 - 256)
SCALING = (
    *_operation_rows(),
    C("L14", "6.2", "O(L) against O(L²)", judged="right", measured="total time fit", check=MEASURE),
    C("L15", "6.2", "beyond 4K the advantage grows exponentially", judged="wrong",
      reason=f"linearly, by {_SLOPE:.5f} a token", contradictions=("X18", "X43"), measured="latency growth",
      check=MEASURE),
)  # fmt: skip

CLAIMS = (*OPERATIONS, *ENERGY, *SCALING)
