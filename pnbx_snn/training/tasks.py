"""What a configuration's data section names: samples, and how training changes them."""

import math
import os
from pathlib import Path

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from pnbx_snn.data.arrays import ArraySizes, array_sizes, load_arrays, windows
from pnbx_snn.data.augment import affine_elastic
from pnbx_snn.data.events import SENSORS, load_events
from pnbx_snn.data.fsdd import augment_features, load_fsdd
from pnbx_snn.data.mnist import load_mnist
from pnbx_snn.data.split import Part, Sequences, Split, load_digits_split
from pnbx_snn.errors import ConfigError, DataError
from pnbx_snn.training.config import Config, make_config
from pnbx_snn.training.settings import DataConfig

DATA_VARIABLE = "PNBX_DATA"


def data_folder(config: DataConfig) -> Path:
    """Return the folder of the data sets: ``data.folder``, or what the environment variable ``PNBX_DATA`` says.

    Raises
    ------
    DataError
        If neither names one.
    """
    folder = config.folder or os.environ.get(DATA_VARIABLE, "")
    if not folder and config.name in SENSORS:
        raise DataError(
            f"data.name = {config.name!r} needs the folder where Tonic put it: --data DIR, data.folder or "
            f"{DATA_VARIABLE}"
        )
    if not folder:
        raise DataError(
            f"data.name = {config.name!r} needs a folder: --data DIR, data.folder or {DATA_VARIABLE}; "
            f"to get the files: pnbx-snn download {config.name.removesuffix('_rows')} --data DIR"
        )
    return Path(folder)


def arrays_path(config: DataConfig) -> Path:
    """Return where a user's arrays lie: ``data.path``, from ``data.folder`` if that is set."""
    return Path(config.folder) / config.path


def resolve(config: Config) -> Config:
    """Return a configuration whose sizes are known: of a user's arrays, what they have; any other as it is.

    Keys of ``[pnbx]`` that the configuration does not name get what suits arrays of any size. ``norm = "affine"``: few
    inputs under ternary weights make neurons that differ in nothing unless each has a bias. ``tau_max`` is the number
    of steps that a sample has or is shown (at least 2): slower memories would hardly charge. ``quantize = true``: what
    is trained is what is compiled.

    Raises
    ------
    DataError
        If the arrays cannot be used.
    ConfigError
        If they have other sizes than the configuration says, or need another network than it names.

    Examples
    --------
    >>> resolve(Config()) == Config()
    True
    """
    data = config.data
    if data.name != "arrays":
        return config
    found = array_sizes(arrays_path(data), values=data.values)
    for key, size in found._asdict().items():
        wanted = getattr(data, key)
        if wanted not in (0, size):
            raise ConfigError(f"data.{key} is {wanted} and {arrays_path(data)} has {size}; 0 takes what is there")
    values = config.model_dump()
    values["data"].update(found._asdict())
    suited = config.kind.suited(found.steps, config.network)
    values[config.section].update(
        {key: value for key, value in suited.items() if key not in config.network.model_fields_set}
    )
    return make_config(values)


def load_split(config: DataConfig, part: Part) -> Split:
    """Load a part of the data that a configuration names.

    Parameters
    ----------
    config
        Its ``name``, ``folder`` and options.
    part
        See :func:`pnbx_snn.data.split.load_digits_split`, :func:`pnbx_snn.data.mnist.load_mnist`,
        :func:`pnbx_snn.data.fsdd.load_fsdd`.

    Returns
    -------
    Split
        ``images`` is ``[n, N]`` for static samples and ``[n, T, N]`` for sequences; event data are read as they are
        indexed.

    Raises
    ------
    DataError
        If the files are missing or broken.

    Examples
    --------
    >>> load_split(DataConfig(), "test").images.shape
    torch.Size([360, 64])
    """
    if config.name == "digits":
        return load_digits_split(part=part)
    if config.name == "arrays":
        return _load_arrays(config, part)
    folder = data_folder(config)
    if config.name == "fsdd":
        recordings = load_fsdd(
            folder,
            part=part,
            held_out_speaker=config.held_out_speaker or None,
            num_frames=config.num_frames,
            num_bands=config.num_bands,
        )
        return Split(recordings.features, recordings.labels)
    if config.is_events:
        frames, labels = load_events(
            folder,
            config.name,  # type: ignore[arg-type]  # is_events says that it is one of them
            part=part,
            num_steps=config.num_frames,
            step_ms=config.step_ms,
            pool=config.pool,
        )
        return Split(frames, labels)
    split = load_mnist(folder, part=part)
    return split if config.name == "mnist" else Split(split.images[:].reshape(-1, 28, 28), split.labels)


def _load_arrays(config: DataConfig, part: Part) -> Split:
    split = load_arrays(
        arrays_path(config),
        part=part,
        validation_share=config.validation_share,
        test_share=config.test_share,
        split_seed=config.split_seed,
        values=config.values,
        sizes=ArraySizes(config.features, config.steps, config.classes) if config.is_resolved else None,
    )
    if config.window == 1:
        return split
    seen = windows(split.images[:], config.window)
    return Split(seen if split.lengths is None else Sequences(seen, split.lengths), split.labels)


def augment(
    x: Float[Tensor, "B *shape"], config: DataConfig, *, strength: float, generator: torch.Generator
) -> Float[Tensor, "B *shape"]:
    """Change samples at random: images by affine and elastic distortion, spoken digits by shifts, masks and noise.

    Parameters
    ----------
    x
        Samples as :func:`load_split` gives them.
    strength
        0 (as they are) to 1.

    Examples
    --------
    >>> x = load_split(DataConfig(), "validation").images
    >>> bool((augment(x, DataConfig(), strength=0.0, generator=torch.Generator()) == x).all())
    True
    """
    if strength == 0:
        return x
    if config.name == "fsdd":
        return augment_features(x, generator=generator, strength=strength)
    flat = x.flatten(1)
    return affine_elastic(flat, math.isqrt(flat.shape[1]), generator=generator, strength=strength).reshape(x.shape)


def drop_inputs(
    x: Float[Tensor, "B *shape"],
    share: float,
    *,
    generator: torch.Generator,
    batch: tuple[int, Int64[Tensor, " B"]] | None = None,
) -> Float[Tensor, "B *shape"]:
    """Set this share of the values to 0; in a sequence ``[B, T, N]`` the same inputs in every step.

    ``batch = (size, rows)`` says that ``x`` is these rows of a batch of that size, for all of which is drawn.

    Examples
    --------
    >>> drop_inputs(torch.ones(1, 4), 0.5, generator=torch.Generator().manual_seed(0))
    tensor([[0., 1., 0., 0.]])
    """
    if share == 0:
        return x
    size, rows = (len(x), slice(None)) if batch is None else batch
    mask = (torch.rand(size, x.shape[-1], generator=generator) >= share)[rows]  # [B, N]
    return x * (mask if x.ndim == 2 else mask.unsqueeze(1))


def add_noise(x: Float[Tensor, "*shape"], sigma: float, *, generator: torch.Generator) -> Float[Tensor, "*shape"]:
    """Add Gaussian noise of this standard deviation, drawn anew for every value.

    Examples
    --------
    >>> add_noise(torch.ones(2), 0.0, generator=torch.Generator())
    tensor([1., 1.])
    """
    if sigma == 0:
        return x
    return x + sigma * torch.randn(x.shape, generator=generator, dtype=x.dtype)
