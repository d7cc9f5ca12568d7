"""Read the networks that lava-dl publishes, and compare every spike with what it publishes of them.

    python tests/published_netx.py LAVA_DL [--mnist DIR] [--executor NAME]

``LAVA_DL`` is a clone of github.com/lava-nc/lava-dl (BSD-3), whose large files must be there, not only their pointers.
``--mnist`` is a folder with the four files of MNIST. Where Lava is found, networks run on Lava's own processes as well.
"""

from __future__ import annotations

import argparse
import gzip
import sys
import tempfile
from pathlib import Path

import numpy as np

from neuromorphic import run
from neuromorphic.errors import LavaNotFoundError
from neuromorphic.executors.lava.environment import WORKER, find_lava_python
from neuromorphic.formats.netx import read_netx
from neuromorphic.ops import LIF, Delta

sys.path.insert(0, str(Path(__file__).parent / "support"))
from stock_lava import run_stock

GTS, TUTORIALS = "tests/lava/lib/dl/netx/gts", "tutorials/lava/lib/dl"
PILOT_LIF = ("input", "conv-0", "conv-1", "conv-2", "conv-3", "conv-4", "fc-0", "fc-1", "fc-2")


def say(text):
    """Print a line."""
    sys.stdout.write(f"{text}\n")


def planes(array):
    """Bring ``[x, y, channel, T]`` or ``[N, T]`` to ``[T, N]`` in the order channel, row, column."""
    return np.ascontiguousarray(array.T if array.ndim == 2 else array.transpose(3, 2, 1, 0)).reshape(
        array.shape[-1], -1
    )


