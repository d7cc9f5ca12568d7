"""Surrogate gradients: formulas, snnTorch and Norse, dtype, pickling, errors."""

import copy
import pickle

import numpy as np
import pytest
import snntorch
import torch
from hypothesis import given
from hypothesis import strategies as st
from norse.torch.functional.superspike import super_fn
from snntorch import surrogate as snn_surrogate

from pnbx_snn.errors import PnbxTypeError, PnbxValueError
from pnbx_snn.surrogate import SURROGATES, Surrogate, resolve

FORMULAS = {  # dS/du written from the docstring's table
    ("atan", ("alpha", 3.0)): lambda u: 1.5 / (1 + (np.pi / 2 * 3.0 * u) ** 2),
    ("fast_sigmoid", ("slope", 10.0)): lambda u: 1 / (1 + 10.0 * abs(u)) ** 2,
    ("sigmoid", ("slope", 5.0)): lambda u: 5.0 * np.exp(-5.0 * abs(u)) / (1 + np.exp(-5.0 * abs(u))) ** 2,
    ("straight_through_estimator",): lambda u: np.ones_like(u),
    ("triangular", ("threshold", 2.0)): lambda u: np.where(u < 0, 2.0, -2.0),
    ("heaviside",): lambda u: (u > 0).astype(float),
    ("spike_rate_escape", ("beta", 2.0), ("slope", 3.0)): lambda u: 3.0 * np.exp(-2.0 * abs(u - 1)),
    ("sparse_fast_sigmoid", ("slope", 4.0), ("B", -0.5)): lambda u: (u > -0.5) / (1 + 4.0 * abs(u)) ** 2,
    ("super",): lambda u: 1 / (1 + abs(u)) ** 2,
}
U = np.linspace(-2, 2, 81)  # holds 0 exactly


def gradient(function, u):
    u = u.clone().requires_grad_()
    spikes = function(u)
    (grad,) = torch.autograd.grad(spikes.sum(), u)
    return spikes.detach(), grad


@pytest.mark.parametrize("key", FORMULAS, ids=lambda key: key[0])
def test_formula(key):
    surrogate = Surrogate(key[0], dict(key[1:]))
    spikes, grad = gradient(surrogate, torch.tensor(U))
    assert np.array_equal(spikes.numpy(), (U > 0).astype(float))  # strict: silent at u == 0
    # float64 against NumPy: differences come from the order of a few operations
    np.testing.assert_allclose(grad.numpy(), FORMULAS[key](U), rtol=1e-12, atol=1e-12)


def test_every_name_has_a_formula():
    assert {key[0] for key in FORMULAS} | {"stochastic_spike_operator"} == set(SURROGATES)


FACTORIES = {
    "atan": snn_surrogate.atan(alpha=3.0),
    "fast_sigmoid": snn_surrogate.fast_sigmoid(slope=10),
    "sigmoid": snn_surrogate.sigmoid(),
    "straight_through_estimator": snn_surrogate.straight_through_estimator(),
    "triangular": snn_surrogate.triangular(threshold=2),
    "heaviside": snn_surrogate.heaviside(),
    "spike_rate_escape": snn_surrogate.spike_rate_escape(beta=2, slope=7),
    "sparse_fast_sigmoid": snn_surrogate.SFS(slope=3, B=0.5),
    "stochastic_spike_operator": snn_surrogate.SSO(mean=0.1, variance=0.3),
}


@pytest.mark.parametrize("name", FACTORIES)
def test_closure_of_snntorch_becomes_the_equal_surrogate(name):
    closure = FACTORIES[name]
    surrogate = resolve(closure)
    assert isinstance(surrogate, Surrogate)
    assert surrogate.name == name
    u = torch.tensor(U, dtype=torch.float32)
    torch.manual_seed(0)  # the stochastic operator draws from torch's generator
    expected = gradient(closure, u)
    torch.manual_seed(0)
    got = gradient(surrogate, u)
    assert torch.equal(got[0], expected[0])
    if name == "sigmoid":  # below the threshold snnTorch's exp(25 |u|) overflows when squared: 0 (then NaN), not 1e-20
        assert torch.equal(got[1][u >= 0], expected[1][u >= 0])
        torch.testing.assert_close(got[1], expected[1], rtol=1e-6, atol=1e-17)
    else:
        assert torch.equal(got[1], expected[1])


def test_super_is_norse():
    u = torch.tensor(U, dtype=torch.float32)
    expected, got = gradient(lambda x: super_fn(x, torch.as_tensor(1.0)), u), gradient(resolve("super"), u)
    assert torch.equal(got[0], expected[0])
    assert torch.equal(got[1], expected[1])


def steep(input_, grad_input, spikes):
    return 3 * grad_input * spikes


def test_custom_surrogate_of_a_module_function_pickles():
    surrogate = pickle.loads(pickle.dumps(resolve(snn_surrogate.custom_surrogate(steep))))
    assert gradient(surrogate, torch.tensor([-1.0, 1.0]))[1].tolist() == [0.0, 3.0]


@given(
    name=st.sampled_from(SURROGATES),
    values=st.lists(st.floats(-3, 3, width=16), min_size=1, max_size=8),
    dtype=st.sampled_from([torch.float16, torch.bfloat16, torch.float32, torch.float64]),
)
def test_spikes_keep_shape_and_dtype(name, values, dtype):
    u = torch.tensor(values, dtype=dtype)
    spikes, grad = gradient(Surrogate(name), u)
    assert spikes.dtype == grad.dtype == dtype
    assert torch.equal(spikes, (u > 0).to(dtype))
    assert grad.shape == u.shape


