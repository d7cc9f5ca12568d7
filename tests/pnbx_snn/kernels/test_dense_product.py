"""Products of real matrices: equal to their definition, to the bit whatever threads and width of vectors."""

import os
import subprocess
import sys
import textwrap

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

dense = pytest.importorskip("pnbx_snn.kernels.cpu.dense")
SIZES = st.tuples(st.integers(90, 210), st.integers(1, 600), st.integers(1, 140))


def draw(*shape, seed=0):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


@settings(max_examples=30, deadline=None)
@given(SIZES, st.booleans(), st.integers(0, 10_000))
def test_whole_numbers_are_exact_and_others_rounded(sizes, transposed, seed):
    M, K, N = sizes
    a = draw(K, M, seed=seed).T if transposed else draw(M, K, seed=seed)
    b = draw(K, N, seed=seed + 1)
    whole = dense.product((20 * a).round(), (20 * b).round())
    assert torch.equal(whole.double(), (20 * a).round().double() @ (20 * b).round().double())
    error = (dense.product(a, b).double() - a.double() @ b.double()).abs()
    assert (error <= 2.0**-24 * K * (a.abs().double() @ b.abs().double())).all()


def test_each_number_is_one_chain_of_fused_multiply_adds():
    if not dense.FUSED:
        pytest.skip("no such instructions")
    a, b = draw(100, 40), draw(40, 70)
    chain = torch.zeros(100, 70)
    for k in range(40):  # a product of two float32 is exact in float64, and its sum with a third is rounded once to 53
        chain = (a[:, k : k + 1].double() * b[k].double() + chain.double()).float()
    different = dense.product(a, b) != chain  # bits before it is rounded again to 24, which shows once in 2^29
    assert int(different.sum()) == 0


def test_columns_and_rows_of_a_larger_matrix():
    large = draw(300, 400)
    a, b = large[10:140, 20:350], draw(330, 90)
    assert torch.equal(dense.product(a, b), dense.product(a.contiguous(), b))
    assert torch.equal(dense.product(large[:120, ::3], b[:134]), dense.product(large[:120, ::3].contiguous(), b[:134]))


def test_not_a_number_shows_in_its_row_alone():
    a, b = draw(100, 20), draw(20, 70)
    a[37, 5] = torch.nan
    found = dense.product(a, b)
    assert found[37].isnan().all()
    assert found.isnan().sum() == 70


CODE = """
    import hashlib, torch
    from pnbx_snn.kernels.cpu import dense
    draw = lambda *shape: torch.randn(*shape, generator=torch.Generator().manual_seed(0))
    torch.set_num_threads(THREADS)
    y = dense.product(draw(203, 300), draw(300, 133))
    print(hashlib.sha256(y.numpy().tobytes()).hexdigest(), dense.WIDE, dense.FUSED)
"""


def run(threads, **environment):
    code = textwrap.dedent(CODE).replace("THREADS", str(threads))
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, env={**os.environ, **environment}, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.split()


def test_threads_and_narrower_vectors_give_the_same_bits():
    if not dense.FUSED:
        pytest.skip("no such instructions")
    digest, *_ = run(1)
    assert run(2, NUMBA_NUM_THREADS="2")[0] == digest
    narrow = run(1, NUMBA_CPU_NAME="haswell", NUMBA_CPU_FEATURES="+avx,+avx2,+fma")
    assert narrow == [digest, "1", "True"]
