"""Class-wise allocation: how many images each class may keep, when not all get the same share.

DQAS (arXiv 2407.07268) observes that some classes hardly miss images that are taken from them
and others do. It published no equation for it; every rule here that names no source is our choice.
"""

from __future__ import annotations

import heapq
from typing import TYPE_CHECKING

import numpy as np

from bench.errors import UsageError
from methods.parts.allocation import bin_quota
from methods.parts.released import ADQ_IMPORTANCES, ADQ_SEGMENTS

if TYPE_CHECKING:
    from numpy.typing import ArrayLike

    from bench.arrays import FloatArray, IntArray

_ADQ_SHARE = 0.125
"""The share of a bin that ADQ's README draws."""


def class_quota(weights: ArrayLike, sizes: ArrayLike, total: int) -> IntArray:
    """Return how many images to keep of each class; the sum is exactly ``total``.

    Parameters
    ----------
    weights : float [C]
        By what a class's share differs from that of its size, finite and >= 0; equal weights
        give every class the same share of its images.
    sizes : int [C]
        Images of each class.
    total : int
        Images to keep in all.

    Returns
    -------
    int64 [C]
        Shares proportional to weight x size by largest remainder (ties to the lowest class). A
        share above a class's size is cut to it and the rest dealt again; a class that would
        lose all its images keeps one.

    Raises
    ------
    UsageError
        When the total is below the number of classes with images or above the sum of sizes, or
        a weight is negative or not finite.
    """
    available = np.asarray(sizes, dtype=np.int64)
    classes = int((available > 0).sum())
    if total < classes:
        raise UsageError(
            f"{total} images cannot hold one of each of {classes} classes. Raise the ratio"
        )
    importance = np.asarray(weights, dtype=np.float64) * available
    single = np.zeros(len(available), dtype=bool)
    while True:
        room = np.where(single, 0, available)
        left = total - int(single.sum())
        quota = bin_quota(np.where(single, 0.0, importance), room, left, alpha=1.0)
        lost = (quota == 0) & (room > 0)
        if not lost.any():
            return np.where(single, 1, quota)
        single |= lost


def class_weights(scores: FloatArray, judged: IntArray, exponent: float) -> FloatArray:
    """Return the weights that measured scores give the classes, float64 [C], all above 0.

    Parameters
    ----------
    scores : float64 [C]
        Held-out error or gain in accuracy of each class.
    judged : int64 [C]
        Held-out images behind each score.
    exponent : float
        Power of the scores; 0 gives equal weights.

    Notes
    -----
    A score below one image of its held-out part counts as one image: less cannot be told from
    nothing. A class without held-out images gets the mean of the others.
    """
    known = judged > 0
    if not known.any():
        return np.ones(len(scores))
    finest = 1.0 / np.maximum(judged, 1)
    weights: FloatArray = np.maximum(scores, finest) ** exponent
    return np.where(known, weights, weights[known].mean())


def released_adq_weights() -> FloatArray:
    """Return each class's share in what the released ADQ keeps, relative to equal shares.

    ``adaptive.py:26-44`` of SLGSP/ADQ draws from ten consecutive segments of every bin of 5,000
    images, ``round`` of size x importance of its share each. Bins of CIFAR-10 are stored class
    by class, 500 images each, so that the segments' densities add up to classes' weights.

    Returns
    -------
    float64 [10]
        60.0, 59.2, 64.5, 68.1, 69.0, 63.7, 60.2, 60.1, 60.1 and 60.1 of 62.5 images.
    """
    sizes = np.array(ADQ_SEGMENTS)
    parts = sizes * np.array(ADQ_IMPORTANCES)
    kept = np.round(parts / parts.sum() * int(_ADQ_SHARE * sizes.sum()))
    by_position = np.repeat(kept / sizes, sizes)
    per_class = by_position.reshape(len(sizes), -1).sum(axis=1)
    return np.asarray(per_class / (_ADQ_SHARE * sizes.sum() / len(sizes)))


def smoothed_error(right: IntArray, judged: IntArray) -> FloatArray:
    """Return error rates in (0, 1) that no small held-out part makes 0 or 1 (Jeffreys' prior)."""
    return np.asarray((judged - right + 0.5) / (judged + 1.0))


def learning_slopes(counts: FloatArray, errors: FloatArray, pooling: float) -> FloatArray:
    r"""Return the classes' :math:`b_c \ge 0` in :math:`e_c(n) \propto n^{-b_c}`, float64 [C].

    With :math:`x` and :math:`y` the logarithms of a class's counts and errors less their means
    over the rounds, :math:`b_c = (\lambda b - \sum x y) / (\lambda + \sum x^2)`: least squares,
    drawn towards the slope :math:`b` that fits all classes at once.

    Parameters
    ----------
    counts : float64 [K, C]
        Images of each class that the learners of K rounds saw, at least 1.
    errors : float64 [K, C]
        Their held-out errors, above 0.
    pooling : float
        :math:`\lambda \ge 0`, the weight of the common slope.

    Notes
    -----
    A class's error also rises when other classes grow and it does not. Without the common slope
    such a class would look as if more images did it harm, and never get any again. Where no
    count ever changed all slopes are 1.
    """
    x = np.log(counts)
    x = x - x.mean(axis=0)
    covariance, variance = (x * np.log(errors)).sum(axis=0), (x * x).sum(axis=0)
    if variance.sum() == 0:
        return np.ones(len(variance))
    common = -covariance.sum() / variance.sum()
    slopes: FloatArray = np.full(len(variance), common)
    weight = variance + pooling
    np.divide(pooling * common - covariance, weight, out=slopes, where=weight > 0)
    return np.where(slopes > 0, slopes, 0.0)


def deal_by_reduction(
    kept: IntArray, sizes: IntArray, errors: FloatArray, slopes: FloatArray, count: int
) -> IntArray:
    r"""Return the classes' numbers after ``count`` more images, int64 [C].

    One after the other goes to the class where the held-out error is expected to fall most,
    :math:`N_c e_c [ (n / n_c)^{-b_c} - ((n + 1) / n_c)^{-b_c} ]` for the n images that it has by
    then. Ties, and what is left when no class is expected to gain, go to the class of which the
    smallest share is kept, then to the lowest one. So smaller counts are parts of larger ones.

    Parameters
    ----------
    kept, sizes : int64 [C]
        Images of each class so far (:math:`n_c`), and in all (:math:`N_c`). None counts as one,
        for the law has no value there: the first image is worth what the second is.
    errors, slopes : float64 [C]
        :math:`e_c` at ``kept`` and :math:`b_c` as in :func:`learning_slopes`.
    count : int
        Images to deal, at most what is left.
    """
    now, before, most = kept.tolist(), np.maximum(kept, 1).tolist(), sizes.tolist()
    error, slope = errors.tolist(), slopes.tolist()

    def place(c: int) -> tuple[float, float, int]:
        have = max(now[c], 1)
        without, with_one = have / before[c], (have + 1) / before[c]
        fall = most[c] * error[c] * (without ** -slope[c] - with_one ** -slope[c])
        return -fall, now[c] / most[c], c

    queue = [place(c) for c in range(len(now)) if now[c] < most[c]]
    heapq.heapify(queue)
    for _ in range(count):
        *_, first = queue[0]
        now[first] += 1
        if now[first] < most[first]:
            heapq.heapreplace(queue, place(first))
        else:
            heapq.heappop(queue)
    return np.array(now, dtype=np.int64)
