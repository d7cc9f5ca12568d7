"""Sections 0 to 3 of the source document: summary, configuration, parameters, memory."""

from __future__ import annotations

import math

from studies.claims import document as doc
from studies.claims.claims import Claim
from studies.claims.closed_forms import DOCUMENT, cache_bytes, parameters, state_bytes

C = Claim
INFO = "pnbx-snn info reference"
MEASURE = "python -m studies.measurements FOLDER"
TRAIN = "pnbx-snn train mnist_distilled --data DIR && pnbx-snn eval runs/mnist_distilled --data DIR"

_LITERAL_MB = doc.weights_mb(32)
_STATE = sum(state_bytes().values())
_LOW, _HIGH = doc.wilson(9915, 10_000)

SUMMARY = (
    C("E01", "title", "a theoretical analysis", judged="definition"),
    C("E02", "head", "dated 2025-12-20, Apache 2.0", judged="definition"),
    C(
        "E03", "summary", "compared at the same parameter scale", "1.0 times",
        lambda: doc.transformer_parameters() / doc.total_parameters(),
        reason="the Transformer was chosen larger", contradictions=("X1",), counted="parameter ratio",
    ),
    C("E04", "summary", "significantly better in memory, complexity, energy", judged="unsupported",
      reason="of the three, energy and time were never measured; see the rows below", contradictions=("X45",)),
    C(
        "E05", "summary", "memory saved against an equivalent FP32 model", "88.0 %",
        lambda: doc.saving(doc.SAID_MEASURED_MB, _LITERAL_MB),
        reason=f"an FP32 copy of PNB-X has {_LITERAL_MB:.1f} MB; 88.0 % is the figure against another model",
        contradictions=("X2", "X3"), counted="packing 2 bits",
    ),
    C("E06", "summary", "O(L) against O(L²) for a sequence", judged="right",
      reason=f"as growth; of the Transformer's operations at L = 784 only {doc.quadratic_share():.0%} are quadratic",
      measured="total time ratio 8192", check=MEASURE),
    C("E07", "summary", "no KV cache, memory independent of the length", judged="right",
      counted="state bytes", measured="state growth", check=MEASURE),
    C(
        "E08", "summary", "efficiency of integer arithmetic", "10 to 20 times", doc.mac_ratio, judged="misleading",
        reason=f"against FP32 only; against FP16 it is {doc.mac_ratio(wide='fp16'):.1f}, and a Transformer can be int8",
        contradictions=("X24", "X30", "X41"), modelled="mac ratio",
    ),
)  # fmt: skip

CONFIGURATION = (
    C("C01", "1.1", "taken from config.example.toml and README.md, neither of which is there", judged="unsupported",
      reason="no source is given"),
    C("C02", "1.1", "d_in, a 28 x 28 image", "784", lambda: 28 * 28),
    C("C03", "1.1", "d_hidden", "2048", judged="definition"),
    C("C04", "1.1", "d_out", "10", judged="definition"),
    C("C05", "1.1", "training batch", "128", judged="definition"),
    C("C06", "1.1", "bits of a ternary weight", "1.58 bit", lambda: math.log2(3), counted="packing entropy",
      contradictions=("X46",)),
    C("C07", "1.1", "target firing rate", "18.8 %", judged="definition", contradictions=("X29",),
      reason="a target here, a fact in sections 5 and 7", measured="firing rate", check="pnbx-snn eval RUN"),
    C("C08", "1.1", "measured memory of the whole model", "12.1 MB", judged="unsupported",
      reason="no source; 1.1, 3.1 and 6.1 call three things by it", contradictions=("X4", "X49"),
      counted="native memory", measured="memory 256", check=MEASURE),
    C("C09", "1.1", "measured accuracy on MNIST", "99.15 %", judged="unsupported",
      reason=f"no seeds, no recipe; of 10,000 images it would be [{_LOW:.2%}, {_HIGH:.2%}]; here it is reached",
      contradictions=("X35",), measured="mnist accuracy", check=TRAIN),
    C("C10", "1.2", "a Transformer with a similar number of parameters", "1.0 times",
      lambda: doc.transformer_parameters() / doc.total_parameters(), reason="larger by its own choice",
      contradictions=("X1",), counted="parameter ratio"),
    C("C11", "1.2", "d_model", "512", judged="definition"),
    C("C12", "1.2", "heads", "8", judged="definition"),
    C("C13", "1.2", "layers", "6", judged="definition"),
    C("C14", "1.2", "d_ff", "2048", lambda: 4 * DOCUMENT.d),
    C("C15", "1.2", "sequence length, aligned with PNB-X's input", "784", judged="misleading",
      reason="one image is a vector of 784 for PNB-X and 784 steps for both; only one can be", contradictions=("X12",)),
    C("C16", "1.2", "the Transformer's weights are FP32", judged="definition", contradictions=("X41",)),
)  # fmt: skip


