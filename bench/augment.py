"""Batches from images that live on the device: one gather crops, flips and shuffles."""

from __future__ import annotations

from collections.abc import Generator
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import torch
from torch import Tensor

if TYPE_CHECKING:
    from bench.arrays import IntArray, Pixels


torch.backends.cudnn.allow_tf32 = False  # "fp32" means fp32 on every device, from the start

_BLOCK = 250
"""Images whose pixels are counted at a time; they may be decoded on demand."""


@dataclass(frozen=True)
class Normalisation:
    """Channel means and deviations of images in [0, 1]."""

    mean: tuple[float, ...]
    deviation: tuple[float, ...]
    source: str = field(default="", compare=False)
    """Where the numbers come from; stands in every record."""

    @classmethod
    def of(cls, images: Pixels) -> Normalisation:
        """Return the statistics of images, uint8 [N, H, W, C]; exact sums of whole numbers.

        Images that are decoded on demand are gone through once in a process.
        """
        return cls._measured(images) if isinstance(images, np.ndarray) else cls._once(images)

    @classmethod
    @lru_cache(maxsize=8)
    def _once(cls, images: Any) -> Normalisation:
        return cls._measured(images)

    @classmethod
    def _measured(cls, images: Pixels) -> Normalisation:
        channels = images.shape[3]
        count = len(images) * images.shape[1] * images.shape[2]
        histograms = torch.zeros(channels, 256, dtype=torch.int64)
        for start in range(0, len(images), _BLOCK):
            block = images[start : start + _BLOCK]
            for channel in range(channels):
                pixels = torch.from_numpy(block[..., channel].reshape(-1).copy())
                histograms[channel] += torch.bincount(pixels, minlength=256)
        means, deviations = [], []
        values = torch.arange(256, dtype=torch.float64) / 255
        for histogram in histograms.to(torch.float64):
            mean = float((histogram * values).sum() / count)
            variance = float((histogram * (values - mean) ** 2).sum() / count)
            means.append(mean)
            deviations.append(max(variance, 1e-12) ** 0.5)
        return cls(tuple(means), tuple(deviations))


class TestImages(Protocol):
    """Images that are tested on, wherever they are."""

    device: torch.device
    labels: Tensor

    def __len__(self) -> int: ...

    @property
    def pixels(self) -> int:
        """Pixels of an image."""

    def blocks(self, size: int) -> Generator[Tensor]:
        """Yield all images in order, normalised, ``size`` of them at a time."""


