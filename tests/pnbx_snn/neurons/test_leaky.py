"""Leaky in unchanged snnTorch scripts: the same numbers, none of the traps."""

import copy
import gc
import io
import pickle
import subprocess
import sys
import textwrap
import warnings
import weakref

import pytest
import snntorch
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from snntorch import functional, utils
from snntorch import surrogate as snn_surrogate
from torch import nn
from torch.utils.checkpoint import checkpoint
from torch.utils.data import DataLoader, TensorDataset

import pnbx_snn
from pnbx_snn.errors import PnbxError, PnbxTypeError, ShapeError
from pnbx_snn.neurons.leaky import Leaky
from pnbx_snn.surrogate import Surrogate

KINDS = [snntorch.Leaky, Leaky]


@pytest.fixture(autouse=True)
def own_list():
    """Give each test an empty list of snnTorch's."""
    kept = snntorch.SpikingNeuron.instances[:]
    snntorch.SpikingNeuron.instances.clear()
    yield
    snntorch.SpikingNeuron.instances[:] = kept


# ---- scripts that run unchanged


class TutorialFive(nn.Module):
    """The network of snnTorch's tutorial 5, smaller."""

    def __init__(self, kind):
        super().__init__()
        self.fc1 = nn.Linear(20, 30)
        self.lif1 = kind(beta=0.95)
        self.fc2 = nn.Linear(30, 5)
        self.lif2 = kind(beta=0.95)

    def forward(self, x):
        mem1 = self.lif1.init_leaky()
        mem2 = self.lif2.init_leaky()
        spk2_rec, mem2_rec = [], []
        for _ in range(12):
            spk1, mem1 = self.lif1(self.fc1(x), mem1)
            spk2, mem2 = self.lif2(self.fc2(spk1), mem2)
            spk2_rec.append(spk2)
            mem2_rec.append(mem2)
        return torch.stack(spk2_rec), torch.stack(mem2_rec)


def trained(kind):
    torch.manual_seed(0)
    net = TutorialFive(kind)
    optimizer = torch.optim.Adam(net.parameters(), lr=5e-3)
    losses = []
    for batch in (8, 8, 8, 8, 3):  # a smaller last batch: init_leaky() then returns zeros of the batch before
        x, y = torch.rand(batch, 20) * 2, torch.randint(0, 5, (batch,))
        spikes, mem = net(x)
        loss = sum(nn.functional.cross_entropy(m, y) for m in mem) + spikes.mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.item())
    return net, losses


def test_tutorial_class_trains_to_the_same_weights():
    (theirs, their_losses), (ours, our_losses) = (trained(kind) for kind in KINDS)
    assert their_losses == our_losses
    for a, b in zip(theirs.parameters(), ours.parameters(), strict=True):
        assert torch.equal(a, b)


def sequential(kind):
    torch.manual_seed(1)
    grad = snn_surrogate.fast_sigmoid(slope=10)
    return nn.Sequential(
        nn.Linear(20, 30),
        kind(beta=0.8, init_hidden=True, spike_grad=grad),
        nn.Linear(30, 5),
        kind(beta=0.8, init_hidden=True, output=True, spike_grad=grad),
    )


def test_sequential_with_hidden_state_and_reset():
    ours, theirs = sequential(Leaky), sequential(snntorch.Leaky)
    for net in (ours, theirs):
        assert utils._final_layer_check(net) == 2
    x = torch.rand(6, 20) * 2
    for _ in range(2):
        utils.reset(ours)
        utils.reset(theirs)
        assert not ours[1].mem.any()
        for _ in range(10):
            (spk, mem), (expected_spk, expected_mem) = ours(x), theirs(x)
            assert torch.equal(spk, expected_spk)
            assert torch.equal(mem, expected_mem)
        assert ours[1].mem.any()


def test_backprop_through_time():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # snnTorch announces the end of this module on import
        from snntorch import backprop
    results = []
    for kind in KINDS:
        net = sequential(kind)
        torch.manual_seed(2)
        data = TensorDataset(torch.rand(16, 20), torch.randint(0, 5, (16,)))
        optimizer = torch.optim.Adam(net.parameters(), lr=1e-2)
        loss = backprop.BPTT(
            net, DataLoader(data, batch_size=8), optimizer, functional.ce_rate_loss(), num_steps=7, time_var=False
        )
        results.append((loss, list(net.parameters())))
    assert torch.equal(results[0][0], results[1][0])
    for a, b in zip(results[0][1], results[1][1], strict=True):
        assert torch.equal(a, b)


