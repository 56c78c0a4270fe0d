"""Random views of images for the diversity: turned and recoloured, or cropped as released."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from torch import Tensor

    from bench.arrays import Pixels

ROTATION_DEG = 15.0
COLOUR = 0.4
CROP_AREA = (0.08, 1.0)
CROP_RATIO = (3 / 4, 4 / 3)
CROP_ATTEMPTS = 10
"""Of torchvision's RandomResizedCrop, whose defaults the released ``diversity.py`` takes."""
_BLOCK = 1024
"""Images whose draws are made together; another number would draw other views."""


@dataclass(frozen=True)
class Views:
    """One randomly rotated, mirrored and recoloured view of each image, made when looked at.

    "Rotations, flips, and color adjustments" (ADQ); angles up to 15 degrees and factors from 0.6
    to 1.4 for brightness and contrast are our choice.

    Parameters
    ----------
    images : uint8 [N, H, W, C]
        The originals, in memory or decoded on demand.
    draws : float32 [4, N]
        Angle, mirroring, brightness and contrast, uniform in 0 ... 1.
    """

    images: Pixels
    draws: Tensor

    @classmethod
    def draw(cls, images: Pixels, seed: int) -> Views:
        """Draw what happens to each image."""
        import torch

        generator = torch.Generator().manual_seed(seed)
        sizes = [min(_BLOCK, len(images) - start) for start in range(0, len(images), _BLOCK)]
        drawn = [torch.rand(4, size, generator=generator) for size in sizes]
        return cls(images, torch.cat(drawn, dim=1))

    def __len__(self) -> int:
        return len(self.images)

    def __getitem__(self, chosen: slice) -> Pixels:
        """Return some of the views, uint8 [n, H, W, C]."""
        import torch
        from torch.nn import functional

        block = torch.from_numpy(np.asarray(self.images[chosen])).permute(0, 3, 1, 2).float()
        angle, flip, brightness, contrast = self.draws[:, chosen]
        radians = torch.deg2rad((2 * angle - 1) * ROTATION_DEG)
        mirror = torch.where(flip < 0.5, -1.0, 1.0)
        cosine, sine, zero = torch.cos(radians), torch.sin(radians), torch.zeros_like(radians)
        matrix = torch.stack([mirror * cosine, -sine, zero, mirror * sine, cosine, zero], 1)
        grid = functional.affine_grid(matrix.view(-1, 2, 3), list(block.shape), False)
        turned = functional.grid_sample(block, grid, padding_mode="reflection", align_corners=False)
        mean = turned.mean((1, 2, 3), keepdim=True)
        factors = 1 + COLOUR * (2 * torch.stack([brightness, contrast]) - 1)
        bright, strong = factors[:, :, None, None, None]
        coloured = ((turned - mean) * strong + mean) * bright
        pixels: Pixels = coloured.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1).numpy()
        return pixels


@dataclass(frozen=True)
class Crops:
    """A random part of each image, resized to the whole, and whether it is mirrored.

    Parameters
    ----------
    top, left, height, width : int64 [N]
        The parts, in pixels.
    flip : bool [N]
        Which are mirrored.
    """

    top: Tensor
    left: Tensor
    height: Tensor
    width: Tensor
    flip: Tensor

    @classmethod
    def draw(cls, count: int, size: tuple[int, int], seed: int) -> Crops:
        """Draw parts as torchvision's RandomResizedCrop and RandomHorizontalFlip do.

        Areas are uniform in 8 to 100 % of the image, logarithms of aspect ratios uniform from 3/4
        to 4/3; of ten attempts the first one that fits counts, and where none does, the largest
        central part within those ratios.
        """
        import torch

        rows, columns = size
        generator = torch.Generator().manual_seed(seed)
        uniform = torch.rand(2, count, CROP_ATTEMPTS, generator=generator, dtype=torch.float64)
        area = rows * columns * (CROP_AREA[0] + (CROP_AREA[1] - CROP_AREA[0]) * uniform[0])
        low, high = (float(np.log(ratio)) for ratio in CROP_RATIO)
        ratio = torch.exp(low + (high - low) * uniform[1])
        width, height = torch.sqrt(area * ratio).round(), torch.sqrt(area / ratio).round()
        fits = (width > 0) & (width <= columns) & (height > 0) & (height <= rows)
        first = fits.to(torch.int8).argmax(dim=1, keepdim=True)
        fitted = fits.any(dim=1)
        width = torch.where(
            fitted, width.gather(1, first)[:, 0], min(columns, rows * CROP_RATIO[1])
        )
        height = torch.where(
            fitted, height.gather(1, first)[:, 0], min(rows, columns / CROP_RATIO[0])
        )
        width, height = width.round().long(), height.round().long()
        places = torch.rand(2, count, generator=generator, dtype=torch.float64)
        top = torch.where(fitted, (places[0] * (rows - height + 1)).long(), (rows - height) // 2)
        left = torch.where(
            fitted, (places[1] * (columns - width + 1)).long(), (columns - width) // 2
        )
        return cls(top, left, height, width, torch.rand(count, generator=generator) < 0.5)

    def apply(self, images: Tensor, index: slice) -> Tensor:
        """Return the parts at an index of images [B, C, H, W], resized bilinearly."""
        size = images.shape[2:]
        down = _resizing(self.top[index], self.height[index], size[0])
        along = _resizing(self.left[index], self.width[index], size[1])
        mirrored = self.flip[index, None, None]
        along = along.where(~mirrored, along.flip(1))
        down, along = (
            weights.to(images.device, images.dtype)[:, None] for weights in (down, along)
        )
        return down @ images @ along.mT


def _resizing(start: Tensor, length: Tensor, size: int) -> Tensor:
    """Return the matrices that stretch a part of a line to the whole, float64 [B, size, size]."""
    import torch

    place = (torch.arange(size, dtype=torch.float64) + 0.5) * (length[:, None] / size) - 0.5
    place = place.clamp(min=0)
    low = place.floor().long().minimum(length[:, None] - 1)
    high = (low + 1).minimum(length[:, None] - 1)
    share = place - low
    weights = torch.zeros(len(start), size, size, dtype=torch.float64)
    for corner, weight in ((low, 1 - share), (high, share)):
        weights.scatter_add_(2, (start[:, None] + corner)[:, :, None], weight[:, :, None])
    return weights
