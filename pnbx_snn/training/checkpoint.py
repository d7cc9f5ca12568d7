"""Checkpoints: one file with everything a training needs to go on, and the network back from it.

The tensors are those of the model (``model.<name>``), of the optimiser (``optimizer.<parameter>.<name>``) and others
that the training needs to go on (``training.<name>``); the description holds a :class:`CheckpointMeta` and the
optimiser's settings; :mod:`pnbx_snn.files.tensors` writes the file.
"""

import math
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from torch import Tensor, nn
from torch.overrides import TorchFunctionMode

import pnbx_snn
from pnbx_snn.errors import CheckpointError, PnbxTypeError
from pnbx_snn.files.tensors import Tensors, read_description, read_tensors, write_tensors
from pnbx_snn.networks.base import Network
from pnbx_snn.training.config import Config, make_config
from pnbx_snn.training.optimizer import load_optimizer, split_optimizer
from pnbx_snn.training.run_files import CHECKPOINT_NAME
from pnbx_snn.training.sparsity import make_sparse

MODEL, TRAINING = "model.", "training."
"""How the names of a model's tensors begin, and of those that its training needs beside them and its optimiser."""

LARGE = 1 << 16
"""Elements of a tensor that takes no memory where only its shape is asked for; no vector of a network is longer."""


class CheckpointMeta(BaseModel):
    """What a checkpoint says about itself.

    ``epoch`` and ``step`` count what is finished; ``config`` is the resolved configuration, ``{section: {key: value}}``
    (``None`` for a model that was built by hand); :func:`save_checkpoint` fills in the ``versions`` of the libraries.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, strict=True)

    epoch: int = Field(default=0, ge=0)
    step: int = Field(default=0, ge=0)
    seed: int | None = None
    config: dict[str, dict[str, Any]] | None = None
    versions: dict[str, str] = {}


def save_checkpoint(
    path: str | Path,
    model: nn.Module,
    *,
    meta: CheckpointMeta,
    optimizer: torch.optim.Optimizer | None = None,
    others: Tensors | None = None,
) -> None:
    """Write a checkpoint of any module whose ``state_dict`` holds tensors only, and of its optimiser if one is given.

    ``others`` are tensors that the training needs to go on, and the network does not.
    A crash or a full disk at any moment leaves the previous file as it was.

    Raises
    ------
    StorageError
        If it cannot be written.
    PnbxTypeError
        If the model or the optimiser has state that is neither a tensor nor plain JSON.

    Examples
    --------
    >>> path = getfixture("tmp_path") / "checkpoint.safetensors"
    >>> model = nn.Linear(2, 1)
    >>> save_checkpoint(path, model, meta=CheckpointMeta(epoch=3))
    >>> load_checkpoint(path, nn.Linear(2, 1)).epoch
    3
    """
    tensors = _named(MODEL, _model_tensors(model)) | _named(TRAINING, others or {})
    settings = None
    if optimizer is not None:
        optimizer_tensors, settings = split_optimizer(optimizer)
        tensors |= optimizer_tensors
    meta = meta.model_copy(update={"versions": _versions()})
    write_tensors(path, tensors, {"meta": meta.model_dump(), "optimizer": settings})


def load_checkpoint(
    path: str | Path,
    model: nn.Module,
    *,
    optimizer: torch.optim.Optimizer | None = None,
    others: Tensors | None = None,
) -> CheckpointMeta:
    """Read a checkpoint into a model, and into its optimiser and the ``others`` of its training if they are given.

    Everything is checked before anything is changed: file size, header, format version, sha256, and the names, shapes
    and types of all tensors.

    Raises
    ------
    CheckpointError
        If the file is missing, cut short, altered, of a newer format or no checkpoint at all; if it does not fit
        the model or the optimiser.
    """
    path = Path(path)
    description, tensors = read_tensors(path)
    meta = _meta(path, description)
    state = _fitting_state(path, tensors, model)
    found = _fitting(path, tensors, others, TRAINING, "training") if others else {}
    if optimizer is not None:
        load_optimizer(path, optimizer, tensors, description.get("optimizer"))
    model.load_state_dict(state)
    for name, tensor in found.items():
        (others or {})[name].copy_(tensor)
    return meta


def read_meta(path: str | Path) -> CheckpointMeta:
    """Read what a checkpoint says about itself, from its header alone; only :func:`load_checkpoint` checks the sha256.

    A :class:`CheckpointError` if the file is missing, or its header is not that of a checkpoint this version can read.
    """
    return _meta(Path(path), read_description(path))


def build_model(config: Config) -> Network:
    """Build the network that a configuration describes, with fresh weights from torch's global generator."""
    model = config.kind.build(config.data, config.network)
    make_sparse(model, config.sparsity)
    return model


