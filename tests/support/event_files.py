"""Event recordings in the formats of the real data sets, made here."""

import h5py
import numpy as np


def write_heidelberg(path, recordings, labels):
    """Write SHD's and SSC's format: ragged arrays of times in seconds (half precision) and of channels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w") as file:
        spikes = file.create_group("spikes")
        for name, kind, place in (("times", np.float16, 0), ("units", np.uint16, 1)):
            ragged = spikes.create_dataset(name, (len(recordings),), dtype=h5py.vlen_dtype(kind))
            for number, recording in enumerate(recordings):
                ragged[number] = np.asarray(recording[place], kind)
        file["labels"] = np.asarray(labels, np.uint16)
        file["extra/keys"] = np.array([b"zero", b"one"])
        file["extra/speaker"] = np.zeros(len(labels), np.uint16)


def write_nmnist(path, events):
    """Write N-MNIST's format: 5 bytes an event, x, y, then 1 bit of polarity and 23 of microseconds."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(bytes([x, y]) + (p << 23 | t).to_bytes(3, "big") for x, y, p, t in events))


def heidelberg_set(folder, part="train", num=20, name="SHD"):
    """Write recordings of two classes that sound in two halves of the cochlea."""
    random = np.random.default_rng(num)
    labels = np.arange(num) % 2
    recordings = []
    for label in labels:
        times = np.sort(random.uniform(0, 0.19, 60))
        recordings.append((times, random.integers(350 * label, 350 * (label + 1), 60)))
    write_heidelberg(folder / name / f"{name.lower()}_{part}.h5", recordings, labels)
    return recordings, labels
