"""The greedy search behind GraphCut: as in float64, found on cheaper rows.

Both gains are affine in one running vector. With the points ``c`` of a pool and an offset ``b``
(`methods.parts.points`), the pool ``V`` of the bin and its picks ``S``, the gain is up to a
constant and a positive factor

    h(x | S) = c(x) . w + (|V| / 2 - |S|) b(x),    w = sum_V c / 2 - sum_S c,

so a pick ``p`` lowers ``h(x)`` by ``c(p) . c(x) + b(x)``: one row of a matrix that serves all
bins. The next bin's first gain is the mean of this bin's first and last one. Picks are found on
rounded rows and settled in float64 (notes of `methods.parts.submodular.graphcut_binning`).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from methods.parts.exact_gain import ExactGain, MatrixGain
from methods.parts.kernel_rows import CACHED, FETCHED, FetchedRows, MatrixRows
from methods.parts.points import F64, Index, Points

CONFIDENCE = 8.0  # lambda of Higham and Mary: a bound fails with probability about 2 exp(-32)
REFRESH = 1536  # picks between two float64 gains: keeps the share of repeated roundings small
TOGETHER = 128  # picks under one bound, that of the last of them
FEW = 0.4  # share of the pool: fewer picks are found in less time than the matrix takes
MANY = 15_000  # points above which rows made when needed are found in less time than the matrix


class Picks(NamedTuple):
    """What the search of one pool found."""

    bins: list[Index]
    search: str
    smallest_gap: float


def greedy(points: Points, sizes: Sequence[int], limit: int) -> Picks:
    """Pick bins of the given sizes from one pool; positions in pick order."""
    search = search_for(points, sum(sizes), limit)
    if search == "products":
        pool = Search(points, FetchedRows(points), ExactGain(points))
    else:
        rows = MatrixRows(points)
        is_exact = rows.matrix.dtype == np.float64
        pool = Search(points, rows, MatrixGain(points, rows) if is_exact else ExactGain(points))
    bins = [pool.next_bin(size) for size in sizes]
    return Picks(bins, search, pool.smallest_gap / (points.scale or 1.0))


def search_for(points: Points, picks: int, limit: int) -> str:
    """Say how a pool is searched: by its "matrix", or by "products" made when they are needed.

    Parameters
    ----------
    points : Points
        The pool.
    picks : int
        How many are picked in all.
    limit : int
        Bytes for working arrays.
    """
    n, itemsize = points.n, points.factors[0].itemsize
    fits = n <= MANY and _matrix_bytes(n, points.width, itemsize) <= limit
    # A float64 matrix stands in for running sums that would cost as much however few the picks.
    pays = picks > FEW * n or itemsize == 8
    return "matrix" if fits and pays else "products"


def most_bytes(n: int, width: int) -> int:
    """Return the bytes of a pool of n points, its copy among them, where memory decides nothing."""
    search = _matrix_bytes(n, width, 8) if n <= MANY else 4 * n * (width + CACHED + 2 * FETCHED)
    return search + 8 * n * width


def _matrix_bytes(n: int, width: int, itemsize: int) -> int:
    return itemsize * n * (width + n + 1024)


class Search:
    """The gains of a pool, kept in float64 from its rows, and the picks that they give."""

    def __init__(self, points: Points, rows: MatrixRows | FetchedRows, exact: ExactGain) -> None:
        self.rows, self.exact = rows, exact
        self.smallest_gap = float("inf")
        self.bound = RoundingBound(points, rows.eps, exact.rows_added)
        self._ids: Index = np.arange(points.n)
        self.gain: F64 = np.zeros(points.n)  # before the next pick, -inf where a point is picked
        self._row: F64 = np.empty(points.n)
        self._refresh()

    def next_bin(self, size: int) -> Index:
        """Pick points one by one, each lowering every gain by its row."""
        if self.bound.rows and self.bound.rows + size > REFRESH:
            self._refresh()
        first, was_refreshed = self.gain.copy(), False
        for done in range(0, size, TOGETHER):
            if self.bound.rows > REFRESH:
                self._refresh()
                was_refreshed = True
            self._pick(min(TOGETHER, size - done))
        picks = self.exact.next_bin()
        if was_refreshed:
            self._refresh()
        else:
            self.gain[:] = (first + self.gain) / 2
            self.bound.halve()
        self._compact()
        return picks

    def _pick(self, count: int) -> None:
        """Pick by the gains as they are kept; where two are too close, by float64 ones."""
        gain, row, rows, picks = self.gain, self._row, self.rows.ready, self.exact.picks
        is_narrow = self.rows.eps > np.finfo(np.float64).eps
        slack, gaps = self.bound.slack(count) + self.exact.tie, [self.smallest_gap]
        for _ in range(count):
            at = int(gain.argmax())
            top = gain.item(at)
            gain[at] = -np.inf
            gap = top - gain.item(gain.argmax())
            if gap <= slack:
                gain[at] = top
                at, gap = self._settle(top - slack)
                gain[at] = -np.inf
            picks.append(self._ids.item(at))
            gaps.append(gap)
            ready = rows[at]
            if ready is None:
                ready = self.rows.fetch(at, gain)
            if is_narrow:  # its own cast: a mixed subtraction casts in numpy's slower buffers
                np.copyto(row, ready)
                ready = row
            np.subtract(gain, ready, gain)
        self.smallest_gap = min(gaps)
        self.bound.add(count)

    def _settle(self, bar: float) -> tuple[int, float]:
        """Return the best of the points above `bar` in float64, and its lead."""
        rivals = np.flatnonzero(self.gain >= bar)
        place, lead = self.exact.best(self._ids[rivals])
        return rivals.item(place), lead

    def _refresh(self) -> None:
        """Set the gains afresh in float64, so that rounding does not add up."""
        fresh = self.exact.many_gains(self._ids)
        self.gain[:] = np.where(np.isneginf(self.gain), -np.inf, fresh)
        self.bound.clear()

    def _compact(self) -> None:
        """Leave the picks out of the search, where that makes it faster."""
        left = np.flatnonzero(np.isfinite(self.gain))
        if self.rows.keep(left):
            self._ids, self.gain, self._row = self._ids[left], self.gain[left], self._row[left]


class RoundingBound:
    """The bound of a gain's rounding error, from how often and with which weights rows were added.

    Parameters
    ----------
    points : Points
        The pool.
    eps : float
        Of the rows' type.
    before : int
        How many rows a fresh gain is the half sum of; 0 where it is made without rows.
    """

    def __init__(self, points: Points, eps: float, before: int) -> None:
        self._unit = eps / 2 * points.scale
        self._independent = CONFIDENCE * points.spread
        self._shared = 3.0 * len(points.factors)
        self._before = before
        self._squares, self._sum, self._new = before / 4, before / 2, 0.0

    @property
    def rows(self) -> float:
        """Rows that were added since the gains were fresh, by their weights."""
        return self._sum - self._before / 2

    def slack(self, count: int) -> float:
        """Return twice the bound before each of the next `count` picks."""
        independent = self._independent * math.sqrt(self._squares + count)
        return 2 * self._unit * (independent + self._shared * (self._sum + count))

    def add(self, rows: int) -> None:
        """Count rows that were added with weight 1."""
        self._squares += rows
        self._sum += rows
        self._new += rows

    def halve(self) -> None:
        """Count this bin's rows by half, those before as before: the mean of first and last."""
        self._squares -= 0.75 * self._new
        self._sum -= 0.5 * self._new
        self._new = 0.0

    def clear(self) -> None:
        """Count from fresh gains."""
        self._squares, self._sum, self._new = self._before / 4, self._before / 2, 0.0
