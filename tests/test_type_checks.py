"""The annotations of ``pnbx_snn`` are checked in tests, each combination of shapes and types once a test."""

import jaxtyping
import pytest
import torch

import type_checks
from pnbx_snn.training.losses import distillation

A, B = torch.zeros(5, 4), torch.zeros(5, 3)


def test_every_new_combination_is_checked_and_a_wrong_one_each_time():
    for _ in range(2):
        assert distillation(A, A) == distillation(B, B) == 0
        for wrong in ((A, B), (A, A.long()), (A, [0.0]), ([A], A)):
            with pytest.raises(jaxtyping.TypeCheckError):
                distillation(*wrong)


def test_what_was_right_is_checked_again_in_the_next_test():
    seen = []

    @type_checks._jaxtyped(typechecker=lambda _: lambda x: seen.append(x.shape))
    def same(x):
        return x

    assert all(same(x) is x for x in (A, A, B, A, B))
    assert seen == [A.shape, B.shape]
    type_checks.begin_test()
    same(A)
    assert seen == [A.shape, B.shape, A.shape]
