"""What compiles is what was trained, or it is refused by name: each way in which it once was not, corrected."""

import warnings

import nir
import norse.torch as norse
import numpy as np
import pytest
import snntorch
import torch
from torch import nn

import pnbx_snn
from module_endings import BAD, GOOD, SAMPLES_MIXED, HandNeuron
from neuromorphic import errors, run
from neuromorphic.compiler import compile_module, compile_nir
from neuromorphic.compiler.modules.agreement import READOUTS
from neuromorphic.errors import CompileError, InputError
from neuromorphic.ops import Dense, Readout

T, B, N_IN, N, CLASSES = 12, 4, 8, 6, 3


@pytest.fixture(autouse=True)
def _without_gradients():
    with torch.no_grad():
        yield


def spikes(*shape, seed=0, rate=0.4):
    return (torch.rand(*shape, generator=torch.Generator().manual_seed(seed)) < rate).float()


def compiled(net, sample, **options):
    """Compile; return the program and what it warned of."""
    options = {"weight_bits": 15} | options
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        program = compile_module(net, sample, **options)
    return program, [str(w.message) for w in caught if issubclass(w.category, errors.CompileWarning)]


class Net(nn.Module):
    """A layer, neurons, a linear read-out, and what forward does with its steps."""

    def __init__(self, end=None, neuron=None, *, order=lambda steps: steps, batch_first=False):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.out = nn.Linear(N_IN, N), nn.Linear(N, CLASSES)
        self.lif = neuron or snntorch.Leaky(0.9)
        self.end, self.order, self.axis = end, order, int(batch_first)
        with torch.no_grad():
            self.fc.weight.mul_(3)

    def forward(self, x):
        mem, outs = self.lif.reset_mem(), []
        for x_t in self.order(x.unbind(self.axis)):
            spk, mem = self.lif(self.fc(x_t), mem)
            outs.append(self.out(spk.to(x.dtype)))
        o = torch.stack(outs)
        return o if self.end is None else self.end(o)


class Heads(Net):
    """Two read-outs of the same spikes."""

    def __init__(self, end):
        super().__init__(end)
        self.out2 = nn.Linear(N, CLASSES)

    def forward(self, x):
        mem, first, second = self.lif.reset_mem(), [], []
        for x_t in x:
            spk, mem = self.lif(self.fc(x_t), mem)
            first.append(self.out(spk))
            second.append(self.out2(spk))
        return self.end(torch.stack(first), torch.stack(second))


class Ended(nn.Module):
    """A network that makes one step, and a module behind it."""

    def __init__(self, *modules, steps=1):
        super().__init__()
        self.net, self.steps = nn.Sequential(*modules), steps

    def forward(self, x):
        return torch.stack([self.net(step) for step in x])


# ---- A1: what happens after the last module


def test_a_negated_read_out_is_no_read_out():
    """The largest of ``-out`` is the smallest of ``out``: labels would be others."""
    x = spikes(T, B, N_IN)
    with pytest.raises(CompileError, match=r"(?i)(neg|minus|-1).*"):
        compile_module(Net(lambda o: -o), x, num_steps=T)


def test_a_neuron_of_another_library_at_the_end():
    """Its surrogate is a module of its own and its spikes are not the layer's outputs: no program without it."""
    with pytest.raises(CompileError, match="HandNeuron"):
        compile_module(Ended(nn.Linear(N_IN, N), HandNeuron()), spikes(T, B, N_IN), num_steps=T)
    with pytest.raises(CompileError, match="HandNeuron"):
        compile_module(Ended(nn.Linear(N_IN, N), HandNeuron(), nn.Linear(N, 3)), spikes(T, B, N_IN), num_steps=T)


@pytest.mark.parametrize("name", [n for n, e in GOOD.items() if e.shape == "stack" and e.read == "sum"])
def test_endings_that_keep_the_order_of_read_outs(name):
    """Sums and means over time, softmax over classes, positive factors and views change no argmax: they pass."""
    x, ending = spikes(T, B, N_IN), GOOD[name]
    net = Net(lambda o: ending.returned(o, o))
    program, _ = compiled(net, x, num_steps=T)
    returned = net(x)
    if returned.ndim == 3:
        returned = returned.sum(1 if ending.batch_first else 0)
    np.testing.assert_array_equal(run(program, x.numpy()).labels(), returned.argmax(-1).numpy())
    assert program.metadata["agreement"]["labels_equal"] == 1.0


