"""Fast weights: the equation in NumPy, closed forms, recall, snnTorch's AssociativeLeaky, gradients, bounds, errors."""

import numpy as np
import pytest
import snntorch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.flop_counter import FlopCounterMode

from pnbx_snn.errors import PnbxTypeError, PnbxValueError, ShapeError
from pnbx_snn.layers import fast_weights
from pnbx_snn.layers.fast_weights import CHUNK, FastWeights, FastWeightsState, delta_read, hebbian_read

RULES = ["hebbian", "delta"]
READ = {"hebbian": hebbian_read, "delta": delta_read}
DECAY, RATE = 31 / 32, 1 / 16  # decay_bits=5, rate_bits=4


def oracle(keys, decay, rate, F0, key0, rule):
    """The recurrence in float64, one sample and one step at a time: write, then read with this step's key."""
    reads = np.zeros(keys.shape)
    F, previous = F0.copy(), key0.copy()
    for b in range(keys.shape[1]):
        for t in range(len(keys)):
            target = keys[t, b] if rule == "hebbian" else keys[t, b] - F[b] @ previous[b]
            F[b] = decay * F[b] + rate * np.outer(target, previous[b])
            reads[t, b] = F[b] @ keys[t, b]
            previous[b] = keys[t, b]
    return reads, F, previous


def random_core(seed, T, B, r, size=0.7):
    rng = np.random.default_rng(seed)
    keys = np.clip(size * rng.standard_normal((T, B, r)), -1, 1)
    return keys, rng.standard_normal((B, r, r)), rng.uniform(-1, 1, (B, r))


def random_layer(seed, d_hidden=12, rank=4, **options):
    torch.manual_seed(seed)
    layer = FastWeights(d_hidden, rank, **options).double()
    with torch.no_grad():
        layer.P.weight.mul_(3)  # so that some keys are clipped
    return layer


def random_events(seed, T, B, d_hidden=12):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(T, B, d_hidden, generator=generator) < 0.4).double()


def transparent_layer(rank, **options):
    """A layer with P = Q = identity, so that events are keys and reads are currents."""
    layer = FastWeights(rank, rank, **options).double()
    with torch.no_grad():
        for matrix in (layer.P, layer.Q):
            matrix.weight.copy_(rank * torch.eye(rank))  # mean |W| is 1
    return layer


def patterns(*indices, size):
    """One-hot events [T, 1, size]; None is silence."""
    events = torch.zeros(len(indices), 1, size, dtype=torch.float64)
    for t, index in enumerate(indices):
        if index is not None:
            events[t, 0, index] = 1
    return events


# The equation


@settings(deadline=None, max_examples=40)
@given(
    st.integers(0, 10_000),
    st.sampled_from([1, 2, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK + 5]),
    st.sampled_from(RULES),
    st.sampled_from([0.0, 0.5, DECAY, 1 - 2**-12, 1.0]),
)
def test_reads_and_state_equal_the_equation(seed, T, rule, decay):
    keys, F0, key0 = random_core(seed, T, 2, 3)
    expected = oracle(keys, decay, RATE, F0, key0, rule)
    got = READ[rule](torch.tensor(keys), decay, RATE, torch.tensor(F0), torch.tensor(key0))
    for a, b in zip(got, expected, strict=True):
        np.testing.assert_allclose(a.numpy(), b, rtol=1e-11, atol=1e-12)  # float64, another order of summation


@pytest.mark.parametrize("decay_bits", [1, 5, 12])
def test_float32_equals_float64_oracle_over_ten_thousand_steps(decay_bits):
    keys, F0, key0 = random_core(decay_bits, 10_000, 1, 8)
    keys = keys.astype(np.float32).astype(np.float64)  # the same numbers for both
    decay = 1 - 2.0**-decay_bits
    expected = oracle(keys, decay, RATE, 0 * F0, 0 * key0, "hebbian")
    zeros = torch.zeros(1, 8, 8)
    got = hebbian_read(torch.tensor(keys, dtype=torch.float32), decay, RATE, zeros, zeros[:, 0])
    for a, b in zip(got, expected, strict=True):
        assert a.dtype == torch.float32
        np.testing.assert_allclose(a.numpy(), b, rtol=0, atol=1e-5 * np.abs(b).max())
    late = got[0][-100:].numpy(), expected[0][-100:]  # nothing builds up towards the end
    assert np.linalg.norm(late[0] - late[1]) < 1e-5 * np.linalg.norm(late[1])