VARIANTS = st.fixed_dictionaries(
    {
        "beta": st.sampled_from([0.0, 0.5, 0.9, 1.0]),
        "threshold": st.sampled_from([0.3, 1.0]),
        "reset_mechanism": st.sampled_from(["subtract", "zero", "none"]),
        "reset_delay": st.booleans(),
        "learn_beta": st.booleans(),
        "learn_threshold": st.booleans(),
        "graded_spikes_factor": st.sampled_from([1.0, 0.5]),
        "learn_graded_spikes_factor": st.booleans(),
        "surrogate_disable": st.booleans(),
    }
)


@settings(max_examples=120, deadline=None)
@given(VARIANTS, st.integers(0, 2**32 - 1))
def test_every_variant_equals_snntorch(arguments, seed):
    generator = torch.Generator().manual_seed(seed)
    current = torch.randn(9, 3, 4, generator=generator) + 0.4
    weights = torch.randn(2, 9, 3, 4, generator=generator)
    results = []
    for kind in KINDS:
        neuron = kind(**arguments)
        x, mem = current.clone().requires_grad_(), torch.zeros(3, 4)
        spikes, membranes = [], []
        for step in x:
            spk, mem = neuron(step, mem)
            spikes.append(spk)
            membranes.append(mem)
        spikes, membranes = torch.stack(spikes), torch.stack(membranes)
        loss = (weights[0] * spikes).sum() + (weights[1] * membranes).sum()
        gradients = torch.autograd.grad(loss, [x, *neuron.parameters()], allow_unused=True)
        results.append([spikes, membranes, *gradients])
    for got, expected in zip(results[1], results[0], strict=True):
        assert (got is None and expected is None) or torch.equal(got, expected)


def test_inhibition_equals_snntorch():
    torch.manual_seed(0)
    x = torch.rand(10, 3, 6)
    with pytest.warns(UserWarning, match="Inhibition"):
        theirs, ours = (kind(0.9, inhibition=True, init_hidden=True) for kind in KINDS)
    for step in x:
        assert torch.equal(ours(step), theirs(step))


def test_state_dict_both_ways():
    ours, theirs = Leaky(0.7, threshold=0.6, learn_beta=True), snntorch.Leaky(0.1, learn_beta=True)
    assert set(ours.state_dict()) == {"threshold", "graded_spikes_factor", "reset_mechanism_val", "beta"}
    assert list(ours.state_dict()) == list(theirs.state_dict())
    theirs.load_state_dict(ours.state_dict())
    assert theirs.beta.item() == ours.beta.item()
    again = Leaky(0.2, learn_beta=True)
    again.load_state_dict(theirs.state_dict())
    assert (again.beta.item(), again.threshold.item()) == (ours.beta.item(), ours.threshold.item())


# ---- whole sequences


@pytest.mark.parametrize("hidden", [False, True])
@pytest.mark.parametrize("output", [False, True])
def test_forward_sequence_equals_the_loop(hidden, output):
    torch.manual_seed(0)
    x = torch.randn(15, 2, 3, 4) + 0.3
    theirs, ours = (kind(0.9, init_hidden=hidden, output=output) for kind in KINDS)
    spk, mem = ours.forward_sequence(x[:8])
    more_spk, more_mem = ours.forward_sequence(x[8:]) if hidden else ours.forward_sequence(x[8:], mem[-1])
    state = () if hidden else (torch.zeros(2, 3, 4),)
    for t, step in enumerate(x):
        out = theirs(step, *state)
        expected = out[0] if isinstance(out, tuple) else out
        state = () if hidden else (theirs.mem,)
        assert torch.equal(torch.cat([spk, more_spk])[t], expected)
        assert torch.equal(torch.cat([mem, more_mem])[t], theirs.mem)


def test_forward_sequence_starts_from_zero_without_hidden_state():
    lif, x = Leaky(0.9), torch.rand(5, 2, 3)
    first = lif.forward_sequence(x)
    assert torch.equal(lif.forward_sequence(x)[1], first[1])


# ---- what differs: shapes, reset_mechanism, dtype