def test_a_softmax_is_noted():
    """It passes, and the program's sums are not probabilities: a sentence says so."""
    program, _ = compiled(Net(lambda o: torch.softmax(o.sum(0), -1)), spikes(T, B, N_IN), num_steps=T)
    assert any("softmax" in sentence for sentence in program.metadata["assumptions"])


@pytest.mark.parametrize("name", [n for n, e in BAD.items() if e.heads == 1])
def test_endings_that_do_not_are_refused(name):
    """Each makes another argmax, or none, of some read-outs: refused, even where a sample's labels do not show it."""
    x, ending = spikes(T, B, N_IN), BAD[name]
    with pytest.raises(CompileError):
        compile_module(Net(lambda o: ending.returned(o, o)), x, num_steps=T)


@pytest.mark.parametrize("name", [n for n, e in BAD.items() if e.heads == 2])
def test_read_outs_that_meet_behind_the_last_module(name):
    """A program has no product, difference, maximum of two read-outs, and its label is that of one."""
    with pytest.raises(CompileError):
        compile_module(Heads(BAD[name].returned), spikes(T, B, N_IN), num_steps=T)


def test_a_sum_made_in_the_loop():
    """``total + out`` in every step is the sum over time, as tutorials write it."""

    class Total(Net):
        def forward(self, x):
            mem, total = self.lif.reset_mem(), None
            for x_t in x:
                spk, mem = self.lif(self.fc(x_t), mem)
                total = self.out(spk) if total is None else total + self.out(spk)
            return total

    x, net = spikes(T, B, N_IN), Total()
    program, _ = compiled(net, x, num_steps=T)
    np.testing.assert_array_equal(run(program, x.numpy()).labels(), net(x).argmax(-1).numpy())


def test_a_buffer_filled_in_the_loop():
    """``record[t] = out`` is a stack."""

    class Recorded(Net):
        def forward(self, x):
            mem, record = self.lif.reset_mem(), x.new_zeros(*x.shape[:2], CLASSES)
            for t in range(len(x)):
                spk, mem = self.lif(self.fc(x[t]), mem)
                record[t] = self.out(spk)
            return record

    x, net = spikes(T, B, N_IN), Recorded()
    program, _ = compiled(net, x, num_steps=T)
    np.testing.assert_array_equal(run(program, x.numpy()).labels(), net(x).sum(0).argmax(-1).numpy())


ROUNDED = {
    "to integers": lambda o: (o.mean(0) / 10).int(),
    "to half precision": lambda o: (o.sum(0) * 1e5).half(),
    "tanh": lambda o: torch.tanh(100 * (o.sum(0) + 20)),
    "sigmoid": lambda o: torch.sigmoid(100 * (o.sum(0) + 20)),
    "exp": lambda o: torch.exp(100 * (o.sum(0) + 20)),
    "times 0": lambda o: o.sum(0) * 1e-46,
    "times infinity": lambda o: (o.sum(0) + 20) * float("inf"),
}


@pytest.mark.parametrize("name", ROUNDED)
def test_labels_are_those_of_what_is_returned(name):
    """Where an ending rounds or saturates, classes fall together and the first of them is the label: 0 for all here."""
    x, net = spikes(T, B, N_IN), Net(ROUNDED[name])
    right = net(x).argmax(-1).numpy()
    assert (right == 0).all()
    try:
        program, warned = compiled(net, x, num_steps=T)
    except CompileError:
        return
    equal = float((run(program, x.numpy()).labels() == right).mean())
    assert program.metadata["agreement"]["labels_equal"] == equal
    assert equal >= 0.99 or warned


def test_an_output_of_unknown_origin():
    """Through NumPy nothing can be followed: what comes back is no read-out, though another output is."""
    net = Net(lambda o: (torch.from_numpy(-o.numpy()), o))
    try:
        _, warned = compiled(net, spikes(T, B, N_IN), num_steps=T)
    except CompileError:
        return
    assert any("output" in sentence for sentence in warned)


def test_samples_may_not_be_mixed():
    """A program runs each sample by itself; what one sample's answer takes from others is refused."""
    for name in SAMPLES_MIXED:
        with pytest.raises(CompileError):
            compile_module(Net(lambda o, name=name: BAD[name].returned(o, o)), spikes(T, B, N_IN), num_steps=T)


