"""The greedy search behind GraphCut: exact in float64, found on one float32 matrix.

Both gains are affine in one running vector. With the points ``c`` of a pool (unit rows for the
cosine, rows less their mean for the squared distance), an offset ``b`` (0, or ``-|c|^2 / 2``), the
pool ``V`` of the bin and its picks ``S``, the gain is up to a constant and a positive factor

    h(x | S) = c(x) . w + (|V| / 2 - |S|) b(x),    w = sum_V c / 2 - sum_S c,

so a pick ``p`` lowers ``h(x)`` by ``c(p) . c(x) + b(x)``: one row of a matrix that serves all bins.
Picks are found on float32 products and settled in float64 (notes of `submodular.graphcut_bins`).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

F32: TypeAlias = NDArray[np.float32]
F64: TypeAlias = NDArray[np.float64]
Index: TypeAlias = NDArray[np.int64]

UNIT32 = 2.0**-24
CONFIDENCE = 8.0  # lambda of Higham and Mary: a bound fails with probability about 2 exp(-32)
REFRESH = 1024  # picks between two float64 gains: keeps the share of repeated roundings small
BLOCK = 512  # rows a product: `a @ a.T` in one call crashed in OpenBLAS at n = 50,000
FEW = 0.02  # share of the pool: fewer picks are found by products, in less than the matrix takes


def greedy(embeddings: NDArray[Any], sizes: Sequence[int], kernel: str, limit: int) -> list[Index]:
    """Pick bins of the given sizes from one pool [n, d]; positions in pick order."""
    n, d = embeddings.shape
    if not sum(sizes):
        return [np.empty(0, np.int64) for _ in sizes]
    exact = _ExactGain(*POINTS[kernel](embeddings))
    search: _ByMatrix | _ByProduct = _ByProduct(exact)
    bins = []
    for i, size in enumerate(sizes):
        if isinstance(search, _ByProduct):
            fits = 12 * n * d + 4 * search.left**2 <= limit
            if fits and sum(sizes[i:]) > FEW * search.left:
                search = _ByMatrix(search)
        search.pick(size)
        bins.append(exact.next_bin())
    return bins


class _ExactGain:
    """The gain h(x | S) of a pool in float64, for any few of its points."""

    def __init__(self, points: F64, offset: F64) -> None:
        self.points, self.offset = points, offset
        self.scale = float(np.einsum("ij,ij->i", points, points).max())
        self.tie = 8 * float(np.finfo(np.float64).eps) * len(points) * self.scale
        self.pooled, self.pool_size = _sum_rows(points), len(points)
        self.picks: list[int] = []
        self._summed, self._counted = np.zeros(points.shape[1]), 0

    def state(self) -> tuple[F64, float]:
        """Return w and the weight of the offset after the picks so far."""
        if self._counted < len(self.picks):
            self._summed += _sum_rows(self.points[self.picks[self._counted :]])
            self._counted = len(self.picks)
        return self.pooled / 2 - self._summed, self.pool_size / 2 - len(self.picks)

    def best(self, candidates: Index) -> int:
        """Where in `candidates` the lowest index of highest gain stands."""
        w, weight = self.state()
        # Not a matrix product: its rounding depends on where a row lies, and would split ties.
        gain = (self.points[candidates] * w).sum(axis=1) + weight * self.offset[candidates]
        tied = np.flatnonzero(gain >= gain.max() - self.tie)
        return int(tied[candidates[tied].argmin()])

    def next_bin(self) -> Index:
        """Take the bin's picks out of the pool and return them."""
        self.state()
        picks = np.array(self.picks, np.int64)
        self.pooled -= self._summed
        self.pool_size -= len(picks)
        self.picks, self._summed, self._counted = [], np.zeros_like(self._summed), 0
        return picks


