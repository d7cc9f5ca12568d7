"""Triton's kernels equal the CPU's: on a GPU where there is one, else interpreted; and they compile for one."""

import importlib
import sys
from contextlib import nullcontext
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from pnbx_snn.errors import PnbxTypeError, ShapeError
from pnbx_snn.kernels import dispatch
from pnbx_snn.kernels.lif import lif_scan, usable
from pnbx_snn.kernels.scan import diagonal_scan
from pnbx_snn.kernels.ternary import packed_product, ternary_products
from pnbx_snn.layers.bitlinear import BitLinear
from pnbx_snn.neurons.leaky import Leaky
from pnbx_snn.neurons.lif import LIF
from pnbx_snn.neurons.membrane import MembraneState, membrane_scan
from pnbx_snn.neurons.messages import TorusMessages
from pnbx_snn.surrogate import SURROGATES, Surrogate
from pnbx_snn.training.packed import pack_sign_bits

triton = pytest.importorskip("triton")

GPU = next((kind for kind in ("cuda", "xpu") if dispatch.kernels("lif", kind) is not None), None)
DEVICE = GPU or "cpu"
if GPU is None:  # Triton decides when a kernel is defined whether it will be interpreted
    with pytest.MonkeyPatch.context() as environment:
        environment.setenv("TRITON_INTERPRET", "1")
        for module in ("lif", "scan", "ternary"):
            importlib.import_module(f"pnbx_snn.kernels.triton.{module}")
from pnbx_snn.kernels.triton import jit as triton_jit  # noqa: E402
from pnbx_snn.kernels.triton import lif as lif_triton  # noqa: E402
from pnbx_snn.kernels.triton import scan as scan_triton  # noqa: E402
from pnbx_snn.kernels.triton import ternary as ternary_triton  # noqa: E402

pytestmark = [pytest.mark.gpu] if GPU else []

RESETS = ["zero", "subtract", "none"]
FORMULAS = [name for name in SURROGATES if name != "stochastic_spike_operator"]
# Sums over steps in another order, and on a GPU quotients and exponentials that are off by two units in the last place.
TOLERANCE = 1e-6
CHUNK = lif_triton.CHUNK


def draw(*shape, seed=0, dtype=torch.float32):
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def uniform(*shape, seed=1, dtype=torch.float32):
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64).to(dtype)


def by_triton():
    """Return the context in which Triton's kernels take tensors on DEVICE."""
    return nullcontext() if GPU else dispatch.interpreted()


def both(function, tensors, upstream, leaves=None):
    """Outputs and gradients of ``function(*tensors)`` on the CPU by numba, then on DEVICE by Triton, all on the CPU."""
    results = []
    for device, context in (("cpu", nullcontext()), (DEVICE, by_triton())):
        moved = [tensor.detach().to(device) for tensor in tensors]
        asked = [tensor.requires_grad_() for tensor in moved[:leaves]]
        with context:
            outputs = function(*moved)
            pairs = [(out, up.to(device)) for out, up in zip(outputs, upstream, strict=True) if up is not None]
            loss = sum((out * up).sum() for out, up in pairs)
            gradients = torch.autograd.grad(loss, asked)
        results.append(([out.detach().cpu() for out in outputs], [gradient.cpu() for gradient in gradients]))
    return results


def close(ours, theirs, tolerance=TOLERANCE):
    assert ours.dtype == theirs.dtype
    assert ours.shape == theirs.shape
    assert theirs.abs().max() > 0
    assert (ours - theirs).abs().max() <= tolerance * theirs.abs().max().clamp(min=1)