# ---- A1: hooks, patches, and what changes during the run


def hooked(net, which, hook, *, before=False):
    module = net.get_submodule(which)
    (module.register_forward_pre_hook if before else module.register_forward_hook)(hook)
    return net


ALTERED = {
    "hook on the read-out": lambda: hooked(Net(), "out", lambda m, i, o: -o),
    "hook on a layer": lambda: hooked(Net(), "fc", lambda m, i, o: 2 * o),
    "hook on neurons": lambda: hooked(Net(), "lif", lambda m, i, o: (o[0] * 0, o[1])),
    "hook before neurons": lambda: hooked(Net(), "lif", lambda m, i: (i[0] + 0.3, *i[1:]), before=True),
}


@pytest.mark.parametrize("name", ALTERED)
def test_hooks_that_alter_what_modules_give(name):
    """The tensor that leaves such a module is not what its weights make: another network."""
    with pytest.raises(CompileError, match="hook|no known origin"):
        compile_module(ALTERED[name](), spikes(T, B, N_IN), num_steps=T)


def test_hooks_that_only_look():
    seen = []
    net = hooked(Net(), "lif", lambda m, i, o: seen.append(o[0].mean()))
    program, _ = compiled(net, spikes(T, B, N_IN), num_steps=T)
    assert program.metadata["agreement"]["spikes_equal"] >= 0.99
    assert seen


def test_a_forward_of_its_own():
    net = Net()
    net.out.forward = lambda x: -nn.Linear.forward(net.out, x)
    with pytest.raises(CompileError, match=r"out \(Linear\).*forward"):
        compile_module(net, spikes(T, B, N_IN), num_steps=T)


class Hidden(nn.Module):
    """A loop over neurons with hidden states, and what it does to them in every step."""

    def __init__(self, between):
        super().__init__()
        torch.manual_seed(0)
        self.net = nn.Sequential(nn.Linear(N_IN, N), snntorch.Leaky(0.9, init_hidden=True))
        self.between = between
        with torch.no_grad():
            self.net[0].weight.mul_(3)

    def forward(self, x):
        self.net[1].reset_mem()
        out = []
        for x_t in x:
            out.append(self.net(x_t))
            self.between(self.net)
        return torch.stack(out)


def test_hidden_states_are_followed():
    program, _ = compiled(Hidden(lambda net: None), spikes(T, B, N_IN), num_steps=T)
    assert program.metadata["agreement"]["spikes_equal"] >= 0.99


@pytest.mark.parametrize(
    "between",
    [
        lambda net: net[1].mem.mul_(0.3),
        lambda net: setattr(net[1], "mem", net[1].mem * 0.3),
        lambda net: net[1].reset_mem(),
        lambda net: net[0].weight.data.mul_(0.9),
    ],
    ids=["in place", "assigned", "reset", "weights"],
)
def test_hidden_states_and_weights_that_the_network_changes(between):
    """A program keeps its weights, and a neuron the state with which its last step ended."""
    with pytest.raises(CompileError):
        compile_module(Hidden(between), spikes(T, B, N_IN), num_steps=T)


# ---- A1: read-outs are compared


class Membranes(Net):
    """Ends in the membranes of neurons without a reset."""

    def __init__(self, threshold=1.0):
        super().__init__()
        self.li = snntorch.Leaky(0.95, reset_mechanism="none", threshold=threshold)

    def forward(self, x):
        mem, values, states = self.lif.reset_mem(), self.li.reset_mem(), []
        for x_t in x:
            spk, mem = self.lif(self.fc(x_t), mem)
            _, values = self.li(self.out(spk), values)
            states.append(values)
        return torch.stack(states)


@pytest.mark.parametrize("net", [Net, Membranes])
def test_read_outs_are_compared_too(net):
    """Spikes alone say nothing of logits: their labels and largest error, relative to their range, are told."""
    x = spikes(60, B, N_IN)
    agreement = compiled(net(), x, num_steps=60)[0].metadata["agreement"]
    assert agreement.get("labels_equal", 1.0) == 1.0
    assert "labels_equal" in agreement or net is Membranes
    assert len(agreement["readouts"]) == 1
    assert all(0 <= error <= 0.02 for error in agreement["readouts"].values())