class Table:
    """Rows of network, layers, neurons, steps, what it was compared with, values compared and different."""

    def __init__(self, root, python=None, executor="numpy"):
        self.root, self.python, self.executor, self.rows = Path(root), python, executor, []

    def run(self, program, inputs):
        return run(program, inputs, self.executor)

    def load(self, name):
        return np.load(self.root / name)

    def add(self, name, program, truth, pairs):
        """Compare pairs of arrays ``[T, N]``, ours and theirs; spikes count where one of the two has one."""
        neurons = [op for op in program.ops if isinstance(op, (LIF, Delta))]
        compared = sum(int(np.count_nonzero((np.asarray(a) != 0) | (np.asarray(b) != 0))) for a, b in pairs)
        different = sum(int(np.count_nonzero(np.asarray(a) != np.asarray(b))) for a, b in pairs)
        assert all(np.shape(a) == np.shape(b) for a, b in pairs), name
        self.rows.append(
            (name, len(neurons), sum(op.size for op in neurons), len(pairs[0][0]), truth, compared, different)
        )

    def add_stock(self, name, path, inputs, num_steps, **options):
        """Compare every layer with Lava's own processes, in their own steps."""
        if self.python is None:
            return
        with tempfile.TemporaryDirectory() as folder:
            sent = run_stock(self.python, WORKER, path, inputs, Path(folder), num_steps=num_steps, **options)
        program = read_netx(path, num_steps=num_steps, layer_steps=1)
        x = np.asarray(inputs)
        if program.ops[1].name == "pixels":
            x = x - int(program["lif0"].bias[0] >> 6)
        recording = self.run(program, x[np.newaxis] if x.ndim == 1 else x[:, np.newaxis])
        names = [f"{op.name}.{'delta' if isinstance(op, Delta) else 'spikes'}" for op in program.ops
                 if isinstance(op, (LIF, Delta))]  # fmt: skip
        if program.of_type(Delta):
            names += [name for name in recording.variables if name.startswith("sum")]
        scale = {"delta0.delta": 64}
        pairs = [
            (recording.variables[name][:, 0].astype(np.int64) * scale.get(name, 1), there)
            for name, there in zip(names, sent, strict=True)
        ]
        self.add(name, program, "stock Lava", pairs)

    def tiny(self):
        path, folder = self.root / "tests/lava/lib/dl/netx/tiny.net", f"{GTS}/tinynet"
        image = self.load(f"{folder}/input_bias.npy").transpose(2, 1, 0).reshape(-1).astype(int)
        program = read_netx(path, num_steps=15)
        got = self.run(program, (image - 34)[np.newaxis]).spikes()
        truths = {"lif0": "input", "lif2": "output"}
        pairs = [(got[name][:, 0], planes(self.load(f"{folder}/{file}.npy")[0][..., 1:].transpose(2, 1, 0, 3)))
                 for name, file in truths.items()]  # fmt: skip
        self.add("tiny.net", program, "slayer, input and last layer", pairs)
        self.add_stock("tiny.net", path, image, 40)

    def dense(self):
        path = self.root / TUTORIALS / "netx/oxford/Trained/network.net"
        spikes = self.load(f"{GTS}/dense/in.npy").T.astype(int)
        program = read_netx(path, num_steps=len(spikes))
        got = self.run(program, spikes[:, np.newaxis]).spikes()
        self.add(
            "gts/dense", program, "slayer, layer 1", [(got["lif1"][:-1, 0], self.load(f"{GTS}/dense/out.npy").T[1:])]
        )
        self.add_stock("Oxford", path, spikes, len(spikes))

    def pilotnet_lif(self):
        """Registers of a chip: 24 steps, of which a sample takes 17; layer ``n`` starts at step ``n``.

        The last layer is left out: its recorded current is not that of the recorded spikes before it.
        """
        path, folder = self.root / GTS / "pilotnet_lif/network.net", f"{GTS}/pilotnet_lif"
        image = self.load(f"{folder}/image.npy").transpose(2, 1, 0).reshape(-1) - 36
        program = read_netx(path, num_steps=17)
        recording = self.run(program, image[np.newaxis])
        before = self.run(
            read_netx(path, num_steps=17, layer_steps=1), image[np.newaxis]
        )  # biases alone, before a sample
        spikes, membranes = [], []
        for layer, name in enumerate(PILOT_LIF):
            steps = (np.arange(24) - layer) % 17
            for variable, file, pairs in (("spikes", name, spikes), ("v", name + "-v", membranes)):
                found = self.root / folder / f"{file}.npy"
                if not found.is_file() or found.stat().st_size < 200:  # a pointer to a large file
                    continue
                there = planes(self.load(f"{folder}/{file}.npy"))[:24].astype(int)
                ours = recording.variables[f"lif{layer}.{variable}"][steps, 0].astype(int)
                ours[:layer] = before.variables[f"lif{layer}.{variable}"][:layer, 0]
                if variable == "v":  # a chip that has just fired shows a code there
                    fired = recording.variables[f"lif{layer}.spikes"][steps, 0] > 0
                    fired[:layer] = before.variables[f"lif{layer}.spikes"][:layer, 0]
                    ours, there = np.where(fired, 0, ours), np.where(fired, 0, there)
                pairs.append((ours, there))
        self.add("PilotNet LIF", program, "Loihi registers, 9 layers: spikes", spikes)
        self.add("PilotNet LIF", program, "Loihi registers, 8 layers: v", membranes)

    def pilotnet_sdnn(self):
        folder = f"{GTS}/pilotnet_sdnn"
        image = self.load(f"{folder}/input.npy")
        for file, crop, layers in (("network", slice(None), "12"), ("square_network", slice(33), "1234")):
            path, x = self.root / folder / f"{file}.net", planes(image[crop, :33])
            program = read_netx(path, num_steps=20, layer_steps=1)
            recording = self.run(program, x)
            end = "_square" if file.startswith("square") else ""
            pairs = [(recording.variables[f"sigma{n}.s"][:, 0], planes(self.load(f"{folder}/sigma{n}{end}.npy")))
                     for n in layers]  # fmt: skip
            self.add(f"PilotNet SDNN, {file}", program, "lava-dl's Loihi 2 test, sums of " + layers, pairs)
            if not end:
                pairs = [(recording.variables["sum8.y"][:9, 0], self.load(f"{folder}/output.npy").T)]
                self.add(f"PilotNet SDNN, {file}", program, "lava-dl's tests, output", pairs)

    def driving(self):
        """Networks without published outputs, on Lava's own processes."""
        rng = np.random.default_rng(0)
        for file in ("netx/pilotnet_sdnn", "slayer/pilotnet/Trained"):
            path = self.root / TUTORIALS / file / "network.net"
            size = read_netx(path, num_steps=1).input.size
            frames = rng.integers(-64, 65, (20, size)) // 4 + rng.integers(-48, 49, size)
            self.add_stock(f"PilotNet SDNN, {file}", path, frames, 20)

    def mnist(self, folder):
        path = self.root / TUTORIALS / "netx/mnist/trained_mnist_network.net"
        images, labels = mnist_test(folder)
        spikes = rate_coded(images[:20], 32)
        self.add_stock("MNIST 784-128-64-10, 20 images", path, spikes.transpose(1, 0, 2).reshape(-1, 784), 640)
        program = read_netx(path, num_steps=32)
        hits = 0
        for k in range(0, len(labels), 500):
            fired = run(program, rate_coded(images[k : k + 500], 32), "native", record=["lif3.spikes"])
            hits += int((fired.variables["lif3.spikes"].sum(axis=0).argmax(axis=1) == labels[k : k + 500]).sum())
        say(f"MNIST 784-128-64-10: {hits} of {len(labels)} images in 32 steps")
        path = self.root / TUTORIALS / "bootstrap/mnist/Trained/network.net"
        for num_steps in (8, 16):
            program, hits = read_netx(path, num_steps=num_steps), 0
            for k in range(0, len(labels), 500):
                x = np.trunc(76 * (2 * images[k : k + 500] / 255 - 1) + 64).astype(int) - 64
                recording = run(program, x, "native", record=["sum3.y"])
                hits += int((recording.variables["sum3.y"][-1].argmax(axis=1) == labels[k : k + 500]).sum())
            say(f"MNIST 784-512-512-10: {hits} of {len(labels)} images in {num_steps} steps")
        self.add_stock("MNIST 784-512-512 (-10)", path, np.trunc(76 * (2 * images[0] / 255 - 1) + 64).astype(int), 64)