class DeviceImages:
    """The images of one split on a device, as they are stored, cut and normalised batch by batch.

    Parameters
    ----------
    images : uint8 or float32 [N, H, W, C]
        All images of the split, 255 for white.
    labels : int64 [N]
        Their labels.
    normalisation : Normalisation
        What maps pixels to the network's inputs.
    device : torch.device
        Where the images live and the batches are made.
    padding : int
        Pixels around each image, which crops may reach into.
    fill : {"zeros", "reflect"}
        What is there: zeros, or the image mirrored without repeating its edge.
    """

    def __init__(
        self,
        images: Pixels,
        labels: IntArray,
        normalisation: Normalisation,
        device: torch.device,
        padding: int = 0,
        fill: Literal["zeros", "reflect"] = "zeros",
    ) -> None:
        self._height, self._width, self._channels = map(int, images.shape[1:])
        self.padding = padding
        border = ((0, 0), (padding, padding), (padding, padding), (0, 0))
        padded = torch.from_numpy(
            np.pad(images, border, mode="constant" if fill == "zeros" else "reflect")
        )
        self._padded_height, self._padded_width = padded.shape[1:3]
        self._padded = padded.to(device)
        self._mirrors = False
        self.labels = torch.from_numpy(labels).to(device)
        self.device = device
        scale = 255 * torch.tensor(normalisation.deviation, dtype=torch.float64)
        mean = 255 * torch.tensor(normalisation.mean, dtype=torch.float64)
        self._mean = mean.float().repeat(self._width).to(device)
        self._factor = (1 / scale).float().repeat(self._width).to(device)
        self._rows = torch.arange(self._height, device=device) * self._padded_width

    def __len__(self) -> int:
        return len(self.labels)

    def plain(self, start: int, stop: int) -> Tensor:
        """Return the images of a range, unchanged but normalised: float32 [B, C, H, W]."""
        index = torch.arange(start, stop, device=self.device)
        centre = torch.full_like(index, self.padding)
        return self._normalised(self._gather(index, centre, centre, None))

    def blocks(self, size: int) -> Generator[Tensor]:
        """Yield all images in order, normalised, ``size`` of them at a time."""
        for start in range(0, len(self), size):
            yield self.plain(start, min(start + size, len(self)))

    def augmented(self, index: Tensor, top: Tensor, left: Tensor, flip: Tensor | None) -> Tensor:
        """Return cropped and mirrored images, normalised: float32 [B, C, H, W].

        Parameters
        ----------
        index : int64 [B]
            Which images.
        top, left : int64 [B]
            Corner of each crop in the padded image, in 0 ... 2 * padding.
        flip : bool [B] or None
            Which images are mirrored.
        """
        return self._normalised(self._gather(index, top, left, flip))

    @property
    def pixels(self) -> int:
        """Pixels of an image."""
        return self._height * self._width

    def _gather(self, index: Tensor, top: Tensor, left: Tensor, flip: Tensor | None) -> Tensor:
        """Return the rows of cut images, as they are stored: [B * H, W * C].

        A row of a cut is one piece of memory, and so is a mirrored one in the mirrored image;
        picking whole rows is some ten times faster than picking pixels.
        """
        if flip is not None:
            self._mirror()
            index = index + flip * len(self)
            left = torch.where(flip, 2 * self.padding - left, left)
        first = (index * self._padded_height + top) * self._padded_width + left
        starts = (first[:, None] + self._rows).reshape(-1)
        return self._row_at_every_pixel().index_select(0, starts)

    def _row_at_every_pixel(self) -> Tensor:
        """Return a view in which every pixel is the start of a row: [pixels, W * C]."""
        length = self._width * self._channels
        count = self._padded.numel() // self._channels - (self._width - 1)
        return self._padded.as_strided((count, length), (self._channels, 1))

    def _mirror(self) -> None:
        """Put the mirrored images behind the others, once."""
        if not self._mirrors:
            self._padded = torch.cat([self._padded, self._padded.flip(2)])
            self._mirrors = True

    def _normalised(self, rows: Tensor) -> Tensor:
        images = rows.float().sub_(self._mean).mul_(self._factor)
        images = images.view(-1, self._height, self._width, self._channels)
        return images.permute(0, 3, 1, 2)


@dataclass(frozen=True)
class Epoch:
    """The random choices of one epoch, drawn on the CPU so that every device gets the same."""

    order: Tensor
    top: Tensor
    left: Tensor
    flip: Tensor | None

    @classmethod
    def draw(cls, images: int, padding: int, flip: bool, seed: int) -> Epoch:
        """Draw the order, the crops and the mirrorings of all images."""
        generator = torch.Generator().manual_seed(seed)
        order = torch.randperm(images, generator=generator)
        offsets = torch.randint(0, 2 * padding + 1, (2, images), generator=generator)
        mirrored = torch.rand(images, generator=generator) < 0.5 if flip else None
        return cls(order, offsets[0], offsets[1], mirrored)

    def to(self, device: torch.device) -> Epoch:
        """Return the choices on a device."""
        flip = None if self.flip is None else moved(self.flip, device)
        order, top, left = (moved(one, device) for one in (self.order, self.top, self.left))
        return Epoch(order, top, left, flip)


def moved(values: Tensor, device: torch.device) -> Tensor:
    """Return values of the CPU on a device, without waiting for what it is doing."""
    if device.type == "cpu":
        return values
    return values.pin_memory().to(device, non_blocking=True)