@pytest.mark.parametrize("delay", [True, False])
@pytest.mark.parametrize("reset", ["subtract", "zero"])
def test_membranes_of_neurons_that_reset(reset, delay):
    """Where a network returns them they are read-outs: in real units, and compared."""

    class Returned(Net):
        def forward(self, x):
            mem, states = self.lif.reset_mem(), []
            for x_t in x:
                _, mem = self.lif(self.fc(x_t), mem)
                states.append(mem)
            return torch.stack(states)

    x, net = spikes(T, B, N_IN), Returned(neuron=snntorch.Leaky(0.9, reset_mechanism=reset, reset_delay=delay))
    try:
        program, warned = compiled(net, x, num_steps=T)
    except CompileError:
        return
    assert program.metadata["agreement"]["readouts"]
    error = max(program.metadata["agreement"]["readouts"].values())
    assert error <= 0.05 or warned
    units = np.asarray(program.metadata["units"]["lif"])
    off = np.abs(run(program, x.numpy()).variables["lif.v"] * units - net(x).numpy()).max()
    assert off / np.abs(net(x).numpy()).max() == pytest.approx(error, abs=1e-3)


def test_a_membrane_off_by_its_size_is_no_agreement():
    """A read-out of neurons that never fire: every spike is equal, and its membrane was off by 41 to 100 %."""
    x = spikes(60, B, N_IN)
    for bits, largest in ((8, READOUTS), (15, 0.004)):
        program, warned = compiled(Membranes(threshold=50.0), x, num_steps=60, weight_bits=bits)
        error = max(program.metadata["agreement"]["readouts"].values())
        assert error <= largest or warned, (bits, error)


# ---- A2: scales


