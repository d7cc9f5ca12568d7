"""The fifty places where the source document contradicts itself or its sources, each with its numbers computed."""

from __future__ import annotations

import math

from pnbx_snn.metrics.energy import HOROWITZ_45
from studies.claims import document as doc
from studies.claims.closed_forms import EQUAL, cache_bytes, state_bytes
from studies.claims.spike_formats import break_even, stored_bytes

_RATIO = doc.transformer_parameters() / doc.total_parameters()
_MLP = doc.saving(doc.SAID_MEASURED_MB, doc.SAID_MLP_MB)
_T = doc.saving(doc.SAID_MEASURED_MB, doc.SAID_TRANSFORMER_MB)
_COPY = doc.weights_mb(32)
_GAP = doc.SAID_MEASURED_MB - doc.inference_mb()
_OFF = [float(theirs) / doc.transformer_g(at) - 1 for at, theirs in ((256, "2.45"), (8192, "653.9"))]
_BYTES = stored_bytes(2048, doc.ACTIVITY)
_FAST = (131_072 + 256_000) * 4
_OMITTED = doc.omitted_state_bytes()
_STEP, _WHOLE = doc.step_macs(), doc.whole_step_macs()
_CUT = [
    printed / value - 1 for printed, value in ((613, 784 * 3 * 512**2 / 1e6), (18_564, 1e3 * doc.transformer_g(784)))
]

