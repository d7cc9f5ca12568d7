"""How training changes samples at random: images, spectra, inputs left out, noise."""

import math

import torch
from jaxtyping import Float, Int64
from torch import Tensor

from pnbx_snn.errors import PnbxValueError, ShapeError

MAX_ANGLE = math.radians(15.0)
MAX_SCALE = 0.15
MAX_SHEAR = 0.2
MAX_SHIFT = 2.0 / 28
ELASTIC_STD = 1.2 / 28
"""Shift and elastic displacement as shares of the side: 2 and 1.2 pixels of a 28x28 image."""

NUM_KNOTS = 5


def _check_square(where: str, images: Tensor, side: int) -> None:
    if side < 1 or images.ndim != 2 or images.shape[1] != side * side:
        raise ShapeError(f"{where}: images must be [B, {side * side}] for side={side}, got {list(images.shape)}")


def _check_share(where: str, **share: float) -> None:
    for name, value in share.items():
        if not 0.0 <= value <= 1.0:
            raise PnbxValueError(f"{where}: {name} must be in [0, 1], got {value}")


def affine_elastic(
    images: Float[Tensor, "B N"], side: int, *, generator: torch.Generator, strength: float = 1.0
) -> Float[Tensor, "B N"]:
    r"""Turn, scale, shear, shift and wobble each image, all at random and each image on its own.

    The pixel at place ``p`` (from the centre) is read, bilinearly, at

    .. math::

        q = (s\,R_\varphi\,K_k)^{-1} (p - t) + d(p), \qquad
        K_k = \begin{pmatrix} 1 & k \\ 0 & 1 \end{pmatrix}

    with :math:`\varphi \sim a\,U(-15°, 15°)`, :math:`s \sim 1 + a\,U(-0.15, 0.15)`, :math:`k \sim a\,U(-0.2, 0.2)` and,
    in pixels of a 28x28 image, :math:`t \sim a\,U(-2, 2)` in each direction; ``a`` is the strength. The elastic
    displacement ``d`` is a 5x5 grid of Gaussian numbers, made smooth by bicubic interpolation, with a root mean square
    of :math:`1.2\,a` pixels in each direction. What is read outside the image is 0.

    Parameters
    ----------
    images
        Square images with values in [0, 1], rows of pixels one after the other.
    side
        Height and width in pixels. Shifts and displacements grow with it.
    generator
        Source of the random numbers (a CPU generator, wherever the images are).
    strength
        ``a`` in [0, 1]; 0 returns the images as they are. Lower it towards the end of a training to anneal.

    Returns
    -------
    Tensor
        ``[B, side²]`` with values in [0, 1], on the device of the input, which is not changed.

    Raises
    ------
    PnbxValueError
        If ``strength`` or a value of the images is not in [0, 1].
    ShapeError
        If the images do not have ``side²`` pixels.

    References
    ----------
    Simard, Steinkraus and Platt 2003, "Best practices for convolutional neural networks applied to visual document
    analysis" (affine and elastic distortion; theirs is white noise under a Gaussian filter, here a coarse grid under
    bicubic interpolation, which is cheaper and equally smooth); ``torch.nn.functional.grid_sample``. The ranges: own.

    Examples
    --------
    >>> image = torch.zeros(1, 28, 28)
    >>> image[:, 4:24, 13:15] = 1.0
    >>> changed = affine_elastic(image.flatten(1), 28, generator=torch.Generator().manual_seed(0))
    >>> changed.shape, bool((changed != image.flatten(1)).any())
    (torch.Size([1, 784]), True)
    """
    _check_square("affine_elastic", images, side)
    _check_share("affine_elastic", strength=strength)
    if strength == 0.0 or images.numel() == 0:
        return images
    low, high = images.aminmax()
    if not (low >= 0.0 and high <= 1.0):
        raise PnbxValueError(f"affine_elastic: images must be in [0, 1], got values from {low:g} to {high:g}")

    num_images = len(images)
    angle, scale, shear, right, down = (2.0 * torch.rand(5, num_images, generator=generator) - 1.0) * strength
    knots = torch.randn(num_images, 2, NUM_KNOTS, NUM_KNOTS, generator=generator)
    matrix = _inverse_affine(angle * MAX_ANGLE, 1.0 + scale * MAX_SCALE, shear * MAX_SHEAR)  # [B, 2, 2]
    # grid_sample counts from -1 to 1 between the outer edges of the pixels (align_corners=False), so a side is 2.
    shift = 2.0 * MAX_SHIFT * torch.stack([right, down], dim=1)  # [B, 2]
    centres = (2.0 * torch.arange(side) + 1.0) / side - 1.0
    places = torch.stack(torch.meshgrid(centres, centres, indexing="xy")).flatten(1)  # [2, N], the row (x, y)
    sources = torch.baddbmm(
        _elastic(knots, side).mul_(2.0 * ELASTIC_STD * strength), matrix, places - shift.unsqueeze(2)
    )  # [B, 2, N]
    grid = sources.reshape(num_images, 2, side, side).permute(0, 2, 3, 1)
    changed = torch.nn.functional.grid_sample(
        images.reshape(num_images, 1, side, side),
        grid.to(images.device, images.dtype),
        mode="bilinear",
        padding_mode="zeros",
        align_corners=False,
    )
    return changed.reshape(num_images, side * side).clamp_(0.0, 1.0)  # the sum of four products may round to over 1


