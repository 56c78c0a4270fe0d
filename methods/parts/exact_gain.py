"""GraphCut's gain in float64, from running sums of points or from a float64 matrix."""

from __future__ import annotations

import numpy as np

from methods.parts.kernel_rows import MatrixRows
from methods.parts.points import F64, Index, Points


class ExactGain:
    """The gain h(x | S) of a pool, for any of its points, from the sums over V and S."""

    rows_added = 0

    def __init__(self, points: Points) -> None:
        self.points = points
        self.tie = 8 * float(np.finfo(np.float64).eps) * points.n * points.scale
        self.picks: list[int] = []
        self._start()

    def _start(self) -> None:
        self._pooled, self._pool_size = self.points.sum_all(), self.points.n
        self._summed, self._counted = np.zeros_like(self._pooled), 0

    def best(self, candidates: Index) -> tuple[int, float]:
        """Where in `candidates` the lowest index of highest gain stands, and its lead.

        There are at least two.
        """
        gains = self.gains(candidates)
        second, top = np.sort(gains)[-2:].tolist()
        tied = np.flatnonzero(gains >= top - self.tie)
        lead = 0.0 if len(tied) > 1 else top - second
        return int(tied[candidates[tied].argmin()]), lead

    def gains(self, candidates: Index) -> F64:
        """Return the gains of some points."""
        return self.points.gains(candidates, *self._state())

    def many_gains(self, points: Index) -> F64:
        """Return the gains of many points, ascending ones."""
        return self.points.many_gains(points, *self._state())

    def _state(self) -> tuple[F64, float]:
        """Return w and the weight of the offset after the picks so far."""
        if self._counted < len(self.picks):
            self._summed += self.points.total(np.array(self.picks[self._counted :]))
            self._counted = len(self.picks)
        return self._pooled / 2 - self._summed, self._pool_size / 2 - len(self.picks)

    def next_bin(self) -> Index:
        """Take the bin's picks out of the pool and return them."""
        self._state()
        picks = np.array(self.picks, np.int64)
        self._pooled -= self._summed
        self._pool_size -= len(picks)
        self.picks, self._summed, self._counted = [], np.zeros_like(self._summed), 0
        return picks


class MatrixGain(ExactGain):
    """The same from rows of a float64 matrix: +1/2 each of V, and -1 each of S."""

    def __init__(self, points: Points, rows: MatrixRows) -> None:
        self.rows_added, self._rows = points.n, rows
        super().__init__(points)

    def _start(self) -> None:
        self._weights = np.full(self.points.n, 0.5)

    def gains(self, candidates: Index) -> F64:
        """Return the gains of some points."""
        weights = self._weights.copy()
        weights[self.picks] = -0.5
        return self._rows.sums(weights, candidates)

    def many_gains(self, points: Index) -> F64:
        """Return the gains of many points."""
        return self.gains(points)

    def next_bin(self) -> Index:
        """Take the bin's picks out of the pool and return them."""
        picks = np.array(self.picks, np.int64)
        self._weights[picks] = 0.0
        self.picks = []
        return picks