def test_mem_of_another_batch_raises(unchecked):
    lif = Leaky(0.9)
    with pytest.raises(ShapeError, match=r"mem must have the shape of input_, \(4, 3\), got \(1, 3\)"):
        lif(torch.ones(4, 3), torch.ones(1, 3))
    with pytest.raises(ShapeError, match="mem must have the shape of input_"):  # its gradient would be lost
        lif(torch.ones(4, 3), torch.zeros(1, 3, requires_grad=True))
    spk, mem = lif(torch.ones(4, 3), torch.zeros(1, 3))  # zeros for zeros
    assert mem.shape == spk.shape == (4, 3)
    with pytest.raises(ShapeError, match=r"a sequence must be \[T, B, ...\] with T >= 1, got shape \(0, 2, 3\)"):
        lif.forward_sequence(torch.ones(0, 2, 3))
    with pytest.raises(ShapeError, match=r"got shape \(3,\)"):
        lif.forward_sequence(torch.ones(3))


def test_mem_with_hidden_state_raises_and_changes_nothing():
    lif = Leaky(0.9, init_hidden=True)
    lif(torch.ones(1, 2))
    before = lif.mem.clone()
    for call in (lif, lambda x, mem: lif.forward_sequence(x[None], mem)):
        with pytest.raises(PnbxTypeError, match="`mem` should not be passed as an argument while `init_hidden=True`"):
            call(torch.ones(1, 2), torch.zeros(1, 2))
    assert torch.equal(lif.mem, before)


@pytest.mark.parametrize("new", ["subtract", "zero", "none"])
@pytest.mark.parametrize("delay", [False, True])
def test_assigning_reset_mechanism_takes_effect(new, delay):
    x = torch.rand(12, 2, 3) * 2
    built = Leaky(0.9, reset_mechanism=new, reset_delay=delay)
    expected = built.forward_sequence(x)[1]
    for old in ("subtract", "zero", "none"):
        assigned, loaded = (Leaky(0.9, reset_mechanism=old, reset_delay=delay) for _ in range(2))
        for lif in (assigned, loaded):
            lif.forward_sequence(x)  # in use already
        assigned.reset_mechanism = new
        loaded.load_state_dict(built.state_dict())
        assert loaded.reset_mechanism == new
        for lif in (assigned, loaded):
            assert torch.equal(lif.forward_sequence(x)[1], expected)
    with pytest.raises(ValueError, match="reset_mechanism must be set to either"):
        built.reset_mechanism = "soft"


def test_spikes_have_the_dtype_of_the_membrane():
    spk, mem = Leaky(0.9)(torch.full((1, 2), 2.0, dtype=torch.float64))
    assert spk.dtype == mem.dtype == torch.float64


def test_spike_grad_by_name_or_closure():
    assert Leaky(0.9).spike_grad == Surrogate("atan")
    assert Leaky(0.9, spike_grad="fast_sigmoid").spike_grad == Surrogate("fast_sigmoid")
    assert Leaky(0.9, spike_grad=snn_surrogate.SFS(B=2)).spike_grad == Surrogate("sparse_fast_sigmoid", {"B": 2})


# ---- hidden state: reset, processes, checkpoints


class Nested(nn.Module):
    """Neurons two modules deep, where snnTorch's reset does not look."""

    def __init__(self, kind):
        super().__init__()
        self.stages = nn.ModuleList([nn.Sequential(kind(beta=0.9, init_hidden=True)) for _ in range(2)])

    def forward(self, x):
        for stage in self.stages:
            x = stage(x)
        return x


@pytest.mark.parametrize("kind", KINDS)
def test_reset_finds_nested_neurons_and_leaves_other_networks(kind):
    net, other = Nested(kind), Nested(kind)
    x = torch.ones(2, 3, requires_grad=True)
    net(x), other(x)
    theirs = other.stages[0][0].mem.clone()
    pnbx_snn.reset(net)
    for stage in net.stages:
        assert not stage[0].mem.any()
        assert not stage[0].mem.requires_grad
    assert torch.equal(other.stages[0][0].mem, theirs)
    assert theirs.any()
    pnbx_snn.reset(other.stages[0][0])  # a single neuron
    assert not other.stages[0][0].mem.any()


