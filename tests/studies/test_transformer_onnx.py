"""The rival in ONNX Runtime takes the steps of the rival in torch, and is left out where it cannot be had."""

import numpy as np
import pytest
import torch
from test_rivals import assert_refuses_what_only_torch_takes, small, tokens
from torch import nn

import pnbx_extras
from pnbx_snn.errors import PnbxValueError, ShapeError
from studies.bench.transformer_graph import blocks
from studies.bench.transformer_onnx import OnnxTransformer
from studies.measurements import process as measure_process
from studies.measurements import stages as measure_stages
from studies.measurements.models import Stepped
from studies.rivals import count, equal_transformer

RUNTIMES = {"ONNX Runtime": OnnxTransformer}


def restored(numbers, scales, bits):
    if bits == 4:
        numbers = np.stack([numbers & 15, numbers >> 4], axis=-1).reshape(*scales.shape, 128)
    return ((numbers.astype(np.float32) - (1 << (bits - 1))) * scales[:, :, None]).reshape(len(scales), -1)


def round_products(model):
    for layer in model.modules():
        if isinstance(layer, nn.Linear):
            weight = layer.weight.detach().numpy()
            layer.weight.data = torch.from_numpy(restored(*blocks(weight, 4), 4)[:, : weight.shape[1]].copy())


def largest_difference(model, other, seen, cache):
    expected, found = model.cache(seen.shape[1], capacity=len(seen)), 0.0
    for token in seen:
        said, _ = other.step(token, cache)
        found = max(found, float((said - model.step(token, expected)[0]).abs().max()))
    return found, expected


# fp32: sums in another order. Bytes: each of some dozen products is half a unit in 127 off, of logits of about 1.
@pytest.mark.parametrize("norm", ["after", "before"])
@pytest.mark.parametrize(
    ("weights", "stored", "tolerance"),
    [
        ("fp32", "model", 1e-4),
        ("int8", "model", 0.1),
        ("fp32", "int8", 0.1),
        ("int8", "int8", 0.1),
        ("int4", "int8", 0.1),
    ],
)
def test_a_step_in_onnx_runtime_is_the_step(weights, stored, tolerance, norm):
    model = small(num_heads=2, norm=norm, num_positions=7, num_classes=5)
    other = OnnxTransformer(model, weights=weights, stored=stored)
    if weights == "int4":  # half a unit in 7 is too much to be told from a mistake: to torch the same weights
        round_products(model)
    for batch in (1, 3):
        cache = other.cache(batch, capacity=20)
        found, expected = largest_difference(model, other, tokens(20, batch), cache)
        assert found <= tolerance
        assert (weights, stored) == ("fp32", "model") or found > 1e-5  # bytes are another number
        scale = 4.0 / 127 if stored == "int8" else 1.0
        assert (cache.numbers * scale - expected.numbers).abs().max() <= tolerance
        assert cache.nbytes == expected.nbytes / (4 if stored == "int8" else 1)
        assert cache.length == 20
    cache.length = 5  # the caller may take steps back, or another cache
    again, _ = other.step(tokens(20)[5], cache)
    before = model.cache(3, capacity=20)
    for token in tokens(20)[:6]:
        said, _ = model.step(token, before)
    torch.testing.assert_close(again, said, atol=tolerance, rtol=0)


def test_bytes_make_a_smaller_file_and_tied_weights_are_read():
    model = small(num_heads=2, positions="none")
    assert 4 * count(model) < OnnxTransformer(model).file_bytes < 4 * count(model) + 20_000
    for weights, share in (("int8", 0.31), ("int4", 0.19)):  # tables stay as they are
        file = OnnxTransformer(equal_transformer(), weights=weights).file_bytes
        assert (share - 0.01) * 4 * count(equal_transformer()) < file < share * 4 * count(equal_transformer())
    assert largest_difference(model, other := OnnxTransformer(model), tokens(9), other.cache(3, capacity=9))[0] < 1e-4
    weight = torch.randn(3, 150).numpy()
    for bits in (8, 4):
        numbers, scales = blocks(weight, bits)
        assert numbers.shape == (3, 2, 16 * bits)
        again = restored(numbers, scales, bits)
        assert abs(again[:, :150] - weight).max() <= scales.max() * 0.501
        assert (again[:, 150:] == 0).all()


@pytest.mark.parametrize("form", ["fp32", "int8", "int8, int8 KV", "int4, int8 KV"])
def test_its_cache_has_the_bytes_it_must(form):
    rival = Stepped("Transformer, equal", f"{form}, ONNX Runtime", small=True, runtimes=RUNTIMES)
    rival.fill(100)
    assert len(rival.steps(20)["cpu"]) == 20
    assert rival.cache.length == 100
    assert rival.state_bytes() == 2 * 16 * 100 * (1 if "KV" in form else 4)
    assert rival.file_bytes() > 16 * 16
    with pytest.raises(PnbxValueError, match=f"a whole sequence at once has no form '{form}, ONNX Runtime'"):
        rival.total(30)


def test_it_is_asked_as_the_others_are(monkeypatch, tmp_path):
    key = ("Transformer, equal", "int8, ONNX Runtime")
    with measure_stages.Bench(quick=True) as bench:
        assert bench.available([key]) == [key]
        bench.rival(key).ask("fill", length=30)
        assert min(bench.rival(key).ask("steps", count=3)["cpu"]) > 0
    monkeypatch.setattr(measure_process, "find_spec", lambda name: None)
    with measure_stages.Bench(quick=True) as bench:
        assert bench.available([key]) == []
    assert bench.unavailable == {", ".join(key): f"onnx and onnxruntime not installed: {pnbx_extras.install('onnx')}"}
    monkeypatch.setattr(measure_process, "CLONE", tmp_path)
    assert (
        measure_process.why_not(key[1]) == "needs a clone of the repository: this form is in its folder studies/bench"
    )
    assert measure_process.why_not("int8") is None


def test_what_it_cannot_take_is_refused(unchecked):
    assert_refuses_what_only_torch_takes(OnnxTransformer, "fp32, int8, int4")
    model = small(num_heads=2)
    with pytest.raises(PnbxValueError, match="stored must be model or int8, got 'int4'"):
        OnnxTransformer(model, stored="int4")
    with pytest.raises(PnbxValueError, match="largest must be above 0 and finite, got 0"):
        OnnxTransformer(model, stored="int8", largest=0.0)
    with pytest.raises(PnbxValueError, match="d_model / num_heads must be a multiple of 8, got 4"):
        OnnxTransformer(small())
    other = OnnxTransformer(model)
    cache = other.cache(1, capacity=1)
    with pytest.raises(ShapeError, match=r"OnnxTransformer: token must be \[B\] = \[1\], got shape \[2\]"):
        other.step(tokens(1, 2)[0], cache)
    other.step(tokens(1, 1)[0], cache)
    with pytest.raises(ShapeError, match="capacity must hold all steps, got step 2 of 1"):
        other.step(tokens(1, 1)[0], cache)
    with pytest.raises(PnbxValueError, match=r"cache must be of OnnxTransformer\.cache, got one of another form"):
        other.step(tokens(1, 1)[0], model.cache(1, capacity=1, stored="int8"))
