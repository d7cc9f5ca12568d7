"""Hippocampus: oracle, closed forms, recall, chunks, gradients, precision, the persistent scope, errors."""

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.func import functional_call
from torch.utils.flop_counter import FlopCounterMode

from pnbx_snn.errors import PnbxTypeError, PnbxValueError, ShapeError
from pnbx_snn.layers.hippocampus import CHUNK, Hippocampus, HippocampusState

KINDS = ("softmax", "winner")


def make(d_hidden=10, slots=4, *, seed=0, dtype=torch.float64, **options):
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        return Hippocampus(d_hidden, slots, **options).to(dtype)


def draw(T, B, H=10, *, seed=0, dtype=torch.float64, rate=0.3):
    return (torch.rand(T, B, H, generator=torch.Generator().manual_seed(seed)) < rate).to(dtype)


def oracle(memory, events, E):
    """Step by step in float64, from the equations."""
    K = memory.K.detach().double().numpy()
    gamma = np.abs(K).mean()
    ternary = np.clip(np.rint(K / gamma), -1, 1)
    slow, currents = gamma * ternary, []
    for e in events.double().numpy():
        scores = gamma * (e @ ternary.T) / (memory.temperature * np.sqrt(e.shape[-1]))
        alpha = np.exp(scores - scores.max(-1, keepdims=True))
        alpha /= alpha.sum(-1, keepdims=True)
        if memory.competition == "winner":
            alpha = np.eye(len(K))[scores.argmax(-1)]
        currents.append(np.einsum("bm,bmh->bh", alpha, slow + E))
        keep = 1 - memory.decay - memory.rate * alpha
        E = keep[..., None] * E + memory.rate * alpha[..., None] * e[:, None, :]
    return np.stack(currents), E


# Values


