"""Resize: every image is kept, at fewer pixels."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bench.contract import CompressedSet, Context, ImageDataset, Keeps, Method, MethodInfo, register
from bench.errors import UsageError

if TYPE_CHECKING:
    from bench.arrays import ByteArray
    from bench.budgets import Budget

_BATCH = 256


@register("resize")
@dataclass(frozen=True)
class Resize(Method):
    """Store all images smaller and train on them resized back: a control at equal bytes.

    The stored size is the largest whose pixels and labels fit the budget's share of the bytes,
    at the images' proportions. Down and up are bilinear, down with antialiasing; both round to
    whole grey levels.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="all images, smaller",
        paper="none",
        year=None,
        kind="storage",
        code="not needed",
        seeded=False,
    )

    @property
    def keeps(self) -> Keeps:
        """All images, in at most the budget's share of the bytes."""
        return Keeps.BYTES

    def compress(self, train: ImageDataset, budget: Budget, ctx: Context) -> CompressedSet:
        """Return all images as they come back from the stored size.

        Raises
        ------
        UsageError
            When not even one pixel an image fits.
        """
        height, width = stored_size(train, budget)
        label_bytes = train.bytes_per_image - int(np.prod(train.shape))
        each = height * width * train.shape[2] + label_bytes
        images = np.empty((len(train), *train.shape), dtype=np.uint8)
        for start in range(0, len(train), _BATCH):
            rows = slice(start, min(start + _BATCH, len(train)))
            small = resized(np.asarray(train.images[rows], dtype=np.uint8), height, width)
            images[rows] = resized(small, *train.shape[:2])
            ctx.progress("resize", rows.stop, len(train))
        return CompressedSet(
            np.arange(len(train), dtype=np.int64),
            images=images,
            stored_bytes=each * len(train),
            notes={"height": height, "width": width},
        )


def stored_size(train: ImageDataset, budget: Budget) -> tuple[int, int]:
    """Return the largest height and width at which all images fit a budget."""
    height, width, channels = train.shape
    label_bytes = train.bytes_per_image - height * width * channels
    each = budget.bytes(len(train) * train.bytes_per_image) // len(train) - label_bytes
    longer = max(height, width)
    for side in range(longer, 0, -1):
        rows, columns = (
            max(1, (2 * full * side + longer) // (2 * longer)) for full in (height, width)
        )
        if rows * columns * channels <= each:
            return rows, columns
    raise UsageError(
        f"{budget.words} leaves {max(each, 0)} bytes for the pixels of an image, fewer than one "
        f"pixel takes ({channels}). Raise the ratio"
    )


def resized(images: ByteArray, height: int, width: int) -> ByteArray:
    """Return images resized bilinearly, antialiased where they shrink, uint8 [B, height, width, C].

    Images of that size already come back unchanged.
    """
    import torch
    from torch.nn import functional

    if images.shape[1:3] == (height, width):
        return images
    pixels = torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).float()
    scaled = functional.interpolate(pixels, (height, width), mode="bilinear", antialias=True)
    rounded = scaled.round().clamp(0, 255).to(torch.uint8).permute(0, 2, 3, 1)
    result: ByteArray = rounded.numpy()
    return result
