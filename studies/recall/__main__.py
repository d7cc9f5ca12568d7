"""What a network remembers: train it on a task, test it at each size, add the result to a file of JSON lines.

python -m studies.recall --task recall --model PNB-X --seed 0 --out runs/recall.jsonl
python -m studies.recall --out runs/recall.jsonl             everything, what is there already is kept
python -m studies.recall --out runs/recall.jsonl --report docs/analysis      the table and the figure
"""

from __future__ import annotations

import argparse
import math
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from pnbx_snn.errors import PnbxError, PnbxValueError
from pnbx_snn.networks.pnbx import PNBXState
from studies.recall.models import MODELS, make_model
from studies.recall.tasks import SILENT, TASKS, Task, make_task, text
from studies.results import add, read
from studies.rivals import Transformer, count

RATES = (3e-3, 1e-2)
BATCH, SEEDS = 32, (0, 1, 2)
CHOOSING = 4
"""The rate is chosen in trainings of a quarter of the batches, with the first seed, on validation batches."""
CHUNK = 1_000
"""Steps that a test runs at a time, the state carried on."""
LONGEST_ATTENTION = 10_000
"""A Transformer's test beyond this many steps is not run: attention over 100,000 takes 100 times longer than this."""


def train(task: Task, name: str, *, seed: int, rate: float, steps: int, batch: int = BATCH) -> nn.Module:
    """Return a network trained with AdamW on ``steps`` batches, the rate rising for 5 % of them, then falling to 0."""
    model = make_model(name, task, seed=seed)
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min((step + 1) / (0.05 * steps + 1), 0.5 + 0.5 * math.cos(math.pi * step / steps))
    )
    generator = torch.Generator().manual_seed(1_000 + seed)
    model.train()
    for _ in range(steps):
        size = task.trained[int(torch.randint(len(task.trained), (1,), generator=generator))]
        tokens, targets = task.draw(size, batch, generator)
        loss = cross_entropy(model(tokens)[0].flatten(0, 1), targets.flatten(), ignore_index=SILENT)
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
    return model.eval()


@torch.no_grad()
def run(model: nn.Module, tokens: Tensor) -> Tensor:
    """Return the logits ``[T, B, C]`` of a sequence of any length, 1,000 steps at a time with the state carried on."""
    if isinstance(model, Transformer):
        logits: Tensor = model(tokens)[0]
        return logits
    state: Any = None
    parts = []
    for piece in tokens.split(CHUNK):  # type: ignore[no-untyped-call]
        logits, state = model(piece, state)
        if isinstance(state, PNBXState):
            state = state._replace(num_steps=0, total=torch.zeros_like(state.total))  # "step" logits need no sum
        parts.append(logits)
    return torch.cat(parts)


def score(model: nn.Module, task: Task, *, part: str, samples: int = 256) -> dict[str, float | None]:
    """Return the share of right answers at each size, of the last read only in ``flip_flop``; bits a byte for text.

    The sizes are those of training for ``part="validation"``, else those of the test. ``None``: not run, because the
    next smaller size was at chance already, or attention would be over more than 10,000 steps.
    """
    sizes = task.trained if part == "validation" else task.tested
    generator = torch.Generator().manual_seed(10_000 if part == "validation" else 20_000)
    found: dict[str, float | None] = {}
    for size in sizes:
        last = [value for value in found.values() if value is not None][-1:]
        lost = task.name == "flip_flop" and size > 100 and bool(last) and last[0] < 0.6
        if lost or (isinstance(model, Transformer) and size > LONGEST_ATTENTION):
            found[str(size)] = None
            continue
        at_once = 256 if size <= 1_000 else 32
        if isinstance(model, Transformer) and size > 1_000:
            at_once = 2
        total = samples if size <= 1_000 else 32
        found[str(size)] = _score(model, task, size, part, generator, min(at_once, total), total)
    return found


def _score(
    model: nn.Module, task: Task, size: int, part: str, generator: torch.Generator, at_once: int, samples: int
) -> float:
    right, asked = 0.0, 0
    for _ in range(math.ceil(samples / at_once)):
        tokens, targets = task.draw(size, at_once, generator, part)
        if task.name == "flip_flop":
            targets[:-1] = SILENT
        logits = run(model, tokens)
        where = targets != SILENT
        asked += int(where.sum())
        if task.name == "language":
            right += float(cross_entropy(logits[where], targets[where], reduction="sum")) / math.log(2)
        else:
            right += float((logits[where].argmax(dim=-1) == targets[where]).sum())
    return right / asked


