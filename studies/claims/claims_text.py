"""Sections 7 to 10 of the source document: hardware, summary, limits, conclusions, references."""

from __future__ import annotations

import math

from studies.claims import document as doc
from studies.claims.claims import Claim
from studies.claims.claims_costs import COUNT, MEASURE
from studies.claims.closed_forms import EQUAL, cache_bytes, state_bytes
from studies.claims.energy_scenarios import landauer
from studies.claims.spike_formats import break_even, stored_bytes

C = Claim
BENCH = "make bench"
RECALL = "python -m studies.recall --out runs/recall.jsonl"
_STATE = sum(state_bytes().values())
_BYTES = stored_bytes(2048, doc.ACTIVITY)

HARDWARE = (
    C("H01", "7.1", "matrix units of Intel Arc and Xeon take INT8", judged="wrong",
      reason="XMX is in GPUs, Xeons have AMX; neither has a ternary mode", contradictions=("X31",)),
    C("H02", "7.1", "ternary weights need look-ups or conditional additions only", judged="right",
      measured="native product", check=BENCH),
    C("H03", "7.1", "no floating-point unit", judged="right", check="neuromorphic compile RUN -o program.npz"),
    C("H04", "7.1", "operations that can be skipped", "81.2 %", lambda: 100 * (1 - doc.ACTIVITY), judged="misleading",
      reason="a target, and only of products that read spikes", contradictions=("X26", "X29"), counted="skipped",
      check=COUNT),
    C("H05", "7.1", "events fit sparse hardware", judged="right", check="neuromorphic info program.npz --loihi"),
    C("H06", "7.1", "CSR or COO stores spikes better", judged="wrong",
      reason=f"2,048 spikes at 18.8 %: bitmap {_BYTES['bitmap']:.0f} B, indices {_BYTES['index list']:.0f} B, "
      f"CSR {_BYTES['CSR']:.0f} B", contradictions=("X32",), check=COUNT),
    C("H07", "7.1", "fewer bits, less DRAM traffic", judged="right", counted="packing 2 bits"),
    C("H08", "7.1", "all weights fit L2 or L3", judged="right", counted="packing 2 bits",
      reason="so do an equal Transformer's int8 weights"),
    C("H09", "7.1", "bandwidth saved", "94 %", lambda: 100 * (1 - 2 / 32), judged="misleading",
      reason="2 bits against 32; with the int8 it assumes elsewhere, 75 %", contradictions=("X28",)),
    C("H10", "7.2", "a growing cache is read in every step", judged="right", measured="latency growth", check=MEASURE),
    C("H11", "7.2", "FP32 weights do not fit a cache", judged="misleading",
      reason=f"{doc.transformer_weights_mb():.0f} MB fit some L3; at equal parameters fp16 has "
      f"{doc.weights_mb(16, doc.transformer_parameters(EQUAL)):.1f} MB", contradictions=("X40",)),
    C("H12", "7.2", "softmax is hard to vectorise", judged="misleading", reason="fused attention does it",
      contradictions=("X40",), measured="total time ratio 784", check=MEASURE),
    C("H13", "7.2", "O(L²) limits the batch", judged="misleading",
      reason="scores of fused attention are never stored; the cache is O(L)", contradictions=("X20", "X42")),
    C("H14", "7.2", "FP32 power against INT8", "10 to 20 times", doc.mac_ratio, judged="misleading",
      reason="a property of FP32, not of Transformers", contradictions=("X41",), modelled="mac ratio"),
    C("H15", "7.2", "dense operations cannot use sparsity", judged="misleading",
      reason="the outputs of a ReLU hold zeros in a Transformer too; nothing was compared", contradictions=("X41",)),
)  # fmt: skip

