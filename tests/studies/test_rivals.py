"""The rivals have the sizes they claim, and are what PyTorch's own modules are; steps with a cache equal a prefill."""

import json
import os
import shutil
import subprocess
import sys

import pytest
import torch
from torch import nn

from pnbx_snn.errors import PnbxValueError, ShapeError
from studies.rivals import (
    DOCUMENT_PARAMETERS,
    EQUAL_PARAMETERS,
    FORMS,
    GRU,
    SEQUENCE_MODELS,
    DiagonalStateSpaces,
    KVCache,
    LeNet5,
    Transformer,
    count,
    document_transformer,
    equal_gru,
    equal_ssm,
    equal_transformer,
    in_form,
    mlp,
)
from studies.rivals.compiled_form import CompiledTransformer
from studies.rivals.other_forms import UnavailableError


def small(**options):
    torch.manual_seed(0)
    sizes = {"num_tokens": 11, "d_model": 16, "num_heads": 4, "num_layers": 2, "d_ff": 24, "num_positions": 50}
    return Transformer(**{**sizes, **options}).eval()


def tokens(steps, batch=3, num_tokens=11):
    return torch.randint(0, num_tokens, (steps, batch), generator=torch.Generator().manual_seed(1))


def test_sizes_are_those_they_claim():
    d, layers, d_ff = 512, 6, 2048
    assert count(document_transformer()) == DOCUMENT_PARAMETERS == 19_293_184
    assert layers * (4 * d * d + 2 * d * d_ff + 4 * d) + 784 * d + 10 * d == DOCUMENT_PARAMETERS
    assert count(equal_transformer()) == 5_159_424
    assert count(equal_gru()) == 5_160_005
    assert count(equal_ssm()) == 5_155_816
    perceptron = mlp(784, 1908, 1908, 10)
    assert sum(p.numel() for p in perceptron.parameters() if p.ndim == 2) == 5_155_416
    assert count(perceptron) == 5_155_416 + 2 * 1908 + 10
    assert count(LeNet5()) == 61_706
    for make in (equal_transformer, equal_gru, equal_ssm):
        assert abs(count(make()) / EQUAL_PARAMETERS - 1) < 6e-4
    assert set(SEQUENCE_MODELS) == {"Transformer, document", "Transformer, equal", "GRU", "SSM"}


