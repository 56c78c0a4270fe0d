"""Allocation: how many images each bin, and each class within it, may keep."""

from __future__ import annotations

from typing import TYPE_CHECKING, Literal

import numpy as np

from bench.budgets import largest_remainder
from bench.errors import UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import ArrayLike

    from bench.arrays import FloatArray, IntArray

_FITTING_ROUNDS = 200


def min_max(scores: ArrayLike) -> FloatArray:
    """Return scores scaled to 0 ... 1 (ADQ Eq. 6 and 7); all zero when they are all equal.

    The paper's formula is not preserved; that it is min-max follows from the released
    importances, whose first and last are exactly 1 (docs/methods.md).
    """
    values = np.asarray(scores, dtype=np.float64)
    spread = np.ptp(values) if len(values) else 0.0
    return (values - values.min()) / spread if spread > 0 else np.zeros_like(values)


def bin_shares(importance: ArrayLike | None, sizes: ArrayLike, alpha: float) -> FloatArray:
    r"""Return the bins' shares of what is kept, float64 [M], with sum 1.

    ADQ Eq. 9 in its consistent form: :math:`r_n = \alpha \hat I_n / \sum_k \hat I_k +
    (1 - \alpha) N(n) / \sum_k N(k)`. As printed, Eq. 9 and 10 do not contain the budget
    (:func:`literal_quota`); this is the only reading in which the shares sum to one, ``floor``
    does not exceed the budget and :math:`\alpha = 0` gives DQ.

    Parameters
    ----------
    importance : float [M] or None
        :math:`\hat I_n \ge 0`; None (or all zero) stands for shares by size.
    sizes : int [M]
        :math:`N(n)`, images in each bin.
    alpha : float
        Weight of the importance, in 0 ... 1.

    Raises
    ------
    UsageError
        When an importance is negative or not finite, or one is missing.
    """
    by_size = _normalised(np.asarray(sizes, dtype=np.float64))
    if importance is None:
        return by_size
    weights = _checked_importance(importance, by_size)
    return alpha * _normalised(weights) + (1 - alpha) * by_size if weights.sum() > 0 else by_size


def product_shares(importance: ArrayLike, sizes: ArrayLike) -> FloatArray:
    """Return shares proportional to size times importance, float64 [M], with sum 1.

    The rule of ADQ's ``adaptive.py:26-30``, applied to bins as the paper says and not, as the
    code does, to segments within each bin. An importance that is all zero gives shares by size.
    """
    capacity = np.asarray(sizes, dtype=np.float64)
    weights = capacity * _checked_importance(importance, capacity)
    return _normalised(weights if weights.sum() > 0 else capacity)


def literal_quota(importance: ArrayLike, sizes: ArrayLike, alpha: float) -> IntArray:
    r"""Return ADQ Eq. 9 and 10 as they are printed, int64 [M]; they may exceed the bins.

    :math:`r_n = \alpha \hat I_n + (1 - \alpha) N(n) / \sum_k N(k)` and
    :math:`q_n = \lfloor r_n N(n) \rfloor`: no budget takes part. Ten equal bins with the
    released importances keep 72.7 % at :math:`\alpha = 0.65`.
    """
    capacity = np.asarray(sizes, dtype=np.float64)
    weights = _checked_importance(importance, capacity)
    rates = alpha * weights + (1 - alpha) * _normalised(capacity)
    return _floor(rates * capacity)


def quota_of_shares(
    shares: FloatArray,
    sizes: ArrayLike,
    total: int,
    rounding: Literal["exact", "floor", "released"] = "exact",
) -> IntArray:
    r"""Return how many images to keep of each bin, int64 [M].

    Parameters
    ----------
    shares : float64 [M]
        The bins' shares, with sum 1.
    sizes : int [M]
        Images in each bin.
    total : int
        Images to keep in all, at most the sum of sizes.
    rounding : {"exact", "floor", "released"}
        ``floor``: ADQ Eq. 10, :math:`\lfloor r_n B \rfloor`. ``released``: Python's ``round`` of
        each (``adaptive.py:34``). Both cut a bin's number to its size. ``exact``: the floors and,
        by largest remainder, what they leave (ties to the lowest bin), so that the sum is the
        total; what a bin cannot hold is dealt by the same shares among the others.

    Raises
    ------
    UsageError
        When the total exceeds the sizes.
    """
    capacity = np.asarray(sizes, dtype=np.int64)
    if not 0 <= total <= capacity.sum():
        raise UsageError(f"cannot keep {total} of {capacity.sum()} images. Give 0 to that many")
    if rounding == "exact":
        return _dealt_within(shares, _normalised(capacity.astype(np.float64)), capacity, total)
    wanted = _floor(shares * total) if rounding == "floor" else np.rint(shares * total)
    return np.minimum(wanted.astype(np.int64), capacity)


