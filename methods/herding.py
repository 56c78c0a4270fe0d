"""Herding: images whose mean embedding stays close to that of their class."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bench.contract import MethodInfo, register
from methods.parts.selection import GreedySelection

if TYPE_CHECKING:
    from bench.arrays import Float32Array, IntArray


@register("herding")
@dataclass(frozen=True)
class Herding(GreedySelection):
    r"""Pick next the image that brings the mean of the picks closest to the pool's mean.

    :math:`x_{k+1} = \arg\min_x \| \mu - \frac{1}{k+1} (x + \sum_{i \le k} x_i) \|`
    (Welling 2009; the greedy form of iCaRL, Rebuffi et al. 2017, Alg. 4). The pool is a class, or
    the training split. Ties go to the lowest index.

    Parameters
    ----------
    extractor, extractor_epochs, balance
        As in :class:`methods.parts.selection.EmbeddingSelection`.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="herding",
        paper="Welling, ICML 2009; Rebuffi et al., CVPR 2017",
        year=2009,
        kind="selection",
        code="DeepCore; its herding.py (7436c0a) takes the farthest image, not the closest",
        released=True,
    )

    def pick(self, features: Float32Array, count: int) -> IntArray:
        """Return the picks; O(count n d)."""
        points = features.astype(np.float64)
        mean = points.mean(axis=0)
        squares = np.einsum("nd,nd->n", points, points)
        picked, total = np.empty(count, dtype=np.int64), np.zeros_like(mean)
        for k in range(count):
            # |(k+1) mean - total - x|^2 without the part that is the same for every x
            distance = squares - 2 * np.einsum("nd,d->n", points, (k + 1) * mean - total)
            distance[picked[:k]] = np.inf
            picked[k] = distance.argmin()
            total += points[picked[k]]
        return picked