def compare_lif(
    step="leaky", reset="subtract", *, size=(CHUNK + 3, 2, 9), dtype=torch.float32, surrogate="atan", leaves=None,
    layout=lambda x: x, traced=True, upstream=(True, True, True),
):  # fmt: skip
    beta, threshold = uniform(size[2], dtype=dtype), 0.2 + uniform(size[2], seed=2, dtype=dtype)
    current = draw(*size, dtype=dtype) * (3 if step == "lif_box" else 1) + 0.2
    params = {"sigmoid": {"slope": 5}, "sparse_fast_sigmoid": {"B": 0.1}}.get(surrogate, {})

    def run(current, v, beta, threshold):
        options = {"step": step, "reset": reset, "spike_grad": Surrogate(surrogate, params), "traced": traced}
        spikes, v, membranes = lif_scan(layout(current), beta, threshold, v, **options)
        return (spikes, v, membranes) if traced else (spikes, v)

    shapes = (size, size[1:], size)[: 3 if traced else 2]
    up = [draw(*shape, seed=4 + i, dtype=dtype) if upstream[i] else None for i, shape in enumerate(shapes)]
    results = both(run, (current, draw(*size[1:], seed=3, dtype=dtype), beta, threshold), up, leaves)
    (values, gradients), (got_values, got) = results
    assert 0.02 < values[0].mean() < 0.98
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(got_values, values, strict=True))
    for ours, theirs in zip(got, gradients, strict=True):
        close(ours, theirs)


# LIF


@pytest.mark.parametrize("surrogate", FORMULAS)
def test_gradients_are_finite_at_every_distance(surrogate):
    distances = torch.cat([torch.linspace(-12, 12, 401), torch.tensor([-3e38, -1e20, -300.0, 300.0, 1e20, 3e38])])

    def run(current):
        return (LIF(0.5, reset="subtract", spike_grad=surrogate).to(current.device)(current)[0],)

    current = (distances + 1).reshape(1, 1, -1)
    with np.errstate(over="ignore"):  # squares reach infinity, whose inverse is 0; the interpreter is NumPy
        (_, (cpu,)), (_, (found,)) = both(run, (current,), [torch.ones_like(current)])
    assert found.isfinite().all()
    torch.testing.assert_close(found, cpu, rtol=1e-5, atol=1e-37)


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("step", ["leaky", "delayed", "lif_box"])
def test_lif_equals_the_cpu(step, reset):
    compare_lif(step, reset)


def test_graded_events_equal_the_cpu():
    compare_lif("graded_4", "subtract", traced=False)


@pytest.mark.parametrize("surrogate", FORMULAS)
def test_every_surrogate_with_a_formula(surrogate):
    compare_lif(surrogate=surrogate, size=(3, 2, 9), leaves=2, traced=False)


@pytest.mark.parametrize("T", [1, CHUNK, 2 * CHUNK])
def test_one_step_and_whole_chunks(T):
    compare_lif(size=(T, 3, 50), traced=False)  # 150 units: more than a program, and not a multiple


def test_double_precision():
    compare_lif(dtype=torch.float64)


@pytest.mark.parametrize("upstream", [(True, False), (False, True)])
def test_gradients_of_spikes_or_of_the_last_membrane_alone(upstream):
    compare_lif(size=(5, 2, 9), leaves=2, traced=False, upstream=upstream)


@pytest.mark.parametrize("layout", ["transposed", "strided", "constant"])
def test_any_layout(layout):
    layouts = {
        "transposed": lambda x: x.permute(2, 1, 0).contiguous().permute(2, 1, 0),
        "strided": lambda x: torch.stack([x, x], dim=-1)[..., 0],
        "constant": lambda x: x[0].expand(x.shape),
    }
    compare_lif(layout=layouts[layout], traced=False)


@pytest.mark.filterwarnings("ignore:invalid value encountered:RuntimeWarning")  # NumPy, which interprets
def test_nan_and_infinity_go_as_on_the_cpu():
    current = draw(6, 2, 12)
    current[1, 0, 0], current[1, 0, 3], current[1, 0, 6] = torch.nan, torch.inf, -torch.inf
    for step in ("leaky", "lif_box"):
        results = []
        for device, context in (("cpu", nullcontext()), (DEVICE, by_triton())):
            with context:
                tensors = [x.to(device) for x in (current, uniform(12), uniform(12, seed=2), torch.zeros(2, 12))]
                scan = lif_scan(*tensors, step=step, reset="zero", spike_grad=Surrogate("atan"), traced=True)
            results.append((scan.spikes.cpu(), scan.membranes.cpu()))
        assert torch.equal(results[0][0], results[1][0])
        torch.testing.assert_close(results[1][1], results[0][1], rtol=0, atol=0, equal_nan=True)
        assert results[1][1][-1, 0, 0].isnan()


