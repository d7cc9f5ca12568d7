"""Trained networks as folders that can be shared: packed weights, configuration, a model card; or from the Hub."""

import json
from pathlib import Path
from typing import Any

from pnbx_snn.errors import CheckpointError
from pnbx_snn.files.atomic_write import make_folder, write_atomically
from pnbx_snn.networks.base import Network
from pnbx_snn.training.checkpoint import load_run
from pnbx_snn.training.config import Config
from pnbx_snn.training.packed import Coding, load_packed, pack_run, sections
from pnbx_snn.wording import counted

WEIGHTS, CONFIG, CARD = "model.safetensors", "config.json", "README.md"
MAX_NAME = 96


def save_pretrained(
    run_dir: str | Path, folder: str | Path, *, coding: Coding = "auto", measured: dict[str, Any] | None = None
) -> Path:
    """Write a run's network as a folder in the format of the Hugging Face Hub, and return the folder.

    It gets ``model.safetensors`` (:func:`pnbx_snn.training.packed.pack_run`, with its ``coding``), ``config.json`` and
    ``README.md``, the model card, which shows what was ``measured``; other files in it are left alone.

    Raises
    ------
    CheckpointError
        If the run cannot be loaded.
    PnbxTypeError
        If the network has no ternary weights.
    StorageError
        If a file cannot be written.
    """
    model, config = load_run(run_dir)
    folder = make_folder(folder)
    size = pack_run(run_dir, folder / WEIGHTS, coding=coding, measured=measured, loaded=(model, config))
    shown = {"architecture": type(model).__name__, "library": "pnbx-snn", **sections(config)}
    write_atomically(folder / CONFIG, (json.dumps(shown, indent=2) + "\n").encode())
    write_atomically(folder / CARD, _card(type(model).__name__, config, measured or {}, size).encode())
    return folder


def from_pretrained(name: str | Path, *, revision: str | None = None) -> tuple[Network, Config, dict[str, Any]]:
    """Load a network from a folder, or from the Hugging Face Hub, as :func:`pnbx_snn.training.packed.load_packed` does.

    ``name`` is a folder that :func:`save_pretrained` left, or ``"owner/name"`` of a repository of the Hub, whose file
    is fetched once into the Hub's cache; ``revision`` is a branch, tag or commit of it. Only ``model.safetensors`` is
    read: no code, no pickle.

    Raises
    ------
    CheckpointError
        If there is neither such a folder nor such a repository, or the weights are altered or cut short.
    """
    path = Path(name)
    if path.is_dir():
        if not (path / WEIGHTS).is_file():
            raise CheckpointError(f"{path}: holds no {WEIGHTS}; save_pretrained writes one")
        return load_packed(path / WEIGHTS)
    if isinstance(name, Path) or str(name).count("/") != 1 or len(str(name)) > MAX_NAME:
        raise CheckpointError(f"{name}: no such folder, and no 'owner/name' of a repository")
    return load_packed(_fetched(str(name), revision))


def _fetched(name: str, revision: str | None) -> str:
    try:
        from huggingface_hub import hf_hub_download
    except ImportError as error:
        raise CheckpointError(f"{name}: fetching it needs huggingface_hub: pip install huggingface_hub") from error
    try:
        path: str = hf_hub_download(name, WEIGHTS, revision=revision)
    except (OSError, ValueError) as error:  # the Hub's errors are among these: no such repository, no connection
        raise CheckpointError(f"{name}: cannot be fetched from the Hub ({error})") from error
    return path


CARD_TEXT = """---
library_name: pnbx-snn
tags: [spiking-neural-network, ternary, neuromorphic]
---

# {kind} on {data.name}

A spiking network with weights of -1, 0 and 1, packed in {size:,} bytes.

```python
from pnbx_snn.training.pretrained import from_pretrained

model, config, measured = from_pretrained("this folder, or owner/name")
```

## Measured

{results}

## Trained

{epochs}, seed {train.seed}, on `{data.part}` of {data.name}; all else is in `config.json`.
"""


def _card(kind: str, config: Config, measured: dict[str, Any], size: int) -> str:
    numbers = [f"| {name} | {value} |" for name, value in measured.items() if isinstance(value, int | float | str)]
    table = "\n".join(["| | |", "| --- | --- |", *numbers])
    results = table if numbers else "Nothing was measured when this was written."
    return CARD_TEXT.format(
        epochs=counted(config.train.epochs, "epoch"),
        kind=kind,
        data=config.data,
        train=config.train,
        size=size,
        results=results,
    )
