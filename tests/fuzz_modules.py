"""Fuzz ``compile_module``: random small modules are refused by name, or agree with what is right, or it warns.

    python tests/fuzz_modules.py --count 2000 --seed 0

What is right is simulated in NumPy and float64 from the equations (:mod:`module_equations`), and checked once against
the module itself. Each case ends as one of

    refused   a CompileError
    agrees    within the compiler's stated bound: 99 % of the neuron-steps of every spiking layer, 99 % of the labels,
              read-outs within 5 % of their range
    warned    outside of it, and a CompileWarning says so
    SILENT    outside of it without a word: the failure, printed with the fewest decisions that still show it
    MISREPORT within it, but ``metadata["agreement"]`` is missing or says something else
    CRASH     any other exception

and the shares are told for networks of supported parts ("valid") and for those with a trap.
"""

from __future__ import annotations

import argparse
import collections
import sys
import time
import warnings
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

sys.path.insert(0, str(Path(__file__).parent / "support"))
from module_equations import Array, Truth, applied, simulated
from neuromorphic import errors, run
from neuromorphic.compiler import compile_module
from neuromorphic.compiler.modules.agreement import LABELS, READOUTS, SPIKES
from neuromorphic.errors import CompileError
from neuromorphic.ops import LIF
from random_modules import Case, random_case

SPIKES, LABELS, READOUTS = max(0.99, SPIKES), max(0.99, LABELS), min(0.05, READOUTS)
"""The compiler's stated bound, which may be tighter than this."""
FLOAT32 = 0.002
"""Spikes in which a float32 network may differ from float64 before a case says nothing about the compiler."""
SELECTIONS = ("last step", "first step", "half of the steps", "most of steps")
"""Endings that choose among the steps, which a user of spikes does by hand."""
FAILURES = ("SILENT", "MISREPORT", "CRASH")


@dataclass
class Verdict:
    kind: str
    why: str = ""
    valid: bool = True
    trap: str = ""
    worst: float = 1.0  # of a spiking layer


def own_run(case: Case) -> tuple[dict[int, Array], Any]:
    """Return what the module itself gives: of each block's neurons, ``[T, B, ...]``, and what it returns."""
    seen: dict[int, list[torch.Tensor]] = {}
    with ExitStack() as hooks, torch.no_grad():
        for k, neuron in enumerate(case.neurons):
            if neuron is not None:

                def note(_m: Any, _i: Any, out: Any, k: int = k) -> None:
                    first = out if isinstance(out, torch.Tensor) else out[0]
                    seen.setdefault(k, []).append(first.detach().clone())

                hooks.callback(neuron.register_forward_hook(note).remove)
        training = case.net.training
        case.net.eval()
        returned = case.net(case.sample)
        case.net.train(training)
    case.facts["ran"] = True
    whole = {k: calls[0] if case.facts["style"] == "sequence" else torch.stack(calls) for k, calls in seen.items()}
    return {k: value.double().numpy() for k, value in whole.items()}, returned


def output_of(case: Case, truth: Truth) -> tuple[Array, Array]:
    """Return what the last module gives, ``[T, B, C]``, and what a second head gives."""
    o = truth.membranes[-1] if case.end == "mem" else truth.passed[-1]
    if len(case.heads) < 2:
        return o, o
    before = truth.passed[-2] if len(case.blocks) > 1 else case.steps
    return o, np.stack([applied(case.heads[1].layer, step) for step in before])


def _labels(case: Case, o: Array, p: Array) -> tuple[Array | None, Array]:
    """Return the network's labels, and by how much each class falls short of being it, ``[B, C]``."""
    returned = case.ending.right(o, p)
    if returned.ndim == 3:
        returned = returned.sum(1 if case.ending.batch_first else 0)
    if returned.ndim != 2 or returned.shape[0] != o.shape[1] or case.ending.name == "sum of features":
        return None, np.zeros(0)
    short = returned.max(-1, keepdims=True) - returned
    return returned.argmax(-1), short / max(float(np.ptp(returned)), 1e-30)


