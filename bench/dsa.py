"""Differentiable Siamese augmentation (Zhao and Bilen, ICML 2021): draws first, then the images.

What is drawn is a value of its own, so that real and synthetic images get the same augmentation
by being given the same draws. The draws are made on the CPU.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import torch
from torch import Tensor
from torch.nn import functional

OPERATIONS = ("color", "crop", "cutout", "flip", "scale", "rotate")
"""The released strategy ``color_crop_cutout_flip_scale_rotate``."""

FLIP_PROBABILITY = 0.5
LARGEST_SCALE = 1.2
ROTATION_DEG = 15.0
CROP_SHARE = 0.125
CUTOUT_SHARE = 0.5
BRIGHTNESS = 1.0
SATURATION = 2.0
CONTRAST = 0.5

_BRIGHTNESS, _SATURATION, _CONTRAST, _FLIP, _ROTATE = range(5)
_CROP, _CUTOUT, _SCALE = slice(5, 7), slice(7, 9), slice(9, 11)
_NUMBERS = 11


@dataclass(frozen=True)
class Draws:
    """What was drawn for some images, or for some groups of images.

    Parameters
    ----------
    operation : int64 [n]
        Position of the operation among the strategy's; used in the mode ``single``.
    numbers : float64 [n, 11]
        Uniform in [0, 1): what the operations' parameters are made of.
    """

    operation: Tensor
    numbers: Tensor

    def __len__(self) -> int:
        return len(self.operation)

    def take(self, index: Tensor) -> Draws:
        """Return the draws at these positions; a position may come more than once."""
        return Draws(self.operation[index], self.numbers[index])


@dataclass(frozen=True)
class SiameseAugmentation:
    """A strategy of differentiable augmentations, with the released parameters.

    The parameters are those of ``ParamDiffAug`` in ``utils.py`` of the released
    DatasetCondensation (commit 306245d).

    Parameters
    ----------
    operations : tuple of str
        Out of :data:`OPERATIONS`, in the order in which the mode ``multiple`` applies them. The
        released README leaves out ``flip`` for digits.
    mode : {"single", "multiple"}
        One operation for each draw (released mode S) or all of them (M).

    Notes
    -----
    Images are float [B, C, H, W] in normalised units; zeros come in from outside, which is the
    data set's mean colour. Every operation is differentiable in the images. Scaling and rotating
    do not use ``grid_sample``, whose gradient is not deterministic on CUDA, but a gather of four
    neighbours: its gradient is an ``index_add``, which torch sums in a fixed order on the CPU, and
    on CUDA where deterministic algorithms are asked for (``bench.training.deterministic``).
    """

    operations: tuple[str, ...] = OPERATIONS
    mode: Literal["single", "multiple"] = "single"

    def __post_init__(self) -> None:
        if not self.operations or not set(self.operations) <= set(OPERATIONS):
            raise ValueError(f"operations {self.operations}; choose one or more of {OPERATIONS}")

    def draw(self, count: int, generator: torch.Generator, one_operation: bool = False) -> Draws:
        """Draw for ``count`` images, or groups of images, from a generator of the CPU.

        Parameters
        ----------
        one_operation : bool
            All draws have one operation, each with parameters of its own: what the released code
            does when it trains a network (``DiffAugment`` without a seed).
        """
        drawn = torch.randint(
            len(self.operations), (1 if one_operation else count,), generator=generator
        )
        numbers = torch.rand(count, _NUMBERS, generator=generator, dtype=torch.float64)
        return Draws(drawn.expand(count), numbers)

    def apply(self, images: Tensor, draws: Draws) -> Tensor:
        """Return the augmented images.

        Parameters
        ----------
        images : float [B, C, H, W]
            Normalised images; they are left as they are.
        draws : Draws
            One for each image. Images with the same draw get the same augmentation.

        Raises
        ------
        ValueError
            When there are more or fewer draws than images.
        """
        if len(draws) != len(images):
            raise ValueError(f"{len(draws)} draws for {len(images)} images; give one for each")
        numbers = draws.numbers.to(images.device)
        if self.mode == "multiple":
            for name in self.operations:
                images = _APPLY[name](images, numbers)
            return images
        used = sorted(set(draws.operation.tolist()))
        if len(used) == 1:
            return _APPLY[self.operations[used[0]]](images, numbers)
        members = [torch.nonzero(draws.operation == one).flatten() for one in used]
        changed = []
        for one, index in zip(used, members, strict=True):
            here = index.to(images.device)
            changed.append(_APPLY[self.operations[one]](images[here], numbers[here]))
        back = torch.cat(members).argsort().to(images.device)
        return torch.cat(changed)[back]


def _column(numbers: Tensor, images: Tensor) -> Tensor:
    """Return numbers [B] as [B, 1, 1, 1] in the images' type."""
    return numbers.to(images.dtype).view(-1, 1, 1, 1)


