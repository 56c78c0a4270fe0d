"""Texture level of images: the mean Sobel magnitude that ADQ takes for representativeness.

All sums are of integers, ``299 R + 587 G + 114 B`` and its Sobel differences, so the only rounding
is that of the last division.
"""

from __future__ import annotations

from typing import Any, TypeAlias

import numpy as np
from numpy.typing import ArrayLike, NDArray

Image: TypeAlias = NDArray[np.uint8]
Gray: TypeAlias = NDArray[np.int32]

WEIGHTS = (299, 587, 114)  # thousandths, as ITU-R BT.601 and OpenCV have them
BLOCK = 32768  # pixels worked on at a time: their five int32 arrays stay in a 1 MB cache
MOST_IMAGES = 250  # as many as a network looks at, for those that are decoded on demand


def texture_level(images: ArrayLike, patch: int = 32) -> NDArray[np.float64]:
    """Measure the texture level of each image.

    The mean over pixels of ``|dx| / 2 + |dy| / 2``, with the 3 x 3 Sobel derivatives of the gray
    image in [0, 1], averaged over the full patches of an image. Borders are mirrored without
    repeating the edge (OpenCV's reflect 101), for each patch by itself.

    Parameters
    ----------
    images : array_like, uint8, [N, H, W, C]
        Read block by block. RGB images (C = 3), or gray ones (C = 1).
    patch : int
        Side in pixels of the patches, at least 1. What remains at the right and the bottom is
        dropped; a dimension shorter than this is used whole.

    Returns
    -------
    ndarray, float64, [N]
        Texture levels in [0, 4], in units of the full intensity range.

    Raises
    ------
    ValueError
        For another type or shape of `images`, or `patch` below 1.

    Notes
    -----
    Across a dimension of one pixel the derivative is 0.

    Sources: ADQ (AAAI 2025), Eq. 3; its released ``texture_level.py``, which has no patches.
    """
    pixels: Any = images if hasattr(images, "dtype") else np.asarray(images)
    if pixels.dtype != np.uint8 or pixels.ndim != 4 or pixels.shape[3] not in (1, 3):
        found = f"{pixels.dtype} {list(pixels.shape)}"
        raise ValueError(f"images: {found}; allowed: uint8 [N, H, W, C] with C 1 or 3")
    count, height, width, _ = pixels.shape
    if not height or not width:
        raise ValueError(f"images: {height} x {width} pixels; allowed: 1 x 1 or more")
    if patch < 1:
        raise ValueError(f"patch: {patch}; allowed: 1 or more")
    h, w = min(patch, height), min(patch, width)
    corners = [(y, x) for y in range(0, height - h + 1, h) for x in range(0, width - w + 1, w)]
    total = np.zeros(count, np.int64)
    step = max(1, min(MOST_IMAGES, BLOCK // (h * w)))
    for i in range(0, count, step):
        block = np.asarray(pixels[i : i + step])  # decoded on demand where they do not fit
        for y, x in corners:
            total[i : i + step] += _gradient_sum(block[:, y : y + h, x : x + w])
    level: NDArray[np.float64] = total / (len(corners) * h * w * 2 * 255 * sum(WEIGHTS))
    return level


def _gradient_sum(images: Image) -> NDArray[np.int64]:
    """Sum ``|dx| + |dy|`` over the pixels of each image [n, h, w, C]."""
    _, h, w, _ = images.shape
    padded = _mirrored(_gray(images))
    # Differences along the flat array need no loop over short rows; what they compute across a
    # row's end falls into the two columns and two rows left out of the sum.
    flat, row = padded.reshape(-1), w + 2
    size = flat.size - 2 * row - 2
    dx = flat[2:] - flat[:-2]
    dx = dx[row:] + dx[:-row]
    dx = dx[row:] + dx[:-row]
    dy = flat[2 * row :] - flat[: -2 * row]
    dy = dy[1:] + dy[:-1]
    dy = dy[1:] + dy[:-1]
    magnitude = np.empty_like(padded)
    np.add(np.abs(dx, out=dx), np.abs(dy, out=dy), out=magnitude.reshape(-1)[:size])
    total: NDArray[np.int64] = magnitude[:, :h, :w].sum(axis=(1, 2), dtype=np.int64)
    return total


def _gray(images: Image) -> Gray:
    """Weigh the channels: intensities of 0 to 255,000."""
    if images.shape[3] == 1:
        return np.multiply(images[..., 0], np.int32(sum(WEIGHTS)))
    gray = np.multiply(images[..., 0], np.int32(WEIGHTS[0]))
    for channel in (1, 2):
        gray += np.multiply(images[..., channel], np.int32(WEIGHTS[channel]))
    return gray


def _mirrored(gray: Gray) -> Gray:
    """Add a border of one pixel by reflection about the edge pixels' centres."""
    n, h, w = gray.shape
    padded: Gray = np.empty((n, h + 2, w + 2), np.int32)
    padded[:, 1:-1, 1:-1] = gray
    # One pixel has no neighbour to reflect, and stands for it itself.
    padded[:, 0], padded[:, -1] = padded[:, min(2, h)], padded[:, max(-3, -h - 1)]
    padded[:, :, 0], padded[:, :, -1] = padded[:, :, min(2, w)], padded[:, :, max(-3, -w - 1)]
    return padded