def _inverse_affine(angle: Tensor, scale: Tensor, shear: Tensor) -> Tensor:
    """Return the inverse of scale · rotation · shear, ``[B, 2, 2]``."""
    cosine, sine = angle.cos(), angle.sin()
    rows = [cosine + shear * sine, sine - shear * cosine, -sine, cosine]
    return (torch.stack(rows, dim=1) / scale.unsqueeze(1)).reshape(-1, 2, 2)


def _elastic(knots: Tensor, side: int) -> Tensor:
    """Interpolate Gaussian numbers ``[B, 2, K, K]`` to fields ``[B, 2, side²]`` whose mean square is 1 on average."""
    # Bicubic interpolation is one matrix for both axes: what it makes of the unit vectors.
    unit = torch.eye(NUM_KNOTS).reshape(1, NUM_KNOTS, NUM_KNOTS, 1)
    weights = torch.nn.functional.interpolate(unit, size=(side, 1), mode="bicubic", align_corners=True)
    weights = weights.reshape(NUM_KNOTS, side)  # [K, side]
    weights = weights / weights.square().sum(dim=0).mean().sqrt()
    return (weights.T @ knots @ weights).flatten(2)


def shift_images(
    images: Float[Tensor, "B N"], side: int, *, generator: torch.Generator, max_shift: int = 1, probability: float = 1.0
) -> Float[Tensor, "B N"]:
    """Shift each image by whole pixels, at random; what comes in over the edge is 0.

    Parameters
    ----------
    images
        Square images, rows of pixels one after the other.
    side
        Height and width in pixels.
    generator
        Source of the random numbers (a CPU generator).
    max_shift
        Each direction moves by -max_shift ... max_shift pixels, all equally likely (0 among them).
    probability
        Share of the images that is shifted at all: lower it towards the end of a training to anneal the augmentation.

    Returns
    -------
    Tensor
        New images, ``[B, side²]``; the input is not changed.

    Raises
    ------
    PnbxValueError
        If ``max_shift`` is not in [0, side) or ``probability`` not in [0, 1].
    ShapeError
        If the images do not have ``side²`` pixels.

    Examples
    --------
    >>> image = torch.tensor([[0.0, 0.0, 0.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0]])
    >>> shifted = shift_images(image, 3, generator=torch.Generator().manual_seed(0))
    >>> shifted.shape, shifted.sum()
    (torch.Size([1, 9]), tensor(1.))
    """
    _check_square("shift_images", images, side)
    if not 0 <= max_shift < side:
        raise PnbxValueError(f"shift_images: max_shift must be in [0, {side}), got {max_shift}")
    _check_share("shift_images", probability=probability)
    num_images = len(images)
    shift = torch.randint(-max_shift, max_shift + 1, (num_images, 2), generator=generator)  # [B, (down, right)]
    shift *= torch.rand(num_images, 1, generator=generator) < probability
    padded = torch.nn.functional.pad(images.reshape(num_images, side, side), [max_shift] * 4)
    source = max_shift + torch.arange(side) - shift[:, :, None]  # [B, 2, side]: where each row and column comes from
    source = source.to(images.device)
    image = torch.arange(num_images, device=images.device)
    shifted = padded[image[:, None, None], source[:, 0, :, None], source[:, 1, None, :]]  # [B, side, side]
    return shifted.reshape(num_images, side * side)


