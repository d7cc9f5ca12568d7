"""Handwriting varies: random affine and elastic distortion of images."""

import math

import torch
from jaxtyping import Float
from torch import Tensor

from pnbx_snn.errors import PnbxValueError, ShapeError

MAX_ANGLE = math.radians(15.0)
MAX_SCALE = 0.15
MAX_SHEAR = 0.2
MAX_SHIFT = 2.0 / 28
ELASTIC_STD = 1.2 / 28
"""Shift and elastic displacement as shares of the side: 2 and 1.2 pixels of a 28x28 image."""

NUM_KNOTS = 5


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
        Images with values in [0, 1], on the device of the input, which is not changed.

    Notes
    -----
    Shapes: ``[B, side²]`` to ``[B, side²]``.

    Integer counterpart: none, training only.

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
    if side < 1 or images.ndim != 2 or images.shape[1] != side * side:
        raise ShapeError(f"affine_elastic: images must be [B, {side * side}] for side={side}, got {list(images.shape)}")
    if not 0.0 <= strength <= 1.0:
        raise PnbxValueError(f"affine_elastic: strength must be in [0, 1], got {strength}")
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
        _elastic(knots, side).mul_(2.0 * ELASTIC_STD * strength),
        matrix,
        places - shift.unsqueeze(2),
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