@pytest.mark.parametrize("norm", ["after", "before"])
def test_a_layer_is_pytorchs_encoder_layer_with_a_causal_mask(norm):
    model = small(norm=norm, num_layers=1, positions="none")
    ours = model.layers[0]
    theirs = nn.TransformerEncoderLayer(16, 4, 24, dropout=0.0, norm_first=norm == "before", batch_first=True).eval()
    with torch.no_grad():
        for bias in (theirs.self_attn.in_proj_bias, theirs.self_attn.out_proj.bias, theirs.linear1.bias):
            bias.zero_()
        theirs.linear2.bias.zero_()
        for mine, its in (
            (ours.qkv.weight, theirs.self_attn.in_proj_weight),
            (ours.out.weight, theirs.self_attn.out_proj.weight),
            (ours.up.weight, theirs.linear1.weight),
            (ours.down.weight, theirs.linear2.weight),
        ):
            its.copy_(mine)
        for number in (1, 2):
            norm_of_ours, norm_of_theirs = getattr(ours, f"norm{number}"), getattr(theirs, f"norm{number}")
            nn.init.uniform_(norm_of_ours.weight, 0.5, 1.5)
            nn.init.uniform_(norm_of_ours.bias, -1, 1)
            norm_of_theirs.load_state_dict(norm_of_ours.state_dict())
        x = torch.randn(3, 9, 16)
        mask = nn.Transformer.generate_square_subsequent_mask(9)
        torch.testing.assert_close(ours(x, None, 0), theirs(x, src_mask=mask, is_causal=True), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("positions", ["learned", "sinusoidal", "none"])
@pytest.mark.parametrize("norm", ["after", "before"])
def test_steps_with_a_cache_equal_a_prefill(norm, positions):
    model, seen = small(norm=norm, positions=positions), tokens(40)
    with torch.no_grad():
        expected, _ = model(seen)
        filled = model.cache(3, capacity=40)
        torch.testing.assert_close(model(seen[:20], filled)[0], expected[:20])
    cache, found = model.cache(3, capacity=40), []
    for token in seen:
        logits, cache = model.step(token, cache)
        found.append(logits)
    # Sums of fused attention are in another order: a few units in the last place of logits of about 1.
    torch.testing.assert_close(torch.stack(found), expected, atol=1e-5, rtol=1e-5)
    for token, logits in zip(seen[20:], expected[20:], strict=True):  # after a prefill
        torch.testing.assert_close(model.step(token, filled)[0], logits, atol=1e-5, rtol=1e-5)
    assert cache.length == filled.length == 40


def test_a_cache_of_bytes_is_near_and_a_quarter_as_large():
    torch.manual_seed(0)
    k, v, q = (torch.randn(2, 4, n, 32) for n in (1_100, 1_100, 1))
    exact = KVCache(layers=1, batch=2, heads=4, d_head=32, capacity=1_100)
    small_one = KVCache(layers=1, batch=2, heads=4, d_head=32, capacity=1_100, stored="int8")
    for cache in (exact, small_one):
        cache.write(0, 0, k, v)
    assert exact.nbytes == 2 * 2 * 4 * 1_100 * 32 * 4
    assert small_one.nbytes == exact.nbytes / 4 + 2 * 2 * 4 * 1_100 * 4
    kept = small_one.numbers[0, 0] * small_one.scales[0, 0].unsqueeze(-1)
    assert bool(((kept - k).abs() <= small_one.scales[0, 0].unsqueeze(-1) * 0.501).all())
    found = small_one.attend(0, q, 1_100)
    by_hand = nn.functional.scaled_dot_product_attention(
        q, kept, small_one.numbers[0, 1] * small_one.scales[0, 1].unsqueeze(-1)
    )
    torch.testing.assert_close(found, by_hand, atol=1e-5, rtol=1e-4)
    assert 0 < (found - exact.attend(0, q, 1_100)).abs().max() < 0.01


# Half a unit of the last place of each form is added some dozen times; the logits deviate by about 0.25.
@pytest.mark.parametrize(("form", "tolerance"), [("fp32", 0.0), ("bf16", 0.05), ("fp16", 0.01), ("int8", 0.1)])
def test_forms_say_nearly_the_same(form, tolerance):
    seen = tokens(20)
    with torch.no_grad():
        expected, _ = small()(seen)
        model = in_form(small(), form)
        found, _ = model(seen)
        assert (found.float() - expected).abs().max() <= tolerance
        cache = model.cache(3, capacity=20, stored="int8")
        for token in seen:
            last, cache = model.step(token, cache)
        assert (last.float() - expected[-1]).abs().max() <= tolerance + 0.02
    if form == "int8":
        assert model.layers[0].up.weight().dtype == torch.qint8
    assert set(FORMS) == {"fp32", "bf16", "fp16", "int8"}


@pytest.mark.parametrize("kind", ["GRU", "SSM"])
def test_states_carry_on(kind):
    torch.manual_seed(0)
    sizes = {"num_tokens": 11, "num_classes": 4, "d_model": 8}
    model = GRU(**sizes, d_hidden=6) if kind == "GRU" else DiagonalStateSpaces(**sizes, d_state=5, num_layers=2, d_ff=9)
    seen = tokens(30)
    with torch.no_grad():
        expected, end = model(seen)
        first, state = model(seen[:13])
        second, state = model(seen[13:], state)
        torch.testing.assert_close(torch.cat([first, second]), expected)
    state = None
    for token in seen:
        logits, state = model.step(token, state)
    torch.testing.assert_close(logits, expected[-1])
    for mine, its in zip(*((x,) if kind == "GRU" else x.s for x in (state, end)), strict=True):
        torch.testing.assert_close(mine, its)


def test_a_state_space_is_its_recurrence():
    torch.manual_seed(0)
    layer = DiagonalStateSpaces(num_tokens=3, num_classes=2, d_model=4, d_state=5, num_layers=1, d_ff=6).layers[0]
    x = torch.randn(7, 2, 4)
    with torch.no_grad():
        decay = torch.exp(-layer.log_rate.exp() + 1j * layer.omega)
        s, outputs = torch.zeros(2, 5, dtype=torch.complex64), []
        for x_t in x:
            u = layer.norm(x_t)
            s = decay * s + (1 - decay.abs() ** 2).sqrt() * layer.B(u)
            read = layer.C(torch.cat([s.real, s.imag], dim=-1)) + layer.D * u
            outputs.append(x_t + layer.down(nn.functional.gelu(layer.up(read))))
        torch.testing.assert_close(layer(x, None)[0], torch.stack(outputs), atol=1e-5, rtol=1e-4)


def test_what_does_not_fit_is_refused(unchecked):
    with pytest.raises(PnbxValueError, match="d_model must be a multiple of 3 heads, got 16"):
        small(num_heads=3)
    with pytest.raises(PnbxValueError, match=r"positions must be one of learned, sinusoidal, none, got 'rotary'"):
        small(positions="rotary")
    with pytest.raises(ShapeError, match=r"tokens must be \[T, B\] and not empty, got shape \[7\]"):
        small()(torch.zeros(7, dtype=torch.long))
    model = small()
    cache = model.cache(3, capacity=1)
    model.step(tokens(1)[0], cache)
    with pytest.raises(ShapeError, match="capacity must hold all steps, got step 2 of 1"):
        model.step(tokens(1)[0], cache)
    with pytest.raises(PnbxValueError, match="a prefill needs an empty cache, got one of 1 steps"):
        model(tokens(2), cache)
    with pytest.raises(ShapeError, match=r"token must be \[B\] = \[3\], got shape \[2\]"):
        model.step(tokens(1, 2)[0], model.cache(3, capacity=2))
    with pytest.raises(PnbxValueError, match="stored must be model or int8, got 'int4'"):
        model.cache(1, capacity=1, stored="int4")
    with pytest.raises(PnbxValueError, match="form must be one of fp32, bf16, fp16, int8, got 'fp8'"):
        in_form(model, "fp8")
    with pytest.raises(ShapeError, match=r"images must be \[B, 784\], got shape \[1, 28, 28\]"):
        LeNet5()(torch.zeros(1, 28, 28))
    with pytest.raises(ShapeError, match=r"sizes must be at least an input and an output, got \[3\]"):
        mlp(3)
    with pytest.raises(ShapeError, match="GRU: tokens must be"):
        GRU(num_tokens=2, num_classes=2, d_model=2, d_hidden=2)(torch.zeros(0, 1, dtype=torch.long))


COMPILED = """
import json, torch
from studies.rivals import Transformer
from studies.rivals.compiled_form import CompiledTransformer
torch.manual_seed(0)
found = []
for weights, norm in (("fp32", "after"), ("int8", "before")):
    sizes = {"num_tokens": 11, "d_model": 16, "num_heads": 2, "num_layers": 1, "d_ff": 8, "num_positions": 7}
    model = Transformer(**sizes, norm=norm).eval()
    other = CompiledTransformer(model, weights=weights)
    kept = other.state_dict()["model.layers.0.up.weight"].dtype
    for steps in (20, 30):
        cache, expected, apart = other.cache(1, capacity=steps), model.cache(1, capacity=steps), 0.0
        for token in torch.randint(0, 11, (steps, 1)):
            said, _ = other.step(token, cache)
            apart = max(apart, float((said - model.step(token, expected)[0]).abs().max()))
        apart_cache = float((cache.numbers - expected.numbers).abs().max())
        found.append([weights, str(kept), cache.length, apart, apart_cache])
try:
    other.step(token, cache)
except ValueError as error:
    found.append(str(error))
print(json.dumps(found))
"""


# In a process of its own: what checks the types of tests cannot be compiled.
@pytest.mark.slow
@pytest.mark.skipif(shutil.which(os.environ.get("CXX", "g++")) is None, reason="no C++ compiler")
def test_a_compiled_step_is_the_step(tmp_path):
    found = json.loads(
        subprocess.run(
            [sys.executable, "-c", COMPILED],
            capture_output=True,
            check=True,
            env={**os.environ, "TORCHINDUCTOR_CACHE_DIR": str(tmp_path), "TORCHINDUCTOR_COMPILE_THREADS": "1"},
        ).stdout
    )
    assert found.pop() == "CompiledTransformer: capacity must hold all steps, got step 31 of 30"
    assert [row[:3] for row in found] == [
        [weights, f"torch.{dtype}", steps]
        for weights, dtype in (("fp32", "float32"), ("int8", "int8"))
        for steps in (20, 30)
    ]
    for weights, _, _, apart, apart_cache in found:
        assert max(apart, apart_cache) <= {"fp32": 1e-4, "int8": 0.1}[weights]  # as in ONNX Runtime
        assert weights == "fp32" or min(apart, apart_cache) > 1e-5


def assert_refuses_what_only_torch_takes(kind, weights="fp32, int8"):
    name = kind.__name__
    with pytest.raises(PnbxValueError, match=f"{name}: weights must be one of {weights}, got 'bf16'"):
        kind(small(num_heads=2), weights="bf16")
    with pytest.raises(PnbxValueError, match=f"{name}: positions must be learned or none, got 'sinusoidal'"):
        kind(small(positions="sinusoidal"))
    with pytest.raises(PnbxValueError, match=rf"{name}: model must be in fp32, got torch\.float16"):
        kind(in_form(small(), "fp16"))
    steps = Transformer(in_features=3, num_classes=2, d_model=8, num_heads=2, num_layers=1, d_ff=8, num_positions=3)
    with pytest.raises(PnbxValueError, match=f"{name}: model must take tokens, got one with in_features"):
        kind(steps)


def test_a_compiled_step_refuses_what_it_cannot_take(unchecked, monkeypatch):
    assert_refuses_what_only_torch_takes(CompiledTransformer)
    monkeypatch.setattr(torch, "compile", lambda step, **options: lambda *inputs: 1 / 0)
    with pytest.raises(UnavailableError, match="torch.compile fails: ZeroDivisionError: division by zero"):
        CompiledTransformer(small(num_heads=2))