@pytest.mark.parametrize("rule", RULES)
def test_layer_equals_the_equation_with_its_ternary_matrices(rule):
    layer = random_layer(3, decay_bits=3, rate_bits=2, rule=rule)
    events = random_events(3, 30, 2)
    P, Q = (float(m.gamma()) * m.ternary_weight().double().numpy() for m in (layer.P, layer.Q))
    keys = events.numpy() @ P.T
    assert (np.abs(keys) > 1).any()
    assert (np.abs(keys) < 1).any()
    reads, F, key = oracle(np.clip(keys, -1, 1), 0.875, 0.25, np.zeros((2, 4, 4)), np.zeros((2, 4)), rule)
    current, state = layer(events)
    np.testing.assert_allclose(current.detach().numpy(), reads @ Q.T, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(state.F.detach().numpy(), F, rtol=1e-10, atol=1e-12)
    np.testing.assert_allclose(state.key.detach().numpy(), key, rtol=1e-10, atol=1e-12)


# Closed forms and recall


def test_constant_key_converges_to_rate_over_leak():
    k = torch.tensor([0.5, -1.0, 0.25], dtype=torch.float64)
    zeros = torch.zeros(1, 3, 3, dtype=torch.float64)
    _, F, _ = hebbian_read(k.expand(1500, 1, 3), DECAY, RATE, zeros, zeros[:, 0])
    torch.testing.assert_close(F[0], RATE / (1 - DECAY) * torch.outer(k, k), rtol=1e-12, atol=0)


@pytest.mark.parametrize("rule", RULES)
@pytest.mark.parametrize("wait", [1, 10, 2 * CHUNK])
def test_one_association_fades_by_the_decay(rule, wait):
    layer = transparent_layer(4, rule=rule)
    current, _ = layer(patterns(0, 1, *[None] * (wait - 1), 0, size=4))
    expected = torch.tensor([0, RATE * DECAY**wait, 0, 0], dtype=torch.float64)  # 1 follows 0
    torch.testing.assert_close(current[-1, 0], expected, rtol=1e-12, atol=1e-15)


@pytest.mark.parametrize("rule", RULES)
def test_the_write_comes_before_the_read(rule):
    layer = transparent_layer(2, rule=rule)
    current, _ = layer(patterns(0, 0, size=2))
    assert current[:, 0].tolist() == [[0, 0], [RATE, 0]]  # step 2 reads the pair (0, 0) that it wrote itself


@pytest.mark.parametrize("rule", RULES)
def test_a_sequence_seen_once_is_recalled(rule):
    """Random ternary P, 512 event lines, eight patterns shown once; each then recalls its successor."""
    torch.manual_seed(0)
    layer = FastWeights(512, 64, rate_bits=6, rule=rule)
    shown = (torch.rand(8, 1, 512) < 0.05).float()
    with torch.no_grad():
        keys = layer.P(shown).clamp(-1, 1)[:, 0]
        _, state = layer(shown)
        for now, after in zip(range(7), range(1, 8), strict=True):
            recalled = state.F[0] @ keys[now]
            similarity = torch.cosine_similarity(recalled[None], keys, dim=-1)
            assert similarity.argmax() == after, (now, similarity)


def test_delta_replaces_what_hebbian_piles_up():
    events = patterns(0, 1, None, 0, 2, None, 0, size=3)  # 1 follows 0, then 2 follows 0; what follows 0?
    hebbian, _ = transparent_layer(3, decay_bits=12, rate_bits=1, rule="hebbian")(events)
    delta, _ = transparent_layer(3, decay_bits=12, rate_bits=1, rule="delta")(events)
    np.testing.assert_allclose(hebbian[-1, 0].detach(), [0, 0.5, 0.5], rtol=0, atol=2e-3)
    np.testing.assert_allclose(delta[-1, 0].detach(), [0, 0.25, 0.5], rtol=0, atol=2e-3)


def test_delta_stops_writing_once_the_next_key_is_predicted():
    events = patterns(*[0, 1] * 400, size=2)
    _, state = transparent_layer(2, decay_bits=12, rate_bits=1, rule="delta")(events)
    torch.testing.assert_close(state.F[0], torch.tensor([[0.0, 1.0], [1.0, 0.0]]).double(), rtol=0, atol=2e-3)


# An outside library


def test_right_where_snntorch_associative_leaky_loses_its_state():
    """With decays of 1/2, values k[t] and keys k[t-1], AssociativeLeaky's S is our F: the same sum, another order."""
    T, r = 200, 3
    keys, _, _ = random_core(5, T, 1, r)
    shifted = np.concatenate((np.zeros((1, 1, r)), keys[:-1]))
    peer = snntorch.AssociativeLeaky(2 * r, r, r, r * r, use_q_projection=False)
    peer.output = False  # S itself, not whether it crosses the threshold
    with torch.no_grad():
        for layer, columns in ((peer.to_v, slice(0, r)), (peer.to_k, slice(r, 2 * r))):
            layer.weight.zero_()
            layer.weight[:, columns] = torch.eye(r)
            layer.bias.zero_()
        peer.to_alpha.weight.zero_()  # sigmoid(0) = 1/2
        peer.to_alpha.bias.zero_()
        S = peer(torch.tensor(np.concatenate((keys, shifted), -1), dtype=torch.float32)).reshape(T, r, r)
    zeros = torch.zeros(1, r, r)
    peer_error, our_error = {}, {}
    for t in (5, 50, 100, 199):
        _, expected, _ = oracle(keys[: t + 1], 0.5, 1.0, np.zeros((1, r, r)), np.zeros((1, r)), "hebbian")
        _, F, _ = hebbian_read(torch.tensor(keys[: t + 1], dtype=torch.float32), 0.5, 1.0, zeros, zeros[:, 0])
        size = np.linalg.norm(expected)
        peer_error[t] = np.linalg.norm(S[t].numpy() - expected) / size
        our_error[t] = np.linalg.norm(F.numpy() - expected) / size
    assert peer_error[5] < 1e-4  # it is the same quantity
    assert all(peer_error[t] > 0.99 for t in (50, 100, 199)), peer_error
    assert max(our_error.values()) < 1e-6, our_error


# Gradients


@pytest.mark.parametrize("rule", RULES)
def test_gradcheck(rule):
    keys, F0, key0 = (torch.tensor(x, requires_grad=True) for x in random_core(1, CHUNK + 3, 1, 2))
    assert torch.autograd.gradcheck(lambda *x: READ[rule](x[0], DECAY, RATE, *x[1:]), (keys, F0, key0))


@pytest.mark.parametrize("rule", RULES)
def test_gradients_equal_those_of_the_steps(rule):
    gradients = []
    for whole in (True, False):
        layer = random_layer(2, rule=rule)
        events = random_events(2, CHUNK + 6, 2).requires_grad_()
        if whole:
            current, _ = layer(events)
        else:
            current, state = [], None
            for e in events:
                out, state = layer.step(e, state)
                current.append(out)
            current = torch.stack(current)
        (current**2).sum().backward()
        gradients.append([events.grad, layer.P.weight.grad, layer.Q.weight.grad])
    for a, b in zip(*gradients, strict=True):
        assert a.abs().max() > 0
        torch.testing.assert_close(a, b, rtol=1e-9, atol=1e-12)


# Properties


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.integers(2, 2 * CHUNK + 2), st.sampled_from(RULES), st.data())
def test_step_by_step_and_two_halves_equal_one_run(seed, T, rule, data):
    layer, events = random_layer(seed, rule=rule), random_events(seed, T, 2)
    cut = data.draw(st.integers(1, T - 1))
    with torch.no_grad():
        current, end = layer(events)
        first, state = layer(events[:cut])
        second, state = layer(events[cut:], state)
        stepped, running = [], None
        for e in events:
            out, running = layer.step(e, running)
            stepped.append(out)
    for got in (torch.cat((first, second)), torch.stack(stepped)):
        torch.testing.assert_close(got, current, rtol=1e-11, atol=1e-12)
    for got in (state, running):
        torch.testing.assert_close(tuple(got), tuple(end), rtol=1e-11, atol=1e-12)