def one(task: Task, name: str, seed: int, rate: float, *, steps: int, batch: int = BATCH) -> dict[str, Any]:
    """Train and test one network; return the line that is kept."""
    started = time.perf_counter()
    model = train(task, name, seed=seed, rate=rate, steps=steps, batch=batch)
    trained = time.perf_counter()
    line: dict[str, Any] = {
        "task": task.name,
        "model": name,
        "seed": seed,
        "rate": rate,
        "steps": steps,
        "batch": batch,
    }
    line["parameters"] = count(model)
    line["validation"] = _mean(score(model, task, part="validation"))
    if steps >= task.batches:  # a training that only chooses a rate never sees a test batch
        line["test"] = score(model, task, part="test")
    line["train_s"] = round(trained - started, 1)
    line["test_s"] = round(time.perf_counter() - trained, 1)
    if task.name == "language":
        line["text"] = text()[2]
    return line


def _mean(scores: dict[str, float | None]) -> float:
    known = [score for score in scores.values() if score is not None]
    return sum(known) / len(known)


def best_rate(lines: Sequence[dict[str, Any]], task: Task, model: str) -> float | None:
    """Return the rate with the best validation score of the short trainings, ``None`` if one is missing."""
    lines = [line for line in lines if _key(line)[:4] == (task.name, model, SEEDS[0], task.batches // CHOOSING)]
    if {line["rate"] for line in lines} < set(RATES):
        return None
    better = min if task.name == "language" else max
    rate: float = better(lines, key=lambda line: line["validation"])["rate"]
    return rate


def _key(line: dict[str, Any]) -> tuple[str, str, int, int, float]:
    return line["task"], line["model"], line["seed"], line["steps"], line["rate"]


def plan(lines: Sequence[dict[str, Any]], tasks: Sequence[Task], models: Sequence[str]) -> Iterator[tuple[Any, ...]]:
    """Yield all runs, as far as they are known: short ones with each rate, then with the best rate and each seed."""
    for task in tasks:
        for model in models:
            for rate in RATES:
                yield task.name, model, SEEDS[0], task.batches // CHOOSING, rate
    for seed in SEEDS:
        for task in tasks:
            for model in models:
                best = best_rate(lines, task, model)
                if best is not None:
                    yield task.name, model, seed, task.batches, best


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command."""
    parser = argparse.ArgumentParser(
        prog="python -m studies.recall", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--task", choices=TASKS, action="append", help="only this one (may be repeated)")
    parser.add_argument("--model", choices=MODELS, action="append", help="only this one (may be repeated)")
    parser.add_argument("--seed", type=int, help="only this run, at --rate")
    parser.add_argument(
        "--rate", type=float, default=RATES[0], help=f"learning rate of the run (default: {RATES[0]:g})"
    )
    parser.add_argument("--steps", type=int, help="batches of the run's training (default: the task's)")
    parser.add_argument("--out", type=Path, required=True, help="JSON lines; runs that are in it are not done again")
    parser.add_argument("--report", type=Path, help="write recall.md, recall.png and recall.json into this folder")
    options = parser.parse_args(arguments)
    torch.set_num_threads(1)
    try:
        if options.report is not None:
            from studies.recall.report import write

            write(read(options.out), options.report)
        else:
            _run(options)
    except PnbxError as error:
        sys.stderr.write(f"error: {error}\n")
        return 1
    except KeyboardInterrupt:
        sys.stderr.write("stopped; the same command goes on\n")
        return 130
    return 0


def _run(options: argparse.Namespace) -> None:
    tasks = [make_task(name) for name in options.task or TASKS]
    models = options.model or MODELS
    if options.steps is not None and options.steps < 1:
        raise PnbxValueError(f"recall: steps must be at least 1, got {options.steps}")
    options.out.parent.mkdir(parents=True, exist_ok=True)
    while True:
        lines = read(options.out)
        done = {_key(line) for line in lines}
        wanted: Iterable[tuple[Any, ...]] = plan(lines, tasks, models)
        if options.seed is not None:
            named = [(task.name, options.steps or task.batches) for task in tasks]
            wanted = [(task, model, options.seed, steps, options.rate) for task, steps in named for model in models]
        following = next((key for key in wanted if key not in done), None)
        if following is None:
            return
        name, model, seed, steps, rate = following
        sys.stderr.write(f"{name}, {model}, seed {seed}, rate {rate:g}, {steps} batches ...\n")
        line = one(make_task(name), model, seed, rate, steps=steps)
        add(options.out, line)
        shown = ", ".join(
            f"{size}: {'-' if x is None else f'{x:.3f}'}"
            for size, x in line.get("test", {"validation": line["validation"]}).items()
        )
        sys.stderr.write(f"    {shown}  ({line['train_s']} + {line['test_s']} s)\n")


if __name__ == "__main__":
    sys.exit(main())