@pytest.mark.parametrize(
    "make",
    [
        lambda: snntorch.Synaptic(alpha=0.9, beta=0.8, init_hidden=True),
        lambda: snntorch.Alpha(alpha=0.9, beta=0.8, init_hidden=True),
        lambda: snntorch.Lapicque(beta=0.8, init_hidden=True),
        lambda: snntorch.RLeaky(beta=0.8, linear_features=3, init_hidden=True),
        lambda: snntorch.RSynaptic(alpha=0.9, beta=0.8, linear_features=3, init_hidden=True),
        lambda: snntorch.SLSTM(3, 3, init_hidden=True),
    ],
)
def test_reset_of_snntorchs_own_neurons(make):
    net, x = nn.Sequential(nn.Sequential(make())), torch.rand(2, 3) + 1
    first = [net(x) for _ in range(3)]
    pnbx_snn.reset(net)
    for expected in first:
        assert torch.equal(net(x), expected)


def test_hidden_state_is_no_buffer_but_moves_with_the_module():
    lif = Leaky(0.9, init_hidden=True)
    lif(torch.ones(2, 3))
    assert set(dict(lif.named_buffers())) == {"beta", "threshold", "graded_spikes_factor", "reset_mechanism_val"}
    assert set(lif.state_dict()) == set(dict(lif.named_buffers()))
    assert lif.double().mem.dtype == torch.float64
    assert lif.to("meta").mem.is_meta


def test_what_held_the_state_as_a_buffer_still_loads():
    lif = Leaky(0.9, init_hidden=True)
    lif(torch.ones(2, 3))
    twin = Leaky(0.5, init_hidden=True)
    twin.load_state_dict({**lif.state_dict(), "mem": torch.ones(2, 3)})
    assert twin.beta == lif.beta
    net = nn.Sequential(twin)
    net.load_state_dict({"0." + key: value for key, value in {**lif.state_dict(), "mem": torch.ones(1)}.items()})
    state = lif.__getstate__()
    mem = state.pop("mem")
    old = {**state, "_buffers": {**state["_buffers"], "mem": mem}, "_non_persistent_buffers_set": {"mem"}}
    loaded = Leaky.__new__(Leaky)
    loaded.__setstate__(old)
    assert torch.equal(loaded.mem, lif.mem)
    assert "mem" not in dict(loaded.named_buffers())


DISTRIBUTED = """
import sys
import torch
from torch import distributed, nn
from pnbx_snn import Leaky
rank = int(sys.argv[1])
distributed.init_process_group("gloo", init_method="file://" + sys.argv[2], rank=rank, world_size=2)
net = nn.Sequential(nn.Linear(2, 2, bias=False), Leaky(0.5, threshold=9.0, init_hidden=True))
nn.init.eye_(net[0].weight)
shared = nn.parallel.DistributedDataParallel(net)
for _ in range(3):  # each process sees its own samples, and gets the buffers of the first before each forward pass
    shared(torch.full((1, 2), 1.0 + rank)).sum().backward()
    net[1].mem.detach_()
print(net[1].mem.tolist())
distributed.destroy_process_group()
"""


def test_processes_keep_their_own_hidden_state(tmp_path):
    """As a buffer, the membrane of process 1 began each step as that of process 0: 2.75 in the end, not 3.5."""
    command = [sys.executable, "-c", textwrap.dedent(DISTRIBUTED)]
    runs = [
        subprocess.Popen([*command, str(rank), str(tmp_path / "store")], stdout=subprocess.PIPE, text=True)
        for rank in range(2)
    ]
    answers = [run.communicate(timeout=120)[0].strip() for run in runs]
    assert answers == ["[[1.75, 1.75]]", "[[3.5, 3.5]]"]


@pytest.mark.parametrize("reentrant", [False, True])
def test_checkpointing_with_a_hidden_state_is_refused(reentrant):
    """Run again from the state at its end, a step had other gradients: silently."""
    linear, lif = nn.Linear(3, 3), Leaky(0.9, init_hidden=True)
    x = torch.rand(4, 2, 3, requires_grad=True)
    spikes = [checkpoint(lambda c: lif(linear(c)), current, use_reentrant=reentrant) for current in x]
    with pytest.raises(PnbxError, match="activation checkpointing runs this step again"):
        torch.stack(spikes).sum().backward()


