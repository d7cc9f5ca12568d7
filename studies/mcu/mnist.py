"""A spiking network that reads MNIST with 12,608 bytes of ternary weights: as many as BitNetMCU's dense network has.

    python -m studies.mcu.mnist --data DIR --seed 0

Images are 28 x 28, made 16 x 16 as BitNetMCU does, and shown as a constant current. The training part (55,000 images)
is distorted ``COPIES`` times, less and less, the last time not at all; the last ``LAST`` of the epochs see the weaker
half. The validation part (the last 5,000 training images) chose among three trainings: 25 epochs 98.86 %, 80 epochs
98.92 %, 60 epochs on the answers of a convolutional teacher 98.62 %. The program sees the test images once.
"""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional

import neuromorphic
from pnbx_snn import SpikingClassifier
from pnbx_snn.data.augment import affine_elastic
from pnbx_snn.data.mnist import load_mnist
from pnbx_snn.data.split import Split

SIDE, COPIES = 16, 8
HIDDEN, NUM_STEPS = (128, 128), 8
BATCH, LEARNING_RATE, WEIGHT_DECAY = 256, 0.005, 0.01
LAST, SMOOTHING = 0.3, 0.02


def small(images: Tensor) -> Tensor:
    """Return images ``[B, 784]`` as ``[B, 256]``."""
    square = images.reshape(-1, 1, 28, 28)
    return functional.interpolate(square, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False).flatten(1)


def make_pool(images: Tensor, seed: int) -> Tensor:
    """Return distorted images, uint8 ``[COPIES, n, 256]``."""
    generator = torch.Generator().manual_seed(seed)
    pool = torch.empty(COPIES, len(images), SIDE * SIDE, dtype=torch.uint8)
    for copy in range(COPIES):
        strength = 0.7 * (1.0 - copy / (COPIES - 1))
        for start in range(0, len(images), 500):
            some = slice(start, start + 500)
            x = affine_elastic(images[some], 28, generator=generator, strength=strength)
            pool[copy, some] = (small(x) * 255.0).round().to(torch.uint8)
    return pool


def small_part(split: Split) -> tuple[Tensor, Tensor]:
    """Return a part of MNIST as images ``[n, 256]`` and labels."""
    return small(split.images[:]), split.labels


def say(text: str) -> None:
    """Print a line at once."""
    sys.stdout.write(text + "\n")
    sys.stdout.flush()


def network() -> SpikingClassifier:
    """Return the network, untrained: 256-128-128-10, 50,432 weights."""
    return SpikingClassifier(
        in_features=SIDE * SIDE, num_classes=10, hidden=HIDDEN, num_steps=NUM_STEPS, reset="subtract", learn_beta=True
    )


def accuracy(model: SpikingClassifier, images: Tensor, labels: Tensor) -> float:
    """Return the share of right labels."""
    model.eval()
    with torch.no_grad():
        logits = torch.cat([model.classify(images[at : at + 1000])[0] for at in range(0, len(images), 1000)])
    return float((logits.argmax(1) == labels).float().mean())


def train(
    pool: Tensor, labels: Tensor, held_out: tuple[Tensor, Tensor], epochs: int, seed: int
) -> Iterator[tuple[int, SpikingClassifier, float]]:
    """Yield epoch, network and validation accuracy; an epoch sees each image once, in a form drawn at random."""
    torch.manual_seed(seed)
    model = network()
    model.calibrate(pool[-1, :5000].float() / 255.0)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    batches = len(labels) // BATCH
    rates = torch.optim.lr_scheduler.OneCycleLR(optimizer, LEARNING_RATE, total_steps=epochs * batches, pct_start=0.05)
    for epoch in range(epochs):
        model.train()
        form = torch.randint(COPIES // 2 if epoch >= (1 - LAST) * epochs else 0, COPIES, (len(labels),))
        for chosen in torch.randperm(len(labels))[: batches * BATCH].reshape(batches, BATCH):
            logits, _ = model.classify(pool[form[chosen], chosen].float() / 255.0)
            loss = functional.cross_entropy(logits, labels[chosen], label_smoothing=SMOOTHING)
            optimizer.zero_grad()
            loss.backward()  # type: ignore[no-untyped-call]
            optimizer.step()
            rates.step()
            model.keep_in_range()
        yield epoch + 1, model, accuracy(model, *held_out)


def main() -> None:
    """Train, compile, and measure the program on the test images, once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/mcu_mnist"))
    parser.add_argument("--epochs", type=int, default=80)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--checkpoint", type=Path, help="Compile this checkpoint instead of training.")
    parser.add_argument("--test", action="store_true", help="Measure on the test images; for the last training only.")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    split, held_out = load_mnist(given.data, part="train"), load_mnist(given.data, part="validation")
    if given.checkpoint is None:
        kept = given.out / "pool.pt"
        if not kept.exists():
            torch.save(make_pool(split.images[:], given.seed), kept)
        started, pool = time.perf_counter(), torch.load(kept, weights_only=True)
        for epoch, model, found in train(pool, split.labels, small_part(held_out), given.epochs, given.seed):
            say(f"epoch {epoch}: validation {100 * found:.2f} %, {time.perf_counter() - started:.0f} s")
            torch.save(model.state_dict(), given.out / "checkpoint.pt")
    model = network()
    model.load_state_dict(torch.load(given.checkpoint or given.out / "checkpoint.pt", weights_only=True))
    program = neuromorphic.compile(model.eval())
    program.save(given.out / "program.npz")
    inputs = small(held_out.images[:]).numpy()
    labels = neuromorphic.run(program, inputs, "native").labels()
    say(f"program: validation {100 * np.mean(labels == held_out.labels.numpy()):.2f} %")
    if given.test:
        test = load_mnist(given.data, part="test")
        inputs = small(test.images[:]).numpy()
        np.savez(given.out / "test.npz", inputs=inputs, labels=test.labels.numpy())
        labels = neuromorphic.run(program, inputs, "native").labels()
        say(f"program: test {100 * np.mean(labels == test.labels.numpy()):.2f} %")


if __name__ == "__main__":
    main()
