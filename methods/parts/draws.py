"""Random draws that are paired across methods and do not depend on the images' order."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from bench.arrays import FloatArray, IntArray
    from bench.contract import Context, ImageDataset


def priorities(train: ImageDataset, ctx: Context) -> FloatArray:
    """Return one uniform number for each image, float64 [N] in [0, 1).

    Notes
    -----
    Every method that draws takes the lowest priorities of its pool. So draws of different
    methods and budgets are nested as far as their pools allow: their differences come from the
    methods and not from the dice (common random numbers). The numbers follow the images' keys,
    so that the order of the files on a disk changes nothing.
    """
    drawn = np.empty(len(train))
    by_key = np.argsort(np.asarray(train.keys), kind="stable")
    drawn[by_key] = ctx.generator("draw").random(len(train))
    return drawn


def lowest(pool: IntArray, priority: FloatArray, count: int) -> IntArray:
    """Return the ``count`` positions of a pool with the lowest priorities, in that order."""
    return pool[np.argsort(priority[pool], kind="stable")[:count]]
