"""The two steps a :class:`~pnbx_snn.neurons.lif.LIF` can make: snnTorch's ``Leaky`` and Norse's ``lif_box``."""

from typing import Any, Literal

from torch import Tensor, nn

from pnbx_snn.kernels.lif import Scan, lif_scan, usable
from pnbx_snn.neurons.leaky import Leaky, hooked
from pnbx_snn.surrogate import SpikeFunction, resolve

Reset = Literal["zero", "subtract", "none"]
Primitive = Literal["leaky", "lif_box"]


def leaky_cell(
    beta: Tensor,
    threshold: Tensor,
    reset: Reset,
    spike_grad: str | SpikeFunction | None,
    learn_beta: bool,
    learn_threshold: bool,
) -> Leaky:
    """Make the cell that steps by snnTorch's code: unlisted, with beta and threshold as its only tensors."""
    cell = Leaky(
        beta,
        threshold=threshold,
        spike_grad=spike_grad,
        learn_beta=learn_beta,
        learn_threshold=learn_threshold,
        reset_mechanism=reset,
        reset_delay=False,
    ).unlist()
    # Fixed here, hence plain numbers: no keys in the state_dict, and no round trip to the device in each step, where
    # snnTorch compares reset_mechanism_val.
    del cell.graded_spikes_factor, cell.reset_mechanism_val
    cell.graded_spikes_factor = 1.0
    cell.reset_mechanism_val = Leaky.reset_dict[reset]
    return cell


class LIFBoxCell(nn.Module):
    """Norse's ``lif_box`` step with ``dt * tau_mem_inv = 1 - beta``, every reset and every surrogate."""

    beta: Tensor
    threshold: Tensor

    def __init__(
        self,
        beta: Tensor,
        threshold: Tensor,
        reset: Reset,
        spike_grad: str | SpikeFunction | None,
        learn_beta: bool,
        learn_threshold: bool,
    ) -> None:
        super().__init__()
        self.reset: Reset = reset
        self.spike_grad = resolve("super" if spike_grad is None else spike_grad)
        for name, value, learned in (("beta", beta, learn_beta), ("threshold", threshold, learn_threshold)):
            if learned:
                self.register_parameter(name, nn.Parameter(value))
            else:
                self.register_buffer(name, value)

    def forward(self, current: Tensor, v: Tensor) -> tuple[Tensor, Tensor]:
        """One step: ``[B, N]`` each."""
        from norse.torch.functional import lif_box, reset  # importing Norse takes a second: only who asks pays

        parameters = lif_box.LIFBoxParameters(
            tau_mem_inv=1 - self.beta.clamp(0, 1), v_leak=0.0, v_th=self.threshold, v_reset=0.0, method="heaviside",
            reset_method=_keep,
        )  # fmt: skip
        _, state = lif_box.lif_box_feed_forward_step(current, lif_box.LIFBoxFeedForwardState(v), parameters, dt=1.0)
        # Norse fires with its own surrogates only: so far it integrated; now fire with ours, then reset with Norse's.
        spikes = self.spike_grad(state.v - self.threshold)
        resets = {"zero": reset.reset_value, "subtract": reset.reset_subtract, "none": _keep}
        return spikes, resets[self.reset](spikes, state.v, 0.0, self.threshold)

    def fused(self, currents: Tensor, v: Tensor, *, traced: bool) -> Scan | None:
        """Run a sequence ``[T, B, N]`` by :func:`~pnbx_snn.kernels.lif.lif_scan`; None where that cannot."""
        decay = 1 - self.beta.clamp(0, 1)
        if hooked(self) or not usable(currents, decay, self.threshold, v, self.spike_grad):
            return None
        options: dict[str, Any] = {"reset": self.reset, "spike_grad": self.spike_grad, "traced": traced}
        return lif_scan(currents, decay, self.threshold, v, step="lif_box", **options)


def _keep(z: Tensor, v: Tensor, v_reset: float, threshold: Tensor) -> Tensor:
    """Leave the membrane as it is: no reset, in Norse's form."""
    return v