def _part(number: str, part: str, says: str, claimed: str, **options: object) -> Claim:
    claim = C(number, "2.1", says, claimed, lambda: parameters()[part], counted=f"parameters {part}", check=INFO)
    return claim._replace(**options)  # type: ignore[arg-type]


PARAMETERS = (
    _part("P01", "encoder", "BitLinear, d_in d_hidden", "1,605,632"),
    _part("P02", "ssm", "A, B, C, D of the SSM, 4 d_hidden d_ssm", "2,097,152", judged="misleading",
          reason="A is 2048 x 256 here, 256 x 256 in the cost, and its state 256 numbers", contradictions=("X8",)),
    _part("P03", "rnn", "three matrices of the micro-RNN", "786,432", judged="misleading",
          reason="three are stored, one is charged in 4.1", contradictions=("X9",)),
    _part("P04", "membrane", "leak and bias", "4,096"),
    _part("P05", "fast_weights", "fast weights, rank 32", "131,072", contradictions=("X44",)),
    _part("P06", "readout", "output layer", "20,480"),
    _part("P07", "glia", "glia: PID and statistics", "1,024", contradictions=("X44",)),
    _part("P08", "hippocampus", "hippocampus", "512,000", contradictions=("X44",)),
    C("P09", "2.1", "all of PNB-X", "5,157,888", doc.total_parameters, counted="parameters", check=INFO),
    C("P10", "2.2", "Q, K, V of a layer", "786,432", lambda: 3 * DOCUMENT.d**2),
    C("P11", "2.2", "output projection", "262,144", lambda: DOCUMENT.d**2),
    C("P12", "2.2", "attention of a layer", "1,048,576", lambda: 4 * DOCUMENT.d**2),
    C("P13", "2.2", "feed-forward part of a layer", "2,097,152", lambda: 2 * DOCUMENT.d * DOCUMENT.d_ff),
    C("P14", "2.2", "layer norms", "12,288", lambda: 2 * 2 * DOCUMENT.d * DOCUMENT.layers),
    C("P15", "2.2", "positions", "401,408", lambda: 784 * DOCUMENT.d),
    C("P16", "2.2", "embedding of inputs and outputs, shared", "5,120", lambda: DOCUMENT.d * 10, judged="misleading",
      reason=f"grey levels are not classes: {256 * DOCUMENT.d:,} for 256 levels, or {DOCUMENT.d} for a number",
      contradictions=("X48",)),
    C("P17", "2.2", "all of the Transformer", "19,293,184", doc.transformer_parameters,
      counted="parameters transformer"),
    C("P18", "2.3", "ratio of parameters", "3.74 times",
      lambda: doc.transformer_parameters() / doc.total_parameters(), counted="parameter ratio"),
    C("P19", "2.3", "a Transformer needs that many for similar performance", "3.74 times", judged="unsupported",
      reason="no accuracy of a Transformer appears anywhere; the size was chosen", contradictions=("X1",),
      check="python -m studies.recall --out runs/recall.jsonl"),
)  # fmt: skip

