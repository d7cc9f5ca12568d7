"""Small snnTorch and Norse networks for tests, brought to about 25 % firing."""

import norse.torch as norse
import snntorch
import torch
from torch import nn

N_IN, N, T, B = 12, 32, 80, 8
BETA, ALPHA = 0.9, 0.7


def step(x):
    """Compare without a surrogate, in the dtype of the membrane."""
    return (x > 0).to(x.dtype)


class Loop(nn.Module):
    """A layer and a neuron in a loop over time, as the tutorials write them; returns the spikes of every step."""

    def __init__(self, neuron, states):
        super().__init__()
        self.fc = nn.Linear(N_IN, N)
        self.lif = neuron
        self.states = states

    def forward(self, x):
        self.lif.reset_mem()
        state, spikes = self.states * (None,), []
        for t in range(len(x)):
            returned = self.lif(self.fc(x[t]), *state)
            spikes.append(returned[0])
            state = returned[-self.states :]
        return torch.stack(spikes)


class NorseLoop(nn.Module):
    def __init__(self, *modules):
        super().__init__()
        self.net = norse.SequentialState(*modules)

    def forward(self, x):
        state, spikes = None, []
        for t in range(len(x)):
            out, state = self.net(x[t], state)
            spikes.append(out)
        return torch.stack(spikes)


class NorseWhole(nn.Module):
    """A layer and a Norse module that runs over the steps itself."""

    def __init__(self, neuron):
        super().__init__()
        self.fc, self.neuron = nn.Linear(N_IN, N), neuron

    def forward(self, x):
        return self.neuron(self.fc(x))[0]


def per_neuron(low, high, generator):
    return low + (high - low) * torch.rand(N, generator=generator)


def snntorch_net(kind, reset, delay, *, vector=False, seed=0):
    """Build a network of one layer of a kind of neuron."""
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    beta = per_neuron(0.7, 0.95, generator) if vector else BETA
    alpha = per_neuron(0.5, 0.8, generator) if vector else ALPHA
    options = {
        "threshold": per_neuron(0.7, 1.3, generator) if vector else 1.0,
        "reset_mechanism": reset,
        "reset_delay": delay,
        "spike_grad": step,
    }
    if kind.startswith("Lapicque"):  # always a step late
        del options["reset_delay"]
        circuit = {"beta": BETA} if kind.endswith("beta") else {"R": 5.1, "C": 5e-3, "time_step": 2e-3}
        return Loop(snntorch.Lapicque(**circuit, **options), 1)  # snnTorch 1.0 takes one circuit for all neurons
    if kind == "Leaky":
        return Loop(snntorch.Leaky(beta, **options), 1)
    if kind == "Synaptic":
        return Loop(snntorch.Synaptic(alpha, beta, **options), 2)
    name, _, wiring = kind.partition("-")
    wires = {
        "all": {"linear_features": N},
        "one": {"all_to_all": False, "V": -0.3},
        "each": {"all_to_all": False, "V": per_neuron(-0.5, 0.3, generator)},
    }[wiring]
    if name == "RLeaky":
        return Loop(snntorch.RLeaky(beta, **wires, **options), 2)
    return Loop(snntorch.RSynaptic(alpha, beta, **wires, **options), 3)


def norse_net(kind, reset="zero", *, vector=False, seed=0):
    torch.manual_seed(seed)
    generator = torch.Generator().manual_seed(seed)
    mem = per_neuron(50.0, 300.0, generator) if vector else torch.tensor(100.0)
    theta = per_neuron(0.7, 1.3, generator) if vector else torch.tensor(1.0)
    if kind == "LIFBoxCell":
        method = {"zero": norse.functional.reset.reset_value, "subtract": norse.functional.reset.reset_subtract}[reset]
        p = norse.LIFBoxParameters(tau_mem_inv=mem, v_th=theta, reset_method=method)
        return NorseLoop(nn.Linear(N_IN, N), norse.LIFBoxCell(p))
    if kind in ("IAFCell", "IAF"):
        p = norse.IAFParameters(v_th=theta, v_reset=per_neuron(-0.3, 0.3, generator) if vector else torch.tensor(0.25))
        return NorseLoop(nn.Linear(N_IN, N), norse.IAFCell(p)) if kind == "IAFCell" else NorseWhole(norse.IAF(p))
    if kind.startswith("LSNN"):
        jump, tau = per_neuron(0.0, 0.5, generator) if vector else torch.tensor(0.3), torch.tensor(20.0)
        if kind == "LSNN":  # Norse 1.1 starts it from one threshold
            theta = torch.tensor(1.0)
        p = norse.LSNNParameters(tau_mem_inv=mem, v_th=theta, beta=jump, tau_adapt_inv=tau)
        if kind == "LSNN":
            return NorseWhole(norse.LSNN(p))
        cell = norse.LSNNCell(p) if kind == "LSNNCell" else weakly_recurrent(norse.LSNNRecurrentCell(N, N, p))
        return NorseLoop(nn.Linear(N_IN, N), cell)
    p = norse.LIFParameters(tau_mem_inv=mem, v_th=theta)
    if kind == "LIFCell":
        return NorseLoop(nn.Linear(N_IN, N), norse.LIFCell(p))
    cell = weakly_recurrent(norse.LIFRecurrentCell(N, N, p))
    return NorseLoop(nn.Linear(N_IN, N), cell)


def weakly_recurrent(cell):
    """Give a recurrent cell weights that test the loop and nothing else."""
    with torch.no_grad():  # the product with the layer before it stays on the grid of 8 bits
        cell.input_weights.copy_(torch.eye(N)[torch.randperm(N)] / 2)
        cell.recurrent_weights.mul_(0.2)  # not chaotic: rounding the decays alone is amplified otherwise
    return cell


def spikes_in(num_steps=T, batch=B, size=N_IN, seed=1):
    generator = torch.Generator().manual_seed(seed)
    return (torch.rand(num_steps, batch, size, generator=generator) < 0.3).double()


def on_grid(net):
    """Round weights to multiples of 1/64, which 8 bits hold exactly; biases stay as they are."""
    with torch.no_grad():
        for weight in net.parameters():
            if weight.ndim > 1:
                weight.copy_((weight * 64).round().clamp(-127, 127) / 64)
    return net


def tuned(net, inputs, layer=None, *, rate=0.25):
    """Bring a network to float64 and its mean firing to about ``rate`` by the bias of its first layer."""
    net = net.double()
    layer = layer or next(module for module in net.modules() if isinstance(module, nn.Linear))
    with torch.no_grad():
        layer.weight.mul_(3.0)
        on_grid(net)
        low, high = -40.0, 40.0
        start = layer.bias.clone()
        for _ in range(30):
            middle = (low + high) / 2
            layer.bias.copy_(start + middle)
            mean = net(inputs).mean()
            if abs(mean - rate) < 0.001:
                break
            low, high = (middle, high) if mean < rate else (low, middle)
    return net