_TOKENS = (131_072 * 4 + 256_000 * 4) / cache_bytes(1)
SUMMARY = (
    C("S01", "8.1", "parameters", "3.74 times", lambda: doc.transformer_parameters() / doc.total_parameters(),
      judged="misleading", reason="chosen, not found", contradictions=("X1",), counted="parameter ratio"),
    C("S02", "8.1", "bits of a weight", "20.3 times", lambda: 32 / 1.58, judged="misleading",
      reason="stored as int8 it is 4", contradictions=("X28", "X46"), counted="packing entropy"),
    C("S03", "8.1", "memory", "9.5 times", lambda: doc.SAID_TRANSFORMER_MB / doc.SAID_MEASURED_MB,
      judged="misleading", reason="theory over a measurement without a source", contradictions=("X5", "X41"),
      measured="memory ratio 784", check=MEASURE),
    C("S04", "8.1", "memory O(1) against O(L)", judged="right", measured="state growth", check=MEASURE),
    C("S05", "8.1", "operations O(L) against O(L²)", judged="right", measured="total time fit", check=MEASURE),
    C("S06", "8.1", "operations at L = 2048", "5.2 times", lambda: doc.operations_ratio(2048),
      reason="the ratio of L = 784 again, from a column that follows no formula", contradictions=("X15", "X16"),
      measured="latency ratio 2048", check=MEASURE),
    C("S07", "8.1", "INT8 against FP32", "10 to 20 times", doc.mac_ratio, judged="misleading",
      reason="precision, not architecture", contradictions=("X24", "X41"), modelled="mac ratio"),
    C("S08", "8.1", "effective acceleration by sparsity", "5 times", lambda: 1 / doc.ACTIVITY, judged="misleading",
      reason="no formula of the document has it", contradictions=("X26",), counted="skipped", check=COUNT),
    C("S09", "8.1", "XMX against a general FPU", judged="unsupported", reason="nothing ran on XMX",
      contradictions=("X31",)),
    C("S10", "8.1", "no cache, zero overhead", judged="wrong",
      reason=f"the state is the overhead: {_STATE:,} B here, the cache of {_STATE / cache_bytes(1):.0f} tokens of its "
      f"Transformer or {_STATE / cache_bytes(1, EQUAL, bytes_per_number=1):.0f} of an equal int8 one",
      contradictions=("X36",), counted="state bytes", measured="state bytes"),
    C("S11", "8.2", "PNB-X for long sequences, L above", "2048 tokens", judged="unsupported",
      reason="cost was shown, not that it still knows anything", contradictions=("X37", "X43"),
      measured="latency ratio 2048", check=RECALL),
    C("S12", "8.2", "PNB-X for small devices", judged="unsupported", reason="never tried", measured="memory 256",
      check=MEASURE),
    C("S13", "8.2", "PNB-X for batteries", judged="unsupported", reason="no energy was measured",
      modelled="energy pnbx step", measured="gpu joules"),
    C("S14", "8.2", "PNB-X for real time", judged="unsupported", reason="no time was measured",
      measured="latency 8192", check=MEASURE),
    C("S15", "8.2", "PNB-X for XMX", judged="unsupported", reason="no Intel GPU here either",
      contradictions=("X31",)),
    C("S16", "8.2", "Transformers for short sequences, L below", "512 tokens", judged="misleading",
      reason="its tables favour PNB-X at 256 and 512; FP32 is not why", contradictions=("X38",),
      measured="total time ratio 256", check=MEASURE),
    C("S17", "8.2", "Transformers where trained ones exist", judged="right"),
    C("S18", "8.2", "Transformers for global attention", judged="right", check=RECALL,
      reason="recall is measured in docs/beside_transformers.md"),
    C("S19", "8.2", "Transformers where data are plenty", judged="unsupported", reason="not tested"),
)  # fmt: skip

_MATCHED = 3.4e-5 / (3.57e9 * landauer())
LIMITS = (
    C("T01", "9.1", "H(Y|X) N is a lower bound of a model", judged="wrong",
      reason="neither Kolmogorov complexity nor a bound: H(Y|X) of clean labels is near 0", contradictions=("X33",)),
    C("T02", "9.1", "two bits a sample", "15 KB", lambda: 2 * 60_000 / 8 / 1e3, judged="misleading",
      reason=f"to list ten classes takes {math.log2(10):.2f} bits each, {math.log2(10) * 60_000 / 8e3:.1f} KB",
      contradictions=("X33",)),
    C("T03", "9.1", "accuracy assumed", "98 %", judged="misleading", reason="99.15 % in section 1",
      contradictions=("X35",), measured="mnist accuracy"),
    C("T04", "9.1", "15 KB over 12.1 MB", "0.12 %", lambda: 100 * 15e3 / (doc.SAID_MEASURED_MB * 1e6),
      judged="misleading",
      reason=f"compares with memory at run time; with 2-bit weights {15e3 / (doc.weights_mb(2) * 1e6):.2%}",
      contradictions=("X33",)),
    C("T05", "9.1", "architecture search", judged="no claim"),
    C("T06", "9.1", "distillation", judged="no claim", measured="distillation"),
    C("T07", "9.1", "dynamic sparse training", judged="no claim"),
    C("T08", "9.2", "Landauer at 300 K", "2.87e-21 J", landauer),
    C("T09", "9.2", "5 M bit operations", "1.44e-14 J", lambda: 5e6 * landauer(), judged="misleading",
      reason="an int8 MAC is not the erasure of one bit", contradictions=("X34",), modelled="landauer"),
    C("T10", "9.2", "above the limit", "2.4e9 times", lambda: 3.4e-5 / 1.44e-14, judged="misleading",
      reason=f"3.57 G operations over 5 M; with one count {_MATCHED:.1e}", contradictions=("X34",),
      modelled="landauer"),
    C("T11", "9.2", "quantum computers, neuromorphic chips", judged="no claim"),
)  # fmt: skip