_GAP = doc.SAID_MEASURED_MB - doc.inference_mb()
MEMORY = (
    C("M01", "3.1", "two bits in theory, int8 in practice", judged="misleading",
      reason="1.58, 2 and 8 bits are used as if they were one", contradictions=("X46",), measured="file size"),
    C("M02", "3.1", "int8 weights", "5.16 MB", lambda: doc.weights_mb(8), counted="packing int8"),
    C("M03", "3.1", "2-bit weights", "1.29 MB", lambda: doc.weights_mb(2), counted="packing 2 bits",
      measured="file size"),
    C("M04", "3.1", "SSM state", "6,144 B", lambda: doc.state_terms()["ssm"], judged="misleading",
      reason=f"six layers here, one in the parameters; one layer is {doc.state_terms(1)['ssm']:,} B",
      contradictions=("X6",), counted="state ssm"),
    C("M05", "3.1", "RNN state", "3,072 B", lambda: doc.state_terms()["rnn"], judged="misleading",
      reason=f"six layers again; one is {doc.state_terms(1)['rnn']:,} B", contradictions=("X6",), counted="state rnn"),
    C("M06", "3.1", "membrane", "8,192 B", lambda: doc.state_terms()["membrane"], counted="state membrane"),
    C("M07", "3.1", "two activation buffers", "16,384 B", lambda: doc.state_terms()["buffers"]),
    C("M08", "3.1", "state, batch 1", "34 KB", lambda: sum(doc.state_terms().values()) / 1e3, judged="misleading",
      reason=f"left out: {', '.join(f'{k} {v:,} B' for k, v in doc.omitted_state_bytes().items())}; this network keeps "
      f"{_STATE:,} B", contradictions=("X6", "X7"), counted="state bytes", measured="state bytes"),
    C("M09", "3.1", "scales", "48 B", lambda: 2 * 6 * 4, judged="misleading",
      reason="one scale a matrix would be 13", contradictions=("X6",)),
    C("M10", "3.1", "inference, all", "5.19 MB", doc.inference_mb, counted="native memory"),
    C("M11", "3.1", "the rest of 12.1 MB are gradient buffers, hippocampus, noise, XMX buffers", "12.1 MB",
      judged="wrong", reason=f"the gap is {_GAP:.2f} MB, one copy of gradients {_LITERAL_MB:.1f} MB, and "
      "inference has none",
      contradictions=("X4", "X49"), measured="memory 256", check=MEASURE),
    C("M12", "3.1", "the state of OU noise is part of inference", judged="wrong",
      reason="noise is for training only", contradictions=("X50",)),
    C("M13", "3.1", "XMX kernels have buffers", judged="unsupported", reason="no kernel is given",
      contradictions=("X31",)),
    C("M14", "3.2", "fp32 weights of the Transformer", "77.2 MB", doc.transformer_weights_mb),
    C("M15", "3.2", "keys and values of a layer at L = 784", "3.06 MB", lambda: cache_bytes(784) / 6 / 1e6,
      reason="MiB printed as MB", contradictions=("X21",)),
    C("M16", "3.2", "keys and values of six layers", "18.36 MB", lambda: cache_bytes(784) / 1e6,
      reason="MiB printed as MB", contradictions=("X21",)),
    C("M17", "3.2", "attention scores, L x L x heads", "19.66 MB", doc.scores_mb, judged="misleading",
      reason="decoding with a cache has 1 x L x heads; fused attention has none", contradictions=("X20",)),
    C("M18", "3.2", "feed-forward activations", "8.19 KB", lambda: DOCUMENT.d_ff * 4 / 1e3, judged="misleading",
      reason="of one token, beside scores of all", contradictions=("X20",)),
    C("M19", "3.2", "inference of the Transformer", "115.22 MB", lambda: doc.transformer_mb(784, scores=True),
      judged="misleading",
      reason=f"a cache and all scores never exist together; with a cache it is {doc.decoding_mb():.1f} MB",
      contradictions=("X19", "X20", "X21"), measured="document transformer memory 784", check=MEASURE),
    C("M20", "3.3", "PNB-X, measured", "12.1 MB", judged="unsupported", reason="see C08", contradictions=("X4",),
      measured="memory 256", check=MEASURE),
    C("M21", "3.3", "PNB-X int8 over measured", "0.43 times", lambda: doc.inference_mb() / doc.SAID_MEASURED_MB),
    C("M21b", "3.3", "its memory efficiency", "+133 %",
      lambda: 100 * (doc.SAID_MEASURED_MB / doc.inference_mb() - 1)),
    C("M22", "3.3", "the Transformer over PNB-X", "9.52 times",
      lambda: doc.SAID_TRANSFORMER_MB / doc.SAID_MEASURED_MB, judged="misleading",
      reason=f"theory over measurement; int8 both, equal parameters, L = 784: "
      f"{doc.equal_memory_mb(784) / (doc.weights_mb(8) + _STATE / 1e6):.2f}",
      contradictions=("X5", "X41"), measured="memory ratio 784", check=MEASURE),
    C("M22b", "3.3", "saving against the Transformer", "88.0 %",
      lambda: doc.saving(doc.SAID_MEASURED_MB, doc.SAID_TRANSFORMER_MB),
      reason=f"88.0 % is against the perceptron: {doc.saving(doc.SAID_MEASURED_MB, doc.SAID_MLP_MB):.2f} %",
      contradictions=("X2",)),
    C("M23", "3.3", "a 32-bit perceptron over PNB-X", "8.31 times",
      lambda: doc.SAID_MLP_MB / doc.SAID_MEASURED_MB, judged="unsupported",
      reason=f"100.5 MB are {doc.SAID_MLP_MB / 4:.1f} M weights; no stack of 784-2048-...-10 has them"),
    C("M23b", "3.3", "saving against the perceptron", "87.9 %",
      lambda: doc.saving(doc.SAID_MEASURED_MB, doc.SAID_MLP_MB), contradictions=("X2",)),
    C("M24", "3.3", "saving against an equivalent Transformer", "88.0 %",
      lambda: doc.saving(doc.SAID_MEASURED_MB, doc.SAID_TRANSFORMER_MB), reason="the perceptron's figure",
      contradictions=("X2", "X5")),
    C("M25", "3.3", "no KV cache, memory O(1) in L", judged="right", counted="state bytes", measured="state growth",
      check=MEASURE),
    C("M26", "3.3", "L from which the cache is the bottleneck", "2048 tokens", doc.cache_equals_weights,
      reason="the cache is as large as the weights from there", contradictions=("X23",)),
)  # fmt: skip