# Membranes


@pytest.mark.parametrize("reset", RESETS)
@pytest.mark.parametrize("size", [(6, 2, 12), (1, 3, 15)])
def test_membranes_that_hear_their_neighbours(size, reset):
    compare_membrane(size, reset, TorusMessages(size[2], kappa_shift=1))


@pytest.mark.parametrize("reset", RESETS)
def test_membranes_that_hear_nobody(reset, monkeypatch):
    monkeypatch.setattr("pnbx_snn.neurons.membrane.usable", lambda x, *rest: triton_runs(x) and usable(x, *rest))
    compare_membrane((CHUNK + 3, 2, 9), reset, None)  # against the loop, which needs no minute to be compiled


def triton_runs(x):
    return dispatch.kernels("lif", x.device.type) is lif_triton


def compare_membrane(size, reset, messages):
    beta, threshold = uniform(size[2]), 0.2 + uniform(size[2], seed=2)

    def run(drive, v, beta, threshold, z):
        spikes, state = membrane_scan(drive, beta, threshold, MembraneState(v, z), reset=reset, messages=messages)
        return spikes, state.v

    v = draw(*size[1:], seed=3)
    tensors = (draw(*size) + 0.2, v, beta, threshold, (v > 0).float())
    up = (draw(*size, seed=4), draw(*size[1:], seed=5))
    (values, gradients), (got_values, got) = both(run, tensors, up, None if messages else 4)
    assert 0.02 < values[0].mean() < 0.98
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(got_values, values, strict=True))
    for ours, theirs in zip(got, gradients, strict=True):
        close(ours, theirs)


def test_what_is_saved():
    """The input and an eighth; with messages one tensor, and a row, in place of the input."""
    for neighbours, tensors in ((None, 1 + 1 / 8), (TorusMessages(16), 1 + 1 / 16)):
        saved = {}

        def keep(tensor, saved=saved):
            saved[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        current = draw(16, 4, 16).to(DEVICE).requires_grad_()
        beta, threshold = uniform(16).to(DEVICE), torch.ones(16, device=DEVICE)
        with by_triton(), torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor):
            membrane_scan(current, beta, threshold, messages=neighbours)
        assert sum(saved.values()) == tensors * current.numel() * 4 + 2 * 64


def test_a_torus_too_large_for_a_program_takes_the_loop():
    x = torch.zeros(2, 1, 4, device=DEVICE)
    one = torch.ones((), device=DEVICE)
    with by_triton():
        assert usable(x, one, one, x[0], Surrogate("atan"), lif_triton.MOST_TOGETHER)
        assert not usable(x, one, one, x[0], Surrogate("atan"), lif_triton.MOST_TOGETHER + 1)


# Scans


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.complex64, torch.complex128])
@pytest.mark.parametrize("constant", [True, False])
def test_scan_equals_the_cpu(dtype, constant):
    T, B, S = scan_triton.CHUNK + 3, 3, 47  # 141 columns: more than a program
    decay = torch.randn(*((S,) if constant else (T, B, S)), dtype=dtype, generator=torch.Generator().manual_seed(0))
    decay = decay / (1 + decay.abs())
    decay.view(-1)[::5], decay.view(-1)[3::7] = 1.0, 0.0
    compare_scan(decay, T, B, S, dtype)


@pytest.mark.parametrize("T", [1, 2, scan_triton.CHUNK])
def test_scan_of_few_steps(T):
    compare_scan(uniform(5), T, 2, 5, torch.float32)
    compare_scan(uniform(T, 2, 5), T, 2, 5, torch.float32)