def checked(case: Case) -> tuple[Truth, Array, Array] | None:
    """Simulate, and compare with the module itself; ``None`` where its own precision decides its spikes."""
    truth = simulated(case.blocks, case.steps, case.facts["spiking"])
    own, returned = own_run(case)
    if case.own:
        for k, values in own.items():
            truth.given[k] = values
        o = _stacked(returned, case, truth)
        return None if o is None else (truth, o, o)
    o, p = output_of(case, truth)
    exact = case.facts["twist"] != "weight norm" and next(iter(case.net.parameters())).dtype == torch.float64
    for k, values in own.items():
        right = truth.given[k].reshape(values.shape)
        if case.neurons[k] is not None and "threshold" in getattr(case.blocks[k].neuron, "options", {}):
            differing = float(((values > 0) != (right > 0)).mean())
        else:
            differing = float(np.abs(values - right).max() / max(np.abs(right).max(), 1e-30))
        if differing > (1e-6 if exact else FLOAT32):
            if exact and not _tied(case):
                raise AssertionError(
                    f"block {k}: the equations differ from the module in {differing:.4g}: {describe(case)}"
                )
            return None
    got, right = _array(returned, case), case.ending.right(o, p)
    if got is not None:
        scale = max(float(np.abs(right).max()), 1.0)
        off = float(np.abs(got.reshape(right.shape) - right).max()) / scale if got.size == right.size else np.inf
        if off > (1e-6 if exact else 5e-2):
            if exact and not _tied(case):
                raise AssertionError(f"the ending differs by {off:.4g} of its largest: {describe(case)}")
            return None
    return truth, o, p


def _tied(case: Case) -> bool:
    """Say whether a membrane meets its threshold but for float64's last bits, which the order of a sum decides."""
    nudged = []
    for factor in (1.0 - 1e-9, 1.0 + 1e-9):
        blocks = list(case.blocks)
        for k, block in enumerate(blocks):
            if block.neuron is not None and "threshold" in block.neuron.options:
                options = block.neuron.options | {"threshold": block.neuron.options["threshold"] * factor}
                blocks[k] = replace(block, neuron=replace(block.neuron, options=options))
        nudged.append(simulated(blocks, case.steps, case.facts["spiking"]).given)
    return any(not np.array_equal(one > 0, other > 0) for one, other in zip(*nudged, strict=True))


def _array(returned: Any, case: Case) -> Array | None:
    if isinstance(returned, list):
        returned = torch.stack(returned)
    if isinstance(returned, tuple):
        returned = returned[0]
    if isinstance(returned, dict):
        returned = returned["out"]
    return returned.double().numpy() if isinstance(returned, torch.Tensor) else None


def _stacked(returned: Any, case: Case, truth: Truth) -> Array | None:
    """Return the last module's output of a run whose precision counts, where its ending keeps it whole."""
    got = _array(returned, case)
    if case.end == "spikes":
        return truth.given[-1]
    return got if got is not None and case.ending.name in ("raw", "list", "dict", "tuple") and got.ndim == 3 else None


def judged(case: Case) -> Verdict:
    """Compile a case and say what came of it."""
    valid = not case.trap
    known = checked(case)
    if known is None:
        return Verdict("unstable", valid=valid, trap=case.trap)
    truth, o, p = known
    options: dict[str, Any] = {"num_steps": case.num_steps, "weight_bits": case.weight_bits}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        try:
            program = compile_module(case.net, case.sample, **options)
        except CompileError as error:
            return Verdict("refused", str(error), valid, case.trap)
        except Exception as error:
            return Verdict("CRASH", f"{type(error).__name__}: {error}", valid, case.trap)
    known_warning = getattr(errors, "CompileWarning", None)
    warned = known_warning is not None and any(issubclass(w.category, known_warning) for w in caught)
    if case.trap in ("more steps", "fewer steps"):
        return Verdict("SILENT", f"num_steps={case.num_steps} is not the sample's {case.facts['T']}", valid, case.trap)
    if case.trap.startswith("ending") and _labels(case, o, p)[0] is None:
        return Verdict("SILENT", "what the network returns has no classes", valid, case.trap)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of clipped inputs; compiling the same sample has counted what they cost
            recording = run(program, case.shown)
    except Exception as error:
        return Verdict("CRASH", f"its own sample: {type(error).__name__}: {error}", valid, case.trap)
    return compared(case, truth, (o, p), program, recording, warned=warned)