@pytest.mark.parametrize("rule", RULES)
def test_the_future_cannot_change_the_past(rule):
    layer, events = random_layer(4, rule=rule), random_events(4, 2 * CHUNK, 2)
    cut = CHUNK + 9  # inside a block
    changed = torch.cat((events[:cut], 1 - events[cut:]))
    with torch.no_grad():
        a, b = layer(events)[0], layer(changed)[0]
    assert torch.equal(a[:cut], b[:cut])
    assert not torch.equal(a[cut], b[cut])


@pytest.mark.parametrize("rule", RULES)
def test_samples_are_independent(rule):
    layer, events = random_layer(6, rule=rule), random_events(6, CHUNK + 5, 3)
    with torch.no_grad():
        together, state = layer(events)
        for b in range(3):
            alone, own = layer(events[:, b : b + 1])
            torch.testing.assert_close(alone[:, 0], together[:, b], rtol=1e-11, atol=1e-12)
            torch.testing.assert_close(own.F[0], state.F[b], rtol=1e-11, atol=1e-12)


@settings(deadline=None, max_examples=15)
@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(0, 6))
def test_hebbian_weights_are_bounded(seed, decay_bits, rate_bits):
    keys, _, _ = random_core(seed, 1000, 1, 3, size=5)  # nearly all at the clip
    keys[500:] = 1  # the worst case
    zeros = torch.zeros(1, 3, 3, dtype=torch.float64)
    _, F, _ = hebbian_read(torch.tensor(keys), 1 - 2.0**-decay_bits, 2.0**-rate_bits, zeros, zeros[:, 0])
    bound = 2.0 ** (decay_bits - rate_bits)
    assert 0.99 * bound < F.abs().max() <= bound * (1 + 1e-12)


