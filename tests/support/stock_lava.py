"""A netx file on Lava's own processes, wired as lava-dl 0.6 wires them; lava-dl itself needs torch beside Lava.

Run as a file it is the half that lives in a Python with Lava: ``python stock_lava.py WORKER FOLDER``.
"""

from __future__ import annotations

import json
import runpy
import subprocess
import sys
from pathlib import Path

import numpy as np

WANTED = ("conv", "dense", "input")


def layers_of(path):
    """Return what lava-dl's ``hdf5.Network`` takes from a file, as plain dictionaries."""
    import h5py

    layers = []
    with h5py.File(path) as file:
        for number in range(len(file["layer"])):
            group, layer = file["layer"][str(number)], {}
            for name in ("weight", "weight_rec", "bias", "shape", "stride", "padding", "dilation", "groups", "delay"):
                if name in group:
                    layer[name] = np.asarray(group[name][()]).astype(int).tolist()
            layer["type"] = bytes(np.atleast_1d(group["type"][()])[0]).decode()
            layer["neuron"] = {
                name: value[()].decode() if isinstance(value[()], bytes) else np.asarray(value[()]).astype(int).tolist()
                for name, value in group.get("neuron", {}).items()
                if name in ("type", "iDecay", "vDecay", "vThMant", "sigma_output")
            }
            layers.append(layer)
    return layers


def run_stock(python, worker, path, inputs, folder, *, num_steps, interval=None, spike_exp=6):
    """Return what every layer sends, ``[T, N]`` in the order channel, row, column, at Lava's own steps.

    ``inputs`` are spikes, images for an input with neurons, ``[N]``, or values for a delta encoder, ``[T, N]``.
    """
    folder.mkdir(exist_ok=True)
    asked = {"layers": layers_of(path), "num_steps": num_steps, "interval": interval, "spike_exp": spike_exp}
    (folder / "asked.json").write_text(json.dumps(asked))
    np.save(folder / "inputs.npy", np.asarray(inputs, dtype=np.int32))
    command = [str(python), __file__, str(worker), str(folder)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-3000:]
    kept = [layer for layer in asked["layers"] if layer["type"] in WANTED and layer["neuron"]]
    found = []
    for number, layer in enumerate(kept):
        sent = np.load(folder / f"layer{number}.npy")
        if layer["type"] != "dense" and len(layer["shape"]) == 3:  # Lava's axes are column, row, channel
            sent = sent.reshape(-1, *layer["shape"][::-1]).transpose(0, 3, 2, 1).reshape(len(sent), -1)
        found.append(sent)
    return found


def _packed(weights):
    """Weights that Lava's Dense holds exactly: all even ones of 8 bits, others doubled with an exponent of -1."""
    if (weights % 2 == 0).all() and weights.min() >= -256 and weights.max() <= 254:
        return weights, 0
    assert np.abs(weights).max() <= 127, "not a matrix for this oracle"
    return 2 * weights, -1


def _neuron(layer, shape, reset, spike_exp):
    from lava.proc.lif.process import LIF, LIFReset
    from lava.proc.sdn.process import Delta, Sigma, SigmaDelta

    neuron, bias = layer["neuron"], np.asarray(layer.get("bias", 0))
    if neuron["type"] == "SDNN":
        exponents = {"spike_exp": spike_exp, "state_exp": 6}
        if layer["type"] == "input":
            return Delta(shape=shape, vth=neuron["vThMant"], **exponents)
        if "sigma_output" in neuron:
            return Sigma(shape=shape)
        return SigmaDelta(shape=shape, vth=neuron["vThMant"], bias=np.zeros(shape, int) + bias, **exponents)
    mantissa = layer["image"] if "image" in layer else np.zeros(shape, int) + bias
    arguments = {"du": neuron["iDecay"] - 1, "dv": neuron["vDecay"], "vth": neuron["vThMant"]}
    arguments |= {"bias_mant": mantissa, "bias_exp": 6, **reset}
    return (LIFReset if reset else LIF)(shape=shape, **arguments)