@pytest.mark.parametrize("competition", KINDS)
@pytest.mark.parametrize("T", [1, 5, CHUNK, CHUNK + 1, 3 * CHUNK + 7])
def test_equals_the_equations(T, competition):
    memory, events = make(competition=competition), draw(T, 3)
    start = torch.rand(3, 4, 10, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    for E in (torch.zeros_like(start), start):
        current, state = memory(events, None if not E.any() else HippocampusState(E))
        expected, last = oracle(memory, events, E.numpy())
        # float64, and sums over a block in another order
        assert np.abs(current.detach().numpy() - expected).max() < 1e-11
        assert np.abs(state.E.detach().numpy() - last).max() < 1e-11


@pytest.mark.parametrize("competition", KINDS)
def test_steps_are_the_sequence(competition):
    memory, events = make(competition=competition), draw(2 * CHUNK + 3, 2)
    whole, end = memory(events)
    state, steps = None, []
    for e in events:
        current, state = memory.step(e, state)
        steps.append(current)
    assert (torch.stack(steps) - whole).abs().max() < 1e-11
    assert (state.E - end.E).abs().max() < 1e-11


def test_a_single_slot_approaches_a_repeated_pattern_and_forgets_exponentially():
    memory = make(slots=1, decay_bits=5, rate_bits=2)
    delta, eta = 2.0**-5, 2.0**-2
    pattern = torch.zeros(1, 1, 10, dtype=torch.float64)
    pattern[..., :3] = 1
    _, state = memory(pattern.repeat(6, 1, 1))
    # E[t] = (1 - delta - eta) E[t-1] + eta e
    limit = eta / (delta + eta)
    assert state.E[0, 0, 0].item() == pytest.approx(limit * (1 - (1 - delta - eta) ** 6), rel=1e-12)
    memory = make(slots=2, competition="winner", decay_bits=5)
    with torch.no_grad():
        memory.K.copy_(torch.tensor([[1.0] * 5 + [-1.0] * 5, [-1.0] * 5 + [1.0] * 5]))
    first, second = torch.zeros(2, 1, 1, 10, dtype=torch.float64)
    first[..., :5], second[..., 5:] = 1, 1
    _, state = memory(first)
    _, later = memory(second.repeat(9, 1, 1), state)
    assert torch.allclose(later.E[0, 0], state.E[0, 0] * (1 - delta) ** 9, rtol=1e-12)  # the slot was not asked


def test_a_pattern_seen_once_is_recalled_from_a_part_of_it():
    """One-shot memory: K knows the patterns only roughly, the fast half saw each once."""
    generator = torch.Generator().manual_seed(3)
    memory = make(256, 8, competition="winner", rate_bits=1, dtype=torch.float32)
    patterns = (torch.rand(3, 1, 1, 256, generator=generator) < 0.2).float()
    rough = patterns[:, 0, 0] * 2 - 1
    with torch.no_grad():
        memory.K[:3] = torch.where(torch.rand(3, 256, generator=generator) < 0.3, -rough, rough)
    _, state = memory(torch.cat(list(patterns)))
    for i, pattern in enumerate(patterns):
        cue = pattern[0] * (torch.rand(1, 256, generator=generator) < 0.6)
        slow, alpha = memory._ask(cue)
        recalled = memory.step(cue, state)[0] - alpha @ slow
        overlap = [torch.cosine_similarity(recalled[0], other[0, 0], dim=0).item() for other in patterns]
        assert overlap.index(max(overlap)) == i
        assert max(overlap) > 0.99
        assert torch.cosine_similarity(cue[0], pattern[0, 0], dim=0) < 0.85  # the cue alone was much poorer


@pytest.mark.parametrize("competition", KINDS)
@pytest.mark.parametrize(("decay_bits", "rate_bits"), [(12, 2), (2, 1)])  # slow; the fastest, where factors reach 4**32
def test_ten_thousand_steps_in_float32_are_those_of_float64(competition, decay_bits, rate_bits):
    options = {"decay_bits": decay_bits, "rate_bits": rate_bits}
    memory = make(8, 3, competition=competition, dtype=torch.float32, **options)
    events = draw(10_000, 2, 8, dtype=torch.float32)
    current, state = memory(events)
    expected, last = oracle(memory, events, np.zeros((2, 3, 8)))
    scale = np.abs(expected).max(0)
    assert (np.abs(current.detach().numpy() - expected).max(0) / scale).max() < 1e-5
    assert np.abs(state.E.detach().numpy() - last).max() / np.abs(last).max() < 1e-5


@given(decay=st.integers(2, 12), rate=st.integers(1, 12), competition=st.sampled_from(KINDS), seed=st.integers(0, 99))
@settings(max_examples=30)
def test_the_fast_half_stays_between_zero_and_one(decay, rate, competition, seed):
    memory = make(6, 3, decay_bits=decay, rate_bits=rate, competition=competition, dtype=torch.float32)
    _, state = memory(draw(100, 2, 6, seed=seed, dtype=torch.float32, rate=0.9))
    assert bool(((state.E >= -1e-6) & (state.E <= 1 + 1e-6)).all())


# Time


@given(cut=st.integers(1, 2 * CHUNK), competition=st.sampled_from(KINDS))
@settings(max_examples=20)
def test_two_halves_with_state_are_one_run(cut, competition):
    memory, events = make(competition=competition), draw(2 * CHUNK + 5, 2)
    whole, end = memory(events)
    first, state = memory(events[:cut])
    second, last = memory(events[cut:], state)
    assert (torch.cat([first, second]) - whole).abs().max() < 1e-11
    assert (last.E - end.E).abs().max() < 1e-11


def test_the_future_and_other_samples_do_not_matter():
    memory, events = make(), draw(60, 3)
    changed = events.clone()
    changed[40:, 1] = 1 - changed[40:, 1]
    before, after = memory(events)[0], memory(changed)[0]
    assert torch.equal(before[:40], after[:40])
    assert torch.equal(before[:, [0, 2]], after[:, [0, 2]])
    assert not torch.equal(before[40:, 1], after[40:, 1])


def test_without_a_state_to_keep_the_currents_are_the_same():
    memory, events = make(), draw(CHUNK + 9, 2)
    current, state = memory(events, keep_state=False)
    assert state is None
    assert torch.equal(current, memory(events)[0])


def test_no_work_for_a_fast_half_that_is_empty_or_not_kept():
    memory, events, empty = make(), draw(CHUNK, 2), torch.zeros(2, 4, 10, dtype=torch.float64)

    def operations(state, keep_state):
        with FlopCounterMode(display=False) as counter:
            memory(events, state, keep_state=keep_state)
        return counter.get_total_flops()

    product = 2 * events.numel() * 4  # of [B, C, M] and [B, M, H], or of [B, M, C] and [B, C, H]
    least = operations(None, keep_state=False)
    assert operations(None, keep_state=True) == least + product
    assert operations(HippocampusState(empty), keep_state=False) == least + product


@pytest.mark.parametrize("scope", ["sequence", "persistent"])
def test_half_precision_around_it_rounds_steps_no_more_than_the_sequence(scope):
    memory, events, state = make(scope=scope, dtype=torch.float32), draw(8, 2, dtype=torch.float32), None
    with torch.autocast("cpu", dtype=torch.bfloat16):
        whole, _ = memory(events)
        for e, expected in zip(events, whole, strict=True):
            current, state = memory.step(e, state)
            assert current.dtype == torch.float32
            torch.testing.assert_close(current, expected, rtol=1e-5, atol=1e-6)


# Gradients


def test_gradients_of_the_smooth_read():
    """With K left alone the read is smooth in the events, which stand in for what feeds them."""
    memory = make(5, 3)
    events = draw(7, 2, 5).requires_grad_()
    assert torch.autograd.gradcheck(lambda e: memory(e)[0], (events,))
    start = torch.rand(2, 3, 5, dtype=torch.float64).requires_grad_()
    assert torch.autograd.gradcheck(lambda E: memory(events.detach(), HippocampusState(E))[0], (start,))


def test_gradient_of_K_is_straight_through():
    memory, events = make(5, 3), draw(1, 1, 5, seed=3)
    memory(events)[0].sum().backward()
    with torch.no_grad():  # the equations with gamma * K~ as the variable, by finite differences
        slow = memory._ask(events)[0]

    def read(slow):
        alpha = torch.softmax(events[0, 0] @ slow.T / (memory.temperature * 5**0.5), dim=-1)
        return (alpha @ slow).sum()

    expected = torch.autograd.functional.jacobian(read, slow)
    assert torch.allclose(memory.K.grad, expected, rtol=1e-9, atol=1e-12)


def test_the_winner_has_the_gradient_of_the_softmax_weights():
    soft, hard = make(), make(competition="winner")
    events = draw(1, 2)
    grads = []
    for memory in (soft, hard):
        K = memory.K.detach().clone().requires_grad_()
        alpha = functional_call(_Ask(memory), {"memory.K": K}, (events,))
        (alpha * torch.arange(4.0, dtype=torch.float64)).sum().backward()
        grads.append(K.grad)
    assert torch.equal(*grads)


class _Ask(torch.nn.Module):
    def __init__(self, memory):
        super().__init__()
        self.memory = memory

    def forward(self, events):
        return self.memory._ask(events)[1]


# Scope "persistent"


def test_a_persistent_memory_is_read_by_all_and_written_only_when_told():
    memory, events = make(scope="persistent"), draw(20, 3)
    before, state = memory(events)
    assert state is None
    assert not memory.fast.any()
    memory.update(events)
    assert not torch.equal(memory(events)[0], before)
    slow, alpha = memory._ask(events)
    rows, weights = events.reshape(-1, 10), alpha.reshape(-1, 4)
    expected = memory.rate * torch.einsum("nm,nh->mh", weights, rows) / len(rows)
    assert torch.allclose(memory.fast, expected.detach(), rtol=1e-12)
    assert not memory.fast.requires_grad
    assert torch.allclose(memory(events)[0], alpha @ (slow + memory.fast), rtol=1e-12)
    for t, e in enumerate(events):
        assert torch.allclose(memory.step(e)[0], memory(events)[0][t], rtol=1e-12)


def test_a_second_update_forgets_by_how_much_each_slot_answered():
    memory, events = make(scope="persistent", decay_bits=3), draw(20, 3)
    memory.update(events)
    first = memory.fast.clone()
    memory.update(events)
    mean = memory._ask(events)[1].mean(dim=(0, 1)).detach()  # [M]
    assert torch.allclose(memory.fast, (1 - 2.0**-3 - 2.0**-2 * mean)[:, None] * first + first, rtol=1e-12)


def test_consolidation_moves_the_fast_half_into_the_slow_one():
    memory = make(scope="persistent")
    memory.update(draw(20, 3))
    total, fast = (memory.K + memory.fast).detach().clone(), memory.fast.clone()
    memory.consolidate(0.25)
    assert torch.allclose(memory.K + memory.fast, total, rtol=1e-14)
    assert torch.allclose(memory.fast, 0.75 * fast, rtol=1e-14)
    total = (memory.K + memory.fast).detach().clone()
    memory.consolidate()
    assert torch.equal(memory.K.detach(), total)  # with rate 1 to the bit
    assert not memory.fast.any()


def test_what_was_learned_at_once_survives_saving():
    memory = make(scope="persistent")
    memory.update(draw(20, 3))
    other = make(scope="persistent", seed=1)
    other.load_state_dict(memory.state_dict())
    assert torch.equal(other(draw(5, 2))[0], memory(draw(5, 2))[0])


# Numbers and errors


def test_the_document_counts_both_halves():
    memory = Hippocampus(2048, 125)
    _, state = memory(draw(2, 1, 2048, dtype=torch.float32))
    assert memory.K.numel() == 256_000
    assert memory.K.numel() + state.E[0].numel() == 512_000


def test_scores_of_fresh_weights_differ_by_about_two():
    memory = make(2048, 125, dtype=torch.float32)
    events = draw(1, 64, 2048, dtype=torch.float32, rate=0.188, seed=5)  # not the seed of K
    slow, _ = memory._ask(events)
    scores = events[0] @ slow.T / (memory.temperature * 2048**0.5)
    assert scores.std(dim=1).mean().item() == pytest.approx(2.0, abs=0.3)


def test_options_reach_the_slow_half_and_the_printout():
    memory = make(scale="median")
    assert memory.rounded()[1] == memory.K.abs().median() != memory.K.abs().mean()
    assert memory.readout is None
    assert "10, slots=4, scope='sequence', competition='softmax'" in repr(memory)


def test_errors_name_value_and_rule(unchecked):
    for options, text in (
        ({"slots": 0}, "slots must be at least 1, got 10 and 0"),
        ({"scope": "ever"}, "scope must be one of sequence, persistent, got 'ever'"),
        ({"competition": "all"}, "competition must be one of softmax, winner, got 'all'"),
        ({"scale": "max"}, "scale must be one of absmean, median, got 'max'"),
        ({"temperature": 0.0}, "temperature must be > 0 and finite, got 0.0"),
        ({"decay_bits": 1}, r"decay_bits must be a whole number in \[2, 12\], got 1"),
        ({"rate_bits": 0}, r"rate_bits must be a whole number in \[1, 12\], got 0"),
    ):
        with pytest.raises(PnbxValueError, match=text):
            make(**options)
    memory = make()
    for call in (lambda: memory.update(draw(2, 1)), memory.consolidate):
        with pytest.raises(PnbxValueError, match="is for scope='persistent', got 'sequence'"):
            call()
    with pytest.raises(PnbxValueError, match=r"rate must be in \(0, 1\], got 0"):
        make(scope="persistent").consolidate(0)
    with pytest.raises(ShapeError, match=r"events must be \[T, B, H\] with H = 10"):
        memory(draw(2, 1, 9))
    with pytest.raises(ShapeError, match=r"state E must be \[B, M, H\] = \[1, 4, 10\], got \[2, 4, 10\]"):
        memory(draw(2, 1), HippocampusState(torch.zeros(2, 4, 10)))
    for call, events in ((memory, draw(2, 1)), (memory.step, draw(1, 1)[0])):
        with pytest.raises(PnbxTypeError, match="state E must be torch.float64 like the events, got torch.float32"):
            call(events, HippocampusState(torch.zeros(1, 4, 10)))
    with pytest.raises(PnbxValueError, match="scope='persistent' has no state, got one"):
        make(scope="persistent")(draw(2, 1), HippocampusState(torch.zeros(1, 4, 10)))
    with pytest.raises(PnbxTypeError, match="convert with .float()"):
        memory(draw(2, 1).int())
