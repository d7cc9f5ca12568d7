"""Tasks that need a memory: tokens ``[T, B]`` and targets ``[T, B]``, -1 where nothing is asked."""

import functools
import hashlib
import sys
from collections.abc import Callable
from dataclasses import dataclass

import torch
from jaxtyping import Int
from torch import Tensor

from pnbx_snn.errors import PnbxValueError

Batch = tuple[Int[Tensor, "T B"], Int[Tensor, "T B"]]
Draw = Callable[[int, int, torch.Generator], Batch]
SILENT = -1

KEYS = VALUES = 16
SYMBOLS = 8
COPIED = 8
WRITE, NOISE, READ = 0, 2, 4


@dataclass(frozen=True)
class Task:
    """A task: how batches are drawn, and the sizes that are trained and tested.

    Parameters
    ----------
    name, num_tokens, num_classes
        What it is, its vocabulary and its answers.
    draw
        ``draw(size, batch, generator)``; with ``part`` the text task says which part of the text.
    trained, tested
        Sizes (pairs, places, delay, bytes), as the task understands them.
    unit
        What a size counts.
    longest
        Steps of the longest training sequence.
    batches
        Batches of a training: the budget, the same for every network.
    """

    name: str
    num_tokens: int
    num_classes: int
    draw: Callable[..., Batch]
    trained: tuple[int, ...]
    tested: tuple[int, ...]
    unit: str
    longest: int
    batches: int


def recall(pairs: int, batch: int, generator: torch.Generator, part: str = "train") -> Batch:
    """Draw associative recall: ``pairs`` keys each followed by its value, then every key again; answer its value.

    Tokens 0-15 are keys, 16-31 values; keys differ within a sequence. T = 3 pairs.

    Examples
    --------
    >>> tokens, targets = recall(2, 1, torch.Generator().manual_seed(0))
    >>> tokens.flatten().tolist(), targets.flatten().tolist()
    ([12, 24, 2, 28, 12, 2], [-1, -1, -1, -1, 8, 12])
    """
    if not 1 <= pairs <= KEYS:
        raise PnbxValueError(f"recall: pairs must be between 1 and {KEYS}, got {pairs}")
    keys = torch.rand(batch, KEYS, generator=generator).argsort(dim=1)[:, :pairs].T  # [P, B]
    values = torch.randint(VALUES, (pairs, batch), generator=generator)
    order = torch.rand(batch, pairs, generator=generator).argsort(dim=1).T
    shown = torch.stack([keys, values + KEYS], dim=1).flatten(0, 1)  # [2 P, B]
    tokens = torch.cat([shown, keys.gather(0, order)])
    return tokens, torch.cat([torch.full_like(shown, SILENT), values.gather(0, order)])


def copy(places: int, batch: int, generator: torch.Generator, part: str = "train") -> Batch:
    """Draw selective copy: 8 symbols at random among blanks, in ``places`` steps; then 8 times "go": say them in order.

    Tokens 0-7 are symbols, 8 is blank, 9 go. T = places + 8.
    """
    if places < COPIED:
        raise PnbxValueError(f"copy: places must be at least {COPIED}, got {places}")
    symbols = torch.randint(SYMBOLS, (COPIED, batch), generator=generator)
    where = torch.rand(batch, places, generator=generator).argsort(dim=1)[:, :COPIED].sort(dim=1).values.T
    shown = torch.full((places, batch), SYMBOLS).scatter(0, where, symbols)
    tokens = torch.cat([shown, torch.full_like(symbols, SYMBOLS + 1)])
    return tokens, torch.cat([torch.full_like(shown, SILENT), symbols])


def flip_flop(delay: int, batch: int, generator: torch.Generator, part: str = "train") -> Batch:
    """Draw a delayed flip-flop: a bit is written, ``delay - 1`` noise bits follow, then "read": say the bit.

    Tokens 0, 1 write a bit, 2, 3 are noise, 4 reads. Before it, three more bits are written and read in 13 steps, so
    the memory must also be overwritten. T = 13 + 1 + delay.
    """
    if delay < 1:
        raise PnbxValueError(f"flip_flop: delay must be at least 1, got {delay}")
    written, tokens, targets = torch.randint(2, (4, batch), generator=generator), [], []
    for bit, wait in zip(written, (1, 4, 5, delay), strict=True):
        tokens += [bit.unsqueeze(0) + WRITE, torch.randint(2, (wait - 1, batch), generator=generator) + NOISE]
        tokens.append(torch.full((1, batch), READ))
        targets += [torch.full((wait, batch), SILENT), bit.unsqueeze(0)]
    return torch.cat(tokens), torch.cat(targets)


@functools.cache
def text() -> tuple[Int[Tensor, " n"], int, str]:
    """Return the text as indices, how many symbols it has, and what it is.

    The text is what ``help()`` says on topics (``pydoc_data.topics``, the reference of the language), which ships with
    every CPython; it differs between versions, so its version and SHA-256 stand with every result.
    """
    from pydoc_data.topics import topics

    data = "\n".join(topics[name] for name in sorted(topics)).encode()
    known = sorted(set(data))
    index = torch.full((256,), SILENT)
    index[torch.tensor(known)] = torch.arange(len(known))
    about = f"pydoc_data.topics of Python {sys.version.split()[0]}, {len(data):,} bytes, {len(known)} symbols, sha256 "
    return index[torch.tensor(list(data))], len(known), about + hashlib.sha256(data).hexdigest()[:16]


def language(length: int, batch: int, generator: torch.Generator, part: str = "train") -> Batch:
    """Draw pieces of a text: predict each next byte; of the text 90 % train, 5 % validation, 5 % test."""
    data, _, _ = text()
    edges = {"train": (0, 90), "validation": (90, 95), "test": (95, 100)}
    if part not in edges:
        raise PnbxValueError(f"language: part must be one of {', '.join(edges)}, got {part!r}")
    first, last = (len(data) * share // 100 for share in edges[part])
    if not 1 <= length < last - first:
        raise PnbxValueError(f"language: length must be between 1 and {last - first - 1} bytes, got {length}")
    start = torch.randint(first, last - length, (batch,), generator=generator)
    window = data[start + torch.arange(length + 1).unsqueeze(1)]  # [T + 1, B]
    return window[:-1], window[1:]


def make_task(name: str) -> Task:
    """Return the task of this name.

    Examples
    --------
    >>> make_task("flip_flop").tested
    (10, 100, 1000, 10000, 100000)
    """
    if name == "recall":
        return Task(name, KEYS + VALUES, VALUES, recall, (2, 4, 8, 16), (2, 4, 8, 16), "pairs", 48, 1_600)
    if name == "copy":
        return Task(name, SYMBOLS + 2, SYMBOLS, copy, (8, 16, 32, 64), (16, 32, 64, 128, 256), "places", 72, 600)
    if name == "flip_flop":
        tested = (10, 100, 1_000, 10_000, 100_000)
        return Task(name, READ + 1, 2, flip_flop, (1, 2, 4, 8, 16, 32, 64), tested, "steps of delay", 78, 300)
    if name == "language":
        symbols = text()[1]
        return Task(name, symbols, symbols, language, (64,), (64,), "bytes", 64, 600)
    raise PnbxValueError(f"recall: task must be one of {', '.join(TASKS)}, got {name!r}")


TASKS = ("recall", "copy", "flip_flop", "language")