CONTRADICTIONS: dict[str, str] = {
    "X1": f'"The same scale" stands beside {_RATIO:.2f} times the parameters, chosen first and then reported as '
    "a finding.",
    "X2": f"88.0 % is printed against the Transformer; it is the perceptron's ({_MLP:.2f} %). Against the "
    "Transformer it "
    f"would be {_T:.1f} %.",
    "X3": f'The summary\'s "equivalent FP32 model", a copy of PNB-X, has {_COPY:.1f} MB: a saving of '
    f"{doc.saving(doc.SAID_MEASURED_MB, _COPY):.0f} %.",
    "X4": f"12.1 MB of inference are explained by gradient buffers, which inference has not and which "
    f"({_COPY:.1f} MB) would not fit the gap of {_GAP:.2f} MB.",
    "X5": "A measured figure of PNB-X (12.1 MB) is divided into a theoretical one of the Transformer (115.22 MB).",
    "X6": f"Six layers in the state, one in parameters and cost. With six PNB-X has {doc.six_block_parameters():,} "
    f"parameters, more than the Transformer; with one its state is {sum(doc.state_terms(1).values()):,} B.",
    "X7": "The state leaves out " + ", ".join(f"{name} ({size:,} B)" for name, size in _OMITTED.items()) + ".",
    "X8": "The SSM is three objects: A of 2048 x 256 in the parameters, of 256 x 256 in the cost, and a state of 256.",
    "X9": "Three micro-RNN matrices are stored, one is charged.",
    "X10": f"Message passing is the largest cost ({doc.step_terms()['messages'] / _STEP:.0%}) and has no "
    "parameters, no "
    "state and no equation.",
    "X11": "A step leaves out C and D, two RNN matrices, fast weights, hippocampus and output: "
    f"{_WHOLE / 1e6:.2f} M, not "
    f"{_STEP / 1e6:.2f} M ({_WHOLE / _STEP:.2f} times).",
    "X12": "L = 784 and d_in = 784 together: the image is one vector and 784 steps at once.",
    "X13": "Multiply-accumulates are called FLOPs, and energy per operation is applied to them.",
    "X14": f"The Transformer's terms are cut off: {_CUT[0]:+.1%} (Q, K, V), {_CUT[1]:+.1%} (all).",
    "X15": f"The Transformer's column of table 6.2 follows no formula: {_OFF[0]:+.0%} at 256, {_OFF[1]:+.0%} at 8192 "
    f"against its own; 18.56 G at 784 but 15.32 G at 1024.",
    "X16": f"5.2 times is claimed at L = 784 and at L = 2048; by its own formulas {doc.operations_ratio(784):.2f} and "
    f"{doc.operations_ratio(2048):.2f}.",
    "X17": "At least 10 times beyond 2K, against 5.2 and 9.3 in its own table at 2,048 and 4,096; its formulas "
    "reach 10 "
    f"at {doc.first_ratio(10):,}.",
    "X18": "An advantage that grows linearly with L is called exponential.",
    "X19": "Memory holds an L x L term in section 3.2 and is linear in L in section 6.1; 115.22 MB at 784 are "
    "more than "
    "102 MB at 1,024.",
    "X20": "A cache (step by step) and all scores (all at once) are added, which never exist together; a classifier "
    "needs no cache at all.",
    "X21": f"MiB and MB in one sum: {cache_bytes(784) / 2**20:.3f} MiB of keys and values are "
    f"{cache_bytes(784) / 1e6:.3f} MB.",
    "X22": f"Table 6.1 takes 25,000 B a token; it is {cache_bytes(1):,} B.",
    "X23": f"The cache outgrows the weights at L = {doc.cache_equals_weights():,.0f}, not 2,048.",
    "X24": "The energy gain is 10 to 20 times (summary), 546 (5.2), hundreds (10.1).",
    "X25": f"546 comes of a rounded 0.034 mJ; unrounded it is {doc.transformer_mj() / doc.energy_mj():.0f}.",
    "X26": "Activity multiplies every operation, although only the messages read spikes: the gain would be "
    f"{doc.energy_mj(activity_on='nothing') / doc.energy_mj(activity_on='messages'):.2f} times, not "
    f"{1 / doc.ACTIVITY:.1f}, and the energy ratio {doc.transformer_mj() / doc.energy_mj(activity_on='messages'):.0f}.",
    "X27": f"Memory traffic is left out: reading int8 weights in 784 steps takes {doc.traffic_mj(8):.0f} mJ at 45 nm, "
    f"{doc.traffic_mj(8) / doc.energy_mj():,.0f} times the energy it prints.",
    "X28": "16 times, 94 % and 20.3 times are of 2 or 1.58 bits; what it assumes everywhere else is int8: 4 "
    "times, 75 %.",
    "X29": "18.8 % is a target in section 1 and a fact in sections 5 and 7.",
    "X30": "7 nm coefficients without a source (the paper cited is 45 nm), at the far end of its 10 to 20 "
    "times; there "
    f"FP32 takes {doc.mac_pj('fp32', HOROWITZ_45):.1f} pJ.",
    "X31": "XMX is in Intel's GPUs; Xeons have AMX. Neither has a ternary mode.",
    "X32": f"CSR is larger than what it replaces: {_BYTES['CSR']:.0f} B against a bitmap's {_BYTES['bitmap']:.0f} B at "
    f"18.8 %; an index list is smaller below {break_even():.2%} only.",
    "X33": "H(Y|X) N is neither Kolmogorov complexity nor a bound of a model, and is compared with memory at run time.",
    "X34": f"Landauer's limit is of 5 M bits, the energy of 3.57 G operations: a mismatch of {3.57e9 / 5e6:.0f} times.",
    "X35": "99.15 % in section 1, 98 % and more in section 9.",
    "X36": f"The state is overhead: with the fast halves alone it is the cache of {_FAST / cache_bytes(1):.0f} "
    "tokens of its "
    f"Transformer, or of {_FAST / cache_bytes(1, EQUAL, bytes_per_number=2):.0f} of an equal one in fp16.",
    "X37": "More than 100K steps are asserted and were never run.",
    "X38": "Transformers are better below L = 512, where every table favours PNB-X.",
    "X39": f"A state of b bits cannot recall more than b bits ({8 * sum(state_bytes().values()):,} here): it "
    "cannot equal "
    "attention over any length.",
    "X40": f"Softmax is vectorised by fused attention, and {doc.transformer_weights_mb():.0f} MB fit some caches.",
    "X41": "Precision and architecture are mixed: its own first reference, BitNet b1.58, is a ternary Transformer.",
    "X42": "O(1) is in L; state and activations grow with the batch.",
    "X43": "Long is L above 1024 (4.3), 2048 (3.3, 8.2, 10.1) and 4K (6.2).",
    "X44": "Fast weights, hippocampus and PID are states, counted as parameters and then not as states.",
    "X45": "Ratios of operations are called faster; no time was measured.",
    "X46": f"1.58 bits (log2 3 = {math.log2(3):.3f}), 2 bits and 8 bits are used as one.",
    "X47": "The SSM's cost has the Transformer's d_model (512) for its own d_hidden (2048).",
    "X48": f"An embedding shared by pixels and classes cannot exist: {256 * 512:,} or 512 numbers, not 5,120.",
    "X49": "12.1 MB are the whole model (1.1), include training buffers (3.1) and are inference (6.1).",
    "X50": "Noise is for training; its state is counted in inference.",
}