def _color(images: Tensor, numbers: Tensor) -> Tensor:
    """Change brightness, saturation and contrast; grey images have no saturation to change."""
    images = images + _column((numbers[:, _BRIGHTNESS] - 0.5) * BRIGHTNESS, images)
    grey = images.mean(1, keepdim=True)
    images = (images - grey) * _column(numbers[:, _SATURATION] * SATURATION, images) + grey
    mean = images.mean((1, 2, 3), keepdim=True)
    return (images - mean) * _column(numbers[:, _CONTRAST] + CONTRAST, images) + mean


def _crop(images: Tensor, numbers: Tensor) -> Tensor:
    """Move the image by up to an eighth of its side each way."""
    rows, columns = (
        _places(side, images) + _shift(number, side)
        for side, number in zip(images.shape[2:], numbers[:, _CROP].unbind(1), strict=True)
    )
    return _gather(images, rows[:, :, None], columns[:, None, :])


def _shift(numbers: Tensor, side: int) -> Tensor:
    most = int(side * CROP_SHARE + 0.5)
    return (numbers * (2 * most + 1)).floor().long()[:, None] - most


def _cutout(images: Tensor, numbers: Tensor) -> Tensor:
    """Put zeros into a rectangle of half the sides, with its centre anywhere."""
    rows, columns = (
        _in_hole(side, number, images)
        for side, number in zip(images.shape[2:], numbers[:, _CUTOUT].unbind(1), strict=True)
    )
    is_kept = ~(rows[:, :, None] & columns[:, None, :])
    return images * is_kept[:, None].to(images.dtype)


def _in_hole(side: int, numbers: Tensor, images: Tensor) -> Tensor:
    size = int(side * CUTOUT_SHARE + 0.5)
    centre = (numbers * (side + 1 - size % 2)).floor().long()[:, None]
    place = _places(side, images) - (centre - size // 2)
    return (place >= 0) & (place < size)


def _flip(images: Tensor, numbers: Tensor) -> Tensor:
    """Mirror left and right."""
    is_mirrored = numbers[:, _FLIP] < FLIP_PROBABILITY
    return torch.where(is_mirrored[:, None, None, None], images.flip(3), images)


def _scale(images: Tensor, numbers: Tensor) -> Tensor:
    """Stretch width and height by factors of their own, from 1 / 1.2 to 1.2."""
    low = 1 / LARGEST_SCALE
    factors = numbers[:, _SCALE] * (LARGEST_SCALE - low) + low
    return affine(images, torch.diag_embed(factors))


def _rotate(images: Tensor, numbers: Tensor) -> Tensor:
    """Turn by up to 15 degrees either way."""
    angle = (2 * numbers[:, _ROTATE] - 1) * math.radians(ROTATION_DEG)
    cosine, sine = torch.cos(angle), torch.sin(angle)
    return affine(images, torch.stack([cosine, -sine, sine, cosine], 1).view(-1, 2, 2))


_APPLY: dict[str, Callable[[Tensor, Tensor], Tensor]] = {
    "color": _color,
    "crop": _crop,
    "cutout": _cutout,
    "flip": _flip,
    "scale": _scale,
    "rotate": _rotate,
}


def affine(images: Tensor, matrices: Tensor) -> Tensor:
    """Return images under linear maps of their coordinates, interpolated linearly.

    Parameters
    ----------
    images : float [B, C, H, W]
        Zeros are outside.
    matrices : float64 [B, 2, 2]
        From a result's (x, y) to the image's, both from -1 to 1 between the outer edges, as
        ``torch.nn.functional.grid_sample`` with ``align_corners=False``.
    """
    height, width = images.shape[2:]
    y = (2 * _places(height, images)[:, None].double() + 1) / height - 1
    x = (2 * _places(width, images).double() + 1) / width - 1
    (xx, xy), (yx, yy) = matrices.permute(1, 2, 0)[..., None, None]
    columns = ((xx * x + xy * y + 1) * width - 1) / 2
    rows = ((yx * x + yy * y + 1) * height - 1) / 2
    top, left = rows.floor(), columns.floor()
    below, right = torch.stack([rows - top, columns - left]).to(images.dtype)[:, :, None]
    top, left = top.long(), left.long()
    upper = _gather(images, top, left) * (1 - right) + _gather(images, top, left + 1) * right
    top = top + 1
    lower = _gather(images, top, left) * (1 - right) + _gather(images, top, left + 1) * right
    changed: Tensor = upper * (1 - below) + lower * below
    return changed


def _places(side: int, images: Tensor) -> Tensor:
    return torch.arange(side, device=images.device)


def _gather(images: Tensor, rows: Tensor, columns: Tensor) -> Tensor:
    """Return the pixels [B, C, H, W] at int64 rows and columns [B, H, W], zeros outside."""
    count, channels, height, width = images.shape
    ringed = functional.pad(images, (1, 1, 1, 1)).permute(0, 2, 3, 1)
    row = (rows + 1).clamp(0, height + 1)
    column = (columns + 1).clamp(0, width + 1)
    first = _places(count, images)[:, None, None] * ((height + 2) * (width + 2))
    index = first + row * (width + 2) + column
    pixels = ringed.reshape(-1, channels).index_select(0, index.flatten())
    return pixels.view(count, height, width, channels).permute(0, 3, 1, 2)