def augment_features(
    features: Float[Tensor, "B T F"],
    *,
    generator: torch.Generator,
    max_shift: int = 8,
    max_time_mask: int = 8,
    max_band_mask: int = 6,
    num_masks: int = 2,
    noise: float = 0.1,
    strength: float = 1.0,
) -> Float[Tensor, "B T F"]:
    """Shift each recording in time, hide stretches of time and bands, and add noise, all at random.

    In this order: a shift by whole frames, up to ``max_shift`` either way, the first or last frame filling what comes
    in; ``num_masks`` stretches of 0 to ``max_time_mask`` frames and as many of 0 to ``max_band_mask`` bands, replaced
    by the recording's own mean; Gaussian noise of standard deviation ``noise``.

    Parameters
    ----------
    features
        As :func:`pnbx_snn.data.fsdd.load_fsdd` gives them.
    generator
        Source of the random numbers (a CPU generator, wherever the features are).
    max_shift, max_time_mask
        Frames, in [0, T].
    max_band_mask
        Bands, in [0, F].
    num_masks
        Of each kind.
    noise
        Standard deviation, in units of the features.
    strength
        In [0, 1]: shifts, widths and noise are this much smaller; 0 returns the features as they are.

    Returns
    -------
    Tensor
        ``[B, T, F]``, on the device of the input, which is not changed.

    Raises
    ------
    PnbxValueError
        If a number is out of its range.
    ShapeError
        If the features are not ``[B, T, F]``.

    References
    ----------
    Park et al. 2019, "SpecAugment: a simple data augmentation method for automatic speech recognition",
    arXiv:1904.08779 (the masks; no time warping here).

    Examples
    --------
    >>> features = torch.randn(2, 64, 40)
    >>> augment_features(features, generator=torch.Generator().manual_seed(0)).shape
    torch.Size([2, 64, 40])
    """
    if features.ndim != 3:
        raise ShapeError(f"augment_features: features must be [B, T, F], got {list(features.shape)}")
    num_recordings, num_frames, num_bands = features.shape
    for name, value, limit in (
        ("max_shift", max_shift, num_frames),
        ("max_time_mask", max_time_mask, num_frames),
        ("max_band_mask", max_band_mask, num_bands),
    ):
        if not 0 <= value <= limit:
            raise PnbxValueError(f"augment_features: {name} must be in [0, {limit}], got {value}")
    if num_masks < 0:
        raise PnbxValueError(f"augment_features: num_masks must be at least 0, got {num_masks}")
    if not 0.0 <= noise < math.inf:
        raise PnbxValueError(f"augment_features: noise must be finite and at least 0, got {noise}")
    _check_share("augment_features", strength=strength)
    if strength == 0.0 or features.numel() == 0:
        return features

    reach = strength * max_shift
    shift = (reach * (2.0 * torch.rand(num_recordings, 1, generator=generator) - 1.0)).round().long()
    sources = (torch.arange(num_frames) - shift).clamp_(0, num_frames - 1)  # [B, T]
    hidden_frames = _stretches(num_recordings, num_frames, num_masks, strength * max_time_mask, generator)  # [B, T]
    hidden_bands = _stretches(num_recordings, num_bands, num_masks, strength * max_band_mask, generator)  # [B, F]
    hidden = hidden_frames.unsqueeze(2) | hidden_bands.unsqueeze(1)  # [B, T, F]

    device = features.device
    moved = features.gather(1, sources.to(device).unsqueeze(2).expand(-1, -1, num_bands))
    changed = torch.where(hidden.to(device), moved.mean(dim=(1, 2), keepdim=True), moved)
    return changed + (noise * strength) * torch.randn(features.shape, generator=generator).to(changed)


def _stretches(batch: int, length: int, count: int, max_width: float, generator: torch.Generator) -> Tensor:
    """Mark random stretches of 0 to ``max_width`` places in each row, ``[batch, length]`` bool."""
    width = (torch.rand(batch, count, generator=generator) * (math.floor(max_width) + 1)).floor()  # [B, masks]
    start = (torch.rand(batch, count, generator=generator) * (length + 1 - width)).floor()
    place = torch.arange(length)
    inside = (place >= start.unsqueeze(2)) & (place < (start + width).unsqueeze(2))  # [B, masks, length]
    return inside.any(dim=1)


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