def compared(
    case: Case, truth: Truth, outputs: tuple[Array, Array], program: Any, recording: Any, *, warned: bool
) -> Verdict:
    """Compare a program's run with what is right."""
    o, p = outputs
    wrong: list[str] = []
    reported: list[str] = []
    agreement = program.metadata.get("agreement") or {}
    spikes, names = recording.spikes(), case.names()
    ops = {op.name: op for op in program.ops}
    worst = 1.0
    for k, block in enumerate(case.blocks):
        name = names[k]
        if (
            block.neuron is None
            or "threshold" not in block.neuron.options
            or (case.end == "mem" and k == len(names) - 1)
        ):
            continue
        if name not in spikes:
            wrong.append(f"no spikes of {name}")
            continue
        right = truth.given[k].reshape(*truth.given[k].shape[:2], -1) > 0
        got = spikes[name] > 0
        if right.shape != got.shape:
            wrong.append(f"{name} spikes {list(got.shape)}, right {list(right.shape)}")
            continue
        equal = float((right == got).mean())
        worst = min(worst, equal)
        if equal < SPIKES - 0.003:
            wrong.append(f"{name}: {equal:.4f} of spikes equal (rates {right.mean():.3f}, {got.mean():.3f})")
        told = agreement.get("layers", {}).get(name)
        if told is None or abs(told - equal) > 0.005:
            reported.append(f"layers[{name}] is {told}, right {equal:.4f}")
    values = _values(case, program, recording, names[-1], ops)
    if values is not None and values.shape == o.shape:
        gap = np.abs(np.cumsum(values, 0) - np.cumsum(o, 0)) if case.end == "linear" else np.abs(values - o)
        whole = np.cumsum(o, 0) if case.end == "linear" else o
        size = max(float(np.ptp(whole)), float(np.abs(whole).max()), 1e-12)
        if gap.max() / size > READOUTS + 0.003:
            wrong.append(f"read-out off by {gap.max() / size:.4f} of its range")
    if case.end != "spikes" and not agreement.get("readouts"):
        reported.append("no readouts")
    labels, short = _labels(case, o, p)
    if labels is not None:
        mine = _program_labels(case, recording, spikes.get(names[-1] or ""), values)
        if mine is not None and len(mine) == len(labels):
            classes = short.shape[1]
            off = np.array([m >= classes or short[b, m] > 1e-6 for b, m in enumerate(mine)])
            equal = float(1 - off.mean())
            if equal < LABELS:
                wrong.append(
                    f"{equal:.3f} of labels equal: the network's {labels.tolist()}, the program's {mine.tolist()}"
                )
    facts = (case.steps.shape[0], case.steps.shape[1])
    if (agreement.get("steps"), agreement.get("samples")) != facts:
        told = None if not agreement else (agreement.get("steps"), agreement.get("samples"))
        reported.append(f"agreement of {told} steps and samples, right {facts}")
    valid = not case.trap
    if wrong:
        return Verdict("warned" if warned else "SILENT", "; ".join(wrong), valid, case.trap, worst)
    if reported and not warned:
        return Verdict("MISREPORT", "; ".join(reported), valid, case.trap, worst)
    return Verdict("agrees", "and warned" if warned else "", valid, case.trap, worst)


def _values(case: Case, program: Any, recording: Any, name: str | None, ops: dict[str, Any]) -> Array | None:
    """Return a read-out of each step in real units, where the program says what they are."""
    units = program.metadata.get("units", {})
    if case.end == "linear":
        sums = [key for key in recording.variables if key.endswith(".y")]
        if not sums or sums[0][:-2] not in units:
            return None
        y = recording.variables[sums[0]].astype(np.float64) * units[sums[0][:-2]]
        return np.diff(y, axis=0, prepend=0.0)
    if case.end in ("li", "mem") and name is not None and f"{name}.v" in recording.variables:
        v = recording.variables[f"{name}.v"].astype(np.float64)
        op = ops[name]
        if name in units:
            return v * units[name]
        if isinstance(op, LIF) and op.threshold.min() > 500:
            return v * np.asarray(case.blocks[-1].neuron.options["threshold"]) / (op.threshold + 0.5)
    return None


