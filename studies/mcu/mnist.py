"""A spiking network that reads MNIST with 12,608 bytes of ternary weights: as many as BitNetMCU's dense network has.

    pnbx-snn train examples/configs/mnist_teacher.toml --data DIR --set train.epochs=6 --out runs/mcu_teacher
    python -m studies.mcu.mnist --data DIR --seed 0

Images are 28 x 28, made 16 x 16 as BitNetMCU does, and shown as a constant current. The training part (55,000 images)
is distorted ``COPIES`` times; the teacher, which saw the same part, answers each distorted image once, and the network
learns its answers and the labels. The validation part (the last 5,000 training images) chose the settings below.
"""

from __future__ import annotations

import argparse
import math
import time
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn
from torch.nn import functional

import neuromorphic
from pnbx_snn import SpikingClassifier, load_run
from pnbx_snn.data.augment import affine_elastic
from pnbx_snn.data.mnist import load_mnist

SIDE, COPIES = 16, 10
HIDDEN, NUM_STEPS = (128, 128), 8
BATCH, LEARNING_RATE, WEIGHT_DECAY = 256, 0.005, 0.01
TEACHER_WEIGHT, TEMPERATURE = 0.7, 3.0


def small(images: Tensor) -> Tensor:
    """Return images ``[B, 784]`` as ``[B, 256]``."""
    square = images.reshape(-1, 1, 28, 28)
    return functional.interpolate(square, (SIDE, SIDE), mode="bilinear", antialias=True, align_corners=False).flatten(1)


@torch.no_grad()
def make_pool(teacher: nn.Module, images: Tensor, seed: int) -> tuple[Tensor, Tensor]:
    """Return distorted images, uint8 ``[COPIES, n, 256]``, and the teacher's answers, float16 ``[COPIES, n, 10]``."""
    generator = torch.Generator().manual_seed(seed)
    pool = torch.empty(COPIES, len(images), SIDE * SIDE, dtype=torch.uint8)
    answers = torch.empty(COPIES, len(images), 10, dtype=torch.float16)
    for copy in range(COPIES):
        strength = 0.8 * (1.0 - copy / COPIES) + 0.1
        for start in range(0, len(images), 500):
            some = slice(start, start + 500)
            x = affine_elastic(images[some], 28, generator=generator, strength=strength)
            pool[copy, some] = (small(x) * 255.0).round().to(torch.uint8)
            answers[copy, some] = teacher(x).to(torch.float16)
    return pool, answers


def network() -> SpikingClassifier:
    """Return the network, untrained: 256-128-128-10, 50,432 weights."""
    return SpikingClassifier(
        in_features=SIDE * SIDE, num_classes=10, hidden=HIDDEN, num_steps=NUM_STEPS, reset="subtract", learn_beta=True
    )


def accuracy(model: SpikingClassifier, images: Tensor, labels: Tensor) -> float:
    """Return the share of right labels."""
    model.eval()
    with torch.no_grad():
        right = [
            (model.classify(x)[0].argmax(1) == y).sum()
            for x, y in zip(images.split(1000), labels.split(1000), strict=True)
        ]
    return float(sum(right)) / len(labels)


def train(
    pool: tuple[Tensor, Tensor], labels: Tensor, held_out: tuple[Tensor, Tensor], epochs: int, seed: int
) -> SpikingClassifier:
    """Train a network; an epoch sees each image once, in the next of its distorted forms, the weakest ones last."""
    torch.manual_seed(seed)
    model, (images, answers) = network(), pool
    model.calibrate(images[-1, :5000].float() / 255.0)
    optimizer = torch.optim.AdamW(model.parameters(), LEARNING_RATE, weight_decay=WEIGHT_DECAY)
    steps, done = epochs * (len(labels) // BATCH), 0
    for epoch in range(epochs):
        model.train()
        started = time.perf_counter()
        copies = (
            torch.randint(COPIES, (len(labels),))
            if epoch < epochs - 4
            else torch.randint(COPIES // 2, COPIES, (len(labels),))
        )
        for chosen in torch.randperm(len(labels))[: len(labels) // BATCH * BATCH].split(BATCH):
            for group in optimizer.param_groups:
                group["lr"] = LEARNING_RATE * min(1.0, (done + 1) / 200) * 0.5 * (1 + math.cos(math.pi * done / steps))
            x, taught = images[copies[chosen], chosen].float() / 255.0, answers[copies[chosen], chosen].float()
            logits, _ = model.classify(x)
            soft = functional.kl_div(
                functional.log_softmax(logits / TEMPERATURE, 1),
                functional.softmax(taught / TEMPERATURE, 1),
                reduction="batchmean",
            )
            loss = TEACHER_WEIGHT * TEMPERATURE**2 * soft + (1 - TEACHER_WEIGHT) * functional.cross_entropy(
                logits, labels[chosen]
            )
            optimizer.zero_grad()
            loss.backward()
            optimizer.step()
            model.keep_in_range()
            done += 1
        if epoch % 4 == 3 or epoch == epochs - 1:
            found = accuracy(model, *held_out)
            print(
                f"epoch {epoch + 1}: validation {100 * found:.2f} %, {time.perf_counter() - started:.0f} s", flush=True
            )
    return model


def main() -> None:
    """Train, compile, and measure the program on the test images, once."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, required=True)
    parser.add_argument("--teacher", type=Path, default=Path("runs/mcu_teacher"))
    parser.add_argument("--out", type=Path, default=Path("runs/mcu_mnist"))
    parser.add_argument("--epochs", type=int, default=40)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--test", action="store_true", help="Measure on the test images; for the last training only.")
    given = parser.parse_args()
    torch.set_num_threads(1)
    given.out.mkdir(parents=True, exist_ok=True)
    split, held_out = load_mnist(given.data, part="train"), load_mnist(given.data, part="validation")
    kept = given.out / "pool.pt"
    if not kept.exists():
        teacher = load_run(given.teacher)[0]
        torch.save(make_pool(teacher, split.images[:], given.seed), kept)
    pool = torch.load(kept, weights_only=True)
    model = train(pool, split.labels, (small(held_out.images[:]), held_out.labels), given.epochs, given.seed)
    program = neuromorphic.compile(model.eval())
    program.save(given.out / "program.npz")
    inputs = small(held_out.images[:]).numpy()
    labels = neuromorphic.run(program, inputs, "native").labels()
    print(f"program: validation {100 * np.mean(labels == held_out.labels.numpy()):.2f} %")
    if given.test:
        test = load_mnist(given.data, part="test")
        inputs = small(test.images[:]).numpy()
        np.savez(given.out / "test.npz", inputs=inputs, labels=test.labels.numpy())
        labels = neuromorphic.run(program, inputs, "native").labels()
        print(f"program: test {100 * np.mean(labels == test.labels.numpy()):.2f} %")


if __name__ == "__main__":
    main()