@pytest.mark.parametrize("reentrant", [False, True])
@pytest.mark.parametrize("sequence", [False, True])
def test_checkpointing_what_begins_with_a_reset_gives_the_same_gradients(reentrant, sequence):
    linear, lif = nn.Linear(3, 3), Leaky(0.9, init_hidden=True)
    x = torch.rand(4, 2, 3) * 3

    def run(x):
        pnbx_snn.reset(lif)
        if sequence:
            return lif.forward_sequence(linear(x))[0]
        return torch.stack([lif(linear(current)) for current in x])

    results = []
    for wrapped in (run, lambda x: checkpoint(run, x, use_reentrant=reentrant)):
        linear.zero_grad()
        leaf = x.clone().requires_grad_()
        wrapped(leaf).sum().backward()
        results.append((leaf.grad, linear.weight.grad.clone()))
    assert torch.equal(results[0][0], results[1][0])
    assert torch.equal(results[0][1], results[1][1])


def test_checkpointing_with_explicit_state_gives_the_same_gradients():
    linear, lif = nn.Linear(3, 3), Leaky(0.9)
    results = []
    for wrap in (lambda f, *a: f(*a), lambda f, *a: checkpoint(f, *a, use_reentrant=False)):
        linear.zero_grad()
        mem, total = torch.zeros(2, 3), 0.0
        for t in range(4):
            spk, mem = wrap(lambda c, m: lif(linear(c), m), torch.full((2, 3), 0.5 + t), mem)
            total = total + spk.sum()
        total.backward()
        results.append(linear.weight.grad.clone())
    assert torch.equal(*results)


# ---- copies


def saved(net):
    file = io.BytesIO()
    torch.save(net, file)
    file.seek(0)
    return torch.load(file, weights_only=False)


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda net: pickle.loads(pickle.dumps(net)), saved])
def test_copies_in_the_middle_of_training(copied):
    net, x = sequential(Leaky), torch.rand(4, 20) * 2
    for _ in range(3):
        spk, mem = net(x)
    (spk.sum() + mem.sum()).backward()
    twin = copied(net)
    assert torch.equal(twin[1].mem, net[1].mem)
    assert not twin[1].mem.requires_grad
    assert torch.equal(twin(x)[1], net(x)[1])
    utils.reset(twin)  # the copy is found too
    assert not twin[1].mem.any()
    twin[1].reset_mechanism = "none"
    assert net[1].reset_mechanism == "subtract"


# ---- the list


def test_dies_with_its_last_user():
    gc.collect()
    gc.disable()  # no cycle holds it: counting references is enough
    try:
        net = sequential(Leaky)
        dead = weakref.ref(net[1])
        net(torch.rand(4, 20))
        del net
        assert dead() is None
    finally:
        gc.enable()


def test_the_list_does_not_grow():
    for _ in range(50):
        net = sequential(Leaky)
        net(torch.rand(4, 20))
        del net
    assert len(snntorch.SpikingNeuron.instances) <= 4
    alive = sequential(Leaky)
    assert len(snntorch.SpikingNeuron.instances) == 2 == sum(isinstance(m, Leaky) for m in alive)


def test_reset_passes_over_the_dead():
    dying, net = [Leaky(0.9) for _ in range(5)], sequential(Leaky)
    net(torch.ones(4, 20))
    entries = snntorch.SpikingNeuron.instances
    assert all(isinstance(entry, snntorch.Leaky) for entry in entries)
    dying.clear()
    assert [isinstance(entry, snntorch.Leaky) for entry in entries] == [False] * 5 + [True] * 2
    utils.reset(net)
    assert not net[1].mem.any()


def test_a_death_during_the_reset_is_survived():
    """Between snnTorch's isinstance and its assignment the garbage collector may take the neuron."""
    neuron = Leaky(0.9)
    (entry,) = snntorch.SpikingNeuron.instances
    del neuron
    entry.mem = torch.zeros_like(entry.mem, device=entry.mem.device)
    entry.mem.detach_()


def test_snntorchs_own_neurons_stay_listed():
    theirs = snntorch.Leaky(0.9, init_hidden=True)
    ours = Leaky(0.9, init_hidden=True)
    assert len(snntorch.SpikingNeuron.instances) == 2
    net = nn.Sequential(theirs, ours)
    net(torch.ones(2, 3))
    utils.reset(net)
    assert not theirs.mem.any()
    assert not ours.mem.any()


def test_unlist_is_for_good():
    lif = Leaky(0.9).unlist()
    twins = [copy.deepcopy(lif), pickle.loads(pickle.dumps(lif))]
    assert not snntorch.SpikingNeuron.instances
    assert len(twins) == 2