def layer_net(weight, bias, neuron):
    fc = nn.Linear(weight.shape[1], weight.shape[0])
    with torch.no_grad():
        fc.weight.copy_(weight)
        fc.bias.copy_(bias)

    class Looped(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.lif = fc, neuron

        def forward(self, x):
            mem, out = self.lif.reset_mem(), []
            for x_t in x:
                spk, mem = self.lif(self.fc(x_t), mem)
                out.append(spk)
            return torch.stack(out)

    return Looped()


@pytest.mark.parametrize("bits", [8, 15])
@pytest.mark.parametrize("factor", [1 / 300, 300.0, 1e-6])
def test_rows_that_differ_in_scale(factor, bits):
    """Weights and threshold of a neuron times the same factor: the same spikes, so both halves fire alike."""
    w = torch.randint(-10, 30, (5, N_IN), generator=torch.Generator().manual_seed(1)) / 64
    theta = torch.cat([torch.ones(5), torch.full((5,), factor)]) * (1 + 1 / 128)  # no membrane meets it exactly
    net = layer_net(torch.cat([w, w * factor]), torch.zeros(10), snntorch.Leaky(0.875, threshold=theta))
    x = spikes(80, B, N_IN)
    rates = net(x).mean(dim=(0, 1))
    assert rates.max() > 0.1
    program, _ = compiled(net, x, num_steps=80, weight_bits=bits)
    got = run(program, x.numpy()).spikes()["lif"]
    np.testing.assert_allclose(got[..., 5:].mean(), got[..., :5].mean(), atol=0.001)
    assert (got == net(x).numpy()).mean() > 0.999


@pytest.mark.parametrize("bits", [8, 15])
def test_one_large_weight_among_small_ones(bits):
    """60 in one row leaves the rows of 0.1s their spikes."""
    w = torch.rand(6, N_IN, generator=torch.Generator().manual_seed(2)) * 0.2
    w[0, 0] = 60.0
    net = layer_net(w, torch.zeros(6), snntorch.Leaky(0.9))
    x = spikes(80, B, N_IN)
    right = net(x).numpy()
    program, _ = compiled(net, x, num_steps=80, weight_bits=bits)
    got = run(program, x.numpy()).spikes()["lif"]
    assert right[..., 1:].mean() > 0.05
    np.testing.assert_allclose(got[..., 1:].mean(), right[..., 1:].mean(), atol=0.005)


def test_a_channel_whose_norm_is_small():
    """A batch norm's gain of one channel is 1/200 of another's; its threshold too: it fires as before."""
    torch.manual_seed(3)
    theta = torch.tensor([1.0, 1 / 200])[:, None, None]
    net = Ended(nn.Conv2d(1, 2, 3), nn.BatchNorm2d(2), snntorch.Leaky(0.8, threshold=theta, init_hidden=True)).eval()
    with torch.no_grad():
        net.net[1].weight.copy_(torch.tensor([1.0, 1 / 200]))
        net.net[1].bias.copy_(torch.tensor([0.1, 0.1 / 200]))
        net.net[1].running_var.fill_(0.05)
    x = spikes(40, B, 1, 6, 6)
    right = net(x).numpy().reshape(40, B, 2, -1)
    assert right[:, :, 1].mean() > 0.05
    net.net[2].reset_mem()
    program, _ = compiled(net, x, num_steps=40)
    got = run(program, x.numpy().reshape(40, B, -1)).spikes()["net_2"].reshape(right.shape)
    assert (got == right).mean() > 0.99
    np.testing.assert_allclose(got[:, :, 1].mean(), right[:, :, 1].mean(), atol=0.01)


def test_a_norm_behind_ternary_weights_leaves_them_ternary():
    """The norm's factor belongs into thresholds and gains: three different weights, not 57."""
    torch.manual_seed(4)

    class Ternary(nn.Module):
        def __init__(self):
            super().__init__()
            self.fc, self.norm, self.lif = pnbx_snn.BitLinear(N_IN, 12), nn.BatchNorm1d(12), pnbx_snn.LIF(0.9)

        def forward(self, x):
            return self.lif(self.norm(self.fc(x).flatten(0, 1)).reshape(*x.shape[:2], -1))[0]

    net, x = Ternary().eval(), spikes(40, B, N_IN)
    with torch.no_grad():
        net.norm.running_var.uniform_(0.001, 0.02)
        net.norm.weight.uniform_(-0.5, 0.5)
        net.norm.bias.uniform_(-0.1, 0.3)
    program, _ = compiled(net, x, num_steps=40, weight_bits=8)
    assert all(dense.is_ternary for dense in program.of_type(Dense))
    assert len(program.of_type(Dense)) == 1
    assert program.metadata["agreement"]["spikes_equal"] > 0.99


@pytest.mark.parametrize("bits", [8, 15])
def test_a_unit_that_is_too_fine(bits):
    """Thresholds beyond 2^23 fine units made zeros of all weights: the coarser unit fits, and 181 spikes are 181."""
    rng = np.random.default_rng(0)
    w, one = rng.uniform(-0.5, 1, (20, 100)), np.ones(20)
    graph = nir.NIRGraph.from_list(nir.Linear(w), nir.LIF(tau=0.2 * one, r=one, v_leak=0 * one, v_threshold=one))
    x = (rng.random((500, 1, 100)) < 0.1).astype(np.int8)
    v, count = np.zeros(20), 0
    for step in x[:, 0]:
        v = v + 1e-4 / 0.2 * (w @ step - v)
        z = v > 1.0
        count, v = count + int(z.sum()), np.where(z, 0, v)
    if count == 0:  # make it fire: the same units, ten times the input
        x = (rng.random((4000, 1, 100)) < 0.9).astype(np.int8)
        v = np.zeros(20)
        for step in x[:, 0]:
            v = v + 1e-4 / 0.2 * (w @ step - v)
            z = v > 1.0
            count, v = count + int(z.sum()), np.where(z, 0, v)
    assert count > 100
    program = compile_nir(graph, num_steps=len(x), dt=1e-4, weight_bits=bits)
    got = int(run(program, x).spikes()[program.ops[-1].name].sum())
    assert abs(got - count) <= 0.02 * count, (got, count)


def test_inputs_of_15_bits():
    """0..32767 at 8 bits: a membrane that clips is another network; it agrees or it is said."""
    torch.manual_seed(5)
    net = layer_net(torch.rand(6, N_IN) / 200000 - 8e-7, torch.zeros(6), snntorch.Leaky(0.9))
    x = torch.randint(0, 32768, (40, B, N_IN)).float()
    right = net(x).numpy()
    assert 0.1 < right.mean() < 0.9
    program, warned = compiled(net, x, num_steps=40, weight_bits=8, input_scale=1.0, input_range=(0, 32767))
    got = run(program, x.numpy()).spikes()["lif"]
    assert (got == right).mean() > 0.99 or warned


def test_a_population_that_cannot_fire_is_told():
    """Weights too small for their threshold: a note in the program, and a warning."""
    net = layer_net(torch.full((4, N_IN), 1e-3), torch.zeros(4), snntorch.Leaky(0.5))
    program, warned = compiled(net, spikes(20, B, N_IN), num_steps=20)
    assert any("lif" in sentence and "fire" in sentence for sentence in program.metadata["assumptions"])
    assert any("fire" in sentence for sentence in warned)


def test_a_population_that_always_fires_is_told():
    net = layer_net(torch.full((4, N_IN), 1e-3), torch.full((4,), 9.0), snntorch.Leaky(0.5))
    program, warned = compiled(net, spikes(20, B, N_IN), num_steps=20)
    assert any("lif" in sentence and "fire" in sentence for sentence in program.metadata["assumptions"])
    assert any("fire" in sentence for sentence in warned)


# ---- A3: values on the way in


def counts(dtype):
    return torch.randint(0, 6, (T, B, N_IN), generator=torch.Generator().manual_seed(6)).to(dtype)


class Casting(Net):
    def forward(self, x):
        return super().forward(x.to(self.fc.weight.dtype))


@pytest.mark.parametrize("dtype", [torch.float32, torch.float64, torch.int64, torch.uint8])
def test_integer_counts_are_exact(dtype):
    """0..5 are integers as a program's: exact, whatever their dtype."""
    x = counts(dtype)
    net = Casting().to(dtype) if dtype.is_floating_point else Casting()
    program, _ = compiled(net, x, num_steps=T)
    assert program.metadata["agreement"]["spikes_equal"] >= 0.99
    assert program.metadata["agreement"]["labels_equal"] == 1.0
    as_given = program.prepare_inputs(x.numpy())
    np.testing.assert_array_equal(as_given * program.input.scale, x.numpy())
    np.testing.assert_array_equal(program.prepare_inputs(x.double().numpy()), as_given)


@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int64, np.uint8, np.int16])
def test_pixels_are_no_spikes(dtype):
    """0..255 into an input of 0 and 1: clipping them to ones gives other labels."""
    program, _ = compiled(Net(), spikes(T, B, N_IN), num_steps=T)
    pixels = np.arange(T * B * N_IN).reshape(T, B, N_IN) % 256
    with pytest.raises(InputError, match="0..1"):
        program.prepare_inputs(pixels.astype(dtype))