class _ByMatrix:
    """Search with the float32 matrix of all pairs; the gain is kept in float64."""

    def __init__(self, pool: _ByProduct) -> None:
        exact, n = pool.exact, pool.left
        self.exact, self.ids, self.gain = exact, pool.ids[:n], np.zeros(n)
        self.matrix = _matrix(pool.rows[:n], pool.offset[:n])
        rows = np.arange(1, REFRESH + 1)
        error = CONFIDENCE * np.sqrt(exact.points.shape[1] * rows) + 3 * rows
        self.slack: list[float] = (2 * UNIT32 * exact.scale * error + exact.tie).tolist()

    def pick(self, count: int) -> None:
        """Pick points one by one, each lowering every gain by its row."""
        gain, matrix, picks = self.gain, self.matrix, self.exact.picks
        for start in range(0, count, REFRESH):
            self._refresh()
            for slack in self.slack[: count - start]:
                at = gain.argmax()
                top = gain.item(at)
                gain[at] = -np.inf
                if gain.item(gain.argmax()) >= top - slack:  # the cheapest test for rivals
                    gain[at] = top
                    rivals = np.flatnonzero(gain >= top - slack)
                    at = rivals[self.exact.best(self.ids[rivals])]
                    gain[at] = -np.inf
                picks.append(self.ids.item(at))
                np.subtract(gain, matrix[at], gain)

    def _refresh(self) -> None:
        """Set the gains afresh in float64, so that rounding does not add up over bins."""
        w, weight = self.exact.state()
        # Not BLAS: on a busy machine its threads wait for each other, 12 ms a call were measured.
        fresh = (np.einsum("ij,j->i", self.exact.points, w) + weight * self.exact.offset)[self.ids]
        self.gain[:] = np.where(np.isneginf(self.gain), -np.inf, fresh)


class _ByProduct:
    """Search without a matrix: the gains of every pick afresh from w, in float32."""

    def __init__(self, exact: _ExactGain) -> None:
        self.exact, self.left = exact, len(exact.points)
        self.ids: Index = np.arange(self.left)
        self.rows, self.offset = exact.points.astype(np.float32), exact.offset.astype(np.float32)

    def pick(self, count: int) -> None:
        """Pick points one by one, the last one taking the place of each."""
        for _ in range(count):
            w, weight = self.exact.state()
            gain = self.rows[: self.left] @ w.astype(np.float32)
            gain += np.float32(weight) * self.offset[: self.left]
            rivals = np.flatnonzero(gain >= gain.max() - self._slack(w, weight))
            at = int(rivals[self.exact.best(self.ids[rivals])])
            self.exact.picks.append(int(self.ids[at]))
            self.left -= 1
            for column in (self.ids, self.rows, self.offset):
                column[at] = column[self.left]

    def _slack(self, w: F64, weight: float) -> float:
        """Return twice the rounding bound of one product with w."""
        scale, length = self.exact.scale, float(np.sqrt(w @ w))
        error = (CONFIDENCE * float(np.sqrt(len(w))) + 4) * float(np.sqrt(scale)) * length
        return 2 * UNIT32 * (error + 2 * abs(weight) * scale) + self.exact.tie


def _matrix(points: F32, offset: F32) -> F32:
    """Compute ``points @ points.T + offset``, half of the product mirrored."""
    n = len(points)
    matrix: F32 = np.empty((n, n), np.float32)
    for i in range(0, n, BLOCK):
        end = min(i + BLOCK, n)
        np.matmul(points[i:end], points[i:].T, out=matrix[i:end, i:])
        matrix[end:, i:end] = matrix[i:end, end:].T
    if offset.any():
        matrix += offset
    return matrix


def _cosine_points(values: NDArray[Any]) -> tuple[F64, F64]:
    """Return unit rows; a zero row stays zero, which makes its cosine 0."""
    peak = np.maximum(values.max(axis=1), -values.min(axis=1))
    points = values.astype(np.float64)
    points *= _unit(peak)[:, None]
    length = np.sqrt(np.einsum("ij,ij->i", points, points))
    points *= (1 / np.where(length > 0, length, 1))[:, None]
    return points, np.zeros(len(points))


def _distance_points(values: NDArray[Any]) -> tuple[F64, F64]:
    """Return rows less their mean, in a unit near their radius, and ``-|c|^2 / 2``."""
    points = values.astype(np.float64)
    points *= _unit(max(points.max(), -points.min()))
    # A centre of float32 digits: float32 rows less it are exact in float64.
    points -= (_sum_rows(points) / len(points)).astype(np.float32)
    points *= _unit(max(points.max(), -points.min()))
    return points, -0.5 * np.einsum("ij,ij->i", points, points)


POINTS: dict[str, Callable[[NDArray[Any]], tuple[F64, F64]]] = {
    "cosine": _cosine_points,
    "sqeuclidean": _distance_points,
}


def _unit(peak: Any) -> Any:
    """Return the power of two, so that scaling is exact, that brings `peak` near 1."""
    return np.ldexp(1.0, -np.maximum(np.frexp(peak)[1], -1000))


def _sum_rows(rows: F64) -> F64:
    """Sum over rows in two levels, whose rounding grows with n^(1/4) and not n^(1/2)."""
    whole = len(rows) // 64 * 64
    blocks = rows[:whole].reshape(-1, 64, rows.shape[1])
    total: F64 = blocks.sum(axis=1).sum(axis=0) + rows[whole:].sum(axis=0)
    return total