def test_delta_rule_in_mixed_precision_is_that_without():
    keys, F0, key0 = (torch.tensor(x).float() for x in random_core(3, CHUNK + 3, 2, 4))
    plain = delta_read(keys, DECAY, RATE, F0, key0)
    with torch.autocast("cpu", dtype=torch.bfloat16):
        mixed = delta_read(keys, DECAY, RATE, F0, key0)
    assert all(torch.equal(a, b) for a, b in zip(plain, mixed, strict=True))


@pytest.mark.parametrize("sign", [1, -1])
def test_delta_weights_are_bounded_at_the_border_of_what_is_allowed(sign):
    layer = transparent_layer(7, decay_bits=3, rate_bits=2, rule="delta")  # 7/4 < 1 + 7/8; 8/4 is refused
    keys = torch.ones(3000, 1, 7, dtype=torch.float64)
    keys[1::2] *= sign
    _, F, _ = delta_read(keys, layer.decay, layer.rate, 100 * torch.ones(1, 7, 7).double(), keys[0])
    contraction = max(layer.decay, 7 / 4 - layer.decay)
    assert torch.linalg.matrix_norm(F[0], 2) <= 7 / 4 / (1 - contraction)


@pytest.mark.parametrize("kind", ["ones", "signs", "uniform"])
def test_float32_blocks_of_the_delta_rule_keep_the_digits_of_the_steps(kind):
    keys = torch.rand(500, 2, 32, generator=torch.Generator().manual_seed(0)) * 2 - 1
    if kind != "uniform":  # the largest that a clip lets through, where each write turns the last one around
        keys = keys.sign() if kind == "signs" else torch.ones_like(keys)
    decay, rate = 1 - 2.0**-5, 2.0**-5 * 1.9  # 60.8 / 32 < 1 + decay
    found = []
    for dtype in (torch.float32, torch.float64):
        leaf = keys.to(dtype).requires_grad_()
        zeros = torch.zeros(2, 32, 32, dtype=dtype)
        reads, F, _ = delta_read(leaf, decay, rate, zeros, zeros[:, 0])
        found.append([reads.detach(), F.detach(), torch.autograd.grad(reads.square().mean(), leaf)[0]])
    for ours, exact in zip(*found, strict=True):
        # 500 steps of float32 (6e-8), of which those that are not forgotten add up.
        assert (ours - exact).abs().max() < 2e-5 * exact.abs().max()