def compare_scan(decay, T, B, S, dtype):
    def values(*shape, seed):
        return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))

    results = []
    for device, context in (("cpu", nullcontext()), (DEVICE, by_triton())):
        arguments = (decay, values(T, B, S, seed=1), values(B, S, seed=2))
        leaves = [x.to(device).detach().requires_grad_() for x in arguments]
        with context:
            states = diagonal_scan(*leaves)
            gradients = torch.autograd.grad(states, leaves, values(T, B, S, seed=3).to(device))
            (alone,) = torch.autograd.grad(diagonal_scan(leaves[0].detach(), *leaves[1:]).abs().sum(), leaves[1:2])
        results.append([x.detach().cpu() for x in (states, *gradients, alone)])
    tolerance = 1e-5 if dtype in (torch.float32, torch.complex64) else 1e-13  # fused on the CPU and on a GPU only
    for ours, theirs in zip(results[1], results[0], strict=True):
        close(ours, theirs, tolerance)


def test_scan_of_views():
    conjugated = torch.view_as_complex(draw(3, 2)).conj()
    inputs = torch.view_as_complex(draw(3, 4, 6, 2)).transpose(0, 2)[:, :, :3]
    initial = torch.view_as_complex(draw(4, 3, 2))
    plain = diagonal_scan(conjugated.resolve_conj(), inputs.contiguous(), initial)
    with by_triton():
        got = diagonal_scan(conjugated.to(DEVICE), inputs.to(DEVICE), initial.to(DEVICE))
    close(got.cpu(), plain, 1e-6)


def test_the_gradient_of_a_constant_decay_loses_no_digits():
    """Its last term is 2^24, next to which a single-precision sum forgets every 1."""
    T = 24
    inputs = torch.ones(T, 1, 1, device=DEVICE)
    inputs[T - 2] = 2.0**24
    decay = torch.zeros(1, device=DEVICE, requires_grad=True)
    with by_triton():
        diagonal_scan(decay, inputs, torch.zeros(1, 1, device=DEVICE)).sum().backward()
    assert decay.grad.item() == 2.0**24 + T - 2


# Ternary products

SHAPES = [(1, 1, 1), (3, 70, 130), (70, 5, 67), (17, 64, 64)]  # rows, outputs, inputs


def ternary(*shape, seed=0):
    return torch.randint(-1, 2, shape, generator=torch.Generator().manual_seed(seed)).float()


def int8(*shape):
    return torch.randint(-128, 128, shape, generator=torch.Generator().manual_seed(1), dtype=torch.int8)


@pytest.mark.parametrize("shape", SHAPES)
def test_products_with_packed_weights_are_exact(shape):
    R, N, K = shape
    weight, x = ternary(N, K), int8(R, K)
    codes = pack_sign_bits(weight.to(torch.int8))
    expected = (x.double() @ weight.double().T).to(torch.int32)
    events = x > 50
    assert torch.equal(packed_product(x, codes, N), expected)  # unpacked, by torch
    with by_triton():
        assert torch.equal(ternary_triton.pack_weights(weight.to(DEVICE)).cpu(), codes)
        assert torch.equal(packed_product(x.to(DEVICE), codes.to(DEVICE), N).cpu(), expected)
        counted = packed_product(events.to(DEVICE).reshape(1, R, K), codes.to(DEVICE), N).cpu()
    assert torch.equal(counted, (events.double() @ weight.double().T).to(torch.int32).reshape(1, R, N))


@pytest.mark.parametrize("kind", ["events", "a negative", "a fraction", "codes", "no codes"])
def test_the_operator_gives_the_same_bits(kind, monkeypatch):
    R, K, sizes = 20, 70, (5, 33)
    x = int8(R, K).float() if "codes" in kind else (uniform(R, K) < 0.2).float()
    step = torch.tensor(0.25) if "codes" in kind else None
    x[3, 4] = {"a negative": -1.0, "a fraction": 0.5, "no codes": 200.0}.get(kind, x[3, 4])
    seen = []
    for name in ("_product", "_pack_events"):
        monkeypatch.setattr(ternary_triton, name, Seen(getattr(ternary_triton, name), name, seen))
    weights = [ternary(n, K, seed=n) for n in sizes]
    scales = [torch.tensor(0.5), torch.tensor(0.3)]

    def run(x, *latents):
        constants = [w.detach().to(x.device) for w in weights]
        return ternary_products(x, latents, constants, [s.to(x.device) for s in scales], step)

    step = None if step is None else step.to(DEVICE)
    (values, gradients), (got_values, got) = both(run, (x, *weights), [draw(R, n, seed=n) for n in sizes])
    assert all(torch.equal(ours, theirs) for ours, theirs in zip(got_values, values, strict=True))
    for ours, theirs in zip(got, gradients, strict=True):
        close(ours, theirs)
    expected = {"events": ["_pack_events", "_product", "_product"], "codes": ["_product", "_product"]}
    assert seen == expected.get(kind, [] if step is not None else ["_pack_events"])


