"""``python -m studies.bench.gpu``: neurons in training on one GPU against other libraries, and against its memory.

LIF, and Linear + LIF, forward and backward, at (T, B, N) = (500, 16, 16384) and (100, 128, 2048), in fp32: PNB-X by
Triton, SpikingJelly by the kernels it chooses for the device, snnTorch in the loop of its tutorials, Spyx (JAX) where
it can be imported. All take turns in one run. The bound of the neuron is the time in which the device copies five
tensors of the input's size: x and spikes forward, x, gradients in and gradients out backward.

Without a GPU nothing is measured. ``--interpret`` runs everything on a CPU with tiny sizes, to see that it works.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import warnings
from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import asdict
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch

import pnbx_extras
from studies.bench.lif_rivals import NEURONS, Layer, compare, has_spyx, spyx
from studies.bench.timing import Row, Timing, interleave, readable
from studies.measurements.machine import facts, version

OURS, RIVALS = "PNB-X LIF", {"snnTorch": "snntorch", "SpikingJelly": "spikingjelly"}
SHAPES = ((500, 16, 16384), (100, 128, 2048))
TINY = ((10, 2, 24),)
ACTIVITY = 0.2
STREAMS = 5
DEFAULT_OUT = Path(__file__).resolve().parents[2] / "docs" / "performance" / "gpu"


def main(arguments: list[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m studies.bench.gpu", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--device", help="cuda or xpu (default: the GPU there is)")
    parser.add_argument(
        "--interpret", action="store_true", help="on a CPU, tiny, not a measurement: to see that it runs"
    )
    parser.add_argument("--seconds", type=float, default=20.0, help="for each row (default: 20)")
    parser.add_argument(
        "--out", type=Path, default=DEFAULT_OUT, help="folder of gpu.json and gpu.md (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    if options.interpret:
        os.environ["TRITON_INTERPRET"] = "1"  # before the kernels are imported
    warnings.filterwarnings("ignore")  # those of the rivals
    try:
        device = choose_device(options.device, interpret=options.interpret)
    except RuntimeError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    results = measure(device, options.seconds, interpret=options.interpret)
    options.out.mkdir(parents=True, exist_ok=True)
    (options.out / "gpu.json").write_text(json.dumps(results, indent=1) + "\n")
    (options.out / "gpu.md").write_text(table(results))
    sys.stdout.write(table(results) + f"\nwritten: {options.out}/gpu.json and gpu.md\n")
    return 0


def choose_device(name: str | None, *, interpret: bool) -> str:
    """Return the device to measure on."""
    from pnbx_snn.kernels.dispatch import interpreted, kernels

    if interpret:
        with interpreted():
            if name not in (None, "cpu") or kernels("lif", "cpu") is None:
                raise RuntimeError(
                    "--interpret runs on a CPU (--device cpu or none) and needs Triton: " + pnbx_extras.install("gpu")
                )
        return "cpu"
    there = torch.accelerator.current_accelerator() if torch.accelerator.is_available() else None
    if there is None or (name or there.type) != there.type:
        found = "no GPU" if there is None else there.type
        raise RuntimeError(
            f"torch {torch.__version__} finds {found}, asked for {name or 'a GPU'}; nothing was measured"
        )
    if kernels("lif", there.type) is None:
        raise RuntimeError(f"Triton 3.4 or newer finds no driver for {there.type}; nothing was measured")
    return there.type


def measure(device: str, seconds: float, *, interpret: bool) -> dict[str, Any]:
    """Return everything that was measured; ``interpret``: that it runs."""
    from pnbx_snn.kernels.dispatch import interpreted

    shapes = TINY if interpret else SHAPES
    seconds = 0.0 if interpret else seconds
    with interpreted() if interpret else nullcontext():
        bandwidth = copied_bytes_per_second(device, 1 << (20 if interpret else 30))
        rows = []
        for shape in shapes:
            sys.stderr.write(f"{shape} ...\n")
            rows += [neuron_row(device, shape, seconds, bandwidth), linear_row(device, shape, seconds)]
    name = "CPU, interpreted" if interpret else torch.get_device_module(device).get_device_name()
    return {
        "measured": not interpret,
        "device": name,
        "machine": facts() | {"triton": version("triton"), "spyx": version("spyx")},
        "copied_bytes_per_second": bandwidth,
        "rows": [asdict(row) | {"best_rival": row.best_rival, "speedup": row.speedup} for row in rows],
    }


def neuron_row(device: str, shape: tuple[int, int, int], seconds: float, bandwidth: float) -> Row:
    """Measure neurons alone: gradients of the current."""
    x = 0.3 * torch.randn(shape, device=device, generator=generator(device)) + 0.1
    grad = torch.randn(shape, device=device, generator=generator(device))
    row = Row("gpu", f"LIF {shape}", (OURS,))
    cases: dict[str, Callable[[], Any]] = {}
    found: dict[str, Any] = {}
    for name, make in layers(device).items():
        layer, leaf = make(), x.clone().requires_grad_()

        def run(layer: Any = layer, leaf: Any = leaf) -> Any:
            leaf.grad = None
            spikes = layer(leaf)
            spikes.backward(grad)
            return spikes

        row.facts[f"{name}: bytes above its input"] = peak(device, run)
        found[name] = (run().detach(), leaf.grad)
        cases[name] = run
    row.checks = [f"{OURS} against {name}: {compare(found[OURS], found[name])}" for name in found if name != OURS]
    del found
    if has_spyx(device):
        cases["Spyx"] = spyx(x, grad, weight=None)
    row.times = interleaved(device, cases, seconds)
    row.facts["bound_s"] = STREAMS * x.numel() * 4 / bandwidth
    row.facts["times_the_bound"] = row.times[OURS].median_s / row.facts["bound_s"]
    return row


def linear_row(device: str, shape: tuple[int, int, int], seconds: float) -> Row:
    """Measure a linear layer and neurons on spikes: gradients of the weights."""
    from pnbx_snn.layers.bitlinear import BitLinear

    N = shape[2]
    x = (torch.rand(shape, device=device, generator=generator(device)) < ACTIVITY).float()
    grad = torch.randn(shape, device=device, generator=generator(device))
    dense, ternary = torch.nn.Linear(N, N, bias=False, device=device), BitLinear(N, N).to(device)
    with torch.no_grad():
        dense.weight.mul_(3.0)
        ternary.weight.copy_(dense.weight)
    row = Row("gpu", f"Linear + LIF {shape}", (f"{OURS}, Linear", f"{OURS}, BitLinear"))
    cases: dict[str, Callable[[], Any]] = {}
    for name, make in layers(device).items():
        kinds: dict[str, Any] = (
            {f"{name}, Linear": dense, f"{name}, BitLinear": ternary} if name == OURS else {name: dense}
        )
        for label, linear in kinds.items():
            layer = make()

            def run(linear: Any = linear, layer: Any = layer) -> None:
                linear.zero_grad()
                layer(linear(x)).backward(grad)

            row.facts[f"{label}: bytes above its input"] = peak(device, run)
            cases[label] = run
    if has_spyx(device):
        cases["Spyx"] = spyx(x, grad, weight=dense.weight)
    row.times = interleaved(device, cases, seconds)
    return row


def interleaved(device: str, cases: dict[str, Callable[[], Any]], seconds: float) -> dict[str, Timing]:
    """Time all cases, which take turns; a call ends when the device has done its work."""

    def until_done(case: Callable[[], Any]) -> Callable[[], None]:
        def run() -> None:
            case()
            synchronize(device)

        return run

    return interleave({name: until_done(case) for name, case in cases.items()}, seconds=seconds)


def copied_bytes_per_second(device: str, size: int) -> float:
    """Return how many bytes the device reads and writes in a second when it copies."""
    source = torch.ones(size // 4, device=device)
    target = torch.empty_like(source)
    times = interleaved(device, {"copy": lambda: target.copy_(source)}, 0.5)
    return 2 * size / times["copy"].median_s


def peak(device: str, run: Callable[[], Any]) -> int | None:
    """Return how far a call raises the memory in use; None where the device does not say."""
    if device == "cpu":
        return None
    run()
    module = torch.get_device_module(device)
    synchronize(device)
    module.reset_peak_memory_stats()
    before = module.memory_allocated()
    run()
    synchronize(device)
    return int(module.max_memory_allocated() - before)


def table(results: dict[str, Any]) -> str:
    """Return the results in Markdown."""
    label = "Measured" if results["measured"] else "NOT A MEASUREMENT, interpreted"
    lines = [
        f"{label} on {results['device']}, which copies {results['copied_bytes_per_second'] / 1e9:,.0f} GB/s; fp32, "
        "forward and backward, medians.",
        "",
        "| work | PNB-X | fastest rival | times faster | all others | times the bound of memory |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for row in results["rows"]:
        times = {name: readable(timing["median_s"]) for name, timing in row["times"].items()}
        ours, best = row["ours"][0], row["best_rival"]
        others = "; ".join(f"{name} {text}" for name, text in times.items() if name not in (ours, best))
        bound = f"{row['facts']['times_the_bound']:.2f}" if "times_the_bound" in row["facts"] else "-"
        lines.append(
            f"| {row['work']} | {times[ours]} | {best} {times[best]} | {row['speedup']:.1f} | {others} | {bound} |"
        )
    lines += ["", *(f"- {row['work']}: {check}" for row in results["rows"] for check in row["checks"])]
    for row in results["rows"]:
        memory = {name: size for name, size in row["facts"].items() if name.endswith("input") and size is not None}
        lines += [f"- {row['work']}, {name}: {size:,}" for name, size in memory.items()]
    return "\n".join(lines) + "\n"


def layers(device: str) -> dict[str, Callable[[], Layer]]:
    """Return what makes the neuron of each library that is installed, ours first."""
    there = [OURS, *(name for name, package in RIVALS.items() if find_spec(package) is not None)]
    return {name: partial(NEURONS[name], device) for name in there}


def generator(device: str) -> torch.Generator:
    """Return a generator of its own with a fixed seed."""
    return torch.Generator(device).manual_seed(0)


def synchronize(device: str) -> None:
    """Wait until the device has done its work."""
    if device != "cpu":
        torch.get_device_module(device).synchronize()


if __name__ == "__main__":
    sys.exit(main())
