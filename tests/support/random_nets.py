"""Random networks as scripts write them: loops over time, batch first, static inputs, hidden states, sequences."""

from __future__ import annotations

from typing import Any

import norse.torch as norse
import torch
from torch import Tensor, nn
from torch.nn import functional

from module_endings import Ending


class Net(nn.Module):
    """A network as scripts write it; ``how`` says which of the ways, and which trap."""

    def __init__(self, how: dict[str, Any], stages: list[list[nn.Module]], neurons: list[nn.Module | None]) -> None:
        super().__init__()
        self.how = how
        self.calls = how["calls"]
        if how["style"] in ("hidden loop", "norse loop"):
            chain = [m for stage, n in zip(stages, neurons, strict=True) for m in [*stage, *([] if n is None else [n])]]
            self.net = (nn.Sequential if how["style"] == "hidden loop" else norse.SequentialState)(*chain)
            return
        for k, (stage, neuron) in enumerate(zip(stages, neurons, strict=True)):
            self.add_module(f"fc{k}", stage[0] if len(stage) == 1 else nn.Sequential(*stage))
            if neuron is not None:
                self.add_module(f"lif{k}", neuron)

    def forward(self, x: Tensor) -> Any:
        how = self.how
        if how["style"] == "sequence":
            outs, p = self._sequence(x)
            return how["ending"].returned(outs, p)
        if how["style"] == "hidden loop":
            for part in self.net:
                if hasattr(part, "reset_mem"):
                    part.reset_mem()
        if how["moving"] is not None:
            parameter, first, _ = how["moving"]
            with torch.no_grad():
                parameter.copy_(first)
        steps = [x] * how["T"] if how["style"] == "static" else x.unbind(1 if how["style"] == "batch_first" else 0)
        steps = [steps[t] for t in how["order"]]
        self.states: list[Any] = [None] * len(self.calls)
        self.late: Tensor | None = None
        self.before: Tensor | None = None
        outs, second, total = [], [], None
        for x_t in steps:
            if how["cast"] is not None:
                x_t = x_t.to(how["cast"])
            if how["trap"] == "input times 0.5":
                x_t = x_t * 0.5
            if how["trap"] == "input plus 0.25":
                x_t = x_t + 0.25
            out, other = self._step(x_t)
            outs.append(out)
            second.append(other)
            total = out if total is None else total + out
            if how["moving"] is not None:
                with torch.no_grad():
                    how["moving"][0].mul_(how["moving"][2])
        return self._end(outs, second, total)

    def _end(self, outs: list[Tensor], second: list[Tensor], total: Tensor | None) -> Any:
        ending = self.how["ending"]
        if ending.shape == "acc":
            return total
        if ending.shape == "list":
            return outs
        if ending.shape == "tuple":
            return torch.stack(outs), self.states[-1]
        if ending.shape == "dict":
            return {"out": torch.stack(outs)}
        o = torch.stack(outs)
        return ending.returned(o, o if second[0] is None else torch.stack(second))

    def _sequence(self, x: Tensor) -> tuple[Tensor, Tensor]:
        h, p = x if self.how["cast"] is None else x.to(self.how["cast"]), None
        first, spikes = h, []
        for k in range(len(self.calls)):
            fc: Any = self.get_submodule(f"fc{k}")
            if any(isinstance(part, nn.BatchNorm1d) for part in fc.modules()):
                current = fc(h.flatten(0, 1)).reshape(*h.shape[:2], -1)
            else:
                current = fc(h)
            if k == len(self.calls) - 1 and self.how["second"] is not None:
                p = self.how["second"](h)
            if k == self.how["skip at"]:
                current = current + self.skip(first)
            current = self._between(k, current)
            h = current if self.calls[k] is None else self.get_submodule(f"lif{k}")(current)[0]
            h = self._after(k, h)
            spikes.append(self._joined(k, h, spikes, h.ndim - 1))
            h = spikes[-1]
        return h, h if p is None else p

    def _joined(self, k: int, h: Tensor, before: list[Tensor], axis: int) -> Tensor:
        """Return spikes with those of the block before: added, or one behind the other."""
        if k < len(self.how["residual"]) and self.how["residual"][k]:
            return h + before[-1]
        return torch.cat([h, before[-1]], axis) if k < len(self.how["beside"]) and self.how["beside"][k] else h

    def _between(self, k: int, current: Tensor) -> Tensor:
        if k != self.how["at"]:
            return current
        trap = self.how["trap"]
        if trap == "times 1.7":
            return current * 1.7
        if trap == "plus 0.3":
            return current + 0.3
        if trap == "relu":
            return functional.relu(current)
        if trap == "in place":
            return current.mul_(1.7)
        return current

    def _after(self, k: int, spikes: Tensor) -> Tensor:
        if k == self.how["at"] and self.how["trap"] == "through numpy":
            spikes.detach().numpy()[..., ::2] = 0.0
        return spikes.detach().clone() if self.how["detached"] else spikes

    def _step(self, x_t: Tensor) -> tuple[Tensor, Any]:
        how = self.how
        if how["style"] == "hidden loop":
            out = self.net(x_t)
            for k, neuron in enumerate(how["neurons"]):
                if k == how["at"] and how["trap"] == "mem in place":
                    neuron.mem.mul_(0.5)
                if k == how["at"] and how["trap"] == "mem assigned":
                    neuron.mem = neuron.mem * 0.5
                if k == how["at"] and how["trap"] == "mem forgotten":
                    neuron.mem = torch.zeros_like(neuron.mem)
            return out, None
        if how["style"] == "norse loop":
            out, self.states[0] = self.net(x_t, self.states[0])
            return out, None
        h, p, spikes = x_t, None, []
        for k, call in enumerate(self.calls):
            if k == len(self.calls) - 1 and how["second"] is not None:
                p = how["second"](h)
            current = self.get_submodule(f"fc{k}")(h)
            if k == how["at"] and how["trap"] == "layer twice":
                before = torch.zeros_like(h) if self.before is None else self.before
                current = current + self.get_submodule(f"fc{k}")(before)
                self.before = h
            if k == how["skip at"]:
                current = current + self.skip(x_t.flatten(1))
            if k == how["back at"]:
                if self.late is None:
                    self.late = x_t.new_zeros(len(x_t), self.back.in_features)
                current = current + self.back(self.late)
            current = self._between(k, current)
            h = current if call is None else self._called(k, call, current)
            h = self._after(k, h)
            if k == how["spiking"]:
                late = h
            spikes.append(self._joined(k, h, spikes, 1))
            h = spikes[-1]
        if how["back at"] is not None:
            self.late = late.flatten(1)
        return h, p

    def _called(self, k: int, call: str, current: Tensor) -> Tensor:
        neuron, state = self.get_submodule(f"lif{k}"), self.states[k]
        at = k == self.how["at"]
        if call == "norse":
            out, self.states[k] = neuron(current, state)
            return out
        if call == "hand":
            neuron.v = 0.0 if state is None else neuron.v
            self.states[k] = True
            return neuron(current)
        count = int(call.split()[1])
        if state is None:
            zeros = [torch.zeros_like(current) for _ in range(count)]
            state = (*zeros[:-1], zeros[-1] + (self.how["start"] if at and self.how["trap"] == "starts" else 0.0))
        elif at and self.how["trap"] == "states scaled":
            state = (*state[:-1], state[-1] * 0.5)
        elif at and self.how["trap"] == "states in place":
            state[-1].mul_(0.5)
        returned = neuron(current, *state)
        self.states[k] = returned[-count:]
        return returned[-1] if k == self.how["membrane at"] else returned[0]


class Ended(nn.Module):
    """Modules in a row that make one step, and an ending."""

    def __init__(self, chain: list[nn.Module], ending: Ending) -> None:
        super().__init__()
        self.net, self.ending = nn.Sequential(*chain), ending

    def forward(self, x: Tensor) -> Any:
        out = self.net(x)[None]
        return self.ending.returned(out, out)