class Seen:
    """A kernel whose launches are written down."""

    def __init__(self, kernel, name, seen):
        self.kernel, self.name, self.seen = kernel, name, seen

    def __getitem__(self, grid):
        self.seen.append(self.name)
        return self.kernel[grid]


def test_bad_arguments_of_packed_product(unchecked):
    codes = torch.zeros(3, dtype=torch.uint8)
    with pytest.raises(PnbxTypeError, match=r"x must be bool or int8, got torch\.float32"):
        packed_product(torch.zeros(2, 4), codes, 3)
    with pytest.raises(ShapeError, match=r"weights \[2, 4\] must be 2 bytes, got shape \[3\]"):
        packed_product(torch.zeros(2, 4, dtype=torch.int8), codes, 2)


# One operator, one place that chooses


def test_layers_take_the_kernels_by_themselves(monkeypatch):
    seen = []
    for module, name in ((lif_triton, "_forward"), (scan_triton, "_forward"), (lif_triton, "_backward")):
        monkeypatch.setattr(module, name, Seen(getattr(module, name), name, seen))
    x = draw(3, 2, 6).to(DEVICE).requires_grad_()
    with by_triton():
        for neuron in (LIF(0.9), LIF(0.9, primitive="lif_box")):
            neuron.to(DEVICE)(x)[0].sum().backward()
        Leaky(0.9).to(DEVICE).forward_sequence(x)
        diagonal_scan(uniform(6).to(DEVICE), x.detach(), x[0].detach())
    assert seen == ["_forward", "_backward", "_forward", "_backward", "_forward", "_forward"]


def test_a_ternary_layer_takes_the_kernels(monkeypatch):
    monkeypatch.setattr("pnbx_snn.kernels.ternary.SMALLEST", 1)
    monkeypatch.setattr("pnbx_snn.kernels.ternary.FEWEST_ROWS", 1)
    seen, layer = [], BitLinear(12, 5)
    monkeypatch.setattr(ternary_triton, "_product", Seen(ternary_triton._product, "_product", seen))
    x = (uniform(2, 3, 12) < 0.3).float()
    expected = layer(x)
    with by_triton():
        assert torch.equal(layer.to(DEVICE)(x.to(DEVICE)).cpu(), expected)
    assert seen == ["_product"]


@pytest.mark.parametrize("torus", [(0, 0, 0), (3, 4, 1)])
def test_the_lif_operator_keeps_the_contract_of_torch(torus):
    tensors = [draw(3, 2, 12), uniform(12), uniform(12, seed=2), draw(2, 12, seed=3)]
    leaves = [tensor.to(DEVICE).requires_grad_() for tensor in tensors]
    z = torch.zeros(2, 12, device=DEVICE).requires_grad_() if torus[0] else None
    kind = "membrane/zero/atan" if torus[0] else "leaky/subtract/atan"
    with by_triton():
        operator, arguments = torch.ops.pnbx.lif_forward.default, (*leaves, z, kind, (1.0, 3.14), torus, not torus[0])
        torch.library.opcheck(operator, arguments, test_utils=("test_schema", "test_faketensor"))


def test_devices_without_kernels():
    assert dispatch.kernels("lif", "meta") is None
    assert dispatch.kernels("scan", "mps") is None
    if GPU is None:
        assert not triton_jit.has_driver("cuda")
        assert dispatch.kernels("ternary", "cuda") is None
        assert dispatch.kernels("lif", "cpu").__name__ == "pnbx_snn.kernels.cpu.lif"
        with dispatch.interpreted():
            assert dispatch.kernels("lif", "cpu") is lif_triton