class _LargeOnMeta(TorchFunctionMode):
    """Makes large new tensors on torch's meta device, which takes no memory for them.

    Not all of them: neurons look at their settings (a leak, a threshold) while they are built.
    """

    def __torch_function__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        kwargs = kwargs or {}
        if func in (torch.empty, torch.zeros, torch.ones, torch.rand, torch.randn):
            sizes = args[0] if args and not isinstance(args[0], int) else args
            if math.prod(sizes) > LARGE:
                kwargs = {**kwargs, "device": "meta"}
        return func(*args, **kwargs)


def planned_model(config: Config) -> Network:
    """Build the network of a configuration without memory for its matrices: to see their names and shapes."""
    with torch.random.fork_rng(devices=[]), _LargeOnMeta():
        return build_model(config)


def load_run(run_dir: str | Path) -> tuple[Network, Config]:
    """Rebuild the network of a training run, in evaluation mode, with its configuration.

    The configuration is the one inside the checkpoint; ``config.toml`` beside it is a copy for people. No memory is
    taken for a network whose tensors the file does not hold.

    Raises
    ------
    CheckpointError
        If the folder has no checkpoint or it cannot be used.
    ConfigError
        If its configuration is not one that this version knows.

    Examples
    --------
    >>> load_run("no_such_run")
    Traceback (most recent call last):
    pnbx_snn.errors.CheckpointError: no_such_run/checkpoint.safetensors: no such file
    """
    path = Path(run_dir) / CHECKPOINT_NAME
    config = saved_config(path)
    return restored_model(config, _fitting_state(path, read_tensors(path)[1], planned_model(config))), config


def restored_model(config: Config, state: Tensors) -> Network:
    """Build the network that a configuration describes, with this state, in evaluation mode."""
    with torch.random.fork_rng(devices=[]):  # the fresh weights are overwritten, so they cost the caller no randomness
        model = build_model(config)
    model.load_state_dict(state)
    return model.eval()


def saved_config(path: str | Path) -> Config:
    """Read the configuration inside a checkpoint.

    A :class:`CheckpointError` if the file is no checkpoint or holds no configuration, a :class:`ConfigError` if the
    configuration is not one that this version knows.
    """
    values = read_meta(path).config
    if values is None:
        raise CheckpointError(f"{path}: holds no configuration; only checkpoints of `pnbx-snn train` do")
    return make_config(values, where=str(path))


def _meta(path: Path, description: dict[str, Any]) -> CheckpointMeta:
    try:
        return CheckpointMeta.model_validate(description.get("meta"))
    except ValidationError as error:
        problem = error.errors(include_url=False)[0]
        name = ".".join(map(str, ("meta", *problem["loc"])))
        raise CheckpointError(f"{path}: is altered: {name}: {problem['msg'].lower()}") from error


def _model_tensors(model: nn.Module) -> Tensors:
    state = model.state_dict()
    for name, value in state.items():
        if not isinstance(value, Tensor):
            raise PnbxTypeError(f"checkpoint: the state of a model must be tensors, got {name}: {type(value).__name__}")
    return state


def _named(prefix: str, tensors: Tensors) -> Tensors:
    """Return tensors by their names in a file."""
    return {prefix + name: tensor for name, tensor in tensors.items()}


def _look(tensor: Tensor) -> str:
    return f"{str(tensor.dtype).removeprefix('torch.')} {list(tensor.shape)}"


def _fitting_state(path: Path, tensors: Tensors, model: nn.Module) -> Tensors:
    """Return the tensors of a file that are the model's, after comparing their names, shapes and types."""
    return _fitting(path, tensors, _model_tensors(model), MODEL, "model")


def _fitting(path: Path, tensors: Tensors, wanted: Tensors, prefix: str, owner: str) -> Tensors:
    """Return the tensors of a file whose names have the prefix, without it, if they are like those that are wanted."""
    expected = _named(prefix, wanted)
    found = {name: tensor for name, tensor in tensors.items() if name.startswith(prefix)}
    problems = [f"{name} is missing" for name in expected if name not in found]
    problems += [f"{name} is unknown to the {owner}" for name in sorted(found) if name not in expected]
    problems += [
        f"{name} is {_look(found[name])} in the file and {_look(tensor)} in the {owner}"
        for name, tensor in expected.items()
        if name in found and _look(found[name]) != _look(tensor)
    ]
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        raise CheckpointError(f"{path}: does not fit the {owner}: {'; '.join(problems[:3])}{more}")
    return {name.removeprefix(prefix): tensor for name, tensor in found.items()}


def _versions() -> dict[str, str]:
    libraries = {name: version(name) for name in ("torch", "snntorch", "norse", "numpy", "safetensors")}
    return {"pnbx-snn": pnbx_snn.__version__, "python": platform.python_version(), **libraries}
