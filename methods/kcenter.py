"""k-center greedy: every image near to a kept one."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, ClassVar

import numpy as np

from bench.contract import MethodInfo, register
from methods.parts.selection import GreedySelection

if TYPE_CHECKING:
    from bench.arrays import Float32Array, IntArray


@register("kcenter")
@dataclass(frozen=True)
class KCenterGreedy(GreedySelection):
    r"""Pick next the image farthest from all that are picked.

    :math:`x_{k+1} = \arg\max_x \min_{i \le k} \| x - x_i \|` (Sener and Savarese 2018, Alg. 1),
    which keeps the largest distance to a kept image within twice the optimum. The first one is
    the image closest to the pool's mean, where the released codes draw it. The pool is a class, or
    the training split. Ties go to the lowest index.

    Parameters
    ----------
    extractor, extractor_epochs, balance
        As in :class:`methods.parts.selection.EmbeddingSelection`.
    """

    info: ClassVar[MethodInfo] = MethodInfo(
        title="k-center greedy",
        paper="Sener & Savarese, ICLR 2018, arXiv 1708.00489",
        year=2018,
        kind="selection",
        code="DeepCore; its first image is drawn",
        released=True,
    )

    def pick(self, features: Float32Array, count: int) -> IntArray:
        """Return the picks; O(count n d)."""
        points = features.astype(np.float64)
        picked = np.empty(count, dtype=np.int64)
        nearest = np.full(len(points), np.inf)
        following = _distances(points, points.mean(axis=0)).argmin()
        for k in range(count):
            picked[k] = following
            nearest = np.minimum(nearest, _distances(points, points[following]))
            nearest[following] = -1.0  # below every distance: an image is kept once
            following = nearest.argmax()
        return picked


def _distances(points: np.ndarray, centre: np.ndarray) -> np.ndarray:
    """Return the squared distances; differences first, so that equal points have exactly 0."""
    away = points - centre
    return np.asarray(np.einsum("nd,nd->n", away, away))
