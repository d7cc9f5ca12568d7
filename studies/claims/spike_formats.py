"""How to store a step's spikes: bitmap, index list or CSR. Bytes in closed form, and the time of a product of each."""

from __future__ import annotations

import random
import statistics
import time
import warnings
from collections.abc import Callable, Sequence
from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import embedding_bag

from pnbx_snn.errors import PnbxValueError

DENSITIES = (0.01, 0.02, 0.05, 0.0625, 0.10, 0.188, 0.30, 0.50)
FORMATS = ("int8", "bitmap", "index list", "CSR")


def stored_bytes(neurons: int, density: float) -> dict[str, float]:
    """Return the bytes of one step's spikes in each format, by the mean number of spikes.

    ``int8``: a byte a neuron. ``bitmap``: a bit. ``index list``: a 16-bit number a spike (32 beyond 65,536 neurons).
    ``CSR``: the same and an int8 value a spike, and one 32-bit offset a row.

    Examples
    --------
    >>> found = stored_bytes(2048, 0.188)
    >>> [round(found[name]) for name in ("bitmap", "index list", "CSR")]
    [256, 770, 1159]
    """
    if neurons < 1 or not 0 <= density <= 1:
        raise PnbxValueError(
            f"stored_bytes: neurons must be at least 1 and density in [0, 1], got {neurons}, {density}"
        )
    spikes, index = density * neurons, 2 if neurons <= 1 << 16 else 4
    return {
        "int8": float(neurons),
        "bitmap": float(-(-neurons // 8)),
        "index list": index * spikes,
        "CSR": (index + 1) * spikes + 4,
    }


def break_even(neurons: int = 2048) -> float:
    """Return the density below which an index list is smaller than a bitmap.

    Examples
    --------
    >>> break_even()
    0.0625
    """
    bitmap = stored_bytes(neurons, 0.0)["bitmap"]
    return bitmap / stored_bytes(neurons, 1.0)["index list"]


class Timed(NamedTuple):
    """Processor seconds of a product from one format at one density: median and quartiles."""

    format: str
    density: float
    seconds: float
    low: float
    high: float


def measure_products(
    *,
    neurons: int = 2048,
    outputs: int = 2048,
    batch: int = 8,
    densities: Sequence[float] = DENSITIES,
    repeats: int = 7,
    seed: int = 0,
) -> list[Timed]:
    """Time ``W z`` for spikes that lie in memory as each format says, with torch, the formats taking turns.

    The weights are ternary, held in fp32, which every one of torch's products takes: what differs is how the spikes
    arrive. A bitmap is unpacked and multiplied densely; an index list adds up columns (``embedding_bag``); CSR goes
    through torch's own sparse product. All must give the same sums.

    Returns
    -------
    list of Timed
        For each density and format; int8 is the dense product of the converted bytes.
    """
    generator = torch.Generator().manual_seed(seed)
    weights = torch.randint(-1, 2, (outputs, neurons), generator=generator).float()  # [out, in]
    columns = weights.T.contiguous()  # [in, out]
    found = []
    for density in densities:
        spikes = (torch.rand(batch, neurons, generator=generator) < density).to(torch.uint8)  # [B, N]
        cases = _cases(spikes, weights, columns)
        expected = cases["int8"]()
        for name, case in cases.items():
            if not torch.equal(case(), expected):
                raise PnbxValueError(f"measure_products: {name} gives other sums than int8 at density {density}")
        seconds: dict[str, list[float]] = {name: [] for name in cases}
        order = random.Random(seed)
        for _ in range(repeats):
            names = list(cases)
            order.shuffle(names)
            for name in names:
                start = time.process_time()
                cases[name]()
                seconds[name].append(time.process_time() - start)
        for name, values in seconds.items():
            low, middle, high = statistics.quantiles(values, n=4)
            found.append(Timed(name, density, middle, low, high))
    return found


def _cases(spikes: Tensor, weights: Tensor, columns: Tensor) -> dict[str, Callable[[], Tensor]]:
    powers = 2 ** torch.arange(8, dtype=torch.uint8)
    padded = torch.nn.functional.pad(spikes, (0, -spikes.shape[1] % 8))
    bitmap = (padded.reshape(len(padded), -1, 8) * powers).sum(dim=2, dtype=torch.uint8)  # [B, N / 8]
    rows, indices = spikes.nonzero(as_tuple=True)
    counts = spikes.sum(dim=1, dtype=torch.int64)
    offsets = torch.cat([counts.new_zeros(1), counts.cumsum(0)])  # [B + 1]
    short = indices.to(torch.int32)  # torch has few operations for 16 bits
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # torch calls its sparse layouts beta
        sparse = torch.sparse_csr_tensor(offsets, indices, torch.ones(len(rows)), size=tuple(spikes.shape))

    def from_bitmap() -> Tensor:
        bits = ((bitmap.unsqueeze(2) & powers) != 0).flatten(1)[:, : spikes.shape[1]]
        return bits.float() @ weights.T

    return {
        "int8": lambda: spikes.float() @ weights.T,
        "bitmap": from_bitmap,
        "index list": lambda: embedding_bag(short, columns, offsets[:-1].to(torch.int32), mode="sum"),
        "CSR": lambda: torch.sparse.mm(sparse, columns),
    }
