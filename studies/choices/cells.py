"""What is trained: the grid of weights, events, blocks and readouts, and changes of one network, one at a time."""

from itertools import product
from pathlib import Path
from typing import NamedTuple

TASKS = {name: Path(__file__).parent / f"{name}.toml" for name in ("rows", "spoken")}
"""Configurations that the networks start from, by task."""

WEIGHTS = ("ternary", "float")
EVENTS = ("spikes", "analog")
BLOCKS = (1, 2, 3)
READOUTS = ("mean", "leaky", "last")


class Cell(NamedTuple):
    """One network: its name and part of the report, the section that it becomes and the keys that it changes."""

    part: str
    name: str
    section: str
    keys: tuple[str, ...]


def grid() -> list[Cell]:
    """Return the networks of the grid."""
    cells = []
    for blocks, readout, weights, events in product(BLOCKS, READOUTS, WEIGHTS, EVENTS):
        section = "analog" if events == "analog" else "pnbx"
        keys = [f"pnbx.num_blocks={blocks}", f"pnbx.readout={readout}"]
        keys += ["train.float_share=1.0"] * (weights == "float")
        cells.append(Cell("grid", f"{weights}, {events}, {blocks}, {readout}", section, tuple(keys)))
    return cells


MEMORYLESS = ("pnbx.event_levels=4", "pnbx.beta_encoder=0.0", "pnbx.threshold_encoder=0.5")
"""A graded encoder without memory: what the others in the list below start from. Its levels begin at half a standard
deviation of its current."""
SMOOTH = ("pnbx.graded_blocks=true", "pnbx.reset=none", "pnbx.threshold=0.3")
"""Blocks whose events follow their membranes: graded, from small potentials on, and never reset."""
CHANGES: dict[str, tuple[str, ...]] = {
    "spikes": (),
    "spikes, encoder from 0.5 on": ("pnbx.threshold_encoder=0.5",),
    "encoder of 3 levels": (*MEMORYLESS, "pnbx.event_levels=3"),
    "encoder of 4 levels": MEMORYLESS,
    "encoder and blocks of 4 levels": (*MEMORYLESS, "pnbx.graded_blocks=true"),
    "encoder of 4 levels with memory": (*MEMORYLESS, "pnbx.beta_encoder=0.5"),
    "window of 3": (*MEMORYLESS, "pnbx.window=3"),
    "window of 5": (*MEMORYLESS, "pnbx.window=5"),
    "window of 9": (*MEMORYLESS, "pnbx.window=9"),
    "window of 14": (*MEMORYLESS, "pnbx.window=14"),
    "window of 5, leaky readout": (*MEMORYLESS, "pnbx.window=5", "pnbx.readout=leaky"),
    "window of 5, two blocks": (*MEMORYLESS, "pnbx.window=5", "pnbx.num_blocks=2"),
    "window of 5, blocks of 4 levels without reset": (*MEMORYLESS, "pnbx.window=5", *SMOOTH),
    "window of 5, two blocks of 4 levels without reset": (*MEMORYLESS, "pnbx.window=5", "pnbx.num_blocks=2", *SMOOTH),
    "spikes, window of 5": ("pnbx.window=5",),
    "real state space": (*MEMORYLESS, "pnbx.ssm=real"),
    "complex state space": (*MEMORYLESS, "pnbx.ssm=complex"),
    "no micro-RNN": (*MEMORYLESS, "pnbx.rnn=none"),
    "no fast weights": (*MEMORYLESS, "pnbx.fast_weights=none"),
    "affine norms": (*MEMORYLESS, "pnbx.norm=affine"),
    "averaged weights": (*MEMORYLESS, "train.average=0.99"),
    "float for the first third": (*MEMORYLESS, "train.float_share=0.333"),
    "norms measured anew": (*MEMORYLESS, "train.reestimate=50"),
    "frozen where weights flip": (*MEMORYLESS, "train.freeze_flips=0.02"),
    "trained on the program's grid": (*MEMORYLESS, "pnbx.quantize=true"),
}
"""Changes of the ternary network of one block that reads the mean."""


def changes() -> list[Cell]:
    """Return the networks that differ from one in few keys."""
    return [Cell("changes", name, "pnbx", keys) for name, keys in CHANGES.items()]