def _synapse(layer, shape, before, graded):
    from lava.proc.conv.process import Conv
    from lava.proc.dense.process import DelayDense, Dense

    weights, bits = np.asarray(layer["weight"]), 24 if graded else 0
    if layer["type"] == "conv":
        flipped = weights.reshape(weights.shape[:4])[:, :, ::-1, ::-1].transpose(0, 3, 2, 1)
        window = {name: np.broadcast_to(layer[name], 2)[::-1].tolist() for name in ("stride", "padding", "dilation")}
        return Conv(input_shape=before, weight=flipped, groups=int(layer["groups"]), num_message_bits=bits, **window)
    weights, exponent = _packed(weights.reshape(shape[0], -1))
    arguments = {"weights": weights, "weight_exp": exponent, "num_message_bits": bits}
    if np.any(layer.get("delay", 0)):
        delays = np.broadcast_to(np.reshape(layer["delay"], (-1, 1)), weights.shape)
        return DelayDense(delays=delays.copy(), max_delay=62, **arguments)
    return Dense(**arguments)


def main(worker, folder):
    """Build, run, and leave what every layer sent."""
    runpy.run_path(worker)["load_lava"]()
    from lava.magma.core.run_configs import Loihi2SimCfg
    from lava.proc.io.source import RingBuffer

    from neuromorphic.executors.lava.worker.local_runtime import LocalRuntime
    from neuromorphic.executors.lava.worker.recorder import Recorder
    from neuromorphic.ops import Variable

    folder = Path(folder)
    asked, inputs = json.loads((folder / "asked.json").read_text()), np.load(folder / "inputs.npy")
    steps, out, graded, count, before = asked["num_steps"], None, False, 0, None
    for layer in asked["layers"]:
        if layer["type"] == "flatten":
            out, before = out.transpose([2, 1, 0]).flatten(), None
            continue
        if layer["type"] == "input" and not layer["neuron"]:
            before = tuple(layer["shape"][::-1])
            continue
        if not layer["neuron"]:
            break  # lava-dl's neurons that only sum
        shape = (int(np.prod(layer["shape"])),) if layer["type"] == "dense" else tuple(layer["shape"][::-1])
        reset = {} if asked["interval"] is None else {"reset_interval": asked["interval"], "reset_offset": count + 1}
        if layer["type"] == "input":
            whc = (*inputs.shape[:-1], *shape[::-1]) if len(shape) == 3 else inputs.shape
            values = inputs.reshape(whc)
            if len(shape) == 3:
                values = values.transpose(*range(values.ndim - 3), -1, -2, -3)
            if layer["neuron"]["type"] != "SDNN":
                layer["image"] = values
            neuron = _neuron(layer, shape, reset, asked["spike_exp"])
            if layer["neuron"]["type"] == "SDNN":
                source = RingBuffer(data=np.moveaxis(values, 0, -1))
                source.s_out.connect(neuron.a_in)
        else:
            synapse = _synapse(layer, shape, before, graded)
            neuron = _neuron(layer, shape, reset, asked["spike_exp"])
            if out is None:
                data = inputs.reshape(len(inputs), *(before or inputs.shape[1:])[::-1])
                data = data.transpose(*range(data.ndim)[::-1])
                source = RingBuffer(data=data)
                out = source.s_out
            out.connect(synapse.s_in)
            synapse.a_out.connect(neuron.a_in)
        graded = layer["neuron"]["type"] == "SDNN"
        out, before = neuron.s_out, shape
        recorder = Recorder(
            received=[Variable("s", "int32", int(np.prod(shape)))], read=[], files=[str(folder / f"layer{count}.npy")],
            first_step=1, num_steps=steps, name=f"recorder{count}",
        )  # fmt: skip
        (out.flatten() if len(shape) > 1 else out).connect(recorder.a_in)
        count += 1
    LocalRuntime(neuron, Loihi2SimCfg(select_tag="fixed_pt")).run(steps)


if __name__ == "__main__":
    main(*sys.argv[1:])