def _memory_rows() -> tuple[Claim, ...]:
    """Table 6.1."""
    printed = {256: ("83", "6.9"), 512: ("89", "7.4"), 1024: ("102", "8.4"), 2048: ("128", "10.6")}
    printed |= {4096: ("179", "14.8"), 8192: ("282", "23.3")}
    rows: list[Claim] = []
    for number, (length, (megabytes, ratio)) in enumerate(printed.items(), start=1):
        beside = f"with section 3.2's scores it would be {doc.transformer_mb(length, scores=True):,.1f} MB"
        rows.append(
            C(f"L0{number}", "6.1", f"memory of the Transformer, L = {length:,}", f"{megabytes} MB",
              lambda length=length: doc.transformer_mb(length),  # type: ignore[misc]
              reason=beside, contradictions=("X19", "X22"),
              measured=f"document transformer memory {length}", check=MEASURE)
        )  # fmt: skip
        rows.append(
            C(f"L0{number}b", "6.1", f"ratio of memory, L = {length:,}", f"{ratio} times",
              lambda length=length: doc.transformer_mb(length) / doc.SAID_MEASURED_MB,  # type: ignore[misc]
              judged="misleading", reason="theory over a measurement without a source; FP32 over int8",
              contradictions=("X5", "X41"), measured=f"memory ratio {length}", check=MEASURE)
        )  # fmt: skip
    return tuple(rows)


SCALING_MEMORY = (
    *_memory_rows(),
    C("L07", "6.1", "O(1) against memory linear in L", judged="misleading",
      reason="true of a cache; section 3.2 counts L x L scores, which are quadratic", contradictions=("X19",),
      measured="state growth", check=MEASURE),
)  # fmt: skip

CLAIMS = (*SUMMARY, *CONFIGURATION, *PARAMETERS, *MEMORY, *SCALING_MEMORY)