def _program_labels(case: Case, recording: Any, spikes: Any, values: Array | None) -> Any:
    """Return the class a user reads from the program."""
    if case.end == "spikes":
        if spikes is not None and case.ending.name in SELECTIONS:  # a program's recording holds every step
            return case.ending.right(spikes, spikes).argmax(-1)
        return None if spikes is None else spikes.sum(axis=0, dtype=np.int64).argmax(-1)
    if case.end == "linear":
        try:
            return recording.labels()
        except ValueError:
            return None
    reads = {"last": lambda v: v[-1], "sum": lambda v: v.sum(0), "max": lambda v: v.max(0)}
    return None if values is None else reads[case.ending.read](values).argmax(-1)


def describe(case: Case) -> str:
    """Return the decisions of a case that are not the plainest."""
    parts = [f"{name}={value}" for name, (index, value) in case.draws.taken.items() if index > 0]
    return f"seed {case.draws.seed}: " + ", ".join(parts)


def shrunk(seed: int, kind: str, budget: float = 20.0) -> tuple[Case, Verdict]:
    """Force decisions to their plainest option as long as the verdict stays."""
    forced: dict[str, int] = {}
    case = random_case(seed)
    best = case, judged(case)
    end = time.monotonic() + budget
    changed = True
    while changed and time.monotonic() < end:
        changed = False
        for name, (index, _) in list(best[0].draws.taken.items()):
            if index == 0 or time.monotonic() > end:
                continue
            try:
                candidate = random_case(seed, forced | {name: 0})
                verdict = judged(candidate)
            except Exception:
                continue
            if verdict.kind == kind:
                forced[name], best, changed = 0, (candidate, verdict), True
    return best


def fuzz(
    count: int, seed: int, *, shrink: int = 0, progress: bool = False
) -> tuple[collections.Counter[tuple[str, str]], list[str]]:
    """Judge ``count`` cases; return how many came out how, by kind and "valid" or "trap", and the failures."""
    counts: collections.Counter[tuple[str, str]] = collections.Counter()
    failures: list[str] = []
    torch.set_num_threads(1)
    for number in range(seed, seed + count):
        case = random_case(number)
        verdict = judged(case)
        counts[verdict.kind, "valid" if verdict.valid else "trap"] += 1
        noted = verdict.kind in FAILURES or (verdict.kind == "refused" and verdict.valid)
        if noted:
            if verdict.kind in FAILURES and shrink > 0:
                shrink -= 1
                case, verdict = shrunk(number, verdict.kind)
            failures.append(f"{verdict.kind} [{case.trap or 'valid'}] {describe(case)}\n    {verdict.why}")
            if progress:
                sys.stdout.write(failures[-1] + "\n")
        if progress and (number - seed + 1) % 100 == 0:
            sys.stdout.write(f"-- {number - seed + 1}: {table(counts, line=True)}\n")
            sys.stdout.flush()
    return counts, failures


def table(counts: collections.Counter[tuple[str, str]], *, line: bool = False) -> str:
    """Return how many cases came out how."""
    kinds = ("agrees", "warned", "refused", *FAILURES, "unstable")
    if line:
        return ", ".join(f"{kind} {counts[kind, 'valid']}+{counts[kind, 'trap']}" for kind in kinds)
    rows = [f"{'':12}{'valid':>8}{'trap':>8}"]
    rows += [f"{kind:12}{counts[kind, 'valid']:8}{counts[kind, 'trap']:8}" for kind in kinds]
    valid = sum(counts[kind, "valid"] for kind in kinds if kind != "unstable")
    rows.append(f"refused though valid: {100 * counts['refused', 'valid'] / max(valid, 1):.1f} % of {valid}")
    rows.append(f"warned of, valid: {100 * counts['warned', 'valid'] / max(valid, 1):.1f} %")
    return "\n".join(rows)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--count", type=int, default=2000)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--shrink", type=int, default=20, help="how many failures to shrink")
    options = parser.parse_args()
    start = time.monotonic()
    counts, failures = fuzz(options.count, options.seed, shrink=options.shrink, progress=True)
    sys.stdout.write(f"{table(counts)}\n{time.monotonic() - start:.0f} s\n")
    sys.exit(any(not failure.startswith("refused") for failure in failures))


if __name__ == "__main__":
    main()