def test_a_driver_of_the_device_and_a_triton_that_can_compile_them_are_needed(monkeypatch):
    target = SimpleNamespace(get_current_target=lambda: SimpleNamespace(backend="cuda"))
    monkeypatch.setattr(triton, "runtime", SimpleNamespace(driver=SimpleNamespace(active=target)))
    assert triton_jit.has_driver("cuda")
    assert not triton_jit.has_driver("xpu")
    monkeypatch.setattr(triton, "__version__", "3.3.1+git1")
    assert not triton_jit.has_driver("cuda")


@pytest.fixture
def afresh(monkeypatch):
    """Let this test import the kernels anew, and forget what it has imported."""
    ours = [name for name in sys.modules if name.startswith("pnbx_snn.kernels.") and "triton" in name]
    for name in sorted(ours, reverse=True):
        parent, _, leaf = name.rpartition(".")
        monkeypatch.delattr(sys.modules[parent], leaf)
    for name in ours:
        monkeypatch.delitem(sys.modules, name)
    caches = (dispatch._load, dispatch._driven)
    for cache in caches:
        cache.cache_clear()
    yield
    for cache in caches:
        cache.cache_clear()


def test_without_triton_there_are_none(afresh, monkeypatch):
    monkeypatch.setitem(sys.modules, "triton", None)
    assert [dispatch.kernels(s, d) for s in ("lif", "scan", "ternary") for d in ("cuda", "xpu")] == [None] * 6
    assert dispatch.kernels("lif", "cpu").__name__ == "pnbx_snn.kernels.cpu.lif"


# Compiled for a GPU that is not there

WHOLE = ("T", "M", "N", "K", "R", "S", "chunks", "columns", "step", "row_bytes", "x_stride", "gs_stride", "gm_stride")


def ptx(kernel, constants, options, **pointers):
    """Compile to machine code for an H100, by the assembler in Triton's wheel, and return the assembly."""
    from triton.backends.compiler import GPUTarget
    from triton.compiler import ASTSource

    kinds = dict.fromkeys(("p0", "p1", "weight"), "fp32") | dict.fromkeys(WHOLE, "i32")
    kinds |= dict.fromkeys(constants, "constexpr") | {name: f"*{kind}" for name, kind in pointers.items()}
    names = kernel.arg_names
    signature = {name: kinds.get(name, "*fp32") for name in names}
    source = ASTSource(kernel, signature, {(names.index(name),): value for name, value in constants.items()})
    compiled = triton.compile(source, target=GPUTarget("cuda", 90, 32), options={"num_warps": 4, **options})
    assert len(compiled.asm["cubin"]) > 1000
    return compiled.asm["ptx"]


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="Triton's wheels hold NVIDIA's assembler on Linux")
def test_kernels_compile_for_an_nvidia_gpu_and_fuse_nothing(afresh, tmp_path, monkeypatch):
    """What Triton interprets it need not be able to compile."""
    monkeypatch.delenv("TRITON_INTERPRET", raising=False)
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path))
    lif, torus, scan, ternary, jit = (
        importlib.import_module(f"pnbx_snn.kernels.triton.{name}")
        for name in ("lif", "lif_torus", "scan", "ternary", "jit")
    )
    sizes = {"CHUNK": 8, "BLOCK": 128}
    exact = [
        ptx(lif._forward, {"membranes": None, "STEP": "leaky", "RESET": "zero", **sizes}, jit.EXACT),
        ptx(lif._backward, {"STEP": "lif_box", "RESET": "subtract", "SURROGATE": "sigmoid", **sizes}, jit.EXACT),
        ptx(torus._forward, {"membranes": None, "RESET": "zero", "BLOCK": 512}, jit.EXACT),
        ptx(torus._backward, {"g_membranes": None, "RESET": "none", "SURROGATE": "atan", "BLOCK": 512}, jit.EXACT),
    ]
    assert sum(text.count("fma.") for text in exact) == 0
    assert "fma.rn.f32" in ptx(scan._backward, {"COMPLEX": False, "MOVING": False, **sizes}, {})
    tile = {"EVENTS": False, "ROWS": 16, "OUTPUTS": 64, "INPUTS": 64}
    assert "s32.s8.s8" in ptx(ternary._product, tile, {}, x="i8", codes="u8", y="i32")
