"""The fuzz of fuzz_modules.py for some seconds; ``make fuzz`` runs 2,000 cases."""

from dataclasses import replace

import pytest
import torch

import fuzz_modules
from fuzz_modules import FAILURES, checked, describe, fuzz, judged, shrunk
from neuromorphic.ops import LIF
from random_modules import random_case

CASES = 60


def test_modules_are_refused_or_agree():
    """No silent disagreement, no wrong report, no exception but ours; and most networks of supported parts compile."""
    counts, failures = fuzz(CASES, seed=0)
    wrong = [failure for failure in failures if failure.startswith(FAILURES)]
    assert not wrong, "\n".join(wrong)
    valid = sum(count for (_, genre), count in counts.items() if genre == "valid")
    assert counts["refused", "valid"] <= 0.1 * valid, "\n".join(failures)
    assert counts["agrees", "valid"] >= 0.5 * valid
    assert counts["refused", "trap"] > 10


def test_a_seed_is_a_case():
    one, other = random_case(5), random_case(5)
    assert describe(one) == describe(other)
    assert torch.equal(one.sample, other.sample)
    for left, right in zip(one.net.state_dict().values(), other.net.state_dict().values(), strict=True):
        assert torch.equal(left, right)


def test_equations_are_checked_against_the_module():
    """A decay that is another one in the module than in the equations does not go by."""
    case = plain_case(0)
    assert checked(case) is not None
    case.blocks[0].neuron.options["threshold"] = case.blocks[0].neuron.options["threshold"] * 0.5
    with pytest.raises(AssertionError, match="the equations differ from the module"):
        checked(case)


@pytest.mark.parametrize("warns", [False, True])
def test_the_judge_can_find_a_wrong_program(monkeypatch, warns):
    """Thresholds half as high, without a word: SILENT, and shrunk to few decisions; with a warning: warned."""

    def wrong(*arguments, **options):
        if warns:
            fuzz_modules.warnings.warn("less than 99 % equal", fuzz_modules.errors.CompileWarning, stacklevel=1)
        program = right(*arguments, **options)
        ops = [replace(op, threshold=op.threshold // 2) if isinstance(op, LIF) else op for op in program.ops]
        return replace(program, ops=tuple(ops))

    right = fuzz_modules.compile_module
    monkeypatch.setattr(fuzz_modules, "compile_module", wrong)
    assert judged(plain_case(0)).kind == ("warned" if warns else "SILENT")
    if not warns:
        number = next(number for number in range(20) if judged(random_case(number)).kind == "SILENT")
        case, verdict = shrunk(number, "SILENT", budget=5)
        assert verdict.kind == "SILENT"
        assert len(describe(case)) < len(describe(random_case(number)))


def plain_case(number):
    """Return a loop over 0s and 1s in float64, with nothing wrong."""
    return random_case(number, dict.fromkeys(("dtype", "stress", "style", "input", "trap kind", "twist", "T"), 0))