def whole_range(dtype):
    """Numbers of every size that a dtype has, of both signs: zero, subnormal, ordinary, near overflow."""
    info = torch.finfo(dtype)
    low, high = np.log10(info.smallest_normal) - 2, np.log10(info.max)
    sizes = np.concatenate([10 ** np.linspace(low, high * 0.999, 400), np.linspace(0.01, 40, 400), [0.0, info.max]])
    return torch.tensor(np.concatenate([sizes, -sizes])).to(dtype).clamp(info.min, info.max)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16, torch.float32, torch.float64], ids=str)
@pytest.mark.parametrize("key", FORMULAS, ids=lambda key: key[0])
def test_finite_and_right_over_the_whole_range(key, dtype):
    """snnTorch's sigmoid is NaN from 3.4 below the threshold on; squares in float16 overflow from 256 on."""
    u = whole_range(dtype)
    spikes, grad = gradient(Surrogate(key[0], dict(key[1:])), u)
    assert grad.dtype == dtype
    assert grad.isfinite().all()
    assert torch.equal(spikes, (u > 0).to(dtype))
    expected = np.asarray(FORMULAS[key](u.double().numpy().astype(np.longdouble)), np.float64)
    # A few roundings of the result; an exponential turns those of its argument (up to 745) into relative ones.
    rtol = {torch.float64: 3e-13, torch.float32: 3e-5}.get(dtype, 1.5 * torch.finfo(dtype).eps)
    np.testing.assert_allclose(grad.double().numpy(), expected, rtol=rtol, atol=torch.finfo(dtype).smallest_normal)


@pytest.mark.parametrize("slope", [-25, 25, 1000.0])
def test_the_derivative_of_the_sigmoid_is_even(slope):
    u = torch.tensor([0.01, 0.5, 3.4, 3.6, 1e4])
    above, below = (gradient(Surrogate("sigmoid", {"slope": slope}), s * u)[1] for s in (1, -1))
    assert torch.equal(above, below)


@pytest.mark.parametrize(
    ("name", "params", "message"),
    [
        ("atan", {"alpha": float("inf")}, "surrogate 'atan': alpha must be finite, got inf"),
        ("sigmoid", {"slope": float("nan")}, "surrogate 'sigmoid': slope must be finite, got nan"),
        ("fast_sigmoid", {"slope": -2.0}, "surrogate 'fast_sigmoid': slope must be at least 0, got -2.0"),
        ("SFS", {"slope": -1}, "surrogate 'sparse_fast_sigmoid': slope must be at least 0, got -1.0"),
        ("spike_rate_escape", {"beta": -1}, "surrogate 'spike_rate_escape': beta must be at least 0, got -1.0"),
    ],
)
def test_parameters_with_a_pole_are_refused(name, params, message):
    with pytest.raises(PnbxValueError, match=message):
        Surrogate(name, params)
    Surrogate("SFS", {"B": float("-inf")})  # everywhere: finite


@pytest.mark.parametrize("name", sorted(set(SURROGATES) - {"stochastic_spike_operator"}))
def test_function_transforms(name):
    """torch.func.grad and vmap give what backward gives; an old-style autograd function refuses them."""
    surrogate, u = Surrogate(name), torch.tensor(U, dtype=torch.float32)
    expected = gradient(surrogate, u)[1]
    assert torch.equal(torch.func.grad(lambda x: surrogate(x).sum())(u), expected)
    each = torch.vmap(torch.func.grad(surrogate))(u)
    assert torch.equal(each, expected)


@pytest.mark.parametrize("name", SURROGATES)
def test_pickle_copy_equality_hash(name):
    surrogate = Surrogate(name)
    for twin in (pickle.loads(pickle.dumps(surrogate)), copy.deepcopy(surrogate)):
        assert twin == surrogate
        assert hash(twin) == hash(surrogate)
    assert surrogate != Surrogate("atan", {"alpha": 9.0})


def test_snntorch_names_are_understood():
    assert resolve("SFS") == Surrogate("sparse_fast_sigmoid", {"slope": 25, "B": 1})
    assert Surrogate("SSO").name == "stochastic_spike_operator"


def test_default_is_atan_and_callables_pass():
    assert resolve(None) == Surrogate("atan", {"alpha": 2.0})
    assert resolve(torch.sigmoid) is torch.sigmoid
    surrogate = Surrogate("triangular")
    assert resolve(surrogate) is surrogate
    broken = snn_surrogate.LSO()  # not ours to repair: passes as any callable
    assert resolve(broken) is broken


def test_snntorch_neuron_takes_a_surrogate():
    lif = snntorch.Leaky(0.9, spike_grad=Surrogate("fast_sigmoid"))
    spikes, _ = lif(torch.tensor([[2.0]]))
    assert spikes.item() == 1.0


def test_errors(unchecked):
    with pytest.raises(PnbxValueError, match="unknown name 'fast_sigmod', did you mean 'fast_sigmoid'"):
        resolve("fast_sigmod")
    with pytest.raises(PnbxValueError, match="unknown name 'xyz', allowed: atan, "):
        resolve("xyz")
    with pytest.raises(PnbxValueError, match="surrogate 'atan': unknown parameter 'alhpa', did you mean 'alpha'"):
        Surrogate("atan", {"alhpa": 1.0})
    with pytest.raises(PnbxValueError, match="surrogate 'super': unknown parameter 'alpha'; it takes none"):
        Surrogate("super", {"alpha": 1.0})
    with pytest.raises(PnbxTypeError, match="surrogate 'atan': alpha must be a number, got '2'"):
        Surrogate("atan", {"alpha": "2"})
    with pytest.raises(PnbxTypeError, match="spike_grad must be a name, a callable or None, got 3"):
        resolve(3)