CONCLUSIONS = (
    C("N01", "10.1", "memory saved on the same task", "88 to 95 %",
      lambda: doc.saving(doc.SAID_MEASURED_MB, doc.SAID_TRANSFORMER_MB), judged="misleading",
      reason=f"the lower end is the perceptron's; int8 both and equal parameters at L = 784: "
      f"{doc.saving(doc.weights_mb(8) + _STATE / 1e6, doc.equal_memory_mb(784)):.0f} %",
      contradictions=("X2", "X41"), measured="memory ratio 784", check=MEASURE),
    C("N02", "10.1", "speed at L = 2048 and more", "10 times", lambda: doc.operations_ratio(2048),
      reason=f"by its own formulas 10 is reached at L = {doc.first_ratio(10):,}", contradictions=("X17", "X43"),
      measured="latency ratio 2048", check=MEASURE),
    C("N03", "10.1", "energy, hundreds of times less", "100 to 999 times",
      lambda: doc.transformer_mj() / doc.energy_mj(activity_on="messages"), judged="misleading",
      reason=f"of these {1 / 0.05:.0f} are precision; at one precision {doc.operations_ratio(784):.1f}",
      contradictions=("X24", "X26", "X27"), modelled="energy ratio", measured="gpu joules"),
    C("N04", "10.1", "sequences beyond 100K", judged="unsupported",
      reason="asserted; that it runs and that it remembers are two things", contradictions=("X37",),
      measured="state growth", check=MEASURE),
    C("R01", "10.2", "true 2-bit packing", judged="no claim", counted="packing 2 bits", measured="file size",
      check="pnbx-snn pack RUN -o file.safetensors"),
    C("R02", "10.2", "CSR for activations", judged="wrong",
      reason=f"a bitmap is smaller from {break_even():.2%} activity on", contradictions=("X32",), check=COUNT),
    C("R03", "10.2", "mixed precision", judged="no claim", counted="mixed precision", check=COUNT),
    C("R04", "10.2", "distillation", judged="no claim", measured="distillation"),
    C("R05", "10.2", "Arc B580 or Xeon for XMX", judged="wrong", reason="Xeons have AMX", contradictions=("X31",)),
    C("R06", "10.2", "large batches thanks to O(1)", judged="misleading",
      reason="O(1) in L; the state grows with the batch", contradictions=("X42",), measured="batch throughput",
      check=COUNT),
    C("R07", "10.2", "ONNX Runtime with INT8", judged="no claim", measured="onnxruntime", check=BENCH),
    C("R08", "10.2", "measure on the hardware", judged="no claim", measured="latency 784", check=MEASURE),
    C("F01", "10.3", "long texts, code", judged="no claim", check=RECALL),
    C("F02", "10.3", "several modalities", judged="no claim"),
    C("F03", "10.3", "Loihi, BrainScaleS", judged="no claim", check="neuromorphic info program.npz --loihi"),
    C("F04", "10.3", "prove SSM and fast weights equal to a Transformer", judged="wrong",
      reason=f"a state of {8 * _STATE:,} bits cannot recall more", contradictions=("X39",), check=RECALL),
    C("B01", "references", "BitNet b1.58", judged="no claim", reason="it is a Transformer", contradictions=("X41",)),
    C("B02", "references", "Mamba", judged="no claim"),
    C("B03", "references", "Attention is all you need", judged="no claim"),
    C("B04", "references", "surrogate gradients", judged="no claim"),
    C("B05", "references", "Horowitz 2014", judged="no claim", reason="45 nm, cited for 7 nm",
      contradictions=("X30",)),
)  # fmt: skip

CLAIMS = (*HARDWARE, *SUMMARY, *LIMITS, *CONCLUSIONS)
