"""CCS: the same number of images from every range of difficulty, without the hardest."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated, ClassVar

import numpy as np

from bench.components import Between
from bench.contract import Context, ImageDataset, MethodInfo, register
from methods.parts.draws import lowest, priorities
from methods.parts.ranking import DynamicsMethod, easiest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bench.arrays import FloatArray, IntArray
    from methods.parts.pools import Picker


@register("ccs")
@dataclass(frozen=True)
class CoverageCentricSelection(DynamicsMethod):
    """Leave out the hardest images, then draw equally from strata of difficulty.

    Difficulty is the mean margin over the epochs (AUM): the label's probability minus the
    largest other one, low for hard images. What is left of the pool is divided into strata of
    equal width between its lowest and highest margin; the smallest stratum is served first and
    gets an equal share of what remains of the budget, or all that it holds; draws within a
    stratum are uniform (Zheng et al. 2023, Alg. 1; ``core/data/Coreset.py`` at 8b4e392).

    Parameters
    ----------
    cutoff : float
        beta, the share of a pool that is left out, in 0 ... 1; less where the budget needs more
        than is left. The paper tunes it for each ratio and data set. The released README has 0.3
        for keeping 10 % of CIFAR-10 and of ImageNet and 0.2 for 20 % of ImageNet, and nothing
        for others; 0.3 for all is our choice.
    strata : int
        Ranges of difficulty; 50 in the released code.
    extractor, epochs, balance
        As in :class:`methods.parts.ranking.DynamicsMethod`. The paper and its code do not
        balance: ``balance=false`` is theirs, balancing our default as for all methods.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="Coverage-centric coreset selection",
        paper="Zheng et al., ICLR 2023, arXiv 2210.15809",
        year=2023,
        kind="selection",
        code="haizhongzheng/Coverage-centric-coreset-selection; gives beta at 10 % only",
        released=True,
    )
    cutoff: Annotated[float, Between(0, 1)] = 0.3
    strata: Annotated[int, Between(1, 10000)] = 50

    def picker(self, train: ImageDataset, ctx: Context) -> Picker:
        """Return what draws from the strata, those of the hardest images first."""
        margins = self.dynamics(train, ctx)["margin"].mean(axis=0, dtype=np.float64)
        priority = priorities(train, ctx)

        def pick(pool: IntArray, count: int) -> IntArray:
            left = easiest(margins, pool, self.cutoff, count)
            stratum = stratum_of(margins[left], self.strata)
            quota = equal_shares(np.bincount(stratum, minlength=self.strata), count)
            return np.concatenate(
                [lowest(left[stratum == s], priority, quota[s]) for s in np.flatnonzero(quota)]
            )

        return pick


def stratum_of(values: FloatArray, strata: int) -> IntArray:
    """Return the range of equal width that each value lies in, int64 [n] in 0 ... strata - 1.

    The ranges begin at the lowest value and end a little above the highest one, by 1e-4 of its
    size, as in the released code (which goes below it when the highest value is negative, and
    loses images).
    """
    low, high = float(values.min()), float(values.max())
    width = (high + 1e-4 * abs(high) - low) / strata
    if width == 0:
        return np.zeros(len(values), dtype=np.int64)
    return ((values - low) / width).astype(np.int64).clip(max=strata - 1)


def equal_shares(sizes: Sequence[int] | IntArray, total: int) -> IntArray:
    """Return how many images to take of each stratum, as equally as their sizes allow.

    Parameters
    ----------
    sizes : int64 [strata]
        Images in each stratum.
    total : int
        What is taken in all, at most the sum of the sizes.

    Notes
    -----
    The smallest stratum is served first: it gives an equal share of what remains, rounded down,
    or all it has. Of equal sizes the lowest index is served first. The sum is exact.
    """
    counts = np.asarray(sizes, dtype=np.int64)
    quota = np.zeros_like(counts)
    remaining = total
    for served, stratum in enumerate(np.argsort(counts, kind="stable")):
        quota[stratum] = min(counts[stratum], remaining // (len(counts) - served))
        remaining -= int(quota[stratum])
    return quota