@pytest.mark.parametrize("rule", RULES)
def test_cost_is_linear_in_time(rule, monkeypatch):
    monkeypatch.setattr(fast_weights, "usable", lambda keys: False)  # torch counts nothing of the kernels

    def operations(T):
        keys, zeros = torch.rand(T, 2, 8), torch.zeros(2, 8, 8)
        with FlopCounterMode(display=False) as counter:
            READ[rule](keys, DECAY, RATE, zeros, zeros[:, 0])
        return counter.get_total_flops()

    assert 0 < operations(64 * CHUNK) == 16 * operations(4 * CHUNK)


def state_bytes(state):
    return sum(x.untyped_storage().nbytes() for x in state)  # what is kept alive, not only what is seen


@pytest.mark.parametrize("rule", RULES)
def test_state_keeps_nothing_of_the_sequence(rule):
    layer = random_layer(7, rule=rule)
    with torch.no_grad():
        for T in (1, 100):
            assert state_bytes(layer(random_events(7, T, 2))[1]) == 2 * (4 * 4 + 4) * 8


def test_a_hundred_thousand_streaming_steps():
    layer, events = random_layer(8, decay_bits=12, rate_bits=12), random_events(8, 1000, 1)
    with torch.no_grad():
        _, state = layer(events)
        for _ in range(99):  # in pieces of 1000, which is faster; single steps follow
            _, state = layer(events, state)
            assert state_bytes(state) == (4 * 4 + 4) * 8
        keys = layer.P(events).clamp(-1, 1).numpy()
        F, key = np.zeros((1, 4, 4)), np.zeros((1, 4))
        for _ in range(100):
            _, F, key = oracle(keys, layer.decay, layer.rate, F, key, "hebbian")
        np.testing.assert_allclose(state.F.numpy(), F, rtol=1e-10, atol=1e-12)
        for e in events:
            _, state = layer.step(e, state)
            assert state_bytes(state) == (4 * 4 + 4) * 8


# Sizes and errors


def test_parameters_of_the_reference_configuration():
    with torch.device("meta"):
        layer = FastWeights(2048, 32)
    assert sum(p.numel() for p in layer.parameters()) == 131_072
    assert (layer.decay, layer.rate) == (31 / 32, 1 / 16)
    assert layer.P.weight.shape == (32, 2048)
    assert layer.Q.weight.shape == (2048, 32)


def test_options_reach_the_matrices_and_the_printout():
    layer = FastWeights(8, 2, scale="median")
    assert layer.P.scale == layer.Q.scale == "median"
    assert "8, rank=2, decay=0.96875, rate=0.0625, rule='hebbian'" in repr(layer)


