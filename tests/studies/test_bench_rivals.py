"""The bench's newer rivals compute what they are said to compute, and a missing one is said to be missing."""

import sys

import numpy as np
import pytest
import torch

import pnbx_snn
from studies.bench import compiled_rivals
from studies.bench.few_bits import BLOCKS, _case, few_bits, published
from studies.bench.jax_rivals import Others, jax_rivals


@pytest.mark.parametrize("num_inputs", [64, 100, 784])
@pytest.mark.parametrize("bits", BLOCKS)
def test_weights_of_few_bits_give_exact_sums_of_spikes(bits, num_inputs):
    rng = np.random.default_rng(0)
    weights = rng.integers(-1, 2, (24, num_inputs)).astype(np.int8)
    spikes = (rng.random((3, num_inputs)) < 0.2).astype(np.float32)
    for block in BLOCKS[bits]:
        product = _case(weights, spikes, bits, block, tables=False)
        np.testing.assert_allclose(product(), spikes @ weights.T, atol=1e-4)  # its activations are 127 / 127


def test_the_fastest_size_of_block_is_taken_and_named():
    weights = np.ones((16, 128), dtype=np.int8)
    cases, checks = few_bits(weights, np.ones((1, 128), dtype=np.int32))
    assert list(cases) == ["ONNX Runtime 4 bits", "ONNX Runtime 2 bits"]
    assert all("blocks of" in check and "off by up to" in check for check in checks)


def test_published_times_stand_where_the_size_is_theirs():
    assert "58 us" in published(2048, 2048, 1)[0]
    assert published(2048, 784, 1) == []


def test_the_plain_loop_in_pieces_is_our_neuron():
    generator = torch.Generator().manual_seed(0)
    current = torch.randn(2 * compiled_rivals.STEPS + 7, 2, 9, generator=generator).requires_grad_()
    results = []
    for layer in (compiled_rivals._in_pieces(compiled_rivals._loop), lambda x: pnbx_snn.LIF(beta=0.9)(x)[0]):
        spikes = layer(current)
        spikes.square().sum().backward()
        results.append((spikes.detach(), current.grad))
        current.grad = None
    (spikes, slope), (other, other_slope) = results
    assert spikes.sum() > 50
    assert torch.equal(spikes, other)
    torch.testing.assert_close(slope, other_slope, rtol=1e-4, atol=1e-5)  # the order of sums differs


def test_a_rival_in_another_process_is_timed_by_its_own_clock():
    now = [0.0]
    others = Others(lambda: now[0])

    def ask(_name):
        now[0] += 7.0  # what we waited
        return 5.0

    others.turn(ask, "Spyx")
    assert others.clock() == 5.0
    now[0] += 2.0  # what we worked
    assert others.clock() == 7.0


@pytest.mark.parametrize(
    ("python", "said"), [("nowhere/python", "Spyx, jaxpike: not installed"), (sys.executable, "runs no JAX")]
)
def test_without_jax_the_row_says_so(python, said, monkeypatch):
    monkeypatch.setenv("PNBX_JAX_PYTHON", python)
    with jax_rivals(torch.zeros(3, 2, 4), torch.zeros(3, 2, 4)) as others:
        assert others.cases == {}
        assert said in others.checks[0]
