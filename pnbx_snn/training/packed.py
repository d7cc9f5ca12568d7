"""Packed networks: a trained network in one small file, its ternary weights in two bits each or fewer."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any, Literal, NamedTuple

import torch
from jaxtyping import Int8, UInt8
from torch import Tensor, nn

from pnbx_snn.errors import CheckpointError, PnbxTypeError
from pnbx_snn.files.tensors import Tensors, read_tensors, write_tensors
from pnbx_snn.files.zero_runs import fits_runs, pack_runs, unpack_runs
from pnbx_snn.layers.hippocampus import Hippocampus
from pnbx_snn.layers.ternary_layer import TernaryLayer
from pnbx_snn.networks.base import Network
from pnbx_snn.neurons.messages import TorusMessages
from pnbx_snn.training.checkpoint import load_run, planned_model, read_meta, restored_model
from pnbx_snn.training.config import Config, make_config
from pnbx_snn.wording import counted

KIND = "packed network"
CODES, RUNS, GAMMA = ".codes", ".runs", ".gamma"

Coding = Literal["auto", "bits2", "runs"]


def pack_sign_bits(ternary: Int8[Tensor, "*shape"]) -> UInt8[Tensor, " bytes"]:
    """Put four values of -1, 0 and 1 in a byte, row by row: 0 as 00, 1 as 01, -1 as 10, the first in the lowest bits.

    Raises
    ------
    PnbxTypeError
        If another value is among them.

    Examples
    --------
    >>> pack_sign_bits(torch.tensor([1, -1, 0, 0, 1], dtype=torch.int8)).tolist()
    [9, 1]
    """
    flat = ternary.flatten().to(torch.int16)
    if flat.numel() and int(flat.abs().max()) > 1:
        raise PnbxTypeError(f"pack_sign_bits: values must be -1, 0 and 1, got {int(flat.abs().max())} among them")
    codes = torch.where(flat < 0, 2, flat)
    codes = nn.functional.pad(codes, (0, -len(codes) % 4)).reshape(-1, 4)
    return (codes << torch.tensor([0, 2, 4, 6], dtype=torch.int16)).sum(dim=1).to(torch.uint8)


def unpack_sign_bits(codes: UInt8[Tensor, " bytes"], shape: torch.Size) -> Int8[Tensor, "*shape"]:
    """Undo :func:`pack_sign_bits`.

    Raises
    ------
    CheckpointError
        If the number of bytes does not fit the shape, or a code is 11.

    Examples
    --------
    >>> unpack_sign_bits(torch.tensor([9, 1], dtype=torch.uint8), torch.Size([5])).tolist()
    [1, -1, 0, 0, 1]
    """
    size = shape.numel()
    if codes.dtype != torch.uint8 or codes.shape != ((size + 3) // 4,):
        raise CheckpointError(
            f"packed weights of shape {list(shape)} must be {counted((size + 3) // 4, 'byte')}, "
            f"got {codes.dtype} {list(codes.shape)}"
        )
    values = (codes.to(torch.int16).unsqueeze(1) >> torch.tensor([0, 2, 4, 6], dtype=torch.int16)) & 3
    if bool((values == 3).any()):
        raise CheckpointError("packed weights hold the code 11, which stands for nothing")
    flat = values.flatten()[:size]
    return torch.where(flat == 2, -1, flat).to(torch.int8).reshape(shape)


def pack_run(
    run_dir: str | Path,
    path: str | Path,
    *,
    coding: Coding = "auto",
    measured: dict[str, Any] | None = None,
    loaded: tuple[Network, Config] | None = None,
) -> int:
    """Write the trained network of a run as one packed file, and return the size of the file in bytes.

    Each ternary matrix becomes its codes and its scale; all else (batch norm, leaks, biases, thresholds' controllers)
    stays as it is, in float32. ``coding`` is ``"bits2"``: two bits a weight (:func:`pack_sign_bits`), which any version
    of this package reads; ``"runs"``: runs of zeros (:func:`pnbx_snn.files.zero_runs.pack_runs`), 1.6 bits where 40 %
    are zeros and 0.6 where 90 % are; ``"auto"``: what is shorter for each matrix. ``measured`` is what is known of the
    network, for example its accuracy: plain JSON, stored in the file. ``loaded`` is the network and configuration of
    the run, where the caller has them already.

    Raises
    ------
    CheckpointError
        If the run cannot be loaded.
    PnbxTypeError
        If the network has no ternary weights.
    StorageError
        If the file cannot be written.
    """
    model, config = load_run(run_dir) if loaded is None else loaded
    meta = read_meta(Path(run_dir) / "checkpoint.safetensors")
    if not model.is_ternary:
        raise PnbxTypeError(f"{run_dir}: a [{model.section}] has no ternary weights to pack")
    tensors = dict(model.state_dict())
    for matrix in _matrices(model):
        ternary, gamma = matrix.rounded()
        del tensors[matrix.weight]
        tensors.pop(matrix.mask, None)
        tensors |= _coded(matrix.weight, ternary.detach().to(torch.int8), coding) | {matrix.weight + GAMMA: gamma}
    description = {
        "kind": KIND,
        "config": sections(config),
        "measured": measured or {},
        "epoch": meta.epoch,
        "seed": meta.seed,
        "versions": meta.versions,
    }
    has_runs = any(name.endswith(RUNS) for name in tensors)
    write_tensors(path, tensors, description, what=KIND, format_version=2 if has_runs else 1)
    return Path(path).stat().st_size


def load_packed(path: str | Path) -> tuple[Network, Config, dict[str, Any]]:
    """Rebuild a network from a packed file, in evaluation mode; return it, its configuration and what was measured.

    Ternary weights are equal to those that were packed. Scales agree to float32 rounding: the latent weights of the new
    network are ``gamma * n / nonzero`` times the ternary ones, whose mean magnitude is ``gamma``.

    Raises
    ------
    CheckpointError
        If the file is missing, altered, cut short, or no packed network.
    ConfigError
        If its configuration is not one that this version knows.
    """
    path = Path(path)
    description, tensors = read_tensors(path)
    if description.get("kind") != KIND or not isinstance(description.get("config"), dict):
        raise CheckpointError(f"{path}: is no packed network")
    config = make_config(description["config"], where=str(path))
    planned = planned_model(config)  # whose shapes are compared before the network takes memory
    state = {name: tensor for name, tensor in tensors.items() if not name.endswith((CODES, RUNS, GAMMA))}
    for matrix in _matrices(planned):
        key, weight = matrix.weight, matrix.latent
        if key + GAMMA not in tensors:
            raise CheckpointError(f"{path}: is altered: {key + GAMMA} is missing")
        gamma = tensors[key + GAMMA]
        if gamma.dtype != weight.dtype or gamma.ndim or not bool(gamma > 0):
            raise CheckpointError(f"{path}: is altered: {key + GAMMA} must be one number above 0, {weight.dtype}")
        ternary = _decoded(path, key, tensors, weight.shape).to(weight.dtype)
        share = ternary.abs().mean().clamp_min(torch.finfo(ternary.dtype).tiny)
        # Where all that are not 0 have one magnitude, it is their mean inside a mask, and their median: of a dense
        # matrix too, as more than half of it survive.
        dense_mean = matrix.scale == "absmean" and not matrix.is_sparse
        state[key] = ternary * (gamma / share if dense_mean else gamma)
        if matrix.is_sparse:
            state[matrix.mask] = ternary != 0
    expected = {name: (tensor.shape, tensor.dtype) for name, tensor in planned.state_dict().items()}
    found = {name: (tensor.shape, tensor.dtype) for name, tensor in state.items()}
    if found != expected:
        wrong = sorted(name for name in {**found, **expected} if found.get(name) != expected.get(name))
        raise CheckpointError(f"{path}: does not fit its configuration: {', '.join(wrong[:3])}")
    measured = description.get("measured")
    return restored_model(config, state), config, measured if isinstance(measured, dict) else {}


def sections(config: Config) -> dict[str, Any]:
    """Return the sections of a configuration without the folder of the data, which is of one machine only."""
    found: dict[str, Any] = config.model_dump()
    found["data"]["folder"] = ""
    return found


class _Matrix(NamedTuple):
    """A ternary matrix of a network: the names of its latent weights and of its mask, and what it is made of."""

    weight: str
    mask: str
    module: Hippocampus | TernaryLayer | TorusMessages

    @property
    def latent(self) -> Tensor:
        weight = self.module.K if isinstance(self.module, Hippocampus) else self.module.weight
        assert weight is not None
        return weight

    @property
    def scale(self) -> str:
        return getattr(self.module, "scale", "absmean")  # edges have no other

    @property
    def is_sparse(self) -> bool:
        return getattr(self.module, "mask", None) is not None

    def rounded(self) -> tuple[Tensor, Tensor]:
        found = self.module.rounded()
        assert found is not None
        return found


def _matrices(model: nn.Module) -> Iterator[_Matrix]:
    """Yield every ternary matrix."""
    for name, module in model.named_modules():
        if isinstance(module, Hippocampus):
            yield _Matrix(f"{name}.K", f"{name}.mask", module)
        elif isinstance(module, TernaryLayer | TorusMessages) and module.weight is not None:
            yield _Matrix(f"{name}.weight", f"{name}.mask", module)


def _coded(key: str, ternary: Tensor, coding: Coding) -> Tensors:
    two = pack_sign_bits(ternary)
    values = ternary.cpu().numpy()
    if coding == "bits2" or not fits_runs(values):
        return {key + CODES: two}
    runs = torch.from_numpy(pack_runs(values))
    return {key + RUNS: runs} if coding == "runs" or len(runs) < len(two) else {key + CODES: two}


def _decoded(path: Path, key: str, tensors: Tensors, shape: torch.Size) -> Tensor:
    found = [name for name in (key + CODES, key + RUNS) if name in tensors]
    if len(found) != 1:
        raise CheckpointError(f"{path}: is altered: {key + CODES} or {key + RUNS} is missing, or both are there")
    codes = tensors[found[0]]
    try:
        if found[0].endswith(CODES):
            return unpack_sign_bits(codes, shape)
        return torch.from_numpy(unpack_runs(codes.numpy(), shape.numel())).reshape(shape)
    except CheckpointError as error:
        raise CheckpointError(f"{path}: is altered: {found[0]}: {error}") from error
