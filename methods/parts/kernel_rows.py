"""Rows of the kernel matrix: all at once, or some at a time when they are needed.

Row p holds ``c(p) . c(x) + b(x)``.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from methods.parts import blas
from methods.parts.points import F64, Index, Points

# Rows a product, of float64 half as many: more make more of both halves at the diagonal, fewer a
# slow product, and `a @ a.T` in one call crashed in OpenBLAS at n = 50,000.
BLOCK = 512
TILE = 1024  # columns of them that are finished together: they stay in the cache
CACHED = 512  # rows that are kept where the matrix is not: 100 MB at n = 50,000
FETCHED = 256  # rows a product there: fewer make it a slow one, of more too few become picks


class MatrixRows:
    """All rows, from half of the products, in the type of the points' factors."""

    def __init__(self, points: Points) -> None:
        n, dtype = points.n, points.factors[0].dtype
        self.matrix = matrix = np.empty((n, n), dtype)
        offset = None if points.offset is None else points.offset.astype(dtype)
        rows = max(1, BLOCK * 4 // dtype.itemsize)
        fill, starts = partial(_fill, matrix, points.factors, offset, rows), range(0, n, rows)
        threads = blas.threads()
        if threads == 1 or len(starts) == 1:
            deque(map(fill, starts), maxlen=0)
        else:
            # A block a thread: BLAS's own threads would wait for each other at every product, and
            # most of the rest would be left to one.
            with blas.one_thread(), ThreadPoolExecutor(threads) as pool:
                deque(pool.map(fill, starts), maxlen=0)
        self.eps = float(np.finfo(dtype).eps)
        self.ready: list[NDArray[Any] | None] = list(matrix)

    def sums(self, weights: F64, columns: Index) -> F64:
        """Return ``sum_p weights[p] row(p)[x]`` for the columns x, ascending ones."""
        every = len(columns) == len(weights)  # then a copy would cost more than the sums
        some = self.matrix if every else self.matrix[:, columns]
        sums: F64 = np.einsum("i,ij->j", weights, some)
        return sums

    def fetch(self, at: int, gain: F64) -> NDArray[Any]:
        """Return a row that is not ready; here all are."""
        raise KeyError(at)

    def keep(self, left: Index) -> bool:
        """Leave out points that are picked, if that is of use; here it is not."""
        return False


def _fill(
    matrix: NDArray[Any],
    factors: Sequence[NDArray[Any]],
    offset: NDArray[Any] | None,
    rows: int,
    start: int,
) -> None:
    """Fill some rows from the diagonal on, and the columns below that mirror them."""
    n, end = len(matrix), min(start + rows, len(matrix))
    np.matmul(factors[0][start:end], factors[0][start:].T, out=matrix[start:end, start:])
    for left, right in pairwise([start, *range(end, n, TILE), n]):
        tile, mirrored = matrix[start:end, left:right], matrix[left:right, start:end]
        for factor in factors[1:]:
            tile *= factor[start:end] @ factor[left:right].T
        if left > start:
            mirrored[:] = tile.T
        if offset is not None:
            tile += offset[left:right]
        if offset is not None and left > start:
            mirrored += offset[start:end]


class FetchedRows:
    """The rows of points of high gain in float32, in 4 n * CACHED bytes."""

    eps = float(np.finfo(np.float32).eps)

    def __init__(self, points: Points) -> None:
        self._factors = tuple(factor.astype(np.float32, copy=False) for factor in points.factors)
        offset = np.zeros(points.n) if points.offset is None else points.offset
        self._offset = offset.astype(np.float32)
        self._room = np.empty(min(CACHED, points.n) * points.n, np.float32)
        self._allot()

    def _allot(self) -> None:
        n = len(self._offset)
        rows = min(CACHED, n)
        self._rows = self._room[: rows * n].reshape(rows, n)
        self._owner = np.full(len(self._rows), -1)
        self.ready: list[NDArray[Any] | None] = [None] * n

    def fetch(self, at: int, gain: F64) -> NDArray[Any]:
        """Make the rows of a pick and of the points of highest gain; return that of the pick."""
        below = len(gain) - min(FETCHED, len(self._rows)) + 1  # `at` is no longer among the best
        best = np.argpartition(gain, min(below, len(gain) - 1))[below:]
        wanted = [i for i in best.tolist() if self.ready[i] is None and i != at] + [at]
        block = self._factors[0][wanted] @ self._factors[0].T
        for factor in self._factors[1:]:
            block *= factor[wanted] @ factor.T
        block += self._offset
        worth = np.where(self._owner < 0, -np.inf, gain[self._owner])
        for row, i, place in zip(block, wanted, np.argsort(worth).tolist(), strict=False):
            if self._owner[place] >= 0:
                self.ready[self._owner[place]] = None
            self._rows[place], self._owner[place] = row, i
            self.ready[i] = self._rows[place]
        made: NDArray[Any] = self._rows[place]
        return made

    def keep(self, left: Index) -> bool:
        """Leave out points that are picked, in place."""
        for array in (*self._factors, self._offset):
            for i in range(0, len(left), BLOCK):
                array[i : i + BLOCK][: len(left) - i] = array[left[i : i + BLOCK]]
        self._factors = tuple(factor[: len(left)] for factor in self._factors)
        self._offset = self._offset[: len(left)]
        self._allot()
        return True