@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_fractions_are_no_spikes(dtype):
    """Fractions in [0, 1) rounded to 0 and 1 are another sample."""
    program, _ = compiled(Net(), spikes(T, B, N_IN), num_steps=T)
    fractions = np.random.default_rng(0).random((T, B, N_IN)).astype(dtype)
    with pytest.raises(InputError):
        program.prepare_inputs(fractions)


def test_spikes_of_any_dtype_are_the_same():
    x = spikes(T, B, N_IN).numpy()
    program, _ = compiled(Net(), spikes(T, B, N_IN), num_steps=T)
    for dtype in (np.float32, np.float64, np.float16, np.int8, np.uint8, np.int64, np.bool_):
        np.testing.assert_array_equal(program.prepare_inputs(x.astype(dtype)), x.astype(np.int32))


def test_an_analog_sample_gets_a_scale_that_is_told():
    """Without a scale, fractions became 0 and 1 (0.931 of spikes); the sample says which scale is right."""
    x = torch.rand(T, B, N_IN, generator=torch.Generator().manual_seed(7))
    program, _ = compiled(Net(), x, num_steps=T)
    assert program.metadata["agreement"]["spikes_equal"] >= 0.99
    assert program.input.scale < 1 / 64
    assert any("scale" in sentence for sentence in program.metadata["assumptions"])
    back = program.prepare_inputs(x.numpy()) * program.input.scale
    assert np.abs(back - x.numpy()).max() <= program.input.scale * 0.51


def test_a_sample_out_of_a_given_range_is_not_clipped_silently():
    """Values up to 3 where 1.27 is the most: refused, or measured and warned of."""
    x = 3 * torch.rand(T, B, N_IN, generator=torch.Generator().manual_seed(7))
    try:
        program, warned = compiled(Net(), x, num_steps=T, input_scale=0.01, input_range=(0, 127))
    except (CompileError, InputError):
        return
    assert warned
    assert program.metadata["agreement"]["spikes_equal"] < 0.99


# ---- A4: axes


def hidden_chain(inputs, outputs=N):
    torch.manual_seed(8)
    return nn.Sequential(nn.Linear(inputs, outputs), snntorch.Leaky(0.9, init_hidden=True, threshold=0.5))