@pytest.mark.parametrize(
    ("arguments", "options", "message"),
    [
        ((0, 4), {}, "fast weights: d_hidden and rank must be at least 1, got 0 and 4"),
        ((4, 0), {}, "fast weights: d_hidden and rank must be at least 1, got 4 and 0"),
        ((4, 2), {"decay_bits": 0}, r"decay_bits must be a whole number in \[1, 12\], got 0"),
        ((4, 2), {"decay_bits": 13}, r"decay_bits must be a whole number in \[1, 12\], got 13"),
        ((4, 2), {"decay_bits": 2.5}, r"decay_bits must be a whole number in \[1, 12\], got 2.5"),
        ((4, 2), {"rate_bits": -1}, r"rate_bits must be a whole number in \[0, 12\], got -1"),
        ((4, 2), {"rate_bits": 13}, r"rate_bits must be a whole number in \[0, 12\], got 13"),
        ((4, 2), {"rule": "oja"}, "rule must be 'hebbian' or 'delta', got 'oja'"),
        ((4, 2), {"scale": "max"}, "scale must be 'absmean' or 'median', got 'max'"),
        ((64, 32), {"rule": "delta"}, r"rank < 1.96875 or it may diverge, got 2 from rate_bits=4 and rank=32"),
        ((8, 8), {"rule": "delta", "decay_bits": 3, "rate_bits": 2}, "rank < 1.875 or it may diverge, got 2"),
    ],
)
def test_wrong_options(unchecked, arguments, options, message):
    with pytest.raises(PnbxValueError, match=message):
        FastWeights(*arguments, **options)


@pytest.mark.parametrize(
    ("call", "shape", "dtype", "error", "message"),
    [
        (
            "step",
            (3, 2, 6),
            torch.float32,
            ShapeError,
            r"events must be \[B, H\] with H = 6 and no empty axis, got shape \[3, 2, 6\]",
        ),
        (
            "forward",
            (2, 6),
            torch.float32,
            ShapeError,
            r"events must be \[T, B, H\] with H = 6 and no empty axis, got shape \[2, 6\]",
        ),
        ("forward", (3, 2, 5), torch.float32, ShapeError, r"with H = 6 and no empty axis, got shape \[3, 2, 5\]"),
        ("forward", (0, 2, 6), torch.float32, ShapeError, r"with H = 6 and no empty axis, got shape \[0, 2, 6\]"),
        ("forward", (3, 2, 6), torch.int64, PnbxTypeError, "must be floating point, got torch.int64"),
    ],
)
def test_wrong_events(unchecked, call, shape, dtype, error, message):
    with pytest.raises(error, match=message):
        getattr(FastWeights(6, 3), call)(torch.zeros(shape, dtype=dtype))


@pytest.mark.parametrize("call", ["step", "forward"])
@pytest.mark.parametrize(
    ("F", "key", "error", "message"),
    [
        (torch.zeros(1, 3, 3), torch.zeros(2, 3), ShapeError, r"F \[B, r, r\] must be \[2, 3, 3\], got \[1, 3, 3\]"),
        (torch.zeros(2, 3, 3), torch.zeros(2, 4), ShapeError, r"key \[B, r\] must be \[2, 3\], got \[2, 4\]"),
        (torch.zeros(2, 3, 3).double(), torch.zeros(2, 3), PnbxTypeError, "must be torch.float32 like the keys"),
    ],
)
def test_wrong_state(unchecked, call, F, key, error, message):
    events = torch.zeros(2, 6) if call == "step" else torch.zeros(4, 2, 6)
    with pytest.raises(error, match=message):
        getattr(FastWeights(6, 3), call)(events, FastWeightsState(F, key))


@pytest.mark.parametrize("read", READ.values())
@pytest.mark.parametrize("shape", [(0, 1, 2), (4, 2)])
def test_wrong_keys(unchecked, read, shape):
    with pytest.raises(ShapeError, match=rf"{read.__name__}: keys must be \[T, B, r\] with at least one step"):
        read(torch.zeros(shape), 0.5, 0.5, torch.zeros(1, 2, 2), torch.zeros(1, 2))
