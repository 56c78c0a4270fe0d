"""GraphCut's picks as the released code makes them, float32 rounding and all.

The released search sums float32 similarities anew for every candidate and pick, so that near-ties
fall as the rounding has it, and what is picked later follows. The same picks come out faster when
the gains are kept in float64, and only candidates that rounding could put first are summed in the
released way (performance notes in `released_order`).

Read in magic-research/Dataset_Quantization at 3c9b061: ``dq/methods/submodular.py:79-118``,
``methods_utils/submodular_function.py:75-110``, ``methods_utils/submodular_optimizer.py:20-39``,
``methods_utils/cossim.py:5-10`` and ``quantize_sample.py:70-117``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from bench import resources
from bench.errors import UsageError
from bench.metering import told_bytes
from methods.parts.gradients import Gradients

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

    from bench.arrays import Float32Array, FloatArray, IntArray

_UNIT = 1.01 * 2.0**-24  # the unit roundoff, with room for roundings of the bound itself


def released_bins(
    vectors: Float32Array | Gradients, labels: ArrayLike, bins: int = 10
) -> list[IntArray]:
    """Divide a set into bins as ``quantize_sample.py`` does with ``--fraction 1/bins``.

    Parameters
    ----------
    vectors : float32 [N, d], or Gradients
        One row an image; gradients are multiplied out class by class, into 8 n C (d + 1) bytes
        for the n images of a class, as the released code needs them.
    labels : array_like [N]
        The class of each image; all equal for one pool.
    bins : int
        At least 1.

    Returns
    -------
    list of int64
        Indices, one array a bin. Bins are grouped by class, ascending, and sorted within a class;
        the last one is what remains, sorted.

    Raises
    ------
    ValueError
        For wrong shapes or types, or `bins` below 1.
    UsageError
        For a class that gets no pick in some bin, and for bins that use up all images before the
        last one: both stop the released code as well. For a class that does not fit into memory.

    Notes
    -----
    A bin has ``round(N * (1 / bins))`` images over all classes; a class of n that remain gives
    ``round(n * fraction)`` of them, where fraction is that size by all that remain, and halves
    round to even. Sizes are therefore not exactly equal.
    """
    if bins < 1:
        raise ValueError(f"bins: {bins}; allowed: 1 or more")
    _check(vectors)
    classes = np.asarray(labels)
    if classes.shape != (len(vectors),):
        raise ValueError(f"labels: shape {classes.shape}; allowed: ({len(vectors)},)")
    _require_memory(vectors, int(np.unique_counts(classes).counts.max(initial=0)))
    left, found = np.arange(len(vectors)), []
    size = round(len(left) * (1 / bins))
    for number in range(bins - 1):
        if size > len(left):
            raise UsageError(
                f"{bins} bins take {size} of {len(vectors)} images each, rounded: bin {number} "
                f"finds {len(left)} left, and the released search stops. "
                "Take fewer bins or greedy=exact"
            )
        fraction, picks = size / len(left), []
        for name in np.unique(classes):
            pool = left[classes[left] == name]
            budget = round(fraction * len(pool))
            if budget < 1:
                raise UsageError(
                    f"bin {number} gets {budget} of {len(pool)} images of class {name}; the "
                    "released search needs at least 1. Take fewer bins or greedy=exact"
                )
            picks.append(pool[_order(_rows(vectors, pool), budget)])
        found.append(np.concatenate(picks))
        left = np.setdiff1d(left, found[-1])
    return [*found, left]


def released_order(vectors: Float32Array | Gradients, budget: int) -> IntArray:
    """Return the positions that the released GraphCut picks from one pool, sorted.

    Parameters
    ----------
    vectors : float32 [n, d], or Gradients
        The pool.
    budget : int
        How many to pick, 1 ... n.

    Raises
    ------
    ValueError
        For another type or shape.
    UsageError
        For a budget outside its range, as in the released code, and for a pool that does not fit
        into memory.

    Notes
    -----
    The kernel is made by the released numpy calls on the same shapes, so it has the same bits as
    theirs on the same machine. A released gain is a float32 column sum less twice a float32 sum
    over the picks in order of position. With similarities between ``-r`` and ``s``, a float32 sum
    of k of them, whose exact value is P, is off by at most ``u sum_i min(i s, P + k r)``, since
    each partial sum is rounded once; the difference adds one rounding. Candidates within twice
    that of the highest float64 gain are summed as released, and their first maximum is the pick.
    Fewer than two are, on average.

    A zero row makes all gains NaN, and the picks the first positions, as released.
    """
    _check(vectors)
    if not 1 <= budget <= len(vectors):
        raise UsageError(
            f"{budget} images of a pool of {len(vectors)}: the released search gives 1 to "
            f"{len(vectors)}. Take another budget or greedy=exact"
        )
    _require_memory(vectors, len(vectors))
    return _order(_rows(vectors, slice(None)), budget)


def _require_memory(vectors: Float32Array | Gradients, pool: int) -> None:
    """Raise a UsageError where the rows of a pool of n and its n x n kernel do not fit."""
    width = vectors.width if isinstance(vectors, Gradients) else vectors.shape[1]
    # The rows twice beside the kernel, then once beside it and its copy in column order.
    needed = 4 * pool * max(2 * width + pool, width + 2 * pool)
    free = resources.available_memory()
    if needed > free:
        raise UsageError(
            f"greedy=released holds all pairs of a pool: {pool:,} vectors of {width:,} numbers "
            f"take {told_bytes(needed)}, and {told_bytes(free)} are free. Take greedy=exact"
        )


def _order(rows: Float32Array, budget: int) -> IntArray:
    with np.errstate(all="ignore"):
        kernel = _kernel(rows)
        # The released sum is over columns gathered into column order, which numpy adds pairwise.
        total = np.sum(np.asfortranarray(kernel), axis=0)
        search = _search if np.isfinite(total).all() else _plain_search
        return np.flatnonzero(search(kernel, total, budget))


def _kernel(rows: Float32Array) -> Float32Array:
    """Return 1/2 + 1/2 cosine, float32 [n, n], bit for bit as ``cossim_np`` gives it."""
    # Of two copies, as released: numpy computes a product of an array with itself otherwise.
    kernel: Float32Array = np.dot(rows, rows.copy().T)
    length = np.linalg.norm(rows, axis=1)
    kernel /= length.reshape(-1, 1) * length
    kernel[np.isneginf(kernel)] = 0.0
    kernel *= np.float32(0.5)
    kernel += np.float32(0.5)
    return kernel


def _search(kernel: Float32Array, total: Float32Array, budget: int) -> NDArray[np.bool_]:
    """Return the mask of the picks; half of each gain is kept in float64."""
    gain = total.astype(np.float64) / 2
    bound = _Bound(kernel, gain)
    picked = np.zeros(len(gain), dtype=bool)
    for count in range(budget):
        at = int(gain.argmax())
        top = gain.item(at)
        gain[at] = -np.inf
        bar = top - 2 * bound.error(count, top)
        if gain.item(gain.argmax()) >= bar:
            gain[at] = top
            rivals = np.flatnonzero(gain >= bar)
            at = int(rivals[_released_gains(kernel, total, picked, rivals).argmax()])
            gain[at] = -np.inf
        picked[at] = True
        np.subtract(gain, kernel[at], gain)
    return picked


def _plain_search(kernel: Float32Array, total: Float32Array, budget: int) -> NDArray[np.bool_]:
    """Return the mask of the picks, every gain summed as released; the first NaN is a maximum."""
    picked = np.zeros(len(total), dtype=bool)
    if np.isnan(total).all():
        picked[:budget] = True
        return picked
    for _ in range(budget):
        left = np.flatnonzero(~picked)
        picked[left[_released_gains(kernel, total, picked, left).argmax()]] = True
    return picked


def _released_gains(
    kernel: Float32Array, total: Float32Array, picked: NDArray[np.bool_], columns: IntArray
) -> Float32Array:
    """Return gains as released: rows are added one by one, in order of position."""
    to_picks = np.sum(kernel[np.ix_(np.flatnonzero(picked), columns)], axis=0)
    gains: Float32Array = np.float32(-2.0) * to_picks + total[columns]
    return gains


class _Bound:
    """The bound of a released gain's rounding error, in the unit of half gains."""

    def __init__(self, kernel: Float32Array, gain: FloatArray) -> None:
        self._below = max(0.0, -float(kernel.min()))
        self._most = max(float(kernel.max()), self._below)
        self._start = float(gain.max())
        self._kept = float(np.finfo(np.float64).eps) * float(np.abs(gain).max())

    def error(self, count: int, top: float) -> float:
        """Return the bound after `count` picks, for candidates that may be first by it."""
        rest = _UNIT * abs(top) + count * self._kept
        crude = _UNIT * self._most * count * (count + 1) / 2 + rest
        # Such a candidate has lost no more than the highest gain at the start leaves it to lose.
        lost = max(0.0, self._start - top + 2 * crude) + count * self._below
        ramp = min(count, int(lost / self._most))
        return _UNIT * (self._most * ramp * (ramp + 1) / 2 + (count - ramp) * lost) + rest


def _rows(vectors: Float32Array | Gradients, some: Any) -> Float32Array:
    if isinstance(vectors, Gradients):
        return vectors.rows(some)
    return np.ascontiguousarray(vectors[some])


def _check(vectors: Float32Array | Gradients) -> None:
    if isinstance(vectors, Gradients):
        return
    if vectors.ndim != 2 or not vectors.shape[1] or vectors.dtype != np.float32:
        found = f"{vectors.dtype} {list(vectors.shape)}"
        raise ValueError(f"vectors: {found}; allowed: float32 [n, d] with d at least 1")