def bin_quota(importance: ArrayLike | None, sizes: ArrayLike, total: int, alpha: float) -> IntArray:
    """Return how many images to keep of each bin, int64 [M]; the sum is exactly ``total``.

    ADQ Eq. 9 and 10 in their consistent form, see :func:`bin_shares` and, for what is raised,
    :func:`quota_of_shares`.
    """
    return quota_of_shares(bin_shares(importance, sizes, alpha), sizes, total)


def bin_class_quota(available: IntArray, by_bin: IntArray, by_class: IntArray) -> IntArray:
    """Return how many images to keep of each class in each bin, int64 [M, C].

    Rows sum to ``by_bin`` and columns to ``by_class``: every bin gets its quota and every class
    its own, and no class is favoured by rounding in every bin. Before rounding the table is the
    one closest to the bins' contents (iterative proportional fitting); it is then rounded to
    neighbouring whole numbers by a maximum flow, which always exists (Cox 1987).

    Parameters
    ----------
    available : int64 [M, C]
        Images of each class in each bin.
    by_bin, by_class : int64 [M], int64 [C]
        Quotas with the same sum.

    Notes
    -----
    Where no table meets both (bins without some of the classes), the classes' quotas are kept
    and the bins' are met as far as possible.
    """
    fitted = _fitted(available, by_bin, by_class)
    slack = 0
    while True:
        lower = np.clip(np.floor(fitted + 1e-6).astype(np.int64) - slack, 0, available)
        upper = np.clip(np.ceil(fitted - 1e-6).astype(np.int64) + slack, 0, available)
        table = lower + _flow(by_bin - lower.sum(1), by_class - lower.sum(0), upper - lower)
        if (table.sum(0) == by_class).all() and (table.sum(1) == by_bin).all():
            return table
        if slack > available.max(initial=0):
            return _completed(table, available, by_class)
        slack = 2 * slack + 1


def _dealt_within(
    shares: FloatArray, by_size: FloatArray, capacity: IntArray, total: int
) -> IntArray:
    """Deal the total by shares, cutting at the capacities and dealing the rest again."""
    quota = np.zeros_like(capacity)
    while (left := total - int(quota.sum())) > 0:
        open_bins = quota < capacity
        weights = np.where(open_bins, shares, 0.0)
        if weights.sum() <= 0:
            weights = np.where(open_bins, by_size, 0.0)
        dealt = largest_remainder(_normalised(weights) * left, left)
        quota = np.minimum(quota + dealt, capacity)
    return quota


def _checked_importance(importance: ArrayLike, sizes: FloatArray) -> FloatArray:
    weights = np.asarray(importance, dtype=np.float64)
    if weights.shape != sizes.shape or not np.all(np.isfinite(weights) & (weights >= 0)):
        raise UsageError(f"importance {weights} is not one finite number >= 0 for each bin")
    return weights


def _floor(exact: FloatArray) -> IntArray:
    """Round down; what is within 1e-9 below a whole number counts as that number."""
    return np.floor(exact + 1e-9).astype(np.int64)


def _fitted(available: IntArray, by_bin: IntArray, by_class: IntArray) -> FloatArray:
    table = available.astype(np.float64)
    for _ in range(_FITTING_ROUNDS):
        table *= _ratio(by_class, table.sum(0))
        table *= _ratio(by_bin, table.sum(1))[:, None]
    return table


def _flow(rows: IntArray, columns: IntArray, capacity: IntArray) -> IntArray:
    """Return the whole-number table of largest sum within row sums, column sums and capacity."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import maximum_flow

    if (rows < 0).any() or (columns < 0).any():
        return np.zeros_like(capacity)
    bins, classes = capacity.shape
    source, sink = bins + classes, bins + classes + 1
    row, column = np.nonzero(capacity)
    heads = np.concatenate([row, np.full(bins, source), bins + np.arange(classes)])
    tails = np.concatenate([bins + column, np.arange(bins), np.full(classes, sink)])
    limits = np.concatenate([capacity[row, column], rows, columns]).astype(np.int32)
    graph = coo_array((limits, (heads, tails)), shape=(sink + 1, sink + 1)).tocsr()
    flow = maximum_flow(graph, source, sink).flow.toarray()
    return flow[:bins, bins:source].astype(np.int64)


def _completed(table: IntArray, available: IntArray, by_class: IntArray) -> IntArray:
    completed = table.copy()
    for label, missing in enumerate(by_class - table.sum(0)):
        room = available[:, label] - table[:, label]
        completed[:, label] += bin_quota(None, room, int(missing), alpha=0.0)
    return completed


def _normalised(weights: FloatArray) -> FloatArray:
    total = weights.sum()
    return weights / total if total > 0 else weights


def _ratio(wanted: IntArray, have: FloatArray) -> FloatArray:
    return np.divide(wanted, have, out=np.zeros(len(have)), where=have > 0)


def class_histogram(labels: IntArray, bins: Sequence[IntArray], classes: int) -> IntArray:
    """Return the number of images of each class in each bin, int64 [M, C]."""
    return np.stack([np.bincount(labels[one], minlength=classes) for one in bins]).astype(np.int64)
