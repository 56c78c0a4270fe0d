"""Square patches of an image: the grid, which patches are kept, and what they take."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Literal

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from bench.arrays import Float32Array, IntArray

Edition = Literal["paper", "released"]


@dataclass(frozen=True)
class PatchGrid:
    """The patches of images of one size, counted row by row.

    Parameters
    ----------
    height, width : int
        Pixels of an image.
    rows, columns : int
        Patches. They cover the image; where a side is no multiple of the patch's, the last
        patches reach beyond it.
    side : int
        Pixels of a patch's side, in the image that the patches are cut from.
    is_native : bool
        Whether patches are cut from the image itself, or from one resized to fit them.
    """

    height: int
    width: int
    rows: int
    columns: int
    side: int
    is_native: bool = True

    @classmethod
    def native(cls, height: int, width: int) -> PatchGrid:
        """Return the grid for a network that is made for the images' own size.

        Eight patches along the longer side, of 2 to 16 pixels (our choice): 8 x 8 of 4 pixels
        at 32 x 32, 4 x 4 of 2 at 8 x 8, 14 x 14 of 16 at 224 x 224.
        """
        side = min(16, max(2, -(-max(height, width) // 8)))
        return cls(height, width, -(-height // side), -(-width // side), side)

    @classmethod
    def resized(cls, height: int, width: int, count: int, side: int) -> PatchGrid:
        """Return the grid of ``count`` x ``count`` patches that images are resized to fit."""
        return cls(height, width, count, count, side, is_native=False)

    @property
    def total(self) -> int:
        """Number of patches."""
        return self.rows * self.columns

    def kept(self, drop: float, edition: Edition) -> int:
        """Return the number of patches that are kept when a share of them is dropped.

        Notes
        -----
        The released code keeps ``int(total * (1 - drop))`` (``mae_models.py``, ``cam_masking``):
        156 of 196 at 0.2, 147 at 0.25. The paper states no rounding; its edition keeps the
        nearest whole number, halves up, and at least one (our choice).
        """
        if edition == "released":
            return int(self.total * (1 - drop))
        share = 1 - Fraction(str(drop))
        return max(1, int(self.total * share + Fraction(1, 2)))

    def patch_of_pixels(self) -> IntArray:
        """Return the number of the patch that each pixel belongs to, int64 [height, width].

        A pixel of a resized image belongs to the patch that its centre falls into.
        """
        row, column = (
            np.arange(length) // self.side
            if self.is_native
            else (2 * np.arange(length) + 1) * count // (2 * length)
            for length, count in ((self.height, self.rows), (self.width, self.columns))
        )
        return np.add.outer(row * self.columns, column).astype(np.int64)

    def visible(self, mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """Return which pixels lie in kept patches, bool [B, height, width].

        Parameters
        ----------
        mask : bool [B, total]
            Which patches are kept.
        """
        return mask[:, self.patch_of_pixels()]

    def pixels_of(self, kept: int) -> int:
        """Return how many pixels of an image ``kept`` patches take, the most that they can.

        Notes
        -----
        Where patches are cut from a resized image the share of the pixels is nominal, rounded
        up, as in the released README's accounting.
        """
        if not self.is_native:
            return -(-self.height * self.width * kept // self.total)
        sizes = np.bincount(self.patch_of_pixels().reshape(-1), minlength=self.total)
        return int(np.sort(sizes)[::-1][:kept].sum())


def most_important(importance: Float32Array, kept: int) -> IntArray:
    """Return the numbers of the most important patches of each image, int64 [B, kept].

    Parameters
    ----------
    importance : float32 [B, total]
        Of each patch. Ties go to the lowest number.
    """
    return np.argsort(-importance, axis=1, kind="stable")[:, :kept]


def masks_of(kept: IntArray, total: int) -> NDArray[np.bool_]:
    """Return which patches are kept, bool [B, total], from their numbers, int64 [B, kept]."""
    mask = np.zeros((len(kept), total), dtype=bool)
    np.put_along_axis(mask, kept, True, axis=1)
    return mask