def mnist_test(folder):
    """Return the 10,000 test images ``[N, 784]`` and labels."""
    parts = [
        gzip.decompress((Path(folder) / f"t10k-{name}-ubyte.gz").read_bytes())
        for name in ("images-idx3", "labels-idx1")
    ]
    return np.frombuffer(parts[0][16:], np.uint8).reshape(-1, 784).astype(int), np.frombuffer(parts[1][8:], np.uint8)


def rate_coded(images, num_steps):
    """Encode images as that tutorial does: add the pixel up, spike above 1, back to 0; its first step is silent."""
    v, out = np.zeros(images.shape), []
    for step in range(num_steps):
        v += images / 255 if step else 0
        out.append(v > 1)
        v[v > 1] = 0
    return np.array(out, dtype=int)


def main():
    """Print the table; return 1 if anything is different."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("root", type=Path)
    parser.add_argument("--mnist", type=Path)
    parser.add_argument("--executor", default="numpy")
    arguments = parser.parse_args()
    try:
        python = find_lava_python().path
    except LavaNotFoundError as error:
        python = None
        say(f"without Lava: {error}")
    table = Table(arguments.root, python, arguments.executor)
    for part in (table.tiny, table.dense, table.pilotnet_lif, table.pilotnet_sdnn, table.driving):
        part()
    if arguments.mnist:
        table.mnist(arguments.mnist)
    for row in (("network", "layers", "neurons", "steps", "compared with", "values", "different"), *table.rows):
        say("{:42} {:>6} {:>8} {:>6} {:38} {:>9} {:>9}".format(*row))
    return int(any(row[-1] for row in table.rows))


if __name__ == "__main__":
    sys.exit(main())