def test_samples_of_one_feature():
    """[50, 1] into a network that makes one step: 1 step of 50 samples, not 50 steps of one."""
    net, x = hidden_chain(1), torch.rand(50, 1, generator=torch.Generator().manual_seed(9)).round()
    agreement = compiled(net, x, num_steps=1)[0].metadata["agreement"]
    assert (agreement["steps"], agreement["samples"], agreement["spikes_equal"]) == (1, 50, 1.0)


def test_images():
    """[6, 1, 8, 8] into a convolution: 1 step of 6 samples."""
    torch.manual_seed(10)
    net = nn.Sequential(nn.Conv2d(1, 2, 3), snntorch.Leaky(0.9, init_hidden=True, threshold=0.3))
    agreement = compiled(net, spikes(6, 1, 8, 8), num_steps=1)[0].metadata["agreement"]
    assert (agreement["steps"], agreement["samples"]) == (1, 6)
    assert agreement["spikes_equal"] >= 0.99


@pytest.mark.parametrize("shape", [(4, 12), (12, 12), (1, 12), (4, 1)])
def test_batch_first(shape):
    """[4, 12, 8], read along its second axis: 12 steps of 4 samples."""
    samples, steps = shape
    net, x = Net(batch_first=True), spikes(samples, steps, N_IN)
    program, _ = compiled(net, x, num_steps=steps)
    agreement = program.metadata["agreement"]
    assert (agreement["steps"], agreement["samples"]) == (steps, samples)
    assert agreement["spikes_equal"] >= 0.99
    np.testing.assert_array_equal(run(program, x.transpose(0, 1).numpy()).labels(), net(x).sum(0).argmax(-1).numpy())


ORDERS = {
    "in reverse": lambda steps: steps[::-1],
    "twice": lambda steps: [step for step in steps for _ in range(2)],
    "every second": lambda steps: steps[::2],
    "without the first": lambda steps: steps[1:],
    "without the last": lambda steps: steps[:-1],
    "two swapped": lambda steps: [steps[1], steps[0], *steps[2:]],
    "the first always": lambda steps: [steps[0] for _ in steps],
    "one twice": lambda steps: [*steps[:-1], steps[-2]],
}


@pytest.mark.parametrize("batch_first", [False, True])
@pytest.mark.parametrize("name", ORDERS)
def test_steps_are_read_once_and_in_order(name, batch_first):
    """A program is given the sample's steps one after the other; a network that reads them otherwise is another one."""
    x = spikes(B, T, N_IN) if batch_first else spikes(T, B, N_IN)
    with pytest.raises(CompileError, match="(?i)step"):
        compile_module(Net(order=ORDERS[name], batch_first=batch_first), x, num_steps=T)


@pytest.mark.parametrize("given", [T - 1, T + 1, 1, 2 * T])
def test_num_steps_that_contradicts_the_sample(given):
    with pytest.raises(CompileError, match=rf"num_steps.*{given}.*{T}|num_steps.*{T}.*{given}"):
        compile_module(Net(), spikes(T, B, N_IN), num_steps=given)


def test_num_steps_is_the_samples():
    assert compiled(Net(), spikes(T, B, N_IN))[0].num_steps == T
    assert compiled(hidden_chain(N_IN), spikes(B, N_IN))[0].num_steps == 1


def test_an_agreement_below_its_bound_is_a_warning():
    """Where less than 99 % of the spikes of a layer are equal, the program says so in a warning and in its metadata."""
    torch.manual_seed(11)
    net = norse.SequentialState(nn.Linear(N_IN, 20), norse.LIFRecurrentCell(20, 20), nn.Linear(20, CLASSES))

    class Looped(nn.Module):
        def __init__(self):
            super().__init__()
            self.net = net

        def forward(self, x):
            state, out = None, []
            for x_t in x:
                o, state = self.net(x_t, state)
                out.append(o)
            return torch.stack(out)

    with torch.no_grad():
        net[0].weight.mul_(8)
        net[1].recurrent_weights.mul_(4)  # chaotic: what is rounded is amplified
    x = spikes(200, B, N_IN)
    program, warned = compiled(Looped(), x, num_steps=200, weight_bits=8)
    assert isinstance(program.ops[-1], Readout)
    assert program.metadata["agreement"]["spikes_equal"] < 0.99
    assert any("99" in sentence for sentence in warned)
    assert any("99" in sentence for sentence in program.metadata["assumptions"])
